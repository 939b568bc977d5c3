"""The learning curve: quality against the number of simulations, with the spread over repeats.

Drawn from `metric` (name, label, `lower_is_better`) and `curves` (label, `budget`, `mean`, `stderr`,
`points`: budget and value of every replicate).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curve(ax: Axes, curve: Mapping[str, Any], index: int = 0) -> None:
    """Draws the mean over repeats with its standard error, and each repeat as a dot."""
    colour = style.CYCLE[index % len(style.CYCLE)]
    dash = style.DASHES[index % len(style.DASHES)]
    error = [0.0 if e is None else e for e in curve["stderr"]]
    ax.errorbar(
        curve["budget"],
        curve["mean"],
        yerr=error,
        color=colour,
        linestyle=dash,
        capsize=3,
        label=curve["label"],
    )
    ax.plot(curve["points"]["budget"], curve["points"]["value"], "o", color=colour, alpha=0.45, markersize=5)


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns quality against budget, one curve per method."""
    from matplotlib.ticker import NullFormatter, NullLocator

    made, axes = style.figure(height=3.2, width=6.4)
    ax = axes[0, 0]
    for index, curve in enumerate(data["curves"]):
        draw_curve(ax, curve, index)
    ax.set_xscale("log")
    budgets = sorted({b for curve in data["curves"] for b in curve["budget"]})
    ax.set_xticks(budgets, [f"{b:,}" for b in budgets])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    better = "lower" if data["metric"]["lower_is_better"] else "higher"
    ax.set(xlabel="simulations used for training", ylabel=f"{data['metric']['label']}\n({better} is better)")
    ax.margins(x=0.15)
    if len(data["curves"]) > 1:
        ax.legend()
    return made
