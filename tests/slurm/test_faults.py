"""What goes wrong on a cluster, one thing at a time: each time the study ends with the same results.

Jobs are hit where it hurts (see `holds`). A test begins with a finished study that has lost its only shard to
train on, or its trained method. What was lost is made again on the cluster; what follows from a newly trained
method is made on this machine. The digest over all of it then tells whether everything is as before.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from veridical import bank
from veridical.errors import BankError
from veridical.study.resources import JOB_MB

from .conftest import digest
from .holds import let_go, order, wait_until_held
from .on_slurm import PROVENANCE, Job, Main, SlurmProject, cluster, node_of, query, wait_for

pytestmark = pytest.mark.slurm

METHOD = "results/tiny/train/npe/n1000-r0"
LOG = "results/tiny/logs/train/npe/n1000-r0.log"


def shard(project: SlurmProject) -> Path:
    (level,) = project.folder.glob("results/bank/*/model")
    return level / "train-r0" / bank.shard_name(0, 999)


def simulate(project: SlurmProject, *options: str) -> Main:
    """Has the shard made on the cluster."""
    return project.start(*options, "--", str(shard(project).relative_to(project.folder)))


def train(project: SlurmProject, *options: str) -> Main:
    """Has the method trained on the cluster."""
    return project.start(*options, "--", f"{METHOD}/weights.safetensors")


def lose_shard(project: SlurmProject) -> None:
    shard(project).unlink()


def lose_method(project: SlurmProject) -> None:
    shutil.rmtree(project.folder / METHOD)


@contextmanager
def held_in(project: SlurmProject, place: str, *options: str, passes: int = 1) -> Iterator[Main]:
    """The run that makes the lost shard again, or the lost method, whose job is held at a place."""
    lose, make = (lose_method, train) if place == "train" else (lose_shard, simulate)
    lose(project)
    order(project, place, passes)
    with make(project, *options) as main:
        wait_until_held(main, place)
        yield main


def finish(project: SlurmProject) -> str:
    """Makes on this machine what follows from a newly trained method; returns the digest of the study."""
    project.local.snakemake("--", PROVENANCE)
    return digest(project)


def left_behind(project: SlurmProject) -> list[Path]:
    """Files and folders that a simulation works in."""
    return list(shard(project).parent.glob(".*"))


def slurm(*command: str) -> None:
    subprocess.run(command, check=True)


def seconds_of(number: str) -> int:
    """For how long a job has been running."""
    ((elapsed,),) = query(
        "sacct", "--allocations", "--noheader", "--parsable2", "-j", number, "-o", "ElapsedRaw"
    )
    return int(elapsed)


def jobs_of(main: Main, rule: str) -> list[Job]:
    return [job for job in main.jobs() if job.name.startswith(f"rule_{rule}_")]


def states(main: Main, rule: str) -> list[str]:
    return [job.state for job in jobs_of(main, rule)]


def history(project: SlurmProject) -> dict[str, Any]:
    return json.loads((project.folder / METHOD / "history.json").read_text())


def resumed_after(project: SlurmProject, looks: int) -> bool:
    """Whether training went on once, from the state after so many of its nine looks at the loss."""
    steps = [look["step"] for look in history(project)["epochs"]]
    return len(steps) == 9 and history(project)["resumed_from"] == [steps[looks - 1]]


@contextmanager
def away(*daemons: str) -> Iterator[None]:
    """The cluster without some of its daemons."""
    cluster("away", *daemons)
    try:
        yield
    finally:
        cluster("start")


def unlock(project: SlurmProject) -> None:
    """What the message of a new run asks for after the old one was killed."""
    locked = project.snakemake(check=False)
    assert locked.returncode
    assert "--unlock" in locked.stdout + locked.stderr
    project.snakemake("--unlock")


# ---- simulations -----------------------------------------------------------------------------------


def test_a_simulation_that_is_cancelled_is_submitted_again(project: SlurmProject, undisturbed: str) -> None:
    with held_in(project, "simulate") as main:
        slurm("scancel", main.running("simulate"))
        main.end()
        assert states(main, "simulate") == ["CANCELLED", "COMPLETED"]
    assert left_behind(project) == []
    assert digest(project) == undisturbed


def test_a_shard_is_whole_although_its_writer_was_killed(project: SlurmProject, undisturbed: str) -> None:
    with held_in(project, "write") as main:
        writer = wait_until_held(main, "write")
        (torn,) = left_behind(project)
        assert torn.stat().st_size > 0
        assert not zipfile.is_zipfile(torn)
        os.kill(writer, signal.SIGKILL)
        main.end()
        assert states(main, "simulate") == ["FAILED", "COMPLETED"]
    assert left_behind(project) == []
    bank.verify(shard(project))
    assert digest(project) == undisturbed


def test_a_job_over_its_memory_gets_twice_as_much(project: SlurmProject, undisturbed: str) -> None:
    """Each of its blocks needs as much as the whole job may have."""
    (project.folder / "ballast").write_text(f"{JOB_MB}")
    with held_in(project, "simulate") as main:
        main.end()
        first, second = jobs_of(main, "simulate")
    assert first.state in ("FAILED", "OUT_OF_MEMORY")
    assert second.state == "COMPLETED"
    assert second.id != first.id
    assert (second.mem_mb, second.minutes) == (2 * first.mem_mb, 2 * first.minutes)
    assert digest(project) == undisturbed


def test_the_job_of_a_silent_node_runs_elsewhere(project: SlurmProject, undisturbed: str) -> None:
    """As behind a broken network: the old process lives on, and writes the same shard as the new one."""
    with held_in(project, "simulate") as main:
        number = main.running("simulate")
        node = node_of(number)
        cluster("hang", node)
        try:
            wait_for(lambda: node_of(number) not in ("", node), "the job on another node")
            let_go(project, "simulate")
            main.end()
        finally:
            cluster("wake", node)
        first, second = jobs_of(main, "simulate")
    assert (first.state, second.state) == ("NODE_FAIL", "COMPLETED")
    assert first.id == second.id
    assert first.node != second.node
    bank.verify(shard(project))
    assert digest(project) == undisturbed


# ---- trainings -------------------------------------------------------------------------------------


def test_a_training_over_its_time_goes_on_in_a_longer_job(project: SlurmProject, undisturbed: str) -> None:
    """SLURM looks for such jobs twice a minute; the time of this one is cut short to wait no longer."""
    with held_in(project, "train", passes=5) as main:
        (before,) = jobs_of(main, "train")
        slurm("scontrol", "update", f"JobId={before.id}", "EndTime=now")
        main.end()
        first, second = jobs_of(main, "train")
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert second.minutes == 2 * before.minutes
    assert resumed_after(project, looks=5)
    assert finish(project) == undisturbed


def test_a_training_ends_itself_before_slurm_does(project: SlurmProject, undisturbed: str) -> None:
    """It is held until the last quarter of its only minute, which is kept for saving its state."""
    with held_in(project, "train", "--set-resources", "train:runtime=1", passes=5) as main:
        number = main.running("train")
        wait_for(lambda: seconds_of(number) >= 47, "the time to stop")
        let_go(project, "train")
        main.end()
        first, second = jobs_of(main, "train")
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    (log,) = project.folder.glob(f".snakemake/slurm_logs/rule_train/**/{first.id}.log")
    assert "TrainingError: the job's time ends after" in log.read_text()
    assert resumed_after(project, looks=6)
    assert finish(project) == undisturbed


def test_a_training_that_is_preempted_goes_on(project: SlurmProject, undisturbed: str) -> None:
    """It ends for a job that wants its whole node, and starts again under its old number."""
    with held_in(project, "train", passes=5) as main:
        node = node_of(main.running("train"))
        urgent = ("--partition=urgent", "--account=test", "--exclusive", f"--nodelist={node}")
        slurm("sbatch", *urgent, "--output=/dev/null", "--wrap=sleep 1")
        main.end()
        first, second = jobs_of(main, "train")
    assert (first.state, second.state) == ("PREEMPTED", "COMPLETED")
    assert first.id == second.id
    assert resumed_after(project, looks=5)
    assert finish(project) == undisturbed


# ---- the controller, the main process ----------------------------------------------------------------


def test_jobs_end_although_nobody_answers(project: SlurmProject, undisturbed: str) -> None:
    """Controller and accounting are away for so long that more than five queries get no answer."""
    lose_shard(project)
    lose_method(project)
    order(project, "simulate")
    with train(project) as main:
        wait_until_held(main, "simulate")
        with away("slurmctld", "slurmdbd"):
            let_go(project, "simulate")
            time.sleep(45)
        main.end()
        assert [job.state for job in main.jobs()] == ["COMPLETED", "COMPLETED"]
    assert finish(project) == undisturbed


def test_a_job_that_is_due_while_the_controller_is_away_is_submitted_again(
    project: SlurmProject, undisturbed: str
) -> None:
    lose_method(project)
    with ExitStack() as ended:
        ended.enter_context(away("slurmctld"))
        with train(project) as main:
            wait_for(lambda: "sbatch failed" in main.log.read_text(), "a submission that fails")
            ended.close()
            main.end()
            assert [job.state for job in main.jobs()] == ["COMPLETED"]
    assert finish(project) == undisturbed


def test_a_second_run_waits_for_the_training_of_a_killed_one(project: SlurmProject, undisturbed: str) -> None:
    checkpoints = project.folder / "results/tiny/checkpoints"
    with held_in(project, "train", passes=5) as first:
        first.kill()
        unlock(project)
        with train(project) as second:
            wait_for(lambda: list(checkpoints.glob("*/waiting-*")), "the second job to wait")
            assert states(first, "train") == states(second, "train") == ["RUNNING"]
            let_go(project, "train")
            second.end()
            wait_for(lambda: states(first, "train") == states(second, "train") == ["COMPLETED"], "both jobs")
    assert history(project)["resumed_from"] == [], "one of them trained, from the beginning to the end"
    assert not list(checkpoints.iterdir()), "nobody cleared up"
    assert finish(project) == undisturbed


def test_a_second_run_may_write_the_shard_of_a_killed_one(project: SlurmProject, undisturbed: str) -> None:
    """Both have the same content, and a shard gets its name when it is whole."""
    with held_in(project, "write") as first:
        first.kill()
        unlock(project)
        with simulate(project) as second:
            second.end()
            whole = shard(project).read_bytes()
            let_go(project, "write")
            wait_for(lambda: states(first, "simulate") == ["COMPLETED"], "the job of the killed run")
    assert shard(project).read_bytes() == whole
    assert left_behind(project) == []
    assert digest(project) == undisturbed


# ---- files that are lost or damaged ------------------------------------------------------------------


def test_a_shard_lost_after_the_end_is_made_again_alone(project: SlurmProject, undisturbed: str) -> None:
    lose_shard(project)
    with pytest.raises(BankError, match=f"`-- {re.escape(str(shard(project)))}`"):
        digest(project)
    with simulate(project) as main:
        main.end()
        assert [(job.name.split("_")[1], job.state) for job in main.jobs()] == [("simulate", "COMPLETED")]
    assert project.local.reruns("--", PROVENANCE) == {}
    assert digest(project) == undisturbed


def test_a_damaged_shard_is_named_with_its_remedy(project: SlurmProject, undisturbed: str) -> None:
    lose_method(project)
    content = bytearray(shard(project).read_bytes())
    content[len(content) // 4] ^= 1  # in a chunk: metadata come last
    shard(project).write_bytes(content)
    with train(project, "--retries", "0") as main:
        said = main.end(good=False)
        assert states(main, "train") == ["FAILED"]
    assert LOG in said, "who reads the terminal is not led to the reason"
    reason = (project.folder / LOG).read_text().splitlines()[-2]
    assert reason.startswith(f"BankError: {shard(project).relative_to(project.folder)}: ")
    assert "Delete it and run again" in reason
    lose_shard(project)
    with train(project) as again:
        again.end()
        assert [job.name.split("_")[1] for job in again.jobs()] == ["simulate", "train"]
    assert finish(project) == undisturbed
