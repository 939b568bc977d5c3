"""Priors as people have them: distributions of scipy and torch, alone, in lists and in a `Product`.

They are known by what they can do, so that neither package is imported here. A distribution with an inverse
distribution function is drawn from by it, with uniform numbers of the generator given; scipy's others get the
generator, and torch's others are drawn from with torch's seed set for this call alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.base import Array
from veridical.tasks.supports import Whole

NEEDS = (
    "a prior needs sample(rng, n), which returns n draws of shape (n, D) made with rng alone, and "
    "log_prob(theta), which returns log densities of shape (n,). Taken are also a Product of "
    "veridical.tasks.priors, frozen distributions of scipy.stats, distributions of torch, and lists of those "
    "for single parameters"
)
_LEAST = 2.0**-54  # keeps uniform numbers off 0 and 1, where quantiles are infinite
_MOST = 1 - 2.0**-53
_CUT = 1e-12  # of a distribution over whole numbers without end


class Scipy:
    """A distribution of scipy.stats: for one parameter, or for several at once.

    Arguments:
        frozen: The distribution, such as `scipy.stats.norm(0, 1)`.
    """

    def __init__(self, frozen: Any) -> None:
        self.frozen = frozen
        self._quantile = getattr(frozen, "ppf", None) or getattr(frozen, "icdf", None)
        self._log = getattr(frozen, "logpdf", None) or frozen.logpmf

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        lower, upper = self.frozen.support()
        return float(lower), float(upper)

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        if self._quantile is None:
            raise TaskError(
                f"prior: {type(self.frozen).__name__} has no quantiles; a list takes single ones."
            )
        return np.asarray(self._quantile(u), dtype=float)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of values (N,) or of theta (N, D), shape (N,)."""
        with np.errstate(all="ignore"):
            log_p = np.asarray(self._log(theta), dtype=float)
        return (
            log_p.sum(axis=1) if self._quantile is not None and log_p.ndim == 2 else log_p.reshape(len(theta))
        )

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D)."""
        if self._quantile is None:
            return np.asarray(self.frozen.rvs(size=n, random_state=rng), dtype=float).reshape(n, -1)
        wide = int(np.size(self.frozen.mean()))
        return self.quantile(_uniform(rng, (n, wide)))


class ScipyWhole(Scipy):
    """A distribution of scipy.stats over whole numbers, cut where less than 1e-12 of it is left."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest number."""
        (lower, upper), ends = super().bounds, self.frozen.ppf([_CUT, 1 - _CUT])
        return max(lower, float(ends[0])), min(upper, float(ends[1]))

    def constraint(self, name: str) -> Whole:
        """Returns what the parameter of this name can be."""
        return Whole(name, *self.bounds)

    def quantile(self, u: Array) -> Array:
        """Returns the numbers below or at which a share u in (0, 1) lies."""
        return np.clip(super().quantile(u), *self.bounds)

    def log_prob(self, theta: Array) -> Array:
        """Returns log probabilities of values (N,) or (N, 1), shape (N,)."""
        values = np.asarray(theta, dtype=float).reshape(len(theta))
        lower, upper = self.bounds
        return np.where((values >= lower) & (values <= upper), super().log_prob(values), -np.inf)


