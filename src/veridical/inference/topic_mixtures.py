r"""The posterior of the fraction of a class whose shape, as that of the other, is a mixture of topics.

Of N events :math:`n_b` lie in bin b. With topics S of the first class and B of the second,

.. math:: n \sim \mathrm{Multinomial}(N, p), \qquad p = \kappa \, w^T S + (1 - \kappa) \, v^T B ,

with :math:`\kappa \sim U(0, 1)` and Dirichlet distributions of concentrations alpha for w and v. Chains move
in z = (logit kappa, u, u'), with w the softmax of u and v that of u'. With the Jacobians the log density is

.. math:: \sum_b n_b \log p_b + \log \kappa (1 - \kappa) + \sum_k \alpha_k \log w_k +
    \sum_k \alpha'_k \log v_k - \tfrac12 \bar u^2 - \tfrac12 \bar u'^2 ,

whose last two terms say where the means of u lie, which w and v do not depend on. Of :math:`n_b` events,
:math:`e_k = \kappa w_k \sum_b S_{kb} n_b / p_b` are expected to be of topic k, and
:math:`e = \sum_k e_k` of the first class, so that the gradients are

.. math:: e - (N + 2) \kappa + 1 , \qquad e_k + \alpha_k - (e + \textstyle\sum_j \alpha_j) w_k - \bar u / K .

Chains start where a few steps of expectation-maximisation lead from draws of the prior: apart along what
the data leave open, near to each other along what they fix.

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026), whose Bayesian topic modelling this follows in outline
    | https://arxiv.org/abs/2604.02219
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from veridical.errors import ConvergenceError, DataError, require_shape
from veridical.inference import hamiltonian
from veridical.inference.convergence import bulk_ess, rank_rhat
from veridical.tasks.base import Array

ROWS = 32  # posteriors at once
SEARCH = 40  # steps of expectation-maximisation
LEAST_EXPECTED = 10.0  # events in a bin whose fit is judged
P_VALUE = 0.003  # of the fit in bins, below which it is an alarm


@dataclass(frozen=True)
class Chaining:
    """How chains are run.

    Attributes:
        chains: Of each posterior.
        moves: Of each chain, that are kept; as many before them are not.
        leaps: Of each move, at most.
        most_rhat: Chains with a greater R-hat of anything go on for longer.
        doublings: How often, at most.
    """

    chains: int = 4
    moves: int = 400
    leaps: int = 48
    most_rhat: float = 1.05
    doublings: int = 2


@dataclass(frozen=True)
class TopicPosterior:
    """Draws of the posteriors of R samples of events, and the evidence that they are.

    Attributes:
        kappa: Fractions of the first class, shape (R, S).
        signal: Weights w of its topics, shape (R, S, K).
        background: Weights v of the others, shape (R, S, L).
        rhat: Rank-normalised split R-hat of kappa, w and v, shape (R, 1 + K + L).
        ess: Bulk effective sample sizes of these.
    """

    kappa: Array
    signal: Array
    background: Array
    rhat: Array
    ess: Array

    def quantiles(self, levels: Array) -> Array:
        """Returns quantiles of the fractions, shape (R, levels)."""
        return np.quantile(self.kappa, levels, axis=1).T

    def disagree(self, chaining: Chaining) -> Array:
        """Returns whose chains do not agree, shape (R,)."""
        return np.asarray(self.rhat.max(axis=1) > chaining.most_rhat)

    def z(self, truth: Array) -> Array:
        """Returns normal scores of the share of draws above each of R fractions, shape (R,).

        What a signed root is to intervals of a likelihood they are to central intervals of the posterior.
        """
        above = (self.kappa > np.asarray(truth)[:, None]).sum(axis=1)
        return np.asarray(special.ndtri((above + 0.5) / (self.kappa.shape[1] + 1)))


@dataclass(frozen=True, eq=False)
class TopicMixture:
    """Topics of two classes.

    Attributes:
        signal: S, positive, rows that sum to one, shape (K, J).
        background: B, shape (L, J).
    """

    signal: Array
    background: Array
    alpha: Array

    def __post_init__(self) -> None:
        require_shape("background", self.background, None, self.signal.shape[1])
        require_shape("alpha", self.alpha, len(self.signal) + len(self.background))
        for name in ("signal", "background"):
            topics = getattr(self, name)
            if not (topics > 0).all() or not np.allclose(topics.sum(axis=1), 1):
                raise DataError(
                    f"{name}: expected topics of which each bin has a share, positive and 1 in all; smooth "
                    "those with empty bins."
                )

    @property
    def topics(self) -> Array:
        """All topics, shape (K + L, J)."""
        return np.concatenate([self.signal, self.background])

    def posterior(
        self, counts: Array, rngs: Sequence[np.random.Generator], chaining: Chaining
    ) -> TopicPosterior:
        """Returns draws given the numbers of events in bins, counts (R, J), of R samples.

        Arguments:
            counts: Numbers of events.
            rngs: Decide all, one for each sample.
            chaining: How chains are run.

        Raises:
            DataError: If a sample has no event.
            ConvergenceError: If chains of a sample disagree after all that they may be given.
        """
        found = self.tried(counts, rngs, chaining)
        if (bad := found.disagree(chaining)).any():
            raise ConvergenceError(
                f"topics: chains of {int(bad.sum())} of {len(bad)} samples disagree; expected an R-hat of at "
                f"most {chaining.most_rhat}, got {found.rhat.max():.3f}; raise `draws`, or ask for fewer "
                "topics."
            )
        return found

    def tried(self, counts: Array, rngs: Sequence[np.random.Generator], chaining: Chaining) -> TopicPosterior:
        """As `posterior`, whether chains agree or not."""
        counts = np.asarray(counts, float)
        require_shape("counts", counts, len(rngs), self.signal.shape[1])
        if not (counts.sum(axis=1) > 0).all() or not (counts >= 0).all():
            raise DataError("counts: expected at least one event in each sample, and no negative number.")
        parts = [
            self._part(counts[first : first + ROWS], rngs[first : first + ROWS], chaining)
            for first in range(0, len(counts), ROWS)
        ]
        names = TopicPosterior.__dataclass_fields__
        return TopicPosterior(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _part(self, counts: Array, rngs: Sequence[np.random.Generator], chaining: Chaining) -> TopicPosterior:
        target, k = LogPosterior(self, counts), len(self.signal)

        def unsettled(z: Array) -> Array:
            return np.flatnonzero(_rhats(target.shares(z)).max(axis=1) > chaining.most_rhat)

        z, _ = hamiltonian.sample(
            target,
            target.start(rngs, chaining.chains),
            rngs,
            moves=chaining.moves,
            leaps=chaining.leaps,
            unsettled=unsettled,
            doublings=chaining.doublings,
        )
        shares = target.shares(z)  # (R, C, T, 1 + K + L)
        ess = np.array([[_ess(one) for one in np.moveaxis(row, -1, 0)] for row in shares])
        flat = shares.reshape(len(z), -1, shares.shape[-1])
        split = np.split(flat, [1, 1 + k], axis=-1)
        return TopicPosterior(split[0][..., 0], split[1], split[2], _rhats(shares), ess)

    def fit_p(self, found: TopicPosterior, counts: Array) -> Array:
        """Returns how probable data are that fit worse than counts (R, J), shape (R,).

        By Pearson's statistic against the mean of the posterior, bins that expect few events being one, with
        a degree of freedom less for each topic.
        """
        own = np.einsum("rs,rsk->rk", found.kappa, found.signal) / found.kappa.shape[1]
        other = np.einsum("rs,rsk->rk", 1 - found.kappa, found.background) / found.kappa.shape[1]
        expected = counts.sum(axis=1, keepdims=True) * (np.concatenate([own, other], axis=1) @ self.topics)
        return np.array([_pearson(*pair, len(self.topics)) for pair in zip(counts, expected, strict=True)])


@dataclass(eq=False)
class LogPosterior:
    """The log densities of chains' coordinates z for R samples of events.

    Attributes:
        mixture: The topics.
        counts: Numbers of events, shape (R, J).
    """

    mixture: TopicMixture
    counts: Array

    def __post_init__(self) -> None:
        k, both = len(self.mixture.signal), self.mixture.topics
        self._topics, self._transposed = np.ascontiguousarray(both), np.ascontiguousarray(both.T)
        self._number = self.counts.sum(axis=1)
        self._parts = slice(0, k), slice(k, len(both))

    def shares(self, z: Array) -> Array:
        """Returns kappa, w and v side by side at z (..., 1 + K + L)."""
        out = np.empty_like(z)
        out[..., 0] = special.expit(z[..., 0])
        out[..., 1:] = np.exp(z[..., 1:] - z[..., 1:].max(axis=-1, keepdims=True))
        for part in self._parts:
            share = out[..., 1:][..., part]
            share /= share.sum(axis=-1, keepdims=True)
        return out

    def log_density(self, z: Array, rows: Array) -> Array:
        """Returns log densities (R', C) at z (R', C, 1 + K + L) for the samples with these numbers."""
        p = self._scaled(self.shares(z)) @ self._topics
        total = special.xlogy(self.counts[rows][:, None], p).sum(axis=-1)
        total += special.log_expit(z[..., 0]) + special.log_expit(-z[..., 0])
        for part in self._parts:
            u = z[..., 1:][..., part]
            total += special.log_softmax(u, axis=-1) @ self.mixture.alpha[part] - 0.5 * u.mean(axis=-1) ** 2
        return total

    def gradient(self, z: Array, rows: Array) -> Array:
        """Returns their gradients, shape (R', C, 1 + K + L)."""
        shares = self.shares(z)
        scaled = self._scaled(shares)
        events = scaled * ((self.counts[rows][:, None] / (scaled @ self._topics)) @ self._transposed)
        first = events[..., self._parts[0]].sum(axis=-1)
        out = np.empty_like(z)
        out[..., 0] = first - shares[..., 0] * (self._number[rows][:, None] + 2) + 1
        out[..., 1:] = events + self.mixture.alpha
        for part, total in zip(self._parts, (first, self._number[rows][:, None] - first), strict=True):
            u, size = z[..., 1:][..., part], part.stop - part.start
            pull = (total + self.mixture.alpha[part].sum())[..., None] * shares[..., 1:][..., part]
            out[..., 1:][..., part] -= pull + u.sum(axis=-1, keepdims=True) / size**2
        return out

    def start(self, rngs: Sequence[np.random.Generator], chains: int) -> Array:
        """Returns where the chains of each sample begin, shape (R, chains, 1 + K + L)."""
        scaled = self._scaled(np.stack([self._prior(rng, chains) for rng in rngs]))
        counts, first = self.counts[:, None], self._parts[0]
        for _ in range(SEARCH):
            scaled = scaled * ((counts / (scaled @ self._topics)) @ self._transposed) + 1
            scaled /= scaled.sum(axis=-1, keepdims=True)
        kappa = scaled[..., first].sum(axis=-1, keepdims=True)
        logs = [np.log(scaled[..., part]) for part in self._parts]
        return np.concatenate(
            [special.logit(kappa), *(u - u.mean(axis=-1, keepdims=True) for u in logs)], axis=-1
        )

    def _prior(self, rng: np.random.Generator, n: int) -> Array:
        weights = [rng.dirichlet(self.mixture.alpha[part], n) for part in self._parts]
        return np.concatenate([rng.random((n, 1)), *weights], axis=-1)

    def _scaled(self, shares: Array) -> Array:
        """The share of each topic in the whole, shape (..., K + L)."""
        out, kappa = shares[..., 1:].copy(), shares[..., :1]
        out[..., self._parts[0]] *= kappa
        out[..., self._parts[1]] *= 1 - kappa
        return out


def _rhats(shares: Array) -> Array:
    """R-hat of each number of chains (R, C, T, D), shape (R, D); 1 for one that is always the same."""
    return np.array([[_rhat(one) for one in np.moveaxis(row, -1, 0)] for row in shares])


def _rhat(chains: Array) -> float:
    return 1.0 if np.ptp(chains) == 0 else rank_rhat(chains)


def _pearson(counts: Array, expected: Array, parameters: int) -> float:
    few = expected < LEAST_EXPECTED
    n, m = (np.append(array[~few], array[few].sum()) for array in (counts, expected))
    kept = m > 0
    freedom = int(kept.sum()) - parameters
    if freedom < 1:
        return 1.0
    return float(stats.chi2.sf(((n - m)[kept] ** 2 / m[kept]).sum(), freedom))


def _ess(chains: Array) -> float:
    return float(chains.size) if np.ptp(chains) == 0 else bulk_ess(chains)
