"""Weights of parametrised ratios: the exact combination, its covariance by rows, and what objects to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.inference import normal_pairs
from tests.inference.test_ratio_weights import close
from veridical.errors import ShapeError, TrainingError
from veridical.inference import pair_weights, ratio_weights
from veridical.inference.pair_weights import Pairs
from veridical.inference.ratio_objections import objections, off_one

Array = np.ndarray


def omitted(theta: Array, x: Array) -> Array:
    """Functions that the exact ratio needs none of."""
    t, s = theta[..., 0], np.tanh(normal_pairs.log_ratio(theta, x))
    return np.stack([s**2, t, t**2, s * t], axis=-1)


def test_many_rows_give_the_exact_combination(rng: np.random.Generator) -> None:
    found = pair_weights.fit(normal_pairs.pairs(*normal_pairs.drawn(rng, 20_000)))
    error = np.sqrt(np.diag(found.covariance))
    assert (np.abs(found.weights - normal_pairs.EXACT) < 4.5 * error).all() and error.max() < 0.1
    assert found.largest_share < 0.05 and not found.bias.any()
    for side in (found.numerator, found.denominator):
        assert abs(side.value) < 5 * side.stderr + 0.02


@pytest.mark.parametrize(("elements", "shuffles"), [(1, 1), (1, 4), (4, 2)])
def test_the_covariance_is_that_of_many_fits(elements: int, shuffles: int, rng: np.random.Generator) -> None:
    """80 fits; pairs taken for independent would have another one where rows hold four elements."""
    toys, rows = 80, 600 // elements
    made = [
        normal_pairs.pairs(*normal_pairs.drawn(rng, rows, elements=elements), shuffles=shuffles)
        for _ in range(toys)
    ]
    found = [pair_weights.fit(pairs) for pairs in made]
    spread = np.cov([fit.weights for fit in found], rowvar=False)
    predicted = np.mean([fit.covariance for fit in found], axis=0)
    ratio = np.diag(spread) / np.diag(predicted)
    assert np.abs(ratio - 1).max() < 4 * np.sqrt(2 / toys)
    if elements > 1:
        plain = np.mean([ratio_weights.fit(*p.events, "bce").covariance for p in made], axis=0)
        assert not close(plain, spread, toys)


def test_the_covariance_of_rows_in_closed_form(rng: np.random.Generator) -> None:
    """Terms a(theta) + b(x) + c: the variance of their mean is (Var a + Var b + Var c / K) / N."""
    n, k = 400, 4
    found = []
    for _ in range(200):
        a, b = rng.normal(size=n), rng.normal(size=n) * 2
        c = 3 * rng.normal(size=(k, n))
        others = np.stack([np.roll(a, by) for by in range(1, k + 1)]) + b + c
        found.append(pair_weights.row_covariance(np.zeros((n, 1)), others[..., None])[0, 0])
    expected = (1 + 4 + 9 / k) / n
    assert np.mean(found) == pytest.approx(expected, rel=0.03)


def test_alike_members_are_weighed_and_objected_to(rng: np.random.Generator) -> None:
    theta, x = normal_pairs.drawn(rng, 2000)
    plain = pair_weights.fit(normal_pairs.pairs(theta, x))

    def twice(theta: Array, x: Array) -> Array:
        found = normal_pairs.members(theta, x)
        return np.concatenate([found, found[..., 1:]], axis=-1)

    both = pair_weights.fit(normal_pairs.pairs(theta, x, twice))
    f = normal_pairs.members(theta, x[:, 0])
    g = twice(theta, x[:, 0])
    np.testing.assert_allclose(g @ both.weights, f @ plain.weights, atol=1e-3)
    np.testing.assert_allclose(both.log_ratio(g)[1], plain.log_ratio(f)[1], rtol=0.01)
    (said,) = objections(both, 2000, 0.5)
    assert "alike" in said and not objections(plain, 2000, 0.5)


def test_one_row_that_decides_is_objected_to(rng: np.random.Generator) -> None:
    """A member that differs from another in a single row has its weight from that row alone."""
    theta, x = normal_pairs.drawn(rng, 1000)
    x[17] = 9.0

    def lone(theta: Array, x: Array) -> Array:
        found = normal_pairs.members(theta, x)
        return np.concatenate([found, (found[..., 1] + 3.0 * (x[..., 0] > 8.5))[..., None]], axis=-1)

    found = pair_weights.fit(normal_pairs.pairs(theta, x, lone))
    assert found.largest_share > 0.1
    assert any("one row makes" in said for said in objections(found, 1000, 0.5))


def test_few_rows_are_objected_to_and_fewer_refused(rng: np.random.Generator) -> None:
    few = normal_pairs.pairs(*normal_pairs.drawn(rng, 200))
    (said,) = [text for text in objections(pair_weights.fit(few), 200, None) if "fewer than 100" in text]
    assert "4 weights were fitted to 200 rows" in said
    with pytest.raises(TrainingError, match=r"at least 10 rows for each of 4 weights.*got 30 rows"):
        pair_weights.fit(normal_pairs.pairs(*normal_pairs.drawn(rng, 30)))
    with pytest.raises(ShapeError, match="others"):
        Pairs(few.joint, few.others[:, 1:])


def test_the_span_that_misses_and_the_one_that_does_not(rng: np.random.Generator) -> None:
    """p-values are flat where the exact ratio is in the span (25 fits), and small where a term is not."""

    def bent(theta: Array, x: Array) -> Array:
        found = normal_pairs.members(theta, x)
        found[..., 1:] += 0.4 * np.tanh(theta) * x**2
        return found

    def p_value(rows: int, of: Callable[[Array, Array], Array]) -> float:
        theta, x = normal_pairs.drawn(rng, rows)
        own, others = (normal_pairs.pairs(theta, x, each, shuffles=3) for each in (of, omitted))
        return pair_weights.miss(own, others, pair_weights.fit(own))

    flat = np.array([p_value(800, normal_pairs.members) for _ in range(25)])
    assert flat.min() > 1e-4 and np.mean(flat < 0.5) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(25))
    missed = p_value(6000, bent)
    assert missed < 1e-3
    plain = pair_weights.fit(normal_pairs.pairs(*normal_pairs.drawn(rng, 800)))
    assert any("no weights of the members" in said for said in objections(plain, 800, missed))


def test_a_ratio_that_is_not_normalised_is_objected_to(rng: np.random.Generator) -> None:
    found = pair_weights.fit(normal_pairs.pairs(*normal_pairs.drawn(rng, 2000)))
    assert not off_one(found)
    off = type(found.numerator)(0.3, 0.01)
    (said,) = off_one(type(found)(found.weights, found.covariance, found.bias, denominator=off))
    assert "mean of r is 1.300" in said and "30.0 standard errors" in said
