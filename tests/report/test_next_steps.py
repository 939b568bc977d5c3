"""What would change a verdict: forecasts against closed forms and Monte Carlo, prices, commands, order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom, norm
from snakemake.cli import parse_config

from veridical import seeds
from veridical.coordinates import dataset_cells
from veridical.evidence.metrics import row
from veridical.report import by_size, learning_curve, next_steps, prices, step_estimates
from veridical.report.by_size import Counted
from veridical.report.judging import OUTCOMES
from veridical.report.prices import Prices, command
from veridical.report.rules import RULES
from veridical.report.step_estimates import CHECK, FIRST, LABEL, LOOK, RUN, Known, Step
from veridical.study import settings
from veridical.study.layout import Layout

CONFIG = Path(__file__).parents[2] / "config"
MAKEFILE = CONFIG.parent / "Makefile"
STUDY = settings.load(CONFIG / "gaussian.yaml").model_dump(mode="json")

# ---- learning curves -----------------------------------------------------------------------------

BUDGETS = 1000 * 2 ** np.arange(5)


def densities(
    rng: np.random.Generator, budgets: np.ndarray, truth: np.ndarray, noise: float, repeats: int = 3
) -> dict[int, dict[int, np.ndarray]]:
    """Log densities of 400 data sets, whose luck budgets share, with trainings that differ by `noise`."""
    luck = 1.5 * rng.normal(size=400)
    return {
        int(n): {k: mean + luck + noise * rng.normal() + 0.2 * rng.normal(size=400) for k in range(repeats)}
        for n, mean in zip(budgets, truth, strict=True)
    }


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A curve and what four times its largest budget gains."""
    rate, b = rng.uniform(0.3, 1.4), rng.uniform(0.2, 1.5)
    return -b * (BUDGETS / BUDGETS[0]) ** -rate, b * (BUDGETS[-1] / BUDGETS[0]) ** -rate * (1 - 4**-rate)


def test_forecasts_of_learning_curves_hold_the_gain_as_often_as_they_say() -> None:
    held, narrow = 0, 0
    for i in range(60):
        rng = seeds.generator(1, "test", "learning curve", i)
        truth, gain = drawn(rng)
        found = learning_curve.curve(densities(rng, BUDGETS, truth, 0.02))
        assert found is not None
        low, high = learning_curve.gain(found)
        held += low <= gain <= high
        narrow += high - low < 0.1
        assert found.last_step[1] < 0.05  # paired: the luck of the rows alone is 1.5 / sqrt(400) = 0.075
    assert 0.65 <= held / 60 <= 0.95  # 0.8 +- 3 sd of 60; of 200 it was 0.71 to 0.84
    assert narrow > 40


def test_a_flat_curve_foretells_nothing_and_a_steep_one_what_follows() -> None:
    rng = seeds.generator(1, "test", "learning curve", "ends")
    flat = learning_curve.curve(densities(rng, BUDGETS, np.zeros(5), 0.003))
    steep = learning_curve.curve(densities(rng, BUDGETS, -1.0 * (BUDGETS / 1000) ** -0.5, 0.003))
    assert flat is not None and steep is not None
    assert learning_curve.gain(flat)[1] < learning_curve.MATTERS
    low, high = learning_curve.gain(steep)
    assert low <= 0.125 <= high and high - low < 0.1  # 0.25 (1 - 1/2)


def test_how_many_simulations_are_needed_is_told_only_within_half_a_decade() -> None:
    rng = seeds.generator(1, "test", "learning curve", "needed")
    truth = -0.8 * (BUDGETS / 1000) ** -1.0
    sharp = learning_curve.curve(densities(rng, BUDGETS, truth, 0.001, repeats=8))
    vague = learning_curve.curve(densities(rng, BUDGETS, truth, 0.3, repeats=3))
    assert sharp is not None and vague is not None
    low, high = learning_curve.needed(sharp) or (0.0, 0.0)
    assert 0.8 * low <= 16_000 <= 1.25 * high and high < 10**0.5 * low  # of an 80 % interval
    assert learning_curve.needed(vague) is None


