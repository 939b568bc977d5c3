"""Criticism: which summaries and values of the data lie, or scatter, as the simulator does not make them.

Data: `panels` (`of`: summaries or values, and of each number `shift`, `spread` (none of single data sets),
`apart`: whether simulations hardly ever do so), `p` of all numbers together, `named`: those that stand out,
in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.evidence.numbers import rounded
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Results, listed, plain

SMALL = 0.05  # a p-value below this, corrected for all numbers, says that simulations hardly ever do so
NAMED = 5
FAMILIES = {"summary": "summaries of the network", "value": "values of the data"}


class Criticism(Figure):
    """Shift and scatter of each summary and each value of the data, in units of simulated ones."""

    section = "data"
    heading = "Which numbers does the simulator not make?"
    check = "criticism"
    read = (
        "Each dot is a summary of the network, or a value of the data: its mean over the data sets, where 0 "
        "is the middle of simulated data and the grey band holds two thirds of them. Of several data sets "
        "the line is their scatter, as long as the band where it is right. Orange: simulations hardly ever "
        "do so, by itself or given the other numbers. One wrong value shows in several summaries."
    )

    def data(self, results: Results) -> dict[str, Any]:
        """Returns shifts and spreads, means over replicates; apart is what most of them find so."""
        every = [one["curves"] for one in results.values()]
        panels = []
        for of, text in FAMILIES.items():
            if not all(f"{of}_p" in curves for curves in every):
                continue
            arrays = {name: _mean(every, f"{of}_{name}") for name in ("shift", "spread")}
            found = [np.minimum(_flat(c, f"{of}_p"), _flat(c, f"{of}_given_p", 1.0)) for c in every]
            apart = np.median(found, axis=0) <= SMALL
            shown = {name: None if a is None else plain(a) for name, a in arrays.items()}
            panels.append({"of": text, **shown, "apart": apart.tolist()})
        p_values = [one["p_value"] for one in results.values()]
        return {"panels": panels, "p": float(np.median(p_values)), "named": _named(results)}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.grid(len(panels), 2, height=(0.8, 2.4), width=(style.WIDTH, 0.0))
        for ax, panel in zip(axes.flat, panels, strict=False):
            shift, apart = np.array(panel["shift"]), np.array(panel["apart"])
            ax.axhspan(-1, 1, color=style.BAND, linewidth=0)
            at = np.arange(len(shift))
            for chosen, colour in ((~apart, style.ESTIMATE), (apart, style.REFERENCE)):
                if panel["spread"] is not None:
                    spread = np.array(panel["spread"])[chosen]
                    ax.vlines(at[chosen], shift[chosen] - spread, shift[chosen] + spread, color=colour)
                ax.plot(at[chosen], shift[chosen], "o", color=colour, markersize=4)
            ax.set_xlabel(panel["of"])
            ax.set_yscale("symlog", linthresh=4.0)
        axes[0, 0].set_ylabel("simulated sd")
        return made

    def shows(self, data: Data) -> str:
        p = "p < 0.001" if data["p"] < 0.001 else f"p = {rounded(data['p'], 2)}"
        if data["p"] > SMALL or not data["named"]:
            return f"No summary and no value of the data is unlike simulated ones ({p}, all together)."
        more = len(data["named"]) - NAMED
        told = listed(data["named"][:NAMED]) + (f", and {more} more" if more > 0 else "")
        return f"Unlike simulated data ({p}, all together): {told}."


def _flat(curves: Data, name: str, default: float = 0.0) -> np.ndarray:
    """A curve as one row; of one that is not there its default."""
    return np.asarray(curves.get(name, default), dtype=float).ravel()


def _mean(every: list[Any], name: str) -> np.ndarray | None:
    """Means of a curve over replicates, flat; None where one of them lacks it."""
    if not all(name in curves for curves in every):
        return None
    return np.asarray(np.mean([_flat(curves, name) for curves in every], axis=0))


def _named(results: Results) -> list[str]:
    """What stands out in the first replicate in which something does, in words."""
    for one in results.values():
        rows = [m for m in one["metrics"] if m["name"] == "criticised_p" and m["value"] <= SMALL]
        if rows:
            return [f"{row['extra']['number']} {row['extra']['how']}" for row in rows]
    return []
