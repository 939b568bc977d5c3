"""Every rule of the verdict finds its planted fault, and none of them speaks up without one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.report.conftest import build_study
from veridical.checks import CheckResult, Metric
from veridical.coordinates import Coordinates
from veridical.evidence import metrics, tabulation
from veridical.evidence.metrics import Row, row
from veridical.figures.predictive import Predictive, standing_for
from veridical.report import verdict
from veridical.report.judging import Evidence, majority
from veridical.report.rules import RULES

SEEDS = (0, 1, 2)
PARAMETERS = ("a", "b")
SIMULATED = {"dataset": "simulated"}
REAL = {"dataset": "real"}
PELTS = {"dataset": "observed", "dataset_name": "pelts"}


def each(metric: str, value: float, seeds: tuple[int, ...] = SEEDS, **cells: object) -> list[Row]:
    """One metric of the method in each replicate."""
    run = {"method": "npe", "budget": 1000, **cells}
    return [row(**run, metric=metric, seed=seed, value=value) for seed in seeds]


def sound() -> list[Row]:
    """Metrics of a method that deserves trust."""
    rows = each("acauc", 0.001, stderr=0.01, **SIMULATED)
    for name, value in {"sbc_p": 0.4, "coverage_p": 0.4, "tarp_p": 0.4, "invalid_share": 0.01}.items():
        rows += each(name, value, **SIMULATED)
    at_pelts = {"mahalanobis_p": 0.3, "predictive_p": 0.6, "c2st": 0.52, "typicality_decidable": 1.0}
    for name, value in at_pelts.items():
        rows += each(name, value, **PELTS)
    for parameter in PARAMETERS:
        rows += each("coverage_gap", 0.015, parameter=parameter, **SIMULATED)
        rows += each("contraction", 0.8, parameter=parameter, **SIMULATED)
        rows += each("mean_shift_sd", 0.1, parameter=parameter, **PELTS)
        rows += each("sd_ratio", 1.05, parameter=parameter, **PELTS)
        exact = {"method": "reference", "parameter": parameter, **PELTS}
        rows += [row(**exact, metric="rhat", value=1.003), row(**exact, metric="ess", value=2500.0)]
    return rows


def changed(metric: str, value: float, seeds: tuple[int, ...] = SEEDS, **where: object) -> list[Row]:
    """The sound metrics with another value of one of them."""
    rows = sound()
    hit = [r for r in metrics.select(rows, metric=metric, **where) if r["seed"] is None or r["seed"] in seeds]
    assert hit, f"nothing to change for {metric}"
    for r in hit:
        r["value"] = value
    return rows


def without(*names: str) -> list[Row]:
    return [r for r in sound() if r["metric"] not in names]


def on_pelts(rows: list[Row]) -> dict:
    return verdict.judge(Evidence(rows, "npe", 1000, "pelts"))


def outcomes(found: dict) -> dict[str, str]:
    return {finding["rule"]: finding["outcome"] for finding in found["findings"]}


def labelled(p: float) -> list[Row]:
    return sound() + each("coverage_p", p, **REAL)


def miscalibrated(gap: float) -> list[Row]:
    rows = changed("sbc_p", 0.001)
    for r in metrics.select(rows, metric="coverage_gap", parameter="b"):
        r["value"] = gap
    return rows


def detected(p: float, coverage: float | None = None) -> list[Row]:
    return (sound() if coverage is None else labelled(coverage)) + each("mmd_p", p, **PELTS)


def experiments(gap: float, p: float, dataset: dict = SIMULATED) -> list[Row]:
    """Sound metrics, and repeated experiments at two true values, of which one has the gap."""
    rows = sound() + each("experiments_p", p, **dataset)
    for true_value, value in ((0.1, gap), (0.5, 0.01)):
        at = {**dataset, "true_value": true_value}
        rows += each("coverage_gap_z", value, **at, interval="total")
        rows += each("coverage_gap_z", 0.4, **at, interval="statistical")
    return rows


def on_real_data(gap: float, p: float) -> list[Row]:
    """Sound metrics, and repeated experiments for posteriors on real data."""
    gaps = each("experiment_coverage_gap", gap, parameter="b", **REAL)
    return sound() + gaps + each("experiments_p", p, **REAL)


def wide_on_real(b: float = -0.1) -> list[Row]:
    """Intervals on real data that are far too wide on average, and as given for one parameter."""
    cells = {"stderr": 0.01, **REAL}
    return each("acauc", -0.1, **cells) + each("acauc", b, parameter="b", **cells)


FAULTS = [
    ("typical", changed("mahalanobis_p", 0.004), "bad"),
    ("reproduces", changed("predictive_p", 0.004), "bad"),
    ("reproduces", changed("predictive_p", 0.02), "caution"),
    ("reproduces", changed("predictive_p", float("nan")), "bad"),
    ("labelled_coverage", labelled(0.003), "bad"),
    ("labelled_coverage", labelled(0.003) + wide_on_real(), "caution"),
    ("labelled_coverage", labelled(0.003) + wide_on_real(b=0.16), "bad"),
    ("simulated_calibration", miscalibrated(0.03), "caution"),
    ("simulated_calibration", miscalibrated(0.09), "bad"),
    ("simulated_calibration", changed("tarp_p", 0.01), "caution"),
    ("simulated_calibration", changed("coverage_p", float("nan")), "caution"),
    ("like_simulations", detected(0.004), "bad"),
    ("like_simulations", detected(0.004, coverage=0.5), "caution"),
    ("covered_in_experiments", experiments(0.04, 0.001), "caution"),
    ("covered_in_experiments", experiments(0.06, 0.001), "bad"),
    ("covered_in_experiments", experiments(float("nan"), 0.001), "bad"),
    ("covered_in_experiments", experiments(0.04, float("nan")), "caution"),
    ("covered_in_experiments", on_real_data(0.04, 0.001), "caution"),
    ("covered_in_experiments", on_real_data(0.06, 0.001), "bad"),
    ("reference_reached", changed("rhat", 1.02, parameter="b"), "caution"),
    ("reference_reached", changed("ess", 900.0, parameter="b"), "caution"),
    ("near_reference", changed("mean_shift_sd", 1.2, parameter="b"), "caution"),
    ("near_reference", changed("mean_shift_sd", 0.6), "caution"),
    ("near_reference", changed("mean_shift_sd", 3.2, parameter="b"), "bad"),
    ("near_reference", changed("mean_shift_sd", 1.1), "bad"),
    ("near_reference", changed("mean_shift_sd", float("nan"), parameter="a"), "bad"),
    ("near_reference", changed("sd_ratio", 0.6, parameter="b"), "caution"),
    ("near_reference", changed("sd_ratio", 1.6, parameter="b"), "caution"),
    ("near_reference", changed("sd_ratio", 0.45, parameter="b"), "bad"),
    ("near_reference", changed("sd_ratio", 2.2, parameter="b"), "bad"),
    ("near_reference", changed("c2st", 0.85), "caution"),
    ("valid_simulations", changed("invalid_share", 0.1), "caution"),
    ("valid_simulations", changed("invalid_share", 0.3), "bad"),
    ("learned", changed("contraction", 0.01), "caution"),
    ("supported", without("mean_shift_sd", "sd_ratio", "rhat", "ess"), "caution"),
    ("supported", changed("rhat", 1.5), "caution"),
    ("complete", without("mahalanobis_p"), "caution"),
    ("complete", without("sbc_p", "coverage_p", "tarp_p"), "caution"),
    ("complete", changed("typicality_decidable", 0.0), "caution"),
]


def test_sound_metrics_are_trusted_with_a_reason_from_every_rule_that_applies() -> None:
    found = on_pelts(sound())
    assert found["verdict"] == "trust"
    assert set(outcomes(found).values()) == {"good", "unknown"}
    unknown = {rule for rule, outcome in outcomes(found).items() if outcome == "unknown"}
    assert unknown == {"labelled_coverage", "like_simulations", "covered_in_experiments"}
    assert found["replicates"] == 3


@pytest.mark.parametrize(
    ("rule", "rows", "outcome"), FAULTS, ids=[f"{r}-{i}" for i, (r, _, _) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found_by_its_rule(rule: str, rows: list[Row], outcome: str) -> None:
    found = on_pelts(rows)
    assert outcomes(found)[rule] == outcome
    assert found["verdict"] == {"caution": "caution", "bad": "do not trust"}[outcome]


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, _, _ in FAULTS} == {rule.name for rule in RULES}


def test_a_fault_names_its_direction_and_size() -> None:
    rows = miscalibrated(0.09)
    for r in metrics.select(rows, metric="acauc"):
        r["value"], r["stderr"] = 0.1, 0.01
    (text,) = [f["text"] for f in on_pelts(rows)["findings"] if f["rule"] == "simulated_calibration"]
    assert "too narrow" in text and "9.0 percentage points" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0], 0),
        ([2], 2),
        ([0, 2], 2),
        ([0, 0, 2], 0),
        ([0, 1, 2], 1),
        ([0, 2, 2], 2),
        ([0, 0, 2, 2], 2),
        ([0, 0, 0, 2], 0),
    ],
)
def test_an_outcome_counts_when_at_least_half_of_the_replicates_reach_it(
    values: list[int], expected: int
) -> None:
    assert majority(values) == expected
    assert majority(values[::-1]) == expected


def test_one_bad_replicate_of_three_is_told_but_does_not_decide() -> None:
    rows = changed("sbc_p", 0.0001, seeds=(1,))
    found = on_pelts(rows)
    assert found["verdict"] == "trust"
    (finding,) = [f for f in found["findings"] if f["rule"] == "simulated_calibration"]
    assert finding["replicates"] == {0: "good", 1: "caution", 2: "good"}
    assert "1 of 3 repeats" in finding["text"]


def test_simulated_data_alone_are_never_trusted() -> None:
    rows = [r for r in sound() if r["dataset"] == "simulated"]
    (found,) = verdict.decide(rows)["verdicts"]
    assert (found["dataset"], found["verdict"]) == ("simulated", "caution")


def test_labelled_real_data_support_in_place_of_a_reference() -> None:
    rows = [
        r for r in labelled(0.5) if r["metric"] not in ("mean_shift_sd", "sd_ratio", "rhat", "ess", "c2st")
    ]
    found = on_pelts(rows)
    assert found["verdict"] == "trust"
    assert outcomes(found)["supported"] == "good"


@pytest.mark.parametrize("rows", [experiments(0.2, 0.06), on_real_data(0.06, 0.5)])
def test_experiments_inside_their_band_are_no_fault(rows: list[Row]) -> None:
    assert outcomes(on_pelts(rows))["covered_in_experiments"] == "good"


@pytest.mark.parametrize(
    ("rows", "where"),
    [(experiments(0.2, 0.001), "where the truth is 0.100"), (on_real_data(0.2, 0.001), "for b")],
)
def test_experiments_that_miss_say_where(rows: list[Row], where: str) -> None:
    (finding,) = [f for f in on_pelts(rows)["findings"] if f["rule"] == "covered_in_experiments"]
    assert where in finding["text"] and "by 20 percentage points" in finding["text"]


def test_estimates_are_judged_by_their_experiments_and_get_caution_at_most_on_simulated_data() -> None:
    rows = [r for r in experiments(0.02, 0.4) if r["metric"] in ("coverage_gap_z", "experiments_p")]
    (found,) = verdict.decide(rows)["verdicts"]
    assert (found["dataset"], found["verdict"]) == ("simulated", "caution")
    assert outcomes(found)["covered_in_experiments"] == "good"
    naive = [r for r in experiments(0.3, 0.0001) if r["metric"] in ("coverage_gap_z", "experiments_p")]
    assert verdict.decide(naive)["verdicts"][0]["verdict"] == "do not trust"


def test_data_like_simulated_ones_are_no_fault_and_a_mute_test_says_nothing() -> None:
    assert outcomes(on_pelts(detected(0.3)))["like_simulations"] == "good"
    mute = each("detection_decidable", 0.0, **PELTS)
    assert outcomes(on_pelts(detected(0.004) + mute))["like_simulations"] == "unknown"


def calibrated(p: float, pairs: int = 50, **cells: object) -> list[Row]:
    """What a remedy has: labelled real data alone, on which it was calibrated and is judged."""
    run = {"method": "rope", "n_calibration": pairs, **REAL, **cells}
    rows = each("coverage_p", p, **run) + each("lpp", 1.0, **run)
    return rows + [one for name in PARAMETERS for one in each("contraction", 0.8, parameter=name, **run)]


@pytest.mark.parametrize(("p", "verdict_of"), [(0.4, "trust"), (0.004, "do not trust")])
def test_a_calibrated_method_is_judged_on_labelled_real_data_alone(p: float, verdict_of: str) -> None:
    (found,) = verdict.decide(calibrated(p))["verdicts"]
    assert (found["method"], found["n_calibration"], found["dataset"]) == ("rope", 50, "real")
    assert found["verdict"] == verdict_of
    assert outcomes(found)["simulated_calibration"] == "unknown"
    assert outcomes(found)["complete"] == "good"


def test_a_calibrated_method_that_learned_nothing_is_told_so() -> None:
    rows = calibrated(0.4)
    for r in metrics.select(rows, metric="contraction"):
        r["value"] = 0.001
    (found,) = verdict.decide(rows)["verdicts"]
    assert (found["verdict"], outcomes(found)["learned"]) == ("caution", "caution")


def test_on_observed_data_a_calibrated_method_is_asked_whether_they_are_typical() -> None:
    run = {"method": "rope", "budget": 1000, "n_calibration": 50, **PELTS}
    rows = calibrated(0.4) + [row(**run, seed=s, metric="posterior_mean", value=0.0) for s in SEEDS]
    by_dataset = {v["dataset"]: v["verdict"] for v in verdict.decide(rows)["verdicts"]}
    assert by_dataset == {"pelts": "caution", "real": "trust"}


def test_every_calibration_size_gets_a_verdict_of_its_own() -> None:
    found = verdict.decide(calibrated(0.004, 10) + calibrated(0.4, 200) + sound())["verdicts"]
    told = [(v["method"], v["n_calibration"], v["verdict"]) for v in found]
    assert told == [("npe", None, "trust"), ("rope", 10, "do not trust"), ("rope", 200, "trust")]


def test_the_labelled_data_of_other_methods_do_not_count() -> None:
    rows = [r for r in sound() if r["dataset"] == "simulated"] + calibrated(0.4)
    by_method = {v["method"]: v["verdict"] for v in verdict.decide(rows)["verdicts"]}
    assert by_method == {"npe": "caution", "rope": "trust"}


def test_a_method_that_others_build_on_and_that_answers_nothing_is_not_judged() -> None:
    cost = {"method": "basis", "budget": 500, "seed": 0}
    rows = sound() + [row(**cost, metric=name, value=1.0) for name in verdict.COSTS]
    assert {v["method"] for v in verdict.decide(rows)["verdicts"]} == {"npe"}


def test_the_largest_budget_is_judged_and_the_reference_is_not() -> None:
    rows = sound() + [{**r, "budget": 100, "value": 0.0} for r in sound() if r["method"] == "npe"]
    found = verdict.decide(rows)["verdicts"]
    assert [(v["method"], v["budget"], v["verdict"]) for v in found] == [("npe", 1000, "trust")]


def test_the_file_round_trips_and_holds_no_nan(tmp_path: Path) -> None:
    found = verdict.decide(changed("coverage_p", float("nan")))
    verdict.write(tmp_path / "verdict.json", found)
    again = verdict.load(tmp_path / "verdict.json")
    assert again["format"] == verdict.FORMAT
    assert again["verdicts"][0]["verdict"] == found["verdicts"][0]["verdict"]
    assert list(again["verdicts"][0]) == list(json.loads(json.dumps(found["verdicts"][0])))


def test_the_page_of_the_docs_holds_every_rule_as_it_is() -> None:
    page = Path("docs/verdict.md").read_text()
    for rule in RULES:
        assert rule.line() in page, f"docs/verdict.md lacks or misstates: {rule.line()}"


@pytest.mark.parametrize(
    ("fault", "rule", "expected"),
    [
        ({"outlier": True}, "typical", "bad"),
        ({"width": 0.5}, "simulated_calibration", "bad"),
        ({"width": 0.5, "labelled": True}, "labelled_coverage", "bad"),
        ({"shift": 4.0}, "near_reference", "bad"),
        ({"rhat": 1.2}, "reference_reached", "caution"),
        ({"invalid": 0.12}, "valid_simulations", "caution"),
        ({"reference": False}, "supported", "caution"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_fault_in_the_posterior_reaches_the_verdict_through_the_checks(
    tmp_path: Path, fault: dict, rule: str, expected: str
) -> None:
    from veridical.stages.aggregate import aggregate

    made = build_study(tmp_path, replicates=1, budgets=(2000,), **fault)
    table, path = made.root / "metrics.csv", made.root / "verdict.json"
    files = {"results": made.checks, "draws": made.draws, "costs": made.costs}
    aggregate("example", "growth", **files, table=table, verdicts=path)
    (found, *_) = verdict.load(path)["verdicts"]
    assert outcomes(found)[rule] == expected
    assert found["verdict"] != "trust"


# ---- sentence, rule and figure agree -------------------------------------------------------------

P_VALUES = (0.0025, 0.0299, 0.03, 0.031, 0.4)


@pytest.mark.parametrize("several", [(p,) for p in P_VALUES] + [(0.4, 0.0025, 0.3), (0.0025, 0.4, 0.02)])
def test_sentence_rule_and_figure_of_the_predictive_check_agree(several: tuple[float, ...]) -> None:
    """They are made from one result, so that none can contradict another."""
    x = np.array([[1.0, 5.0, 2.0]])
    rows, results = without("predictive_p"), {}
    for seed, p in enumerate(several):
        culprit = {"culprit": f"fault {seed}"} if p <= 0.03 else {}
        table = (
            Metric("predictive_p", p, level=0.03),
            Metric("predictive_maximum", 3.0, extra=culprit),
            Metric("predictive_detectable", 4.2, level=0.03),
        )
        curves = {"observed": x, "bands": np.stack([x + s for s in (-2, -1, 0, 1, 2)]), "named": x > 4}
        result = CheckResult("predictive", ("a",), table, curves, passed=p > 0.03, p_value=p)
        results[seed] = json.loads(json.dumps(result.to_json()))
        where = Coordinates("npe", 1000, seed, "pelts")
        rows += tabulation.check_rows(where, results[seed])
    (finding,) = [f for f in on_pelts(rows)["findings"] if f["rule"] == "reproduces"]
    axes = [{"name": "day", "coordinates": [0.0, 1.0, 2.0], "unit": "d"}]
    figure = Predictive()
    data = figure.data(standing_for(results), axes, "")
    assert finding["text"] in figure.shows(data)
    assert (finding["outcome"] == "good") == finding["text"].startswith("The fitted model reproduces")
    assert ("fault" in finding["text"]) == (finding["outcome"] != "good")
    assert "the model does not reproduce" not in figure.shows(data)
    if finding["outcome"] == "good":
        assert "4.2" in finding["text"]


def test_a_misfit_of_a_doubted_answer_is_no_more_than_caution() -> None:
    rows = changed("predictive_p", 0.001)
    for r in metrics.select(rows, metric="sbc_p"):
        r["value"] = 0.001
    (finding,) = [f for f in on_pelts(rows)["findings"] if f["rule"] == "reproduces"]
    assert finding["outcome"] == "caution"
    assert "the simulator need not be at fault" in finding["text"]
