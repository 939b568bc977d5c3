"""What training demands of parameters, applied to draws of the prior or to the rows of a file.

A density over parameters exists where each of them varies, lies strictly inside its bounds and is no function
of the others. Where this fails training or a check would fail for certain: a TaskError says so at once. What
only needs thought, such as a parameter that takes few values, is a finding.
"""

from __future__ import annotations

import numpy as np

from veridical import seeds
from veridical.errors import TaskError
from veridical.tasks.base import Array, FileTask, Task
from veridical.tasks.latents import Support

_FEW = 0.05  # share of distinct values below which a parameter counts as discrete
_PRIOR_ROWS = 1000
_BETWEEN = 8  # rows between values
_SHOWN = 6  # values in a message
_EXACT, _ALMOST = 1e-5, 1e-2  # what a function of the others leaves of a parameter's spread
_FARTHEST = 1e10  # distance of a bound in spreads, beyond which removing it loses over 1e-5 of the digits


def draws_of_prior(task: Task, root: int) -> Array:
    """Returns draws of a prior, shape (N, D), that agree with its density and bounds.

    Raises:
        TaskError: If its draws, density and bounds do not.
    """
    first, second = (
        np.asarray(task.prior.sample(seeds.generator(root, "probe", str(task.name), "prior"), _PRIOR_ROWS))
        for _ in range(2)
    )
    if not np.array_equal(first, second):
        raise TaskError(
            f"task {task.name}: prior.sample gave other draws from an equal generator. Draw from `rng` only, "
            "or the fidelities get different parameters."
        )
    for parameter, values in zip(task.parameters, first.T, strict=True):
        outside = ~((values >= parameter.lower) & (values <= parameter.upper))
        if outside.any():
            raise TaskError(
                f"task {task.name}: prior.sample left the bounds [{parameter.lower:g}, {parameter.upper:g}] "
                f"of {parameter.name} in {int(outside.sum())} of {len(values)} draws, such as "
                f"{values[outside][0]:g}; correct either."
            )
    _require_possible(task, first, "draws of prior.sample")
    with np.errstate(all="ignore"):
        lost = ~np.isfinite(task.prior.log_prob(first))
        if lost.any():
            raise TaskError(
                f"task {task.name}: prior.log_prob is not finite at {int(lost.sum())} of {len(first)} draws "
                f"of prior.sample, such as {first[lost][0]}: they lie outside of the prior's own support; "
                "correct sample or log_prob."
            )
        for i, parameter in enumerate(task.parameters):
            for bound, beyond in ((parameter.lower, -1.0), (parameter.upper, 1.0)):
                if np.isfinite(bound):
                    _require_no_density(task, first[0], i, bound + beyond)
    return first


def _require_possible(task: Task, theta: Array, of: str) -> None:
    """Raises TaskError unless all parameters (N, D) keep to the constraints of the task."""
    for constraint in task.constraints:
        possible = Support(task.parameter_names, (constraint,)).inside(theta)
        if not possible.all():
            raise TaskError(
                f"task {task.name}: {int((~possible).sum())} of {len(theta)} {of} break the constraint "
                f"{constraint.kind} of {', '.join(constraint.names)}, such as {theta[~possible][0]}; "
                "correct either."
            )


def _require_no_density(task: Task, theta: Array, i: int, value: float) -> None:
    """Raises TaskError unless the prior's density is zero where parameter i has a value out of its bounds."""
    outside = theta[None].copy()
    outside[0, i] = value
    try:
        log_p = float(np.asarray(task.prior.log_prob(outside))[0])
    except Exception as error:
        raise TaskError(
            f"task {task.name}: prior.log_prob at {task.parameter_names[i]} = {value:g}, outside its bounds, "
            f"raised {type(error).__name__}: {error}; expected -inf."
        ) from error
    if log_p != -np.inf:
        raise TaskError(
            f"task {task.name}: prior.log_prob at {task.parameter_names[i]} = {value:g}, outside its bounds, "
            f"is {log_p:g}, expected -inf."
        )


