"""Where observed values lie in what the fitted model predicts for them (probability integral transform).

Data: `levels` of the predicted quantiles, `share` of values in each of the bins between them, `n` values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from veridical.evidence.numbers import percent
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources, plain
from veridical.figures.predictive import standing_for

LEAST = 8  # values below which a histogram says nothing


class Pit(Figure):
    """Observed values among their predictions: a flat histogram where the model describes the data."""

    section = "data"
    heading = "Where the observed values lie among their predictions"
    read = (
        "Each observed value is ranked among predictions of the fitted model for it. Bars at the height of "
        "the line are fine, as far as the whiskers reach. High bars at both ends: the data vary more than "
        "the model says; in the middle: less; at one end: the model lies to one side. All values share "
        "one fit, so that bars are a little flatter than chance alone makes them."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for (results,), variant, dataset in sources.of_check("predictive"):
            yield Found((standing_for(results),), variant, dataset)

    def data(self, result: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns how many observed values lie between predicted quantiles; None for few values.

        Arguments:
            result: The saved check `predictive` with its curves `observed`, `quantiles` and `bands`.
        """
        curves = result["curves"]
        if not {"observed", "quantiles", "bands"} <= set(curves):
            return None
        x, bands = (np.asarray(curves[name], dtype=float) for name in ("observed", "bands"))
        known = np.isfinite(x + bands[0])
        if known.sum() < LEAST:
            return None
        # of a value that equals several quantiles, as counts do, a like share goes to each bin around them
        below, upto = ((relation(bands, x)).sum(axis=0)[known] for relation in (np.less, np.less_equal))
        bins = np.arange(len(bands) + 1)[:, None]
        inside = (bins >= below) & (bins <= upto)
        share = (inside / inside.sum(axis=0)).mean(axis=1)
        return {"levels": plain(curves["quantiles"]), "share": plain(share), "n": int(known.sum())}

    def draw(self, data: Data) -> Drawn:
        edges = np.array([0.0, *data["levels"], 1.0])
        width = np.diff(edges)
        made, axes = style.figure(height=2.4, width=5.0)
        ax = axes[0, 0]
        ax.bar(edges[:-1], data["share"] / width, width, align="edge", color=style.ESTIMATE, alpha=0.35,
               edgecolor=style.ESTIMATE, linewidth=0.8)  # fmt: skip
        error = np.sqrt(width * (1 - width) / data["n"]) / width
        ax.errorbar(edges[:-1] + width / 2, np.ones_like(width), yerr=1.96 * error, fmt="none",
                    color=style.MUTED, linewidth=1.1, capsize=2)  # fmt: skip
        ax.axhline(1, color=style.MUTED, linewidth=1.2)
        ax.set_ylim(0, max(2.0, 1.1 * float(np.max(data["share"] / width))))
        ax.set(xlim=(0, 1), xlabel="rank of the observed value among its predictions", ylabel="density")
        ax.set_xticks(edges[1:-1], [f"{edge:g}" for edge in edges[1:-1]])
        return made

    def shows(self, data: Data) -> str:
        levels, share = data["levels"], data["share"]
        nominal = levels[-1] - levels[0]
        return (
            f"{percent(sum(share[1:-1]))} of {data['n']} values lie between the outer lines "
            f"({percent(nominal)} should), {percent(share[0])} below and {percent(share[-1])} above."
        )
