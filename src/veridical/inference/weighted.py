r"""Draws of a posterior from those of an answer to one observation, by importance weights.

Candidates come from an answer q, mixed with a little of what is wider: a Student t around it, and the prior,

.. math:: m = (1 - \delta) \, q + \tfrac{\delta}{2} \, t + \tfrac{\delta}{2} \, p , \qquad
    w_l \propto p(\theta_l) \, p(x_o \mid \theta_l) / m(\theta_l) ,

so that no weight exceeds :math:`2 / \delta` times the likelihood, and a place that q forgot is seen if t or
p reach it. Candidates come in fixed numbers from each part. The generalised Pareto distribution fitted to the
largest weights says by its shape k whether they hold; they themselves are not smoothed: the mixture bounds
them, so that smoothing gains nothing, and where parts lie far apart their tail is no such distribution and
smoothing biases (docs/methods.md). Draws come by systematic resampling, which repeats a candidate only where
its weight exceeds 1 / n.

Whether weights hold is decided by candidates that the observation and a seed fix, by nothing else: since x
alone decides, checks of calibration hold for the observations that are answered, as for any data chosen by x.

References:
    | Safe and Effective Importance Sampling (Owen and Zhou, 2000)
    | Pareto Smoothed Importance Sampling (Vehtari et al., 2024), https://arxiv.org/abs/1507.02646
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

from veridical import seeds
from veridical.bank.shards import digest
from veridical.inference.pareto import USABLE, smoothed
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array, Prior

DEFENSIVE = 0.05  # share of the candidates that do not come from the answer
FREEDOM = 4.0  # degrees of freedom of the Student t
WIDENING = 1.5  # of its scale, in standard deviations of the answer
EVEN = 0.5  # share from which on no candidate of n weighs more than sqrt(2 / n), whatever the tail looks like
KEPT = 1_000_000  # candidates that are kept in memory for the next question
_RIDGE = 1e-9  # of each variance, for parameters that depend on each other exactly


@dataclass(frozen=True)
class Wide:
    """A Student t around draws, in coordinates without bounds.

    Attributes:
        transform: Leads to those coordinates.
        mean: Shape (K,).
        factor: Lower triangular, factor times its transpose is the squared scale; shape (K, K).
    """

    transform: ParameterTransform
    mean: Array
    factor: Array

    @classmethod
    def around(cls, draws: Array, transform: ParameterTransform) -> Wide:
        """Returns the one that has mean and covariance of draws (S, D), widened."""
        z, _ = transform.forward(draws)
        covariance = np.atleast_2d(np.cov(z, rowvar=False))
        covariance += np.diag(_RIDGE * np.diag(covariance) + np.finfo(float).tiny)
        return cls(transform, z.mean(axis=0), WIDENING * np.linalg.cholesky(covariance))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, D)."""
        normal = rng.standard_normal((n, len(self.mean)))
        scale = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, (n, 1)))
        return self.transform.inverse(self.mean + scale * normal @ self.factor.T)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (N, D), shape (N,); -inf outside the bounds."""
        z, log_slope = self.transform.forward(theta)
        k = len(self.mean)
        squares = (np.linalg.solve(self.factor, (z - self.mean).T) ** 2).sum(axis=0)
        constant = gammaln((FREEDOM + k) / 2) - gammaln(FREEDOM / 2) - k / 2 * np.log(FREEDOM * np.pi)
        constant -= np.log(np.diag(self.factor)).sum()
        return log_slope + constant - (FREEDOM + k) / 2 * np.log1p(squares / FREEDOM)


@dataclass(frozen=True)
class Weighted:
    """Candidates and their weights.

    Attributes:
        theta: The candidates, shape (S, D).
        log_target: Log prior plus log likelihood there, shape (S,).
        log_proposal: Log density that they come from, shape (S,).
    """

    theta: Array
    log_target: Array
    log_proposal: Array

    @property
    def log_weights(self) -> Array:
        """Logarithms of the weights, not normalised, shape (S,)."""
        return self.log_target - self.log_proposal

    @property
    def possible(self) -> bool:
        """Whether any candidate has a weight."""
        return bool(np.isfinite(self.log_weights).any())

    @cached_property
    def weights(self) -> Array:
        """The weights, which add up to one, shape (S,)."""
        w = np.exp(self.log_weights - self.log_weights.max())
        return np.asarray(w / w.sum())

    @property
    def k(self) -> float:
        """The shape of the tail of the weights, see `pareto`."""
        return smoothed(self.log_weights).k

    @property
    def effective(self) -> float:
        """How many equal weights these are worth; 0 where there is none."""
        return float(1 / (self.weights**2).sum()) if self.possible else 0.0

    @property
    def share(self) -> float:
        """Share of the candidates that count."""
        return self.effective / len(self.theta)

    @property
    def log_evidence(self) -> float:
        """Log of the mean weight: an unbiased estimate of the evidence."""
        return float(logsumexp(self.log_weights)) - float(np.log(len(self.theta)))

    @property
    def known(self) -> Known:
        """What they say of the answer."""
        return Known(self.k, self.share, self.log_evidence) if self.possible else Known(np.inf, 0.0, -np.inf)

    @classmethod
    def together(cls, parts: Sequence[Weighted]) -> Weighted:
        """Returns the candidates of several parts of the same size as one."""
        names = ("theta", "log_target", "log_proposal")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def mixed(
    n: int,
    draw: Callable[[int], tuple[Array, Array]],
    log_q: Callable[[Array], Array],
    prior: Prior,
    log_target: Callable[[Array], Array],
    transform: ParameterTransform,
    rng: np.random.Generator,
    *,
    wide: bool = True,
) -> Weighted:
    """Returns n candidates from an answer, mixed with what is wider.

    Arguments:
        n: How many.
        draw: Returns k draws of the answer (k, D) and their log densities (k,).
        log_q: Log densities of the answer at theta (N, D), shape (N,).
        prior: The prior of the task.
        log_target: Log prior plus log likelihood at theta (N, D), shape (N,); asked inside the support alone.
        transform: Leads to coordinates without bounds, for the Student t.
        rng: Decides what the answer does not.
        wide: Whether there is a Student t: where no parameter is discrete.
    """
    few = round(DEFENSIVE * n)
    drawn, own = draw(n - few)
    around = Wide.around(drawn, transform) if wide else None
    others = [] if around is None else [around.sample(few // 2, rng)]
    others.append(prior.sample(rng, few - sum(map(len, others))))
    theta = np.concatenate([drawn, *others])
    own = np.concatenate([own, log_q(theta[n - few :])])
    parts = [np.log1p(-few / n) + own, np.log(len(others[-1]) / n) + log_density(prior, theta)]
    if around is not None:
        parts.append(np.log(len(others[0]) / n) + around.log_prob(theta))
    log_m = np.asarray(logsumexp(parts, axis=0))
    possible = np.isfinite(log_m) & transform.inside(theta)
    target = np.full(n, -np.inf)
    target[possible] = log_target(theta[possible])
    return Weighted(theta, target, np.where(np.isfinite(log_m), log_m, 0.0))


def log_density(prior: Prior, theta: Array) -> Array:
    """Returns log densities of a prior at theta (N, D), shape (N,); -inf where it has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = np.asarray(prior.log_prob(theta), float)
    return np.where(np.isnan(log_p), -np.inf, log_p)


