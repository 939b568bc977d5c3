r"""Weights of frozen functions for a likelihood-to-evidence ratio, from pairs of parameters and data.

The model is linear in P weights, :math:`\log r(x, \theta \mid w) = \sum_i w_i f_i(x, \theta)`, with f_0 = 1.
Of N rows, pairs as they were simulated are the numerator; x of row i with theta of row i - k, k = 1 ... K,
the denominator. Loss, derivatives and minimum are those of `ratio_weights`.

Each row is in one joint pair and in 2 K others, so that the two samples are not independent and their
covariances do not add. With the gradient :math:`g = \mathrm{mean}_i [-h_i] + \mathrm{mean}_{ik} [k_{ik}]`
(h and k: pull of the loss times f), the sum of all that row i has a part in,

.. math:: u_i = -h_i + \frac1K \sum_k k(\theta_{i-k}, x_i) + \frac1K \sum_k k(\theta_i, x_{i+k}), \qquad
    U = \frac1N \Big( \mathrm{Cov}[u] - \frac1K \mathrm{Cov}[k] \Big), \qquad C = V^{-1} U V^{-1} .

The second term takes away what u counts twice: with k = mean + a(theta) + b(x) + c, uncorrelated, the
variance of g has Var(c) / K where Var(u) has (Var(a) + Var(b) + 2 Var(c)) / K. Where x has R entries that are
independent given theta, a row's terms are means over these, and rows stay the units.

**Miss.** Functions g that are not in the span would have the weight zero if the ratio were exact: the
gradient of the logistic loss along them, which does not vanish by itself at the fitted weights, is a score
test of that with as many degrees of freedom as functions.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
    | A Class of Statistics with Asymptotically Normal Distribution (Hoeffding, 1948)
    | Tests based on sandwich covariances: Maximum Likelihood Estimation of Misspecified Models (White, 1982)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from veridical.errors import TrainingError, require_shape
from veridical.inference import ratio_weights
from veridical.inference.ratio_miss import score_p
from veridical.inference.ratio_weights import LOSSES, Events, Normalisation, RatioFit
from veridical.tasks.base import Array

LEAST_ROWS = 10  # for each weight, below which weights are refused


@dataclass(frozen=True)
class Pairs:
    """Functions at pairs that belong together and at others.

    Attributes:
        joint: At theta and x of the same row, shape (N, R, P).
        others: At x of row i and theta of row i - k, k = 1 ... K, shape (K, N, R, P).
    """

    joint: Array
    others: Array

    def __post_init__(self) -> None:
        require_shape("others", self.others, None, *self.joint.shape)

    @property
    def rows(self) -> int:
        """Number N of rows."""
        return len(self.joint)

    @property
    def events(self) -> tuple[Events, Events]:
        """Numerator and denominator, each pair an event."""
        p = self.joint.shape[-1]
        return Events.of(self.joint.reshape(-1, p)), Events.of(self.others.reshape(-1, p))


def row_covariance(joint: Array, others: Array) -> Array:
    """Returns the covariance (Q, Q) of mean(joint) + mean(others), of terms (N, Q) and (K, N, Q); U above."""
    k, n, q = others.shape
    of_theta = np.mean([np.roll(part, -by, axis=0) for by, part in enumerate(others, 1)], axis=0)
    whole = np.cov(joint + others.mean(axis=0) + of_theta, rowvar=False).reshape(q, q)
    found = (whole - np.cov(others.reshape(-1, q), rowvar=False).reshape(q, q) / k) / n
    values, vectors = np.linalg.eigh(found)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def fit(pairs: Pairs, kind: str = "bce", *, ridge: float = 0.0) -> RatioFit:
    """Returns the weights that minimise the loss at pairs, with their covariance by rows.

    Arguments:
        pairs: Functions at pairs, the first of them 1.
        kind: `bce` or `mlc`.
        ridge: The least ridge; see `ratio_weights.fit`.

    Raises:
        TrainingError: If there are fewer than 10 rows for each weight, or the minimum is not found.
    """
    p = pairs.joint.shape[-1]
    if pairs.rows < max(LEAST_ROWS * p, 2 * len(pairs.others) + 1):
        raise TrainingError(
            f"ratio: expected at least {LEAST_ROWS} rows for each of {p} weights, and more than twice the "
            f"{len(pairs.others)} shuffles, got {pairs.rows} rows; raise `fit_rows`, or use fewer members."
        )
    found = ratio_weights.fit(*pairs.events, kind, ridge=ridge)
    return _described(pairs, found, kind)


def _described(pairs: Pairs, found: RatioFit, kind: str) -> RatioFit:
    """The fit with covariance and normalisations by rows."""
    inverse = _inverse_hessian(pairs, found, kind)
    h, k = _terms(pairs, pairs, found.weights, kind)
    q = h.shape[1]
    s_n, s_d = pairs.joint @ found.weights, pairs.others @ found.weights
    over, under = np.exp(-s_n), np.exp(s_d)
    covariance = inverse @ row_covariance(h, k) @ inverse
    on_r = inverse @ (under[..., None] * pairs.others).reshape(-1, q).mean(axis=0)
    on_inverse = -inverse @ (over[..., None] * pairs.joint).reshape(-1, q).mean(axis=0)
    r = row_covariance((-h @ on_r)[:, None], (under.mean(-1) - k @ on_r)[..., None])
    of_inverse = row_covariance((over.mean(-1) - h @ on_inverse)[:, None], (-k @ on_inverse)[..., None])
    return replace(
        found,
        largest_share=_largest_share(h, k, inverse),
        covariance=(covariance + covariance.T) / 2,
        bias=np.zeros(q),
        numerator=Normalisation(float(over.mean()) - 1, float(np.sqrt(of_inverse[0, 0]))),
        denominator=Normalisation(float(under.mean()) - 1, float(np.sqrt(r[0, 0]))),
    )


def _largest_share(joint: Array, others: Array, inverse: Array) -> float:
    """The largest share that one row has in the variance of any weight, as x or with its parameters."""
    of_theta = np.mean([np.roll(part, -by, axis=0) for by, part in enumerate(others, 1)], axis=0)
    rows = joint + others.mean(axis=0) + of_theta
    moved = ((rows - rows.mean(axis=0)) @ inverse) ** 2
    return float((moved.max(axis=0) / np.maximum(moved.sum(axis=0), np.finfo(float).tiny)).max())


def _inverse_hessian(pairs: Pairs, found: RatioFit, kind: str) -> Array:
    """The inverse of V at the weights, the ridge included."""
    p = len(found.weights)
    hessian = ratio_weights.derivatives(found.weights, *pairs.events, kind)[1]
    return np.linalg.inv(hessian + found.ridge * np.trace(hessian) / p * np.eye(p))


def _terms(of: Pairs, pairs: Pairs, weights: Array, kind: str) -> tuple[Array, Array]:
    """Terms of the gradient along some functions, (N, Q) and (K, N, Q), at the log ratio of others."""
    pull = LOSSES[kind].pull
    h = -(pull(pairs.joint @ weights)[..., None] * of.joint).mean(axis=1)
    return h, (pull(-(pairs.others @ weights))[..., None] * of.others).mean(axis=2)


def miss(pairs: Pairs, omitted: Pairs, found: RatioFit, kind: str = "bce") -> float:
    """Returns the p-value of the score test that functions not in the span have no weight.

    Arguments:
        pairs: Those that the weights were fitted to.
        omitted: Further functions at the same pairs.
        found: The fitted weights.
        kind: The loss that they minimise.
    """
    h, k = _terms(pairs, pairs, found.weights, kind)
    further_h, further_k = _terms(omitted, pairs, found.weights, "bce")
    both = np.concatenate([h, further_h], axis=1), np.concatenate([k, further_k], axis=2)
    mean = both[0].mean(axis=0) + both[1].mean(axis=(0, 1))
    curvature = LOSSES["bce"].curvature
    c = curvature(pairs.joint @ found.weights), curvature(pairs.others @ found.weights)
    cross = np.einsum("nr,nrq,nrp->qp", c[0], omitted.joint, pairs.joint) / c[0].size
    cross += np.einsum("knr,knrq,knrp->qp", c[1], omitted.others, pairs.others) / c[1].size
    lead = np.concatenate([-cross @ _inverse_hessian(pairs, found, kind), np.eye(len(cross))], axis=1)
    return score_p(lead, mean, row_covariance(*both))
