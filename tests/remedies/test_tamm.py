"""Template-adapted mixtures around functions that are known: fits, files, refusals, fractions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special, stats

from veridical import seeds
from veridical.errors import ArtifactError, DataError, ShapeError, TrainingError
from veridical.estimators.base import Estimator, Material, TaskInfo
from veridical.estimators.classes import TemplateFunctions
from veridical.estimators.template_ratio_settings import TemplateRatiosSettings
from veridical.inference.adapted_fits import Profile
from veridical.remedies.tamm import Tamm
from veridical.remedies.tamm_settings import TammSettings
from veridical.tasks.base import Array, ClassTask, Dimension
from veridical.training.session import Session

PEAKS = {"peak-0": (0.9, 0.28), "peak-1": (1.15, 0.22), "peak-2": (1.05, 0.33)}
SLOPES = {"fall-0": 0.5, "fall-1": 1.3}
INFO = TaskInfo("bump", (), np.zeros((0, 2)), (), (1,))
LOW, HIGH = 0.0, 3.0
RUN = Session(3, ("tamm", 0))


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(3, "test", "tamm", *path)


def log_peak(x: Array, mean: float, width: float) -> Array:
    mass = stats.norm.cdf(HIGH, mean, width) - stats.norm.cdf(LOW, mean, width)
    return np.asarray(stats.norm.logpdf(x, mean, width) - np.log(mass))


def log_fall(x: Array, slope: float) -> Array:
    return np.asarray(-slope * x + np.log(slope / -np.expm1(-slope * HIGH)))


def draw_peak(rng: np.random.Generator, n: int, mean: float, width: float) -> Array:
    ends = stats.norm.cdf([LOW, HIGH], mean, width)
    return np.asarray(stats.norm.ppf(rng.uniform(*ends, n), mean, width))[:, None]


def draw_fall(rng: np.random.Generator, n: int, slope: float) -> Array:
    return np.asarray(-np.log1p(rng.random(n) * np.expm1(-slope * HIGH)) / slope)[:, None]


def template_events(n: int) -> dict[str, Array]:
    peaks = {name: draw_peak(generator(name), n, *shape) for name, shape in PEAKS.items()}
    return peaks | {name: draw_fall(generator(name), n, slope) for name, slope in SLOPES.items()}


def sample(n: int, kappa: float, *path: str | int) -> Array:
    """Nature: a peak at 1 of width 0.25, in the span of all Gaussians, on a slope of 0.9."""
    rng = generator("data", *path)
    signal = rng.binomial(n, kappa)
    both = draw_peak(rng, signal, 1.0, 0.25), draw_fall(rng, n - signal, 0.9)
    return rng.permutation(np.concatenate(both))


class Known(TemplateFunctions):
    """Two members of opposite errors for every template."""

    type = "known"
    task, settings = INFO, None
    size, templates = 3, (tuple(PEAKS), tuple(SLOPES))

    @classmethod
    def fit(cls, settings: Any, task: TaskInfo, material: Material, run: Session) -> Any:
        raise NotImplementedError

    def functions(self, x: Array) -> Array:
        x = np.asarray(x)[:, 0]
        logs = [log_peak(x, *shape) for shape in PEAKS.values()] + [log_fall(x, s) for s in SLOPES.values()]
        log_p = np.stack(logs, 1)
        g = log_p - special.logsumexp(log_p, axis=1, keepdims=True) + np.log(log_p.shape[1])
        wave = 0.1 * np.sin(4 * x)[:, None]
        return np.stack([np.ones_like(g), g + wave, g - wave], axis=2)

    def transforms(self) -> dict[str, Any]:
        return {"inputs": "none"}

    def arrays(self) -> dict[str, Array]:
        return {}

    @classmethod
    def from_arrays(cls, settings: Any, task: TaskInfo, arrays: Any, parent: Estimator | None = None) -> Any:
        return cls()


def remedy(n: int = 6000, **options: Any) -> Tamm:
    data = Material(classes=template_events(n), parent=Known())
    return Tamm.fit(TammSettings(of="known", **options), INFO, data, RUN)[0]


@pytest.fixture(scope="module")
def tamm() -> Tamm:
    return remedy()


def test_log_ratios_are_those_of_the_templates(tamm: Tamm) -> None:
    """Within five of their errors, though the members are wrong."""
    x = np.linspace(0.2, 2.5, 30)[:, None]
    functions = Known().functions(x)
    error = tamm.log_ratios(x) - functions[:, :, 1:].mean(axis=2)
    for t in range(5):
        block = tamm.covariance[3 * t : 3 * t + 3, 3 * t : 3 * t + 3]
        stated = np.sqrt(np.einsum("np,pq,nq->n", functions[:, t], block, functions[:, t]))
        assert (np.abs(error[:, t]) < 5 * stated).all() and np.median(stated) < 0.5
    assert tamm.covariance.shape == (15, 15) and tamm.reference.shape == tamm.penalty.shape == (5000, 1)


def test_fractions_are_right_with_errors_that_say_how_much() -> None:
    """Samples that share one fit of the weights: within four errors of their number, beside that of this."""
    truth, tamm = 0.3, remedy(3600, starts=[0.1])
    found = [tamm.adapt(sample(1500, truth, i)) for i in range(12)]
    sigma = np.mean([fit.sigma for fit in found])
    ratio = np.mean([fit.ratio for fit in found])
    off = np.array([fit.kappa - truth for fit in found])
    assert abs(off.mean()) < 4 * np.hypot(ratio, sigma / np.sqrt(12)) + 0.5 * sigma  # and the ridge's pull
    assert off.std() < sigma * (1 + 4 / np.sqrt(24))
    assert all(0 < fit.ratio < fit.statistical < 0.15 for fit in found)


def test_an_estimate_has_both_errors_and_a_profile(tamm: Tamm) -> None:
    x = np.stack([sample(3000, kappa, "two", i) for i, kappa in enumerate((0.3, 0.02))])
    found, alone = tamm.estimate(x), tamm.adapt(x[1])
    assert len(found) == 2 and found.value[1] == alone.kappa and found.total[1] == pytest.approx(alone.sigma)
    assert (np.diff(found.curve, axis=1) >= 0).all() and (np.diff(found.curve_z, axis=1) <= 0).all()
    likelihood, parabola = found.interval(0.68, "likelihood"), found.interval(0.68)
    np.testing.assert_allclose(likelihood[0], parabola[0], atol=0.5 * found.total[0])
    assert found.interval(0.99, "likelihood")[1, 0] == min(0.0, found.value[1])  # no signal is allowed
    assert not found.bias.any()


def test_a_stiff_signal_and_other_starts(tamm: Tamm) -> None:
    x = sample(3000, 0.3, "stiff")
    stiff = remedy(ridge=0.5, signal_ridge=1e6, starts=[0.2]).adapt(x)
    np.testing.assert_allclose(stiff.weights[0], 1 / 3, atol=1e-3)
    assert len(stiff.minima) == 1 and stiff.objective.ridge == (1e6, 0.5)
    assert stiff.sigma < tamm.adapt(x).sigma


def test_alarms(tamm: Tamm) -> None:
    x = sample(6000, 0.3, "alarm")[None]
    found = tamm.estimate(x)
    assert found.alarms is not None and found.fit_p is not None and found.fit_p[0] > 0.003
    assert not any("bins" in alarm for alarm in found.alarms[0])
    odd = np.concatenate([x, generator("odd").uniform(2.0, 2.05, (1, 400, 1))], axis=1)
    seen = tamm.estimate(odd)
    assert seen.alarms is not None and any("data in bins" in alarm for alarm in seen.alarms[0])
    few = tamm.estimate(sample(15, 0.5, "few")[None])
    assert few.fit_p is None and few.alarms is not None


def test_fits_are_looked_at_in_bins_of_their_log_ratio_where_x_is_more(tamm: Tamm) -> None:
    """Events of four numbers, of which one counts: small p-values are no oftener than they say."""

    class Wide(Known):
        def functions(self, x: Array) -> Array:
            return super().functions(np.asarray(x)[:, :1])

    def padded(x: Array) -> Array:
        return np.concatenate([x, np.zeros((len(x), 3))], axis=1)

    found = [tamm.adapt(sample(1500, 0.3, "wide", i)) for i in range(40)]
    wide = replace(tamm, parent=Wide(), reference=padded(tamm.reference), penalty=padded(tamm.penalty))
    p = [wide.binned(fit, padded(sample(1500, 0.3, "wide", i))) for i, fit in enumerate(found)]
    small = np.mean([one is not None and one.p_value < 0.1 for one in p])
    assert small < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 40) and np.mean([one.p_value for one in p if one]) > 0.3
    odd = np.concatenate([sample(1500, 0.3, "odd"), np.full((200, 1), 1.1)])
    seen = wide.binned(tamm.adapt(odd), padded(odd))
    assert seen is not None and seen.p_value < 0.001


def test_one_template_of_each_class_is_a_mixture_of_known_shapes() -> None:
    """The fraction at the maximum of that likelihood, but for what weights and samples add."""
    tamm, x = remedy(12_000, mixes=[1], starts=[0.1]), sample(3000, 0.3, "alone")
    fit = tamm.adapt(x)
    signal = np.exp(log_peak(x[:, 0], *PEAKS["peak-1"]))
    background = np.exp(log_fall(x[:, 0], SLOPES["fall-1"]))

    def loss(kappa: float) -> float:
        return float(-np.log(kappa * signal + (1 - kappa) * background).sum())

    known = optimize.minimize_scalar(loss, bounds=(0, 1), method="bounded").x
    assert [w.tolist() for w in fit.weights] == [[1.0], [1.0]]
    shared = np.sqrt(fit.sigma**2 - fit.samples[0, 0, 0])  # what is not the data's own
    assert abs(fit.kappa - known) < 4 * shared and 0 < fit.ratio < fit.sigma
    assert fit.sigma < remedy(12_000, starts=[0.1]).adapt(x).sigma


def test_templates_that_are_not_there_cannot_be_mixed() -> None:
    ratios = TemplateRatiosSettings(first=["a", "b"], second=["c", "d", "e"])
    for mixes in ([2], [0, 0]):
        settings = TammSettings(of="ratios", mixes=mixes)
        assert "different places from 0 to 1" in str(settings.misfit(ratios, "ratios"))
    assert TammSettings(of="ratios", mixes=[1, 0]).misfit(ratios, "ratios") is None
    assert TammSettings(of="ratios").misfit(ratios, "ratios") is None


class Bump(ClassTask):
    """Nature and templates as above, as a task."""

    name, classes = "bump", ("signal", "background")
    dimensions = (Dimension("mass", ("m",)),)

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        return draw_peak(rng, n, 1.0, 0.25) if cls == "signal" else draw_fall(rng, n, 0.9)

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        if fidelity in self.classes:
            return self.draw(len(theta), noise, fidelity)
        if fidelity in PEAKS:
            return draw_peak(noise, len(theta), *PEAKS[fidelity])
        return draw_fall(noise, len(theta), SLOPES[fidelity])


def test_pseudo_experiments_have_samples_of_their_own(tamm: Tamm) -> None:
    """As a remedy fitted to the same events says; methods that mix other templates see the same events."""
    settings = {"rows": 2, "true_values": [0.3, 0.6], "events": 1000, "fit_rows": 1200}
    found = tamm.pseudo_experiments(Bump(), settings, generator)
    assert {name: array.shape for name, array in found.items()} == {
        **dict.fromkeys(["value", "statistical", "ratio", "z_lr", "alarm"], (2, 2)),
        "truth": (2,),
    }
    names = [*PEAKS, *SLOPES]
    classes = {
        name: Bump().simulate(np.empty((1200, 0)), generator("fit", 1, t), name)
        for t, name in enumerate(names)
    }
    again = Tamm.fit(tamm.settings, INFO, Material(classes=classes, parent=Known()), RUN)[0]
    fit = again.adapt(Bump().mixture(1000, 0.3, generator("data", 1, 0)))
    assert (found["value"][1, 0], found["ratio"][1, 0]) == (fit.kappa, fit.simulated)
    assert found["z_lr"][1, 0] == Profile(fit).z(0.3) and set(found["alarm"].ravel()) <= {0.0, 1.0}
    assert not np.isnan(found["z_lr"]).any() and len(set(found["value"][:, 0])) == 2
    other = remedy(mixes=[0]).pseudo_experiments(Bump(), settings, generator)
    assert abs(other["value"] - found["value"]).max() < 1 and (other["value"] != found["value"]).all()
    with pytest.raises(DataError, match=r"true fractions in \[0, 1\]"):
        tamm.pseudo_experiments(Bump(), {**settings, "true_values": [1.2]}, generator)
    with pytest.raises(TrainingError, match="such as `wifi`, got 'known'"):
        Known().pseudo_experiments(Bump(), settings, generator)


def test_pseudo_experiments_can_draw_from_a_pool(tamm: Tamm) -> None:
    """Events made once give what fresh ones give, within the scatter of both; without bins to look at."""
    settings = {"rows": 6, "true_values": [0.3], "events": 1500, "fit_rows": 3600, "pool": 20_000}
    found = tamm.pseudo_experiments(Bump(), settings, generator)
    fresh = tamm.pseudo_experiments(Bump(), {**settings, "pool": None}, generator)
    assert len(set(found["value"].ravel())) == 6 and np.isfinite(found["z_lr"]).all()
    errors = [np.hypot(one["statistical"], one["ratio"]).mean() for one in (found, fresh)]
    assert errors[0] == pytest.approx(errors[1], rel=0.3)
    assert abs(found["value"].mean() - fresh["value"].mean()) < 4 * np.hypot(*errors) / np.sqrt(6)
    again = tamm.pseudo_experiments(Bump(), settings, generator)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def test_arrays_give_it_back(tamm: Tamm) -> None:
    again = Tamm.from_arrays(tamm.settings, INFO, tamm.arrays(), Known())
    x = sample(2000, 0.3, "again")
    assert again.adapt(x).kappa == tamm.adapt(x).kappa
    assert again.transforms() == {"inputs": "none"}
    with pytest.raises(ArtifactError, match="expected an array 'penalty'"):
        Tamm.from_arrays(
            tamm.settings, INFO, {k: v for k, v in tamm.arrays().items() if k != "penalty"}, Known()
        )
    with pytest.raises(ArtifactError, match="expected an ensemble with"):
        Tamm.from_arrays(tamm.settings, INFO, tamm.arrays(), None)
    assert all(np.array_equal(array, remedy().arrays()[name]) for name, array in tamm.arrays().items())


def test_what_it_cannot_learn_from_is_refused(tamm: Tamm) -> None:
    settings, events = TammSettings(of="known"), template_events(60)
    events.pop("fall-1")
    with pytest.raises(TrainingError, match="got none of fall-1"):
        Tamm.fit(settings, INFO, Material(classes=events, parent=Known()), RUN)
    with pytest.raises(TrainingError, match="at least 18 events of each template, got 10"):
        Tamm.fit(settings, INFO, Material(classes=template_events(10), parent=Known()), RUN)
    with pytest.raises(TrainingError, match="functions of templates, got 'tamm'"):
        Tamm.fit(settings, INFO, Material(classes=template_events(60), parent=tamm), RUN)
    with pytest.raises(ShapeError):
        tamm.estimate(np.zeros((2, 5)))
    with pytest.raises(DataError, match="finite"):
        tamm.adapt(np.full((5, 1), np.nan))


def test_an_answer_shows_what_it_learned_of_the_classes(tamm: Tamm) -> None:
    """Shares of both, beside the true events of each where these are known; the parts of its error add up."""
    x, kappa = sample(3000, 0.3, "shown"), 0.3
    classes = (np.arange(3000) >= 3000 * kappa).astype(np.int8)[None]
    found, (record,) = tamm.answer(x[None], classes)
    assert record["classes"] == ["peak", "fall"] and record["kappa"] == found.value[0]
    (feature,) = record["features"]
    assert (feature["name"], sum(feature["data"])) == ("x_1", 3000)
    assert [sum(side["true"]) for side in feature["classes"]] == [900, 2100]
    assert [len(side["templates"]) for side in feature["classes"]] == [3, 2]
    assert tamm.answer(x[None])[1][0]["features"][0]["classes"][0]["true"] is None
    shares = found.variance_shares
    assert set(shares) == {"sample", "reference", "penalty", "ratio"}
    assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0
    fit = tamm.adapt(x)
    assert shares["ratio"][0] == pytest.approx(fit.ratio**2 / fit.sigma**2)
    assert shares["sample"][0] == pytest.approx(fit.observed**2 / fit.sigma**2)


def test_shares_of_the_variance_go_where_samples_are_endless(tamm: Tamm) -> None:
    """Weights known exactly leave no share of the ratio; a hundred times the data leave little of theirs."""
    x = sample(2000, 0.3, "endless")
    sure = replace(tamm, covariance=np.zeros_like(tamm.covariance)).answer(x[None])[0].variance_shares
    assert sure["ratio"][0] == 0 and sum(sure.values())[0] == pytest.approx(1)
    few, many = (tamm.answer(np.tile(x, (k, 1))[None])[0].variance_shares["sample"][0] for k in (1, 100))
    assert few > 0.3 and many < 0.05


def test_what_is_more_than_three_numbers_is_shown_by_its_log_ratio(tamm: Tamm) -> None:
    wide = replace(tamm, parent=Blind())
    (feature,) = wide.answer(sample(3000, 0.3, "blind")[None])[1][0]["features"]
    assert feature["name"] == "log ratio of the learned classes" and sum(feature["data"]) == 3000


class Blind(Known):
    sees_events = False
