"""The jobs that a study is made of, from its settings alone: rule, log and outputs of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from veridical import checks
from veridical.coordinates import SIMULATED, Run
from veridical.saved.beside import BESIDE
from veridical.study import told
from veridical.study.collections import Studies
from veridical.study.layout import Layout

STAGES = {
    "simulate": ("probe", "simulate"),
    "observe": ("observe", "observe_simulated", "observe_mixtures", "look"),
    "train": ("train", "fine_tune", "propose", "simulate_round", "train_round", "gather", "allocation"),
    "remedy": ("remedy",),
    "infer": (
        *("infer", "estimate", "reference_ensemble", "reference"),
        *(one.rule for one in BESIDE.values()),
    ),
    "check": ("check", "pool", "experiment", "experiments"),
    "report": ("first_page", "metrics", "figures", "provenance", "report", "outcome", "collection"),
}
_STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}
_ARTIFACT = ("weights.safetensors", "estimator.json", "history.json", "cost.json")


@dataclass(frozen=True)
class Job:
    """One job of a study.

    Attributes:
        rule: Its rule.
        folder: The folder below which its log lies in `logs/`: that of the results, the report or the bank.
        stem: The name of its log there, without suffix.
        outputs: The files or folders that it makes.
    """

    rule: str
    folder: str
    stem: str
    outputs: tuple[str, ...]

    @property
    def stage(self) -> str:
        """Its stage."""
        return _STAGE_OF[self.rule]

    @property
    def log(self) -> str:
        """Path of its log."""
        return f"{self.folder}/logs/{self.stem}.log"

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return name_of(self.rule, self.stem)


def name_of(rule: str, stem: str) -> str:
    """Returns what a reader calls a job: the name of its log, after its rule where that does not say it."""
    return stem if rule in stem else f"{rule} {stem}".rstrip()


def stage_of(rule: str) -> str | None:
    """Returns the stage of a rule, also where a user's workflow gave it a prefix; None for the target `all`.

    A rule that is none of ours belongs to `other`.
    """
    if rule == "all" or rule.endswith("_all"):
        return None
    known = [name for name in _STAGE_OF if rule == name or rule.endswith(f"_{name}")]
    return _STAGE_OF[max(known, key=len)] if known else "other"


def all_jobs(studies: Studies) -> list[Job]:
    """Returns all jobs of some studies, each once, and that of the page on all of them."""
    found = {job.log: job for layout in studies.layouts.values() for job in jobs(layout)}
    made = (f"{studies.report}/report.html", f"{studies.report}/metrics.csv")
    page = [Job("collection", studies.report, "report/collection", made)] if studies.collection else []
    return [*found.values(), *page]


def jobs(layout: Layout) -> list[Job]:
    """Returns all jobs of a study, whether or not they have been done."""
    found = [*_simulate(layout), *_observe(layout), *_fit(layout), *_infer(layout), *_check(layout)]
    return found + list(_report(layout))


def _simulate(layout: Layout) -> Iterator[Job]:
    for fidelity in dict.fromkeys(part.split("/")[0] for part in layout.used_rows):
        folder = layout.bank_of(fidelity)
        yield Job("probe", folder, f"probe-{fidelity}", (f"{folder}/{fidelity}/probe.json",))
    for shard in layout.all_shards():
        folder = next(bank for bank in layout.banks if shard.startswith(f"{bank}/"))
        stem = PurePosixPath(shard).relative_to(folder).as_posix().removesuffix(".zarr.zip")
        yield Job("simulate", folder, stem, (shard,))


def _observe(layout: Layout) -> Iterator[Job]:
    asked = {dataset for run in layout.runs for dataset in layout.datasets(run)}
    asked |= {SIMULATED, *layout.observations} if layout.observations else set()
    for dataset in sorted(asked):
        rule = "observe_mixtures" if layout.of_classes else "observe_simulated"
        rule = "observe" if dataset in layout.observations else rule
        yield Job(rule, layout.results, f"observe/{dataset}", (f"{layout.results}/observe/{dataset}.nc",))
    for dataset in layout.observations:
        stem = f"observe/{dataset}.look"
        yield Job("look", layout.results, stem, (f"{layout.results}/{stem}.json",))


def _rounds(layout: Layout, run: Run) -> Iterator[Job]:
    for place in layout.rounds(run):
        folder = layout.round_folder(run, *place)
        stem = PurePosixPath(folder).relative_to(layout.results).as_posix()
        if place[1] > 1:
            yield Job("propose", layout.results, f"{stem}/proposal", (layout.proposal(run, *place),))
            for shard in layout.round_shards(run, *place):
                name = PurePosixPath(shard).name.removesuffix(".zarr.zip")
                yield Job("simulate_round", layout.results, f"{stem}/{name}", (shard,))
        outputs = tuple(f"{folder}/{name}" for name in _ARTIFACT)
        yield Job("train_round", layout.results, f"{stem}/train", outputs)


def _fit(layout: Layout) -> Iterator[Job]:
    for run in layout.runs:
        yield from _rounds(layout, run)
        folder = layout.artifact(run)
        stem = PurePosixPath(folder).relative_to(layout.results).as_posix()
        stem = f"rounds/{run.folder}/gather" if layout.methods[run.method].local else stem
        rule = told.maker(layout, run.method)
        yield Job(rule, layout.results, stem, tuple(f"{folder}/{name}" for name in _ARTIFACT))
    for path in layout.allocations():
        yield Job("allocation", layout.results, "allocation", (path,))


def _infer(layout: Layout) -> Iterator[Job]:
    for run in layout.runs:
        rule = "estimate" if layout.answers(run.method) == "estimate" else "infer"
        for dataset in layout.datasets(run):
            stem, asked = f"infer/{run.folder}/{dataset}", layout.applicable(run, dataset)
            yield Job(rule, layout.results, stem, (layout.answer(run, dataset),))
            needs = {need for check in asked for need in checks.needs(check)}
            for suffix, one in BESIDE.items():
                if one.asked_by(needs):
                    own = f"{stem}.{suffix}"
                    yield Job(one.rule, layout.results, own, (f"{layout.results}/{own}.npz",))
    for path in layout.references:
        stem = PurePosixPath(path).relative_to(layout.results).with_suffix("").as_posix()
        for ensemble in range(layout.study.reference.ensembles if layout.study.reference else 0):
            own = f"{stem}/ensemble-{ensemble}"
            yield Job("reference_ensemble", layout.results, own, (f"{layout.results}/{own}.npz",))
        yield Job("reference", layout.results, stem, (path,))


def _check(layout: Layout) -> Iterator[Job]:
    for path in layout.check_results():
        stem = PurePosixPath(path).relative_to(layout.results).with_suffix("").as_posix()
        rule = "experiments" if stem.endswith("/experiments") else "check"
        yield Job(rule, layout.results, stem, (path,))
    for run, dataset in layout.experiments:
        for batch in layout.batches:
            stem = f"check/{run.folder}/{dataset}/experiments"
            shard = f"{layout.results}/{stem}/batch-{batch}.zarr.zip"
            yield Job("experiment", layout.results, f"{stem}-{batch}", (shard,))
    asked = [(run.method, batch) for run, _ in layout.experiments for batch in layout.batches]
    for path in dict.fromkeys(path for one in asked for path in told.pool(layout, *one)):
        stem = PurePosixPath(path).relative_to(layout.results).with_suffix("").as_posix()
        yield Job("pool", layout.results, stem, (path,))


def _report(layout: Layout) -> Iterator[Job]:
    made = {
        "metrics": ("metrics.csv", "verdict.json"),
        "figures": ("figures",),
        "provenance": ("provenance.json",),
        "report": ("report.html",),
        "outcome": ("outcome.json",),
    }
    for rule, names in made.items():
        paths = tuple(f"{layout.report}/{name}" for name in names)
        yield Job(rule, layout.report, f"report/{rule}", paths)
