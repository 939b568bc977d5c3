"""Methods that learn in rounds: their runs, costs, folders and checks from settings, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from veridical.errors import SettingError
from veridical.methods import giving
from veridical.progress.jobs import jobs
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate

TSNPE: dict[str, Any] = {"type": "tsnpe", "rounds": 3, "rows": [1000, 600], "posterior": {"type": "npe"}}

MEMBERS: dict[str, Any] = {"type": "ensemble", "members": 3}
ACTIVE: dict[str, Any] = {"acquisition": "disagreement", "posterior": MEMBERS}


def make(
    folder: Path,
    held: int = 1,
    data: str | None = None,
    methods: dict[str, Any] | None = None,
    remedies: dict[str, Any] | None = None,
    **changes: Any,
) -> Layout:
    (folder / "field.csv").write_text("x0,x1\n" + "0.3,-0.2\n" * held)
    base = {
        "study": "small",
        "seed": 1,
        "task": {"name": "gaussian_linear", "block_rows": 500},
        "simulation": {"shard_rows": 500},
        "observations": {"field": {"file": str(folder / "field.csv"), "layout": "table"}},
        "estimators": {"npe": {"type": "npe"}, "tsnpe": {**TSNPE, **changes}, **(methods or {})},
        "remedies": remedies or {},
        "budgets": [2000],
        "experiments": {"batches": 1, "rows": 30, "draws": 99},
        "replicates": 1,
    }
    return Layout(settings.parse(base), data=data)


def test_runs_costs_and_folders(tmp_path: Path) -> None:
    layout = make(tmp_path, 2, observations=2)
    validate(layout)
    (run,) = (run for run in layout.runs if run.method == "tsnpe")
    assert (run.name, layout.ledger(run)) == ("n2200-r0", {"model": 1000 + 2 * 1200})
    assert layout.parts(run) == [("model", "train-r0", 1000)]
    assert layout.rounds(run) == [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    folder = "results/small/rounds/tsnpe/n1000-r0/observation-1/round-2"
    assert layout.round_folder(run, 1, 2) == folder
    names = ("rows-000000000-000000499.zarr.zip", "rows-000000500-000000599.zarr.zip")
    assert layout.round_shards(run, 1, 2) == [f"{folder}/{name}" for name in names]
    counts = {rule: sum(job.rule == rule for job in jobs(layout)) for rule in ("propose", "simulate_round")}
    assert counts == {"propose": 4, "simulate_round": 8}
    logs = [job.log for job in jobs(layout) if job.rule in ("train_round", "gather")]
    assert len(logs) == 7 and "results/small/logs/rounds/tsnpe/n2200-r0/gather.log" in logs


def test_another_number_of_rounds_leaves_the_settings_of_a_round_alone(tmp_path: Path) -> None:
    two, three = (make(tmp_path, rounds=n) for n in (2, 3))
    assert two.round_spec("tsnpe", 2) == three.round_spec("tsnpe", 2)
    assert two.round_folder(two.runs[-1], 0, 2) == three.round_folder(three.runs[-1], 0, 2)


def test_only_its_own_data_are_asked_about_and_no_calibration(tmp_path: Path) -> None:
    layout = make(tmp_path)
    run = next(run for run in layout.runs if run.method == "tsnpe")
    assert layout.datasets(run) == ["simulated", "field"]
    assert layout.applicable(run, "simulated") == []
    assert {"local_ranks", "local_c2st", "importance", "typicality", "predictive"} <= {
        *layout.applicable(run, "field")
    }
    assert {run.method for run, _ in layout.experiments} == {"npe"}
    assert not any("tsnpe" in path for path in layout.control_answers())
    assert make(tmp_path, data=str(tmp_path / "new.csv")).datasets(run) == []


def test_what_corrects_rounds_is_for_the_same_data_and_not_weighed_again(tmp_path: Path) -> None:
    layout = make(tmp_path, remedies={"fixed": {"type": "importance", "of": "tsnpe"}})
    validate(layout)
    run, above = (next(r for r in layout.runs if r.method == name) for name in ("fixed", "tsnpe"))
    assert layout.datasets(run) == ["field"] and layout.local("fixed") and layout.basis_run(run) == above
    asked = {*layout.applicable(run, "field")}
    assert {"local_ranks", "typicality", "predictive", "prior_sensitivity"} <= asked
    assert "importance" in layout.applicable(above, "field") and "importance" not in asked
    assert layout.check_inputs(run, "field", "typicality")["null"] == layout.answer(above, "simulated")
    assert f"{layout.artifact(run)}/estimator.json" in layout.round_records
    other = make(tmp_path, remedies={"fixed": {"type": "importance", "of": "npe"}})
    run = next(r for r in other.runs if r.method == "fixed")
    assert other.datasets(run) == ["simulated", "field"] and not other.local("fixed")
    assert {"sbc", "coverage", "scores"} <= {*other.applicable(run, "simulated")}


def test_a_correction_depends_on_the_likelihood_that_it_names(tmp_path: Path) -> None:
    """Rows that both have learned from cost once; the exact likelihood has its say in a check."""
    fixed = {"type": "importance", "of": "tsnpe", "likelihood": "nle"}
    layout = make(tmp_path, methods={"nle": {"type": "nle", "budgets": [1500]}}, remedies={"fixed": fixed})
    validate(layout)
    run, above, weigher = (next(r for r in layout.runs if r.method == m) for m in ("fixed", "tsnpe", "nle"))
    assert layout.weigher_run(run) == weigher and layout.ancestors(run) == [above, weigher]
    assert layout.ledger(run) == {"model": 1500 + 2 * 600}
    assert "importance" in layout.applicable(run, "field")
    twice = {"fixed": fixed, "again": {"type": "importance", "of": "fixed"}}
    other = make(tmp_path, methods={"nle": {"type": "nle"}}, remedies=twice)
    assert [r.method for r in other.ancestors(replace(run, method="again"))] == ["fixed", "tsnpe", "nle"]


@pytest.mark.parametrize(("named", "got"), [("npe", "of type 'npe'"), ("nl", "no method of this study")])
def test_only_what_learns_a_likelihood_is_asked_for_one(tmp_path: Path, named: str, got: str) -> None:
    kinds = " or ".join(sorted(giving(["likelihood"])))
    told = rf"remedies.fixed.likelihood: expected a method of type {kinds}, got {named!r}, which is {got}"
    fixed = {"type": "importance", "of": "npe", "likelihood": named}
    with pytest.raises(SettingError, match=rf"{told}\. (Did you mean|Choose from) '?nle"):
        make(tmp_path, methods={"nle": {"type": "nle"}}, remedies={"fixed": fixed})
    with pytest.raises(SettingError, match=rf"{told}\. Add one to `estimators`"):
        make(tmp_path, remedies={"fixed": fixed})


@pytest.mark.parametrize("named", [{}, {"likelihood": "nle"}])
def test_where_no_likelihood_is_known_one_has_to_be_learned(named: dict[str, str]) -> None:
    study = {"study": "cells", "seed": 1, "task": "cancer_stromal", "budgets": [2000]}
    study |= {"estimators": {name: {"type": name} for name in ("npe", "nle")}}
    study |= {"remedies": {"fixed": {"type": "importance", "of": "npe", **named}}}
    layout = Layout(settings.parse(study))
    if named:
        validate(layout)
    else:
        with pytest.raises(SettingError, match=r"cancer_stromal does not state; give it .* as `likelihood`"):
            validate(layout)


@pytest.mark.parametrize(
    ("remedy", "told"),
    [
        ({"of": "draws"}, r"remedies.fixed.of: 'draws' gives draws without densities.*such as spline\.$"),
        ({"of": "npe", "least_share": 1.5}, "least_share"),
    ],
)
def test_what_cannot_be_corrected_is_told(tmp_path: Path, remedy: dict[str, Any], told: str) -> None:
    methods = {"draws": {"type": "npe", "flow": {"type": "consistency"}}}
    with pytest.raises(SettingError, match=told):
        validate(make(tmp_path, methods=methods, remedies={"fixed": {"type": "importance", **remedy}}))


@pytest.mark.parametrize(
    ("changes", "held", "told"),
    [
        (
            {"dataset": "fild"},
            1,
            r"estimators.tsnpe.dataset: expected one of .*got 'fild'. Did you mean 'field'",
        ),
        ({}, 3, r"holds 3 observation\(s\).*got 1; set it to 3"),
        ({"observations": 2}, 1, r"holds 1 observation\(s\).*got 2"),
        ({"epsilon": 0.5}, 1, "epsilon"),
        ({"posterior": {"type": "mlp"}}, 1, "posterior"),
        ({"posterior": {"start": "npe"}}, 1, "`start` and `budgets` are not for a posterior"),
        ({"start": "nqe"}, 1, "estimators.tsnpe builds on 'nqe', which is no method"),
        ({"start": "npe", "posterior": {"base": "none"}}, 1, "begin as those of 'npe', but `base` differs"),
        ({"acquisition": "disagreement"}, 1, "looks where members differ; take two or more"),
        ({"share": 0.5}, 1, "`share` is the part that goes by `acquisition`"),
        ({**ACTIVE, "share": 0.9}, 1, "share"),
        ({**ACTIVE, "posterior": {**MEMBERS, "member": {"flow": "diffusion"}}}, 1, "log densities given x"),
    ],
)
def test_what_cannot_be_is_refused_before_any_job(
    tmp_path: Path, changes: dict[str, Any], held: int, told: str
) -> None:
    with pytest.raises(SettingError, match=told):
        validate(make(tmp_path, held, **changes))


def test_rounds_begin_with_a_method_whose_rows_they_cost_too(tmp_path: Path) -> None:
    """Its weights need not begin to decay; the settings of a round do not know what proposals alone do."""
    low = {"low": {"type": "npe", "budgets": [1500]}}
    layout = make(tmp_path, methods=low, start="low", share=0.3, **ACTIVE)
    validate(layout)
    run = next(run for run in layout.runs if run.method == "tsnpe")
    assert layout.parent_run(run) == next(run for run in layout.runs if run.method == "low")
    assert layout.ledger(run) == {"model": 1500 + 2 * 600}
    assert layout.methods["tsnpe"].network.training.weight_decay == 0
    assert layout.acquired_share("tsnpe") == 0.3 and layout.acquired_share("npe") == 0
    other = make(tmp_path, methods=low, start="low", **ACTIVE)
    assert layout.round_spec("tsnpe", 2) == other.round_spec("tsnpe", 2)
    assert layout.spec("tsnpe") != other.spec("tsnpe")


def test_one_network_does_not_begin_as_several(tmp_path: Path) -> None:
    several = {"low": {"type": "ensemble", "members": 2, "member": {}}}
    with pytest.raises(SettingError, match="'low' has 2 members; take an `ensemble` as `posterior`"):
        validate(make(tmp_path, methods=several, start="low"))
    with pytest.raises(SettingError, match="'low' has 2 members, not 3"):
        validate(make(tmp_path, methods=several, start="low", **ACTIVE))
    with pytest.raises(SettingError, match=r"builds on one of type .*npe.*'other' is of type 'tsnpe'"):
        validate(make(tmp_path, methods={"other": TSNPE}, start="other"))
