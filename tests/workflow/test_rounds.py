"""Rounds of simulations in a study: from settings to the report, and what a change redoes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Project, changeable, copy_project, counts_of
from .killing import HOLD, hold_trainings, kill_when_held

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

FOLLOWING = {"gather", "infer", "nearby", "predict", "densities", "check", "metrics", "figures", "provenance"}
FOLLOWING |= {"report", "outcome"}
ROUND = "results/rounds/rounds/tsnpe/n1000-r0/observation-0/round-2"


@pytest.fixture
def rounds(finished_rounds: Project, tmp_path: Path) -> Project:
    """A copy that a test may change."""
    return changeable(finished_rounds, tmp_path / "project")


def test_a_study_of_rounds_alone_ends_in_a_report(finished_rounds: Project) -> None:
    """No calibration on simulated data is asked for; the report says why, and how the rounds went."""
    assert finished_rounds.reruns(study="rounds") == {}
    results = finished_rounds.folder / "results/rounds"
    run = results / "check/tsnpe/n1600-r0"
    assert sorted(path.name for path in run.iterdir()) == ["field"]
    checks = {path.stem for path in (run / "field").iterdir()}
    assert "typicality" in checks and not checks & {"sbc", "coverage", "tarp"}
    (verdict,) = json.loads((results / "verdict.json").read_text())["verdicts"]
    (found,) = (f for f in verdict["findings"] if f["rule"] == "learned_here")
    assert found["outcome"] == "good" and "no calibration on average over the prior" in found["text"]
    page = (results / "report.html").read_text()
    assert "Rounds of simulations" in page and "no calibration on average over the prior" in page


@pytest.mark.parametrize(
    ("changes", "counts", "others"),
    [
        ({"rounds": 3}, {"propose": 1, "simulate_round": 1, "train_round": 1}, FOLLOWING),
        ({"rounds": 1}, {}, FOLLOWING),
        ({"epsilon": 1e-2}, {"train_round": 2, "propose": 1, "simulate_round": 1}, FOLLOWING),
        ({"rows": [1000, 500]}, {"train_round": 1, "propose": 1, "simulate_round": 1}, FOLLOWING),
    ],
    ids=["one more round", "one round less", "another region", "fewer rows in the last round"],
)
def test_a_change_redoes_what_follows_it(
    rounds: Project, changes: dict[str, Any], counts: dict[str, int], others: set[str]
) -> None:
    settings = rounds.settings("rounds")
    settings["estimators"]["tsnpe"] |= changes
    rounds.write(settings, "rounds")
    found = rounds.reruns(study="rounds")
    assert {rule: n for rule, n in found.items() if rule not in others} == counts


def test_rounds_wait_for_the_method_that_they_begin_with(finished_rounds: Project, tmp_path: Path) -> None:
    """A dry-run shows its training, and that all rounds are done again."""
    rounds = changeable(finished_rounds, tmp_path / "project")
    settings = rounds.settings("rounds")
    settings["estimators"]["low"] = {**settings["estimators"]["tsnpe"]["posterior"], "budgets": [500]}
    settings["estimators"]["tsnpe"]["start"] = "low"
    rounds.write(settings, "rounds")
    done = rounds.snakemake("--dry-run", "--until", "gather", study="rounds")
    told = done.stdout + done.stderr
    assert told.count("results/rounds/train/low/n500-r0/weights.safetensors") >= 3  # made once, read twice
    assert {"train": 1, "train_round": 2, "propose": 1, "gather": 1}.items() <= counts_of(told).items()


def test_a_round_that_is_killed_twice_is_resumed(finished_rounds: Project, tmp_path: Path) -> None:
    """While it proposes and in the middle of its training: the same bits, and no round before it again."""
    killed = copy_project(tmp_path / "killed")
    (killed.folder / "config/data/field.csv").write_text("x0,x1\n0.3,-0.2\n")
    killed.write(finished_rounds.settings("rounds"), "rounds")
    hold_trainings(killed)
    stage = "src/veridical/stages/rounds.py"
    killed.edit(stage, "    write_npz(out, {", "    hold('propose')\n    write_npz(out, {")
    with (killed.folder / stage).open("a") as stream:
        stream.write(f"import os, time\n{HOLD}")

    kill_when_held(killed, "propose", "rounds")
    killed.snakemake("--unlock", study="rounds")
    first = killed.folder / Path(ROUND).parent / "round-1/weights.safetensors"
    before = first.stat().st_mtime_ns
    assert not (killed.folder / ROUND / "proposal.npz").exists()
    kill_when_held(killed, "train", "rounds")
    killed.snakemake("--unlock", study="rounds")
    assert list((killed.folder / ROUND).glob("rows-*")) and first.stat().st_mtime_ns == before

    killed.snakemake("--until", "gather", study="rounds")
    history = json.loads((killed.folder / ROUND / "history.json").read_text())
    assert history["resumed_from"], "the round's training began anew"
    assert first.stat().st_mtime_ns == before
    for path in (f"{ROUND}/proposal.npz", "results/rounds/train/tsnpe/n1600-r0/weights.safetensors"):
        assert (killed.folder / path).read_bytes() == (finished_rounds.folder / path).read_bytes()


@pytest.mark.parametrize("shard_rows", [1000, 250])
def test_rounds_have_the_same_bits_after_losses_and_for_other_shards(
    rounds: Project, shard_rows: int
) -> None:
    """With the shards as they were, a kill in the middle of the last round; else all rounds are made anew."""
    results, last = rounds.folder / "results/rounds", rounds.folder / ROUND
    weights, proposal = results / "train/tsnpe/n1600-r0/weights.safetensors", last / "proposal.npz"
    before, theta = weights.read_bytes(), np.load(proposal)["theta"]
    for path in (p for p in results.iterdir() if p.name not in ("observe", "rounds")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if shard_rows == 1000:
        for path in (proposal, next(last.glob("rows-*")), *last.glob("*.json"), *last.glob("*.safetensors")):
            path.unlink()
    else:
        shutil.rmtree(results / "rounds")
        settings = rounds.settings("rounds")
        settings["simulation"]["shard_rows"] = shard_rows
        rounds.write(settings, "rounds")
    rounds.snakemake("--until", "gather", study="rounds")
    assert weights.read_bytes() == before
    assert np.array_equal(np.load(proposal)["theta"], theta)
