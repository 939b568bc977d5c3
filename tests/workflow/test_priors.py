"""Discrete, shared and conditional parameters from a study file to the report: no draw that cannot be."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.evidence import metrics
from veridical.saved import posteriors

from .conftest import TINY, copy_project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

PROGRAM = """import csv, sys, numpy as np
theta, seeds, out = sys.argv[1:]
x = []
for row, seed in zip(csv.DictReader(open(theta)), open(seeds)):
    rng, v = np.random.default_rng(int(seed)), {name: float(text) for name, text in row.items()}
    assert v["n"] in range(1, 7) and v["kind"] in (0, 1) and v["b"] < v["a"]
    assert abs(v["a"] + v["c"] - 1) < 1e-12
    x.append([v["n"] + 0.5 * rng.normal(), v["kind"] + 0.3 * rng.normal(), v["b"] + 0.1 * rng.normal()])
np.savetxt(out, x, delimiter=",")
"""
TASK: dict[str, Any] = {
    "name": "channels",
    "command": "python simulate.py {theta} {seeds} {out}",
    "parameters": {
        "n": {"prior": "integers", "lower": 1, "upper": 6},
        "kind": {"prior": "categories", "values": ["slow", "fast"]},
        "a, c": {"prior": "dirichlet", "concentration": 1},
        "b": {"prior": "uniform", "lower": 0, "upper": "a"},
    },
    "dimensions": [{"name": "what", "coordinates": ["current", "speed", "share"]}],
    "block_rows": 500,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("priors"))
    (project.folder / "simulate.py").write_text(PROGRAM)
    (project.folder / "config/data/field.csv").write_text("current,speed,share\n3.1,0.1,0.4\n")
    prior = {"prior": {"type": "prior"}}
    project.write({**TINY, "task": TASK, "estimators": {**TINY["estimators"], **prior}, "checks": {}})
    project.snakemake()
    return project.folder / "results/tiny"


def test_no_draw_is_what_parameters_cannot_be(results: Path) -> None:
    files = sorted(results.glob("infer/*/*/*.nc"))
    assert len(files) == 4  # two methods, simulated and observed data
    for file in files:
        found = posteriors.load(file)
        assert found.support.inside(found.draws).all() and len(found.constraints) == 4
        assert np.abs(found.draws[..., 2] + found.draws[..., 3] - 1).max() < 1e-12


def test_every_prediction_can_be_made_and_probabilities_are_told(results: Path) -> None:
    rows = metrics.read(results / "metrics.csv")
    assert metrics.value(rows, method="npe", seed=0, metric="predictive_invalid_share") == 0
    for name, values in (("n", 6), ("kind", 2)):
        found = metrics.select(rows, method="npe", seed=0, metric="posterior_probability", parameter=name)
        assert len(found) == values and sum(r["value"] for r in found) == pytest.approx(1)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "most probable values" in page and "slow (" in page


def test_the_table_of_metrics_names_categories(results: Path) -> None:
    with (results / "metrics.csv").open() as stream:
        assert {row["category"] for row in csv.DictReader(stream)} == {"", "slow", "fast"}
