"""Coupled simulations of several levels: row i has the same parameters and random numbers at each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from veridical import bank
from veridical.errors import TrainingError
from veridical.estimators.base import CoupledRows, Rows


def coupled(levels: Sequence[tuple[Sequence[str | Path], int]]) -> tuple[tuple[Rows, ...], int]:
    """Returns valid simulations of each level, cheapest first, and how many rows are valid in all.

    Arguments:
        levels: Shards and number of rows of each level; no level has more rows than the one before.

    Raises:
        TrainingError: If a level has more rows, or other parameters, than the one below.
    """
    loaded = [bank.load(shards, n, names=["theta", "x", "status"]) for shards, n in levels]
    valid = [bank.valid(arrays) for arrays in loaded]
    first, ok = loaded[0], valid[0]
    found = [Rows(first["theta"][ok], first["x"][ok], bank.validation_mask(len(ok))[ok])]
    for (below, ok_below), (own, ok) in pairwise(zip(loaded, valid, strict=True)):
        n = len(ok)
        if not np.array_equal(below["theta"][:n], own["theta"]):
            raise TrainingError(
                f"levels are coupled by row, but {n} rows of a level have other parameters than the first of "
                f"{len(ok_below)} of the level below; expected equal ones. Simulate both in one study."
            )
        both = ok & ok_below[:n]
        mask = bank.validation_mask(n)[both]
        found.append(CoupledRows(own["theta"][both], own["x"][both], mask, below=below["x"][:n][both]))
    return tuple(found), sum(int(ok.sum()) for ok in valid)
