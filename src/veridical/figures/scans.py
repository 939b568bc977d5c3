"""Scans: what answers of one study do as one number of the method grows.

Data: `dataset`, `truth` (of the estimates), `true_value` (of the experiments), `scans` (`name`, `label`,
`points`: `label`, `value`, `estimate`, `error`, `bias`, `bias_error`, `held`, `held_error`, `n`; None where
there is none).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from veridical.evidence import metrics, numbers, variants
from veridical.evidence.metrics import Row, grouped, select
from veridical.figures import style
from veridical.figures.base import Axes, Data, Drawn, Figure, Found, Sources, listed

LEVEL = 0.6827
OFF = 3.0  # standard errors of a share
SCANS = {
    "templates": "simulators mixed, K",
    "ridge": "ridge, λ",
    "members": "networks, M",
    "topics": "topics, K",
}
TITLES = ("estimate", "off, in stated errors", "68 % intervals hold")
LOGARITHMIC = ("ridge",)
SPREAD = 0.12  # of the distance between two numbers, over which methods of the same one are drawn


class Scans(Figure):
    """What answers do as one number of the method grows: templates, ridge, networks or topics."""

    section = "comparison"
    heading = "What would other settings have said?"
    read = (
        "Methods that are alike but for one number, which grows to the right. Left: the estimate with one "
        "stated error (dotted: the truth, where it is known). Middle: how far estimates are off on average "
        "over experiments, in stated errors (grey: of no account). Right: how often 68 % intervals hold the "
        "truth there; points off the line by more than three standard errors are orange. An answer that "
        "moves by more than its error rests on the setting; settings whose points lie on the lines can be "
        "trusted."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        if any(select(sources.rows, metric=f"scanned_{name}") for name in SCANS):
            yield Found((sources.rows,))

    def data(self, rows: Sequence[Row]) -> dict[str, Any] | None:
        """Returns the methods of each scan by their number, as the table of metrics has them."""
        final = set(variants.of_rows(rows))
        table = metrics.Table(r for r in rows if variants.of_cells(r) in final)
        shown = _shown(table)
        found = []
        for name, label in SCANS.items():
            own = [r for r in select(table, metric=f"scanned_{name}") if r["seed"] is not None]
            for family in grouped(own, lambda r: r["category"]).values():
                values = {variants.of_cells(r): r["value"] for r in family}
                each = (_point(table, variant, value, shown) for variant, value in values.items())
                points = [point for point in each if point is not None]
                points.sort(key=lambda p: (p["value"], p["label"]))
                if len({point["value"] for point in points}) > 1:
                    found.append({"name": name, "label": label, "points": points})
        return {**shown, "scans": found} if found else None

    def draw(self, data: Data) -> Drawn:
        scans = data["scans"]
        made, axes = style.figure(len(scans), 3, height=0.4 + 2.4 * len(scans))
        for row, scan in zip(axes, scans, strict=True):
            at = _places(scan)
            _draw_estimates(row[0], scan["points"], at, data["truth"])
            _draw_bias(row[1], scan["points"], at)
            _draw_coverage(row[2], scan["points"], at)
            for ax in row:
                ax.set_xlabel(scan["label"], fontsize=9)
                values = sorted({point["value"] for point in scan["points"]})
                if scan["name"] in LOGARITHMIC and values[0] > 0:
                    style.log_counts(ax, values)
                else:
                    ax.set_xticks(values, [f"{value:g}" for value in values])
                ax.margins(x=0.1)
        for ax, title in zip(axes[0], TITLES, strict=True):
            ax.set_title(title, fontsize=9.5)
        return made

    def shows(self, data: Data) -> str:
        return " ".join(_words(scan) for scan in data["scans"])


def _shown(table: Sequence[Row]) -> dict[str, Any]:
    """The data set and observation whose answers are shown, and the true value of the experiments."""
    estimates = select(table, metric="estimate")
    observed = [r for r in estimates if r["true_value"] is None]
    truths = sorted({r["true_value"] for r in select(table, metric="experiment_bias")} - {None})
    middle = truths[len(truths) // 2] if truths else None
    dataset = observed[0]["dataset_name"] if observed else None
    return {"dataset": dataset, "truth": None if observed else middle, "true_value": middle}


def _point(
    table: Sequence[Row], variant: variants.Variant, value: float, shown: Mapping[str, Any]
) -> dict[str, Any] | None:
    """One method; None where it has no answer at all."""
    where = {"dataset_name": shown["dataset"], "true_value": shown["truth"], **variant.cells}
    found = [r for r in select(table, metric="estimate", **where) if r["seed"] is not None]
    answer = min(found, key=lambda r: (r["observation"], r["seed"]), default=None)
    at = {**variant.cells, "true_value": shown["true_value"]}
    bias, sigma = (_mean(table, metric=f"experiment_{name}", **at) for name in ("bias", "sigma"))
    sigma = _mean(table, metric="experiment_sigma", interval="total", **at)
    held = _mean(table, metric="experiment_coverage", interval="total", level=LEVEL, **at)
    if answer is None and held is None:
        return None
    scale = sigma[0] if sigma else 1.0
    return {
        "label": variant.label,
        "value": value,
        "estimate": answer and answer["value"],
        "error": answer and answer["stderr"],
        "bias": bias and bias[0] / scale,
        "bias_error": bias and bias[1] / scale,
        "held": held and held[0],
        "held_error": held and held[1],
        "n": held and held[2],
    }


def _mean(table: Sequence[Row], **cells: Any) -> tuple[float, float, int] | None:
    """Mean over replicates, its error (of their own numbers, or of their spread if more), and all rows."""
    own = [r for r in select(table, **cells) if r["seed"] is not None]
    if not own:
        return None
    values, n = np.array([r["value"] for r in own]), sum(r["n"] or 0 for r in own)
    inside = sqrt(sum((r["stderr"] or 0.0) ** 2 for r in own)) / len(own)
    across = float(values.std(ddof=1)) / sqrt(len(own)) if len(own) > 1 else 0.0
    return float(values.mean()), max(inside, across), n


def _places(scan: Data) -> list[float]:
    """Where each point is drawn; those of the same number side by side."""
    values = [point["value"] for point in scan["points"]]
    distinct = sorted(set(values))
    logarithmic = scan["name"] in LOGARITHMIC and distinct[0] > 0
    steps = np.diff(np.log(distinct) if logarithmic else distinct)
    width, places, seen = SPREAD * float(steps.min()), [], dict.fromkeys(distinct, 0)
    for value in values:
        same = values.count(value)
        shift = width * (seen[value] - (same - 1) / 2) * min(1.0, 4 / same)
        seen[value] += 1
        places.append(value * float(np.exp(shift)) if logarithmic else value + shift)
    return places


def _draw_estimates(ax: Axes, points: Sequence[Data], at: Sequence[float], truth: float | None) -> None:
    shown = [(x, p) for x, p in zip(at, points, strict=True) if p["estimate"] is not None]
    for x, p in shown:
        ax.errorbar(x, p["estimate"], yerr=p["error"], color=style.ESTIMATE, marker="o", markersize=4)
    if truth is not None:
        ax.axhline(truth, color=style.TRUTH, linestyle=":", linewidth=1.1)


def _draw_bias(ax: Axes, points: Sequence[Data], at: Sequence[float]) -> None:
    ax.axhline(0, color=style.TRUTH, linewidth=0.9)
    for x, p in zip(at, points, strict=True):
        if p["bias"] is not None:
            colour = style.REFERENCE if _off(p) else style.ESTIMATE
            ax.errorbar(x, p["bias"], yerr=p["bias_error"], color=colour, marker="o", markersize=4)
    ax.axhspan(-0.3, 0.3, color=style.BAND, zorder=0, linewidth=0)


def _draw_coverage(ax: Axes, points: Sequence[Data], at: Sequence[float]) -> None:
    ax.axhline(LEVEL, color=style.TRUTH, linewidth=0.9)
    for x, p in zip(at, points, strict=True):
        if p["held"] is not None:
            colour = style.REFERENCE if _off(p) else style.ESTIMATE
            ax.errorbar(x, p["held"], yerr=p["held_error"], color=colour, marker="o", markersize=4)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.25, 0.5, LEVEL, 1], ["0", "25 %", "50 %", "68 %", "100 %"])


def _off(point: Data) -> bool:
    """Whether coverage differs from what is stated by more than chance."""
    if point["held"] is None:
        return False
    error = max(point["held_error"], sqrt(LEVEL * (1 - LEVEL) / max(point["n"], 1)))
    return bool(abs(point["held"] - LEVEL) > OFF * error)


def _words(scan: Data) -> str:
    """What a scan says: stated errors and coverage by number; ranges where several methods have one."""
    parts = []
    for value, own in grouped(scan["points"], lambda p: p["value"]).items():
        held = [p["held"] for p in own if p["held"] is not None]
        errors = [p["error"] for p in own if p["error"] is not None]
        about = [_range(errors, lambda v: numbers.rounded(v, 2), "error ")] if errors else []
        about += [_range(held, numbers.percent, "intervals hold in ")] if held else []
        parts.append(f"{value:g} ({', '.join(about)})")
    return f"{scan['label'][0].upper()}{scan['label'][1:]}: {listed(parts)}."


def _range(values: Sequence[float], write: Any, head: str) -> str:
    low, high = write(min(values)), write(max(values))
    return f"{head}{low}" if low == high else f"{head}{low} to {high}"
