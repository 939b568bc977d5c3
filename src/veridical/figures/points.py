"""Several methods side by side: coverage, quality against calibration size, quality against cost.

`draw_coverages` is drawn from `panels` (label, `band`: levels, lower, upper; `curves`: label, coverage,
outside), `draw_calibration_sizes` from `panels` (label, better, range, `curves`: label, calibration, mean,
stderr; `lines`: label, value, stderr), `draw_tradeoff` from `panels` (the same with `x` and `axis_label`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
YARDSTICKS = {"prior": ":", "npe": "--", "sbi": "-."}
PERCENT = ([0, 0.5, 1], ["0", "50 %", "100 %"])


# ---- coverage ------------------------------------------------------------------------------------


def draw_coverage(ax: Axes, panel: Mapping[str, Any], residual: bool = False) -> None:
    """Draws coverage curves in their band, or what they differ by from the stated probability.

    Light curves belong to small calibration sets; dashed orange ones leave the band.
    """
    band = panel["band"]
    levels = np.asarray(band["levels"])
    base = levels if residual else 0.0
    lower, upper = np.asarray(band["lower"]) - base, np.asarray(band["upper"]) - base
    ax.fill_between(levels, lower, upper, color=style.BAND, linewidth=0)
    ax.plot([0, 1], [0, 0 if residual else 1], color=style.MUTED, linewidth=0.8)
    steps = len(panel["curves"])
    for step, curve in enumerate(panel["curves"]):
        colour = style.REFERENCE if curve["outside"] else style.ESTIMATE
        ax.plot(
            levels,
            np.asarray(curve["coverage"]) - base,
            color=style.shade(colour, step, steps),
            linestyle="--" if curve["outside"] else "-",
            linewidth=1.6,
            label=curve["label"] or None,
        )
    ax.set_xlim(0, 1)


def draw_coverages(data: Mapping[str, Any]) -> Figure:
    """Returns coverage of each method, and below it the difference from what was stated, on one scale."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), COLUMNS)
    made, axes = style.figure(
        2 * rows,
        columns,
        height=0.4 + 3.1 * rows,
        width=min(style.WIDTH, 0.8 + 2.1 * columns),
        height_ratios=[2.0, 1.0] * rows,
        sharex=True,
    )
    reach = 1.1 * max(_reach(panel) for panel in panels)
    for index, panel in enumerate(panels):
        row, column = 2 * (index // columns), index % columns
        above, below = axes[row, column], axes[row + 1, column]
        draw_coverage(above, panel)
        draw_coverage(below, panel, residual=True)
        above.set(ylim=(0, 1), xticks=PERCENT[0], yticks=PERCENT[0], yticklabels=PERCENT[1])
        above.set_title(panel["label"], fontsize=9.5)
        below.set(ylim=(-reach, reach))
        below.set_xticks(*PERCENT, fontsize=8)
        _signed_percent(below, reach)
        above.tick_params(labelbottom=False, labelleft=column == 0)
        below.tick_params(labelbottom=True, labelleft=column == 0)
        if column == 0:
            above.set_ylabel("how often the\ntruth was inside", fontsize=9)
            below.set_ylabel("minus what\nwas stated", fontsize=9)
        if len(panel["curves"]) > 1:
            above.legend(fontsize=7, loc="upper left", handlelength=1.3, labelspacing=0.15, borderpad=0.0)
    for index in range(len(panels), rows * columns):
        for shift in (0, 1):
            axes[2 * (index // columns) + shift, index % columns].set_visible(False)
    made.supxlabel("stated probability", fontsize=10)
    return made


def _reach(panel: Mapping[str, Any]) -> float:
    levels = np.asarray(panel["band"]["levels"])
    every = [panel["band"]["lower"], panel["band"]["upper"], *(c["coverage"] for c in panel["curves"])]
    return float(max(np.abs(np.asarray(values) - levels).max() for values in every))


def _signed_percent(ax: Axes, reach: float) -> None:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 1.0) if 1.3 * s >= reach / 1.5 or s == 1.0)
    ax.set_yticks([-step, 0, step], [f"\N{MINUS SIGN}{100 * step:.0f} %", "0", f"+{100 * step:.0f} %"])


# ---- quality against calibration size, and against cost --------------------------------------------


def draw_points(
    ax: Axes, x: Sequence[float], curve: Mapping[str, Any], index: int, jitter: float = 1.0
) -> None:
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


def draw_lines(ax: Axes, lines: Sequence[Mapping[str, Any]], limits: Sequence[float]) -> None:
    """Draws yardsticks as lines with their names; of those that lie beyond the axis, arrows say where."""
    low, high = limits
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


def draw_calibration_sizes(data: Mapping[str, Any]) -> Figure:
    """Returns quality against the number of calibration pairs, a panel per measure."""
    panels = data["panels"]
    made, axes = style.figure(1, len(panels), height=3.7, width=4.1 * len(panels))
    place = _places(panels)
    for ax, panel in zip(axes.flat, panels, strict=True):
        sizes = [c for curve in panel["curves"] for c in curve["calibration"]]
        _many(ax, panel, "calibration", place)
        style.log_counts(ax, sizes)
        ax.set_xlim(min(sizes) / 1.35, max(sizes) * 1.35)
        ax.set(xlabel="labelled real data sets used for calibration", ylim=panel["range"])
        if panel["metric"] == "acauc":
            ax.axhline(0, color="black", linewidth=0.8)
    _legend(made, axes)
    return made


def draw_tradeoff(data: Mapping[str, Any]) -> Figure:
    """Returns quality against cost, a panel per measure of either."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 2)
    made, axes = style.figure(rows, columns, height=0.6 + 3.0 * rows, width=min(style.WIDTH, 4.3 * columns))
    place = _places(panels)
    for ax, panel in zip(axes.flat, panels, strict=False):
        _many(ax, panel, "x", place)
        style.log_counts(ax, [x for curve in panel["curves"] for x in curve["x"]])
        ax.set(xlabel=panel["axis_label"], ylim=panel["range"])
        ax.margins(x=0.1)
    style.hide_rest(axes, len(panels))
    _legend(made, axes)
    return made


def _places(panels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The place of each method among all of a figure, so that it looks the same in every panel."""
    labels = dict.fromkeys(curve["label"] for panel in panels for curve in panel["curves"])
    return {label: index for index, label in enumerate(labels)}


def _many(ax: Axes, panel: Mapping[str, Any], along: str, place: Mapping[str, int]) -> None:
    for curve in panel["curves"]:
        index = place[curve["label"]]
        spread = 1.0 if along == "x" else 1.05 ** (index - (len(place) - 1) / 2)
        draw_points(ax, curve[along], curve, index, spread)
    draw_lines(ax, panel["lines"], panel["range"])
    ax.set_ylabel(f"{panel['label']}\n({panel['better']})")


def _legend(made: Figure, axes: Any) -> None:
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    made.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper left",
        ncols=min(len(handles), 5),
        fontsize=9,
    )
