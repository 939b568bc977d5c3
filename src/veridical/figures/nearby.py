"""Ranks of parameters drawn around the answer: are the stated probabilities right near the observation?

Data: as of `ranks`, with a panel for how near the parameters lie to the centre of the answer.
"""

from __future__ import annotations

from typing import Any

from veridical.figures.base import Results
from veridical.figures.ranks import Ranks, rank_panel


class Nearby(Ranks):
    """ECDFs of reweighted ranks for data simulated near the observation, minus their expectation."""

    section = "answer"
    check = "local_ranks"
    horizontal = "rank among the reweighted draws, for data simulated around the answer"
    read = (
        "Tested on data simulated at parameters around the answer, one line per repeat: is the method right "
        "just there? Inside the grey band is fine. A line that rises and then falls below zero means "
        "intervals that are too narrow; the other way round, too wide; one hump to a side, a bias. The last "
        "panel ranks how near the parameters lie to the centre of the answer; of several observations the "
        "one that fits worst is shown."
    )

    def data(self, results: Results) -> dict[str, Any] | None:
        """Returns a panel per parameter and one for nearness, with a curve per replicate that was judged."""
        judged = {replicate: one for replicate, one in results.items() if "ecdf" in one["curves"]}
        if not judged:
            return None
        first = judged[min(judged)]
        curves = {replicate: one["curves"] for replicate, one in judged.items()}
        grid, band = first["curves"]["grid"], (first["curves"]["lower"], first["curves"]["upper"])
        panels = [
            rank_panel(name, {r: own["ecdf"][j] for r, own in curves.items()}, grid, band)
            for j, name in enumerate(first["parameters"])
        ]
        near = {r: own["ecdf_log_weight"] for r, own in curves.items()}
        return {"panels": [*panels, rank_panel("nearness", near, grid, band)]}
