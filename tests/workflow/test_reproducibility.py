"""The same study gives the same bits: cut otherwise, on other cores, killed and resumed, elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from veridical import bank
from veridical.evidence import result_digest
from veridical.saved import observations, posteriors

from .conftest import Project, copy_project
from .killing import HOLD, hold_trainings, kill_when_held

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

TASK = f'''
import os
import time
from pathlib import Path

from veridical.tasks.gaussian_linear import GaussianLinear


class Held(GaussianLinear):
    """The Gaussian task; the sixth of its blocks can be held."""

    def simulate(self, theta, noise, fidelity):
        if len(theta) == self.block_rows:
            with open("blocks", "a") as stream:
                stream.write(".")
            if os.stat("blocks").st_size >= 6:
                hold("simulate")
        return super().simulate(theta, noise, fidelity)

{HOLD}'''


def digest(project: Project) -> str:
    return result_digest.digest(project.folder / "results/tiny")


def shards(project: Project, split: str = "*", study: str = "tiny") -> list[Path]:
    return sorted((project.folder / "results/bank").glob(f"*/model/{split}/*.zarr.zip"))


def fingerprints(paths: list[Path]) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_other_shards_and_cores_in_another_folder_give_the_same_results(
    finished: Project, tmp_path: Path
) -> None:
    """That a plain second run elsewhere does so follows. Training keeps to its two threads on one core."""
    other = copy_project(tmp_path / "other")
    other.write({**other.settings(), "simulation": {"shard_rows": 2000, "probe_rows": 20}})
    other.snakemake("--cores", "1")
    for split in ("train-r0", "test"):
        assert [p.name for p in shards(other, split)] == [bank.shard_name(0, 1999)]
        ours, theirs = bank.load(shards(finished, split)), bank.load(shards(other, split), rows=1000)
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], strict=True)
    assert digest(other) == digest(finished)


def test_a_run_killed_twice_and_resumed_gives_the_same_results(finished: Project, tmp_path: Path) -> None:
    """The study of `finished` under its name, with shards of half the size and two planted pauses.

    It is run as far as weights and draws, of which all that follows is a function, as the test above shows.

    The sixth block is the last of three jobs on two cores, so at least one job has ended by then. A job that
    wrote its shard at the moment of the kill, before Snakemake took note, is done again.
    """
    killed = copy_project(tmp_path / "killed")
    (killed.folder / "held.py").write_text(TASK)
    settings = killed.settings()
    settings["task"] |= {"file": "held.py", "class": "Held"}
    killed.write({**settings, "simulation": {"shard_rows": 500, "probe_rows": 50}})
    hold_trainings(killed)

    kill_when_held(killed, "simulate")
    whole = shards(killed)
    assert 1 <= len(whole) < 3
    before = {path: bank.verify(path)["digests"] for path in whole}
    times = {path: path.stat().st_mtime_ns for path in whole}
    locked = killed.snakemake(check=False)
    assert locked.returncode and "--unlock" in locked.stderr
    killed.snakemake("--unlock")

    kill_when_held(killed, "train")
    assert len(shards(killed, "train-r0")) == 2
    assert {path: bank.verify(path)["digests"] for path in whole} == before
    assert any(path.stat().st_mtime_ns == times[path] for path in whole), "all shards were made again"
    results_of_study = killed.folder / "results/tiny"
    (state,) = results_of_study.glob("checkpoints/*/state.ckpt")
    assert not list(results_of_study.rglob("*.safetensors"))
    killed.snakemake("--unlock")

    killed.snakemake("--until", "infer")
    assert not state.exists()
    history = json.loads((results_of_study / "train/npe/n1000-r0/history.json").read_text())
    assert history["resumed_from"] == [1], "training began anew"
    ours, theirs = (project.folder / "results/tiny" for project in (killed, finished))
    weights = "train/npe/n1000-r0/weights.safetensors"
    assert (ours / weights).read_bytes() == (theirs / weights).read_bytes()
    for name in ("simulated", "field"):
        answers = [posteriors.load(place / f"infer/npe/n1000-r0/{name}.nc") for place in (ours, theirs)]
        for part in ("draws", "log_density", "x"):
            np.testing.assert_array_equal(*(getattr(answer, part) for answer in answers), strict=True)


def test_a_larger_budget_adds_shards_and_leaves_the_others_alone(project: Project) -> None:
    before = fingerprints(shards(project))
    project.write({**project.settings(), "budgets": [1000, 2000]})
    counts = project.reruns()
    assert counts["simulate"] == counts["train"] == 1 and "probe" not in counts
    project.snakemake("--until", "simulate")
    assert fingerprints(list(before)) == before
    added = set(shards(project)) - set(before)
    assert {path.name for path in added} == {bank.shard_name(1000, 1999)}


def test_two_studies_share_one_bank(project: Project) -> None:
    before = fingerprints(shards(project))
    project.write({**project.settings(), "study": "second", "budgets": [600], "test_rows": 50}, "second")
    project.snakemake("--until", "simulate", "observe_simulated", study="second")
    assert observations.load(project.folder / "results/second/observe/simulated.nc").x.shape == (50, 2)
    again = set(project.reruns(study="second"))
    assert {"train", "report"} <= again and not again & {"simulate", "probe"}
    assert project.reruns() == {}
    assert fingerprints(shards(project)) == before


def test_the_command_prints_the_digest_of_a_study(finished: Project) -> None:
    told = finished.veridical("digest", "results/tiny").stdout
    assert told.split() == [digest(finished), "results/tiny"]
