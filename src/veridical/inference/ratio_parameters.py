r"""Parameters by maximum likelihood from a parametrised ratio whose weights have a covariance; float64.

With functions f_i of parameters and data, independent observations x_a and weights w,

.. math:: \ell(\theta, w) = w \cdot F(\theta), \qquad F_i(\theta) = \sum_a f_i(x_a, \theta) ,

so that all that enters is F, a vector of P numbers at each theta. At the maximum

.. math:: H = -\frac{\partial^2 \ell}{\partial\theta \, \partial\theta^T}, \qquad
    A_{ji} = \frac{\partial F_i}{\partial \theta_j}, \qquad
    \mathrm{Cov} = H^{-1} + H^{-1} A C A^T H^{-1} ,

the data's part and that of the weights, which does not fall with the number of observations.

**Profiles.** At a value t of parameter j the others are where they are most likely. With
:math:`\Delta F` the difference of F at the maximum and there and :math:`\Delta\ell = w \cdot \Delta F`,

.. math:: z(t) = \mathrm{sign}(\hat\theta_j - t) \sqrt{\frac{2 \Delta\ell}{1 + b(t)}}, \qquad
    b(t) = \frac{\Delta F^T C \Delta F}{2 \Delta\ell} ,

the signed root of the likelihood ratio, narrowed by what the weights add to its variance. Where the profile
is a parabola, b is the ratio of the two parts of the variance of theta_j, everywhere; elsewhere it is told
where it is used, and no more than the likelihood ratio does it depend on coordinates.

Derivatives are central differences, with steps of a fiftieth of a standard error.

References:
    | Pseudo Maximum Likelihood Estimation: Theory and Applications (Gong, Samaniego, 1981)
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from veridical.errors import DataError
from veridical.inference.ratio_weights import RatioFit
from veridical.tasks.base import Array

STEP = 0.02  # of differences, in standard errors
MAX_STEPS = 60
MAX_HALVINGS = 30
LONGEST = 3.0  # step, in standard errors
TOLERANCE = 1e-8  # of the squared step, in standard errors
REACH = 8.0  # standard errors within which an interval ends, or has no end

Functions = Callable[[Array], Array]  # of parameters (B, D) to F (B, P)


@dataclass(frozen=True)
class Local:
    """A log-likelihood around one place.

    Attributes:
        functions: F, shape (P,).
        slopes: A, derivatives of F, shape (D, P).
        information: H, shape (D, D).
    """

    functions: Array
    slopes: Array
    information: Array

    @classmethod
    def at(cls, functions: Functions, weights: Array, place: Array, steps: Array) -> Local:
        """Returns it by central differences with these steps (D,) at a place (D,)."""
        d = len(place)
        ends = [i for i in range(d)]
        pairs = [(i, j) for i in ends for j in range(i)]
        moves = np.zeros((1 + 2 * d + 2 * len(pairs), d))
        for i in ends:
            moves[1 + 2 * i, i], moves[2 + 2 * i, i] = 1, -1
        for n, (i, j) in enumerate(pairs):
            moves[1 + 2 * d + 2 * n, [i, j]], moves[2 + 2 * d + 2 * n, [i, j]] = 1, -1
        found = functions(place + moves * steps)
        slopes = (found[1 : 1 + 2 * d : 2] - found[2 : 2 + 2 * d : 2]) / (2 * steps[:, None])
        log_l = (found - found[0]) @ weights
        sums = log_l[1 : 1 + 2 * d : 2] + log_l[2 : 2 + 2 * d : 2]
        second = np.diag(sums)
        for n, (i, j) in enumerate(pairs):
            both = log_l[1 + 2 * d + 2 * n] + log_l[2 + 2 * d + 2 * n]
            second[i, j] = second[j, i] = (both - sums[i] - sums[j]) / 2
        return cls(found[0], slopes, -second / np.outer(steps, steps))


@dataclass(frozen=True)
class Maximum:
    """The most likely parameters of one data set, with both parts of their covariance.

    Attributes:
        place: The parameters, shape (D,).
        data: Covariance from the finite number of observations, H^-1, shape (D, D).
        weights: Covariance from the weights of the ratio, shape (D, D).
        functions: F there, shape (P,).
    """

    place: Array
    data: Array
    weights: Array
    functions: Array

    @property
    def covariance(self) -> Array:
        """Both parts, shape (D, D)."""
        return self.data + self.weights


def climb(functions: Functions, weights: Array, start: Array, scale: Array) -> tuple[Array, Local]:
    """Returns the place of a maximum near a start (D,), by damped Newton steps, and what is around it.

    Arguments:
        functions: F.
        weights: w, shape (P,).
        start: Where to begin.
        scale: Guess of the standard errors, shape (D,).

    Raises:
        DataError: If the likelihood has no maximum there.
    """
    place = np.asarray(start, float)
    for _ in range(MAX_STEPS):
        local = Local.at(functions, weights, place, STEP * scale)
        values, vectors = np.linalg.eigh(local.information * np.outer(scale, scale))
        floor = max(1e-3, 1e-6 * float(np.abs(values).max()))
        size = np.maximum(np.abs(values), floor)
        gradient = vectors.T @ (local.slopes @ weights * scale)
        along = gradient / size
        length = float(np.sqrt(np.sum(along**2 * size)))
        if length**2 < TOLERANCE and values[0] > floor:
            return place + scale * (vectors @ along), local
        step = scale * (vectors @ along) * min(1.0, LONGEST / max(length, 1e-300))
        moved = _backtracked(functions, weights, place, step, float(local.functions @ weights))
        if moved is None:
            break
        place = moved
        scale = np.clip(scale / np.sqrt(np.maximum(np.diag(vectors * size @ vectors.T), 1e-4)), 1e-12, 1e3)
    raise DataError(
        "parameters: the likelihood has no maximum where it was looked for, last at "
        f"{np.array2string(place, precision=4)}; more observations, or a wider prior, may have one."
    )


def _backtracked(functions: Functions, weights: Array, place: Array, step: Array, now: float) -> Array | None:
    """The first of the steps 1, 1/2, 1/4, ... that does not lower the likelihood; None where none does."""
    for power in range(MAX_HALVINGS):
        there = place + step / 2**power
        if float(functions(there[None])[0] @ weights) >= now - 1e-12 * abs(now):
            return there
    return None


def maximise(functions: Functions, ratio: RatioFit, starts: Array) -> Maximum:
    """Returns the most likely parameters of a data set; the best of some starts (S, D) is where it begins.

    Raises:
        DataError: If the likelihood has no maximum there.
    """
    log_l = functions(starts) @ ratio.weights
    best = int(np.argmax(log_l))
    likely = starts[log_l > log_l[best] - 10]
    spread = np.std(likely if len(likely) > 2 * starts.shape[1] else starts, axis=0)
    place, local = climb(functions, ratio.weights, starts[best], np.maximum(0.5 * spread, 1e-9))
    data = np.linalg.inv(local.information)
    reach = data @ local.slopes
    return Maximum(place, data, reach @ ratio.covariance @ reach.T, local.functions)


def profile(functions: Functions, ratio: RatioFit, found: Maximum, j: int, t: float) -> Array:
    """Returns F (P,) where parameter j is t and the others are as likely as they can be.

    Raises:
        DataError: If the likelihood has no maximum there.
    """
    others = np.delete(np.arange(len(found.place)), j)
    lead = found.data[others, j] / found.data[j, j]
    if not len(others):
        return functions(np.array([[t]]))[0]

    def at(rest: Array) -> Array:
        whole: Array = np.empty((len(rest), len(found.place)))
        whole[:, j], whole[:, others] = t, rest
        return functions(whole)

    start = found.place[others] + lead * (t - found.place[j])
    scale = np.sqrt(np.diag(found.data)[others] - lead * found.data[others, j])
    place, _ = climb(at, ratio.weights, start, scale)
    return at(place[None])[0]


def z(functions: Functions, ratio: RatioFit, found: Maximum, j: int, t: float) -> float:
    """Returns the signed root of the likelihood ratio of parameter j at t, both errors in it."""
    change = found.functions - profile(functions, ratio, found, j, t)
    deviance = max(2 * float(change @ ratio.weights), 0.0)
    spread = max(float(change @ ratio.covariance @ change), 0.0)
    if not deviance > 0:
        return 0.0
    return float(np.sign(found.place[j] - t) * deviance / np.sqrt(deviance + spread))


def interval(
    functions: Functions, ratio: RatioFit, found: Maximum, j: int, level: float
) -> tuple[float, float]:
    """Returns the profile interval of parameter j at one level; infinite where it does not end.

    Raises:
        DataError: If the level is not in (0, 1).
    """
    if not 0 < level < 1:
        raise DataError(f"interval: expected a level in (0, 1), got {level}.")
    wanted = float(stats.norm.ppf(0.5 + level / 2))
    sigma = float(np.sqrt(found.covariance[j, j]))
    low, high = (_end(functions, ratio, found, j, side * sigma, wanted) for side in (-1, 1))
    return low, high


def _end(functions: Functions, ratio: RatioFit, found: Maximum, j: int, sigma: float, wanted: float) -> float:
    """Where the root of the likelihood ratio is `wanted` on the side that `sigma` has the sign of."""

    def beyond(steps: float) -> float:
        return abs(z(functions, ratio, found, j, found.place[j] + steps * sigma)) - wanted

    reached = wanted
    try:
        while (there := beyond(reached)) < 0:
            reached *= 1.4
            if reached > REACH * max(wanted, 1):
                return float(np.sign(sigma) * np.inf)
        if there == 0:
            return float(found.place[j] + reached * sigma)
        at = optimize.brentq(beyond, 0.0, reached, xtol=1e-4)
    except DataError:  # a profile without a maximum: the interval does not end
        return float(np.sign(sigma) * np.inf)
    return float(found.place[j] + float(at) * sigma)
