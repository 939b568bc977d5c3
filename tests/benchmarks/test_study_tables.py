"""Pages of studies that compare methods: `benchmarks/study_tables.py`."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from veridical.evidence.metrics import Row, row

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study_tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("study_tables")


def numbers(method: str, metric: str, values: list[float], **cells: Any) -> list[Row]:
    """One number in each replicate."""
    return [row(method=method, metric=metric, seed=i, value=v, **cells) for i, v in enumerate(values)]


def cells(page: str, *start: str) -> list[str]:
    """The cells behind the first ones of the only line that begins with them."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in page.splitlines()]
    (found,) = [line for line in lines if line[: len(start)] == list(start)]
    return found[len(start) :]


def summed(stderr: float, metric: str, **cells: Any) -> Row:
    """The line for all replicates, of which the tables take the error."""
    return row(metric=metric, value=0.0, stderr=stderr, **cells)


def test_medians_have_the_errors_over_replicates_and_over_the_rows_that_they_share(
    study_tables: ModuleType,
) -> None:
    rope: dict[str, Any] = {"method": "rope", "budget": 100, "dataset": "real", "n_calibration": 50}
    rows = [*numbers(metric="lpp", values=[-1.0, -2.0, -3.5], **rope), summed(0.9, "lpp", **rope)]
    rows += [*numbers(metric="gain", values=[2.0, 2.0, 1.5], **rope), summed(1 / 6, "gain", **rope)]
    rows += numbers("npe", "lpp", [float("-inf"), -9.0, -8.0], budget=100, dataset="real")
    rows += numbers("npe", "gain", [-7.0], budget=100, dataset="real")[:1]
    rows += numbers("npe", "lpp", [6.0, 6.0, 6.0], budget=100, dataset="simulated")
    page = "\n".join(study_tables.methods(rows, "real"))
    # Errors of means across replicates are 0.726 and 0.167: 0.9 leaves sqrt(0.9^2 - 0.726^2) = 0.53 to rows,
    # 1 / 6 nothing. Medians: sqrt((1.25 * 0.726)^2 + 0.53^2) = 1.05, and 1.25 * 0.167 = 0.21.
    assert cells(page, "rope", "50", "100") == ["-2 ± 1.1", "2 ± 0.21"]
    assert cells(page, "npe", "", "100") == ["-9", "-7"]
    assert cells(page, "sbi (npe, simulated)", "", "100")[0] == "6"


def test_likelihood_ratios_stand_beside_the_exact_ones(study_tables: ModuleType) -> None:
    nre: dict[str, Any] = {"method": "nre", "budget": 100, "dataset": "simulated"}
    rows = [*numbers(metric="lrt_mse", values=[2.0, 2.0], **nre)]
    for level, held in ((0.9, 0.8), (0.95, 0.96)):
        rows += numbers(metric="wilks_coverage", values=[held, held], level=level, **nre)
        rows += numbers(metric="wilks_coverage_exact", values=[0.95, 0.95], level=level, **nre)
    heading, page = study_tables.likelihood_ratios(rows)
    assert "Likelihood ratios" in heading
    assert [cell.split(" ")[0] for cell in cells(page, "nre", "100")] == ["2", "0.96", "0.95"]
    assert study_tables.likelihood_ratios(numbers(metric="lpp", values=[1.0], **nre)) == []


def test_a_single_replicate_has_the_error_over_its_rows(study_tables: ModuleType) -> None:
    one = row(method="npe", metric="lpp", seed=0, value=1.0, stderr=0.25, budget=100, dataset="simulated")
    assert cells("\n".join(study_tables.methods([one], "simulated")), "npe", "100") == ["1 ± 0.25"]


def test_methods_of_two_fidelities_are_paired_with_every_budget_of_the_plain_one(
    study_tables: ModuleType,
) -> None:
    rows: list[Row] = []
    for budget, values in ((100, [0.8, 0.9, 0.8]), (300, [0.7, 0.7, 0.6])):
        rows += numbers("npe", "c2st", values, budget=budget, dataset="simulated")
    rows += numbers("mf", "c2st", [0.7, 0.8, 0.7], budget=100, budget_low=1000, dataset="simulated")
    page = "\n".join(study_tables.multifidelity(rows))
    assert cells(page, "mf", "100") == ["-0.1 (-0.1)", "0.1 (0.0667 ± 0.033)", "300"]
    assert study_tables.multifidelity([r for r in rows if r["method"] == "npe"]) == []


