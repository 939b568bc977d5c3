"""Named distortions: which one would explain the data, beside what replicates show by chance.

Data: `bars` (name, `gain` of the data, `null`: what 95 % of replicates stay below, `p`), `p` of all together,
`best`: the distortion that fits best, in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.checks.distortion_bank import DISTORTIONS
from veridical.evidence.numbers import rounded
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Results, plain

SMALL = 0.03  # a p-value below this says that replicates are not like the data


class Distortions(Figure):
    """What each named distortion of the data would explain, beside what it explains of simulated data."""

    section = "data"
    heading = "If the simulator is wrong, how?"
    check = "distortions"
    read = (
        "Each bar says how much better the data would be predicted with this distortion, minus what its "
        "freedom costs (gain in log-likelihood). The mark is what 95 % of simulated data stay below. A bar "
        "far beyond its mark names what the simulator lacks; the longest one fits best. Others beyond theirs "
        "may be its shadow. A name describes the difference; it does not prove the cause."
    )

    def data(self, results: Results) -> dict[str, Any] | None:
        """Returns a bar per distortion, means over replicates; None where nothing could be judged."""
        judged = [one for one in results.values() if len(one["curves"].get("gain", ()))]
        if not judged:
            return None
        arrays = {
            name: np.mean([np.asarray(one["curves"][name], dtype=float) for one in judged], axis=0)
            for name in ("gain", "gain_null", "distortion_p")
        }
        bars = [
            {"name": text, "gain": gain, "null": null, "p": p}
            for text, gain, null, p in zip(
                DISTORTIONS.values(), *(plain(a) for a in arrays.values()), strict=True
            )
        ]
        told = [m["extra"].get("distortion", "") for m in judged[0]["metrics"] if m["extra"]]
        ps = [one["p_value"] for one in judged if one["p_value"] is not None]
        best = next((text for text in told if text), "")
        return {"bars": bars, "p": float(np.median(ps)) if ps else None, "best": best}

    def draw(self, data: Data) -> Drawn:
        made, axes = style.figure(height=0.8 + 0.36 * len(data["bars"]), width=6.4)
        ax, bars = axes[0, 0], data["bars"]
        names = [bar["name"] for bar in bars]
        ax.barh(names, [max(bar["gain"], 0.0) for bar in bars], color=style.ESTIMATE, height=0.62)
        nulls = [max(bar["null"], 0.0) for bar in bars]
        ax.plot(nulls, names, "|", color=style.REFERENCE, markersize=14, markeredgewidth=2)
        ax.set_xscale("symlog", linthresh=1.0)
        ax.set_xlim(0, None)
        ax.set_xlabel("gain in log-likelihood, minus its price")
        ax.invert_yaxis()
        return made

    def shows(self, data: Data) -> str:
        if data["p"] is None:
            return "Too few replicates to tell."
        p = "p < 0.001" if data["p"] < 0.001 else f"p = {rounded(data['p'], 2)}"
        if data["p"] > SMALL:
            return f"No named distortion is needed to explain the data ({p})."
        return f"The data are not what is predicted ({p}); what explains them best: {data['best']}."
