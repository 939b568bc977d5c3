"""Observations that a method refuses: left out of its draws, told in metrics, never answered otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.remedies.shifted_task import LIKELIHOOD, PRIOR, SHIFTED
from veridical import artifacts, job, methods, unchecked
from veridical.checks.base import load as load_check
from veridical.errors import Refused
from veridical.estimators import Material
from veridical.evidence import metrics
from veridical.report import verdict
from veridical.saved import posteriors
from veridical.saved.observations import Observations
from veridical.saved.posteriors import Draws
from veridical.stages.aggregate import aggregate
from veridical.stages.check import check
from veridical.stages.infer import infer
from veridical.training.session import Session

X = np.array([[0.5, 1.0], [40.0, 80.0], [0.3, 0.6]])  # the second has no place within the prior
RUN = "importance/n0-r0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The prior, corrected by the likelihood."""
    prior, _ = methods.fit({"type": "prior"}, SHIFTED, Material(prior=PRIOR), Session(1, ("prior", 0)))
    artifacts.save_estimator(prior, tmp_path / "prior", record={"method": "prior"})
    spec = {"type": "importance", "of": "prior"}
    made, _ = methods.fit(spec, SHIFTED, Material(parent=prior, likelihood=LIKELIHOOD), Session(1, ("i", 0)))
    about = {"method": "importance", "budget": 0, "calibration": None}
    artifacts.save_estimator(made, tmp_path / "made", record=about, parent=tmp_path / "prior")
    return tmp_path / "made"


def asked(folder: Path, x: np.ndarray) -> Path:
    out = folder.parent / "infer" / RUN / "lab.nc"
    out.parent.mkdir(parents=True, exist_ok=True)
    data = Observations(x, None, "lab", "observed")
    infer(folder, data, out, draws=400, root=1, replicate=0)
    return out


def table(folder: Path, draws: Path, *results: Path) -> tuple[list[Any], dict[str, Any]]:
    out = folder.parent / "metrics.csv"
    about = {"results": results, "draws": [draws], "costs": [], "table": out}
    aggregate("study", "shifted", **about, verdicts=folder.parent / "verdict.json")
    return metrics.read(out), verdict.load(folder.parent / "verdict.json")


def test_a_refused_observation_is_left_out_and_the_others_keep_their_numbers(folder: Path) -> None:
    path = asked(folder, X)
    found = posteriors.load(path)
    assert found.draws.shape[1] == 2 and found.numbers == [0, 2]
    assert np.array_equal(found.x, X[[0, 2]]) and "weight" in found.attrs["refused"]["1"]
    alone = posteriors.load(asked(folder, X[2:]))
    assert alone.draws.mean() == pytest.approx(found.draws[:, 1].mean(), abs=0.02)
    rows, _ = table(folder, asked(folder, X))
    means = metrics.select(rows, metric="posterior_mean", seed=0)
    assert [row["observation"] for row in means] == [0, 2]
    assert means[1]["value"] == pytest.approx(0.3, abs=0.02)
    (refused,) = metrics.select(rows, metric="refused_share", seed=0)
    assert refused["value"] == pytest.approx(1 / 3) and refused["n"] == 3
    assert [row["observation"] for row in metrics.select(rows, metric="correction_k", seed=0)] == [0, 1, 2]


def test_the_reference_and_single_findings_go_by_the_number_in_the_data_set(folder: Path) -> None:
    path, rng = asked(folder, X), np.random.Generator(np.random.PCG64(1))
    found = posteriors.load(path)
    exact = np.concatenate([found.draws[:, :1], rng.random((400, 1, 1)), found.draws[:, 1:] + 0.2], axis=1)
    about = {"rhat": {"share": 1.0}, "ess": {"share": 400.0}}
    reference = Draws(found.names, found.bounds, found.units, exact, attrs=about)
    posteriors.save(folder.parent / "reference.nc", reference)
    inputs = {"draws": str(path), "reference": str(folder.parent / "reference.nc")}
    out = folder.parent / "two_sample.json"
    short = {"max_iterations": 60, "patience": 5}
    check("two_sample", short, inputs, out, root=1, method="importance", replicate=0, dataset="lab")
    (worst,) = (m for m in load_check(out)["metrics"] if m["name"] == "reference_coverage")
    assert worst["extra"] == {"observation": 2} and worst["value"] < 0.2


def test_a_data_set_of_which_nothing_is_left_is_no_failure_and_no_answer(folder: Path) -> None:
    """The job leaves a record, a check that rests on it another, and the verdict says that there is none."""
    out, log = folder.parent / "infer" / RUN / "lab.nc", folder.parent / "a.log"
    with pytest.raises(Refused, match="it is not answered"):
        asked(folder, X[1:2])
    jobs = SimpleNamespace(rule="infer", log=[str(log)], output=[out], params={})
    job.run(lambda _: asked(folder, X[1:2]), jobs)
    record = unchecked.read(out)
    assert record is not None and len(record["refused"]["k"]) == 1
    result = folder.parent / "check" / RUN / "lab" / "typicality.json"
    result.parent.mkdir(parents=True)
    journal = folder.parent / "journal.json"
    later = SimpleNamespace(
        rule="check", log=[str(log)], output=[result], params={"journal": [str(journal), 0]}
    )
    job.run(lambda _: unchecked.require([out]), later)
    assert unchecked.read(result) == record and not journal.exists()
    rows, found = table(folder, out, result)
    assert not metrics.select(rows, metric="posterior_mean") and found["unchecked"] == []
    (judged,) = found["verdicts"]
    (rule,) = (f for f in judged["findings"] if f["rule"] == "corrected")
    assert judged["verdict"] == "do not trust" and "There is no answer" in rule["text"]


def test_replicates_are_joined_where_all_of_them_answer(folder: Path) -> None:
    one, other = posteriors.load(asked(folder, X)), posteriors.load(asked(folder, X[[0, 2, 0]]))
    other = replace(other, attrs={**other.attrs, "refused": {}})
    joined = posteriors.answered_by_all([one, other])
    assert [each.numbers for each in joined] == [[0, 2], [0, 2]]
    np.testing.assert_array_equal(joined[1].draws, other.draws[:, [0, 2]])
    assert posteriors.answered_by_all([other, other])[0] is other
