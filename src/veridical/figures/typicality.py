"""Typicality: how far the observation lies from the simulations, in the eyes of the network.

Drawn from `panels` (label, `edges` and `counts` of the distances of simulated data, `observed`: distances of
the observations, `threshold`: the distance that 1 % of simulations exceed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_distances(ax: Axes, panel: Mapping[str, Any]) -> None:
    """Draws the histogram of simulated distances and one line per observation."""
    ax.stairs(panel["counts"], panel["edges"], fill=True, color=style.BAND, label="simulated data")
    ax.axvline(
        panel["threshold"],
        color=style.MUTED,
        linestyle="--",
        linewidth=1.2,
        label="1 % of simulations lie beyond",
    )
    for index, distance in enumerate(panel["observed"]):
        beyond = distance > panel["threshold"]
        colour = style.REFERENCE if beyond else style.ESTIMATE
        ax.axvline(distance, color=colour, linewidth=2.4, label="observed data" if index == 0 else None)
    ax.set_title(panel["label"])
    ax.set_ylim(bottom=0)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the distances, one panel per method or replicate."""
    return style.panels(
        data["panels"],
        draw_distances,
        x="distance from the bulk of the simulations",
        y="simulated data sets",
        legend="outside upper right",
    )
