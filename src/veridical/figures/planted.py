"""The same calibration check on a deliberately broken copy of the answers: can it fail at all?

Data: `copies` (label, `p`, `held`: share of 90 % intervals that hold the truth, `panels` as in `ranks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from veridical import seeds
from veridical.checks.sbc import SBC
from veridical.evidence import notation
from veridical.evidence.numbers import percent, rounded
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources, plain
from veridical.figures.ranks import draw_ranks, rank_panel
from veridical.saved.posteriors import Draws

MAX_PANELS = 4
NARROWER, SHIFT = 1.5, 0.5  # how the copy is broken: width divided by, mean moved by so many of its own sd
LEVEL = 0.05


class Planted(Figure):
    """Ranks of the truth in this study's answers and in a copy that is too narrow and shifted."""

    section = "controls"
    heading = "A fault planted on purpose"
    read = (
        f"Above, the answers of this study; below, the same answers made {NARROWER:g} times too narrow and "
        f"moved by {SHIFT:g} of their standard deviations, which a check worth its name has to see. Curves "
        "as in the test of ranks: inside the grey band is fine."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for variant, draws in sources.controls():
            if draws.truth is not None:
                yield Found((draws,), variant, "simulated")

    def data(self, draws: Draws) -> dict[str, Any]:
        """Returns the test of ranks on answers to labelled data, as they are and broken."""
        return {"copies": [_copy("as it is", draws), _copy("broken on purpose", broken(draws))]}

    def draw(self, data: Data) -> Drawn:
        copies = data["copies"]
        columns = len(copies[0]["panels"])
        size = {"height": 3.5, "width": min(style.WIDTH, 1.6 + 1.9 * columns)}
        made, axes = style.figure(len(copies), columns, sharex=True, sharey=True, **size)
        for copy, row in zip(copies, axes, strict=True):
            for ax, panel in zip(row, copy["panels"], strict=True):
                draw_ranks(ax, panel, notation.label(data, panel["label"]))
            row[0].set_ylabel(copy["label"])
        made.supxlabel("rank of the true value among the draws", fontsize=10)
        return made

    def shows(self, data: Data) -> str:
        own, other = data["copies"]
        found = "The check finds the fault" if other["p"] < LEVEL else "The check does not find the fault"
        p, held = ([copy[key] for copy in (other, own)] for key in ("p", "held"))
        return (
            f"{found} (p = {rounded(p[0], 2)}; of the answers as they are, p = {rounded(p[1], 2)}). 90 % "
            f"intervals hold the truth in {percent(held[0])} of cases in place of {percent(held[1])}."
        )


def broken(draws: Draws) -> Draws:
    """Returns answers made too narrow and shifted by a share of their own width; without densities."""
    centre, sd = draws.draws.mean(axis=0), draws.draws.std(axis=0)
    moved = centre + (draws.draws - centre) / NARROWER + SHIFT * sd
    return replace(draws, draws=moved, log_density=None, log_density_truth=None)


def _copy(label: str, draws: Draws) -> dict[str, Any]:
    rng = seeds.generator(0, "check", "planted")
    plainly = replace(draws, log_density=None, log_density_truth=None)
    result = SBC(bootstrap=2).run(plainly, rng)
    curves = {name: np.asarray(values).tolist() for name, values in result.curves.items()}
    band = curves["lower"], curves["upper"]
    panels = [
        rank_panel(name, {0: curves["ecdf"][j]}, curves["grid"], band)
        for j, name in enumerate(draws.names[:MAX_PANELS])
    ]
    low, high = np.quantile(draws.draws, [LEVEL, 1 - LEVEL], axis=0)
    held = np.mean((draws.truth >= low) & (draws.truth <= high))
    p, share = plain([result.p_value, held])
    return {"label": label, "p": p, "held": share, "panels": panels}
