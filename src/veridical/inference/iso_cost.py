r"""Which share of a given cost goes to the dear level where a network learns from the cheap one first.

Transfer has no telescoping sum whose variance could be planned. Its loss L (held out, dear level) is taken to
fall as powers of the rows, :math:`\log(L - h) = a - b \log n_H - c \log n_L`. Of a cost C, the share s buys
:math:`n_H = s C / C_H` and :math:`n_L = (1 - s) C / C_L`, so that to first order in the logarithms

.. math:: L(s) = l - b \log s - c \log(1 - s), \qquad s^* = \frac{b}{b + c} , \qquad b, c \ge 0 .

The best share depends neither on C nor on unit or ratio of the costs: it is found from trainings at a small
cost, at three shares or more and in several replicates, and carried over to a large one. Beside them stand
trainings on the dear level alone, at the same cost, where the model does not hold. No distance between levels
is asked: it does not tell what transfer gains.

References:
    | Multifidelity Simulation-based Inference for Expensive Simulators (Krouglova et al., 2026)
    | https://arxiv.org/abs/2502.08416
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import lsq_linear
from scipy.special import stdtrit

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array

LEVEL = 0.9  # of the interval of the gain
LEAST_SHARES, LEAST_REPLICATES = 3, 3


@dataclass(frozen=True)
class Share:
    """The planned share of the cost, and what it gains at the cost of the pilot.

    Attributes:
        share: Of the dear level; 1 where it is best alone.
        share_error: Its standard error over replicates.
        gain: Loss of the dear level alone minus that at the best share below one, in nats.
        interval: Of this gain, at the level LEVEL.
    """

    share: float
    share_error: float
    gain: float
    interval: tuple[float, float]

    @property
    def worth(self) -> Literal["yes", "unclear", "no"]:
        """Whether the interval of the gain lies above zero."""
        low, high = self.interval
        return "yes" if low > 0 else "no" if high <= 0 else "unclear"

    def rows(self, costs: tuple[float, float], total: float) -> tuple[int, int]:
        """Returns rows of the cheap and of the dear level at a total cost."""
        dear = int(self.share * total / costs[1] + 1e-9)
        return int((total - dear * costs[1]) / costs[0] + 1e-9) if self.share < 1 else 0, dear


def best_share(shares: Array, losses: Array, alone: Array) -> Share:
    """Returns the share of the cost for the dear level by a pilot of trainings at one cost.

    The formula is the one above, fitted by least squares to means over replicates; errors are those of the
    jackknife over replicates, intervals by Student's t.

    Arguments:
        shares: Of the dear level, shape (K,), in (0, 1).
        losses: Held-out losses at the dear level, one line per replicate, shape (R, K).
        alone: Those of trainings on the dear level alone, shape (R,).

    Raises:
        DataError: If shares or replicates are too few, or shares not between 0 and 1.
    """
    require_shape("losses", losses, len(alone), len(shares))
    few = len(np.unique(shares)) < LEAST_SHARES or len(alone) < LEAST_REPLICATES
    if few or min(shares) <= 0 or max(shares) >= 1 or not np.isfinite(losses).all():
        raise DataError(
            f"shares: expected {LEAST_SHARES} shares or more between 0 and 1 and {LEAST_REPLICATES} replicates "
            f"or more with finite losses, got {np.asarray(shares).tolist()} and {len(alone)} replicates."
        )

    def estimate(rows: Array) -> Array:
        share, least = _fit(shares, losses[rows].mean(axis=0))
        return np.array([share, alone[rows].mean() - least])

    n = len(alone)
    share, gain = estimate(np.arange(n))
    left_out = np.stack([estimate(np.delete(np.arange(n), i)) for i in range(n)])
    errors = np.sqrt((n - 1) * left_out.var(axis=0))
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2) * errors[1])
    interval = float(gain) - reach, float(gain) + reach
    best = 1.0 if interval[1] <= 0 or gain <= 0 else float(share)
    return Share(best, float(errors[0]), float(gain), interval)


def _fit(shares: Array, losses: Array) -> tuple[float, float]:
    """The best share within those tried, and the loss there."""
    design = np.stack([np.ones(len(shares)), -np.log(shares), -np.log1p(-shares)], axis=1)
    level, b, c = lsq_linear(design, losses, bounds=([-np.inf, 0, 0], np.inf)).x
    if b + c <= 1e-9:
        return float(shares[np.argmin(losses)]), float(level)
    share = float(np.clip(b / (b + c), shares.min(), shares.max()))
    return share, float(level - b * np.log(share) - c * np.log1p(-share))
