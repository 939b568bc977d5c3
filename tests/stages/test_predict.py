"""Predictions keep the type of the task's x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.saved import posteriors
from veridical.stages.predict import predict
from veridical.tasks import Dimension, Parameter, Task
from veridical.tasks.priors import Product, Uniform


class Dates(Task):
    """Julian dates without noise."""

    fidelities = {"only": 1.0}  # noqa: RUF012
    parameters = (Parameter("shift", 0.0, 1.0),)
    prior = Product({"shift": Uniform(0.0, 1.0)})
    dimensions = (Dimension("what", ("t0",)),)

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        return 2459000.5 + theta


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_are_in_the_type_of_the_task(tmp_path: Path, dtype: str) -> None:
    theta = np.random.default_rng(1).random((300, 2, 1))
    draws = posteriors.Draws(("shift",), np.array([[0.0, 1.0]]), ("d",), theta, attrs={"dataset": "lab"})
    posteriors.save(tmp_path / "draws.nc", draws)
    spec = {"name": "dates", "file": __file__, "class": "Dates", "x_dtype": dtype}
    out = tmp_path / "out.npz"
    predict(spec, tmp_path / "draws.nc", out, root=1, method="npe", replicate=0, fidelity="only")
    with np.load(out) as stored:
        assert stored["x"].dtype == dtype
        assert np.abs(stored["x"] - 2459000.5 - stored["theta"]).max() < (
            0.13 if dtype == "float32" else 1e-9
        )
