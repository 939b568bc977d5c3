"""w_i f_i ensembles with networks: weights, estimates, pseudo-experiments, and whether they cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import special

from veridical import seeds
from veridical.errors import ArtifactError, DataError, ShapeError, TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.estimators.ratios import Ratios
from veridical.inference import fractions, ratio_weights
from veridical.inference.ratio_weights import Events
from veridical.remedies import wifi_experiments
from veridical.remedies.wifi import Wifi
from veridical.remedies.wifi_settings import WifiSettings
from veridical.remedies.wifi_weights import FunctionTable
from veridical.stages import experiment
from veridical.tasks.base import Array, ClassTask
from veridical.tasks.gaussian_classes import GaussianClasses
from veridical.training import session

CELLS = GaussianClasses(0.1, 0.005)
INFO = TaskInfo.of(CELLS)
WEIGHTS = ("fitted", "mean", "mean_constant", "single")


class WithoutRatio(GaussianClasses):
    """Knows the classes and not their density ratio."""

    log_ratio = ClassTask.log_ratio


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(3, "test", "wifi", *path)


def train(replicate: int, members: int, n: int, **options: Any) -> Ratios:
    classes = {cls: CELLS.draw(n, generator("train", replicate, cls), cls) for cls in CELLS.classes}
    data = Material(classes=classes, validation=dict.fromkeys(classes, np.arange(n) % 10 == 9))
    spec = {"members": members, "mode": "partition", **options}
    return Ratios.fit(RatiosSettings(**spec), INFO, data, session.Session(3, ("ratios", replicate)))[0]


@pytest.fixture(scope="module")
def ratios() -> Ratios:
    return train(0, 4, 4000, training={"epochs": 20})


@pytest.fixture(scope="module")
def fit_data() -> dict[str, Array]:
    return {cls: CELLS.draw(6000, generator("fit", cls), cls) for cls in CELLS.classes}


def remedy(ratios: Ratios, events: dict[str, Array], **options: Any) -> Wifi:
    data, run = Material(classes=events, parent=ratios), session.Session(3, ("wifi", 0))
    return Wifi.fit(WifiSettings(of="ratios", **options), INFO, data, run)[0]


def run(ratios: Ratios, n: int, **options: Any) -> dict[str, Array]:
    sizes = {"fit_rows": 5000, "events": 4000, "true_values": [0.1, 0.5], **options.pop("sizes", {})}
    wifi = WifiSettings(of="r", **options)
    return wifi_experiments.experiments(wifi, ratios, CELLS, generator, {"rows": n, **sizes})


def test_fitted_weights_are_those_of_the_plain_events(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    """Newton on events one by one and on distinct events with counts; the mean has a larger loss."""
    wifi = remedy(ratios, fit_data)
    plain = ratio_weights.fit(*(Events.of(ratios.functions(x)) for x in fit_data.values()))
    np.testing.assert_allclose(wifi.ratio.weights, plain.weights, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(wifi.ratio.covariance, plain.covariance, rtol=1e-2, atol=1e-4)
    pair = [Events.of(ratios.functions(x)) for x in fit_data.values()]
    mean = remedy(ratios, fit_data, weights="mean").ratio
    assert ratio_weights.loss(plain.weights, *pair) < ratio_weights.loss(mean.weights, *pair)
    value, stderr = wifi.log_ratio(np.linspace(-2, 2, 9)[:, None])
    assert (np.abs(value - 0.2 * np.linspace(-2, 2, 9)) < 5 * stderr).all()


def test_other_weights(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    found = {name: remedy(ratios, fit_data, weights=name).ratio for name in WEIGHTS}
    np.testing.assert_array_equal(found["mean"].weights, [0, 0.25, 0.25, 0.25, 0.25])
    np.testing.assert_array_equal(found["single"].weights, [0, 1, 0, 0, 0])
    assert not found["mean"].covariance.any() and not found["single"].covariance.any()
    constant = found["mean_constant"]
    np.testing.assert_array_equal(constant.weights[1:], 0.25)
    s = [ratios.functions(x)[:, 1:].mean(1) for x in fit_data.values()]
    expected = 0.5 * np.log(np.exp(-s[0]).mean() / np.exp(s[1]).mean())
    assert constant.weights[0] == pytest.approx(expected, abs=1e-6)
    assert np.count_nonzero(constant.covariance) == 1
    assert 0 < constant.covariance[0, 0] < found["fitted"].covariance[0, 0] * 1.5


def test_estimates_of_samples(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    wifi = remedy(ratios, fit_data)
    x = np.stack([CELLS.mixture(3000, 0.4, generator("data", i)) for i in range(3)])
    found = wifi.estimate(x)
    assert len(found) == 3 and (found.ratio > 0).all()
    plain = fractions.estimate(Events.of(ratios.functions(x[1])), wifi.ratio)
    assert found.value[1] == pytest.approx(plain.value, abs=1e-4)
    assert found.total[1] == pytest.approx(plain.total, rel=1e-4)
    np.testing.assert_allclose(found.interval(0.6827, "likelihood"), found.interval(0.6827), atol=0.03)
    single = wifi.estimate(x.astype(np.float32))
    np.testing.assert_allclose(single.value, found.value, atol=1e-4)
    corrected = remedy(ratios, fit_data, bias_correction=True).estimate(x)
    np.testing.assert_allclose(corrected.value, found.value - found.bias)
    for kind in ("parabola", "likelihood"):
        shift = found.interval(0.9, kind) - corrected.interval(0.9, kind)
        np.testing.assert_allclose(shift.T, [found.bias, found.bias], atol=1e-9)
    assert remedy(ratios, fit_data, weights="mean").estimate(x).ratio.max() == 0
    with pytest.raises(ShapeError):
        wifi.estimate(x[0])


def test_what_speaks_against_a_ratio(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    """Nothing where all is well; few events, and one that dominates, where it is not."""
    wifi = remedy(ratios, fit_data)
    assert wifi.miss is not None and wifi.miss > 1e-3 and not wifi.objections()
    few = remedy(ratios, {cls: x[:60] for cls, x in fit_data.items()}, fit_rows=60).objections()
    assert "5 weights were fitted to 60 rows" in few[0] and "one row makes" in few[1]
    naive = remedy(ratios, fit_data, weights="mean")
    assert naive.miss is None and not naive.objections()


def test_likelihood_intervals_end_where_the_deviation_is_z(
    ratios: Ratios, fit_data: dict[str, Array]
) -> None:
    wifi = remedy(ratios, fit_data)
    x = CELLS.mixture(3000, 0.4, generator("data", 9))
    fraction = fractions.estimate(FunctionTable(ratios).events(x), wifi.ratio)
    ends = wifi.estimate(x[None]).interval(special.erf(1.5 / np.sqrt(2)), "likelihood")[0]
    np.testing.assert_allclose(fraction.z(ends), [1.5, -1.5], atol=2e-3)


def test_events_are_looked_up_once(ratios: Ratios, monkeypatch: pytest.MonkeyPatch) -> None:
    table, evaluated = FunctionTable(ratios), []
    functions = ratios.functions
    monkeypatch.setattr(ratios, "functions", lambda x: evaluated.append(len(x)) or functions(x))
    x = CELLS.draw(8000, generator("table"), "signal")
    first, second = table.events(x), table.events(x[::-1])
    assert len(evaluated) == 1 and first.total == second.total == 8000
    np.testing.assert_array_equal(first.functions, second.functions)
    np.testing.assert_allclose(first.functions, functions(np.unique(x)[:, None]), atol=1e-6)
    continuous = table.events(GaussianClasses().draw(500, generator("table"), "signal"))
    assert len(continuous.counts) == 500 and len(table.known) == len(np.unique(x))


def test_arrays_come_back_around_its_ensemble_alone(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    wifi = remedy(ratios, fit_data)
    found = Wifi.from_arrays(WifiSettings(of="r"), INFO, wifi.arrays(), ratios)
    assert found.diagnostics() == wifi.diagnostics()
    assert found.diagnostics()["largest_share"] < 0.01 and found.transforms()["x"] == ["none", "standardise"]
    with pytest.raises(ArtifactError, match="expected an ensemble of 4 members, got None"):
        Wifi.from_arrays(WifiSettings(of="r"), INFO, wifi.arrays())


def test_what_it_refuses(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    wifi = remedy(ratios, fit_data)
    with pytest.raises(TrainingError, match="needs parent"):
        Wifi.fit(WifiSettings(of="r"), INFO, Material(classes=fit_data), session.Session(3, ("w", 0)))
    with pytest.raises(TrainingError, match="type 'ratios', got 'wifi'"):
        remedy(wifi, fit_data)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        remedy(ratios, fit_data, weights="best")
    with pytest.raises(DataError, match=r"fractions in \[0, 1\]"):
        run(ratios, 1, sizes={"true_values": [1.2]})


def test_experiments_depend_on_their_number_alone(ratios: Ratios) -> None:
    few, more = run(ratios, 2), run(ratios, 4)
    assert few["value"].shape == (2, 2) and more["pull"].shape == (4,)
    for name in wifi_experiments.FOUND:
        np.testing.assert_allclose(more[name][:2], few[name], rtol=1e-4, atol=1e-4)
    third = run(ratios, 2, sizes={"true_values": [0.1, 0.5, 0.9]})
    np.testing.assert_allclose(third["value"][:, :2], few["value"], rtol=1e-4, atol=1e-4)


def test_a_sample_without_an_answer_is_an_experiment_that_failed(
    ratios: Ratios, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant that shifts all ratios above 1 leaves the likelihood without a maximum."""
    functions = ratios.functions
    monkeypatch.setattr(ratios, "functions", lambda x: functions(x) + 5)
    found = run(ratios, 2, weights="mean")
    assert all(np.isnan(found[name]).all() for name in wifi_experiments.FOUND)


