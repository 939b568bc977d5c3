r"""Semi-balanced entropic optimal transport between observations (rows) and simulations (columns).

The plan with uniform weights :math:`a_i = 1/n_o`, :math:`b_j = 1/n_s` is

.. math:: P = \arg\min_{P \geq 0, \; P 1 = a} \langle P, C \rangle + \rho \, KL(P^T 1 \,|\, b)
          + \gamma \langle P, \log P \rangle , \qquad \rho = \gamma \tau / (1 - \tau) :

rows are met exactly, columns as well at :math:`\tau = 1`, not at all at :math:`\tau = 0`. Costs and gamma are
in units of the mean cost, so that neither depends on the scale of C. With potentials f, k in units of gamma,

.. math:: \log P_{ij} = f_i + k_j - C_{ij} / \gamma , \qquad \text{optimal where} \quad
          r_j = \gamma k_j + \rho \log (n_s \textstyle\sum_i P_{ij}) \quad \text{is the same for all j}

(the condition :math:`C_{ij} + \gamma \log P_{ij} + \rho \log (P_{\cdot j} / b_j)` = constant in each row,
written with potentials, as the logarithm of a plan that underflows is useless). The *residual* is the range
of r; at tau = 1 it is the largest relative error of a column sum.

POT solves the transposed problem, which ends on the exact side, in kernel form. Kernels underflow at small
gamma and POT then returns a wrong plan with a warning at most. Every plan is checked therefore; where the
check fails, an iteration of our own goes on, in kernels that absorb the potentials. It stops when the *range*
of the change of f is small: a constant that moves between f and k decays like tau^t but changes no plan.

References:
    | Scaling Algorithms for Unbalanced Optimal Transport Problems (Chizat et al., 2018)
    | https://arxiv.org/abs/1607.05816
    | Faster Unbalanced Optimal Transport: Translation invariant Sinkhorn and 1-D Frank-Wolfe
    | (Séjourné et al., 2022), https://arxiv.org/abs/2201.00730
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from veridical.errors import ConvergenceError, DataError, require_shape
from veridical.tasks.base import Array

ROW_ERROR = 1e-9  # largest relative error of a row sum
RESIDUAL = 1e-5  # largest residual, in units of the mean cost
POT_ITERATIONS = 500
POT_THRESHOLD = 1e-10
OWN_ITERATIONS = 20_000
OWN_THRESHOLD = 1e-10  # spread of the change of f, in units of gamma, at which our own iteration ends
ABSORB = 200.0  # largest logarithm of a scaling before it goes into the kernel: e^200 squared is finite
CHUNK = 1 << 21  # numbers of a chunk of rows


@dataclass(frozen=True)
class Plan:
    """A checked transport plan.

    Attributes:
        log_weights: Logarithms of n_o P, whose rows sum to one, shape (n_o, n_s).
        gamma: Strength of the entropy, in units of the mean cost.
        tau: One where columns are met exactly.
        mean_cost: Mean of the cost.
        row_error: Largest relative error of a row sum as the solver left it; then rows are divided by them.
        residual: How far from optimal, see the module.
        iterations: Of all solvers that were used.
        seconds: Wall time.
        solver: `pot`, `own`, or `closed form`.
        messages: What POT warned of, and why its plan was not taken.
    """

    log_weights: Array
    gamma: float
    tau: float
    mean_cost: float
    row_error: float
    residual: float
    iterations: int
    seconds: float
    solver: str
    messages: tuple[str, ...] = ()

    @property
    def weights(self) -> Array:
        """Weights n_o P of the simulations for each observation, shape (n_o, n_s)."""
        return np.exp(self.log_weights)

    @property
    def effective(self) -> Array:
        r"""Effective number :math:`1 / \sum_j \alpha_{ij}^2` of simulations of each row, shape (n_o,)."""
        return np.concatenate(
            [1 / np.exp(2 * self.log_weights[rows]).sum(axis=1) for rows in _chunks(self.log_weights)]
        )


def semi_balanced(cost: Array, gamma: float, tau: float) -> Plan:
    """Returns the plan for costs (n_o, n_s), in double precision.

    It takes about six arrays of that shape beside the cost.

    Arguments:
        cost: Costs, not negative.
        gamma: Strength of the entropy in units of the mean cost.
        tau: 1 for balanced, 0 for no demand on the columns.

    Raises:
        DataError: If a cost is negative or not finite, or all are zero.
        ConvergenceError: If no solver reaches the tolerances.
    """
    require_shape("cost", cost, None, None)
    if not (gamma > 0 and np.isfinite(gamma) and 0 <= tau <= 1):
        raise DataError(f"transport: expected gamma > 0 and tau in [0, 1], got {gamma} and {tau}.")
    cost = np.asarray(cost, float)
    mean = float(cost.mean()) if cost.size else 0.0
    if not (np.isfinite(mean) and mean > 0 and cost.min() >= 0):
        raise DataError(
            f"transport: expected finite costs >= 0 with a positive mean, got a mean of {mean} for shape "
            f"{cost.shape}; see whether summaries are finite."
        )
    _import_pot()
    started = time.perf_counter()
    scaled = cost / (mean * gamma)
    columns, iterations, solver, messages = _solve(scaled, gamma, tau)
    log_weights, row_error, residual = check(scaled, *columns, gamma, tau)
    if not (row_error < ROW_ERROR and residual < RESIDUAL):
        raise ConvergenceError(
            f"transport: after {iterations} iterations the row error is {row_error:.1e} (allowed "
            f"{ROW_ERROR:g}) and the residual {residual:.1e} (allowed {RESIDUAL:g}) at gamma {gamma:g}, tau "
            f"{tau:g}; raise gamma, or lower tau."
        )
    seconds = time.perf_counter() - started
    return Plan(
        log_weights, gamma, tau, mean, row_error, residual, iterations, seconds, solver, tuple(messages)
    )


Potentials = tuple[Array, Array]


def _solve(scaled: Array, gamma: float, tau: float) -> tuple[Potentials, int, str, list[str]]:
    """Returns potentials f, k, iterations, the solver and messages, for costs in units of gamma."""
    if tau == 0:
        free = np.zeros(scaled.shape[1])
        return (_rows_potential(scaled, free), free), 0, "closed form", []
    found, iterations, messages = _pot(scaled, tau)
    row_error, residual = check(scaled, *found, gamma, tau)[1:]
    if row_error < ROW_ERROR and residual < RESIDUAL:
        return found, iterations, "pot", messages
    messages.append(f"POT: row error {row_error:.1e}, residual {residual:.1e} after {iterations} iterations")
    start = found[1] if np.isfinite(row_error) and row_error < 1 else None
    own, more = iterate(scaled, tau, start)
    return own, iterations + more, "own", messages


def check(scaled: Array, f: Array, k: Array, gamma: float, tau: float) -> tuple[Array, float, float]:
    """Returns log weights (n_o, n_s) with exact rows, the row error before that, and the residual.

    Arguments:
        scaled: Costs in units of gamma, shape (n_o, n_s).
        f: Potential of the rows in units of gamma, shape (n_o,).
        k: Potential of the columns, shape (n_s,).
        gamma: Strength of the entropy in units of the mean cost.
        tau: As in `semi_balanced`.
    """
    n_o, n_s = scaled.shape
    with np.errstate(all="ignore"):
        log_weights = k - scaled
        log_weights += (f + np.log(n_o))[:, None]
        sums, columns = np.empty(n_o), np.zeros(n_s)
        for rows in _chunks(scaled):
            weights = np.exp(log_weights[rows])
            sums[rows] = weights.sum(axis=1)
            columns += weights.sum(axis=0)
        row_error = float(np.abs(sums - 1).max())
        log_weights -= np.log(sums)[:, None]
        if tau == 0:
            residual = gamma * float(np.ptp(k))
        elif tau == 1:
            residual = float(np.abs(columns * (n_s / n_o) - 1).max())
        else:
            # where a column holds nothing in double precision its sum has no logarithm: from potentials
            log_columns = np.log(columns)
            empty = columns < np.finfo(float).tiny
            if empty.any():
                log_columns[empty] = _logsumexp(f[:, None] - scaled[:, empty]) + k[empty] + np.log(n_o)
            rate = tau / (1 - tau)
            residual = gamma * float(np.ptp(k + rate * (log_columns + np.log(n_s / n_o))))
    return log_weights, _number(row_error), _number(residual)


def _number(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


# ---- POT -------------------------------------------------------------------------------------------


def _pot(scaled: Array, tau: float) -> tuple[Potentials, int, list[str]]:
    """Potentials by POT on the transposed problem, its iterations and its warnings."""
    n_o, n_s = scaled.shape
    demand = np.inf if tau == 1 else tau / (1 - tau)
    pot = _import_pot()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, log = pot.sinkhorn_unbalanced(
            np.full(n_s, 1 / n_s),
            np.full(n_o, 1 / n_o),
            scaled.T,
            reg=1.0,
            reg_m=(demand, np.inf),
            method="sinkhorn_translation_invariant",
            c=np.full((1, 1), 1 / (n_o * n_s)),  # the product of the weights, broadcast to spare an array
            numItermax=POT_ITERATIONS,
            stopThr=POT_THRESHOLD,
            log=True,
        )
    messages = list(dict.fromkeys(f"POT: {warning.message}" for warning in caught))
    return (log["logv"] - np.log(n_o * n_s), log["logu"]), len(log["err"]), messages


def _import_pot() -> Any:
    """POT's unbalanced solvers, imported when first used, and without torch, which takes seconds more."""
    name = "POT_BACKEND_DISABLE_PYTORCH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        return import_module("ot.unbalanced")
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


