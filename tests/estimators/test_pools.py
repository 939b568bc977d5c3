"""Pools that a study makes once: the same events in all trainings and methods, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import seeds
from veridical.errors import ArtifactError, ShapeError, SimulationError
from veridical.estimators import pools
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.classes import Functions
from veridical.inference.ratio_weights import RatioFit
from veridical.remedies.wifi import Wifi
from veridical.remedies.wifi_settings import WifiSettings
from veridical.stages import experiment
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.tasks.base import Array
from veridical.tasks.gaussian_classes import GaussianClasses
from veridical.training.session import Session

TASK = GaussianClasses(0.5, 0.0)
SPEC = {"name": "gaussian_classes", "settings": {"separation": 0.5, "resolution": 0.0}}
SIZES = {"rows": 3, "true_values": [0.4], "events": 400, "fit_rows": 500}
EVENTS, ROOT = 1200, 5


class Line(Functions):
    """1, x and its square, in which the log ratio is linear."""

    type, size = "line", 3
    task, settings = TaskInfo.of(TASK), None

    def functions(self, x: Array) -> Array:
        return x.reshape(-1, 1).astype(float) ** np.arange(3)

    def arrays(self) -> dict[str, Array]:
        return {}

    @classmethod
    def fit(cls, settings: Any, task: TaskInfo, material: Material, run: Session) -> Any:
        raise NotImplementedError

    @classmethod
    def from_arrays(cls, settings: Any, task: TaskInfo, arrays: Any, parent: Any = None) -> Any:
        raise NotImplementedError


def remedy(**options: Any) -> Wifi:
    return Wifi(WifiSettings(of="line", **options), Line.task, RatioFit.fixed(np.zeros(3)), Line())


def found(replicate: int, batch: int, pool: Any, **options: Any) -> dict[str, Array]:
    return experiment.estimates(TASK, remedy(**options), {**SIZES, "pool": pool}, ROOT, (replicate, batch))


def written(folder: Path, events: int = EVENTS, batch: int = 0) -> list[str]:
    paths = [str(folder / f"{cls}-{batch:04d}.npz") for cls in TASK.classes]
    for place, path in enumerate(paths):
        cls = TASK.classes[place]
        experiment.pool(SPEC, cls, events, path, root=ROOT, batch=batch, place=place)
    return paths


def test_files_of_a_pool_hold_what_experiments_would_have_made(tmp_path: Path) -> None:
    """To the bit, in every replicate and for every method; another batch has events of its own."""
    read = experiment.kept(written(tmp_path))
    for options in ({}, {"weights": "mean"}):
        for replicate in (0, 1):
            own, shared = (found(replicate, 0, pool, **options) for pool in (EVENTS, read))
            assert all(np.array_equal(own[name], shared[name], equal_nan=True) for name in own)
    other = experiment.kept(written(tmp_path, batch=1))
    assert not np.isin(other(TASK.classes[0]), read(TASK.classes[0])).any()
    assert read(TASK.classes[0]).dtype == np.dtype(TASK.x_dtype)


def test_experiments_of_replicates_draw_differently_from_one_pool(tmp_path: Path) -> None:
    read = experiment.kept(written(tmp_path))
    assert not np.array_equal(found(0, 0, read)["value"], found(1, 0, read)["value"])


def test_a_pool_is_of_the_half_that_nobody_learns_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nature's classes events are drawn, not simulated: tasks of files keep them apart."""
    monkeypatch.setattr(GaussianClasses, "simulate", lambda *_: pytest.fail("events to learn from"))
    assert pools.made(TASK, TASK.classes[1], 30, seeds.generator(1, "test")).shape == (30, *TASK.x_shape)


def test_a_pool_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    paths = written(tmp_path)
    experiment.pool(SPEC, TASK.classes[1], EVENTS - 1, paths[1], root=ROOT, batch=0, place=1)
    with pytest.raises(ShapeError, match=f"pool of {TASK.classes[1]}"):
        found(0, 0, experiment.kept(paths))
    with pytest.raises(ArtifactError, match="events of a pool"):
        found(
            0, 0, experiment.kept([str(tmp_path / Path(path).name.replace("0000", "0007")) for path in paths])
        )
    with pytest.raises(SimulationError, match="leave the pool out"):
        experiment.pool({"name": "gaussian_linear"}, "model", 10, tmp_path / "x", root=1, batch=0, place=0)


def test_a_study_knows_its_pools() -> None:
    """One file a level and batch, below the ensemble; none of methods without one."""
    names = [["signal_3", "signal_1"], ["background_3", "background_1"]]
    spec: dict[str, Any] = {
        "study": "pooled",
        "seed": 1,
        "task": "mass_plane",
        "budgets": [1000],
        "estimators": {"ratios": {"type": "template_ratios", "first": names[0], "second": names[1]}},
        "remedies": {"tamm": {"type": "tamm", "of": "ratios"}},
        "experiments": {"batches": 2, "rows": 5, "true_values": [0.1], "pool": 60_000},
    }
    layout = Layout(settings.parse(spec))
    levels = [level for side in names for level in side]
    folder = "results/pooled/check/ratios/pool"
    assert layout.pool("tamm", "0001") == [(f"{folder}/{level}-0001.npz", level) for level in levels]
    assert [layout.place_in_pool("ratios", level) for level in levels] == [0, 1, 2, 3]
    assert layout.pool("ratios", "0000") == []
    del spec["experiments"]["pool"]
    assert Layout(settings.parse(spec)).pool("tamm", "0000") == []
