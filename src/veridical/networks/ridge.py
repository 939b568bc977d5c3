r"""Ridge regression whose penalty is chosen by what each row misses when it is left out.

With :math:`x_i` (F numbers) and :math:`z_i` (D numbers) of n rows,

.. math:: \beta_j = \arg\min_\beta \sum_i (z_{ij} - \bar z_j - (x_i - \bar x)^T \beta)^2
    + n \lambda |\beta|^2 .

The centred matrix of x is :math:`U S V^T`. Leaving one row out of the sums changes its residual to

.. math:: e_{ij} = \frac{z_{ij} - \hat z_{ij}}{1 - h_i} , \qquad
    h_i = \frac1n + \sum_k U_{ik}^2 \frac{S_k^2}{S_k^2 + n \lambda} ,

(with the penalty as it was), so that a whole grid of penalties costs one decomposition. The penalty is the
largest whose :math:`\sum_j e_{ij}^2` exceeds that of the best one by no more than one standard error of the
difference, over rows.

References:
    | The Elements of Statistical Learning (Hastie, Tibshirani, Friedman, 2009), sections 3.4.1 and 7.10
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.tasks.base import Array


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge regression.

    Attributes:
        coefficients: Shape (F, D).
        intercept: Shape (D,).
        penalty: Penalty per row.
        residuals: What each row misses its prediction by when it is left out of the fit, (n, D).
    """

    coefficients: Array
    intercept: Array
    penalty: float
    residuals: Array


def regress(x: Array, z: Array, penalties: Array) -> RidgeFit:
    """Returns the ridge regression of z (n, D) on x (n, F) with a penalty chosen from an ascending grid."""
    n = len(x)
    centre, mean = x.mean(axis=0), z.mean(axis=0)
    u, s, vt = np.linalg.svd(x - centre, full_matrices=False)
    parts = u.T @ (z - mean)
    left_out = np.stack([_left_out(z - mean, u, s**2 / (s**2 + n * each), parts) for each in penalties])
    chosen = _simplest((left_out**2).sum(axis=2))
    weights = s / (s**2 + n * penalties[chosen])
    coefficients = vt.T @ (weights[:, None] * parts)
    return RidgeFit(coefficients, mean - centre @ coefficients, float(penalties[chosen]), left_out[chosen])


def _left_out(z: Array, u: Array, shares: Array, parts: Array) -> Array:
    """Residuals (n, D) of centred z, each row predicted from the others alone."""
    leverage = 1 / len(z) + u**2 @ shares
    return (z - u @ (shares[:, None] * parts)) / np.maximum(1 - leverage, 1e-10)[:, None]


def _simplest(squares: Array) -> int:
    """The last of the penalties whose squared residuals (penalties, n) are about as small as the least."""
    excess = squares - squares[np.argmin(squares.mean(axis=1))]
    error = excess.std(axis=1) / np.sqrt(squares.shape[1])
    return int(np.flatnonzero(excess.mean(axis=1) <= error).max())
