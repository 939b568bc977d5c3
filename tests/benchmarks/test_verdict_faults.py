"""The faults of earlier rules, each shown again with few repeats; and the model behind the error rates."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import jsonschema
import numpy as np
import pytest

from veridical.report import verdict

ROOT = Path(__file__).parents[2]
CONDITIONAL = "trust if the simulator is right"


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("verdict_faults")


def test_an_exact_reference_does_not_speak_for_the_simulator(faults: ModuleType) -> None:
    found = faults.wrong_simulator(4)
    for name, said in found.items():
        assert said["trust"] == 0
        assert said["do not trust"] == pytest.approx(1) or "labelled" not in name


def test_replicates_that_each_fail_another_rule_are_failures(faults: ModuleType) -> None:
    assert faults.each_replicate_fails_another_rule() == "do not trust"


def test_one_wild_observation_among_twenty_is_found_and_named(faults: ModuleType) -> None:
    found = faults.one_wild_observation()
    (text,) = [f["text"] for f in found["findings"] if f["rule"] == "typical"]
    assert "observation 4 lies" in text and found["verdict"] == "caution"
    enough = faults.one_wild_observation(simulated=5_000)
    assert faults.outcome(enough, "typical") == "bad" and enough["verdict"] == "do not trust"


@pytest.mark.parametrize(
    ("shift", "sd", "expected"),
    [
        ([0.0] * 4, [1.0] * 4, "good"),
        ([0.0] * 4, [0.5] * 2 + [1.5] * 2, "bad"),
        ([0.49], [0.67], "caution"),
        ([4.0, 0.0, 0.0, 0.0], [1.0] * 4, "bad"),
    ],
)
def test_answers_are_held_against_the_reference_one_observation_at_a_time(
    faults: ModuleType, shift: list[float], sd: list[float], expected: str
) -> None:
    assert faults.against_reference(shift, sd) == expected


@pytest.mark.parametrize("n", [100, 500])
def test_an_answer_that_is_the_prior_earns_no_trust(faults: ModuleType, n: int) -> None:
    assert faults.calibrated(faults.PRIOR, 4, n, 10) == 0


@pytest.mark.parametrize(("n", "share"), [(10, 0.043), (20, 0.016), (50, 0.016)])
def test_few_labelled_rows_earn_no_trust_for_wrong_answers(faults: ModuleType, n: int, share: float) -> None:
    """sd 1.5 too small: exactly, all of 10 rows held at 0.73, 19 or 20 of 20 with their mean, less at 50."""
    error = (share * (1 - share) / 40) ** 0.5
    assert faults.calibrated(faults.Case("", faults.scaled(1 / 1.5)), 1, n, 40) <= share + 4 * error


def test_good_answers_to_data_from_one_corner_of_the_prior_are_not_refused(faults: ModuleType) -> None:
    assert faults.from_one_corner(6)["do not trust"] == 0


@pytest.mark.parametrize(
    ("simulated", "expected"), [(100, "cannot tell"), (300, "cannot tell"), (1000, "caution")]
)
def test_a_null_too_small_to_reject_cannot_tell(faults: ModuleType, simulated: int, expected: str) -> None:
    assert faults.one_far_observation(simulated) == expected


def test_an_uncalibrated_method_can_earn_trust_on_labelled_data(faults: ModuleType) -> None:
    assert faults.uncalibrated_on_real(8) >= 0.5


def test_many_wrong_variants_on_the_same_rows_earn_no_trust(faults: ModuleType) -> None:
    assert faults.some_of_many_variants(5, 8) <= 0.125


def test_what_the_second_member_of_an_ensemble_sees_is_seen(faults: ModuleType) -> None:
    assert faults.seen_by_the_second_member() == "bad"


def test_the_predictive_check_tests_and_names_empty_weekends(faults: ModuleType) -> None:
    found = faults.predictive_check(20)
    assert found["size"] <= 0.05 + 4 * (0.05 * 0.95 / found["n"]) ** 0.5
    assert found["seen"] == 50 and found["named"] >= 42


def test_measured_faults_and_cases_replace_their_own_lines_alone(
    faults: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_table, cases = (importlib.import_module(name) for name in ("verdict_fault_table", "cases"))
    monkeypatch.setattr(fault_table, "KEPT", tmp_path / "kept.json")
    (tmp_path / "kept.json").write_text(json.dumps({"2": {"after": "old"}, "9": {"after": "kept"}}))
    found = fault_table.measure(["2"])
    assert (found["2"]["after"], found["9"]["after"]) == ("do not trust", "kept")
    assert "kept |" in fault_table.section(found) and "| 5 |" not in fault_table.section(found)
    page = tmp_path / "cases.md"
    page.write_text("| situation | study |\n| --- | --- |\n| study_yaml | dup | before | after |\n")
    monkeypatch.setattr("sys.argv", ["cases.py", "x", "--only", "verdict: detection*", "--out", str(page)])
    with pytest.raises(SystemExit) as ended:
        cases.main()
    assert ended.value.code == 0
    lines = cases.lines_of(page)
    assert lines["study_yaml", "dup"][2:] == ["before", "after"]
    assert lines["verdict", "detection_mute.py"][2:] == ["good", "cannot tell"] and len(lines) == 2


def test_density_zero_at_the_truth_is_a_fault(faults: ModuleType) -> None:
    assert faults.density_zero_at_the_truth() == "do not trust"


# ---- the model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("laplace", [False, True])
def test_closed_forms_are_those_of_draws(faults: ModuleType, laplace: bool, rng: np.random.Generator) -> None:
    """Ranks and levels of highest-density regions against 20,000 draws; errors at most 0.5 / sqrt(S) each."""
    cases = importlib.import_module("verdict_cases")
    theta, m = rng.normal(size=(2, 5, 3))
    q = cases.Answer(0.9 * m, np.full(m.shape, 0.4), 0.0 if laplace else 0.5, laplace)
    u, hpd, log_q = q.ranks(theta)
    draws = q.sample(rng, 20_000)
    np.testing.assert_allclose((draws < theta).mean(axis=0), u, atol=5 * 0.5 / np.sqrt(20_000))
    at_draws = np.array([q.ranks(t)[2] for t in draws[:2_000]])
    np.testing.assert_allclose((at_draws > log_q).mean(axis=0), hpd, atol=5 * 0.5 / np.sqrt(2_000))


def test_right_answers_pass_and_wrong_ones_do_not(faults: ModuleType, tmp_path: Path) -> None:
    rates = importlib.import_module("verdict_error_rates")
    cases = importlib.import_module("verdict_cases")
    schema = json.loads((ROOT / "workflow" / "schemas" / "verdict.json").read_text())
    for case, allowed in ((cases.CASES[0], {CONDITIONAL, "caution"}), (cases.CASES[4], {"do not trust"})):
        found = rates.rates(
            lambda rng, case=case: cases.rows_of(case, 2, (0,), rng), 5, ("data", None), case.name
        )
        given = {word for word, share in zip(rates.VERDICTS, found[0], strict=True) if share > 0}
        assert given <= allowed
        rows = cases.rows_of(case, 2, (100,), np.random.default_rng(1))[100]
        path = tmp_path / "verdict.json"
        verdict.write(path, {**verdict.decide(rows), "study": "s", "task": "t"})
        jsonschema.validate(verdict.load(path), schema)
