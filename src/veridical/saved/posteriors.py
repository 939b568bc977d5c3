"""Posterior draws on disk: netCDF4 that ArviZ opens, written observation by observation.

    group posterior       one variable per parameter, (chain = 1, draw, observation)
    group sample_stats    log_density (chain, draw, observation); ess (observation, parameter), how many
                          independent draws they are worth, and of chains rhat; each where known
    group constant_data   truth (observation, parameter), log_density_truth (observation),
                          summary (observation, summary_dim), summary_mean, summary_cov; each where known
    group observed_data   x (observation, ...)
    group extras          other arrays that figures need, such as a transport plan

Bounds and units are attributes of the variables in `posterior`. Attributes of the file hold task, method,
data set, budget, replicate, digests, versions; what is not a number or a text is kept as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.errors import ArtifactError, require_shape
from veridical.files import Migrations, migrated, reading, require_own_content, whole_hdf5
from veridical.tasks import supports
from veridical.tasks.base import Array, usable
from veridical.tasks.latents import Support
from veridical.tasks.supports import Constraint

if TYPE_CHECKING:
    import h5netcdf

FORMAT = 1
MIGRATIONS: Migrations = {}
# Where what may be known beside the draws stands, with its axes; those of `x` go on with x_dim_0, ...
FIELDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "log_density": ("sample_stats", ("chain", "draw", "observation")),
    "rhat": ("sample_stats", ("observation", "parameter")),
    "ess": ("sample_stats", ("observation", "parameter")),
    "truth": ("constant_data", ("observation", "parameter")),
    "log_density_truth": ("constant_data", ("observation",)),
    "summary": ("constant_data", ("observation", "summary_dim")),
    "summary_mean": ("constant_data", ("summary_dim",)),
    "summary_cov": ("constant_data", ("summary_dim", "summary_dim_2")),
    "x": ("observed_data", ("observation",)),
}
DRAWS = ("chain", "draw", "observation")


@dataclass(frozen=True)
class Draws:
    """Draws of one method for one data set, with all that checks need.

    Attributes:
        names: Names of the D parameters.
        bounds: Their bounds, infinite where there is none, shape (D, 2).
        units: Their units.
        draws: Posterior draws, shape (S, N, D).
        log_density: Log densities of the draws, shape (S, N), or None.
        truth: True parameters, shape (N, D), or None.
        log_density_truth: Log densities of the truth, shape (N,), or None.
        summary: Summaries of the data, shape (N, K), or None.
        summary_mean: Mean of the summaries of the training rows, shape (K,), or None.
        summary_cov: Their covariance, shape (K, K), or None.
        x: The data, shape (N, *x_shape), or None.
        attrs: Task, method, dataset, budget, replicate, digests, versions, ...
        extras: Other arrays that figures need, by name; those of the first part are kept.
        constraints: What parameters can be beyond their bounds, as attribute `constraints` in the file.
        rhat: R-hat of draws by chains, across independent ensembles, shape (N, D), or None.
        ess: How many independent draws theirs, or those by weights, are worth, shape (N, D), or None.
    """

    names: tuple[str, ...]
    bounds: Array
    units: tuple[str, ...]
    draws: Array
    log_density: Array | None = None
    truth: Array | None = None
    log_density_truth: Array | None = None
    summary: Array | None = None
    summary_mean: Array | None = None
    summary_cov: Array | None = None
    x: Array | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Array] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    rhat: Array | None = None
    ess: Array | None = None

    @property
    def support(self) -> Support:
        """The constraints of the parameters by their columns."""
        return Support(self.names, self.constraints)

    @property
    def summarisers(self) -> int:
        """How many networks' summaries, as many of each, stand side by side."""
        return int(self.attrs.get("summarisers", 1))

    @property
    def numbers(self) -> list[int]:
        """Numbers of its observations in their data set, of which the method may have refused some."""
        refused = self.attrs.get("refused", {})
        every = range(self.draws.shape[1] + len(refused))
        return [i for i in every if str(i) not in refused][: self.draws.shape[1]]

    def __post_init__(self) -> None:
        d = len(self.names)
        require_shape("draws", self.draws, None, None, d)
        require_shape("bounds", self.bounds, d, 2)
        require_shape("units", np.array(self.units), d)
        sizes = _sizes(self)
        for name, _, axes, array in _known(self):
            require_shape(name, array, *(sizes[axis] for axis in axes if axis != "chain"))


def save(path: str | Path, draws: Draws) -> None:
    """Writes draws as netCDF, at once or not at all."""
    write(path, draws.draws.shape[1], iter([draws]))


