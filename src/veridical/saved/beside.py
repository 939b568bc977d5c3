"""Arrays that lie beside an answer, for checks to compare it with; each is made by a rule of its own."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Beside:
    """One file of arrays beside an answer.

    Attributes:
        rule: The rule that makes it.
        needs: What checks need, for which they are handed it.
        holds: What it holds, for messages.
    """

    rule: str
    needs: Set[str]
    holds: str

    def asked_by(self, needs: Set[str]) -> bool:
        """Returns whether a check with these needs is handed it."""
        return not self.needs.isdisjoint(needs)


# By the suffix of the file, which is also the name under which checks get its arrays.
BESIDE = {
    "predictive": Beside("predict", {"predictive"}, "data simulated at draws"),
    "exact": Beside("exact", {"exact"}, "densities beside the exact ones"),
    "nearby": Beside("nearby", {"nearby"}, "simulations near the observation"),
    "densities": Beside("densities", {"densities", "likelihood"}, "densities of the task at draws"),
    "surfaces": Beside("surfaces", {"surfaces"}, "log likelihoods on a grid of parameters"),
}
