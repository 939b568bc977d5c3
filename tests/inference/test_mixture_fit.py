"""Whether a sample is a mixture: uniform p-values where it is, small ones where it is not, counted events."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import ShapeError
from veridical.inference import mixture_fit


def classes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios of two normal classes a standard deviation apart, at events of each."""
    return rng.normal(0.5, 1.0, n), rng.normal(-0.5, 1.0, n)


def sample(rng: np.random.Generator, n: int, kappa: float, third: float = 0.0) -> np.ndarray:
    centre = np.where(rng.random(n) < kappa, 0.5, -0.5)
    x = rng.normal(centre, 1.0)
    return np.where(rng.random(n) < third, rng.normal(0.0, 0.2, n), x)


def p_of(rng: np.random.Generator, kappa: float, third: float = 0.0, n: int = 4000) -> float:
    first, second = ((x, np.ones(len(x))) for x in classes(rng, 3000))
    return mixture_fit.p_value(mixture_fit.spectrum(first, second), sample(rng, n, kappa, third))


@pytest.mark.parametrize("kappa", [0.0, 0.3])
def test_p_values_of_mixtures_are_uniform(kappa: float, rng: np.random.Generator) -> None:
    found = [p_of(rng, kappa) for _ in range(300)]
    assert stats.kstest(found, "uniform").pvalue > 0.001
    assert np.mean(np.array(found) < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)


def test_a_large_sample_is_not_blamed_for_few_events_of_the_classes(rng: np.random.Generator) -> None:
    """Three standard deviations apart, of which bins have one event of a class or none, and far more data."""
    small = []
    for _ in range(120):
        first, second = ((rng.normal(centre, 1.0, 1000), np.ones(1000)) for centre in (1.5, -1.5))
        x = rng.normal(np.where(rng.random(50_000) < 0.02, 1.5, -1.5), 1.0)
        small.append(mixture_fit.p_value(mixture_fit.spectrum(first, second), x) < 0.01)
    assert np.mean(small) < 0.01 + 4 * np.sqrt(0.01 * 0.99 / 120)


def test_a_third_class_is_seen(rng: np.random.Generator) -> None:
    """Twelve per cent of it, in a sixth of the bins: half as many events again there."""
    assert np.median([p_of(rng, 0.3, 0.12) for _ in range(20)]) < 0.01


def test_coinciding_events_are_counted(rng: np.random.Generator) -> None:
    """Rounded log ratios give the same, one by one or counted, though some edges coincide."""
    first, second = (np.round(x) for x in classes(rng, 2000))
    x = np.round(sample(rng, 1000, 0.4))
    alone = mixture_fit.spectrum((first, np.ones(2000)), (second, np.ones(2000)))
    counted = mixture_fit.spectrum(
        np.unique(first, return_counts=True), np.unique(second, return_counts=True)
    )
    assert all(np.array_equal(a, b) for a, b in zip(alone, counted, strict=True))
    assert 2 < len(alone.edges) + 1 < mixture_fit.BINS and alone.first.sum() == 2000
    at, counts = np.unique(x, return_counts=True)
    assert mixture_fit.p_value(alone, x) == pytest.approx(mixture_fit.p_value(counted, at, counts))


def test_too_few_events_tell_nothing(rng: np.random.Generator) -> None:
    first, second = ((x, np.ones(len(x))) for x in classes(rng, 500))
    known = mixture_fit.spectrum(first, second)
    assert np.isnan(mixture_fit.p_value(known, sample(rng, 50, 0.3)))
    few = mixture_fit.spectrum(*((x[:12], counts[:12]) for x, counts in (first, second)))
    assert np.isnan(mixture_fit.p_value(few, sample(rng, 5000, 0.3)))
    with pytest.raises(ShapeError, match="counts"):
        mixture_fit.p_value(known, np.zeros(5), np.ones(4))
