"""Many methods on one page: a study with calibration sizes, yardsticks, real data, estimates and a plan."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import TASK, MadeUp, finish, gaussian_draws
from veridical import figures, seeds
from veridical.checks.coverage import Coverage
from veridical.checks.detection import Detection
from veridical.checks.experiment_sums import Options
from veridical.checks.experiments import aggregate
from veridical.checks.scores import Scores
from veridical.evidence import comparison, metrics, variants
from veridical.evidence.comparison import Measured
from veridical.evidence.metrics import Row, row
from veridical.evidence.variants import Variant
from veridical.figures import intervals, style, transport
from veridical.figures.coverages import Coverages
from veridical.report import experiment_tables, verdict
from veridical.saved import experiments
from veridical.saved.posteriors import Draws

SIZES = (10, 50, 200)
REPLICATES = 3
TESTS = 200
OFFSET = 1.4  # reality is larger than the simulator by this factor
LEVEL_COSTS = {"crude": 1.0, "exact": 10.0, "real": 100.0}


# ---- a study with many methods -------------------------------------------------------------------


def answers(x: np.ndarray, truth: np.ndarray, rng: Any, loss: float, width: float = 1.0) -> Draws:
    """Draws that have lost something of the exact posterior; calibrated where the width is 1.

    Their mean is off by `loss` standard deviations at random, and they are as much wider.
    """
    mean, covariance = TASK.posterior(x)
    factor = np.linalg.cholesky(covariance)
    mean = mean + loss * rng.normal(size=mean.shape) @ factor.T
    factor = factor * width * np.sqrt(1 + loss**2)
    return gaussian_draws(x, truth, mean, factor, rng.normal(size=(199, len(x), 3)))


def first_of(draws: Draws, n: int) -> Draws:
    """The draws for the first n data sets."""
    along = {"draws": 1, "log_density": 1, "truth": 0, "log_density_truth": 0, "summary": 0, "x": 0}
    cut = {name: getattr(draws, name)[(slice(None),) * axis + (slice(n),)] for name, axis in along.items()}
    return replace(draws, **cut)


def from_prior(x: np.ndarray, truth: np.ndarray, rng: Any) -> Draws:
    found = answers(x, truth, rng, 0.0)
    draws = TASK.prior.sample(rng, 199 * len(x)).reshape(199, len(x), 3)

    def density(theta: np.ndarray) -> np.ndarray:
        scales = TASK.scales
        return (-0.5 * (theta / scales) ** 2 - np.log(scales * np.sqrt(2 * np.pi))).sum(axis=-1)

    return replace(found, draws=draws, log_density=density(draws), log_density_truth=density(truth))


def plan_extras(truth: np.ndarray, n: int, rng: Any) -> dict[str, np.ndarray]:
    """A transport plan that matches observations with simulations near them, as RoPE keeps it."""
    columns = np.sort(rng.normal(size=n))
    rows = np.sort(truth[:, 0])
    weights = np.exp(-0.5 * ((rows[:, None] - columns) / 0.15) ** 2) + 1e-9
    weights /= weights.sum(axis=1, keepdims=True)
    return {
        "plan": np.stack([weights] * 3),
        "plan_rows": np.stack([rows] * 3),
        "plan_columns": np.stack([columns] * 3),
        "effective": 1 / (weights**2).sum(axis=1),
        "transport": np.array([0.12, 1.0, 3.4, 1e-12, 2e-9, 140.0]),
    }


def many_methods(folder: Path) -> MadeUp:
    """Writes a study with yardsticks, methods without and with calibration, and real data."""
    rng = seeds.generator(7, "test", "report", "card")
    made = MadeUp(
        folder / "results" / "card",
        study="card",
        title="Growth, with a simulator that is wrong",
        description="A made-up study: several methods, and labelled real data.",
    )
    truth = TASK.prior.sample(rng, TESTS)
    x = {
        "simulated": TASK.simulate(truth, rng, "exact"),
        "right": TASK.simulate(truth, rng, "exact"),
    }
    x["real"] = OFFSET * x["right"]
    made.add_data("real", "real", x["real"], truth)
    plain = {"npe": (1000, 4000), "ensemble": (4000,), "prior": (0,)}
    sized = {"ridge": ((1.5, 0.7), (1.0, 0.9), (0.8, 1.0)), "rope": ((2.5, 1.0), (1.2, 1.0), (0.4, 1.0))}
    ledgers: dict[str, Any] = {}
    for replicate in range(REPLICATES):
        for method, budgets in plain.items():
            for budget in budgets:
                run = f"{method}/n{budget}-r{replicate}"
                ledgers[run] = _cost(made, "train", run, {"exact": budget} if budget else {})
                loss = 0.0 if budget == 4000 else 0.5
                simulated = answers(x["simulated"], truth, rng, loss)
                real = answers(x["real"], truth, rng, loss)
                if method == "prior":
                    real = from_prior(x["real"], truth, rng)
                    simulated = from_prior(x["simulated"], truth, rng)
                final = budget == budgets[-1]
                own = {"simulated": simulated, "real": real}
                _judge(made, run, own, final, method != "prior", rng)
        for method, sizes in sized.items():
            for pairs, (loss, width) in zip(SIZES, sizes, strict=True):
                budget = 4000 if method == "rope" else 0
                run = f"{method}/n{budget}-c{pairs}-r{replicate}"
                rows = {"real": pairs} | ({"exact": budget} if budget else {})
                ledgers[run] = _cost(made, "remedy" if budget else "train", run, rows)
                own = answers(x["right"], truth, rng, loss, width)
                if method == "rope":
                    own = replace(own, extras=plan_extras(truth, 300, rng))
                _judge(made, run, {"real": own}, True, False, rng)
    made.benchmarks = {"train": [made.benchmark(75.0, "benchmarks", "t.jsonl")]}
    shards = [
        made.benchmark(cost, "bank/benchmarks", level, "train-r0", "rows-000000000-000003999.jsonl")
        for level, cost in LEVEL_COSTS.items()
    ]
    made.more = {"simulations": shards, "ledgers": ledgers}
    return made


def _cost(made: MadeUp, stage: str, run: str, rows: dict[str, int]) -> dict[str, Any]:
    n = sum(rows.values())
    cost = {"n": max(n, 1), "n_valid": max(n, 1), "fit_seconds": 0.01 * n + 0.5, "steps": 1}
    made.add_training(f"{stage}/{run}", cost, {"epochs": [], "best_epoch": None})
    nominal = sum(LEVEL_COSTS[level] * count for level, count in rows.items())
    return {"rows": rows, "nominal": nominal, "target": rows.get("exact", 0)}


def _judge(made: MadeUp, run: str, own: dict[str, Draws], final: bool, simulated: bool, rng: Any) -> None:
    for dataset, draws in own.items():
        wanted: list[Any] = [Scores(bootstrap=20)]
        if final:
            wanted.append(Coverage(null_draws=9999, bootstrap=20))
        if final and dataset == "real" and simulated:
            wanted.append(Detection(observations=20, null_sets=200, sets=20))
        for check in wanted:
            given = {"null": own["simulated"]} if check.name == "detection" else {}
            made.add_check(run, dataset, check.name, check.run(draws, rng, **given))
        if final and dataset == "real" and run.endswith("-r0") and not run.startswith(("ensemble", "ridge")):
            made.add_draws(run, "real", first_of(draws, 2))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """The study of many methods, with its report."""
    return finish(many_methods(tmp_path_factory.mktemp("card")))


# ---- a study of estimates ------------------------------------------------------------------------

KAPPAS = np.array([0.05, 0.1, 0.5])
# How far the stated error of each method is from the true one, and its bias in standard errors.
ESTIMATORS = {"wifi_bootstrap": (1.0, 0.05), "wifi_partition": (1.0, 0.0), "naive_ensemble": (0.35, 0.8)}


def of_estimates(folder: Path) -> MadeUp:
    """Writes a study of methods that estimate a fraction with an interval, judged by experiments."""
    rng = seeds.generator(7, "test", "report", "estimates")
    about = {"study": "fractions", "title": "Fractions", "description": "A made-up study of estimates."}
    made = MadeUp(folder / "results" / "f", "classes", **about)
    for method, (width, bias) in ESTIMATORS.items():
        for replicate in range(REPLICATES):
            run = f"{method}/n25000-r{replicate}"
            z = rng.normal(size=(300, len(KAPPAS))) + bias + 0.05 * rng.normal()
            ratio = 0.008 if width == 1 else 0.0
            sigma = np.hypot(0.01, 0.008)
            batch = {
                "value": KAPPAS + sigma * z,
                "statistical": np.full(z.shape, 0.01 if ratio else sigma * width),
                "ratio": np.full(z.shape, ratio),
                "truth": KAPPAS,
            }
            path = made.path("experiments", run, "batch-0000.zarr.zip")
            experiments.write(path, batch)
            result = aggregate([path], rng, ("fraction",), Options(bootstrap=20))
            made.add_check(run, "simulated", "experiments", result)
    return made


@pytest.fixture(scope="module")
def fractions(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """The study of estimates, with its report."""
    return finish(of_estimates(tmp_path_factory.mktemp("fractions")))


# ---- the table -----------------------------------------------------------------------------------


def judged(made: MadeUp) -> dict[str, Any]:
    found = verdict.load(made.verdicts)["verdicts"]
    table = comparison.table(metrics.read(made.table), found)
    assert table is not None
    return table


def test_the_verdicts_are_those_that_were_planted(card: MadeUp) -> None:
    found = {variants.of_cells(v).label: v["verdict"] for v in verdict.load(card.verdicts)["verdicts"]}
    assert found == {
        "npe": "do not trust",
        "ensemble": "do not trust",
        "ridge (10 pairs)": "caution",  # 200 rows in sets of two parameters may hold as little after 10 pairs
        "ridge (50 pairs)": "caution",  # held by as many as 50 pairs allow
        "ridge (200 pairs)": "trust",
        "rope (10 pairs)": "caution",  # so few pairs allow too much
        "rope (50 pairs)": "caution",
        "rope (200 pairs)": "caution",  # 86 % held, judged among eight on 200 rows
    }


def test_answers_to_trust_stand_first_and_the_best_of_them_on_top(card: MadeUp) -> None:
    table = judged(card)
    lines = [(line["method"], line["pairs"], line["rank"]) for line in table["lines"]]
    assert [rank for _, _, rank in lines] == [0, 2, 2, 2, 2, 2, 3, 3]
    assert lines[:2] == [("ridge", "200", 0), ("rope", "200", 2)]
    assert [line["method"] for line in table["yardsticks"]] == ["prior", "sbi"]
    assert table["headline"][0] == "Trust (1 of 8): ridge (200 pairs)."
    again = comparison.headline(
        [{**line, "rank": 0} if line["method"] == "rope" else line for line in table["lines"]],
        [],
        comparison.QUALITIES[0],
    )
    assert again[1].startswith("Of those to trust, rope (200 pairs) gives the true parameters")


def test_every_number_of_the_table_is_in_the_metrics(card: MadeUp) -> None:
    rows, table = metrics.read(card.table), judged(card)
    cells = {"method": "rope", "n_calibration": 50, "dataset": "real", "metric": "lpp", "seed": None}
    (found,) = metrics.select(rows, **cells)
    (line,) = [line for line in table["lines"] if (line["method"], line["pairs"]) == ("rope", "50")]
    value, error = line["cells"][0]["text"].split(" ± ")
    assert float(value) == pytest.approx(found["value"], abs=0.6 * 10 ** -len(value.split(".")[1]))
    assert float(error) == pytest.approx(found["stderr"], rel=0.5)
    (upper,) = [line for line in table["yardsticks"] if line["method"] == "sbi"]
    cells = {"method": "npe", "budget": 4000, "dataset": "simulated", "metric": "lpp", "seed": None}
    assert upper["cells"][0]["text"].startswith(f"{metrics.value(rows, **cells):.2f}"[:3])
    assert (line["nominal"], line["budget"]) == ("45,000", "4,000")


@pytest.mark.parametrize(("repeats", "few"), [(1, False), (2, True), (3, False)])
def test_two_repeats_are_said_to_be_too_few(repeats: int, few: bool) -> None:
    """Student's t with one degree of freedom hardly ever tells two methods apart."""
    rows = [
        row(method=method, budget=100, seed=seed, metric="lpp", dataset="simulated", value=value)
        for method, value in (("npe", 0.0), ("ensemble", 1.0))
        for seed in range(repeats)
    ]
    table = comparison.table(rows, verdict.decide(rows)["verdicts"])
    assert table is not None
    assert table["two_repeats"] == few


