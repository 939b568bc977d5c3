r"""Maximum mean discrepancy (MMD) between a reference of simulations and a set of data.

Between a reference a and a set b, with a kernel k,

.. math:: \mathrm{MMD}^2 = \overline{k(a, a')} + \overline{k(b, b')} - 2\, \overline{k(a, b)}

(biased V-statistic, clipped at zero, root taken). Kernels sum over 19 scales w, d the Euclidean distance:
Gaussian :math:`\sum_w \exp(-d^2 / 2w)`, inverse multiquadratic :math:`\sum_w w / (w + d^2)`.

References:
    | A Kernel Two-Sample Test (Gretton et al., 2012)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from veridical.checks.inputs import Array

SCALES = (
    *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0),
    *(100.0, 1e3, 1e4, 1e5, 1e6),
)
KernelName = Literal["gaussian", "inverse_multiquadratic"]

_CHUNK = 1 << 16  # numbers of one step, so that they stay in the cache
GATHERED = 1 << 22  # numbers that a step gathers, here and for the null


def _gaussian(squared: Array, scale: float) -> Array:
    return np.exp(squared * (-0.5 / scale))


def _inverse_multiquadratic(squared: Array, scale: float) -> Array:
    return scale / (scale + squared)


_KERNELS: dict[str, Callable[[Array, float], Array]] = {
    "gaussian": _gaussian,
    "inverse_multiquadratic": _inverse_multiquadratic,
}


def kernel_matrix(a: Array, b: Array, kernel: KernelName = "gaussian") -> Array:
    """Returns the kernel, summed over `SCALES`, of points (A, K) with points (B, K), shape (A, B)."""
    from scipy.spatial.distance import cdist

    term, total = _KERNELS[kernel], np.empty((len(a), len(b)))
    step = max(1, _CHUNK // len(b))
    for first in range(0, len(a), step):
        rows = slice(first, first + step)
        squared = cdist(a[rows], b, "sqeuclidean")
        part = term(squared, SCALES[0])
        for scale in SCALES[1:]:
            part += term(squared, scale)
        total[rows] = part
    return total


def root_mmd(own: float | Array, within: float | Array, across: float | Array) -> Array:
    """Returns the root of own + within - 2 across, mean kernels of reference, set, both."""
    return np.sqrt(np.maximum(np.asarray(own + within - 2 * np.asarray(across)), 0))


@dataclass(frozen=True)
class Reference:
    """Simulated summaries that sets of others are compared with.

    Attributes:
        points: Their places, shape (N, K).
        kernel: Name of the kernel.
        own: Mean kernel of the reference with itself.
    """

    points: Array
    kernel: KernelName
    own: float

    @classmethod
    def of(cls, points: Array, kernel: KernelName = "gaussian") -> Reference:
        """Returns the reference made of points (N, K)."""
        return cls(points, kernel, float(kernel_matrix(points, points, kernel).mean()))

    def across(self, points: Array) -> Array:
        """Returns the mean kernel of each of points (P, K) with the reference, shape (P,)."""
        step = max(1, GATHERED // len(self.points))
        parts = [
            kernel_matrix(points[i : i + step], self.points, self.kernel).mean(axis=1)
            for i in range(0, len(points), step)
        ]
        return np.concatenate(parts)

    def distances(self, sets: Array) -> Array:
        """Returns the root MMD of each of the sets (T, N_o, K), shape (T,)."""
        t, n, k = sets.shape
        across = self.across(sets.reshape(t * n, k)).reshape(t, n).mean(axis=1)
        within = np.array([kernel_matrix(s, s, self.kernel).mean() for s in sets]) if n > 1 else self._peak()
        return root_mmd(self.own, within, across)

    def _peak(self) -> float:
        """The kernel of a point with itself."""
        return float(kernel_matrix(self.points[:1], self.points[:1], self.kernel)[0, 0])


def jackknife(observed: Array, reference: Reference) -> float:
    """Returns the standard error of the root MMD over observations (N_o, K), each left out in turn."""
    n = len(observed)
    kernels, across = kernel_matrix(observed, observed, reference.kernel), reference.across(observed)
    within = (kernels.sum() - 2 * kernels.sum(axis=1) + np.diag(kernels)) / (n - 1) ** 2
    left = root_mmd(reference.own, within, (across.sum() - across) / (n - 1))
    return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
