"""Pseudo-experiments on disk: a batch of them is one small file, written once; many are read lazily.

A batch is a Zarr v3 group in a zip, as a shard of the bank is: written to a temporary name, fsynced, renamed,
its bytes a function of its content. More experiments are more files; no file is ever written to again. There
are two kinds, with E experiments in a batch, V true values, D parameters:

    estimates   value, statistical, ratio (E, V): estimate and both parts of its standard error
                truth (V,); optionally z_lr (E, V), deviation by the likelihood ratio; pull (E,), of one
                event; alarm (E, V), 1 where the method says itself not to trust its answer
    posteriors  rank (E, D): fractional ranks of the truth; truth (E, D); optionally log_q (E,), log density
                of the truth, and hpd (E,), levels of highest-density regions that hold the truth; of a method
                that finds most likely parameters as well estimate, statistical, ratio, z_lr (E, D)

`lazy` reads many as dask arrays, one chunk per batch; a task opens a file, reads it whole and closes it, once
for all arrays that are computed together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.bank import shards
from veridical.bank.shards import Array, PathLike
from veridical.errors import ArtifactError, BankError, if_bad, require_shape

if TYPE_CHECKING:
    import dask.array

KINDS = ("estimates", "posteriors")
_DIMS = {
    "estimates": {
        "value": ("experiment", "truth"),
        "statistical": ("experiment", "truth"),
        "ratio": ("experiment", "truth"),
        "z_lr": ("experiment", "truth"),
        "pull": ("experiment",),
        "alarm": ("experiment", "truth"),
        "truth": ("truth",),
    },
    "posteriors": {
        "rank": ("experiment", "parameter"),
        "log_q": ("experiment",),
        "hpd": ("experiment",),
        "estimate": ("experiment", "parameter"),
        "statistical": ("experiment", "parameter"),
        "ratio": ("experiment", "parameter"),
        "z_lr": ("experiment", "parameter"),
        "truth": ("experiment", "parameter"),
    },
}
_OPTIONAL = {
    "estimates": {"z_lr", "pull", "alarm"},
    "posteriors": {"log_q", "hpd", "estimate", "statistical", "ratio", "z_lr"},
}
_LEADING = {"estimates": "value", "posteriors": "rank"}


def write(path: PathLike, arrays: Mapping[str, Array], **attributes: Any) -> None:
    """Writes one batch, whole or not at all.

    Arguments:
        path: Final name of the file.
        arrays: Those of one kind; numbers that are not finite stay and count as failed experiments.
        attributes: What else the file should say about itself, such as the seed.

    Raises:
        ArtifactError: If the arrays are those of no kind, or the file cannot be written.
        ShapeError: If shapes disagree.
    """
    kind, plain = _required(path, {name: np.asarray(a, dtype=float) for name, a in arrays.items()})
    rows = len(plain[_LEADING[kind]])
    dims = {name: _DIMS[kind][name] for name in plain}
    if kind == "estimates":  # every array of a file has one row per experiment
        plain["truth"] = np.broadcast_to(plain["truth"], plain["value"].shape).copy()
        dims["truth"] = ("experiment", "truth")
    about = {**attributes, "kind": kind, "first": 0, "last": rows - 1}
    try:
        shards.write(path, plain, about, dims)
    except BankError as error:
        raise ArtifactError(str(error)) from error


def read(path: PathLike) -> dict[str, Array]:
    """Returns the arrays of one batch as they were written.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    kind = manifest(path)["kind"]
    try:
        with shards.opened(path) as stored:
            arrays = {name: np.asarray(array[:]) for name, array in stored.items()}
    except BankError as error:
        raise _damaged(path, error) from error
    if kind == "estimates":
        arrays["truth"] = arrays["truth"][0]
    return arrays


