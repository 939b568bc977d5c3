"""Remedies: each turns an estimator into a better one behind the same interface."""

from __future__ import annotations

REMEDIES = {
    "rope": "veridical.remedies.rope:RoPE",
    "tuned": "veridical.remedies.tuned:Tuned",
    "wifi": "veridical.remedies.wifi:Wifi",
}