@pytest.mark.parametrize(
    ("budgets", "repeats", "why"), [(3, 3, "it takes 4 budgets"), (5, 1, "single repeat")]
)
def test_short_curves_are_refused(budgets: int, repeats: int, why: str) -> None:
    rng = seeds.generator(1, "test", "learning curve", "short")
    found = learning_curve.curve(densities(rng, BUDGETS[:budgets], np.zeros(budgets), 0.01, repeats))
    assert found is not None and why in found.too_short
    says = step_estimates._forecast(found, budgets)
    assert why in says and "±" in says


def test_densities_of_zero_make_no_curve() -> None:
    assert learning_curve.curve({}) is None
    assert learning_curve.curve({10: {0: np.zeros(3)}, 20: {0: np.array([0, -np.inf, 0])}}) is None


# ---- labelled data, ranks, repeats -----------------------------------------------------------------


def test_rows_that_a_right_answer_needs_are_those_of_the_binomial_law() -> None:
    table = {0.80: [124, 147, 176, 198, 221], 0.75: [65, 74, 89, 98, 112]}
    for excluded, rows in table.items():
        assert [by_size.rows_for(d, excluded, 0.9) for d in (1, 2, 4, 8, 16)] == rows


@pytest.mark.parametrize("held", [(43,), (18,)])
def test_further_rows_are_the_least_that_will_pass(held: tuple[int, ...]) -> None:
    n = 20 if held == (18,) else 50
    found = Counted(held, n, sum(held) / len(held) / n)
    least = by_size.more_rows(found)
    assert least is not None and least >= by_size.MANY
    for rows, passes in ((least, True), (round(0.9 * least), False)):
        need, law = by_size.least_held(rows, 0.8), rows - n
        each = [betabinom.sf(need - k - 1, law, k + 0.5, n - k + 0.5) for k in held]
        assert (np.prod(each) >= 0.8) == passes


def test_below_two_hundred_rows_the_mean_has_to_pass_as_well() -> None:
    found = Counted((83,), 99, 83 / 99)
    rng = seeds.generator(1, "test", "further rows")
    p = rng.beta(83.5, 16.5, size=40_000)
    held = 83 + rng.binomial(51, p)
    passed = [by_size.passed(Counted((int(k),), 150, k / 150)) for k in held]
    assert by_size._will_pass(found, 150, 1) == pytest.approx(np.mean(passed), abs=0.01)


def test_no_number_of_rows_is_promised_where_coverage_looks_low() -> None:
    found = Counted((82,), 100, 0.82)
    assert by_size.more_rows(found) is None
    step = step_estimates._more_pairs(found, 1, Known(Prices(STUDY, "smoke")))
    assert "coverage looks like 82 of 100" in step.text and step.place == FIRST


def on_real(held: int, n: int, pairs: int | None, **cells: Any) -> list[dict[str, Any]]:
    about = {"method": "npe", "budget": 20000, "n_calibration": pairs, "seed": 0, "dataset": "real", **cells}
    share = {"metric": "coverage", "level": 0.9, "n": n, "value": held / n, "stderr": 0.01}
    return [row(**about, **share, parameter=name) for name in ("a", None)]


@pytest.mark.parametrize(
    ("held", "n", "pairs", "text", "setting"),
    [
        (18, 20, None, "Label 531 more data sets, 551 in all.", "test_rows: 551"),
        (92, 100, 50, "Calibrate on 160 labelled pairs in place of 50.", "calibration: [160]"),
        (92, 100, 200, None, ""),
    ],
)
def test_what_labelled_data_are_short_of(
    held: int, n: int, pairs: int | None, text: str | None, setting: str
) -> None:
    verdict = {**judged(), "n_calibration": pairs}
    step = step_estimates.pairs(verdict, Known(Prices(STUDY, "smoke"), on_real(held, n, pairs)))
    assert (step and step.text) == text
    assert step is None or setting in step.command


def test_the_answer_that_labelled_data_prefer_is_named() -> None:
    verdict = judged("labelled_coverage", labelled="caution")
    score = {"budget": 20000, "dataset": "real", "metric": "lpp", "stderr": 0.01}
    rows = [
        row(**score, method=method, seed=k, value=value + 0.01 * k)
        for method, value in (("npe", 1.0), ("rope", 2.0))
        for k in range(3)
    ]
    known = Known(Prices(STUDY, "smoke"), rows, [verdict, {**verdict, "method": "rope"}])
    (step,) = step_estimates.other_methods(verdict, known)
    assert "rope, which the labelled data prefer" in step.text and "1.00 nats" in step.changes
    assert not step_estimates.other_methods({**verdict, "method": "rope"}, known)


