"""Models whose exact posterior is known, so that checks are judged without learning anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from veridical.tasks.latents import Support
from veridical.tasks.supports import Constraint


@dataclass(frozen=True)
class Draws:
    """What a check reads of the draws of one method on one data set."""

    names: tuple[str, ...]
    draws: np.ndarray
    log_density: np.ndarray | None = None
    truth: np.ndarray | None = None
    log_density_truth: np.ndarray | None = None
    summary: np.ndarray | None = None
    summary_mean: np.ndarray | None = None
    summary_cov: np.ndarray | None = None
    x: np.ndarray | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    summarisers: int = 1

    @property
    def support(self) -> Support:
        """The constraints of the parameters by their columns."""
        return Support(self.names, self.constraints)


def gaussian(
    rng: np.random.Generator, scale: float | None = 1.0, n: int = 500, s: int = 999, d: int = 1
) -> Draws:
    """Draws of theta ~ N(0, 1), x ~ N(theta, 1) for a posterior whose sd is `scale` times the exact one.

    The exact posterior is N(x / 2, 1 / 2). A scale of None stands for the prior, which ignores x.
    """
    theta = rng.normal(size=(n, d))
    x = theta + rng.normal(size=(n, d))
    mean = np.zeros_like(x) if scale is None else x / 2
    sd = 1.0 if scale is None else scale * np.sqrt(0.5)
    draws = mean + sd * rng.normal(size=(s, n, d))

    def log_q(theta: np.ndarray) -> np.ndarray:
        return (-0.5 * ((theta - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))).sum(axis=-1)

    return Draws(
        names=tuple(f"p{j}" for j in range(d)),
        draws=draws,
        log_density=log_q(draws),
        truth=theta,
        log_density_truth=log_q(theta),
        summary=x,
        summary_mean=np.zeros(d),
        summary_cov=2 * np.eye(d),
        x=x,
    )


def value(result: Any, name: str, parameter: str = "", level: float | None = None) -> Any:
    """The only metric of a name in a result."""
    found = [m for m in result.metrics() if (m.name, m.parameter, m.level) == (name, parameter, level)]
    assert len(found) == 1, f"{name} {parameter!r} {level}: {len(found)} metrics"
    return found[0]
