"""Results of others: what is taken, and how each fault is named."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from veridical.errors import DataError
from veridical.report import submission
from veridical.report.leaderboard import QUESTIONS as BOARD
from veridical.report.leaderboard import numbers_of, widths
from veridical.report.places import Place

KNOWN = submission.Rules(
    "wrong",
    frozenset({("pendulum", 0.0), ("pendulum", 0.5)}),
    {"pendulum": ("frequency", "amplitude")},
    frozenset({50, 200}),
    3,
    frozenset({"npe", "ridge"}),
)
COLUMNS = [*submission.COLUMNS, *submission.OPTIONAL]
OWN: dict[str, Any] = {
    "task": "pendulum",
    "severity": "0.5",
    "method": "mine",
    "n_calibration": "50",
    "seed": "0",
    "stderr": "0.1",
    "n": "300",
}
WHOLE: list[dict[str, Any]] = [
    {"metric": "lpp", "value": "-1.5"},
    {"metric": "hpd_coverage", "value": "0.9"},
    {"metric": "acauc", "value": "0.01"},
    {"metric": "prior_contraction", "value": "0.75", "parameter": "frequency"},
    {"metric": "prior_contraction", "value": "0.5", "parameter": "amplitude"},
]


def save(folder: Path, rows: list[dict[str, Any]], columns: list[str] = COLUMNS) -> Path:
    path = folder / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def whole(**changes: Any) -> list[dict[str, Any]]:
    """A whole submission of one cell, its first row with changes."""
    rows = [{**OWN, **row} for row in WHOLE]
    return [{**rows[0], **changes}, *rows[1:]]


def test_what_is_as_asked_becomes_rows_of_the_leaderboard(tmp_path: Path) -> None:
    rows = submission.read(save(tmp_path, whole()), KNOWN)
    lpp = next(question for question in BOARD if question.key == "lpp")
    (place,) = numbers_of(lpp, rows)
    assert place == Place("pendulum", 0.5, "mine", 50)
    assert numbers_of(lpp, rows)[place].value == -1.5
    assert widths(rows)[place].value == 1.0, "it is the narrowest honest one of one"


def test_zero_pairs_are_none_and_a_truth_may_be_excluded(tmp_path: Path) -> None:
    rows = [{**row, "n_calibration": "0"} for row in whole(value="-inf", stderr="")]
    found = submission.read(save(tmp_path, rows), KNOWN)
    assert {row["n_calibration"] for row in found} == {None} and found[0]["value"] == -float("inf")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "pendulun"}, "line 2: task: wrong has no task 'pendulun'. Did you mean 'pendulum'?"),
        ({"severity": "1"}, "line 2: severity: expected one of 0, 0.5, got '1'."),
        ({"severity": "half"}, "severity: expected a number, got 'half'."),
        ({"method": "ridge"}, "'ridge' is in the benchmark already; give yours another name."),
        ({"method": "my method"}, "method: expected letters, digits and underscores"),
        ({"n_calibration": "51"}, "n_calibration: expected nothing, 0 or one of 50, 200, got 51."),
        ({"n_calibration": "-1"}, "n_calibration: expected a whole number from 0, got '-1'."),
        ({"seed": "3"}, "seed: expected a whole number from 0 below 3, got '3'."),
        ({"metric": "lppp"}, "metric: 'lppp' cannot be submitted. Did you mean 'lpp'?"),
        ({"metric": "c2st", "value": "1.2"}, "value: expected c2st from 0 to 1, got '1.2'."),
        ({"value": "nan"}, "value: expected lpp from -inf to inf, got 'nan'."),
        ({"value": "inf"}, "got 'inf'."),
        ({"stderr": "-0.1"}, "stderr: expected a number from 0, or nothing, got '-0.1'."),
        ({"parameter": "frequency"}, "lpp is one number of all of them; leave the cell empty."),
        ({"metric": "prior_contraction"}, "asked of each parameter, frequency, amplitude; got 'none'."),
        ({"metric": "acauc"}, "mine on pendulum_s0p5, 50 pairs, seed 0: acauc"),
        ({"seed": "1"}, "mine on pendulum_s0p5, 50 pairs, seed 0: lpp is missing"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    if changes == {"metric": "acauc"}:
        changes = {"metric": "acauc", "value": "0.1"}
    with pytest.raises(DataError) as caught:
        submission.read(save(tmp_path, whole(**changes)), KNOWN)
    assert sentence in str(caught.value)


def test_missing_and_unknown_columns_are_named(tmp_path: Path) -> None:
    columns = [name for name in COLUMNS if name != "seed"] + ["notes"]
    rows = [{key: value for key, value in row.items() if key != "seed"} for row in whole()]
    with pytest.raises(DataError, match="seed missing; remove 'notes'"):
        submission.read(save(tmp_path, rows, columns), KNOWN)


def test_all_faults_are_told_at_once_and_an_empty_file_is_one(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        submission.read(save(tmp_path, [{**row, "seed": "9"} for row in whole()]), KNOWN)
    assert str(caught.value).count("seed: expected") == len(WHOLE)
    with pytest.raises(DataError, match="no row"):
        submission.read(save(tmp_path, []), KNOWN)
    with pytest.raises(DataError, match="expected a CSV file in UTF-8"):
        submission.read(tmp_path / "missing.csv", KNOWN)
