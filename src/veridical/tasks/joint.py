"""Priors of parameters that depend on each other: several of one distribution, or one given those before it.

A prior is made of blocks. Each takes as many uniform numbers as it has parameters, so that the first rows
of a sample do not depend on its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import betaincinv, gammaln, ndtri

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Parameter
from veridical.tasks.distributions import of_one_parameter
from veridical.tasks.expressions import Expression
from veridical.tasks.latents import Support
from veridical.tasks.priors import MultivariateNormal, linear_map
from veridical.tasks.supports import Between, Constraint, Ordered, Simplex, Values

_LEAST, _MOST = 2.0**-54, 1 - 2.0**-53  # keep uniform numbers off 0 and 1


class Block(Protocol):
    """The distribution of the d parameters of one block, which may depend on those before it."""

    def quantile(self, u: Array, before: Values) -> Array:
        """Returns values (N, d) of uniform numbers u (N, d)."""
        ...

    def log_prob(self, part: Array, before: Values) -> Array:
        """Returns log densities (N,) of values (N, d); -inf outside the support."""
        ...

    def bounds(self, d: int) -> Array:
        """Returns lower and upper bounds of d parameters, (d, 2)."""
        ...

    def constraint(self, names: tuple[str, ...]) -> Constraint | None:
        """Returns what the parameters can be beyond these."""
        ...


class Conditional:
    """One parameter, location + scale * z, where both may depend on parameters before it.

    Arguments:
        base: The distribution of z, one of `veridical.tasks.priors`.
        location: A number, or a formula of parameters before it, such as `2 * a`.
        scale: The same, positive.
    """

    def __init__(self, base: Any, location: float | str = 0.0, scale: float | str = 1.0) -> None:
        self.base, self.location, self.scale = of_one_parameter(base), location, scale
        self._location, self._scale = Expression(location), Expression(scale)

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Names of the parameters in the formulas."""
        return tuple(dict.fromkeys(self._location.names + self._scale.names))

    def _at(self, before: Values) -> tuple[Array, Array]:
        return np.asarray(self._location(before)), np.asarray(self._scale(before))

    def quantile(self, u: Array, before: Values) -> Array:
        """Returns values (N, 1) of uniform numbers u (N, 1)."""
        location, scale = self._at(before)
        if not ((scale > 0) & np.isfinite(scale) & np.isfinite(location)).all():
            raise TaskError(
                f"location {self.location} and scale {self.scale} have to be finite, and the scale "
                "positive, wherever "
                f"the prior of {', '.join(self.depends_on)} has mass."
            )
        return (location + scale * self.base.quantile(u[:, 0]))[:, None]

    def log_prob(self, part: Array, before: Values) -> Array:
        """Returns log densities (N,) of values (N, 1)."""
        location, scale = self._at(before)
        with np.errstate(all="ignore"):
            log_p = self.base.log_prob((part[:, 0] - location) / scale) - np.log(scale)
        return np.where((scale > 0) & ~np.isnan(log_p), log_p, -np.inf)

    def _ends(self) -> list[float | str]:
        """The bounds, as numbers where they depend on nothing."""
        ends: list[float | str] = []
        for end in self.base.bounds:
            text = str(end) if not np.isfinite(end) else f"({self.location}) + ({self.scale}) * ({end})"
            if end == 0:
                text = str(self.location)
            elif end == 1 and self._location.text in ("0", "0.0"):
                text = str(self.scale)
            constant = not np.isfinite(end) or not Expression(text).names
            ends.append(
                text if not constant else end if not np.isfinite(end) else float(Expression(text)({}))
            )
        return ends

    def bounds(self, d: int) -> Array:
        """Returns lower and upper bound, shape (1, 2); infinite where it depends on others."""
        lower, upper = self._ends()
        return np.array(
            [[-np.inf if isinstance(lower, str) else lower, np.inf if isinstance(upper, str) else upper]]
        )

    def constraint(self, names: tuple[str, ...]) -> Constraint | None:
        """Returns the bounds that depend on others; None where there are none."""
        lower, upper = self._ends()
        depends = isinstance(lower, str) or isinstance(upper, str)
        return Between(names[0], lower, upper) if depends else None


