"""The fraction from topics: right where the topics are, the same from files, coverage, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from veridical import methods, seeds
from veridical.errors import ArtifactError, DataError, ShapeError, TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.topics import Topics
from veridical.estimators.topics_settings import TopicsSettings
from veridical.tasks.base import Array
from veridical.tasks.mass_plane import WINDOW, MassPlane
from veridical.training.session import Session

SIMULATORS = 20
TASK = MassPlane(simulators=SIMULATORS)
INFO = TaskInfo.of(TASK)
RUN = Session(3, ("topics", 0))
SPEC: dict[str, Any] = {"simulators": SIMULATORS, "topics": 4, "bins": 6, "limits": [WINDOW, WINDOW]}
SPEC |= {"draws": 800}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(3, "test", "topics", *path)


def events(n: int = 10_000, simulators: int = SIMULATORS) -> dict[str, Array]:
    return {
        f"{cls}_{k}": TASK.draw_simulated(n, generator(cls, k), cls, k)
        for cls in TASK.classes
        for k in range(simulators)
    }


def fitted(found: dict[str, Array], **changes: Any) -> Topics:
    return Topics.fit(TopicsSettings(**{**SPEC, **changes}), INFO, Material(classes=found), RUN)[0]


@pytest.fixture(scope="module")
def material() -> dict[str, Array]:
    return events()


@pytest.fixture(scope="module")
def method(material: dict[str, Array]) -> Topics:
    return fitted(material)


def test_settings_name_simulators_by_number_or_as_a_list() -> None:
    assert TopicsSettings(simulators=3).simulators == [0, 1, 2]
    some = TopicsSettings(simulators=[4, 1])
    assert some.levels(TASK.classes) == ["signal_4", "signal_1", "background_4", "background_1"]
    assert methods.typed("topics", some.model_dump()) == some
    for wrong in (0, [], True, [-1]):
        with pytest.raises(ValidationError):
            TopicsSettings(simulators=wrong)


def test_it_learns_what_the_simulators_look_like(method: Topics, material: dict[str, Array]) -> None:
    assert method.signal.shape == method.background.shape == (4, 36)
    assert method.alpha.shape == (8,) and (method.alpha > 0).all() and method.filled.all()
    flat = fitted(material, prior="flat")
    assert (flat.alpha == 1).all() and np.array_equal(flat.signal, method.signal)


def test_an_estimate_is_mean_sd_and_quantiles_of_the_posterior(method: Topics) -> None:
    x = np.stack([TASK.mixture(5000, kappa, generator("data", kappa > 0.2)) for kappa in (0.1, 0.5)])
    found, draws = method.estimate(x), method.posterior([*x])
    np.testing.assert_array_equal(found.value, draws.kappa.mean(axis=1))
    assert (np.abs(found.value - [0.1, 0.5]) < 4 * found.statistical).all()
    np.testing.assert_allclose(found.statistical, draws.kappa.std(axis=1), rtol=1e-3)
    assert not found.ratio.any() and not found.bias.any() and draws.rhat.max() < 1.05
    assert (np.diff(found.curve, axis=1) >= 0).all() and (np.diff(found.curve_z, axis=1) < 0).all()
    held = np.quantile(draws.kappa, [0.16, 0.84], axis=1).T
    np.testing.assert_allclose(found.interval(0.68, "likelihood"), held, atol=0.05 * found.total.min())
    np.testing.assert_allclose(method.estimate(x[1:]).value, found.value[1:], rtol=1e-9)


def test_pseudo_experiments(method: Topics) -> None:
    settings = {"rows": 3, "true_values": [0.2, 0.6], "events": 2000}
    found = method.pseudo_experiments(TASK, settings, generator)
    assert found["truth"].tolist() == [0.2, 0.6]
    assert all(found[name].shape == (3, 2) for name in ("value", "statistical", "ratio", "z_lr", "alarm"))
    assert (np.abs(found["value"] - found["truth"]) < 5 * found["statistical"]).all()
    assert (np.sign(found["z_lr"]) == np.sign(found["value"] - found["truth"])).mean() > 0.6
    assert not np.array_equal(found["value"][0], found["value"][1])
    again = method.pseudo_experiments(TASK, {**settings, "rows": 1}, generator)
    np.testing.assert_allclose(again["value"], found["value"][:1], rtol=1e-9)
    with pytest.raises(DataError, match="true fractions in"):
        method.pseudo_experiments(TASK, {**settings, "true_values": [1.2]}, generator)


def test_alarms(method: Topics) -> None:
    x = TASK.mixture(5000, 0.3, generator("alarm"))
    assert method.estimate(x[None]).alarms == [[]]
    odd = np.concatenate([x, generator("odd").uniform(150, 155, (400, 2))])
    (said,) = method.estimate(odd[None]).alarms or [[]]
    assert any("do not follow a mixture of topics" in alarm for alarm in said)


def test_arrays_give_it_back(method: Topics) -> None:
    again = Topics.from_arrays(method.settings, INFO, method.arrays())
    assert all(np.array_equal(array, again.arrays()[name]) for name, array in method.arrays().items())
    with pytest.raises(ArtifactError, match="expected 3 topics of 36 bins"):
        Topics.from_arrays(TopicsSettings(**{**SPEC, "topics": 3}), INFO, method.arrays())


def test_what_it_cannot_learn_from_or_answer_is_refused(method: Topics, material: dict[str, Array]) -> None:
    few = events(50, 3)
    with pytest.raises(TrainingError, match="two classes of 20 simulators, got 6 samples"):
        fitted(few)
    with pytest.raises(DataError, match="at least 4 simulators and 4 bins for 4 topics, got 3"):
        fitted(few, simulators=3)
    with pytest.raises(DataError, match="lie in no bin"):
        fitted(few, simulators=3, topics=2, limits=[(100, 110), WINDOW])
    with pytest.raises(TrainingError, match="a pair for each of 2 axes, got 1"):
        fitted(few, simulators=3, topics=2, limits=[WINDOW])
    with pytest.raises(TrainingError, match="lower end of each axis first"):
        fitted(few, simulators=3, topics=2, limits=[WINDOW, (1, 1)])
    with pytest.raises(TrainingError, match="has 2 numbers, and 200 bins along each"):
        fitted(few, bins=200)
    with pytest.raises(ShapeError):
        method.estimate(np.zeros((2, 5)))
    with pytest.raises(DataError, match="1 of 1 lie in no bin"):
        method.counts(np.array([[80.0, 120.0]]))
    sparse = fitted({name: x[:40] for name, x in few.items()}, simulators=3, topics=2, bins=12)
    with pytest.raises(DataError, match="bins without any simulated event"):
        sparse.counts(generator("sparse").uniform(*WINDOW, (500, 2)))
    with pytest.raises(TrainingError, match="needs classes"):
        fitted({})