# ---- our own iteration -------------------------------------------------------------------------------


def iterate(
    scaled: Array, tau: float, k: Array | None = None, limit: int = OWN_ITERATIONS
) -> tuple[Potentials, int]:
    """Returns potentials (f, k) and iterations; slower than POT but right at any gamma.

    Scalings u, v act on a kernel exp(f + k - C / gamma) that absorbs them whenever they get large; where it
    underflows a whole row or column, one step is taken in the log domain.

    Arguments:
        scaled: Costs in units of gamma, shape (n_o, n_s).
        tau: As in `semi_balanced`.
        k: Where to start from, shape (n_s,); from strong entropy downwards where not given.
        limit: Iterations, at most.
    """
    if k is None:
        k = _annealed(scaled, tau)
    f = _rows_potential(scaled, k)
    done = 0
    while done < limit:
        k = _columns_potential(scaled, f, tau)
        new = _rows_potential(scaled, k)
        done += 1
        if np.ptp(new - f) < OWN_THRESHOLD:
            return (new, k), done
        f, k, more, converged = _absorbed(scaled, new, k, tau, limit - done)
        done += more
        if converged:
            break
    return (f, k), done


def _annealed(scaled: Array, tau: float) -> Array:
    """A start for small gamma: the potential at gammas that fall by factors of four."""
    k = np.zeros(scaled.shape[1])
    factor = 4.0 ** np.floor(np.log(max(scaled.mean(), 1.0)) / np.log(4.0))
    while factor > 1:
        for _ in range(5):
            k = _columns_potential(scaled / factor, _rows_potential(scaled / factor, k), tau)
        k, factor = 4 * k, factor / 4
    return k


