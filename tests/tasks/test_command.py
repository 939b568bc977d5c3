"""A simulator in another language, called as a program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import tasks
from veridical.bank import probe
from veridical.bank.filling import ShardRows, simulate_rows
from veridical.errors import BankError, SimulationError, SimulationTimeout, TaskError

AWK = """
BEGIN { FS = ","; while ((getline line < seeds) > 0) seed[++n] = line }
FNR > 1 {
    srand(seed[FNR - 1] % 2147483647)
    slope = $2 * (level == "high" ? 1 : 0.5)
    for (t = 0; t < 3; t++) printf "%.17g%s", $1 + t * slope, t < 2 ? "," : "\\n" > out
}
"""

C = r"""
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    FILE *theta = fopen(argv[1], "r"), *out = fopen(argv[2], "w"), *seeds = fopen(argv[4], "r");
    double scale = strcmp(argv[3], "high") ? 0.5 : 1.0, a, b;
    uint64_t seed;
    if (!theta || !out || !seeds) return 3;
    fscanf(theta, "%*[^\n]\n");
    fprintf(out, "first,second,third\n");
    while (fscanf(theta, "%lf,%lf\n", &a, &b) == 2 && fscanf(seeds, "%" SCNu64, &seed) == 1)
        fprintf(out, "%.17g,%.17g,%.17g\n", a, a + b * scale, seed % 2 ? 1.0 : 0.0);
    return fclose(out);
}
"""

PARAMETERS = {
    "a": {"prior": "uniform", "lower": 0.0, "upper": 1.0, "unit": "m"},
    "b": {"prior": "normal", "mean": 0.0, "sd": 2.0},
}


def spec(command: str, **changes: Any) -> dict[str, Any]:
    base = {"name": "crude", "command": command, "parameters": PARAMETERS, "x_shape": [3], "output": "csv"}
    return base | {"fidelities": {"low": 1.0, "high": 4.0}, "block_rows": 100, "timeout": 20.0} | changes


def python(tmp_path: Path, code: str, **changes: Any) -> tasks.Task:
    """A task whose command is a piece of Python with sys.argv[1:] = theta, out, fidelity, seeds."""
    program = tmp_path / "simulator.py"
    program.write_text(code)
    command = f"{sys.executable} {program} {{theta}} {{out}} {{fidelity}} {{seeds}}"
    return tasks.build(spec(command, **changes))


def test_a_simulator_in_awk(tmp_path: Path, rng: np.random.Generator) -> None:
    if shutil.which("awk") is None:
        pytest.skip("awk is not installed")
    program = tmp_path / "sim.awk"
    program.write_text(AWK)
    settings = spec(f"awk -v out={{out}} -v level={{fidelity}} -v seeds={{seeds}} -f {program} {{theta}}")
    task = tasks.build(settings)
    tasks.check_task(task)
    assert (task.coupled, task.block_rows, task.parameters[0].unit) == (False, 100, "m")
    assert tasks.digest_sources(settings) == [program]
    theta = task.prior.sample(rng, 7)
    for fidelity, scale in (("low", 0.5), ("high", 1.0)):
        x = task.simulate(theta, rng, fidelity)
        np.testing.assert_allclose(x, theta[:, :1] + np.arange(3) * theta[:, 1:] * scale, rtol=1e-13)


def test_a_simulator_in_c(tmp_path: Path, rng: np.random.Generator) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    source, program = tmp_path / "sim.c", tmp_path / "sim"
    source.write_text(C)
    subprocess.run(["gcc", "-O1", "-w", "-o", program, source], check=True)
    settings = spec(f"{program} {{theta}} {{out}} {{fidelity}} {{seeds}}", depends_on=[str(source)])
    task = tasks.build(settings)
    assert tasks.digest_sources(settings) == sorted([program, source])
    assert tasks.modules(settings) == tuple(
        f"veridical.tasks.priors:{name}" for name in ("Product", "Normal", "Uniform")
    )
    theta = task.prior.sample(rng, 200)
    x = task.simulate(theta, rng, "high")
    np.testing.assert_array_equal(x[:, :2], np.stack([theta[:, 0], theta.sum(axis=1)], axis=1))
    assert 60 < x[:, 2].sum() < 140, "each row has a seed of its own"


def test_seeds_come_from_the_generator_alone(tmp_path: Path) -> None:
    code = "import sys, shutil; shutil.copy(sys.argv[4], sys.argv[2])"
    task = python(tmp_path, code, x_shape=[1])
    theta = np.zeros((20, 2))
    first, again, other = (
        task.simulate(theta, np.random.Generator(np.random.PCG64(seed)), "low") for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len(np.unique(first)) == 20 and first.min() >= 0 and first.max() < 2**63


def test_theta_arrives_to_the_last_bit(tmp_path: Path, rng: np.random.Generator) -> None:
    code = (
        "import sys\nlines = open(sys.argv[1]).read().split()\nassert lines[0] == 'a,b'\n"
        "open(sys.argv[2], 'w').write('\\n'.join(lines[1:]))"
    )
    theta = rng.standard_normal((5, 2)) * 10.0 ** rng.integers(-200, 200, (5, 2))
    assert np.array_equal(python(tmp_path, code, x_shape=[2]).simulate(theta, rng, "low"), theta)


def test_output_as_npy_and_failed_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    code = "import sys, numpy as np; np.save(sys.argv[2], np.arange(12.0).reshape(2, 3, 2))"
    axes = [{"name": "time", "length": 3, "unit": "s"}, {"name": "species", "coordinates": ["u", "v"]}]
    task = python(tmp_path, code, output="npy", x_shape=None, dimensions=axes)
    assert task.simulate(np.zeros((2, 2)), rng, "low")[1, 2, 1] == 11
    failing = python(tmp_path, "import sys; open(sys.argv[2], 'w').write('nan,-nan,NaN\\n1,2,inf\\n')")
    x = failing.simulate(np.zeros((2, 2)), rng, "low")
    assert np.isnan(x[0]).all() and x[1, 2] == np.inf


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('the mesh is torn')", "exit status 1. Its last messages:\nthe mesh is torn"),
        ("import os; os.kill(os.getpid(), 11)", "signal SIGSEGV. It left no message"),
        ("pass", "wrote no output"),
        ("import sys; open(sys.argv[2], 'w').write('1,2,3\\n')", "expected 2 rows of 3 numbers"),
        ("import sys; open(sys.argv[2], 'w').write('1,2\\n3,4\\n')", "got an array of shape (2, 2)"),
        ("import sys; open(sys.argv[2], 'w').write('')", "got an array of shape (0, 0)"),
        ("import sys; open(sys.argv[2], 'w').write('1,2,3\\n4,oops,6\\n')", "{out} cannot be read"),
        ("import sys; open(sys.argv[2], 'w').write('1,2,3\\n4,5\\n')", "{out} cannot be read"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, rng: np.random.Generator, code: str, message: str) -> None:
    with pytest.raises(SimulationError, match=re.escape(message)):
        python(tmp_path, code).simulate(np.zeros((2, 2)), rng, "low")


def test_a_call_that_hangs_is_killed_with_its_grandchildren(tmp_path: Path, rng: np.random.Generator) -> None:
    note, script = tmp_path / "pid", tmp_path / "hang.sh"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {note}\necho in the loop\nwait\n")
    script.chmod(0o755)
    task = tasks.build(spec(f"{script} {{theta}} {{out}} {{fidelity}}", timeout=1.0))
    with pytest.raises(SimulationTimeout, match=r"(?s)longer than 1 s and was killed.*in the loop"):
        task.simulate(np.zeros((2, 2)), rng, "low")
    deadline = time.monotonic() + 10
    while _alive(int(note.read_text())):
        assert time.monotonic() < deadline, "the grandchild is still there"


def _alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet reaped by its new parent does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (spec("./nowhere.sh {theta} {out} {fidelity}"), "program ./nowhere.sh is missing"),
        (spec("awk {out} {fidelity}"), "expected {theta} in the command"),
        (spec("awk {theta} {fidelity}"), "expected {out} in the command"),
        (spec("awk {theta} {out}"), "expected {fidelity} in the command"),
        (spec("awk {theta} {out} {fidelity} {seed}"), "{seed} stands for nothing. Did you mean {seeds}?"),
        (spec("awk '{theta} {out}"), "cannot be split into words: No closing quotation"),
        (spec("  "), "expected a program and its arguments, got nothing"),
        (spec("awk {theta} {out} {fidelity}", x_shape=None), "expected `dimensions` or `x_shape`"),
        (spec("awk {theta} {out} {fidelity}", dimensions=[{"name": "t"}], x_shape=None), "got neither"),
        (
            spec("awk {theta} {out} {fidelity}", dimensions=[{"name": "t", "length": 2, "coordinates": [1]}]),
            "length 2 but 1 coordinates",
        ),
        (
            spec("awk {theta} {out} {fidelity}", dimensions=[{"name": "t", "length": 2}]),
            "x_shape (3,) and the lengths of dimensions (2,) must agree",
        ),
    ],
)
def test_a_command_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=re.escape(message)):
        tasks.build(settings)


def test_a_program_that_may_not_run_or_is_not_there(tmp_path: Path, rng: np.random.Generator) -> None:
    script = tmp_path / "sim.sh"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(TaskError, match=re.escape("is not executable (chmod +x)")):
        tasks.build(spec(f"{script} {{theta}} {{out}} {{fidelity}}"))
    task = tasks.build(spec("program-nobody-has {theta} {out} {fidelity}"))
    with pytest.raises(SimulationError, match="cannot be started: No such file"):
        task.simulate(np.zeros((1, 2)), rng, "low")
    with pytest.raises(TaskError, match="has no fidelity 'real'"):
        task.simulate(np.zeros((1, 2)), rng, "real")


# ---- the folder of a call ----------------------------------------------------------------------------

LEGACY = """
import csv, random, sys, time
theta, out, seeds = sys.argv[1:4]
rows = [float(r["a"]) for r in csv.DictReader(open(theta))]
with open("input.dat", "w") as f:
    f.writelines(f"{a!r} {s}" + chr(10) for a, s in zip(rows, map(int, open(seeds))))