class Dirichlet:
    """Positive shares that sum to one; the density is one of all shares but the last.

    Arguments:
        concentration: One positive number for each share; 1 for each is uniform.
    """

    def __init__(self, concentration: Sequence[float]) -> None:
        self.concentration = np.asarray(concentration, dtype=float)
        a = self.concentration
        if a.ndim != 1 or len(a) < 2 or not (np.isfinite(a) & (a > 0)).all():
            raise TaskError(f"dirichlet: expected two or more positive concentrations, got {concentration}.")

    def quantile(self, u: Array, before: Values) -> Array:
        """Returns shares (N, d) of uniform numbers u (N, d), whose last is not used: by breaking a stick."""
        a = self.concentration
        broken = betaincinv(a[:-1], a[::-1].cumsum()[::-1][1:], u[:, :-1])
        left = np.cumprod(1 - broken, axis=1)
        shares = np.column_stack([broken[:, :1], broken[:, 1:] * left[:, :-1], left[:, -1]])
        return np.clip(shares, np.finfo(float).tiny, _MOST)

    def log_prob(self, part: Array, before: Values) -> Array:
        """Returns log densities (N,) of shares (N, d)."""
        a = self.concentration
        inside = Simplex(tuple(map(str, range(len(a))))).inside(part, {})
        logs = np.log(np.where(inside[:, None], part, 1.0))
        return np.where(inside, ((a - 1) * logs).sum(axis=1) + gammaln(a.sum()) - gammaln(a).sum(), -np.inf)

    def bounds(self, d: int) -> Array:
        """Returns zero and one for each share."""
        return np.tile([0.0, 1.0], (len(self.concentration), 1))

    def constraint(self, names: tuple[str, ...]) -> Constraint:
        """Returns that they sum to one."""
        return Simplex(names)


class Sorted:
    """Independent draws of one distribution in ascending order.

    Arguments:
        each: The distribution, a continuous one of one parameter.
    """

    def __init__(self, each: Any) -> None:
        self.each = of_one_parameter(each)
        if hasattr(self.each, "constraint"):
            raise TaskError("ordered: expected a continuous distribution, got one of discrete values.")

    def quantile(self, u: Array, before: Values) -> Array:
        """Returns ascending values (N, d) of uniform numbers u (N, d)."""
        return np.asarray(self.each.quantile(np.sort(u, axis=1)))

    def log_prob(self, part: Array, before: Values) -> Array:
        """Returns log densities (N,) of ascending values (N, d)."""
        log_p = sum(self.each.log_prob(column) for column in part.T) + gammaln(part.shape[1] + 1)
        return np.where((np.diff(part, axis=1) > 0).all(axis=1), log_p, -np.inf)

    def bounds(self, d: int) -> Array:
        """Returns the bounds of the distribution for each of d parameters."""
        return np.tile(np.array(self.each.bounds, dtype=float), (d, 1))

    def constraint(self, names: tuple[str, ...]) -> Constraint:
        """Returns that they ascend."""
        return Ordered(names, *map(float, self.each.bounds))


class _Single:
    """A distribution of one parameter as a block."""

    def __init__(self, marginal: Any) -> None:
        self.marginal = of_one_parameter(marginal)

    def quantile(self, u: Array, before: Values) -> Array:
        """Returns values (N, d) of uniform numbers u (N, d)."""
        return np.asarray(self.marginal.quantile(u[:, 0]))[:, None]

    def log_prob(self, part: Array, before: Values) -> Array:
        """Returns log densities (N,) of values (N, d)."""
        return np.asarray(self.marginal.log_prob(part[:, 0]))

    def bounds(self, d: int) -> Array:
        """Returns lower and upper bounds, (d, 2)."""
        return np.array([self.marginal.bounds], dtype=float)

    def constraint(self, names: tuple[str, ...]) -> Constraint | None:
        """Returns what the parameters can be beyond their bounds."""
        found: Constraint | None = (
            self.marginal.constraint(names[0]) if hasattr(self.marginal, "constraint") else None
        )
        return found


class _Normals:
    """Jointly normal parameters as a block."""

    def __init__(self, prior: MultivariateNormal) -> None:
        self.prior = prior

    def quantile(self, u: Array, before: Values) -> Array:
        """Returns values (N, d) of uniform numbers u (N, d)."""
        return self.prior.mean + linear_map(np.linalg.cholesky(self.prior.covariance), ndtri(u))

    def log_prob(self, part: Array, before: Values) -> Array:
        """Returns log densities (N,) of values (N, d)."""
        return self.prior.log_prob(part)

    def bounds(self, d: int) -> Array:
        """Returns lower and upper bounds, (d, 2)."""
        return self.prior.bounds

    def constraint(self, names: tuple[str, ...]) -> None:
        """Returns what the parameters can be beyond their bounds."""
        return None


