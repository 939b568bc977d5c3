r"""Decisions as a diffusion between two boundaries, 100 trials; some of nature's are guesses, or lapses.

Evidence drifts at a rate v with unit variance from a/2 to one of the boundaries 0 and a, and the time of a
response is the time T until then and a time :math:`t_0` for everything else:

.. math:: v \sim N(0, 2^2), \qquad a \sim U(0.5, 3), \qquad t_0 \sim U(0.1, 0.6) \text{ s} .

From the middle T does not depend on the boundary, which is the upper one with probability
:math:`1 / (1 + e^{-v a})`. With :math:`\lambda_k = (v^2 + k^2 \pi^2 / a^2) / 2` and k = 1, 3, 5, ...

.. math:: P(T > t) = 2 \cosh\!\left(\frac{v a}{2}\right) \frac{\pi}{a^2} \sum_k (-1)^{(k - 1) / 2}
    \frac{k}{\lambda_k} e^{-\lambda_k t} ,

from whose inverse times are drawn, so that no step in time is chosen. Its derivative is the density; where t
is small against :math:`a^2` a sum over images needs fewer terms:

.. math:: p(t) = 2 \cosh\!\left(\frac{v a}{2}\right) e^{-v^2 t / 2} \frac{a}{\sqrt{2 \pi t^3}}
    \sum_{j = -\infty}^\infty \left(\tfrac12 + 2 j\right) e^{-a^2 (1/2 + 2 j)^2 / 2 t} .

At the level `real` and severity s each trial is with probability 0.5 s a guess, whose time is uniform from
0.1 to 0.3 seconds (`wrong: fast`), or with probability 0.14 s a lapse, uniform from 3 to 10 seconds
(`wrong: slow`); either choice is as likely. The shares are published, the laws of the times are not.

References:
    | Fast and accurate calculations for first-passage times in Wiener diffusion models (Navarro & Fuss, 2009)
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks
    | (Schmitt et al., 2023), https://arxiv.org/abs/2406.03154
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Normal, Product, Uniform

CONTAMINATED = {"fast": (0.5, 0.1, 0.3), "slow": (0.14, 3.0, 10.0)}  # share, least and longest time
_SHORTEST = 0.002  # times in units of a^2 before which none of 1e15 decisions falls, up to v a = 18
_ODD = np.arange(1, 65, 2)
_SIGNS = 1.0 - (_ODD - 1) % 4
_IMAGES = 0.5 + 2 * np.arange(-3, 4)
_SHORT = 0.15  # times in units of a^2 below which the sum over images is taken
_HALVINGS = 35


class DriftDiffusion(Task):
    """Drift, boundary and other time from the times and choices of exchangeable trials.

    Arguments:
        trials: How many trials one row of data holds.
        wrong: What some trials of the level `real` are: `fast` guesses or `slow` lapses.
        severity: s, from 0 (the simulator is right) to 1.
    """

    name = "drift_diffusion"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    prior = Product(
        {"drift": Normal(0.0, 2.0), "boundary": Uniform(0.5, 3.0), "other_time": Uniform(0.1, 0.6)}
    )
    parameters = prior.parameters({"other_time": "s"})

    def __init__(self, trials: int = 100, wrong: str = "fast", severity: float = 1.0) -> None:
        if trials < 1:
            raise TaskError(f"task {self.name}: expected trials >= 1, got {trials}.")
        if wrong not in CONTAMINATED:
            raise TaskError(f"task {self.name}: expected wrong to be fast or slow, got {wrong!r}.")
        self.wrong, self.severity = wrong, require_severity(self.name, severity)
        self.dimensions = (
            Dimension("trial", tuple(range(trials)), kind="exchangeable"),
            Dimension("response", ("time", "choice")),
        )

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns uniform numbers behind times and choices, and those of contaminants, (n, trials) each."""
        shape = (n, self.x_shape[0])
        names = ("time", "choice", "contaminated", "other_time", "other_choice")
        return {name: rng.random(shape) for name in names}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 3), shape (N, trials, 2): seconds, and 1 for the upper boundary or else 0."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 3)
        drift, boundary, other = theta[:, :1], theta[:, 1:2], theta[:, 2:]
        times = other + boundary**2 * _times(drift * boundary, noise["time"])
        choices = noise["choice"] < 1 / (1 + np.exp(-drift * boundary))
        if fidelity == "real":
            share, least, longest = CONTAMINATED[self.wrong]
            contaminated = noise["contaminated"] < share * self.severity
            times = np.where(contaminated, least + (longest - least) * noise["other_time"], times)
            choices = np.where(contaminated, noise["other_choice"] < 0.5, choices)
        return np.stack([times, choices], axis=-1).astype(float)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (trials, 2) at theta (N, 3), shape (N,)."""
        require_shape("x", x, *self.x_shape)
        require_shape("theta", theta, None, 3)
        drift, boundary, other = theta[:, :1], theta[:, 1:2], theta[:, 2:]
        log_times = _log_density((x[:, 0] - other) / boundary**2, drift * boundary) - 2 * np.log(boundary)
        log_choices = -np.logaddexp(0.0, np.where(x[:, 1] > 0.5, -1.0, 1.0) * drift * boundary)
        return (log_times + log_choices).sum(axis=1)


def _times(drift: Array, u: Array) -> Array:
    """Times (N, T) that a share u (N, T) of decisions exceeds, drifts being (N, 1) and boundaries 0 and 1."""
    low, high = np.full_like(u, np.log(_SHORTEST)), np.full_like(u, np.log(20.0))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        later = _survival(np.exp(middle), drift) > u
        low, high = np.where(later, middle, low), np.where(later, high, middle)
    return np.exp(0.5 * (low + high))


def _survival(t: Array, drift: Array) -> Array:
    """P(T > t) at times (N, T) and drifts (N, 1) between boundaries 0 and 1; from `_SHORTEST` on."""
    found = np.zeros_like(t)
    for k, sign in zip(_ODD, _SIGNS, strict=True):
        rate = 0.5 * (drift**2 + (k * np.pi) ** 2)
        found += sign * k * np.pi / rate * np.exp(np.logaddexp(0.5 * drift, -0.5 * drift) - rate * t)
    return found


def _log_density(t: Array, drift: Array) -> Array:
    """Log density of times (N, T) at drifts (N, 1) between boundaries 0 and 1; -inf before the start."""
    at = np.where(t > 0, t, 1.0)[..., None]
    images = (_IMAGES * np.exp(-0.5 * _IMAGES**2 / at)).sum(axis=-1) / np.sqrt(2 * np.pi * at[..., 0] ** 3)
    waves = np.pi * (_SIGNS * _ODD * np.exp(-0.5 * (_ODD * np.pi) ** 2 * at)).sum(axis=-1)
    with np.errstate(divide="ignore"):
        log_p = np.log(np.where(at[..., 0] < _SHORT, images, waves))
    log_p = log_p + np.logaddexp(0.5 * drift, -0.5 * drift) - 0.5 * drift**2 * at[..., 0]
    return np.where(t > 0, log_p, -np.inf)
