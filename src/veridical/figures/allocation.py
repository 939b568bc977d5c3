"""How many rows of each level a cost should buy, and what that gains.

Data: a plan as `stages/allocation` leaves it: `levels`, `costs`, `unit`, `total`, `rows`, `totals`, `curve`
(rows of each level at each total), `gain`, `interval`, `level`, `worth`, `warning`, `pairs`, `method`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from veridical.evidence import numbers
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources, listed


class Allocation(Figure):
    """Planned rows of each level by total cost, and the gain over the dearest level alone."""

    section = "cost"
    heading = "How many simulations of each level?"
    read = (
        "Left: rows of each level at which the gradient of the telescoping loss scatters least, by what all "
        "of them cost together (dotted: the cost that was asked about). Right: how many times that cost the "
        "dearest level alone would need for a gradient that scatters as little, with an interval from the "
        "rows of the pilot. Below the line at one cheaper levels are not worth their price. The plan is of "
        "the variance of a gradient at one set of weights; what fine-tuning from a cheaper level gains it "
        "does not tell."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for plan in sources.planned():
            yield Found((plan,))

    def data(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the plan."""
        return dict(plan)

    def draw(self, data: Data) -> Drawn:
        made, axes = style.figure(1, 2, height=3.0)
        left, right = axes[0]
        for index, level in enumerate(data["levels"]):
            rows = [each[index] for each in data["curve"]]
            if any(rows):
                left.plot(data["totals"], rows, label=level, **style.nth(index))
        left.axvline(data["total"], color=style.MUTED, linestyle=":", linewidth=1.1)
        left.set(xscale="log", yscale="log", xlabel=f"total cost, {data['unit']}", ylabel="rows")
        left.legend()
        low, high = data["interval"]
        error = [[data["gain"] - low], [high - data["gain"]]]
        right.errorbar([data["gain"]], [0], xerr=error, color=style.ESTIMATE, marker="o", capsize=4)
        right.axvline(1, color=style.TRUTH, linewidth=0.9)
        right.set(yticks=[], xlabel="gain over the dearest level alone")
        return made

    def shows(self, data: Data) -> str:
        rows = [f"{n:,} of {level}" for level, n in zip(data["levels"], data["rows"], strict=True)]
        low, high = (numbers.rounded(value, 2) for value in data["interval"])
        found, level = numbers.rounded(data["gain"], 2), numbers.percent(data["level"])
        gain = f"gains {found} times ({level}: {low} to {high})"
        said = f"At a cost of {data['total']:,.6g} the plan takes {listed(rows)}."
        said += f" The best chain of levels {gain}, by {data['pairs']} coupled rows."
        return f"{said} {data['warning']}".rstrip()

    def table(self, data: Data) -> list[list[str]]:
        lines = zip(data["levels"], data["costs"], data["rows"], strict=True)
        return [
            ["level", f"cost of a row, {data['unit']}", "rows", "share of the cost"],
            *(
                [level, numbers.rounded(cost, 3), f"{n:,}", numbers.percent(n * cost / data["total"])]
                for level, cost, n in lines
            ),
        ]
