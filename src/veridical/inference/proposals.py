r"""A density around one answer, to simulate at: near the observation, and nowhere the prior does not reach.

In coordinates without bounds, a normal is fitted to draws of the answer, its covariance C widened by
:math:`\kappa^2`, and multiplied by the normal of the prior's own moments, :math:`(m_0, C_0)`:

.. math:: \Sigma^{-1} = (\kappa^2 C)^{-1} + C_0^{-1}, \qquad
    \mu = \Sigma \, ((\kappa^2 C)^{-1} m + C_0^{-1} m_0) ,

cut to the support of the prior. For an answer that is narrow beside the prior this is the widened normal; for
one that is not, the product keeps its tails within those of the prior, so that weights stay bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError
from veridical.tasks.base import Array, Prior
from veridical.tasks.bijection import Bijection

PRIOR_DRAWS = 2_000
_TRIES = 100  # rounds of drawing before the support of the prior counts as missed
_RIDGE = 1e-9  # of each variance, for parameters that depend on each other exactly


class NoProposal(DataError):
    """No density around an answer can be simulated at."""


@dataclass(frozen=True)
class Proposal:
    """A normal in coordinates without bounds, cut to the support of a prior.

    Attributes:
        prior: The prior.
        bijection: Leads to those coordinates.
        mean: Shape (D,).
        factor: Lower triangular, factor times its transpose is the covariance; shape (D, D).
    """

    prior: Prior
    bijection: Bijection
    mean: Array
    factor: Array

    @classmethod
    def around(
        cls, draws: Array, bounds: Array, prior: Prior, widening: float, rng: np.random.Generator
    ) -> Proposal:
        """Returns the proposal around draws (S, D) of an answer.

        Arguments:
            draws: Of the answer, inside the bounds.
            bounds: Of the parameters, shape (D, 2).
            prior: The prior.
            widening: How many times the standard deviations of the answer.
            rng: Draws from the prior.

        Raises:
            NoProposal: If the draws do not differ, or are too few.
        """
        bijection = Bijection(bounds)
        z, z0 = (
            bijection.to_unconstrained(np.asarray(theta, float))
            for theta in (draws, prior.sample(rng, PRIOR_DRAWS))
        )
        z0 = z0[np.isfinite(z0).all(axis=1)]
        own, other = _precision(z, "the answer", widening), _precision(z0, "the prior", 1.0)
        covariance = np.linalg.inv(own + other)
        mean = covariance @ (own @ z.mean(axis=0) + other @ z0.mean(axis=0))
        return cls(prior, bijection, mean, np.linalg.cholesky((covariance + covariance.T) / 2))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n parameters (n, D).

        Raises:
            NoProposal: If nearly all lie outside the support of the prior.
        """
        kept: list[Array] = []
        for _ in range(_TRIES):
            z = self.mean + rng.standard_normal((n, len(self.mean))) @ self.factor.T
            theta = self.bijection.to_parameters(z)
            kept.append(theta[np.isfinite(self.prior.log_prob(theta))])
            if sum(map(len, kept)) >= n:
                return np.concatenate(kept)[:n]
        raise NoProposal(
            f"proposal: expected parameters within the prior, got {sum(map(len, kept))} among {_TRIES * n}; "
            "the answer lies where its prior has no mass, or parameters are discrete or tied to each other."
        )

    def log_weights(self, theta: Array) -> Array:
        """Returns log densities of theta (..., D) less those of the prior, up to a constant, shape (...)."""
        flat = theta.reshape(-1, theta.shape[-1])
        z = self.bijection.to_unconstrained(flat)
        with np.errstate(invalid="ignore"):
            scaled = (z - self.mean) @ np.linalg.inv(self.factor).T
            log_p = self.prior.log_prob(flat)
            log_w = -0.5 * (scaled**2).sum(axis=1) - self.bijection.log_jacobian(z) - log_p
        return np.where(np.isfinite(log_w), log_w, -np.inf).reshape(theta.shape[:-1])


def _precision(z: Array, what: str, widening: float) -> Array:
    """The inverse of the widened covariance of z (S, D)."""
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    variances = np.diag(covariance)
    if len(z) <= z.shape[1] or not (variances > 0).all():
        raise NoProposal(f"proposal: expected draws of {what} that differ, and more than parameters.")
    return np.linalg.inv(widening**2 * (covariance + _RIDGE * np.diag(variances)))
