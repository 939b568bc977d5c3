"""What each stage cost. Drawn from `stages` (name, jobs, `seconds`, `label`: the time in words)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_bars(ax: Axes, stages: Sequence[Mapping[str, Any]]) -> None:
    """Draws one bar per stage, first stage on top, its time in words beside it."""
    names = [stage["name"] for stage in stages]
    bars = ax.barh(names, [stage["seconds"] for stage in stages], color=style.ESTIMATE, height=0.62)
    ax.bar_label(bars, labels=[stage["label"] for stage in stages], padding=5, fontsize=9)
    ax.invert_yaxis()
    ax.margins(x=0.22)
    ax.spines["bottom"].set_visible(False)
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the time spent in each stage, summed over its jobs."""
    made, axes = style.figure(height=0.5 + 0.36 * len(data["stages"]), width=6.4)
    draw_bars(axes[0, 0], data["stages"])
    return made
