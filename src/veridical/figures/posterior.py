"""Posterior pairs: marginals on the diagonal, contours of pairs below it, one colour per posterior.

Drawn from the figure's data: `parameters` (name, unit, range), `series` (label, role, `marginals`: per
parameter `x` and `density`; `pairs`: per pair `row`, `column`, `x`, `y`, `density` and the two `levels` that
hold 90 % and 50 % of the mass) and `truth` (D numbers or None).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"estimate": style.ESTIMATE, "reference": style.REFERENCE}


def draw_marginal(ax: Axes, series: Mapping[str, Any], index: int, truth: float | None = None) -> None:
    """Draws the marginal density of one parameter; the true value, where known, as a dotted line."""
    marginal = series["marginals"][index]
    colour = COLOURS[series["role"]]
    dashed = series["role"] == "reference"
    if not dashed:
        ax.fill_between(marginal["x"], marginal["density"], color=colour, alpha=0.15, linewidth=0)
    ax.plot(marginal["x"], marginal["density"], color=colour, linestyle="--" if dashed else "-")
    if truth is not None:
        ax.axvline(truth, color=style.TRUTH, linestyle=":", linewidth=1.2)
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.08 * max(marginal["density"])))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def draw_pair(ax: Axes, series: Mapping[str, Any], pair: Mapping[str, Any]) -> None:
    """Draws the regions that hold 50 % and 90 % of the posterior of two parameters."""
    colour = COLOURS[series["role"]]
    dashed = series["role"] == "reference"
    density = np.asarray(pair["density"])
    levels = pair["levels"]
    if not dashed:
        ax.contourf(
            pair["x"], pair["y"], density, levels=[*levels, np.inf], colors=[colour, colour], alpha=0.18
        )
    styles = "dashed" if dashed else "solid"
    ax.contour(
        pair["x"], pair["y"], density, levels=levels, colors=colour, linewidths=[1.0, 1.5], linestyles=styles
    )


def draw(data: Mapping[str, Any]) -> Figure:
    """Returns the figure of all pairs of parameters."""
    parameters = data["parameters"]
    d = len(parameters)
    side = min(style.WIDTH + 0.7, 2.2 + 1.05 * d) if d > 1 else 4.0
    made, axes = style.figure(d, d, height=side * 0.93 if d > 1 else 3.0, width=side)
    made.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for i in range(d):
        for j in range(d):
            if j > i:
                axes[i, j].set_visible(False)
            else:
                _draw_panel(axes[i, j], data, i, j)
    made.align_labels()
    _legend(made, axes, data)
    return made


def _draw_panel(ax: Axes, data: Mapping[str, Any], i: int, j: int) -> None:
    parameters, truth = data["parameters"], data.get("truth")
    for series in data["series"]:
        if i == j:
            draw_marginal(ax, series, i, None if truth is None else truth[i])
        else:
            pair = next(p for p in series["pairs"] if (p["row"], p["column"]) == (i, j))
            draw_pair(ax, series, pair)
    if i != j and truth is not None:
        ax.plot(truth[j], truth[i], marker="+", color=style.TRUTH, markersize=8)
    _label(ax, parameters, i, j)


def _label(ax: Axes, parameters: list[Mapping[str, Any]], i: int, j: int) -> None:
    many = len(parameters) > 4
    ax.set_xlim(parameters[j]["range"])
    ax.locator_params(axis="x", nbins=3 if many else 4)
    ax.tick_params(labelsize=7.5 if many else 9)
    if i == j:
        ax.set_title(parameters[i]["name"], loc="center", fontsize=9.5 if many else 10.5)
    else:
        ax.set_ylim(parameters[i]["range"])
        ax.locator_params(axis="y", nbins=3 if many else 4)
    if i == len(parameters) - 1:
        ax.set_xlabel(_name(parameters[j], many), fontsize=9)
        for text in ax.get_xticklabels():
            text.set_rotation(45 if many else 0)
    else:
        ax.tick_params(labelbottom=False)
    if j == 0 and i > 0:
        ax.set_ylabel(_name(parameters[i], many), fontsize=9)
    elif j > 0:
        ax.tick_params(labelleft=False)


def _name(parameter: Mapping[str, Any], many: bool) -> str:
    """Name and unit; the name alone where there is no room."""
    return parameter["name"] if many else style.with_unit(parameter["name"], parameter["unit"])


def _legend(made: Figure, axes: Any, data: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[s["role"]],
            linestyle="--" if s["role"] == "reference" else "-",
            label=s["label"],
        )
        for s in data["series"]
    ]
    if data.get("truth") is not None:
        handles.append(Line2D([], [], color=style.TRUTH, linestyle=":", marker="+", label="true value"))
    if len(data["parameters"]) == 1:
        made.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    else:
        made.legend(handles=handles, loc="upper right", fontsize=11, bbox_to_anchor=(0.98, 0.97))
