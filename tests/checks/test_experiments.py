"""Coverage studies: ideal where intervals are right, planted faults found, batches of any size alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from veridical import checks
from veridical.checks import experiment_sums
from veridical.checks.experiment_estimates import IDEAL, STATED, Z, expected_gap_z
from veridical.checks.experiment_sums import Moments, Options
from veridical.checks.experiments import aggregate
from veridical.errors import ShapeError
from veridical.evidence.definitions import METRICS
from veridical.saved import experiments

Save = Callable[..., list[Path]]

TRUTH = np.array([0.1, 0.5])
QUICK = Options(bootstrap=50, null_draws=999)
PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def estimates(
    rng: np.random.Generator, rows: int, width: float = 1.0, bias: float = 0.0, ratio: float = 0.5
) -> dict[str, np.ndarray]:
    """Estimates of total error 0.1, of which a part comes from the ratio; stated `width` times what it is."""
    off = 0.1 * rng.normal(size=(rows, 2)) + bias
    return {
        "value": TRUTH + off,
        "statistical": np.full((rows, 2), width * 0.1 * np.sqrt(1 - ratio**2)),
        "ratio": np.full((rows, 2), width * 0.1 * ratio),
        "truth": TRUTH,
        "z_lr": off / 0.1,
        "pull": rng.normal(size=rows),
    }


def posteriors(rng: np.random.Generator, rows: int, width: float = 1.0) -> dict[str, np.ndarray]:
    """Fractional ranks of the truth under N(0, width^2) where it is N(0, 1), D = 2."""
    truth = rng.normal(size=(rows, 2))
    rank = stats.norm.cdf(truth / width)
    log_q = stats.norm.logpdf(truth, scale=width).sum(axis=1)
    hpd = stats.chi2(2).cdf((truth**2).sum(axis=1) / width**2)
    return {"rank": rank, "log_q": log_q, "hpd": hpd, "truth": truth}


def likely(rng: np.random.Generator, rows: int, width: float = 1.0) -> dict[str, np.ndarray]:
    """Right posteriors with estimates of total error 0.1, stated `width` times what it is."""
    found = posteriors(rng, rows)
    off = 0.1 * rng.normal(size=(rows, 2))
    part = np.full((rows, 2), width * 0.1 * np.sqrt(0.5))
    return {
        **found,
        "estimate": found["truth"] + off,
        "statistical": part,
        "ratio": part,
        "z_lr": off / 0.1,
    }


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    """Writes batches and returns their paths."""

    def save(*batches: dict[str, np.ndarray]) -> list[Path]:
        paths = [tmp_path / f"batch-{i:04d}.zarr.zip" for i in range(len(batches))]
        for path, arrays in zip(paths, batches, strict=True):
            experiments.write(path, arrays)
        return paths

    return save


def found(result: Any, name: str, **cells: Any) -> Any:
    """The only metric of a name with some cells; None stands for an absent one."""
    rows = [
        m
        for m in result.metrics()
        if m.name == name
        and all({"level": m.level, "parameter": m.parameter, **m.extra}.get(k) == v for k, v in cells.items())
    ]
    assert len(rows) == 1, f"{name} {cells}: {len(rows)}"
    return rows[0]


def test_right_intervals_cover_ideally(saved: Save, rng: np.random.Generator) -> None:
    n = 4000
    result = aggregate(saved(*(estimates(rng, n // 4) for _ in range(4))), rng, ("kappa",), QUICK)
    assert result.passed and result.p_value > 1e-3
    for kind in ("total", "likelihood_ratio"):
        for at in TRUTH:
            gap = found(result, "coverage_gap_z", interval=kind, true_value=at)
            assert gap.value < expected_gap_z(n) + 4 * gap.stderr
            assert gap.n == n
            for level, z in STATED.items():
                share = found(result, "experiment_coverage", interval=kind, true_value=at, level=level)
                assert abs(share.value - stats.chi(1).cdf(z)) < 4 * share.stderr
    pointwise = found(result, "coverage_gap_z", interval="pointwise")
    assert pointwise.value < expected_gap_z(n) + 4 * pointwise.stderr
    curves = result.curves
    assert curves["total"].shape == (2, 301) and curves["pointwise"].shape == (301,)
    assert (curves["total"] >= curves["lower"]).all() and (curves["total"] <= curves["upper"]).all()
    np.testing.assert_allclose(curves["residual_total"], curves["total"] - IDEAL)
    for at in TRUTH:
        bias, spread = (found(result, f"experiment_{name}", true_value=at) for name in ("bias", "sd"))
        assert abs(bias.value) < 4 * bias.stderr and abs(spread.value - 0.1) < 4 * spread.stderr
        sigma = found(result, "experiment_sigma", interval="total", true_value=at)
        assert sigma.value == pytest.approx(0.1)


def test_the_statistical_error_alone_covers_too_little(saved: Save, rng: np.random.Generator) -> None:
    """Half of the error comes from the ratio: c(z) = ideal(z sqrt(3) / 2)."""
    result = aggregate(saved(estimates(rng, 5000)), rng, ("kappa",), QUICK)
    expected = stats.chi(1).cdf(Z * np.sqrt(0.75))
    error = 4 * np.sqrt(0.25 / 5000)
    np.testing.assert_allclose(result.curves["statistical"], np.tile(expected, (2, 1)), atol=error)
    gap = found(result, "coverage_gap_z", interval="statistical", true_value=0.5)
    assert abs(gap.value - np.abs(expected - IDEAL).mean()) < 4 * gap.stderr
    assert result.passed


@pytest.mark.parametrize(("width", "bias"), [(0.7, 0.0), (1.0, 0.06), (1.6, 0.0)])
def test_planted_faults_are_found(width: float, bias: float, saved: Save, rng: np.random.Generator) -> None:
    """Errors stated 0.7 or 1.6 times what they are, and a bias of 0.6 standard errors, in 600 experiments."""
    result = aggregate(saved(estimates(rng, 600, width, bias)), rng, ("kappa",), QUICK)
    assert result.passed is False
    z, off = Z * width, bias / 0.1
    expected = stats.norm.cdf(z - off) - stats.norm.cdf(-z - off)
    gap = found(result, "coverage_gap_z", interval="total", true_value=0.1)
    assert abs(gap.value - np.abs(expected - IDEAL).mean()) < 4 * gap.stderr
    outside = (result.curves["total"] < result.curves["lower"]) | (
        result.curves["total"] > result.curves["upper"]
    )
    assert outside.any(axis=1).all()
    found_bias = found(result, "experiment_bias", true_value=0.1)
    assert abs(found_bias.value - bias) < 4 * found_bias.stderr


def test_the_band_holds_its_family_wise_level(saved: Save, rng: np.random.Generator) -> None:
    options = Options(bootstrap=2, null_draws=999)
    failed = sum(
        not aggregate(saved(estimates(rng, 300)), rng, ("kappa",), options).passed for _ in range(60)
    )
    assert failed <= stats.binom.ppf(1 - 1e-4, 60, 0.05)


def test_many_experiments_have_the_other_band(saved: Save, rng: np.random.Generator) -> None:
    """Beyond 10,000 Kolmogorov-Smirnov's; it finds a tenth too little and accepts what is right."""
    right = aggregate(saved(estimates(rng, 12_000)), rng, ("kappa",), QUICK)
    assert right.passed
    half = np.sqrt(np.log(2 / 0.025) / 24_000)
    middle = np.searchsorted(IDEAL, 0.5)
    assert right.curves["residual_upper"][middle] == pytest.approx(half)
    assert aggregate(saved(estimates(rng, 12_000, 0.9)), rng, ("kappa",), QUICK).passed is False


