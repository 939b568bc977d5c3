"""RoPE: its mixture is what the formulas say, in all limits, and draws follow the stated density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import kstest, norm

from tests.remedies.shifted_task import PRIOR, SHIFTED, rows, simulator
from veridical.errors import ArtifactError, ShapeError, TrainingError
from veridical.estimators.base import Material
from veridical.estimators.npe import NPE
from veridical.remedies import components as mixtures
from veridical.remedies import rope as module
from veridical.remedies.rope import RoPE
from veridical.remedies.rope_settings import RoPESettings
from veridical.remedies.transport import semi_balanced
from veridical.remedies.tuned import Tuned
from veridical.remedies.tuned_settings import TunedSettings
from veridical.tasks.base import Array
from veridical.training import session

RUN = session.Session(11, ("rope", 0))
SIMULATIONS = 300


def fitted(npe: NPE | Tuned, rng: np.random.Generator, n: int = SIMULATIONS, **spec: object) -> RoPE:
    material = Material(simulations=rows(n, False, rng), parent=npe, prior=PRIOR)
    found, result = RoPE.fit(RoPESettings(of="npe", simulations=n, **spec), SHIFTED, material, RUN)
    assert result is None
    return found


def component_densities(remedy: RoPE, theta: Array) -> Array:
    """Log densities of theta (N, 1) under each component, (N, components), by the formulas of the modules."""
    npe, z = remedy.simulated, remedy.simulated.parameters.forward(theta)
    if remedy.settings.smoothing == 0:
        flow = [
            mixtures.Components(npe, row[None]).log_prob(theta, np.zeros((len(theta), 1)))
            for row in remedy.summaries
        ]
        return np.stack(flow, axis=1)
    kernels = norm.logpdf(
        z[0][:, :, None], remedy.components.centres[None, :, :, 0], remedy.settings.smoothing
    )
    return logsumexp(kernels, axis=2) - np.log(kernels.shape[2]) + z[1][:, None]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_density_is_the_stated_mixture(smoothing: float, npe: NPE, rng: np.random.Generator) -> None:
    remedy = fitted(npe, rng, 40, smoothing=smoothing, component_draws=30)
    real = rows(30, True, rng)
    cost = np.sqrt(((npe.summary(real.x)[:, None] - remedy.summaries) ** 2).sum(axis=-1))
    weights = semi_balanced(cost, 0.12, 1.0).log_weights
    stated = logsumexp(weights + component_densities(remedy, real.theta), axis=1)
    np.testing.assert_allclose(remedy.log_prob(real.theta, real.x), stated, rtol=1e-9)


def test_components_as_they_are_are_the_posteriors_of_the_simulations(
    npe: NPE, rng: np.random.Generator
) -> None:
    simulated = rows(20, False, rng)
    parts = mixtures.Components(npe, npe.summary(simulated.x))
    log_weights = np.where(np.eye(20) > 0, 0.0, -np.inf)
    np.testing.assert_allclose(
        parts.log_prob(simulated.theta, log_weights), npe.log_prob(simulated.theta, simulated.x), rtol=1e-9
    )


def test_the_smoothed_density_integrates_to_one_and_draws_follow_it(
    npe: NPE, rng: np.random.Generator
) -> None:
    """The distribution function of the draws against the integral of the density on a fine grid of logits."""
    remedy = fitted(npe, rng, 60, smoothing=0.2)
    mixture = remedy.given(rows(50, True, rng).x)
    logit = np.linspace(-12, 12, 1500)
    theta = expit(logit)
    grid = np.broadcast_to(theta[:, None, None], (len(theta), 1, 1))
    density = np.exp(mixture.log_prob(grid, slice(7, 8))[:, 0]) * theta * (1 - theta)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(logit))])
    assert mass[-1] == pytest.approx(1, abs=2e-3)
    draws = mixture.sample(slice(7, 8), 3000, rng)[:, 0, 0]
    assert kstest(draws, lambda v: np.interp(np.log(v / (1 - v)), logit, mass / mass[-1])).pvalue > 1e-3
    assert kstest(draws, lambda v: v).pvalue < 1e-3, "the prior would not do"


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_posteriors_average_to_the_mean_component(
    smoothing: float, npe: NPE, rng: np.random.Generator
) -> None:
    """At tau = 1 columns of the plan are exact: the mean over data sets is (1 / n) sum_j q(. | x_j)."""
    theta = np.linspace(0.1, 0.9, 5)[:, None]
    for tau, agree in ((1.0, True), (0.5, False)):
        remedy = fitted(npe, rng, 60, smoothing=smoothing, component_draws=20, gamma=0.05, tau=tau)
        mixture = remedy.given(rows(40, True, rng).x)
        everywhere = np.broadcast_to(theta[:, None], (5, 40, 1))
        average = np.exp(mixture.log_prob(everywhere, slice(None))).mean(axis=1)
        mean = np.exp(component_densities(remedy, theta)).mean(axis=1)
        assert np.allclose(average, mean, rtol=1e-4) == agree


def test_strong_entropy_gives_everybody_the_prior(npe: NPE, rng: np.random.Generator) -> None:
    """With smoothing 0.5 n^(-1/5), within 0.1 of the prior's log density, which is zero."""
    remedy = fitted(npe, rng, gamma=1e3, smoothing=0.16)
    real = rows(400, True, rng)
    log_p = remedy.log_prob(real.theta, real.x)
    assert abs(log_p.mean()) < 0.1
    assert remedy.given(real.x).plan.effective.min() > 0.99 * SIMULATIONS


