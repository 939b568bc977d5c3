r"""Scoring rules: losses that are least at quantiles and central intervals; quantiles as a density.

With q the quantile of level a, and l, u the ends of the central interval of level 1 - a,

.. math::
    \text{pinball} &= \max(a \, (z - q), \; (a - 1) (z - q)) \\
    \text{interval} &= (u - l) + \frac2a (l - z)_+ + \frac2a (z - u)_+ .

The second (Winkler's) is 2/a times the sum of the first at both ends, so that both are least at the same
intervals; it gives the outer ones more weight.

Quantiles q_j at levels a_j, joined by straight lines over the normal scores :math:`s_j = \Phi^{-1}(a_j)` and
drawn out beyond the last two, make an increasing map of a standard normal number, and with it draws and a
density of each parameter by itself. Parameters are independent of each other in it, whatever the truth is.

References:
    | Strictly Proper Scoring Rules, Prediction, and Estimation (Gneiting and Raftery, 2007)
    | Regression Quantiles (Koenker and Bassett, 1978)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional

from veridical.networks.density import Density, log_normal
from veridical.networks.layers import dense

LEAST = 1e-3  # of the distance of two quantiles, in units of that of a normal's
_ONE = log(expm1(1 - LEAST))  # added to what the network gives, so that quantiles start near a normal's


def pinball(q: Tensor, z: Tensor, levels: Tensor) -> Tensor:
    """Returns the loss (..., L) of quantiles (..., L) of these levels (L,) at z (...)."""
    over = z[..., None] - q
    return torch.maximum(levels * over, (levels - 1) * over)


def interval(lower: Tensor, upper: Tensor, z: Tensor, level: Tensor) -> Tensor:
    """Returns Winkler's score (..., L) of central intervals of these levels (L,) at z (...)."""
    outside = (lower - z[..., None]).clamp(min=0) + (z[..., None] - upper).clamp(min=0)
    return upper - lower + 2 / (1 - level) * outside


class Quantiles(Density):
    """Quantiles of each of D parameters given a context, as a density of independent parameters.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        hidden: Widths of the layers of the network.
        intervals: Levels of central intervals, ascending; their ends and the median are the L quantiles.
        score: `quantile` or `interval`: the loss.
    """

    levels: Tensor
    normal: Tensor

    def __init__(
        self, features: int, context: int, hidden: Sequence[int], intervals: Sequence[float], score: str
    ) -> None:
        super().__init__(features)
        half = torch.tensor(list(intervals), dtype=torch.float64) / 2
        levels = torch.cat([0.5 - half.flip(0), torch.tensor([0.5], dtype=torch.float64), 0.5 + half])
        normal = [NormalDist().inv_cdf(float(level)) for level in levels]
        self.score, self.middle = score, len(half)
        self.register_buffer("levels", levels.float(), persistent=False)
        self.register_buffer("normal", torch.tensor(normal), persistent=False)
        self.network = dense([context, *hidden, features * len(levels)])

    def quantiles(self, context: Tensor) -> Tensor:
        """Returns ascending quantiles (B, D, L) given contexts (B, C)."""
        raw = self.network(context).reshape(len(context), self.features, -1)
        gaps = functional.softplus(raw[..., 1:] + _ONE) + LEAST
        sums = functional.pad((gaps * self.normal.diff()).cumsum(-1), (1, 0))
        return raw[..., :1] + sums - sums[..., self.middle, None]

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean score over rows and levels, summed over parameters, of theta (B, D)."""
        q, m = self.quantiles(context), self.middle
        if self.score == "quantile":
            return pinball(q, theta, self.levels).mean(-1).sum(-1).mean()
        of_intervals = interval(q[..., :m].flip(-1), q[..., m + 1 :], theta, 2 * self.levels[m + 1 :] - 1)
        median = pinball(q[..., m : m + 1], theta, self.levels[m : m + 1])
        return (of_intervals.mean(-1) + median.mean(-1)).sum(-1).mean()

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        q = self.quantiles(context)
        below = torch.searchsorted(q, theta[..., None].contiguous())[..., 0].clamp(1, q.shape[-1] - 1) - 1
        slope, start = self._piece(q, below)
        s = self.normal[below] + (theta - start) / slope
        return log_normal(s) - slope.log().sum(-1)

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        q = self.quantiles(context)[index]
        below = torch.bucketize(noise, self.normal).clamp(1, q.shape[-1] - 1) - 1
        slope, start = self._piece(q, below)
        return start + slope * (noise - self.normal[below]), log_normal(noise) - slope.log().sum(-1)

    def _piece(self, q: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and lower end (B, D) of the piece that begins at the quantile `below` (B, D)."""
        start = q.gather(-1, below[..., None])[..., 0]
        end = q.gather(-1, below[..., None] + 1)[..., 0]
        return (end - start) / (self.normal[below + 1] - self.normal[below]), start
