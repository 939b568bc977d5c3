"""What every task must keep to, checked without a simulation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from veridical import seeds
from veridical.errors import TaskError, suggest
from veridical.tasks import distributions
from veridical.tasks.base import Array, ClassTask, Dimension, FileTask, Parameter, Task
from veridical.tasks.latents import Support
from veridical.tasks.needs import Needs
from veridical.tasks.supports import Constraint

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RESERVED = {"row", "parameter", "chain", "draw", "observation"}
_OTHERS = "none of " + ", ".join(sorted(_RESERVED))
_KINDS = ("exchangeable", "series", "image", "vector")
_COUNTS = {"exchangeable": (0, 1), "series": (0, 1), "image": (0, 2)}
_ROWS = 16


def check_task(task: Task) -> None:
    """Checks names, fidelities, needs, axes, prior and noise of a task; simulates nothing.

    Raises:
        TaskError: With the task, what was expected and what came.
    """
    for name in ("name", "parameters", "fidelities", "dimensions", "prior"):
        if not hasattr(task, name):
            raise TaskError(f"task {type(task).__name__} has no `{name}`; each task must state it.")
    _check_types(task)
    _check_parameters(task)
    _check_fidelities(task)
    _check_needs(task)
    _check_dimensions(task)
    distributions.require(task.name, task.prior)
    _check_order(task)
    support = _check_constraints(task)
    rng = seeds.generator(0, "probe", "contract")
    theta = _check_sample(task, rng)
    if not (possible := support.inside(theta)).all():
        number = f"{int((~possible).sum())} of {len(theta)} draws"
        _fail(
            task,
            f"prior.sample: {number}, such as {theta[~possible][0]}, break the constraints; correct either.",
        )
    if not isinstance(task, FileTask):
        _check_density(task, theta)
    if task.coupled:
        _check_noise(task, rng)


def _fail(task: Task, message: str) -> None:
    raise TaskError(f"task {task.name!r}: {message}")


def _call(task: Task, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a piece of the user's code; what it raises becomes a TaskError with the name of the piece."""
    try:
        return function(*arguments)
    except Exception as error:
        needs = (
            f"; {distributions.NEEDS}"
            if isinstance(error, TypeError | AttributeError) and what.startswith("prior")
            else ""
        )
        raise TaskError(
            f"task {task.name!r}: {what} raised {type(error).__name__}: {error}{needs}"
        ) from error


def _check_types(task: Task) -> None:
    """What is written as a plain attribute can be anything."""
    for name, kind in (("parameters", Parameter), ("dimensions", Dimension)):
        entries = getattr(task, name)
        if not isinstance(entries, tuple | list) or not all(isinstance(entry, kind) for entry in entries):
            _fail(task, f"{name} must be a tuple of {kind.__name__}, got {entries!r}.")
    named: list[Parameter | Dimension] = [*task.parameters, *task.dimensions]
    for entry in named:
        for key, words in (("unit", entry.unit), ("label", entry.label)):
            if not isinstance(words, str):
                _fail(task, f"{key} of {entry.name!r} must be a text, got {words!r}.")
    for dimension in task.dimensions:
        if not isinstance(dimension.coordinates, tuple):
            got = type(dimension.coordinates).__name__
            _fail(task, f"coordinates of dimension {dimension.name!r} must be a tuple, got {got}.")
    try:
        of_floats = np.dtype(task.x_dtype).kind == "f"
    except TypeError:
        of_floats = False
    if not of_floats:
        _fail(task, f"x_dtype is {task.x_dtype!r}, expected 'float32' or 'float64': a failed row holds NaN.")
    if isinstance(task.block_rows, bool) or not isinstance(task.block_rows, int):
        _fail(task, f"block_rows must be a whole number, got {task.block_rows!r}.")