def test_one_method_has_nothing_to_be_compared_with(study: MadeUp) -> None:
    found = verdict.load(study.verdicts)["verdicts"]
    assert comparison.table(metrics.read(study.table), found) is None
    assert "Which answer to trust?" not in study.page.read_text()


def test_a_study_in_which_nothing_is_to_be_trusted_says_so() -> None:
    by_rank = {0: [], 1: [], 2: [], 3: [Variant("a"), Variant("b")]}
    assert comparison._to_trust(by_rank) == "None of the 2 answers is to be trusted."
    by_rank[2] = [Variant("c", 10, 1)]
    assert comparison._to_trust(by_rank) == "No answer earns trust; use with care: c (1 pairs)."
    by_rank[1] = [Variant("d")]
    assert comparison._to_trust(by_rank) == "Trust if the simulator is right (1 of 4): d."


def values(*found: float, stderr: float | None = None) -> Measured:
    return Measured(float(np.mean(found)), stderr, dict(enumerate(found)))


@pytest.mark.parametrize(
    ("leader", "other", "tie"),
    [
        (values(1.0, 2.0, 3.0), values(0.9, 1.9, 2.9), False),  # a small difference in every repeat
        (values(1.0, 2.0, 3.0), values(1.2, 1.5, 2.9), True),  # one that changes sign
        (values(1.0, stderr=0.1), values(0.8, stderr=0.1), True),
        (values(1.0, stderr=0.1), values(0.6, stderr=0.1), False),
        (values(1.0), values(0.0), True),  # no error, no judgement
    ],
)
def test_a_tie_is_a_difference_that_repeats_do_not_show(leader: Measured, other: Measured, tie: bool) -> None:
    found = {Variant("a"): leader, Variant("b"): other}
    assert comparison.best(found, 1) == (Variant("a"), {Variant("b")} if tie else set())
    turned = {
        v: Measured(-m.value, m.stderr, {s: -x for s, x in m.replicates.items()}) for v, m in found.items()
    }
    assert comparison.best(turned, -1) == (Variant("a"), {Variant("b")} if tie else set())


