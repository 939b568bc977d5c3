r"""A mixture of two classes whose shapes are adapted from templates of wrong simulators; numpy, float64.

No simulator has the density s of the signal or b of the background right, but each of several has a density
of its own. What is known of an event are the log ratios g_k of these *templates* to one reference, the pool
of all simulations. A class is a log-linear combination of its templates; with u the ratio of its density to
the reference,

.. math:: u_s = e^{a_s} \prod_k e^{w_k g_k}, \quad u_b = e^{a_b} \prod_k e^{v_k g'_k}, \quad
    \sum_k w_k = \sum_k v_k = 1, \quad \rho = \kappa u_s + (1 - \kappa) u_b .

Weights may be negative. The data, N events, choose them together with the fraction, by the least

.. math:: L = -\sum_\mathrm{data} \log \rho + \frac{N}{N_r} \sum_\mathrm{ref} (\rho - 1)
    + \frac{c N}{2} \delta^2 + \frac{\lambda_s}{2} |w - 1/K_s|^2 + \frac{\lambda_b}{2} |v - 1/K_b|^2,
    \qquad \delta = \mathrm{mean}_\mathrm{pen} (u_b - u_s) .

The first two terms fix the integral of rho alone, and know kappa only in products with the scales of u. The
third makes the two integrals equal, so that kappa is the fraction; it acts where all else is flat, so that
:math:`\delta = 0` at the minimum for any c > 0. The last two, the *ridge*, hold what similar templates leave
undetermined. L is a sum over events, never a mean: lambda is compared with the information of all of them.

With K_s = K_b = 1 and templates that are right this is the mixture fit of known shapes.

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026)
    | https://arxiv.org/abs/2604.02219
    | Learning New Physics from a Machine (D'Agnolo, Wulzer, 2018)
    | https://arxiv.org/abs/1806.02350
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from veridical.errors import DataError, require_shape
from veridical.tasks.base import Array

CONSTRAINT = 1.0  # c; its size does not matter at the minimum
PART = 4000  # events whose columns stay in the cache: twice as fast as 30,000 at once


@dataclass(frozen=True)
class Templates:
    """Log ratios of all templates to the reference, at distinct events.

    Attributes:
        signal: g, those of the signal, shape (N, K_s).
        background: g', those of the background, shape (N, K_b).
        counts: How many events coincide there, shape (N,).
    """

    signal: Array
    background: Array
    counts: Array

    def __post_init__(self) -> None:
        require_shape("signal", self.signal, len(self.counts), None)
        require_shape("background", self.background, len(self.counts), None)
        finite = np.isfinite(self.signal).all() and np.isfinite(self.background).all()
        if not (len(self.counts) and self.signal.shape[1] and self.background.shape[1] and finite):
            raise DataError(
                "templates: expected events at which the log ratios of at least one template of each class "
                f"are finite numbers, got {self.signal.shape[1]} of the signal and "
                f"{self.background.shape[1]} of the background at {len(self.counts)} events"
                f"{'' if finite else ', some of them not finite'}; see the network."
            )

    @classmethod
    def of(cls, signal: Array, background: Array, counts: Array | None = None) -> Templates:
        """Returns templates with these log ratios; each event once where no counts are given."""
        signal, background = np.asarray(signal, float), np.asarray(background, float)
        return cls(signal, background, np.ones(len(signal)) if counts is None else np.asarray(counts, float))

    @property
    def total(self) -> float:
        """Number of events."""
        return float(self.counts.sum())


class Densities(NamedTuple):
    """The model at events, relative to the reference: kappa, and u_s, u_b and rho, shape (N,) each."""

    kappa: float
    signal: Array
    background: Array
    total: Array


class Shapes:
    """The log-linear model at events; parameters are (kappa, a_s, w_1.., a_b, v_1..), P = 1 + K_s + K_b.

    The last weight of each class is one minus the others.
    """

    def __init__(self, templates: Templates) -> None:
        self.counts, self.number = templates.counts, templates.total
        self.offsets = templates.signal[:, -1], templates.background[:, -1]
        self.designs = _design(templates.signal), _design(templates.background)
        k = 1 + templates.signal.shape[1]
        self.slices = slice(1, k), slice(k, k + templates.background.shape[1])
        self.size = self.slices[1].stop
        self._last: tuple[bytes, Densities] | None = None

    def at(self, theta: Array) -> Densities:
        """Returns the model at parameters (P,); that of the last ones is kept."""
        if self._last is None or self._last[0] != theta.tobytes():
            kappa = float(theta[0])
            parts = zip(self.offsets, self.designs, self.slices, strict=True)
            s, b = (np.exp(offset + design @ theta[part]) for offset, design, part in parts)
            self._last = theta.tobytes(), Densities(kappa, s, b, kappa * s + (1 - kappa) * b)
        return self._last[1]

    def gradients(self, at: Densities) -> Array:
        """Returns the gradient of rho at each event, shape (N, P)."""
        signal, background = at.kappa * at.signal, (1 - at.kappa) * at.background
        columns = ((at.signal - at.background)[:, None], signal[:, None] * self.designs[0])
        return np.concatenate([*columns, background[:, None] * self.designs[1]], axis=1)

    def curvature(self, at: Densities, weights: Array) -> Array:
        """Returns the sum over rows of weights (N,) times the Hessian of rho, shape (P, P)."""
        out = np.zeros((self.size,) * 2)
        sides = ((at.signal, 1.0, at.kappa), (at.background, -1.0, 1 - at.kappa))
        for design, part, (u, sign, share) in zip(self.designs, self.slices, sides, strict=True):
            block = _weighed(design, weights * u)  # its first row are sums
            out[0, part] = out[part, 0] = sign * block[0]
            out[part, part] = share * block
        return out

    def slope(self, curvature: Array) -> Array:
        """Returns the sum over rows of weights times the gradient of rho (P,), from that of its Hessian."""
        out = np.zeros(self.size)
        for part in self.slices:
            out[0] += curvature[0, part.start]
            out[part] = curvature[part.start, part]
        return out

    def gap(self, at: Densities) -> tuple[float, Array, Array]:
        """Returns delta, the mean of u_b - u_s, with its gradient (P,) and Hessian (P, P)."""
        gradient, hessian = np.zeros(self.size), np.zeros((self.size,) * 2)
        for design, part, u, sign in zip(self.designs, self.slices, at[1:3], (-1, 1), strict=True):
            block = _weighed(design, sign * self.counts * u / self.number)
            gradient[part], hessian[part, part] = block[0], block
        return self.mean(at.background - at.signal), gradient, hessian

    def mean(self, values: Array) -> float:
        """Returns the mean over events of values (N,)."""
        return float(self.counts @ values / self.number)


def log_ratio(shapes: Shapes, theta: Array) -> Array:
    """Returns log u_s - log u_b at the events of the shapes, shape (N,)."""
    signal, background = (
        offset + design @ theta[part]
        for offset, design, part in zip(shapes.offsets, shapes.designs, shapes.slices, strict=True)
    )
    return np.asarray(signal - background)


@dataclass(frozen=True)
class Objective:
    """L with its exact derivatives.

    Attributes:
        data: Templates at the events whose fraction is asked for.
        reference: At events of the reference.
        penalty: At further events of the reference, independent of those.
        ridge: lambda_s and lambda_b.
    """

    data: Templates
    reference: Templates
    penalty: Templates
    ridge: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("reference", "penalty"):
            sample: Templates = getattr(self, name)
            require_shape(f"signal templates of the {name}", sample.signal, None, self.data.signal.shape[1])
            width = self.data.background.shape[1]
            require_shape(f"background templates of the {name}", sample.background, None, width)
        if not (min(self.ridge) >= 0 and np.isfinite(self.ridge).all()):
            raise DataError(f"ridge: expected two numbers of at least 0, got {self.ridge}.")

    @cached_property
    def shapes(self) -> tuple[Shapes, Shapes, Shapes]:
        """The model at data, reference and penalty sample."""
        return Shapes(self.data), Shapes(self.reference), Shapes(self.penalty)

    @property
    def size(self) -> int:
        """Number P of the parameters."""
        return self.shapes[0].size

    @property
    def scale(self) -> float:
        """N / N_r."""
        return self.data.total / self.reference.total

    def start(self, kappa: float) -> Array:
        """Returns parameters (P,) of equal weights, each class of norm 1 on the reference."""
        theta = np.zeros(self.size)
        theta[0] = kappa
        shapes = self.shapes[1]
        for part in shapes.slices:
            theta[part.start + 1 : part.stop] = 1 / (part.stop - part.start)
        at = shapes.at(theta)
        for part, u in zip(shapes.slices, at[1:3], strict=True):
            theta[part.start] = -np.log(shapes.mean(u))
        return theta

    def weights(self, theta: Array) -> tuple[Array, Array]:
        """Returns w (K_s,) and v (K_b,), the last ones included."""
        w, v = (theta[part][1:] for part in self.shapes[0].slices)
        return np.append(w, 1 - w.sum()), np.append(v, 1 - v.sum())

    def ridge_derivatives(
        self, theta: Array, strengths: tuple[float, float] | None = None
    ) -> tuple[Array, Array]:
        """Returns the gradient (P,) and the Hessian (P, P) of the ridge, of other strengths where given."""
        gradient, hessian = np.zeros(self.size), np.zeros((self.size,) * 2)
        parts = zip(self.shapes[0].slices, self.weights(theta), strengths or self.ridge, strict=True)
        for part, weights, strength in parts:
            k, inner = len(weights) - 1, slice(part.start + 1, part.stop)
            gradient[inner] = strength * (weights[:-1] - weights[-1])
            hessian[inner, inner] = strength * (np.eye(k) + np.ones((k, k)))
        return gradient, hessian

    def value(self, theta: Array) -> float:
        """Returns L; infinite where rho is not positive at all data, or overflows."""
        data, reference, penalty = self.shapes
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            fit = -float(data.counts @ np.log(data.at(theta).total))
            mass = self.scale * float(reference.counts @ (reference.at(theta).total - 1))
            at = penalty.at(theta)
            gap = penalty.mean(at.background - at.signal)
            total = fit + mass + 0.5 * CONSTRAINT * data.number * gap**2
        for weights, strength in zip(self.weights(theta), self.ridge, strict=True):
            total += 0.5 * strength * float(np.sum((weights - 1 / len(weights)) ** 2))
        return total if np.isfinite(total) else np.inf

    def derivatives(self, theta: Array) -> tuple[Array, Array]:
        """Returns the gradient (P,) and the Hessian (P, P) of L."""
        data, reference, penalty = self.shapes
        at, at_reference = data.at(theta), reference.at(theta)
        relative = data.gradients(at) / at.total[:, None]
        gradient, hessian = self.ridge_derivatives(theta)
        gradient -= data.counts @ relative
        hessian += relative.T @ (relative * data.counts[:, None])
        hessian -= data.curvature(at, data.counts / at.total)
        bend_of_mass = reference.curvature(at_reference, self.scale * reference.counts)
        gradient += reference.slope(bend_of_mass)
        hessian += bend_of_mass
        gap, slope, bend = penalty.gap(penalty.at(theta))
        strength = CONSTRAINT * data.number
        gradient += strength * gap * slope
        hessian += strength * (np.outer(slope, slope) + gap * bend)
        return gradient, hessian

    def scores(self, theta: Array) -> tuple[Array, Array, Array]:
        """Returns what one event of data, reference and penalty sample adds to the gradient, shapes (N, P).

        That of the penalty sample is linear in the event, which holds where delta is 0.
        """
        data, reference, penalty = self.shapes
        at, at_penalty = data.at(theta), penalty.at(theta)
        slope = penalty.gap(at_penalty)[1]
        lever = CONSTRAINT * data.number / penalty.number * (at_penalty.background - at_penalty.signal)
        return (
            -data.gradients(at) / at.total[:, None],
            self.scale * reference.gradients(reference.at(theta)),
            np.outer(lever, slope),
        )


def _weighed(design: Array, weights: Array) -> Array:
    """Returns D^T diag(w) D of a design (N, P) and weights (N,), shape (P, P)."""
    out = np.zeros((design.shape[1],) * 2)
    for first in range(0, len(design), PART):
        part = design[first : first + PART]
        out += part.T @ (part * weights[first : first + PART, None])
    return out


def _design(log_ratios: Array) -> Array:
    """Columns that a scale and the free weights multiply, one after another: 1 and g_k - g_K."""
    columns = [np.ones((len(log_ratios), 1)), log_ratios[:, :-1] - log_ratios[:, -1:]]
    return np.asfortranarray(np.concatenate(columns, axis=1))
