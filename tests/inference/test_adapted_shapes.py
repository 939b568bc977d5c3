"""Histograms of adapted classes: exact where the truth is in the span, with errors that say how far off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.mass_plane import BACKGROUND, SIGNAL, T1, T2, Plane, normalised
from veridical.errors import DataError
from veridical.inference.adapted import Objective
from veridical.inference.adapted_fits import AdaptedFit, fit
from veridical.inference.adapted_shapes import Projection, bin_edges, place, project

KAPPA = 1 / 11


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def plane() -> Plane:
    return Plane.wrong(generator(5))


def projected(plane: Plane, rng: np.random.Generator, n: int = 6000) -> tuple[AdaptedFit, Projection]:
    """A toy in bins of the first mass."""
    counts = [plane.counts(rng, n, KAPPA), *(plane.counts(rng, 4 * n) for _ in range(2))]
    found = fit(Objective(*map(plane.templates, counts)), (0.1,))
    return found, project(found, T1[counts[0] > 0], T1[counts[1] > 0])


def true_shares(found: Projection, log_p: np.ndarray) -> np.ndarray:
    return np.bincount(place(found.edges, T1), np.exp(log_p), len(found.data))


def test_expected_data_in_the_span_give_the_true_classes(plane: Plane) -> None:
    fitted = fit(plane.expected(1e6, KAPPA), (0.1,))
    found = project(fitted, T1, T1)
    for shape, truth in zip(found.classes, (SIGNAL, BACKGROUND), strict=True):
        np.testing.assert_allclose(shape.shares, true_shares(found, truth), atol=2e-3)
        assert shape.shares.sum() == pytest.approx(1)
        np.testing.assert_allclose(shape.templates.sum(axis=1), 1)
    np.testing.assert_allclose(found.expected, found.data, rtol=2e-3)
    templates = [true_shares(found, plane.signal[:, k]) for k in range(6)]
    np.testing.assert_allclose(found.classes[0].templates, templates, atol=1e-9)


def test_errors_are_those_of_toys(plane: Plane) -> None:
    """Over toys, classes are off by their stated errors, and residuals have the stated spread."""
    rng, off, residuals = generator(21), [], []
    for _ in range(25):
        found = projected(plane, rng)[1]
        truth = true_shares(found, SIGNAL)
        off.append((found.classes[0].shares - truth) / found.classes[0].errors)
        residuals.append((found.data - found.expected) / found.error)
    bins = len(off[0])
    assert bins > 10
    for pulls in (off, residuals):
        spread = np.sqrt(np.mean(np.square(pulls)))
        assert spread == pytest.approx(1, abs=0.3)  # bins of a toy are correlated: 25 toys are 25 numbers


def test_a_bump_that_no_template_has_sticks_out(plane: Plane) -> None:
    bump = np.log(0.92) + BACKGROUND, np.log(0.08) + normalised(-0.5 * (T1 + 1) ** 2 / 0.02 - 0.01 * T2**2)
    other = replace(plane, target=(SIGNAL, np.logaddexp(*bump)))
    found = projected(other, generator(22))[1]
    worst = np.abs((found.data - found.expected) / found.error)
    assert worst.max() > 5 and abs(found.edges[worst.argmax()] + 1) < 0.5


def test_bins_hold_all_events_and_refuse_what_is_alike(rng: np.random.Generator) -> None:
    data, reference = rng.normal(size=500), rng.normal(size=900)
    edges = bin_edges(data, reference, 500)
    assert len(edges) == 11 and np.bincount(place(edges, data)).sum() == 500
    assert place(edges, np.array([-99.0, 99.0])).tolist() == [0, 9]
    assert len(bin_edges(rng.normal(size=60), reference, 60)) == 5
    with pytest.raises(DataError, match="differ from event to event"):
        bin_edges(np.ones(50), np.ones(90), 50)