def test_failed_experiments_count_as_missed(saved: Save, rng: np.random.Generator) -> None:
    arrays = estimates(rng, 1000)
    arrays["value"][:100, 0] = np.nan
    arrays["statistical"][100:200, 0] = np.inf
    arrays["z_lr"][:50, 1] = np.nan
    result = aggregate(saved(arrays), rng, ("kappa",), QUICK)
    assert found(result, "experiment_failed_share", true_value=0.1).value == pytest.approx(0.1)
    assert result.curves["total"][0, -1] < 0.92
    assert result.curves["likelihood_ratio"][1, -1] < 0.96
    assert result.passed is False
    assert found(result, "experiment_bias", true_value=0.1).n == 800 + 100


def test_alarms_are_counted_where_a_method_has_them(saved: Save, rng: np.random.Generator) -> None:
    arrays = estimates(rng, 200)
    alarm = np.zeros((200, 2))
    alarm[:50, 1] = 1
    result = aggregate(saved(arrays | {"alarm": alarm}, arrays | {"alarm": alarm}), rng, ("kappa",), QUICK)
    shares = [found(result, "experiment_alarm_share", true_value=at) for at in TRUTH]
    assert [(one.value, one.n) for one in shares] == [(0.0, 400), (0.25, 400)]
    without = aggregate(saved(arrays), rng, ("kappa",), QUICK)
    assert "experiment_alarm_share" not in {metric.name for metric in without.metrics()}


