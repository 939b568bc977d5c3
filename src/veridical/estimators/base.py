"""The contract of an estimator: draws and log densities for any observation, in the task's coordinates.

Shapes: N observations, S draws, D parameters, K summaries; `x` (N, *x_shape), `draws` (S, N, D).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from veridical.tasks.base import Array

if TYPE_CHECKING:
    from veridical.tasks.base import Task
    from veridical.training import Run, TrainingResult


@dataclass(frozen=True)
class TaskInfo:
    """What an estimator knows of its task.

    Attributes:
        name: Name of the task.
        parameters: Names of the D parameters.
        bounds: Their bounds, infinite where there is none, shape (D, 2).
        units: Their units.
        x_shape: Shape of one row of x.
        x_unit: The unit of x.
    """

    name: str
    parameters: tuple[str, ...]
    bounds: Array
    units: tuple[str, ...]
    x_shape: tuple[int, ...]
    x_unit: str = ""

    @classmethod
    def of(cls, task: Task) -> TaskInfo:
        """Returns what an estimator keeps of a task."""
        units = tuple(p.unit for p in task.parameters)
        return cls(task.name, task.parameter_names, task.bounds, units, task.x_shape, task.x_unit)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data; an infinite bound is None."""
        bounds = [[float(b) if np.isfinite(b) else None for b in pair] for pair in self.bounds]
        return {
            "name": self.name,
            "parameters": list(self.parameters),
            "bounds": bounds,
            "units": list(self.units),
            "x_shape": list(self.x_shape),
            "x_unit": self.x_unit,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TaskInfo:
        """Returns what `to_json` recorded."""
        missing = (-np.inf, np.inf)
        bounds = [
            [m if b is None else b for b, m in zip(pair, missing, strict=True)] for pair in record["bounds"]
        ]
        return cls(
            record["name"],
            tuple(record["parameters"]),
            np.array(bounds, float).reshape(-1, 2),
            tuple(record["units"]),
            tuple(record["x_shape"]),
            record["x_unit"],
        )


@dataclass(frozen=True)
class SummaryCloud:
    """Mean and covariance of the summaries of training rows: what a typical observation looks like.

    Attributes:
        mean: Shape (K,).
        covariance: Shape (K, K).
        rows: Number of rows behind them.
    """

    mean: Array
    covariance: Array
    rows: int

    @classmethod
    def of(cls, summary: Array) -> SummaryCloud:
        """Returns mean and covariance of summaries (N, K)."""
        covariance = np.cov(summary, rowvar=False).reshape(summary.shape[1], summary.shape[1])
        return cls(summary.mean(axis=0), covariance, len(summary))


class Estimator(ABC):
    """A trained network with its transforms.

    Attributes:
        type: Name of the estimator in the registry.
        settings: Its settings, as validated.
        task: What it knows of its task.
        cloud: Mean and covariance of the summaries of its training rows.
    """

    type: ClassVar[str]
    settings: Any
    task: TaskInfo
    cloud: SummaryCloud

    @classmethod
    @abstractmethod
    def fit(
        cls, spec: Mapping[str, Any], task: TaskInfo, theta: Array, x: Array, validation: Array, run: Run
    ) -> tuple[Estimator, TrainingResult]:
        """Returns a trained estimator and how its training went.

        Arguments:
            spec: Settings as plain data.
            task: The task.
            theta: Parameters of the valid rows, shape (N, D).
            x: Their data, shape (N, *x_shape).
            validation: Whether a row serves validation, shape (N,).
            run: Seeds, threads, checkpoints and limits of this training.

        Raises:
            TrainingError: If there are too few rows, or the loss is not finite.
        """

    @abstractmethod
    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N).

        The base noise comes from `rng` observation by observation, so draws do not depend on the
        sizes of internal batches. All draws lie strictly inside the bounds.
        """

    @abstractmethod
    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""

    @abstractmethod
    def summary(self, x: Array) -> Array:
        """Returns summaries (N, K) of x (N, *x_shape)."""

    @abstractmethod
    def transforms(self) -> dict[str, Any]:
        """Returns, as plain data, what happens to x and to each parameter around the network."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Returns everything numerical that `from_arrays` needs, by name."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, spec: Mapping[str, Any], task: TaskInfo, arrays: Mapping[str, Array]) -> Estimator:
        """Returns the estimator that `arrays` came from."""

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape)."""
        return self.sample_and_log_prob(x, n, rng)[0]
