"""Typicality: how far the observation lies from the simulations, in the eyes of the network.

Data: `panels` (label, `edges` and `counts` of the distances of simulated data, `observed`: distances of the
observations, `threshold`: the distance that 1 % of simulations exceed).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.figures.base import Data, Drawn, Figure, Results, histogram, plain
from veridical.figures.nulls import draw_nulls

MAX_LINES = 20


class Typicality(Figure):
    """How far out the observation lies among simulated data, as the summary network sees them."""

    section = "data"
    heading = "Are the data like the simulations?"
    check = "typicality"
    read = (
        "Grey: how far simulated data sets lie from the bulk of the simulations, as the network sees them. "
        "The thick line is the real data. Within the grey hill is fine; to the right of the dashed line, "
        "the network was never trained on anything like it."
    )

    def data(self, results: Results) -> dict[str, Any]:
        """Returns distances of simulated data and of the observations, a panel per replicate."""
        panels = []
        for replicate, result in sorted(results.items()):
            null = np.asarray(result["curves"]["null"], dtype=float)
            observed = np.asarray(result["curves"]["distances"], dtype=float)[:MAX_LINES]
            panels.append(
                {
                    "label": f"repeat {replicate + 1}" if len(results) > 1 else "",
                    **histogram(null),
                    "observed": plain(observed),
                    "threshold": float(np.quantile(null, 0.99)),
                }
            )
        return {"panels": panels}

    def draw(self, data: Data) -> Drawn:
        labels = ("simulated data", "1 % of simulations lie beyond", "observed data")
        return draw_nulls(
            data["panels"],
            "threshold",
            labels,
            x="distance from the bulk of the simulations",
            y="simulated data sets",
            place="outside upper right",
        )

    def shows(self, data: Data) -> str:
        every = [d > panel["threshold"] for panel in data["panels"] for d in panel["observed"]]
        if not any(every):
            return "The real data lie within the range of the simulations."
        return f"{sum(every)} of {len(every)} lines lie beyond what 99 % of simulations reach."
