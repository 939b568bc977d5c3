r"""A classifier two-sample test (C2ST) for a set of any size, from one row on, in closed form.

The pool holds the n rows that are judged first, then M simulated ones. Each number becomes the normal score
of its rank in the pool; features are these scores (*linear*) and, where rows suffice, their squares and
products too (*quadratic*). Fisher's discriminant of a set of rows against the rest, with whitened features u
of mean 0 over the pool, has the direction of the set's own mean, and separates it by

.. math:: T = \Big\| \frac1n \sum_{i \in \mathrm{set}} u_i \Big\|^2 .

Training it on another set costs no more than a mean of n rows, so that it is trained for each of many random
sets of the pool: the null. The larger of both T, each in units of its null, is the statistic. Given the pool
all sets are exchangeable if the simulator is right, so that its p-value is exact.

A classifier that is scored on rows that it has not seen (accuracy, or the area under its curve, in folds)
needs sets large enough to be divided; its area under the curve is computed here for readers, each judged row
left out of the direction that scores it.

References:
    | Revisiting Classifier Two-Sample Tests (Lopez-Paz & Oquab, 2017), https://arxiv.org/abs/1610.06545
    | Classification Accuracy as a Proxy for Two-Sample Testing (Kim et al., 2021),
    | https://arxiv.org/abs/1602.02210: Fisher's discriminant
    | Testing for Homogeneity with Kernel Fisher Discriminant Analysis (Harchaoui et al., 2008)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from veridical.checks.battery import scores, standardised
from veridical.checks.inputs import Array
from veridical.checks.mmd import GATHERED
from veridical.checks.mmd_null import subsets

CLIP = 4.0  # of scores, so that no row decides all products
ROWS = 10  # of the pool, for each quadratic feature
_FLAT = 1e-6  # of the largest variance: directions with less say nothing
_TINY = 1e-12


class Classified(NamedTuple):
    """What a classifier finds in a set.

    Attributes:
        statistic: The larger of both separations, each in units of its null.
        null: The same of other sets of the pool, shape (R,).
        auc: Area under the curve of the discriminant for judged rows that it has not seen, from three on.
        auc_error: Its standard error.
    """

    statistic: float
    null: Array
    auc: float | None
    auc_error: float | None


def sets_of(rows: int, size: int, repeats: int, rng: np.random.Generator) -> Array:
    """Returns rows of sets of a pool, the first `size` rows first; of single rows each once.

    Arguments:
        rows: Rows of the pool.
        size: n, the rows of a set.
        repeats: R, how many sets to draw, of more than one row.
        rng: Draws them.

    Returns:
        Shape (R + 1, n).
    """
    if size == 1:
        return np.arange(rows)[:, None]
    return np.concatenate([np.arange(size)[None], subsets(rows, size, repeats, rng)])


def means(values: Array, sets: Array) -> Array:
    """Returns means of values (P, J) over sets of rows (S, n), shape (S, J)."""
    if sets.shape[1] == 1:
        return values[sets[:, 0]]
    if 8 * sets.shape[1] <= len(values) and sets.size * values.shape[1] <= GATHERED:
        return np.asarray(values[sets].mean(axis=1))
    weights = np.zeros((len(sets), len(values)))
    np.put_along_axis(weights, sets, 1 / sets.shape[1], axis=1)
    return np.asarray(weights @ values)


def whitened_features(pool: Array) -> tuple[Array, ...]:
    """Returns whitened features of a pool (P, K): linear, then linear and quadratic ones where rows suffice.

    Where they suffice for squares alone, products are left out.
    """
    z = np.clip(scores(pool), -CLIP, CLIP)
    k = z.shape[1]
    first, second = np.triu_indices(k)
    if k * (k + 3) // 2 > len(pool) // ROWS:
        first = second = np.arange(k)
    if 2 * k > len(pool) // ROWS:
        return (_whitened(z),)
    return _whitened(z), _whitened(np.concatenate([z, z[:, first] * z[:, second]], axis=1))


def classify(pool: Array, size: int, repeats: int, rng: np.random.Generator) -> Classified:
    """Trains the discriminant on the first rows of a pool and on random sets of as many.

    Arguments:
        pool: Numbers of each row, those judged first, shape (P, K).
        size: n, how many are judged.
        repeats: R, how many other sets there are; of single rows all others are.
        rng: Draws them.
    """
    features = whitened_features(pool)
    sets = sets_of(len(pool), size, repeats, rng)
    apart = np.stack([(means(u, sets) ** 2).sum(axis=1) for u in features], axis=1)
    largest = standardised(apart).max(axis=1)
    auc = area(features[-1], size) if size > 2 else (None, None)
    return Classified(float(largest[0]), largest[1:], *auc)


def area(u: Array, size: int) -> tuple[float, float]:
    """Returns the area under the curve of the first rows against the rest, and its standard error.

    Arguments:
        u: Whitened features of the pool, shape (P, F).
        size: How many rows are judged, more than one; each is left out of the direction that scores it.
    """
    own, others = u[:size], u[size:]
    direction = own.mean(axis=0)
    left_out = (size * direction - own) / (size - 1)
    score, null = (own * left_out).sum(axis=1), np.sort(others @ direction)
    below, up_to = (np.searchsorted(null, score, side=side) for side in ("left", "right"))
    places = (below + up_to) / (2 * len(null))
    return float(places.mean()), float(places.std(ddof=1) / np.sqrt(size))


def _whitened(features: Array) -> Array:
    """Features (P, F) with mean 0 and covariance 1 over the pool, in as many directions as vary."""
    centred = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = values > max(_FLAT * values[-1], _TINY)
    if not kept.any():
        return np.zeros((len(features), 1))
    return np.asarray(centred @ (vectors[:, kept] / np.sqrt(values[kept])))
