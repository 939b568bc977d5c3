"""The error of fitted log ratios in an adapted mixture: derivatives, covariance, fits to fresh events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.mass_plane import T1, T2, Plane
from veridical.errors import VeridicalError
from veridical.inference import ratio_weights
from veridical.inference.adapted import Objective, Templates
from veridical.inference.adapted_fits import AdaptedFit, fit
from veridical.inference.adapted_ratios import joint_covariance, mixed
from veridical.inference.ratio_weights import Events

SAMPLES = ("data", "reference", "penalty")
N = 11_000


class Fitted:
    """Log ratios of a plane that are sums of frozen functions: the right one, 1 and a wave."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.logs = np.concatenate([plane.signal, plane.background], 1)
        self.size = self.logs.shape[1]
        wave = 0.3 * np.sin(T1 + 2 * T2)
        exact = (self.logs - plane.log_pool[:, None]).T
        self.functions = [np.stack([np.ones_like(wave), g - 0.5 * wave, wave], 1) for g in exact]
        self.right = [np.array([0.0, 1.0, 0.5])] * self.size

    def templates(self, counts: np.ndarray, weights: list[np.ndarray]) -> Templates:
        kept = counts > 0
        g = np.stack([f[kept] @ w for f, w in zip(self.functions, weights, strict=True)], 1)
        k = self.plane.signal.shape[1]
        return Templates.of(g[:, :k], g[:, k:], counts[kept])

    def objective(self, counts: list[np.ndarray], weights: list[np.ndarray]) -> Objective:
        return Objective(*(self.templates(c, weights) for c in counts))

    def tables(self, counts: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        return [tuple(f[c > 0] for c in counts) for f in self.functions]

    def events(self, rng: np.random.Generator, n: int) -> tuple[list[Events], list[Events]]:
        """Functions at n events of each template, and at 4 n of the pool that all share."""
        drawn = [rng.multinomial(n, np.exp(log_p)).astype(float) for log_p in self.logs.T]
        pool = self.plane.counts(rng, 4 * n)
        own = [Events(f[c > 0], c[c > 0]) for f, c in zip(self.functions, drawn, strict=True)]
        return own, [Events(f[pool > 0], pool[pool > 0]) for f in self.functions]

    def weights(self, own: list[Events], pool: list[Events]) -> list[np.ndarray]:
        pairs = zip(own, pool, strict=True)
        return [ratio_weights.fit(a, b, "bce").weights for a, b in pairs]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return Fitted(Plane.wrong(np.random.Generator(np.random.PCG64(5)), 2))


def counts(plane: Plane, rng: np.random.Generator, times: int = 4) -> list[np.ndarray]:
    return [plane.counts(rng, N, 1 / 11), *(plane.counts(rng, times * N) for _ in range(2))]


def test_the_mixed_derivative_is_that_of_the_gradient(fitted: Fitted, rng: np.random.Generator) -> None:
    drawn = counts(fitted.plane, rng)
    objective = fitted.objective(drawn, fitted.right)
    theta = fit(objective, (0.1,)).theta
    found, h = mixed(objective, theta, fitted.tables(drawn)), 1e-5
    assert found.shape == (objective.size, 3 * fitted.size)
    for column in range(found.shape[1]):
        ends = []
        for sign in (1, -1):
            weights = np.array(fitted.right)
            weights[column // 3, column % 3] += sign * h
            ends.append(fitted.objective(drawn, list(weights)).derivatives(theta)[0])
        numeric = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(found[:, column], numeric, atol=1e-6 * np.abs(found).max())


def test_the_minimum_follows_the_weights_as_stated(fitted: Fitted, rng: np.random.Generator) -> None:
    drawn = counts(fitted.plane, rng)
    first = fit(fitted.objective(drawn, fitted.right), (0.1,))
    move = 1e-4 * rng.normal(size=(fitted.size, 3))
    moved = fit(fitted.objective(drawn, [w + m for w, m in zip(fitted.right, move, strict=True)]), (0.1,))
    expected = -first.inverse @ mixed(first.objective, first.theta, fitted.tables(drawn)) @ move.ravel()
    change = moved.theta - first.theta
    np.testing.assert_allclose(change, expected, atol=0.02 * np.abs(expected).max())


def test_covariance_of_all_weights_is_that_of_fits_to_fresh_events(
    fitted: Fitted, rng: np.random.Generator
) -> None:
    """Diagonal and correlations, also between templates, within five errors of 80 fits."""
    found = np.array([np.concatenate(fitted.weights(*fitted.events(rng, 3000))) for _ in range(80)])
    own, pool = fitted.events(rng, 3000)
    stated = joint_covariance(fitted.weights(own, pool), own, pool)
    scale = np.sqrt(np.diag(stated))
    error = np.cov(found / scale, rowvar=False) - stated / np.outer(scale, scale)
    assert np.abs(error).max() < 5 * np.sqrt(2 / 80)
    blocks = stated[:3, :3], stated[3:6, 3:6]
    pairs = zip(own[:2], pool[:2], fitted.weights(own, pool)[:2], blocks, strict=True)
    for numerator, denominator, weights, block in pairs:
        single = ratio_weights.fit(numerator, denominator, "bce", start=weights)
        np.testing.assert_allclose(single.covariance, block, rtol=1e-6)


def test_fractions_scatter_as_stated_where_ratios_are_fitted_to_few_events(
    fitted: Fitted, rng: np.random.Generator
) -> None:
    """The same data with 60 sets of weights: the scatter is the error of the log ratios, within 4 errors."""
    drawn, found, stated = counts(fitted.plane, rng), [], []
    for _ in range(60):
        own, pool = fitted.events(rng, N)
        weights = fitted.weights(own, pool)
        result: AdaptedFit = fit(fitted.objective(drawn, weights), (0.1,))
        lever = mixed(result.objective, result.theta, fitted.tables(drawn))
        whole = result.with_ratios(lever, joint_covariance(weights, own, pool))
        found.append(whole.kappa)
        stated.append(whole.ratio)
    assert np.std(found) == pytest.approx(np.sqrt(np.mean(np.square(stated))), rel=4 / np.sqrt(120))
    assert np.mean(stated) > 0.3 * whole.statistical


def test_tables_of_another_size_are_refused(fitted: Fitted, rng: np.random.Generator) -> None:
    drawn = counts(fitted.plane, rng, 1)
    objective = fitted.objective(drawn, fitted.right)
    tables = fitted.tables(drawn)
    short = [tuple(t[1:] for t in tables[0]), *tables[1:]]
    with pytest.raises(VeridicalError, match="functions of template 0"):
        mixed(objective, objective.start(0.1), short)  # type: ignore[arg-type]
    own, pool = fitted.events(rng, 200)
    with pytest.raises(VeridicalError, match="functions at the reference"):
        joint_covariance(
            fitted.right,
            own,
            [pool[0], *(replace(p, functions=p.functions[1:], counts=p.counts[1:]) for p in pool[1:])],
        )
