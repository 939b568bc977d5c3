r"""Convergence of Markov chains: rank-normalised split R-hat and bulk effective sample size.

Values are replaced by normal scores of their ranks r among all N draws,
:math:`z = \Phi^{-1}((r - 3/8) / (N + 1/4))`, and each chain is cut into halves. With W the mean variance
within the M halves of length n and B/n the variance of their means,

.. math:: \hat R = \sqrt{\frac{\frac{n-1}{n} W + \frac1n B}{W}}, \qquad
    \mathrm{ESS} = \frac{M n}{-1 + 2 \sum_t \hat\rho_t},

where the sum of autocorrelations stops by Geyer's rule. R-hat is the larger one of the values themselves
and of their distances from the median.

References:
    | Rank-Normalization, Folding, and Localization: An Improved R-hat for Assessing Convergence of MCMC
    | (Vehtari, Gelman, Simpson, Carpenter and Bürkner, 2021), https://arxiv.org/abs/1903.08008
    | Practical Markov Chain Monte Carlo (Geyer, 1992)
    | Ensemble samplers with affine invariance (Goodman and Weare, 2010)
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from veridical.errors import ShapeError
from veridical.tasks.base import Array


def rank_rhat(chains: Array) -> float:
    """Returns the rank-normalised split R-hat of one quantity; chains (M, T).

    Draws of an ensemble sampler make one chain, in order of time.
    """
    _require_draws(chains, 2)
    halves = _split(chains)
    folded = np.abs(halves - np.median(halves))
    return max(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded)))


def bulk_ess(chains: Array) -> float:
    r"""Returns the bulk effective sample size of one quantity; chains (M, T), or (M, T, W) for ensembles.

    The walkers of an ensemble depend on each other, so the autocorrelation is that of the mean over the W
    walkers at each step, :math:`\bar z`: its Monte Carlo variance is that of the overall mean, and
    :math:`\mathrm{ESS} = \mathrm{ESS}(\bar z) \, \mathrm{Var}(z) / \mathrm{Var}(\bar z)`. With W = 1 this is
    the usual definition.
    """
    _require_draws(chains, 1)
    z = _normal_scores(_split(chains)).reshape(2 * len(chains), chains.shape[1] // 2, -1)
    process = z.mean(axis=2)
    ratio = _variance(z.reshape(len(z), -1), process.shape[1]) / _variance(process, process.shape[1])
    return min(_ess(process) * ratio, z.size * np.log10(z.size))


def _require_draws(chains: Array, least: int) -> None:
    if chains.ndim < 2 or len(chains) < least or chains.shape[1] < 8:
        raise ShapeError(f"chains: expected at least {least} chains of 8 draws, got shape {chains.shape}.")


def _split(chains: Array) -> Array:
    """Cuts each chain (M, T, ...) into halves (2 M, T // 2, ...); an odd draw in the middle is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def _normal_scores(values: Array) -> Array:
    """Returns normal scores of the ranks of all values; equal ones share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[place.reshape(values.shape)]
    return ndtri((ranks - 0.375) / (values.size + 0.25))


def _rhat(halves: Array) -> float:
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    return float(np.sqrt(((n - 1) / n * within + between) / within))


def _variance(halves: Array, n: int) -> float:
    """The marginal variance, between halves included; n is the number of steps behind a half."""
    within = halves.var(axis=1, ddof=1).mean()
    return float((n - 1) / n * within + halves.mean(axis=1).var(ddof=1))


def _ess(halves: Array) -> float:
    """Effective sample size of chains (M, n) by Geyer's initial monotone sequence."""
    n = halves.shape[1]
    centred = halves - halves.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * n, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :n].mean(axis=0) / n
    within = covariance[0] * n / (n - 1)
    rho = 1 - (within - covariance) / _variance(halves, n)
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)[: (n - 1) // 2]
    last = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs) - 1
    kept = np.minimum.accumulate(pairs[:last])
    tau = max(-1 + 2 * kept.sum() + max(rho[2 * last], 0.0), 1 / np.log10(halves.size))
    return halves.size / tau