def test_shifts_that_ranks_show_are_those_of_the_closed_form() -> None:
    for delta, d, data_sets in ((0.5, 1, 46), (0.5, 8, 70)):
        assert step_estimates.shift_seen(data_sets, d, 0.05, ks=1.0) == pytest.approx(delta, rel=0.02)
    assert step_estimates.shift_seen(400, 2, 0.01) < step_estimates.shift_seen(100, 2, 0.01)


def posterior(seeds_: int, spread: float) -> list[dict[str, Any]]:
    cells = {"method": "npe", "budget": 20000, "dataset": "observed", "dataset_name": "measurement"}
    cells |= {"parameter": "a", "observation": 0}
    means = spread * norm.ppf((np.arange(seeds_) + 0.5) / seeds_)
    means *= spread / max(np.std(means, ddof=1), 1e-12) if seeds_ > 1 else 1
    rows = [row(**cells, seed=k, metric="posterior_mean", value=float(m)) for k, m in enumerate(means)]
    return rows + [row(**cells, seed=k, metric="posterior_sd", value=1.0) for k in range(seeds_)]


@pytest.mark.parametrize(
    ("k", "spread", "says"),
    [(1, 0.0, "0.58 times"), (4, 0.5, "off by 0.25, that of 8 by 0.18"), (4, 0.1, None)],
)
def test_repeats_divide_the_error_of_the_centre(k: int, spread: float, says: str | None) -> None:
    step = step_estimates.repeats(
        {**judged(), "replicates": k}, Known(Prices(STUDY, "smoke"), posterior(k, spread))
    )
    assert (step is None) == (says is None)
    assert step is None or says is None or says in step.changes


# ---- prices and commands ---------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """The gaussian study at scale smoke, of which some jobs have left records."""
    monkeypatch.chdir(tmp_path)
    found = Layout(settings.load(CONFIG / "gaussian.yaml", "smoke"), scale="smoke")
    for stem, seconds in (("train/npe/n2000-r0", 20.0), ("infer/npe/n2000-r0/simulated", 4.0)):
        for kind, suffix, text in (
            ("logs", "log", f"done in {seconds} s\n"),
            ("benchmarks", "jsonl", json.dumps({"s": seconds, "max_rss": 100.0})),
        ):
            path = Path(found.results, kind, f"{stem}.{suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    yield found


def test_a_change_costs_the_jobs_that_it_adds(finished: Layout) -> None:
    study = finished.study.model_dump(mode="json")
    own = Prices(study, "smoke")
    more = own.of({"replicates": 2})
    assert more.seconds == pytest.approx(20.0 + 4.0, rel=0.3) and more.text.startswith("more than")
    larger = own.of({"budgets": [2000, 8000]})
    assert larger.seconds is not None and larger.seconds > more.seconds
    assert own.of({"replicates": 3}).seconds == pytest.approx(2 * more.seconds)


def test_without_records_no_number_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Prices(STUDY, "smoke").of({"replicates": 5}) == prices.Price(prices.UNKNOWN)
    assert "not known" in Prices({"study": "bare"}, "laptop").of({}).text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "1 s"), (41.7, "42 s"), (200, "3 min"), (7300, "2 h 2 min"), (40_000, "11 h")]
)
def test_times_are_told_coarsely(seconds: float, text: str) -> None:
    assert prices.coarse(seconds) == text


OVERS: list[dict[str, Any]] = [
    {"budgets": [2000, 8000]},
    {"replicates": 6},
    {"checks": {"local_ranks": {"draws": 4000}}},
    {"checks": {"sbc": {}}},
    {"test_rows": 2000},
    {},
]


