"""A normal posterior around a linear prediction, by least squares on simulations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from veridical.errors import ArtifactError
from veridical.estimators.base import Estimator, Material, TaskInfo
from veridical.estimators.gaussian import GaussianEstimator
from veridical.estimators.settings import MethodSettings
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training.session import Session


class NewcomerSettings(MethodSettings):
    """Least squares in the unconstrained space of the parameters."""

    code: ClassVar[str] = "veridical.estimators.newcomer_estimator:NewcomerEstimator"
    type: Literal["newcomer_estimator"] = "newcomer_estimator"


class NewcomerEstimator(GaussianEstimator):
    """A linear mean with a constant covariance."""

    type = "newcomer_estimator"

    def __init__(
        self,
        settings: NewcomerSettings,
        task: TaskInfo,
        inputs: InputTransform,
        parameters: ParameterTransform,
        numbers: Mapping[str, Array],
    ) -> None:
        self.settings, self.task, self.inputs, self.parameters = settings, task, inputs, parameters
        self.slope, self.factor = numbers["slope"], numbers["factor"]

    @classmethod
    def fit(
        cls, settings: NewcomerSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[NewcomerEstimator, None]:
        """Returns the regression."""
        rows = material.require("simulations", cls.type)
        inputs = InputTransform.fit(rows.x, "none")
        parameters = ParameterTransform.fit(rows.theta, task.bounds)
        z = parameters.forward(rows.theta)[0]
        x = _with_one(inputs, rows.x)
        slope = np.linalg.lstsq(x, z, rcond=None)[0]
        covariance = np.cov(z - x @ slope, rowvar=False).reshape(z.shape[1], z.shape[1])
        numbers = {"slope": slope, "factor": np.linalg.cholesky(covariance)}
        return cls(settings, task, inputs, parameters, numbers), None

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Returns means (N, D) and factors (N, D, D)."""
        means = _with_one(self.inputs, x) @ self.slope
        return means, np.broadcast_to(self.factor, (len(x), *self.factor.shape))

    def arrays(self) -> dict[str, Array]:
        """Returns all numbers by name."""
        numbers = {"slope": self.slope, "factor": self.factor}
        return {**numbers, **self.inputs.arrays(), **self.parameters.arrays()}

    @classmethod
    def from_arrays(
        cls,
        settings: Any,
        task: TaskInfo,
        arrays: Mapping[str, Array],
        parent: Estimator | None = None,
    ) -> NewcomerEstimator:
        """Returns the estimator that `arrays` came from."""
        try:
            inputs = InputTransform.from_arrays("none", arrays)
            return cls(settings, task, inputs, ParameterTransform.from_arrays(task.bounds, arrays), arrays)
        except KeyError as error:
            raise ArtifactError(f"estimator {cls.type}: the array {error} is missing.") from error


def _with_one(inputs: InputTransform, x: Array) -> Array:
    return np.column_stack([np.ones(len(x)), inputs(x).reshape(len(x), -1)])
