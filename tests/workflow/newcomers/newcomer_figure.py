"""How often central intervals held the truth of the first parameter, level by level.

Data: `levels`, `held` (K,).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Results, plain


class NewcomerFigure(Figure):
    """Coverage of the first parameter as a newcomer draws it."""

    section = "calibration"
    check = "coverage"
    read = "The line of a right answer climbs along the diagonal, as a newcomer would say."

    def data(self, results: Results) -> dict[str, Any]:
        """Returns the coverage of the first replicate."""
        curves = results[min(results)]["curves"]
        return {"levels": plain(curves["levels"]), "held": plain(np.asarray(curves["central"])[0])}

    def draw(self, data: Data) -> Drawn:
        """Returns the line."""
        made, axes = style.figure(height=3.0, width=3.0)
        axes.flat[0].plot(data["levels"], data["held"], color=style.ESTIMATE)
        axes.flat[0].set_xlabel("stated probability")
        return made

    def shows(self, data: Data) -> str:
        """Returns how many levels there are."""
        return f"The newcomer looked at {len(data['levels'])} levels."
