"""What weighs draws: a log-likelihood that can be saved with the method that uses it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from veridical import tasks
from veridical.errors import ArtifactError, TaskError
from veridical.tasks.base import Array, Prior, Task

TASK = "task.json"


class Likelihood(Protocol):
    """The likelihood of one observation at parameters, up to a factor that only the observation decides."""

    @property
    def prior(self) -> Prior:
        """The prior that goes with it."""
        ...

    @property
    def own_code(self) -> list[str]:
        """Files of the user's that asking it would run."""
        ...

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns its logarithm at theta (N, D) for one x (*x_shape), shape (N,); -inf where it is zero."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Returns what `from_arrays` needs, by name."""
        ...


class Exact:
    """The likelihood that a task states; the task is built when it is first asked.

    Arguments:
        spec: The task, as plain data.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = dict(spec)

    @cached_property
    def task(self) -> Task:
        """The task itself."""
        return tasks.build(self.spec)

    @property
    def prior(self) -> Prior:
        """The task's prior."""
        return self.task.prior

    @property
    def own_code(self) -> list[str]:
        """Files of the user's that the task is made of."""
        return [str(self.spec["file"])] if "file" in self.spec else []

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) at theta (N, D) for one x (*x_shape); NaN counts as -inf.

        Raises:
            TaskError: If it is infinite somewhere.
        """
        log_p = np.asarray(self.task.log_likelihood(theta, x), float)
        if np.isposinf(log_p).any():
            raise TaskError(f"task {self.task.name}: expected a finite log_likelihood or -inf, got +inf.")
        return np.where(np.isnan(log_p), -np.inf, log_p)

    def arrays(self) -> dict[str, Array]:
        """Returns the task's settings, as the bytes of a JSON text."""
        return {TASK: np.frombuffer(json.dumps(self.spec, sort_keys=True).encode(), dtype=np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Exact:
        """Returns the likelihood that `arrays` came from; nothing of it runs yet.

        Raises:
            ArtifactError: If it is missing or no JSON.
        """
        try:
            return cls(json.loads(arrays[TASK].tobytes()))
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"likelihood: the task's settings cannot be read: {error}") from error


class Method(Protocol):
    """A trained method that has learned a likelihood, such as an `nle` or `nre`."""

    prior: Prior
    own_code: Sequence[str]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log likelihoods (..., N) of theta (..., N, D) given x (N, *x_shape), up to constants."""
        ...


class Learned:
    """The likelihood or ratio that a trained method has learned; that is kept as a method of its own.

    Arguments:
        method: The method.
    """

    def __init__(self, method: Method) -> None:
        self.method = method

    @property
    def prior(self) -> Prior:
        """The prior of the method, which is the task's."""
        return self.method.prior

    @property
    def own_code(self) -> list[str]:
        """Files of the user's that the method runs."""
        return list(self.method.own_code)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) up to a constant, at theta (N, D) for one x (*x_shape)."""
        return self.method.log_likelihood(theta[:, None], x[None])[:, 0]

    def arrays(self) -> dict[str, Array]:
        """Returns nothing: the method lies in a folder of its own."""
        return {}