def manifest(path: PathLike) -> dict[str, Any]:
    """Returns what a batch says about itself: `kind`, `experiments`, `digests` of its arrays, and the rest.

    Raises:
        ArtifactError: If the file is missing, damaged, or no batch.
    """
    if not Path(path).is_file():
        raise ArtifactError(f"{path}: no such batch of experiments; run the experiment stage.")
    try:
        found = shards.manifest(path)
    except BankError as error:
        raise _damaged(path, error) from error
    if found.get("kind") not in KINDS:
        raise ArtifactError(f"{path}: expected a batch of {' or '.join(KINDS)}, got {found.get('kind')!r}.")
    return {**found, "experiments": found["last"] - found["first"] + 1}


def lazy(paths: Sequence[PathLike], like: PathLike | None = None) -> dict[str, dask.array.Array]:
    """Returns the arrays of many batches of one kind, one chunk per batch, nothing read yet.

    `truth` of estimates, the same in all batches, has shape (V,).

    Arguments:
        paths: The batches.
        like: The batch that all must fit; the first where None.

    Raises:
        ArtifactError: If there is no batch, or they are not of one kind, set of arrays, and true values.
    """
    import dask
    import dask.array as da

    if not paths:
        raise ArtifactError("experiments: expected at least one batch, got none.")
    like = paths[0] if like is None else like
    first, sizes = read(like), []
    kind, names = manifest(like)["kind"], sorted(first)
    for path in paths:
        other = manifest(path)
        sizes.append(other["experiments"])
        if other["kind"] != kind or sorted(other["digests"]) != names:
            raise ArtifactError(
                f"{path}: expected a batch of {kind} with {', '.join(names)} as in {like}, got "
                f"{other['kind']} with {', '.join(sorted(other['digests']))}."
            )
    batches = [dask.delayed(_fitting)(path, first) for path in paths]
    arrays = {}
    for name in names:
        if kind == "estimates" and name == "truth":
            arrays[name] = da.from_array(first[name], chunks=-1)
            continue
        parts = [
            da.from_delayed(batch[name], (size, *first[name].shape[1:]), dtype=float)
            for batch, size in zip(batches, sizes, strict=True)
        ]
        arrays[name] = da.concatenate(parts)
    return arrays


def _fitting(path: PathLike, like: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of one batch, after a look whether they fit the first one."""
    arrays = read(path)
    for key, array in arrays.items():
        if array.shape[1:] != like[key].shape[1:]:
            raise ArtifactError(
                f"{path}: {key} has shape {array.shape}, in the first batch {like[key].shape}."
            )
    if arrays["truth"].ndim == 1 and not np.array_equal(arrays["truth"], like["truth"]):
        raise ArtifactError(f"{path}: expected the true values {like['truth']}, got {arrays['truth']}.")
    return arrays


def _required(path: PathLike, arrays: dict[str, Array]) -> tuple[str, dict[str, Array]]:
    """The kind of some arrays, and these in the order of its description, checked."""
    kinds = [kind for kind, leading in _LEADING.items() if leading in arrays]
    if len(kinds) != 1:
        raise ArtifactError(
            f"{path}: expected `value` of estimates or `rank` of posteriors, got {sorted(arrays)}."
        )
    kind = kinds[0]
    dims = _DIMS[kind]
    needed = set(dims) - _OPTIONAL[kind]
    missing, unknown = needed - set(arrays), set(arrays) - set(dims)
    if missing or unknown:
        raise ArtifactError(
            f"{path}: {kind} need {', '.join(sorted(needed))} and may have "
            f"{', '.join(sorted(_OPTIONAL[kind]))}; missing {sorted(missing)}, "
            f"unknown {sorted(unknown)}."
        )
    leading = arrays[_LEADING[kind]]
    require_shape(_LEADING[kind], leading, None, None)
    sizes = dict(zip(dims[_LEADING[kind]], leading.shape, strict=True))
    for name, array in arrays.items():
        require_shape(name, array, *(sizes[dim] for dim in dims[name]))
    return kind, {name: arrays[name] for name in dims if name in arrays}


def _damaged(path: PathLike, error: BankError) -> ArtifactError:
    remedy = f"{if_bad(path)}; its experiments come back bit by bit."
    return ArtifactError(f"{path}: cannot be read as a batch of experiments ({error}). {remedy}")
