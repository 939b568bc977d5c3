r"""A peak on a falling background in the plane of two masses, and K simulators that have both wrong.

Events lie in a square, :math:`90 < m_1, m_2 < 160` GeV; with :math:`t = (m - 125) / 15` the classes are

.. math:: s \propto N\!\left(m; \mu, \Sigma\right), \qquad
    b \propto \exp\!\left(-a_1 t_1 - a_2 t_2 + c \, t_1 t_2 + d \, (t_1^3 + t_2^3)\right) .

Nature's peak lies at (127, 126) GeV with widths 13 and 12.5 and correlation 0.08; its slopes are 0.5 and 0.5,
c = 0.03. Simulators draw an energy scale :math:`1 + 0.03 g` and one of each axis :math:`1 + 0.015 g` for a
peak at 125, widths :math:`12 e^{0.15 g} e^{0.08 g}` and a correlation 0.12 g, slopes 0.55 + 0.12 g and
0.45 + 0.12 g and c = 0.06 g, with standard normal g. None of them is nature, but products of powers of six of
them are any normal and any bilinear spectrum. So the `target` says what nature is:

- `in_span`: d = 0, as above; the log-linear mixture of six simulators can be exactly right;
- `tail`: a tenth of the signal lies around 112 GeV with a width of 16, slightly outside of the span;
- `cubic`: the background has d = 0.006, slightly outside, too;
- `failing`: the tail and d = 0.03, which a free signal takes for its own.

Densities are exact: they are normalised by a Gauss-Legendre rule whose error is that of the arithmetic.

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026), whose plane of two dijet masses this stands in for
    | https://arxiv.org/abs/2604.02219
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension
from veridical.tasks.biased_classes import BiasedClasses, accepted

WINDOW = (90.0, 160.0)
CENTRE, SCALE = 125.0, 15.0
TARGETS = {"in_span": (0.0, 0.0), "tail": (0.1, 0.0), "cubic": (0.0, 0.006), "failing": (0.1, 0.03)}
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)


class Shape(ABC):
    """A density in the window."""

    @abstractmethod
    def log_f(self, x: Array) -> Array:
        """Returns log densities at events x (..., 2) in GeV but for a constant, shape (...)."""

    @abstractmethod
    def propose(self, n: int, rng: np.random.Generator) -> Array:
        """Returns those of n proposals that are draws of the density, at most (n, 2)."""

    @cached_property
    def log_integral(self) -> float:
        """Log of the integral of exp(log_f) over the window."""
        half = 0.5 * (WINDOW[1] - WINDOW[0])
        axis = WINDOW[0] + half * (1 + _NODES)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
        return float(np.log(np.einsum("i,j,ij", half * _WEIGHTS, half * _WEIGHTS, np.exp(self.log_f(grid)))))

    def log_density(self, x: Array) -> Array:
        """Returns log densities per GeV^2 at events x (N, 2), shape (N,); -inf outside of the window."""
        inside = ((x >= WINDOW[0]) & (x <= WINDOW[1])).all(axis=-1)
        return np.where(inside, self.log_f(x) - self.log_integral, -np.inf)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws, shape (n, 2)."""
        return accepted("mass_plane", n, lambda size: self.propose(size, rng))


@dataclass(frozen=True)
class Peak(Shape):
    """A normal distribution cut to the window: means and widths in GeV, and a correlation."""

    mean: tuple[float, float]
    width: tuple[float, float]
    correlation: float = 0.0

    def log_f(self, x: Array) -> Array:
        """Returns the exponent of a normal density at x (..., 2), shape (...)."""
        z1, z2 = ((x[..., i] - self.mean[i]) / self.width[i] for i in (0, 1))
        r = self.correlation
        return np.asarray(-0.5 * (z1**2 - 2 * r * z1 * z2 + z2**2) / (1 - r**2))

    def propose(self, n: int, rng: np.random.Generator) -> Array:
        """Returns those of n normal draws that lie in the window."""
        z = rng.standard_normal((n, 2))
        z[:, 1] = self.correlation * z[:, 0] + np.sqrt(1 - self.correlation**2) * z[:, 1]
        x = np.asarray(self.mean) + z * self.width
        return x[((x > WINDOW[0]) & (x < WINDOW[1])).all(axis=1)]


