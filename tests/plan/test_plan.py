"""Rates of finished jobs, and what the cost of a job grows with."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical.errors import PlanError, SettingError
from veridical.plan import Cost, costs_of, dry_run, table
from veridical.plan.costs import Costs
from veridical.plan.measured import Rate, Record, records
from veridical.plan.work import Piece, amount, size
from veridical.study import settings
from veridical.study.layout import Layout

CONFIG = Path(__file__).parents[2] / "config"


def of_study(name: str) -> Layout:
    return Layout(settings.load(CONFIG / f"{name}.yaml"))


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
    assert found.start >= 0 and found.slope >= 0
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


@pytest.mark.parametrize("stem", ["train/npe/n1000-r0-weird", "train/npe/weird-run", "train/npe/n1000", "x"])
def test_a_stem_that_names_no_run_names_no_job(stem: str) -> None:
    assert Piece.of(stem) is None


def test_work_counts_what_the_cost_grows_with() -> None:
    layout = of_study("gaussian")
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
    layout = of_study("lynx_hare")
    piece = Piece.of("train/npe/n200000-r0")
    assert piece is not None
    assert amount(piece, layout) == 2800 * 512
    ratios = of_study("wifi_gaussian")
    method, spec = next((name, m) for name, m in ratios.methods.items() if getattr(m, "members", 0))
    run = next(run for run in ratios.runs if run.method == method)
    piece = Piece.of(f"train/{run.folder}")
    assert piece is not None
    assert amount(piece, ratios) == 2 * run.budget * spec.training.epochs * spec.members


def test_size_counts_the_bytes_of_rows_and_draws() -> None:
    layout = of_study("gaussian")
    row = 4 * layout.task.x_shape[0]
    d = len(layout.task.parameter_names)
    shard, draws = Piece.of("model/test/rows-000000000-000004999"), Piece.of("infer/npe/n5000-r0/simulated")
    assert shard is not None and draws is not None
    assert size(shard, layout) == pytest.approx(5000 * (8 * d + row + 1), rel=0.05)
    assert size(draws, layout) == pytest.approx(500 * (8 * (d + 1) * 999 + row), rel=0.01)


# ---- what finished jobs left ---------------------------------------------------------------------


def finished(root: Path, log: str, benchmark: str, fit: str = "") -> list[Record]:
    """The records of one finished training whose files hold these texts."""
    layout = Layout(settings.load(CONFIG / "gaussian.yaml"), root=str(root))
    for folder, name, text in (
        ("logs", "n5000-r0.log", log),
        ("benchmarks", "n5000-r0.jsonl", benchmark),
        ("", "n5000-r0/cost.json", fit),
        ("logs", "weird-run.log", "done in 9.9 s\n"),
    ):
        path = Path(layout.results) / folder / "train/npe" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return records([layout])


BENCHMARK = '{"s": 5.0, "max_rss": 70.0}\n'


@pytest.mark.parametrize(
    ("log", "benchmark", "fit", "expected"),
    [
        ("done in 9.9 s", BENCHMARK, "", [5.0]),
        ("done in 9.9 s", BENCHMARK, '{"fit_seconds": 40.0}', [40.0]),
        ("done in 9.9 s", BENCHMARK, '{"fit_seconds": 2.0}', [5.0]),
        ("done in 9.9 s", BENCHMARK, '{"fit_sec', [5.0]),
        ("done in 9.9 s", '{"s": 5.0, "max_', "", [9.9]),
        ("done in 9.9 s", '{"max_rss": 70.0}', "", [9.9]),
        ("done in 9.9 s", '{"s": 5.0}', "", [9.9]),
        ("done in 9.9 s", "[5.0]", "", [9.9]),
        ("done in 9.9 s", '{"s": NaN, "max_rss": 1}', "", [9.9]),
        ("done in 9.9 s", "", "", [9.9]),
        ("done in 1.2.3 s", "", "", []),
        ("", "{", "", []),
    ],
)
def test_records_that_cannot_be_read_are_left_out(
    tmp_path: Path, log: str, benchmark: str, fit: str, expected: list[float]
) -> None:
    assert [record.seconds for record in finished(tmp_path, log, benchmark, fit)] == expected


@pytest.mark.parametrize(
    ("log", "benchmark", "expected"),
    [
        ("done in 9.9 s, 512 MB", BENCHMARK, 512.0),  # Snakemake saw the process that handed the job over
        ("done in 9.9 s, 50 MB", BENCHMARK, 70.0),  # and here its children, too
        ("512 MB\ndone in 9.9 s", BENCHMARK, 70.0),
        ("done in 9.9 s, 512 MB", '{"s": 5.0, "max_rss": "-"}', 512.0),
        ("done in 9.9 s, 512 MB", "", 512.0),
        ("done in 9.9 s", "", None),
    ],
)
def test_the_memory_of_a_job_is_what_its_log_or_snakemake_saw(
    tmp_path: Path, log: str, benchmark: str, expected: float | None
) -> None:
    assert [record.mb for record in finished(tmp_path, log, benchmark)] == [expected]


def test_a_rule_is_as_far_from_what_was_measured_as_its_furthest_job() -> None:
    far = [
        Cost("train", 1, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, {"measured at smoke": times})
        for times in (2.5, 10.0, 1.0)
    ]
    assert "measured at smoke (x 10)" in table([Cost.total("train", far)])


def test_many_jobs_are_warned_of_with_the_remedy() -> None:
    found = [
        Cost(rule, jobs, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, {})
        for rule, jobs in (("simulate", 990), ("train", 10))
    ]
    assert "WARNING" not in table(found)
    told = table([*found, Cost.total("check", found[1:])])
    assert "1,010 jobs, expected at most 1,000; most are simulate (990)" in told
    assert "a larger simulation.shard_rows" in told
    assert table([]).startswith("Nothing to be done")


def test_a_shard_uses_no_more_cores_than_it_has_blocks() -> None:
    raw = settings.merge(
        settings.load(CONFIG / "gaussian.yaml").model_dump(mode="json", exclude_none=True),
        {"simulation": {"cores": 64, "seconds": {"model": 2.0}}},
    )
    layout = Layout(settings.parse(raw), root="nowhere")
    block = layout.task.block_rows
    job = dry_run.Job(
        "simulate", log=f"{layout.bank}/logs/model/test/rows-000000000-{3 * block - 1:09d}.log", threads=64
    )
    assert Costs({"laptop": layout}, "laptop").of(job).longest == pytest.approx(2.0 * block)


def test_other_studies_of_a_collection_stand_in_for_what_was_not_measured() -> None:
    layout = Layout(settings.load(CONFIG / "gaussian.yaml"), root="nowhere")
    name = next(iter(layout.methods))
    piece, other = (Piece.of(f"train/{method}/n1000-r0") for method in (name, "another"))
    assert piece is not None and other is not None
    assert Costs({"laptop": layout}, "laptop").seconds(piece) is None
    work = amount(piece, layout)
    assert work is not None
    found = [Record(other, "smoke of others", work, 9.0, None)]
    assert Costs({"laptop": layout}, "laptop", beside=found).seconds(piece) == pytest.approx(9.0)
    found.append(Record(piece, "smoke of others", work, 4.0, None))
    assert Costs({"laptop": layout}, "laptop", beside=found).seconds(piece) == pytest.approx(4.0)


def test_a_method_that_learns_from_no_rows_says_nothing_of_those_that_do() -> None:
    layout = Layout(settings.load(CONFIG / "gaussian.yaml"), root="nowhere")
    piece, prior = (
        Piece.of(f"train/{run}") for run in (f"{next(iter(layout.methods))}/n1000-r0", "prior/n0-r0")
    )
    assert piece is not None and prior is not None
    found = [Record(prior, "smoke of others", 1.0, 6.0, None)]
    assert Costs({"laptop": layout}, "laptop", beside=found).seconds(piece) is None


def test_an_unknown_scale_is_named_before_anything_is_read() -> None:
    with pytest.raises(SettingError, match=r"scale 'huge' is unknown"):
        costs_of("", CONFIG / "gaussian.yaml", "huge")


@pytest.mark.parametrize(
    "text", ["Nothing to be done\nWorkflowError:\n", "WorkflowError:\n  Nothing to be done\n"]
)
def test_an_error_is_not_nothing_to_be_done(text: str) -> None:
    with pytest.raises(PlanError, match="the dry run failed:"):
        dry_run.jobs(text)
    assert dry_run.jobs("Building DAG of jobs...\nNothing to be done (all are present).\n") == []
