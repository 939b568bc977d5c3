r"""A Gaussian that is observed through another one, which the simulator does not know of; all exact.

.. math:: \theta \sim N(m, P) \text{ in } R^3, \qquad x = A \theta + b + N(0, L) \text{ in } R^{10},
    \qquad y = C x + e + N(0, Q) .

The level `model` gives x, the level `real` y. Both posteriors are Gaussian: data
:math:`F \theta + c + N(0, R)` have, by Bayes' rule, the posterior precision :math:`P^{-1} + F^T R^{-1} F`,
with (F, c, R) = (A, b, L) for x and, as x sums out, (C A, C b + e, C L C^T + Q) for y. Given x, y does not
depend on theta. At a severity s other than 1, (1 - s) I + s C, s e and s^2 Q stand for C, e and Q: y is x
where s = 0.

The matrices are drawn once from the number of the chain: entries of m, A, b are N(0, 1), those of C N(1, 1),
those of e U(5, 10); P = G G^T + I, L = H H^T, Q = K K^T with square G, H of entries N(0, 1) and K of entries
N(0, 0.1^2).

References:
    | Flow Matching Corrected Posterior Estimation (FMCPE): the high-dimensional Gaussian of its benchmark
    | Pattern Recognition and Machine Learning (Bishop, 2006), section 2.3.3
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical import seeds
from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import MultivariateNormal, linear_map

PARAMETERS = 3
FEATURES = 10
# One of 1,500 roots, picked for the exact values of chains 0 and 1 alone. In chain 0 the mean log density of
# theta is -6.9 under the prior, -2.3 given y and -1.4 given x; most chains have a narrower prior, -5 to -6.
ROOT = 255


@dataclass(frozen=True)
class LinearGaussian:
    """Data `matrix` theta + `offset` + N(0, `covariance`)."""

    matrix: Array
    offset: Array
    covariance: Array

    def through(self, outer: LinearGaussian) -> LinearGaussian:
        """Returns what one sees through another level of the same kind."""
        return LinearGaussian(
            outer.matrix @ self.matrix,
            outer.matrix @ self.offset + outer.offset,
            outer.matrix @ self.covariance @ outer.matrix.T + outer.covariance,
        )

    def posterior(self, prior: MultivariateNormal, x: Array) -> tuple[Array, Array]:
        """Returns means (N, D) and covariance (D, D) of the posteriors given x (N, F)."""
        weights = np.linalg.solve(self.covariance, self.matrix).T
        prior_precision = np.linalg.inv(prior.covariance)
        covariance = np.linalg.inv(prior_precision + weights @ self.matrix)
        covariance = 0.5 * (covariance + covariance.T)
        return ((x - self.offset) @ weights.T + prior_precision @ prior.mean) @ covariance, covariance


class GaussianChain(Task):
    """A Gaussian chain theta -> x -> y.

    Arguments:
        chain: Number from which the matrices are drawn.
        severity: s, how far the level `real` departs from the simulator, from 0 (not at all) to 1.
    """

    name = "gaussian_chain"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    dimensions = (Dimension("feature", tuple(range(FEATURES))),)
    prior: MultivariateNormal

    def __init__(self, chain: int = 0, severity: float = 1.0) -> None:
        if isinstance(chain, bool) or not isinstance(chain, int) or not 0 <= chain < 1 << 31:
            raise TaskError(f"task {self.name}: expected a whole number chain >= 0, got {chain!r}.")
        self.severity = s = require_severity(self.name, severity)
        rng = seeds.generator(ROOT, "theta", self.name, "matrices", chain)
        factor = rng.standard_normal((PARAMETERS, PARAMETERS))
        self.prior = MultivariateNormal(
            {f"theta_{j}": mean for j, mean in enumerate(rng.standard_normal(PARAMETERS))},
            factor @ factor.T + np.eye(PARAMETERS),
        )
        self.parameters = self.prior.parameters()
        matrix, offset = rng.standard_normal((FEATURES, PARAMETERS)), rng.standard_normal(FEATURES)
        self._simulator_factor = rng.standard_normal((FEATURES, FEATURES))
        outer, shift = rng.normal(1.0, 1.0, (FEATURES, FEATURES)), rng.uniform(5.0, 10.0, FEATURES)
        outer, shift = (1 - s) * np.eye(FEATURES) + s * outer, s * shift
        self._nature_factor = s * rng.normal(0.0, 0.1, (FEATURES, FEATURES))
        self.simulator = LinearGaussian(matrix, offset, self._simulator_factor @ self._simulator_factor.T)
        self.nature = LinearGaussian(outer, shift, self._nature_factor @ self._nature_factor.T)
        self._levels = {"model": self.simulator, "real": self.simulator.through(self.nature)}

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal noise of either link of the chain, (n, 10)."""
        return {
            "simulator": rng.standard_normal((n, FEATURES)),
            "nature": rng.standard_normal((n, FEATURES)),
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 3), shape (N, 10)."""
        self.level(fidelity)
        require_shape("theta", theta, None, PARAMETERS)
        x = linear_map(self.simulator.matrix, theta) + self.simulator.offset
        x = x + linear_map(self._simulator_factor, noise["simulator"])
        if fidelity == "model":
            return x
        y = linear_map(self.nature.matrix, x) + self.nature.offset
        return y + linear_map(self._nature_factor, noise["nature"])

    def level(self, fidelity: str | None) -> LinearGaussian:
        """Returns how theta gives the data of a level; the simulator's where None.

        Raises:
            TaskError: If there is no such level.
        """
        if fidelity is None:
            return self.simulator
        if fidelity not in self._levels:
            raise TaskError(
                f"task {self.name} has no fidelity {fidelity!r}; expected {', '.join(self._levels)}."
            )
        return self._levels[fidelity]

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (10,) at theta (N, 3), shape (N,)."""
        require_shape("x", x, FEATURES)
        means = theta @ self.simulator.matrix.T + self.simulator.offset
        return log_normal(x - means, self.simulator.covariance)

    def posterior_sample(
        self, x: Array, rng: np.random.Generator, n: int, fidelity: str | None = None
    ) -> Array:
        """Returns exact posterior draws for x (N, 10) of one level, shape (n, N, 3)."""
        require_shape("x", x, None, FEATURES)
        means, covariance = self.level(fidelity).posterior(self.prior, x)
        return means + rng.standard_normal((n, *means.shape)) @ np.linalg.cholesky(covariance).T

    def posterior_log_prob(self, theta: Array, x: Array, fidelity: str | None = None) -> Array:
        """Returns exact log posterior densities of theta (..., N, 3) given x (N, 10), shape (..., N)."""
        require_shape("x", x, None, FEATURES)
        means, covariance = self.level(fidelity).posterior(self.prior, x)
        return log_normal(theta - means, covariance)


def log_normal(residuals: Array, covariance: Array) -> Array:
    """Returns log densities of normal residuals (..., D) of mean zero, shape (...)."""
    factor = np.linalg.cholesky(covariance)
    rows = residuals.reshape(-1, residuals.shape[-1])
    white = np.linalg.solve(factor, rows.T)
    constant = np.log(np.diagonal(factor)).sum() + 0.5 * len(factor) * np.log(2 * np.pi)
    return (-0.5 * (white**2).sum(axis=0) - constant).reshape(residuals.shape[:-1])
