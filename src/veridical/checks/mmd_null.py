r"""The null of the MMD: sets of simulations, as many rows in each as the set that is judged has.

The value of MMD depends on the number of rows N_o; its null is made of sets of N_o simulated summaries that
are not in the reference, in one of two ways, both of which give exact p-values
:math:`(1 + \#\{D_r \geq D\}) / (1 + R)`:

- *fresh*: R sets that share no row, where there are R N_o rows (and always for N_o = 1);
- *permuted*: where rows are fewer, each set is drawn without replacement from the null rows joined with the
  set that is judged. Given the reference these are exchangeable if the simulator is right, however much the
  sets share. (Sets from the null rows alone vary too little: at N_o = 100 of 125 rows, size 0.2 for 0.05.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from veridical.checks.base import monte_carlo_p
from veridical.checks.inputs import Array
from veridical.checks.mmd import GATHERED, Reference, kernel_matrix, root_mmd


class Kernels(NamedTuple):
    """Kernels of points with a pool (N, P) and with one another (N, N), mean ones with a reference (N,)."""

    pool: Array
    among: Array
    across: Array

    def rows(self, chosen: Array) -> Kernels:
        """Returns those of some of the points."""
        return Kernels(self.pool[chosen], self.among[np.ix_(chosen, chosen)], self.across[chosen])


class Judged(NamedTuple):
    """Root MMD of a set, those of sets that it is compared with (R,), and the rows of these (R, N_o)."""

    value: float
    null: Array
    rows: Array


class Pool:
    """Rows fresh to the reference, with all kernels among them, from which sets are drawn by indexing.

    Arguments:
        reference: What sets are compared with.
        points: The rows, shape (P, K).
        size: How many a set has, N_o.
    """

    def __init__(self, reference: Reference, points: Array, size: int) -> None:
        p = len(points)
        self.reference, self.points, self.size = reference, points, size
        self._across = np.concatenate([reference.across(points), np.zeros(size)])
        self._kernels = np.empty((p + size, p + size))  # the last rows are for the set that is judged
        self._kernels[:p, :p] = kernel_matrix(points, points, reference.kernel)

    def kernels(self, points: Array) -> Kernels:
        """Returns the kernels of points (N, K) that are not in the pool."""
        kernel = self.reference.kernel
        return Kernels(
            kernel_matrix(points, self.points, kernel),
            kernel_matrix(points, points, kernel),
            self.reference.across(points),
        )

    def judge(self, judged: Kernels, repeats: int, rng: np.random.Generator) -> Judged:
        """Compares a set with sets drawn from the rows of the pool joined with its own, which come last.

        Arguments:
            judged: Kernels of the N_o points of the set.
            repeats: How many sets to draw.
            rng: Draws them.
        """
        p, n = len(self.points), self.size
        kernels, across = self._kernels, self._across
        kernels[p:, :p], kernels[:p, p:], kernels[p:, p:] = judged.pool, judged.pool.T, judged.among
        across[p:] = judged.across
        rows = subsets(p + n, n, repeats, rng)
        value = root_mmd(self.reference.own, judged.among.mean(), judged.across.mean())
        step = max(1, GATHERED // n**2)
        within = [
            kernels[part[:, :, None], part[:, None, :]].mean(axis=(1, 2))
            for part in (rows[i : i + step] for i in range(0, repeats, step))
        ]
        null = root_mmd(self.reference.own, np.concatenate(within), across[rows].mean(axis=1))
        return Judged(float(value), null, rows)


def subsets(rows: int, size: int, repeats: int, rng: np.random.Generator) -> Array:
    """Returns rows of random sets, each without replacement, shape (repeats, size)."""
    if size == rows:
        return np.tile(np.arange(rows), (repeats, 1))
    step = max(1, GATHERED // rows)
    parts = [
        np.argpartition(rng.random((min(step, repeats - i), rows)), size - 1, axis=1)[:, :size]
        for i in range(0, repeats, step)
    ]
    return np.concatenate(parts)


def fresh_sets(points: Array, size: int, sets: int) -> Array:
    """Returns sets of points (P, K) that share none, shape (sets, size, K)."""
    return points[: sets * size].reshape(sets, size, -1)


def rejections(distances: Array, null: Array, alpha: float) -> Array:
    """Returns which distances have a p-value of at most alpha against a null, shape like the distances."""
    return np.asarray(monte_carlo_p(distances, null) <= alpha)