def _check_parameters(task: Task) -> None:
    if not _PATH_NAME.fullmatch(task.name):
        _fail(task, "its name becomes a folder: use letters, digits, - and _.")
    names = task.parameter_names
    if isinstance(task, ClassTask):
        if names or len(task.classes) != 2 or len(set(task.classes)) != 2:
            _fail(task, f"expected two classes and no parameters, got {task.classes!r} and {names}.")
    elif not names:
        _fail(task, "expected at least one parameter, got none.")
    if len(set(names)) != len(names):
        _fail(task, f"names of parameters must differ, got {', '.join(names)}.")
    for parameter in task.parameters:
        if not _IDENTIFIER.fullmatch(parameter.name) or parameter.name in _RESERVED:
            _fail(task, f"parameter {parameter.name!r}: expected letters, digits and _, {_OTHERS}.")
        if not parameter.lower < parameter.upper:
            bounds = f"[{parameter.lower}, {parameter.upper}]"
            _fail(task, f"parameter {parameter.name!r}: lower must be below upper, got {bounds}.")


def _check_fidelities(task: Task) -> None:
    if not isinstance(task.fidelities, Mapping) or not task.fidelities:
        _fail(task, f"fidelities must be a dict of at least one name and cost, got {task.fidelities!r}.")
    for name, cost in task.fidelities.items():
        if not _PATH_NAME.fullmatch(name):
            _fail(task, f"fidelity {name!r} becomes a folder: use letters, digits, - and _.")
        if not (isinstance(cost, int | float) and np.isfinite(cost) and cost > 0):
            _fail(task, f"fidelity {name!r}: expected a positive cost, got {cost!r}.")
    if set(task.fidelities) == {"real"}:
        _fail(task, "`real` is the name of nature; expected a simulator's fidelity beside it.")
    costs = [cost for name, cost in task.fidelities.items() if name != "real"]
    if costs != sorted(costs):
        _fail(task, f"fidelities must be ordered by cost, cheapest first, got {dict(task.fidelities)}.")
    if task.block_rows < 1:
        _fail(task, f"block_rows must be at least 1, got {task.block_rows}.")


def _check_needs(task: Task) -> None:
    """The rules of a study's section `simulation`; nothing is converted, since jobs take it as it is."""
    needs = task.needs
    if needs is Task.needs:
        return
    from pydantic import ValidationError  # here, so that most tasks are checked without it

    from veridical.setting_messages import sentence
    from veridical.tasks.settings import NeedsSettings

    if not isinstance(needs, Needs):
        _fail(task, f"needs must be an instance of Needs, as in needs = Needs(cores=4), got {needs!r}.")
    given = dict(vars(needs))
    if isinstance(needs.seconds, Mapping):
        given["seconds"] = dict(needs.seconds)
    if isinstance(needs.modules, tuple):
        given["modules"] = list(needs.modules)
    try:
        NeedsSettings.model_validate(given, strict=True)
    except ValidationError as error:
        schema = NeedsSettings.model_json_schema()
        _fail(task, " ".join(f"needs.{sentence(one, schema)}" for one in error.errors()))
    for name in needs.seconds:
        if name not in task.fidelities:
            _fail(task, f"needs.seconds: there is no fidelity {name!r}. {suggest(name, task.fidelities)}")


def _check_dimensions(task: Task) -> None:
    names = [dimension.name for dimension in task.dimensions]
    if not names:
        _fail(task, "x needs at least one dimension behind the rows, got none.")
    if len(set(names)) != len(names) or _RESERVED & set(names):
        _fail(task, f"names of dimensions must differ and be {_OTHERS}, got {names}.")
    for dimension in task.dimensions:
        if not _IDENTIFIER.fullmatch(dimension.name):
            _fail(task, f"dimension {dimension.name!r}: expected letters, digits and _.")
        if not dimension.coordinates:
            _fail(task, f"dimension {dimension.name!r} has no coordinates.")
        if not isinstance(dimension.missing, bool):
            _fail(
                task,
                f"dimension {dimension.name!r}: missing must be True or False, got {dimension.missing!r}.",
            )
    kinds = [dimension.kind for dimension in task.dimensions]
    for dimension in task.dimensions:
        if dimension.kind and dimension.kind not in _KINDS:
            told = suggest(str(dimension.kind), _KINDS)
            _fail(task, f"dimension {dimension.name!r}: kind {dimension.kind!r} is unknown. {told}")
    for kind, allowed in _COUNTS.items():
        if kinds.count(kind) not in allowed:
            expected = " or ".join(map(str, allowed))
            _fail(task, f"expected {expected} dimensions of kind {kind!r}, got {kinds.count(kind)}.")


