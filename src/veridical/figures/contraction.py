"""Posterior z-score against contraction on labelled data: is an answer right, and did the data say anything?

Data: `panels` (label, `contraction`, `z`, `far`: how many lie beyond FAR), one per parameter; `n` data sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from veridical.evidence import notation
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Results, Sources, listed, plain

MAX_PANELS, MAX_ROWS = 8, 200
EDGE = 5.0  # z-scores beyond are drawn at the edge
FAR = 3.0


class Contraction(Figure):
    """How far answers miss, in their own standard deviations, against what they learned from the data."""

    section = "calibration"
    heading = "What was learned, and is it right?"
    check = "scores"
    read = (
        "Each dot is one data set whose truth is known. To the right, the data narrowed down the parameter "
        "(1: completely, 0: not at all). Upwards, how far the answer misses, in its own standard deviations; "
        "the grey band holds 95 % of a perfect method's dots. Good answers lie at the right within the band; "
        "at the right beyond it they are too sure; at the left they say little."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for found in super().found(sources):
            (results,) = found.given
            if "z_score" in results[min(results)]["curves"]:
                yield found

    def data(self, results: Results) -> dict[str, Any]:
        """Returns z-scores and contractions of the first data sets, of the first replicate."""
        first = results[min(results)]
        z = np.nan_to_num(np.asarray(first["curves"]["z_score"], dtype=float), posinf=1e9, neginf=-1e9)
        z, shrink = z[:MAX_ROWS], np.asarray(first["curves"]["contraction"], dtype=float)[:MAX_ROWS]
        panels = [
            {
                "label": name,
                "contraction": plain(shrink[:, j]),
                "z": plain(np.clip(z[:, j], -EDGE, EDGE)),
                "far": int((np.abs(z[:, j]) > FAR).sum()),
            }
            for j, name in enumerate(first["parameters"][:MAX_PANELS])
        ]
        return {"panels": panels, "n": len(z)}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        shape: dict[str, Any] = {"height": (0.5, 1.8), "width": (0.6, 2.2)}
        made, axes = style.grid(len(panels), 4, **shape, sharex=True, sharey=True)
        for ax, panel in zip(axes.flat, panels, strict=False):
            ax.axhspan(-1.96, 1.96, color=style.BAND, alpha=0.6, linewidth=0)
            ax.axhline(0, color=style.MUTED, linewidth=0.8)
            ax.plot(panel["contraction"], panel["z"], "o", color=style.ESTIMATE, markersize=2.6, alpha=0.5)
            ax.set(xlim=(-0.04, 1.04), ylim=(-EDGE - 0.4, EDGE + 0.4))
            ax.set_title(notation.label(data, panel["label"]))
            ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            ax.tick_params(labelbottom=True)
        made.supxlabel("contraction: what the data taught", fontsize=10)
        made.supylabel("miss, in standard\ndeviations (z-score)", fontsize=10)
        return made

    def shows(self, data: Data) -> str:
        poor = [p["label"] for p in data["panels"] if float(np.median(p["contraction"])) < 0.5]
        far, total = sum(p["far"] for p in data["panels"]), data["n"] * len(data["panels"])
        text = f"{far} of {total} answers miss by more than {FAR:.0f} of their standard deviations."
        names = [notation.label(data, name) for name in poor]
        return text + (f" The data say little about {listed(names)}." if names else "")
