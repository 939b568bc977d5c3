"""What a change of a remedy, a weight fit, a calibration set or a coverage study reruns, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import REAL, Project, changeable

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

REPORT = {"metrics", "figures", "provenance", "report"}


@pytest.fixture
def methods(finished_methods: Project, tmp_path: Path) -> Project:
    """A copy of the finished studies that a test may change."""
    return changeable(finished_methods, tmp_path / "project")


def change(project: Project, study: str, *path: str, to: Any) -> None:
    """Changes one setting of a study there."""
    settings = project.settings(study)
    section = settings
    for name in path[:-1]:
        section = section.setdefault(name, {})
    section[path[-1]] = to
    project.write(settings, study)


def test_both_studies_end_in_a_report_and_nothing_is_left_to_do(methods: Project) -> None:
    for study in ("real", "ratios"):
        assert methods.reruns(study=study) == {}
        for name in ("report.html", "metrics.csv", "verdict.json", "provenance.json"):
            assert (methods.folder / "results" / study / name).stat().st_size


@pytest.mark.parametrize(("setting", "value"), [("gamma", 0.3), ("tau", 0.9)])
def test_another_gamma_or_tau_redoes_the_remedy_and_what_follows(
    methods: Project, setting: str, value: float
) -> None:
    change(methods, "real", "remedies", "rope", setting, to=value)
    counts = methods.reruns(study="real")
    assert set(counts) == REPORT | {"remedy", "infer", "exact", "check", "experiment", "experiments"}
    assert counts["remedy"] == counts["infer"] == counts["exact"] == 1


def test_another_remedy_leaves_banks_and_estimators_alone(methods: Project) -> None:
    star = {**REAL["remedies"]["rope"], "tau": 0.9}
    change(methods, "real", "remedies", "rope_star", to=star)
    counts = methods.reruns(study="real")
    assert set(counts) == REPORT | {"remedy", "infer", "exact", "check"}
    assert counts["remedy"] == counts["infer"] == 1


def test_a_larger_calibration_set_leaves_the_simulators_estimator_alone(methods: Project) -> None:
    change(methods, "real", "calibration", to=[20, 40])
    counts = methods.reruns(study="real")
    assert not set(counts) & {"train", "fine_tune", "simulate", "probe", "observe_simulated"}
    assert counts["remedy"] == counts["infer"] == 2


def test_more_dear_simulations_leave_the_cheap_training_alone(methods: Project) -> None:
    change(methods, "real", "estimators", "late", "budgets", to=[1500])
    counts = methods.reruns(study="real")
    assert counts["fine_tune"] == 1
    assert "train" not in counts and "remedy" not in counts


def test_more_cheap_simulations_redo_what_was_built_on_them(methods: Project) -> None:
    change(methods, "real", "estimators", "early", "budgets", to=[1000])
    counts = methods.reruns(study="real")
    assert counts["train"] == counts["fine_tune"] == 1
    assert "remedy" not in counts


def test_another_loss_of_the_weight_fit_retrains_nothing(methods: Project) -> None:
    change(methods, "ratios", "remedies", "wifi", "loss", to="bce")
    counts = methods.reruns(study="ratios")
    assert set(counts) == REPORT | {"remedy", "estimate", "experiment", "experiments"}


@pytest.mark.parametrize("study", ["real", "ratios"])
def test_more_pseudo_experiments_add_batches_and_redo_nothing_else(methods: Project, study: str) -> None:
    change(methods, study, "experiments", "batches", to=3)
    counts = methods.reruns(study=study)
    assert set(counts) == REPORT | {"experiment", "experiments"}
    assert (counts["experiment"], counts["experiments"]) == (2, 1)


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
