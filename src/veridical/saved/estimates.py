r"""Frequentist answers: a value with the parts of its standard error, and intervals of two kinds.

The parabola gives :math:`\hat\kappa \pm z \sigma`. The likelihood gives the values whose signed root of the
likelihood ratio, widened by the error of the density ratio, is no larger than z; it is kept as a curve.

Independent sources add up in variance, so that each has a share of it, and the shares make up one:

.. math:: \sigma^2 = \sum_i \sigma_i^2, \qquad \mathrm{share}_i = \sigma_i^2 / \sigma^2 .
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from veridical.errors import ArtifactError, DataError, require_shape
from veridical.files import Migrations, migrated, read_json, write_json
from veridical.tasks.base import Array

FORMAT = 1
SAMPLE, RATIO = "sample", "ratio"  # sources of error: the finite observation, what a method was fitted to
AGREE = 1e-6  # of the variance: what parts may differ by from their sum
MIGRATIONS: Migrations = {}


@dataclass(frozen=True)
class Estimate:
    """Estimates of one number for each of N observations.

    Attributes:
        value: The estimates, shape (N,).
        statistical: Standard errors from the finite observation, shape (N,).
        ratio: Standard errors from what the method was fitted to, a density ratio or simulated samples, (N,).
        bias: Second-order bias, subtracted already only where the method says so, shape (N,).
        curve: Values along the curve of the likelihood, growing, shape (N, K), or None.
        curve_z: Signed roots of the likelihood ratio there, falling, shape (N, K), or None.
        fit_p: Probability of observations that the model fits worse, if it is right, shape (N,), or None.
        alarms: What the method says itself against its answer to each observation, in words, or None.
        prior: Whether they rest on a prior.
        parts: What `ratio` is made of in quadrature, standard errors by their source, shape (N,), or None.
    """

    value: Array
    statistical: Array
    ratio: Array
    bias: Array
    curve: Array | None = None
    curve_z: Array | None = None
    fit_p: Array | None = None
    alarms: list[list[str]] | None = None
    prior: bool = False
    parts: dict[str, Array] | None = None

    def __post_init__(self) -> None:
        n = len(self.value)
        for name in ("value", "statistical", "ratio", "bias"):
            require_shape(name, getattr(self, name), n)
        if (self.curve is None) != (self.curve_z is None):
            raise DataError("estimate: a curve of the likelihood needs both its values and its roots.")
        if self.curve is not None and self.curve_z is not None:
            require_shape("curve", self.curve, n, None)
            require_shape("curve_z", self.curve_z, *self.curve.shape)
        for name in ("fit_p", "alarms"):
            if (given := getattr(self, name)) is not None and len(given) != n:
                raise DataError(f"estimate: expected {name} of {n} observations, got {len(given)}.")
        if self.parts is not None:
            _require_sum(self.parts, self.ratio)

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.value)

    @property
    def total(self) -> Array:
        """Standard errors of all parts together, shape (N,)."""
        return np.hypot(self.statistical, self.ratio)

    @property
    def variance_shares(self) -> dict[str, Array]:
        """Shares of the variance by source, shape (N,); of each observation they add up to 1.

        >>> Estimate(np.array([0.3]), np.array([0.03]), np.array([0.04]), np.zeros(1)).variance_shares
        {'sample': array([0.36]), 'ratio': array([0.64])}
        """
        sources = {SAMPLE: self.statistical, **({RATIO: self.ratio} if self.parts is None else self.parts)}
        variance = sum(error**2 for error in sources.values())
        return {name: error**2 / variance for name, error in sources.items()}

    def z(self, truth: Array) -> Array:
        """Returns the errors in standard errors, (value - truth) / total, shape (N,)."""
        return (self.value - truth) / self.total

    def interval(self, level: float, kind: Literal["parabola", "likelihood"] = "parabola") -> Array:
        """Returns central intervals of one confidence level, shape (N, 2).

        >>> found = Estimate(np.array([0.3]), np.array([0.03]), np.array([0.04]), np.zeros(1))
        >>> found.total, found.interval(0.6827).round(3)
        (array([0.05]), array([[0.25, 0.35]]))

        Raises:
            DataError: If the level is not in (0, 1), or no curve of the likelihood reaches as far.
        """
        from scipy import stats  # figures read estimates without it

        if not 0 < level < 1:
            raise DataError(f"interval: expected a level in (0, 1), got {level}.")
        z = float(stats.norm.ppf(0.5 + level / 2))
        if kind == "parabola":
            return self.value[:, None] + z * self.total[:, None] * np.array([-1.0, 1.0])
        if self.curve is None or self.curve_z is None:
            raise DataError("interval: this estimate has no curve of the likelihood; ask for the parabola.")
        if z > self.curve_z.max(axis=1).min() or -z < self.curve_z.min(axis=1).max():
            raise DataError(
                f"interval: the curve of the likelihood does not reach level {level}; ask for less."
            )
        pairs = zip(self.curve, self.curve_z, strict=True)
        return np.array([np.interp([-z, z], -root, at) for at, root in pairs]).reshape(-1, 2)

    @classmethod
    def stack(cls, parts: Sequence[Estimate]) -> Estimate:
        """Returns the estimates of several sets of observations as one."""

        def joined(name: str) -> Array | None:
            arrays = [getattr(part, name) for part in parts]
            return None if any(a is None for a in arrays) else np.concatenate(arrays)

        alarms = [part.alarms for part in parts]
        told = None if None in alarms else [one for part in alarms for one in part or ()]
        prior = any(part.prior for part in parts)
        split = [part.parts for part in parts if part.parts is not None]
        whole = len(split) == len(parts) and all(set(one) == set(split[0]) for one in split)
        errors = {name: np.concatenate([one[name] for one in split]) for name in split[0]} if whole else None
        arrays: dict[str, Any] = {name: joined(name) for name in ARRAYS}
        return cls(**arrays, alarms=told, prior=prior, parts=errors)


ARRAYS = [entry.name for entry in fields(Estimate) if entry.name not in ("alarms", "prior", "parts")]


def save(
    path: str | Path,
    estimate: Estimate,
    *,
    truth: Array | None = None,
    method: str = "",
    dataset: str = "",
    shapes: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Writes estimates as JSON, at once or not at all; numbers come back bit for bit.

    Arguments:
        path: Where to.
        estimate: The estimates of N observations.
        truth: True values, shape (N,), where known.
        method: Which method they come from.
        dataset: Which data set they are for.
        shapes: What the method has learned of the classes, for each observation, as plain data.

    Raises:
        ArtifactError: If a number is not finite.
    """
    if truth is not None:
        require_shape("truth", truth, len(estimate))
    if shapes is not None and len(shapes) != len(estimate):
        raise DataError(f"estimates: expected shapes of {len(estimate)} observations, got {len(shapes)}.")
    about = {"format": FORMAT, "method": method, "dataset": dataset, "observations": len(estimate)}
    record = {"truth": truth} | {name: getattr(estimate, name) for name in ARRAYS}
    plain = {name: None if array is None else np.asarray(array).tolist() for name, array in record.items()}
    parts = estimate.parts and {name: error.tolist() for name, error in estimate.parts.items()}
    told = {"alarms": estimate.alarms, "prior": estimate.prior, "parts": parts, "shapes": shapes}
    try:
        write_json(path, {**about, **plain, **told})
    except ValueError as error:
        raise ArtifactError(f"{path}: estimates must be finite numbers, got others: {error}.") from error


