r"""Transforms around a network: x to standardised inputs, theta to an unconstrained standardised space.

All statistics come from training simulations, never from observations, and from the numbers that are there:
missing ones are NaN before and after. Everything is numpy in float64.

A parameter with bounds :math:`(a, b)` becomes

.. math:: u = \log(\theta - a) - \log(b - \theta), \quad
          |du/d\theta| = 1 / (\theta - a) + 1 / (b - \theta) ,

where only the terms of finite bounds are present (:math:`u = \theta` where there is none), and then
:math:`z = (u - m) / s`. A density in z thus gains :math:`\sum_j \log |du_j / d\theta_j| - \log s_j`.

Parameters
under a constraint have the latent numbers u of `veridical.tasks.supports`, K in all; those of discrete
ones stay whole numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from veridical.errors import DataError, ShapeError, TrainingError, require_shape
from veridical.tasks.base import Array, usable
from veridical.tasks.bounded import bounded, unbounded
from veridical.tasks.latents import Support

_CHUNK = 65_536
_FEWEST, _MOST = 100, 10_000  # rows that tell a heavy tail; those that are asked, at most
_HEAVY = 2.0  # standard deviation by that of a normal distribution of the same quartiles
_QUARTILES = 1.349  # their distance, in standard deviations of a normal distribution


@dataclass(frozen=True)
class InputTransform:
    r"""x to inputs of a network: an optional log or asinh, then zero mean and unit variance, or `squash`.

    `auto` takes :math:`c + w \operatorname{asinh}((x - c) / w)` of the numbers whose tails are heavy, with
    their median c and the scale w of their quartiles, and all others as they are.

    Attributes:
        kind: `none`, `log`, `asinh` or `auto`, which come first, or `squash`, an asinh that comes last.
        mean: Subtracted from x, shape (*x_shape).
        scale: Divides x after that, shape (*x_shape).
        has_missing: Whether numbers of x may be missing.
        tails: With `auto`, where any tail is heavy: c and w, shape (2, *x_shape), w = 0 where none is.
    """

    kind: str
    mean: Array
    scale: Array
    has_missing: bool = False
    tails: Array | None = None

    @classmethod
    def fit(
        cls,
        x: Array,
        kind: str,
        *,
        shared: int | None = None,
        has_missing: bool = False,
        like: InputTransform | None = None,
    ) -> InputTransform:
        """Returns the transform that standardises x (N, *x_shape).

        Arguments:
            x: Training data, shape (N, *x_shape).
            kind: As of the transform.
            shared: The axis of a row that holds exchangeable elements, which then share their statistics.
            has_missing: Whether numbers may be missing; those that are always have mean 0 and scale 1.
            like: The transform whose numbers count as heavy-tailed here, in place of what x shows.
        """
        tails = like.tails if like else heavy_tails(x, shared) if kind == "auto" else None
        raw = partial(_compress, kind=kind, tails=tails)
        total = np.nansum if has_missing else np.sum
        there: Array | float = (
            sum((~np.isnan(part)).sum(axis=0) for part in _chunks(x)) if has_missing else len(x)
        )

        def over_rows(values: Array) -> Array:
            if has_missing and shared is not None:
                sums, counts = (part.sum(shared, keepdims=True) for part in (values, np.asarray(there)))
                return np.broadcast_to(sums / np.maximum(counts, 1), x.shape[1:]).copy()
            mean = values / np.maximum(there, 1)
            if shared is None:
                return mean
            return np.broadcast_to(mean.mean(axis=shared, keepdims=True), mean.shape).copy()

        mean = over_rows(sum(total(raw(part), axis=0) for part in _chunks(x)))
        variance = over_rows(sum(total((raw(part) - mean) ** 2, axis=0) for part in _chunks(x)))
        scale = np.sqrt(variance)
        return cls(kind, mean, np.where(scale > 0, scale, 1.0), has_missing, tails)

    @property
    def done(self) -> str:
        """What is done to x before it is standardised, in a word or two."""
        if self.tails is not None:
            return f"asinh of {np.count_nonzero(self.tails[1])} of {self.mean.size} numbers"
        return "none" if self.kind == "auto" else self.kind

    def pooled(self, other: InputTransform) -> InputTransform:
        r"""Returns the transform for rows of both kinds, each kind with half of the weight.

        Mean and variance are those of an equal mixture: :math:`m = (m_1 + m_2) / 2` and
        :math:`s^2 = (s_1^2 + s_2^2) / 2 + (m_1 - m_2)^2 / 4`.
        """
        mean = (self.mean + other.mean) / 2
        variance = (self.scale**2 + other.scale**2) / 2 + (self.mean - other.mean) ** 2 / 4
        return replace(self, mean=mean, scale=np.sqrt(variance))

    def __call__(self, x: Array, dtype: type = np.float64) -> Array:
        """Returns inputs (N, *x_shape) of x (N, *x_shape), NaN where a number is missing.

        Raises:
            ShapeError: If the rows of x have another shape than those of the training data.
            DataError: If x holds what is not finite, or what has no logarithm where one is taken; where
                numbers may be missing, if one is infinite or a row holds none.
        """
        require_shape("x", x, None, *self.mean.shape)
        out: Array = np.empty(x.shape, dtype)
        for first in range(0, len(x), _CHUNK):
            part = x[first : first + _CHUNK]
            inputs = (_compress(part, self.kind, self.tails) - self.mean) / self.scale
            out[first : first + _CHUNK] = np.arcsinh(inputs) if self.kind == "squash" else inputs
        bad = ~usable(out, self.has_missing)
        if bad.any():
            raise DataError(
                f"x: expected finite numbers, got others in {int(bad.sum())} of {len(x)} rows; drop them."
            )
        return out

    def arrays(self) -> dict[str, Array]:
        """Returns the statistics by name."""
        found = {"inputs.mean": self.mean, "inputs.scale": self.scale}
        return found if self.tails is None else {**found, "inputs.tails": self.tails}

    @classmethod
    def from_arrays(
        cls, kind: str, arrays: Mapping[str, Array], *, has_missing: bool = False
    ) -> InputTransform:
        """Returns the transform whose statistics `arrays` returned."""
        mean, scale = np.asarray(arrays["inputs.mean"]), np.asarray(arrays["inputs.scale"])
        return cls(kind, mean, scale, has_missing, arrays.get("inputs.tails"))


def heavy_tails(x: Array, shared: int | None = None) -> Array | None:
    """Returns median and scale (2, *x_shape) of the numbers of x (N, *x_shape) with heavy tails, 0 elsewhere.

    A tail is heavy where the standard deviation is above twice that of a normal distribution of the same
    quartiles, if these differ. None where no number has one. Elements along the axis `shared` of a row are
    asked as one.
    """
    if len(x) < _FEWEST:
        return None
    rows = np.asarray(x[:_MOST], float)
    axes: int | tuple[int, int] = 0 if shared is None else (0, shared + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers that are always missing
        lower, centre, upper = np.nanquantile(rows, [0.25, 0.5, 0.75], axis=axes, keepdims=True)
        width = (upper - lower) / _QUARTILES
        heavy = (width > 0) & (np.nanstd(rows, axis=axes, keepdims=True) > _HEAVY * width)
    if not heavy.any():
        return None
    kept = np.where(heavy, np.stack([centre, width]), 0.0)
    return np.broadcast_to(kept, (2, 1, *x.shape[1:]))[:, 0].copy()


@dataclass(frozen=True)
class ParameterTransform:
    """Parameters to and from an unconstrained, standardised space.

    Attributes:
        bounds: Lower and upper bounds, infinite where there is none, shape (D, 2).
        mean: Mean of the unconstrained parameters, shape (K,).
        scale: Their standard deviation, shape (K,).
        support: What constrains them beside their bounds; None for nothing, when K = D.
    """

    bounds: Array
    mean: Array
    scale: Array
    support: Support | None = None

    @classmethod
    def plain(cls, bounds: Array, support: Support | None = None) -> ParameterTransform:
        """Returns the transform that removes the bounds and standardises nothing."""
        k = len(support.kept) if support else len(bounds)
        return cls(np.asarray(bounds, float), np.zeros(k), np.ones(k), support)

    @classmethod
    def fit(cls, theta: Array, bounds: Array, support: Support | None = None) -> ParameterTransform:
        """Returns the transform that standardises theta (N, D) after its bounds are removed.

        Raises:
            TrainingError: If a parameter lies outside its bounds or does not vary.
        """
        require_shape("bounds", bounds, theta.shape[1], 2)
        plain = cls.plain(bounds, support)
        plain.require_inside(theta)
        u, _ = plain.forward(theta)
        scale = u.std(axis=0)
        if not (scale > 0).all():
            raise TrainingError(
                f"theta: parameter number {int(np.argmin(scale))} takes one value only in {len(theta)} rows; "
                "remove it from the task or simulate more."
            )
        mean = u.mean(axis=0)
        if support:
            whole = np.array(support.cells) > 0
            mean, scale = np.where(whole, 0.0, mean), np.where(whole, 1.0, scale)
        return cls(plain.bounds, mean, scale, support)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What removes the bounds of each parameter: `none`, `log`, `logit`, or its kind of constraint."""
        names = ("none", "log", "logit")
        kinds = [names[int(n)] for n in np.isfinite(self.bounds).sum(axis=1)]
        for constraint in self.support.constraints if self.support else ():
            for name in constraint.names:
                kinds[self.support.names.index(name)] = constraint.kind  # type: ignore[union-attr]
        return tuple(kinds)

    def inside(self, theta: Array) -> Array:
        """Whether theta (..., D) lies strictly inside the bounds and all constraints, shape (...)."""
        bounds, of = (self.bounds, theta) if not self.support else self._of_plain(theta)
        inside = np.all((of > bounds[:, 0]) & (of < bounds[:, 1]), axis=-1)
        return inside & self.support.inside(theta) if self.support else inside

    def _of_plain(self, theta: Array) -> tuple[Array, Array]:
        """Bounds and values of the parameters without constraints."""
        assert self.support is not None
        return self.bounds[self.support.plain], theta[..., self.support.plain]

    def require_inside(self, theta: Array) -> None:
        """Raises TrainingError unless all theta (N, D) lie strictly inside the bounds."""
        outside = ~self.inside(theta)
        if outside.any():
            row = int(np.argmax(outside))
            raise TrainingError(
                f"theta: expected all parameters strictly inside their bounds, got {int(outside.sum())} of "
                f"{len(theta)} rows outside, the first being row {row}: {theta[row]}; "
                "widen the bounds or mend the prior."
            )

    def forward(self, theta: Array) -> tuple[Array, Array]:
        """Returns z (..., D) and log |dz/dtheta| (...), which is -inf outside the bounds (z is then 0)."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 1), len(self.bounds))
        inside = self.inside(theta)
        u = theta.copy()
        slope = np.ones_like(theta)
        for j, (lower, upper) in enumerate(self.bounds):
            u[..., j], slope[..., j] = unbounded(theta[..., j], lower, upper)
        log_jacobian = np.log(np.where(inside[..., None], slope, 1.0))
        if self.support:
            u, log_jacobian = self.support.forward(theta, u, log_jacobian)
        z = np.where(inside[..., None], (u - self.mean) / self.scale, 0.0)
        log_slope = (log_jacobian - np.log(self.scale)).sum(axis=-1)
        return z, np.where(inside, log_slope, -np.inf)

    def inverse(self, z: Array) -> Array:
        """Returns theta (..., D) of z (..., K), always strictly inside the bounds and all constraints."""
        u = np.asarray(z, float) * self.scale + self.mean
        theta: Array = np.empty((*u.shape[:-1], len(self.bounds)))
        latent = dict(zip(self.support.kept, range(u.shape[-1]), strict=True)) if self.support else None
        for j in range(len(self.bounds)) if self.support is None else self.support.plain:
            theta[..., j] = bounded(u[..., j if latent is None else latent[j]], *self.bounds[j])
        return theta if self.support is None else self.support.inverse(u, theta)

    def arrays(self) -> dict[str, Array]:
        """Returns the statistics by name."""
        return {"parameters.mean": self.mean, "parameters.scale": self.scale}

    @classmethod
    def from_arrays(
        cls, bounds: Array, arrays: Mapping[str, Array], support: Support | None = None
    ) -> ParameterTransform:
        """Returns the transform whose statistics `arrays` returned."""
        mean, scale = np.asarray(arrays["parameters.mean"]), np.asarray(arrays["parameters.scale"])
        return cls(np.asarray(bounds, float), mean, scale, support)


def _chunks(x: Array) -> list[Array]:
    if not len(x):
        raise ShapeError("x: expected at least one row, got none.")
    return [x[first : first + _CHUNK] for first in range(0, len(x), _CHUNK)]


def _compress(x: Array, kind: str, tails: Array | None) -> Array:
    """Applies what comes before the mean and the scale, in float64."""
    x = np.asarray(x, float)
    if tails is not None:
        centre, width = tails
        heavy, whole = width > 0, np.where(width > 0, width, 1.0)
        return np.where(heavy, centre + whole * np.arcsinh((x - centre) / whole), x)
    if kind in ("none", "auto", "squash"):
        return x
    if kind == "asinh":
        return np.arcsinh(x)
    if (x <= 0).any():
        raise DataError(
            f"x: inputs.transform 'log' expects positive numbers, got {float(np.nanmin(x)):g}; "
            "choose 'asinh' or 'none'."
        )
    return np.log(x)
