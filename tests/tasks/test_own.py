"""A user's own task: a class in a Python file that the test writes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from veridical import tasks
from veridical.errors import TaskError

MODEL = '''
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from veridical.tasks import Dimension, Task
from veridical.tasks.priors import Product, Uniform
import constants_of_mine

@dataclass
class Line:
    slope: float

class MyTask(Task):
    """A straight line with noise."""

    fidelities = {"model": 1.0}
    dimensions = (Dimension("time", (0.0, 1.0, 2.0), "s"),)

    def __init__(self, noise: float = constants_of_mine.NOISE) -> None:
        self.noise_sd = noise
        self.prior = Product({"slope": Uniform(-1, 1)})
        self.parameters = self.prior.parameters({"slope": "m/s"})

    def simulate(self, theta, rng, fidelity):
        times = np.array(self.dimensions[0].coordinates)
        return theta * times + self.noise_sd * rng.standard_normal((len(theta), 3))

class NotATask:
    pass

class Unfinished(Task):
    pass
'''


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "constants_of_mine.py").write_text("NOISE = 0.5\n")
    path = tmp_path / "my_model.py"
    path.write_text(MODEL)
    return path


def spec(file: Path, cls: str = "MyTask", **others: object) -> dict[str, object]:
    return {"name": "mine", "file": str(file), "class": cls, **others}


def test_a_class_in_a_file_is_a_task(model: Path, rng: np.random.Generator) -> None:
    task = tasks.build(spec(model, settings={"noise": 0.0}, block_rows=50))
    tasks.check_task(task)
    assert (task.name, task.block_rows, task.parameters[0].unit) == ("mine", 50, "m/s")
    theta = task.prior.sample(rng, 4)
    np.testing.assert_allclose(task.simulate(theta, rng, "model"), theta * [0.0, 1.0, 2.0])
    assert tasks.build(spec(model)).noise_sd == 0.5  # type: ignore[attr-defined]


def test_an_edited_file_is_imported_anew(model: Path) -> None:
    before = tasks.build(spec(model))
    assert type(tasks.build(spec(model))) is type(before)
    model.write_text(MODEL.replace("Uniform(-1, 1)", "Uniform(-2, 2)"))
    assert tasks.build(spec(model)).bounds.tolist() == [[-2, 2]]


def test_sources_are_the_file_and_what_it_depends_on(model: Path) -> None:
    extra = model.parent / "constants_of_mine.py"
    assert tasks.digest_sources(spec(model, depends_on=[str(extra)])) == sorted([model, extra])
    with pytest.raises(TaskError, match=r"table\.csv is missing"):
        tasks.digest_sources(spec(model, depends_on=["table.csv"]))
    assert tasks.modules(spec(model)) == (), "the file itself says what it uses"


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        ("MyTsk", {}, "has no class 'MyTsk'. Did you mean 'MyTask'?"),
        ("NotATask", {}, "expected NotATask to be a subclass of veridical.tasks.Task"),
        ("Unfinished", {}, "Unfinished does not implement simulate"),
        ("MyTask", {"nose": 1}, "task 'mine' has no setting 'nose'. Did you mean 'noise'?"),
    ],
)
def test_a_wrong_class_is_named(model: Path, cls: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(TaskError, match=re.escape(message)):
        tasks.build(spec(model, cls, settings=settings))


def test_a_missing_or_broken_file_is_named(model: Path) -> None:
    with pytest.raises(TaskError, match=r"nowhere\.py is missing"):
        tasks.build(spec(model.parent / "nowhere.py"))
    model.write_text("import module_that_nobody_has\n")
    with pytest.raises(TaskError, match="cannot be imported: ModuleNotFoundError"):
        tasks.build(spec(model))
    other = model.with_suffix(".txt")
    other.write_text("no Python")
    with pytest.raises(TaskError, match=r"expected a Python file \(\*\.py\)"):
        tasks.build(spec(other))


def test_a_class_that_cannot_be_built_is_named(model: Path) -> None:
    model.write_text(MODEL.replace("self.noise_sd = noise\n", "self.noise_sd = noise + []\n"))
    with pytest.raises(TaskError, match="MyTask cannot be built with settings"):
        tasks.build(spec(model))
