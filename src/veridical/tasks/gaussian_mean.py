r"""The mean of a Gaussian of variance one, from the mean and the variance of n draws; nature scatters more.

.. math:: \mu \sim N(0, \tau^2), \qquad x_i \sim N(\mu, 1), \; i = 1, \dots, n, \qquad
    \mu \mid \bar x \sim N(r \bar x, r / n), \qquad r = \frac{n \tau^2}{n \tau^2 + 1} .

Data are the mean and the variance of the draws, which are independent: :math:`\bar x \sim N(\mu, 1/n)`, and
the sum of squares around it has a chi-squared distribution with n - 1 degrees of freedom. At the level `real`
and severity s

- all draws have the variance 1 + s (`wrong: variance`), so that the posterior is that above with (1 + s) / n
  in place of 1 / n;
- or each has the variance 4 with probability 0.2 s (`wrong: contamination`), of which no posterior is known.

References:
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022)
    | https://arxiv.org/abs/2210.06564
    | Misspecification-robust Sequential Neural Likelihood (Kelly et al., 2023): contaminated normal, with
    | `prior_sd: 10, unbiased: true, wrong: contamination`, https://arxiv.org/abs/2301.13368
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, require_severity
from veridical.tasks.known_variance import KnownVariance, log_normal
from veridical.tasks.priors import Normal, Product

SUMMARIES = ("mean", "variance")
WRONG = ("variance", "contamination")
CONTAMINATED, CONTAMINATION_SD = 0.2, 2.0


class GaussianMean(KnownVariance):
    """A mean from two summaries of draws whose scatter the simulator takes for known.

    Arguments:
        prior_sd: Standard deviation of the mean.
        repeats: n, the draws behind one row of data.
        unbiased: Whether the variance is divided by n - 1, and not by n.
        wrong: What the level `real` departs in: `variance` or `contamination`.
        severity: How far it does so, from 0 (the simulator is right) to 1.
    """

    name = "gaussian_mean"
    of_nature = ("severity",)
    wrong_variance, real_variance = "variance", 2.0
    dimensions = (Dimension("summary", SUMMARIES),)

    def __init__(
        self,
        prior_sd: float = 5.0,
        repeats: int = 100,
        unbiased: bool = False,
        wrong: str = "variance",
        severity: float = 1.0,
    ) -> None:
        if not (prior_sd > 0 and repeats >= 2):
            raise TaskError(
                f"task {self.name}: expected a positive prior_sd and repeats >= 2, got {prior_sd} and "
                f"{repeats}."
            )
        if wrong not in WRONG:
            raise TaskError(
                f"task {self.name}: expected wrong to be one of {', '.join(WRONG)}, got {wrong!r}."
            )
        self.prior = Product({"mean": Normal(0.0, prior_sd)})
        self.parameters = self.prior.parameters()
        self.prior_sd, self.repeats, self.divisor = prior_sd, repeats, repeats - unbiased
        self.wrong, self.severity = wrong, require_severity(self.name, severity)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standardised draws, and uniform numbers that contaminate some, (n, repeats)."""
        shape = (n, self.repeats)
        return {"observation": rng.standard_normal(shape), "contamination": rng.random(shape)}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 1), shape (N, 2)."""
        self._level(fidelity)
        require_shape("theta", theta, None, 1)
        deviations = noise["observation"]
        if fidelity == "real" and self.wrong == "variance":
            deviations = np.sqrt(self._variance(fidelity)) * deviations
        elif fidelity == "real":
            contaminated = noise["contamination"] < CONTAMINATED * self.severity
            deviations = np.where(contaminated, CONTAMINATION_SD, 1.0) * deviations
        centre = deviations.mean(axis=1, keepdims=True)
        variance = ((deviations - centre) ** 2).sum(axis=1) / self.divisor
        return np.stack([theta[:, 0] + centre[:, 0], variance], axis=1)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (2,) at theta (N, 1), shape (N,)."""
        require_shape("x", x, 2)
        half, squares = 0.5 * (self.repeats - 1), x[1] * self.divisor
        with np.errstate(divide="ignore", invalid="ignore"):
            log_p = (half - 1) * np.log(squares) - 0.5 * squares - half * np.log(2) - gammaln(half)
        log_p = log_p + np.log(self.divisor) if squares > 0 else -np.inf
        return log_normal(x[:1] - theta, 1 / self.repeats) + log_p

    def _posterior(self, x: Array, variance: float) -> tuple[Array, float]:
        require_shape("x", x, None, 2)
        noise = variance / self.repeats
        shrinkage = self.prior_sd**2 / (self.prior_sd**2 + noise)
        return shrinkage * x[:, :1], shrinkage * noise