def _check_order(task: Task) -> None:
    """A prior that names its parameters names those of the task, in their order."""
    if not type(task.prior).__module__.startswith("veridical."):
        return
    names = getattr(task.prior, "names", None) or getattr(task.prior, "marginals", ())
    if isinstance(names, Mapping | tuple) and names and tuple(names) != task.parameter_names:
        got, expected = ", ".join(names), ", ".join(task.parameter_names)
        _fail(task, f"the prior is one of {got}, but the parameters are {expected}; expected the same order.")


def _check_constraints(task: Task) -> Support:
    """What parameters can be lies within their bounds."""
    if not isinstance(task.constraints, tuple | list) or not all(
        isinstance(c, Constraint) for c in task.constraints
    ):
        _fail(
            task,
            f"constraints must be a tuple of those in veridical.tasks.supports, got {task.constraints!r}.",
        )
    try:
        support = Support(task.parameter_names, task.constraints)
    except TaskError as error:
        _fail(task, str(error))
    by_name = {parameter.name: parameter for parameter in task.parameters}
    for constraint in task.constraints:
        lower, upper = constraint.limits
        for parameter in (by_name[name] for name in constraint.names):
            if not (parameter.lower <= lower and upper <= parameter.upper):
                _fail(
                    task,
                    f"parameter {parameter.name!r} has the bounds [{parameter.lower:g}, "
                    f"{parameter.upper:g}], but its "
                    f"constraint ({constraint.kind}) those of [{lower:g}, {upper:g}]; make them agree.",
                )
    return support


def _check_sample(task: Task, rng: np.random.Generator) -> Array:
    wide = len(task.parameters)
    for n in (1, _ROWS):
        theta = np.asarray(_call(task, "prior.sample", task.prior.sample, rng, n))
        if theta.shape != (n, wide):
            got = f"expected shape {(n, wide)}, got {theta.shape}"
            _fail(task, f"prior.sample(rng, {n}): {got}; {distributions.NEEDS}.")
        if not np.issubdtype(theta.dtype, np.floating):
            _fail(task, f"prior.sample: expected floats, got {theta.dtype}.")
        if not np.isfinite(theta).all():
            _fail(task, f"prior.sample: expected finite numbers, got {theta[~np.isfinite(theta)][0]}.")
    lower, upper = task.bounds.T
    outside = (theta < lower) | (theta > upper)
    for parameter, bad, values in zip(task.parameters, outside.T, theta.T, strict=True):
        if bad.any():
            left = f"{parameter.name} left its bounds [{parameter.lower}, {parameter.upper}]"
            number = f"{int(bad.sum())} of {len(bad)} draws"
            _fail(task, f"prior.sample: {left} in {number}, such as {values[bad][0]:g}; correct either.")
    return theta


def _check_density(task: Task, theta: Array) -> None:
    log_p = np.asarray(_call(task, "prior.log_prob", task.prior.log_prob, theta))
    if log_p.shape != (len(theta),):
        expected = f"expected shape {(len(theta),)}, got {log_p.shape}"
        _fail(task, f"prior.log_prob: {expected}; {distributions.NEEDS}.")
    if not np.isfinite(log_p).all():
        bad = ~np.isfinite(log_p)
        where = f"{int(bad.sum())} of {len(bad)} of the prior's own draws, such as {theta[bad][0]}"
        _fail(task, f"prior.log_prob is not finite at {where}; correct sample or log_prob.")


def _check_noise(task: Task, rng: np.random.Generator) -> None:
    noise = _call(task, "noise", task.noise, rng, _ROWS)
    if not isinstance(noise, Mapping):
        _fail(task, f"noise must return a dict of arrays, got {type(noise).__name__}.")
    for name, array in noise.items():
        if np.shape(array)[:1] != (_ROWS,):
            _fail(task, f"noise[{name!r}]: expected {_ROWS} rows, got shape {np.shape(array)}.")
