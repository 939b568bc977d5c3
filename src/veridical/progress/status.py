"""How far a study is, from its own files: also while another process, or SLURM, runs it. Nothing is written.

`done` means that the files are there; whether a change of settings has outdated them, a dry run tells.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import SettingError
from veridical.progress import logs
from veridical.progress.estimates import time_left, typical
from veridical.progress.jobs import STAGES, Job, jobs
from veridical.study import settings
from veridical.study.layout import Layout

STATES = ("done", "running", "waiting", "failed")
_MOST = 20  # failures that are shown


@dataclass(frozen=True)
class Seen:
    """One job as its files show it: `done`, `running`, `waiting` or `failed`, and what its log tells."""

    job: Job
    state: str
    told: logs.Told | None


def open_study(study: str | Path, scale: str = "laptop") -> Layout:
    """Returns the layout of a study.

    Arguments:
        study: Its file, or its folder of results, whose name tells study and scale.
        scale: The scale, where `study` is a file.

    Raises:
        SettingError: If there is no such study or scale, or its settings are wrong.
    """
    path = Path(study)
    if not path.is_dir():
        return Layout(settings.load(path, scale), scale=scale)
    name, _, own = path.resolve().name.partition("@")
    file, scale = Path("config", f"{name}.yaml"), own or "laptop"
    settings.require_scale(scale)
    layout = Layout(settings.load(file, scale), scale=scale) if file.is_file() else None
    if layout is None or path.resolve() != Path(layout.results).resolve():
        raise SettingError(
            f"{study}: expected a study's file, or its folder of results where the study stands in {file}. "
            "Name the file, in the folder where the study runs: config/lynx_hare.yaml."
        )
    return layout


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


def text(layout: Layout, now: float | None = None) -> str:
    """Returns the state of a study as text: a line per stage, time left, what failed and why."""
    now = time.time() if now is None else now
    asked = jobs(layout)
    seen = look(asked, now)
    counts = Counter((s.job.stage, s.state) for s in seen)
    lines = [f"{layout.study.study} ({layout.scale}): {layout.report}", ""]
    lines += ["".join(["stage   ", *(f"{state:>9}" for state in STATES)])]
    for stage in STAGES:
        if any(counts[stage, state] for state in STATES):
            lines.append("".join([f"{stage:8}", *(f"{counts[stage, state]:9,}" for state in STATES)]))
    total = Counter(s.state for s in seen)
    lines += ["".join(["all     ", *(f"{total[state]:9,}" for state in STATES)]), ""]
    if total["done"] == len(seen):
        return "\n".join([*lines, f"All is there: {layout.report}/report.html"])
    by_state = {state: Counter(s.job.rule for s in seen if s.state == state) for state in STATES}
    left = time_left(by_state["waiting"] + by_state["failed"], by_state["running"], typical(layout, asked))
    at_once = f"{total['running']} at once" if total["running"] else "nothing runs now"
    lines.append(f"{left[0].upper()}{left[1:]}; {at_once}.")
    failed = [s for s in seen if s.state == "failed"]
    for s in failed[:_MOST]:
        lines += ["", *_failure(s, now)]
    if len(failed) > _MOST:
        lines += ["", f"... and {len(failed) - _MOST} more."]
    return "\n".join(lines)


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
