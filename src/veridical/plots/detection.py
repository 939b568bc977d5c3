"""Detection: does a set of data, taken together, look like sets of simulated data?

Drawn from `panels` (label, `edges` and `counts` of the root MMDs of simulated sets, `observed`, `critical`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from veridical.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_null(ax: Axes, panel: Mapping[str, Any]) -> None:
    """Draws the histogram of simulated sets, the limit of the test, and the data."""
    ax.stairs(panel["counts"], panel["edges"], fill=True, color=style.BAND, label="sets of simulated data")
    ax.axvline(
        panel["critical"], color=style.MUTED, linestyle="--", linewidth=1.2, label="5 % of them lie beyond"
    )
    beyond = panel["observed"] > panel["critical"]
    colour = style.REFERENCE if beyond else style.ESTIMATE
    ax.axvline(panel["observed"], color=colour, linewidth=2.4, label="the data")
    ax.set_title(panel["label"])
    ax.set_ylim(bottom=0)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the null distribution with the data in it, one panel per replicate."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 3)
    width = style.WIDTH if columns > 1 else 5.6
    made, axes = style.figure(rows, columns, height=0.8 + 2.2 * rows, width=width)
    for ax, panel in zip(axes.flat, panels, strict=False):
        draw_null(ax, panel)
    style.hide_rest(axes, len(panels))
    made.supxlabel("distance between data and simulations, as the network sees them (root MMD)", fontsize=10)
    axes[0, 0].set_ylabel("simulated sets")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return made
