"""A simulator in any language: an executable that is called once for each block of rows.

The command is a template of words. `{theta}` stands for a CSV file that the command reads (a header with
the names of the parameters, then one row for each simulation), `{out}` for the file that it writes,
`{fidelity}` for the level, `{seeds}` for a text file with one non-negative integer below 2**63 a row. The
output holds one row for each simulation, in the order of theta: as CSV, the numbers of x in C order, or below
a header with the names of the task's columns in any order; as npy, an array (N, ...). Rows of NaN are failed
simulations, as are those with a missing number (NaN, an empty cell) where no dimension says that some may be
missing. Each call starts in a folder of its own (`call_folder`).
"""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import BankError, DataError, SimulationError, SimulationTimeout, TaskError
from veridical.tasks import cells, matching
from veridical.tasks.base import Array, Task
from veridical.tasks.call_folder import CallFolder, Inputs
from veridical.tasks.description import dimensions_of, units_of
from veridical.tasks.families import prior_of

_PLACEHOLDERS = ("theta", "out", "fidelity", "seeds")
_ABSENT = r"no such file|not found|cannot (?:open|find)|can't open|does not exist|no module named"
_ABSENT_INPUT = (
    "Each call starts in a folder of its own, which holds the files and folders that the command names and "
    "those in the task's `depends_on`: name there what the program reads."
)
_NO_ROOM = r"no space left on device|disk quota exceeded|read-only file system"
_LARGEST_FILE = 4 << 30  # bytes, beside those of x as text
_TAIL = 2000  # characters of the command's own messages in ours


def words(command: str) -> list[str]:
    """Returns the words of a command as a shell would split them; no shell ever sees them.

    Raises:
        TaskError: If a quote is not closed or nothing is there.
    """
    try:
        split = shlex.split(command)
    except ValueError as error:
        raise TaskError(f"command {command!r} cannot be split into words: {error}.") from error
    if not split:
        raise TaskError("command: expected a program and its arguments, got nothing.")
    return split


