"""Which rows of a bank count: failed simulations are data, too many of them stop a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Any

import numpy as np

from veridical.bank.shards import Array, PathLike, manifest
from veridical.errors import SimulationError

OK, NON_FINITE, RAISED, TIMED_OUT, HOLE = 0, 1, 2, 3, 255
STATUS = {"ok": OK, "non_finite": NON_FINITE, "raised": RAISED, "timed_out": TIMED_OUT}
VALIDATION_EVERY = 10
CLEAR_SDS = 5.0


def valid(arrays: Mapping[str, Array]) -> Array:
    """Returns which rows of a loaded bank are valid simulations, boolean (N,)."""
    return np.asarray(arrays["status"] == OK)


def validation_mask(n: int) -> Array:
    """Returns which of the rows 0..n-1 are for validation: every tenth, boolean (n,)."""
    return for_validation(np.arange(n))


def for_validation(rows: Array) -> Array:
    """Returns which of the rows of a bank with these numbers (N,) are for validation, boolean (N,)."""
    return rows % VALIDATION_EVERY == VALIDATION_EVERY - 1


def status_counts(status: Array) -> dict[str, int]:
    """Returns how many rows have each status, by its name."""
    return {name: int(np.count_nonzero(status == code)) for name, code in STATUS.items()}


def require_valid(paths: Iterable[PathLike], max_invalid: float) -> dict[str, Any]:
    """Returns `rows`, `n_invalid` and `invalid_share` of a bank's shards, from their manifests.

    Raises:
        SimulationError: If more than the share `max_invalid` of all rows failed.
    """
    counts, where, text = dict.fromkeys(STATUS, 0), "", ""
    for path in paths:
        found = manifest(path)
        counts = {name: n + found["counts"][name] for name, n in counts.items()}
        where = where or f"{found['task']}, fidelity {found['fidelity']}, split {found['split']}"
        text = text or found["first_traceback"]
    rows = sum(counts.values())
    invalid = rows - counts["ok"]
    if invalid > max_invalid * rows:
        raise SimulationError(_too_many_failed(where, counts, max_invalid, text))
    return {"rows": rows, "n_invalid": invalid, "invalid_share": invalid / rows}


def require_plausible(where: str, counts: Mapping[str, int], max_invalid: float, traceback: str) -> None:
    """Raises SimulationError if these rows clearly come from a simulator that fails too often.

    Clearly: their number of failures is beyond the share `max_invalid` by five binomial standard deviations
    (p = 3e-7), so that a part of a bank does not stop a run that the whole would not.
    """
    rows = sum(counts.values())
    margin = CLEAR_SDS * sqrt(rows * max_invalid * (1 - max_invalid))
    if rows - counts["ok"] > rows * max_invalid + margin:
        raise SimulationError(_too_many_failed(where, counts, max_invalid, traceback))


def _too_many_failed(where: str, counts: Mapping[str, int], max_invalid: float, traceback: str) -> str:
    """Says which share of the simulations failed, how, and what to do."""
    rows = sum(counts.values())
    kinds = ", ".join(f"{n} {name}" for name, n in counts.items() if n and name != "ok")
    return (
        f"{where}: {1 - counts['ok'] / rows:.1%} of {rows} simulations failed ({kinds}), expected at most "
        f"{max_invalid:.1%} (max_invalid). Mend the simulator, narrow the prior, or raise "
        f"simulation.max_invalid.{cause(traceback)}"
    )


def cause(first: str) -> str:
    """Returns why a first simulation failed as the end of a message: a traceback, or a sentence."""
    is_traceback = "\n" in first or first.startswith("Traceback")
    return f" The first traceback:\n{first}" if is_traceback else f" {first}".rstrip()
