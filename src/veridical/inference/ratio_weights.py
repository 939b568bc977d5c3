r"""Weights of frozen functions for a log density ratio, with their sandwich covariance; numpy, float64.

The model of the ratio of numerator to denominator is linear in P weights, the first of a constant:

.. math:: \log r(x \mid w) = s(x) = \sum_i w_i f_i(x), \qquad f_0 = 1 .

With means over the events of each class, so that unequal numbers do no harm, the losses are

.. math:: L_\mathrm{MLC} = \mathrm{mean}_n[-s + e^{-s} - 1] + \mathrm{mean}_d[s + e^{s} - 1], \qquad
    L_\mathrm{BCE} = \mathrm{mean}_n[\log(1 + e^{-s})] + \mathrm{mean}_d[\log(1 + e^{s})] .

Either is convex. With a = 1 + e^{-s}, b = 1 + e^{s} for MLC, a = 1 - p, b = p, p = 1 / (1 + e^{-s}) for BCE,
and c the curvature of the loss in s (e^{-s} and e^{s}; p (1 - p)),

.. math:: g = -\mathrm{mean}_n[a f] + \mathrm{mean}_d[b f], \qquad
    V = \mathrm{mean}_n[c f f^T] + \mathrm{mean}_d[c f f^T], \qquad
    U = \frac{\mathrm{Cov}_n[a f]}{N_n} + \frac{\mathrm{Cov}_d[b f]}{N_d}, \qquad C = V^{-1} U V^{-1} .

Each class is centred on its own mean: at the minimum the means of a f and b f agree but do not vanish.

To second order the weights are biased by :math:`V^{-1} (Q - \frac12 T : C)`, with T the derivative of V and Q
the covariance of :math:`V` with :math:`V^{-1} g`, from the same events:

.. math:: Q = -\mathrm{mean}_n[c f f^T V^{-1} (a f - \overline{a f})] / N_n
    + \mathrm{mean}_d[c f f^T V^{-1} (b f - \overline{b f})] / N_d .

Events that coincide are one event with a *count*; all means and covariances are over counts.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
    | The behavior of maximum likelihood estimates under nonstandard conditions (Huber, 1967)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import linalg, special

from veridical.errors import DataError, TrainingError, require_shape
from veridical.tasks.base import Array

RIDGES = (0.0, 1e-10, 1e-8, 1e-6, 1e-4)
TOLERANCE = 1e-12  # of the squared Newton decrement; the statistical scale is P / N
MAX_STEPS = 100
MAX_HALVINGS = 40
ARMIJO = 1e-4
SINGULAR = 1e-13  # least eigenvalue of V, relative to the largest, that still counts as one


@dataclass(frozen=True)
class Events:
    """Functions at distinct events.

    Attributes:
        functions: Values of the P functions, shape (K, P).
        counts: How many events coincide there, shape (K,).
        offset: Part of the log ratio that has no weight, shape (K,), or 0.
    """

    functions: Array
    counts: Array
    offset: Array | float = 0.0

    def __post_init__(self) -> None:
        require_shape("counts", self.counts, len(self.functions))
        if not len(self.counts) or not np.isfinite(self.functions).all():
            raise DataError(
                "ratio: expected events at which all functions are finite numbers; see the network."
            )

    @classmethod
    def of(cls, functions: Array, counts: Array | None = None) -> Events:
        """Returns events with these functions (K, P); each once where no counts are given."""
        functions = np.asarray(functions, float)
        return cls(functions, np.ones(len(functions)) if counts is None else np.asarray(counts, float))

    @property
    def total(self) -> float:
        """Number of events."""
        return float(self.counts.sum())

    def log_ratio(self, weights: Array) -> Array:
        """Returns the log ratio at the distinct events, shape (K,)."""
        return self.functions @ weights + self.offset

    def mean(self, values: Array) -> Array:
        """Returns the mean over events of values (K, ...)."""
        return self.counts @ values / self.total

    def covariance(self, values: Array) -> Array:
        """Returns the covariance over events of values (K, P), shape (P, P)."""
        mean = self.mean(values)
        centred = values - mean
        return centred.T @ (centred * self.counts[:, None]) / self.total


@dataclass(frozen=True)
class Normalisation:
    """How far the mean of a ratio is from 1 where it should be 1.

    Attributes:
        value: Mean minus 1.
        stderr: Its standard error, that of the weights included.
    """

    value: float
    stderr: float


@dataclass(frozen=True)
class RatioFit:
    """Weights of a log ratio and how sure they are.

    Attributes:
        weights: w, shape (P,).
        covariance: C, shape (P, P).
        bias: Second-order bias of the weights, shape (P,).
        steps: Newton steps.
        decrement: Squared Newton decrement at the end.
        condition: Condition number of V.
        ridge: The ridge, relative to trace(V) / P.
        largest_share: Largest share of a single event in mean_n[1 / r] or mean_d[r]; above 0.01 is bad.
        numerator: Mean of 1 / r over the numerator class, minus 1.
        denominator: Mean of r over the denominator class, minus 1.
    """

    weights: Array
    covariance: Array
    bias: Array
    steps: int = 0
    decrement: float = 0.0
    condition: float = 1.0
    ridge: float = 0.0
    largest_share: float = 0.0
    numerator: Normalisation = Normalisation(0.0, 0.0)
    denominator: Normalisation = Normalisation(0.0, 0.0)

    @classmethod
    def fixed(cls, weights: Array) -> RatioFit:
        """Returns weights that nothing was fitted for: their covariance is stated as zero."""
        weights = np.asarray(weights, float)
        return cls(weights, np.zeros((len(weights),) * 2), np.zeros(len(weights)))

    def log_ratio(self, functions: Array) -> tuple[Array, Array]:
        """Returns log r and its standard error at functions (K, P), shape (K,) each."""
        variance = np.einsum("ki,ki->k", functions @ self.covariance, functions)
        return functions @ self.weights, np.sqrt(np.maximum(variance, 0))


@dataclass(frozen=True)
class _Loss:
    """A loss as functions of the margin t = s for the numerator and -s for the denominator."""

    value: Callable[[Array], Array]
    pull: Callable[[Array], Array]  # minus the derivative: a(s), b(s)
    curvature: Callable[[Array], Array]
    bend: Callable[[Array], Array]  # derivative of the curvature


def _logistic_curvature(t: Array) -> Array:
    p = special.expit(t)
    return p * (1 - p)


LOSSES = {
    "mlc": _Loss(
        lambda t: np.expm1(-t) - t, lambda t: 1 + np.exp(-t), lambda t: np.exp(-t), lambda t: -np.exp(-t)
    ),
    "bce": _Loss(
        lambda t: np.logaddexp(0, -t),
        lambda t: special.expit(-t),
        _logistic_curvature,
        lambda t: _logistic_curvature(t) * (1 - 2 * special.expit(t)),
    ),
}


def loss(weights: Array, numerator: Events, denominator: Events, kind: str = "mlc") -> float:
    """Returns L(w)."""
    value = LOSSES[kind].value
    means = numerator.mean(value(numerator.log_ratio(weights)))
    return float(means + denominator.mean(value(-denominator.log_ratio(weights))))


def derivatives(
    weights: Array, numerator: Events, denominator: Events, kind: str = "mlc"
) -> tuple[Array, Array]:
    """Returns the gradient g (P,) and the Hessian V (P, P) of the loss."""
    chosen = LOSSES[kind]
    gradient, hessian = np.zeros(len(weights)), np.zeros((len(weights),) * 2)
    for events, sign in ((numerator, 1), (denominator, -1)):
        margin = sign * events.log_ratio(weights)
        f = events.functions
        gradient -= sign * events.mean(chosen.pull(margin)[:, None] * f)
        curvature = events.counts * chosen.curvature(margin) / events.total
        hessian += f.T @ (f * curvature[:, None])
    return gradient, hessian


def influence(
    weights: Array, numerator: Events, denominator: Events, kind: str = "mlc"
) -> tuple[Array, Array]:
    """Returns the terms a f and b f whose means make up the gradient, shapes (K_n, P) and (K_d, P)."""
    pull = LOSSES[kind].pull
    h = pull(numerator.log_ratio(weights))[:, None] * numerator.functions
    k = pull(-denominator.log_ratio(weights))[:, None] * denominator.functions
    return h, k


def fit(
    numerator: Events,
    denominator: Events,
    kind: str = "mlc",
    *,
    ridge: float = 0.0,
    start: Array | None = None,
) -> RatioFit:
    r"""Minimises the loss by Newton's method with backtracking; C as above.

    A ridge :math:`\epsilon` adds :math:`\frac{\lambda}{2} |w - w_\mathrm{start}|^2` to the loss, with
    :math:`\lambda = \epsilon \, \mathrm{trace}(V) / P`, and :math:`\lambda` to the diagonal of V, in C too.
    Where functions are linearly dependent, the least of `RIDGES` that makes V positive definite is taken.

    Arguments:
        numerator: Events of the first class.
        denominator: Events of the second class.
        kind: `mlc` or `bce`.
        ridge: The least ridge.
        start: First weights; where not given 0 for the constant and 1 / (P - 1) for all others.

    Raises:
        TrainingError: If V stays singular, or the minimum is not found.
    """
    found = _minimum(numerator, denominator, kind, ridge, start)
    described = _described(found.weights, numerator, denominator, kind, found.hessian, found.factor)
    return replace(described, steps=found.steps, decrement=found.decrement, ridge=found.ridge)


def fit_weights(numerator: Events, denominator: Events, kind: str = "mlc") -> Array:
    """Returns the weights of `fit` alone, shape (P,): a third of its time."""
    return _minimum(numerator, denominator, kind, 0.0, None).weights


class _Minimum(NamedTuple):
    """Where the loss is least, with V there as it is and as its factor."""

    weights: Array
    hessian: Array
    factor: tuple[Array, bool]
    steps: int
    decrement: float
    ridge: float


def _minimum(
    numerator: Events, denominator: Events, kind: str, ridge: float, start: Array | None
) -> _Minimum:
    """The minimum of the loss with the least ridge that V needs; see `fit`."""
    p = numerator.functions.shape[1]
    if start is None:
        start = np.concatenate([[0.0], np.full(p - 1, 1 / max(p - 1, 1))])
    with np.errstate(over="ignore", invalid="ignore"):
        first = derivatives(start, numerator, denominator, kind)
    if not np.isfinite(first[1]).all():
        raise TrainingError(
            "ratio: the mean of the functions overflows at some event. Fit with loss: bce, or see why they "
            "are so large there."
        )
    eigenvalues = np.linalg.eigvalsh(first[1])
    scale = eigenvalues.sum() / p
    for epsilon in (ridge, *(r for r in RIDGES if r > ridge)):
        if eigenvalues[0] + epsilon * scale <= SINGULAR * eigenvalues[-1]:
            continue
        try:
            return _newton(numerator, denominator, kind, (start, *first), epsilon, epsilon * scale)
        except linalg.LinAlgError:
            continue
    raise TrainingError(
        f"ratio: the Hessian of the weights stays singular up to a ridge of {RIDGES[-1]:g} (eigenvalues from "
        f"{eigenvalues[0]:.3g} to {eigenvalues[-1]:.3g}); use fewer members, or a larger ridge."
    )


def _newton(
    numerator: Events,
    denominator: Events,
    kind: str,
    first: tuple[Array, Array, Array],
    epsilon: float,
    penalty: float,
) -> _Minimum:
    """Minimises the loss plus its penalty from the first weights, whose derivatives come with them."""
    start, gradient, hessian = first

    def penalised(w: Array) -> float:
        return loss(w, numerator, denominator, kind) + 0.5 * penalty * float(np.sum((w - start) ** 2))

    w, value = start, penalised(start)
    for steps in range(MAX_STEPS):
        if steps:
            gradient, hessian = derivatives(w, numerator, denominator, kind)
        gradient, hessian = gradient + penalty * (w - start), hessian.copy()
        hessian[np.diag_indices_from(hessian)] += penalty
        factor = linalg.cho_factor(hessian)
        step = linalg.cho_solve(factor, gradient)
        decrement = float(gradient @ step)
        if decrement < TOLERANCE:
            return _Minimum(w, hessian, factor, steps, max(decrement, 0.0), epsilon)
        w, value = _backtrack(penalised, w, value, step, decrement)
    raise TrainingError(
        f"ratio: the weights did not settle in {MAX_STEPS} Newton steps (squared decrement {decrement:.2g}); "
        "see whether single events dominate, and fit with loss: bce."
    )


def _backtrack(
    penalised: Callable[[Array], float], w: Array, value: float, step: Array, decrement: float
) -> tuple[Array, float]:
    """The first of the steps 1, 1/2, 1/4, ... that lowers the loss by enough, with the loss there."""
    t = 1.0
    for _ in range(MAX_HALVINGS):
        with np.errstate(over="ignore"):
            new = penalised(w - t * step)
        if new <= value - ARMIJO * t * decrement:
            return w - t * step, new
        t /= 2
    raise TrainingError(
        "ratio: no step along Newton's direction lowers the loss; functions at some event are too large. "
        "Fit with loss: bce, or train the members for fewer epochs."
    )


def _described(
    w: Array, numerator: Events, denominator: Events, kind: str, hessian: Array, factor: tuple[Array, bool]
) -> RatioFit:
    """The fit at its minimum, with covariance and diagnostics."""
    h, k = influence(w, numerator, denominator, kind)
    u = numerator.covariance(h) / numerator.total + denominator.covariance(k) / denominator.total
    covariance = linalg.cho_solve(factor, linalg.cho_solve(factor, u).T)
    eigenvalues = np.linalg.eigvalsh(hessian)
    inverse, ratio = np.exp(-numerator.log_ratio(w)), np.exp(denominator.log_ratio(w))
    shares = [inverse.max() / (numerator.counts @ inverse), ratio.max() / (denominator.counts @ ratio)]
    to_d = linalg.cho_solve(factor, denominator.mean(ratio[:, None] * denominator.functions))
    to_n = linalg.cho_solve(factor, numerator.mean(inverse[:, None] * numerator.functions))
    return RatioFit(
        weights=w,
        covariance=(covariance + covariance.T) / 2,
        bias=_bias(w, numerator, denominator, kind, factor, covariance),
        condition=float(eigenvalues[-1] / eigenvalues[0]),
        largest_share=float(max(shares)),
        numerator=_normalisation(numerator, denominator, inverse, -(h @ to_n), k @ to_n),
        denominator=_normalisation(denominator, numerator, ratio, -(k @ to_d), h @ to_d),
    )


def _bias(
    w: Array, numerator: Events, denominator: Events, kind: str, factor: tuple[Array, bool], covariance: Array
) -> Array:
    """The second-order bias of the weights, shape (P,)."""
    chosen, terms = LOSSES[kind], influence(w, numerator, denominator, kind)
    total = np.zeros(len(w))
    for events, term, sign in zip((numerator, denominator), terms, (1, -1), strict=True):
        f, margin = events.functions, sign * events.log_ratio(w)
        centred = linalg.cho_solve(factor, (term - events.mean(term)).T).T
        lever = chosen.curvature(margin) * np.einsum("ki,ki->k", f, centred) / events.total
        spread = 0.5 * chosen.bend(margin) * np.einsum("ki,ki->k", f @ covariance, f)
        total -= sign * events.mean((lever + spread)[:, None] * f)
    return linalg.cho_solve(factor, total)


def _normalisation(
    own: Events, other: Events, values: Array, drag: Array, other_drag: Array
) -> Normalisation:
    """Mean of values minus 1; an event moves it by itself and through the weights (`drag`)."""
    variance = own.covariance((values + drag)[:, None])[0, 0] / own.total
    variance += other.covariance(other_drag[:, None])[0, 0] / other.total
    return Normalisation(float(own.mean(values)) - 1, float(np.sqrt(variance)))
