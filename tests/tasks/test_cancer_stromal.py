"""Cancer and stromal cells: counts, geometry by hand, and the moments of the published task."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks.cancer_stromal import CancerStromal, poisson_quantile


def by_definition(
    cells: np.ndarray, parents: np.ndarray, daughters: np.ndarray, necrotic: np.ndarray
) -> list[float]:
    """The four summaries, cell by cell and parent by parent."""
    state = ["stromal"] * len(cells)
    gone = set()
    for parent, n, dead in zip(parents, daughters, necrotic, strict=True):
        distances = [float(np.hypot(*(cell - parent))) for cell in cells]
        radius = sorted(distances)[min(n, len(cells) - 1)]
        for i, distance in enumerate(distances):
            if distance <= radius:
                state[i] = "cancer"
            if dead and distance < 0.8 * radius:
                gone.add(i)
    left = [i for i in range(len(cells)) if i not in gone]
    cancer = [cells[i] for i in left if state[i] == "cancer"]
    stromal = [cells[i] for i in left if state[i] == "stromal"]
    if not cancer or not stromal:
        return [np.nan] * 4
    nearest = [min(float(np.hypot(*(s - c))) for c in cancer) for s in stromal[:50]]
    return [len(stromal), len(cancer), float(np.mean(nearest)), max(nearest)]


@pytest.mark.parametrize(("fidelity", "severity"), [("model", 1.0), ("real", 1.0), ("real", 0.4)])
def test_summaries_are_those_of_the_definition(
    fidelity: str, severity: float, rng: np.random.Generator
) -> None:
    task, n = CancerStromal(severity), 6
    theta = np.array([[200.0, 4.0, 12.0], [300.0, 20.0, 20.0]] * 3)
    noise = task.noise(rng, n)
    x = task.simulate(theta, noise, fidelity)
    cells = poisson_quantile(noise["counts"][:, 0], theta[:, 0])
    parents = poisson_quantile(noise["counts"][:, 1], theta[:, 1]) + 1
    for i in range(n):
        daughters = poisson_quantile(noise["daughters"][i], theta[i, 2]) + 1
        necrotic = noise["necrosis"][i] < (0.75 * severity if fidelity == "real" else 0.0)
        p = slice(0, parents[i])
        place = noise["cells"][i, : cells[i]], noise["parents"][i, p]
        np.testing.assert_allclose(x[i], by_definition(*place, daughters[p], necrotic[p]))


def test_counts_are_poisson_quantiles(rng: np.random.Generator) -> None:
    for mean in (3.0, 17.3, 1500.0):
        u = np.concatenate([rng.random(2000), [0.0, 2.0**-53, 1 - 2.0**-53]])
        expected = stats.poisson(mean).ppf(np.maximum(u, 2.0**-54))
        np.testing.assert_array_equal(poisson_quantile(u, np.full(len(u), mean)), expected)
    edges = stats.poisson(5.0).cdf(np.arange(12))
    np.testing.assert_array_equal(poisson_quantile(edges, np.full(12, 5.0)), np.arange(12))


def test_moments_are_those_of_the_published_task(rng: np.random.Generator) -> None:
    """Means and standard deviations stated for 5,000 draws of an independent implementation."""
    task, n, others = CancerStromal(), 3000, 5000
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    model, real = (task.simulate(theta, noise, level) for level in task.fidelities)
    assert np.isfinite(model).all()
    assert task.prior.log_prob(theta)[0] == pytest.approx(-12.306, abs=1e-3)
    means, sds = np.array([675.8, 176.3, 0.136, 0.350]), np.array([372.8, 81.9, 0.061, 0.146])
    error = np.sqrt(1 / n + 1 / others)
    assert (np.abs(model.mean(axis=0) - means) / sds < 4 * error).all()
    kurtosis = stats.kurtosis(model, axis=0, fisher=False)
    assert (np.abs(np.log(model.std(axis=0) / sds)) < 4 * np.sqrt(kurtosis - 1) / 2 * error + 0.005).all()
    shift = (np.nanmean(real, axis=0) - model.mean(axis=0)) / model.std(axis=0)
    assert shift[1] == pytest.approx(-1.09, abs=0.06)
    assert np.abs(shift[[0, 2, 3]]).max() < 0.1


def test_necrosis_takes_cancer_cells_alone_and_leaves_the_rest(rng: np.random.Generator) -> None:
    task, n = CancerStromal(), 50
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    model, real = (task.simulate(theta, noise, level) for level in task.fidelities)
    np.testing.assert_array_equal(real[:, 0], model[:, 0])
    assert (real[:, 1] <= model[:, 1]).all() and (real[:, 1] < model[:, 1]).any()
    assert (real[:, 2:] >= model[:, 2:] - 1e-12).all(), "fewer cancer cells are farther away"
    healthy = {**noise, "necrosis": np.ones_like(noise["necrosis"])}
    np.testing.assert_array_equal(task.simulate(theta, healthy, "real"), model)


def test_a_tissue_without_stromal_cells_fails(rng: np.random.Generator) -> None:
    task = CancerStromal()
    noise = task.noise(rng, 1)
    few = task.simulate(np.array([[2.0, 20.0, 20.0]]), {**noise, "counts": np.full((1, 2), 0.9)}, "model")
    none = task.simulate(np.array([[2.0, 20.0, 20.0]]), {**noise, "counts": np.zeros((1, 2))}, "model")
    assert np.isnan(few).all() and np.isnan(none).all()