def test_equal_methods_are_told_apart_as_often_as_the_level_says(rng: np.random.Generator) -> None:
    n, apart = 4000, 0
    for a, b in rng.normal(size=(n, 2, 4)):
        apart += not comparison.best({Variant("a"): values(*a), Variant("b"): values(*b)}, 1)[1]
    level = comparison.SIGNIFICANCE
    assert apart / n == pytest.approx(level, abs=4 * (level * (1 - level) / n) ** 0.5)


def test_many_equal_methods_are_told_apart_no_more_often(rng: np.random.Generator) -> None:
    n, apart, names = 1000, 0, [Variant(f"m{i}") for i in range(6)]
    for found in rng.normal(size=(n, 6, 4)):
        ties = comparison.best(dict(zip(names, (values(*v) for v in found), strict=True)), 1)[1]
        apart += len(ties) < 5
    # all pairs: the leader and the last are the most extreme of fifteen pairs, of which five are asked
    assert apart / n < 3 * comparison.SIGNIFICANCE


def test_a_value_that_is_not_finite_wins_nothing() -> None:
    found = {
        Variant("a"): values(float("-inf")),
        Variant("b"): values(1.0),
        Variant("c"): values(float("nan")),
    }
    assert comparison.best(found, 1)[0] == Variant("b")


