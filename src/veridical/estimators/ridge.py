r"""Ridge regression of the parameters on real data, from calibration pairs alone.

With standardised data :math:`x_i` and unconstrained, standardised parameters :math:`z_i` of n pairs, each
parameter j has

.. math:: \beta_j = \arg\min_\beta \sum_i (z_{ij} - \bar z_j - (x_i - \bar x)^T \beta)^2
    + n \lambda |\beta|^2 .

The centred data matrix is :math:`U S V^T`. Leaving one pair out of the sums changes its residual to

.. math:: e_{ij} = \frac{z_{ij} - \hat z_{ij}}{1 - h_i} , \qquad
    h_i = \frac1n + \sum_k U_{ik}^2 \frac{S_k^2}{S_k^2 + n \lambda} ,

(with the penalty as it was), so that a whole grid of penalties costs one decomposition. The penalty is the
largest whose :math:`\sum_j e_{ij}^2` exceeds that of the best one by no more than one standard error of the
difference, over rows. The posterior is normal around the prediction, with the covariance
:math:`E^T E / (n - D - 1)` of the residuals left out: with normal residuals its inverse is without bias.

References:
    | The Elements of Statistical Learning (Hastie, Tibshirani, Friedman, 2009), sections 3.4.1 and 7.10
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
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training.session import Session

NUMBERS = ("coefficients", "intercept", "penalty", "factor")  # of a fit, as they are saved


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge regression.

    Attributes:
        coefficients: Shape (F, D).
        intercept: Shape (D,).
        penalty: Penalty per row.
        residuals: What each row misses its prediction by when it is left out of the fit, (n, D).
    """

    coefficients: Array
    intercept: Array
    penalty: float
    residuals: Array


def regress(x: Array, z: Array, penalties: Array) -> RidgeFit:
    """Returns the ridge regression of z (n, D) on x (n, F) with a penalty chosen from an ascending grid."""
    n = len(x)
    centre, mean = x.mean(axis=0), z.mean(axis=0)
    u, s, vt = np.linalg.svd(x - centre, full_matrices=False)
    parts = u.T @ (z - mean)
    left_out = np.stack([_left_out(z - mean, u, s**2 / (s**2 + n * each), parts) for each in penalties])
    chosen = _simplest((left_out**2).sum(axis=2))
    weights = s / (s**2 + n * penalties[chosen])
    coefficients = vt.T @ (weights[:, None] * parts)
    return RidgeFit(coefficients, mean - centre @ coefficients, float(penalties[chosen]), left_out[chosen])


def _left_out(z: Array, u: Array, shares: Array, parts: Array) -> Array:
    """Residuals (n, D) of centred z, each row predicted from the others alone."""
    leverage = 1 / len(z) + u**2 @ shares
    return (z - u @ (shares[:, None] * parts)) / np.maximum(1 - leverage, 1e-10)[:, None]


def _simplest(squares: Array) -> int:
    """The last of the penalties whose squared residuals (penalties, n) are about as small as the least."""
    excess = squares - squares[np.argmin(squares.mean(axis=1))]
    error = excess.std(axis=1) / np.sqrt(squares.shape[1])
    return int(np.flatnonzero(excess.mean(axis=1) <= error).max())


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
            others = Material(calibration=Rows(*(rows[learn] for rows in vars(pairs).values())))
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
