"""Simulations laid over the observed data: at the posterior, or at the prior.

Drawn from `panels` (label, unit, `x`, `bands`: quantile level as text -> values, `observed`, `log`,
`numeric`) `axis` (name, unit) and `role` (`posterior` or `prior`). A panel whose `x` are names, not numbers,
shows whiskers in place of a band.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = {"posterior": style.ESTIMATE, "prior": style.MUTED}


def draw_band(ax: Axes, panel: Mapping[str, Any], colour: str = style.ESTIMATE) -> None:
    """Draws the 50 % and 90 % bands, the median and the observed points of one series."""
    x, bands = panel["x"], panel["bands"]
    fill: dict[str, Any] = {"color": colour, "linewidth": 0}
    ax.fill_between(x, bands["0.05"], bands["0.95"], alpha=0.16, label="90 % band", **fill)
    ax.fill_between(x, bands["0.25"], bands["0.75"], alpha=0.30, label="50 % band", **fill)
    ax.plot(x, bands["0.5"], color=colour, linewidth=1.4, label="median")
    ax.plot(x, panel["observed"], "o", color="black", markersize=4, label="observed")


def draw_whiskers(ax: Axes, panel: Mapping[str, Any], colour: str = style.ESTIMATE) -> None:
    """Draws intervals as whiskers, for data without a numeric axis."""
    at, bands = np.arange(len(panel["x"])), panel["bands"]
    ax.vlines(at, bands["0.05"], bands["0.95"], color=colour, alpha=0.35, linewidth=4, label="90 % interval")
    ax.vlines(at, bands["0.25"], bands["0.75"], color=colour, alpha=0.6, linewidth=8, label="50 % interval")
    ax.plot(at, panel["observed"], "o", color="black", markersize=4, label="observed")
    step = max(1, len(at) // 16)
    names = [str(name) for name in panel["x"]]
    ax.set_xticks(at[::step], names[::step], rotation=45 if len(at) > 6 else 0)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the bands over the data, one panel per observed series."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 1 if len(panels) <= 3 else 2)
    made, axes = style.figure(rows, columns, height=0.5 + 2.4 * rows, sharex=panels[0]["numeric"])
    for ax, panel in zip(axes.flat, panels, strict=False):
        drawer = draw_band if panel["numeric"] else draw_whiskers
        drawer(ax, panel, COLOURS[data["role"]])
        ax.set_title(panel["label"])
        ax.set_ylabel(panel["unit"] or "value")
        if panel["numeric"] and all(float(x).is_integer() for x in panel["x"]):
            ax.xaxis.get_major_locator().set_params(integer=True)
        if panel["log"]:
            ax.set_yscale("log")
            style.log_ticks(ax)
    style.hide_rest(axes, len(panels))
    for ax in axes[-1]:
        ax.set_xlabel(style.with_unit(data["axis"]["name"], data["axis"]["unit"]))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return made
