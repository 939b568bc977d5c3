"""How long a study will still take, from what its finished jobs took."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from veridical.plan.costs import Costs
from veridical.plan.measured import records
from veridical.plan.table import duration
from veridical.plan.work import Piece
from veridical.progress.jobs import jobs
from veridical.study.collections import Studies


def typical(studies: Studies) -> dict[str, float]:
    """Returns the mean seconds of a job by rule, not of unknown rules.

    A study's finished jobs tell them, those of the other studies where it has none of a kind.
    """
    found: dict[str, list[float]] = {}
    finished = {name: records([layout]) for name, layout in studies.layouts.items()}
    for name, layout in studies.layouts.items():
        beside = [record for other, own in finished.items() if other != name for record in own]
        costs = Costs({layout.scale: layout}, layout.scale, beside=beside)
        for job in jobs(layout):
            piece = Piece.of(job.stem)
            seconds = None if piece is None else costs.seconds(piece)
            if seconds is not None:
                found.setdefault(job.rule, []).append(seconds)
    return {rule: fmean(seconds) for rule, seconds in found.items()}


def time_left(waiting: Mapping[str, int], running: Mapping[str, int], seconds: Mapping[str, float]) -> str:
    """Returns in words how long the rest takes if as many jobs run at once as now; running: half done.

    Arguments:
        waiting: Jobs that have not started, by rule.
        running: Jobs that run, by rule.
        seconds: Typical seconds of a job, by rule.
    """
    at_once = max(sum(running.values()), 1)
    left = {rule: waiting.get(rule, 0) + running.get(rule, 0) / 2 for rule in {*waiting, *running}}
    left = {rule: jobs for rule, jobs in left.items() if jobs}
    work = sum(jobs * seconds.get(rule, 0.0) for rule, jobs in left.items()) / at_once
    unknown = sorted(rule for rule in left if rule not in seconds)
    if not unknown:
        return f"about {duration(work)} left"
    return f"more than {duration(work)} left" if work else "time left not known yet"