@dataclass(frozen=True)
class Spectrum(Shape):
    """A falling spectrum: slopes, the product of both masses, and their cubes."""

    slopes: tuple[float, float]
    product: float = 0.0
    cubic: float = 0.0

    def log_f(self, x: Array) -> Array:
        """Returns the polynomial at x (..., 2), shape (...)."""
        t = (x - CENTRE) / SCALE
        return np.asarray(-t[..., 0] * self.slopes[0] - t[..., 1] * self.slopes[1] + self._rest(t))

    def _rest(self, t: Array) -> Array:
        return np.asarray(self.product * t[..., 0] * t[..., 1] + self.cubic * (t**3).sum(axis=-1))

    def propose(self, n: int, rng: np.random.Generator) -> Array:
        """Returns those of n draws of two exponentials that the rest of the polynomial keeps."""
        u, keep = rng.random((n, 2)), np.log(rng.random(n))
        low, high = ((edge - CENTRE) / SCALE for edge in WINDOW)
        rate = np.where(np.abs(self.slopes) < 1e-9, 1e-9, self.slopes)
        t = low - np.log1p(u * np.expm1(-rate * (high - low))) / rate
        reach = max(-low, high)
        most = abs(self.product) * reach**2 + 2 * abs(self.cubic) * reach**3
        return CENTRE + SCALE * t[keep < self._rest(t) - most]


@dataclass(frozen=True)
class Tailed(Shape):
    """A peak of which a share lies in another one."""

    peak: Peak
    tail: Peak
    share: float

    def log_f(self, x: Array) -> Array:
        """Returns the log density of the sum of both at x (..., 2), shape (...)."""
        log_peak, log_tail = self.peak.log_f(x), self.tail.log_f(x)
        return np.logaddexp(
            np.log1p(-self.share) + log_peak - self.peak.log_integral,
            np.log(self.share) + log_tail - self.tail.log_integral,
        )

    def propose(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws in random order."""
        in_tail = int(rng.binomial(n, self.share))
        both = [self.peak.draw(n - in_tail, rng), self.tail.draw(in_tail, rng)]
        return rng.permutation(np.concatenate(both), axis=0)


class MassPlane(BiasedClasses):
    """Signal and background events, two masses in GeV each.

    Arguments:
        target: What nature is: `in_span`, `tail`, `cubic` or `failing`.
        simulators: K, the number of simulators of each class; the first of them are the same for any K.
        family: Which draw of simulators these are.
    """

    name = "mass_plane"
    classes = ("signal", "background")
    dimensions = (Dimension("mass", ("m_1", "m_2"), "GeV", kind="vector"),)
    x_unit = "GeV"
    of_nature = ("target",)

    def __init__(self, target: str = "in_span", simulators: int = 6, family: int = 0) -> None:
        if target not in TARGETS:
            raise TaskError(f"task {self.name}: expected a target of {', '.join(TARGETS)}, got {target!r}.")
        self.require_family(simulators, family)
        tail, cubic = TARGETS[target]
        peak = Peak((127.0, 126.0), (13.0, 12.5), 0.08)
        signal = Tailed(peak, Peak((112.0, 112.0), (16.0, 16.0)), tail) if tail else peak
        self.target = target
        self._nature = dict(zip(self.classes, (signal, Spectrum((0.5, 0.5), 0.03, cubic)), strict=True))
        self._simulated = [self._simulator(k) for k in range(simulators)]

    def shape(self, cls: str, simulator: int | None = None) -> Shape:
        """Returns the density of a class, nature's or a simulator's."""
        self.require_class(cls, simulator)
        return self._nature[cls] if simulator is None else self._simulated[simulator][cls]

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns n of nature's events of one class, shape (n, 2)."""
        return self.shape(cls).draw(n, rng)

    def draw_simulated(self, n: int, rng: np.random.Generator, cls: str, simulator: int) -> Array:
        """Returns n events of one class as a simulator has them, shape (n, 2)."""
        return self.shape(cls, simulator).draw(n, rng)

    def log_density(self, x: Array, cls: str, simulator: int | None = None) -> Array:
        """Returns exact log densities per GeV^2 at events x (N, 2), shape (N,)."""
        require_shape("x", x, None, 2)
        return self.shape(cls, simulator).log_density(np.asarray(x, float))

    def log_ratio(self, x: Array) -> Array:
        """Returns nature's log s / b at events x (N, 2), shape (N,), beyond the window as if it went on."""
        require_shape("x", x, None, 2)
        s, b = (self._nature[cls] for cls in self.classes)
        x = np.asarray(x, float)
        return s.log_f(x) - s.log_integral - b.log_f(x) + b.log_integral

    def _simulator(self, k: int) -> dict[str, Shape]:
        g = self.generator(k).standard_normal(10)
        mean = CENTRE * (1 + 0.03 * g[0] + 0.015 * g[1:3])
        width = 12 * np.exp(0.15 * g[3] + 0.08 * g[4:6])
        slopes = np.array([0.55, 0.45]) + 0.12 * g[7:9]
        peak = Peak(_pair(mean), _pair(width), float(np.clip(0.12 * g[6], -0.9, 0.9)))
        return dict(zip(self.classes, (peak, Spectrum(_pair(slopes), float(0.06 * g[9]))), strict=True))


def _pair(values: Array) -> tuple[float, float]:
    first, second = values.tolist()
    return first, second