def test_transport_alone_helps_where_all_data_are_shifted(npe: NPE, rng: np.random.Generator) -> None:
    """Posteriors move back by half of the shift or more, as all data together must follow the prior."""
    remedy = fitted(npe, rng, 500, gamma=0.02, smoothing=0.1)
    real = rows(200, True, rng)
    assert remedy.log_prob(real.theta, real.x).mean() > npe.log_prob(real.theta, real.x).mean() + 1
    bias = [(method.sample(real.x, 50, rng).mean(axis=0) - real.theta).mean() for method in (npe, remedy)]
    assert abs(bias[1]) < abs(bias[0]) / 2


def test_it_works_on_a_fine_tuned_encoder(npe: NPE, rng: np.random.Generator) -> None:
    """Costs are between g(y) and h(x)."""
    pairs = Material(calibration=rows(50, True, rng), parent=npe, simulate=simulator())
    spec = {"type": "tuned", "of": "npe", "steps": 200, "learning_rate": 3e-3}
    tuned, _ = Tuned.fit(TunedSettings(**spec), SHIFTED, pairs, RUN)
    remedy = fitted(tuned, rng, smoothing=0.1, tau=0.9, gamma=0.02)
    real = rows(60, True, rng)
    assert remedy.log_prob(real.theta, real.x).mean() > 0.8
    np.testing.assert_array_equal(remedy.summary(real.x), tuned.summary(real.x))