@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("data", [None, "new data.csv"])
def test_commands_say_what_the_makefile_takes(over: dict[str, Any], data: str | None) -> None:
    words = shlex.split(command("gaussian", "smoke", data, over))
    assert re.search(rf"^{words[1]}:", MAKEFILE.read_text(), re.MULTILINE)
    given = dict(word.split("=", 1) for word in words[2:])
    assert given.pop("SCALE") == "smoke" and given.get("DATA") == data
    assert given["STUDY" if data else "NAME"] == "gaussian"
    as_snakemake = parse_config([f"scales={{smoke: {{{given['SET']}}}}}"] if over else [])
    raw = settings.as_written([CONFIG / "gaussian.yaml"], as_snakemake)
    plain = settings.load(CONFIG / "gaussian.yaml", "smoke").model_dump(mode="json")
    assert settings.parse(raw, "smoke") == settings.parse(settings.merge(plain, over), "smoke")


def test_an_installed_package_is_run_by_snakemake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prices.code_digests, "HOME", tmp_path)
    words = shlex.split(command("mine", "paper", "a.csv", {"replicates": 5}))
    assert words[-3:] == ["scale=paper", "scales={paper: {replicates: 5}}", "data=a.csv"]


# ---- which steps, in which order ---------------------------------------------------------------------


def judged(*objecting: str, outcome: str = "caution", **outcomes: str) -> dict[str, Any]:
    """A verdict to which some rules object, with outcomes of its questions."""
    part = {"asks": "", "outcome": "good", "text": "", "replicates": {}}
    parts = {
        name: {**part, "outcome": outcomes.get(name, "good")} for name in ("inference", "simulator", "prior")
    }
    findings = [
        {
            "rule": rule.name,
            "question": rule.part,
            "outcome": outcome if rule.name in objecting else "good",
            "text": "",
            "advice": rule.advice if rule.name in objecting else "",
        }
        for rule in RULES
    ]
    about = {
        "method": "npe",
        "budget": 20000,
        "n_calibration": None,
        "replicates": 1,
        "dataset": "measurement",
    }
    labelled = {**part, "outcome": outcomes.get("labelled", "cannot tell")}
    verdict = outcomes.get("verdict", "caution")
    return {**about, "verdict": verdict, "findings": findings, "questions": parts, "labelled": labelled}


def taken(verdict: dict[str, Any], **known: Any) -> list[Step]:
    return next_steps.steps(verdict, Known(Prices(STUDY, "smoke"), **known))


def test_each_rule_with_advice_takes_one_thing() -> None:
    placed = [rule for rules in next_steps.TAKES.values() for rule in rules]
    assert sorted(placed) == sorted(rule.name for rule in RULES if rule.advice)


def test_steps_come_by_what_they_take_and_each_once() -> None:
    verdict = judged("near_reference", "local_ranks", "typical", inference="caution", prior="cannot tell")
    verdict["questions"]["prior"]["text"] = "Not told: whether prior and data agree."
    found = taken(verdict)
    assert [step.place for step in found] == [LOOK, CHECK, RUN, RUN, LABEL]
    assert len({step.text for step in found}) == len(found)
    assert found[1].text == "Switch on what tells: whether prior and data agree."
    assert {"budgets: [5000, 20000, 80000]", "replicates: 3"} <= {
        step.command.partition("SET=")[2].strip("'") for step in found[2:4]
    }
    assert all(step.command for step in found)
    verdict["questions"]["prior"]["text"] += " Could not be checked: check sbc: ValueError: no."
    assert next_steps.MEND in {step.text for step in taken(verdict)}
    verdict["questions"]["inference"]["outcome"] = "bad"
    assert [step.place for step in taken(verdict)] == [LOOK, RUN, RUN], "first of all it is mended"


def test_checks_that_are_off_are_named_in_the_command() -> None:
    off = {**STUDY, "checks": {**STUDY["checks"], "prior_sensitivity": None}}
    verdict = judged(prior="cannot tell")
    verdict["questions"]["prior"]["text"] = "Not told: whether prior and data agree."
    found = next_steps.steps(verdict, Known(Prices(off, "smoke")))
    assert found[0].command.endswith("SET='checks: {prior_sensitivity: {}}'")


def test_a_study_without_data_is_told_how_to_give_it_some() -> None:
    verdict = {**judged(prior="cannot tell"), "dataset": "simulated"}
    verdict["questions"]["prior"]["text"] = "Not told: whether prior and data agree."
    step = taken(verdict)[0]
    assert (step.text, step.command) == (next_steps.DATA, "make infer STUDY=gaussian DATA=FILE SCALE=smoke")


