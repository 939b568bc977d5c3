"""The data of the figures that show several methods side by side, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence import variants
from veridical.evidence.comparison import Measured, labelled_dataset, measured, yardsticks
from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded
from veridical.evidence.variants import PRIOR, SBI, Variant
from veridical.figures.base import Array, Data, plain_list

MAX_POINTS = 60
SIZE_METRICS = (
    ("lpp", "log density at the truth (LPP)", "higher is better"),
    ("acauc", "signed miss of coverage (ACAUC)", "0 is right, above 0 too narrow"),
)
COST_METRICS = (
    ("c2st", "told from the exact one (C2ST)", "lower is better"),
    ("nltp_gap", "NLTP above the exact one", "lower is better"),
    ("lpp", "log density at the truth (LPP)", "higher is better"),
)
COST_AXES = (
    ("nominal_cost", "nominal cost of the simulations"),
    ("target_runs", "runs of the dearest simulator"),
)

Results = Mapping[int, Mapping[str, Any]]  # saved results of a check by replicate


# ---- coverage ------------------------------------------------------------------------------------


def coverages(found: Mapping[Variant, Results], dataset: str, upper: Results | None = None) -> Data:
    """Returns coverage curves of all methods, a panel per method with a curve per calibration size.

    A curve is the mean over parameters and replicates of the coverage of central intervals. Each of the
    curves that it averages stays within the band if all is right, hence so does their mean.

    Arguments:
        found: The saved check `coverage` by variant and replicate.
        dataset: Where it was made.
        upper: The same of NPE on simulated data, where the data are real ones.
    """
    by_method: dict[str, list[Variant]] = {}
    for variant in sorted(found, key=lambda v: v.order):
        by_method.setdefault(variant.method, []).append(variant)
    panels = [
        _coverage_panel(method, {v: found[v] for v in own}, dataset) for method, own in by_method.items()
    ]
    if upper:
        place = 1 if panels and panels[0]["label"] == PRIOR else 0
        panels.insert(place, _coverage_panel(SBI, {Variant(SBI): upper}, "simulated"))
    return {"dataset": dataset, "panels": panels}


def _coverage_panel(label: str, own: Mapping[Variant, Results], dataset: str) -> Data:
    curves, band = [], None
    for variant, results in own.items():
        every = [result["curves"] for _, result in sorted(results.items())]
        levels = np.asarray(every[0]["levels"], dtype=float)
        thin = _thin(len(levels))
        central = np.mean([np.mean(c["central"], axis=0) for c in every], axis=0)
        failed = sum(result["passed"] is False for result in results.values())
        size = "" if variant.calibration is None else variants.pairs(variant.calibration)
        curve = {"label": size, "coverage": plain_list(central[thin]), "outside": 2 * failed >= len(every)}
        curves.append(curve)
        band = {"levels": plain_list(levels[thin])}
        band |= {
            side: plain_list(np.asarray(every[0][side], dtype=float)[thin]) for side in ("lower", "upper")
        }
    return {"label": label, "dataset": dataset, "band": band, "curves": curves}


def _thin(n: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(int))


# ---- calibration size ----------------------------------------------------------------------------


def calibration_sizes(rows: Sequence[Row]) -> Data | None:
    """Returns quality against the number of calibration pairs; None where no method has two sizes."""
    dataset = labelled_dataset(rows)
    sized: dict[str, list[Variant]] = {}
    for variant in variants.of_rows(rows):
        if variant.calibration is not None:
            sized.setdefault(variant.method, []).append(variant)
    if not any(len(own) > 1 for own in sized.values()):
        return None
    panels = [
        panel
        for name, label, better in SIZE_METRICS
        if (panel := _size_panel(rows, sized, dataset, name, label, better))
    ]
    return {"dataset": dataset, "panels": panels} if panels else None


def _size_panel(
    rows: Sequence[Row], sized: Mapping[str, list[Variant]], dataset: str, name: str, label: str, better: str
) -> Data | None:
    curves = []
    for method, own in sized.items():
        points = [(v.calibration, m) for v in own if (m := measured(rows, v, dataset, name))]
        if points:
            curves.append(
                {"label": method, "calibration": [c for c, _ in points], **_points(m for _, m in points)}
            )
    lines = [
        {"label": who, "value": m.value, "stderr": m.stderr, "text": rounded(m.value)}
        for who, variant, where in [*yardsticks(rows, dataset), *_plain_methods(rows, dataset)]
        if (m := measured(rows, variant, where, name))
    ]
    if not curves:
        return None
    about = {"metric": name, "label": label, "better": better, "curves": curves, "lines": lines}
    return about | {"range": _range(curves, lines, 0.0 if name == "acauc" else None)}


def _plain_methods(rows: Sequence[Row], dataset: str) -> list[tuple[str, Variant, str]]:
    """NPE itself, asked about the same data."""
    return [("npe", v, dataset) for v in variants.of_rows(rows) if v.method == variants.UPPER_BOUND]


def _points(found: Iterable[Measured]) -> Data:
    listed = list(found)
    return {"mean": [m.value for m in listed], "stderr": [m.stderr for m in listed]}


# ---- quality against cost ------------------------------------------------------------------------


def tradeoff(rows: Sequence[Row]) -> Data | None:
    """Returns quality against what it cost, a curve per method over its budgets and calibration sizes.

    None where there are not two methods with a cost and a quality.
    """
    dataset = labelled_dataset(rows)
    every = sorted(
        {variants.of_cells(r) for r in rows if r["method"] not in (PRIOR, variants.REFERENCE)},
        key=lambda v: v.order,
    )
    panels = []
    for metric, label, better in COST_METRICS[: 2 if _has(rows, dataset, COST_METRICS[:2]) else None]:
        for axis, axis_label in COST_AXES:
            curves = _cost_curves(rows, every, dataset, metric, axis)
            if len(curves) > 1 and len({x for curve in curves for x in curve["x"]}) > 1:
                lines = [
                    {"label": name, "value": m.value, "text": rounded(m.value)}
                    for name, v, where in yardsticks(rows, dataset)
                    if name == PRIOR and (m := measured(rows, v, where, metric))
                ]
                about: Data = {"metric": metric, "label": label, "better": better}
                about |= {"axis": axis, "axis_label": axis_label, "curves": curves, "lines": lines}
                panels.append(about | {"range": _range(curves, lines)})
    return {"dataset": dataset, "panels": panels} if panels else None


def _has(rows: Sequence[Row], dataset: str, choices: Sequence[tuple[str, str, str]]) -> bool:
    names = {name for name, _, _ in choices}
    return any(r["metric"] in names and r["dataset"] == dataset for r in rows)


def _cost_curves(
    rows: Sequence[Row], every: Sequence[Variant], dataset: str, metric: str, axis: str
) -> list[Data]:
    largest = {v.method: v.calibration for v in variants.leading(every)}
    curves: dict[str, list[tuple[float, Measured]]] = {}
    for variant in every:
        if axis == "target_runs" and variant.calibration != largest[variant.method]:
            continue  # more labelled data cost no simulation
        cost, quality = measured(rows, variant, None, axis), measured(rows, variant, dataset, metric)
        if cost is not None and quality is not None and cost.value > 0:
            curves.setdefault(variant.method, []).append((cost.value, quality))
    return [
        {"label": method, "x": [x for x, _ in points], **_points(m for _, m in points)}
        for method, points in ((name, sorted(p, key=lambda pair: pair[0])) for name, p in curves.items())
    ]


def _range(curves: Sequence[Data], lines: Sequence[Data], always: float | None = None) -> list[float]:
    """Axis limits that show all curves with their errors, and those of the lines that do not squash them."""
    shown = [
        mean + side * (error or 0.0)
        for curve in curves
        for mean, error in zip(curve["mean"], curve["stderr"], strict=True)
        for side in (-1, 1)
    ]
    finite = [v for v in (*shown, *([] if always is None else [always])) if np.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = max(high - low, 1e-3 * max(abs(high), abs(low), 1.0))
    near = [v for line in lines if low - 1.5 * span <= (v := line["value"]) <= high + 1.5 * span]
    low, high = min([low, *near]), max([high, *near])
    room = 0.08 * max(high - low, span)
    return [low - room, high + room]
