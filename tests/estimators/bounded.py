"""A rate, bounded below, and a share, bounded on both sides: pairs of them, and the integral of a density."""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.estimators.base import Material, Rows, TaskInfo

BOUNDED = TaskInfo("bounded", ("rate", "share"), np.array([(0, np.inf), (0, 1)]), ("1/s", ""), (3,))


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
