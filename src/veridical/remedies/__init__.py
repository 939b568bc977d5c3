"""Remedies: each turns an estimator into a better one behind the same interface."""

from __future__ import annotations

REMEDIES = {  # the settings of each, which name its class
    "tuned": "veridical.remedies.tuned_settings:TunedSettings",
    "rope": "veridical.remedies.rope_settings:RoPESettings",
    "moments": "veridical.remedies.moments_settings:MomentsSettings",
    "recalibrated": "veridical.remedies.recalibrated_settings:RecalibratedSettings",
    "stacked": "veridical.remedies.stacked_settings:StackedSettings",
    "cross_j_npe": "veridical.remedies.cross_joint_settings:CrossJNPESettings",
    "fmcpe": "veridical.remedies.fmcpe_settings:FMCPESettings",
    "frisbi": "veridical.remedies.frisbi_settings:FRISBISettings",
    "importance": "veridical.remedies.importance_settings:CorrectionSettings",
    "tempered": "veridical.remedies.tempered_settings:TemperedSettings",
    "rnpe": "veridical.remedies.rnpe_settings:RNPESettings",
    "rsnl": "veridical.remedies.rsnl_settings:RSNLSettings",
    "wifi": "veridical.remedies.wifi_settings:WifiSettings",
    "wifi_nre": "veridical.remedies.wifi_nre_settings:WifiNRESettings",
    "tamm": "veridical.remedies.tamm_settings:TammSettings",
}