def of_parameters(task: Task, theta: Array) -> list[str]:
    """Returns what users should know of the parameters theta (N, D).

    Raises:
        TaskError: If a parameter never varies, lies on or absurdly far from its bounds, or is a function of
            others.
    """
    of = f"{len(theta):,} rows of the file" if isinstance(task, FileTask) else f"{len(theta):,} draws"
    if not theta.shape[1] or len(theta) < 2:
        return []
    support = Support(task.parameter_names, task.constraints)
    for j, name in enumerate(task.parameter_names):
        _require_varying(task, name, theta[:, j], of)
    if isinstance(task, FileTask):
        _require_possible(task, theta, "rows of the file")
    free = [j for j, name in enumerate(task.parameter_names) if name not in support.discrete]
    for j in free:
        _require_inside(task, task.parameter_names[j], theta[:, j], task.bounds[j], of)
    findings = [text for j in free if (text := _few(task, j, theta[:, j], of))]
    names = [task.parameter_names[j] for j in support.kept]
    return findings + _dependent(task, names, np.ascontiguousarray(theta[:, support.kept]), of)


def exchanged(task: Task, theta: Array) -> list[str]:
    """Returns whether what is possible of one parameter depends on others, which the task does not say.

    Arguments:
        task: The task; its prior has a density.
        theta: Draws of its prior, shape (N, D).
    """
    if theta.shape[1] < 2:
        return []
    support = Support(task.parameter_names, task.constraints)
    mixed = np.column_stack([np.roll(column, j) for j, column in enumerate(theta.T)])
    mixed = mixed[support.inside(mixed)]
    with np.errstate(all="ignore"):
        lost = np.isneginf(task.prior.log_prob(mixed)) if len(mixed) else np.zeros(1)
    if lost.mean() < _FEW:
        return []
    return [
        f"what is possible of a parameter depends on the others: {lost.mean():.0%} of draws whose "
        "parameters were exchanged have no prior density, and posterior draws can lie there too. Say what "
        "they can be: `constraints` of the task, as Ordered(('a', 'b')) or Between('b', 0.0, 'exp(a)') of "
        "veridical.tasks.supports."
    ]


def _require_varying(task: Task, name: str, values: Array, of: str) -> None:
    if (values == values[0]).all():
        raise TaskError(
            f"task {task.name}: parameter {name} is {values[0]:g} in all {of}; expected one that varies, "
            f"since what is known has no density. Leave {name} out of parameters and prior, and set it in "
            "the simulator."
        )


def _require_inside(task: Task, name: str, values: Array, bounds: Array, of: str) -> None:
    for bound in bounds:
        if not np.isfinite(bound):
            continue
        on = int((values == bound).sum())
        if on:
            distinct = np.unique(values)
            half = np.diff(distinct).min() / 2
            few = _is_few(values, distinct)
            wider = f" to [{distinct[0] - half:g}, {distinct[-1] + half:g}]" if few else ""
            say = (
                f"If {name} takes these values only, {_declared(name, distinct)}. Otherwise widen"
                if few
                else "Widen"
            )
            raise TaskError(
                f"task {task.name}: parameter {name} lies on its bound {bound:g} in {on} of {of}; "
                f"training needs values strictly inside. {say} the bounds{wider}, "
                f"or mend the {'file' if 'file' in of else 'prior'}."
            )
        distance = float(np.median(np.abs(values - bound)) / values.std())
        if distance > _FARTHEST:
            raise TaskError(
                f"task {task.name}: the bound {bound:g} of parameter {name} lies {distance:.0e} times its "
                f"spread ({values.std():.3g}) away, where numbers have no digits left for {name}; state a "
                "bound near the prior's support, or leave it out (infinite)."
            )


def _declared(name: str, distinct: Array) -> str:
    """How a task says that a parameter takes these values only."""
    if (np.diff(distinct) == 1).all():
        return (
            f"say so: constraints = (Whole({name!r}, {distinct[0]:g}, {distinct[-1]:g}),) in the task "
            "(veridical.tasks.supports), or `prior: integers` (of a file `support: integers`) in the study"
        )
    shown = ", ".join(f"{value:g}" for value in distinct[:_SHOWN]) + (
        ", ..." if len(distinct) > _SHOWN else ""
    )
    return (
        f"say so: constraints = (OneOf({name!r}, ({shown})),) in the task (veridical.tasks.supports), or "
        "`prior: "
        "categories` (of a file `support: categories`) in the study"
    )


def _is_few(values: Array, distinct: Array) -> bool:
    return len(distinct) <= _FEW * len(values)


def _few(task: Task, j: int, values: Array, of: str) -> str:
    """What it means that a parameter takes few values; nothing where it takes many."""
    distinct, name = np.unique(values), task.parameter_names[j]
    if not _is_few(values, distinct):
        return ""
    shown = ", ".join(f"{value:g}" for value in distinct[:_SHOWN]) + (
        ", ..." if len(distinct) > _SHOWN else ""
    )
    return (
        f"parameter {name} takes {len(distinct)} values only ({shown}) in {of}: what is learned is a density "
        f"over all numbers between them, so that draws of {name} are no such values and a simulator that "
        f"needs them fails at posterior draws. If there are no others, {_declared(name, distinct)}: "
        "draws are such "
        "values then, with a probability each."
    )


