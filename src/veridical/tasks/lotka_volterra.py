r"""Predator and prey: Lotka-Volterra dynamics of hare and lynx, observed as pelts once a year.

.. math:: u' = (a - b v) u, \qquad v' = (-c + d u) v,

with u the hare and v the lynx. Observations are log-normal around the state,
:math:`\log x_{ts} = \log s_t + \sigma_s \epsilon_{ts}`, and the first one observes the initial state.

Fidelities: `euler` steps the counts with h = 0.05 years, and a simulation fails when a count becomes
non-positive or non-finite; `ode` steps the log counts with the classical Runge-Kutta method, h = 0.02.
Both add the same observation noise.

References:
    | Predator-Prey Population Dynamics: the Lotka-Volterra model in Stan (Carpenter, 2018)
    | https://mc-stan.org/users/documentation/case-studies/lotka-volterra-predator-prey.html
    | The Conservation of the Wild Life of Canada (Hewitt, 1921)
"""

from __future__ import annotations

import numpy as np

from veridical.errors import DataError, TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import LogNormal, Normal, Product

_LEAST_LOG = -690.0  # log-normal data are positive: what float64 would round to zero is reported as 1e-300
_LOG_SQRT_TAU = 0.5 * np.log(2 * np.pi)


def euler_counts(rates: Array, start: Array, step: float, steps: int, outputs: int) -> Array:
    """Integrates the counts with explicit Euler steps.

    Arguments:
        rates: a, b, c, d, shape (4, N).
        start: Initial counts, shape (2, N).
        step: Length h of a step.
        steps: Steps between two outputs.
        outputs: Outputs after the initial state, K.

    Returns:
        Counts, shape (K + 1, 2, N); NaN in all of a column once one of its counts was not positive.
    """
    a, b, c, d = rates
    grow = np.stack([1 + step * a, 1 - step * c])
    eaten, fed = -step * b, step * d
    state, factor = start.copy(), np.empty_like(start)
    least = state.copy()
    (hare, lynx), (hare_factor, lynx_factor) = state, factor
    path = np.empty((outputs + 1, *start.shape))
    path[0] = state
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for k in range(1, outputs + 1):
            for _ in range(steps):
                np.multiply(eaten, lynx, hare_factor)
                np.multiply(fed, hare, lynx_factor)
                np.add(factor, grow, factor)
                np.multiply(state, factor, state)
                np.minimum(least, state, out=least)
            path[k] = state
        failed = ~((least > 0).all(axis=0) & np.isfinite(path).all(axis=(0, 1)))
    path[:, :, failed] = np.nan
    return path


def rk4_log_counts(rates: Array, log_start: Array, step: float, steps: int, outputs: int) -> Array:
    r"""Integrates the log counts with the classical Runge-Kutta method.

    With z the log counts, the slope is :math:`(a - b e^{z_v}, -c + d e^{z_u})`. Its constant part passes
    through every stage unchanged, so it is taken out of the stages: factors :math:`e^{h a / 2}` in the
    weights and one addition for each step in its place.

    Arguments:
        rates: a, b, c, d, shape (4, N).
        log_start: Initial log counts, shape (2, N).
        step: Length h of a step.
        steps: Steps between two outputs.
        outputs: Outputs after the initial state, K.

    Returns:
        Log counts, shape (K + 1, 2, N).
    """
    a, b, c, d = rates
    drift = step * np.stack([a, -c])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = np.exp(drift / 2)[::-1]  # growth of the other species within half a step
        first = 0.5 * step * np.stack([-b, d])  # increments are h/2 times a slope, the third is twice that
        second = first * half
        third, fourth = 2 * second, second * half
        path = np.empty((outputs + 1, *log_start.shape))
        path[0] = z = log_start.copy()
        for k in range(1, outputs + 1):
            _rk4_steps(z, drift, (first, second, third, fourth), steps)
            path[k] = z
    return path