def test_more_test_rows_are_asked_for_where_too_few_are_why() -> None:
    verdict = judged(simulator="cannot tell", prior="cannot tell")
    verdict["questions"]["prior"]["text"] = "Not told: whether prior and data agree."
    for finding in verdict["findings"]:
        if finding["rule"] == "prior_conflict":
            finding["outcome"] = OUTCOMES[1]
    small = {**STUDY, "test_rows": 100}
    found = next_steps.steps(verdict, Known(Prices(small, "smoke")))
    assert found[0].command.endswith("SET='test_rows: 200'")


@pytest.mark.parametrize(
    ("verdict", "only"),
    [
        (judged("typical", "near_reference", outcome="bad", simulator="bad", inference="bad"), True),
        (judged("labelled_coverage", outcome="bad", labelled="bad"), True),
        (judged(verdict="trust if the simulator is right"), False),
    ],
)
def test_what_no_simulation_mends_is_said_first(verdict: dict[str, Any], only: bool) -> None:
    found = taken(verdict)
    assert found[0].place == FIRST
    assert found[0].text.startswith(next_steps.ONLY if only else "Label ")
    assert not any("budgets" in step.command for step in found)


def test_a_trusted_answer_to_labelled_data_needs_nothing() -> None:
    verdict = {**judged(inference="cannot tell", labelled="good", verdict="trust"), "dataset": "real"}
    verdict["questions"]["inference"]["text"] = "Not told: the answer to these data themselves."
    assert taken(verdict) == []


def test_an_atypical_observation_is_to_be_looked_at_before_anything_is_labelled() -> None:
    assert [step.place for step in taken(judged("typical", simulator="caution"))] == [LOOK, LABEL]


def test_answers_that_are_made_already_and_better_come_before_runs() -> None:
    verdict = judged("near_reference", inference="caution")
    other = {**verdict, "method": "rope", "verdict": "trust"}
    found = taken(verdict, verdicts=[verdict, other])
    assert found[0].text == "Take the answer of rope: on the same data its verdict is trust."
    assert found[0].price.startswith("nothing")


def test_what_the_predictive_check_names_is_to_be_looked_at() -> None:
    cells = {
        "method": "npe",
        "budget": 20000,
        "dataset": "observed",
        "dataset_name": "measurement",
        "seed": 0,
    }
    rows = [row(**cells, metric="predictive_maximum", value=5.0, culprit="lag 7, days 6 and 7")]
    found = taken(judged("reproduces", simulator="caution"), rows=rows)
    assert any(step.text == "Look at what the predictive check names: lag 7, days 6 and 7." for step in found)


@pytest.mark.parametrize("rule", ["typical", "like_simulations"])
def test_what_stands_out_of_the_data_is_named(rule: str) -> None:
    cells = {
        "method": "npe",
        "budget": 20000,
        "dataset": "observed",
        "dataset_name": "measurement",
        "seed": 0,
    }
    numbers = {"summary 3": 0.001, "day 5": 0.004, "day 6": 0.04}
    rows = [
        row(**cells, metric="criticised_p", value=p, number=name, how="lies too low")
        for name, p in numbers.items()
    ]
    found = taken(judged(rule, simulator="caution"), rows=rows)
    told = "Check `criticism` names what stands out: summary 3 lies too low, day 5 lies too low."
    assert any(step.text.endswith(told) for step in found)
    assert not any("criticism" in step.text for step in taken(judged(rule, simulator="caution"), rows=[]))


def test_no_labelled_data_are_asked_for_an_estimate() -> None:
    """A class task has none; another answer with the same outcomes is told how many."""
    verdict = judged(labelled="cannot tell", verdict="trust if the simulator is right")
    cells = {"method": "npe", "budget": 20000, "seed": 0, "value": 0.1, **dataset_cells("measurement")}
    plain = taken(verdict, rows=[row(**cells, metric="posterior_mean")])
    estimate = taken(verdict, rows=[row(**cells, metric="estimate")])
    assert any(step.text.startswith("Label ") for step in plain)
    assert not any("Label " in step.text for step in estimate)
