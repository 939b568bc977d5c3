"""What training and checks would stumble over is told before the bank is filled, with name and remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.bank import probe
from veridical.bank.data_demands import beyond_type, of_data
from veridical.bank.parameter_demands import exchanged, of_parameters
from veridical.errors import TaskError
from veridical.networks.transforms import InputTransform
from veridical.tasks import Dimension, Parameter, Task, supports
from veridical.tasks.priors import Normal, Product

N = 1000
RNG = np.random.default_rng(3)
U, V = RNG.random(N), RNG.random(N)
INF = np.inf


class Stub(Task):
    """A task of so many parameters and columns that says what a test needs."""

    name, fidelities = "stub", {"only": 1.0}

    def __init__(self, bounds: Any = ((-INF, INF),) * 2, columns: int = 2, x_dtype: str = "float32") -> None:
        self.parameters = tuple(Parameter(n, *b) for n, b in zip("abcdef", bounds, strict=False))
        self.dimensions = (Dimension("what", tuple(f"t{i}" for i in range(columns))),)
        self.x_dtype = x_dtype

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        return theta


# ---- parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "bounds", "message"),
    [
        (
            [U, np.full(N, 2.0)],
            (),
            r"parameter b is 2 in all 1,000 draws.*Leave b out of parameters and prior",
        ),
        ([RNG.integers(1, 7, N), U], ((1, 6), (0, 1)), r"a lies on its bound 1 in \d+ .* to \[0\.5, 6\.5\]"),
        ([np.round(U, 1), V], ((0, 1), (0, 1)), r"a lies on its bound 0 in \d+.* to \[-0\.05, 1\.05\]"),
        ([np.maximum(U, 0.5), V], ((0.5, 1), (0, 1)), r"its bound 0\.5 in \d+ .*Widen the bounds, or mend"),
        ([U, V], ((-1e18, 1e18), (0, 1)), r"bound -1e\+18 of parameter a .*no digits left.*leave it out"),
        ([U, V], ((0, 1e18), (0, 1)), r"bound 1e\+18 of parameter a lies 4e\+18 times its spread"),
        (
            list(RNG.dirichlet([1.0, 1, 1], N).T),
            (),
            r"a, b, c satisfy a \+ b \+ c = 1;.*Simplex\(\(.*leave one of them out",
        ),
        ([U, V, U], (), r"a, c satisfy .*a .*c = -?0"),
        ([U, 3 * U + 1], (), r"a, b satisfy"),
        ([1 + U, 1 + V, (1 + U) * (1 + V)], (), r"the logarithms of a, b, c satisfy"),
        ([U - 0.5, V, (U - 0.5) ** 2], (), "parameter c is a function of the others"),
    ],
)
def test_parameters_that_no_network_can_learn_stop_the_run(columns: Any, bounds: Any, message: str) -> None:
    theta = np.column_stack(columns).astype(float)
    with pytest.raises(TaskError, match=f"task stub: .*{message}"):
        of_parameters(Stub(bounds or ((-INF, INF),) * len(columns)), theta)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            [RNG.integers(1, 7, N), U],
            r"parameter a takes 6 values only \(1, 2, 3, 4, 5, 6\).* a density over",
        ),
        ([U, np.round(V, 1)], r"parameter b takes 11 values only \(0, 0\.1, .*, \.\.\.\)"),
        ([U, U + 1e-3 * V], r"b satisfy .* up to .*e-04 of their spread"),
        ([U, V], None),
        ([RNG.normal(size=N), np.exp(3 * RNG.normal(size=N))], None),
        ([U, 0.9 * U + 0.1 * V], None),
        ([U, U * V], None),
    ],
)
def test_parameters_that_need_thought_are_findings(columns: Any, message: str | None) -> None:
    found = of_parameters(Stub(), np.column_stack(columns).astype(float))
    assert not found if message is None else re.search(message, found[0])


# ---- data --------------------------------------------------------------------------------------------

READ = RNG.normal(size=(200, 2))
SHIFT = RNG.normal(size=(200, 1))


@pytest.mark.parametrize(
    ("x", "noise", "message"),
    [
        (
            2459000.5 + SHIFT + 0.02 * READ,
            0.02,
            r"columns t0, t1: float32 has steps of 0\.25 near 245900.*noise by 0\.02",
        ),
        (2459000.5 + SHIFT + 0.02 * READ, None, r"columns t0, t1: .*State x_dtype: float64"),
        (
            1.7e9 + 3600 * SHIFT + 5 * READ,
            5.0,
            r"float32 has steps of 1\.3e\+02 near 17.*, where x varies by 3",
        ),
        (5.6e6 + 1000 * SHIFT + 0.1 * READ, 0.1, r"float32 has steps of 0\.5 .*noise by 0\.1"),
        (1e6 + SHIFT + 0 * READ, 0.0, r"float32 has steps of 0\.062"),
        (
            SHIFT[np.arange(200) // 2] + np.zeros(2),
            0.1,
            r"100 of 200 rows of x are exact copies .*rows \d+ and",
        ),
    ],
)
def test_data_that_would_answer_wrongly_stop_the_run(x: Any, noise: float | None, message: str) -> None:
    given = None if noise is None else np.full(2, noise)
    theta = np.column_stack([SHIFT, RNG.normal(size=200)])
    with pytest.raises(TaskError, match=f"task stub: .*{message}"):
        of_data(Stub(), theta, x, given)
    if "steps" in message or "float64" in message:
        assert of_data(Stub(x_dtype="float64"), theta, x, given) == []


CLEAN = RNG.normal(size=200)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.full(200, 3.5), "column t1: the same in all 200 rows"),
        (np.where(np.arange(200) == 7, 2.0, 0.0), "column t1: another value than usual in less than 1%"),
        (np.exp(4 * CLEAN), r"column t1: spans over three decades.*`inputs\.transform`"),
        (CLEAN, None),
        (300 + CLEAN, None),
        (1e7 + RNG.poisson(1e6, 200), None),  # whole numbers are not rounded
        (CLEAN.astype(np.float32).astype(float), None),
    ],
)
def test_data_that_need_thought_are_findings(column: Any, message: str | None) -> None:
    x = np.column_stack([RNG.normal(size=200), column])
    found = of_data(Stub(), RNG.normal(size=(200, 2)), x, np.array([1.0, max(1.0, column.std())]))
    assert found == [] if message is None else re.search(message, found[0])


@pytest.mark.parametrize(
    "x",
    [
        RNG.integers(0, 3, (200, 2)).astype(float),  # counts repeat
        np.round(RNG.random((200, 1)), 2) + np.zeros(2),  # so do rounded readings
        np.round(RNG.normal(size=(200, 1)), 3) + np.zeros(2),
    ],
)
def test_data_that_repeat_by_nature_are_no_copies(x: Any) -> None:
    assert of_data(Stub(), RNG.normal(size=(200, 2)), x, np.ones(2)) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_that_a_simulator_rounded_itself_are_a_finding(dtype: str) -> None:
    x = (2459000.5 + SHIFT + 0.02 * READ).astype(np.float32).astype(float)
    found = of_data(Stub(x_dtype=dtype), RNG.normal(size=(200, 2)), x, np.zeros(2))
    assert found[0].startswith(
        "columns t0, t1: already rounded to single precision, with steps of 0.25 near 2459"
    )


@pytest.mark.parametrize(
    "x",
    [np.clip(RNG.normal(size=(200, 1)), -0.123456789, 0.987654321), np.round(30 * RNG.random((200, 1))) / 7],
)
def test_saturated_and_coarse_data_are_a_finding(x: Any) -> None:
    (found,) = of_data(Stub(columns=1), RNG.normal(size=(200, 2)), x, np.ones(1))
    assert "exact copies" in found and "saturated" in found


def test_neighbours_whose_difference_is_lost_are_a_finding() -> None:
    """Two epochs read to 0.02 days by a clock that is wrong by days."""
    x = 2459000.5 + 30 * SHIFT + 0.02 * READ
    (found,) = of_data(Stub(), RNG.normal(size=(200, 2)), x, np.full(2, 30.0))
    assert "column t0: its difference from the next varies by 0.02" in found and "steps of 0.25" in found


def test_numbers_beyond_the_type_are_named() -> None:
    x = np.array([[1.0, 3.5e38], [1.0, 2.0]])
    assert beyond_type(Stub(), x, "float32").startswith(
        "column t1: 3.5e+38 is beyond the largest float32 (3.4e+38)"
    )
    assert beyond_type(Stub(), x, "float64") == ""
    assert "column t0: 1e-50 is below the smallest" in beyond_type(
        Stub(), np.array([[1e-50, 1.0]]), "float32"
    )
    assert beyond_type(Stub(), np.empty((0, 2)), "float32") == ""


# ---- whole tasks -------------------------------------------------------------------------------------


class Offset(Task):
    """A shift read twice far from zero; its posterior is normal in closed form."""

    name, fidelities = "offset", {"only": 1.0}
    prior = Product({"shift": Normal(mean=0.0, sd=1.0)})
    parameters = prior.parameters()
    dimensions = (Dimension("what", ("t0", "t1")),)

    def __init__(self, offset: float, sd: float, x_dtype: str = "float32") -> None:
        self.offset, self.sd, self.x_dtype = offset, sd, x_dtype

    def simulate(self, theta: np.ndarray, rng: np.random.Generator, fidelity: str) -> np.ndarray:
        return self.offset + theta + self.sd * rng.normal(size=(len(theta), 2))


OFFSETS = {"julian dates": (2459000.5, 0.02), "unix seconds": (1.7e9, 0.05), "utm metres": (5.6e6, 0.02)}


@pytest.mark.parametrize(("offset", "sd"), OFFSETS.values(), ids=OFFSETS)
def test_offsets_are_refused_in_float32_and_cost_nothing_in_float64(offset: float, sd: float) -> None:
    with pytest.raises(TaskError, match=r"columns t0, t1: float32 has steps of .*x_dtype: float64"):
        probe.run(Offset(offset, sd), "only", root=1, rows=50)
    exact = Offset(offset, sd, "float64")
    assert probe.run(exact, "only", root=1, rows=50)["warnings"] == []
    theta = exact.prior.sample(np.random.default_rng(0), 4000)
    x = exact.simulate(theta, np.random.default_rng(1), "only")
    inputs = InputTransform.fit(x, "none")(x, np.float32)
    mean = inputs.astype(float).mean(axis=1)
    left = theta[:, 0] - np.polyval(np.polyfit(mean, theta[:, 0], 1), mean)
    assert left.std() == pytest.approx((1 + 2 / sd**2) ** -0.5, rel=5 / np.sqrt(2 * len(x)))


class Faulty(Offset):
    """A simulator with one planted fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(0.0, 0.1)
        self.fault = fault

    def simulate(self, theta: np.ndarray, rng: np.random.Generator, fidelity: str) -> np.ndarray:
        match self.fault:
            case "ignores parameters":
                return rng.normal(size=(len(theta), 2))
            case "ignores noise":
                return theta * [1.0, 2.0]
            case "seeds anew":
                return np.random.default_rng(5).normal(size=(len(theta), 2))
            case _:
                return np.exp(300 * np.abs(theta)) * np.ones(2) + rng.normal(size=(len(theta), 2))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("ignores parameters", "the simulator ignores them"),
        ("ignores noise", "nothing is random"),
        ("overflows", r"columns t0, t1: .* is beyond the largest float32 \(3\.4e\+38\)"),
    ],
)
def test_faults_of_a_simulator_are_findings(fault: str, message: str) -> None:
    found = probe.run(Faulty(fault), "only", root=1, rows=100, max_invalid=1.0)
    assert any(re.search(message, text) for text in found["warnings"]), found["warnings"]


