"""Every rule of the verdict finds its planted fault, and none of them speaks up without one."""

from __future__ import annotations

import json
import math
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest

from tests.report.conftest import build_study
from veridical import checks
from veridical.checks import CheckResult, Metric
from veridical.coordinates import Coordinates
from veridical.errors import ArtifactError
from veridical.evidence import metrics, tabulation
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row, row
from veridical.figures.predictive import Predictive, standing_for
from veridical.report import levels, missing, next_steps, page, questions, verdict
from veridical.report.judging import BAD, CANNOT_TELL, CAUTION, GOOD, OUTCOMES, Evidence, majority
from veridical.report.prices import Prices
from veridical.report.questions import COLUMNS, PARTS, QUESTIONS
from veridical.report.rules import RULES
from veridical.report.step_estimates import CHECK, RUN, Known

SEEDS = (0, 1, 2)
PARAMETERS = ("a", "b")
SIMULATED = {"dataset": "simulated"}
REAL = {"dataset": "real"}
PELTS = {"dataset": "observed", "dataset_name": "pelts"}
CONDITIONAL = "trust if the simulator is right"
SCHEMA = Path("workflow/schemas/verdict.json")


def each(metric: str, value: float, seeds: tuple[int, ...] = SEEDS, **cells: object) -> list[Row]:
    """One metric of the method in each replicate."""
    run = {"method": "npe", "budget": 1000, **cells}
    return [row(**run, metric=metric, seed=seed, value=value) for seed in seeds]


def sound() -> list[Row]:
    """Metrics of a method that deserves trust as far as its simulator is right."""
    rows = each("acauc", 0.001, stderr=0.01, **SIMULATED)
    rows += each("gain", 0.5, stderr=0.03, n=500, **SIMULATED)
    for name, value in {"sbc_p": 0.4, "coverage_p": 0.4, "tarp_p": 0.4, "invalid_share": 0.01}.items():
        rows += each(name, value, **SIMULATED)
    rows += each("zero_density_share", 0.0, **SIMULATED)
    rows += each("member_p", 0.3, least_p=0.002, **PELTS) + each("mahalanobis_p", 0.3, n=1, **PELTS)
    for name, value in {"predictive_p": 0.6, "predictive_decidable": 1.0, "c2st": 0.52}.items():
        rows += each(name, value, **PELTS)
    rows += each("prior_conflict_p", 0.4, n=500, **PELTS)
    for parameter in PARAMETERS:
        at = {"parameter": parameter}
        rows += each("coverage_gap", 0.015, **at, **SIMULATED)
        rows += each("prior_contraction", 0.9, **at, **SIMULATED) + each(
            "informed_p", 1e-9, **at, **SIMULATED
        )
        rows += each("reference_coverage", 0.89, **at, level=0.9, **PELTS)
        rows += each("reference_width", 1.05, **at, **PELTS) + each("prior_shift_sd", 0.1, **at, **PELTS)
        exact = {"method": "reference", **at, **PELTS}
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


EXACT = ("reference_coverage", "reference_width", "rhat", "ess", "c2st")


def on_pelts(rows: list[Row], **about: object) -> dict:
    return verdict.judge(Evidence(rows, "npe", 1000, "pelts", **about))


def outcomes(found: dict) -> dict[str, str]:
    return {finding["rule"]: finding["outcome"] for finding in found["findings"]}


def parts(found: dict) -> dict[str, str]:
    return {part: found.get(part, found["questions"].get(part))["outcome"] for part in PARTS}


def labelled(
    held: tuple[int, ...] = (180, 180), n: int = 200, member: float | None = 0.4, **run: object
) -> list[Row]:
    """Counts on labelled real data, and how like them the observation is."""
    found = each("coverage", sum(held) / len(held) / n, stderr=0.01, n=n, level=0.9, **REAL, **run)
    for k, name in zip(held, "abcdefgh", strict=False):
        found += each("coverage", k / n, n=n, level=0.9, parameter=name, **REAL, **run)
    found += each("coverage_p", 0.4, **REAL, **run)
    return found + (
        [] if member is None else each("labelled_member_p", member, least_p=0.005, **PELTS, **run)
    )


def miscalibrated(gap: float) -> list[Row]:
    rows = changed("sbc_p", 0.001)
    for r in metrics.select(rows, metric="coverage_gap", parameter="b"):
        r["value"] = gap
    return rows


def experiments(gap: float, p: float) -> list[Row]:
    """Sound metrics, and repeated experiments at two true values, of which one has the gap."""
    rows = sound() + each("experiments_p", p, **SIMULATED)
    for true_value, value in ((0.1, gap), (0.5, 0.01)):
        at = {**SIMULATED, "true_value": true_value}
        rows += each("coverage_gap_z", value, **at, interval="total")
        rows += each("coverage_gap_z", 0.4, **at, interval="statistical")
    return rows


