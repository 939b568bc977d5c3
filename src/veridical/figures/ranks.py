"""Ranks of the truth among posterior draws: are the stated probabilities right on simulated data?

Data: `panels` (label, `points`, `lower`, `upper`, `curves`: replicate, difference, inside), one per
parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from veridical.evidence import notation
from veridical.figures import style
from veridical.figures.base import Axes, Data, Drawn, Figure, Results, listed, plain, thinned

MAX_POINTS = 200
INSIDE, OUTSIDE = (style.ESTIMATE, 1.1, "-"), (style.REFERENCE, 1.7, "--")


class Ranks(Figure):
    """ECDFs of ranks minus their expectation, with their simultaneous band (simulation-based calibration)."""

    section = "calibration"
    check = "sbc"
    horizontal: ClassVar = "rank of the true value among the posterior draws (0 = below all, 1 = above all)"
    read = (
        "Tested on simulated data whose true parameters are known; one line per repeat. Inside the grey "
        "band is fine: the band is what chance does to a perfect method. A line that rises and then falls "
        "below zero means intervals that are too narrow; the other way round, too wide; one hump to a "
        "side, a bias."
    )

    def data(self, results: Results) -> dict[str, Any] | None:
        """Returns a panel per parameter, and one for the density, with a curve per replicate."""
        first = results[min(results)]
        curves = first["curves"]
        grid, band = curves["grid"], (curves["lower"], curves["upper"])
        panels = [
            rank_panel(name, {r: result["curves"]["ecdf"][j] for r, result in results.items()}, grid, band)
            for j, name in enumerate(first["parameters"])
        ]
        if "ecdf_log_density" in curves:
            band = curves["lower_log_density"], curves["upper_log_density"]
            ecdfs = {r: result["curves"]["ecdf_log_density"] for r, result in results.items()}
            panels.append(rank_panel("log density", ecdfs, grid, band))
        return {"panels": panels}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        shape: dict[str, Any] = {"height": (0.7, 1.65), "width": (1.2, 2.4)}
        made, axes = style.grid(len(panels), 4, **shape, sharex=True, sharey=True)
        for ax, panel in zip(axes.flat, panels, strict=False):
            draw_ranks(ax, panel, notation.label(data, panel["label"]))
            ax.tick_params(labelbottom=True)
        made.supxlabel(self.horizontal, fontsize=10)
        made.supylabel("share of ranks below,\nminus expected share", fontsize=10)
        return made

    def shows(self, data: Data) -> str:
        panels = data["panels"]
        bad = [notation.label(data, p["label"]) for p in panels if any(not c["inside"] for c in p["curves"])]
        if not bad:
            return "All lines stay inside the grey band."
        every = [curve["inside"] for panel in data["panels"] for curve in panel["curves"]]
        lines = f"{every.count(False)} of {len(every)} lines leave the band"
        return f"{lines}, for {listed(bad)} (dashed orange)."


def draw_ranks(ax: Axes, panel: Data, name: str) -> None:
    """Draws the curves of one column of ranks with their band; those that leave it dashed."""
    points = panel["points"]
    ax.fill_between(points, panel["lower"], panel["upper"], color=style.BAND, linewidth=0)
    ax.axhline(0, color=style.MUTED, linewidth=0.8)
    for curve in panel["curves"]:
        colour, width, dash = INSIDE if curve["inside"] else OUTSIDE
        ax.plot(points, curve["difference"], color=colour, linewidth=width, linestyle=dash)
    inside = all(curve["inside"] for curve in panel["curves"])
    ax.set_title(name + ("" if inside else ": outside"))
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])


def rank_panel(
    label: str,
    ecdfs: Mapping[int, Sequence[float]],
    points: Sequence[float],
    band: tuple[Sequence[float], Sequence[float]],
) -> dict[str, Any]:
    """Returns the panel of one column of ranks, from its ECDF by replicate; thinned, judged at all points."""
    grid, low, high = (np.asarray(values, dtype=float) for values in (points, *band))
    thin = thinned(len(grid), MAX_POINTS)
    curves = []
    for replicate, values in sorted(ecdfs.items()):
        ecdf = np.asarray(values, dtype=float)
        inside = bool(((ecdf >= low - 1e-7) & (ecdf <= high + 1e-7)).all())
        difference = plain((ecdf - grid)[thin])
        curves.append({"replicate": replicate, "difference": difference, "inside": inside})
    return {
        "label": label,
        "points": plain(grid[thin]),
        "lower": plain((low - grid)[thin]),
        "upper": plain((high - grid)[thin]),
        "curves": curves,
    }
