"""Detection: does a set of data, taken together, look like sets of simulated data?

Data: `panels` (label, `edges` and `counts` of the root MMDs of simulated sets, `observed`, `critical`, `p`,
`n`: data sets, `power` against a shift).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.evidence.numbers import percent, rounded
from veridical.figures.base import Data, Drawn, Figure, Results, histogram, listed
from veridical.figures.nulls import draw_nulls

SMALL = 0.01  # a p-value below this says that the data are not like simulated ones


class Detection(Figure):
    """The misspecification test: distances of simulated sets, and that of the data."""

    section = "data"
    heading = "Are the data, taken together, like the simulations?"
    check = "detection"
    read = (
        "Grey: distances between sets of simulated data and the simulations, as the network sees them, "
        "for sets as large as that of the data. The thick line is the data. Inside the grey hill is fine; "
        "beyond the dashed line, the simulator does not make such data, or not in these proportions."
    )

    def data(self, results: Results) -> dict[str, Any]:
        """Returns root MMDs of simulated sets and of the data, a panel per replicate."""
        panels = []
        for replicate, result in sorted(results.items()):
            curves = result["curves"]
            found = {m["name"]: m for m in result["metrics"]}
            panels.append(
                {
                    "label": f"repeat {replicate + 1}" if len(results) > 1 else "",
                    **histogram(np.asarray(curves["null"], dtype=float)),
                    "observed": float(np.asarray(curves["observed"]).ravel()[0]),
                    "critical": float(np.asarray(curves["critical"]).ravel()[0]),
                    "p": result["p_value"],
                    "n": found["mmd"]["n"] if "mmd" in found else None,
                    "power": found["power"]["value"] if "power" in found else None,
                }
            )
        return {"panels": panels}

    def draw(self, data: Data) -> Drawn:
        labels = ("sets of simulated data", "5 % of them lie beyond", "the data")
        return draw_nulls(
            data["panels"],
            "critical",
            labels,
            x="distance between data and simulations, as the network sees them (root MMD)",
            y="simulated sets",
            place="outside upper left",
        )

    def shows(self, data: Data) -> str:
        panels = data["panels"]
        ps = [panel["p"] for panel in panels]
        alike = 2 * sum(p < SMALL for p in ps) < len(ps)
        numbers = listed(["< 0.001" if p < 0.001 else rounded(p, 2) for p in ps])
        shows = f"{'P' if not panels[0]['n'] else 'p'}-value{'' if len(ps) == 1 else 's'} {numbers}: "
        if n := panels[0]["n"]:
            shows = f"{n:,} data set{'' if n == 1 else 's'}, {shows}"
        shows += "not told from simulated data." if alike else "not distributed like simulated data."
        power = panels[0]["power"]
        if alike and power is not None:
            shows += f" A shift by one standard deviation would be found in {percent(power)} of cases."
        return shows
