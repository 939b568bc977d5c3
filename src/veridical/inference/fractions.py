r"""The fraction of one class in a sample of events of two, from a density ratio; numpy, float64.

With r the ratio of the first class to the second, q = r - 1 and m = 1 + kappa q, the log-likelihood of the
fraction kappa, its score and its curvature are

.. math:: \ell(\kappa, w) = \sum_a \log m_a, \qquad \ell' = \sum_a \frac{q_a}{m_a}, \qquad
    \ell'' = -\sum_a \left(\frac{q_a}{m_a}\right)^2, \qquad \sigma_\mathrm{MLE}^2 = -1 / \ell'' .

The likelihood is concave, and its maximum is where it is: also below 0 or above 1. The ratio has weights w
with covariance C, from events that are none of these; to first order the two errors add:

.. math:: \sigma^2 = \sigma_\mathrm{MLE}^2 + \sigma_\mathrm{MLE}^4 A^T C A, \qquad
    A_i = \frac{\partial^2 \ell}{\partial \kappa \, \partial w_i} = \sum_a \frac{f_i(x_a) r_a}{m_a^2} .

The second term does not fall with the number of events. Signed roots of the likelihood ratio, widened alike:

.. math:: z(\kappa_0) = \mathrm{sign}(\hat\kappa - \kappa_0)
    \sqrt{2 [\ell(\hat\kappa) - \ell(\kappa_0)] \, \sigma_\mathrm{MLE}^2 / \sigma^2} .

Second-order bias, with means over the N events, :math:`\phi = q / m`, :math:`J = -\mathrm{mean}\,\phi^2`,
:math:`a = A / N`, :math:`b_i = \mathrm{mean}(-2 f_i r q / m^3)`,
:math:`c_{ij} = \mathrm{mean}(-f_i f_j r (\kappa r + \kappa - 1) / m^3)` and :math:`\beta` the bias of w:

.. math:: \mathrm{bias} = -\frac{\mathrm{mean}\,\phi^3}{N J^2}
    - \frac{1}{2J} \left[ 2 \, \mathrm{mean}(\phi^3) \sigma^2 - \frac{2}{J} a^T C b
    + \sum_{ij} c_{ij} C_{ij} + 2 a^T \beta \right] .

References:
    | Pseudo Maximum Likelihood Estimation: Theory and Applications (Gong, Samaniego, 1981)
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import DataError
from veridical.inference.ratio_weights import Events, RatioFit
from veridical.tasks.base import Array

TOLERANCE = 1e-10  # of the last step, in standard deviations
MAX_STEPS = 200


@dataclass(frozen=True)
class Fraction:
    """The fraction of the first class in one sample.

    Attributes:
        value: Maximum of the likelihood, anywhere where it is defined.
        statistical: sigma_MLE, standard error from the number of events.
        ratio: Standard error from the weights of the density ratio.
        bias: Second-order bias of `value`.
        excess: q = r - 1 at the distinct events, shape (K,).
        counts: How many events coincide there, shape (K,).
    """

    value: float
    statistical: float
    ratio: float
    bias: float
    excess: Array
    counts: Array

    @property
    def total(self) -> float:
        """sigma, of both errors together."""
        return float(np.hypot(self.statistical, self.ratio))

    def z(self, fractions: Array | float) -> Array:
        """Returns signed roots of the likelihood ratio at other fractions (...), shape (...).

        They are infinite outside of where the likelihood is defined.
        """
        at = np.asarray(fractions, float)
        best = log_likelihood(self.value, self.excess, self.counts)
        deviance = 2 * (best - log_likelihood(at, self.excess, self.counts))
        root = np.sqrt(np.maximum(deviance, 0)) * self.statistical / self.total
        return np.sign(self.value - at) * root


def log_likelihood(fraction: Array | float, excess: Array, counts: Array) -> Array:
    """Returns the log-likelihood at fractions (...), shape (...); -inf where m is not positive."""
    m = 1 + np.multiply.outer(np.asarray(fraction, float), excess)
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(m, 0)) @ counts


def fit_fraction(excess: Array, counts: Array) -> tuple[float, float]:
    """Returns the maximum of the likelihood and sigma_MLE: Newton on the score,
    or halves of its bracket where that is slow.

    Raises:
        DataError: If the likelihood has no maximum: all events favour one class.
    """
    top, bottom = float(excess.max()), float(excess.min())
    if not (np.isfinite(top) and top > 0 > bottom):
        raise DataError(
            "fraction: expected density ratios above and below 1, so that the likelihood has a maximum, got "
            f"ratios from {bottom + 1:.3g} to {top + 1:.3g}; use more events or a better ratio."
        )
    low, high = -1 / top, -1 / bottom
    at, last = 0.0, np.inf
    for _ in range(MAX_STEPS):
        inside = excess / (1 + at * excess)
        score, sigma = float(counts @ inside), 1 / np.sqrt(float(counts @ inside**2))
        low, high = (at, high) if score > 0 else (low, at)
        step = score * sigma**2
        if abs(step) < TOLERANCE * sigma:
            return at + step if low < at + step < high else at, float(sigma)
        fast = low < at + step < high and abs(step) <= last / 2
        at, last = (at + step, abs(step)) if fast else ((low + high) / 2, np.inf)
    raise DataError(
        f"fraction: the likelihood's maximum was not found in {MAX_STEPS} steps, last at {at:.6g}."
    )


def estimate(events: Events, ratio: RatioFit) -> Fraction:
    """Returns the fraction of the first class among events, with both errors and the second-order bias."""
    excess = np.expm1(events.log_ratio(ratio.weights))
    value, statistical = fit_fraction(excess, events.counts)
    extra = 0.0
    if ratio.covariance.any():
        inverse = 1 / (1 + value * excess)
        a = events.functions.T @ (events.counts * (1 + excess) * inverse**2)
        extra = statistical**4 * max(float(a @ ratio.covariance @ a), 0.0)
    bias = _bias(events, ratio, excess, value, statistical**2 + extra)
    return Fraction(value, statistical, float(np.sqrt(extra)), bias, excess, events.counts)


def _bias(events: Events, ratio: RatioFit, excess: Array, value: float, total: float) -> float:
    """The second-order bias; `total` is sigma squared."""
    weight, f, covariance = events.counts / events.total, events.functions, ratio.covariance
    inverse = 1 / (1 + value * excess)
    phi, share = excess * inverse, (1 + excess) * inverse  # q / m and r / m
    slope, skew = -float(weight @ phi**2), float(weight @ phi**3)
    bracket = 2 * skew * total
    if covariance.any():
        a = f.T @ (weight * share * inverse)
        b = f.T @ (weight * -2 * share * phi * inverse)
        bending = np.einsum("ki,ki->k", f @ covariance, f)
        c = float(weight @ (-bending * share * (value * share - (1 - value) * inverse) * inverse))
        bracket += c - 2 / slope * float(a @ covariance @ b) + 2 * float(a @ ratio.bias)
    return -skew / (events.total * slope**2) - bracket / (2 * slope)
