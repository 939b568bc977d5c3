r"""What the checks near the observation look at: parameters around an answer, and answers to their data.

Parameters theta come from a density g around the answer, x is simulated at them, and draws
:math:`T_1, \dots, T_S \sim q(\cdot | x)` are weighted by :math:`w = g / p`, p the prior. If q is the
posterior, then given the *set* of the S + 1 values each of them is theta with a probability in proportion to
its weight: theta comes with density :math:`g(\theta) p(x | \theta) \propto w(\theta) q(\theta | x)`, the
others with q alone. So the weighted rank of theta in this pool is exactly uniform, and a value drawn from the
pool by weight is exactly exchangeable with theta: for any g, any S and any weights. Weights that few draws
share cost power, never validity.

What is handed over, `nearby`, is a mapping of arrays, for M data sets around N observations:

    observation       (M,)         which one; in order
    pool              (S + 1, M, D)  theta, then the draws
    log_weight        (S + 1, M)   up to a constant for each data set; -inf outside the prior
    widening, failed  (N,)         of g, in standard deviations of the answer; simulations without data

References:
    | Conformal Prediction Under Covariate Shift (Tibshirani et al., 2019), https://arxiv.org/abs/1904.06019
    | Posterior SBC (Säilynoja et al., 2025), https://arxiv.org/abs/2502.03279
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from veridical.checks.inputs import Array, require_finite
from veridical.errors import DataError, require_shape

ENOUGH = 20.0  # draws that a reweighted answer should be worth
FEWEST = 40  # data sets below which nothing is judged


@dataclass(frozen=True)
class Neighbours:
    """Data sets around one observation.

    Attributes:
        pool: The parameters simulated at, then draws given these data, shape (S + 1, M, D).
        log_weight: Log weights, shape (S + 1, M).
    """

    pool: Array
    log_weight: Array

    @cached_property
    def weights(self) -> Array:
        """Weights that add up to one for each data set, shape (S + 1, M)."""
        return normalised(self.log_weight)

    @property
    def effective(self) -> Array:
        """How many equal draws those of a data set are worth once reweighted, shape (M,)."""
        return 1 / (self.weights**2).sum(axis=0)

    def ranks(self, values: Array, rng: np.random.Generator) -> Array:
        """Returns weighted ranks in (0, 1) of the first of some values (S + 1, M, ...) among all.

        Arguments:
            values: Of each member of the pool.
            rng: Places a value within its own weight.
        """
        return weighted_ranks(values, self.weights, rng)

    def resampled(self, rng: np.random.Generator) -> Array:
        """Returns the place of one member of each pool, drawn by weight, shape (M,)."""
        return drawn(self.weights, rng)


def normalised(log_weight: Array) -> Array:
    """Returns weights (S, M) that add up to one over the first axis; equal ones where all are zero."""
    largest = log_weight.max(axis=0)
    w = np.exp(np.where(np.isneginf(largest), 0.0, log_weight - np.where(np.isneginf(largest), 0.0, largest)))
    return np.asarray(w / w.sum(axis=0))


def drawn(weights: Array, rng: np.random.Generator) -> Array:
    """Returns one place of each column of weights (S, M), drawn by weight, shape (M,)."""
    places = (weights.cumsum(axis=0) < rng.random(weights.shape[1])).sum(axis=0)
    return np.minimum(places, len(weights) - 1)


def weighted_ranks(values: Array, weights: Array, rng: np.random.Generator) -> Array:
    """Returns the weight of values below the first one, plus a random part of that of its equals.

    Arguments:
        values: Shape (S, M, ...).
        weights: Shape (S, M), adding up to one over the first axis.
        rng: Chooses the part.
    """
    below = np.einsum("sm,sm...->m...", weights, values < values[0])
    equal = np.einsum("sm,sm...->m...", weights, values == values[0])
    return np.asarray(below + rng.random(values.shape[1:]) * equal)


def by_observation(arrays: Mapping[str, Array], d: int) -> list[Neighbours]:
    """Returns the data sets around each observation.

    Arguments:
        arrays: See the module.
        d: Number of parameters.

    Raises:
        DataError: If an array is missing, or a number is not finite.
        ShapeError: If shapes disagree.
    """
    wanted = {"observation", "pool", "log_weight", "widening", "failed"}
    if not wanted <= arrays.keys():
        raise DataError(f"nearby: expected the arrays {sorted(wanted)}, got {sorted(arrays)}.")
    pool, log_weight = (np.asarray(arrays[name], dtype=float) for name in ("pool", "log_weight"))
    observation = np.asarray(arrays["observation"])
    require_shape("pool", pool, None, len(observation), d)
    require_shape("log_weight", log_weight, *pool.shape[:2])
    require_finite("pool", pool)
    require_finite("log_weight", log_weight, allow=-np.inf)
    found = []
    for i in range(len(arrays["widening"])):
        rows = observation == i
        found.append(Neighbours(pool[:, rows], log_weight[:, rows]))
    return found


def too_few(found: list[Neighbours]) -> str | None:
    """Returns why the data sets around some observations cannot be judged; None where they can."""
    fewest = min(one.pool.shape[1] for one in found)
    if fewest >= FEWEST:
        return None
    return f"{fewest} valid simulations around the answer are too few to judge; {FEWEST} are needed."


def family(p_values: Array) -> float:
    """Returns Bonferroni's p-value of several p-values."""
    return float(min(1.0, p_values.size * p_values.min()))
