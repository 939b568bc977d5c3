"""Names of the banks of the studies in config/: nobody's simulations are orphaned unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical.study import settings
from veridical.study.layout import Layout

CONFIG = Path(__file__).parents[2] / "config"
# All scales of a study share its bank.
KEYS = {
    "covid_weekend": "d84b294d2d38",
    "covid_weeks": "ab996fcc5a4c",
    "gaussian": "7f30b6364ddc",
    "lotka_volterra_bf": "1357a0fd2cfd",
    "lynx_hare": "18a0d7f1f6e7",
    "multifidelity_ou": "8c2b75ebc332",
    "rope_chain": "4725ad00ec7a",
    "rope_pendulum": "af563642c30f",
    "whole_card": "af563642c30f",
    "tamm_dihiggs": "fbd396838084",
    "tamm_jets": "06ec01b36e38",
    "tamm_masses": "c791364254a3",
    "wifi_gaussian": "deaa6fc0a296",
    "wifi_jets": "06ec01b36e38",
    "wifi_parameters": "fa9d7c374286",
}


@pytest.mark.parametrize("study", sorted(path.stem for path in CONFIG.glob("*.yaml")))
def test_a_study_keeps_its_banks(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIG.parent)
    found = {Layout(settings.load(CONFIG / f"{study}.yaml", s), scale=s).bank_key for s in settings.SCALES}
    assert found == {KEYS[study]}, "with this change a study no longer finds the simulations that it has"
