"""What a task that breaks its contract is told, one planted fault at a time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from veridical.errors import TaskError
from veridical.tasks import Dimension, Parameter, Task, as_arrays, check_task
from veridical.tasks.needs import Needs
from veridical.tasks.priors import Product, Uniform


class Good(Task):
    name = "good"
    parameters = (Parameter("p", 0.0, 1.0), Parameter("q", 0.0, 1.0))
    fidelities = {"low": 1.0, "high": 10.0, "real": 0.5}  # noqa: RUF012
    dimensions = (Dimension("time", (0.0, 1.0)),)
    prior = Product({"p": Uniform(0, 1), "q": Uniform(0, 1)})

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        return theta


class Flat:
    """A prior that forgets the second axis for one row, as `squeeze` does."""

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((n, 2)).squeeze()

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.zeros(len(theta))


class Prior:
    """A prior whose draws and densities are what a test says."""

    def __init__(self, draw: Any = 0.5, log_p: Any = 0.0, dtype: type = float, wide: int = 2) -> None:
        self.draw, self.log_p, self.dtype, self.wide = draw, log_p, dtype, wide

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.full((n, self.wide), self.draw, dtype=self.dtype)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return np.full(len(theta), self.log_p)


class Raises(Prior):
    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("no density")


FAULTS = [
    ({"name": "a/b"}, "its name becomes a folder"),
    ({"parameters": ()}, "at least one parameter"),
    ({"parameters": (Parameter("p"), Parameter("p"))}, "names of parameters must differ, got p, p"),
    ({"parameters": (Parameter("p q"), Parameter("r"))}, "parameter 'p q'"),
    ({"parameters": (Parameter("draw"), Parameter("r"))}, "parameter 'draw'"),
    ({"parameters": (Parameter("p", 1.0, 0.0), Parameter("q"))}, "lower must be below upper, got [1.0, 0.0]"),
    ({"parameters": (Parameter("p", unit=1), Parameter("q"))}, "unit of 'p' must be a text, got 1"),
    ({"fidelities": {}}, "at least one name and cost"),
    ({"fidelities": {"../x": 1.0}}, "fidelity '../x' becomes a folder"),
    ({"fidelities": {"low": 0.0}}, "expected a positive cost, got 0.0"),
    ({"fidelities": {"low": "cheap"}}, "fidelity 'low': expected a positive cost, got 'cheap'."),
    ({"fidelities": {"real": 1.0}}, "expected a simulator's fidelity beside it"),
    ({"fidelities": {"high": 2.0, "low": 1.0}}, "cheapest first"),
    ({"x_dtype": "int32"}, "x_dtype is 'int32', expected 'float32' or 'float64'"),
    ({"x_dtype": "flaot64"}, "x_dtype is 'flaot64', expected 'float32' or 'float64'"),
    ({"block_rows": 0}, "block_rows must be at least 1, got 0"),
    ({"dimensions": ()}, "at least one dimension"),
    ({"dimensions": "time"}, "dimensions must be a tuple of Dimension, got 'time'."),
    ({"dimensions": (Dimension("row", (1,)),)}, "names of dimensions must differ and be none of"),
    ({"dimensions": (Dimension("two words", (1,)),)}, "dimension 'two words'"),
    ({"dimensions": (Dimension("time", ()),)}, "'time' has no coordinates"),
    ({"dimensions": (Dimension("t", (0,), missing="no"),)}, "missing must be True or False, got 'no'"),
    ({"dimensions": (Dimension("t", (0, 1), kind="serie"),)}, "'serie' is unknown. Did you mean 'series'"),
    (
        {"dimensions": (Dimension("t", (0, 1), kind="image"),)},
        "expected 0 or 2 dimensions of kind 'image', got 1",
    ),
    ({"needs": {"cores": 4}}, "needs must be an instance of Needs, as in needs = Needs(cores=4), got"),
    ({"needs": None}, "needs must be an instance of Needs"),
    ({"needs": Needs}, "needs must be an instance of Needs"),
    ({"needs": Needs(cores="4")}, "needs.cores: expected an integer; got '4'."),
    ({"needs": Needs(cores=0)}, "needs.cores: expected a number greater than or equal to 1; got 0."),
    ({"needs": Needs(cores=-3)}, "needs.cores: expected a number greater than or equal to 1; got -3."),
    ({"needs": Needs(cores=2.5)}, "needs.cores: expected an integer; got 2.5."),
    ({"needs": Needs(cores=True)}, "needs.cores: expected a number; got True."),
    ({"needs": Needs(mem_mb=-5000)}, "needs.mem_mb: expected a number greater than or equal to 0; got -5000"),
    ({"needs": Needs(mem_mb=np.nan)}, "needs.mem_mb: expected an integer; got nan."),
    ({"needs": Needs(mem_mb="2 GB")}, "needs.mem_mb: expected an integer; got '2 GB'."),
    ({"needs": Needs(seconds={"low": -100})}, "seconds.low: expected a number greater than 0; got -100."),
    ({"needs": Needs(seconds={"low": np.inf})}, "needs.seconds.low: expected a finite number; got inf."),
    ({"needs": Needs(seconds=0.5)}, "needs.seconds: expected a mapping of names; got 0.5."),
    ({"needs": Needs(seconds={"lwo": 1.0})}, "needs.seconds: there is no fidelity 'lwo'. Did you mean 'low'"),
    ({"needs": Needs(modules="gcc/12")}, "needs.modules: expected a list; got 'gcc/12'."),
    (
        {"needs": Needs(modules=("gcc/12; touch x",))},
        "needs.modules.0: expected a module name such as gcc/12; got 'gcc/12; touch x'.",
    ),
    ({"prior": Flat()}, "prior.sample(rng, 1): expected shape (1, 2), got (2,)"),
    ({"prior": Prior(wide=3)}, "expected shape (1, 2), got (1, 3)"),
    ({"prior": Prior(draw=1, dtype=int)}, "expected floats, got int64"),
    ({"prior": Prior(draw=np.nan)}, "expected finite numbers, got nan"),
    ({"prior": Prior(draw=2.0)}, "p left its bounds [0.0, 1.0]"),
    ({"prior": Prior(log_p=[0.0, 1.0])}, "prior.log_prob raised ValueError"),
    (
        {"prior": Prior(log_p=-np.inf)},
        "prior.log_prob is not finite at 16 of 16 of the prior's own draws, such as [0.5 0.5]",
    ),
    ({"prior": Raises()}, "prior.log_prob raised ZeroDivisionError: no density"),
    ({"prior": Prior(draw=[1.0, 2.0, 3.0])}, "prior.sample raised ValueError"),
]


def test_a_good_task_passes() -> None:
    check_task(Good())


def test_good_needs_pass() -> None:
    task = Good()
    task.needs = Needs(cores=4, mem_mb=500, seconds={"low": 1, "real": 0.5}, modules=("gcc/12", "gsl@2.7"))
    check_task(task)


@pytest.mark.parametrize(("change", "message"), FAULTS, ids=lambda value: str(value)[:40])
def test_each_fault_is_named(change: dict[str, Any], message: str) -> None:
    task = Good()
    for name, value in change.items():
        setattr(task, name, value)
    with pytest.raises(TaskError, match=re.escape(message)):
        check_task(task)


def test_a_density_of_the_wrong_shape_is_named() -> None:
    class Columns(Prior):
        def log_prob(self, theta: np.ndarray) -> np.ndarray:
            return np.zeros((len(theta), 1))

    task = Good()
    task.prior = Columns()
    with pytest.raises(TaskError, match=re.escape("prior.log_prob: expected shape (16,), got (16, 1)")):
        check_task(task)


@pytest.mark.parametrize(
    ("noise", "message"),
    [(np.zeros(16), "must return a dict"), ({"e": np.zeros(3)}, "expected 16 rows, got")],
)
def test_noise_of_the_wrong_kind_is_named(noise: Any, message: str) -> None:
    class Coupled(Good):
        def noise(self, rng: np.random.Generator, n: int) -> Any:
            return noise

    assert Coupled().coupled and not Good().coupled
    with pytest.raises(TaskError, match=message):
        check_task(Coupled())


def test_an_attribute_that_is_missing_is_named() -> None:
    class NoPrior(Good):
        pass

    del NoPrior.__bases__[0].prior
    try:
        with pytest.raises(TaskError, match="task NoPrior has no `prior`"):
            check_task(NoPrior())
    finally:
        Good.prior = Product({"p": Uniform(0, 1), "q": Uniform(0, 1)})


def test_what_simulate_returns_becomes_a_dict_of_arrays() -> None:
    x = np.zeros((2, 3))
    assert as_arrays(x)["x"] is x
    assert set(as_arrays({"x": x, "score": x})) == {"x", "score"}
    with pytest.raises(TaskError, match="expected a key 'x'"):
        as_arrays({"y": x})


def test_what_a_task_does_not_have_says_so(rng: np.random.Generator) -> None:
    task, x = Good(), np.zeros((1, 2))
    for call in (
        lambda: task.noise(rng, 1),
        lambda: task.log_likelihood(x, x[0]),
        lambda: task.posterior_sample(x, rng, 1),
        lambda: task.posterior_log_prob(x, x),
    ):
        with pytest.raises(NotImplementedError, match="task good"):
            call()
    assert not task.has_likelihood