class Whole(Task):
    """A number of channels from 1 to 6, which the simulator wants whole, or rounds."""

    name, fidelities = "whole", {"only": 1.0}
    parameters = (Parameter("channels", 0.5, 6.5),)
    dimensions = (Dimension("what", ("current",)),)

    def __init__(self, rounds: bool) -> None:
        self.prior, self.rounds = self, rounds

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(1, 7, size=(n, 1)).astype(float)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.where(np.isin(theta[:, 0], range(1, 7)), 0.0, -INF)

    def simulate(self, theta: np.ndarray, rng: np.random.Generator, fidelity: str) -> np.ndarray:
        if not self.rounds and (theta % 1).any():
            raise ValueError("expected whole channels")
        return np.round(theta) + 0.5 * rng.normal(size=theta.shape)


@pytest.mark.parametrize("rounds", [True, False])
def test_whole_numbers_are_told_what_a_density_between_them_means(rounds: bool) -> None:
    found = probe.run(Whole(rounds), "only", root=1, rows=100)["warnings"]
    assert "parameter channels takes 6 values only" in found[0] and len(found) == 1 + (not rounds)
    assert "constraints = (Whole('channels', 1, 6),)" in found[0] and "`prior: integers`" in found[0]
    assert rounds or re.search(r"fails at parameters between .*expected whole.*predictive: null", found[1])


