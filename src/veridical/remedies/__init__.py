"""Remedies: each turns an estimator into a better one behind the same interface."""

from __future__ import annotations

from veridical.estimators.settings import Entry
from veridical.remedies.rope_settings import RoPESettings
from veridical.remedies.tuned_settings import TunedSettings
from veridical.remedies.wifi_settings import WifiSettings

REMEDIES = {
    "tuned": Entry(TunedSettings, "veridical.remedies.tuned:Tuned"),
    "rope": Entry(RoPESettings, "veridical.remedies.rope:RoPE"),
    "wifi": Entry(WifiSettings, "veridical.remedies.wifi:Wifi"),
}
