"""Figures of estimated fractions: pulls, scans of settings, learned shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.figures.conftest import scan_rows, shape_record
from veridical.evidence import metrics
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.deviations import Deviations
from veridical.figures.pulls import Pulls
from veridical.figures.scans import Scans
from veridical.figures.shapes import Shapes

EDGES = np.linspace(-4, 4, 33)


def result(z: np.ndarray, stderr: float = 0.02) -> dict[str, Any]:
    """A saved check of experiments with these pulls (E,) at one true value."""
    inside, _ = np.histogram(z, EDGES)
    counts = [int((z < -4).sum()), *inside.tolist(), int((z >= 4).sum())]
    moments = {"mean": float(z.mean()), "sd": float(z.std(ddof=1))} if np.isfinite(z).all() else {}
    found = [
        {"name": f"experiment_pull_{name}", "value": value, "stderr": stderr, "extra": {"true_value": 0.1}}
        for name, value in moments.items()
    ]
    curves = {"true_values": [0.1], "pull_edges": EDGES.tolist(), "pull_counts": [counts]}
    return {"curves": curves, "metrics": found}


def test_pulls_of_right_answers_lie_in_the_band_and_others_are_named(rng: np.random.Generator) -> None:
    z = rng.normal(size=3000)
    found = {Variant("right"): {0: result(z), 1: result(rng.normal(size=3000))}}
    found |= {Variant("wide"): {0: result(1.5 * z)}, Variant("biased"): {0: result(z + 1)}}
    data = Pulls().data(found)
    biased, right, wide = data["panels"]
    assert (right["n"], right["off"], biased["off"], wide["off"]) == (6000, False, True, True)
    inside = [
        np.mean((np.array(p["lower"]) <= p["counts"]) & (np.array(p["counts"]) <= p["upper"]))
        for p in (right, wide, biased)
    ]
    assert inside[0] > 0.8 > 0.7 > max(inside[1:])
    assert sum(right["expected"]) == pytest.approx(6000, rel=1e-3)
    text = Pulls().shows(data)
    assert text.startswith("Not told from what is right: right. Off: biased (mean +1.0")
    lines = Pulls().table(data)
    assert [line[0] for line in lines[1:]] == ["biased", "right", "wide"] and "±" in lines[1][2]


def test_few_pulls_have_wide_bins_and_no_answer_is_off(rng: np.random.Generator) -> None:
    few = Pulls().data({Variant("few"): {0: result(rng.normal(size=40))}})
    assert len(few["edges"]) == 9 and sum(few["panels"][0]["counts"]) + few["panels"][0]["beyond"] == 40
    none = result(np.full(30, np.inf))
    data = Pulls().data({Variant("none"): {0: none}})
    assert data["panels"][0]["off"] and "no answers" in Pulls().shows(data)
    with style.styled():
        assert Pulls().draw(data)


def test_scans_are_drawn_by_their_number_and_need_two_of_them() -> None:
    rows = scan_rows("templates", {"tamm": 6.0, "pair": 2.0, "one": 1.0, "other": 1.0}, held=0.3)
    data = Scans().data(rows)
    assert data is not None and (data["truth"], data["dataset"]) == (0.1, None)
    (scan,) = data["scans"]
    assert [p["value"] for p in scan["points"]] == [1.0, 1.0, 2.0, 6.0]
    assert scan["points"][-1]["bias"] == pytest.approx(0.5) and scan["points"][-1]["bias_error"] == 0.1
    assert "1 (error 0.020, intervals hold in 30 %), 2 (error 0.010" in Scans().shows(data)
    with style.styled():
        made = Scans().draw(data)
        assert len(made.axes) == 3
    assert Scans().data(scan_rows("templates", {"one": 1.0, "other": 1.0})) is None
    both = rows + scan_rows("ridge", {"tamm": 1.0, "firm": 10.0})
    assert [s["name"] for s in Scans().data(metrics.Table(both))["scans"]] == ["templates", "ridge"]


def test_shapes_are_compared_with_the_true_events_where_known() -> None:
    data = Shapes().data([shape_record(1)], [0.1])
    assert data is not None
    for fit in data["fits"]:
        assert fit["learned"] < 1.8 and len(fit["templates"]) == 3
    assert "0.100 ± 0.020 (truth 0.10)" in Shapes().shows(data) and "true classes" in Shapes().shows(data)
    wrong = shape_record(1)
    wrong["features"][0]["classes"][0]["shares"] = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]
    off = Shapes().data([wrong], [0.1])
    assert off is not None and off["fits"][0]["learned"] > 3 > 1.8 > off["fits"][1]["learned"]
    unknown = Shapes().data([shape_record(1, true=False)], None)
    assert unknown is not None and "true classes" not in Shapes().shows(unknown)
    missed = shape_record(1)
    missed["features"][0]["data"] = [300, 120, 120, 120, 120, 120]
    told = Shapes().data([missed], None)
    assert told is not None and "does not follow the data" in Shapes().shows(told)
    negative = Shapes().data([shape_record(1) | {"kappa": -0.1}], None)
    with style.styled():
        for each in (data, unknown, negative):
            assert Shapes().draw(each)
    assert Shapes().data([shape_record(1) | {"features": []}], None) is None


def test_the_middle_true_value_is_shown() -> None:
    records = [shape_record(i) | {"kappa": k} for i, k in enumerate((0.5, 0.1, 0.3))]
    data = Shapes().data(records, [0.5, 0.1, 0.3])
    assert data is not None and data["kappa"] == data["true_value"] == 0.3


@pytest.mark.parametrize(("n", "right"), [(20, True), (5000, False)])
def test_the_miss_of_coverage_is_judged_by_the_number_of_experiments(n: int, right: bool) -> None:
    """A mean miss of 5 % is chance in 20 experiments, and a fault in 5,000."""
    z = np.linspace(0, 3, 61)
    curves = {"true_values": [0.1], "z": z, "residual_total": [np.full(61, 0.05)], "ideal": z / 3}
    curves |= {"lower": z / 3 - 0.1, "upper": z / 3 + 0.1}
    found = {Variant("m"): {0: {"curves": curves, "metrics": [{"name": "a", "n": n}]}}}
    data = Deviations().data(found)
    assert data["n"] == n and data["lower"][5] == pytest.approx(-0.1)
    assert Deviations().shows(data).startswith("On average off by") is right
