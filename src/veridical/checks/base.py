"""The contract of a check: what it returns, how that is saved, and the errors its numbers carry."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from veridical.checks.inputs import Array, Inputs
from veridical.errors import DataError
from veridical.files import Migrations, migrated, read_json, write_json
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
from veridical.sections import Section
from veridical.tasks.base import Prior

FORMAT = 1
MIGRATIONS: Migrations = {}
_DIGITS = 8  # of curves in JSON; metrics keep all


@dataclass(frozen=True)
class Metric:
    """One number of the table of metrics.

    Attributes:
        name: Its name; `docs/metrics.md` defines each.
        value: The number.
        stderr: Its Monte Carlo standard error; None where it has none.
        n: How many data sets (or draws) it rests on.
        parameter: The parameter it belongs to; empty for all of them.
        level: The nominal level, where it has one.
        extra: Further columns of its row.
    """

    name: str
    value: float
    stderr: float | None = None
    n: int | None = None
    parameter: str = ""
    level: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        check: Name of the check.
        parameters: Names of the D parameters.
        table: The metrics.
        curves: Arrays behind the figures; the module of the check says which.
        passed: Whether the check finds no fault; None where it has no threshold or no power to decide.
        p_value: The p-value behind `passed`, where there is one.
        settings: The settings it ran with.
        notes: Sentences for the reader of the report.
    """

    check: str
    parameters: tuple[str, ...]
    table: tuple[Metric, ...]
    curves: Mapping[str, Array] = field(default_factory=dict)
    passed: bool | None = None
    p_value: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def metrics(self) -> list[Metric]:
        """Returns the metrics, one per row of the table."""
        return list(self.table)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that strict JSON can hold; infinities become `{"float": "-inf"}`."""
        record = {
            "check": self.check,
            "format": FORMAT,
            "parameters": list(self.parameters),
            "passed": None if self.passed is None else bool(self.passed),
            "p_value": self.p_value,
            "metrics": [asdict(metric) for metric in self.table],
            "curves": {name: _rounded(curve) for name, curve in self.curves.items()},
            "settings": dict(self.settings),
            "notes": list(self.notes),
        }
        return _plain(record)


class Line(NamedTuple):
    """A line of the report's table of what was found on data whose truth is known.

    Attributes:
        metric: The metric, of all parameters together.
        text: What it measures, in plain words.
        ideal: What a right answer has; of a p-value the verdict says it.
        form: How the number is written.
        level: The nominal level, where the metric has one.
    """

    metric: str
    text: str
    ideal: str = ""
    form: Literal["number", "percent", "p"] = "number"
    level: float | None = None


class Check(ABC):
    """A diagnostic: plain arrays in, a frozen result out.

    Attributes:
        name: Its name in settings and paths.
        needs: What it must be handed, out of `truth` (labelled data), `observed` (data without labels that
            it judges), `reference`, `summary` (with mean and covariance), `null`, `predictive`, `exact`,
            `nearby`, `densities`, `likelihood` (densities with those of the likelihood) and `surfaces`; see
            `Inputs`. Log densities of draws are used wherever they are there.
        on_real: Whether it makes sense on data of `real`, whose rows share parameters with simulated ones.
        on_all_budgets: Whether it runs at every budget, not at the largest alone.
        settings_class: The model of its settings; its docstring says in one sentence what the check asks.
        meanings: What each of its metrics means, by name; those that another check explains may be left out.
        shown: What the report's table shows of it, on data whose truth is known.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    on_real: ClassVar[bool] = False
    on_all_budgets: ClassVar[bool] = False
    settings_class: ClassVar[type[Section]]
    meanings: ClassVar[Mapping[str, str]] = {}
    shown: ClassVar[tuple[Line, ...]] = ()
    settings: Section

    def __init__(self, **settings: Any) -> None:
        self.settings = self.settings_class(**settings)

    def run(
        self,
        draws: Draws,
        rng: np.random.Generator,
        *,
        reference: Draws | None = None,
        predictive: Predictions | None = None,
        prior_predictive: Array | None = None,
        null: Draws | None = None,
        exact: Mapping[str, Array] | None = None,
        nearby: Mapping[str, Array] | None = None,
        densities: Mapping[str, Array] | None = None,
        surfaces: Mapping[str, Array] | None = None,
        prior: Prior | None = None,
        labelled: Draws | None = None,
        axes: Sequence[Mapping[str, Any]] = (),
    ) -> CheckResult:
        """Judges the draws of one method on one data set.

        Arguments:
            draws: What is judged.
            rng: Breaks ties, resamples, permutes.
            reference: See `Inputs`, as for those that follow.
            predictive: Data simulated at the draws.
            prior_predictive: Data simulated at draws of the prior.
            null: Draws of the same method on simulated test sets.
            exact: The exact posterior of the task beside that of the method, see `veridical.checks.exact`.
            nearby: Parameters around the answer with draws given their data, see `veridical.checks.nearby`.
            densities: The task's own densities at the draws, see `veridical.stages.densities`.
            surfaces: Log likelihoods on a grid of parameters, see `veridical.checks.wilks`.
            prior: The prior of the task, where a check can use it.
            labelled: Draws of the same method on labelled real data, likewise.
            axes: Name and coordinates of each dimension of x, likewise.
        """
        inputs = Inputs(
            reference,
            predictive,
            prior_predictive,
            null,
            exact,
            nearby,
            densities,
            surfaces,
            prior=prior,
            labelled=labelled,
            axes=axes,
        )
        return self._judge(draws, rng, inputs)

    @abstractmethod
    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        """Does the work of `run`."""

    def _result(self, draws: Draws, table: Sequence[Metric], **fields: Any) -> CheckResult:
        return CheckResult(
            check=self.name,
            parameters=tuple(draws.names),
            table=tuple(table),
            settings=self.settings.model_dump(mode="json"),
            **fields,
        )