# ---- variants ------------------------------------------------------------------------------------


def test_a_variant_is_a_method_at_its_largest_budget_once_per_calibration_size() -> None:
    found = [Variant("rope", 10, 5), Variant("rope", 20, 5), Variant("rope", 10, 50), Variant("npe", 7)]
    assert variants.finals(found) == [Variant("npe", 7), Variant("rope", 20, 5), Variant("rope", 10, 50)]
    assert variants.leading(found) == [Variant("npe", 7), Variant("rope", 10, 50)]
    assert (Variant("rope", 1, 50).key, Variant("rope", 1, 1).label) == ("rope-c50", "rope (1 pair)")


# ---- figures -------------------------------------------------------------------------------------


def record(made: MadeUp, name: str) -> dict[str, Any]:
    return json.loads((made.figures / f"{name}.json").read_text())["data"]


def test_coverage_curves_are_the_mean_of_those_saved_and_residuals_take_the_diagonal_off(
    card: MadeUp,
) -> None:
    data = record(card, "coverages--all")
    assert [p["label"] for p in data["panels"]] == ["prior", "sbi", "npe", "ensemble", "ridge", "rope"]
    panel = data["panels"][-1]
    assert [curve["label"] for curve in panel["curves"]] == ["10 pairs", "50 pairs", "200 pairs"]
    saved = [
        json.loads((card.root / f"check/rope/n4000-c200-r{r}/real/coverage.json").read_text())["curves"]
        for r in range(REPLICATES)
    ]
    mean = np.mean([curves["central"] for curves in saved], axis=(0, 1))
    np.testing.assert_allclose(
        panel["curves"][2]["coverage"],
        np.interp(panel["band"]["levels"], saved[0]["levels"], mean),
        atol=1e-6,
    )
    assert [c["outside"] for p in data["panels"] for c in p["curves"]] == [
        *(False, False, True, True),
        *(True, True, False),
        *(False, False, False),
    ]
    with style.styled():
        made = Coverages().draw(data)
    above, below = _pair(made, 5)
    np.testing.assert_allclose(above.lines[3].get_ydata(), panel["curves"][2]["coverage"])
    difference = np.subtract(panel["curves"][2]["coverage"], panel["band"]["levels"])
    np.testing.assert_allclose(below.lines[3].get_ydata(), difference)


