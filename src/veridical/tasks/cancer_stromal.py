r"""Cancer and stromal cells on a square of tissue, and necrosis, which the simulator does not know of.

.. math:: \lambda_c \sim U(200, 1500), \qquad \lambda_p \sim U(3, 20), \qquad \lambda_d \sim U(10, 20) .

On the unit square lie Poisson(:math:`\lambda_c`) cells and Poisson(:math:`\lambda_p`) + 1 parents of tumours,
all uniform and independent. Parent k has :math:`n_k \sim` Poisson(:math:`\lambda_d`) + 1; its radius
:math:`r_k` is the distance to the cell at place :math:`n_k` (from 0) in the order of distance. Cells within
:math:`r_k` of any parent are cancer cells, the others stromal.

Data are four summaries: the number of stromal cells, that of cancer cells, and the mean and the largest
distance from one of the first 50 stromal cells to its nearest cancer cell. A row without a stromal or without
a cancer cell has failed. At the level `real` each parent is necrotic with probability 0.75 s, s being the
severity (1 where none is given), and all cells closer than :math:`0.8 r_k` to a necrotic parent are gone
before the cells are counted.

Counts are quantiles of uniform numbers, so that both levels share their randomness.

References:
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022), task CS
    | https://arxiv.org/abs/2210.06564
"""

from __future__ import annotations

import numpy as np
from scipy.special import pdtr, pdtrik

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform

SUMMARIES = ("stromal", "cancer", "mean_distance", "max_distance")
MAX_CELLS = 1900  # 1,500 + 10 standard deviations
MAX_PARENTS = 72  # 20 + 1 + 11 standard deviations
MEASURED = 50  # stromal cells whose distance to the next cancer cell is measured
NECROTIC = 0.75
NECROTIC_CORE = 0.8


class CancerStromal(Task):
    """Cells of a tissue, of which parents of tumours make some cancer cells.

    Arguments:
        severity: The share of 0.75 with which parents are necrotic at the level `real`, from 0 to 1.
    """

    name = "cancer_stromal"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    prior = Product(
        {"cells": Uniform(200.0, 1500.0), "parents": Uniform(3.0, 20.0), "daughters": Uniform(10.0, 20.0)}
    )
    parameters = prior.parameters()
    dimensions = (Dimension("summary", SUMMARIES),)

    def __init__(self, severity: float = 1.0) -> None:
        self.severity = require_severity(self.name, severity)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns places of as many cells and parents as there can be, and uniform numbers for counts."""
        return {
            "counts": rng.random((n, 2)),
            "cells": rng.random((n, MAX_CELLS, 2)),
            "parents": rng.random((n, MAX_PARENTS, 2)),
            "daughters": rng.random((n, MAX_PARENTS)),
            "necrosis": rng.random((n, MAX_PARENTS)),
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 3), shape (N, 4); NaN where there is no stromal or no cancer cell."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 3)
        cells = np.minimum(poisson_quantile(noise["counts"][:, 0], theta[:, 0]), MAX_CELLS)
        parents = np.minimum(poisson_quantile(noise["counts"][:, 1], theta[:, 1]) + 1, MAX_PARENTS)
        daughters = poisson_quantile(noise["daughters"], theta[:, 2:]) + 1
        x = np.full((len(theta), len(SUMMARIES)), np.nan)
        for i, (c, p) in enumerate(zip(cells, parents, strict=True)):
            if c == 0:
                continue
            necrotic = noise["necrosis"][i, :p] < (self.severity * NECROTIC if fidelity == "real" else 0.0)
            x[i] = _summaries(noise["cells"][i, :c], noise["parents"][i, :p], daughters[i, :p], necrotic)
        return x


def poisson_quantile(u: Array, mean: Array) -> Array:
    """Returns the least k with P(count <= k) >= u, for a Poisson count of the given mean; integers."""
    u = np.maximum(u, 2.0**-54)
    k = np.ceil(pdtrik(u, mean))
    k = np.where(pdtr(np.maximum(k - 1, 0), mean) >= u, k - 1, k)  # where rounding put k one too high
    return np.maximum(k, 0).astype(int)


def _summaries(cells: Array, parents: Array, daughters: Array, necrotic: Array) -> Array:
    """The four summaries of one tissue: cells (C, 2), parents (P, 2), daughters and necrosis (P,)."""
    squares = _squared_distances(parents, cells)
    places = np.minimum(daughters, len(cells) - 1)
    ordered = np.partition(squares, np.unique(places), axis=1)
    radius = ordered[np.arange(len(parents)), places][:, None]
    cancer = (squares <= radius).any(axis=0)
    gone = (squares < NECROTIC_CORE**2 * radius)[necrotic].any(axis=0)
    tumour, stroma = cells[cancer & ~gone], cells[~cancer & ~gone]
    if not (len(tumour) and len(stroma)):
        return np.full(len(SUMMARIES), np.nan)
    nearest = np.sqrt(_squared_distances(stroma[:MEASURED], tumour).min(axis=1))
    return np.array([len(stroma), len(tumour), nearest.mean(), nearest.max()])


def _squared_distances(a: Array, b: Array) -> Array:
    """Squared distances (A, B) of points a (A, 2) and b (B, 2)."""
    return (a[:, :1] - b[:, 0]) ** 2 + (a[:, 1:] - b[:, 1]) ** 2
