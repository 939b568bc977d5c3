"""What a change of a study's settings would cost, by what its finished jobs took, and the command for it.

The jobs that the changed study has and the present one has not, by the cost model of `make plan`. Records
of finished jobs are read as they lie there, and make no report anew: a price stands in the page alone, and in
no number that follows from a study.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from veridical import tasks
from veridical.errors import VeridicalError
from veridical.evidence.numbers import duration
from veridical.plan.costs import Costs
from veridical.plan.work import Piece, amount
from veridical.progress.jobs import Job, jobs
from veridical.study import code_digests, settings
from veridical.study.layout import Layout

UNKNOWN = "time not known: no finished job has left a record"


@dataclass(frozen=True)
class Price:
    """What a step costs.

    Attributes:
        text: In words.
        seconds: Of all its jobs one after another; None where it is not known.
    """

    text: str
    seconds: float | None = None


class Prices:
    """Prices of changes of one study.

    Arguments:
        study: All settings of the study, as they are.
        scale: Its scale.
        data: The file of new data that the report is about, if any.
    """

    def __init__(self, study: Mapping[str, Any], scale: str, data: str | None = None) -> None:
        self.study, self.scale, self.data = study, scale, data
        self.why_not = ""
        try:
            self.layout = Layout(settings.parse(study, scale), scale=scale)
            self.costs = Costs({scale: self.layout}, scale)
            self.made = {(job.folder, job.stem) for job in jobs(self.layout)}
        except VeridicalError as error:  # such as code of the user's that cannot be loaded here
            self.why_not = f"time not known ({type(error).__name__})"

    @property
    def made_elsewhere(self) -> bool:
        """Whether the simulations come from a file, so that no job makes more of them."""
        return not self.why_not and isinstance(self.layout.task, tasks.FileTask)

    def of(self, over: Mapping[str, Any]) -> Price:
        """Returns the price of some settings laid over those of the study."""
        if self.why_not:
            return Price(self.why_not)
        changed = Layout(settings.parse(settings.merge(self.study, over), self.scale), scale=self.scale)
        pieces = [Piece.of(job.stem) for job in jobs(changed) if self._is_new(job, changed, over)]
        each = [None if piece is None else self.costs.seconds(piece, changed) for piece in pieces]
        known = [seconds for seconds in each if seconds is not None]
        if not known:
            return Price(UNKNOWN)
        words = "about" if len(known) == len(each) else "more than"
        return Price(f"{words} {coarse(sum(known))}", sum(known))

    def command(self, over: Mapping[str, Any], data: str | None = None) -> str:
        """Returns the command that runs the study, on new data if named, with settings laid over it."""
        return command(str(self.study["study"]), self.scale, data or self.data, over)

    def _is_new(self, job: Job, changed: Layout, over: Mapping[str, Any]) -> bool:
        """Whether the changed study runs a job that the present one has not done, or other than so."""
        piece = Piece.of(job.stem)
        if (job.folder, job.stem) not in self.made or job.stage == "report" or piece is None:
            return True
        if piece.kind == "check" and piece.group in over.get("checks", ()):
            return True
        return amount(piece, changed) != amount(piece, self.layout)


def coarse(seconds: float) -> str:
    """Returns a length of time in words, to one or two digits."""
    step = 1 if seconds < 60 else 60 if seconds < 3 * 3600 else 3600
    return duration(max(round(seconds / step), 1) * step).removesuffix(" 0 min").replace(".0 s", " s")


def command(study: str, scale: str, data: str | None, over: Mapping[str, Any]) -> str:
    """Returns the command that runs a study with some settings changed: `make` in a clone, else Snakemake.

    Arguments:
        study: Its name.
        scale: The scale.
        data: New data, if those are to be looked at again.
        over: The changed settings.
    """
    set_ = yaml.safe_dump(dict(over), default_flow_style=True, width=float("inf"), sort_keys=False).strip()[
        1:-1
    ]
    if not (code_digests.HOME / "src" / "veridical").is_dir():
        made = ['snakemake -s "$(python -m veridical workflow)" --profile profiles/local']
        made += [f"--configfile config/{study}.yaml --config scale={scale}"]
        made += [shlex.quote(f"scales={{{scale}: {{{set_}}}}}")] if over else []
        return " ".join([*made, *([f"data={shlex.quote(data)}"] if data else [])])
    made = [f"make infer STUDY={study} DATA={shlex.quote(data)}" if data else f"make study NAME={study}"]
    made += [f"SCALE={scale}"] if scale != "laptop" else []
    return " ".join([*made, *([f"SET={shlex.quote(set_)}"] if over else [])])
