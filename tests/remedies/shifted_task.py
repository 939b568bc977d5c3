"""A small task: one bounded parameter, two numbers, and a shift of real data that the simulator lacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from veridical.bank.blocks import Simulator
from veridical.estimators.base import CoupledRows, Rows, TaskInfo
from veridical.inference.likelihoods import Exact
from veridical.tasks.base import Array, Dimension, Parameter, Task
from veridical.tasks.priors import Product, Uniform

SHIFTED = TaskInfo("shifted", ("share",), np.array([(0.0, 1.0)]), ("",), (2,))
PRIOR = Product({"share": Uniform(0.0, 1.0)})
SD = 0.1
SHIFT = np.array([0.3, 0.6])  # moves the posterior by 0.3, several of its standard deviations


def simulate(theta: Array, rng: np.random.Generator) -> Array:
    """x = (theta, 2 theta) + N(0, 0.1^2)."""
    return (theta * [1.0, 2.0] + SD * rng.normal(size=(len(theta), 2))).astype(np.float32)


class ShiftedTask(Task):
    """The task itself, with its likelihood."""

    name, parameters, fidelities = "shifted", (Parameter("share", 0.0, 1.0),), {"model": 1.0}
    dimensions = (Dimension("axis0", (0, 1)),)
    prior = PRIOR

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        return simulate(theta, noise)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        return stats.norm.logpdf(x, theta * [1.0, 2.0], SD).sum(axis=1)


class TwoLevels(ShiftedTask):
    """The same at two levels, whose noise is their own."""

    fidelities = {"low": 1.0, "model": 10.0}  # noqa: RUF012


LIKELIHOOD = Exact({"name": "shifted", "file": __file__, "class": "ShiftedTask"})


def simulator(function: Callable[..., Array] = simulate, task: TaskInfo = SHIFTED) -> Simulator:
    """What a method gets that simulates: here, a function of theta (N, D) and a generator."""
    names = {"parameters": tuple(map(Parameter, task.parameters)), "fidelities": {"model": 1.0}}
    dimensions = tuple(Dimension(f"axis{i}", tuple(range(n))) for i, n in enumerate(task.x_shape))
    call = {"simulate": lambda self, theta, rng, fidelity: function(theta, rng)}
    made = type("Made", (Task,), {"name": task.name, "dimensions": dimensions, **names, **call})
    return Simulator(made(), "model")


def rows(n: int, real: bool, rng: np.random.Generator) -> Rows:
    theta = PRIOR.sample(rng, n)
    x = simulate(theta, rng)
    score = ((x - theta * [1.0, 2.0]) * [1.0, 2.0]).sum(axis=1, keepdims=True) / SD**2
    return Rows(theta, (x + SHIFT).astype(np.float32) if real else x, np.arange(n) % 10 == 9, score)


def coupled(n: int, rng: np.random.Generator, *lower: str) -> tuple[Rows, ...]:
    """The simulations of this many cheaper levels, in which x is shifted the other way, and of the task."""
    top = rows(n, False, rng)
    below = (top.x - 0.1 * SHIFT).astype(np.float32)
    pairs = [CoupledRows(top.theta, below, top.validation, below=below) for _ in lower[1:]]
    return (
        Rows(top.theta, below, top.validation),
        *pairs,
        CoupledRows(top.theta, top.x, top.validation, below=below),
    )
