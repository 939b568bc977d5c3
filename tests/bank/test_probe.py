"""The probe: it measures a sound task and stops on what is wrong with an unsound one, in time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bank.small_tasks import has_ended
from tests.bank.small_tasks import spec as make_spec
from veridical import tasks
from veridical.bank import probe
from veridical.errors import SimulationError, SimulationTimeout, TaskError
from veridical.stages import simulate

# ---- a sound task ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coupled", "loose"])
@pytest.mark.parametrize("fidelity", ["low", "high"])
def test_a_sound_task_is_measured(name: str, fidelity: str) -> None:
    found = probe.run(make_spec(name), fidelity, root=1, rows=100)
    assert (found["task"], found["warnings"]) == (name, [])
    measured = found["fidelities"][fidelity]
    assert measured["rows"] == 100
    assert measured["bytes_per_row"] == 2 * 8 + 3 * 4 + 1
    assert measured["invalid_share"] == 0 and measured["counts"]["ok"] == 100
    assert 0 < measured["seconds_per_row"] < 1
    assert measured["reproducible"]
    json.dumps(found, allow_nan=False)


def test_invalid_shares_are_reported() -> None:
    measured = probe.run(make_spec(fault="raise", bad=0.2), "low", root=1, rows=100)["fidelities"]["low"]
    assert 0.05 < measured["invalid_share"] < 0.4  # 0.2, five standard deviations of 100 rows
    assert measured["counts"]["raised"] == round(100 * measured["invalid_share"])
    assert "ValueError" in measured["first_traceback"]


def test_write_leaves_json_and_says_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "low" / "probe.json"
    simulate.probe(make_spec(fault="constant"), path, root=1, fidelity="low", rows=20)
    assert json.loads(path.read_text())["fidelities"]["low"]["rows"] == 20
    printed = capsys.readouterr().out
    assert "coupled, fidelity low: 20 rows" in printed
    assert "warning: fidelity low: x is the same in all rows" in printed


def test_a_task_with_a_generator_of_its_own_is_found_out() -> None:
    found = probe.run(make_spec(fault="own_generator"), "low", root=1, rows=20)
    assert not found["fidelities"]["low"]["reproducible"]
    assert "generator of its own" in found["warnings"][0]


def test_few_rows_of_a_slow_simulator_are_enough(tmp_path: Path) -> None:
    """A call of the command takes 0.4 s, the limit is 3 s: it stops after the first second, unharmed."""
    script = tmp_path / "slow.sh"
    script.write_text('#!/bin/sh\nsleep 0.4\nawk -F, \'NR > 1 {print $1 + 1 "," $1 + 2}\' "$1" > "$2"\n')
    script.chmod(0o755)
    spec = {
        "name": "slow", "command": f"{script} {{theta}} {{out}}", "output": "csv", "timeout": 60,
        "x_shape": [2], "fidelities": {"awk": 1.0},
        "parameters": {"a": {"prior": "uniform", "lower": 0, "upper": 1}},
    }  # fmt: skip
    measured = probe.run(spec, "awk", root=1, rows=10_000, time_limit=3.0)["fidelities"]["awk"]
    assert 2 <= measured["rows"] < 10_000
    assert measured["invalid_share"] == 0
    assert measured["seconds_per_row"] >= 0.4 / measured["rows"]


def test_simulations_made_elsewhere_are_measured_without_a_simulator(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "rows.npz", theta=np.arange(50.0)[:, None], x=np.ones((50, 4)) * np.arange(50)[:, None]
    )
    spec = {
        "name": "elsewhere", "simulations": str(tmp_path / "rows.npz"), "fidelity": "stored",
        "reserved": {"test": 5}, "parameters": {"a": {}}, "block_rows": 10,
    }  # fmt: skip
    measured = probe.run(spec, "stored", root=1)["fidelities"]["stored"]
    assert (measured["rows"], measured["bytes_per_row"], measured["seconds_per_row"]) == (10, 25, 0)
    assert measured["invalid_share"] == 0
    assert measured["notes"] == ["read by position: the file names no columns and no axes"]


@pytest.mark.parametrize("name", ["coupled", "loose"])
def test_a_child_finds_what_this_process_finds(tmp_path: Path, name: str) -> None:
    """The same measurement without a child: all but the times agree."""
    files = {kind: tmp_path / kind for kind in ("found.json", "progress")}
    probe._measure(make_spec(name, fault="raise"), "low", 1, 50, 600.0, files)
    here = json.loads(files["found.json"].read_text())
    child = probe.run(make_spec(name, fault="raise"), "low", root=1, rows=50)["fidelities"]["low"]
    timeless = {key for key in child if "seconds" not in key}
    assert {key: here[key] for key in timeless} == {key: child[key] for key in timeless}
    assert files["progress"].read_text() == "32 of 50 rows were simulated"


# ---- unsound tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("raise", SimulationError, r"all 32 simulations of the probe failed \(32 raised\).*\n.*Traceback"),
        ("nan", SimulationError, r"all 32 simulations of the probe failed \(32 non_finite\).*finite numbers"),
        ("wrong_shape", TaskError, r"simulate returned 'x' of shape \(1, 2\), expected \(1, 3\)"),
        ("wrong_rows", TaskError, r"'x' of shape \(0, 3\), expected \(1, 3\)"),
        ("text", TaskError, "expected real numbers"),
        ("crash", SimulationError, "ended without a result: killed by SIGKILL"),
        ("memory", SimulationError, "raised MemoryError"),
    ],
)
def test_an_unsound_simulator_is_stopped_with_the_reason(
    fault: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"task coupled at fidelity high.*{message}"):
        probe.run(make_spec(fault=fault, bad=1.0), "high", root=1, rows=32)


def test_too_many_failures_stop_the_run() -> None:
    with pytest.raises(
        SimulationError, match=r"fidelity low, probe: .*of 100 simulations failed.*at most 5\.0%"
    ):
        probe.run(make_spec(fault="nan", bad=0.5), "low", root=1, rows=100, max_invalid=0.05)


def test_a_hanging_simulator_is_stopped_at_the_limit_with_its_grandchildren(tmp_path: Path) -> None:
    spec = make_spec(fault="hang_with_grandchild", bad=1.0, folder=str(tmp_path))
    with pytest.raises(SimulationTimeout, match=r"limit of 1\.5 s.*0 of 32 rows were simulated"):
        probe.run(spec, "low", root=1, rows=32, time_limit=1.5)
    assert has_ended(int((tmp_path / "grandchild").read_text()))


def test_a_file_that_hangs_when_imported_is_stopped(tmp_path: Path) -> None:
    file = tmp_path / "hangs.py"
    file.write_text("import signal\nsignal.pause()\n")
    with pytest.raises(SimulationTimeout, match="the task was being built"):
        probe.run({"name": "h", "file": str(file), "class": "H"}, "low", root=1, time_limit=0.5)


def shifted(spec: dict[str, Any], **changed: Any) -> tasks.Task:
    """The task with some functions of its prior replaced."""
    task = tasks.build(spec)
    for name, function in changed.items():
        setattr(task.prior, name, function)
    return task


def strict(theta: np.ndarray) -> np.ndarray:
    """A density that refuses what it does not know."""
    if (theta < 0).any():
        raise ValueError("out of the support")
    return np.zeros(len(theta))


def test_an_unsound_prior_is_stopped() -> None:
    spec = make_spec()
    for changed, message in (
        ({"sample": lambda rng, n: np.full((n, 2), np.nan)}, "finite"),
        ({"sample": lambda rng, n: rng.random((n, 3))}, "shape"),
        ({"sample": lambda rng, n: 1.1 * rng.random((n, 2))}, "bounds"),
        ({"sample": lambda rng, n: np.random.Generator(np.random.PCG64()).random((n, 2))}, "equal generator"),
        ({"log_prob": lambda theta: np.zeros(len(theta))}, r"log_prob at a = -1, outside its bounds, is 0"),
        ({"log_prob": lambda theta: np.where(theta[:, 0] > 0.99, np.nan, 0.0)}, r"not finite at \d+ of 16"),
        ({"log_prob": strict}, r"log_prob at a = -1, outside its bounds, raised ValueError: .*expected -inf"),
    ):
        with pytest.raises(TaskError, match=message):
            probe.run(shifted(spec, **changed), "low", root=1, rows=10)
