"""Quality against cost.

Data: `dataset`, `panels` (metric, label, better, axis, `axis_label`, range, `curves`: label, `x`, mean,
stderr; `lines`: label, value, text).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from veridical.evidence import variants
from veridical.evidence.comparison import Measured, labelled_dataset, measured, yardsticks
from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded
from veridical.evidence.variants import PRIOR, Variant
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources
from veridical.figures.points import curve_of, draw_panel, limits, places

COST_METRICS = (
    ("c2st", "told from the exact one (C2ST)", "lower is better"),
    ("nltp_gap", "NLTP above the exact one", "lower is better"),
    ("lpp", "log density at the truth (LPP)", "higher is better"),
)
COST_AXES = (
    ("nominal_cost", "nominal cost of the simulations"),
    ("target_runs", "runs of the dearest simulator"),
)


class Tradeoff(Figure):
    """Quality against what the simulations behind it cost."""

    section = "comparison"
    heading = "What does quality cost?"
    read = (
        "Quality of the answers against what the simulations behind them cost. Vertical bars are standard "
        "errors, of test data and repeats together. Left is cheaper: of two methods at one height, take the "
        "left one; of two at one cost, the better one."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        yield Found((sources.rows,))

    def data(self, rows: Sequence[Row]) -> dict[str, Any] | None:
        """Returns a curve per method over its budgets and calibration sizes.

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
                    about: dict[str, Any] = {"metric": metric, "label": label, "better": better}
                    about |= {"axis": axis, "axis_label": axis_label, "curves": curves, "lines": lines}
                    panels.append(about | {"range": limits(curves, lines)})
        return {"dataset": dataset, "panels": panels} if panels else None

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.grid(len(panels), 2, height=(0.6, 3.0), width=(0.0, 4.3))
        place = places(panels)
        for ax, panel in zip(axes.flat, panels, strict=False):
            draw_panel(ax, panel, "x", place)
            style.log_counts(ax, [x for curve in panel["curves"] for x in curve["x"]])
            ax.set(xlabel=panel["axis_label"], ylim=panel["range"])
            ax.margins(x=0.1)
        style.legend(made, "outside upper left", 5, fontsize=9)
        return made

    def shows(self, data: Data) -> str:
        shows = []
        for metric in dict.fromkeys(panel["metric"] for panel in data["panels"]):
            panel = next(p for p in data["panels"] if p["metric"] == metric)
            sign = -1 if panel["better"].startswith("lower") else 1
            points = [
                (m, x, c["label"]) for c in panel["curves"] for m, x in zip(c["mean"], c["x"], strict=True)
            ]
            value, x, label = max(points, key=lambda point: sign * point[0])
            name = metric.upper() if metric != "nltp_gap" else "NLTP gap"
            cost = f"a nominal cost of {rounded(x)}" if panel["axis"] == "nominal_cost" else f"{x:,.0f} runs"
            shows.append(f"Best {name}: {rounded(value)}, by {label} at {cost}.")
        return " ".join(shows)


def _has(rows: Sequence[Row], dataset: str, choices: Sequence[tuple[str, str, str]]) -> bool:
    names = {name for name, _, _ in choices}
    return any(r["metric"] in names and r["dataset"] == dataset for r in rows)


def _cost_curves(
    rows: Sequence[Row], every: Sequence[Variant], dataset: str, metric: str, axis: str
) -> list[dict[str, Any]]:
    largest = {v.method: v.calibration for v in variants.leading(every)}
    curves: dict[str, list[tuple[float, Measured]]] = {}
    for variant in every:
        if axis == "target_runs" and variant.calibration != largest[variant.method]:
            continue  # more labelled data cost no simulation
        cost, quality = measured(rows, variant, None, axis), measured(rows, variant, dataset, metric)
        if cost is not None and quality is not None and cost.value > 0:
            curves.setdefault(variant.method, []).append((cost.value, quality))
    return [
        {"label": method, "x": [x for x, _ in points], **curve_of(m for _, m in points)}
        for method, points in ((name, sorted(p, key=lambda pair: pair[0])) for name, p in curves.items())
    ]
