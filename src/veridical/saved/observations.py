"""Real data: read from tables and arrays, matched to the task by their names, kept as netCDF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical import seals
from veridical.coordinates import LABELLED
from veridical.errors import DataError, require_shape, suggest
from veridical.files import reading, require_own_content, whole
from veridical.saved import columns
from veridical.tasks import arrays, sentinels, tables
from veridical.tasks.base import DECLARE, ClassTask, usable

if TYPE_CHECKING:
    from veridical.saved.settings import ObservationSettings
    from veridical.tasks.base import Array, Task

KINDS = (*LABELLED, "observed")
FRACTION = "fraction"  # what is asked of a sample of events: the share of the first class


@dataclass(frozen=True)
class Observations:
    """Data sets of one kind.

    Attributes:
        x: The data, shape (N, *x_shape).
        truth: The parameters behind them, shape (N, D), or None where nobody knows.
        name: Name of the data set.
        kind: `simulated`, `real` (a surrogate of nature) or `observed`.
        source: Where the data come from.
        notes: What reading them left open, in sentences.
        classes: The number of the class of each event, 0 or 1, shape (N, events), where that is known.
    """

    x: Array
    truth: Array | None
    name: str
    kind: str
    source: str = ""
    notes: tuple[str, ...] = ()
    classes: Array | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(
                f"data set {self.name}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}."
            )
        if self.truth is not None:
            require_shape(f"data set {self.name}: truth", self.truth, len(self.x), None)
        if self.classes is not None:
            require_shape(f"data set {self.name}: classes", self.classes, *self.x.shape[:2])


def read(settings: ObservationSettings | dict[str, Any], task: Task, name: str) -> Observations:
    """Returns the data set in a file, checked against the shape that the task's simulator gives.

    Raises:
        DataError: If the file is missing, has other columns or rows than the task needs, or holds
            anything but finite numbers, and missing ones where the task says that there may be some.
    """
    given = settings if isinstance(settings, dict) else settings.model_dump()
    path = Path(given["file"])
    ending, known = tables.kind(path), (*tables.ENDINGS, *arrays.ENDINGS)
    folder_fits = path.is_dir() and ending == ".zarr"
    if not path.is_file() and not folder_fits:
        state = "is a folder, expected a file" if path.is_dir() else "does not exist"
        folder = path.parent.glob("*") if path.parent.is_dir() else ()
        near = [p.name for p in folder if tables.kind(p) in known]
        hint = f" {suggest(path.name, near)}" if near else ""
        raise DataError(f"data set {name}: file {path} {state}.{hint}")
    if ending not in known:
        raise DataError(
            f"data set {name}: expected a file of type {', '.join(known)}, got {path.name}. Convert it with "
            "the program that reads it, to CSV or netCDF."
        )
    x, notes = (columns.read if ending in tables.ENDINGS else _read_arrays)(path, given, task, name)
    _require_numbers(x, path, name, task.has_missing)
    if isinstance(task, ClassTask):
        x = x[None]  # one sample of events
    return Observations(x, None, name, "observed", given["source"], tuple(notes))


def save(path: str | Path, data: Observations, task: Task) -> None:
    """Writes a data set as netCDF, at once or not at all."""
    import xarray as xr

    of_events = ["event"] if data.x.ndim == len(task.dimensions) + 2 else []
    axes = ["observation", *of_events, *(d.name for d in task.dimensions)]
    variables: dict[str, Any] = {"x": (axes, data.x, {"units": task.x_unit})}
    if data.truth is not None:
        variables["truth"] = (["observation", "parameter"], data.truth)
    if data.classes is not None:
        variables["classes"] = (axes[:2], data.classes)
    coordinates = {d.name: list(d.coordinates) for d in task.dimensions}
    coordinates["parameter"] = list(task.parameter_names) or [FRACTION]
    attributes = {"name": data.name, "kind": data.kind, "source": data.source, "task": task.name}
    attributes["notes"] = "\n".join(data.notes)
    content = xr.Dataset(variables, coordinates, attributes).to_netcdf(engine="h5netcdf")
    with whole(path) as temporary:
        temporary.write_bytes(content)
        seals.append(temporary)


def load(path: str | Path) -> Observations:
    """Returns a data set that `save` wrote.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    import h5netcdf  # xarray would cost each job that reads data a third of a second

    with reading(path, "a data set of the study"):
        require_own_content(path, DataError)
        with h5netcdf.File(path, "r") as stored:
            found = {
                name: stored[name][...] for name in ("x", "truth", "classes") if name in stored.variables
            }
            attributes = {name: stored.attrs[name] for name in ("name", "kind", "source")}
            notes = tuple(filter(None, str(stored.attrs.get("notes", "")).split("\n")))
            known = found.get("truth"), attributes["name"], attributes["kind"], attributes["source"]
            return Observations(found["x"], *known, notes=notes, classes=found.get("classes"))


def load_truth(path: str | Path) -> tuple[list[str], Array]:
    """Returns names (D) and values (N, D) of the parameters behind labelled data that `save` wrote.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    import h5netcdf

    with reading(path, "a data set of the study"):
        require_own_content(path, DataError)
        with h5netcdf.File(path, "r") as stored:
            names = [n.decode() if isinstance(n, bytes) else str(n) for n in stored["parameter"][...]]
            return names, stored["truth"][...]


def _read_arrays(path: Path, settings: dict[str, Any], task: Task, name: str) -> tuple[Array, list[str]]:
    what = f"data set {name}: {path}"
    stored = arrays.read(path, ("x",), what, {"x": arrays.columns_of_x(task.dimensions)})["x"]
    if stored.values.dtype.names:
        return columns.x_of(tables.of_fields(stored.values), path, settings, task, name)
    if stored.values.dtype.kind not in "fiu":
        raise DataError(f"{what}: x must hold numbers, got type {stored.values.dtype}.")
    x, notes = arrays.aligned(stored, task.dimensions, what)
    return x.astype(float), notes + sentinels.asked(x, task.dimensions)


def _require_numbers(x: Array, path: Path, name: str, has_missing: bool) -> None:
    bad = np.argwhere(np.isinf(x) if has_missing else ~np.isfinite(x))
    if len(bad):
        first = tuple(int(i) for i in bad[0])
        remedy = "" if has_missing or np.isinf(x).any() else f"; where values are missing, {DECLARE}"
        raise DataError(
            f"data set {name}: {path} holds {len(bad)} values that are not finite, the first at index "
            f"{first} (observation first). Every value must be a finite number: remove or impute them"
            f"{remedy}."
        )
    if len(empty := np.flatnonzero(~usable(x, has_missing))):
        raise DataError(
            f"data set {name}: {path}: all numbers of observation {empty[0]} (the first is 0) are missing, "
            "so that it says nothing. Leave it out."
        )
