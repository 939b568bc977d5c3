r"""Ridge regression of the parameters on real data, from calibration pairs alone.

The penalty of the regression of unconstrained, standardised parameters on standardised data is chosen by
residuals of pairs left out; see `veridical.networks.ridge`. The posterior is normal around the prediction,
with the covariance :math:`E^T E / (n - D - 1)` of these residuals: with normal ones its inverse is without
bias.

References:
    | Why your model parameter confidences might be too optimistic (Hartlap, Simon, Schneider, 2007)
    | https://arxiv.org/abs/astro-ph/0608064
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.apart import folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.gaussian import GaussianEstimator
from veridical.estimators.ridge_settings import RidgeSettings
from veridical.networks.ridge import regress
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training.session import Session

NUMBERS = ("coefficients", "intercept", "penalty", "factor")  # of a fit, as they are saved


@dataclass(eq=False)
class Ridge(GaussianEstimator):
    """A linear posterior mean with a constant covariance, in the unconstrained space."""

    type = "ridge"
    coefficients: Array
    intercept: Array
    penalty: Array
    factor: Array

    @classmethod
    def fit(
        cls, settings: RidgeSettings, task: TaskInfo, material: Material, run: Session | None = None
    ) -> tuple[Ridge, None]:
        """Returns the regression; see `Estimator.fit`."""
        pairs, d = labelled(material, "calibration", settings.type, task), len(task.cells)
        if len(pairs) < d + 3:
            raise TrainingError(
                f"estimator 'ridge' needs at least {d + 3} calibration pairs for {d} parameters, got "
                f"{len(pairs)}; raise `calibration`."
            )
        inputs = InputTransform.fit(pairs.x, settings.inputs.transform)
        parameters = ParameterTransform.fit(pairs.theta, task.bounds, task.support)
        grid = np.geomspace(settings.smallest, settings.largest, settings.penalties)
        found = regress(inputs(pairs.x).reshape(len(pairs), -1), parameters.forward(pairs.theta)[0], grid)
        covariance = found.residuals.T @ found.residuals / (len(pairs) - d - 1)
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise TrainingError(
                "estimator 'ridge': the residuals of the parameters have a singular covariance, so that one "
                "parameter follows from the others; remove it from the task, or give more calibration pairs."
            ) from error
        numbers = found.coefficients, found.intercept, np.array(found.penalty), factor
        return cls(settings, task, inputs, parameters, *numbers), None

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Returns means (N, D) and lower triangular factors (N, D, D) of the covariances, given x."""
        means = self.inputs(x).reshape(len(x), -1) @ self.coefficients + self.intercept
        return means, np.broadcast_to(self.factor, (len(x), *self.factor.shape))

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns each fifth of the pairs that it has learned from, with a fit without it."""
        parts: list[tuple[Array, Estimator]] = []
        for learn, held in folds(len(pairs)):
            others = Material(calibration=pairs.at(learn))
            fitted, _ = self.fit(self.settings, self.task, others)
            parts.append((np.flatnonzero(held), fitted))
        return parts

    def arrays(self) -> dict[str, Array]:
        """Returns coefficients and statistics by name."""
        return {**{f"ridge.{name}": getattr(self, name) for name in NUMBERS}, **super().arrays()}

    @classmethod
    def from_arrays(
        cls, settings: RidgeSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Ridge:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        try:
            inputs = InputTransform.from_arrays(settings.inputs.transform, arrays)
            parameters = ParameterTransform.from_arrays(task.bounds, arrays, task.support)
            numbers = [arrays[f"ridge.{name}"] for name in NUMBERS]
        except KeyError as error:
            raise ArtifactError(f"estimator {cls.type}: the array {error} is missing.") from error
        return cls(settings, task, inputs, parameters, *numbers)
