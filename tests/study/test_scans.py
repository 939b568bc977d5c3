"""Which methods of a study are a scan of one number."""

from __future__ import annotations

from typing import Any

import pytest

from veridical.methods import typed
from veridical.study.scans import scans

NAMES = {side: [f"{side}_{k}" for k in range(3)] for side in ("signal", "background")}
TEMPLATES = {"type": "template_ratios", "first": NAMES["signal"], "second": NAMES["background"]}


def found(**methods: dict[str, Any]) -> dict[str, dict[str, tuple[str, float]]]:
    return scans({name: typed(given["type"], given) for name, given in methods.items()})


TAMM = {"type": "tamm", "of": "ratios"}


def test_methods_that_mix_more_or_fewer_templates_are_siblings() -> None:
    given = {
        "ratios": TEMPLATES,
        "all": TAMM,
        "one": {**TAMM, "mixes": [2]},
        "pair": {**TAMM, "mixes": [0, 1]},
    }
    told = found(**given, other={**TAMM, "mixes": [0], "loss": "mlc"})
    assert told == {
        "all": {"templates": ("all", 3.0)},
        "one": {"templates": ("all", 1.0)},
        "pair": {"templates": ("all", 2.0)},
    }


def test_a_scan_needs_two_numbers_and_may_be_of_several_settings() -> None:
    assert found(ratios=TEMPLATES, a=TAMM, b=TAMM) == {}
    told = found(ratios=TEMPLATES, plain=TAMM, firm={**TAMM, "ridge": 10.0}, one={**TAMM, "mixes": [0]})
    assert told["plain"] == {"templates": ("plain", 3.0), "ridge": ("plain", 1.0)}
    assert told["firm"] == {"ridge": ("plain", 10.0)}


@pytest.mark.parametrize("same", [True, False])
def test_members_are_those_of_ensembles_that_differ_in_nothing_else(same: bool) -> None:
    few, many = {"type": "ratios", "members": 4}, {"type": "ratios", "members": 16}
    many |= {} if same else {"mode": "partition"}
    told = found(
        few=few, many=many, w_few={"type": "wifi", "of": "few"}, w_many={"type": "wifi", "of": "many"}
    )
    expected = {"w_few": {"members": ("w_few", 4.0)}, "w_many": {"members": ("w_few", 16.0)}}
    assert told == (expected if same else {})


def test_draws_of_simulators_are_siblings_if_as_many() -> None:
    other = {**TEMPLATES, "first": [f"signal_{k}" for k in (3, 4, 5)]}
    fewer = {**TEMPLATES, "first": ["signal_0"]}
    made = {name: {**TAMM, "of": of} for name, of in (("a", "ratios"), ("b", "other"), ("c", "fewer"))}
    told = found(ratios=TEMPLATES, other=other, fewer=fewer, **made)
    assert told == {"a": {"simulators": ("a", 0.0)}, "b": {"simulators": ("a", 1.0)}}
