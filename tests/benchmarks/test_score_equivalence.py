"""How many simulations a score is worth: `benchmarks/score_equivalence.py`."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_worth_is_read_off_the_errors_without_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors that fall as one over N: half of the error at N is worth twice N; beyond the sizes, bounds."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("score_equivalence")
    plain = {500: 8.0, 1000: 4.0, 4000: 1.0}
    for n, error, expected in (
        (500, 8.0, "1"),
        (500, 4.0, "2"),
        (500, 2.0, "4"),
        (1000, 0.5, "> 4"),
        (1000, 9.0, "< 0.5"),
    ):
        assert script.worth(plain, n, error) == expected
    assert script.worth({500: 8.0}, 500, 4.0) == "", "one size is no line"
    assert script.binary_loss(np.zeros(3), np.zeros(3)) == pytest.approx(2 * np.log(2))
