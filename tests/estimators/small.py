"""Two small tasks, of a rate and a share (`BOUNDED`), of a share and a number without bounds (`BOX`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.tasks.priors import Normal, Product, Uniform

BOX = TaskInfo("box", ("a", "b"), np.array([(0.0, 1.0), (-np.inf, np.inf)]), ("", ""), (3,))
PRIOR = Product({"a": Uniform(0, 1), "b": Normal(0, 1)})  # of the box
NETWORKS = {
    "summary": {"type": "mlp", "hidden": [8], "features": 3},
    "flow": {"transforms": 1, "hidden": [8], "bins": 4},
}
REQUIRED: dict[str, dict[str, Any]] = {  # settings of summary networks that have no default
    "energy_flow": {"energy": 0},
    "parts": {"parts": {"one": {"entries": [0]}, "rest": {"entries": ["1:"], "summary": "transformer"}}},
}
BOUNDED = TaskInfo("bounded", ("rate", "share"), np.array([(0, np.inf), (0, 1)]), ("1/s", ""), (3,))


def box_rows(n: int = 200, shift: float = 0.0, seed: int = 4) -> Rows:
    """Simulations of the box, every tenth for validation."""
    rng = np.random.Generator(np.random.PCG64(seed))
    theta = PRIOR.sample(rng, n)
    x = theta @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]) + shift + 0.1 * rng.normal(size=(n, 3))
    return Rows(theta, x.astype(np.float32), np.arange(n) % 10 == 9)


def bounded_data(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters within the bounds, many near those of the share, and three numbers that depend on them."""
    theta = np.stack([rng.gamma(2, size=n), rng.beta(0.6, 0.6, size=n)], 1)
    return theta, (theta @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(n, 3))).astype(np.float32)


def same(one: Estimator, other: Estimator) -> bool:
    """Whether two methods consist of the same bits."""
    first, second = one.arrays(), other.arrays()
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def pairs(theta: np.ndarray, x: np.ndarray) -> Material:
    return Material(calibration=Rows(theta, x, np.zeros(len(x), bool)))


def mass(estimator: Any, x: np.ndarray) -> float:
    """The integral of the posterior of one x over both parameters, on logarithms and logits."""
    rate, logit = np.exp(np.linspace(-12, 8, 500)), np.linspace(-16, 16, 500)
    share = 1 / (1 + np.exp(-logit))
    theta = np.stack(np.meshgrid(rate, share, indexing="ij"), -1).reshape(-1, 1, 2)
    p = np.exp(estimator.log_prob(theta, x)).reshape(500, 500)
    inner = np.trapezoid(p * share * (1 - share), logit, axis=1)
    return float(np.trapezoid(inner * rate, np.log(rate)))
