"""w_i f_i of parametrised ratios: weights of networks, posteriors with their error, estimates, objections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.inference import normal_pairs
from veridical import artifacts, seeds
from veridical.errors import ArtifactError, DataError, TaskError, TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.nre_ensemble import NREEnsemble, RatioMembers
from veridical.estimators.nre_ensemble_settings import NREEnsembleSettings
from veridical.estimators.nre_settings import NRESettings
from veridical.inference import pair_weights, ratio_parameters
from veridical.inference.ratio_weights import RatioFit
from veridical.remedies.wifi_nre import WifiNRE
from veridical.remedies.wifi_nre_settings import WifiNRESettings
from veridical.tasks.base import Array
from veridical.tasks.priors import Normal, Product
from veridical.training.session import Session

R = 8  # draws of the normal distribution in one row of x
TASK = TaskInfo("normal", ("mu",), np.array([[-np.inf, np.inf]]), ("",), (R,))
PRIOR = Product({"mu": Normal(0.0, 1.0)})
SMALL = {"ensembles": 2, "walkers": 40, "prior_draws": 400, "warm_up": 20, "steps": 20}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "wifi_nre", *path)


def rows(n: int, name: str) -> Rows:
    theta, x = normal_pairs.drawn(generator(name), n, elements=R)
    return Rows(theta, x[..., 0], np.arange(n) % 10 == 9)


@pytest.fixture(scope="module")
def ensemble() -> NREEnsemble:
    spec = {"members": 3, "width": 16, "blocks": 1, "independent": 0, "loss": "binary", "sampling": SMALL}
    settings = NREEnsembleSettings(**spec, training={"epochs": 8})
    material = Material(simulations=rows(600, "train"), prior=PRIOR)
    return NREEnsemble.fit(settings, TASK, material, Session(3, ("nre_ensemble", 0)))[0]


def weighed(ensemble: NREEnsemble, n: int = 500, **options: Any) -> WifiNRE:
    settings = WifiNRESettings(of="ensemble", **{"fit_rows": n, "shuffles": 5, **options})
    material = Material(simulations=rows(n, "fit"), parent=ensemble, prior=PRIOR)
    return WifiNRE.fit(settings, TASK, material, Session(3, ("wifi_nre", 0)))[0]


@pytest.fixture(scope="module")
def wifi(ensemble: NREEnsemble) -> WifiNRE:
    return weighed(ensemble)


def test_the_ensemble_is_the_mean_of_its_members(ensemble: NREEnsemble) -> None:
    network = ensemble.network
    assert isinstance(network, RatioMembers) and ensemble.size == 4
    own = rows(20, "test")
    functions = ensemble.functions(own.theta, own.x)
    assert functions.shape == (20, R, 4) and (functions[..., 0] == 1).all()
    mean = functions[..., 1:].mean(axis=2).sum(axis=1)
    np.testing.assert_allclose(ensemble.log_likelihood(own.theta, own.x), mean, rtol=1e-9)
    z = ensemble.parameters.forward(own.theta)[0]
    np.testing.assert_allclose(
        ensemble.summed(own.x[3])(z[3:5]),
        ensemble.functions(own.theta[3:5], own.x[[3, 3]]).sum(axis=1),
        rtol=1e-9,
    )
    other = ensemble.weighted(np.array([0.5, 0.0, 0.0, 2.0]))
    expected = (0.5 + 2 * functions[..., 3]).sum(axis=1)
    np.testing.assert_allclose(other.log_likelihood(own.theta, own.x), expected, rtol=1e-9)
    np.testing.assert_allclose(ensemble.log_likelihood(own.theta, own.x), mean, rtol=1e-9)
    one = NRESettings(loss="binary")
    assert [type(m).__name__ for m in network.each] == ["RatioNetwork"] * 3 and one.type == "nre"


def test_weights_lower_the_loss_of_the_mean(wifi: WifiNRE) -> None:
    """Over fresh rows, and by more than the error that they state where the mean is off."""
    own = rows(1500, "others")
    functions = [wifi.parent.functions(np.roll(own.theta, k, 0), own.x) for k in range(3)]
    pairs = pair_weights.Pairs(functions[0], np.stack(functions[1:]))
    mean = np.array([0, 1 / 3, 1 / 3, 1 / 3])
    from veridical.inference.ratio_weights import loss

    assert loss(wifi.ratio.weights, *pairs.events, "bce") < loss(mean, *pairs.events, "bce")
    assert wifi.rows == 500 and 0 <= wifi.miss <= 1
    told = wifi.account()["weights_fit"]
    assert told["rows"] == 500 and set(told) >= {"condition", "miss_p", "numerator_mean"}


def test_estimates_are_those_of_the_functions(wifi: WifiNRE) -> None:
    """Near the mean of the data, which is the most likely one; parts and ends as `ratio_parameters` has."""
    x = rows(5, "test").x
    found = wifi.estimate(x, (0.5, 0.9))
    assert found.value.shape == (5, 1) and found.ends.shape == (5, 2, 1, 2)
    np.testing.assert_allclose(found.value[:, 0], x.mean(axis=1), atol=3 * found.total.max())
    np.testing.assert_allclose(np.sqrt(found.data[:, 0, 0]), 1 / np.sqrt(R), rtol=0.4)
    inner, outer = found.interval(0.5), found.interval(0.9)
    assert (outer[..., 0] < inner[..., 0]).all() and (inner[..., 1] < outer[..., 1]).all()
    assert ((inner[:, 0, 0] < found.value[:, 0]) & (found.value[:, 0] < inner[:, 0, 1])).all()
    transform, functions = wifi.parent.parameters, wifi.parent.summed(x[1])
    plain = ratio_parameters.maximise(functions, wifi.ratio, generator("starts").standard_normal((50, 1)))
    np.testing.assert_allclose(found.value[1], transform.inverse(plain.place), atol=1e-4)
    scale = transform.scale[0] ** 2
    np.testing.assert_allclose(found.ratio[1, 0, 0], plain.weights[0, 0] * scale, rtol=0.01)
    np.testing.assert_allclose(found.data[1, 0, 0], plain.data[0, 0] * scale, rtol=0.01)
    kept = wifi.extras(x)
    assert kept["likely_value"].shape == (5, 1) and not wifi.extras(np.tile(x, (5, 1)))
    with pytest.raises(DataError, match="one of the levels"):
        found.interval(0.8)


def test_estimates_are_compared_with_truths(wifi: WifiNRE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parts of the errors as in `estimate`; roots near the deviations, 0 at the estimate itself."""
    own = rows(20, "truths")
    found, likely = wifi.estimated(own.x, own.theta), wifi.estimate(own.x, ())
    assert {*found} == {"estimate", "statistical", "ratio", "z_lr"}
    np.testing.assert_array_equal(found["estimate"], likely.value)
    np.testing.assert_allclose(np.hypot(found["statistical"], found["ratio"]), likely.total)
    np.testing.assert_allclose(found["z_lr"], (likely.value - own.theta) / likely.total, atol=0.3)
    at = wifi.estimated(own.x[:3], likely.value[:3])["z_lr"]
    np.testing.assert_allclose(at, 0, atol=1e-2)

    def none(*_: Any) -> None:
        raise DataError("no maximum")

    monkeypatch.setattr(ratio_parameters, "maximise", none)
    assert all(np.isnan(array).all() for array in wifi.estimated(own.x, own.theta).values())


