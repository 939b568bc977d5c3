"""Calibration: do the stated probabilities hold on data whose truth is known?

`draw_ecdf` is drawn from `panels` (label, `points`, `lower`, `upper`, `curves`), one per parameter;
`draw_coverage` from `panels` (label, `band`: `levels`, `lower`, `upper`; `curves`: label, `levels`,
`coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_rank_difference(ax: Axes, panel: Mapping[str, Any]) -> None:
    """Draws rank ECDFs minus their expectation inside their simultaneous band; one that leaves it is orange.

    Arguments:
        ax: The axes to draw into.
        panel: `points`, `lower`, `upper`, each of shape (K,), and `curves`: `difference` (K,) and `inside`,
            whether the whole curve lies inside the band, of each replicate.
    """
    points = panel["points"]
    ax.fill_between(points, panel["lower"], panel["upper"], color=style.BAND, linewidth=0)
    ax.axhline(0, color=style.MUTED, linewidth=0.8)
    for curve in panel["curves"]:
        good = curve["inside"]
        colour, width = (style.ESTIMATE, 1.1) if good else (style.REFERENCE, 1.7)
        ax.plot(points, curve["difference"], color=colour, linewidth=width, linestyle="-" if good else "--")
    outside = sum(not curve["inside"] for curve in panel["curves"])
    ax.set_title(f"{panel['label']}: outside" if outside else panel["label"])
    ax.set_xlim(0, 1)


def draw_ecdf(data: Mapping[str, Any]) -> Figure:
    """Returns small multiples of rank ECDF differences, one per parameter, on one scale."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels))
    width = min(style.WIDTH, 1.2 + 2.4 * columns)
    made, axes = style.figure(rows, columns, height=0.7 + 1.65 * rows, width=width, sharex=True, sharey=True)
    for ax, panel in zip(axes.flat, panels, strict=False):
        draw_rank_difference(ax, panel)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.tick_params(labelbottom=True)
    style.hide_rest(axes, len(panels))
    made.supxlabel(
        "rank of the true value among the posterior draws (0 = below all, 1 = above all)", fontsize=10
    )
    made.supylabel("share of ranks below,\nminus expected share", fontsize=10)
    return made


def draw_curve(ax: Axes, curve: Mapping[str, Any], index: int = 0) -> None:
    """Draws coverage against nominal level; below the diagonal means over-confident."""
    colour, dash = style.CYCLE[index % len(style.CYCLE)], style.DASHES[index % len(style.DASHES)]
    ax.plot(curve["levels"], curve["coverage"], color=colour, linestyle=dash, label=curve["label"])


def draw_coverage(data: Mapping[str, Any]) -> Figure:
    """Returns expected coverage against nominal level, one panel per kind of interval, bands in grey."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 3)
    width = min(style.WIDTH, 0.8 + 3.5 * columns)
    made, axes = style.figure(rows, columns, height=3.5 * rows, width=width, sharey=True)
    for ax, panel in zip(axes.flat, panels, strict=False):
        band = panel.get("band")
        if band:
            ax.fill_between(band["levels"], band["lower"], band["upper"], color=style.BAND, linewidth=0)
        ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.8)
        for index, curve in enumerate(panel["curves"]):
            draw_curve(ax, curve, index)
        ax.set(title=panel["label"], xlim=(0, 1), ylim=(0, 1), xlabel="stated probability")
        ax.set_aspect("equal")
        ax.set_xticks(np.linspace(0, 1, 5), ["0", "25 %", "50 %", "75 %", "100 %"])
        ax.set_yticks(np.linspace(0, 1, 5), ["0", "25 %", "50 %", "75 %", "100 %"])
        if 1 < len(panel["curves"]) <= 10:
            ax.legend(fontsize=7.5, loc="upper left", handlelength=1.6, labelspacing=0.2, borderpad=0.1)
        ax.text(
            0.97,
            0.05,
            "below: too sure\nof itself",
            transform=ax.transAxes,
            ha="right",
            fontsize=8,
            color=style.MUTED,
        )
    axes[0, 0].set_ylabel("how often the truth was inside")
    style.hide_rest(axes, len(panels))
    return made