def estimated(
    value: float = 0.2,
    fit_p: float | None = None,
    alarms: float = 0.0,
    dataset: dict = PELTS,
    sigma: float = 0.01,
    **said: object,
) -> list[Row]:
    """An estimate of 0.2, experiments at 0.1 and 0.3 that went well, and what the method says of its fit."""
    at = {**dataset, "observation": 0}
    rows = [*each("estimate", value, stderr=sigma, **at), *each("estimate_alarms", alarms, **at, **said)]
    rows += each("estimate_statistical_error", 0.8 * sigma, **at)
    rows += each("estimate_ratio_error", 0.6 * sigma, **at)
    rows += [] if fit_p is None else each("estimate_fit_p", fit_p, **at)
    rows += each("experiments_p", 0.4, **SIMULATED)
    for true_value in (0.1, 0.3):
        rows += each("coverage_gap_z", 0.01, true_value=true_value, interval="total", **SIMULATED)
        for interval, share in (("total", 1.0), ("statistical", 0.8), ("ratio", 0.6)):
            told = {"true_value": true_value, "interval": interval}
            rows += each("experiment_sigma", 0.01 * share, **told, **SIMULATED)
    return rows


def drawn(rhat: float | None = 1.01, ess: float = 2000.0, seeds: tuple[int, ...] = SEEDS) -> list[Row]:
    """Sound metrics of a method that draws by chains, or by weights alone, with parameter b as given."""
    rows = sound()
    for parameter, other in (("a", 1.01), ("b", rhat)):
        at = {**PELTS, "parameter": parameter, "observation": 4}
        rows += each("ess", ess if parameter == "b" else 2500.0, seeds, **at)
        rows += [] if rhat is None else each("rhat", other, seeds, **at)
    return rows


def held_in_experiments(
    share: float, interval: str | None = None, dataset: dict = REAL, n: int = 1000
) -> list[Row]:
    cells = {"level": 0.9, "n": n, "interval": interval, **dataset}
    return sound() + each("experiment_coverage", share, true_value=0.1, **cells)


def weighed(k: float, part: float, held: float) -> list[Row]:
    rows = sound() + each("pareto_k", k, **PELTS) + each("effective_share", part, n=1000, **PELTS)
    return rows + each("reweighted_coverage", held, parameter="a", level=0.9, **PELTS)


def local(check: str, p: float, decidable: float = 1.0) -> list[Row]:
    return sound() + each(f"{check}_p", p, **PELTS) + each(f"{check}_decidable", decidable, **PELTS)


def detected(p: float, least: float = 0.001) -> list[Row]:
    return sound() + each("mmd_p", p, least_p=least, **PELTS)


def no_more_than_the_prior() -> list[Row]:
    rows = changed("gain", 0.01)
    for r in metrics.select(rows, metric="informed_p"):
        r["value"] = 0.3
    return rows


FAULTS = [
    ("typical", changed("member_p", 0.008), "caution"),
    ("typical", changed("member_p", 0.002), "bad"),
    ("typical", without("member_p") + each("member_p", 0.04, least_p=0.04, **PELTS), "cannot tell"),
    ("reproduces", changed("predictive_p", 0.02), "caution"),
    ("reproduces", changed("predictive_p", 0.004), "bad"),
    ("reproduces", changed("predictive_p", float("nan")), "bad"),
    ("reproduces", changed("predictive_decidable", 0.0), "cannot tell"),
    ("like_simulations", detected(0.004), "caution"),
    ("like_simulations", detected(0.0051, least=0.0051), "cannot tell"),
    ("labelled_coverage", sound() + labelled((160, 180)), "caution"),
    ("labelled_coverage", sound() + labelled((150, 180)), "bad"),
    ("labelled_coverage", sound() + labelled((198, 199)), "caution"),
    ("labelled_coverage", sound() + labelled((26, 27), n=30), "cannot tell"),
    ("labelled_coverage", sound() + labelled((14, 27), n=30), "bad"),
    ("labelled_experiments", held_in_experiments(0.825, n=200), "caution"),
    ("labelled_experiments", held_in_experiments(0.78), "bad"),
    ("possible_on_real", sound() + each("zero_density_share", 0.01, **REAL), "caution"),
    ("like_labelled", sound() + labelled(member=0.002), "cannot tell"),
    ("simulated_calibration", miscalibrated(0.03), "caution"),
    ("simulated_calibration", miscalibrated(0.09), "bad"),
    ("simulated_calibration", changed("tarp_p", 0.003), "caution"),
    ("simulated_calibration", changed("coverage_p", float("nan")), "caution"),
    ("covered_in_experiments", experiments(0.04, 0.001), "caution"),
    ("covered_in_experiments", experiments(0.06, 0.001), "bad"),
    ("covered_in_experiments", experiments(float("nan"), 0.001), "bad"),
    ("covered_in_experiments", experiments(0.04, float("nan")), "caution"),
    ("mixture_fits", estimated(fit_p=0.02), "caution"),
    ("mixture_fits", estimated(fit_p=0.004), "bad"),
    ("mixture_fits", estimated(fit_p=float("nan")), "bad"),
    ("mixture_fits", estimated(alarms=1.0, category="the ridge decides the fraction"), "caution"),
    ("stands", sound() + each("objections", 1.0, **SIMULATED, category="one row decides"), "caution"),
    ("learned_here", sound() + each("leakage", 0.1, **PELTS), "caution"),
    ("learned_here", sound() + each("leakage", 0.3, **PELTS), "bad"),
    ("corrected", sound() + each("refused_share", 0.1, **PELTS), "caution"),
    ("corrected", sound() + each("refused_share", 1.0, **PELTS), "bad"),
    ("converged", drawn(rhat=1.2), "bad"),
    ("converged", drawn(rhat=1.05), "bad"),
    ("converged", drawn(rhat=float("nan")), "bad"),
    ("converged", drawn(ess=300.0), "caution"),
    ("converged", drawn(ess=60.0), "bad"),
    ("converged", drawn(rhat=None, ess=60.0), "bad"),
    ("likelihood_ratio_intervals", held_in_experiments(0.7, "likelihood_ratio", SIMULATED), "caution"),
    ("possible", changed("zero_density_share", 0.004), "caution"),
    ("possible", changed("zero_density_share", 0.2), "bad"),
    ("learned", no_more_than_the_prior(), "caution"),
    ("learned", changed("prior_contraction", 0.01), "caution"),
    ("learned", changed("gain", float("-inf")), "caution"),
    ("valid_simulations", changed("invalid_share", 0.1), "caution"),
    ("valid_simulations", changed("invalid_share", 0.3), "bad"),
    ("near_reference", changed("reference_coverage", 0.75, parameter="b"), "caution"),
    ("near_reference", changed("reference_coverage", 0.55, parameter="b"), "bad"),
    ("near_reference", changed("reference_coverage", float("nan"), parameter="a"), "bad"),
    ("near_reference", changed("reference_width", 1.6, parameter="b"), "caution"),
    ("near_reference", changed("c2st", 0.85), "caution"),
    ("near_reference", changed("rhat", 1.02, parameter="b"), "cannot tell"),
    ("near_reference", changed("ess", 900.0, parameter="b"), "cannot tell"),
    ("reweighted", weighed(0.3, 0.5, 0.75), "caution"),
    ("reweighted", weighed(0.3, 0.5, 0.5), "bad"),
    ("reweighted", weighed(0.8, 0.5, 0.9), "caution"),
    ("reweighted", weighed(0.8, 0.01, 0.9), "bad"),
    ("reweighted", weighed(0.3, 0.1, 0.9), "cannot tell"),
    ("local_ranks", local("local_ranks", 0.004), "caution"),
    ("local_ranks", local("local_ranks", 0.007), "cannot tell"),
    ("local_ranks", local("local_ranks", 0.5, 0.0), "cannot tell"),
    ("local_classifier", local("local_c2st", 0.004), "caution"),
    ("prior_conflict", changed("prior_conflict_p", 0.003), "caution"),
    ("prior_matters", changed("prior_shift_sd", 0.7, parameter="a"), "caution"),
]


