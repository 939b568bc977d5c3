"""Predictions of the fitted model laid over the observed data.

Drawn from `panels` (label, unit, `x`, `bands`: quantile level as text -> values, `observed`, `log`,
`numeric`) and `axis` (name, unit). A panel whose `x` are names, not numbers, shows whiskers in place of a
band.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_band(ax: Axes, panel: Mapping[str, Any]) -> None:
    """Draws the 50 % and 90 % predictive bands, the median and the observed points of one series."""
    x, bands = panel["x"], panel["bands"]
    ax.fill_between(
        x, bands["0.05"], bands["0.95"], color=style.ESTIMATE, alpha=0.16, linewidth=0, label="90 % band"
    )
    ax.fill_between(
        x, bands["0.25"], bands["0.75"], color=style.ESTIMATE, alpha=0.30, linewidth=0, label="50 % band"
    )
    ax.plot(x, bands["0.5"], color=style.ESTIMATE, linewidth=1.4, label="predicted median")
    ax.plot(x, panel["observed"], "o", color="black", markersize=4, label="observed")


def draw_whiskers(ax: Axes, panel: Mapping[str, Any]) -> None:
    """Draws predictive intervals as whiskers, for data without a numeric axis."""
    at, bands = np.arange(len(panel["x"])), panel["bands"]
    ax.vlines(
        at, bands["0.05"], bands["0.95"], color=style.ESTIMATE, alpha=0.35, linewidth=4, label="90 % interval"
    )
    ax.vlines(
        at, bands["0.25"], bands["0.75"], color=style.ESTIMATE, alpha=0.6, linewidth=8, label="50 % interval"
    )
    ax.plot(at, panel["observed"], "o", color="black", markersize=4, label="observed")
    step = max(1, len(at) // 16)
    ax.set_xticks(at[::step], [str(name) for name in panel["x"]][::step], rotation=45 if len(at) > 6 else 0)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the predictive bands over the data, one panel per observed series."""
    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 1 if len(panels) <= 3 else 2)
    made, axes = style.figure(rows, columns, height=0.5 + 2.4 * rows, sharex=panels[0]["numeric"])
    for ax, panel in zip(axes.flat, panels, strict=False):
        (draw_band if panel["numeric"] else draw_whiskers)(ax, panel)
        ax.set_title(panel["label"])
        ax.set_ylabel(panel["unit"] or "value")
        if panel["log"]:
            ax.set_yscale("log")
            style.log_ticks(ax)
    style.hide_rest(axes, len(panels))
    for ax in axes[-1]:
        ax.set_xlabel(style.with_unit(data["axis"]["name"], data["axis"]["unit"]))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return made
