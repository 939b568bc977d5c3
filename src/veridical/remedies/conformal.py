"""Conformal sets: which of the ordered scores of labelled pairs bounds a set that holds 90 % of all data.

References:
    | Conditional validity of inductive conformal predictors (Vovk, 2012): coverage given the pairs is Beta
"""

from __future__ import annotations

import numpy as np
from scipy import stats

LEVEL, LEAST, SURE = 0.9, 0.88, 0.9  # of the sets; what the stricter one holds at least, and how surely


def ranks(n: int) -> tuple[int | None, int | None]:
    """Returns which of n ordered levels bounds a set that holds 90 % of all data, and a stricter one.

    The first, k = ceil(0.9 (n + 1)), holds 90 % averaged over sets of pairs; the second is the least k with
    P(Beta(k, n + 1 - k) >= 0.88) >= 0.9, so that nine sets of pairs in ten hold 88 % or more. None where n
    is too small for any.
    """
    mean = int(np.ceil(LEVEL * (n + 1)))
    k = np.arange(1, n + 1)
    strict = k[stats.beta.sf(LEAST, k, n + 1 - k) >= SURE]
    return mean if mean <= n else None, int(strict[0]) if len(strict) else None
