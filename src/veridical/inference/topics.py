r"""Topics of many wrong simulators: few shapes of which the histogram of each is a mixture.

Simulators are the documents of a topic model and bins its words. Simulator r has :math:`H_{rb}` events of a
class in bin b, and its shape is :math:`\sum_k D_{rk} T_{kb}` with weights D and topics T that are positive
and sum to one. Both are those of the greatest multinomial likelihood (probabilistic latent semantic analysis,
which is what latent Dirichlet allocation with flat priors becomes where documents are long), that is of the
least Kullback-Leibler divergence of a non-negative factorisation; scikit-learn finds it by multiplicative
updates. A last update is that of the posterior with a Dirichlet(beta) prior on each topic,

.. math:: T_{kb} \propto \beta - 1 + T_{kb} \sum_r D_{rk} H_{rb} / (D T)_{rb} , \qquad \beta = 1.01 ,

so that no topic calls a bin impossible because no simulated event fell there.

Topics are corners of a simplex that all histograms lie in. It reaches beyond them, so that mixtures can be
what no average of simulators is; which simplex is not unique.

**Weights of one more simulator.** If nature is like the simulators, what theirs are says what its weights
can be. They are summarised by the Dirichlet distribution of the same means m and the same sum of variances,

.. math:: \alpha_k = m_k \left( \frac{\sum_j m_j (1 - m_j)}{\sum_j \mathrm{Var}(D_j)} - 1 \right) .

References:
    | Probabilistic Latent Semantic Analysis (Hofmann, 1999)
    | Latent Dirichlet Allocation (Blei, Ng and Jordan, 2003)
    | On the equivalence between non-negative matrix factorization and probabilistic latent semantic
    | indexing (Ding, Li and Peng, 2008)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array

SMOOTHING = 1.01  # beta
ITERATIONS = 2000
LEAST = 0.05  # alpha of a topic that next to no simulator has


@dataclass(frozen=True)
class TopicModel:
    """Topics of one class, and how much of each is in each simulator.

    Attributes:
        topics: T, shape (K, J); rows sum to one.
        weights: D, shape (R, K); rows sum to one.
    """

    topics: Array
    weights: Array

    @property
    def alpha(self) -> Array:
        """Concentrations of the Dirichlet distribution of the moments of the weights, shape (K,).

        Their sum is at most K R, however alike the simulators are; each is at least 0.05.
        """
        mean, simulators = self.weights.mean(axis=0), len(self.weights)
        variance = self.weights.var(axis=0, ddof=1).sum() if simulators > 1 else 0.0
        spread = float((mean * (1 - mean)).sum())
        most = float(len(mean) * simulators)
        total = min(spread / variance - 1, most) if variance > 0 else most
        return np.asarray(np.maximum(total * mean, LEAST)) if len(mean) > 1 else np.ones(1)


def learn(counts: Array, topics: int, seed: int) -> TopicModel:
    """Returns K topics of the numbers of events of R simulators in J bins.

    Arguments:
        counts: Numbers of events of one class, shape (R, J).
        topics: K.
        seed: Of the start of the search, below 2**32.

    Raises:
        DataError: If there are fewer simulators than topics, or one has no events.
    """
    counts = np.asarray(counts, float)
    require_shape("counts", counts, None, None)
    if topics > min(counts.shape):
        raise DataError(
            f"topics: expected at least {topics} simulators and {topics} bins for {topics} topics, got "
            f"{len(counts)} and {counts.shape[1]}; ask for fewer topics, or bring more simulators."
        )
    if not (np.isfinite(counts) & (counts >= 0)).all() or not (counts.sum(axis=1) > 0).all():
        raise DataError(
            "topics: expected numbers of events of each simulator that are finite, not negative and not all "
            f"zero, got sums {counts.sum(axis=1).tolist()}; leave out simulators without events."
        )
    weights, shapes = _factors(counts, topics, seed)
    shares = weights * shapes.sum(axis=1)
    return TopicModel(_smoothed(weights, shapes, counts), shares / shares.sum(axis=1, keepdims=True))


def _factors(counts: Array, topics: int, seed: int) -> tuple[Array, Array]:
    """Positive weights (R, K) and topics (K, J) whose product is closest to the counts."""
    from sklearn.decomposition import NMF

    model = NMF(
        topics,
        init="nndsvda",
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=ITERATIONS,
        tol=0,  # all of these: fewer leave topics that fit simulators worse
        random_state=seed,
    )
    weights = model.fit_transform(counts)
    return weights, np.asarray(model.components_)


def _smoothed(weights: Array, topics: Array, counts: Array) -> Array:
    """The last update, with the prior."""
    shapes = weights @ topics
    share = np.divide(counts, shapes, out=np.zeros_like(counts), where=shapes > 0)
    found = topics * (weights.T @ share) + SMOOTHING - 1
    return np.asarray(found / found.sum(axis=1, keepdims=True))
