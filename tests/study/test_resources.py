"""What jobs ask a scheduler for: as declared, as measured, and nothing that reruns anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import job
from veridical.coordinates import Run
from veridical.errors import SettingError
from veridical.study import resources as needs
from veridical.study import settings
from veridical.study.layout import Layout

BASE: dict[str, Any] = {
    "study": "small",
    "seed": 1,
    "task": {"name": "gaussian_linear", "settings": {"dimension": 10, "real_noise_sd": 1.4}},
    "simulation": {"shard_rows": 10_000},
    "estimators": {"npe": {"type": "npe"}},
    "budgets": [20_000],
    "calibration": [50],
}
OWN = """
from veridical.tasks.gaussian_linear import GaussianLinear
from veridical.tasks.needs import Needs


class Heavy(GaussianLinear):
    needs = Needs(cores=4, mem_mb=500, seconds={"model": 0.5}, modules=("gcc/12",))
"""


def make(**changes: Any) -> Layout:
    return Layout(settings.parse(settings.merge(BASE, changes)))


def heavy(folder: Path, text: str = OWN, **simulation: Any) -> Layout:
    (folder / "heavy.py").write_text(text)
    task = {"name": "heavy", "file": str(folder / "heavy.py"), "class": "Heavy"}
    simulation = {"shard_rows": 10_000, **simulation}
    return Layout(settings.parse({**BASE, "task": task, "simulation": simulation}))


def probe(folder: Path, seconds: float) -> Path:
    path = folder / "probe.json"
    path.write_text(json.dumps({"fidelities": {"model": {"seconds_per_row": seconds}}}))
    return path


def test_a_task_declares_its_needs_and_a_study_changes_some(tmp_path: Path) -> None:
    found = needs.simulation_needs(heavy(tmp_path))
    assert (found.cores, found.mem_mb, found.modules) == (4, 500, ("gcc/12",))
    changed = needs.simulation_needs(heavy(tmp_path, mem_mb=0, modules=["gcc/13", "openmpi/4.1"]))
    assert (changed.cores, changed.mem_mb, list(changed.modules)) == (4, 0, ["gcc/13", "openmpi/4.1"])


def test_needs_make_no_new_bank_and_no_other_training() -> None:
    asked = {"cores": 8, "mem_mb": 4000, "seconds": {"model": 60.0}, "modules": ["gcc"]}
    plain, other = make(), make(simulation=asked)
    run = Run("npe", 20_000, 0)
    assert other.bank == plain.bank
    assert other.spec("npe") == plain.spec("npe")
    assert other.method_code("train", run) == plain.method_code("train", run)


def test_memory_holds_the_arrays() -> None:
    layout = make()
    row = 10 * 8 + 10 * 4 + 1
    assert needs.row_bytes(layout.task) == row
    arrays = {"theta": np.empty((1, 10)), "x": np.empty((1, 10), "float32"), "status": np.empty(1, "uint8")}
    assert sum(a.nbytes for a in arrays.values()) == row
    small, large = (needs.train_mb(make(budgets=[n]), Run("npe", n, 0)) for n in (10_000_000, 20_000_000))
    assert large - small == pytest.approx(needs.TRAIN_COPIES * 10 * row, abs=1)
    grown = needs.simulate_mb(make(simulation={"shard_rows": 1_000_000})) - needs.simulate_mb(layout)
    assert grown == pytest.approx(needs.SIMULATE_COPIES * 0.99 * row, abs=1)


def test_time_follows_what_was_declared_or_else_measured(tmp_path: Path) -> None:
    limit = make().study.simulation.time_limit / 60
    quick = needs.simulate_minutes(make(), "model", probe(tmp_path, 1e-6))
    slow = needs.simulate_minutes(make(), "model", probe(tmp_path, 0.6))
    assert quick == needs.START_MINUTES + limit + 1
    assert slow == pytest.approx(needs.START_MINUTES + limit + needs.TIME_MARGIN * 100, abs=1)
    declared = needs.simulate_minutes(heavy(tmp_path), "model", tmp_path / "missing.json")
    assert declared == pytest.approx(needs.START_MINUTES + limit + needs.TIME_MARGIN * 5000 / 4 / 60, abs=1)
    with pytest.raises(FileNotFoundError):
        needs.simulate_minutes(make(), "model", tmp_path / "missing.json")


def test_the_table_of_all_runs_takes_memory_for_each_of_them() -> None:
    few, many = (needs.metrics_mb(make(replicates=n)) for n in (1, 1000))
    assert few == needs.METRICS_MB + 1
    assert many - few == pytest.approx(needs.METRICS_RUN_MB * 999, abs=1)


def patient(folder: Path, timed_out: int | None, **simulation: Any) -> int:
    """Minutes of a task whose time-outs are data, of whose 200 probed rows some were late; None: no probe."""
    changed = OWN.replace("needs = ", "timeout_is_data = True\n    needs = ")
    layout = heavy(folder, changed, **{"time_limit": 60, "seconds": {"model": 1e-6}, **simulation})
    found = {"seconds_per_row": 1e-6, "rows": 200, "counts": {"timed_out": timed_out}}
    path = folder / "probe.json"
    if timed_out is not None:
        path.write_text(json.dumps({"fidelities": {"model": found}}))
    return needs.simulate_minutes(layout, "model", path)


def test_late_blocks_have_the_time_to_be_redone_where_timeouts_are_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        patient(tmp_path, None)
    least = needs.START_MINUTES + 1 + 1  # the limit of a block, and what little is simulated
    assert patient(tmp_path, 0) == least + 3  # ten blocks, four at a time
    assert patient(tmp_path, 2) == least + 3 + 100 / 4  # of 10,000 rows 100 are late, four at a time
    assert patient(tmp_path, 2, cores=1) == least + 10 + 100
    assert patient(tmp_path, 2, cores=40) == least + 1 + 3


def test_a_shard_is_simulated_on_no_more_cores_than_it_has_blocks(tmp_path: Path) -> None:
    wide = make(simulation={"cores": 64, "shard_rows": 2000})
    minutes = needs.simulate_minutes(wide, "model", probe(tmp_path, 0.6))
    limit = wide.study.simulation.time_limit / 60
    assert minutes == pytest.approx(needs.START_MINUTES + limit + needs.TIME_MARGIN * 0.6 * 1000 / 60, abs=1)


@pytest.mark.parametrize(
    ("method", "gpus"),
    [
        ({"type": "npe"}, 1),
        ({"type": "npe", "training": {"accelerator": "cpu"}}, 0),
        ({"type": "ensemble"}, 1),
        ({"type": "ensemble", "member": {"training": {"accelerator": "cpu"}}}, 0),
        ({"type": "j_npe"}, 1),
        ({"type": "mlp"}, 0),
        ({"type": "mlp", "training": {"accelerator": "gpu"}}, 1),
        ({"type": "ridge"}, 0),
        ({"type": "prior"}, 0),
        ({"type": "own", "file": "f.py", "class": "C"}, 0),
        ({"type": "own", "file": "f.py", "class": "C", "gpus": 2}, 2),
    ],
)
def test_networks_that_learn_from_simulations_ask_for_a_gpu(method: dict[str, Any], gpus: int) -> None:
    name = "prior" if method["type"] == "prior" else "asked"
    assert make(estimators={name: method}).methods[name].job_gpus == gpus


def test_remedies_run_on_cpus() -> None:
    remedies = {"tuned": {"type": "tuned", "of": "npe"}, "rope": {"type": "rope", "of": "tuned"}}
    layout = make(remedies=remedies)
    assert [layout.methods[name].job_gpus for name in remedies] == [0, 0]


def test_modules_are_names_not_commands() -> None:
    with pytest.raises(SettingError, match=r"simulation\.modules"):
        make(simulation={"modules": ["gcc; rm -rf /"]})


def test_a_job_under_slurm_ends_before_it_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Job:
        class resources:
            runtime = 60

    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.setattr(job.time, "time", lambda: 1000.0)
    assert job.deadline(Job) is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert job.deadline(Job) == 1000 + 3600 - job.END_SECONDS
    Job.resources.runtime = 2
    assert job.deadline(Job) == 1090
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1060")  # of an allocation that began before this job
    assert job.deadline(Job) == 1045


def test_experiments_ask_for_the_functions_at_their_pool() -> None:
    """12 templates, 4 members and 1 at 12 times 60,000 events are 346 MB, those of a template 0.5."""
    names = [[f"{cls}_{k}" for k in range(6)] for cls in ("signal", "background")]
    spec = {
        "study": "pooled",
        "seed": 1,
        "task": "mass_plane",
        "budgets": [1000],
        "estimators": {"ratios": {"type": "template_ratios", "first": names[0], "second": names[1]}},
        "remedies": {"tamm": {"type": "tamm", "of": "ratios"}},
        "experiments": {"batches": 1, "rows": 5, "true_values": [0.1], "pool": 60_000},
    }
    assert needs.experiment_mb(Layout(settings.parse(spec))) == 3000 + 521
    assert needs.pool_mb(Layout(settings.parse(spec))) == 1500 + 2
    del spec["experiments"]["pool"]  # type: ignore[attr-defined]
    assert needs.experiment_mb(Layout(settings.parse(spec))) == 3000
