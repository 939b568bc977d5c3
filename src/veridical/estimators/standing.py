"""What a method says of its answers: how far they hold, and which observations it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from veridical.errors import Refused
from veridical.tasks.base import Array

if TYPE_CHECKING:
    from veridical.inference.weighted import Known


@dataclass(frozen=True)
class Standing:
    """What a method says of its answers to N observations, by nothing but each observation itself.

    Attributes:
        numbers: What tells how far an answer holds: of answers by weights their tail index `k` and the
            `share` of the candidates that counts, shape (N,) each.
        refused: Why some are not answered at all, by their number.
    """

    numbers: Mapping[str, Array] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def by_weights(cls, known: Sequence[Known], least_share: float = 0.0) -> Standing:
        """Returns it of answers by weights: refused are those whose weights fail, or count too little."""
        numbers = {name: np.array([getattr(one, name) for one in known]) for name in ("k", "share")}
        reasons = [one.refusal(least_share) for one in known]
        return cls(numbers, {i: reason for i, reason in enumerate(reasons) if reason})

    def require(self, method: str) -> None:
        """Raises Refused where an observation is not answered."""
        for reason in self.refused.values():
            raise Refused(f"{method}: an observation is not answered, for {reason}.")

    def answered(self, n: int) -> Array:
        """Returns which of n observations are answered, shape (n,)."""
        return ~np.isin(np.arange(n), list(self.refused))
