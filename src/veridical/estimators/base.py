"""The contract of an estimator: draws and log densities for any observation, in the task's coordinates.

Shapes: N observations, S draws, D parameters, K summaries; `x` (N, *x_shape), `draws` (S, N, D).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from veridical import seeds
from veridical.errors import TrainingError, require_shape
from veridical.estimators import apart
from veridical.estimators.standing import Standing
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.tasks import supports
from veridical.tasks.base import Array
from veridical.tasks.latents import Support
from veridical.tasks.supports import Constraint

if TYPE_CHECKING:
    from veridical.bank.blocks import Simulator
    from veridical.bank.online import Online
    from veridical.bank.streaming import Streamed
    from veridical.inference.likelihoods import Likelihood
    from veridical.tasks.base import Prior, Task
    from veridical.training.session import Session, TrainingResult

Arrays = Mapping[str, Array]  # what is saved of a method, by name
_TUPLES = ("parameters", "units", "x_shape", "axes")  # of a TaskInfo, which JSON keeps as lists
_WHERE_ANY = ("constraints", "names")  # which it leaves out where there are none


@dataclass(frozen=True)
class TaskInfo:
    """What an estimator knows of its task.

    Attributes:
        name: Name of the task.
        parameters: Names of the D parameters.
        bounds: Their bounds, infinite where there is none, shape (D, 2).
        units: Their units.
        x_shape: Shape of one row of x.
        x_unit: The unit of x.
        axes: The kind of each axis of x: as declared, `vector` where its coordinates are names, else empty.
        has_missing: Whether numbers of x may be missing, which are NaN.
        constraints: What its parameters can be beyond their bounds; see `veridical.tasks.supports`.
        names: The coordinates of each axis where they are names; none where they are numbers.
    """

    name: str
    parameters: tuple[str, ...]
    bounds: Array
    units: tuple[str, ...]
    x_shape: tuple[int, ...]
    x_unit: str = ""
    axes: tuple[str, ...] = ()
    has_missing: bool = False
    constraints: tuple[Constraint, ...] = ()
    names: tuple[tuple[str, ...], ...] = ()

    @property
    def support(self) -> Support | None:
        """The constraints with the map to latent numbers; None where there are none."""
        return Support(self.parameters, self.constraints) if self.constraints else None

    @property
    def cells(self) -> tuple[int, ...]:
        """Number of values of each of the K latent numbers of the parameters; 0 where it is continuous."""
        return self.support.cells if self.support else (0,) * len(self.parameters)

    @classmethod
    def of(cls, task: Task) -> TaskInfo:
        """Returns what an estimator keeps of a task."""
        units = tuple(p.unit for p in task.parameters)
        found = [tuple(map(str, d.coordinates)) for d in task.dimensions]
        named = [any(isinstance(value, str) for value in d.coordinates) for d in task.dimensions]
        axes = tuple(d.kind or "vector" * names for d, names in zip(task.dimensions, named, strict=True))
        about = task.name, task.parameter_names, task.bounds, units, task.x_shape, task.x_unit, axes
        names = tuple(each if has else () for each, has in zip(found, named, strict=True))
        return cls(*about, task.has_missing, task.constraints, names if any(named) else ())

    def to_json(self) -> dict[str, Any]:
        """Returns plain data; an infinite bound is None."""
        bounds = [[float(b) if np.isfinite(b) else None for b in pair] for pair in self.bounds]
        record = {**vars(self), **{name: list(getattr(self, name)) for name in _TUPLES}, "bounds": bounds}
        record["constraints"] = [constraint.to_json() for constraint in self.constraints]
        record["names"] = [list(names) for names in self.names]
        return {name: value for name, value in record.items() if value or name not in _WHERE_ANY}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TaskInfo:
        """Returns what `to_json` recorded."""
        bounds = np.array(record["bounds"], float).reshape(-1, 2)  # None becomes NaN
        bounds = np.where(np.isnan(bounds), (-np.inf, np.inf), bounds)
        constraints = tuple(supports.from_json(each) for each in record.get("constraints", ()))
        tuples = {name: tuple(record.get(name, ())) for name in _TUPLES}
        names = tuple(map(tuple, record.get("names", ())))
        return cls(**{**record, **tuples, "bounds": bounds, "constraints": constraints, "names": names})


@dataclass(frozen=True)
class Rows:
    """Labelled data.

    Attributes:
        theta: Parameters, shape (N, D).
        x: Data, shape (N, *x_shape).
        validation: Whether a row serves validation, shape (N,).
        score: Slopes of log p(x | theta) in theta where a method asks for them, shape (N, D).
        weight: How much the loss of a row counts, shape (N,); None where all follow the prior.
    """

    theta: Array
    x: Array
    validation: Array
    score: Array | None = None
    weight: Array | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.x)

    def at(self, chosen: Array | slice) -> Self:
        """Returns some of the rows: their numbers, or which of all (N,)."""
        kept: dict[str, Any] = {k: None if v is None else v[chosen] for k, v in vars(self).items()}
        return type(self)(**kept)


@dataclass(frozen=True)
class CoupledRows(Rows):
    """Simulations of a level, each beside one of the next cheaper level that a method learns from.

    Attributes:
        below: Data of that level from the same parameters and random numbers, shape (N, *x_shape).
    """

    below: Array = field(kw_only=True)


@dataclass(frozen=True)
class Material:
    """What a method may learn from; a method finds here what its settings declare that it uses.

    Attributes:
        simulations: Valid simulations at the method's fidelity; as a stream where its settings say so.
        calibration: Labelled real data; no row of them is marked for validation.
        classes: Events of each class of a class task, by its name, shape (N, *x_shape).
        validation: Whether an event serves validation, by class, shape (N,).
        parent: The trained method that this one builds on; of a later round, the rounds before it.
        start: The one with whose weights each round begins; None for most methods.
        beside: Others that it asks beside that one.
        prior: The task's prior.
        simulate: The simulator at the method's fidelity: theta (N, D) and a generator to x (N, *x_shape),
            rows that fail being NaN; `simulate.block` says by `status` how they failed. None where
            simulations were made elsewhere.
        observation: The one that a method for a single one is for, shape (*x_shape).
        acceptance: Of the proposals that the newest simulations were made at; 1 for those of the prior.
        likelihood: The task's, where it has one, for methods that weigh draws.
        unlabelled: Real data without their parameters, shape (M, *x_shape).
        levels: Valid simulations of a method of several levels, cheapest first: `Rows` of the cheapest, then
            `CoupledRows` of each dearer one. Such a method gets no `simulations` beside them.
    """

    simulations: Rows | Streamed | Online | None = None
    calibration: Rows | None = None
    classes: Mapping[str, Array] = field(default_factory=dict)
    validation: Mapping[str, Array] = field(default_factory=dict)
    parent: Estimator | None = None
    start: Estimator | None = None
    beside: Sequence[Estimator] = ()
    prior: Prior | None = None
    simulate: Simulator | None = None
    observation: Array | None = None
    acceptance: float = 1.0
    likelihood: Likelihood | None = None
    unlabelled: Array | None = None
    levels: Sequence[Rows] = ()

    def require(self, name: str, method: str) -> Any:
        """Returns one of the parts.

        Raises:
            TrainingError: If it is not there.
        """
        found = getattr(self, name)
        if found is None or (isinstance(found, Mapping) and not found):
            raise TrainingError(f"estimator {method!r} needs {name}, but the study gives it none.")
        return found


def labelled(material: Material, part: str, method: str, task: TaskInfo) -> Rows:
    """Returns the `simulations` or the `calibration` of a material, in the shapes of its task.

    Raises:
        TrainingError: If there are none.
        ShapeError: If theta or x has another shape.
    """
    rows: Rows = material.require(part, method)
    require_shape("theta", rows.theta, len(rows), len(task.parameters))
    require_shape("x", rows.x, None, *task.x_shape)
    return rows


class Estimator(ABC):
    """A trained method: a network with its transforms, or a remedy around another method.

    Attributes:
        type: Name of the estimator in the registry.
        settings: Its settings, as validated.
        task: What it knows of its task.
        cloud: Mean and covariance of `every_summary` of its training rows; None where it has none.
        summarisers: How many networks' summaries, as many of each, stand side by side in `every_summary`.
        parent: The method that it builds on and needs beside its own arrays; None for most.
        own_code: Files of the user's, beside the method's own, that asking it runs; none for most.
    """

    type: ClassVar[str]
    settings: Any
    task: TaskInfo
    cloud: SummaryCloud | None = None
    summarisers: int = 1
    parent: Estimator | None = None
    own_code: Sequence[str] = ()

    @classmethod
    @abstractmethod
    def fit(
        cls, settings: Any, task: TaskInfo, material: Material, run: Session
    ) -> tuple[Estimator, TrainingResult | None]:
        """Returns a trained estimator and how its training went (None where nothing was iterated).

        Arguments:
            settings: Its settings, validated; those of a user's own class as plain data.
            task: The task.
            material: What it learns from.
            run: Seeds, threads, checkpoints and limits of this training.

        Raises:
            TrainingError: If there are too few rows, or the loss is not finite.
        """

    @property
    def has_density(self) -> bool:
        """Whether it knows the densities of its answers, or gives draws alone."""
        return True

    @abstractmethod
    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N).

        These are None where `has_density` is false; `log_prob` then raises TaskError.

        The base noise comes from `rng` observation by observation, so draws do not depend on the
        sizes of internal batches. All draws lie strictly inside the bounds.
        """

    @abstractmethod
    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""

    def summary(self, x: Array) -> Array | None:
        """Returns summaries (N, K) of x (N, *x_shape); None for a method without summaries."""
        return None

    def every_summary(self, x: Array) -> Array | None:
        """Returns the summaries that checks judge: of each of its networks, side by side, (N, M K)."""
        return self.summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns, as plain data, what happens to x and to each parameter around the network."""
        return {}

    def account(self) -> dict[str, Any]:
        """Returns, as plain data, entries for its record that say how it came to be, where it has any."""
        return {}

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Returns everything numerical that `from_arrays` needs, by name."""

    @classmethod
    @abstractmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Estimator:
        """Returns the estimator that `arrays` came from; `parent` is the method that it builds on.

        Raises:
            ArtifactError: If an array, or the parent, is missing or does not fit the settings.
        """

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape)."""
        return self.sample_and_log_prob(x, n, rng)[0]

    def sample_alike(self, x: Array, n: int, seed: int) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape), all made of the same noise."""
        return np.concatenate(
            [self.sample(one[None], n, seeds.generator(seed, "infer", "alike")) for one in x], axis=1
        )

    @property
    def bagged(self) -> bool:
        """Whether it answers with a mixture of what it says `apart`, and so with more doubt than each."""
        return False

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns what answers labelled pairs without having learned from them: rows, and a method for these.

        A method that learns from pairs overrides this where it can leave some of them out.

        Raises:
            TrainingError: If it, or what it builds on, has learned from pairs and cannot leave any out.
        """
        apart.require_unseen(self)
        return [(np.arange(len(pairs)), self)]

    def standing(self, x: Array) -> Standing:
        """Returns what it says of its answers to x (N, *x_shape); most answer all that they are asked."""
        return Standing()

    def drawn(
        self, x: Array, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array | None, Mapping[str, Array]]:
        """Returns what `sample_and_log_prob` does, and how far the draws can be trusted where they differ.

        That is `ess`, how many independent draws they are worth (N, D), and of chains `rhat` (N, D). Draws
        that depend on nothing but x and noise of their own have neither.
        """
        return *self.sample_and_log_prob(x, n, rng), {}

    def extras(self, x: Array) -> dict[str, Array]:
        """Returns more arrays about x (N, *x_shape) that are worth keeping beside its draws, by name."""
        return {}

    def estimated(self, x: Array, truth: Array) -> dict[str, Array]:
        """Returns estimates beside the posteriors of x (N, *x_shape), of a method that makes both.

        That is `estimate`, both parts of its error, `statistical` and `ratio`, and `z_lr`, the signed root of
        the profile likelihood ratio at the truth; (N, D) each, NaN where there is no estimate.
        """
        return {}

    def around(self, x: Array, prior: Prior) -> tuple[Estimator, Prior]:
        """Returns what answers data near an observation (*x_shape), and the prior of these answers.

        A method that has learned where it answers one observation, and nowhere else, overrides this.
        """
        return self, prior

    def given(self, x: Array) -> Conditioned:
        """Returns the posteriors of a whole data set x (N, *x_shape).

        A method whose answer to one observation depends on the others overrides this.
        """
        return Conditioned(self, x)


class Conditioned:
    """The posteriors of one data set, asked for a few observations at a time.

    Attributes:
        convergence: Of the draws made last; see `Estimator.drawn`.
    """

    convergence: Mapping[str, Array] = MappingProxyType({})

    def __init__(self, estimator: Estimator, x: Array) -> None:
        self.estimator = estimator
        self.x = x

    def sample_and_log_prob(
        self, rows: slice, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array | None]:
        """Returns n draws for each of these rows, (n, rows, D), and their log densities (n, rows).

        A method may leave the log densities of draws out, as None, where they would cost too much.
        """
        draws, log_density, self.convergence = self.estimator.drawn(self.x[rows], n, rng)
        return draws, log_density

    def log_prob(self, theta: Array, rows: slice) -> Array:
        """Returns log densities (..., rows) of theta (..., rows, D)."""
        return self.estimator.log_prob(theta, self.x[rows])

    def summary(self, rows: slice) -> Array | None:
        """Returns summaries (rows, K)."""
        return self.estimator.summary(self.x[rows])

    def extras(self) -> dict[str, Array]:
        """Returns more arrays worth keeping beside the draws, such as a transport plan."""
        return self.estimator.extras(self.x)
