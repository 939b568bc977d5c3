"""Predictions: the task's type, many draws once and few draws often, statistics of the task's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.errors import ArtifactError, TaskError
from veridical.files import write_npz
from veridical.saved import posteriors, predictions
from veridical.stages.predict import predict
from veridical.tasks import Dimension, Parameter, Task
from veridical.tasks.priors import Product, Uniform

SIZES = {"bands": 60, "draws": None, "replicates": 40}


class Dates(Task):
    """Julian dates without noise."""

    fidelities = {"only": 1.0}  # noqa: RUF012
    parameters = (Parameter("shift", 0.0, 1.0),)
    prior = Product({"shift": Uniform(0.0, 1.0)})
    dimensions = (Dimension("what", ("t0",)),)
    statistics = {"day": lambda x: np.floor(x[:, 0])}  # noqa: RUF012

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        return 2459000.5 + theta


class Pairs(Dates):
    """A statistic with a number a column, not a row."""

    statistics = {"all": lambda x: x}  # noqa: RUF012


def predicted(
    folder: Path, name: str = "Dates", observations: int = 2, **more: Any
) -> predictions.Predictions:
    theta = np.random.default_rng(1).random((300, observations, 1))
    x = np.full((observations, 1), 2459001.75)
    draws = posteriors.Draws(("shift",), np.array([[0.0, 1.0]]), ("d",), theta, x=x, attrs={"dataset": "lab"})
    posteriors.save(folder / "draws.nc", draws)
    spec = {"name": "dates", "file": __file__, "class": name, **more}
    out = folder / "out.npz"
    predict(spec, folder / "draws.nc", out, sizes=SIZES, root=1, method="npe", replicate=0, fidelity="only")
    return predictions.load(out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_are_in_the_type_of_the_task(tmp_path: Path, dtype: str) -> None:
    found = predicted(tmp_path, x_dtype=dtype)
    assert found.x.dtype == found.replicates.dtype == dtype
    near = 0.13 if dtype == "float32" else 1e-9
    assert np.abs(found.x - 2459000.5 - found.theta).max() < near
    assert np.abs(found.replicates - 2459000.5 - found.at[:, None]).max() < near


@pytest.mark.parametrize(("observations", "draws"), [(1, 3), (2, 2), (3, 1), (20, 1)])
def test_few_observations_are_replicated_at_more_draws(tmp_path: Path, observations: int, draws: int) -> None:
    found = predicted(tmp_path, observations=observations)
    assert found.x.shape == (60, observations, 1)
    assert found.replicates.shape == (draws, 40, observations, 1)
    assert len(np.unique(found.at)) == draws * observations


def test_statistics_of_the_task_and_its_axes_come_along(tmp_path: Path) -> None:
    found = predicted(tmp_path, x_dtype="float64")
    assert found.axes == [{"name": "what", "coordinates": ["t0"], "unit": ""}]
    assert list(found.statistics) == ["day"]
    assert (found.statistics["day"][:, 0] == 2459001).all()
    np.testing.assert_array_equal(found.statistics["day"][:, 1:], np.floor(found.replicates[..., 0]))


def test_a_statistic_that_is_no_number_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"statistic 'all': expected one number .* got shape \(\d+, 1\)"):
        predicted(tmp_path, "Pairs")


def test_predictions_of_format_1_have_no_replicates(tmp_path: Path) -> None:
    write_npz(tmp_path / "old.npz", {"x": np.zeros((5, 2, 1)), "theta": np.zeros((5, 2, 1))})
    found = predictions.load(tmp_path / "old.npz")
    assert found.x.shape == (5, 2, 1)
    assert found.replicates.shape == (0, 0, 2, 1)
    write_npz(tmp_path / "new.npz", {"format": 99})
    with pytest.raises(ArtifactError, match=r"new\.npz: expected format 2, got 99"):
        predictions.load(tmp_path / "new.npz")
