r"""Fits of template-adapted mixtures: the minimum, its sandwich covariance and the profile of the fraction.

With L of `veridical.inference.adapted` and A its Hessian at the minimum, three independent samples scatter
its gradient, each about its own mean. With n events and scores :math:`\psi` in a sample,

.. math:: V = A^{-1} (B_\mathrm{data} + B_\mathrm{ref} + B_\mathrm{pen}) A^{-1}, \qquad
    B = n \, \mathrm{Cov}[\psi], \qquad \sigma^2 = V_{00} .

The covariance C of what the log ratios were fitted with adds :math:`A^{-1} Q C Q^T A^{-1}` (see
`veridical.inference.adapted_ratios`). The ridge counts as no noise: what it decides has a small error and a
bias, and `ridge_share` and `ridge_pull` say how much is its doing. Twice the rise of L, minimised over all
else, and scaled to the variance at hand, gives signed roots:

.. math:: z(\kappa_0) = \mathrm{sign}(\hat\kappa - \kappa_0)
    \sqrt{2 [\min_\nu L(\kappa_0, \nu) - L(\hat\theta)] \, (A^{-1})_{00} / \sigma^2} .

References:
    | The behavior of maximum likelihood estimates under nonstandard conditions (Huber, 1967)
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026)
    | https://arxiv.org/abs/2604.02219
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, optimize

from veridical.errors import DataError
from veridical.inference.adapted import Objective
from veridical.inference.damped_newton import Minimum, minimise
from veridical.tasks.base import Array

STARTS = (0.1, 0.02, 0.3)  # fractions that the search begins with
SAME = 1e-6  # of L: minima no further apart are one
SAMPLES = ("data", "reference", "penalty")
SOURCES = (*SAMPLES[1:], "ratio")  # of what is simulated
LOOSE = 1e-3  # the ridge that another is compared with


@dataclass(frozen=True)
class AdaptedFit:
    """A template-adapted mixture at its minimum.

    Attributes:
        objective: What was minimised.
        theta: (kappa, a_s, w_1.., a_b, v_1..), shape (P,).
        value: L there.
        hessian: A, shape (P, P).
        samples: Covariance from data, reference and penalty sample, shape (3, P, P).
        from_ratios: Covariance from the error of the log ratios, shape (P, P); 0 where none is given.
        minima: L where each start led to, infinite where to no minimum, in the order of the starts.
        steps: Newton steps, of all starts.
    """

    objective: Objective
    theta: Array
    value: float
    hessian: Array
    samples: Array
    from_ratios: Array
    minima: Array
    steps: int

    @property
    def kappa(self) -> float:
        """The fraction of signal; may lie outside of [0, 1]."""
        return float(self.theta[0])

    @property
    def covariance(self) -> Array:
        """V, with the error of the log ratios, shape (P, P)."""
        covariance: Array = self.samples.sum(axis=0) + self.from_ratios
        return covariance

    @property
    def statistical(self) -> float:
        """Standard error of the fraction from the three samples."""
        return float(np.sqrt(self.samples[:, 0, 0].sum()))

    @property
    def ratio(self) -> float:
        """Standard error of the fraction from the log ratios."""
        return float(np.sqrt(self.from_ratios[0, 0]))

    @property
    def observed(self) -> float:
        """Standard error of the fraction from the finite number of data alone."""
        return float(np.sqrt(self.samples[0, 0, 0]))

    @property
    def simulated(self) -> float:
        """Standard error from all that is simulated: reference, penalty sample and log ratios."""
        return float(np.sqrt(self.samples[1:, 0, 0].sum() + self.from_ratios[0, 0]))

    @property
    def sources(self) -> dict[str, float]:
        """Standard errors that make up `simulated` in quadrature, by their source, one of `SOURCES`."""
        samples = np.sqrt(self.samples[1:, 0, 0]).tolist()
        return dict(zip(SOURCES, (*samples, self.ratio), strict=True))

    @property
    def sigma(self) -> float:
        """Standard error of the fraction, of all parts together."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def weights(self) -> tuple[Array, Array]:
        """The weights w (K_s,) and v (K_b,), each of sum 1."""
        return self.objective.weights(self.theta)

    @property
    def inverse(self) -> Array:
        """Inverse of A, shape (P, P)."""
        return _inverse(self.hessian)

    @property
    def ridge_share(self) -> float:
        """Share of the variance of the fraction that the ridge takes away; 1 where nothing else holds it.

        Compared with a ridge of 0.001, in the inverse Hessian at this minimum.
        """
        loose = self._loosened()[0]
        return 1.0 if loose is None else max(1 - float(self.inverse[0, 0] / loose[0, 0]), 0.0)

    @property
    def ridge_pull(self) -> float:
        """How far the ridge has moved the fraction: minus the Newton step that a ridge of 0.001 allows.

        Infinite where nothing else holds it.
        """
        loose, gradient = self._loosened()
        return np.inf if loose is None else -float(loose[0] @ gradient)

    def _loosened(self) -> tuple[Array | None, Array]:
        """Inverse of the Hessian with a small ridge, if that is positive definite, and what it lets go."""
        objective = self.objective
        strengths = (min(objective.ridge[0], LOOSE), min(objective.ridge[1], LOOSE))
        gradient, hessian = objective.ridge_derivatives(self.theta)
        left, curvature = objective.ridge_derivatives(self.theta, strengths)
        loose = self.hessian - hessian + curvature
        held = float(np.linalg.eigvalsh(loose)[0]) > 0
        return (_inverse(loose) if held else None), gradient - left

    @property
    def ambiguous(self) -> bool:
        """Whether starts led to different minima, or to none."""
        return bool(np.ptp(self.minima) > SAME) if np.isfinite(self.minima).all() else True

    def with_ratios(self, mixed: Array, covariance: Array) -> AdaptedFit:
        """Returns the fit with Q C Q^T as part of its error, Q (P, W) and C (W, W)."""
        lever = self.inverse @ mixed
        return replace(self, from_ratios=lever @ covariance @ lever.T)