def test_densities_of_many_draws_are_left_out(
    npe: NPE, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """The whole data set decides, so that all of its parts have densities or none."""
    remedy = fitted(npe, rng, 50)
    x = rows(10, True, rng).x
    monkeypatch.setattr(module, "DENSITIES", 50 * 10 * 8)
    assert remedy.given(x).sample_and_log_prob(slice(0, 10), 8, rng)[1] is not None
    draws, log_density = remedy.given(x).sample_and_log_prob(slice(0, 1), 9, rng)
    assert log_density is None and draws.shape == (9, 1, 1)
    assert remedy.sample(x, 9, rng).shape == (9, 10, 1)
    with pytest.raises(ArtifactError, match="use `sample`"):
        remedy.sample_and_log_prob(x, 9, rng)


def test_negligible_components_are_left_out_without_effect(
    npe: NPE, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    remedy = fitted(npe, rng, 50, gamma=0.01)
    real = rows(30, True, rng)
    log_p = remedy.log_prob(real.theta, real.x)
    monkeypatch.setattr(mixtures, "NEGLIGIBLE", 1e-300)
    np.testing.assert_allclose(np.exp(remedy.log_prob(real.theta, real.x)), np.exp(log_p), atol=1e-9)


def test_gaps_are_measured_and_warned_of(
    npe: NPE, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    """Ten components of sd 0.045 leave most of (0, 1) empty; widening them fills it."""
    narrow = fitted(npe, rng, 10)
    assert narrow.gap[0] > 0.25 and narrow.warning == narrow.transforms()["warning"]
    assert "rope/0: components leave gaps" in capsys.readouterr().out
    assert narrow.transforms()["gap"] == {"nats": narrow.gap[0], "stderr": narrow.gap[1]}
    wide = fitted(npe, rng, 300, smoothing=0.16)
    assert wide.warning is None and abs(wide.gap[0]) < 0.2
    assert capsys.readouterr().out == ""


def test_the_gap_is_that_of_all_other_components(npe: NPE, rng: np.random.Generator) -> None:
    simulated = rows(20, False, rng)
    material = Material(simulations=simulated, parent=npe, prior=PRIOR)
    remedy, _ = RoPE.fit(RoPESettings(of="npe", simulations=20), SHIFTED, material, RUN)
    table = component_densities(remedy, simulated.theta)
    np.fill_diagonal(table, -np.inf)
    below = np.log(19) - logsumexp(table, axis=1)
    np.testing.assert_allclose(remedy.gap, [below.mean(), below.std(ddof=1) / np.sqrt(20)], rtol=1e-6)
    unknown, _ = RoPE.fit(RoPESettings(of="npe"), SHIFTED, Material(simulations=simulated, parent=npe), RUN)
    assert unknown.transforms()["gap"] is None and unknown.warning is None


def test_standardised_costs(npe: NPE, rng: np.random.Generator) -> None:
    remedy = fitted(npe, rng, 50, standardise="simulated", tau=0.9)
    x = rows(20, True, rng).x
    sd = remedy.summaries.std(axis=0)
    cost = np.sqrt((((npe.summary(x)[:, None] - remedy.summaries) / sd) ** 2).sum(axis=-1))
    plan = remedy.plan(x)
    np.testing.assert_allclose(plan.log_weights, semi_balanced(cost, 0.12, 0.9).log_weights, atol=1e-6)
    assert plan.mean_cost == pytest.approx(cost.mean())


def test_the_picture_of_the_plan(npe: NPE, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Sorted, a sharp plan is a diagonal: rows and columns of the picture hold nearly the same parameters."""
    monkeypatch.setattr(module, "PICTURE", 20)
    mixture = fitted(npe, rng, gamma=0.02).given(rows(150, False, rng).x)
    found = mixture.extras()
    assert found["plan"].shape == (1, 20, 20) and found["effective"].shape == (150,)
    np.testing.assert_allclose(found["plan"].sum(axis=2), 1)
    assert (np.diff(found["plan_rows"]) >= 0).all() and (np.diff(found["plan_columns"]) >= 0).all()
    assert np.abs(found["plan"][0] @ np.arange(20) - np.arange(20)).max() < 3
    assert found["transport"][:2].tolist() == [0.02, 1.0] and found["transport"][3] < 1e-9
    assert all(array.dtype == float for array in found.values())


def test_what_cannot_be_mixed_is_refused(npe: NPE, rng: np.random.Generator) -> None:
    remedy, settings = fitted(npe, rng, 20), RoPESettings(of="npe")
    for parent, n, message in ((npe, 9, "at least 10"), (None, 20, "needs parent"), (remedy, 20, "'rope'")):
        with pytest.raises(TrainingError, match=message):
            RoPE.fit(settings, SHIFTED, Material(simulations=rows(n, False, rng), parent=parent), RUN)
    with pytest.raises(ArtifactError, match="beside it"):
        RoPE.from_arrays(settings, SHIFTED, remedy.arrays())
    with pytest.raises(ArtifactError, match="centres are missing"):
        RoPE.from_arrays(RoPESettings(of="npe", smoothing=0.1), SHIFTED, remedy.arrays(), npe)
    with pytest.raises(ShapeError, match="theta"):
        remedy.log_prob(np.zeros((3, 1)), rows(4, True, rng).x)
