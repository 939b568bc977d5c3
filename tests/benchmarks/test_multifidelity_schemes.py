"""How schemes of two levels are measured: `benchmarks/multifidelity_schemes.py`."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_the_exact_posterior_has_no_gap_and_permuted_levels_share_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The prior has the mean information gain for a gap. Cheap partners of dear rows are the first rows."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("multifidelity_schemes")
    monkeypatch.setattr(script, "FRESH", 8)
    monkeypatch.setattr(script, "SHOWN", 3)
    fresh = script.Fresh()
    exact = SimpleNamespace(
        log_prob=script.TASK.posterior_log_prob, quick_log_prob=script.TASK.posterior_log_prob
    )
    assert fresh.measure(exact) == pytest.approx({"gap": 0.0, "c2st": 0.5}, abs=1e-6)

    def prior(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.full(theta.shape[:-1], -np.log(2.9 * 0.5))

    found = fresh.measure(SimpleNamespace(log_prob=prior, quick_log_prob=prior))
    assert found["gap"] == pytest.approx(fresh.exact.mean() + np.log(2.9 * 0.5)) and 0.8 < found["c2st"] < 1
    seed = script.Seed(0)
    for permuted in ("itself", "permuted"):
        low, dear = seed.levels(permuted)
        np.testing.assert_array_equal(dear.below, low.x[: len(dear)])
        np.testing.assert_array_equal(dear.theta, low.theta[: len(dear)])
    theirs = np.corrcoef(low.x.mean(axis=1), low.theta[:, 0])[0, 1]
    assert abs(theirs) < 0.05, "permuted rows tell nothing: 5 / sqrt(10,000)"
