"""How far a study is, from its own files: also while another process, or SLURM, runs it. Nothing is written.

`done` means that the files are there; whether a change of settings has outdated them, a dry run tells.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import SettingError
from veridical.progress import logs
from veridical.progress.estimates import time_left, typical
from veridical.progress.jobs import STAGES, Job, all_jobs
from veridical.study import collections, settings
from veridical.study.collections import Studies

STATES = ("done", "running", "waiting", "failed")
_MOST = 20  # failures that are shown


@dataclass(frozen=True)
class Seen:
    """One job as its files show it: `done`, `running`, `waiting` or `failed`, and what its log tells."""

    job: Job
    state: str
    told: logs.Told | None


def open_study(study: str | Path, scale: str = "laptop") -> Studies:
    """Returns a study, or the studies of a collection.

    Arguments:
        study: The file, or the folder of results, whose name tells study and scale.
        scale: The scale, where `study` is a file.

    Raises:
        SettingError: If there is no such study or scale, or its settings are wrong.
    """
    path = Path(study)
    if not path.is_dir():
        return collections.load(path, scale)
    name, _, own = path.resolve().name.partition("@")
    scale = own or "laptop"
    settings.require_scale(scale)
    places = [folder / f"{name}.yaml" for folder in (collections.CONFIG, collections.COLLECTIONS)]
    found = next((collections.load(file, scale) for file in places if file.is_file()), None)
    if found is None or path.resolve() != Path(found.report).resolve():
        raise SettingError(
            f"{study}: expected a study's file, or its folder of results where the study stands in "
            f"{places[0]}. "
            "Name the file, in the folder where the study runs: config/lynx_hare.yaml."
        )
    return found


def look(asked: Sequence[Job], now: float) -> list[Seen]:
    """Returns the state of each job at the time `now`."""
    return [_seen(job, now) for job in asked]


def _seen(job: Job, now: float) -> Seen:
    files = all(Path(path).is_file() for path in job.outputs)
    told = None if files else logs.read(job.log, now)
    made = all(Path(path).exists() for path in job.outputs)  # a folder is there before it is full
    if files or (made and (told is None or told.state == "done")):
        return Seen(job, "done", None)
    if told is None or told.state == "done":  # its files were removed since, by hand or for a new attempt
        return Seen(job, "waiting", None)
    return Seen(job, "running" if told.state == "running" else "failed", told)


def text(studies: Studies, now: float | None = None) -> str:
    """Returns the state as text: a line per stage, one per study, time left, what failed and why."""
    now = time.time() if now is None else now
    seen = look(all_jobs(studies), now)
    counts = Counter((s.job.stage, s.state) for s in seen)
    lines = [f"{studies.name} ({studies.scale}): {studies.report}", ""]
    lines += _rows("stage", {stage: [counts[stage, state] for state in STATES] for stage in STAGES})
    total = Counter(s.state for s in seen)
    lines += [*_rows("", {"all": [total[state] for state in STATES]})[1:], ""]
    if studies.collection is not None:
        each = Counter((s.job.folder, s.state) for s in seen)
        own = {one.study.study: [each[one.results, s] for s in STATES] for one in studies.layouts.values()}
        lines += [*_rows("study", own), ""]
    if total["done"] == len(seen):
        return "\n".join([*lines, f"All is there: {studies.report}/report.html"])
    by_state = {state: Counter(s.job.rule for s in seen if s.state == state) for state in STATES}
    left = time_left(by_state["waiting"] + by_state["failed"], by_state["running"], typical(studies))
    at_once = f"{total['running']} at once" if total["running"] else "nothing runs now"
    lines.append(f"{left[0].upper()}{left[1:]}; {at_once}.")
    failed = [s for s in seen if s.state == "failed"]
    for s in failed[:_MOST]:
        lines += ["", *_failure(s, now)]
    if len(failed) > _MOST:
        lines += ["", f"... and {len(failed) - _MOST} more."]
    return "\n".join(lines)


def _rows(what: str, counts: Mapping[str, Sequence[int]]) -> list[str]:
    """Lines of a table of jobs by state; of what has none, no line."""
    width = max(map(len, (what, "simulate", *counts)))
    lines = ["".join([f"{what:{width}}", *(f"{state:>9}" for state in STATES)])]
    return lines + [
        "".join([f"{name:{width}}", *(f"{n:9,}" for n in found)])
        for name, found in counts.items()
        if any(found)
    ]


def _failure(seen: Seen, now: float) -> list[str]:
    """What is said of a failure: when, in which words, and where to read on."""
    told = seen.told
    assert told is not None
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told.touched))
    how = {
        "failed": f"failed at {when}: {told.sentence}",
        "stopped": f"was stopped from outside at {when}, as by a time limit, preemption or Ctrl-C",
        "lost": f"no sign of life since {when}: killed, out of memory, or its node is gone. {told.sentence}",
    }[told.state]
    return [f"{seen.job.name} {how.rstrip()}", f"  log: {seen.job.log}"]
