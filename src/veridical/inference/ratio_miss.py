r"""Score tests of what a fitted log ratio lacks: functions outside of its span, that should have no weight.

At the weights w the logistic loss has the gradient

.. math:: m = -\mathrm{mean}_n[(1 - p) g] + \mathrm{mean}_d[p g]

along functions g, which is zero on average if the log ratio is exact, whatever g. The weights were fitted to
the same events; to first order that moves m by :math:`-V_{gf} V^{-1}` times the gradient along the functions
f of the span, and m is held against the covariance of what is left.

References:
    | Maximum Likelihood Estimation of Misspecified Models (White, 1982)
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from veridical.inference import ratio_weights
from veridical.inference.ratio_weights import LOSSES, Events, RatioFit
from veridical.tasks.base import Array

RANK = 1e-4  # least eigenvalue of the covariance of a projected score, relative to one without projection


def score_p(lead: Array, score: Array, covariance: Array) -> float:
    """Returns the p-value of a projected score, by its directions that the span has not taken away.

    Arguments:
        lead: The projection of Q functions after P of the span, shape (Q, P + Q).
        score: Of all of them, shape (P + Q,).
        covariance: Of that, shape (P + Q, P + Q).
    """
    scale = np.sqrt(np.maximum(np.diag(covariance)[-len(lead) :], np.finfo(float).tiny))
    score, covariance = lead @ score, lead @ covariance @ lead.T
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    kept = values > RANK
    if not kept.any():
        return 1.0
    along = vectors[:, kept].T @ (score / scale)
    return float(stats.chi2.sf(np.sum(along**2 / values[kept]), int(kept.sum())))


def miss(numerator: Events, denominator: Events, found: RatioFit, kind: str = "mlc") -> float:
    """Returns the p-value that the square and the cube of tanh(log r) have no weight.

    Arguments:
        numerator: Events of the first class that the weights were fitted to.
        denominator: Those of the second.
        found: The fitted weights.
        kind: The loss that they minimise.
    """
    bce, p = LOSSES["bce"], len(found.weights)
    hessian = ratio_weights.derivatives(found.weights, numerator, denominator, kind)[1]
    hessian += found.ridge * np.trace(hessian) / p * np.eye(p)
    terms = ratio_weights.influence(found.weights, numerator, denominator, kind)
    mean, cross, covariance = np.zeros(p + 2), np.zeros((2, p)), np.zeros((p + 2, p + 2))
    for events, own, sign in zip((numerator, denominator), terms, (1, -1), strict=True):
        s = events.log_ratio(found.weights)
        g = np.stack([np.tanh(s) ** 2, np.tanh(s) ** 3], axis=1)
        both = np.concatenate([own, bce.pull(sign * s)[:, None] * g], axis=1)
        mean -= sign * events.mean(both)
        cross += (g * (events.counts * bce.curvature(sign * s) / events.total)[:, None]).T @ events.functions
        covariance += events.covariance(both) / events.total
    lead = np.concatenate([-np.linalg.solve(hessian, cross.T).T, np.eye(2)], axis=1)
    return score_p(lead, mean, covariance)