time.sleep(0.1)
with open("input.dat") as f, open(SCRATCH + "output.dat", "w") as g:
    for line in f:
        a, s = line.split()
        g.write(f"{float(a) + random.Random(int(s)).gauss(0, 1):.9g}" + chr(10))
time.sleep(0.1)
open(out, "w").write(open(SCRATCH + "output.dat").read())
"""


def legacy(scratch: str = "", **changes: Any) -> dict[str, Any]:
    """A program in the folder `models` with scratch files of fixed names."""
    Path("models").mkdir(exist_ok=True)
    Path("models/legacy.py").write_text(LEGACY.replace("SCRATCH", repr(scratch)))
    command = f"{sys.executable} models/legacy.py {{theta}} {{out}} {{seeds}}"
    parameters = {"a": {"prior": "normal", "mean": 0.0, "sd": 1.0}}
    changes = {"parameters": parameters, "x_shape": [1], "fidelities": {"m": 1.0}} | changes
    return spec(command, **changes)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study, where the calls' own folders lie elsewhere."""
    folder = tmp_path / "study"
    folder.mkdir()
    (tmp_path / "calls").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "calls"))
    monkeypatch.delenv("VERIDICAL_KEEP_FAILED", raising=False)
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_no_call_meets_the_scratch_files_of_another(study: Path) -> None:
    """A stale input.dat lies in the user's folder as well."""
    settings = legacy(block_rows=10)
    (study / "input.dat").write_text("99 1\n")
    before = listing(study)
    task = tasks.build(settings)
    rows = ShardRows(root=1, fidelity="m", split="train", first=0, last=59)
    at_once = simulate_rows(task, rows, study.parent / "scratch", workers=4).arrays
    alone = simulate_rows(task, rows, study.parent / "scratch", workers=1).arrays
    np.testing.assert_array_equal(at_once["x"], alone["x"])
    assert at_once["status"].tolist() == [0] * 60
    assert (listing(study), listing(study.parent / "calls")) == (before, [])
    assert (study / "input.dat").read_text() == "99 1\n"


