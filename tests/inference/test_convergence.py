"""R-hat and effective sample size against ArviZ, closed forms and planted faults."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from veridical.errors import ShapeError
from veridical.inference.convergence import bulk_ess, rank_rhat

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # announces a rewrite of ArviZ
    import arviz


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], rho: float) -> np.ndarray:
    """Stationary first-order chains along axis 1, with variance one."""
    chains = np.empty(shape)
    chains[:, 0] = rng.standard_normal(chains[:, 0].shape)
    for t in range(1, shape[1]):
        fresh = rng.standard_normal(chains[:, 0].shape)
        chains[:, t] = rho * chains[:, t - 1] + np.sqrt(1 - rho**2) * fresh
    return chains


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.6, 0.95])
@pytest.mark.parametrize("shape", [(4, 500), (2, 101), (5, 64)])
def test_both_agree_with_arviz(rho: float, shape: tuple[int, int], rng: np.random.Generator) -> None:
    chains = autoregressive(rng, shape, rho)
    for values in (chains, np.exp(2 * chains), np.round(chains, 1), chains + np.arange(shape[0])[:, None]):
        assert rank_rhat(values) == pytest.approx(float(arviz.rhat(values)), rel=1e-9)
        assert bulk_ess(values) == pytest.approx(float(arviz.ess(values)), rel=1e-9)


def test_r_hat_sees_another_place_another_width_and_a_trend(rng: np.random.Generator) -> None:
    good = rng.standard_normal((4, 1000))
    assert rank_rhat(good) < 1.01
    shifted, wider, trend = good.copy(), good.copy(), good + np.linspace(0, 2, 1000)
    shifted[0] += 1
    wider[0] *= 3
    for bad in (shifted, wider, trend):
        assert rank_rhat(bad) > 1.05


def test_independent_walkers_count_in_full(rng: np.random.Generator) -> None:
    """The estimate's own error is about one part in five for 4 chains of 400 steps."""
    chains = autoregressive(rng, (4, 400, 50), 0.8)
    expected = chains.size * (1 - 0.8) / (1 + 0.8)
    assert bulk_ess(chains) == pytest.approx(expected, rel=0.6)
    one = chains[..., :1]
    assert bulk_ess(one) == pytest.approx(bulk_ess(one[..., 0]), rel=1e-9)


def test_walkers_that_move_together_count_as_one(rng: np.random.Generator) -> None:
    alone = autoregressive(rng, (4, 400, 1), 0.8)
    together = np.repeat(alone, 30, axis=2)
    assert bulk_ess(together) == pytest.approx(bulk_ess(alone), rel=0.02)


def test_too_few_chains_or_draws_are_refused() -> None:
    for call, shape in ((rank_rhat, (1, 100)), (rank_rhat, (4, 7)), (bulk_ess, (100,))):
        with pytest.raises(ShapeError, match="chains: expected at least"):
            call(np.zeros(shape))
