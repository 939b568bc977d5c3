"""Detection: does a set of data, taken together, look like sets of simulated data?

Drawn from `panels` (label, `edges` and `counts` of the root MMDs of simulated sets, `observed`, `critical`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from veridical.figures import style

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
    return style.panels(
        data["panels"],
        draw_null,
        x="distance between data and simulations, as the network sees them (root MMD)",
        y="simulated sets",
        legend="outside upper left",
    )