def write(path: str | Path, observations: int, parts: Iterable[Draws]) -> None:
    """Writes draws that come in parts, each for the next few observations, at once or not at all.

    Memory is bounded by one part. The first part decides parameters, number of draws and attributes.

    Arguments:
        path: Where to.
        observations: Number of observations of all parts together.
        parts: The parts in order.

    Raises:
        ArtifactError: If a part holds NaN, or the parts do not have as many observations as stated.
    """
    import h5netcdf

    path = Path(path)
    with whole_hdf5(path) as stream:
        with h5netcdf.File(stream, "w") as file:
            written = 0
            for part in parts:
                if written == 0:
                    _create(file, part, observations)
                _require_numbers(path, part)
                _fill(file, part, written)
                written += part.draws.shape[1]
        if written != observations:
            raise ArtifactError(f"{path}: expected draws for {observations} observations, got {written}.")


def load(path: str | Path, observations: int | None = None) -> Draws:
    """Returns the draws in a file that `save` or `write` wrote.

    Arguments:
        path: The file.
        observations: How many of the first observations to read; all where None.

    Raises:
        ArtifactError: If the file is missing, of another format or not readable.
    """
    import h5netcdf

    with reading(path, "a file of posterior draws"):
        require_own_content(path, ArtifactError)
        with h5netcdf.File(path, "r") as file:
            return _read(file, path, slice(observations))


def split(draws: Draws, size: int) -> Iterator[Draws]:
    """Yields the draws of `size` observations at a time."""
    for first in range(0, draws.draws.shape[1], size):
        yield only(draws, slice(first, first + size))


def only(draws: Draws, rows: slice | Sequence[int]) -> Draws:
    """Returns the draws of some observations."""
    fields = {
        name: array[_rows(axes, rows)[axes[0] == "chain" :]]
        for name, _, axes, array in _known(draws)
        if "observation" in axes
    }
    return replace(draws, draws=draws.draws[:, rows], **fields)


def answered_by_all(repeats: Sequence[Draws]) -> list[Draws]:
    """Returns the draws of replicates for the observations that none of them refused; perhaps of none."""
    refused = {number: why for one in repeats for number, why in one.attrs.get("refused", {}).items()}
    if not refused:
        return list(repeats)
    places = [[i for i, n in enumerate(one.numbers) if str(n) not in refused] for one in repeats]
    found = [only(one, rows) for one, rows in zip(repeats, places, strict=True)]
    return [replace(one, attrs={**one.attrs, "refused": refused}) for one in found]


def _known(draws: Draws) -> Iterator[tuple[str, str, tuple[str, ...], Array]]:
    """Name, group, axes and array of each field that is known."""
    for name, (group, axes) in FIELDS.items():
        array = getattr(draws, name)
        if array is not None:
            more = range(array.ndim - 1) if name == "x" else ()
            yield name, group, (*axes, *(f"x_dim_{i}" for i in more)), array


def _sizes(draws: Draws) -> dict[str, int]:
    """The lengths of all axes, of a summary as the first array states it that has one."""
    s, n, d = draws.draws.shape
    sizes = {"chain": 1, "draw": s, "observation": n, "parameter": d}
    for name, _, axes, array in _known(draws):
        if name == "x":
            sizes |= dict(zip(axes[1:], array.shape[1:], strict=True))
        elif "summary_dim" in axes:
            sizes = {"summary_dim": array.shape[-1], "summary_dim_2": array.shape[-1]} | sizes
    return sizes


def _rows(axes: tuple[str, ...], rows: slice | Sequence[int]) -> tuple[Any, ...]:
    """The index of some observations in a variable of the file."""
    return tuple({"chain": 0, "observation": rows}.get(axis, slice(None)) for axis in axes)


# ---- writing -------------------------------------------------------------------------------------


def _create(file: h5netcdf.File, part: Draws, observations: int) -> None:
    """Makes groups, dimensions and empty variables."""
    limits = [constraint.to_json() for constraint in part.constraints]
    about = {**part.attrs, "format": FORMAT, "parameters": list(part.names)}
    file.attrs.update(_encoded({**about, "constraints": limits} if limits else about))
    sizes = {**_sizes(part), "observation": observations}
    posterior = _group(file, "posterior", DRAWS, sizes, part.names)
    for name, (lower, upper), unit in zip(part.names, part.bounds, part.units, strict=True):
        variable = posterior.create_variable(name, DRAWS, float)
        variable.attrs.update({"lower": float(lower), "upper": float(upper), "units": unit})
    for group, fields in groupby(_known(part), key=lambda field: field[1]):
        found = list(fields)
        used = dict.fromkeys(axis for _, _, axes, _ in found for axis in axes)
        made = _group(file, group, used, sizes, part.names)
        for name, _, axes, array in found:
            made.create_variable(name, axes, array.dtype if name == "x" else float)
    if part.extras:
        _create_extras(file, part.extras)