def _rk4_steps(z: Array, drift: Array, weights: tuple[Array, Array, Array, Array], steps: int) -> None:
    """Advances the log counts z (2, N) in place; few calls on whole arrays, none allocates."""
    (first_u, first_v), (second_u, second_v), (third_u, third_v), (fourth_u, fourth_v) = weights
    counts, stage, total, more = (np.empty_like(z) for _ in range(4))
    (u, v), (total_u, total_v), (more_u, more_v) = counts, total, more
    exp, multiply, add, one_third = np.exp, np.multiply, np.add, 1 / 3
    for _ in range(steps):
        exp(z, counts)
        multiply(first_u, v, total_u)
        multiply(first_v, u, total_v)
        exp(add(z, total, stage), counts)
        multiply(second_u, v, more_u)
        multiply(second_v, u, more_v)
        add(z, more, stage)
        add(total, add(more, more, more), total)
        exp(stage, counts)
        multiply(third_u, v, more_u)
        multiply(third_v, u, more_v)
        add(z, more, stage)
        add(total, more, total)
        exp(stage, counts)
        multiply(fourth_u, v, more_u)
        multiply(fourth_v, u, more_v)
        add(total, more, total)
        add(multiply(total, one_third, total), drift, total)
        add(z, total, z)


class LotkaVolterra(Task):
    """Hare and lynx pelts of the years 1900 to 1920; eight parameters."""

    name = "lotka_volterra"
    fidelities = {"euler": 1.0, "ode": 9.0}  # noqa: RUF012
    dimensions = (
        Dimension("year", tuple(range(1900, 1921)), "year"),
        Dimension("species", ("hare", "lynx")),
    )
    x_unit = "thousand pelts"
    x_dtype = "float64"  # in one of a thousand prior draws the lynx fall below what float32 can hold

    def __init__(self) -> None:
        rate, contact = Normal(1.0, 0.5, lower=0.0), Normal(0.05, 0.05, lower=0.0)
        count, spread = LogNormal(float(np.log(10)), 1.0), LogNormal(-1.0, 1.0)
        self.prior = Product(
            {"a": rate, "b": contact, "c": rate, "d": contact}
            | {"u0": count, "v0": count, "sd_u": spread, "sd_v": spread}
        )
        per_contact = "1/(year thousand pelts)"
        self.parameters = self.prior.parameters(
            {"a": "1/year", "b": per_contact, "c": "1/year", "d": per_contact}
            | {"u0": "thousand pelts", "v0": "thousand pelts"}
        )

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal observation noise, (n, 21, 2)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 8), shape (N, 21, 2); rows that failed are NaN."""
        require_shape("theta", theta, None, 8)
        epsilon = noise["observation"]
        require_shape("noise['observation']", epsilon, len(theta), *self.x_shape)
        spread = theta[:, None, 6:8] * epsilon
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if fidelity == "ode":
                x = np.exp(np.maximum(self._log_counts(theta) + spread, _LEAST_LOG))
            elif fidelity == "euler":
                x = self._counts(theta) * np.exp(spread)
            else:
                raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected euler or ode.")
        x[~np.isfinite(x).all(axis=(1, 2))] = np.nan
        return x

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) at fidelity `ode` for one x (21, 2) at theta (N, 8), shape (N,).

        Raises:
            DataError: If x is not positive and finite: a log-normal density knows no other values.
        """
        require_shape("theta", theta, None, 8)
        require_shape("x", x, *self.x_shape)
        if not (np.isfinite(x).all() and (x > 0).all()):
            raise DataError(f"task {self.name}: expected positive finite pelts, got values from {x.min()}.")
        log_x, sd = np.log(x), theta[:, 6:8]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = (((log_x - self._log_counts(theta)) / sd[:, None]) ** 2).sum(axis=(1, 2))
            log_p = -0.5 * squares - len(x) * np.log(sd).sum(axis=1) - log_x.sum() - x.size * _LOG_SQRT_TAU
        return np.where(np.isnan(log_p), -np.inf, log_p)

    def _log_counts(self, theta: Array) -> Array:
        rates, start = _columns(theta[:, :4]), _columns(theta[:, 4:6])
        path = rk4_log_counts(rates, np.log(start), 0.02, 50, len(self.dimensions[0].coordinates) - 1)
        return np.ascontiguousarray(path.transpose(2, 0, 1))

    def _counts(self, theta: Array) -> Array:
        rates, start = _columns(theta[:, :4]), _columns(theta[:, 4:6])
        path = euler_counts(rates, start, 0.05, 20, len(self.dimensions[0].coordinates) - 1)
        return np.ascontiguousarray(path.transpose(2, 0, 1))


def _columns(theta: Array) -> Array:
    """Returns theta (N, D) as contiguous rows, shape (D, N)."""
    return np.ascontiguousarray(theta.T)
