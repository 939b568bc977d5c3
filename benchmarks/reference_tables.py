"""How far the answers of all methods to observed data lie from the exact ones; see `tables.py`."""

from __future__ import annotations

from collections.abc import Sequence

from replicates import variants_of
from table_text import count, number, table

from veridical.coordinates import dataset_cells
from veridical.evidence.metrics import Row, select

SHIFT, RATIO = "mean_shift_sd", "sd_ratio"
SINGLE = ("c2st", "correction_share", "correction_k")
HEADER = (
    *("method", "simulations", "mean shift", "largest shift", "least sd ratio", "largest sd ratio"),
    *("C2ST", "share", "k"),
)
NOTE = (
    "Shifts of means are in standard deviations of the exact posterior, mean and largest of the parameters; "
    "ratios are of standard deviations. By replicate. Share and k belong to weights that correct an answer."
)


def against_reference(rows: Sequence[Row], datasets: Sequence[str]) -> list[str]:
    """Returns a table for each data set that has an exact answer."""
    parts = []
    for dataset in dict.fromkeys(datasets):
        here = select(rows, metric=SHIFT, **dataset_cells(dataset))
        lines = [
            [variant.method, count(variant.budget), *_cells(rows, dataset, variant.cells)]
            for variant in variants_of(here)
        ]
        if lines:
            parts += [f"## Against the exact posterior of {dataset}", NOTE, table(list(HEADER), lines)]
    return parts


def _cells(rows: Sequence[Row], dataset: str, variant: dict[str, object]) -> list[str]:
    """The numbers of one method, each by replicate."""
    own = select(rows, **variant, **dataset_cells(dataset))
    repeats = sorted({r["seed"] for r in own if r["seed"] is not None})

    def each(metric: str, seed: int) -> list[float]:
        return [r["value"] for r in select(own, metric=metric, seed=seed) if r["parameter"] is not None]

    columns = [[r["value"] for s in repeats for r in select(own, metric=SHIFT, parameter=None, seed=s)]]
    for metric, of in ((SHIFT, max), (RATIO, min), (RATIO, max)):
        columns.append([of(found) for s in repeats if (found := each(metric, s))])
    for metric in SINGLE:
        columns.append([r["value"] for s in repeats for r in select(own, metric=metric, seed=s)])
    return [" / ".join(number(value) for value in values) for values in columns]
