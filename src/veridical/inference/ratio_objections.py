"""What speaks against a fitted density ratio, or against the error that it states, in words."""

from __future__ import annotations

from veridical.inference.ratio_weights import RatioFit

SHARE = 0.1  # of one row in the variance of a weight
OF_MEAN = 0.01  # of one event in the mean of a ratio
PER_WEIGHT = 100  # rows for each weight, below which errors may be too small
CONDITION = 1e10  # of the Hessian, beyond which weights are not told apart
MISS = 1e-3  # p-value of functions outside of the span
FAR = 4.0  # standard errors of a mean that should be 1


def objections(
    ratio: RatioFit, rows: int, miss: float | None, ridge: float = 0.0, share: float = SHARE
) -> list[str]:
    """Returns what speaks against a ratio: few rows, one that dominates, members alike, a span that misses.

    Arguments:
        ratio: The fitted weights; `largest_share` is that of one row in what decides them.
        rows: Rows that they were fitted to.
        miss: p-value of the score test of functions outside of the span, where there is one.
        ridge: The ridge that was asked for.
        share: The largest `largest_share` that is not objected to.
    """
    p, found = len(ratio.weights), []
    if rows < PER_WEIGHT * p:
        found.append(
            f"{p} weights were fitted to {rows} rows, fewer than {PER_WEIGHT} for each, so that their stated "
            "error may be too small: raise `fit_rows`"
        )
    if ratio.largest_share > share:
        found.append(
            f"one row makes {100 * ratio.largest_share:.0f} % of what decides the weights or their error, "
            "which is then hardly more than a guess: raise `fit_rows`, or take `loss: bce`"
        )
    if ratio.ridge > ridge or ratio.condition > CONDITION:
        found.append(
            f"the members are so alike that their weights are not told apart (condition number "
            f"{ratio.condition:.1g}, ridge {ratio.ridge:g}): use fewer members, or let them differ more"
        )
    if miss is not None and not miss >= MISS:
        found.append(
            f"no weights of the members make the ratio that the simulations have (p = {miss:.1g}), and "
            "neither the stated error nor intervals from the likelihood's shape hold what that moves: train "
            "the members longer or on more simulations, or use more of them"
        )
    return found


def off_one(ratio: RatioFit) -> list[str]:
    """Returns what the means of r and of 1 / r object, which should be 1 over the classes below and above."""
    sides = {"r": ratio.denominator, "1 / r": ratio.numerator}
    return [
        f"the mean of {name} is {1 + side.value:.3f} where 1 is expected, "
        f"{abs(side.value) / side.stderr:.1f} standard errors off: the ratio is not normalised, for its span "
        "misses the true one"
        for name, side in sides.items()
        if side.stderr > 0 and abs(side.value) > FAR * side.stderr
    ]
