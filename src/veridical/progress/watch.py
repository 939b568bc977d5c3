"""One run of a workflow as its scheduler tells it: counts per stage, time left, failures, a closing summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from veridical.layout import Layout
from veridical.plan.table import duration
from veridical.progress import logs
from veridical.progress.estimates import time_left, typical
from veridical.progress.jobs import STAGES, jobs, name_of, stage_of

_SLOWEST = 3
_MOST = 10  # failures that the summary shows


@dataclass
class Started:
    """One job that has been started.

    Attributes:
        rule: Its rule.
        log: Path of its log; empty where it has none.
        since: When it was started, as `time.time()` counts.
        seconds: How long it took; None before it has ended.
        failure: What its log said when it failed; empty where it did not.
    """

    rule: str
    log: str
    since: float
    seconds: float | None = None
    failure: str = ""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return name_of(self.rule, self.log.partition("/logs/")[2].removesuffix(".log"))


class Watch:
    """The jobs of one run: those to do, by rule, and those started, by number."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.began = time.time()
        self.total: Counter[str] = Counter()
        self.started: dict[int, Started] = {}
        self._known: dict[str, float] = {}

    # ---- events ------------------------------------------------------------------------------------

    def study(self, layout: Layout) -> None:
        """Takes note of the study that runs."""
        self.layout = layout

    def begin(self, counts: Mapping[str, int]) -> None:
        """Takes note of how many jobs of each rule there are to do."""
        self.began = time.time()
        self.total = Counter({rule: n for rule, n in counts.items() if stage_of(rule) is not None})
        if self.layout is not None:
            self._known = typical(self.layout, jobs(self.layout))

    def start(self, number: int, rule: str, log: str) -> None:
        """Takes note of a job that starts, or starts again."""
        if stage_of(rule) is not None:
            self.started[number] = Started(rule, log, time.time())

    def finish(self, number: int) -> None:
        """Takes note of a job that has ended well; its log knows its time better than the scheduler."""
        if (job := self.started.get(number)) is not None:
            told = logs.read(job.log, time.time())
            took = None if told is None else told.seconds
            job.seconds, job.failure = took if took is not None else time.time() - job.since, ""

    def fail(self, number: int, rule: str, files: Sequence[str], note: str = "") -> str:
        """Takes note of a job that has failed; returns what to say of it now.

        Arguments:
            number: Its number.
            rule: Its rule.
            files: Its logs, the rule's first.
            note: What a cluster says of it; empty for a job of this machine, which has said itself why it failed.
        """
        log = next(iter(files), "")
        job = self.started.setdefault(number, Started(rule, log, time.time()))
        told = logs.read(log, time.time())
        if told is None:
            job.failure = "left no log: it could not be started, or was killed at once"
        elif told.state == "failed":
            job.failure = told.sentence
        elif told.state == "done":
            job.failure = "said that it was done, yet its files were not found"
        else:
            job.failure = f"ended in the middle: killed, out of memory or of time. {told.sentence}".rstrip()
        if told is not None and told.state == "failed" and not note:
            return ""
        job.failure = " ".join([job.failure, *note.split()])
        return f"FAILED {job.name}: {job.failure}\n  log: {', '.join(files) or 'none'}"

    # ---- what is shown -----------------------------------------------------------------------------

    @property
    def failed(self) -> list[Started]:
        """Jobs whose last attempt failed."""
        return [job for job in self.started.values() if job.failure]

    @property
    def done(self) -> Counter[str]:
        """How many jobs have ended well, by rule."""
        return Counter(job.rule for job in self.started.values() if job.seconds is not None)

    def stages(self) -> dict[str, tuple[int, int]]:
        """Jobs that are done and all jobs of this run, by stage, in the order of the pipeline."""
        found = {stage: [0, 0] for stage in (*STAGES, "other")}
        for place, counts in enumerate((self.done, self.total)):
            for rule, n in counts.items():
                found[stage_of(rule) or "other"][place] += n
        return {stage: (done, total) for stage, (done, total) in found.items() if total}

    def line(self) -> str:
        """Returns the state of the run in one line."""
        stages = "  ".join(f"{stage} {done}/{total}" for stage, (done, total) in self.stages().items())
        failed = f", {len(self.failed)} failed" if self.failed else ""
        elapsed = duration(time.time() - self.began)
        return f"{elapsed:>6} | {stages} | {self._running.total()} running{failed} | {self._left()}"

    @property
    def _running(self) -> Counter[str]:
        return Counter(j.rule for j in self.started.values() if j.seconds is None and not j.failure)

    def _left(self) -> str:
        took: dict[str, list[float]] = {}
        for job in self.started.values():
            if job.seconds is not None:
                took.setdefault(job.rule, []).append(job.seconds)
        seconds = self._known | {rule: fmean(found) for rule, found in took.items()}
        waiting = self.total - self.done - self._running - Counter(job.rule for job in self.failed)
        return time_left(waiting, self._running, seconds)

    def summary(self) -> str:
        """Returns what a user wants to know at the end: verdict and report, or what failed and where to read."""
        done, total = self.done.total(), self.total.total()
        lines = [f"{done} of {total} jobs done in {duration(time.time() - self.began)}."] if total else []
        slowest = sorted((j.seconds, j.name) for j in self.started.values() if j.seconds is not None)
        if slowest:
            told = [f"{name} {duration(seconds)}" for seconds, name in slowest[: -_SLOWEST - 1 : -1]]
            lines.append(f"Slowest: {', '.join(told)}")
        if not self.failed and done == total and self.layout is not None:
            return "\n".join([*lines, *_verdict(Path(self.layout.report))])
        lines.append(f"{len(self.failed)} failed, {total - done - len(self.failed)} left.")
        for job in self.failed[:_MOST]:
            lines.append(f"  {job.name}: {job.failure}\n    log: {job.log or 'none'}")
        if len(self.failed) > _MOST:
            lines.append(f"  ... and {len(self.failed) - _MOST} more.")
        return "\n".join([*lines, "The same command again goes on from here."])


def _verdict(report: Path) -> list[str]:
    """The verdict in a sentence per method and data set, and where the report is; nothing before there is one."""
    from veridical.report import verdict

    if not (report / "verdict.json").is_file():
        return []
    found = verdict.load(report / "verdict.json")["verdicts"]
    lines = [f"  {v['method']} on {v['dataset']}: {v['verdict']}. {v['summary']}" for v in found]
    return [*(["Verdict:", *lines] if lines else []), f"Report: {report / 'report.html'}"]