def save(result: CheckResult, path: str | Path) -> None:
    """Writes a result as JSON, under a temporary name first."""
    write_json(path, result.to_json(), separators=(",", ":"))


def load(path: str | Path) -> dict[str, Any]:
    """Reads a saved result as plain data.

    Raises:
        ArtifactError: If the file is not the result of a check, or of another format.
    """
    record = read_json(path, "the JSON of a check", hook=_float_from)
    return migrated(record, path, FORMAT, MIGRATIONS)


def monte_carlo_p(statistic: Any, null: Array) -> Any:
    r"""Returns the p-value of a statistic against simulated ones; never zero.

    .. math:: p = (1 + \#\{r : k_r \geq k\}) / (1 + R)

    It is exact when statistic and null are exchangeable under the hypothesis.

    Arguments:
        statistic: One number or an array of them; large values speak against the hypothesis.
        null: Simulated statistics, shape (R,).

    >>> monte_carlo_p(5.0, [1.0, 2.0, 3.0, 5.0])
    0.4
    """
    statistic, null = np.asarray(statistic, dtype=float), np.sort(np.asarray(null, dtype=float))
    if np.isnan(statistic).any() or np.isnan(null).any() or not len(null):
        raise DataError("p-value: expected numbers and a null of at least one, got NaN or nothing.")
    at_least = len(null) - np.searchsorted(null, statistic, side="left")
    p = (1 + at_least) / (1 + len(null))
    return float(p) if p.ndim == 0 else p


def proportion_stderr(successes: Any, n: int) -> Any:
    """Returns the standard error of k / n: sqrt(q (1 - q) / n) with q = (k + 1) / (n + 2), never zero."""
    q = (np.asarray(successes, dtype=float) + 1) / (n + 2)
    stderr = np.sqrt(q * (1 - q) / n)
    return float(stderr) if stderr.ndim == 0 else stderr


def mean_stderr(values: Array) -> Any:
    """Returns the standard error of the mean over the first axis; infinite for a single row."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.full(values.shape[1:], np.inf)[()]
    return values.std(axis=0, ddof=1) / math.sqrt(len(values))


def bootstrap(statistic: Callable[[Array], Any], n: int, repeats: int, rng: np.random.Generator) -> Array:
    """Returns a statistic of resampled rows, shape (repeats, ...).

    Arguments:
        statistic: Maps row indices, shape (n,), to a number or an array.
        n: Number of rows.
        repeats: Number of resamplings.
        rng: Draws the rows.
    """
    return np.stack([np.asarray(statistic(rng.integers(0, n, n))) for _ in range(repeats)])


def finite_or_none(value: Any) -> float | None:
    """Returns a float, or None for what is not a finite number: an error that cannot be stated."""
    return float(value) if np.isfinite(value) else None


def per_parameter(
    name: str, values: Array, errors: Array, names: Sequence[str], *, n: int, level: float | None = None
) -> list[Metric]:
    """Returns one metric per parameter from values and standard errors, shape (D,) each."""
    return [
        Metric(name, float(value), finite_or_none(error), n, parameter, level)
        for value, error, parameter in zip(values, errors, names, strict=True)
    ]


def _rounded(curve: Any) -> Any:
    """A curve as nested lists, floats to a few digits."""
    curve = np.asarray(curve)
    if curve.dtype.kind != "f":
        return curve.tolist()
    flat = [float(f"{v:.{_DIGITS}g}") for v in curve.ravel().tolist()]
    return np.array(flat).reshape(curve.shape).tolist()


def _plain(value: Any) -> Any:
    """Plain JSON data; infinities and NaN, which JSON cannot hold, become objects."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _float_from(record: dict[str, Any]) -> Any:
    return float(record["float"]) if record.keys() == {"float"} else record
