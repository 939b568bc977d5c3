r"""Distributions of single parameters, their product, and jointly normal ones.

Each distribution of a single parameter is known by its quantile function :math:`F^{-1}`; a draw is
:math:`F^{-1}(u)` with one uniform number u for each parameter, so that the first rows of a sample do not
depend on its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Protocol

import numpy as np
from scipy.special import expit, log_ndtr, logit, ndtr, ndtri

from veridical.errors import TaskError, require_shape, suggest
from veridical.tasks.base import Array, Parameter
from veridical.tasks.distributions import of_one_parameter

_LOG_SQRT_TAU = 0.5 * np.log(2 * np.pi)
_LEAST = 2.0**-54  # keeps uniform numbers off 0 and 1, where quantiles are infinite
_MOST = 1 - 2.0**-53


class Marginal(Protocol):
    """The distribution of one parameter."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        ...

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        ...

    def log_prob(self, value: Array) -> Array:
        """Returns log densities; -inf outside the support."""
        ...


@dataclass(frozen=True)
class Uniform:
    """The uniform distribution on [lower, upper].

    >>> Uniform(2.0, 6.0).quantile(np.array([0.25, 0.5]))
    array([3., 4.])
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _require_finite(self)
        _require_order(self)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        return self.lower, self.upper

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        return self.lower + (self.upper - self.lower) * u

    def log_prob(self, value: Array) -> Array:
        """Returns log densities; -inf outside the support."""
        inside = (value >= self.lower) & (value <= self.upper)
        return np.where(inside, -np.log(self.upper - self.lower), -np.inf)


@dataclass(frozen=True)
class Normal:
    """The normal distribution; `mean` and `sd` are those before truncation to [lower, upper].

    >>> Normal(0.0, 1.0, lower=0.0).quantile(np.array([0.5])).round(3)  # the median of |z|
    array([0.674])
    """

    mean: float
    sd: float
    lower: float = -np.inf
    upper: float = np.inf

    def __post_init__(self) -> None:
        _require_finite(self, "mean", "sd")
        _require_positive(self, "sd")
        _require_order(self)
        a, b, _ = self._tail()
        if not ndtr(b) > ndtr(a):
            raise TaskError(
                f"Normal(mean={self.mean}, sd={self.sd}): [{self.lower}, {self.upper}] holds no mass; "
                f"expected bounds within about 37 sd of the mean."
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        return self.lower, self.upper

    def _tail(self) -> tuple[float, float, float]:
        """Standardised ends, mirrored into the lower tail (sign -1), where `ndtr` is exact."""
        a, b = (self.lower - self.mean) / self.sd, (self.upper - self.mean) / self.sd
        return (-b, -a, -1.0) if a > 0 else (a, b, 1.0)

    def _log_mass(self) -> float:
        a, b, _ = self._tail()
        high, low = log_ndtr(b), log_ndtr(a)
        return float(high + np.log1p(-np.exp(low - high)))

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        a, b, sign = self._tail()
        u = u if sign > 0 else 1 - u
        z = ndtri(ndtr(a) + (ndtr(b) - ndtr(a)) * u)
        return np.clip(self.mean + self.sd * sign * z, self.lower, self.upper)

    def log_prob(self, value: Array) -> Array:
        """Returns log densities; -inf outside the support."""
        z = (value - self.mean) / self.sd
        inside = (value >= self.lower) & (value <= self.upper)
        return np.where(inside, -0.5 * z**2 - _LOG_SQRT_TAU - np.log(self.sd) - self._log_mass(), -np.inf)


@dataclass(frozen=True)
class LogNormal:
    """The distribution of a positive value whose logarithm is normal with `mean` and `sd`.

    >>> LogNormal(np.log(3.0), 0.5).quantile(np.array([0.5])).round(12)  # `mean` is that of the logarithm
    array([3.])
    """

    mean: float
    sd: float

    def __post_init__(self) -> None:
        _require_finite(self)
        _require_positive(self, "sd")

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        return 0.0, np.inf

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        return np.exp(self.mean + self.sd * ndtri(u))

    def log_prob(self, value: Array) -> Array:
        """Returns log densities; -inf outside the support."""
        inside = value > 0
        log = np.log(np.where(inside, value, 1.0))
        z = (log - self.mean) / self.sd
        return np.where(inside, -0.5 * z**2 - _LOG_SQRT_TAU - np.log(self.sd) - log, -np.inf)


@dataclass(frozen=True)
class LogitNormal:
    """The distribution of lower + (upper - lower) sigmoid(z) for normal z with `mean` and `sd`.

    >>> LogitNormal(0.0, 10.0).log_prob(np.array([5.0, 11.0])).round(3)
    array([-1.835,   -inf])
    """

    lower: float
    upper: float
    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        _require_finite(self)
        _require_positive(self, "sd")
        _require_order(self)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        return self.lower, self.upper

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        return self.lower + (self.upper - self.lower) * expit(self.mean + self.sd * ndtri(u))

    def log_prob(self, value: Array) -> Array:
        """Returns log densities; -inf outside the support."""
        width = self.upper - self.lower
        inside = (value > self.lower) & (value < self.upper)
        share = np.where(inside, (value - self.lower) / width, 0.5)
        z = (logit(share) - self.mean) / self.sd
        log_slope = np.log(width) + np.log(share) + np.log1p(-share)
        return np.where(inside, -0.5 * z**2 - _LOG_SQRT_TAU - np.log(self.sd) - log_slope, -np.inf)


class Product:
    """A prior of independent parameters.

    Arguments:
        marginals: The distribution of each parameter, by name and in order: one of this module, or of
            scipy.stats or torch.

    >>> prior = Product({"rate": LogNormal(0.0, 1.0), "share": Uniform(0.0, 1.0)})
    >>> theta = prior.sample(rng, 5)
    >>> theta.shape, prior.log_prob(theta).shape
    ((5, 2), (5,))
    >>> prior.parameters({"rate": "1/h"})[0]
    Parameter(name='rate', lower=0.0, upper=inf, unit='1/h', label='')
    """

    def __init__(self, marginals: Mapping[str, Marginal]) -> None:
        if not marginals:
            raise TaskError("prior: expected at least one parameter, got none.")
        self.marginals = {name: of_one_parameter(one) for name, one in marginals.items()}

    @property
    def bounds(self) -> Array:
        """Lower and upper bounds, shape (D, 2)."""
        return np.array([m.bounds for m in self.marginals.values()], dtype=float)

    def parameters(
        self, units: Mapping[str, str] | None = None, *, labels: Mapping[str, str] | None = None
    ) -> tuple[Parameter, ...]:
        """Returns the parameters, bounded by the supports of their distributions."""
        units, labels = units or {}, labels or {}
        return tuple(
            Parameter(name, float(lower), float(upper), units.get(name, ""), labels.get(name, ""))
            for name, (lower, upper) in zip(self.marginals, self.bounds, strict=True)
        )

    def quantile(self, u: Array) -> Array:
        """Returns the values of uniform numbers u (N, D) under the inverse distribution functions."""
        return np.stack([m.quantile(u[:, j]) for j, m in enumerate(self.marginals.values())], axis=1)

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D); their first rows are the same for any n."""
        return self.quantile(np.clip(rng.random((n, len(self.marginals))), _LEAST, _MOST))

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (N, D), shape (N,); -inf outside the support."""
        require_shape("theta", theta, None, len(self.marginals))
        terms = [m.log_prob(theta[:, j]) for j, m in enumerate(self.marginals.values())]
        return np.sum(terms, axis=0)


class MultivariateNormal:
    """A prior of jointly normal parameters.

    Arguments:
        means: Mean of each parameter, by name and in order.
        covariance: Their covariance, shape (D, D).

    >>> prior = MultivariateNormal({"a": 0.0, "b": 1.0}, np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> prior.log_prob(np.array([[0.0, 1.0]])).round(3)
    array([-1.694])
    """

    def __init__(self, means: Mapping[str, float], covariance: Array) -> None:
        self.names = tuple(means)
        self.mean: Array = np.array([means[name] for name in self.names], dtype=float)
        self.covariance: Array = np.asarray(covariance, dtype=float)
        require_shape("covariance", self.covariance, len(self.mean), len(self.mean))
        try:
            self._factor = np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError as error:
            raise TaskError("prior: expected a positive definite covariance.") from error
        if not (np.isfinite(self.mean).all() and np.allclose(self.covariance, self.covariance.T)):
            raise TaskError("prior: expected finite means and a symmetric covariance.")

    @property
    def bounds(self) -> Array:
        """Lower and upper bounds, shape (D, 2): none."""
        return np.tile([-np.inf, np.inf], (len(self.mean), 1))

    def parameters(
        self, units: Mapping[str, str] | None = None, *, labels: Mapping[str, str] | None = None
    ) -> tuple[Parameter, ...]:
        """Returns the parameters, without bounds."""
        units, labels = units or {}, labels or {}
        return tuple(Parameter(n, unit=units.get(n, ""), label=labels.get(n, "")) for n in self.names)

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D); their first rows are the same for any n."""
        return self.mean + linear_map(self._factor, rng.standard_normal((n, len(self.mean))))

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (N, D), shape (N,)."""
        require_shape("theta", theta, None, len(self.mean))
        white = np.linalg.solve(self._factor, (theta - self.mean).T)
        constant = np.log(np.diagonal(self._factor)).sum() + len(self.mean) * _LOG_SQRT_TAU
        return -0.5 * (white**2).sum(axis=0) - constant


def linear_map(matrix: Array, rows: Array) -> Array:
    """Returns `rows @ matrix.T`, (N, F) from matrix (F, D) and rows (N, D), with the same bits for any N."""
    out = np.zeros((len(rows), len(matrix)))
    for column, weights in zip(rows.T, matrix.T, strict=True):
        out += column[:, None] * weights
    return out


MARGINALS: dict[str, type[Any]] = {
    "uniform": Uniform,
    "normal": Normal,
    "lognormal": LogNormal,
    "logitnormal": LogitNormal,
}


def marginal(name: str, settings: Mapping[str, Any]) -> Marginal:
    """Builds the distribution of parameter `name` from settings such as {prior: normal, mean: 0, sd: 1}.

    Raises:
        TaskError: If the distribution or one of its settings is unknown, missing or out of range.
    """
    kind = str(settings.get("prior", ""))
    if kind not in MARGINALS:
        raise TaskError(f"parameter {name!r}: prior {kind!r} is unknown. {suggest(kind, MARGINALS)}")
    known = [field.name for field in fields(MARGINALS[kind])]
    needed = [field.name for field in fields(MARGINALS[kind]) if field.default is MISSING]
    given = {key: value for key, value in settings.items() if key not in ("prior", "unit")}
    for key in given:
        if key not in known:
            raise TaskError(f"parameter {name!r}: a {kind} prior has no {key!r}. {suggest(key, known)}")
    if missing := [key for key in needed if key not in given]:
        raise TaskError(
            f"parameter {name!r}: a {kind} prior needs {' and '.join(needed)}; "
            f"{' and '.join(missing)} is missing."
        )
    try:
        return MARGINALS[kind](**{key: float(value) for key, value in given.items()})
    except TaskError as error:
        raise TaskError(f"parameter {name!r}: {error}") from error


def to_json(prior: Any) -> dict[str, Any]:
    """Returns a prior as plain data.

    Raises:
        TaskError: If it is of another kind than `Product` of known distributions or `MultivariateNormal`.
    """
    if type(prior) is MultivariateNormal:
        means = dict(zip(prior.names, prior.mean.tolist(), strict=True))
        return {"kind": "multivariate_normal", "means": means, "covariance": prior.covariance.tolist()}
    kinds = {cls: kind for kind, cls in MARGINALS.items()}
    if type(prior) is Product and all(type(m) in kinds for m in prior.marginals.values()):
        marginals = {name: {"prior": kinds[type(m)], **_finite(m)} for name, m in prior.marginals.items()}
        return {"kind": "product", "marginals": marginals}
    raise TaskError(
        f"a prior of type {type(prior).__name__} cannot be written down; expected a Product of "
        f"{', '.join(MARGINALS)} distributions, or a MultivariateNormal, of veridical.tasks.priors."
    )


def from_json(record: Mapping[str, Any]) -> Product | MultivariateNormal:
    """Returns the prior that `to_json` wrote down.

    Raises:
        TaskError: If the record is not of a known kind.
    """
    if record.get("kind") == "multivariate_normal":
        return MultivariateNormal(record["means"], np.array(record["covariance"], dtype=float))
    if record.get("kind") == "product":
        return Product({name: marginal(name, settings) for name, settings in record["marginals"].items()})
    raise TaskError(
        f"prior: kind {record.get('kind')!r} is unknown; expected product or multivariate_normal."
    )


def _finite(prior: Marginal) -> dict[str, float]:
    """The numbers of a distribution; bounds that are not there are left out, being the default."""
    values = {field.name: float(getattr(prior, field.name)) for field in fields(prior)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _require_finite(prior: Any, *names: str) -> None:
    for name in names or [field.name for field in fields(prior)]:
        if not np.isfinite(getattr(prior, name)):
            raise TaskError(f"{type(prior).__name__}: {name} must be finite, got {getattr(prior, name)}.")


def _require_positive(prior: Any, name: str) -> None:
    if not getattr(prior, name) > 0:
        raise TaskError(f"{type(prior).__name__}: {name} must be positive, got {getattr(prior, name)}.")


def _require_order(prior: Any) -> None:
    if not prior.lower < prior.upper:
        raise TaskError(
            f"{type(prior).__name__}: lower must be below upper, got [{prior.lower}, {prior.upper}]."
        )