def _absorbed(scaled: Array, f: Array, k: Array, tau: float, limit: int) -> tuple[Array, Array, int, bool]:
    """Iterates in kernel form until it converges or has to be absorbed; returns f, k, iterations, whether."""
    n_o, n_s = scaled.shape
    kernel = k - scaled
    kernel += f[:, None]
    np.exp(kernel, out=kernel)
    log_u, log_v, step, converged = np.zeros(n_o), np.zeros(n_s), 0, False
    while step < limit and not converged:
        step += 1
        columns = kernel.T @ np.exp(log_u)
        if not columns.all():
            break
        new_v = tau * (k - np.log(n_s) - np.log(columns)) - k
        if np.abs(new_v).max() > ABSORB:
            break
        rows = kernel @ np.exp(new_v)
        if not rows.all():
            break
        new_u = -np.log(n_o) - np.log(rows)
        converged = bool(np.ptp(new_u - log_u) < OWN_THRESHOLD)
        log_u, log_v = new_u, new_v
        if np.abs(log_u).max() > ABSORB:
            break
    return f + log_u, k + log_v, step, converged or step == limit


def _rows_potential(scaled: Array, k: Array) -> Array:
    """Returns f that makes all rows of the plan sum to 1 / n_o."""
    f = np.empty(len(scaled))
    for rows in _chunks(scaled):
        f[rows] = -_logsumexp((k - scaled[rows]).T)
    return f - np.log(len(scaled))


def _columns_potential(scaled: Array, f: Array, tau: float) -> Array:
    """Returns k that is optimal given f."""
    peak, total = np.full(scaled.shape[1], -np.inf), np.zeros(scaled.shape[1])
    for rows in _chunks(scaled):
        part = f[rows, None] - scaled[rows]
        top = np.maximum(peak, part.max(axis=0))
        total = total * np.exp(peak - top) + np.exp(part - top).sum(axis=0)
        peak = top
    return -tau * (peak + np.log(total) + np.log(scaled.shape[1]))


def _logsumexp(values: Array) -> Array:
    """Over the first axis."""
    peak = values.max(axis=0)
    return peak + np.log(np.exp(values - peak).sum(axis=0))


def _chunks(array: Array) -> Iterator[slice]:
    """Rows of at most CHUNK numbers."""
    size = max(1, CHUNK // array.shape[1])
    return (slice(first, min(first + size, len(array))) for first in range(0, len(array), size))