def test_sound_metrics_are_trusted_as_far_as_the_simulator_is_right() -> None:
    found = on_pelts(sound())
    assert found["verdict"] == CONDITIONAL
    assert set(outcomes(found).values()) == {"good", "not asked"}
    answered = {"inference": "good", "simulator": "good", "prior": "good", "labelled": "cannot tell"}
    assert parts(found) == answered and found["replicates"] == 3
    assert "by 4.2 predictive standard deviations" in found["summary"], "z(1 - 0.03 / 20) + z(0.9) = 4.25"


@pytest.mark.parametrize(
    ("rule", "rows", "outcome"), FAULTS, ids=[f"{r}-{i}" for i, (r, _, _) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found_by_its_rule(rule: str, rows: list[Row], outcome: str) -> None:
    found = on_pelts(rows)
    assert outcomes(found)[rule] == outcome
    allowed = {"bad": {"do not trust"}, "caution": {"caution", "trust"}}.get(outcome, set(VERDICTS))
    assert found["verdict"] in allowed
    advised = next(f["advice"] for f in found["findings"] if f["rule"] == rule)
    assert advised, "what to do is said"


def test_a_frequentist_answer_has_all_three_questions_answered() -> None:
    """By experiments like it, its fit, and that no prior enters; elsewhere, or without a fit: not told."""
    found = on_pelts(estimated(fit_p=0.4))
    assert parts(found) == dict.fromkeys(QUESTIONS, "good") | {"labelled": "cannot tell"}
    assert found["verdict"] == "trust if the simulator is right"
    assert "mixture of the classes" in found["summary"] and "posterior" not in found["summary"]
    assert parts(on_pelts(estimated()))["simulator"] == "cannot tell"


@pytest.mark.parametrize(
    ("value", "sigma", "outcome"),
    [
        (0.315, 0.01, "good"),
        (0.35, 0.01, "cannot tell"),  # no experiment asked there
        (0.2, 0.004, "cannot tell"),  # a sample so much larger may show what experiments did not
        (0.2, 0.03, "cannot tell"),
        (0.35, 0.1, "cannot tell"),  # nor does a wide error of its own make it near
    ],
)
def test_experiments_speak_of_estimates_like_theirs(value: float, sigma: float, outcome: str) -> None:
    found = on_pelts(estimated(value, 0.4, sigma=sigma))
    assert parts(found)["inference"] == outcome
    assert (found["verdict"] == "caution") == (outcome != "good")


def test_the_mean_of_a_posterior_has_a_prior() -> None:
    found = on_pelts(estimated(fit_p=0.4) + each("estimate_prior", 1.0, **PELTS, observation=0))
    assert parts(found)["prior"] == "cannot tell" and found["verdict"] == "caution"


def test_an_answer_for_these_data_alone_rests_on_the_checks_near_them() -> None:
    """No calibration on simulated data is asked of it; without the checks near the data nothing is good."""
    alone = [*without("sbc_p", "coverage_p", "tarp_p"), *each("leakage", 0.01, **PELTS)]
    assert on_pelts(alone)["questions"]["inference"]["outcome"] == "good"
    neither = [r for r in alone if r["metric"] not in EXACT]
    assert on_pelts(neither)["questions"]["inference"]["outcome"] == "cannot tell"


def test_a_correction_is_told_and_is_no_evidence() -> None:
    """Weights that hold object to nothing, and answer no question that nothing else answered."""
    told = [
        *each("refused_share", 0.0, **PELTS),
        *each("correction_k", 0.3, observation=0, **PELTS),
        *each("correction_share", 0.2, observation=0, **PELTS),
    ]
    found = on_pelts(sound() + told)
    assert found["verdict"] == on_pelts(sound())["verdict"]
    (rule,) = (f for f in found["findings"] if f["rule"] == "corrected")
    assert rule["outcome"] == "good" and "20 % of the candidates" in rule["text"].replace("\xa0", " ")
    neither = [r for r in sound() if r["metric"] not in EXACT]
    assert on_pelts(neither + told)["questions"]["inference"]["outcome"] == "cannot tell"


def test_chains_that_agree_are_told_and_are_no_evidence() -> None:
    found = on_pelts(drawn())
    assert found["verdict"] == CONDITIONAL
    (rule,) = (f for f in found["findings"] if f["rule"] == "converged")
    assert rule["outcome"] == "good" and "R-hat at most 1.01" in rule["text"]
    neither = [r for r in drawn() if r["metric"] not in EXACT or (r["method"] == "npe" and r["parameter"])]
    neither = [r for r in neither if r["metric"] not in ("reference_coverage", "reference_width")]
    assert on_pelts(neither)["questions"]["inference"]["outcome"] == "cannot tell"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (drawn(rhat=1.3), "do not agree on the answer to these data for b (observation 5): R-hat is 1.30"),
        (drawn(ess=60.0), "worth 60 independent ones for b (observation 5)"),
        (drawn(rhat=None, ess=60.0), "worth 60 independent ones for b (observation 5)"),
    ],
)
def test_what_keeps_draws_from_being_trusted_is_said(rows: list[Row], told: str) -> None:
    found = on_pelts(rows)
    assert found["verdict"] == "do not trust" and found["questions"]["inference"]["outcome"] == "bad"
    assert told in next(f["text"] for f in found["findings"] if f["rule"] == "converged")


