r"""Maximum mean discrepancies of summaries: between simulations and real data, or standard normal numbers.

Between rows a and b, with a kernel k, as biased V-statistic,

.. math:: \mathrm{MMD}^2 = \overline{k(a, a')} + \overline{k(b, b')} - 2 \, \overline{k(a, b)} .

*Robust statistics* (NPE-RS): of summaries of simulations and of unlabelled real data, with :math:`k =
\exp(-d^2 / m)` and m the median of :math:`d^2` over all pairs of simulated rows, a row with itself included,
as in the authors' program. The network learns what of the data its simulator can make; too large a weight
leaves nothing of them, and the posterior is the prior. Real data then decide what the method answers, so that
it holds for their process alone. Aligning also hides a wrong prior.

*Normal summaries*: of simulations and :math:`N(0, I)`, with :math:`k = \sum_w w / (w + d^2)` over the scales
of the check `detection`. It changes no answer to speak of; distances of real data from simulations then have
one scale.

References:
    | Learning Robust Statistics for Simulation-based Inference under Model Misspecification
    | (Huang et al., 2023)
    | https://arxiv.org/abs/2305.15871
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks
    | (Schmitt et al., 2023)
    | https://arxiv.org/abs/2112.08866
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from veridical.training.regularisers import Network, Regulariser, normal

SCALES = (
    *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0),
    *(100.0, 1e3, 1e4, 1e5, 1e6),
)


class SummaryMMD(Regulariser):
    """The squared MMD between summaries of simulations and of unlabelled real data."""

    def __call__(self, network: Network, summaries: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the term; the first rows of a batch, whose order is random, stand for the simulations."""
        most = self.settings.observations
        chosen = torch.from_numpy(self.about.some(most, rng))
        simulated, real = summaries[:most], network.summary(self.about.x[chosen].to(summaries))
        median = squares(simulated, simulated).median().clamp(min=1e-12)
        return squared_mmd(simulated, real, lambda d2: torch.exp(-d2 / median))


class NormalSummaries(Regulariser):
    """The squared MMD between summaries of simulations and standard normal numbers."""

    def __call__(self, network: Network, summaries: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the term, with as many normal rows as there are simulations, new in every step."""
        return squared_mmd(summaries, normal(rng, tuple(summaries.shape), summaries), inverse_multiquadratic)


def squares(a: Tensor, b: Tensor) -> Tensor:
    """Returns squared distances (A, B) of rows (A, K) and (B, K)."""
    return (a[:, None] - b).square().sum(dim=-1)


def inverse_multiquadratic(d2: Tensor) -> Tensor:
    """Returns the kernel of squared distances, summed over `SCALES`."""
    total = torch.zeros_like(d2)
    for scale in SCALES:
        total = total + scale / (scale + d2)
    return total


def squared_mmd(a: Tensor, b: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns the squared MMD between rows (A, K) and (B, K), a number."""
    within = kernel(squares(a, a)).mean() + kernel(squares(b, b)).mean()
    return within - 2 * kernel(squares(a, b)).mean()
