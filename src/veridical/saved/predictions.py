"""Data simulated at draws of an answer, as the checks of that answer read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.errors import require_shape
from veridical.files import Migrations, migrated, read_npz, write_npz

Array = NDArray[Any]
FORMAT = 2


@dataclass(frozen=True)
class Predictions:
    """Data simulated at draws of an answer to N observations; failed rows are NaN.

    Attributes:
        x: One data set at each of S draws, shape (S, N, *x_shape).
        theta: These draws, shape (S, N, D).
        replicates: R data sets at each of K draws, shape (K, R, N, *x_shape).
        at: These draws, shape (K, N, D).
        axes: Name, coordinates and unit of each dimension of x; none where they are not known.
        statistics: What the task's own statistics say of the observations, then of their replicates, by name,
            shape (K, R + 1, N) each.
    """

    x: Array
    theta: Array
    replicates: Array
    at: Array
    axes: Sequence[Mapping[str, Any]] = ()
    statistics: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_shape("predictions", self.replicates, None, None, *self.x.shape[1:])
        draws, rows = self.replicates.shape[:2]
        for name, values in self.statistics.items():
            require_shape(f"statistic {name!r}", values, draws, rows + 1, self.x.shape[1])


def _without_replicates(record: dict[str, Any]) -> dict[str, Any]:
    """Format 1 held one data set at each draw and nothing else."""
    x, theta = record["x"], record["theta"]
    of_none = {"replicates": np.empty((0, 0, *x.shape[1:]), x.dtype), "at": np.empty((0, *theta.shape[1:]))}
    return {**record, **of_none, "axes": "[]", "names": np.empty(0, "U1"), "values": np.empty((0, 0, 1, 0))}


MIGRATIONS: Migrations = {1: _without_replicates}


def save(path: str | Path, found: Predictions) -> None:
    """Writes predictions as NPZ, at once or not at all."""
    shape = (*found.replicates.shape[:1], found.replicates.shape[1] + 1, found.x.shape[1])
    arrays = {name: getattr(found, name) for name in ("x", "theta", "replicates", "at")}
    values = np.array(list(found.statistics.values()), dtype=float).reshape(-1, *shape)
    more = {"axes": json.dumps(list(found.axes)), "names": np.array(list(found.statistics), dtype=str)}
    write_npz(path, {"format": FORMAT, **arrays, **more, "values": values})


def load(path: str | Path) -> Predictions:
    """Reads predictions.

    Raises:
        ArtifactError: If the file is missing, damaged, or of a format that is not known.
    """
    stored = read_npz(path, "predictions")
    record = migrated({**stored, "format": int(stored.get("format", 1))}, path, FORMAT, MIGRATIONS)
    names = record["names"].tolist()
    x, theta, replicates, at = (record[name] for name in ("x", "theta", "replicates", "at"))
    return Predictions(
        x,
        theta,
        replicates,
        at,
        axes=json.loads(str(record["axes"])),
        statistics=dict(zip(names, record["values"], strict=True)),
    )
