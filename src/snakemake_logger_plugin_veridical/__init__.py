"""`snakemake --logger veridical`: stages, time left and a closing summary in place of a block per job.

Snakemake finds its plugins by the name of their top-level module. This one hands the records on to
`veridical.progress`; the full text stands in Snakemake's own log. It leaves the terminal to Snakemake in a dry run and with
`--verbose` or `--quiet`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from veridical.progress.screen import Screen
from veridical.progress.watch import Watch

TICK_SECONDS = 1.0
LINE_SECONDS = (10.0, 600.0)  # the shortest and the longest time between two plain lines
LINE_SHARE = 0.05  # a plain line where so much more is done
# What Snakemake says of a failed job beside the record of it, and that jobs have failed.
SAID_BETTER = ("RuleException:\nCalledProcessError", "WorkflowError:\nAt least one job did not complete")
TOLD_AT_ONCE = ("SLURM run ID", "Nothing to be done", "Trying to restart", "Terminating processes")


class LogHandler(LogHandlerBase):
    """Shows a run on the terminal."""

    def __post_init__(self) -> None:
        """Begins to watch."""
        settings = self.common_settings
        self.active = not (settings.dryrun or settings.verbose or settings.quiet)
        self.screen, self.watch = Screen(sys.stdout if settings.stdout else sys.stderr), Watch()
        self._held: list[str] = []  # what Snakemake says before it is known whether jobs will run
        self._runs = self._nothing = False
        self._last, self._told = (0.0, 0.0), ""
        self._ended = threading.Event()

    writes_to_stream = property(lambda self: self.active)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: False)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes note of one record and shows what follows from it."""
        if not self.active:
            return
        try:
            self._take(record, getattr(record, "event", None))
        except Exception:
            self.handleError(record)

    def _take(self, record: Any, event: LogEvent | None) -> None:
        if hasattr(record, "study"):
            self.watch.study(record.study)
        elif event == LogEvent.RUN_INFO:
            self._begin(record)
        elif event == LogEvent.JOB_INFO:
            self.watch.start(record.jobid, record.rule_name, next(iter(record.log), ""))
        elif event == LogEvent.JOB_FINISHED:
            self.watch.finish(record.job_id)
            self._plain_line()
        elif event == LogEvent.JOB_ERROR:
            self._fail(record)
        elif event in (None, LogEvent.ERROR):
            self._message(record)

    def _begin(self, record: Any) -> None:
        self._runs = True
        self._held.clear()
        self.watch.begin({rule: n for rule, n in record.stats.items() if rule != "total"})
        if (study := self.watch.layout) is not None:
            self.screen.say(f"Study {study.study.study} ({study.scale}): {study.report}")
        self.screen.say(f"{self.watch.total.total()} jobs to do. Full log: {_full_log()}")
        self._plain_line()
        threading.Thread(target=self._tick, daemon=True).start()

    def _fail(self, record: Any) -> None:
        said = self.watch.fail(record.jobid, record.rule_name, record.log, record.rule_msg or "")
        if said:
            self.screen.say(said)

    def _message(self, record: Any) -> None:
        text = record.getMessage()
        if record.levelno < logging.WARNING and not text.startswith(TOLD_AT_ONCE):
            if not self._runs:
                self._held.append(text)
        elif text not in ("", "None") and not text.startswith(SAID_BETTER):
            self._nothing |= text.startswith("Nothing to be done")
            self._held.clear()
            self.screen.say(text)

    def _tick(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            with self.lock:
                self.screen.show(self.watch.line())
                self._plain_line()

    def _plain_line(self) -> None:
        """Says how far the run is, where a stage has ended, much was done, or long nothing was said."""
        stages, now = self.watch.stages(), time.time()
        share = self.watch.done.total() / max(self.watch.total.total(), 1)
        shortest, longest = LINE_SECONDS
        waited, gained = now - self._last[0], share - self._last[1]
        complete = " ".join(stage for stage, (done, total) in stages.items() if done == total)
        due = waited >= shortest and gained >= LINE_SHARE
        due |= waited >= min(longest, max(30.0, (now - self.watch.began) / 4)) or complete != self._told
        if due and self._runs:
            self._last, self._told = (now, share), complete
            self.screen.say(self.watch.line())

    def close(self) -> None:
        """Closes with the summary."""
        if self.active and not self._ended.is_set():
            self._ended.set()
            self.screen.clear()
            if self._runs or self._nothing:
                self.screen.say(self.watch.summary())
                self.screen.say(f"Full log: {_full_log()}")
            elif self._held:
                self.screen.say("\n".join(self._held))
        super().close()


def _full_log() -> str:
    """Path of Snakemake's own log of this run."""
    found = [h.baseFilename for h in logging.getLogger("snakemake.logging").handlers if hasattr(h, "baseFilename")]
    return ", ".join(found) or "none (see .snakemake/log)"
