"""The prior as an answer: what one knows before the data, and what every method has to beat."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from veridical.errors import ArtifactError, TaskError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.prior_settings import PriorSettings
from veridical.tasks import families
from veridical.tasks.base import Array, Prior
from veridical.training.session import Session

ARRAY = "prior.json"


class PriorEstimator(Estimator):
    """Draws and log densities of the prior, whatever x is."""

    type = "prior"

    def __init__(self, settings: PriorSettings, task: TaskInfo, prior: Prior) -> None:
        self.settings = settings
        self.task = task
        self.prior = prior

    @classmethod
    def fit(
        cls, settings: PriorSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[PriorEstimator, None]:
        """Returns the task's prior; there is nothing to train.

        Raises:
            TrainingError: If the prior cannot be written down, for it is not made of known distributions.
        """
        prior: Prior = material.require("prior", settings.type)
        require_written(prior, settings.type, task)
        return cls(settings, task, prior), None

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n prior draws (n, N, D) for each row of x and their log densities (n, N)."""
        require_shape("x", x, None, *self.task.x_shape)
        rows = draws_inside(self.prior, self.task, len(x) * n, rng)
        draws = rows.reshape(len(x), n, -1).swapaxes(0, 1)
        return draws, self.prior.log_prob(rows).reshape(len(x), n).T

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        return self.prior.log_prob(theta.reshape(-1, theta.shape[-1])).reshape(theta.shape[:-1])

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter: nothing."""
        return {"x": [], "parameters": dict.fromkeys(self.task.parameters, "none")}

    def arrays(self) -> dict[str, Array]:
        """Returns the prior's families and numbers, as the bytes of a JSON text."""
        return prior_arrays(self.prior)

    @classmethod
    def from_arrays(
        cls, settings: PriorSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> PriorEstimator:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        return cls(settings, task, prior_from(arrays, cls.type))


def require_written(prior: Prior, method: str, task: TaskInfo) -> None:
    """Raises TrainingError unless a prior is made of known distributions, which can be written down."""
    try:
        families.to_json(prior)
    except TaskError as error:
        raise TrainingError(f"estimator {method!r} of task {task.name}: {error}") from error


def prior_arrays(prior: Prior) -> dict[str, Array]:
    """Returns a prior's families and numbers, as the bytes of a JSON text."""
    text = json.dumps(families.to_json(prior))
    return {ARRAY: np.frombuffer(text.encode(), dtype=np.uint8)}


def prior_from(arrays: Arrays, method: str) -> Prior:
    """Returns the prior that `prior_arrays` wrote down.

    Raises:
        ArtifactError: If it is missing or cannot be read.
    """
    try:
        return families.from_json(json.loads(arrays[ARRAY].tobytes()))
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"estimator {method}: the prior cannot be read: {error}") from error


def draws_inside(prior: Prior, task: TaskInfo, n: int, rng: np.random.Generator) -> Array:
    """Returns prior draws (n, D), none of them on a bound."""
    plain = task.support.plain if task.support else slice(None)
    lower, upper = task.bounds[plain].T
    rows = prior.sample(rng, n)
    rows[:, plain] = np.clip(rows[:, plain], np.nextafter(lower, np.inf), np.nextafter(upper, -np.inf))
    return rows