class Torch:
    """A distribution of torch: for one parameter, or for several at once.

    Arguments:
        distribution: The distribution, such as `torch.distributions.Normal(0.0, 1.0)`.
    """

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution
        self._torch = sys.modules["torch"]  # whoever made the distribution has imported it
        self._shape = tuple(distribution.batch_shape) + tuple(distribution.event_shape)
        if len(self._shape) > 1:
            raise TaskError(f"prior: expected a torch distribution over (D,) parameters, got {self._shape}.")

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        ends = []
        for name, missing in (("lower_bound", -np.inf), ("upper_bound", np.inf)):
            end = getattr(_plain(self.distribution).support, name, missing)
            ends.append(float(np.asarray(end, dtype=float).reshape(-1)[0]))
        return ends[0], ends[1]

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        try:
            values = _plain(self.distribution).icdf(self._tensor(u))
        except NotImplementedError as error:
            raise TaskError(
                f"prior: {type(self.distribution).__name__} of torch has no quantiles (icdf), which a "
                "list or Product needs; use the distribution of scipy.stats instead."
            ) from error
        return np.asarray(values, dtype=float)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of values (N,) or of theta (N, D), shape (N,); -inf outside the support."""
        n = len(theta)
        values = self._tensor(np.asarray(theta).reshape(n, *self._shape))
        inside = np.asarray(self.distribution.support.check(values)).reshape(n, -1).all(axis=1)
        log_p = np.full(n, -np.inf)
        if inside.any():
            found = np.asarray(self.distribution.log_prob(values[self._torch.as_tensor(inside)]), dtype=float)
            log_p[inside] = found.reshape(int(inside.sum()), -1).sum(axis=1)
        return log_p

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D)."""
        try:
            return self.quantile(_uniform(rng, (n, *self._shape))).reshape(n, -1)
        except TaskError:
            with self._torch.random.fork_rng(devices=[]):
                self._torch.random.default_generator.manual_seed(int(rng.integers(2**63)))
                return np.asarray(self.distribution.sample((n,)), dtype=float).reshape(n, -1)

    def _tensor(self, values: Array) -> Any:
        return self._torch.as_tensor(np.ascontiguousarray(values, dtype=float))


class Several:
    """Independent distributions, one for each parameter, as a list of other packages' has them.

    Arguments:
        marginals: The distributions, in the order of the parameters.
        names: Names of the parameters, where they were given.
    """

    def __init__(self, marginals: Sequence[Any], names: tuple[str, ...] = ()) -> None:
        self.names = names
        self.marginals = [of_one_parameter(one) for one in marginals]

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D)."""
        u = _uniform(rng, (n, len(self.marginals)))
        return np.stack([np.ravel(m.quantile(u[:, j])) for j, m in enumerate(self.marginals)], axis=1)

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (N, D), shape (N,)."""
        return np.sum([m.log_prob(theta[:, j]) for j, m in enumerate(self.marginals)], axis=0)


def taken(prior: Any) -> Any:
    """Returns a prior with `sample(rng, n)` and `log_prob(theta)`, itself where it has them.

    Raises:
        TaskError: If it is nothing that can be taken; the message says what a prior needs.
    """
    if isinstance(prior, Mapping):
        return Several(list(prior.values()), tuple(prior))
    if isinstance(prior, list | tuple):
        return Several(prior)
    return _known(prior) or prior


def of_one_parameter(one: Any) -> Any:
    """Returns the distribution of one parameter with `bounds`, `quantile` and `log_prob`.

    Raises:
        TaskError: If it has them not, and is no distribution of scipy or torch.
    """
    if all(hasattr(one, name) for name in ("bounds", "quantile", "log_prob")):
        return one
    known = _known(one)
    if known is None:
        raise TaskError(f"prior: {type(one).__name__} is no distribution of one parameter; {NEEDS}.")
    return known


def require(task: str, prior: Any) -> None:
    """Raises TaskError unless a prior has what it needs."""
    missing = [name for name in ("sample", "log_prob") if not callable(getattr(prior, name, None))]
    if prior is None or missing:
        got = "None" if prior is None else f"{type(prior).__name__} without {' and '.join(missing)}"
        raise TaskError(f"task {task!r}: prior: got {got}; {NEEDS}.")


def _known(prior: Any) -> Scipy | Torch | None:
    """The adapter of a distribution, told by what it has."""
    if hasattr(prior, "batch_shape") and hasattr(prior, "event_shape") and "torch" in sys.modules:
        return Torch(prior)
    if hasattr(prior, "logpmf") and hasattr(prior, "ppf"):
        return ScipyWhole(prior)
    if hasattr(prior, "logpdf") or hasattr(prior, "logpmf"):
        return Scipy(prior)
    return None


def _plain(distribution: Any) -> Any:
    """What torch's Independent wraps, which alone has quantiles."""
    while hasattr(distribution, "base_dist") and hasattr(distribution, "reinterpreted_batch_ndims"):
        distribution = distribution.base_dist
    return distribution


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.clip(rng.random(shape), _LEAST, _MOST)
