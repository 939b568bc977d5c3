"""The contract of a task: a prior and a simulator at one or more fidelities, batch first, in numpy.

Shapes: N rows, D parameters; `theta` (N, D), `x` (N, *x_shape).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from veridical.errors import TaskError
from veridical.tasks.latents import constraints_of
from veridical.tasks.needs import Needs
from veridical.tasks.supports import Constraint

Array = NDArray[Any]
Simulated = Array | Mapping[str, Array]
DECLARE = (
    "say `missing: true` with the dimension of x along which they may be missing (in Python "
    "`Dimension(..., missing=True)`), and see docs/missing.md"
)


def as_arrays(simulated: Simulated) -> dict[str, Array]:
    """Returns what `Task.simulate` gave as a dict of arrays with the key `x`; masked numbers are NaN."""
    if not isinstance(simulated, Mapping):
        return {"x": _unmasked(simulated)}
    if "x" not in simulated:
        raise TaskError(f"simulate returned a dict with the keys {sorted(simulated)}; expected a key 'x'.")
    return {name: _unmasked(array) for name, array in simulated.items()}


def usable(x: Array, has_missing: bool) -> Array:
    """Returns which rows of x (N, ...) are data, boolean (N,): their numbers are finite, or else missing.

    A row without any number is none, whether numbers may be missing or not: it says nothing.

    >>> usable(np.array([[1.0, 2.0], [1.0, np.nan], [1.0, np.inf], [np.nan, np.nan]]), has_missing=True)
    array([ True,  True, False, False])
    """
    rows = np.asarray(x).reshape(len(x), int(np.prod(np.shape(x)[1:])))
    if not has_missing:
        return np.asarray(np.isfinite(rows).all(axis=1))
    return np.asarray(np.isfinite(rows).any(axis=1) & ~np.isinf(rows).any(axis=1))


def require_severity(task: str, severity: float) -> float:
    """Returns a task's setting of how far nature departs from the simulator, as a float.

    >>> require_severity("pendulum", 1)
    1.0

    Raises:
        TaskError: If it is no number from 0 (not at all) to 1 (as published).
    """
    if isinstance(severity, bool) or not isinstance(severity, int | float) or not 0 <= severity <= 1:
        raise TaskError(
            f"task {task}: expected a severity from 0 (the simulator is right) to 1 (as published), got "
            f"{severity!r}."
        )
    return float(severity)


def _unmasked(array: Any) -> Array:
    """An array whose masked numbers are NaN; lists may hold masked rows."""
    if isinstance(array, list | tuple) and any(np.ma.isMaskedArray(part) for part in array):
        array = np.ma.stack(array)
    if not np.ma.is_masked(array):
        return np.asarray(array)
    return np.ma.filled(array.astype(np.result_type(array.dtype, np.float32)), np.nan)


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its bounds (infinite where there is none), its unit, and its label, by which a
    reader knows it: α or "$\\alpha_s$" beside the name alpha_s.
    """

    name: str
    lower: float = -np.inf
    upper: float = np.inf
    unit: str = ""
    label: str = ""


@dataclass(frozen=True)
class Dimension:
    """One axis of the data behind the rows: its name, its coordinates, their unit, and its label.

    Attributes:
        kind: What networks may take for granted along it: `exchangeable` entries, whose order says nothing; a
            `series`; one of the two axes of an `image`; a `vector` of numbers without neighbours. Empty where
            nothing is declared.
        missing: Whether entries along it may be missing, wholly or in single numbers: x then holds NaN there.
    """

    name: str
    coordinates: tuple[float | str, ...]
    unit: str = ""
    label: str = ""
    kind: str = ""
    missing: bool = False


