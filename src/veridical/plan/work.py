"""What the cost of a job grows with, and how large its files are, from the settings alone.

A job is known by the stem of its log below the folder of results or of the bank, such as
`train/npe/n1000-r0`: the same for a job of a dry run and one that has finished at another scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from veridical.checks.predictive import draws_for
from veridical.coordinates import LABELLED, WILDCARDS, Run
from veridical.saved.beside import BESIDE
from veridical.study.layout import Layout
from veridical.study.resources import row_bytes

_RUN = rf"(?P<run>{WILDCARDS['run']})"
_ANSWER = rf"infer/(?P<method>\w+)/{_RUN}/(?P<dataset>\w+)"
_ROUND = rf"rounds/(?P<method>\w+)/{_RUN}/observation-\d+/round-(?P<round>\d+)"
_KINDS = {
    "simulate": r"(?P<fidelity>\w+)/(?P<split>[\w-]+)/rows-(?P<first>\d+)-(?P<last>\d+)",
    "probe": r"probe-(?P<fidelity>\w+)",
    "train": rf"train/(?P<method>\w+)/{_RUN}",
    "propose": rf"{_ROUND}/proposal",
    "simulate_round": rf"{_ROUND}/rows-(?P<first>\d+)-(?P<last>\d+)",
    "train_round": rf"{_ROUND}/train",
    "gather": rf"rounds/(?P<method>\w+)/{_RUN}/gather",
    "allocation": r"allocation",
    "remedy": rf"remedy/(?P<method>\w+)/{_RUN}",
    "reference_ensemble": r"infer/reference/(?P<dataset>\w+)/ensemble-\d+",
    "reference": r"infer/reference/(?P<dataset>\w+)",
    **{one.rule: rf"{_ANSWER}\.{suffix}" for suffix, one in BESIDE.items()},
    "infer": _ANSWER,
    "pool": r"check/(?P<method>\w+)/pool/(?P<fidelity>\w+)-\d+",
    "experiment": rf"check/(?P<method>\w+)/{_RUN}/(?P<dataset>\w+)/experiments-\d+",
    "experiments": rf"check/(?P<method>\w+)/{_RUN}/(?P<dataset>\w+)/experiments",
    "check": rf"check/(?P<method>\w+)/{_RUN}/(?P<dataset>\w+)/(?P<check>\w+)",
    "look": r"observe/(?P<dataset>\w+)\.look",
    "observe": r"observe/(?P<dataset>\w+)",
    "figures": r"report/figures",
    "report": r"report/(?P<part>\w+)",
}
_GROUPED_BY = {
    "simulate": "fidelity",
    "probe": "fidelity",
    "pool": "fidelity",
    "check": "check",
    "report": "part",
}
MANIFEST_BYTES = 6_000  # of a shard, beside its arrays


@dataclass(frozen=True)
class Piece:
    """What one job does.

    Attributes:
        kind: Which kind of job.
        group: What tells rates of one kind apart: a fidelity, a method, a check.
        where: The parts of the stem by name.
    """

    kind: str
    group: str
    where: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stem: str) -> Piece | None:
        """Returns the piece that a stem names; None where it names none."""
        for kind, pattern in _KINDS.items():
            if match := re.fullmatch(pattern, stem):
                where = match.groupdict()
                return cls(kind, where.get(_GROUPED_BY.get(kind, "method"), ""), where)
        return None


def amount(piece: Piece, layout: Layout) -> float | None:
    """Returns how much work a job does, in units of its kind; None for what the study does not have.

    Simulations: rows by nominal cost; training: rows that the optimiser sees; answers and checks: draws;
    proposals: rows; predictions: data sets; pools: events; experiments: draws or events; reports: runs. 1
    where a job's cost does not grow.
    """
    where = piece.where
    if "method" in where and where["method"] not in layout.methods:
        return None
    if piece.kind in ("simulate", "probe"):
        nominal = layout.task.fidelities.get(where["fidelity"])
        first, last = (
            int(where.get("first", 0)),
            int(where.get("last", layout.study.simulation.probe_rows - 1)),
        )
        return None if nominal is None else (last - first + 1) * nominal
    if piece.kind == "simulate_round":
        return rows_of(piece) * layout.task.fidelities[layout.fidelity(where["method"])]
    if piece.kind in ("propose", "train_round"):
        method, number = layout.methods[where["method"]], int(where["round"])
        so_far = method.round_rows[:number]
        return float(so_far[-1]) if piece.kind == "propose" else method.visits(sum(so_far))
    if piece.kind in ("train", "remedy"):
        rows = sum(layout.source_rows(Run.of(where["method"], where["run"])).values())
        return layout.methods[where["method"]].visits(rows or 1)
    if piece.kind == "nearby":
        return float(np.prod(list(layout.nearby_sizes.values())))
    if piece.kind == "predict":
        sizes = layout.prediction_sizes
        return float((sizes["bands"] or 0) + (sizes["draws"] or draws_for(1)) * (sizes["replicates"] or 0))
    if piece.kind in ("infer", "densities", "check"):
        return float(np.prod(_answers(where, layout)))
    if piece.kind == "exact":
        return float(layout.exact_sizes["observations"] * layout.exact_sizes["draws"])
    if piece.kind == "surfaces":
        grid = layout.surface_sizes
        return float(grid["observations"] * grid["cells"] ** len(layout.task.parameters))
    if piece.kind == "experiment":
        return _of_experiment(layout)
    if piece.kind == "pool":
        return float((layout.study.experiments.pool if layout.study.experiments else None) or 0)
    if piece.kind == "experiments":
        return float(len(layout.batches))
    if piece.kind == "reference_ensemble":
        found = layout.study.reference
        return None if found is None else float(found.walkers * (found.warm_up + found.steps))
    return float(len(layout.runs)) if piece.kind in ("figures", "report") else 1.0


def size(piece: Piece, layout: Layout) -> float | None:
    """Returns the bytes of a job's outputs where the settings decide them: of shards and of draws."""
    row = row_bytes(layout.task)
    if piece.kind in ("simulate", "simulate_round"):
        return float(rows_of(piece) * row + MANIFEST_BYTES)
    if piece.kind == "infer" and not layout.of_classes:
        observations, draws = _answers(piece.where, layout)
        return float(observations * (8 * (len(layout.task.parameters) + 1) * draws + row))
    return None


def rows_of(piece: Piece) -> int:
    """Returns the rows of a shard."""
    return int(piece.where["last"]) - int(piece.where["first"]) + 1


def _answers(where: Mapping[str, str], layout: Layout) -> tuple[int, int]:
    """Observations of a data set, and draws for each."""
    study = layout.study
    if where["dataset"] in LABELLED:
        values = study.experiments.true_values if layout.of_classes and study.experiments else ()
        asked = layout.rows_asked(where["method"]) if where.get("method") in layout.methods else None
        return (len(values) or min(study.test_rows, asked or study.test_rows), study.test_draws)
    return 1, study.draws


def _of_experiment(layout: Layout) -> float | None:
    settings = layout.study.experiments
    if settings is None:
        return None
    if layout.of_classes:
        return float(settings.rows * (len(settings.true_values) * settings.events + settings.fit_rows))
    return float(settings.rows * settings.draws)