def test_chains_that_did_not_converge_in_one_replicate_forbid_trust() -> None:
    rows = [r for r in drawn() if r["seed"] != 0 or r["metric"] != "rhat" or r["parameter"] == "a"]
    at = {**PELTS, "parameter": "b", "observation": 4}
    assert on_pelts(rows + each("rhat", 1.3, (0,), **at))["verdict"] == "caution"


def test_every_rule_has_a_planted_fault() -> None:
    silent = {"asked_near", "no_prior"}  # they answer a question, and never object
    assert {rule for rule, _, _ in FAULTS} == {rule.name for rule in RULES} - silent


@pytest.mark.parametrize(
    ("missing", "part"),
    [
        (EXACT, "inference"),
        (("sbc_p", "coverage_p", "tarp_p"), "inference"),
        (("member_p",), "simulator"),
        (("predictive_p",), "simulator"),
        (("prior_conflict_p",), "prior"),
    ],
)
def test_what_was_not_asked_leaves_its_question_open_and_never_reads_as_good(
    missing: tuple[str, ...], part: str
) -> None:
    found = on_pelts(without(*missing))
    assert parts(found)[part] == "cannot tell" and found["verdict"] == "caution"
    assert found["questions"][part]["text"].startswith("Not told: ")


# ---- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inference", "simulator", "prior", "on_labelled", "expected"),
    [
        (BAD, GOOD, GOOD, CANNOT_TELL, "do not trust"),
        (GOOD, GOOD, GOOD, BAD, "do not trust"),
        (GOOD, BAD, GOOD, CAUTION, "do not trust"),
        (BAD, GOOD, GOOD, GOOD, "caution"),
        (GOOD, BAD, GOOD, GOOD, "caution"),
        (CAUTION, CAUTION, CAUTION, GOOD, "trust"),
        (CANNOT_TELL, CANNOT_TELL, CANNOT_TELL, GOOD, "trust"),
        (GOOD, GOOD, GOOD, CANNOT_TELL, CONDITIONAL),
        (GOOD, GOOD, GOOD, CAUTION, "caution"),
        (GOOD, GOOD, CANNOT_TELL, CANNOT_TELL, "caution"),
        (GOOD, CANNOT_TELL, GOOD, CANNOT_TELL, "caution"),
        (CANNOT_TELL, GOOD, GOOD, CANNOT_TELL, "caution"),
        (CAUTION, GOOD, GOOD, CANNOT_TELL, "caution"),
    ],
)
def test_three_answers_and_labelled_data_make_the_verdict(
    inference: int, simulator: int, prior: int, on_labelled: int, expected: str
) -> None:
    said = dict(zip(COLUMNS, (inference, simulator, prior, on_labelled, GOOD), strict=True))
    assert VERDICTS[questions.derive(said)] == expected
    if expected == "trust":
        assert VERDICTS[questions.derive({**said, "standing": CAUTION})] == "caution"


