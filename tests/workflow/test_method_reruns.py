"""What a change of a remedy, a weight fit, a calibration set or a coverage study reruns, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import REAL, Project, changeable

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

REPORT = {"metrics", "figures", "provenance", "report", "outcome"}


@pytest.fixture
def methods(finished_methods: Project, tmp_path: Path) -> Project:
    """A copy of the finished studies that a test may change."""
    return changeable(finished_methods, tmp_path / "project")


def test_both_studies_end_in_a_report_and_nothing_is_left_to_do(methods: Project) -> None:
    for study in ("real", "ratios"):
        assert methods.reruns(study=study) == {}
        for name in ("report.html", "metrics.csv", "verdict.json", "provenance.json"):
            assert (methods.folder / "results" / study / name).stat().st_size


# A setting of a study, what its change reruns, how often some of that, and what it must not rerun.
CHANGES: dict[str, tuple[str, str, Any, set[str] | None, dict[str, int], set[str]]] = {
    "another gamma redoes the remedy and what follows": (
        "real", "remedies.rope.gamma", 0.3,
        REPORT | {"remedy", "infer", "exact", "check", "experiment", "experiments"},
        {"remedy": 1, "infer": 1, "exact": 1}, set(),
    ),
    "another remedy leaves banks and estimators alone": (
        "real", "remedies.rope_star", {**REAL["remedies"]["rope"], "tau": 0.9},
        REPORT | {"remedy", "infer", "exact", "check"}, {"remedy": 1, "infer": 1}, set(),
    ),
    "a larger calibration set leaves the simulator's estimator alone": (
        "real", "calibration", [20, 40],
        None, {"remedy": 2, "infer": 2}, {"train", "fine_tune", "simulate", "probe", "observe_simulated"},
    ),
    "more dear simulations leave the cheap training alone": (
        "real", "estimators.late.budgets", [1500], None, {"fine_tune": 1}, {"train", "remedy"},
    ),
    "more cheap simulations redo what was built on them": (
        "real", "estimators.early.budgets", [1000], None, {"train": 1, "fine_tune": 1}, {"remedy"},
    ),
    "another loss of the weight fit retrains nothing": (
        "ratios", "remedies.wifi.loss", "bce",
        REPORT | {"remedy", "estimate", "experiment", "experiments"}, {}, set(),
    ),
    "another training makes no pool anew": (
        "ratios", "estimators.ratios.training.epochs", 3,
        REPORT | {"train", "remedy", "estimate", "experiment", "experiments"}, {"train": 1}, set(),
    ),
    "a larger pool redoes the experiments": (
        "ratios", "experiments.pool", 1200,
        REPORT | {"pool", "observe_mixtures", "estimate", "experiment", "experiments"}, {"pool": 2}, set(),
    ),
    "more pseudo-experiments of posteriors add batches": (
        "real", "experiments.batches", 3,
        REPORT | {"experiment", "experiments"}, {"experiment": 2, "experiments": 1}, set(),
    ),
    "more pseudo-experiments of estimates add batches": (
        "ratios", "experiments.batches", 3,
        REPORT | {"pool", "experiment", "experiments"}, {"pool": 4, "experiment": 2, "experiments": 1}, set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reruns_what_depends_on_it(methods: Project, change: str) -> None:
    study, place, value, rules, counts, never = CHANGES[change]
    settings = methods.settings(study)
    *sections, name = place.split(".")
    section = settings
    for one in sections:
        section = section.setdefault(one, {})
    section[name] = value
    methods.write(settings, study)
    found = methods.reruns(study=study)
    assert rules is None or set(found) == rules
    assert {rule: found.get(rule) for rule in counts} == counts
    assert not set(found) & never


def test_a_batch_is_the_same_whatever_batches_there_are(methods: Project) -> None:
    (batch,) = (methods.folder / "results/ratios").rglob("batch-0000.zarr.zip")
    before = batch.read_bytes()
    batch.unlink()
    methods.snakemake("--", str(batch.relative_to(methods.folder)), study="ratios")
    assert batch.read_bytes() == before


def test_a_remedy_loads_in_a_notebook_with_what_it_wraps(finished_methods: Project) -> None:
    import veridical

    (folder,) = (finished_methods.folder / "results/real/remedy/rope").iterdir()
    rope = veridical.load(folder)
    assert rope.parent is not None and rope.parent.parent is not None
    assert rope.parent.parent.type == "npe"
