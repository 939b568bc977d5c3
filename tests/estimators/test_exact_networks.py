"""What `summary: auto` takes for a long series and an image, against exact posteriors.

Tolerances are on what training leaves: posteriors are somewhat wider than the exact ones, by the factors that
stand beside the tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.tasks.base import Array
from veridical.training import session

TESTS, DRAWS = 200, 400
RUN = session.Session(20261129, ("exact", 0))


def fitted(task: TaskInfo, theta: Array, x: Array, **training: Any) -> tuple[NPE, session.TrainingResult]:
    """A posterior with all settings but those of training left to the defaults."""
    material = Material(Rows(theta, x.astype(np.float32), np.arange(len(x)) % 10 == 9))
    return NPE.fit(NPESettings(training=training), task, material, RUN)


def compare(found: NPE, theta: Array, x: Array, mean: Array, sd: Array, widest: float) -> None:
    """Holds posteriors against exact means and standard deviations (N, D), and against the truth."""
    draws = found.sample(x.astype(np.float32), DRAWS, np.random.Generator(np.random.PCG64(3)))
    for j in range(theta.shape[1]):
        assert np.corrcoef(draws[..., j].mean(axis=0), mean[:, j])[0, 1] > 0.99
        assert 0.85 < np.median(draws[..., j].std(axis=0) / sd[:, j]) < widest
        low, high = np.quantile(draws[..., j], [0.05, 0.95], axis=0)
        held = int(((theta[:, j] > low) & (theta[:, j] < high)).sum())
        assert held > 0.9 * len(x) or stats.binomtest(held, len(x), 0.9).pvalue > 1e-3


def spikes(rng: np.random.Generator, n: int, steps: int) -> tuple[TaskInfo, Array, Array]:
    """Counts at a rate with prior Gamma(4, 40): its posterior is Gamma(4 + sum, 40 + steps)."""
    task = TaskInfo("spikes", ("rate",), np.array([(0.0, np.inf)]), ("",), (steps,), axes=("",))
    theta = rng.gamma(4.0, 1 / 40, size=(n, 1))
    return task, theta, rng.poisson(np.broadcast_to(theta, (n, steps)))


def test_a_series_of_ten_thousand_steps_is_cut_for_a_small_network(rng: np.random.Generator) -> None:
    """And trains there, so that no network as wide as the series is needed."""
    found, result = fitted(*spikes(rng, 100, 10_000), batch_size=64, max_steps=4)
    assert found.settings.summary.type == "conv" and found.settings.summary.patch == 40
    assert int(result.size.split()[0].replace(",", "")) < 300_000
    assert np.isfinite([look["validation_loss"] for look in result.rounds]).all()


@pytest.mark.slow
def test_the_rate_of_a_long_series_is_found(rng: np.random.Generator) -> None:
    """Of 600 steps, of which a part of three becomes one."""
    steps, n = 600, 900
    task, theta, x = spikes(rng, n + TESTS, steps)
    found, _ = fitted(task, theta[:n], x[:n], batch_size=64, epochs=12)
    assert found.settings.summary.type == "conv" and found.settings.summary.patch == 3
    shape, rate = 4 + x[n:].sum(axis=1, keepdims=True), 40 + steps
    compare(
        found, theta[n:], x[n:], shape / rate, np.sqrt(shape) / rate, widest=2.0
    )  # 1.3 to 1.7 are measured


@pytest.mark.slow
def test_the_place_of_a_blob_in_an_image_is_found(rng: np.random.Generator) -> None:
    """A Gaussian blob of known height and width in white noise, in one of two channels; uniform prior."""
    grid, n = np.arange(16), 6000

    def blobs(theta: Array) -> Array:
        row, column = (np.exp(-(((grid - theta[:, [j]]) / 2) ** 2) / 2) for j in (0, 1))
        return 3 * row[:, :, None] * column[:, None, :]

    bounds = np.array([(4.0, 12.0)] * 2)
    axes = ("vector", "", "")
    task = TaskInfo("blob", ("row", "column"), bounds, ("", ""), (2, 16, 16), axes=axes)
    theta = rng.uniform(4, 12, size=(n + TESTS, 2))
    x = rng.standard_normal((n + TESTS, 2, 16, 16))
    x[:, 1] += blobs(theta)
    found, _ = fitted(task, theta[:n], x[:n], batch_size=128, epochs=5)
    assert found.settings.summary.type == "image" and found.settings.summary.axes == [1, 2]
    places = np.stack(np.meshgrid(*[np.linspace(4, 12, 161)] * 2, indexing="ij"), -1).reshape(-1, 2)
    expected = blobs(places).reshape(len(places), -1)
    log_p = x[n:, 1].reshape(TESTS, -1) @ expected.T - (expected**2).sum(axis=1) / 2
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    mean = p @ places
    sd = np.sqrt(p @ places**2 - mean**2)
    compare(found, theta[n:], x[n:], mean, sd, widest=1.8)  # 1.3 is measured