def test_the_probe_stops_where_calls_share_a_file_elsewhere(study: Path) -> None:
    assert probe.run(legacy(), "m", root=1, rows=8)["warnings"] == []
    with pytest.raises(SimulationError, match=r"crude at fidelity m: expected the same x .* rows"):
        probe.run(legacy(scratch=f"{study}/"), "m", root=1, rows=30)


def test_a_call_finds_what_is_declared_and_may_write_into_it(study: Path, rng: np.random.Generator) -> None:
    for name in ("run.nml", "tables/deep/a.csv", "../beside.csv", "in_words.csv", "models/neighbour.py"):
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).write_text("1\n")
    Path("models/sim.py").write_text(
        "import neighbour, os, sys\n"
        "for name in ('run.nml', 'tables/deep/a.csv', '../beside.csv', 'in_words.csv'):\n"
        "    assert open(name).read() == '1\\n'\n"
        "    open(name, 'w').write('2\\n')\n"
        "assert os.environ['PWD'] == os.getcwd() and sys.argv[2] == '--table=in_words.csv'\n"
        "open(os.environ['TMPDIR'] + '/scratch', 'w').write('3')\n"
        "open(sys.argv[1], 'w').write('1,2,3')\n"
    )
    settings = spec(
        f"{sys.executable} -B models/sim.py {{out}} --table=in_words.csv {{theta}} {{fidelity}}",
        depends_on=["run.nml", "tables", "../beside.csv"],
    )
    before = listing(study.parent)
    assert tasks.build(settings).simulate(np.zeros((1, 2)), rng, "low").tolist() == [[1, 2, 3]]
    assert listing(study.parent) == before and Path("run.nml").read_text() == "1\n"


