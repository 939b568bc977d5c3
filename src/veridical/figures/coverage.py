"""Coverage of one method: do the stated probabilities hold on data whose truth is known?

Data: `panels` (label, `joint`, `band`: `levels`, `lower`, `upper`; `curves`: label, `levels`, `coverage`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.evidence import notation
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Results, listed


class Coverage(Figure):
    """How often regions of highest density and central intervals hold the truth, against what they state."""

    section = "calibration"
    check = "coverage"
    read = (
        "How often the stated probability came true on data with known truth: a 90 % region should hold "
        "the truth in 90 % of cases. Inside the grey band around the diagonal is fine; below it the "
        "method is too sure of itself, above it too careful."
    )

    def data(self, results: Results) -> dict[str, Any]:
        """Returns regions, a curve per replicate, and intervals of the first, a curve per parameter."""
        first = results[min(results)]
        levels = first["curves"]["levels"]
        band = {"levels": levels, "lower": first["curves"]["lower"], "upper": first["curves"]["upper"]}
        panels = []
        if "hpd" in first["curves"]:
            curves = [
                {"label": f"repeat {r + 1}", "levels": levels, "coverage": result["curves"]["hpd"]}
                for r, result in sorted(results.items())
            ]
            panels.append({"label": "all parameters together", "joint": True, "band": band, "curves": curves})
        curves = [
            {"label": name, "levels": levels, "coverage": first["curves"]["central"][j]}
            for j, name in enumerate(first["parameters"])
        ]
        panels.append({"label": "each parameter", "band": band, "curves": curves})
        return {"panels": panels}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.grid(len(panels), 3, height=(0.0, 3.5), width=(0.8, 3.5), sharey=True)
        ticks = (np.linspace(0, 1, 5), ["0", "25 %", "50 %", "75 %", "100 %"])
        for ax, panel in zip(axes.flat, panels, strict=False):
            band = panel["band"]
            ax.fill_between(band["levels"], band["lower"], band["upper"], color=style.BAND, linewidth=0)
            ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.8)
            for index, curve in enumerate(panel["curves"]):
                ax.plot(
                    curve["levels"],
                    curve["coverage"],
                    **style.nth(index),
                    label=notation.label(data, curve["label"]),
                )
            ax.set(title=panel["label"], xlim=(0, 1), ylim=(0, 1), xlabel="stated probability")
            ax.set_aspect("equal")
            ax.set_xticks(*ticks)
            ax.set_yticks(*ticks)
            if 1 < len(panel["curves"]) <= 10:
                ax.legend(fontsize=7.5, loc="upper left", handlelength=1.6, labelspacing=0.2, borderpad=0.1)
            ax.text(
                0.97, 0.05, "below: too sure\nof itself", transform=ax.transAxes, ha="right", fontsize=8,
                color=style.MUTED,
            )  # fmt: skip
        axes[0, 0].set_ylabel("how often the truth was inside")
        return made

    def shows(self, data: Data) -> str:
        outside = [
            panel["label"] if panel.get("joint") else notation.label(data, curve["label"])
            for panel in data["panels"]
            for curve in panel["curves"]
            if _leaves(curve, panel["band"])
        ]
        return f"Outside the band: {listed(outside)}." if outside else "All curves stay inside the grey band."


def _leaves(curve: Data, band: Data) -> bool:
    triples = zip(curve["coverage"], band["lower"], band["upper"], strict=True)
    return any(not low - 1e-7 <= c <= high + 1e-7 for c, low, high in triples)
