r"""A generalised linear model of spikes: a filter on white noise, a smooth prior, ten sufficient statistics.

.. math:: z_i \sim \mathrm{Bernoulli}(\operatorname{sigmoid}(v_i \cdot \theta)), \quad i = 1, ..., 100, \qquad
    x = \sum_i z_i v_i , \qquad v_i = (1, s_i, s_{i-1}, ..., s_{i-8}) ,

with a stimulus s of white noise that is the same in all simulations (zero before it begins). The prior is
normal: the offset has variance 2, the filter the precision :math:`F^T F` with
:math:`F_{ii} = 1 + \sqrt{(i - 1) / 9}, \; F_{i,i-1} = -2, \; F_{i,i-2} = 1`.

The stimulus is this package's own (the published one is a file), so that figures agree with published ones up
to what it decides. x holds all that z tells of theta.

References:
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021)
    | https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from veridical import seeds
from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import MultivariateNormal, linear_map

BINS, LAGS = 100, 9


class BernoulliGLM(Task):
    """Ten parameters, ten numbers.

    Arguments:
        stimulus: Seed of the stimulus.
    """

    name = "bernoulli_glm"
    fidelities = {"model": 1.0}  # noqa: RUF012
    dimensions = (Dimension("statistic", tuple(range(LAGS + 1))),)

    def __init__(self, stimulus: int = 1) -> None:
        names = ["offset", *(f"filter_{lag}" for lag in range(LAGS))]
        self.prior = MultivariateNormal(dict.fromkeys(names, 0.0), _covariance())
        self.parameters = self.prior.parameters()
        s = np.concatenate(
            [np.zeros(LAGS), seeds.generator(stimulus, "noise", self.name).standard_normal(BINS)]
        )
        lagged = [s[LAGS - lag : LAGS - lag + BINS] for lag in range(LAGS)]
        self.design = np.stack([np.ones(BINS), *lagged], axis=1)  # (100, 10)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns a uniform number for each bin, (n, 100)."""
        return {"spikes": rng.random((n, BINS))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 10), shape (N, 10)."""
        if fidelity != "model":
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model.")
        require_shape("theta", theta, None, LAGS + 1)
        spikes = noise["spikes"] < expit(linear_map(self.design, theta))
        return linear_map(self.design.T, spikes.astype(float))

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log p(x | theta), up to what theta does not change, for one x (10,) at theta (N, 10)."""
        require_shape("x", x, LAGS + 1)
        require_shape("theta", theta, None, LAGS + 1)
        return theta @ x - np.logaddexp(0, theta @ self.design.T).sum(axis=1)


def _covariance() -> Array:
    """Covariance (10, 10) of the prior."""
    difference = np.eye(LAGS) - np.eye(LAGS, k=-1)
    smooth = difference @ difference + np.diag(np.sqrt(np.arange(LAGS) / LAGS))
    found = np.zeros((LAGS + 1, LAGS + 1))
    found[0, 0] = 2.0
    found[1:, 1:] = np.linalg.inv(smooth.T @ smooth)
    return (found + found.T) / 2
