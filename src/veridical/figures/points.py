"""Quality as points with errors, a curve per method, beside yardsticks: what several figures share.

Panels: label, better, range, `curves` (label, mean, stderr), `lines` (label, value, `text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence.comparison import Measured
from veridical.figures import style
from veridical.figures.base import Axes, Data

YARDSTICKS = {"prior": ":", "npe": "--", "sbi": "-."}


def curve_of(found: Iterable[Measured]) -> dict[str, Any]:
    """Returns means and standard errors of measured numbers."""
    listed = list(found)
    return {"mean": [m.value for m in listed], "stderr": [m.stderr for m in listed]}


def limits(curves: Sequence[Data], lines: Sequence[Data], always: float | None = None) -> list[float]:
    """Returns axis limits that show all curves with their errors, and lines that do not squash them."""
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


def draw_points(ax: Axes, x: Sequence[float], curve: Data, index: int, jitter: float = 1.0) -> None:
    """Draws one method's quality with its standard errors; points are set apart by a factor along x."""
    error = [0.0 if e is None else e for e in curve["stderr"]]
    ax.errorbar(
        np.asarray(x, dtype=float) * jitter,
        curve["mean"],
        yerr=error,
        color=style.CYCLE[index % len(style.CYCLE)],
        linestyle=style.DASHES[(index // len(style.CYCLE)) % len(style.DASHES)],
        marker=style.MARKERS[index % len(style.MARKERS)],
        markersize=5,
        capsize=3,
        linewidth=1.5,
        label=curve["label"],
    )


def draw_lines(ax: Axes, lines: Sequence[Data], between: Sequence[float]) -> None:
    """Draws yardsticks as lines with their names; of those that lie beyond the axis, arrows say where."""
    low, high = between
    beyond: dict[bool, list[str]] = {True: [], False: []}
    for line in lines:
        value = line["value"]
        if not low <= value <= high:
            below = value < low
            sign = "\N{DOWNWARDS ARROW}" if below else "\N{UPWARDS ARROW}"
            beyond[below].append(f"{sign} {line['label']}: {line['text']}")
            continue
        ax.axhline(value, color=style.MUTED, linestyle=YARDSTICKS.get(line["label"], ":"), linewidth=1.3)
        ax.annotate(
            line["label"], (1.0, value), xycoords=("axes fraction", "data"), xytext=(3, 0),
            textcoords="offset points", va="center", fontsize=8.5, color=style.MUTED, annotation_clip=False,
        )  # fmt: skip
    for below, texts in beyond.items():
        ax.text(
            0.99, 0.02 if below else 0.98, "\n".join(texts), transform=ax.transAxes, ha="right",
            va="bottom" if below else "top", fontsize=8.5, color=style.MUTED,
        )  # fmt: skip


def places(panels: Sequence[Data]) -> dict[str, int]:
    """Returns the place of each method among all of a figure, so that it looks the same in every panel."""
    labels = dict.fromkeys(curve["label"] for panel in panels for curve in panel["curves"])
    return {label: index for index, label in enumerate(labels)}


def draw_panel(ax: Axes, panel: Data, along: str, place: Mapping[str, int]) -> None:
    """Draws all methods and yardsticks; those with calibration sizes are set apart along x."""
    for curve in panel["curves"]:
        index = place[curve["label"]]
        spread = 1.0 if along == "x" else 1.05 ** (index - (len(place) - 1) / 2)
        draw_points(ax, curve[along], curve, index, spread)
    draw_lines(ax, panel["lines"], panel["range"])
    ax.set_ylabel(f"{panel['label']}\n({panel['better']})")