def between_values(task: Task, theta: Array) -> Array | None:
    """Returns some rows of theta (N, D) with parameters that take few values moved between two of them.

    Those that the task declares as discrete stay as they are.

    None where no parameter takes few values.
    """
    moved = theta[:_BETWEEN].copy()
    declared = Support(task.parameter_names, task.constraints).discrete
    for j, values in enumerate(theta.T):
        distinct = np.unique(values)
        if task.parameter_names[j] not in declared and _is_few(values, distinct) and len(distinct) > 1:
            middles = (distinct[1:] + distinct[:-1]) / 2
            moved[:, j] = middles[np.minimum(np.searchsorted(distinct, moved[:, j]), len(middles) - 1)]
    return None if np.array_equal(moved, theta[:_BETWEEN]) else moved


def _dependent(task: Task, names: list[str], theta: Array, of: str) -> list[str]:
    """Whether a parameter is a function of the others: linear, linear in logarithms, or quadratic."""
    n, d = theta.shape
    if d < 2 or n < 5 * (d + 1):
        return []
    z = (theta - theta.mean(axis=0)) / theta.std(axis=0)
    findings: list[str] = []
    _linear(task, theta, of, "", findings, names)
    positive = np.flatnonzero((theta > 0).all(axis=0))
    logs = np.log(theta[:, positive])
    if len(positive) > 1 and (logs.std(axis=0) > 0).all():
        _linear(task, logs, of, "the logarithms of ", [], [names[j] for j in positive])
    first, second = np.triu_indices(d - 1)
    if n >= 4 * (1 + d - 1 + len(first)):
        for j, name in enumerate(names):
            others = np.delete(z, j, axis=1)
            features = np.column_stack([np.ones(n), others, others[:, first] * others[:, second]])
            left = z[:, j] - features @ np.linalg.lstsq(features, z[:, j], rcond=None)[0]
            if left.std() < _EXACT:
                raise TaskError(
                    f"task {task.name}: parameter {name} is a function of the others in {of}; together they "
                    f"have no density. Leave {name} out of parameters and prior, and compute it in the "
                    "simulator."
                )
    return findings


def _linear(task: Task, values: Array, of: str, what: str, findings: list[str], names: list[str]) -> None:
    """Raises TaskError on a linear equation that all rows satisfy; notes one that they nearly do."""
    spread = values.std(axis=0)
    z = (values - values.mean(axis=0)) / spread
    _, singular, directions = np.linalg.svd(z, full_matrices=False)
    left = singular[-1] / np.sqrt(len(z))
    if left >= _ALMOST:
        return
    loading = directions[-1]
    chosen = np.flatnonzero(np.abs(loading) > 0.01 * np.abs(loading).max())
    slope = loading[chosen] / spread[chosen]
    slope = slope / slope[np.abs(slope).argmax()]
    constant = float((values[:, chosen] @ slope).mean())
    involved = [names[j] for j in chosen]
    signed = [
        f"{'-' if c < 0 else '+'} {_times(abs(c))}{name}" for c, name in zip(slope, involved, strict=True)
    ]
    terms = " ".join(signed).removeprefix("+ ")
    equation = f"{what}{', '.join(involved)} satisfy {terms} = {constant:.3g}"
    shares = (
        not what and np.allclose([*slope, constant], 1.0, atol=1e-3) and bool((values[:, chosen] > 0).all())
    )
    if left < _EXACT or (shares and left < _ALMOST):
        listed = ", ".join(map(repr, involved))
        say = f"constraints = (Simplex(({listed})),) in the task (veridical.tasks.supports)"
        simplex = (
            f"If they are the shares of a whole, say so: {say}, or `prior: dirichlet` for the key "
            f"'{', '.join(involved)}' (of a file `support: simplex`) in the study. Otherwise leave"
        )
        raise TaskError(
            f"task {task.name}: in all {of} {equation}; parameters that determine each other have no joint "
            f"density. {simplex if shares else 'Leave'} one of them out (such as {involved[-1]}), and "
            "compute it in the simulator."
        )
    findings.append(
        f"in {of} {equation} up to {left:.1e} of their spread: they are almost one parameter less, which "
        "networks learn badly; use their differences or ratios as parameters."
    )


def _times(factor: float) -> str:
    return "" if f"{factor:.3g}" == "1" else f"{factor:.3g} "