def test_without_labelled_data_only_good_answers_to_all_three_questions_earn_trust() -> None:
    for inference in range(4):
        for simulator in range(4):
            for prior in range(4):
                said = dict(zip(COLUMNS, (inference, simulator, prior, CANNOT_TELL, GOOD), strict=True))
                trusted = questions.derive(said) <= questions.CONDITIONAL
                assert trusted == (inference == simulator == prior == GOOD)


def test_a_reference_never_says_that_the_simulator_is_right() -> None:
    found = on_pelts([r for r in sound() if r["metric"] not in ("member_p", "predictive_p")])
    assert parts(found)["inference"] == "good" and found["verdict"] == "caution"


def test_labelled_data_like_the_observation_earn_trust_and_clear_other_cautions() -> None:
    rows = sound() + labelled()
    assert on_pelts(rows)["verdict"] == "trust"
    assert on_pelts(changed("sbc_p", 0.001) + labelled())["verdict"] == "trust"
    assert on_pelts(local("local_ranks", 0.001) + labelled())["verdict"] == "caution"
    assert on_pelts(no_more_than_the_prior() + labelled())["verdict"] == "caution"


def test_labelled_data_unlike_the_observation_say_nothing_of_it() -> None:
    found = on_pelts(sound() + labelled(member=0.002))
    assert (parts(found)["labelled"], found["verdict"]) == ("cannot tell", CONDITIONAL)
    assert on_pelts(sound() + labelled(member=None))["verdict"] == CONDITIONAL


def test_a_misfit_is_not_laid_on_the_simulator_where_the_answer_is_wrong() -> None:
    rows = changed("reference_coverage", 0.4)
    for r in metrics.select(rows, metric="predictive_p"):
        r["value"] = 0.0001
    found = on_pelts(rows)
    assert (parts(found)["inference"], parts(found)["simulator"]) == ("bad", "cannot tell")
    text = next(f["text"] for f in found["findings"] if f["rule"] == "reproduces")
    assert text.startswith("Says nothing here")


def test_local_checks_say_nothing_of_data_unlike_the_simulator_unless_a_reference_does() -> None:
    atypical = [{**r, "value": 0.001} if r["metric"] == "member_p" else r for r in local("local_ranks", 0.5)]
    assert parts(on_pelts(atypical))["inference"] == "good", "the reference is there"
    alone = on_pelts([r for r in atypical if r["metric"] not in EXACT])
    assert outcomes(alone)["local_ranks"] == "cannot tell" and parts(alone)["inference"] == "cannot tell"


@pytest.mark.parametrize(
    ("check", "dataset", "part"),
    [
        ("sbc", "simulated", "inference"),
        ("predictive", "pelts", "simulator"),
        ("prior_sensitivity", "pelts", "prior"),
        ("coverage", "real", "labelled"),
    ],
)
@pytest.mark.parametrize("cause", ["E: no", missing.TO_COME])
def test_a_check_that_was_not_made_leaves_its_question_open(
    check: str, dataset: str, part: str, cause: str
) -> None:
    entry = {"what": f"check {check}", "method": "npe", "budget": 1000, "n_calibration": None}
    entry |= {"replicate": 1, "dataset": dataset, "cause": cause, "log": "l"}
    for rows in (sound(), sound() + labelled()):
        found = on_pelts(rows, unchecked=[entry])
        assert (parts(found)[part], found["verdict"]) == ("cannot tell", "caution")
        text = (found["labelled"] if part == "labelled" else found["questions"][part])["text"]
        assert (f"Still to come: {check}." if cause == missing.TO_COME else f"checked: check {check}") in text
        ahead = next_steps.steps(found, Known(Prices({"study": "pelts"}, "laptop")))
        assert cause != missing.TO_COME or not {CHECK, RUN} & {step.place for step in ahead}


# ---- replicates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0], 0), ([2], 2), ([0, 2], 2), ([0, 0, 2], 0), ([0, 1, 2], 1), ([0, 0, 2, 2], 2), ([0, 0, 0, 2], 0)],
)
def test_an_outcome_counts_when_at_least_half_of_the_replicates_reach_it(
    values: list[int], expected: int
) -> None:
    assert majority(values) == expected
    assert majority(values[::-1]) == expected


def test_replicates_that_each_fail_another_rule_are_not_trusted() -> None:
    rows = changed("member_p", 1e-4, seeds=(0,))
    for name, seed, value in (("predictive_p", 1, 1e-4), ("reference_coverage", 2, 0.1)):
        for r in metrics.select(rows, metric=name, seed=seed):
            r["value"] = value
    found = on_pelts(rows)
    assert found["verdict"] == "do not trust"
    assert set(found["by_replicate"].values()) == {"do not trust"}


def test_one_replicate_far_from_the_reference_forbids_trust_and_is_named() -> None:
    found = on_pelts(changed("reference_coverage", 0.0, seeds=(0,)))
    assert found["verdict"] == "caution" and "by the exact posterior" in found["summary"]
    assert found["by_replicate"] == {0: "do not trust", 1: CONDITIONAL, 2: CONDITIONAL}


