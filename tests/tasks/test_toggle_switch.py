"""The toggle switch: truncated normals, the limit without repression, and what its levels share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import TaskError
from veridical.tasks.toggle_switch import STEPS, ToggleSwitch, truncated_normal

KEEP, SPREAD = 0.97, 0.5
FREE = np.array(
    [60.0, 50.0, 0.0, 0.0, 300.0, 0.1, 0.0]
)  # halves of alpha are supplied, whatever the other is


def test_truncated_normals_are_those_of_scipy(rng: np.random.Generator) -> None:
    for mean, sd in ((2.0, 0.5), (0.3, 1.0), (-1.0, 0.5), (400.0, 20.0)):
        w = np.concatenate([rng.random(500), [1.0, 1e-6]])
        found = truncated_normal(np.full(502, mean), sd, w)
        expected = stats.truncnorm(-mean / sd, np.inf, loc=mean, scale=sd).isf(w)
        assert np.allclose(found, expected, rtol=1e-7, atol=1e-9) and (found > 0).all()


@pytest.mark.parametrize("level", STEPS)
def test_without_repression_both_genes_are_autoregressive(level: str, rng: np.random.Generator) -> None:
    n, steps = 500, STEPS[level]
    task = ToggleSwitch(cells=4)
    theta, noise = np.tile(FREE, (n, 1)), task.noise(rng, n)
    states = task.states(theta, noise, level).reshape(-1, 2)
    variance = SPREAD**2 * (1 - KEEP ** (2 * steps)) / (1 - KEEP**2)
    for gene, alpha in enumerate(FREE[:2]):
        limit = (alpha / 2 - 1) / (1 - KEEP)
        mean = limit + KEEP**steps * (10 - limit)
        assert stats.kstest(states[:, gene], stats.norm(mean, np.sqrt(variance)).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(states.T)[0, 1]) < 4.5 / np.sqrt(len(states))
    x = task.simulate(theta, noise, level).reshape(-1)
    limit = (FREE[0] / 2 - 1) / (1 - KEEP)
    seen = stats.norm(300 + limit + KEEP**steps * (10 - limit), np.sqrt(variance + 30**2))
    assert stats.kstest(x, seen.cdf).pvalue > 1e-4


def test_levels_share_their_last_steps(rng: np.random.Generator) -> None:
    task, n = ToggleSwitch(cells=2), 1000
    noise = task.noise(rng, n)
    low, high = (task.states(np.tile(FREE, (n, 1)), noise, level).reshape(-1, 2) for level in ("t50", "t300"))
    shared = np.sqrt((1 - KEEP**100) / (1 - KEEP**600))
    for gene in range(2):
        found = np.corrcoef(low[:, gene], high[:, gene])[0, 1]
        assert abs(np.arctanh(found) - np.arctanh(shared)) < 4.5 / np.sqrt(2 * n)
    theta, other = task.prior.sample(rng, n), task.noise(rng, n)
    x = {level: task.simulate(theta, noise, level) for level in STEPS}
    for below, level in (("t50", "t80"), ("t80", "t300")):
        coupled, apart = x[level] - x[below], x[level] - task.simulate(theta, other, below)
        assert coupled.var() < 0.85 * apart.var() and coupled.var() < 0.5 * x[level].var()


def test_genes_repress_each_other(rng: np.random.Generator) -> None:
    task, n = ToggleSwitch(cells=1), 200
    theta = np.tile([30.0, 30.0, 3.0, 3.0, 300.0, 0.1, 0.1], (n, 1))
    states = task.states(theta, task.noise(rng, n), "t300")[:, 0]
    winner, loser = states.max(axis=1), states.min(axis=1)
    assert (loser < 0.05 * winner).all() and 0.2 < (states[:, 0] > states[:, 1]).mean() < 0.8


@pytest.mark.parametrize("cells", [1, 3])
def test_rows_do_not_depend_on_those_beside_them(cells: int, rng: np.random.Generator) -> None:
    task = ToggleSwitch(cells=cells)
    theta, noise = task.prior.sample(rng, 40), task.noise(rng, 40)
    whole = task.simulate(theta, noise, "t80")
    for row in range(0, 40, 3):
        one = slice(row, row + 1)
        alone = task.simulate(theta[one], {k: v[one] for k, v in noise.items()}, "t80")
        assert np.array_equal(whole[one], alone)


@pytest.mark.parametrize("cells", [0, 2.0, True])
def test_what_is_no_number_of_cells_is_refused(cells: object) -> None:
    with pytest.raises(TaskError, match="toggle_switch: expected a whole number cells >= 1, got"):
        ToggleSwitch(cells=cells)  # type: ignore[arg-type]
