"""Between 1 and 20 measurements of a mean, NaN where there is none, against the closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from veridical import artifacts, methods
from veridical.bank import blocks, valid
from veridical.errors import DataError
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.networks.deepset import DeepSetSummary
from veridical.tasks import Dimension, Task
from veridical.tasks.priors import Normal, Product
from veridical.training.session import Session

MOST = 20


class Measurements(Task):
    """x_i = mu + noise for the first n of 20, n uniform."""

    name, fidelities, block_rows = "measurements", {"only": 1.0}, 10_000
    prior = Product({"mu": Normal(mean=0.0, sd=1.0)})
    parameters = prior.parameters({})
    dimensions = (Dimension("patient", tuple(range(MOST)), kind="exchangeable", missing=True),)

    def simulate(self, theta: np.ndarray, noise: np.random.Generator, fidelity: str) -> np.ndarray:
        x = theta + noise.normal(size=(len(theta), MOST))
        return np.where(np.arange(MOST) < noise.integers(1, MOST + 1, size=(len(theta), 1)), x, np.nan)


RATES = {"learning_rate": 1e-2, "weight_decay": 0.0}  # small networks underfit at the default ones


def trained(summary: dict[str, Any], **training: Any) -> Estimator:
    """An npe of 10,000 simulations."""
    task = Measurements()
    arrays = blocks.simulate_block(task, 1, "only", "train", 0, 0).arrays
    assert valid(arrays).all()
    rows = Rows(arrays["theta"], arrays["x"], np.arange(len(arrays["x"])) % 10 == 9)
    flow = {"transforms": 1, "hidden": [32], "bins": 8}
    spec = {
        "type": "npe",
        "summary": summary,
        "flow": flow,
        "training": {**RATES, "threads": 1, "max_steps": 500, **training},
    }
    session = Session(1, ("npe", 0), 1, None, None)
    return methods.fit(spec, TaskInfo.of(task), Material(simulations=rows), session)[0]


@pytest.fixture(scope="module")
def posterior() -> Estimator:
    return trained({"type": "deepset", "element": [32, 32], "hidden": [32], "features": 8})


def test_a_set_with_gaps_gets_a_deep_set_that_sees_them() -> None:
    with torch.random.fork_rng(devices=[]):
        network = NPE.build(NPESettings(), TaskInfo.of(Measurements()))
    assert isinstance(network.summary, DeepSetSummary) and network.summary.has_missing


def observed(n: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(rows, 1)) + rng.normal(size=(rows, MOST))
    return np.where(np.arange(MOST) < n, x, np.nan)


def test_means_and_widths_follow_the_closed_form(posterior: Estimator, rng: np.random.Generator) -> None:
    """Mean sum / (1 + n) within 0.1 sd on average, sd 1 / sqrt(1 + n) within 10 % and the error of draws."""
    rows, draws, off = 200, 1000, []
    for n in range(1, MOST + 1):
        x, sd = observed(n, rows, rng), 1 / np.sqrt(1 + n)
        found = posterior.sample(x, draws, rng)[..., 0]
        off.append(np.abs(found.mean(axis=0) - np.nansum(x, axis=1) / (1 + n)).mean() / sd)
        assert abs(found.std(axis=0).mean() / sd - 1) < 0.1 + 4 / np.sqrt(2 * draws * rows)
    assert np.mean(off) < 0.1 and max(off) < 0.15


def test_what_is_missing_may_stand_anywhere(posterior: Estimator, rng: np.random.Generator) -> None:
    """A set knows no order: gaps between values are as good as gaps behind them."""
    x = observed(6, 50, rng)
    theta = rng.normal(size=(50, 1))
    shuffled = rng.permuted(x, axis=1)
    np.testing.assert_allclose(posterior.log_prob(theta, x), posterior.log_prob(theta, shuffled), rtol=1e-9)


def test_it_is_the_same_after_saving(posterior: Estimator, tmp_path: Path, rng: np.random.Generator) -> None:
    about = {"method": "npe", "budget": 10_000, "calibration": 0, "replicate": 0}
    artifacts.save_estimator(posterior, tmp_path / "npe", None, record=about, cost={})
    again = artifacts.load_estimator(tmp_path / "npe")
    x = observed(3, 5, rng)
    assert again.task.has_missing
    assert np.array_equal(again.log_prob(np.zeros((5, 1)), x), posterior.log_prob(np.zeros((5, 1)), x))
    with pytest.raises(DataError, match="1 of 5 rows"):
        again.log_prob(np.zeros((5, 1)), np.where(np.arange(5)[:, None] == 2, np.nan, x))
    with pytest.raises(DataError, match="1 of 5 rows"):
        again.log_prob(np.zeros((5, 1)), np.where(np.arange(5)[:, None] == 2, np.inf, x))


@pytest.mark.parametrize("summary", ["mlp", "conv", "gru", "none"])
def test_networks_of_every_kind_learn_the_width_from_what_is_there(
    summary: str, rng: np.random.Generator
) -> None:
    """One measurement leaves sd 0.71, twenty 0.22, which only the mask tells a network of standardised x."""
    found = trained({"type": summary}, max_steps=150)
    one, all_of_them = (found.sample(observed(n, 100, rng), 400, rng).std(axis=0).mean() for n in (1, MOST))
    assert one > 1.5 * all_of_them