class Prior(Protocol):
    """A distribution over parameters."""

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n draws, shape (n, D)."""
        ...

    def log_prob(self, theta: Array) -> Array:
        """Returns log densities of theta (N, D), shape (N,); -inf outside the support."""
        ...


class Task(ABC):
    """A prior and a simulator.

    A subclass states the class attributes and implements `simulate`. Where its levels can share
    their randomness it also implements `noise`: it is then *coupled*, and `simulate` gets what
    `noise` returned (a dict of arrays (N, ...)) in place of a generator.

    >>> class Decay(Task):
    ...     name, fidelities = "decay", {"exact": 1.0}
    ...     parameters = (Parameter("rate", 0.0, unit="1/h"),)
    ...     dimensions = (Dimension("time", (0, 1, 2, 3), "h"),)
    ...
    ...     def simulate(self, theta, rng, fidelity):
    ...         x = np.exp(-theta * np.arange(4))
    ...         return x + 0.1 * rng.normal(size=x.shape)
    >>> Decay().x_shape, Decay().coupled
    ((4,), False)
    >>> Decay().simulate(np.ones((2, 1)), rng, "exact").shape
    (2, 4)

    Attributes:
        name: Names the task in paths and seeds.
        parameters: The D parameters.
        fidelities: Nominal cost of one row per level, cheapest first; `real` stands for nature.
        dimensions: The axes of x behind the rows, so that `x_shape` is their lengths.
        x_unit: The unit of x.
        block_rows: Rows simulated together: the unit of randomness.
        x_dtype: The type of x in the bank.
        timeout_is_data: Whether a time-out marks the rows as failed; otherwise it fails the job.
        needs: What its simulation jobs ask a scheduler for.
        constraints: What the parameters can be beyond their bounds; those of the prior where not stated.
        statistics: Functions of x that predictive checks compare too, by name: x (N, *x_shape) to (N,).
        severity: How far the level `real` departs from the simulator: 0 not at all, 1 as published.
        scores: Whether simulated rows come with the slopes of log p(x | theta) in theta, an array `score`
            (N, D), which the bank keeps; `joint` where they are those of whole paths behind x.
        of_nature: Settings that nature alone reads, the level `real` or the classes of a class task, so that
            all of their values share the simulations of the other levels.
    """

    name: str
    parameters: tuple[Parameter, ...]
    fidelities: Mapping[str, float]
    dimensions: tuple[Dimension, ...]
    x_unit: str = ""
    block_rows: int = 1000
    x_dtype: str = "float32"
    timeout_is_data: bool = False
    needs: Needs = Needs()
    statistics: Mapping[str, Callable[[Array], Array]] = MappingProxyType({})
    severity: float = 1.0
    scores: bool | Literal["joint"] = False
    of_nature: tuple[str, ...] = ()
    prior: Prior

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the D parameters."""
        return tuple(p.name for p in self.parameters)

    @property
    def bounds(self) -> Array:
        """Lower and upper bounds of the parameters, shape (D, 2)."""
        return np.array([(p.lower, p.upper) for p in self.parameters], dtype=float).reshape(-1, 2)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """What the parameters can be beyond their bounds: whole numbers, shares, ordered, and others."""
        prior = getattr(self, "prior", None)
        return () if prior is self else constraints_of(prior, self.parameter_names)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one row of x."""
        return tuple(len(d.coordinates) for d in self.dimensions)

    @property
    def has_missing(self) -> bool:
        """Whether numbers of x may be missing, which are NaN."""
        return any(d.missing for d in self.dimensions)

    @property
    def coupled(self) -> bool:
        """Whether the levels share their randomness."""
        return type(self).noise is not Task.noise

    def measured(self, x: Array) -> dict[str, Array]:
        """Returns the `statistics` of data x (N, *x_shape), shape (N,) each.

        Raises:
            TaskError: If one gives anything but one real number a row.
        """
        found = {}
        for name, function in self.statistics.items():
            try:
                with np.errstate(all="ignore"):
                    values = np.asarray(function(x.copy()))
            except Exception as error:
                raise TaskError(
                    f"task {self.name}: statistic {name!r} raised {type(error).__name__}: {error}; "
                    f"expected a function of x of shape {x.shape}."
                ) from error
            if values.shape != x.shape[:1] or values.dtype.kind not in "fiub":
                raise TaskError(
                    f"task {self.name}: statistic {name!r}: expected one number for each of {len(x)} rows "
                    f"of x, got shape {values.shape} of {values.dtype}."
                )
            found[str(name)] = values.astype(float)
        return found

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns all randomness of n rows, the same for every fidelity; arrays (n, ...)."""
        raise NotImplementedError(f"task {self.name} is not coupled: it has no noise().")

    @abstractmethod
    def simulate(self, theta: Array, noise: Any, fidelity: str) -> Simulated:
        """Simulates theta (N, D) at one level.

        Arguments:
            theta: Parameters, shape (N, D).
            noise: What `noise` returned for these rows; a generator where the task is not coupled.
            fidelity: The level.

        Returns:
            x (N, *x_shape), or a dict with `x` and others; rows that failed hold NaN, and so do missing
            numbers where a dimension says that there may be some.
        """

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta) for one observation x (*x_shape) at theta (N, D), shape (N,)."""
        raise NotImplementedError(f"task {self.name} has no exact likelihood.")

    @property
    def has_likelihood(self) -> bool:
        """Whether `log_likelihood` is there."""
        return type(self).log_likelihood is not Task.log_likelihood

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, *x_shape) of one level (the dearest simulated one where
        None), shape (n, N, D).
        """
        raise NotImplementedError(f"task {self.name} has no exact posterior.")

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, D) given x (N, *x_shape) of one level (the
        dearest simulated one where None), shape (..., N).
        """
        raise NotImplementedError(f"task {self.name} has no exact posterior.")

    @property
    def has_posterior(self) -> bool:
        """Whether `posterior_log_prob` and `posterior_sample` are there."""
        return type(self).posterior_log_prob is not Task.posterior_log_prob


class NoParameters:
    """The prior of a task without parameters."""

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Returns n rows without columns, shape (n, 0)."""
        return np.empty((n, 0))

    def log_prob(self, theta: Array) -> Array:
        """Returns zeros, shape (n,)."""
        return np.zeros(len(theta))


