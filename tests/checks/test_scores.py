"""Scores against closed forms and against the definitions written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical.checks.scores import (
    CALIBRATION_LEVELS,
    Scores,
    calibration_error,
    contraction,
    log_score_metrics,
    moments,
    nrmse,
    rmse,
    z_score,
)
from veridical.errors import DataError, ShapeError

from .gaussian_model import Draws, gaussian, value


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, None])
def test_scores_of_the_gaussian_model(scale: float | None, rng: np.random.Generator) -> None:
    """Posterior sd k / sqrt(2) about x / 2, or the prior, whose mean is 0 and sd 1."""
    n, s = 4000, 200
    model = gaussian(rng, scale, n=n, s=s)
    result = Scores().run(model, rng)
    k, error_of_mean = (1.0, 1.0) if scale is None else (scale, np.sqrt(0.5))
    sd = 1.0 if scale is None else k * np.sqrt(0.5)

    single = np.hypot(error_of_mean, sd)  # error of one draw
    found = value(result, "nrmse", "p0")
    assert found.value * np.ptp(model.truth) == pytest.approx(single, rel=5 / np.sqrt(2 * n))
    assert found.stderr * np.ptp(model.truth) < 1.3 * single / np.sqrt(n)
    found = value(result, "rmse", "p0")
    assert abs(found.value - np.hypot(error_of_mean, sd / np.sqrt(s))) < 4 * found.stderr
    assert found.stderr == pytest.approx(error_of_mean / np.sqrt(2 * n), rel=0.3)  # of 200 resamplings

    shrink = np.clip(1 - sd**2, 0, 1)  # a variance from S draws, over one from N truths
    assert value(result, "contraction", "p0").value == pytest.approx(
        shrink,
        abs=4 * sd**2 * np.hypot(np.sqrt(2 / n), 1.25 * np.sqrt(2 / s / n)) + 2 / s + 0.05 * (scale is None),
    )
    spread = error_of_mean / sd
    found = value(result, "z_score", "p0")
    assert abs(found.value) < 4 * 1.2533 * spread / np.sqrt(n)
    assert value(result, "z_score_sd", "p0").value == pytest.approx(spread, rel=5 / np.sqrt(2 * n) + 2 / s)

    covered = 2 * stats.norm.cdf(sd / error_of_mean * stats.norm.ppf((1 + CALIBRATION_LEVELS) / 2)) - 1
    miss = np.median(np.abs(covered - CALIBRATION_LEVELS))
    found = value(result, "calibration_error", "p0")
    assert abs(found.value - miss) < 4 * found.stderr + 0.67 * 0.5 / np.sqrt(n) + 1 / s

    lpp = -0.5 * np.log(2 * np.pi * sd**2) - 0.5 * error_of_mean**2 / sd**2
    found = value(result, "lpp")
    assert abs(found.value - lpp) < 4 * found.stderr
    assert value(result, "nltp").value == -found.value


@pytest.mark.parametrize(("scale", "ratio"), [(1.0, 1.416), (0.5, 1.12), (2.0, 2.24), (None, 1.416)])
def test_single_draws_err_more_than_the_mean(
    scale: float | None, ratio: float, rng: np.random.Generator
) -> None:
    model = gaussian(rng, scale, n=2000)
    found = nrmse(model.draws, model.truth) * np.ptp(model.truth, axis=0)
    assert found / rmse(moments(model.draws, model.truth, (), rng)) == pytest.approx(ratio, rel=0.03)


@pytest.mark.parametrize(("scale", "error"), [(1.0, 0.010), (0.5, 0.216), (2.0, 0.218), (None, 0.013)])
def test_calibration_error_of_five_hundred_sets(
    scale: float | None, error: float, rng: np.random.Generator
) -> None:
    """The tabulated means of 40 repeats; the last one is the blind spot for the prior."""
    found = []
    for _ in range(10):
        model = gaussian(rng, scale)
        found.append(calibration_error(moments(model.draws, model.truth, (), rng))[0])
    spread = np.std(found, ddof=1)
    assert abs(np.mean(found) - error) < 4 * spread * np.sqrt(1 / 10 + 1 / 40) + 0.0005


def test_definitions_written_out(rng: np.random.Generator) -> None:
    """Plain loops over data sets, draws and levels give the same numbers."""
    s, n, d = 20, 7, 2
    draws, truth = rng.normal(size=(s, n, d)), rng.normal(size=(n, d))
    m = moments(draws, truth, (), np.random.default_rng(0))
    for j in range(d):
        width = truth[:, j].max() - truth[:, j].min()
        each = [np.sqrt(np.mean([(draws[i, k, j] - truth[k, j]) ** 2 for k in range(n)])) for i in range(s)]
        assert nrmse(draws, truth)[j] == pytest.approx(np.median(each) / width)
        shrink = [1 - draws[:, k, j].var(ddof=1) / truth[:, j].var(ddof=1) for k in range(n)]
        np.testing.assert_allclose(contraction(m)[:, j], np.clip(shrink, 0, 1))
        z = [(draws[:, k, j].mean() - truth[k, j]) / draws[:, k, j].std(ddof=1) for k in range(n)]
        np.testing.assert_allclose(z_score(m)[:, j], z)
        miss = []
        for a in np.linspace(0.005, 0.995, 20):
            ends = [np.quantile(draws[:, k, j], [(1 - a) / 2, 1 - (1 - a) / 2]) for k in range(n)]
            miss.append(abs(np.mean([lo <= truth[k, j] <= up for k, (lo, up) in enumerate(ends)]) - a))
        assert calibration_error(m)[j] == pytest.approx(np.median(miss))


def test_densities_of_zero_are_kept(rng: np.random.Generator) -> None:
    log_q = rng.normal(size=100)
    log_q[:3] = -np.inf
    table = {(m.name, m.level): m for m in log_score_metrics(log_q, 50, rng)}
    lpp, nltp = table["lpp", None], table["nltp", None]
    assert (lpp.value, nltp.value) == (-np.inf, np.inf)
    assert lpp.stderr is None
    assert lpp.extra == {"zero_densities": 3}
    assert table["zero_density_share", None].value == 0.03
    assert table["zero_density_share", None].stderr == pytest.approx(np.sqrt(4 / 102 * 98 / 102 / 100))
    assert table["lpp_quantile", 0.5].value == np.sort(log_q)[49]
    assert table["lpp_quantile", 0.5].stderr > 0
    log_q[:10] = -np.inf
    table = {(m.name, m.level): m for m in log_score_metrics(log_q, 50, rng)}
    assert table["lpp_quantile", 0.05].value == -np.inf
    assert table["lpp_quantile", 0.05].stderr is None


def test_units_shift_the_log_score_by_their_logarithm(rng: np.random.Generator) -> None:
    log_q = rng.normal(size=50)
    one, other = (log_score_metrics(v, 5, rng)[0].value for v in (log_q, log_q - np.log(1000)))
    assert one - other == pytest.approx(np.log(1000))


def test_without_densities_the_rest_is_scored(rng: np.random.Generator) -> None:
    model = gaussian(rng, 1.0, n=30, s=99, d=2)
    result = Scores().run(Draws(model.names, model.draws, truth=model.truth), rng)
    names = {m.name for m in result.metrics()}
    assert names == {"nrmse", "rmse", "contraction", "z_score", "z_score_sd", "calibration_error"}
    assert result.curves["median"].shape == (30, 2)
    assert result.passed is None


def test_the_density_of_the_truth_is_enough_for_the_log_score(rng: np.random.Generator) -> None:
    """Also where some truths lie outside the support: the rest is scored, per parameter and jointly."""
    model = gaussian(rng, 1.0, n=200, s=99, d=2)
    log_q = model.log_density_truth.copy()
    log_q[:5] = -np.inf
    draws = Draws(model.names, model.draws, truth=model.truth, log_density_truth=log_q)
    result = Scores().run(draws, rng)
    assert value(result, "lpp").value == -np.inf
    assert value(result, "zero_density_share").value == 0.025
    assert value(result, "lpp_quantile", level=0.5).value == np.sort(log_q)[99]
    for name in ("", *model.names):
        assert value(result, "nrmse", name).stderr > 0


def test_what_cannot_be_scored_is_refused(rng: Any) -> None:
    model = gaussian(rng, 1.0, n=30, s=99)

    def run(**changes: Any) -> None:
        fields = {"names": model.names, "draws": model.draws, "truth": model.truth} | changes
        Scores().run(Draws(**fields), rng)

    bad = model.draws.copy()
    bad[0, 0, 0] = np.nan
    for error, message, changes in (
        (DataError, "draws: expected finite numbers, got 1 of 2970", {"draws": bad}),
        (DataError, "check scores: expected true parameters, got none", {"truth": None}),
        (ShapeError, r"truth: expected shape \(30, 1\), got \(29, 1\)", {"truth": model.truth[1:]}),
        (ShapeError, "draws: expected shape", {"names": ("a", "b")}),
        (ShapeError, "expected draws, data sets and parameters", {"draws": model.draws[:0]}),
        (DataError, "whose truths differ", {"truth": np.zeros((30, 1))}),
        (DataError, "zero width", {"draws": np.zeros((99, 30, 1))}),
        (ShapeError, "log_density_truth", {"log_density_truth": np.zeros(3)}),
        (DataError, "log_density_truth: expected finite", {"log_density_truth": np.full(30, np.inf)}),
    ):
        with pytest.raises(error, match=message):
            run(**changes)


def test_a_posterior_that_collapsed_counts_as_infinitely_sure(rng: np.random.Generator) -> None:
    draws, truth = rng.normal(size=(99, 30, 1)), rng.normal(size=(30, 1))
    draws[:, 3] = 0.5
    table = {m.name: m for m in Scores().run(Draws(("a",), draws, truth=truth), rng).table if m.parameter}
    assert table["z_score_sd"].value == np.inf and table["z_score_sd"].stderr is None
    assert np.isfinite(table["z_score"].value) and np.isfinite(table["contraction"].value)


class Standard:
    """The prior of the Gaussian model: N(0, 1) in each of two parameters."""

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(size=(n, 2))

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(theta).sum(axis=-1)


@pytest.mark.parametrize("scale", [0.5, 1.0, None])
def test_what_the_data_taught_of_the_gaussian_model(scale: float | None, rng: np.random.Generator) -> None:
    """Contraction c = 1 - k^2 / 2; the gain of the exact posterior is -log(1 - c) / 2 per parameter."""
    n = 4000
    result = Scores(bootstrap=2).run(gaussian(rng, scale, n=n, s=200, d=2), rng, prior=Standard())
    gain, error = (lambda m: (m.value, m.stderr))(value(result, "gain"))
    if scale is None:
        assert gain == pytest.approx(0.0, abs=1e-9) and error == pytest.approx(0.0, abs=1e-9)
    else:
        exact = -np.log(scale * np.sqrt(0.5)) - 0.25 / (0.5 * scale**2) + 0.5  # E of both squares
        assert abs(gain - 2 * exact) < 4 * error
    shrink = 0.0 if scale is None else 1 - scale**2 / 2
    tolerance = 4 * (1 - shrink) * np.sqrt(2 / 20_000 + 2 / 200 / n)
    assert value(result, "prior_contraction", "p0").value == pytest.approx(shrink, abs=tolerance)
    p = value(result, "informed_p", "p0").value
    assert p < 1e-6 if scale is not None else p > 1e-4


def test_p_values_of_uninformed_answers_are_uniform(rng: np.random.Generator) -> None:
    """Of an answer that ignores the data, in 300 parameters; Fisher's z is nearly exact at N = 50."""
    draws = gaussian(rng, None, n=50, s=20, d=300)
    prior = Standard()
    prior.sample = lambda rng, n: np.tile([[-1.0], [1.0]], (1, 300))  # type: ignore[method-assign]
    result = Scores(bootstrap=2).run(draws, rng, prior=prior)
    p = [m.value for m in result.metrics() if m.name == "informed_p"]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
