"""A share, measured with an error that is a little larger in reality than in the simulator."""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

ERRORS = {"model": 0.1, "real": 0.15}


class NewcomerTask(Task):
    """x = share + error, three times."""

    name = "newcomer_task"
    prior = Product({"share": Uniform(0.0, 1.0)})
    parameters = prior.parameters()
    dimensions = (Dimension("reading", (0, 1, 2)),)
    fidelities = {"model": 1.0, "real": 10.0}  # noqa: RUF012
    block_rows = 100

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns standard normal errors, (n, 3)."""
        return {"error": rng.standard_normal((n, 3))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 1), shape (N, 3)."""
        if fidelity not in ERRORS:
            known = ", ".join(ERRORS)
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected {known}.")
        return theta + ERRORS[fidelity] * noise["error"]
