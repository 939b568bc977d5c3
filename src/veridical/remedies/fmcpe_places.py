"""Around the flows of FMCPE: linear maps, and a field that leaves normal numbers as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from veridical.networks.flow_matching import FlowMatching
from veridical.tasks.base import Array

REACH = 8.0  # largest condition, and draw of the posterior, in standard deviations
_FLOOR = 1e-3  # least standard deviation of what a regression leaves


@dataclass(frozen=True, eq=False)
class Scaling:
    """The linear map to what flows are told of real data.

    Attributes:
        mean: What is subtracted, shape (R,).
        matrix: What multiplies, shape (R, C).
    """

    mean: Array
    matrix: Array

    @classmethod
    def fit(cls, raw: Array, components: bool) -> Scaling:
        """Returns the map to unit variance over raw (n, R), or to n / 4 principal components at most."""
        mean, scale = raw.mean(axis=0), raw.std(axis=0)
        matrix = np.diag(1 / np.where(scale > 0, scale, 1.0))
        if components:
            _, s, vt = np.linalg.svd((raw - mean) @ matrix, full_matrices=False)
            kept = max(1, min(len(raw) // 4, int((s > 1e-6 * s[0]).sum())))
            matrix = matrix @ (vt[:kept].T * np.sqrt(len(raw)) / s[:kept])
        return cls(mean, matrix)

    def __call__(self, raw: Array) -> Array:
        """Returns conditions (N, C) of raw (N, R)."""
        return np.clip((raw - self.mean) @ self.matrix, -REACH, REACH).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Place:
    """A ridge regression of numbers on conditions, with a root of the covariance of what is left.

    Attributes:
        slope: Of D numbers on C conditions and a constant, shape (C + 1, D).
        factor: Lower triangular, times its transpose the covariance, shape (D, D).
    """

    slope: Array
    factor: Array

    @classmethod
    def fit(cls, rows: Array, told: Array, pairs: int, *, widened: bool) -> Place:
        """Returns the regression of rows (N, D) on conditions (N, C), with a penalty of one pair.

        Arguments:
            rows: What is regressed.
            told: Conditions.
            pairs: How many different ones there are.
            widened: Whether the covariance is that of new rows, by the coefficients that so many pairs told.
        """
        design = _design(told)
        penalty = np.diag([len(told) / pairs] * told.shape[1] + [0.0])
        slope = np.linalg.solve(design.T @ design + penalty, design.T @ rows)
        left = rows - design @ slope
        covariance = left.T @ left / len(rows) + _FLOOR**2 * np.eye(rows.shape[1])
        if widened:
            free = max(pairs - design.shape[1], 0.2 * pairs)
            covariance *= pairs / free * (1 + design.shape[1] / pairs)
        return cls(slope, np.linalg.cholesky(covariance))

    def standard(self, rows: Array, told: Array) -> Array:
        """Returns rows (N, D) less what conditions (N, C) predict, of about unit variance."""
        return np.linalg.solve(self.factor, (rows - _design(told) @ self.slope).T).T

    def back(self, rows: Array, told: Array) -> Array:
        """Returns what `standard` made rows (N, D) of."""
        return _design(told) @ self.slope + rows @ self.factor.T

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Returns its numbers by name, the prefix before each."""
        return {f"{prefix}slope": self.slope, f"{prefix}factor": self.factor}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], prefix: str) -> Place:
        """Returns the regression that `arrays` came from."""
        return cls(arrays[f"{prefix}slope"], arrays[f"{prefix}factor"])


class NearlyNormal(FlowMatching):
    r"""A field between nearly standard normal numbers: that of normal ones, and what a network adds,

    .. math:: v(u, t, c) = \frac{2 t - 1}{t^2 + (1 - t)^2} \, u + v_\phi(u, t, c) .

    The first part alone, which is exact for independent standard normal ends, leaves numbers as they are.
    """

    def velocity(self, theta: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """Returns the field (B, D)."""
        pull = (2 * time - 1) / (time**2 + (1 - time) ** 2)
        return pull[..., None].to(theta) * theta + super().velocity(theta, time, told)


def _design(told: Array) -> Array:
    """Conditions (N, C) with a constant beside them."""
    return np.concatenate([told, np.ones((len(told), 1))], axis=1).astype(float)