def test_methods_see_the_same_events(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    """The estimate of every choice of weights is that of the remedy on the events of the experiment."""
    for name in WEIGHTS:
        found = run(ratios, 1, weights=name)
        rng = generator("fit", 0)
        events = {cls: CELLS.draw(5000, rng, cls) for cls in CELLS.classes}
        x = CELLS.mixture(4000, 0.5, generator("data", 0, 1))
        expected = remedy(ratios, events, weights=name).estimate(x[None])
        assert found["value"][0, 1] == pytest.approx(expected.value[0], abs=1e-5)
        assert np.isnan(found["pull"]).all() == (name in ("mean", "single"))
    fitted = run(ratios, 2)
    corrected = run(ratios, 2, bias_correction=True)
    np.testing.assert_allclose(corrected["value"], fitted["value"] - fitted["bias"])


def test_a_pool_stands_for_its_class(ratios: Ratios, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events are made once; answers scatter as those to fresh events, and around the same truth."""
    drawn = []
    draw = CELLS.draw

    def counted(n: int, rng: np.random.Generator, cls: str) -> Array:
        drawn.append(n)
        return draw(n, rng, cls)

    monkeypatch.setattr(CELLS, "draw", counted)
    sizes = {"pool": 25_000, "true_values": [0.5]}
    found = run(ratios, 40, sizes=sizes)
    assert sorted(n for n in drawn if n > 1) == [5000] * 2 + [10_000] * 4
    z = (found["value"] - 0.5) / np.hypot(found["statistical"], found["ratio"])
    assert abs(z.mean()) < 4 / np.sqrt(40) + 1 / np.sqrt(5), "within its error and that of the pool"
    assert 1 - 4 / np.sqrt(80) < z.std() < 1 + 4 / np.sqrt(80)
    np.testing.assert_array_equal(run(ratios, 2, sizes=sizes)["value"], found["value"][:2])


def test_a_batch_as_it_is_saved(ratios: Ratios, fit_data: dict[str, Array]) -> None:
    settings = {"rows": 2, "true_values": [0.1], "events": 1000, "fit_rows": 2000}
    found = experiment.estimates(CELLS, remedy(ratios, fit_data), settings, 3, (0, 7))
    assert {name: array.shape for name, array in found.items()} == {
        **dict.fromkeys(["value", "statistical", "ratio", "z_lr"], (2, 1)),
        "truth": (1,),
        "pull": (2,),
    }
    other = experiment.estimates(CELLS, remedy(ratios, fit_data), settings, 3, (0, 8))
    assert not np.array_equal(found["value"], other["value"])
    naive = experiment.estimates(CELLS, remedy(ratios, fit_data, weights="mean"), settings, 3, (0, 7))
    assert "pull" not in naive
    unknown = experiment.estimates(WithoutRatio(0.1, 0.005), remedy(ratios, fit_data), settings, 3, (0, 7))
    assert set(unknown) == set(found) - {"pull"}
    np.testing.assert_array_equal(unknown["value"], found["value"])
    with pytest.raises(TrainingError, match="such as `wifi`, got 'ratios'"):
        experiment.estimates(CELLS, ratios, settings, 3, (0, 7))


def deviations(found: dict[str, Array]) -> Array:
    """Errors of the estimates in standard errors, shape (E, V)."""
    return (found["value"] - found["truth"]) / np.hypot(found["statistical"], found["ratio"])


def gap(z: Array) -> float:
    """Mean over |z| in [0, 3] of the distance of the coverage from the ideal one."""
    grid = np.linspace(0, 3, 301)
    coverage = (np.abs(z.reshape(-1, 1)) < grid).mean(0)
    return float(np.abs(coverage - special.erf(grid / np.sqrt(2))).mean())


@pytest.mark.slow
def test_sixteen_networks_cover_and_their_mean_does_not() -> None:
    """Three trainings of 25,000 events, 100 experiments each; the counting noise of the gap is 0.015.

    The mean of the networks fails by its normalisation, which differs from training to training.
    """
    sizes = {"fit_rows": 25_000, "events": 25_000, "true_values": [0.1, 0.5]}
    z, naive, pulls = [], [], []
    for replicate in range(3):
        ensemble = train(replicate, 16, 27_778, training={"epochs": 60})
        found = run(ensemble, 100, sizes=sizes)
        z.append(deviations(found))
        pulls.append(found["pull"])
        naive.append(deviations(run(ensemble, 100, sizes=sizes, weights="mean")))
    for v in range(2):
        assert gap(np.concatenate(z)[:, v]) < 0.05
        assert np.mean([gap(part[:, v]) for part in naive]) > 0.1
    assert gap(np.concatenate(pulls)) < 0.05
