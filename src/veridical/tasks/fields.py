r"""Random fields on a square grid at two levels: whole, or cut into squares of four by four sites.

The G x G sites lie on the unit square, with distances D; correlations fall as :math:`e^{-D / l}` with the
length scale l, whose logarithm is uniform, :math:`l \in [0.05, 1]`. Fidelities: `field` is the whole; in
`blocks` sites of different squares are uncorrelated. The same numbers drive both.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array, Dimension
from veridical.tasks.priors import Product, Uniform
from veridical.tasks.surfaces import OnCells

BLOCK = 4  # sites along an edge of a block
LENGTHS = (0.05, 1.0)
_AT_ONCE = 4_000_000  # numbers of covariance matrices in memory


class SquareField(OnCells):
    """The logarithm of a length scale and a second parameter of a field on a square grid.

    Arguments:
        second: The name of the second parameter, and its range.
        side: G, the sites along an edge: a multiple of four.
        scores: Whether simulated rows come with their scores, (N, 2), which the bank keeps.
    """

    fidelities = {"blocks": 1.0, "field": 250.0}  # noqa: RUF012
    block_rows = 250

    def __init__(self, second: tuple[str, tuple[float, float]], side: int, scores: bool) -> None:
        if isinstance(side, bool) or not isinstance(side, int) or side < BLOCK or side % BLOCK:
            raise TaskError(f"task {self.name}: expected side to be a multiple of {BLOCK}, got {side!r}.")
        name, (lower, upper) = second
        lengths = Uniform(*np.log(LENGTHS))
        self.prior = Product({"log_length": lengths, name: Uniform(*np.log([lower, upper]))})
        self.parameters = self.prior.parameters()
        self.side, self.scores = side, bool(scores)

    def edges(self) -> tuple[Dimension, Dimension]:
        """Returns the axes of a field."""
        places = tuple(np.round(np.arange(self.side) / (self.side - 1), 6).tolist())
        return Dimension("north", places, kind="image"), Dimension("east", places, kind="image")

    def level(self, fidelity: str | None) -> str:
        """Returns the level itself, `field` for None."""
        level = "field" if fidelity is None else fidelity
        if level not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {level!r}; expected blocks or field.")
        return level

    def edge(self, level: str) -> int:
        """Returns how many sites along an edge are correlated."""
        return self.side if level == "field" else BLOCK

    def pieces(self, n: int, level: str) -> list[slice]:
        """Returns n rows cut into pieces whose matrices fit into memory."""
        size = max(1, _AT_ONCE // self.edge(level) ** 4)
        return [slice(first, first + size) for first in range(0, n, size)]

    def scaled_distances(self, log_lengths: Array, level: str) -> Array:
        """Returns D / l of the m sites that are correlated, for log length scales (N,), shape (N, m, m)."""
        return distances(self.edge(level), self.side) / np.exp(log_lengths)[:, None, None]

    def cut(self, x: Array, level: str) -> Array:
        """Returns fields (..., G, G) as blocks (..., number of blocks, m)."""
        edge, before = self.edge(level), x.shape[:-2]
        parts = x.reshape(*before, self.side // edge, edge, self.side // edge, edge)
        return np.swapaxes(parts, -3, -2).reshape(*before, -1, edge**2)

    def joined(self, blocks: Array, level: str) -> Array:
        """Returns blocks as fields: the inverse of `cut`."""
        edge, before = self.edge(level), blocks.shape[:-2]
        parts = blocks.reshape(*before, self.side // edge, self.side // edge, edge, edge)
        return np.swapaxes(parts, -3, -2).reshape(*before, self.side, self.side)


@cache
def distances(edge: int, side: int) -> Array:
    """Returns the distances (m, m) of edge x edge sites of a grid with side x side on the unit square."""
    places = np.stack(np.meshgrid(*[np.arange(edge) / (side - 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.asarray(np.linalg.norm(places[:, None] - places, axis=-1))


@cache
def spectra(edge: int, side: int, lengths: tuple[float, ...]) -> tuple[Array, Array]:
    """Returns eigenvalues (A, m) and vectors (A, m, m) of the correlations at some length scales."""
    found = [np.linalg.eigh(np.exp(-distances(edge, side) / length)) for length in lengths]
    return np.stack([values for values, _ in found]), np.stack([vectors for _, vectors in found])