def fit(objective: Objective, starts: Sequence[float] = STARTS) -> AdaptedFit:
    """Returns the lowest of the minima that a search from each of these fractions leads to.

    From each, all else is fitted to the fraction as it is first, then together with it.

    Raises:
        DataError: If no start leads to a minimum.
    """
    found: list[Minimum | None] = []
    reason: DataError | None = None
    for kappa in starts:
        try:
            near = _at_fraction(objective, objective.start(kappa), kappa)
            joint = minimise(objective.value, objective.derivatives, near.at)
            found.append(replace(joint, steps=near.steps + joint.steps))
        except DataError as error:
            found.append(None)
            reason = error
    kept = [minimum for minimum in found if minimum is not None]
    if not kept:
        raise DataError(
            f"adapted mixture: no start of {', '.join(f'{kappa:g}' for kappa in starts)} leads to a minimum "
            f"({reason}); use fewer templates, a larger ridge or more events."
        ) from reason
    minima = [np.inf if minimum is None else minimum.value for minimum in found]
    return _described(objective, min(kept, key=lambda m: m.value), minima, sum(m.steps for m in kept))


def _described(objective: Objective, found: Minimum, minima: Sequence[float], steps: int) -> AdaptedFit:
    inverse = _inverse(found.hessian)
    parts = []
    for shapes, scores in zip(objective.shapes, objective.scores(found.at), strict=True):
        centred = scores - shapes.counts @ scores / shapes.number
        parts.append(inverse @ (centred.T @ (centred * shapes.counts[:, None])) @ inverse)
    return AdaptedFit(
        objective=objective,
        theta=found.at,
        value=found.value,
        hessian=found.hessian,
        samples=np.stack(parts),
        from_ratios=np.zeros_like(inverse),
        minima=np.asarray(minima, float),
        steps=steps,
    )


def _inverse(hessian: Array) -> Array:
    inverse: Array = linalg.inv(hessian, assume_a="pos")
    return (inverse + inverse.T) / 2


def _at_fraction(objective: Objective, theta: Array, kappa: float) -> Minimum:
    """Everything else fitted to one fraction; the point that is returned holds that too."""

    def whole(rest: Array) -> Array:
        return np.concatenate([[kappa], rest])

    def derivatives(rest: Array) -> tuple[Array, Array]:
        gradient, hessian = objective.derivatives(whole(rest))
        return gradient[1:], hessian[1:, 1:]

    found = minimise(lambda rest: objective.value(whole(rest)), derivatives, theta[1:])
    return replace(found, at=whole(found.at))


class Profile:
    """Signed roots of the likelihood ratio of a fit; each search begins where its neighbour ended."""

    def __init__(self, fit: AdaptedFit) -> None:
        self.fit = fit
        self.known: dict[float, Array] = {fit.kappa: fit.theta}
        self.response = -np.linalg.solve(fit.hessian[1:, 1:], fit.hessian[1:, 0])
        self.factor = float(fit.inverse[0, 0]) / fit.sigma**2

    def z(self, kappa: float) -> float:
        """Returns z at one fraction: positive below the estimate.

        Raises:
            DataError: If no shapes fit the data there.
        """
        if kappa == self.fit.kappa:
            return 0.0
        near = min(self.known, key=lambda other: abs(other - kappa))
        theta = self.known[near].copy()
        theta[1:] += self.response * (kappa - near)
        objective = self.fit.objective
        if not np.isfinite(objective.value(np.append(kappa, theta[1:]))):
            theta = objective.start(kappa)
        found = _at_fraction(objective, theta, kappa)
        self.known[kappa] = found.at
        rise = max(found.value - self.fit.value, 0.0)
        return float(np.sign(self.fit.kappa - kappa) * np.sqrt(2 * rise * self.factor))

    @property
    def ends(self) -> tuple[float, float]:
        """Where the profile ends: 0 and 1, or the estimate beyond; a density may be negative outside."""
        return min(0.0, self.fit.kappa), max(1.0, self.fit.kappa)

    def limit(self, z: float) -> float:
        """Returns the fraction at which the signed root is z, above the estimate for negative z.

        Where the root stays below as far as the profile goes, its end.
        """
        if z == 0:
            return self.fit.kappa
        end, far, near = self.ends[int(z < 0)], self.fit.kappa - z * self.fit.sigma, self.fit.kappa
        while (far - end) * z > 0 and abs(self.z(far)) < abs(z):
            near, far = far, far + 0.5 * (far - self.fit.kappa)
        if (far - end) * z <= 0:
            if abs(self.z(end)) <= abs(z):
                return end
            far = end
        tolerance = 1e-4 * self.fit.sigma
        return float(optimize.brentq(lambda kappa: self.z(kappa) - z, near, far, xtol=tolerance))


def scan(objective: Objective, ridges: Sequence[float], starts: Sequence[float] = STARTS) -> list[AdaptedFit]:
    """Returns fits with other ridges, the same for both classes: what the fraction owes to that choice."""
    return [fit(replace(objective, ridge=(ridge, ridge)), starts) for ridge in ridges]