def test_one_caution_of_three_is_told_but_does_not_decide() -> None:
    found = on_pelts(changed("sbc_p", 0.0001, seeds=(1,)))
    assert found["verdict"] == CONDITIONAL
    (finding,) = [f for f in found["findings"] if f["rule"] == "simulated_calibration"]
    assert finding["replicates"] == {0: "good", 1: "caution", 2: "good"}
    assert "1 of 3 repeats" in finding["text"]


# ---- what is said --------------------------------------------------------------------------------


def test_a_fault_names_its_direction_and_size() -> None:
    rows = miscalibrated(0.09)
    for r in metrics.select(rows, metric="acauc"):
        r["value"], r["stderr"] = 0.1, 0.01
    (text,) = [f["text"] for f in on_pelts(rows)["findings"] if f["rule"] == "simulated_calibration"]
    assert "too narrow" in text and "9.0 percentage points" in text


def test_the_misfit_that_a_check_states_stands_in_the_sentence() -> None:
    found = on_pelts(sound() + each("predictive_detectable", 3.21, **PELTS))
    assert "3.2 predictive standard deviations" in found["summary"]


def test_atypical_members_are_named() -> None:
    rows = without("member_p")
    for i, p in enumerate((0.9, 0.002, 0.8)):
        rows += each("member_p", p, least_p=0.001, observation=i, **PELTS)
    text = next(f["text"] for f in on_pelts(rows)["findings"] if f["rule"] == "typical")
    assert "observation 2 lies" in text


def test_a_prior_that_is_bound_to_matter_is_told_without_caution() -> None:
    rows = changed("prior_shift_sd", 0.7)
    for r in metrics.select(rows, metric="prior_contraction"):
        r["value"] = 0.3
    found = on_pelts(rows)
    assert found["verdict"] == CONDITIONAL
    assert any("the prior matters" in f["text"] for f in found["findings"])


def test_estimates_are_judged_by_their_experiments_and_get_caution_at_most_on_simulated_data() -> None:
    only = ("coverage_gap_z", "experiments_p")
    rows = [r for r in experiments(0.02, 0.4) if r["metric"] in only]
    rows += [r for r in estimated(fit_p=0.4, dataset=SIMULATED) if r["metric"] not in only]
    (found,) = verdict.decide(rows)["verdicts"]
    assert (found["dataset"], found["verdict"]) == ("simulated", "caution")
    assert outcomes(found)["covered_in_experiments"] == "good"
    naive = [r for r in experiments(0.3, 0.0001) if r["metric"] in only]
    assert verdict.decide(naive)["verdicts"][0]["verdict"] == "do not trust"


@pytest.mark.parametrize(("gap", "where"), [(0.2, "where the truth is 0.100")])
def test_experiments_that_miss_say_where(gap: float, where: str) -> None:
    (finding,) = [
        f for f in on_pelts(experiments(gap, 0.001))["findings"] if f["rule"] == "covered_in_experiments"
    ]
    assert where in finding["text"] and "by 20 percentage points" in finding["text"]


# ---- calibrated methods --------------------------------------------------------------------------


def calibrated(held: int = 900, pairs: int = 200, n: int = 1000, **cells: object) -> list[Row]:
    """What a remedy has: labelled real data alone, on which it was calibrated and is judged."""
    run = {"method": "rope", "n_calibration": pairs, **cells}
    rows = labelled((held, held), n, None, **run) + each("gain", 0.5, stderr=0.03, n=n, **REAL, **run)
    shrink = [each("prior_contraction", 0.8, parameter=name, **REAL, **run) for name in PARAMETERS]
    return rows + [one for own in shrink for one in own]


@pytest.mark.parametrize(
    ("held", "pairs", "expected"),
    [
        (900, 200, "trust"),
        (900, 50, "caution"),
        (810, 200, "do not trust"),
        (810, 50, "caution"),  # as good as so few pairs allow
        (700, 50, "do not trust"),
    ],
)
def test_a_calibrated_method_is_judged_on_labelled_real_data_and_by_its_number_of_pairs(
    held: int, pairs: int, expected: str
) -> None:
    (found,) = verdict.decide(calibrated(held, pairs))["verdicts"]
    assert (found["method"], found["n_calibration"], found["dataset"]) == ("rope", pairs, "real")
    assert found["verdict"] == expected
    assert outcomes(found)["simulated_calibration"] == "not asked"


def test_on_observed_data_a_calibrated_method_is_not_trusted_unless_they_are_like_the_labelled_ones() -> None:
    run = {"method": "rope", "budget": 1000, "n_calibration": 200, **PELTS}
    rows = calibrated() + [row(**run, seed=s, metric="posterior_mean", value=0.0) for s in SEEDS]
    by_dataset = {v["dataset"]: v["verdict"] for v in verdict.decide(rows)["verdicts"]}
    assert by_dataset == {"pelts": "caution", "real": "trust"}


def test_variants_judged_on_the_same_labelled_data_share_one_level() -> None:
    many = [r for pairs in range(200, 217) for r in calibrated(172, pairs, n=200)]
    assert {v["verdict"] for v in verdict.decide(many)["verdicts"]} == {"caution"}
    (alone,) = verdict.decide(calibrated(172, n=200))["verdicts"]
    assert alone["verdict"] == "trust"


