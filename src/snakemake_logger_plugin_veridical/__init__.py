"""`snakemake --logger veridical`: stages, time left and a closing summary in place of a block per job.

Snakemake finds its plugins by the name of their top-level package, and imports them whatever it is about to
do: so this one imports nothing of `veridical` before the workflow, which may lie beside another copy of that
package, has told its study. Records of Snakemake go to `veridical.progress.watch`, which knows nothing of
Snakemake. All that Snakemake says stands in its own log, whose path is told first and last.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from . import caches
from .screen import Screen

if TYPE_CHECKING:
    from veridical.progress.watch import Watch
    from veridical.study.collections import Studies

TICK_SECONDS = 1.0
LINE_SECONDS = (10.0, 30.0, 600.0)  # between plain lines: at least; at most, at first and in a long run
LINE_SHARE = 0.05  # a plain line where so much more is done
# Options by which a user asks for Snakemake's own words.
OWN_WORDS = ("dryrun", "verbose", "quiet", "printshellcmds", "debug_dag", "show_failed_logs")
# What is left out of what Snakemake says before the first job; later, what is not.
CHATTER = (
    "Assuming unrestricted shared filesystem",
    "Building DAG of jobs",
    "Using shell:",
    "Conda environments: ignored",
    "Singularity containers: ignored",
    "Group jobs: inactive",
)
TOLD = ("SLURM run ID", "Nothing to be done", "Terminating processes", "Will exit after finishing")
INTERRUPTED = TOLD[2:]
# What the summary says better.
SAID_BETTER = ("RuleException:", "WorkflowError:\nAt least one job did not complete", "Exiting because a job")
AGAIN = re.compile(r"Trying to restart job (\d+)\.")

caches.provide()  # now, before Snakemake makes its own


class LogHandler(LogHandlerBase):
    """Shows a run on the terminal."""

    def __post_init__(self) -> None:
        """Begins to listen."""
        asked = self.common_settings
        self.active = not any(getattr(asked, option, None) for option in OWN_WORDS)
        self.screen = Screen(sys.stdout if asked.stdout else sys.stderr, plain=asked.nocolor)
        self.studies: Studies | None = None
        self.watch: Watch | None = None
        self._cluster = False
        self._last, self._complete = (0.0, 0.0), ""
        self._one, self._ended = threading.RLock(), threading.Event()

    writes_to_stream = property(lambda self: self.active)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: False)
    has_formatter = property(lambda self: False)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes note of one record and shows what follows from it."""
        if self.active:
            try:
                with self._one:
                    self._take(record, getattr(record, "event", None))
            except Exception:
                self.handleError(record)

    def _take(self, record: Any, event: LogEvent | None) -> None:
        if hasattr(record, "study"):
            self.studies = record.study
        elif self.studies is not None and event == LogEvent.RESOURCES_INFO:
            self._cluster |= hasattr(record, "nodes")
        elif self.studies is not None and event == LogEvent.RUN_INFO:
            self._begin(self.studies, record.stats)
        elif self.watch is not None and event == LogEvent.JOB_INFO:
            here = record.local or not self._cluster
            log = next(iter(record.log), "")
            self.watch.start(record.jobid, record.rule_name, log, record.created, here)
        elif self.watch is not None and event == LogEvent.JOB_FINISHED:
            if said := self.watch.finish(record.job_id):
                self.screen.say(said)
        elif self.watch is not None and event == LogEvent.JOB_ERROR:
            self.screen.say(
                self.watch.fail(record.jobid, record.rule_name, record.log, record.rule_msg or "")
            )
        elif self.studies is None or event in (None, LogEvent.ERROR, LogEvent.GROUP_ERROR):
            self._message(record)

    def _begin(self, studies: Studies, stats: dict[str, int]) -> None:
        self.watch = self._new_watch(studies, {rule: n for rule, n in stats.items() if rule != "total"})
        self.screen.say(f"{self.watch.title()}\nFull log: {_full_log()}")
        self.show(self.watch)
        threading.Thread(target=self._tick, args=[self.watch], name="progress", daemon=True).start()

    @staticmethod
    def _new_watch(studies: Studies, counts: dict[str, int]) -> Watch:
        from veridical.progress.watch import Watch

        return Watch(studies, counts)

    def _message(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if again := AGAIN.match(text):
            text = self.watch.again(int(again[1])) if self.watch is not None else text
        elif record.levelno >= logging.WARNING:
            text = "" if self.watch is not None and text.startswith(SAID_BETTER) else text
        elif self.watch is not None:
            text = text if text.startswith(TOLD) else ""
            self.watch.interrupted |= text.startswith(INTERRUPTED)
        elif text.startswith(CHATTER):
            text = ""
        if text.strip():
            self.screen.say(text)
        if self.studies is not None and text.startswith("Nothing to be done"):
            self.watch = self._new_watch(self.studies, {})

    def _tick(self, watch: Watch) -> None:
        while not self._ended.wait(TICK_SECONDS):
            with self._one:
                self.show(watch)

    def show(self, watch: Watch) -> None:
        """Shows how far the run is; in a line that stays where a stage has ended.

        Without a terminal also where much was done, or long nothing was said.
        """
        if self.screen.live:
            self.screen.show(watch.line(whole=False))
        shortest, longest, at_last = LINE_SECONDS
        now, share, complete = time.time(), watch.share(), watch.complete()
        waited, gained = now - self._last[0], share - self._last[1]
        due = waited >= shortest and gained >= LINE_SHARE
        due |= waited >= min(at_last, max(longest, (now - watch.began) / 4))
        if complete != self._complete or (due and not self.screen.live):
            self._last, self._complete = (now, share), complete
            self.screen.say(watch.line())

    def close(self) -> None:
        """Ends with the summary."""
        if self.active and not self._ended.is_set():
            self._ended.set()
            with self._one:
                if self.watch is not None:
                    self.screen.say(f"\n{self.watch.summary()}\nFull log: {_full_log()}")
        super().close()


def _full_log() -> str:
    """Path of Snakemake's own log of this run."""
    handlers = logging.getLogger("snakemake.logging").handlers
    return ", ".join(h.baseFilename for h in handlers if isinstance(h, logging.FileHandler)) or "none"


def _require_text(words: Sequence[str]) -> None:
    """Ends this process with a sentence at a study file in another encoding than UTF-8.

    Snakemake reads such a file before it knows of any workflow or logger, and would end with a traceback.
    """
    given = False
    for word in words:
        given = word.startswith("--configf") if word.startswith("-") else given
        path = word.partition("=")[2] if word.startswith("-") else word
        if given and os.path.isfile(path) and not _is_text(path):
            from veridical.errors import SettingError
            from veridical.study.yaml_reading import read

            try:
                read(path)
            except SettingError as error:
                sys.exit(f"SettingError: {error}")


def _is_text(path: str) -> bool:
    """Whether Snakemake can decode a file, in the encoding of the machine, as it opens it."""
    try:
        Path(path).read_text()
    except UnicodeDecodeError:
        return False
    return True


_require_text(sys.argv)  # whichever logger is chosen: Snakemake imports all that there are