class Known(NamedTuple):
    """What the candidates for one observation say: tail index, share that counts, log evidence."""

    k: float
    share: float
    log_evidence: float

    def refusal(self, least_share: float = 0.0) -> str:
        """Returns why the observation is not answered; empty where it is."""
        if self.share == 0:
            return "the likelihood is zero at all draws of its answer and around it"
        if not self.k < USABLE and self.share < EVEN:
            return (
                f"a few draws hold all the weight (tail index {self.k:.2f}, expected less than {USABLE}): "
                "what they were drawn from has hardly any where the likelihood is high"
            )
        if self.share < least_share:
            return (
                f"only {self.share:.2%} of the draws count, expected at least {least_share:.2%} (least_share)"
            )
        return ""


class Fixed:
    """Candidates that each observation fixes with a seed; those asked for first are kept, what all say is.

    Arguments:
        make: Makes them, of one x (*x_shape) and a generator.
        seed: Of all of them.
        path: What else names their generators.
    """

    def __init__(
        self, make: Callable[[Array, np.random.Generator], Weighted], seed: int, *path: str | int
    ) -> None:
        self._make, self._seed, self._path = make, seed, path
        self._known: dict[str, Known] = {}
        self._kept: dict[str, Weighted] = {}

    def known(self, x: Array) -> Known:
        """Returns what the candidates for one x (*x_shape) say."""
        key = digest([np.asarray(x, float)])
        if key not in self._known:
            self._known[key] = self.of(x).known
        return self._known[key]

    def of(self, x: Array) -> Weighted:
        """Returns the candidates for one x (*x_shape)."""
        key = digest([np.asarray(x, float)])
        if key in self._kept:
            return self._kept[key]
        found = self._make(x, seeds.generator(self._seed, "infer", *self._path, key))
        if (len(self._kept) + 1) * len(found.theta) <= KEPT:
            self._kept[key] = found
        return found


def resampled(weights: Array, n: int, rng: np.random.Generator) -> Array:
    """Returns n indices by systematic resampling with weights (S,), in random order."""
    steps = np.cumsum(weights)
    at = (np.arange(n) + rng.random()) / n * steps[-1]
    return rng.permutation(np.minimum(np.searchsorted(steps, at, side="right"), len(weights) - 1))
