"""TARP: closed forms, the blind spot of uniform centres, the level with centres that follow the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from veridical.checks.tarp import TARP, atc, credibilities, neighbour_references, uniform_references
from veridical.errors import DataError, ShapeError

from .gaussian_model import Draws, gaussian, value


@pytest.mark.parametrize(
    ("scale", "uniform", "follows_x"),
    [(1.0, 0.0, 0.0), (0.5, -0.060, -0.085), (2.0, 0.064, 0.086), (None, 0.002, 0.088)],
)
def test_atc_of_the_gaussian_model(
    scale: float | None,
    uniform: float,
    follows_x: float,
    rng: np.random.Generator,
) -> None:
    """Tabulated values of 40 sets of 500; the range that scales uniform centres grows slowly with N."""
    model = gaussian(rng, scale, n=500, s=499)
    sets = [model] + [gaussian(rng, scale, n=500, s=499) for _ in range(9)]
    for expected, centre in (
        (uniform, lambda m: uniform_references(m.truth, rng)),
        (follows_x, lambda m: m.x),
    ):
        found = [atc(credibilities(m.draws, m.truth, centre(m), rng)) for m in sets]
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        assert abs(np.mean(found) - expected) < 4 * np.hypot(error, 0.0012) + 0.001


def test_the_prior_is_seen_by_centres_that_follow_the_data(rng: np.random.Generator) -> None:
    model = gaussian(rng, None)
    seen = TARP().run(model, rng)
    assert seen.passed is False
    assert value(seen, "tarp_atc").value > 0.04
    assert value(seen, "tarp_p").value < 1e-4
    blind = TARP(references="uniform").run(model, rng)
    assert abs(value(blind, "tarp_atc").value) < 5 * value(blind, "tarp_atc").stderr


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_wrong_widths_are_found(scale: float, rng: np.random.Generator) -> None:
    result = TARP().run(gaussian(rng, scale, d=3, s=499), rng)
    assert result.passed is False
    ecp, levels = result.curves["ecp"], result.curves["levels"]
    assert np.sign((ecp - levels)[75]) == (1 if scale > 1 else -1)
    assert ((ecp < result.curves["lower"]) | (ecp > result.curves["upper"])).any()


def test_the_level_holds_although_centres_are_other_truths(rng: np.random.Generator) -> None:
    """Each centre uses earlier data sets only, so that f are independent: p-values are uniform."""
    p_values = []
    for _ in range(300):
        model = gaussian(rng, 1.0, n=100, s=99, d=2)
        centres = neighbour_references(model.x, model.truth, 1, rng)
        f = credibilities(model.draws, model.truth, centres, rng)
        p_values.append(stats.kstest(f, "uniform").pvalue)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4


def test_neighbours_follow_the_data(rng: np.random.Generator) -> None:
    """With truths that are a function of x, a centre comes close to its truth whatever the units of x."""
    x = rng.normal(size=(400, 1))
    for units in (x, np.exp(5 * x)):
        centres = neighbour_references(units, x, 3, rng)
        assert np.median(np.abs(centres - x)) < 0.1


def test_atc_is_the_integral_of_its_definition(rng: np.random.Generator) -> None:
    f = rng.beta(2, 1, size=200)
    integral = integrate.quad(lambda a: np.mean(f <= a) - a, 0.5, 1, limit=1000, epsabs=1e-4)[0]
    assert atc(f) == pytest.approx(integral, abs=1e-3)


def test_errors_say_what_is_missing(rng: Any) -> None:
    model = gaussian(rng, 1.0, n=50, s=99)
    with pytest.raises(DataError, match="x or summaries"):
        TARP().run(Draws(model.names, model.draws, truth=model.truth), rng)
    with pytest.raises(DataError, match="x of 50 data sets, got 49"):
        TARP().run(Draws(model.names, model.draws, truth=model.truth, x=model.x[1:]), rng)
    with pytest.raises(DataError, match="differ between data sets"):
        credibilities(model.draws, np.zeros((50, 1)), model.x, rng)
    with pytest.raises(ShapeError, match="references"):
        credibilities(model.draws, model.truth, model.x[1:], rng)