def test_what_parameters_can_be_is_no_finding_once_it_is_said() -> None:
    """Values on bounds, few values and shares that sum to one are as the task says."""
    channels = Whole(False)
    channels.constraints = (supports.Whole("channels", 1, 6),)
    assert probe.run(channels, "only", root=1, rows=100)["warnings"] == []
    theta = np.column_stack([RNG.dirichlet([1.0, 1, 1], N), RNG.integers(0, 2, N)])
    stub = Stub(((0, 1),) * 4, 4)
    stub.constraints = (supports.Simplex(("a", "b", "c")), supports.OneOf("d", ("off", "on")))
    assert of_parameters(stub, theta) == []


class Funnel(Stub):
    """b given a is uniform on [0, exp(a)]; a prior of the user's own."""

    @property
    def prior(self) -> Any:
        return self

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        a = rng.normal(size=n)
        return np.stack([a, np.exp(a) * rng.random(n)], axis=1)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        a, b = theta.T
        return np.where((b >= 0) & (b <= np.exp(a)), -0.5 * a**2 - a, -INF)


def test_bounds_that_depend_on_others_are_asked_for() -> None:
    """P(U exp(a) > exp(a')) = E max(0, 1 - exp(z)) for z ~ N(0, 2) is 0.286."""
    funnel = Funnel(((-INF, INF), (0, INF)))
    theta = funnel.sample(np.random.default_rng(1), N)
    (found,) = exchanged(funnel, theta)
    share = re.search(r"depends on the others: (\d+)%.*Between\('b'", found)
    assert share is not None and abs(int(share[1]) - 28.6) < 100 * 4 * np.sqrt(0.2 / N) + 1
    funnel.constraints = (supports.Between("b", 0.0, "exp(a)"),)
    assert exchanged(funnel, theta) == []


