r"""Which values parameters can take, beyond bounds of their own, and the map from them to latent numbers.

A *constraint* concerns one or several of the D parameters. With them come K latent numbers u:

- `Whole`, `OneOf` (discrete): u = 0, 1, ..., the number of the value. A density is a probability in this
  parameter.
- `Simplex`: shares :math:`s_1 \dots s_d > 0` that sum to one; :math:`u_i = \log (s_i / s_d)` for i < d. A
  density is one of the first d - 1 shares, :math:`|du / ds| = 1 / \prod_i s_i`.
- `Ordered`: :math:`t_1 < \dots < t_d` within common bounds; with v(t) free of the bounds,
  :math:`u_1 = v(t_1), \; u_i = \log(v(t_i) - v(t_{i-1}))`.
- `Between`: one parameter between bounds that depend on parameters before it.

All constraints of a task together are a `latents.Support`; parameters by themselves stand in `bounded`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veridical.errors import TaskError
from veridical.tasks.bounded import bounded, innermost, unbounded
from veridical.tasks.expressions import Expression

Array = NDArray[Any]
Values = Mapping[str, Array]  # of all parameters, by name
MOST_VALUES = 1_000_000  # of a discrete parameter
_FARTHEST = 1e300  # beyond which ordered numbers have no room
_OFF = 1e-3  # by which shares from a file may miss one


class Constraint(ABC):
    """What values some parameters can take; arrays of their values have shape (..., d).

    Attributes:
        names: Names of the d parameters.
    """

    kind: ClassVar[str]
    names: tuple[str, ...]

    @property
    def latents(self) -> int:
        """Number of latent numbers."""
        return len(self.names)

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Names of other parameters that decide what these can be."""
        return ()

    @property
    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """What no parameter lies below or above; infinite where that depends on others."""

    @abstractmethod
    def inside(self, part: Array, values: Values) -> Array:
        """Whether values of the parameters are possible, shape (...)."""

    @abstractmethod
    def forward(self, part: Array, values: Values) -> tuple[Array, Array]:
        """Returns latent numbers (..., latents) of possible values, and log |du/dtheta| (...)."""

    @abstractmethod
    def inverse(self, u: Array, values: Values) -> Array:
        """Returns values (..., d), always possible ones, of latent numbers (..., latents)."""

    def to_json(self) -> dict[str, Any]:
        """Returns plain data."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        plain = {k: list(v) if isinstance(v, tuple) else _plain(v) for k, v in stated.items()}
        return {"kind": self.kind, **plain}


class Discrete(Constraint):
    """One parameter that takes values of a list; they are numbered from 0 in ascending order."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The name of the parameter."""
        return (self.name,)

    @property
    @abstractmethod
    def codes(self) -> Array:
        """The values as numbers, ascending."""

    @property
    def labels(self) -> list[str]:
        """The values as a reader knows them."""
        return [f"{code:g}" for code in self.codes]

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest value."""
        return float(self.codes[0]), float(self.codes[-1])

    def number(self, values: Array) -> Array:
        """Returns the numbers of values (...)."""
        return np.minimum(np.searchsorted(self.codes, values), len(self.codes) - 1)

    def inside(self, part: Array, values: Values) -> Array:
        """Whether values (..., d) are possible, shape (...)."""
        return self.codes[self.number(part[..., 0])] == part[..., 0]

    def forward(self, part: Array, values: Values) -> tuple[Array, Array]:
        """Returns latent numbers (..., latents) of values (..., d), and log |du/dtheta| (...)."""
        return self.number(part).astype(float), np.zeros(part.shape[:-1])

    def inverse(self, u: Array, values: Values) -> Array:
        """Returns possible values (..., d) of latent numbers (..., latents)."""
        numbers = np.clip(np.nan_to_num(np.rint(u)), 0, len(self.codes) - 1).astype(int)
        return self.codes[numbers]


@dataclass(frozen=True)
class Whole(Discrete):
    """A whole number from `lower` to `upper`, both included."""

    kind: ClassVar[str] = "whole"
    name: str
    lower: float
    upper: float

    def __post_init__(self) -> None:
        whole = all(np.isfinite(v) and v == np.rint(v) for v in (self.lower, self.upper))
        if not whole or not 1 <= self.upper - self.lower < MOST_VALUES:
            raise TaskError(
                f"parameter {self.name!r}: expected whole numbers lower < upper of at most "
                f"{MOST_VALUES:,} values, got [{self.lower}, {self.upper}]."
            )

    @property
    def codes(self) -> Array:
        """The values as numbers, ascending."""
        return np.arange(self.lower, self.upper + 1, dtype=float)


@dataclass(frozen=True)
class OneOf(Discrete):
    """One of a list of values: ascending numbers, or texts that simulators know as 0, 1, ..."""

    kind: ClassVar[str] = "one_of"
    name: str
    values: tuple[str | float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        texts = [isinstance(value, str) for value in self.values]
        if len(self.values) < 2 or len({*self.values}) < len(self.values) or any(texts) != all(texts):
            raise TaskError(
                f"parameter {self.name!r}: expected two or more values that differ, all texts or all "
                f"numbers, got {list(self.values)}."
            )
        if not any(texts) and not (np.diff(self.codes) > 0).all():
            raise TaskError(f"parameter {self.name!r}: expected ascending numbers, got {list(self.values)}.")

    @property
    def codes(self) -> Array:
        """The values as numbers, ascending."""
        texts = isinstance(self.values[0], str)
        return np.arange(len(self.values), dtype=float) if texts else np.array(self.values, dtype=float)

    @property
    def labels(self) -> list[str]:
        """The values as a reader knows them."""
        return [value if isinstance(value, str) else f"{value:g}" for value in self.values]


@dataclass(frozen=True)
class Simplex(Constraint):
    """Positive shares that sum to one."""

    kind: ClassVar[str] = "simplex"
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        _several(self)

    @property
    def latents(self) -> int:
        """One less than shares."""
        return len(self.names) - 1

    @property
    def limits(self) -> tuple[float, float]:
        """Zero and one."""
        return 0.0, 1.0

    def inside(self, part: Array, values: Values) -> Array:
        """Whether values (..., d) are possible, shape (...)."""
        return (part > 0).all(axis=-1) & (np.abs(part.sum(axis=-1) - 1) < _OFF)

    def forward(self, part: Array, values: Values) -> tuple[Array, Array]:
        """Returns latent numbers (..., latents) of values (..., d), and log |du/dtheta| (...)."""
        logs = np.log(part)
        return logs[..., :-1] - logs[..., -1:], -logs.sum(axis=-1)

    def inverse(self, u: Array, values: Values) -> Array:
        """Returns possible values (..., d) of latent numbers (..., latents)."""
        logs = np.concatenate([u, np.zeros((*u.shape[:-1], 1))], axis=-1)
        weights = np.exp(np.clip(logs - logs.max(axis=-1, keepdims=True), -700.0, 0.0))
        return np.clip(weights / weights.sum(axis=-1, keepdims=True), None, 1 - 2.0**-53)


@dataclass(frozen=True)
class Ordered(Constraint):
    """Parameters of which each is larger than the one before, all within common bounds."""

    kind: ClassVar[str] = "ordered"
    names: tuple[str, ...]
    lower: float = -np.inf
    upper: float = np.inf

    def __post_init__(self) -> None:
        _several(self)

    @property
    def limits(self) -> tuple[float, float]:
        """The common bounds."""
        return self.lower, self.upper

    def inside(self, part: Array, values: Values) -> Array:
        """Whether values (..., d) are possible, shape (...)."""
        within = (part[..., 0] > self.lower) & (part[..., -1] < self.upper)
        return within & (np.diff(part, axis=-1) > 0).all(axis=-1)

    def forward(self, part: Array, values: Values) -> tuple[Array, Array]:
        """Returns latent numbers (..., latents) of values (..., d), and log |du/dtheta| (...)."""
        v, slope = unbounded(part, self.lower, self.upper)
        steps = np.maximum(np.diff(v, axis=-1), np.finfo(float).tiny)
        u = np.concatenate([v[..., :1], np.log(steps)], axis=-1)
        return u, np.log(slope).sum(axis=-1) - u[..., 1:].sum(axis=-1)

    def inverse(self, u: Array, values: Values) -> Array:
        """Returns possible values (..., d) of latent numbers (..., latents)."""
        with np.errstate(over="ignore", under="ignore"):
            steps = np.exp(np.minimum(u[..., 1:], 600.0))
            part = bounded(np.cumsum(np.concatenate([u[..., :1], steps], -1), -1), self.lower, self.upper)
        part, last = np.clip(part, -_FARTHEST, _FARTHEST), part.shape[-1] - 1
        for i in range(1, last + 1):  # neighbours that rounding made equal
            part[..., i] = np.maximum(part[..., i], np.nextafter(part[..., i - 1], np.inf))
        part[..., last] = np.minimum(part[..., last], innermost(self.lower, self.upper)[1])
        for i in range(last - 1, -1, -1):
            part[..., i] = np.minimum(part[..., i], np.nextafter(part[..., i + 1], -np.inf))
        return part


@dataclass(frozen=True)
class Between(Constraint):
    """One parameter between bounds of which at least one depends on parameters before it.

    Attributes:
        name: The parameter.
        lower: A number or a formula such as `2 * a`; -inf for none.
        upper: The same; inf for none.
    """

    kind: ClassVar[str] = "between"
    name: str
    lower: float | str = -np.inf
    upper: float | str = np.inf

    def __post_init__(self) -> None:
        self._ends({name: np.ones(1) for name in self.depends_on})

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The name of the parameter."""
        return (self.name,)

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Names of the parameters in the formulas."""
        formulas = [Expression(end).names for end in (self.lower, self.upper) if isinstance(end, str)]
        return tuple(dict.fromkeys(name for names in formulas for name in names))

    @property
    def limits(self) -> tuple[float, float]:
        """The bounds that are numbers."""
        lower, upper = self.lower, self.upper
        return -np.inf if isinstance(lower, str) else lower, np.inf if isinstance(upper, str) else upper

    def _ends(self, values: Values) -> tuple[Any, Any]:
        lower, upper = (Expression(e)(values) if isinstance(e, str) else e for e in (self.lower, self.upper))
        return lower, upper

    def inside(self, part: Array, values: Values) -> Array:
        """Whether values (..., d) are possible, shape (...)."""
        lower, upper = self._ends(values)
        return (part[..., 0] >= lower) & (part[..., 0] <= upper)  # which may be as close as numbers can be

    def forward(self, part: Array, values: Values) -> tuple[Array, Array]:
        """Returns latent numbers (..., latents) of values (..., d), and log |du/dtheta| (...)."""
        u, slope = unbounded(part[..., 0], *self._ends(values), least=np.finfo(float).tiny)
        return u[..., None], np.log(slope)

    def inverse(self, u: Array, values: Values) -> Array:
        """Returns possible values (..., d) of latent numbers (..., latents)."""
        with np.errstate(all="ignore"):
            lower, upper = self._ends(values)
            return np.clip(bounded(u[..., 0], lower, upper), lower, upper)[..., None]


KINDS: dict[str, type[Any]] = {cls.kind: cls for cls in (Whole, OneOf, Simplex, Ordered, Between)}


def from_json(record: Mapping[str, Any]) -> Constraint:
    """Returns the constraint whose `to_json` made a record."""
    given = {name: value for name, value in record.items() if name != "kind"}
    for name, value in given.items():
        if isinstance(value, list):
            given[name] = tuple(value)
        elif isinstance(value, Mapping):
            given[name] = float(value["float"])
    made: Constraint = KINDS[record["kind"]](**given)
    return made


def _plain(value: Any) -> Any:
    """A number as strict JSON has it, or a text."""
    return {"float": str(value)} if isinstance(value, float) and not np.isfinite(value) else value


def _several(constraint: Any) -> None:
    """Makes a tuple of the names, of which there have to be two or more."""
    object.__setattr__(constraint, "names", tuple(constraint.names))
    if len(constraint.names) < 2:
        raise TaskError(f"{constraint.kind}: expected two or more parameters, got {list(constraint.names)}.")