class Joint:
    """A prior of blocks of parameters, in their order.

    Arguments:
        blocks: The distribution of each block by the name of its parameter, or the names of its
        parameters: one
            of `veridical.tasks.priors`, scipy.stats or torch, `Integers`, `Categories`, `Conditional`,
            `MultivariateNormal`, `Dirichlet`, `Sorted`.

    >>> from veridical.tasks.priors import Normal, Uniform
    >>> prior = Joint({("a", "b"): Dirichlet([1, 1]), "c": Conditional(Normal(0.0, 1.0), location="2 * a")})
    >>> theta = prior.sample(rng, 5)
    >>> theta.shape, theta[:, :2].sum(axis=1).round(12), prior.log_prob(theta).shape
    ((5, 3), array([1., 1., 1., 1., 1.]), (5,))

    Raises:
        TaskError: If a block does not fit its names, or depends on a parameter that does not stand before it.
    """

    def __init__(self, blocks: Mapping[str | tuple[str, ...], Any]) -> None:
        if not blocks:
            raise TaskError("prior: expected at least one parameter, got none.")
        self.given = {(key,) if isinstance(key, str) else tuple(key): block for key, block in blocks.items()}
        self.names = tuple(name for names in self.given for name in names)
        if len({*self.names}) < len(self.names):
            raise TaskError(f"prior: names of parameters must differ, got {', '.join(self.names)}.")
        self._blocks: list[tuple[tuple[str, ...], slice, Any]] = []
        first = 0
        for names, given in self.given.items():
            part = slice(first, first + len(names))
            self._blocks.append((names, part, _block(names, given, self.names[:first])))
            first = part.stop
        self.constraints = tuple(
            found for names, _, block in self._blocks if (found := block.constraint(names)) is not None
        )
        Support(self.names, self.constraints)

    @property
    def bounds(self) -> Array:
        """Lower and upper bounds, shape (D, 2)."""
        return np.concatenate([block.bounds(len(names)) for names, _, block in self._blocks])

    def parameters(
        self, units: Mapping[str, str] | None = None, *, labels: Mapping[str, str] | None = None
    ) -> tuple[Parameter, ...]:
        """Returns the parameters, with bounds where these depend on no other parameter."""
        units, labels = units or {}, labels or {}
        return tuple(
            Parameter(name, float(lower), float(upper), units.get(name, ""), labels.get(name, ""))
            for name, (lower, upper) in zip(self.names, self.bounds, strict=True)
        )

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D); their first rows are the same for any n."""
        u = np.clip(rng.random((n, len(self.names))), _LEAST, _MOST)
        theta = np.empty_like(u)
        for names, part, block in self._blocks:
            try:
                theta[:, part] = block.quantile(u[:, part], self._values(theta, part))
            except TaskError as error:
                raise TaskError(f"prior of {', '.join(names)}: {error}") from error
        return theta

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (N, D), shape (N,); -inf outside the support."""
        require_shape("theta", theta, None, len(self.names))
        terms = [block.log_prob(theta[:, part], self._values(theta, part)) for _, part, block in self._blocks]
        return np.sum(terms, axis=0)

    def _values(self, theta: Array, part: slice) -> Values:
        return {name: theta[:, j] for j, name in enumerate(self.names[: part.start])}


def _block(names: tuple[str, ...], given: Any, before: tuple[str, ...]) -> Block:
    """The block of some names.

    Raises:
        TaskError: If it is of another number of parameters, or depends on what does not stand before it.
    """
    several = {MultivariateNormal: "names", Dirichlet: "concentration", Sorted: None}
    block = _Normals(given) if isinstance(given, MultivariateNormal) else given
    if type(given) in several:
        expected = (
            len(names) if several[type(given)] is None else len(getattr(given, several[type(given)] or ""))
        )
        if len(names) != expected or len(names) < 2:
            raise TaskError(
                f"prior of {', '.join(names)}: {type(given).__name__} of {max(expected, 2)} parameters "
                "or more was "
                f"given for {len(names)}; name as many."
            )
        return block
    if len(names) > 1:
        raise TaskError(
            f"prior of {', '.join(names)}: {type(given).__name__} is no distribution of several "
            "parameters; expected "
            "MultivariateNormal, Dirichlet or Sorted."
        )
    if isinstance(given, Conditional):
        if late := [name for name in given.depends_on if name not in before]:
            raise TaskError(
                f"parameter {names[0]!r}: its prior depends on {late[0]!r}, which is no parameter before "
                "it; expected "
                f"{', '.join(before) or 'none, for it is the first'}."
            )
        return given
    return _Single(given)
