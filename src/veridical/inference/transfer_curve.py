r"""How a network that learned from cheap simulations first gains by more of either kind, and the best share.

The held-out loss at the dearest level after training on :math:`n_L` cheap rows and then on :math:`n_H` dear
ones is fitted by

.. math:: \ell(n_L, n_H) = h + \exp \big( a - b \log n_H - c \log (1 + n_L / n_0) \big),
    \qquad b, c \geq 0 ,

whose h, the loss that no number of rows beats, is fitted where it is not known. At the cost
:math:`C = n_L C_L + n_H C_H` the least of it lies, where there is one inside, at

.. math:: n_H = \frac{b}{b + c} \frac{C + n_0 C_L}{C_H} ,

and at dear rows alone where this buys no cheap ones. It is our own, a summary of trainings and no theory: it
goes by losses that were measured, never by how far the levels lie apart, which does not tell what transfer
gains. It is as good as the pilots are near to what is planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array

LEVEL = 0.9  # of intervals
RESAMPLES = 200
LEAST_PILOTS = 4  # numbers of rows, of two or more of each kind
_FLOORS = 40  # values of h that are tried
_SCALES = 12  # values of n_0 that are tried
_FLAT = 1e-9  # a power that rounding alone keeps from zero
_FURTHEST = 3.0  # how far below the least loss h may lie, in ranges of the losses


@dataclass(frozen=True)
class TransferCurve:
    """A fitted curve.

    Attributes:
        floor: The loss h.
        level: The number a.
        dear: The power b of dear rows.
        cheap: The power c of cheap rows.
        scale: Cheap rows n_0 from which on they count.
    """

    floor: float
    level: float
    dear: float
    cheap: float
    scale: float

    def loss(self, cheap: Array | float, dear: Array | float) -> Array:
        """Returns the loss after so many rows of either kind, shape of both."""
        return self.floor + self.excess(cheap, dear)

    def excess(self, cheap: Array | float, dear: Array | float) -> Array:
        """Returns the loss above h, shape of both."""
        return np.asarray(
            np.exp(
                self.level - self.dear * np.log(dear) - self.cheap * np.log1p(np.divide(cheap, self.scale))
            )
        )

    def best(self, costs: tuple[float, float], total: float, least: float = 1.0) -> tuple[float, float]:
        """Returns the cheap and dear rows of the least loss at a cost; see above.

        Arguments:
            costs: Of a cheap and of a dear simulation.
            total: What both together may cost, in the same unit.
            least: Dear rows that are needed in any case.
        """
        most = total / costs[1]
        powers = self.dear + self.cheap
        share = self.dear / powers if powers > 0 else 1.0
        dear = min(max(share * (total + self.scale * costs[0]) / costs[1], min(least, most)), most)
        return (total - dear * costs[1]) / costs[0], dear

    def gain(self, costs: tuple[float, float], total: float, dear: float) -> float:
        """Returns how much lower the loss is with so many dear rows than with dear rows alone, at a cost."""
        alone = self.loss(0.0, total / costs[1])
        return float(alone - self.loss((total - dear * costs[1]) / costs[0], dear))


@dataclass(frozen=True)
class TransferPlan:
    """What pilots say about transfer at a cost.

    Attributes:
        curve: The curve fitted to all of them.
        rows: Cheap and dear rows.
        dear_interval: Of the dear rows, over resampled repeats, at the level LEVEL.
        gain: By how much the loss is expected to be below that of dear rows alone at the same cost.
        gain_interval: Of it, likewise.
    """

    curve: TransferCurve
    rows: tuple[int, int]
    dear_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]

    @property
    def worth(self) -> Literal["yes", "unclear", "no"]:
        """Whether the interval of the gain lies above zero.

        A power of cheap rows that is held at zero says that pilots show no gain, not that there is none.
        """
        low, high = self.gain_interval
        if self.curve.cheap < _FLAT:
            return "unclear"
        return "no" if self.rows[0] == 0 or high <= 0 else "yes" if low > 0 else "unclear"

    @property
    def warning(self) -> str:
        """What speaks against the cheap level; empty where nothing does."""
        low, high = self.gain_interval
        found = f"{self.gain:.2g} nats ({LEVEL:.0%}: {low:.2g} to {high:.2g})"
        if self.worth == "no":
            return "The cheap level is not worth it: at this cost dear rows alone are expected to do as well."
        if self.curve.cheap < _FLAT:
            return (
                "The pilots show no gain by the cheap level, so that dear rows alone are planned. That is no "
                "proof: a power below zero is not fitted. More held-out rows or repeats of pilots tell more."
            )
        if self.worth == "unclear":
            return f"Whether the cheap level is worth it, the pilots do not tell: a gain of {found}."
        return ""


def fitted(
    cheap: Array, dear: Array, losses: Array, errors: Array | None = None, floor: float | None = None
) -> TransferCurve:
    """Returns the curve nearest to mean losses in squared errors.

    Every pair (h, n_0) of a grid has its best a, b, c, of which log (l - h) is a linear function.

    Arguments:
        cheap: Cheap rows of each pilot, (K,); 0 where none.
        dear: Its dear rows, (K,).
        losses: Its mean loss on held-out rows of the dearest level, (K,).
        errors: Standard errors of these, (K,); by default all alike.
        floor: The loss h, where it is known.

    Raises:
        DataError: If pilots are too few or too alike for a curve, or a loss is not above a known h.
    """
    _require_pilots(cheap, dear, losses)
    if floor is not None and not losses.min() > floor:
        raise DataError(f"losses: expected all above the floor {floor}, got {losses.min()}.")
    spread = float(np.ptp(losses)) or 1.0
    floors = losses.min() - spread * np.geomspace(0.02, _FURTHEST, _FLOORS)
    floors = floors if floor is None else np.array([floor])
    scales = np.geomspace(cheap[cheap > 0].min() / 30, 3 * cheap.max(), _SCALES)
    h, scale = (grid.ravel() for grid in np.meshgrid(floors, scales, indexing="ij"))
    above = losses - h[:, None]
    weights = (above / (np.ones(len(losses)) if errors is None else errors)) ** 2
    target = np.log(above)
    by_dear, by_cheap = np.broadcast_to(-np.log(dear), target.shape), -np.log1p(cheap / scale[:, None])
    level, b, c, missed = _not_negative(target, by_dear, by_cheap, weights)
    at = int(missed.argmin())
    return TransferCurve(*(float(each[at]) for each in (h, level, b, c, scale)))


def planned(
    cheap: Array,
    dear: Array,
    losses: Array,
    costs: tuple[float, float],
    total: float,
    rng: np.random.Generator,
    floor: float | None = None,
) -> TransferPlan:
    """Returns the rows of the least expected loss at a cost, with what the pilots leave open.

    Intervals are quantiles of curves through resampled repeats; the gain is that of the rows returned.

    Arguments:
        cheap: Cheap rows of each pilot, (K,); 0 for one without transfer.
        dear: Its dear rows, (K,).
        losses: Its losses in each repeat, (R, K): replicates, or held-out rows that all pilots share.
        costs: Of a cheap and of a dear simulation.
        total: What both together may cost, in the same unit.
        rng: Draws repeats.
        floor: The loss that no number of rows beats, where it is known.

    Raises:
        DataError: As `fitted` does, or if there are fewer than two repeats, or costs are not positive.
    """
    require_shape("losses", losses, None, len(cheap))
    if len(losses) < 2 or min(*costs, total) <= 0 or total < costs[1]:
        raise DataError(
            f"losses, costs: expected two repeats or more and a total that buys a dear row, got "
            f"{len(losses)} repeats, costs {costs} and a total of {total}."
        )
    errors = np.maximum(losses.std(axis=0, ddof=1), 1e-12) / np.sqrt(len(losses))

    def of(rows: Array) -> TransferCurve:
        return fitted(cheap, dear, losses[rows].mean(axis=0), errors, floor)

    curve = of(np.arange(len(losses)))
    best = curve.best(costs, total)[1]
    number = max(1, int(np.floor(best + 1e-9)))
    others = [of(rng.integers(len(losses), size=len(losses))) for _ in range(RESAMPLES)]
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    places = np.quantile([other.best(costs, total)[1] for other in others], tails)
    gains = np.quantile([other.gain(costs, total, best) for other in others], tails)
    left = int((total - number * costs[1]) / costs[0] + 1e-9) if best < total / costs[1] - 1e-9 else 0
    gain = curve.gain(costs, total, best)
    return TransferPlan(curve, (left, number), _pair(places), gain, _pair(gains))


def _pair(values: Array) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _require_pilots(cheap: Array, dear: Array, losses: Array) -> None:
    """Stops where pilots do not fix a curve."""
    require_shape("dear", dear, len(cheap))
    require_shape("losses", losses, len(cheap))
    found = len(cheap), len(np.unique(cheap)), len(np.unique(dear))
    if found[0] < LEAST_PILOTS or min(found[1:]) < 2 or cheap.min() != 0 or dear.min() < 1:
        raise DataError(
            f"pilots: expected {LEAST_PILOTS} or more, with two or more numbers of dear rows, and of cheap "
            f"rows, one of which is 0; got {found[0]}, with {found[2]} of dear and {found[1]} of cheap rows "
            f"from {cheap.min():g} on; train further pilots."
        )
    if not np.isfinite(losses).all():
        raise DataError("losses: expected finite numbers; leave out trainings that failed.")


def _not_negative(
    target: Array, first: Array, second: Array, weights: Array
) -> tuple[Array, Array, Array, Array]:
    """Weighted regressions of G targets (G, K) on a constant and two columns whose slopes are not negative:
    constant, slopes and the weighted squares that are left, (G,) each.
    """
    total = weights.sum(axis=1)

    def centred(values: Array) -> tuple[Array, Array]:
        mean = (weights * values).sum(axis=1) / total
        return values - mean[:, None], mean

    (y, y0), (u, u0), (v, v0) = map(centred, (target, first, second))
    uu, vv, uv = ((weights * p).sum(axis=1) for p in (u * u, v * v, u * v))
    uy, vy = ((weights * p).sum(axis=1) for p in (u * y, v * y))
    tiny = np.finfo(float).tiny
    rest = uu * vv - uv**2
    both = rest > 1e-12 * uu * vv
    b = np.where(both, uy * vv - vy * uv, -1.0) / np.where(both, rest, 1.0)
    c = np.where(both, vy * uu - uy * uv, -1.0) / np.where(both, rest, 1.0)
    slopes = []
    for b_, c_ in (
        (np.where((b >= 0) & (c >= 0), b, 0), np.where((b >= 0) & (c >= 0), c, 0)),
        (np.maximum(uy / np.maximum(uu, tiny), 0), np.zeros(len(y))),
        (np.zeros(len(y)), np.maximum(vy / np.maximum(vv, tiny), 0)),
    ):
        left = (weights * (y - b_[:, None] * u - c_[:, None] * v) ** 2).sum(axis=1)
        slopes.append((left, b_, c_))
    left, b, c = (np.array(each) for each in zip(*slopes, strict=True))
    at = left.argmin(axis=0), np.arange(len(y))
    return y0 - b[at] * u0 - c[at] * v0, b[at], c[at], left[at]
