"""Data among simulated data: the drawing that `typicality` and `detection` share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.figures import style
from veridical.figures.base import Data, Drawn


def draw_nulls(
    panels: Sequence[Data], limit: str, labels: Sequence[str], *, x: str, y: str, place: str
) -> Drawn:
    """Returns one panel for each replicate: simulated distances, a limit, and the data, orange beyond it.

    Arguments:
        panels: `edges` and `counts` of simulated distances, `observed`: one or several of the data.
        limit: The entry of a panel that holds the limit.
        labels: What to call the simulated distances, the limit and the data.
        x: Label below all panels.
        y: Label beside the first.
        place: Where the legend stands.
    """
    width = style.WIDTH if len(panels) > 1 else 5.6
    made, axes = style.grid(len(panels), 3, height=(0.8, 2.2), width=(width, 0.0))
    for ax, panel in zip(axes.flat, panels, strict=False):
        ax.stairs(panel["counts"], panel["edges"], fill=True, color=style.BAND, label=labels[0])
        ax.axvline(panel[limit], color=style.MUTED, linestyle="--", linewidth=1.2, label=labels[1])
        for value in np.atleast_1d(panel["observed"]):
            colour = style.REFERENCE if value > panel[limit] else style.ESTIMATE
            ax.axvline(value, color=colour, linewidth=2.4, label=labels[2])
        ax.set_title(panel["label"])
        ax.set_ylim(bottom=0)
    made.supxlabel(x, fontsize=10)
    axes[0, 0].set_ylabel(y)
    style.legend(made, place)
    return made
