r"""Which of many candidates a round simulates: more of those where members of an ensemble disagree.

Candidates :math:`\theta_1, \dots, \theta_C` are rows of the truncated prior. Of these n are kept, candidate c
with the probability

.. math:: \pi_c = (1 - s) \frac{n}{C} + s \, n \frac{a_c}{\sum_k a_k} , \qquad
    a(\theta) = \operatorname{Var}_m [\, q_m(\theta \mid x_o) \,] ,

(those above one are set to one, and the others raised alike), by systematic sampling, which keeps exactly n.
The rows kept follow the prior no more. With the weight of Horvitz and Thompson they do:

.. math:: w_c = \frac{n / C}{\pi_c} , \qquad
    E \frac{1}{n} \sum_{c \text{ kept}} w_c \, f(\theta_c) = \frac{1}{C} \sum_c f(\theta_c)
    \quad \text{for any } f \text{ and any } a ,

so that a loss weighed like this is that of the candidates, on average, whatever the members think. As no
probability falls below (1 - s) n / C, no weight exceeds 1 / (1 - s): of the share s = 0.2, 1.25. Without
weights the rows would stand for a prior :math:`p(\theta) \pi(\theta)`, and the posterior that learns from
them would be another one.

The variance is that of densities, not of their logarithms: those differ most where there is hardly any mass.

References:
    | A Generalization of Sampling Without Replacement From a Finite Universe (Horvitz and Thompson, 1952)
    | Multifidelity Simulation-based Inference for Expensive Simulators (Krouglova et al., 2026)
    | https://arxiv.org/abs/2502.08416
"""

from __future__ import annotations

import numpy as np

from veridical.errors import require_shape
from veridical.tasks.base import Array

CANDIDATES = 5  # for each row that is kept


def disagreement(log_q: Array) -> Array:
    """Returns the variance over members of their densities, up to a factor, shape (C,).

    Arguments:
        log_q: Log densities of M members at C candidates, shape (M, C); -inf where there is none.
    """
    require_shape("log_q", log_q, None, None)
    largest = log_q.max()
    if not np.isfinite(largest):
        return np.zeros(log_q.shape[1])
    return np.asarray(np.exp(log_q - largest).var(axis=0))


def inclusion(score: Array, n: int, share: float) -> Array:
    """Returns the probability of each candidate to be among the n that are kept, shape (C,); their sum is n.

    Arguments:
        score: How much each is worth, shape (C,), none below zero; where all are zero, all are alike.
        n: How many are kept, at most C.
        share: The part of them that goes by score, below one.
    """
    require_shape("score", score, None)
    even, total = np.full(len(score), n / len(score)), score.sum()
    if not total > 0:
        return even
    wanted = (1 - share) * even + share * n * score / total
    found, sure = wanted, np.zeros(len(score), bool)
    while (found > 1).any():
        sure |= found > 1
        found = np.where(sure, 1.0, wanted * ((n - sure.sum()) / wanted[~sure].sum()))
    return found


def kept(probability: Array, rng: np.random.Generator) -> Array:
    """Returns the numbers of the candidates that are kept, in random order, shape (n,).

    Arguments:
        probability: Of each candidate, shape (C,); the sum is n.
        rng: Decides all.
    """
    order = rng.permutation(len(probability))
    ends = np.cumsum(probability[order])
    n = round(float(ends[-1]))
    points = (rng.random() + np.arange(n)) * (ends[-1] / n)
    places = np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)
    return np.asarray(rng.permutation(order[places]))


def acquired(
    candidates: Array, score: Array, n: int, share: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Returns the n candidates that are kept (n, D), and the weights that their losses take, shape (n,).

    Arguments:
        candidates: Rows of the truncated prior, shape (C, D).
        score: How much each is worth, shape (C,).
        n: How many are kept.
        share: The part of them that goes by score, below one.
        rng: Decides all.
    """
    require_shape("candidates", candidates, len(score), None)
    probability = inclusion(score, n, share)
    rows = kept(probability, rng)
    return candidates[rows], n / len(score) / probability[rows]