class CommandTask(Task):
    """A task whose simulator is an executable.

    Arguments:
        spec: `name`, `command`, `parameters`, `fidelities`, `dimensions` or `x_shape`, `output` (csv or
            npy), and optionally `timeout` (seconds for a call), `timeout_is_data`, `x_unit` and
            `depends_on` (files and folders that each call finds in its folder).
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.name = spec["name"]
        self.words = words(spec["command"])
        self.prior = prior_of(spec["parameters"])
        self.parameters = self.prior.parameters(units_of(spec["parameters"]))
        self.fidelities = dict(spec["fidelities"])
        dimensions = dimensions_of(spec.get("dimensions"), spec.get("x_shape"))
        if dimensions is None:
            raise TaskError(f"task {self.name!r}: expected `dimensions` or `x_shape` of one simulation.")
        self.dimensions = dimensions
        self.x_unit = spec.get("x_unit", "")
        self.timeout_seconds: float | None = spec.get("timeout")
        self.timeout_is_data = bool(spec.get("timeout_is_data", False))
        self.output = spec["output"]
        self._check_command()
        self.inputs = Inputs(self.words, spec.get("depends_on") or ())

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        """Calls the command on theta (N, D); returns x (N, *x_shape).

        Raises:
            SimulationTimeout: If the call exceeds the time limit; all its processes are killed.
            SimulationError: If the command fails or writes something else than N rows of x.
        """
        if fidelity not in self.fidelities:
            raise TaskError(
                f"task {self.name!r} has no fidelity {fidelity!r}; expected one of {[*self.fidelities]}."
            )
        row_seeds = noise.integers(0, 2**63, size=len(theta), dtype=np.uint64)
        with self.inputs.folder() as folder:
            files = {name: folder.files / f"{name}.csv" for name in ("theta", "seeds")}
            files["out"] = folder.files / f"out.{self.output}"
            header = ",".join(self.parameter_names)
            np.savetxt(files["theta"], theta, fmt="%.17g", delimiter=",", header=header, comments="")
            np.savetxt(files["seeds"], row_seeds, fmt="%d")
            fill = {f"{{{name}}}": str(path) for name, path in files.items()} | {"{fidelity}": fidelity}
            call = [_fill(word, fill) for word in self.inputs.words]
            largest = _LARGEST_FILE + 64 * len(theta) * int(np.prod(self.x_shape))
            _run(call, folder, self.timeout_seconds, self.name, largest)
            return self._read(files["out"], len(theta))

    def _check_command(self) -> None:
        used = " ".join(self.words)
        needed = ["{theta}", "{out}"] + (["{fidelity}"] if len(self.fidelities) > 1 else [])
        for placeholder in needed:
            if placeholder not in used:
                raise TaskError(
                    f"task {self.name!r}: expected {placeholder} in the command, got {used!r}. "
                    f"It is where the {'level' if placeholder == '{fidelity}' else 'name of a file'} goes."
                )
        for name in re.findall(r"\{(\w+)\}", used):  # other braces belong to the program, as in awk
            near = get_close_matches(name, _PLACEHOLDERS, n=1, cutoff=0.7)
            if near and name not in _PLACEHOLDERS:
                raise TaskError(
                    f"task {self.name!r}: {{{name}}} stands for nothing. Did you mean {{{near[0]}}}?"
                )
        program = self.words[0]
        if os.sep in program and not os.access(program, os.X_OK):
            state = "is not executable (chmod +x)" if Path(program).exists() else "is missing"
            raise TaskError(f"task {self.name!r}: program {program} {state}; paths start at {Path.cwd()}.")

    def _read(self, file: Path, rows: int) -> Array:
        if not file.exists():
            raise SimulationError(
                f"task {self.name!r}: the command ended well but wrote no output; expected it at {{out}}."
            )
        try:
            names, x = ([], np.load(file, allow_pickle=False)) if self.output == "npy" else _read_csv(file)
        except (ValueError, DataError) as error:
            raise SimulationError(f"task {self.name!r}: {{out}} cannot be read: {error}") from error
        x = np.asarray(x, dtype=float)
        size = int(np.prod(self.x_shape))
        if len(x) != rows or x.size != rows * size:
            raise SimulationError(
                f"task {self.name!r}: expected {rows} rows of {size} numbers in {{out}} (x_shape "
                f"{self.x_shape}), got an array of shape {x.shape}."
            )
        x = x.reshape(rows, size)
        return (x[:, self._order(names)] if len(names) == size else x).reshape(rows, *self.x_shape)

    def _order(self, names: list[str]) -> list[int]:
        """Which column of the output holds each entry of x, by the names in its header."""
        what = f"task {self.name!r}: the header of {{out}}"
        try:
            return matching.column_order(names, self.dimensions, what, stated=False)[0]
        except DataError:
            expected, got = map(matching.listed, (matching.cells(self.dimensions)[0], names))
            raise TaskError(
                f"{what} names other columns than the task: expected {expected}, got {got}. Call them so, "
                "in any order, or write no header: columns then count by position."
            ) from None


def _fill(word: str, fill: Mapping[str, str]) -> str:
    """Replaces the placeholders of a word and leaves all other braces alone."""
    for placeholder, value in fill.items():
        word = word.replace(placeholder, value)
    return word


def _read_csv(file: Path) -> tuple[list[str], Array]:
    """Returns the header of a CSV file, empty where it has none, and its numbers, shape (rows, columns).

    Missing ones are NaN.
    """
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    first = lines[0].split(",") if lines else []
    numbers = all(cells.is_number(cell) or cell.strip().lower() in cells.MISSING for cell in first)
    names = [] if numbers else [name.strip().strip("\"'") for name in lines.pop(0).split(",")]
    try:
        return names, np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.empty((0, 0))
    except ValueError:
        numbered = [(f"line {i}", line.split(",")) for i, line in enumerate(lines, start=1)]
        rows = [[cells.number(cell, at, missing=True) for cell in row] for at, row in numbered]
        if len({*map(len, rows)}) > 1:
            raise
        return names, np.array(rows)


@contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    """Lets programs that are started meanwhile write no file of more bytes; they inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    least = size if soft == resource.RLIM_INFINITY else min(size, soft)
    resource.setrlimit(resource.RLIMIT_FSIZE, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _run(call: list[str], folder: CallFolder, timeout: float | None, task: str, largest: int) -> None:
    """Runs a program in a session of its own; nothing of it is left when this returns or raises."""
    messages = folder.files / "messages.txt"
    options: dict[str, Any] = {"cwd": folder.start, "env": folder.environment, "start_new_session": True}
    with messages.open("wb") as sink:
        try:
            with _no_file_beyond(largest):
                process = subprocess.Popen(
                    call, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, **options
                )
        except OSError as error:
            raise SimulationError(
                f"task {task!r}: program {call[0]!r} cannot be started: {error.strerror}. "
                f"Is it installed on this machine?"
            ) from error
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise SimulationTimeout(
                f"task {task!r}: the command took longer than {timeout:g} s and was killed; raise `timeout` "
                f"or lower `block_rows`. {_tail(messages)}"
            ) from error
        finally:
            _kill_group(process)
    if status != 0:
        how = f"exit status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
        told = _tail(messages)
        if re.search(_NO_ROOM, told, re.IGNORECASE):
            raise BankError(
                f"task {task!r}: the command cannot write, which is no fault of a row: make room, or set "
                f"TMPDIR to a folder of a disk with room. {told}"
            )
        endless = messages.stat().st_size >= largest or "file too large" in told.lower()
        if endless or status == -signal.SIGXFSZ:
            how += f", as it wrote a file beyond {largest >> 20} MB"
        hint = f"\n{_ABSENT_INPUT}" if re.search(_ABSENT, told, re.IGNORECASE) else ""
        raise SimulationError(f"task {task!r}: the command ended with {how}. {told}{hint}")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of a program's process group, children of children included."""
    with suppress(ProcessLookupError, PermissionError):  # all have ended (macOS says it the second way)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(messages: Path) -> str:
    text = messages.read_text(errors="replace").strip()
    return f"Its last messages:\n{text[-_TAIL:]}" if text else "It left no message."