def test_estimates_are_averaged_over_trainings_and_over_true_values(study_tables: ModuleType) -> None:
    rows: list[Row] = []
    for at, values in ((0.1, [0.01, 0.03]), (0.5, [0.03, 0.05])):
        for kind in ("total", "statistical"):
            own = numbers("wifi", "coverage_gap_z", values, budget=9, true_value=at, dataset="simulated")
            rows += [{**r, "interval": kind} for r in own]
    page = "\n".join(study_tables.estimates(rows))
    assert cells(page, "wifi", "total") == ["0.02 ± 0.01 (0.03)", "0.04 ± 0.01 (0.05)", "0.03 ± 0.01 (0.04)"]


def test_pseudo_experiments_of_posteriors_have_a_table(study_tables: ModuleType) -> None:
    rows = numbers("npe", "experiment_lpp", [1.0], budget=9, dataset="real")
    rows += numbers("npe", "experiment_coverage", [0.8], budget=9, dataset="real", level=0.9)
    page = "\n".join(study_tables.pseudo_experiments(rows))
    assert cells(page, "npe", "9") == ["1", "0.8"]


def test_the_reason_for_a_verdict_is_the_first_finding_that_decided(study_tables: ModuleType) -> None:
    findings = [
        {"rule": "typical", "outcome": "cannot tell", "text": "Too few to tell."},
        {"rule": "learned", "outcome": "caution", "text": "Little was learned. More is needed."},
        {"rule": "possible", "outcome": "caution", "text": "Truths are excluded."},
    ]
    judged = {"method": "npe", "budget": 9, "n_calibration": None, "dataset": "simulated"}
    judged |= {"verdict": "caution", "summary": "", "findings": findings}
    page = study_tables.verdicts([judged])
    assert cells(page, "npe", "", "simulated", "caution") == ["Little was learned (and 1 more)."]


def test_figures_of_all_methods_come_first(study_tables: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in (
        "tradeoff--all",
        "posterior--npe--real",
        "posterior--rope-c50--real",
        "ranks--npe--simulated",
    ):
        (tmp_path / "figures" / f"{name}.svg").touch()
    rows = numbers("npe", "lpp", [-9.0], budget=9, dataset="real")
    rows += numbers("rope", "lpp", [-1.0], budget=9, n_calibration=50, dataset="real")
    cells = {"budget": 9, "dataset": "real", "verdict": "caution"}
    judged = [{"method": "npe", "n_calibration": None, **cells}]
    judged.append({"method": "rope", "n_calibration": 50, **cells})
    shown = [path.stem for path in study_tables.figures(tmp_path, rows, judged)]
    assert shown == ["tradeoff--all", "posterior--rope-c50--real"]
    judged[1]["verdict"] = "do not trust"
    shown = [path.stem for path in study_tables.figures(tmp_path, rows, judged)]
    assert shown == ["tradeoff--all", "posterior--npe--real"]


def test_distances_from_exact_answers_stand_by_replicate(study_tables: ModuleType) -> None:
    where: dict[str, Any] = {"budget": 9, "dataset": "observed", "dataset_name": "field"}
    rows = numbers("npe", "mean_shift_sd", [0.2, 0.3], **where)
    for name, shifts, ratios in (("a", [0.1, 0.5], [0.9, 1.1]), ("b", [0.3, 0.1], [1.2, 0.7])):
        rows += numbers("npe", "mean_shift_sd", shifts, parameter=name, **where)
        rows += numbers("npe", "sd_ratio", ratios, parameter=name, **where)
    rows += numbers("npe", "c2st", [0.6, 0.7], **where)
    page = "\n".join(study_tables.against_reference(rows, ["field", "field", "other"]))
    told = ["0.2 / 0.3", "0.3 / 0.5", "0.9 / 0.7", "1.2 / 1.1", "0.6 / 0.7", "", ""]
    assert cells(page, "npe", "9") == told and "other" not in page
