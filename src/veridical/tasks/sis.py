r"""An epidemic of susceptible and infected people, counted now and then; with exact likelihood and scores.

A Markov chain in continuous time on the number I of infected among n people: the SIS model, with arrivals of
the infection from outside,

.. math:: I \to I + 1 \text{ at the rate } \lambda I (n - I) / n + \epsilon (n - I) , \qquad
    I \to I - 1 \text{ at the rate } \mu I , \qquad I(0) = 5, n = 30, \epsilon = 0.02 ,

of which :math:`x_t \sim \mathrm{Binomial}(I(t), 0.8)` are seen at t = 1, ..., 15. Parameters are
:math:`\log \lambda` and :math:`\log \mu`, both uniform, with :math:`\lambda \in [0.3, 2]` and
:math:`\mu \in [0.2, 1]`.

The chain is simulated exactly, event by event (`jump_paths`). The likelihood is that of a hidden Markov
model,

.. math:: \log p(x | \theta) = \sum_t \log c_t , \quad c_t \alpha_t = (\alpha_{t - 1} P) \circ p(x_t | I) ,
    \quad \textstyle\sum_i \alpha_{t i} = 1 ,

with the transition probabilities P of a unit of time (`birth_death`). Slopes of both, by the product rule
along the same recursion, give the exact score. The *joint* score is the gradient of the log density of the
whole path and what is seen of it: with C contacts and R recoveries

.. math:: t = \Big( C - \lambda \int I (1 - I / n) \, ds , \; R - \mu \int I \, ds \Big) ,
    \qquad E[t \mid x, \theta] = \nabla_\theta \log p(x | \theta) .

References:
    | Statistical inference for discretely observed Markov jump processes (Bladt, Sørensen, 2005)
    | https://doi.org/10.1111/j.1467-9868.2005.00508.x
    | Mining gold from implicit models to improve likelihood-free inference (Brehmer et al., 2020)
    | https://arxiv.org/abs/1805.12244
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from veridical.errors import DataError, TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Simulated
from veridical.tasks.birth_death import generators, transitions
from veridical.tasks.jump_paths import jump_paths
from veridical.tasks.priors import Product, Uniform
from veridical.tasks.surfaces import OnCells

CONTACT, RECOVERY = (0.3, 2.0), (0.2, 1.0)
KINDS, CHANGES = ("contacts", "arrivals", "recoveries"), np.array([1, 1, -1])  # events, what they add to I
_AT_ONCE = 4_000_000  # numbers of transition matrices in memory


class SIS(OnCells):
    """Contact and recovery rate of an SIS epidemic.

    Arguments:
        people: n.
        infected: How many of them are infected at the start.
        times: How often the epidemic is counted, once in a unit of time.
        seen: The probability that an infected person is counted.
        arrivals: The rate at which a susceptible person is infected from outside.
        scores: Whether simulated rows come with their exact scores (true) or those of their paths (`joint`),
            (N, 2), which the bank keeps.
    """

    name = "sis"
    fidelities = {"chain": 1.0}  # noqa: RUF012
    cells = (60, 50)

    def __init__(
        self,
        people: int = 30,
        infected: int = 5,
        times: int = 15,
        seen: float = 0.8,
        arrivals: float = 0.02,
        scores: bool | Literal["joint"] = False,
    ) -> None:
        whole = [people, infected, times]
        if not all(isinstance(k, int) and not isinstance(k, bool) for k in whole) or not (
            0 <= infected <= people and people >= 1 and times >= 1
        ):
            raise TaskError(
                f"task {self.name}: expected whole numbers people >= 1, infected from 0 to people and "
                f"times >= 1, got {whole}."
            )
        if not (0 < seen <= 1 and arrivals >= 0):
            raise TaskError(
                f"task {self.name}: expected seen above 0 and up to 1 and arrivals >= 0, got {seen} and "
                f"{arrivals}."
            )
        if not (isinstance(scores, bool) or scores == "joint"):
            raise TaskError(f"task {self.name}: expected scores true, false or joint, got {scores!r}.")
        self.people, self.infected, self.times = people, infected, times
        self.seen, self.arrivals, self.scores = float(seen), float(arrivals), scores
        self.prior = Product(
            {"log_contact": Uniform(*np.log(CONTACT)), "log_recovery": Uniform(*np.log(RECOVERY))}
        )
        self.parameters = self.prior.parameters()
        self.dimensions = (Dimension("time", tuple(range(1, times + 1))),)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns waiting times of each kind of events, (n, W_k), and a uniform number of each count, (n, T).

        Within the prior a row needs more waiting times than W with a probability below 1e-14.
        """
        rates = CONTACT[1] * self.people / 4, self.arrivals * self.people, RECOVERY[1] * self.people
        contacts, arrivals, recoveries = (_enough(rate * self.times) for rate in rates)
        stock = contacts, arrivals, min(recoveries, self.infected + contacts + arrivals)
        waits = {kind: rng.standard_exponential((n, k)) for kind, k in zip(KINDS, stock, strict=True)}
        return waits | {"counts": rng.random((n, self.times))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Simulated:
        """Simulates theta (N, 2), shape (N, T), with the scores (N, 2) where asked for; rows that need more
        waiting times than there are hold NaN.
        """
        self.level(fidelity)
        require_shape("theta", theta, None, 2)
        require_shape("noise['counts']", noise["counts"], len(theta), self.times)
        path, joint = self._paths(theta, noise)
        up_to = np.cumsum(self._seen_of, axis=1)
        up_to[np.triu_indices(self.people + 1)] = 1.0  # no more than I are seen, whatever was rounded
        infected = np.where(np.isnan(path), 0, path).astype(int)
        x = (up_to[infected] <= noise["counts"][..., None]).sum(axis=2).astype(float)
        x[np.isnan(path).any(axis=1)] = np.nan
        if not self.scores:
            return x
        return {"x": x, "score": joint if self.scores == "joint" else self.score(theta, x)}

    def score(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns the gradient of log p(x | theta) at theta (N, 2) and x (N, T), row by row, shape (N, 2);
        NaN where x is.
        """
        self.level(fidelity)
        require_shape("theta", theta, None, 2)
        require_shape("x", x, len(theta), self.times)
        found = np.full((len(theta), 2), np.nan)
        there = np.flatnonzero(np.isfinite(x).all(axis=1))
        for rows in self._pieces(there, 3):
            q, slopes = self._generators(theta[rows])
            found[rows] = self._forward(*transitions(q, 1.0, slopes), x[rows])[1]
        return found

    def log_likelihoods(self, theta: Array, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of theta (N, 2) and x (N, T), row by row, shape (N,)."""
        found = np.empty(len(theta))
        for rows in self._pieces(np.arange(len(theta)), 1):
            found[rows] = self._forward(*transitions(self._generators(theta[rows])[0], 1.0), x[rows])[0]
        return found

    def surface(self, x: Array, fidelity: str) -> Array:
        """Returns log p(x | theta) of one x (T,) at the centres of all cells, shape (60, 50)."""
        self.level(fidelity)
        p = self._of_cells
        none = np.empty((len(p), 0, *p.shape[1:]))
        return self._forward(p, none, np.broadcast_to(x, (len(p), self.times)))[0].reshape(self.cells)

    def level(self, fidelity: str | None) -> str:
        """Returns the level itself, `chain` for None."""
        if fidelity not in (None, "chain"):
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected chain.")
        return "chain"

    def _pieces(self, rows: Array, matrices: int) -> list[Array]:
        """Numbers of rows cut into pieces whose matrices, so many a row, fit into memory."""
        size = max(1, _AT_ONCE // (matrices * (self.people + 1) ** 2))
        return [rows[first : first + size] for first in range(0, len(rows), size)]

    def _generators(self, theta: Array) -> tuple[Array, Array]:
        """Generators at theta (N, 2), (N, n + 1, n + 1), and their slopes (N, 2, n + 1, n + 1)."""
        i = np.arange(self.people + 1.0)
        contact, recovery = np.exp(theta).T[:, :, None]
        contacts, recoveries = contact * i * (self.people - i) / self.people, recovery * i
        zero = np.zeros(contacts.shape)
        slopes = [generators(contacts, zero), generators(zero, recoveries)]
        return generators(contacts + self.arrivals * (self.people - i), recoveries), np.stack(slopes, axis=1)

    @cached_property
    def _of_cells(self) -> Array:
        """Transition probabilities at the centres of all cells."""
        centres = self._grid()[0]
        pieces = self._pieces(np.arange(len(centres)), 1)
        return np.concatenate([transitions(self._generators(centres[rows])[0], 1.0)[0] for rows in pieces])

    @cached_property
    def _seen_of(self) -> Array:
        """Probabilities (n + 1, n + 1) that of I infected y are seen."""
        i, y = np.ogrid[: self.people + 1, : self.people + 1]
        missed = np.maximum(i - y, 0)
        ways = gammaln(i + 1) - gammaln(y + 1) - gammaln(missed + 1)
        return np.where(y <= i, np.exp(ways + xlogy(y, self.seen) + xlog1py(missed, -self.seen)), 0.0)

    def _forward(self, p: Array, slopes: Array, x: Array) -> tuple[Array, Array]:
        """Log likelihoods (N,) and scores (N, K) of x (N, T), from the transition probabilities
        (N, n + 1, n + 1) and their slopes (N, K, n + 1, n + 1).
        """
        x = np.asarray(x)
        if not ((np.rint(x) == x) & (x >= 0) & (x <= self.people)).all():
            raise DataError(
                f"task {self.name}: expected counts, whole numbers from 0 to {self.people}; got "
                f"{np.min(x):g} to {np.max(x):g}."
            )
        n, parameters = slopes.shape[:2]
        alpha, log_p = np.zeros((n, 1, self.people + 1)), np.zeros(n)
        alpha[:, 0, self.infected] = 1.0
        slope = np.zeros((n, parameters, self.people + 1))
        for y in x.T.astype(int):
            seen = self._seen_of[:, y].T[:, None]
            turned = (alpha[:, :, None] @ slopes)[:, :, 0] if parameters else slope
            slope = (slope @ p + turned) * seen
            alpha = (alpha @ p) * seen
            total = alpha.sum(axis=2, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):  # what is impossible has no slope
                log_p += np.log(total[:, 0, 0])
                alpha, slope = alpha / total, slope / total
        return np.where(np.isnan(log_p), -np.inf, log_p), slope.sum(axis=2)

    def _paths(self, theta: Array, noise: dict[str, Array]) -> tuple[Array, Array]:
        """The infected (N, T) at the times of the counts, and the scores of the paths (N, 2); NaN in rows
        that need more waiting times than there are.
        """
        contact, recovery = np.exp(theta).T

        def rates(i: Array, rows: Array) -> Array:
            free = self.people - i
            contacts = contact[rows] * i * free / self.people
            return np.stack([contacts, self.arrivals * free, recovery[rows] * i])

        waits = [noise[kind] for kind in KINDS]
        path, beyond = jump_paths(rates, CHANGES, self.infected, waits, np.arange(1.0, self.times + 1))
        return path, beyond[:, [0, 2]]


def _enough(mean: float) -> int:
    """More points than a Poisson variable of this mean has, but for a probability below 1e-15."""
    return int(np.ceil(mean + 8.5 * np.sqrt(mean) + 20))
