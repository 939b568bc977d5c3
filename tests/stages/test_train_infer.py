"""Stages train and infer: from shards to an estimator's folder, from observations to draws."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import modules_after
from veridical import artifacts, bank, checks
from veridical.checks.experiment_posteriors import posterior_sums
from veridical.coordinates import Coordinates, Run
from veridical.errors import DataError, SimulationError, TrainingError
from veridical.evidence.tabulation import MAX_OBSERVATIONS
from veridical.saved import experiments, posteriors
from veridical.saved.observations import Observations
from veridical.stages.aggregate import draws_rows
from veridical.stages.experiment import experiment
from veridical.stages.infer import infer
from veridical.stages.train import Sources, train
from veridical.training import checkpoints

SPEC = {"name": "gaussian_linear", "settings": {"dimension": 2}}
NPE: dict[str, Any] = {
    "type": "npe",
    "summary": {"type": "mlp", "hidden": [16], "features": 3},
    "flow": {"transforms": 1, "hidden": [16]},
    "training": {"epochs": 4, "batch_size": 64},
}
SHARD_ROWS, FAILED = 300, 7


def shard(folder: Path, first: int, rng: np.random.Generator) -> Path:
    """A shard of the Gaussian task, some of whose rows have failed."""
    theta = rng.normal(size=(SHARD_ROWS, 2))
    x = (theta + rng.normal(size=theta.shape)).astype(np.float32)
    status = np.zeros(SHARD_ROWS, np.uint8)
    x[:FAILED], status[:FAILED] = np.nan, 1
    last = first + SHARD_ROWS - 1
    path = folder / bank.shard_name(first, last)
    counts = {"ok": SHARD_ROWS - FAILED, "non_finite": FAILED, "raised": 0, "timed_out": 0}
    manifest = {
        "task": "gaussian_linear",
        "key": "k",
        "fidelity": "model",
        "split": "train-r0",
        "first": first,
        "last": last,
        "n_invalid": FAILED,
        "counts": counts,
        "first_traceback": "",
    }
    dims = {"theta": ("row", "parameter"), "x": ("row", "feature"), "status": ("row",)}
    bank.write(path, {"theta": theta, "x": x, "status": status}, manifest, dims)
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("bank"), np.random.Generator(np.random.PCG64(1))
    return [shard(folder, first, rng) for first in (0, SHARD_ROWS)]


def run(shards: list[Path], folder: Path, method_spec: dict[str, Any] = NPE, **changes: Any) -> None:
    sources = Sources((shards, 500), max_invalid=changes.pop("max_invalid", 1.0))
    named = Run(changes.pop("method", "npe"), 500, changes.pop("replicate", 0))
    given = {"root": 3, "code": "abc", "checkpoints": folder / "ckpt", **changes}
    train(SPEC, method_spec, sources, folder / "out", named, **given)


@pytest.fixture(scope="module")
def trained(shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(shards, folder)
    return folder / "out"


def test_a_folder_holds_the_four_files_and_the_running_state_is_gone(trained: Path) -> None:
    files = sorted(p.name for p in trained.iterdir())
    assert files == ["cost.json", "estimator.json", "history.json", "weights.safetensors"]
    assert not list((trained.parent / "ckpt").iterdir())
    record = artifacts.load_record(trained)
    assert (record["method"], record["budget"], record["replicate"], record["seed"]) == ("npe", 500, 0, 3)
    assert set(record["digests"]) == {"bank", "code"} and len(record["digests"]["bank"]) == 64
    cost = json.loads((trained / "cost.json").read_text())
    assert (cost["n"], cost["n_valid"]) == (500, 500 - 2 * FAILED)
    assert cost["invalid_share"] == pytest.approx(2 * FAILED / 500)


def test_only_rows_of_the_budget_count(shards: list[Path], trained: Path, tmp_path: Path) -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    shard(tmp_path, 0, rng)
    theirs = np.concatenate([bank.load(shards, 500)["x"], np.zeros((100, 2), np.float32)])
    again = artifacts.load_estimator(trained)
    valid = np.isfinite(theirs[:500]).all(axis=1)
    learned = theirs[:500][valid & ~bank.validation_mask(500)]
    np.testing.assert_allclose(again.inputs.mean, learned.mean(axis=0, dtype=float))  # type: ignore[attr-defined]


def test_too_many_failures_stop_the_job(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="failed"):
        run(shards, tmp_path, max_invalid=0.01)


def test_a_class_of_the_users_own_that_returns_no_pair_is_named(shards: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from veridical.estimators.prior import PriorEstimator, PriorSettings\n"
        "class Mine(PriorEstimator):\n"
        "    @classmethod\n"
        "    def fit(cls, spec, *given):\n"
        "        return super().fit(PriorSettings(), *given)[0]\n"
    )
    spec = {"type": "own", "file": str(file), "class": "Mine"}
    with pytest.raises(TrainingError, match=r"mine\.py: Mine\.fit: expected a pair, .* got Mine\."):
        run(shards, tmp_path, spec, method="mine")
    assert not (tmp_path / "out").exists()


def test_a_second_job_on_the_same_training_waits_no_longer_than_it_may(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints.CheckpointFolder, "clear", lambda self: None)
    monkeypatch.setattr(checkpoints.CheckpointFolder, "__exit__", lambda *_: None)
    run(shards, tmp_path)
    with pytest.raises(TrainingError, match="another job trains"):
        run(shards, tmp_path, deadline=time.time() + 0.1)
    run(shards, tmp_path, replicate=1)


def test_what_another_job_has_just_made_is_left_alone(
    shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As by a job of a killed Snakemake that was still queued, and comes late."""
    run(shards, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert "another job" not in capsys.readouterr().out
    run(shards, tmp_path)
    assert "another job has just made it" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    assert list((tmp_path / "ckpt").iterdir()) == []
    (tmp_path / "out/weights.safetensors").write_bytes(b"torn")
    run(shards, tmp_path)
    assert "another job" not in capsys.readouterr().out
    assert (tmp_path / "out/weights.safetensors").stat().st_size > 4


def test_time_runs_out_and_the_retry_ends_with_the_same_bits(
    shards: list[Path], trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="run again"):
        run(shards, tmp_path, deadline=0.0)
    (state,) = (tmp_path / "ckpt").glob("*/state.ckpt")
    assert (state.parent / "output.txt").read_text() == f"{tmp_path / 'out'}\n"
    run(shards, tmp_path)
    assert (tmp_path / "out/weights.safetensors").read_bytes() == (
        trained / "weights.safetensors"
    ).read_bytes()
    assert json.loads((tmp_path / "out/history.json").read_text())["resumed_from"]


# ---- infer ---------------------------------------------------------------------------------------


def observations(n: int, rng: np.random.Generator) -> Observations:
    truth = rng.normal(size=(n, 2))
    return Observations(truth + rng.normal(size=(n, 2)), truth, "simulated", "simulated", "made here")


def test_draws_have_all_that_checks_need(trained: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    data = observations(40, rng)
    infer(trained, data, tmp_path / "d.nc", draws=50, root=3, replicate=0)
    draws = posteriors.load(tmp_path / "d.nc")
    estimator = artifacts.load_estimator(trained)
    assert draws.draws.shape == (50, 40, 2) and draws.names == ("theta_0", "theta_1")
    np.testing.assert_array_equal(draws.truth, data.truth)
    np.testing.assert_array_equal(draws.x, data.x)
    np.testing.assert_allclose(draws.log_density_truth, estimator.log_prob(data.truth, data.x))
    np.testing.assert_allclose(draws.log_density, estimator.log_prob(draws.draws, data.x), atol=2e-3)
    np.testing.assert_allclose(draws.summary, estimator.summary(data.x))
    assert draws.summary_cov.shape == (5, 5)  # three features, and two parameters by regression
    wanted = {"task": "gaussian_linear", "method": "npe", "dataset": "simulated", "kind": "simulated"}
    wanted |= {"budget": 500, "replicate": 0, "dropped": 0}
    assert {name: draws.attrs[name] for name in wanted} == wanted


def test_what_only_the_second_member_of_an_ensemble_sees_is_seen(
    shards: list[Path], tmp_path: Path, rng: np.random.Generator
) -> None:
    member = {key: value for key, value in NPE.items() if key != "type"}
    run(shards, tmp_path, {"type": "ensemble", "members": 2, "member": member}, method="ensemble")
    found = {}
    for name, n in (("null", 200), ("own", 1)):
        infer(tmp_path / "out", observations(n, rng), tmp_path / f"{name}.nc", draws=20, root=3, replicate=0)
        found[name] = posteriors.load(tmp_path / f"{name}.nc")
    own, k = found["own"], 5
    assert own.summarisers == 2 and own.summary is not None and own.summary.shape == (1, 2 * k)
    own.summary[:, k:] += 30 * np.sqrt(np.diag(own.summary_cov))[k:]
    result = checks.build("typicality").run(own, rng, null=found["null"])
    assert next(m.value for m in result.metrics() if m.name == "member_p") == 1 / 201


WALKERS = {"walkers": 20, "prior_draws": 100, "warm_up": 10, "steps": 10, "doublings": 0, "proposals": 200}
WITHOUT_DENSITY: dict[str, dict[str, Any]] = {
    "jumps": {**NPE, "flow": {"type": "consistency", "width": 8, "blocks": 1, "steps": 2}},
    "chains": {"type": "nre", "training": NPE["training"], "sampling": WALKERS},
    "weights": {"type": "nle", "training": NPE["training"], "sampling": {**WALKERS, "by": "importance"}},
}


@pytest.mark.parametrize("kind", WITHOUT_DENSITY)
def test_draws_without_densities_are_judged_without_them(
    kind: str, shards: list[Path], tmp_path: Path, rng: np.random.Generator
) -> None:
    """By all checks of labelled data, and by pseudo-experiments; what needs densities is left out.

    Convergence stands beside the draws and in the table of metrics, the worst of the observations shown.
    """
    run(shards, tmp_path, WITHOUT_DENSITY[kind])
    truth = rng.normal(size=(60, 2))
    data = Observations(truth + rng.normal(size=truth.shape), truth, "simulated", "simulated")
    infer(tmp_path / "out", data, tmp_path / "draws.nc", draws=99, root=3, replicate=0)
    draws = posteriors.load(tmp_path / "draws.nc")
    assert draws.log_density is None and draws.log_density_truth is None
    judged = [checks.build(name).run(draws, rng) for name in ("sbc", "coverage", "scores", "tarp")]
    metrics = {metric.name for result in judged for metric in result.table}
    assert {"sbc_p", "coverage_gap", "nrmse", "tarp_p"} <= metrics and not {"lpp", "nltp"} & metrics
    path, sizes = tmp_path / "batch.zarr.zip", {"rows": 60, "draws": 99}
    experiment(SPEC, tmp_path / "out", sizes, path, fidelity="model", root=3, replicate=0, batch=0)
    assert sorted(experiments.read(path)) == ["rank", "truth"]
    assert "central" in posterior_sums(experiments.read(path))
    found = {"jumps": set(), "chains": {"rhat", "ess"}, "weights": {"ess"}}[kind]
    where = Coordinates(method="one", dataset="observed")
    rows = draws_rows(tmp_path / "draws.nc", where, {"study": "s", "task": "t"})
    assert ("k" in draws.attrs.get("standing", {})) == (kind == "weights")
    assert any(row["metric"] == "refused_share" for row in rows) == (kind == "weights")
    for name in ("rhat", "ess"):
        kept = getattr(draws, name)
        assert (kept is not None) == (name in found) == any(row["metric"] == name for row in rows)
        if kept is not None:
            worst = (np.min if name == "ess" else np.max)(kept[:MAX_OBSERVATIONS])
            own = (min if name == "ess" else max)(
                (row for row in rows if row["metric"] == name), key=lambda row: row["value"]
            )
            assert own["value"] == worst
            assert kept[draws.numbers.index(own["observation"])].tolist().count(worst)


def test_as_many_observations_are_answered_as_are_asked(trained: Path, tmp_path: Path) -> None:
    x = np.array([[0.5, 1], [np.nan, 0], [1, 1], [0, 0]])
    data = Observations(x, None, "mine", "observed")
    infer(trained, data, tmp_path / "d.nc", draws=20, root=3, replicate=0, rows=3)
    draws = posteriors.load(tmp_path / "d.nc")
    np.testing.assert_array_equal(draws.x, x[[0, 2]])
    assert draws.attrs["dropped"] == 1


def test_the_size_of_parts_changes_nothing(
    trained: Path, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = observations(10, rng)
    infer(trained, data, tmp_path / "a.nc", draws=30, root=3, replicate=0)
    monkeypatch.setattr("veridical.stages.infer.PART_NUMBERS", 200)
    infer(trained, data, tmp_path / "b.nc", draws=30, root=3, replicate=0)
    infer(trained, data, tmp_path / "c.nc", draws=30, root=3, replicate=1)
    a, b, c = (posteriors.load(tmp_path / f"{name}.nc") for name in "abc")
    np.testing.assert_allclose(a.draws, b.draws, rtol=1e-3, atol=1e-4)
    assert not np.allclose(a.draws, c.draws)


def test_observations_without_truth_and_with_nan(trained: Path, tmp_path: Path) -> None:
    x = np.array([[0.5, 1], [np.nan, 0], [1, np.inf], [0, 0]])
    infer(
        trained, Observations(x, None, "mine", "observed"), tmp_path / "d.nc", draws=20, root=3, replicate=0
    )
    draws = posteriors.load(tmp_path / "d.nc")
    assert draws.truth is None and draws.log_density_truth is None
    assert draws.attrs["dropped"] == 2
    np.testing.assert_array_equal(draws.x, x[[0, 3]])


@pytest.mark.parametrize(
    ("x", "message"),
    [(np.zeros((3, 4)), r"expected observations of shape \(2,\)"), (np.full((2, 2), np.nan), "free of NaN")],
)
def test_observations_that_cannot_be_used_are_refused(
    x: np.ndarray, message: str, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        infer(
            trained,
            Observations(x, None, "mine", "observed"),
            tmp_path / "d.nc",
            draws=9,
            root=3,
            replicate=0,
        )
    assert not (tmp_path / "d.nc").exists()


def test_loading_an_estimator_does_not_import_lightning(trained: Path) -> None:
    """Lightning takes seconds to import; only a job that trains may pay for it."""
    found = modules_after(f"import veridical, veridical.stages.infer; veridical.load({str(trained)!r})")
    assert not found & {"lightning", "xarray", "dask", "sklearn"}