class ClassTask(Task):
    """A task with named classes in place of parameters: a bank per class, for density ratios.

    Its levels are its classes. What is asked for is the fraction of the first class, the numerator of the
    ratio, in a sample of unlabelled events of both.

    Attributes:
        classes: The two classes: numerator, denominator.
    """

    classes: tuple[str, str]
    parameters = ()
    prior: Prior = NoParameters()

    @abstractmethod
    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns n events of one class, shape (n, *x_shape)."""

    def mixture(self, n: int, fraction: float, rng: np.random.Generator) -> Array:
        """Returns n unlabelled events in random order, each of the first class with this probability."""
        return self.labelled_mixture(n, fraction, rng)[0]

    def labelled_mixture(self, n: int, fraction: float, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns the events of `mixture`, and the number of the class of each, 0 or 1, shape (n,)."""
        first = int(rng.binomial(n, fraction))
        events = [self.draw(k, rng, cls) for k, cls in zip((first, n - first), self.classes, strict=True)]
        order = rng.permutation(n)
        return np.concatenate(events)[order], (order >= first).astype(np.int8)

    def log_ratio(self, x: Array) -> Array:
        """Returns the exact log density ratio of numerator to denominator at events x (N, *x_shape)."""
        raise NotImplementedError(f"task {self.name} has no exact density ratio.")

    @property
    def has_log_ratio(self) -> bool:
        """Whether `log_ratio` is there."""
        return type(self).log_ratio is not ClassTask.log_ratio

    @property
    def fidelities(self) -> Mapping[str, float]:  # type: ignore[override]
        """The classes, each of nominal cost 1."""
        return dict.fromkeys(self.classes, 1.0)

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        """Draws one event of the class `fidelity` for each of the empty rows theta (N, 0)."""
        if fidelity not in self.classes:
            raise TaskError(f"task {self.name} has no class {fidelity!r}; expected {self.classes}.")
        return self.draw(len(theta), noise, fidelity)


class FileTask(Task):
    """A task whose simulations exist already: its rows are read from a file, never simulated.

    The rows of a split are drawn without replacement in an order that only the root seed decides
    (seeds stage `split`). Splits other than `train` have reserved rows, disjoint from each other and
    from `train`; replicates of `train` are different orders of the same remaining rows.
    """

    @abstractmethod
    def available(self, split: str) -> int:
        """Returns how many rows the file holds for `split` (of each replicate)."""

    @abstractmethod
    def rows(self, split: str, replicate: int, first: int, last: int, *, root: int) -> dict[str, Array]:
        """Returns `theta` and `x` of the rows first..last (last included) of one split.

        Raises:
            TaskError: If the file holds fewer rows for this split.
        """

    def simulate(self, theta: Array, noise: Any, fidelity: str) -> Simulated:
        """Refuses: there is a file in place of a simulator."""
        raise TaskError(
            f"task {self.name}: its simulations were made elsewhere and none can be added. Rows must "
            f"come from the file; a check that needs a simulator has to be left out."
        )
