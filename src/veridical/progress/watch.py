"""One run of a workflow as its scheduler tells it: stages, time left, failures, a closing summary."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from veridical.errors import VeridicalError
from veridical.files import read_json
from veridical.plan.table import duration
from veridical.progress import logs
from veridical.progress.estimates import time_left, typical
from veridical.progress.jobs import STAGES, name_of, stage_of
from veridical.study.collections import Studies

_SLOWEST = 3
_MOST = 10  # failures, and verdicts, that the summary shows
_STOPPED = "was stopped from outside, as by a time limit, preemption or Ctrl-C."
_LACKS = re.compile(r"Unchecked: \S+ could not be made: ")  # what another job lacks, which says why itself
_LOOK_SECONDS = 10.0  # between two looks at the logs of jobs that a cluster holds


@dataclass
class Started:
    """One job that was handed to this machine or to a cluster.

    Attributes:
        rule: Its rule.
        log: Path of its log; empty where it has none.
        since: When it was handed on, as `time.time()` counts.
        here: Whether to this machine, where it runs at once and tells the terminal itself why it fails.
        seen: Whether a job of a cluster has been seen to run.
        before: When the log of an earlier attempt was touched last; None where there was none.
        seconds: How long it took; None before it has ended.
        failure: What its log said when it failed; empty where it did not.
        missing: The same of a job that the study does without.
    """

    rule: str
    log: str
    since: float
    here: bool = True
    seen: bool = False
    before: float | None = None
    seconds: float | None = None
    failure: str = ""
    missing: str = ""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return name_of(self.rule, self.log.partition("/logs/")[2].removesuffix(".log"))

    @property
    def state(self) -> str:
        """Its state: `done`, `failed`, `running` or `queued`."""
        if self.seconds is not None:
            return "done"
        return "failed" if self.failure else "running" if self.here or self.seen else "queued"

    def told(self) -> logs.Told | None:
        """What its log tells; None before it has begun to write one."""
        told = logs.read(self.log, time.time()) if self.log else None
        return None if told is None or told.touched == self.before else told


class Watch:
    """The jobs of one run: those to do, by rule, and those started, by number.

    Attributes:
        began: When the run began, as `time.time()` counts.
        interrupted: Whether it was ended from outside.
    """

    def __init__(self, studies: Studies, counts: Mapping[str, int]) -> None:
        self.began = time.time()
        self.interrupted = False
        self._studies = studies
        self._total = Counter({rule: n for rule, n in counts.items() if stage_of(rule) is not None})
        self._started: dict[int, Started] = {}
        self._known: dict[str, float] = {}
        self._looked = 0.0
        with suppress(VeridicalError):  # a torn record; the job that needs it will say so
            self._known = typical(studies)

    # ---- events ------------------------------------------------------------------------------------

    def start(self, number: int, rule: str, log: str, since: float, here: bool = True) -> None:
        """Takes note of a job that was handed on, or handed on again, at a time; `here`: to this machine."""
        if stage_of(rule) is not None:
            self._started[number] = job = Started(rule, log, since, here)
            earlier = job.told()
            job.before = None if earlier is None or earlier.touched > since else earlier.touched

    def finish(self, number: int) -> str:
        """Takes note of a job that has ended well; its log knows its time better than the scheduler.

        Returns what to say where a cluster has left it without a result, or it has made a first page.
        """
        job = self._started.get(number)
        if job is None:
            return ""
        told = job.told()
        took = None if told is None else told.seconds
        job.seconds, job.failure = took if took is not None else time.time() - job.since, ""
        lacks = told is not None and told.state == "failed" and not _LACKS.match(told.sentence)
        job.missing = told.sentence if told is not None and lacks else ""
        if job.rule.endswith("first_page") and not job.missing:
            return f"First page: {Path(self._studies.report).absolute() / 'report.html'}"
        said = f"{job.name} could not be made, and the study goes on: {job.missing}\n  log: {job.log}"
        return said if job.missing and not job.here else ""

    def fail(self, number: int, rule: str, files: Sequence[str], note: str = "") -> str:
        """Takes note of a job that has failed; returns what to say of it, nothing where all is ended.

        Arguments:
            number: Its number.
            rule: Its rule.
            files: Its logs, the rule's first.
            note: What a cluster says of it.
        """
        log = next(iter(files), "")
        job = self._started.setdefault(number, Started(rule, log, time.time()))
        told = job.told()
        if self.interrupted and (told is None or told.state != "failed"):
            del self._started[number]
            return ""
        if told is None:
            failure = "left no log: it could not be started, or was killed at once."
        elif told.state == "failed":
            failure = told.sentence
        elif told.state == "done":
            failure = "said that it was done, yet its files were not found."
        elif told.state == "stopped":
            failure = _STOPPED
        else:
            failure = f"ended in the middle: killed, out of memory or of time. {told.sentence}"
        job.failure = " ".join([*failure.split(), *note.split()])
        said = "see above" if job.here and told is not None and told.state == "failed" else job.failure
        return f"FAILED {job.name}: {said}\n  log: {', '.join(files) or 'none'}"

    def again(self, number: int) -> str:
        """Returns what to say of a job that has failed and will be started again."""
        job = self._started.pop(number, None)
        return f"{job.name if job else f'job {number}'} will be started again."

    # ---- what is shown -----------------------------------------------------------------------------

    def title(self) -> str:
        """Returns what runs: study, scale, where its results go, jobs to do by stage."""
        told = ", ".join(f"{stage} {sum(counts.values())}" for stage, counts in self._stages().items())
        asked = self._studies
        kind = f"Collection of {len(asked.layouts)} studies" if asked.collection else "Study"
        what = f"{kind} {asked.name} ({asked.scale}): {asked.report}"
        return f"{what}\n{self._total.total()} jobs to do: {told or 'none'}"

    def share(self) -> float:
        """Returns the share of jobs that are done."""
        return self._counts()["done"].total() / max(self._total.total(), 1)

    def complete(self) -> str:
        """Returns the stages whose jobs are all done."""
        stages = self._stages().items()
        return " ".join(stage for stage, counts in stages if counts["done"] == sum(counts.values()))

    def line(self, whole: bool = True) -> str:
        """Returns the state of the run in one line; without stages that are complete unless `whole`."""
        done, total = self._counts()["done"].total(), self._total.total()
        elapsed = duration(time.time() - self.began)
        parts = [f"{elapsed:>6} {done / max(total, 1):4.0%}  {done}/{total} jobs, {self._left()}"]
        for stage, counts in self._stages().items():
            n = sum(counts.values())
            if whole or counts["done"] < n:
                now = [f"{counts[state]} {state}" for state in ("running", "queued", "failed")]
                shown = [text for text in now if not text.startswith("0 ")]
                parts.append(" ".join([f"{stage} {counts['done']}/{n}", *shown]))
        return " | ".join(parts)

    def summary(self) -> str:
        """Returns what a user wants to know at the end: verdict and report, or what failed and why."""
        done, total = self._counts()["done"].total(), self._total.total()
        if not total:
            return "\n".join(self._verdict())
        ended = _STOPPED if self.interrupted else None  # Ctrl-C reaches the jobs before their scheduler
        failed = [job for job in self._started.values() if job.failure not in ("", ended)]
        missing = [job for job in self._started.values() if job.missing]
        if incomplete := done == total - 1 and any(job.rule.endswith("outcome") for job in failed):
            failed = []  # it says what is told below
        how = "Interrupted" if self.interrupted else "Finished" if done == total else "Failed"
        how = "Incomplete" if incomplete else how
        lines = [f"{how}: {done} of {total} jobs done in {duration(time.time() - self.began)}."]
        took = sorted(((j.seconds, j.name) for j in self._started.values() if j.seconds), reverse=True)
        if took:
            lines.append(
                "Slowest: " + ", ".join(f"{name} {seconds:.1f} s" for seconds, name in took[:_SLOWEST])
            )
        lines += _listed("failed", [(job, job.failure) for job in failed])
        lines += _listed("could not be made", [(job, job.missing) for job in missing])
        if done < total and not incomplete:
            left = total - done - len(failed)
            return "\n".join([*lines, f"{left} not done. The same command again goes on from here."])
        return "\n".join([*lines, *self._verdict()])

    def _counts(self) -> dict[str, Counter[str]]:
        """Jobs by state, then by rule."""
        now = time.time()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            for job in self._started.values():
                job.seen |= job.state == "queued" and job.told() is not None
        counts = {state: Counter[str]() for state in ("done", "failed", "running", "queued")}
        for job in self._started.values():
            counts[job.state][job.rule] += 1
        return counts | {"waiting": self._total - sum(counts.values(), Counter[str]())}

    def _stages(self) -> dict[str, Counter[str]]:
        """Jobs by stage, in the order of the pipeline, then by state."""
        found: dict[str, Counter[str]] = {stage: Counter() for stage in (*STAGES, "other")}
        for state, counts in self._counts().items():
            for rule, n in counts.items():
                found[stage_of(rule) or "other"][state] += n
        return {stage: counts for stage, counts in found.items() if counts.total()}

    def _left(self) -> str:
        took: dict[str, list[float]] = {}
        for job in self._started.values():
            if job.seconds is not None:
                took.setdefault(job.rule, []).append(job.seconds)
        seconds = self._known | {rule: fmean(found) for rule, found in took.items()}
        counts = self._counts()
        return time_left(counts["waiting"] + counts["queued"], counts["running"], seconds)

    def _verdict(self) -> list[str]:
        """The verdict on each method and data set, and the report; nothing where this run made none."""
        report, page = Path(self._studies.report), "collection" if self._studies.collection else "report"
        asked = not self._total or any(rule.endswith(page) for rule in self._total)
        if asked and self._studies.collection and (report / "report.html").is_file():
            return [f"Report: {report.absolute() / 'report.html'}"]
        if not asked or not (report / "verdict.json").is_file():
            return []
        found = read_json(report / "verdict.json", "the verdict of a study")["verdicts"]
        lines = [f"  {v['method']} on {v['dataset']}: {v['verdict']}. {v['summary']}" for v in found]
        more = [f"  ... and {len(lines) - _MOST} more in the report."] if len(lines) > _MOST else []
        return ["Verdict:", *lines[:_MOST], *more, f"Report: {report.absolute() / 'report.html'}"]


def _listed(what: str, found: Sequence[tuple[Started, str]]) -> list[str]:
    """Lines that name jobs with what they said and where to read on."""
    lines = [f"{len(found)} {what}:"] if found else []
    for job, said in found[:_MOST]:
        lines.append(f"  {job.name}: {said}\n    log: {job.log or 'none'}")
    return lines + ([f"  ... and {len(found) - _MOST} more."] if len(found) > _MOST else [])
