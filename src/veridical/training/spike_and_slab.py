r"""Spike and slab noise on x: the error model of robust neural posterior estimation.

Each number of standardised x gets its own error, once in every batch that it is in,

.. math:: \tilde x_j = x_j + e_j , \qquad
    e_j \sim (1 - \rho) \, N(0, \sigma^2) + \rho \, \mathrm{Cauchy}(0, \tau) .

A posterior trained on these pairs is that of noisy data (NNPE): with p(x) the simulator's density,

.. math:: p(\theta \mid \tilde x) \propto \int p(\theta \mid x) \, p(\tilde x \mid x) \, p(x) \, dx ,

the very posterior of RNPE, amortised.

References:
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022)
    | https://arxiv.org/abs/2210.06564
"""

from __future__ import annotations

import numpy as np

from veridical.tasks.base import Array
from veridical.training.distortion_settings import SpikeAndSlabSettings


class SpikeAndSlab:
    """Adds errors to standardised x.

    Arguments:
        settings: Share of the slab, width of spike and slab.
    """

    def __init__(self, settings: SpikeAndSlabSettings) -> None:
        self.settings = settings

    def __call__(self, x: Array, zero: Array, rng: np.random.Generator) -> Array:
        """Returns x (B, *x_shape) with errors; `zero` is not needed."""
        slab = rng.random(x.shape) < self.settings.share
        spike, tail = rng.standard_normal(x.shape), rng.standard_cauchy(x.shape)
        return x + np.where(slab, self.settings.slab * tail, self.settings.spike * spike)
