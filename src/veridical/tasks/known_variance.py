"""Normal data of one known variance, and so a normal posterior: what tasks of this kind share."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array, Task


class KnownVariance(Task):
    """A task with levels `model`, of variance one, and `real`, whose variance grows with the severity.

    Of the other things that may be wrong with the simulator no posterior is known.
    """

    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    wrong: str
    wrong_variance: str  # of what may be wrong, that the variance is
    real_variance: float
    severity: float

    @abstractmethod
    def _posterior(self, x: Array, variance: float) -> tuple[Array, float]:
        """Means (N, D) and the variance of all parameters given x (N, *x_shape) of that variance."""

    @property
    def has_posterior(self) -> bool:
        """Whether the posterior is known at both levels: where all data have one variance."""
        return self.wrong == self.wrong_variance

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, *x_shape) of one level, shape (n, N, D)."""
        means, variance = self._posterior(x, self._variance(fidelity))
        return means + np.sqrt(variance) * rng.standard_normal((n, *means.shape))

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log densities of theta (..., N, D) given x (N, *x_shape) of one level, (..., N)."""
        means, variance = self._posterior(x, self._variance(fidelity))
        return log_normal(theta - means, variance)

    def _variance(self, fidelity: str | None) -> float:
        """The variance of data of a level.

        Raises:
            NotImplementedError: If they have no common one.
        """
        if self._level(fidelity) == "model":
            return 1.0
        if not self.has_posterior:
            raise NotImplementedError(f"task {self.name} has no exact posterior at the level real.")
        return 1 + self.severity * (self.real_variance - 1)

    def _level(self, fidelity: str | None) -> str:
        if (fidelity or "model") not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        return fidelity or "model"


def log_normal(residuals: Array, variance: float) -> Array:
    """Log densities of independent normal residuals (..., D), shape (...)."""
    return -0.5 * (residuals**2 / variance + np.log(2 * np.pi * variance)).sum(axis=-1)
