"""Rounds of simulations: how the region shrank, and how far each round moved the answer.

Data: `panels` (label, `runs`: replicate, observation, `rounds` as `estimator.json` states them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from veridical.evidence.numbers import percent, rounded
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources

STEADY = 0.1
MOST = 12  # lines of the table


class Rounds(Figure):
    """Prior mass of the region by round, and movements of the answer, of methods that learn in rounds."""

    section = "training"
    heading = "Rounds of simulations"
    read = (
        "Left: how much of the prior each round's region holds; it should fall and then level off. Right: "
        "the largest movement of a mean from round to round, in its standard deviations (solid), and of a "
        "standard deviation, as a share (dotted). Rounds may stop once both stay below the grey line."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        yield Found((sources.rounds,))

    def data(self, rounds: Mapping[str, Mapping[int, Sequence[Any]]]) -> dict[str, Any] | None:
        """Returns the rounds of each method; None where none learns in rounds.

        Arguments:
            rounds: What the records of the method say of its rounds, by method, replicate and observation.
        """
        panels = []
        for method, of_method in sorted(rounds.items()):
            runs = [
                {"replicate": replicate, "observation": i, "rounds": told}
                for replicate, chains in sorted(of_method.items())
                for i, told in enumerate(chains)
            ]
            panels.append({"label": method, "runs": runs})
        return {"panels": panels} if panels else None

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.grid(2 * len(panels), 2, height=(0.6, 2.4))
        for panel, (left, right) in zip(panels, axes.reshape(-1, 2), strict=True):
            for index, run in enumerate(panel["runs"]):
                colour = style.nth(index)["color"]
                number = [one["round"] for one in run["rounds"]]
                left.plot(number, [one["mass"] for one in run["rounds"]], "o-", color=colour)
                for name, line in (("shift", "-"), ("spread", ":")):
                    moved = [one[name] for one in run["rounds"][1:]]
                    right.plot(number[1:], moved, line, marker="o", color=colour)
            for ax in (left, right):
                ax.set_xticks(number)
            left.set(title=panel["label"], yscale="log", xlabel="round", ylabel="prior mass of its region")
            right.axhline(STEADY, color=style.MUTED, linewidth=0.8)
            right.set(title=panel["label"], xlabel="round", ylabel="movement of the answer", ylim=(0, None))
        return made

    def shows(self, data: Data) -> str:
        texts = []
        for panel in data["panels"]:
            ends = [run["rounds"][-1] for run in panel["runs"]]
            moved = [end for end in ends if not end["steady"]]
            end = max(ends, key=lambda one: one["leakage"])
            texts.append(
                f"{panel['label']}: after {ends[0]['round']} rounds the region holds a share of "
                f"{rounded(ends[0]['mass'], 2)} of the prior; at most {percent(end['leakage'])} of an answer "
                "leaked out of where it had learned. "
                + ("The answers still move: add a round." if moved else "Further rounds would change little.")
            )
        return " ".join(texts)

    def table(self, data: Data) -> list[list[str]]:
        head = ["method", "repeat", "observation", "round", "rows kept", "prior mass", "acceptance", "leaked"]
        lines = [
            [panel["label"], str(run["replicate"]), str(run["observation"] + 1), *_cells(one)]
            for panel in data["panels"]
            for run in panel["runs"][:1]
            for one in run["rounds"][:MOST]
        ]
        return [[*head, "mean moved by (sd)", "sd moved by"], *lines]


def _cells(one: Mapping[str, Any]) -> list[str]:
    moved = ["", ""] if one["shift"] is None else [rounded(one["shift"], 2), percent(one["spread"])]
    kept = f"{one['kept']:,} of {one['rows']:,}"
    leaked, mass = percent(one["leakage"]), rounded(one["mass"], 2)
    return [str(one["round"]), kept, mass, rounded(one["acceptance"], 2), leaked, *moved]