def _pair(made: Any, index: int) -> tuple[Any, Any]:
    """The axes of one method: curves above, residuals below; six methods make three columns."""
    axes = np.array(made.axes).reshape(4, 3)
    return axes[2 * (index // 3), index % 3], axes[2 * (index // 3) + 1, index % 3]


def test_quality_is_drawn_against_calibration_size_with_its_error(card: MadeUp) -> None:
    data, rows = record(card, "calibration--all"), metrics.read(card.table)
    lpp, acauc = data["panels"]
    assert [curve["label"] for curve in lpp["curves"]] == ["ridge", "rope"]
    assert [line["label"] for line in acauc["lines"]] == ["prior", "sbi", "npe"]
    for size, mean, error in zip(
        *(lpp["curves"][1][k] for k in ("calibration", "mean", "stderr")), strict=True
    ):
        cells = {"method": "rope", "n_calibration": size, "dataset": "real", "metric": "lpp", "seed": None}
        (found,) = metrics.select(rows, **cells)
        assert (mean, error) == (pytest.approx(found["value"]), pytest.approx(found["stderr"]))
    with style.styled():
        made = figures.build("calibration").draw(data)
    (drawn,) = (line for line in made.axes[0].lines if line.get_marker() == style.MARKERS[1])
    np.testing.assert_allclose(np.asarray(drawn.get_ydata(), dtype=float), lpp["curves"][1]["mean"])
    beyond = " ".join(text.get_text() for text in made.axes[0].texts)
    assert "\N{DOWNWARDS ARROW} npe: \N{MINUS SIGN}8.85" in beyond
    assert "above the prior from 10 on" in figures.build("calibration").caption(data)[1]


def test_quality_is_drawn_against_both_costs(card: MadeUp) -> None:
    data = record(card, "tradeoff--all")
    assert [panel["axis"] for panel in data["panels"]] == ["nominal_cost", "target_runs"]
    by_label = {curve["label"]: curve for curve in data["panels"][0]["curves"]}
    assert by_label["npe"]["x"] == [10_000, 40_000]
    assert by_label["ridge"]["x"] == [1000, 5000, 20_000]
    in_runs = {curve["label"]: curve["x"] for curve in data["panels"][1]["curves"]}
    assert in_runs == {"npe": [1000, 4000], "ensemble": [4000], "rope": [4000]}
    with style.styled():
        made = figures.build("tradeoff").draw(data)
    drawn = [ax.containers for ax in made.axes[:2]]
    colours = [{c.get_label(): c[0].get_color() for c in containers} for containers in drawn]
    assert colours[1].items() <= colours[0].items(), "a method has one colour in all panels"
    assert "by rope at a nominal cost of 60,000" in figures.build("tradeoff").caption(data)[1]


def test_with_an_exact_answer_quality_is_the_distance_to_it() -> None:
    rows: list[Row] = []
    for method, cost, gap in (("npe", 100.0, 0.5), ("npe", 300.0, 0.3), ("mf_npe", 200.0, 0.2)):
        low = {"budget_low": 10_000} if method == "mf_npe" else {}
        cells = {"method": method, "budget": int(cost), "seed": 0, **low}
        rows.append(row(**cells, metric="nominal_cost", value=cost))
        rows.append(row(**cells, metric="target_runs", value=cost))
        for name, value in (("nltp_gap", gap), ("c2st", 0.5 + gap), ("lpp", 1 - gap)):
            rows.append(row(**cells, metric=name, dataset="simulated", value=value, stderr=0.01))
    data = figures.build("tradeoff").data(rows)
    assert data is not None
    assert {panel["metric"] for panel in data["panels"]} == {"c2st", "nltp_gap"}
    assert "NLTP gap: 0.200, by mf_npe" in figures.build("tradeoff").caption(data)[1]
    table = comparison.table(rows, verdict.decide(rows)["verdicts"])
    assert table is not None
    assert [line["low"] for line in table["lines"]] == ["10,000", ""]
    assert table["columns"][1:3] == ["NLTP above exact", "told from exact in (C2ST)"]
    assert [c["place"] for c in table["lines"][0]["cells"][1:3]] == ["best", "best"]


def test_deviations_are_averaged_over_trainings_with_their_spread(fractions: MadeUp) -> None:
    data = record(fractions, "deviations--all")
    saved = [
        json.loads(
            (fractions.root / f"check/wifi_partition/n25000-r{r}/simulated/experiments.json").read_text()
        )
        for r in range(REPLICATES)
    ]
    every = np.array([result["curves"]["residual_total"][1] for result in saved])
    curve = next(c for c in data["panels"][1]["curves"] if c["label"] == "wifi_partition")
    np.testing.assert_allclose(curve["mean"], every.mean(axis=0)[::5], atol=1e-6)
    np.testing.assert_allclose(curve["stderr"], every.std(axis=0, ddof=1)[::5] / REPLICATES**0.5, atol=1e-6)
    assert data["reach"] < 0.2, "the curves that are nearly right decide the axis"
    shows = figures.build("deviations").caption(data)[1]
    assert re.search(
        r"off by 3 % or less.*wifi_bootstrap and wifi_partition.*naive_ensemble \(4\d %\)", shows
    )


def test_an_interval_is_highlighted_just_when_it_misses_the_truth(fractions: MadeUp) -> None:
    data = record(fractions, "intervals--all")
    assert (data["true_value"], len(data["panels"])) == (0.1, 3)
    for panel in data["panels"]:
        value, half = np.array(panel["value"]), np.array(panel["half"])
        assert (np.diff(value) >= 0).all() and len(value) == intervals.EXAMPLES
        outside = (value - half > data["true_value"]) | (value + half < data["true_value"])
        np.testing.assert_array_equal(panel["misses"], outside)
        assert (np.array(panel["statistical"]) <= half + 1e-12).all()
    with style.styled():
        made = intervals.Intervals().draw(data)
    assert made.axes[1].get_xlim() == made.axes[2].get_xlim()
    naive = next(ax for ax in made.axes if "naive" in ax.get_title(loc="left"))
    crosses = next(line for line in naive.lines if line.get_marker() == "x")
    assert len(crosses.get_xdata()) == sum(data["panels"][0]["misses"]) > 25


def test_experiments_that_cannot_be_analysed_count_as_misses() -> None:
    curves = {"true_values": [0.1], "z": [0.0], "residual_total": [[0.0]]}
    curves |= {f"example_{k}": [[float("nan")], [0.1]] for k in ("value", "statistical", "total")}
    data = intervals.Intervals().data({Variant("wifi"): {0: {"curves": curves}}})
    assert sum(data["panels"][0]["misses"]) == 1


def test_the_verdict_on_estimates_follows_their_experiments(fractions: MadeUp) -> None:
    found = {v["method"]: v["verdict"] for v in verdict.load(fractions.verdicts)["verdicts"]}
    assert found == {
        "wifi_bootstrap": "caution",
        "wifi_partition": "caution",
        "naive_ensemble": "do not trust",
    }
    headline = judged(fractions)["headline"]
    assert headline[0].startswith("No answer earns trust") and "stated coverage" in headline[1]


def test_a_plan_is_coarsened_without_losing_weight(rng: np.random.Generator) -> None:
    extras = plan_extras(rng.normal(size=(400, 3)), 500, rng)
    data = transport.Transport().data(extras, ["a", "b", "c"], ["m", "", ""])
    picture = np.array(data["picture"])
    assert picture.shape == (transport.CELLS, transport.CELLS)
    np.testing.assert_allclose(picture.sum(axis=1), 1.0, rtol=0.01)
    assert sum(data["effective"]["counts"]) == data["observations"] == 400
    assert data["effective"]["median"] == pytest.approx(np.median(extras["effective"]))
    assert data["facts"]["iterations"] == 140
    with style.styled():
        made = transport.Transport().draw(data)
    (image,) = made.axes[0].images
    evenly = 1 / transport.CELLS
    assert image.get_array().max() == pytest.approx(picture.max() / evenly)
    read, shows = figures.build("transport").caption(data)
    assert "gamma 0.12" in read and "row sums are right to 1.0 × 10⁻¹²" in read
    few = {**data, "effective": {**data["effective"], "median": 3.0}}
    assert "few" in figures.build("transport").caption(few)[1] and "few" not in shows


@pytest.mark.parametrize(("p", "words"), [(0.3, "not told from"), (0.002, "not distributed like")])
def test_detection_says_whether_the_data_look_simulated(p: float, words: str) -> None:
    null = np.linspace(1, 2, 101)
    curves = {"null": null.tolist(), "observed": [1.5], "critical": [1.95]}
    table = [{"name": "mmd", "value": 1.5, "n": 50}, {"name": "power", "value": 0.8, "n": 20}]
    data = figures.build("detection").data({0: {"curves": curves, "metrics": table, "p_value": p}})
    (panel,) = data["panels"]
    assert (sum(panel["counts"]), panel["observed"], panel["n"]) == (101, 1.5, 50)
    shows = figures.build("detection").caption(data)[1]
    assert words in shows and shows.startswith("50 data sets") and ("80 %" in shows) == (p > 0.01)


def test_repeated_experiments_on_real_data_take_the_place_of_test_data(
    card: MadeUp, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "batch-0000.zarr.zip"
    experiments.write(
        path, {"rank": rng.uniform(size=(2000, 3)), "log_q": np.zeros(2000), "truth": np.zeros((2000, 3))}
    )
    result = aggregate([path], rng, ("a", "b", "c"), Options(bootstrap=20)).to_json()
    data = Coverages().data({Variant("rope", 1, 5): {0: result}, Variant("npe", 1): {0: result}}, "real")
    panel = data["panels"][1]
    assert np.ptp(np.subtract(panel["band"]["upper"], panel["band"]["lower"])) < 0.1
    assert not panel["curves"][0]["outside"]


# ---- the page ------------------------------------------------------------------------------------


def text_of(page: Path) -> str:
    text = re.sub(r"<style>.*?</style>|<title>.*?</title>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)


def test_the_comparison_comes_before_the_verdicts_and_these_are_folded(card: MadeUp) -> None:
    text = text_of(card.page)
    places = [
        text.index(words) for words in ("Which answer to trust?", "For scale, the prior", "What speaks for")
    ]
    assert places == sorted(places)
    page = card.page.read_text()
    assert page.count('<details class="of') >= 8 + 4
    assert "calibrated on 200 labelled real data sets" in text
    assert "Which simulations stand for which data?" in text


@pytest.mark.browser
def test_the_page_of_many_methods_opens_in_a_browser(card: MadeUp, tmp_path: Path, in_browser: Any) -> None:
    picture = tmp_path / "page.png"
    shot = in_browser(card.page, tmp_path, f"--screenshot={picture}", "--window-size=900,1600")
    assert "CONSOLE" not in shot.stderr, shot.stderr
    assert picture.stat().st_size > 50_000
    dump = in_browser(card.page, tmp_path, "--dump-dom").stdout
    assert dump.count("<figure") == card.page.read_text().count("<figure") >= 15
    assert "data:image/png" in dump, "the plan is drawn as a picture inside the page"


def test_identifiers_of_many_figures_are_unique(card: MadeUp, fractions: MadeUp) -> None:
    for made in (card, fractions):
        found = re.findall(r'\bid="([^"]+)"', made.page.read_text())
        assert len(found) == len(set(found))


def test_only_the_largest_calibration_set_of_a_method_has_figures_of_its_own(card: MadeUp) -> None:
    names = {path.stem for path in card.figures.glob("*.svg")}
    assert {"posterior--rope-c200--real", "transport--rope-c200--real", "posterior--npe--real"} <= names
    assert not [name for name in names if "-c10-" in name or "-c50-" in name or "posterior--prior" in name]


def test_estimates_are_tabulated_with_the_parts_of_their_error() -> None:
    from veridical.report import tables

    cells = {"method": "wifi", "seed": 0, "parameter": "fraction", "observation": 0}
    rows = [
        row(**cells, metric="estimate", value=0.1234, stderr=0.0125, true_value=0.1),
        row(**cells, metric="estimate_statistical_error", value=0.01),
        row(**cells, metric="estimate_ratio_error", value=0.0075),
    ]
    (line,) = tables.estimate_table(rows)
    assert (line["value"], line["error"], line["statistical"]) == ("0.123", "0.013", "0.010")
    assert (line["ninety"], line["truth"]) == ("0.103 to 0.144", "0.100")


def test_estimates_in_experiments_are_tabulated_by_method_and_truth() -> None:
    cells = {"method": "tamm", "budget": 1000, "dataset": "simulated", "true_value": 0.1}
    whole = {**cells, "interval": "total"}
    seed = {"seed": 0, "n": 400}
    rows = [
        row(**cells, metric="experiment_bias", value=0.004),
        row(**cells, **seed, metric="experiment_bias", value=0.004, stderr=0.001),
        row(**cells, **seed, metric="experiment_sd", value=0.021, stderr=0.001),
        row(**whole, **seed, metric="experiment_sigma", value=0.02, stderr=0.0001),
        row(**{**cells, "interval": "statistical"}, **seed, metric="experiment_sigma", value=0.01),
        row(**whole, **seed, metric="experiment_coverage", level=0.6827, value=0.7, stderr=0.023),
        row(**whole, **seed, metric="experiment_coverage", level=0.9, value=0.8, stderr=0.02),
        row(**cells, **seed, metric="experiment_alarm_share", value=0.25),
    ]
    found = experiment_tables.experiment_table(rows)
    assert found is not None and (found["n"], found["trainings"], found["alarms"]) == ("400", 1, True)
    (line,) = found["lines"]
    assert (line["truth"], line["mean"], line["off"]) == ("0.100", "0.104", "0.20 ± 0.05")
    assert (line["sigma"], line["spread"], line["data"]) == ("0.020", "1.05 ± 0.05", "25 %")
    assert (line["held"], line["held_90"], line["alarms"]) == ("70 ± 2 %", "80 ± 2 %", "25 %")
    assert line["wrong"] == ["held_90"]
    bare = experiment_tables.experiment_table(rows[:1])
    assert bare is not None and bare["lines"][0]["sigma"] == bare["lines"][0]["held"] == ""
    assert experiment_tables.experiment_table([]) is None


def test_estimates_of_parameters_have_a_line_each_in_units_of_their_own() -> None:
    rows = []
    for name, pull in (("a", 0.1), ("b", 0.6)):
        cells = {"method": "wifi", "dataset": "real", "parameter": name}
        seed = {**cells, "seed": 0, "n": 300}
        rows += [
            row(**cells, metric="experiment_bias", value=0.01),
            row(**seed, metric="experiment_bias", value=0.01, stderr=0.001),
            row(**seed, metric="experiment_pull_mean", value=pull, stderr=0.05),
            row(**seed, metric="experiment_pull_sd", value=1.02, stderr=0.04),
            row(**seed, metric="experiment_sigma", value=0.2, stderr=0.001, interval="total"),
            row(**seed, metric="experiment_coverage", level=0.9, value=0.5, stderr=0.02),
            row(**seed, metric="experiment_coverage", level=0.9, value=0.89, stderr=0.02, interval="total"),
        ]
    found = experiment_tables.experiment_table(rows)
    assert found is not None and not found["means"]
    a, b = found["lines"]
    assert (a["truth"], a["mean"], a["off"], a["spread"]) == ("a", "", "0.10 ± 0.05", "1.02 ± 0.04")
    assert (a["held_90"], a["wrong"], b["wrong"]) == ("89 ± 2 %", [], ["off"])


def test_what_is_wrong_by_more_than_chance_is_marked() -> None:
    """A bias of half a stated error, and a spread half as large again; not with ten experiments."""
    for n, wrong in ((1000, ["off", "spread", "held"]), (10, [])):
        cells = {"method": "m", "dataset": "simulated", "true_value": 0.1, "seed": 0, "n": n}
        root, total = n**0.5, {**cells, "interval": "total"}
        rows = [
            row(**{**cells, "seed": None}, metric="experiment_bias", value=0.5),
            row(**cells, metric="experiment_bias", value=0.5, stderr=1.5 / root),
            row(**cells, metric="experiment_sd", value=1.5, stderr=1.5 / (2 * n) ** 0.5),
            row(**total, metric="experiment_sigma", value=1.0, stderr=0.0),
            row(**total, metric="experiment_coverage", level=0.6827, value=0.5, stderr=0.5 / root),
        ]
        found = experiment_tables.experiment_table(rows)
        assert found is not None and found["lines"][0]["wrong"] == wrong


def test_what_the_variance_is_made_of_is_told_in_words() -> None:
    cells = {"method": "tamm", "seed": 0, "metric": "estimate_variance_share"}
    sources = {"sample": (0.5, 0.6), "ratio": (0.3, 0.2), "reference": (0.2, 0.2), "penalty": (0.0, 0.0)}
    rows = [
        row(**cells, value=share, category=source, observation=i)
        for source, shares in sources.items()
        for i, share in enumerate(shares)
    ]
    text = experiment_tables.variance_words(rows)
    assert "50 to 60 % come from the finite sample of events" in text
    assert "20 % come from the finite simulated sample that densities" in text and "norms" not in text
    bare = [row(**cells, value=float(s == "sample"), category=s) for s in ("sample", "ratio")]
    assert "No error of what was learned is stated" in experiment_tables.variance_words(bare)
    assert experiment_tables.variance_words([]) == ""
    prior = row(method="topics", seed=0, metric="estimate_prior", value=1.0)
    assert experiment_tables.variance_words([*bare, prior]) == ""


def test_what_simulators_add_is_the_scatter_of_their_mean_answers() -> None:
    """Biases of -0.5, 0 and 0.5 stated errors, each known to a tenth: 0.49 of it is not chance."""
    rows = []
    for name, bias in (("one", -0.01), ("two", 0.0), ("three", 0.01)):
        cells = {"method": name, "dataset": "simulated", "true_value": 0.1, "seed": 0, "n": 100}
        rows.append(row(method=name, seed=None, metric="scanned_simulators", value=0.0, category="one"))
        rows.append(row(**cells, metric="experiment_bias", value=bias, stderr=0.002))
        rows.append(row(**cells, metric="experiment_sigma", interval="total", value=0.02))
    (text,) = experiment_tables.simulator_words(rows)
    assert text.startswith("one, two and three learned from other simulators") and "by 0.49 at 0.10" in text
    assert experiment_tables.simulator_words(rows[:3]) == experiment_tables.simulator_words([]) == []
