"""What seeds and blocks make of a root seed, held to the bit: `seeds.STREAMS` is the version of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import seeds, tasks
from veridical.bank import blocks
from veridical.evidence import provenance

HELD = Path(__file__).parent / "streams.json"
SMALL = Path(__file__).parent / "small_tasks.py"
CHANGED = (
    "{what} is not what banks hold that are called by STREAMS = {held}. If this is meant, raise STREAMS in "
    "src/veridical/seeds.py, which renames all banks, and write the new values with `python {file}`."
)
ROOT = 20261121
PATH = ("task", "train", 2, 3)


def small(cls: str, fault: str = "none") -> tasks.Task:
    """A task of rows that fail where theta_0 is above 0.6."""
    settings = {"fault": fault, "block_rows": 6, "length": 2, "bad": 0.4}
    return tasks.build({"name": "small", "file": str(SMALL), "class": cls, "settings": settings})


def made(folder: Path) -> dict[str, np.ndarray]:
    """Arrays of small tasks: coupled or not, with rows that are redone, of classes, a command, a file."""
    found = {}
    for name, task in {
        "coupled": small("Coupled"),
        "uncoupled": small("Loose"),
        "coupled, redone": small("Coupled", "raise"),
        "uncoupled, redone": small("Loose", "raise"),
        "classes": tasks.build({"name": "gaussian_classes", "block_rows": 4}),
        "command": tasks.build(command(folder)),
        "file": tasks.build(simulations(folder)),
    }.items():
        level = next(iter(task.fidelities))
        for split, replicate, block in (("train", 1, 2), ("test", 0, 0)):
            arrays = blocks.simulate_block(task, ROOT, level, split, replicate, block).arrays
            found |= {f"{name}: {split} {key}": array for key, array in arrays.items()}
    theta = np.array([[0.9, 0.1], [0.5, 0.1]])
    again = blocks.simulate_at(small("Loose", "raise"), theta, "low", ROOT, "predict", "npe", 0)
    mixture = tasks.build({"name": "gaussian_classes"}).mixture(5, 0.4, seeds.generator(ROOT, "experiment"))
    return {**found, "predicted, redone: x": again.arrays["x"], "mixture": mixture}


def command(folder: Path) -> dict[str, Any]:
    """A simulator that gives its seed, a number below 2**63, and twice theta."""
    program = folder / "program.py"
    program.write_text(
        "import sys\n"
        "theta, seeds = ([*open(name)] for name in sys.argv[1:3])\n"
        "rows = [f'{int(s) / 2**63},{2 * float(t)}' for t, s in zip(theta[1:], seeds)]\n"
        "open(sys.argv[3], 'w').write('\\n'.join(rows))\n"
    )
    return {
        "name": "command",
        "command": f"{sys.executable} -S {program} {{theta}} {{seeds}} {{out}}",
        "parameters": {"a": {"prior": "normal", "mean": 0, "sd": 1}},
        "fidelities": {"model": 1.0},
        "x_shape": [2],
        "output": "csv",
        "block_rows": 3,
    }


def simulations(folder: Path) -> dict[str, Any]:
    """Forty numbered rows, twelve of them reserved."""
    np.savez(folder / "rows.npz", theta=np.arange(40.0)[:, None], x=np.arange(40.0)[:, None])
    return {
        "name": "file",
        "simulations": str(folder / "rows.npz"),
        "parameters": {"a": {"lower": 0, "upper": 40}},
        "reserved": {"test": 12},
        "fidelity": "stored",
        "block_rows": 8,
    }


def record(folder: Path) -> dict[str, Any]:
    """All that is held."""
    return {
        "streams": seeds.STREAMS,
        "platform": [np.__version__, *provenance.cpu_features()],
        "keys": {stage: [*seeds.seed_key(stage, *PATH)] for stage in seeds.STAGES},
        "integer": seeds.integer(ROOT, "theta", *PATH),
        "arrays": {name: [str(a.dtype), a.tolist()] for name, a in made(folder).items()},
    }


def test_each_array_is_the_one_that_this_version_of_streams_stands_for(tmp_path: Path) -> None:
    held = json.loads(HELD.read_text())
    same = held["platform"] == [np.__version__, *provenance.cpu_features()]
    found = made(tmp_path)
    assert [*found] == [*held["arrays"]]
    for name, (dtype, values) in held["arrays"].items():
        expected, message = (
            np.array(values, dtype),
            CHANGED.format(what=name, held=held["streams"], file=HELD),
        )
        assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape), message
        tolerance = 0.0 if same else 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(found[name], expected, rtol=tolerance, err_msg=message)


def test_each_seed_key_is_the_one_that_this_version_of_streams_stands_for() -> None:
    held = json.loads(HELD.read_text())
    for stage, key in held["keys"].items():
        message = CHANGED.format(what=f"the seed of {stage}", held=held["streams"], file=HELD)
        assert list(seeds.seed_key(stage, *PATH)) == key, message
    assert seeds.integer(ROOT, "theta", *PATH) == held["integer"]


def test_the_version_of_streams_is_that_of_the_values_held() -> None:
    assert json.loads(HELD.read_text())["streams"] == seeds.STREAMS, f"write them with `python {__file__}`"


@pytest.mark.parametrize("name", ["coupled, redone", "uncoupled, redone"])
def test_the_values_held_are_those_of_rows_that_fail_and_of_rows_that_do_not(name: str) -> None:
    assert len(set(json.loads(HELD.read_text())["arrays"][f"{name}: train status"][1])) == 2


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as scratch:
        lines = json.dumps(record(Path(scratch))).replace('], "', '],\n"')
    HELD.write_text(lines + "\n")