def test_a_posterior_holds_the_error_of_its_weights(wifi: WifiNRE) -> None:
    """Averaged over draws of the weights: its spread adds that of their posteriors' means."""
    x = rows(1, "test").x
    alone = wifi.posterior.sample(x, 4000, generator("draws"))[:, 0, 0]
    exact = WifiNRE(wifi.settings, TASK, RatioFit.fixed(wifi.ratio.weights), 500, 0.5, 1, wifi.parent)
    np.testing.assert_allclose(
        np.quantile(exact.sample(x, 2000, generator("draws")), [0.16, 0.5, 0.84]),
        np.quantile(alone, [0.16, 0.5, 0.84]),
        atol=0.05,
    )
    z = wifi.parent.parameters.forward(alone[:, None])[0]
    logs = wifi.parent.summed(x[0])(z) @ wifi.moves.T
    weights = np.exp(logs - logs.max(axis=0))
    weights /= weights.sum(axis=0)
    means, squares = alone @ weights, alone**2 @ weights
    expected = np.sqrt(squares.mean() - means.mean() ** 2)
    draws, density, worth = wifi.drawn(x, 2000, generator("draws"))
    assert density is None and draws.std() == pytest.approx(expected, rel=0.1)
    assert worth["ess"].shape == (1, 1) and 0 < worth["ess"][0, 0] < 8000


def test_weights_wider_than_the_posterior_are_worth_little(wifi: WifiNRE) -> None:
    wide = RatioFit(wifi.ratio.weights, 100.0 * np.eye(4), np.zeros(4))
    x = rows(1, "test").x
    guess = WifiNRE(wifi.settings, TASK, wide, 500, 0.5, 1, wifi.parent)
    few, some = (one.drawn(x, 500, generator("draws"))[2]["ess"][0, 0] for one in (guess, wifi))
    assert few < 0.3 * some


def test_what_speaks_against_it(ensemble: NREEnsemble, wifi: WifiNRE) -> None:
    assert not any("fewer than" in said for said in wifi.objections())
    (said,) = [text for text in weighed(ensemble, 120).objections() if "fewer than" in text]
    assert "4 weights were fitted to 120 rows" in said
    twin = ensemble.weighted(np.array([0, 0.5, 0.5, 0.0]))
    network = twin.network
    network.each[1].load_state_dict(network.each[0].state_dict())  # type: ignore[attr-defined]
    assert any("alike" in text for text in weighed(twin).objections())


def test_refusals(ensemble: NREEnsemble, wifi: WifiNRE, tmp_path: Any) -> None:
    with pytest.raises(TrainingError, match=r"at least 10 rows for each of 4 weights"):
        weighed(ensemble, 30, fit_rows=50)
    with pytest.raises(TrainingError, match="an `nre_ensemble`, got 'wifi_nre'"):
        weighed(wifi)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="draws without densities"):
        wifi.log_prob(np.zeros((3, 1)), np.zeros((3, R)))
    with pytest.raises(ArtifactError, match="ensemble of 3 members, got None"):
        WifiNRE.from_arrays(wifi.settings, TASK, wifi.arrays())
    assert "draws by weights" in str(
        wifi.settings.misfit(NREEnsembleSettings(sampling={"by": "importance"}), "it")
    )
    artifacts.save_estimator(ensemble, tmp_path / "ensemble", None, cost={"n": 600})
    artifacts.save_estimator(
        weighed(ensemble, 120), tmp_path / "wifi", None, cost={"n": 120}, parent=tmp_path / "ensemble"
    )
    import json

    assert "fewer than" in json.loads((tmp_path / "wifi" / "cost.json").read_text())["objections"][0]
    assert "objections" not in json.loads((tmp_path / "ensemble" / "cost.json").read_text())


def test_no_maximum_is_not_a_number(wifi: WifiNRE, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Array:
        raise DataError("no maximum")

    monkeypatch.setattr(ratio_parameters, "maximise", refuse)
    assert np.isnan(wifi.estimate(rows(2, "test").x).ends).all()
