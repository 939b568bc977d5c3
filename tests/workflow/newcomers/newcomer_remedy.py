"""Real data are moved by a constant, the difference between two halves of the labelled pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from veridical.errors import ArtifactError
from veridical.estimators.base import Estimator, Material, TaskInfo
from veridical.estimators.settings import MethodSettings
from veridical.tasks.base import Array
from veridical.training.session import Session


class NewcomerRemedySettings(MethodSettings):
    """Moves real data before another method sees them."""

    code: ClassVar[str] = "veridical.remedies.newcomer_remedy:NewcomerRemedy"
    learns: ClassVar[tuple[str, ...]] = ("calibration",)
    type: Literal["newcomer_remedy"] = "newcomer_remedy"
    of: str = Field(description="The method that it moves data for.")


class NewcomerRemedy(Estimator):
    """The posterior of another method at moved data."""

    type = "newcomer_remedy"

    def __init__(self, settings: Any, task: TaskInfo, parent: Estimator, move: Array) -> None:
        self.settings, self.task, self.parent, self.move = settings, task, parent, move

    @classmethod
    def fit(
        cls, settings: NewcomerRemedySettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[NewcomerRemedy, None]:
        """Returns the parent behind the move."""
        pairs = material.require("calibration", cls.type)
        parent = material.require("parent", cls.type)
        half = len(pairs) // 2
        return cls(settings, task, parent, pairs.x[:half].mean(axis=0) - pairs.x[half:].mean(axis=0)), None

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) and their log densities (n, N)."""
        return self.parent.sample_and_log_prob(x + self.move, n, rng)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D)."""
        return self.parent.log_prob(theta, x + self.move)

    def transforms(self) -> dict[str, Any]:
        """Returns those of the parent."""
        return self.parent.transforms()

    def arrays(self) -> dict[str, Array]:
        """Returns the move."""
        return {"move": self.move}

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Mapping[str, Array], parent: Estimator | None = None
    ) -> NewcomerRemedy:
        """Returns the remedy that `arrays` came from."""
        if parent is None or "move" not in arrays:
            raise ArtifactError(f"remedy {cls.type}: its parent or the array 'move' is missing.")
        return cls(settings, task, parent, arrays["move"])
