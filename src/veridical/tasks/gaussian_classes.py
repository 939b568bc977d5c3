r"""Two Gaussians of unit width that overlap almost wholly, with their exact density ratio.

.. math:: n = N(+\delta, 1), \quad d = N(-\delta, 1), \quad \log r(x) = \log \frac{n(x)}{d(x)} = 2 \delta x .

A detector of *resolution* h reports the centre of the cell of width h that x falls in. Then many events
coincide, and all that follows may run on distinct events and their numbers. With u uniform in the cell,

.. math:: \log r(x) = 2 \delta x + \log \frac{E_u \exp(-u^2/2 - u (x - \delta))}
    {E_u \exp(-u^2/2 - u (x + \delta))} \approx 2 \delta x (1 - h^2 / 12) .

What the cells hide is the spread of the score inside of them, so that the Fisher information on the fraction
of signal falls by the share :math:`h^2 / 12` where the separation is small: 2e-6 at h = 0.005.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, ClassTask, Dimension

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)


class GaussianClasses(ClassTask):
    """Signal and background events, one number each.

    Arguments:
        separation: delta, half the distance of the two means.
        resolution: h, width of the cells that events are rounded to; 0 leaves them as they are.
    """

    name = "gaussian_classes"
    classes = ("signal", "background")
    dimensions = (Dimension("feature", (0,)),)

    def __init__(self, separation: float = 0.1, resolution: float = 0.0) -> None:
        if not (separation > 0 and 0 <= resolution <= 1):
            raise TaskError(
                f"task {self.name}: expected a positive separation and a resolution in [0, 1], got "
                f"{separation} and {resolution}."
            )
        self.separation = separation
        self.resolution = resolution

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns n events of one class, shape (n, 1)."""
        x = rng.standard_normal((n, 1))
        x += self.separation if cls == self.classes[0] else -self.separation
        if self.resolution:
            np.rint(x / self.resolution, out=x)
            x *= self.resolution
        return x

    def log_ratio(self, x: Array) -> Array:
        """Returns log n / d at events x (N, 1), of their cells where there is a resolution, shape (N,)."""
        require_shape("x", x, None, 1)
        x = np.asarray(x, float)
        log_r: Array = 2 * self.separation * x[:, 0]
        if self.resolution:
            u = 0.5 * self.resolution * _NODES
            inside = 0.5 * _NODE_WEIGHTS * np.exp(-0.5 * u**2 - u * x)
            signal, background = inside @ np.exp(self.separation * u), inside @ np.exp(-self.separation * u)
            log_r = log_r + np.log(signal / background)
        return log_r