def _create_extras(file: h5netcdf.File, extras: Mapping[str, Array]) -> None:
    group = file.create_group("extras")
    axes = {name: [f"{name}_dim_{i}" for i in range(np.ndim(array))] for name, array in extras.items()}
    sizes = {a: n for name, array in extras.items() for a, n in zip(axes[name], array.shape, strict=True)}
    group.dimensions = sizes
    for name, array in extras.items():
        group.create_variable(name, tuple(axes[name]), array.dtype, data=array)


def _group(
    file: h5netcdf.File, name: str, axes: Iterable[str], sizes: Mapping[str, int], names: tuple[str, ...]
) -> h5netcdf.Group:
    """Makes a group with its dimensions and their coordinates: 0, 1, ..., and names of parameters."""
    import h5py

    group = file.create_group(name)
    group.dimensions = {axis: sizes[axis] for axis in axes}
    for axis in group.dimensions:
        if axis in DRAWS:
            group.create_variable(axis, (axis,), np.int64, data=np.arange(sizes[axis]))
        elif axis == "parameter":
            group.create_variable(axis, (axis,), h5py.string_dtype())[...] = np.array(names, dtype=object)
    return group


def _fill(file: h5netcdf.File, part: Draws, first: int) -> None:
    """Writes one part from observation `first` on."""
    rows = slice(first, first + part.draws.shape[1])
    for j, name in enumerate(part.names):
        file["posterior"][name][0, :, rows] = part.draws[:, :, j]
    for name, group, axes, array in _known(part):
        if first == 0 or "observation" in axes:
            file[group][name][_rows(axes, rows)] = array


def _require_numbers(path: Path, part: Draws) -> None:
    """Raises ArtifactError on NaN but for missing x, and on draws not finite or not inside their support."""
    plain = part.support.plain
    bounds, draws = part.bounds[plain], part.draws[..., plain]
    inside = (draws > bounds[:, 0]) & (draws < bounds[:, 1])
    if not inside.all():
        raise ArtifactError(
            f"{path}: {int((~inside).sum())} numbers among the draws are NaN or not inside the bounds; "
            "nothing was written."
        )
    possible = part.support.inside(part.draws)
    if not possible.all():
        names = ", ".join(name for constraint in part.constraints for name in constraint.names)
        raise ArtifactError(
            f"{path}: {int((~possible).sum())} of {possible.size} draws of {names} are not what these "
            "parameters "
            "can be; nothing was written. The method has to map its draws to the support of the task."
        )
    for name, _, _, array in _known(part):
        bad = ~usable(array, True) if name == "x" else np.isnan(array)
        if bad.any():
            raise ArtifactError(f"{path}: {name} holds {int(bad.sum())} NaN; nothing was written.")


# ---- reading -------------------------------------------------------------------------------------


def _read(file: h5netcdf.File, path: str | Path, rows: slice) -> Draws:
    attrs = migrated(_decoded(dict(file.attrs)), path, FORMAT, MIGRATIONS)
    del attrs["format"]
    names = tuple(attrs.pop("parameters"))
    constraints = tuple(supports.from_json(each) for each in attrs.pop("constraints", ()))
    variables = [file["posterior"][name] for name in names]
    bounds = np.array([(v.attrs["lower"], v.attrs["upper"]) for v in variables], float).reshape(-1, 2)
    found = {
        name: file[group][name][_rows(axes, rows)]
        for name, (group, axes) in FIELDS.items()
        if group in file.groups and name in file[group].variables
    }
    draws = np.stack([variable[0, :, rows] for variable in variables], axis=-1)
    units = tuple(str(v.attrs["units"]) for v in variables)
    others = file["extras"].variables if "extras" in file.groups else {}
    extras = {name: variable[...] for name, variable in others.items()}
    return Draws(names, bounds, units, draws, **found, attrs=attrs, extras=extras, constraints=constraints)


# ---- attributes ----------------------------------------------------------------------------------


def _encoded(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as netCDF can hold them; `json_attributes` names those that became JSON."""
    values = {name: v.item() if isinstance(v, np.generic) else v for name, v in attrs.items()}
    as_json = [n for n, v in values.items() if isinstance(v, bool) or not isinstance(v, str | int | float)]
    return {n: json.dumps(v) if n in as_json else v for n, v in values.items()} | {
        "json_attributes": json.dumps(as_json)
    }


def _decoded(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as they were before `_encoded`."""
    as_json = json.loads(attrs.pop("json_attributes", "[]"))
    plain = {n: v.item() if hasattr(v, "item") else v for n, v in attrs.items()}
    return {n: json.loads(v) if n in as_json else v for n, v in plain.items()}
