"""Estimates: intervals of both kinds, and files that bring them back bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from veridical.errors import ArtifactError, DataError, ShapeError
from veridical.saved import estimates
from veridical.saved.estimates import Estimate


@pytest.fixture
def example() -> Estimate:
    """Two observations; the likelihood of the second is skewed."""
    value, sigma = np.array([0.1, 0.5]), np.array([0.05, 0.1])
    curve = value[:, None] + sigma[:, None] * np.linspace(-4.5, 4.5, 73)
    z = (value[:, None] - curve) / sigma[:, None]
    z[1] -= 0.05 * z[1] ** 2
    return Estimate(value, 0.6 * sigma, 0.8 * sigma, np.array([0.01, 0.0]), curve, z)


def test_total_error_and_deviation(example: Estimate) -> None:
    np.testing.assert_allclose(example.total, [0.05, 0.1])
    np.testing.assert_allclose(example.z(np.array([0.0, 0.7])), [2, -2])
    assert len(example) == 2


@pytest.mark.parametrize("level", [0.5, 0.6827, 0.95])
def test_intervals(example: Estimate, level: float) -> None:
    """Symmetric ones are quantiles of the normal; with a parabola for a likelihood the other kind agrees."""
    reach = stats.norm.ppf(0.5 + level / 2)
    parabola = example.interval(level)
    np.testing.assert_allclose(parabola[0], [0.1 - reach * 0.05, 0.1 + reach * 0.05])
    likelihood = example.interval(level, "likelihood")
    np.testing.assert_allclose(likelihood[0], parabola[0], atol=1e-12)
    root = (1 - np.sqrt(1 - 4 * 0.05 * np.array([reach, -reach]))) / 0.1  # t - 0.05 t^2 = z
    np.testing.assert_allclose(likelihood[1], 0.5 - 0.1 * root, atol=1e-4)


def test_intervals_that_cannot_be_had(example: Estimate) -> None:
    bare = Estimate(example.value, example.statistical, example.ratio, example.bias)
    with pytest.raises(DataError, match="no curve"):
        bare.interval(0.9, "likelihood")
    with pytest.raises(DataError, match="does not reach"):
        example.interval(1 - 1e-9, "likelihood")
    with pytest.raises(DataError, match="level in"):
        example.interval(1.0)


def test_shapes_are_checked(example: Estimate) -> None:
    with pytest.raises(ShapeError, match="ratio"):
        Estimate(example.value, example.statistical, np.ones(3), example.bias)
    with pytest.raises(DataError, match="both"):
        Estimate(example.value, example.statistical, example.ratio, example.bias, example.curve)


def test_what_is_written_comes_back(tmp_path: Path, example: Estimate) -> None:
    path, truth = tmp_path / "estimate.json", np.array([1 / 3, 0.1])
    estimates.save(path, example, truth=truth, method="wifi", dataset="simulated")
    found = estimates.load(path)
    assert (found["method"], found["dataset"]) == ("wifi", "simulated")
    np.testing.assert_array_equal(found["truth"], truth)
    for name in ("value", "statistical", "ratio", "bias", "curve", "curve_z"):
        np.testing.assert_array_equal(getattr(found["estimate"], name), getattr(example, name))
    bare = Estimate(example.value, example.statistical, example.ratio, example.bias)
    estimates.save(path, bare)
    assert estimates.load(path)["estimate"].curve is None and estimates.load(path)["truth"] is None


def test_files_that_are_refused(tmp_path: Path, example: Estimate) -> None:
    path = tmp_path / "estimate.json"
    with pytest.raises(ArtifactError, match="finite"):
        estimates.save(path, Estimate(*(np.full(1, np.nan) for _ in range(4))))
    assert not path.exists()
    with pytest.raises(ArtifactError, match="expected the JSON"):
        estimates.load(path)
    path.write_text(json.dumps({"format": 0}))
    with pytest.raises(ArtifactError, match="format 1"):
        estimates.load(path)


def test_parts_are_stacked(example: Estimate) -> None:
    both = Estimate.stack([example, example])
    assert len(both) == 4 and both.curve is not None
    np.testing.assert_array_equal(both.curve[2:], example.curve)
    bare = Estimate(example.value, example.statistical, example.ratio, example.bias)
    assert Estimate.stack([example, bare]).curve is None


def test_what_a_method_says_of_its_fit_comes_back(example: Estimate, tmp_path: Path) -> None:
    told = replace(example, fit_p=np.array([0.25, 1.0]), alarms=[["weights extrapolate", "<b>"], []])
    estimates.save(tmp_path / "told.json", told)
    again = estimates.load(tmp_path / "told.json")["estimate"]
    assert again.alarms == told.alarms and np.array_equal(again.fit_p, told.fit_p)
    both = Estimate.stack([told, told])
    assert both.alarms == 2 * (told.alarms or []) and both.fit_p is not None and len(both.fit_p) == 4
    mixed = Estimate.stack([told, example])
    assert mixed.alarms is None and mixed.fit_p is None
    with pytest.raises(DataError, match="expected alarms of 2 observations, got 1"):
        replace(example, alarms=[[]])


def test_shares_of_the_variance_add_up_to_one(tmp_path: Path, example: Estimate) -> None:
    shares = example.variance_shares
    assert list(shares) == ["sample", "ratio"]
    np.testing.assert_allclose(shares["sample"] + shares["ratio"], 1)
    parts = {"samples": 0.6 * example.ratio, "weights": 0.8 * example.ratio}
    split = replace(example, parts=parts)
    np.testing.assert_allclose(sum(split.variance_shares.values()), 1)
    np.testing.assert_allclose(split.variance_shares["weights"], 0.64 * shares["ratio"])
    estimates.save(tmp_path / "parts.json", split, shapes=[{"kappa": 0.1}, {"kappa": 0.2}])
    again = estimates.load(tmp_path / "parts.json")
    np.testing.assert_array_equal(again["estimate"].parts["weights"], parts["weights"])
    assert again["shapes"][1] == {"kappa": 0.2}
    stacked = Estimate.stack([split, split])
    assert stacked.parts is not None and len(stacked.parts["samples"]) == 4
    assert Estimate.stack([split, example]).parts is None
    sure = replace(example, ratio=np.zeros(2))  # an endless sample for the fit leaves no share of the ratio
    assert not sure.variance_shares["ratio"].any()
    endless = replace(example, statistical=np.zeros(2))
    assert not endless.variance_shares["sample"].any() and endless.variance_shares["ratio"].all()


def test_parts_that_are_not_the_error_are_refused(tmp_path: Path, example: Estimate) -> None:
    with pytest.raises(DataError, match="add up"):
        replace(example, parts={"samples": 0.5 * example.ratio, "weights": 0.5 * example.ratio})
    with pytest.raises(ShapeError, match="part samples"):
        replace(example, parts={"samples": np.ones(3)})
    with pytest.raises(DataError, match="shapes of 2 observations"):
        estimates.save(tmp_path / "short.json", example, shapes=[{}])