@pytest.mark.parametrize("command", ["./sim.sh", "sh sim.sh", 'sh -c \'./sim.sh "$0" "$1"\''])
def test_a_program_is_found_as_before(study: Path, rng: np.random.Generator, command: str) -> None:
    Path("sim.sh").write_text('#!/bin/sh\necho 1,2,3 > "$2"\n')
    Path("sim.sh").chmod(0o755)
    task = tasks.build(spec(f"{command} {{theta}} {{out}} {{fidelity}}"))
    assert task.simulate(np.zeros((1, 2)), rng, "low").tolist() == [[1, 2, 3]]


def test_what_is_not_declared_is_not_found_and_the_folder_of_a_failure_is_kept(
    study: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("table.csv").write_text("1\n")
    monkeypatch.setenv("VERIDICAL_KEEP_FAILED", "failed")
    task = python(study, "open('mark', 'w'); open('table.csv')")
    with pytest.raises(SimulationError, match=r"(?s)No such file.*`depends_on`: name.*kept in .*failed"):
        task.simulate(np.zeros((1, 2)), rng, "low")
    (kept,) = (study / "failed").iterdir()
    assert {"theta.csv", "messages.txt", "call/mark"} <= set(listing(kept))
    for _ in range(25):
        with pytest.raises(SimulationError):
            task.simulate(np.zeros((1, 2)), rng, "low")
    assert (len(listing(study.parent / "calls")), len(list((study / "failed").iterdir()))) == (0, 20)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("while True: print('x' * 100_000)", SimulationError, "wrote a file beyond 10 MB"),
        ("open('big', 'wb').write(bytes(20_000_000))", SimulationError, "wrote a file beyond 10 MB"),
        ("import sys; sys.exit('no space left on device')", BankError, "no fault of a row: make room"),
    ],
)
def test_a_program_that_writes_without_end_or_cannot_write(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    error: type,
    message: str,
) -> None:
    monkeypatch.setattr("veridical.tasks.command._LARGEST_FILE", 10 << 20)
    with pytest.raises(error, match=message):
        python(tmp_path, code).simulate(np.zeros((2, 2)), rng, "low")


def test_a_folder_for_calls_that_cannot_be_made_is_named(
    study: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = python(study, "pass")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(BankError, match=r"no folder can be made for a call of .*Set TMPDIR"):
        task.simulate(np.zeros((2, 2)), rng, "low")


@pytest.mark.parametrize("missing", [True, False])
def test_a_cell_that_a_program_leaves_empty_is_missing(missing: bool, tmp_path: Path) -> None:
    code = (
        "import sys\nrows = open(sys.argv[1]).readlines()[1:]\n"
        "open(sys.argv[2], 'w').writelines('1,,3\\n' if i % 2 else 'NA,2,3\\n' for i, _ in enumerate(rows))"
    )
    axis = {"name": "day", "length": 3, "missing": missing or None}
    task = python(tmp_path, code, x_shape=None, dimensions=[axis])
    x = task.simulate(np.zeros((4, 2)), np.random.default_rng(1), "low")
    assert np.array_equal(x[:2], [[np.nan, 2, 3], [1, np.nan, 3]], equal_nan=True)
    assert task.has_missing is missing


@pytest.mark.parametrize(
    ("header", "expected"),
    [("hare,lynx,fox", [1, 2, 3]), ('"lynx", "fox","hare"', [3, 1, 2]), ("", [1, 2, 3])],
)
def test_columns_of_the_output_are_found_by_their_names(
    tmp_path: Path, rng: np.random.Generator, header: str, expected: list[float]
) -> None:
    code = f"import sys; open(sys.argv[2], 'w').write({header + chr(10)!r} + '1,2,3\\n1,2,3\\n')"
    axes = [{"name": "species", "coordinates": ["hare", "lynx", "fox"]}]
    x = python(tmp_path, code, x_shape=None, dimensions=axes).simulate(np.zeros((2, 2)), rng, "low")
    assert x.tolist() == [expected] * 2


@pytest.mark.parametrize(
    ("header", "coordinates"),
    [("hare,wolf,fox", ["hare", "lynx", "fox"]), ("a,b,c", ["u", "v", "w"]), ("t3,t2,t1", [1, 2, 5])],
)
def test_a_header_of_other_names_is_refused_with_both_lists(
    tmp_path: Path, rng: np.random.Generator, header: str, coordinates: list[Any]
) -> None:
    code = f"import sys; open(sys.argv[2], 'w').write('{header}\\n1,2,3\\n')"
    task = python(tmp_path, code, x_shape=None, dimensions=[{"name": "at", "coordinates": coordinates}])
    both = f"expected {', '.join(map(str, coordinates))}, got {header.replace(',', ', ')}. Call them so"
    with pytest.raises(TaskError, match=re.escape(both)):
        task.simulate(np.zeros((1, 2)), rng, "low")