def test_answers_that_depend_on_each_other_are_counted_by_replicate() -> None:
    def together(shares: tuple[int, ...], seeds: tuple[int, ...]) -> str:
        rows = [r for r in calibrated() if r["metric"] != "coverage" and r["seed"] in seeds]
        rows += each("asked_together", 1.0, seeds, method="rope", n_calibration=200, **REAL)
        for seed, held in zip(seeds, shares, strict=True):
            one = labelled((held, held), 1000, None, method="rope", n_calibration=200)
            rows += [r for r in one if r["metric"] == "coverage" and r["seed"] == seed]
        return verdict.decide(rows)["verdicts"][0]["verdict"]

    assert together((900, 905, 895), SEEDS) == "trust"
    assert together((900, 980, 820), SEEDS) == "caution", "the answers scatter by more than rows explain"
    assert together((900, 905), (0, 1)) == "caution", "two calibrations do not tell"
    assert together((600, 605, 595), SEEDS) == "do not trust"


def test_every_calibration_size_gets_a_verdict_of_its_own() -> None:
    found = verdict.decide(calibrated(600, 10) + calibrated(900, 200) + sound())["verdicts"]
    said = [(v["method"], v["n_calibration"], v["verdict"]) for v in found]
    assert said == [("npe", None, CONDITIONAL), ("rope", 10, "do not trust"), ("rope", 200, "trust")]


# ---- studies and files ---------------------------------------------------------------------------


def test_simulated_data_alone_are_never_trusted() -> None:
    rows = [r for r in sound() if r["dataset"] == "simulated"]
    (found,) = verdict.decide(rows)["verdicts"]
    assert (found["dataset"], found["verdict"]) == ("simulated", "caution")


def test_a_method_that_others_build_on_and_that_answers_nothing_is_not_judged() -> None:
    cost = {"method": "basis", "budget": 500, "seed": 0}
    rows = sound() + [row(**cost, metric=name, value=1.0) for name in verdict.COSTS]
    assert {v["method"] for v in verdict.decide(rows)["verdicts"]} == {"npe"}


def test_the_largest_budget_is_judged_and_the_reference_is_not() -> None:
    rows = sound() + [{**r, "budget": 100, "value": 0.0} for r in sound() if r["method"] == "npe"]
    found = verdict.decide(rows)["verdicts"]
    assert [(v["method"], v["budget"], v["verdict"]) for v in found] == [("npe", 1000, CONDITIONAL)]


@pytest.mark.parametrize("rows", [sound(), changed("coverage_p", float("nan")), calibrated(), []])
def test_the_file_round_trips_and_fits_its_schema(tmp_path: Path, rows: list[Row]) -> None:
    import jsonschema

    found = verdict.decide(rows)
    verdict.write(tmp_path / "verdict.json", found)
    again = verdict.load(tmp_path / "verdict.json")
    jsonschema.validate(again, json.loads(SCHEMA.read_text()))
    assert (
        again["format"] == verdict.FORMAT == json.loads(SCHEMA.read_text())["properties"]["format"]["const"]
    )
    for before, after in zip(found["verdicts"], again["verdicts"], strict=True):
        assert list(after) == list(json.loads(json.dumps(before)))


def test_a_verdict_of_the_first_format_is_read_without_its_trust(tmp_path: Path) -> None:
    import jsonschema

    findings = [
        {"rule": "labelled_coverage", "outcome": "unknown", "text": "?", "advice": "", "replicates": {}},
        {"rule": "near_reference", "outcome": "good", "text": ".", "advice": "", "replicates": {"0": "good"}},
        {"rule": "typical", "outcome": "bad", "text": ".", "advice": "!", "replicates": {"0": "bad"}},
    ]
    one = {"method": "npe", "dataset": "pelts", "budget": 9, "n_calibration": None, "replicates": 1}
    old = [
        {**one, "verdict": "trust", "summary": "Passed.", "findings": findings[:2]},
        {**one, "verdict": "do not trust", "summary": "No.", "findings": findings},
    ]
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps({"format": 1, "study": "s", "task": "t", "verdicts": old}))
    found = verdict.load(path)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert [v["verdict"] for v in found["verdicts"]] == ["caution", "do not trust"]
    assert parts(found["verdicts"][0])["inference"] == "cannot tell"
    assert parts(found["verdicts"][1])["simulator"] == "bad"
    path.write_text(json.dumps({"format": 3, "verdicts": []}))
    with pytest.raises(ArtifactError, match="Update veridical"):
        verdict.load(path)


def test_the_page_of_the_docs_holds_the_tables_as_they_are() -> None:
    page = Path("docs/verdict.md").read_text()
    for line in [*questions.lines(RULES), *levels.table()]:
        assert line in page, f"docs/verdict.md lacks or misstates: {line}"


def test_the_levels_are_a_budget_within_what_is_promised() -> None:
    spent = [sum(level for level, _ in one.values()) for one in (levels.CAUTION_LEVELS, levels.BAD_LEVELS)]
    assert spent[0] <= 0.1 and spent[1] <= 0.02
    assert all(levels.bad(name) <= levels.caution(name) for name in levels.BAD_LEVELS)


