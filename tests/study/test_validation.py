"""Methods that do not fit the task or each other are found before any job, with the place and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.errors import SettingError, TrainingError
from veridical.evidence import provenance
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate

NPE: dict[str, Any] = {"type": "npe", "summary": {"type": "mlp", "hidden": [8], "features": 2}}
REAL: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": {"name": "gaussian_linear", "settings": {"real_noise_sd": 2.0}},
    "estimators": {"npe": NPE},
    "budgets": [1000],
    "calibration": [10],
}
CLASSES: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": "gaussian_classes",
    "estimators": {"ratios": {"type": "ratios"}},
    "remedies": {"wifi": {"type": "wifi", "of": "ratios"}},
    "budgets": [1000],
    "experiments": {"batches": 1, "rows": 5, "true_values": [0.1]},
}
PLAIN: dict[str, Any] = {**REAL, "task": "gaussian_linear", "calibration": []}


def check(base: dict[str, Any], changes: dict[str, Any]) -> None:
    validate(Layout(settings.parse(settings.merge(base, changes))))


@pytest.mark.parametrize("base", [REAL, CLASSES, PLAIN], ids=["real", "classes", "plain"])
def test_what_fits_passes(base: dict[str, Any]) -> None:
    check(base, {})


ROPE = {"type": "rope", "of": "npe"}


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (REAL, {"estimators": {"npe": {"fidelity": "real"}}}, "estimators.npe.fidelity: `real` is nature"),
        (
            REAL,
            {"estimators": {"npe": {"fidelity": "modl"}}},
            "npe.fidelity: task gaussian_linear has no 'modl'",
        ),
        (
            PLAIN,
            {"estimators": {"r": {"type": "ridge"}}, "calibration": [10]},
            "estimators.r: it learns from labelled real data, or builds on a method that does, but task "
            "gaussian_linear has no level `real`",
        ),
        (
            REAL,
            {"estimators": {"r": {"type": "ridge"}}, "remedies": {"rope": {"type": "rope", "of": "r"}}},
            "remedies.rope.of: a method of type 'rope' builds on one of type npe or j_npe or tuned, but",
        ),
        (
            REAL,
            {"estimators": {"bare": {"type": "npe", "summary": {"type": "none"}}},
             "remedies": {"rope": {"type": "rope", "of": "bare"}}},
            "'bare' has no summary network",
        ),
        (
            REAL,
            {"estimators": {"late": {**NPE, "start": "npe", "flow": {"bins": 3}}}},
            "estimators.late.start: its weights begin as those of 'npe', but `flow` differs",
        ),
        (REAL, {"estimators": {"npe": {"budgets": [500, 100]}}}, "budgets must grow from first to last"),
        (REAL, {"remedies": {"rope": {**ROPE, "gamma": float("inf")}}}, "rope.gamma: expected a finite"),
        (
            REAL,
            {"estimators": {"ratios": {"type": "ratios"}}},
            "estimators.ratios: type 'ratios' learns from two classes, but task gaussian_linear has",
        ),
        (
            CLASSES,
            {"estimators": {"npe": NPE}},
            "estimators.npe: type 'npe' answers with parameters, but task gaussian_classes has the classes "
            "signal and background",
        ),
        (CLASSES, {"remedies": {"wifi": None}}, "`ratios` alone gives no estimate; add a remedy"),
        (CLASSES, {"experiments": {"true_values": []}}, "experiments.true_values: expected fractions"),
        (CLASSES, {"experiments": {"true_values": [1.5]}}, "true_values.0: expected a number less"),
        (CLASSES, {"experiments": {"methods": ["ratios"]}}, "'ratios' gives no answer that could be judged"),
        (
            REAL,
            {"experiments": {"batches": 1, "rows": 5, "true_values": [0.1]}},
            "experiments.true_values: they are for tasks with classes",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before_any_job(
    base: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        check(base, changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Mine(:", "cannot be imported: SyntaxError"),
        ("class Other: ...", "has no class 'Mine'"),
        ("class Mine: ...", "expected Mine to be a subclass of veridical.estimators.Estimator"),
        (
            "from veridical.estimators import Estimator\nclass Mine(Estimator): ...",
            "Mine does not implement arrays, fit, from_arrays",
        ),
    ],
)
def test_a_file_of_the_users_own_is_imported_before_any_job(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    own = {"type": "own", "file": str(file), "class": "Mine"}
    with pytest.raises(TrainingError) as caught:
        check(REAL, {"estimators": {"mine": own}})
    assert message in str(caught.value)


def test_two_files_of_one_stem_do_not_share_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, value in (("a", 0.1), ("b", 0.2), ("copy", 0.1)):
        Path(folder).mkdir()
        np.savez(f"{folder}/field.npz", x=np.full((1, 2), value))

    def given(folder: str) -> Layout:
        return Layout(settings.parse(PLAIN), data=f"{folder}/field.npz")

    validate(given("a"))
    data = {"field": {"file": "a/field.npz", "source": ""}}
    provenance.write(
        Path(given("a").report) / "provenance.json",
        provenance.build({"study": "s", "seed": 1}, given("a").report, [], data=data),
    )
    validate(given("a"))
    validate(given("copy"))
    with pytest.raises(
        SettingError, match=r"b/field\.npz would be called 'field', as is a/field\.npz, on which"
    ):
        validate(given("b"))
