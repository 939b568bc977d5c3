"""Whether an adapted mixture fits at all: exact covariance of bins, even p-values, a planted fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.inference.mass_plane import BACKGROUND, CELLS, SIGNAL, T1, T2, Plane, normalised
from veridical.errors import DataError
from veridical.inference.adapted import Objective
from veridical.inference.adapted_alarm import BinnedFit, alarms, binned_fit
from veridical.inference.adapted_fits import AdaptedFit, fit

ROW, COLUMN = np.divmod(np.arange(CELLS**2), CELLS)
KAPPA = 1 / 11


def bins(width: int) -> np.ndarray:
    """Bin of each cell where bins are squares of `width` cells."""
    return ROW // width * (CELLS // width) + COLUMN // width


def fitted(plane: Plane, rng: np.random.Generator, n: int, width: int = 2) -> tuple[AdaptedFit, BinnedFit]:
    counts = [plane.counts(rng, n, KAPPA), *(plane.counts(rng, 4 * n) for _ in range(2))]
    found = fit(Objective(*map(plane.templates, counts)), (0.1,))
    return found, binned_fit(found, bins(width)[counts[0] > 0], bins(width)[counts[1] > 0])


@pytest.fixture(scope="module")
def plane() -> Plane:
    return Plane.wrong(np.random.Generator(np.random.PCG64(5)))


@pytest.mark.parametrize("width", [2, 7])
def test_p_values_are_even_where_the_mixture_is_right(
    plane: Plane, width: int, rng: np.random.Generator
) -> None:
    """With 16 bins the 13 parameters fit most of them; with 196 nearly none."""
    found = [fitted(plane, rng, 5000, width)[1] for _ in range(50)]
    p = np.array([binned.p_value for binned in found])
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert (p < 0.05).mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 50)
    freedom = np.mean([binned.freedom for binned in found])
    assert 1 < freedom < len(found[0].residuals)
    if width == 2:
        assert len(found[0].residuals) - 1 - 13 - 5 < freedom < len(found[0].residuals) - 5


def test_a_shape_that_no_template_has_is_told(plane: Plane, rng: np.random.Generator) -> None:
    """A bump that neither a Gaussian nor a smooth spectrum can follow."""
    bump = np.log(0.9) + BACKGROUND, np.log(0.1) + normalised(-0.5 * ((T1 + 1) ** 2 + (T2 - 1) ** 2) / 0.1)
    other = replace(plane, target=(SIGNAL, np.logaddexp(*bump)))
    found, binned = fitted(other, rng, 5000)
    assert binned.p_value < 1e-4
    assert any("do not follow" in alarm for alarm in alarms(found, binned))


def test_bins_of_few_events_are_one(plane: Plane, rng: np.random.Generator) -> None:
    fine = fitted(plane, rng, 1000, 1)[1]
    assert len(fine.residuals) < 100
    with pytest.raises(DataError, match="at least two bins"):
        fitted(plane, rng, 500, CELLS)


def test_alarms_name_what_speaks_against_a_fit(plane: Plane, rng: np.random.Generator) -> None:
    found, binned = fitted(plane, rng, 5000)
    quiet = replace(found, minima=np.zeros(3))
    assert not any("minima" in alarm for alarm in alarms(quiet, None))
    theta = found.theta.copy()
    theta[2:4] = 2.5, -2.0
    loud = replace(found, theta=theta, minima=np.array([0.0, 1.0]))
    words = " ".join(alarms(loud, replace(binned, p_value=1e-5)))
    for part in ("p = 1e-05", "weights of the signal extrapolate", "different minima"):
        assert part in words
    stiff = fit(replace(found.objective, ridge=(1e5, 1e5)), (0.1,))
    assert any("the ridge decides" in alarm for alarm in alarms(stiff))