@pytest.mark.parametrize(
    ("fault", "rule", "expected"),
    [
        ({}, "learned", "good"),
        ({"outlier": True}, "typical", "caution"),
        ({"width": 0.5}, "simulated_calibration", "bad"),
        ({"width": 0.5, "labelled": True}, "labelled_coverage", "bad"),
        ({"shift": 4.0}, "near_reference", "bad"),
        ({"rhat": 1.2}, "near_reference", "cannot tell"),
        ({"invalid": 0.12}, "valid_simulations", "caution"),
        ({"reference": False}, "near_reference", "not asked"),
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
    assert found["verdict"] not in ("trust", CONDITIONAL) or not fault


# ---- sentence, rule and figure agree -------------------------------------------------------------

P_VALUES = (0.4, 0.04, 0.03, 0.004, math.nan, None)  # None: too few replicates to tell
SILENT = "Says nothing here"
LIKE, UNLIKE = (f"Simulations at the answer {do} like" for do in ("look", "do not look"))


def predictive_result(folder: Path, seed: int, p: float | None, level: float) -> dict:
    """A saved predictive check."""
    x, value = np.array([[1.0, 5.0, 2.0]]), 0.5 if p is None else p
    table = (
        Metric("predictive_p", value, level=level),
        Metric("predictive_maximum", 3.0, extra={} if value > level else {"culprit": f"fault {seed}"}),
        Metric("predictive_detectable", 4.2, level=level),
    )
    curves = {"observed": x, "bands": np.stack([x + s for s in (-2, -1, 0, 1, 2)]), "named": x > 4}
    passed = None if p is None else p > level
    checks.base.save(
        CheckResult("predictive", ("a",), table, curves, passed=passed, p_value=value), folder / "c.json"
    )
    return checks.load(folder / "c.json")


@pytest.mark.parametrize("level", [0.03, 0.05])
def test_sentence_rule_and_figure_of_the_predictive_check_agree(tmp_path: Path, level: float) -> None:
    """Whatever the replicates say and wherever bad inference silences them: one result, told once."""
    axes = [{"name": "day", "coordinates": [0.0, 1.0, 2.0], "unit": "d"}]
    figure, states = Predictive(), [(p, wrong) for p in P_VALUES for wrong in (False, True)]
    saved = {(seed, p): predictive_result(tmp_path, seed, p, level) for seed in SEEDS for p in P_VALUES}
    for said in (s for n in (1, 2, 3) for s in combinations_with_replacement(states, n)):
        results = {seed: saved[seed, p] for seed, (p, _) in enumerate(said)}
        rows = [r for r in without("predictive_p", "predictive_decidable") if (r["seed"] or 0) < len(said)]
        for seed, (_, wrong) in enumerate(said):
            rows += tabulation.check_rows(Coordinates("npe", 1000, seed, "pelts"), results[seed])
            for r in metrics.select(rows, metric="reference_coverage", seed=seed) if wrong else ():
                r["value"] = 0.1
        found = on_pelts(rows)
        (finding,) = [f for f in found["findings"] if f["rule"] == "reproduces"]
        neutral = figure.shows(figure.data(standing_for(results), axes, ""))
        picture = page.Picture("predictive", "npe", None, "pelts", figure, "", "", neutral, {})
        shows = page.with_finding(picture, [found]).shows
        assert neutral.startswith("3 of 3 observed values") and not (LIKE in neutral or UNLIKE in neutral)
        assert shows == f"{neutral} {finding['text']} Outcome: {finding['outcome']}."
        each_said = [CANNOT_TELL if p is None or wrong else outcome_of(p, level) for p, wrong in said]
        assert finding["outcome"] == OUTCOMES[majority(each_said)]
        assert finding["replicates"] == {s: OUTCOMES[o] for s, o in enumerate(each_said)}
        if finding["outcome"] == "cannot tell":
            assert SILENT in shows or not (LIKE in shows or UNLIKE in shows)
        else:
            assert SILENT not in shows and (LIKE in shows) == (finding["outcome"] == "good")
            assert (UNLIKE in shows) == ("fault" in shows) == (finding["outcome"] != "good")


def outcome_of(p: float, level: float) -> int:
    return GOOD if p > level else CAUTION if p > levels.bad("predictive") else BAD


@pytest.mark.parametrize(("k", "said"), [(0.3, "hold only 75 %"), (0.8, "a few draws with all the weight")])
def test_weights_of_a_heavy_tail_are_not_read_as_a_posterior(k: float, said: str) -> None:
    found = on_pelts(weighed(k, 0.5, 0.75))["findings"]
    assert said in next(f["text"] for f in found if f["rule"] == "reweighted")


def test_a_misfit_says_nothing_of_the_simulator_where_inference_is_bad() -> None:
    rows = miscalibrated(0.09)
    for r in metrics.select(rows, metric="predictive_p"):
        r["value"] = 0.001
    (finding,) = [f for f in on_pelts(rows)["findings"] if f["rule"] == "reproduces"]
    assert finding["outcome"] == "cannot tell"
    assert outcomes(on_pelts(changed("predictive_p", 0.001)))["reproduces"] == "bad"


def test_readers_meet_rules_by_words_and_no_two_by_the_same() -> None:
    called = [rule.called for rule in RULES]
    assert len(set(called)) == len(called) and not any("_" in words for words in called)
    ranks = on_pelts(local("local_ranks", 0.0))
    assert ranks["questions"]["inference"]["text"] == "By ranks near these data."
