"""The transport plan: which simulations stand for which observation.

Drawn from `name`, `unit`, `picture` (weights of groups of simulations, across, for groups of observations,
upwards, both sorted by what they say of the parameter: `column_values`, `row_values`) and `effective`
(`counts`, `edges`, `median`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADES = 3.0


def draw_plan(made: Figure, ax: Axes, data: Mapping[str, Any]) -> None:
    """Draws the weights on a logarithmic scale of three decades; white is nothing."""
    from matplotlib.colors import LogNorm

    picture = np.asarray(data["picture"], dtype=float)
    evenly = 1.0 / picture.shape[1]
    top = max(float(picture.max()), evenly)
    relative = np.maximum(picture, top * 10**-DECADES) / evenly
    image = ax.imshow(
        relative,
        cmap="Blues",
        norm=LogNorm(top * 10**-DECADES / evenly, top / evenly),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
    )
    bar = made.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
    bar.set_label("weight, relative to equal weights", fontsize=9)
    bar.ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    bar.ax.minorticks_off()
    name = style.with_unit(data["name"], data["unit"])
    _ticks(ax, data["column_values"], "x")
    _ticks(ax, data["row_values"], "y")
    ax.set(xlabel=f"{name} of the simulations", ylabel=f"{name} of the observations")
    ax.set_title("who stands for whom")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def _ticks(ax: Axes, values: list[float], axis: str) -> None:
    at = np.unique(np.linspace(0, len(values) - 1, 5).round().astype(int))
    texts = [f"{values[i]:.3g}".replace("-", "\N{MINUS SIGN}") for i in at]
    (ax.set_xticks if axis == "x" else ax.set_yticks)(at, texts)


def draw_effective(ax: Axes, effective: Mapping[str, Any]) -> None:
    """Draws how many simulations an observation effectively rests on."""
    ax.stairs(effective["counts"], effective["edges"], fill=True, color=style.ESTIMATE, alpha=0.6)
    ax.axvline(effective["median"], color=style.TRUTH, linestyle=":", linewidth=1.3)
    ax.set(xlabel="effective simulations", ylabel="observations")
    ax.set_xlim(left=0)
    ax.set_title(f"median {effective['median']:.3g}")


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the plan, and beside it how many simulations count for an observation."""
    made, axes = style.figure(1, 2, height=3.9, width_ratios=[2.1, 1.0])
    draw_plan(made, axes[0, 0], data)
    draw_effective(axes[0, 1], data["effective"])
    return made
