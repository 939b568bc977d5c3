"""Do the parts of a study fit each other? Found out from settings, before any job starts."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical import methods, tasks
from veridical.bank import shards
from veridical.bank.data_demands import beyond_type
from veridical.coordinates import LABELLED, REAL
from veridical.digests import file_digest
from veridical.errors import DataError, SettingError, ShapeError, UnknownName, suggest
from veridical.estimators.base import TaskInfo
from veridical.evidence import provenance
from veridical.job import printable
from veridical.networks import choice
from veridical.saved import observations
from veridical.study.asked import dataset_name
from veridical.study.coupled_levels import require_allocation, require_coupled
from veridical.study.enough import require_enough, undecidable
from veridical.study.experiments import require_experiments
from veridical.study.foreign import require_writable_or_whole
from veridical.study.scores import require_scores
from veridical.study.sequential import require_rounds
from veridical.tasks import sentinels
from veridical.tasks.latents import Support

if TYPE_CHECKING:
    from veridical.study.layout import Layout

FOLDERS = frozenset({"benchmarks", "check", "checkpoints", "figures", "infer", "logs", "observe"})
FOLDERS |= {"remedy", "report", "rounds", "train", "unchecked"}


def validate(layout: Layout) -> None:
    """Stops on all that can be known to be wrong before a job starts.

    Raises:
        VeridicalError: A task that breaks its contract, data that are missing or misshapen, a
            fidelity that the task does not have, shards that do not fit the task's blocks, a bank that
            lacks simulations and belongs to somebody else.
    """
    tasks.check_task(layout.task)
    tasks.digest_sources(layout.task_spec)
    for name in layout.study.simulation.seconds or ():
        if name not in layout.task.fidelities:
            raise SettingError(
                f"simulation.seconds: task {layout.task.name} has no fidelity {name!r}. "
                f"{suggest(name, layout.task.fidelities)}"
            )
    _require_whole_blocks(layout)
    _require_methods(layout)
    require_writable_or_whole(layout)
    if layout.study.reference is not None and not layout.task.has_likelihood:
        raise SettingError(
            f"reference: task {layout.task.name} has no exact likelihood; remove this section."
        )
    discrete = [*Support(layout.task.parameter_names, layout.task.constraints).discrete]
    if layout.study.reference is not None and discrete:
        raise SettingError(
            f"reference: Markov chains do not move between the values of {', '.join(discrete)} of task "
            f"{layout.task.name}; remove this section."
        )
    if "wilks" in layout.checks:
        found = [layout.no_surfaces(method) for method in layout.methods]
        if all(found):
            raise SettingError(f"checks.wilks: {found[0]}; remove this check.")
    require_enough(layout)
    if layout.data is not None:
        _require_new_name(layout, dataset_name(layout.data))
    sizes = {}
    for name, settings in layout.observations.items():
        place = "data" if layout.data is not None else f"observations.{name}.file"
        if {*"{}"} & {*settings.file}:
            raise SettingError(
                f"{place}: expected a path without braces, which Snakemake takes for wildcards, got "
                f"{settings.file}. Rename the file."
            )
        seen = observations.read(settings, layout.task, name)
        for note in seen.notes:
            if sentinels.QUESTION in note:
                logging.getLogger(__name__).warning("data set %s: %s", name, printable(note))
        _require_within_type(layout, name, seen.x)
        sizes[name] = len(seen.x)
    require_rounds(layout, sizes)
    for text in undecidable(layout, sizes):
        print(printable(f"warning: {text}"), file=sys.stderr)


def _require_within_type(layout: Layout, name: str, x: tasks.base.Array) -> None:
    """Stops on an observation that the type of the simulations cannot hold."""
    task = layout.task
    with np.errstate(over="ignore"):
        if not tasks.base.usable(x.astype(task.x_dtype), task.has_missing).all():
            text = beyond_type(task, x.reshape(-1, *task.x_shape), task.x_dtype)
            raise DataError(f"data set {name}: {text}")


def _require_new_name(layout: Layout, name: str) -> None:
    """Stops where results of new data would mix with those of the study."""
    taken = FOLDERS | {*LABELLED, *layout.study.observations}
    if name in taken:
        raise SettingError(
            f"data: {layout.data} would be called {name!r}, which is the name of a data set of the study "
            "or of a folder of its results. Give the file another name."
        )
    record = Path(layout.report) / "provenance.json"
    given = Path(layout.observations[name].file)
    if not record.is_file() or not given.is_file():
        return
    found = provenance.load(record)
    before = Path(provenance.properties(found, f"#data-{name}")["path"]).expanduser()
    digest = provenance.entity(found, f"#data-{name}")["sha256"]
    if before.resolve() != given.resolve() and file_digest(given) != digest:
        raise SettingError(
            f"data: {given} would be called {name!r}, as is {before}, on which {layout.report}/ reports. "
            "Give the file another name, or move that folder away."
        )


def _require_whole_blocks(layout: Layout) -> None:
    block, size = layout.task.block_rows, layout.study.simulation.shard_rows
    if size % block:
        nearest = max(1, round(size / block)) * block
        raise SettingError(
            f"simulation.shard_rows: expected a multiple of the task's block of {block} rows, got "
            f"{size}; {nearest} would do."
        )
    for part, rows in layout.used_rows.items():
        if rows > shards.MOST_ROWS:
            raise SettingError(
                f"{part}: at most {shards.MOST_ROWS:,} rows fit into one part of a bank, got {rows:,}; "
                "spread them over replicates or fidelities."
            )
    if isinstance(layout.task, tasks.FileTask):
        wanted = {"train": layout.study.budgets[-1], "test": layout.study.test_rows}
        for split, rows in wanted.items():
            if rows > layout.task.available(split):
                setting = "budgets" if split == "train" else "test_rows"
                raise SettingError(
                    f"{setting}: {rows} rows for {split} are asked for, but the file of simulations has "
                    f"{layout.task.available(split)} for it."
                )


def _require_methods(layout: Layout) -> None:
    """Stops on a method that cannot be fitted, or cannot answer, in this study.

    Raises:
        SettingError: Which method, what was expected, what came, and the remedy.
        TrainingError: If a user's own class cannot be had.
    """
    for name in layout.methods:
        _require_finite(layout, name)
        _require_importable(layout, name)
        _require_kind_of_task(layout, name)
        _require_discrete(layout, name)
        _require_fidelity(layout, name)
        _require_simulator(layout, name)
        require_coupled(layout, name)
        _require_labelled(layout, name)
        _require_unlabelled(layout, name)
        _require_likelihood(layout, name)
        _require_parent(layout, name)
        _require_suited(layout, name)
        require_scores(layout, name, place(layout, name))
        _require_takes_missing(layout, name)
        _require_summary(layout, name)
    _require_answers(layout)
    require_allocation(layout)
    require_experiments(layout)
    _require_stored_rows(layout)


def place(layout: Layout, method: str) -> str:
    """Returns where a method stands in the study file."""
    return f"{'estimators' if method in layout.study.estimators else 'remedies'}.{method}"


def _require_finite(layout: Layout, method: str) -> None:
    for path, value in _numbers(layout.spec(method)):
        if not math.isfinite(value):
            raise SettingError(f"{place(layout, method)}.{path}: expected a finite number, got {value}.")


def _numbers(settings: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _numbers(value, f"{path}.{name}" if path else str(name))
    elif isinstance(settings, float):
        yield path, settings


def _require_importable(layout: Layout, method: str) -> None:
    spec = layout.spec(method)
    methods.sources(spec)
    if spec["type"] == methods.OWN:
        methods.method_class(spec)


def _require_kind_of_task(layout: Layout, method: str) -> None:
    settings = layout.methods[method]
    if settings.learns_from("classes") == layout.of_classes:
        return
    task = layout.task
    if isinstance(task, tasks.ClassTask):
        raise SettingError(
            f"{place(layout, method)}: type {settings.type!r} answers with parameters, but task {task.name} "
            f"has the classes {' and '.join(task.classes)}; use `ratios`, and `wifi` on it."
        )
    raise SettingError(
        f"{place(layout, method)}: type {settings.type!r} learns from two classes, but task {task.name} has "
        "parameters; use `npe`, or a task with classes."
    )


def _require_discrete(layout: Layout, method: str) -> None:
    names = [*Support(layout.task.parameter_names, layout.task.constraints).discrete]
    settings = layout.methods[method]
    if names and settings.local:
        raise SettingError(
            f"{place(layout, method)}: the chains that propose rounds do not move between the values of "
            f"{', '.join(names)} of task {layout.task.name}; use `npe` or `ensemble`."
        )
    if names and not settings.discrete:
        raise SettingError(
            f"{place(layout, method)}: type {settings.type!r} answers with normal distributions, but "
            f"{', '.join(names)} of task {layout.task.name} takes values of a list; use `npe`, "
            "`ensemble` or `j_npe`."
        )
    if names and settings.setting("smoothing"):
        raise SettingError(
            f"{place(layout, method)}.smoothing: values of a list, which {', '.join(names)} of task "
            f"{layout.task.name} takes, cannot be smoothed; set it to 0."
        )


def _require_fidelity(layout: Layout, method: str) -> None:
    if layout.of_classes:
        known = layout.task.fidelities
        if wrong := [level for level in layout.levels(method) if level not in known]:
            raise SettingError(
                f"{place(layout, method)}: task {layout.task.name} has no events of {wrong[0]!r}. "
                f"{suggest(wrong[0], known)}"
            )
        return
    simulated = [level for level in layout.task.fidelities if level != REAL]
    fidelity = layout.fidelity(method)
    if fidelity == REAL:
        raise SettingError(
            f"{place(layout, method)}.fidelity: `real` is nature, not a simulator; expected one of "
            f"{', '.join(simulated)}. Labelled real data go into `calibration`."
        )
    if fidelity not in simulated:
        raise SettingError(
            f"{place(layout, method)}.fidelity: task {layout.task.name} has no {fidelity!r}. "
            f"{suggest(fidelity, simulated)}"
        )


def _require_labelled(layout: Layout, method: str) -> None:
    if layout.of_classes or not layout.calibrated(method) or REAL in layout.task.fidelities:
        return
    raise SettingError(
        f"{place(layout, method)}: it learns from labelled real data, or builds on a method that does, but "
        f"task {layout.task.name} has no level `real` (it has {', '.join(layout.task.fidelities)}); leave "
        "the method out, or give the task such a level."
    )


def _require_unlabelled(layout: Layout, method: str) -> None:
    name, known = layout.methods[method].setting("unlabelled"), [*layout.study.observations]
    known += [REAL] if REAL in layout.task.fidelities else []
    if name is None or name in known:
        return
    raise SettingError(
        f"{place(layout, method)}.unlabelled: expected one of the study's `observations`, or `real` where "
        f"task {layout.task.name} has that level, got {name!r}. "
        f"{suggest(name, known) if known else 'There are neither; add observations.'}"
    )


def _require_likelihood(layout: Layout, method: str) -> None:
    settings = layout.methods[method]
    if settings.needs_likelihood and not layout.task.has_likelihood:
        raise SettingError(
            f"{place(layout, method)}: type {settings.type!r} asks for the likelihood, which task "
            f"{layout.task.name} does not state; give it a `log_likelihood`, or name an `nle` or `nre` "
            "of the study that learns one, as `likelihood`."
        )


def _require_parent(layout: Layout, method: str) -> None:
    settings = layout.methods[method]
    key = "start" if settings.setting("start") else "of"
    if len({*layout.below(method)}) < len(layout.below(method)):
        raise SettingError(f"{place(layout, method)}.beside: names a method twice; name each once.")
    for name in layout.below(method):
        _require_fit(layout, method, name, "beside" if name in settings.others else key)


def _require_fit(layout: Layout, method: str, parent: str, key: str) -> None:
    """Stops where a method cannot build on another one, which it names as `key`."""
    settings, theirs = layout.methods[method], layout.methods[parent]
    if settings.builds_on and {*settings.builds_on}.isdisjoint(theirs.gives):
        raise SettingError(
            f"{place(layout, method)}.{key}: a method of type {settings.type!r} builds on one of type "
            f"{' or '.join(methods.giving(settings.builds_on))}, but {parent!r} is of type {theirs.type!r}."
        )
    if settings.needs_density and not layout.has_density(parent):
        raise SettingError(
            f"{place(layout, method)}.{key}: {parent!r} gives draws without densities, of which type "
            f"{settings.type!r} makes its answers; give it a flow with densities, such as spline"
            + (", or set `smoothing` above 0." if settings.setting("smoothing") is not None else ".")
        )
    if settings.asks_apart and layout.calibrated(parent) and not theirs.offers("answers apart"):
        raise SettingError(
            f"{place(layout, method)}.{key}: {parent!r} has learned from the labelled pairs that a method of "
            f"type {settings.type!r} asks it about, and cannot leave any out; expected one that learns from "
            f"none, such as an `npe`, or of type {' or '.join(methods.giving(['answers apart']))}."
        )
    if wrong := settings.misfit(theirs, parent):
        raise SettingError(f"{place(layout, method)}.{key}: {wrong}")


def _require_suited(layout: Layout, method: str) -> None:
    if wrong := layout.methods[method].unsuited(TaskInfo.of(layout.task)):
        raise SettingError(f"{place(layout, method)}: {wrong}")


def _require_takes_missing(layout: Layout, method: str) -> None:
    settings = layout.methods[method]
    along = [d.name for d in layout.task.dimensions if d.missing]
    if not along or settings.takes_missing:
        return
    remedy = settings.mends_missing or f"use {', '.join(methods.taking_missing())}"
    if settings.type == methods.OWN:
        remedy += " (or state `missing: true`, if it takes NaN)"
    raise SettingError(
        f"{place(layout, method)}: type {settings.type!r} takes no missing numbers, which task "
        f"{layout.task.name} may have along {', '.join(along)}; {remedy}, see docs/missing.md."
    )


def _require_summary(layout: Layout, method: str) -> None:
    """Stops on a summary network whose settings name what x does not have."""
    summary = getattr(layout.methods[method].setting("network"), "summary", None)
    if summary is None:
        return
    task = TaskInfo.of(layout.task)
    try:
        choice.resolved(summary, task.x_shape, task.axes, task.names)
    except (ShapeError, UnknownName) as error:
        raise SettingError(f"{place(layout, method)}: {error}") from error


def _require_answers(layout: Layout) -> None:
    if not layout.judged:
        raise SettingError(
            f"remedies: task {layout.task.name} has classes, and `ratios` alone gives no estimate; add a "
            f"remedy such as `wifi: {{type: wifi, of: {next(iter(layout.methods))}}}`."
        )


def _require_simulator(layout: Layout, method: str) -> None:
    if isinstance(layout.task, tasks.FileTask) and layout.methods[method].streaming == "online":
        raise SettingError(
            f"{place(layout, method)}.training.streaming: `online` simulates while it trains, but the "
            "simulations of this study come from a file; leave it out."
        )


def _require_stored_rows(layout: Layout) -> None:
    if not isinstance(layout.task, tasks.FileTask):
        return
    for part, rows in layout.used_rows.items():
        split = part.split("/")[1].split("-")[0]
        there = layout.task.available(split)
        if rows > there:
            remedy = "lower the budget" if split == "train" else f"set task.reserved: {{{split}: {rows}}}"
            raise SettingError(
                f"task: {rows} rows of split {split} are asked for, but the file of simulations has {there} "
                f"for it; {remedy}."
            )