def load(path: str | Path) -> dict[str, Any]:
    """Returns what `save` wrote: `estimate`, `truth`, `method`, `dataset`, `shapes`.

    Raises:
        ArtifactError: If the file holds something else.
    """
    record = migrated(read_json(path, "the JSON of estimates"), path, FORMAT, MIGRATIONS)
    arrays = {name: _array(record.get(name)) for name in (*ARRAYS, "truth")}
    parts = record.get("parts")
    return {
        "estimate": Estimate(
            **{name: arrays[name] for name in ARRAYS},  # type: ignore[arg-type]
            alarms=record.get("alarms"),
            prior=record.get("prior", False),
            parts=parts and {name: np.asarray(error, float) for name, error in parts.items()},
        ),
        "truth": arrays["truth"],
        "method": record["method"],
        "dataset": record["dataset"],
        "shapes": record.get("shapes"),
    }


def _require_sum(parts: Mapping[str, Array], whole: Array) -> None:
    """Refuses parts of an error that are not it, in quadrature."""
    for name, error in parts.items():
        require_shape(f"part {name}", error, len(whole))
    off = np.abs(sum(error**2 for error in parts.values()) - whole**2) > AGREE * whole**2
    if np.any(off):
        raise DataError(
            f"estimate: expected parts ({', '.join(parts)}) whose squares add up to those of `ratio`, got "
            f"others at {int(np.sum(off))} of {len(whole)} observations; give every source of that error."
        )


def _array(entry: Any) -> Array | None:
    return None if entry is None else np.asarray(entry, float)
