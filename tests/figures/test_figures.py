"""Figures: their data are what they say, and what is drawn is their data."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from veridical import checks, figures
from veridical.checks.base import CheckResult, Metric
from veridical.errors import ArtifactError
from veridical.evidence import metrics
from veridical.evidence.answers import Answer as AnswerOf
from veridical.evidence.metrics import row
from veridical.evidence.tabulation import QUANTILES
from veridical.evidence.variants import Variant
from veridical.figures import posterior, style
from veridical.figures.answer import Answer
from veridical.figures.base import Figure
from veridical.figures.contraction import Contraction
from veridical.figures.cost import Cost
from veridical.figures.coverage import Coverage
from veridical.figures.forest import Forest
from veridical.figures.learning import Learning
from veridical.figures.pit import Pit
from veridical.figures.planted import Planted, broken
from veridical.figures.posterior import Posterior
from veridical.figures.predictive import Predictive
from veridical.figures.ranks import Ranks
from veridical.figures.recovery import Recovery
from veridical.figures.sources import Sources
from veridical.figures.training import Training
from veridical.figures.typicality import Typicality
from veridical.saved.posteriors import Draws
from veridical.tasks.supports import OneOf

YEARS = {"name": "year", "coordinates": [1900.0, 1901.0, 1902.0, 1903.0], "unit": ""}
SPECIES = {"name": "species", "coordinates": ["hare", "lynx"], "unit": ""}


def svg_of(made: Any) -> str:
    with style.styled():
        text = style.svg(made)
    text.encode()
    return text


def drawn(figure: Figure, data: Any) -> Any:
    with style.styled():
        made = figure.draw(data)
        assert style.svg(made)
    return made


# ---- words of users ------------------------------------------------------------------------------


UNITS = [
    r"$\micro$m",
    r"$\si{m}$",
    "$/kg and $/t",
    "US$",
    r"$\mu$m",
    "汉",
    "a\ud800\x00",
    "{" * 20,
    "$" + "{" * 20 + "$",
]


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_of_a_user_keeps_a_figure_from_being_drawn(unit: str, rng: np.random.Generator) -> None:
    labels = {"parameters": {"a": r"$\alpha_s$", "b": unit}, "dimensions": {"year": unit}}
    data = Posterior().data(["a", "b"], [unit, unit], {unit: gaussian(rng, 200, 2)})
    made = drawn(Posterior(), {**data, "labels": labels})
    text = svg_of(made)
    assert ">α</tspan>" in text, "mathematics beside a unit that is none"
    bands = np.arange(10.0).reshape(5, 2)
    names = {**YEARS, "coordinates": [unit, "b"]}
    prediction = {"curves": {"observed": bands[:1], "bands": bands[:, None]}}
    assert (shown := Predictive().data(prediction, [names], unit)) is not None
    assert svg_of(drawn(Predictive(), {**shown, "labels": labels}))


def test_money_is_drawn_upright_and_in_full(rng: np.random.Generator) -> None:
    data = Posterior().data(["price"], ["$/kg and $/t"], {"npe": gaussian(rng, 200, 1)})
    text = svg_of(drawn(Posterior(), data))
    assert "price [$/kg and $/t]" in text and "italic" not in text


def test_numbers_do_not_take_the_label_of_a_parameter_called_density(rng: np.random.Generator) -> None:
    grid = np.linspace(0, 1, 5)
    curves = {"ecdf": [grid], "ecdf_log_density": grid, "grid": grid}
    curves |= {f"{side}{of}": grid for side in ("lower", "upper") for of in ("", "_log_density")}
    data = Ranks().data({0: {"parameters": ["density"], "curves": curves}})
    made = drawn(Ranks(), {**data, "labels": {"parameters": {"density": "ρ"}}})
    assert [ax.get_title(loc="left") for ax in made.axes[:2]] == ["ρ", "log density"]


# ---- posterior -----------------------------------------------------------------------------------


def gaussian(rng: np.random.Generator, n: int = 4000, d: int = 3, shift: float = 0.0) -> np.ndarray:
    return rng.normal(size=(n, d)) + shift


def test_marginals_integrate_to_the_mass_inside_the_axes(rng: np.random.Generator) -> None:
    data = Posterior().data(["a", "b", "c"], ["", "", ""], {"npe": gaussian(rng)})
    for marginal in data["series"][0]["marginals"]:
        step = marginal["x"][1] - marginal["x"][0]
        assert sum(marginal["density"]) * step == pytest.approx(0.99, abs=0.02)


def test_contours_hold_the_mass_that_they_name(rng: np.random.Generator) -> None:
    data = Posterior().data(["a", "b"], ["", ""], {"npe": gaussian(rng, 40_000, 2)})
    (pair,) = data["series"][0]["pairs"]
    outer, inner = pair["levels"]
    # a standard normal in two dimensions holds the mass m inside the radius sqrt(-2 log(1 - m))
    x, y, density = np.array(pair["x"]), np.array(pair["y"]), np.array(pair["density"])
    for level, mass in ((outer, 0.9), (inner, 0.5)):
        area = (density >= level).sum() * (x[1] - x[0]) * (y[1] - y[0])
        assert area == pytest.approx(-2 * math.pi * math.log(1 - mass), rel=0.12)


def test_the_shift_to_a_reference_is_in_its_standard_deviations(rng: np.random.Generator) -> None:
    exact, own = 2 * gaussian(rng), 2 * gaussian(rng, shift=1.5)
    data = Posterior().data(list("abc"), [""] * 3, {"npe": own, "exact": exact}, reference="exact")
    assert data["largest_shift"] == pytest.approx(1.5, abs=0.1)
    assert [s["role"] for s in data["series"]] == ["estimate", "reference"]


@pytest.mark.parametrize(("d", "shown"), [(1, 1), (2, 2), (11, posterior.MAX_PARAMETERS)])
def test_any_number_of_parameters_is_drawn(rng: np.random.Generator, d: int, shown: int) -> None:
    names = [f"p{i}" for i in range(d)]
    data = Posterior().data(names, ["m"] * d, {"npe": gaussian(rng, 400, d)}, truth=np.zeros(d))
    assert len(data["parameters"]) == shown
    made = drawn(Posterior(), data)
    visible = [ax for ax in made.axes if ax.get_visible()]
    assert len(visible) == shown * (shown + 1) // 2
    assert visible[-1].get_xlabel() == f"p{shown - 1}" + (" [m]" if d <= 4 else "")
    assert ("are shown" in Posterior().shows(data)) == (d > shown)


def test_draws_that_hardly_differ_still_give_a_figure() -> None:
    draws = np.full((100, 2), 3.0)
    draws[0] += 1e-9
    data = Posterior().data(["a", "b"], ["", ""], {"npe": draws})
    drawn(Posterior(), data)


# ---- predictions ---------------------------------------------------------------------------------


def predictive_result(observed: np.ndarray) -> dict[str, Any]:
    bands = np.stack([observed[None] * f for f in (0.5, 0.8, 1.0, 1.2, 1.5)])
    return {"curves": {"observed": observed[None].tolist(), "bands": bands.tolist()}}


def test_a_series_gets_a_panel_for_each_species_and_a_log_axis_where_it_spans_decades() -> None:
    observed = np.array([[1.0, 5.0], [10.0, 6.0], [100.0, 7.0], [1000.0, 8.0]])
    data = Predictive().data(predictive_result(observed), [YEARS, SPECIES], "thousand")
    assert [p["label"] for p in data["panels"]] == ["hare", "lynx"]
    assert [p["log"] for p in data["panels"]] == [True, False]
    assert data["panels"][0]["inside"] == 4
    made = drawn(Predictive(), data)
    hare = made.axes[0]
    assert hare.get_yscale() == "log"
    np.testing.assert_allclose(hare.lines[1].get_ydata(), observed[:, 0])
    assert hare.get_ylabel() == "thousand"
    assert made.axes[1].get_xlabel() == "year"


@pytest.mark.parametrize(
    ("shape", "axes", "numeric"),
    [
        ((4,), [YEARS], True),
        ((2,), [SPECIES], False),
        ((2, 4), [SPECIES, YEARS], True),
        ((2, 4, 2), [SPECIES, YEARS, SPECIES], True),
        ((), [], False),
    ],
)
def test_data_that_are_no_series_are_drawn_too(shape: tuple[int, ...], axes: list, numeric: bool) -> None:
    observed = np.arange(1.0, 1.0 + math.prod(shape)).reshape(shape)
    data = Predictive().data(predictive_result(observed), axes, "")
    (panel,) = data["panels"]
    assert panel["numeric"] == numeric
    assert panel["of"] == observed.size
    drawn(Predictive(), data)


def test_missing_values_are_gaps_and_are_not_counted() -> None:
    observed = np.array([[1.0, np.nan], [np.nan, np.nan], [100.0, np.nan], [1000.0, np.nan]])
    data = Predictive().data(predictive_result(observed), [YEARS, SPECIES], "thousand")
    assert [(p["inside"], p["of"], p["log"]) for p in data["panels"]] == [(3, 3, True), (0, 0, False)]
    np.testing.assert_array_equal(drawn(Predictive(), data).axes[0].lines[1].get_ydata(), observed[:, 0])
    assert Predictive().shows({**data, "missing": "Other gaps."}).startswith("3 of 3 observed values (100 %)")
    assert Predictive().shows({**data, "missing": "Other gaps."}).endswith(" Other gaps.")
    assert Predictive().shows({**data, "panels": data["panels"][1:]}).startswith("None of the numbers shown")


def test_named_features_are_shown_in_half_widths_of_their_own_interval() -> None:
    result = predictive_result(np.array([10.0, 1e6]))
    result["curves"]["observed"] = [[15.0, 0.5e6]]
    data = Predictive().data(result, [SPECIES], "")
    assert data["panels"][0]["observed"] == pytest.approx([1.0, -1.0])


def test_a_check_without_bands_gives_no_figure() -> None:
    assert Predictive().data({"curves": {}}, [YEARS], "") is None


def test_what_a_check_had_nothing_to_compare_with_is_not_drawn(saved: Sources, tmp_path: Path) -> None:
    paths = []
    for path in saved.results:
        where = tmp_path.joinpath(*Path(path).parts[-5:])
        where.parent.mkdir(parents=True, exist_ok=True)
        table = (Metric("mmd", 1.5, n=50),)
        checks.save(CheckResult(where.stem, ("a", "b"), table, {}, None, None), where)
        paths.append(where)
    empty = replace(saved, results=paths)
    assert {path.stem for path in paths} >= {f.check for f in map(figures.build, figures.FIGURES) if f.check}
    for name in {path.stem for path in paths}:
        assert list(saved.of_check(name)) and not list(empty.of_check(name)), name


# ---- calibration ---------------------------------------------------------------------------------


def sbc_result(ecdf: list[float]) -> dict[str, Any]:
    grid = [0.25, 0.5, 0.75]
    curves = {"grid": grid, "ecdf": [ecdf], "lower": [0.1, 0.35, 0.6], "upper": [0.4, 0.65, 0.9]}
    return {"parameters": ["a"], "curves": curves}


def test_a_rank_curve_is_outside_just_when_one_of_its_points_is() -> None:
    data = Ranks().data({0: sbc_result([0.25, 0.5, 0.9]), 1: sbc_result([0.25, 0.66, 0.75])})
    (panel,) = data["panels"]
    assert [c["inside"] for c in panel["curves"]] == [True, False]
    assert panel["curves"][1]["difference"] == pytest.approx([0.0, 0.16, 0.0])
    assert "1 of 2 lines" in Ranks().shows(data)
    (ax,) = drawn(Ranks(), data).axes
    np.testing.assert_allclose(ax.lines[2].get_ydata(), [0.0, 0.16, 0.0])
    assert ax.get_title(loc="left") == "a: outside"


def test_thinning_a_long_curve_loses_no_fault() -> None:
    grid = np.linspace(0.001, 0.999, 999)
    ecdf = grid.copy()
    ecdf[500] += 0.2
    curves = {"grid": grid, "ecdf": [ecdf], "lower": grid - 0.1, "upper": grid + 0.1}
    (panel,) = Ranks().data({0: {"parameters": ["a"], "curves": curves}})["panels"]
    assert len(panel["points"]) <= 200
    assert not panel["curves"][0]["inside"]


def test_coverage_names_the_curves_outside_the_band() -> None:
    levels = [0.25, 0.5, 0.75]
    curves = {"levels": levels, "lower": [0.1, 0.3, 0.6], "upper": [0.4, 0.7, 0.9]}
    curves["central"] = [[0.2, 0.5, 0.8], [0.0, 0.1, 0.5]]
    data = Coverage().data({0: {"parameters": ["a", "b"], "curves": curves}})
    assert Coverage().shows(data) == "Outside the band: b."
    made = drawn(Coverage(), data)
    np.testing.assert_allclose(made.axes[0].lines[2].get_ydata(), curves["central"][1])


def test_the_observation_is_told_from_the_simulations() -> None:
    null = np.linspace(0, 3, 301).tolist()
    result = {"curves": {"null": null, "distances": [5.0, 1.0]}}
    data = Typicality().data({0: result})
    (panel,) = data["panels"]
    assert panel["threshold"] == pytest.approx(2.97)
    assert sum(panel["counts"]) == 301
    assert Typicality().shows(data).startswith("1 of 2")
    (ax,) = drawn(Typicality(), data).axes
    colours = [line.get_color() for line in ax.lines[1:]]
    assert colours == [style.REFERENCE, style.ESTIMATE]


# ---- training, learning, cost --------------------------------------------------------------------


def test_weights_and_rows_stand_below_the_training_curves() -> None:
    size = "20,514,070 weights, 900 training rows"
    histories = [
        {"epochs": [{"epoch": 1.0, "train_loss": 1.0, "validation_loss": 1.0}], "best_epoch": 1.0, **more}
        for more in ({"size": f"warning: {size}: training is slow."}, {"size": size}, {})
    ]
    data = Training().data({name: {0: history} for name, history in zip("abc", histories, strict=True)})
    assert data is not None
    assert Training().table(data) == [["method", "weights and rows"], ["a", size], ["b", size]]
    assert Training().shows(data).endswith(f"by heart. a: warning: {size}: training is slow.")


def test_the_weights_kept_are_marked_on_the_training_curve() -> None:
    entries = [{"epoch": float(e), "train_loss": 3.0 - e, "validation_loss": abs(2.0 - e)} for e in range(4)]
    data = Training().data({"npe": {0: {"epochs": entries, "best_epoch": 2.0}}})
    marker = drawn(Training(), data).axes[0].lines[-1]
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (2.0, 0.0)


def learning_rows(values: dict[int, list[float]], metric: str = "nltp", **cells: Any) -> list:
    rows = [
        row(method="npe", budget=b, seed=s, dataset="simulated", metric=metric, value=v, **cells)
        for b, vs in values.items()
        for s, v in enumerate(vs)
    ]
    return metrics.tidy(rows)


def test_the_learning_curve_shows_mean_error_and_every_replicate() -> None:
    data = Learning().data(learning_rows({100: [1.0, 3.0], 1000: [0.5, 0.7]}))
    (curve,) = data["curves"]
    assert curve["mean"] == pytest.approx([2.0, 0.6])
    assert curve["stderr"] == pytest.approx([1.0, 0.1])
    assert curve["points"] == {"budget": [100, 100, 1000, 1000], "value": [1.0, 3.0, 0.5, 0.7]}
    made = drawn(Learning(), data)
    assert [t.get_text() for t in made.axes[0].get_xticklabels()] == ["100", "1,000"]
    assert "lower is better" in made.axes[0].get_ylabel()


def test_there_is_no_learning_curve_of_one_budget() -> None:
    assert Learning().data(learning_rows({100: [1.0, 3.0]})) is None


def test_without_densities_the_learning_curve_averages_nrmse_over_parameters() -> None:
    rows = learning_rows({10: [0.2], 20: [0.1]}, "nrmse", parameter="a")
    rows += learning_rows({10: [0.4], 20: [0.3]}, "nrmse", parameter="b")
    data = Learning().data(rows)
    assert data["metric"]["name"] == "nrmse"
    assert data["curves"][0]["mean"] == pytest.approx([0.3, 0.2])
    assert data["curves"][0]["stderr"] == [None, None]


def test_one_repeat_is_judged_by_the_error_over_its_test_data() -> None:
    data = Learning().data(learning_rows({100: [1.0], 1000: [0.5]}, stderr=0.05))
    assert data["curves"][0]["stderr"] == [0.05, 0.05]
    answer = Learning().shows(data)
    assert answer.startswith("Probably yes") and "0.50 ± 0.071 (one repeat)" in answer


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({100: [1.0, 1.1], 1000: [0.1, 0.2]}, "Probably yes"),
        ({100: [1.0, 1.01], 1000: [0.99, 1.0]}, "Probably not much"),
        ({100: [1.0, 1.01], 1000: [2.0, 2.01]}, "Probably not:"),
        ({100: [0.0, 9.0], 1000: [9.0, 0.0]}, "Cannot be told"),
        ({100: [1.0], 1000: [0.5]}, "Cannot be told"),
        ({100: [1.0, 1.0], 1000: [math.nan, 1.0]}, "Cannot be told"),
    ],
)
def test_whether_more_simulations_would_help_is_answered_in_a_sentence(values: dict, answer: str) -> None:
    data = Learning().data(learning_rows(values))
    assert Learning().shows(data).startswith(answer)


def test_costs_are_summed_over_jobs() -> None:
    records = [{"s": 90.0, "max_rss": 100.0}, {"s": 45.5, "max_rss": "NA"}]
    data = Cost().data({"simulate": records, "train": [], "infer": [{"s": 0.25, "max_rss": "NA"}]})
    found = [(s["name"], s["jobs"], s["seconds"], s["peak_mb"]) for s in data["stages"]]
    assert found == [("simulate", 2, 135.5, 100.0), ("infer", 1, 0.25, None)]
    (ax,) = drawn(Cost(), data).axes
    assert [bar.get_width() for bar in ax.patches] == [135.5, 0.25]


# ---- all figures of a study ----------------------------------------------------------------------


def test_neither_numbers_nor_verdict_depend_on_the_code_that_draws() -> None:
    from veridical.study import code_digests, layout

    numbers = code_digests.dependencies([layout.SCRIPTS / "metrics.py"])
    parts = ("veridical.figures", "report.page", "report.tables")
    assert not [name for name in numbers if any(part in name for part in parts)]
    page = code_digests.dependencies([layout.SCRIPTS / "report.py"])
    assert not [name for name in page if "veridical.figures." in name]


def test_nothing_is_left_of_a_figure_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("veridical.files.os.replace", full)
    with style.styled():
        made, _ = style.figure()
        with pytest.raises(ArtifactError, match=r"a\.svg: cannot be written .*No space"):
            style.save(made, tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())


# ---- the first page, recovery, controls ----------------------------------------------------------


def test_the_prior_is_shown_where_it_has_room_beside_the_answer(rng: np.random.Generator) -> None:
    draws = {"npe": 0.1 * gaussian(rng, d=2)}
    prior = {"a": rng.normal(size=500), "b": rng.normal(size=500)}
    data = Answer().data(["a", "b"], ["m", ""], draws, prior)
    low, high = data["parameters"][0]["range"]
    assert low < -0.3 and high > 0.3 and high - low < 3.1 * 0.6, "the answer fills about a third"
    assert max(data["prior"][0]["density"]) == pytest.approx(0.4, abs=0.08)
    drawn(Answer(), data)
    assert Answer().data(["a", "b"], ["m", ""], draws, {})["prior"] is None


def answered(method: str, dataset: str, shift: float = 0.0) -> AnswerOf:
    quantiles = {name: {level: level + shift for level in QUANTILES} for name in ("a", "b")}
    return AnswerOf(Variant(method), dataset, 0, quantiles, {0: quantiles}, {"a": 0.4})


@pytest.mark.parametrize(("datasets", "heads"), [(["north", "south"], 2), (["north"], 0)])
def test_a_forest_has_a_line_for_each_answer_under_its_data_set(datasets: list[str], heads: int) -> None:
    found = [answered(method, where, 1.0) for where in datasets for method in ("npe", "rope", "reference")]
    data = Forest().data(found, {"b": "m", "a": ""}, {"a": np.linspace(0, 3, 301)})
    assert [p["name"] for p in data["parameters"]] == ["b", "a"]
    assert data["parameters"][1]["prior"] == pytest.approx([0.15, 2.85])
    assert [row["role"] for row in data["rows"][:3]] == ["estimate", "estimate", "reference"]
    ticks = [text.get_text() for text in drawn(Forest(), data).axes[0].get_yticklabels()]
    assert len(ticks) == len(found) + heads
    assert set(ticks) == {"npe", "rope", "exact", *(datasets if heads else [])}


def test_answers_of_two_runs_are_told_apart() -> None:
    found = [answered("npe", "north"), answered("npe", "north")]
    rows = Forest().data(found, {}, {}, ["old", "new"])["rows"]
    assert [(row["label"], row["role"]) for row in rows] == [("old: npe", "estimate"), ("new: npe", "other")]


def scores(truth: np.ndarray, median: np.ndarray) -> dict[str, Any]:
    curves = {"truth": truth, "median": median, "mad": np.ones_like(truth)}
    curves |= {"z_score": median - truth, "contraction": np.full_like(truth, 0.3)}
    return {0: {"parameters": ["a", "b"], "curves": curves}}


def test_recovery_names_the_parameter_that_is_least_recovered(rng: np.random.Generator) -> None:
    truth = rng.normal(size=(50, 2))
    data = Recovery().data(scores(truth, truth * [1.0, -1.0]))
    assert [panel["correlation"] for panel in data["panels"]] == pytest.approx([1, -1])
    assert "least recovered is b" in Recovery().shows(data)
    drawn(Recovery(), data)


def test_answers_that_miss_by_far_are_counted_and_stay_on_the_axes() -> None:
    truth = np.zeros((4, 2))
    data = Contraction().data(scores(truth, np.array([[0.0, 9.0], [2.9, -3.1], [np.inf, 0.0], [1.0, 1.0]])))
    assert [panel["far"] for panel in data["panels"]] == [1, 2]
    assert max(abs(z) for panel in data["panels"] for z in panel["z"]) <= 5
    assert "3 of 8 answers" in Contraction().shows(data) and "little about a and b" in Contraction().shows(
        data
    )
    drawn(Contraction(), data)


def pit(observed: np.ndarray, bands: np.ndarray) -> Any:
    curves = {"observed": observed[None], "bands": bands[:, None], "quantiles": [0.05, 0.25, 0.5, 0.75, 0.95]}
    return Pit().data({"curves": curves})


def test_values_from_the_model_fill_the_bins_between_quantiles(rng: np.random.Generator) -> None:
    bands = np.quantile(rng.normal(size=100_000), [0.05, 0.25, 0.5, 0.75, 0.95])
    data = pit(rng.normal(size=4000), np.tile(bands[:, None], (1, 4000)))
    width = np.array([0.05, 0.2, 0.25, 0.25, 0.2, 0.05])
    assert np.all(np.abs(data["share"] - width) < 4 * np.sqrt(width / 4000))
    drawn(Pit(), data)


def test_counts_that_equal_several_quantiles_are_shared_among_their_bins() -> None:
    data = pit(np.zeros(10), np.tile(np.array([0.0, 0.0, 0.0, 1.0, 2.0])[:, None], (1, 10)))
    assert data["share"] == pytest.approx([0.25, 0.25, 0.25, 0.25, 0, 0])
    assert pit(np.zeros(3), np.zeros((5, 3))) is None


def labelled_draws(rng: np.random.Generator) -> Draws:
    """Exact answers to 150 data sets x ~ N(theta, 1) with theta ~ N(0, 1)."""
    truth = rng.normal(size=(150, 2))
    mean = (truth + rng.normal(size=truth.shape)) / 2
    draws = mean + rng.normal(size=(199, 150, 2)) / 2**0.5
    return Draws(("a", "b"), np.tile([-np.inf, np.inf], (2, 1)), ("", ""), draws, truth=truth)


def test_a_planted_fault_is_found_and_a_right_answer_is_not_blamed(rng: np.random.Generator) -> None:
    draws = labelled_draws(rng)
    data = Planted().data(draws)
    own, copy = data["copies"]
    assert own["p"] > 1e-3 and copy["p"] < 1e-3
    assert own["held"] == pytest.approx(0.9, abs=4 * (0.09 / 300) ** 0.5)
    # z of the truth in the copy is N(-0.5 * 1.5, 1.5^2): P(|z| < 1.645)
    expected = norm.cdf((1.645 + 0.75) / 1.5) - norm.cdf((-1.645 + 0.75) / 1.5)
    assert copy["held"] == pytest.approx(expected, abs=4 * (0.25 / 300) ** 0.5)
    assert Planted().shows(data).startswith("The check finds the fault")
    assert np.allclose(broken(draws).draws.std(axis=0), draws.draws.std(axis=0) / 1.5)
    drawn(Planted(), data)


def test_discrete_parameters_have_bars_at_their_values(rng: np.random.Generator) -> None:
    draws = np.stack([rng.choice([1.0, 2.0, 8.0], size=500, p=[0.2, 0.5, 0.3]), rng.normal(size=500)], 1)
    discrete = {"n": OneOf("n", (1.0, 2.0, 8.0))}
    data = Posterior().data(["n", "a"], ["", "m"], {"npe": draws}, None, np.array([8.0, 0.0]), 1, discrete)
    assert data["parameters"][0]["values"] == ["1", "2", "8"] and data["truth"][0] == 2.0
    shares = [(draws[:, 0] == value).mean() for value in (1.0, 2.0, 8.0)]
    np.testing.assert_allclose(data["series"][0]["marginals"][0]["density"], shares)
    axes = drawn(Posterior(), data).axes
    heights = [patch.get_height() for patch in axes[0].patches]
    np.testing.assert_allclose(heights, shares)
    assert [text.get_text() for text in axes[2].get_xticklabels()] == ["1", "2", "8"]
    assert "Bars" in Posterior().caption(data)[0]
