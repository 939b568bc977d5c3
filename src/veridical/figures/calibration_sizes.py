"""Quality against the number of calibration pairs.

Data: `dataset`, `panels` (metric, label, better, range, `curves`: label, calibration, mean, stderr; `lines`:
label, value, stderr, text).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from veridical.evidence import variants
from veridical.evidence.comparison import labelled_dataset, measured, yardsticks
from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources
from veridical.figures.points import curve_of, draw_panel, limits, places

METRICS = (
    ("lpp", "log density at the truth (LPP)", "higher is better"),
    ("acauc", "signed miss of coverage (ACAUC)", "0 is right, above 0 too narrow"),
)


class CalibrationSizes(Figure):
    """Quality against the number of calibration pairs."""

    section = "comparison"
    heading = "How many labelled data does calibration need?"
    read = (
        "Quality of the answers to data whose truth is known, against the number of labelled real data sets "
        "that a method was calibrated on; vertical bars are standard errors, of test data and repeats "
        "together. Grey lines need no such data: the prior says nothing about the data, npe believes the "
        "simulator, and sbi is npe on simulated data, what could be reached if the simulator were right."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        yield Found((sources.rows,))

    def data(self, rows: Sequence[Row]) -> dict[str, Any] | None:
        """Returns a panel per measure with a curve per method; None where no method has two sizes."""
        dataset = labelled_dataset(rows)
        sized: dict[str, list[Variant]] = {}
        for variant in variants.of_rows(rows):
            if variant.calibration is not None:
                sized.setdefault(variant.method, []).append(variant)
        if not any(len(own) > 1 for own in sized.values()):
            return None
        panels = [
            panel
            for name, label, better in METRICS
            if (panel := _size_panel(rows, sized, dataset, name, label, better))
        ]
        return {"dataset": dataset, "panels": panels} if panels else None

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.figure(1, len(panels), height=3.7, width=4.1 * len(panels))
        place = places(panels)
        for ax, panel in zip(axes.flat, panels, strict=True):
            sizes = [c for curve in panel["curves"] for c in curve["calibration"]]
            draw_panel(ax, panel, "calibration", place)
            style.log_counts(ax, sizes)
            ax.set_xlim(min(sizes) / 1.35, max(sizes) * 1.35)
            ax.set(xlabel="labelled real data sets used for calibration", ylim=panel["range"])
            if panel["metric"] == "acauc":
                ax.axhline(0, color="black", linewidth=0.8)
        style.legend(made, "outside upper left", 5, fontsize=9)
        return made

    def shows(self, data: Data) -> str:
        first = data["panels"][0]
        if first["metric"] != "lpp":
            return ""
        return " ".join(_gain(curve, first["lines"]) for curve in first["curves"] if len(curve["mean"]) > 1)


def _gain(curve: Data, lines: Sequence[Data]) -> str:
    few, many = curve["calibration"][0], curve["calibration"][-1]
    before, after = rounded(curve["mean"][0]), rounded(curve["mean"][-1])
    text = f"{curve['label']}: LPP {before} with {few:,} and {after} with {many:,}"
    prior = next((line["value"] for line in lines if line["label"] == "prior"), None)
    if prior is not None:
        least = next((c for c, m in zip(curve["calibration"], curve["mean"], strict=True) if m > prior), None)
        text += ", never above the prior" if least is None else f", above the prior from {least:,} on"
    return text + "."


def _size_panel(
    rows: Sequence[Row], sized: Mapping[str, list[Variant]], dataset: str, name: str, label: str, better: str
) -> dict[str, Any] | None:
    curves = []
    for method, own in sized.items():
        points = [(v.calibration, m) for v in own if (m := measured(rows, v, dataset, name))]
        if points:
            sizes = [c for c, _ in points]
            curves.append({"label": method, "calibration": sizes, **curve_of(m for _, m in points)})
    # NPE itself, asked about the same data, believes the simulator
    believers = [("npe", v, dataset) for v in variants.of_rows(rows) if v.method == variants.UPPER_BOUND]
    lines = [
        {"label": who, "value": m.value, "stderr": m.stderr, "text": rounded(m.value)}
        for who, variant, where in [*yardsticks(rows, dataset), *believers]
        if (m := measured(rows, variant, where, name))
    ]
    if not curves:
        return None
    about = {"metric": name, "label": label, "better": better, "curves": curves, "lines": lines}
    return about | {"range": limits(curves, lines, 0.0 if name == "acauc" else None)}
