"""Training curves: loss on the rows trained on and on rows held back.

Drawn from `panels` (label, `runs`: replicate, `epoch`, `train`, `validation`, `best_epoch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_run(ax: Axes, run: Mapping[str, Any], index: int = 0) -> None:
    """Draws the two losses of one training and marks the epoch whose weights were kept."""
    colour = style.CYCLE[index % len(style.CYCLE)]
    ax.plot(run["epoch"], run["train"], color=colour, linestyle=":", linewidth=1.3)
    ax.plot(run["epoch"], run["validation"], color=colour)
    best: float | None = run.get("best_epoch")
    if best is not None and best in run["epoch"]:
        ax.plot(best, run["validation"][run["epoch"].index(best)], "o", color=colour, markersize=5)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the training curves, one panel per method at its largest budget."""
    from matplotlib.lines import Line2D

    panels = data["panels"]
    rows, columns = style.grid_shape(len(panels), 2)
    made, axes = style.figure(rows, columns, height=0.6 + 2.6 * rows)
    for ax, panel in zip(axes.flat, panels, strict=False):
        for index, run in enumerate(panel["runs"]):
            draw_run(ax, run, index)
        low, high = panel["range"]
        ax.set(title=panel["label"], xlabel="epoch (one pass over the simulations)", ylim=(low, high))
        ax.set_ylabel("loss (lower is better)")
    style.hide_rest(axes, len(panels))
    key = [
        Line2D([], [], color="black", label="held-back simulations"),
        Line2D([], [], color="black", linestyle=":", label="simulations trained on"),
        Line2D([], [], color="black", linestyle="", marker="o", markersize=5, label="weights kept"),
    ]
    made.legend(handles=key, loc="outside upper right", ncols=3)
    return made
