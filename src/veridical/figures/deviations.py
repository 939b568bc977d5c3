"""Repeated experiments: what coverage misses, and how intervals lie about the truth.

`draw_deviations` is drawn from `z`, `reach` and `panels` (label, `curves`: label, mean, stderr), and
`draw_intervals` from `level`, `true_value` and `panels` (label, `value`, `half`: half-widths, `statistical`:
the part of them that a larger observation would shrink, `misses`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

USUAL = (1.0, 2.0)
ONE_AXIS = 2.0  # panels whose intervals reach no farther share an axis, in units of what good ones reach


def draw_deviation(ax: Axes, z: list[float], curve: Mapping[str, Any], index: int) -> None:
    """Draws coverage minus its ideal, mean over trainings, in a band of one standard error."""
    colour = style.CYCLE[index % len(style.CYCLE)]
    mean = np.asarray(curve["mean"])
    if curve["stderr"] is not None:
        error = np.asarray(curve["stderr"])
        ax.fill_between(z, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
    dash = style.DASHES[index % len(style.DASHES)]
    ax.plot(z, mean, color=colour, linestyle=dash, label=curve["label"])


def draw_deviations(data: Mapping[str, Any]) -> Figure:
    """Returns coverage minus its ideal against the width of intervals, a panel per true value."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 3 if len(panels) in (3, 5, 6, 9) else 2)
    made, axes = style.figure(rows, columns, height=0.9 + 2.5 * rows, sharex=True, sharey=True)
    for ax, panel in zip(axes.flat, panels, strict=False):
        ax.axhline(0, color="black", linewidth=0.9)
        for at in USUAL:
            ax.axvline(at, color=style.BAND, linewidth=1.0, zorder=0)
        for index, curve in enumerate(panel["curves"]):
            draw_deviation(ax, data["z"], curve, index)
        ax.set_title(panel["label"])
        ax.set(xlim=(0, data["z"][-1]), ylim=(-data["reach"], data["reach"]))
        ax.set_xticks([0, 1, 2, 3])
        ax.yaxis.set_major_formatter(_points)
        ax.tick_params(labelbottom=True)
    style.hide_rest(axes, len(panels))
    made.supxlabel("half-width of the interval, in stated standard errors", fontsize=10)
    made.supylabel("coverage minus its ideal,\npercentage points", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 4))
    return made


def _points(value: float, _: Any) -> str:
    text = f"{100 * value:+.3g}" if abs(value) > 1e-9 else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def draw_stack(ax: Axes, panel: Mapping[str, Any], true_value: float) -> None:
    """Draws intervals one above the other, sorted; those that miss the truth are orange with a cross."""
    value, half, inner = (np.asarray(panel[name]) for name in ("value", "half", "statistical"))
    at, misses = np.arange(len(value)), np.asarray(panel["misses"], dtype=bool)
    for hit, colour, marker in ((True, style.ESTIMATE, "o"), (False, style.REFERENCE, "x")):
        chosen = misses != hit
        v, h, s, y = value[chosen], half[chosen], inner[chosen], at[chosen]
        ax.hlines(y, v - h, v + h, color=colour, linewidth=0.9)
        ax.hlines(y, v - s, v + s, color=colour, linewidth=2.8, alpha=0.5)
        ax.plot(v, y, marker, color=colour, markersize=2.5 if hit else 4, linestyle="none")
    ax.axvline(true_value, color=style.TRUTH, linewidth=1.1, linestyle=":")
    held = len(value) - int(misses.sum())
    ax.set_title(f"{panel['label']}\n{held} of {len(value)} hold the truth", fontsize=9)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def draw_intervals(data: Mapping[str, Any]) -> Figure:
    """Returns the intervals of each method at one true value, side by side."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 4)
    width = min(style.WIDTH, 0.6 + 2.0 * columns)
    made, axes = style.figure(rows, columns, height=0.4 + 3.3 * rows, width=width)
    truth, reach = data["true_value"], 1.06 * data["reach"]
    common = []
    for ax, panel in zip(axes.flat, panels, strict=False):
        draw_stack(ax, panel, truth)
        low, high = ax.get_xlim()
        if max(truth - low, high - truth) <= ONE_AXIS * reach:
            common.append(ax)
        ax.locator_params(axis="x", nbins=4)
    limits = [ax.get_xlim() for ax in common]
    for ax in common:
        ax.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
    style.hide_rest(axes, len(panels))
    made.supxlabel(f"estimate with its {100 * data['level']:.0f} % interval (dotted: the truth)", fontsize=10)
    return made
