"""Draws on disk: all of them come back, ArviZ opens them, NaN never gets in."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import ArtifactError, ShapeError
from veridical.saved import posteriors
from veridical.saved.posteriors import Draws
from veridical.tasks.supports import Between, Whole


def draws(rng: np.random.Generator, s: int = 6, n: int = 5, **changes: object) -> Draws:
    made = Draws(
        names=("zeta", "alpha"),
        bounds=np.array([(0, 1), (-np.inf, np.inf)]),
        units=("1/year", ""),
        draws=rng.uniform(0.01, 0.99, size=(s, n, 2)),
        log_density=rng.normal(size=(s, n)),
        truth=rng.uniform(size=(n, 2)),
        log_density_truth=rng.normal(size=n),
        summary=rng.normal(size=(n, 3)),
        summary_mean=rng.normal(size=3),
        summary_cov=np.eye(3),
        x=rng.normal(size=(n, 4, 2)).astype(np.float32),
        attrs={
            "task": "t",
            "budget": 100,
            "share": 0.5,
            "ess": {"zeta": 7.5},
            "flag": True,
            "text": "[no json",
            "none": None,
            "count": np.int64(3),
        },
    )
    return replace(made, **changes)


def assert_same(a: Draws, b: Draws) -> None:
    for entry in fields(Draws):
        one, two = getattr(a, entry.name), getattr(b, entry.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two, err_msg=entry.name)
            assert one.dtype == two.dtype
        else:
            assert one == two, entry.name


def test_everything_comes_back(rng: np.random.Generator, tmp_path: Path) -> None:
    made = draws(rng)
    posteriors.save(tmp_path / "a" / "d.nc", made)
    assert_same(posteriors.load(tmp_path / "a" / "d.nc"), made)


@pytest.mark.parametrize("n", [1, 2, 100])
def test_the_first_observations_come_alone(n: int, rng: np.random.Generator, tmp_path: Path) -> None:
    made = draws(rng)
    posteriors.save(tmp_path / "d.nc", made)
    assert_same(posteriors.load(tmp_path / "d.nc", n), next(posteriors.split(made, n)))


def test_what_is_not_known_stays_absent(rng: np.random.Generator, tmp_path: Path) -> None:
    made = Draws(("a",), np.array([(-np.inf, 0)]), ("",), -rng.uniform(0.1, 1, size=(3, 1, 1)))
    posteriors.save(tmp_path / "d.nc", made)
    assert_same(posteriors.load(tmp_path / "d.nc"), made)


def test_arviz_opens_the_file(rng: np.random.Generator, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"\s*ArviZ is undergoing a major refactor", category=FutureWarning
        )
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        arviz = pytest.importorskip("arviz")
        made = draws(rng)
        posteriors.save(tmp_path / "d.nc", made)
        data = arviz.from_netcdf(tmp_path / "d.nc")
    assert data.posterior["alpha"].dims == ("chain", "draw", "observation")
    np.testing.assert_array_equal(data.posterior["zeta"].to_numpy()[0], made.draws[:, :, 0])
    np.testing.assert_array_equal(data.sample_stats["log_density"].to_numpy()[0], made.log_density)
    np.testing.assert_array_equal(data.constant_data["truth"].sel(parameter="alpha"), made.truth[:, 1])
    np.testing.assert_array_equal(data.observed_data["x"], made.x)
    assert data.posterior["zeta"].attrs["units"] == "1/year" and data.posterior["zeta"].attrs["upper"] == 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_parts_give_the_same_file_content(size: int, rng: np.random.Generator, tmp_path: Path) -> None:
    made = draws(rng)
    posteriors.write(tmp_path / "d.nc", 5, posteriors.split(made, size))
    assert_same(posteriors.load(tmp_path / "d.nc"), made)


def test_parts_that_are_too_few_leave_no_file(rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected draws for 6 observations, got 5"):
        posteriors.write(tmp_path / "d.nc", 6, posteriors.split(draws(rng), 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["log_density", "truth", "log_density_truth", "summary", "summary_cov", "x"])
def test_nan_is_refused_and_named(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    made = draws(rng)
    broken = getattr(made, name).copy()
    broken[0] = np.nan
    with pytest.raises(ArtifactError, match=f"{name} holds .* NaN"):
        posteriors.save(tmp_path / "d.nc", replace(made, **{name: broken}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.5])
def test_draws_outside_their_bounds_are_refused(
    value: float, rng: np.random.Generator, tmp_path: Path
) -> None:
    made = draws(rng)
    made.draws[2, 1, 0] = value
    with pytest.raises(ArtifactError, match="1 numbers among the draws"):
        posteriors.save(tmp_path / "d.nc", made)


def test_a_density_of_zero_at_the_truth_is_kept(rng: np.random.Generator, tmp_path: Path) -> None:
    made = draws(rng, log_density_truth=np.array([0, -np.inf, 1, 2, 3.0]))
    posteriors.save(tmp_path / "d.nc", made)
    assert np.isneginf(posteriors.load(tmp_path / "d.nc").log_density_truth[1])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("draws", (6, 5, 3)),
        ("log_density", (5, 6)),
        ("truth", (4, 2)),
        ("summary_cov", (3, 2)),
        ("x", (4, 4, 2)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(
    name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    with pytest.raises(ShapeError, match=name):
        draws(rng, **{name: np.zeros(shape)})


def test_unreadable_files_are_named(rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"d\.nc is missing"):
        posteriors.load(tmp_path / "d.nc")
    (tmp_path / "d.nc").write_bytes(b"no netCDF at all")
    with pytest.raises(ArtifactError, match=r"d\.nc: expected a file of posterior draws, got a damaged file"):
        posteriors.load(tmp_path / "d.nc")


def test_another_format_is_refused(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posteriors, "FORMAT", 99)
    posteriors.save(tmp_path / "d.nc", draws(rng))
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="format 1, got 99"):
        posteriors.load(tmp_path / "d.nc")


def test_constraints_come_back_and_are_kept(rng: np.random.Generator, tmp_path: Path) -> None:
    whole = draws(rng, constraints=(Whole("zeta", 0, 1), Between("alpha", upper="2 * zeta + 1")))
    whole = replace(whole, draws=np.stack([np.rint(whole.draws[..., 0]), whole.draws[..., 1] - 1], -1))
    posteriors.save(tmp_path / "d.nc", whole)  # zeta lies on its bounds
    assert_same(posteriors.load(tmp_path / "d.nc"), whole)
    half = whole.draws.copy()
    half[2, 3, 0], half[1, 1, 1] = 0.5, 9.0
    with pytest.raises(
        ArtifactError, match="2 of 30 draws of zeta, alpha are not what these parameters can be"
    ):
        posteriors.save(tmp_path / "e.nc", replace(whole, draws=half))
    assert not (tmp_path / "e.nc").exists()
