"""Blocks: randomness that is named, failures that stay in their rows, faults of a task that are told."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.bank import small_tasks
from veridical import seeds, tasks
from veridical.bank import blocks, validity
from veridical.errors import SimulationError, SimulationTimeout, TaskError
from veridical.tasks import Task
from veridical.tasks.base import Array, Dimension, FileTask, Parameter, as_arrays


def make_task(name: str = "coupled", **settings: Any) -> Task:
    return tasks.build(small_tasks.spec(name, **settings))


def simulate(
    task: Task, fidelity: str = "low", split: str = "train", replicate: int = 0, block: int = 0
) -> Any:
    return blocks.simulate_block(task, 7, fidelity, split, replicate, block)


# ---- randomness --------------------------------------------------------------------------------------


def test_all_seed_keys_of_banks_differ() -> None:
    names = ["coupled", "loose", "gaussian", "gaussian_2", "lotka_volterra"]
    splits = ["train", "fit", "calibration", "test"]
    keys: list[tuple[int, ...]] = []
    coupled, loose = make_task("coupled"), make_task("loose")
    for name, split, replicate in product(names, splits, range(4)):
        coupled.name = loose.name = name
        paths = [
            ("theta", blocks.theta_path(coupled, split, replicate)),
            ("noise", blocks.noise_path(coupled, "low", split, replicate)),
        ]
        paths += [("noise", blocks.noise_path(loose, level, split, replicate)) for level in ("low", "high")]
        for (stage, path), block in product(paths, range(30)):
            keys.append(seeds.seed_key(stage, *path, block))
            if stage == "noise":
                keys += [seeds.seed_key("row", *path, block, row) for row in range(5)]
    assert len(keys) > 30_000
    assert len(set(keys)) == len(keys)
    states = {np.random.SeedSequence(7, spawn_key=key).generate_state(4).tobytes() for key in keys[::7]}
    assert len(states) == len(keys[::7])


def test_theta_depends_on_neither_fidelity_nor_the_shape_of_x_nor_the_fault() -> None:
    theta = simulate(make_task()).arrays["theta"]
    for other in (
        simulate(make_task(), "high"),
        simulate(make_task(length=11)),
        simulate(make_task(fault="nan")),
        simulate(make_task(fault="raise")),
    ):
        np.testing.assert_array_equal(other.arrays["theta"], theta)


def test_blocks_splits_replicates_and_roots_differ() -> None:
    task = make_task()
    found = [simulate(task, "low", s, r, b).arrays for s, r, b in product(("train", "test"), (0, 1), (0, 1))]
    found.append(blocks.simulate_block(task, 8, "low", "train", 0, 0).arrays)
    for name in ("theta", "x"):
        assert len({arrays[name].tobytes() for arrays in found}) == len(found)


def test_coupled_levels_share_their_noise() -> None:
    """x = m(theta) + 0.1 c z: the same z at the costs c = 1 and 4."""
    task = make_task()
    low, high = (simulate(task, level).arrays for level in ("low", "high"))
    mean = low["theta"][:, :1] + low["theta"][:, 1:] * np.arange(3)
    z = [(arrays["x"] - mean) / (0.1 * cost) for arrays, cost in ((low, 1), (high, 4))]
    np.testing.assert_allclose(*z, atol=1e-5)  # float32


def test_levels_that_are_not_coupled_have_their_own_noise() -> None:
    task = make_task("loose")
    low, high = (simulate(task, level).arrays for level in ("low", "high"))
    np.testing.assert_array_equal(low["theta"], high["theta"])
    mean = low["theta"][:, :1] + low["theta"][:, 1:] * np.arange(3)
    z = [((arrays["x"] - mean) / (0.1 * cost)).ravel() for arrays, cost in ((low, 1), (high, 4))]
    assert np.abs(z[0] - z[1]).min() > 1e-5


# ---- failures are data -------------------------------------------------------------------------------


def bad_rows(arrays: dict[str, Array], share: float = 0.2) -> Array:
    return arrays["theta"][:, 0] > 1 - share


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("nan", validity.NON_FINITE),
        ("overflow", validity.NON_FINITE),
        ("square_root", validity.NON_FINITE),
        ("raise", validity.RAISED),
    ],
)
def test_only_bad_rows_fail(fault: str, status: int) -> None:
    good = simulate(make_task(block_rows=50)).arrays
    block = simulate(make_task(fault=fault, block_rows=50))
    bad = bad_rows(good)
    assert 0 < bad.sum() < 50
    np.testing.assert_array_equal(block.arrays["status"], np.where(bad, status, validity.OK))
    assert np.isnan(block.arrays["x"][bad]).all()
    if fault != "square_root":
        np.testing.assert_array_equal(block.arrays["x"][~bad], good["x"][~bad])
    assert block.arrays["x"].dtype == np.float32


def test_the_first_traceback_is_kept() -> None:
    block = simulate(make_task(fault="raise"))
    assert "ValueError: theta_0 of 1 rows is too large" in block.first_traceback
    assert "small_tasks.py" in block.first_traceback
    assert simulate(make_task()).first_traceback == ""


def test_rows_redone_without_coupling_have_generators_of_their_own() -> None:
    once, again = (simulate(make_task("loose", fault="raise", block_rows=50)).arrays for _ in range(2))
    np.testing.assert_array_equal(once["x"], again["x"])
    bad = bad_rows(once)
    np.testing.assert_array_equal(once["status"] == validity.RAISED, bad)
    x = once["x"][~bad]
    assert len(np.unique(x)) == x.size
    row = int(np.flatnonzero(~bad)[3])
    rng = seeds.generator(7, "row", "loose", "low", "train", 0, 0, row)
    alone = make_task("loose").simulate(once["theta"][row : row + 1], rng, "low")
    np.testing.assert_array_equal(once["x"][row], alone[0].astype(np.float32))


@pytest.mark.parametrize("name", ["coupled", "loose"])
def test_a_row_alone_is_the_row_of_a_block_that_is_redone(name: str) -> None:
    task = make_task(name, fault="raise")
    whole = simulate(task).arrays
    for row in range(10):
        alone = blocks.simulate_row(task, 7, "low", "train", 0, 0, row).arrays
        for key, array in alone.items():
            np.testing.assert_array_equal(array[0], whole[key][row])


@pytest.mark.parametrize("name", ["coupled", "loose"])
def test_what_methods_simulate_fails_row_by_row_as_in_a_bank(name: str) -> None:
    theta = simulate(make_task(block_rows=50)).arrays["theta"]
    rng = seeds.generator(7, "test", "simulator")
    quiet, faulty = (blocks.Simulator(make_task(name, fault=fault), "low") for fault in ("none", "raise"))
    x = quiet(theta, rng)
    assert np.isfinite(x).all() and x.dtype == np.float32
    again, other = (faulty.block(theta, seeds.generator(7, "test", "simulator")) for _ in range(2))
    bad = bad_rows({"theta": theta})
    np.testing.assert_array_equal(again.arrays["status"] == validity.RAISED, bad)
    np.testing.assert_array_equal(again.arrays["x"], other.arrays["x"])
    assert np.isnan(again.arrays["x"][bad]).all() and "rows is too large" in again.first_traceback
    if name == "coupled":
        np.testing.assert_array_equal(again.arrays["x"][~bad], x[~bad])


def test_a_simulator_that_spoils_its_inputs_spoils_nothing_else() -> None:
    good = simulate(make_task(block_rows=50)).arrays
    spoilt = simulate(make_task(fault="spoil_inputs", block_rows=50)).arrays
    np.testing.assert_array_equal(spoilt["theta"], good["theta"])
    np.testing.assert_array_equal(spoilt["x"][~bad_rows(good)], good["x"][~bad_rows(good)])


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_masked_numbers_of_a_simulator_are_nan(kind: type) -> None:
    x = np.ma.masked_equal(np.arange(6, dtype=kind).reshape(3, 2), 3)
    for simulated in (x, {"x": x}, list(x)):
        given = as_arrays(simulated)["x"]
        np.testing.assert_array_equal(given, [[0, 1], [2, np.nan], [4, 5]])
        assert not isinstance(given, np.ma.MaskedArray)


def test_other_arrays_are_kept_as_floats() -> None:
    arrays = simulate(make_task(fault="extras")).arrays
    assert arrays.keys() == {"theta", "x", "score", "count", "status"}
    assert (arrays["score"].dtype, arrays["count"].dtype) == (np.float64, np.float64)
    assert arrays["count"].tolist() == list(range(10))


def test_join_fills_what_a_part_lacks() -> None:
    full = {"theta": np.ones((2, 1)), "score": np.ones((2, 3)), "status": np.zeros(2, np.uint8)}
    bare = {"theta": np.zeros((1, 1)), "status": np.ones(1, np.uint8)}
    joined = blocks.join([bare, full])
    assert joined["theta"][:, 0].tolist() == [0, 1, 1] and joined["status"].tolist() == [1, 0, 0]
    assert np.isnan(joined["score"][0]).all() and (joined["score"][1:] == 1).all()


def test_a_time_out_is_raised_unless_it_is_data() -> None:
    task = make_task(fault="time_out", block_rows=50)
    with pytest.raises(SimulationTimeout):
        simulate(task)
    task.timeout_is_data = True
    arrays = simulate(task).arrays
    np.testing.assert_array_equal(arrays["status"] == validity.TIMED_OUT, bad_rows(arrays))


def test_a_lack_of_memory_is_no_property_of_a_row() -> None:
    with pytest.raises(MemoryError):
        simulate(make_task(fault="memory"))


# ---- faults of the task ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong_rows", r"'x' of shape \(9, 3\), expected \(10, 3\)"),
        ("wrong_shape", r"'x' of shape \(10, 2\), expected \(10, 3\)"),
        ("text", "expected real numbers"),
        ("nothing", r"shape \(\)"),
        ("bad_name", "array named 'theta'"),
    ],
)
def test_a_broken_contract_stops_the_job(fault: str, message: str) -> None:
    with pytest.raises(TaskError, match=f"task coupled at fidelity low: .*{message}"):
        simulate(make_task(fault=fault))


def test_an_unknown_fidelity_is_named_with_the_nearest() -> None:
    with pytest.raises(TaskError, match=r"no fidelity 'hihg'\. Did you mean 'high'"):
        simulate(make_task(), "hihg")


def test_x_of_integers_is_refused() -> None:
    task = make_task()
    task.x_dtype = "int32"
    with pytest.raises(TaskError, match="x_dtype is int32, expected a float"):
        simulate(task)


@pytest.mark.parametrize(
    ("theta", "message"), [(np.zeros((10, 3)), "shape"), (np.full((10, 2), np.nan), "finite")]
)
def test_a_broken_prior_stops_the_job(theta: Array, message: str) -> None:
    task = make_task()
    task.prior.sample = lambda rng, n: theta  # type: ignore[method-assign]
    with pytest.raises(TaskError, match=f"prior.sample gave .*{message}"):
        simulate(task)


class Stored(FileTask):
    """25 rows that exist already; row 3 is not finite."""

    name = "stored"
    parameters = (Parameter("a"),)
    fidelities = {"stored": 1.0}  # noqa: RUF012
    dimensions = (Dimension("time", (0, 1)),)
    block_rows = 10

    def available(self, split: str) -> int:
        return 25

    def rows(self, split: str, replicate: int, first: int, last: int, *, root: int) -> dict[str, Array]:
        if last >= 25:
            raise TaskError("too few rows")
        row = np.arange(first, last + 1, dtype=float)[:, None]
        return {"theta": row, "x": np.where(row == 3, np.nan, row * np.ones(2))}


def test_simulations_made_elsewhere_are_read_in_blocks() -> None:
    arrays = [simulate(Stored(), "stored", block=block).arrays for block in range(3)]
    assert [len(a["x"]) for a in arrays] == [10, 10, 5]
    assert np.concatenate([a["theta"][:, 0] for a in arrays]).tolist() == list(range(25))
    assert np.flatnonzero(arrays[0]["status"]).tolist() == [3]
    assert arrays[0]["x"].dtype == np.float32
    with pytest.raises(TaskError, match="too few rows"):
        simulate(Stored(), "stored", block=3)


# ---- missing values ----------------------------------------------------------------------------------


class Gaps(Task):
    """Rows of three numbers: whole, without the second, without any, with an infinite one."""

    name, fidelities, block_rows = "gaps", {"low": 1.0}, 4
    parameters = (Parameter("a", 0.0, 1.0),)
    prior = small_tasks.Box(1)

    def __init__(self, missing: bool) -> None:
        self.dimensions = (Dimension("time", (0, 1, 2), missing=missing),)

    def simulate(self, theta: Array, noise: Any, fidelity: str) -> Array:
        nan, inf = np.nan, np.inf
        return np.array([[1.0, 2, 3], [1, nan, 3], [nan, nan, nan], [1, inf, nan]])


def test_missing_values_are_data_where_they_are_declared() -> None:
    """The hint names what the first failing row may lack; a row without any number is no data in any case."""
    ok, bad = validity.OK, validity.NON_FINITE
    declared, undeclared = (simulate(Gaps(missing)) for missing in (True, False))
    assert declared.arrays["status"].tolist() == [ok, ok, bad, bad]
    assert undeclared.arrays["status"].tolist() == [ok, bad, bad, bad]
    assert np.array_equal(declared.arrays["x"][1], [1, np.nan, 3], equal_nan=True)
    assert np.isnan(undeclared.arrays["x"][1:]).all() and np.isnan(declared.arrays["x"][2:]).all()
    assert undeclared.first_traceback.startswith("x holds NaN in 1 of its 3 numbers. If those are missing")
    assert "`missing: true`" in undeclared.first_traceback
    assert declared.first_traceback.startswith("A row of x without any number counts as failed")
    counts = validity.status_counts(undeclared.arrays["status"])
    with pytest.raises(SimulationError, match=r"75.0% of 4 .*max_invalid\. x holds NaN in 1 of its 3"):
        validity.require_plausible("gaps", counts, 0.0, undeclared.first_traceback)
