"""The page of methods on the chain: what is said of its bar, and of regressions."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chain_methods(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("chain_methods")


def lines(method: str, gaps: list[float], pairs: int = 50) -> list[dict[str, Any]]:
    return [
        {"pairs": pairs, "method": method, "set": k, "lpp": -gap, "gap": gap} for k, gap in enumerate(gaps)
    ]


def test_the_bar_compares_equal_sets(chain_methods: ModuleType) -> None:
    found = "".join(chain_methods.bar(lines("rope", [3.0, 9.0]) + lines("fmcpe", [2.6])))
    assert "- 50 pairs: `fmcpe` gains 0.40 (0.40) nats over `rope`: reached." in found
    assert "- 200 pairs: not run." in found
    missed = chain_methods.bar(lines("rope", [3.0, 3.0]) + lines("fmcpe", [2.8, 2.8]))
    assert "gains 0.20 (0.20, 0.20) nats over `rope`: **not reached**" in "".join(missed)


def test_a_regression_that_is_nearer_is_named(chain_methods: ModuleType) -> None:
    both = lines("rope", [3.0]) + lines("frisbi", [1.0]) + lines("ridge", [0.4]) + lines("moments", [2.0])
    assert "`frisbi` is best, at 1.00; nearer than that are `ridge` (0.40)." in chain_methods.beaten(both)
    assert "no regression is nearer" in chain_methods.beaten(lines("rope", [3.0]) + lines("ridge", [4.0]))


def test_a_page_has_a_row_for_each_method(chain_methods: ModuleType) -> None:
    record = {"lines": lines("ridge", [0.5, 0.3]), "runs": [{"command": "c", "date": "d"}], "versions": {}}
    assert "| 50 | ridge | -0.40 (-0.50, -0.30) | 0.40 (0.50, 0.30) |" in chain_methods.page(record)
