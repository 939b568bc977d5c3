"""Layout: where results lie, which rows and checks a study needs, what makes another bank."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import bank, checks
from veridical.errors import SettingError
from veridical.plan.work import Piece, amount
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import dataset_name, validate

BASE: dict[str, Any] = {
    "study": "small",
    "seed": 1,
    "task": {"name": "gaussian_linear"},
    "simulation": {"shard_rows": 1000},
    "estimators": {"npe": {"type": "npe"}},
    "budgets": [1000, 2500],
    "replicates": 2,
    "test_rows": 300,
}
FIELD = {"observations": {"field": {"file": "field.csv", "layout": "table"}}}
LABELLED = ["sbc", "coverage", "tarp", "scores", "exact"]
UNLABELLED = ["typicality", "predictive", "detection"]
UNIFORM = {"prior": "uniform", "lower": 0, "upper": 1}
LOCAL = ["local_ranks", "local_c2st", "importance", "prior_sensitivity"]


def make(scale: str = "laptop", data: str | None = None, **changes: Any) -> Layout:
    return Layout(settings.parse(settings.merge(BASE, changes), scale), scale=scale, data=data)


def applicable(layout: Layout, dataset: str) -> list[str]:
    return layout.applicable(layout.final_runs[-1], dataset)


def file_task(folder: Path, rows: int = 1500) -> dict[str, Any]:
    """Settings of a task whose simulations lie in a file."""
    x = np.arange(2.0 * rows).reshape(rows, 2)
    np.savez(folder / "runs.npz", theta=x + 1, x=x)
    parameters = {"a": {"lower": 0, "upper": 9999}, "b": {"lower": 0, "upper": 9999}}
    return {"simulations": str(folder / "runs.npz"), "parameters": parameters, "x_shape": [2]}


def test_labels_are_for_readers_alone() -> None:
    parameters = {"a": {"prior": "uniform", "lower": 0, "upper": 1, "unit": "m"}}
    axes = [{"name": "time", "length": 3}]
    task = {"name": "t", "command": "true {theta} {out}", "parameters": parameters, "dimensions": axes}
    plain = make(task=task)
    labelled = {"parameters": {"a": {"label": "α"}}, "dimensions": [{**axes[0], "label": "$t$"}]}
    found = make(task=settings.merge(task, labelled))
    assert found.labels == {"parameters": {"a": "α"}, "dimensions": {"time": "$t$"}} and plain.labels == {}
    assert (found.bank, found.task_spec) == (plain.bank, plain.task_spec)


def test_a_key_of_several_parameters_has_a_list_of_labels() -> None:
    joint = {"prior": "normal", "mean": [0, 0], "sd": [1, 1], "correlation": 0.5, "label": ["α", "β"]}
    task = {"name": "t", "command": "true {theta} {out}", "parameters": {"a, b": joint}, "x_shape": [2]}
    assert make(task=task).labels == {"parameters": {"a": "α", "b": "β"}}
    with pytest.raises(SettingError, match="expected a list of 2 labels, got 'α'"):
        make(task={**task, "parameters": {"a, b": {**joint, "label": "α"}}})


def test_stored_simulations_have_labels_too(tmp_path: Path) -> None:
    task = file_task(tmp_path)
    task["parameters"]["b"]["label"] = "β"
    found = make(task=task, budgets=[100], test_rows=20)
    assert found.labels == {"parameters": {"b": "β"}} and "label" not in str(found.task_spec)


# ---- folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "folder"),
    [("smoke", "results/small@smoke"), ("laptop", "results/small"), ("paper", "results/small@paper")],
)
def test_scales_have_folders_of_their_own_and_one_bank(scale: str, folder: str) -> None:
    layout = make(scale, scales={"smoke": {"budgets": [100]}})
    assert layout.results == layout.report == folder
    assert layout.bank == make().bank
    assert Path(layout.bank).parent == Path("results/bank")
    assert Path(layout.bank).name == f"gaussian_linear-{layout.bank_key}"


def test_the_root_of_all_results_can_be_elsewhere() -> None:
    layout = Layout(make().study, root="/scratch/results")
    assert layout.results == "/scratch/results/small"
    assert layout.bank.startswith("/scratch/results/bank/")


# ---- shards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "shards"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_a_budget_lists_exactly_the_full_shards_that_hold_it(rows: int, shards: int) -> None:
    layout = make()
    expected = [bank.shard_name(1000 * i, 1000 * i + 999) for i in range(shards)]
    found = layout.shards("model", "train-r0", rows)
    assert found == [f"{layout.bank}/model/train-r0/{name}" for name in expected]


def test_a_larger_budget_lists_the_same_shards_first() -> None:
    layout = make()
    small, large = (layout.shards("model", "train-r0", rows) for rows in (1000, 2500))
    assert large[: len(small)] == small


def test_a_study_uses_the_largest_budget_of_each_replicate_and_its_test_rows() -> None:
    layout = make()
    assert layout.used_rows == {"model/test": 300, "model/train-r0": 2500, "model/train-r1": 2500}
    expected = [p for part, rows in layout.used_rows.items() for p in layout.shards(*part.split("/"), rows)]
    assert layout.all_shards() == expected
    assert [
        p.replace("/benchmarks", "").replace(".jsonl", ".zarr.zip") for p in layout.bank_benchmarks()
    ] == (layout.all_shards())


def test_a_method_uses_the_rows_of_its_own_fidelity() -> None:
    estimators = {"npe": {"type": "npe", "fidelity": "euler"}, "dear": {"type": "npe"}}
    layout = make(task={"name": "lotka_volterra"}, estimators=estimators, replicates=1)
    assert (layout.target, layout.fidelity("npe"), layout.fidelity("dear")) == ("ode", "euler", "ode")
    assert layout.used_rows == {"ode/test": 300, "euler/train-r0": 2500, "ode/train-r0": 2500}


def test_the_last_shard_of_simulations_made_elsewhere_ends_with_the_file(tmp_path: Path) -> None:
    layout = make(task={**file_task(tmp_path), "name": "elsewhere"}, budgets=[1200], replicates=1)
    names = [Path(path).name for path in layout.shards("stored", "train-r0", 1200)]
    assert names == [bank.shard_name(0, 999), bank.shard_name(1000, 1199)]
    assert [Path(p).name for p in layout.shards("stored", "test", 300)] == [bank.shard_name(0, 299)]
    assert layout.task_spec["reserved"] == {"test": 300}


# ---- what makes another bank, and what does not ------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"task": {"settings": {"dimension": 3}}},
        {"task": {"settings": {"noise_sd": 0.5}}},
        {"task": {"block_rows": 500}},
    ],
    ids=str,
)
def test_what_decides_an_array_makes_another_bank(changes: dict[str, Any]) -> None:
    assert make(**changes).bank_key != make().bank_key


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "other", "title": "Other"},
        {"simulation": {"shard_rows": 2000, "max_invalid": 0.5, "time_limit": 5, "probe_rows": 9}},
        {"budgets": [9000], "replicates": 7, "test_rows": 40},
        {"estimators": {"npe": {"training": {"epochs": 1}}}},
        {"checks": {"sbc": None}},
        FIELD,
    ],
    ids=lambda changes: ",".join(changes),
)
def test_what_decides_no_array_leaves_the_bank(changes: dict[str, Any]) -> None:
    assert make(**changes).bank_key == make().bank_key


def test_the_kind_of_an_axis_leaves_the_bank() -> None:
    """It chooses networks, and somebody who declares it late keeps the simulations."""
    task = {"name": "crude", "command": "cp {theta} {out}", "parameters": {"a": UNIFORM}}
    keys = {
        make(task={**task, "dimensions": [{"name": "time", "length": 4, **kind}]}).bank_key
        for kind in ({}, {"kind": "series"}, {"kind": "exchangeable"})
    }
    assert len(keys) == 1


def test_a_time_limit_decides_arrays_where_timeouts_are_data() -> None:
    parameters = {"a": UNIFORM}
    command = {"name": "crude", "command": "cp {theta} {out}", "parameters": parameters, "x_shape": [1]}
    for is_data in (False, True):
        keys = {
            make(
                task={**command, "timeout_is_data": is_data},
                simulation={"time_limit": limit, "shard_rows": 1000},
            ).bank_key
            for limit in (1, 2)
        }
        assert len(keys) == 1 + is_data


# ---- runs and checks ---------------------------------------------------------------------------------


def test_every_method_budget_and_replicate_is_a_run() -> None:
    layout = make(estimators={"npe": {"type": "npe"}, "wide": {"type": "npe"}})
    assert [run.folder for run in layout.runs] == [
        f"{method}/n{budget}-r{replicate}"
        for method in ("npe", "wide")
        for budget in (1000, 2500)
        for replicate in (0, 1)
    ]
    assert layout.final_runs == [run for run in layout.runs if run.budget == 2500]


def test_checks_need_what_a_data_set_has(tmp_path: Path) -> None:
    plain, exact = make(**FIELD), make(**FIELD, reference={})
    stored = make(task={**file_task(tmp_path), "name": "elsewhere"}, budgets=[1200], **FIELD)
    assert applicable(plain, "simulated") == applicable(exact, "simulated") == LABELLED
    assert applicable(plain, "field") == UNLABELLED + LOCAL
    assert applicable(exact, "field") == ["two_sample", *UNLABELLED, *LOCAL]
    assert applicable(stored, "field") == ["typicality", "detection"], "a file cannot simulate predictions"
    everything = {*applicable(exact, "simulated"), *applicable(exact, "field")}
    assert everything == set(checks.CHECKS) - checks.ASKED_FOR


def test_checks_that_simulate_near_an_answer_ask_methods_whose_answers_stand_alone(tmp_path: Path) -> None:
    rope = {"type": "rope", "of": "npe", "simulations": 50}
    (tmp_path / "mine.py").write_text("")
    tied = {"type": "own", "file": str(tmp_path / "mine.py"), "class": "Tied"}
    estimators = {"alone": tied, "tied": {**tied, "transductive": True}}
    layout = make(**FIELD, estimators=estimators, remedies={"rope": rope})
    for method, asked in (("npe", True), ("alone", True), ("tied", False), ("rope", False)):
        (run, *_) = [run for run in layout.final_runs if run.method == method]
        found = layout.applicable(run, "field")
        assert {"local_ranks", "local_c2st"} <= set(found) if asked else not set(LOCAL[:2]) & set(found)
        assert {"importance", "prior_sensitivity"} <= set(found)


@pytest.mark.parametrize(("rows", "near"), [(None, True), (100, True), (99, False)])
def test_methods_that_are_dear_to_ask_are_asked_about_few(rows: int | None, near: bool) -> None:
    """As many labelled data sets as are named; simulations near the data only where these are no more."""
    checked = {"local_ranks": {"simulations": 100}}
    layout = make(estimators={"nle": {"type": "nle"}}, sampled_rows=rows, checks=checked, **FIELD)
    assert (layout.rows_asked("nle"), layout.rows_asked("npe")) == (rows, None)
    for method, asked in {"nle": near, "npe": True}.items():
        (run, *_) = [run for run in layout.final_runs if run.method == method]
        assert ("local_ranks" in layout.applicable(run, "field")) == asked
        assert {"sbc", "coverage"} <= {*layout.applicable(run, "simulated")}
        piece = Piece.of(f"infer/{method}/n1000-r0/simulated")
        assert piece is not None
        n = rows if rows and method == "nle" else layout.study.test_rows
        assert amount(piece, layout) == n * layout.study.test_draws


def test_a_check_that_is_switched_off_is_not_run() -> None:
    layout = make(checks={"sbc": None, "typicality": None}, **FIELD)
    assert "sbc" not in applicable(layout, "simulated")
    assert applicable(layout, "field") == ["predictive", "detection", *LOCAL]


def test_scores_are_taken_at_every_budget_and_the_rest_at_the_largest() -> None:
    layout = make(**FIELD)
    expected = [
        f"results/small/check/npe/n{budget}-r{r}/simulated/{check}.json"
        for budget in (1000, 2500)
        for r in (0, 1)
        for check in ("scores", "exact")
    ]
    expected += [
        f"results/small/check/npe/n2500-r{r}/{dataset}/{check}.json"
        for r in (0, 1)
        for dataset, names in (("simulated", LABELLED[:3]), ("field", UNLABELLED + LOCAL))
        for check in names
    ]
    assert sorted(layout.check_results()) == sorted(expected)


def test_draws_are_those_that_checks_and_report_rest_on() -> None:
    layout = make(**FIELD, reference={})
    judged = {
        path.rpartition("/")[0].replace("/check/", "/infer/") + ".nc" for path in layout.check_results()
    }
    assert set(layout.all_draws()) == judged | {"results/small/infer/reference/field.nc"}
    assert make().references == []


# ---- new data ----------------------------------------------------------------------------------------


def test_new_data_take_the_place_of_the_studys_own() -> None:
    observations = {"pelts": {"file": "pelts.csv", "columns": ["hare", "lynx"], "source": "trappers"}}
    layout = make(data="new/furs-1935.csv", observations=observations)
    assert layout.results == "results/small"
    assert layout.report == "results/small/furs_1935"
    ((name, found),) = layout.observations.items()
    assert (name, found.file, found.columns) == ("furs_1935", "new/furs-1935.csv", ["hare", "lynx"])
    assert (found.source, found.index) == ("", None), "source and years are those of the old data"
    assert {Path(p).parent.name for p in layout.check_results()} == {"simulated", "furs_1935"}


def test_new_data_need_no_old_ones() -> None:
    layout = make(data="new.npz")
    assert {name: o.file for name, o in layout.observations.items()} == {"new": "new.npz"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/pelts.csv", "pelts"),
        ("my-new data.v2.csv", "my_new_data"),
        ("2024.npz", "data_2024"),
        ("häsin.nc", "h_sin"),
        ("_x.csv", "data__x"),
    ],
)
def test_a_file_names_its_data_set(path: str, name: str) -> None:
    assert dataset_name(path) == name
    settings.parse(settings.merge(BASE, {"observations": {name: {"file": path}}}))


# ---- code --------------------------------------------------------------------------------------------


def test_the_digest_of_a_rule_holds_its_script_and_modules() -> None:
    layout = make()
    digests = {
        layout.code("check", *checks.modules("sbc")),
        layout.code("check", *checks.modules("tarp")),
        layout.code("infer", *checks.modules("sbc")),
    }
    assert len(digests) == 3


def test_a_bank_larger_than_names_of_shards_is_refused_before_anything_runs() -> None:
    validate(make(budgets=[10**9], simulation={"shard_rows": 10**7}))
    with pytest.raises(SettingError, match=r"train-r0: at most 1,000,000,000 rows"):
        validate(make(budgets=[10**9 + 1], simulation={"shard_rows": 10**7}))


def test_shards_hold_whole_blocks() -> None:
    with pytest.raises(
        SettingError, match=r"multiple of the task's block of 1000 rows, got 1600; 2000 would"
    ):
        validate(make(simulation={"shard_rows": 1600}))
    validate(make())


@pytest.mark.parametrize("name", ["{x}.csv", "x}.csv", "a{b/x.csv"])
def test_data_whose_name_snakemake_would_fill_in_are_refused(name: str) -> None:
    with pytest.raises(
        SettingError, match=r"observations\.field\.file: expected a path without braces.*Rename"
    ):
        validate(make(observations={"field": {"file": name, "layout": "table"}}))
    with pytest.raises(SettingError, match=r"data: expected a path without braces"):
        validate(make(data=name, **FIELD))


def test_seconds_are_those_of_fidelities_that_the_task_has() -> None:
    validate(make(simulation={"seconds": {"model": 1.0}}))
    with pytest.raises(SettingError, match=r"simulation\.seconds: .* 'modle'\. Did you mean 'model'\?"):
        validate(make(simulation={"seconds": {"modle": 1.0}}))


def test_the_content_of_stored_simulations_names_their_bank_not_its_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"0.{i},{i}\n" for i in range(10, 50))
    task = {"simulations": "runs.csv", "parameters": {"a": {"lower": 0, "upper": 1}}}

    def key(text: str, date: float) -> str:
        Path("runs.csv").write_text(text)
        os.utime("runs.csv", (date, date))
        return make(task={**task, "name": "runs"}, budgets=[20], test_rows=20).bank_key

    first = key(f"a,x\n{rows}", 2e9)
    assert key(f"a,x\n{rows}", 1e9) == first, "merely touched"
    assert key(f"a,x\n{rows.replace('0.10', '0.11')}", 1e9) != first, "of the same length, and older"


def test_numbers_that_may_be_missing_ones_are_asked_about_before_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("field.csv").write_text("a,b\n1.0,-999\n")
    validate(make(task={"name": "gaussian_linear", "settings": {"dimension": 2}}, **FIELD))
    (said,) = caplog.messages
    assert said.startswith(
        "data set field: feature 1 (column 'b'): does -999, in 1 of 1 rows, stand for a missing"
    )