def test_draws_that_break_what_a_task_says_are_counted() -> None:
    channels = Whole(False)
    channels.constraints = (supports.OneOf("channels", (1.0, 2.0, 3.0, 4.0, 6.0)),)
    with pytest.raises(TaskError, match=r"draws, such as \[5\.\], break the constraints"):
        probe.run(channels, "only", root=1, rows=100)


@pytest.mark.parametrize("kind", ["simulations", "command"])
def test_dates_in_files_and_programs_need_their_type_stated(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shift = rng.uniform(-1, 1, size=(400, 1))
    t = 2459000.5 + shift + 0.02 * rng.normal(size=(400, 2))
    np.savetxt(tmp_path / "r.csv", np.hstack([shift, t]), delimiter=",", header="shift,t0,t1", comments="")
    script = 'NR > 1 {printf "%.6f,%.6f\\n", 2459000.5 + $1, 2459000.5 + $1 + 0.02 * sin(1e6 * $1)}'
    (awk := tmp_path / "dates.awk").write_text(script)
    prior = {"shift": {"prior": "uniform", "lower": -1, "upper": 1}}
    spec: dict[str, Any] = {
        "simulations": {"name": "d", "simulations": str(tmp_path / "r.csv"), "fidelity": "s", "reserved": {},
                        "parameters": prior},
        "command": {"name": "d", "command": f"sh -c 'awk -F, -f {awk} $0 > $1' {{theta}} {{out}}",
                    "fidelities": {"s": 1.0}, "parameters": prior, "x_shape": [2], "output": "csv"},
    }[kind]  # fmt: skip
    with pytest.raises(TaskError, match=r"columns .*: float32 has steps of 0\.25 near 245.*x_dtype: float64"):
        probe.run(spec, "s", root=1, rows=100)
    found = probe.run({**spec, "x_dtype": "float64"}, "s", root=1, rows=100)
    assert [text for text in found["warnings"] if "nothing is random" not in text] == []
    assert found["fidelities"]["s"]["bytes_per_row"] == 8 + 16 + 1


def test_a_simulator_that_hands_out_the_same_rows_again_is_stopped() -> None:
    with pytest.raises(TaskError, match=r"exact copies of others .*a generator seeded anew"):
        probe.run(Faulty("seeds anew"), "only", root=1, rows=100)


# ---- missing values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "offset", "message"),
    [
        (np.zeros((N, 3), bool), 0.0, "no number of x is missing in any of 1000 rows, though"),
        (np.arange(3) > np.full((N, 1), 1), 0.0, "column t2: missing in all 1000 rows"),
        (RNG.random((N, 3)) < 0.5, 2459000.5, "float32 has steps of 0.25 near 245"),
        (RNG.random((N, 3)) < 0.5, 0.0, ""),
        ((np.arange(3) > 1) & (np.arange(N)[:, None] > 0), 0.0, "column t2: the same in all 1000 rows"),
    ],
    ids=["none is missing", "one always", "rounded", "some", "one but once"],
)
def test_demands_rest_on_the_numbers_that_are_there(gone: np.ndarray, offset: float, message: str) -> None:
    task = Stub(columns=3)
    task.dimensions = (Dimension("what", ("t0", "t1", "t2"), missing=True),)
    theta = np.stack([U, V], axis=1)
    x = np.where(gone, np.nan, offset + theta[:, :1] + 0.1 * np.random.default_rng(4).normal(size=(N, 3)))
    if offset:
        with pytest.raises(TaskError, match=message):
            of_data(task, theta, x)
    else:
        assert [text[: len(message)] for text in of_data(task, theta, x)] == ([message] if message else [])