def test_how_experiments_are_batched_changes_nothing(saved: Save, rng: np.random.Generator) -> None:
    for make, names in ((estimates, ("kappa",)), (posteriors, ("a", "b"))):
        arrays = make(rng, 300)
        cuts = [slice(0, 300)], [slice(0, 40), slice(40, 41), slice(41, 300)]
        results = []
        for parts in cuts:
            batches = [
                {n: a if n == "truth" and a.ndim == 1 else a[part] for n, a in arrays.items()}
                for part in parts
            ]
            own = np.random.Generator(np.random.PCG64(3))
            results.append(aggregate(saved(*batches), own, names, QUICK))
        assert results[0].curves.keys() == results[1].curves.keys()
        for name, curve in results[0].curves.items():
            np.testing.assert_array_equal(results[1].curves[name], curve)
        for a, b in zip(results[0].metrics(), results[1].metrics(), strict=True):
            assert (a.name, a.extra, a.n) == (b.name, b.extra, b.n)
            assert a.value == pytest.approx(b.value, rel=1e-9, abs=1e-12)


def test_how_many_batches_are_held_at_once_changes_no_bit(
    saved: Save, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make, names in ((estimates, ("kappa",)), (posteriors, ("a", "b"))):
        paths = saved(*(make(rng, 150) for _ in range(5)))
        results = []
        for held in (2, 5):
            monkeypatch.setattr(experiment_sums, "AT_A_TIME", held)
            results.append(aggregate(paths, np.random.Generator(np.random.PCG64(3)), names, QUICK))
        assert results[0].metrics() == results[1].metrics()
        for name, curve in results[0].curves.items():
            np.testing.assert_array_equal(results[1].curves[name], curve)


def test_threads_change_nothing(saved: Save, rng: np.random.Generator) -> None:
    paths = saved(*(posteriors(rng, 30) for _ in range(6)))
    one, two = (
        aggregate(
            paths,
            np.random.Generator(np.random.PCG64(3)),
            ("a", "b"),
            Options(bootstrap=9, null_draws=999, threads=t),
        )
        for t in (1, 2)
    )
    assert one.metrics() == two.metrics()


def test_sums_equal_those_of_all_rows(rng: np.random.Generator) -> None:
    values = rng.normal(size=(50, 2))
    values[3, 1] = np.nan
    moments = Moments.of(values)
    np.testing.assert_allclose(moments.mean, np.nanmean(values, axis=0))
    np.testing.assert_allclose(moments.variance, np.nanvar(values, axis=0, ddof=1))
    assert np.isnan(Moments.of(values[:1]).variance).all()


def test_posteriors_that_are_right(saved: Save, rng: np.random.Generator) -> None:
    n = 3000
    result = aggregate(saved(posteriors(rng, n // 2), posteriors(rng, n // 2)), rng, ("a", "b"), QUICK)
    assert result.passed
    area, lpp = found(result, "experiment_acauc", parameter=""), found(result, "experiment_lpp")
    assert abs(area.value) < 4 * area.stderr
    assert abs(lpp.value + np.log(2 * np.pi) + 1) < 4 * lpp.stderr
    assert lpp.stderr == pytest.approx(1 / np.sqrt(n), rel=0.1)
    for level in (0.5, 0.8, 0.9, 0.95):
        for name in ("experiment_coverage", "experiment_hpd_coverage"):
            share = found(result, name, level=level, parameter="")
            assert abs(share.value - level) < 4 * share.stderr
    assert result.curves["central"].shape == (2, 99)


def test_posteriors_that_are_too_narrow(saved: Save, rng: np.random.Generator) -> None:
    """ACAUC of a Gaussian k times too narrow is (2 / pi) arctan(k) - 1/2."""
    result = aggregate(saved(posteriors(rng, 1000, 0.7)), rng, ("a", "b"), QUICK)
    assert result.passed is False
    area = found(result, "experiment_acauc", parameter="a")
    assert abs(area.value - (2 / np.pi * np.arctan(1 / 0.7) - 0.5)) < 4 * area.stderr
    hpd = found(result, "experiment_hpd_coverage", level=0.9)
    assert abs(hpd.value - stats.chi2(2).cdf(stats.chi2(2).ppf(0.9) * 0.49)) < 4 * hpd.stderr


def test_estimates_beside_posteriors_are_judged_for_each_parameter(
    saved: Save, rng: np.random.Generator
) -> None:
    """Posteriors and likelihood ratios are right; with standard errors too small by a third, those fail."""
    result = aggregate(saved(likely(rng, 500), likely(rng, 500)), rng, ("a", "b"), QUICK)
    assert result.passed
    for name in ("a", "b"):
        cells: dict[str, Any] = {"parameter": name, "interval": "total"}
        pull = [found(result, f"experiment_pull_{which}", parameter=name) for which in ("mean", "sd")]
        assert abs(pull[0].value) < 4 * pull[0].stderr and abs(pull[1].value - 1) < 4 * pull[1].stderr
        share = found(result, "experiment_coverage", level=0.9, **cells)
        assert abs(share.value - 0.9) < 4 * share.stderr
        assert found(result, "experiment_sigma", **cells).value == pytest.approx(0.1)
        assert found(result, "experiment_coverage", level=0.9, parameter=name, interval=None).value > 0.85
    narrow = aggregate(saved(likely(rng, 1000, 1 / 1.5)), rng, ("a", "b"), QUICK)
    assert narrow.passed is False and found(narrow, "experiments_p").value < 0.005
    held = {
        kind: found(narrow, "experiment_coverage", level=0.9, parameter="b", interval=kind)
        for kind in ("total", "likelihood_ratio")
    }
    expected = 2 * stats.norm.cdf(STATED[0.9] / 1.5) - 1
    assert abs(held["total"].value - expected) < 4 * held["total"].stderr
    assert abs(held["likelihood_ratio"].value - 0.9) < 4 * held["likelihood_ratio"].stderr


def test_estimates_that_failed_are_missed_for_their_parameter_alone(
    saved: Save, rng: np.random.Generator
) -> None:
    arrays = likely(rng, 400)
    for name in ("estimate", "statistical", "ratio", "z_lr"):
        arrays[name][:100, 0] = np.nan
    result = aggregate(saved(arrays), rng, ("a", "b"), QUICK)
    assert result.passed is False
    assert found(result, "experiment_failed_share", parameter="a").value == 0.25
    assert found(result, "experiment_failed_share", parameter="b").value == 0
    assert found(result, "experiment_coverage", level=0.9, parameter="a", interval="total").value < 0.75


def test_densities_of_zero_and_no_hpd(saved: Save, rng: np.random.Generator) -> None:
    arrays = posteriors(rng, 200)
    del arrays["hpd"]
    arrays["log_q"][:4] = -np.inf
    result = aggregate(saved(arrays), rng, ("a", "b"), QUICK)
    assert found(result, "experiment_lpp").value == -np.inf
    assert found(result, "experiment_zero_density_share").value == 0.02
    assert "hpd" not in result.curves


def test_results_are_those_of_a_check(saved: Save, rng: np.random.Generator, tmp_path: Path) -> None:
    """They survive a round trip, and their metrics and curves are explained."""
    section = PAGE.read_text().split("\n## Pseudo-experiments\n")[1].split("\n## ")[0]
    for make, names in ((estimates, ("kappa",)), (posteriors, ("a", "b"))):
        result = aggregate(saved(make(rng, 60)), rng, names, QUICK)
        for metric in result.metrics():
            assert metric.name in METRICS and f"`{metric.name}`" in section
            assert np.isfinite(metric.value)
            assert metric.name == "experiments_p" or metric.stderr >= 0
        keys = [(m.name, m.parameter, m.level, *sorted(m.extra.items())) for m in result.metrics()]
        assert len(set(keys)) == len(keys)
        checks.save(result, tmp_path / "experiments.json")
        read = checks.load(tmp_path / "experiments.json")
        assert read["check"] == "experiments" and read["curves"].keys() == result.curves.keys()
    listed = re.findall(r"`(\w+)`", checks.experiments.__doc__.split("Curves:")[1])
    plain = {name.removeprefix("residual_") for name in result.curves}
    assert plain <= set(listed)


def test_names_must_fit(saved: Save, rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match="one for each of 2 parameters"):
        aggregate(saved(posteriors(rng, 30)), rng, ("a",), QUICK)
