"""Estimates against the truth on labelled data.

Data: `panels` (label, `truth`, `median`, `mad`, `range`), one per parameter, and `correlation` by parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from veridical.evidence import notation
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Results, Sources, plain

MAX_PANELS, MAX_ROWS = 8, 200


class Recovery(Figure):
    """Posterior medians against the true values, with their spread, of the first replicate."""

    section = "calibration"
    heading = "How well are parameters recovered?"
    check = "scores"
    read = (
        "Each dot is one data set whose truth is known: the truth along the bottom, the median of the answer "
        "upwards, with a bar for its spread (median absolute deviation). Dots on the line are right; a flat "
        "cloud means that the data say little about this parameter."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for found in super().found(sources):
            (results,) = found.given
            if "truth" in results[min(results)]["curves"]:
                yield found

    def data(self, results: Results) -> dict[str, Any]:
        """Returns truth and estimate of the first data sets, of the first replicate."""
        first = results[min(results)]
        truth, median, mad = (
            np.asarray(first["curves"][name], dtype=float)[:MAX_ROWS] for name in ("truth", "median", "mad")
        )
        panels = []
        for j, name in enumerate(first["parameters"][:MAX_PANELS]):
            low, high = min(truth[:, j].min(), median[:, j].min()), max(truth[:, j].max(), median[:, j].max())
            room = 0.04 * (high - low or 1.0)
            panel = {"label": name, "range": plain([low - room, high + room])}
            panel["correlation"] = _correlation(truth[:, j], median[:, j])
            columns = (("truth", truth), ("median", median), ("mad", mad))
            panels.append({**panel, **{key: plain(values[:, j]) for key, values in columns}})
        return {"panels": panels, "n": len(truth), "of_parameters": len(first["parameters"])}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.grid(len(panels), 4, height=(0.5, 1.95), width=(0.4, 2.2))
        for ax, panel in zip(axes.flat, panels, strict=False):
            ax.plot(panel["range"], panel["range"], color=style.MUTED, linewidth=0.9)
            ax.errorbar(
                panel["truth"], panel["median"], yerr=panel["mad"], fmt="o", color=style.ESTIMATE,
                markersize=2.4, elinewidth=0.6, alpha=0.5,
            )  # fmt: skip
            ax.set(xlim=panel["range"], ylim=panel["range"], title=notation.label(data, panel["label"]))
            ax.locator_params(nbins=4)
        made.supxlabel("true value", fontsize=10)
        made.supylabel("median of the answer", fontsize=10)
        return made

    def shows(self, data: Data) -> str:
        worst = min(data["panels"], key=lambda panel: panel["correlation"])
        name, value = notation.label(data, worst["label"]), worst["correlation"]
        return f"{data['n']} data sets; least recovered is {name} (correlation with the truth {value:.2f})."


def _correlation(truth: Any, median: Any) -> float:
    """Pearson's correlation, 0 where one of both does not vary."""
    if not (np.ptp(truth) > 0 and np.ptp(median) > 0):
        return 0.0
    return float(f"{np.corrcoef(truth, median)[0, 1]:.4g}")
