r"""A bank of named local distortions of a series: gain, offset and noise, each there or not.

Along the first axis of x, :math:`t \in [0, 1]`, and with :math:`a_k \sim N(0, 1)`,

.. math:: x_t \to g(t) \, x_t + c + \sigma \epsilon_t , \qquad
    \log g(t) = 0.3 a_1 + 3 a_2 (t - \tfrac12) + 0.5 a_3 \cos \pi t + 0.3 a_4 \cos 2 \pi t ,

with g cut at 5, :math:`c \sim N(0, 1)` and :math:`\log_{10} \sigma \sim U(-2, 0)`, in units of the
spread of a number of x. A posterior that has learned from series so distorted has features that stay what
they are where nature is distorted alike. By itself it is no remedy: on the pendulum it stays below the prior.
"""

from __future__ import annotations

import numpy as np

from veridical.tasks.base import Array
from veridical.training.distortion_settings import LocalDistortionsSettings

SLOPES = (0.3, 3.0, 0.5, 0.3)  # sd of the parts of log g
MOST = 5.0  # of g


class LocalDistortions:
    """Distorts standardised x.

    Arguments:
        settings: How often each distortion is there.
    """

    def __init__(self, settings: LocalDistortionsSettings) -> None:
        self.settings = settings

    def __call__(self, x: Array, zero: Array, rng: np.random.Generator) -> Array:
        """Returns x (B, T, ...) distorted; a gain leaves what lies at `zero` (T, ...) where it is."""
        each = (len(x), *[1] * (x.ndim - 1))
        there = {
            name: rng.random(each) < getattr(self.settings, name) for name in ("gain", "offset", "noise")
        }
        t = np.linspace(0, 1, x.shape[1]).reshape(1, -1, *[1] * (x.ndim - 2))
        parts = (np.ones_like(t), t - 0.5, np.cos(np.pi * t), np.cos(2 * np.pi * t))
        log_gain = sum(sd * rng.standard_normal(each) * part for sd, part in zip(SLOPES, parts, strict=True))
        gain = np.where(there["gain"], np.exp(np.minimum(log_gain, np.log(MOST))), 1.0)
        offset = there["offset"] * rng.standard_normal(each)
        noise = there["noise"] * 10 ** rng.uniform(-2, 0, each) * rng.standard_normal(x.shape)
        return np.asarray(zero + gain * (x - zero) + offset + noise)
