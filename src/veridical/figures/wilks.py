"""Sets by the likelihood-ratio statistic: do they hold the truth, and how far is the statistic from exact?

Data: `levels`, `lower`, `upper`, `curves` (label, `held`) and, where the exact likelihood is known,
`statistic`, `exact` (N,) and `error`, the root mean square of their difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Results, plain

MAX_POINTS = 300
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Wilks(Figure):
    """How often Wilks' sets hold the truth, and the statistic of the truth beside the exact one."""

    section = "calibration"
    heading = "Do sets by the likelihood ratio hold the truth?"
    check = "wilks"
    read = (
        "Left: how often sets of the most likely parameters held the truth, against what they state. Near "
        "the diagonal is fine, and where the exact likelihood is known its line is the best there is: the "
        "theorem behind such sets is one of many data. Below: too sure of itself. Right: the "
        "likelihood-ratio statistic of the true parameters, learned upwards and exact along the bottom, one "
        "dot a data set; dots on the line are right."
    )

    def data(self, results: Results) -> dict[str, Any]:
        """Returns a curve per replicate, that of the exact likelihood, and statistics of the first."""
        first = results[min(results)]["curves"]
        curves = [
            {"label": f"repeat {r + 1}", "held": plain(result["curves"]["held"])}
            for r, result in sorted(results.items())
        ]
        found = {name: plain(first[name]) for name in ("levels", "lower", "upper")}
        if "held_exact" not in first:
            return {**found, "curves": curves}
        curves.append({"label": "exact likelihood", "held": plain(first["held_exact"])})
        own, exact = (np.asarray(first[name], float) for name in ("statistic", "statistic_exact"))
        both = {"statistic": plain(own[:MAX_POINTS]), "exact": plain(exact[:MAX_POINTS])}
        error = float(f"{np.sqrt(((own - exact) ** 2).mean()):.3g}")
        return {**found, "curves": curves, **both, "error": error}

    def draw(self, data: Data) -> Drawn:
        from matplotlib.ticker import NullLocator

        made, axes = style.grid(1 + ("exact" in data), 2, height=(0.0, 3.5), width=(0.8, 3.5))
        ax = axes[0, 0]
        ax.fill_between(data["levels"], data["lower"], data["upper"], color=style.BAND, linewidth=0)
        ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.8)
        for index, curve in enumerate(data["curves"]):
            ax.plot(data["levels"], curve["held"], **style.nth(index), label=curve["label"])
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="stated probability", ylabel="how often the truth was inside")
        ticks = (np.linspace(0, 1, 5), ["0", "25 %", "50 %", "75 %", "100 %"])
        ax.set_xticks(*ticks)
        ax.set_yticks(*ticks)
        ax.set_aspect("equal")
        ax.legend(fontsize=7.5, loc="upper left", handlelength=1.6, labelspacing=0.2, borderpad=0.1)
        if "exact" in data:
            ax, top = axes[0, 1], max(*data["exact"], *data["statistic"])
            ax.plot([0, top], [0, top], color=style.MUTED, linewidth=0.8)
            ax.plot(data["exact"], data["statistic"], "o", color=style.ESTIMATE, markersize=2.4, alpha=0.5)
            ax.set(xlabel="statistic by the exact likelihood", ylabel="learned statistic")
            near = [tick for tick in TICKS if tick < top] or [0]
            ax.set(xscale="symlog", yscale="symlog")
            for side in (ax.xaxis, ax.yaxis):
                side.set_ticks(near, [str(tick) for tick in near])
                side.set_minor_locator(NullLocator())
            ax.set(xlim=(0, top), ylim=(0, top))
            ax.set_aspect("equal")
        return made

    def shows(self, data: Data) -> str:
        at = int(np.argmin(np.abs(np.asarray(data["levels"]) - 0.95)))
        held = ", ".join(f"{curve['held'][at]:.0%}" for curve in data["curves"] if "repeat" in curve["label"])
        text = f"Sets that state 95 % held the truth in {held} of the cases"
        if "error" not in data:
            return f"{text}."
        exact = data["curves"][-1]["held"][at]
        return (
            f"{text}, those of the exact likelihood in {exact:.0%}; the learned statistic of the truth is "
            f"off by {data['error']:.2g} (root mean square)."
        )
