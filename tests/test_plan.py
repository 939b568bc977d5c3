"""Rates of finished jobs, and what the cost of a job grows with."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical import settings
from veridical.layout import Layout
from veridical.plan.measured import Rate, Record
from veridical.plan.work import Piece, amount, size

CONFIG = Path(__file__).parents[1] / "config"


def rate(*points: tuple[float, float]) -> Rate:
    return Rate.through(
        [Record(Piece("train", ""), "smoke", work, seconds, 100.0) for work, seconds in points]
    )


def test_a_rate_is_the_line_through_its_jobs() -> None:
    found = rate((10, 7.0), (20, 12.0), (40, 22.0))
    assert (found.start, found.slope) == pytest.approx((2.0, 0.5))
    assert found.seconds(1000) == pytest.approx(502.0)
    assert found.largest == 40


def test_jobs_of_one_size_give_seconds_in_proportion() -> None:
    assert rate((10, 5.0), (10, 5.0)).seconds(30) == pytest.approx(15.0)


@pytest.mark.parametrize("points", [((10, 1.0), (20, 4.0)), ((10, 4.0), (20, 1.0))])
def test_neither_start_nor_slope_is_negative(points: tuple[tuple[float, float], ...]) -> None:
    found = rate(*points)
    assert found.start >= 0
    assert found.slope >= 0
    assert min(s for _, s in points) < found.seconds(15) < max(s for _, s in points)


STEMS = {
    "model/train-r0/rows-000000000-000004999": ("simulate", "model"),
    "probe-model": ("probe", "model"),
    "train/npe/n5000-r0": ("train", "npe"),
    "remedy/rope/n5000-c50-r0": ("remedy", "rope"),
    "infer/npe/n5000-r0/simulated": ("infer", "npe"),
    "infer/npe/n5000-r0/real.exact": ("exact", "npe"),
    "infer/npe/n5000-r0/field.predictive": ("predict", "npe"),
    "infer/reference/field": ("reference", ""),
    "infer/reference/field/ensemble-2": ("reference_ensemble", ""),
    "check/npe/n5000-r0/simulated/sbc": ("check", "sbc"),
    "check/npe/n5000-r0/simulated/experiments": ("experiments", "npe"),
    "check/npe/n5000-r0/simulated/experiments-0003": ("experiment", "npe"),
    "observe/field": ("observe", ""),
    "observe/field.look": ("look", ""),
    "report/metrics": ("report", "metrics"),
    "report/figures": ("figures", ""),
}


@pytest.mark.parametrize("stem", STEMS)
def test_the_stem_of_a_log_names_the_job(stem: str) -> None:
    piece = Piece.of(stem)
    assert piece is not None
    assert (piece.kind, piece.group) == STEMS[stem]


def test_work_counts_what_the_cost_grows_with() -> None:
    layout = Layout(settings.load(CONFIG / "gaussian.yaml"))
    counted = {
        stem: amount(piece, layout) for stem in STEMS if (piece := Piece.of(stem)) and piece.group != "rope"
    }
    assert counted["model/train-r0/rows-000000000-000004999"] == 5000 * layout.task.fidelities["model"]
    assert counted["train/npe/n5000-r0"] == 5000 * 25
    assert counted["infer/npe/n5000-r0/simulated"] == 500 * 999
    assert counted["infer/reference/field/ensemble-2"] == 32 * 600
    assert counted["report/metrics"] == len(layout.runs) == 6
    assert amount(Piece("train", "gone", {"method": "gone", "run": "n10-r0"}), layout) is None


def test_steps_and_members_bound_and_multiply_a_training() -> None:
    layout = Layout(settings.load(CONFIG / "lynx_hare.yaml"))
    piece = Piece.of("train/npe/n200000-r0")
    assert piece is not None
    assert amount(piece, layout) == 2800 * 512
    ratios = Layout(settings.load(CONFIG / "wifi_gaussian.yaml"))
    method, spec = next((name, m) for name, m in ratios.methods.items() if getattr(m, "members", 0))
    run = next(run for run in ratios.runs if run.method == method)
    piece = Piece.of(f"train/{run.folder}")
    assert piece is not None
    assert amount(piece, ratios) == 2 * run.budget * spec.training.epochs * spec.members


def test_size_counts_the_bytes_of_rows_and_draws() -> None:
    layout = Layout(settings.load(CONFIG / "gaussian.yaml"))
    row = 4 * layout.task.x_shape[0]
    d = len(layout.task.parameter_names)
    shard, draws = Piece.of("model/test/rows-000000000-000004999"), Piece.of("infer/npe/n5000-r0/simulated")
    assert shard is not None
    assert draws is not None
    assert size(shard, layout) == pytest.approx(5000 * (8 * d + row + 1), rel=0.05)
    assert size(draws, layout) == pytest.approx(500 * (8 * (d + 1) * 999 + row), rel=0.01)
