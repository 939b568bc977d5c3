r"""Self-consistency on unlabelled real data: what the exact posterior fulfils at any x, simulated or not.

The evidence :math:`p(x) = p(\theta) \, p(x \mid \theta) / p(\theta \mid x)` is the same for all parameters.
Where q is not the posterior it seems to differ between its own draws, and the loss gains, for observations x*
without labels,

.. math:: \lambda \, \operatorname{Var}_l \left[ \log p(x^* \mid \theta_l) + \log p(\theta_l)
    - \log q(\theta_l \mid x^*) \right] , \qquad \theta_l \sim q(\cdot \mid x^*) ,

with no gradient through the draws. Zero is reached by the posterior of the *assumed* model alone, so that
nothing is traded for it where the likelihood is exact; a wrong likelihood it does not mend. Lambda is zero
for the first fifth of the steps, in which q finds where the mass is, and grows to its weight until half of
them. Draws at which the likelihood vanishes tell no finite difference and are left out.

References:
    | Robust Amortized Bayesian Inference with Self-Consistency Losses on Unlabeled Data (Mishra et al., 2025)
    | https://arxiv.org/abs/2501.13483
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from veridical.errors import TrainingError
from veridical.training.regularisers import Network, Regulariser, normal

FROM, UNTIL = 0.2, 0.5  # shares of the steps between which lambda grows


class SelfConsistency(Regulariser):
    """The variance of the log evidence over draws of the current posterior, mean over observations."""

    def weight(self, share: float) -> float:
        """Returns lambda after this share of all steps."""
        return float(self.settings.weight * np.clip((share - FROM) / (UNTIL - FROM), 0, 1))

    def __call__(self, network: Network, summaries: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the term; `summaries` of simulations are not needed."""
        if self.about.log_joint is None:
            raise TrainingError("regulariser 'self_consistency': expected a likelihood, got none.")
        draws, chosen = self.settings.draws, self.about.some(self.settings.observations, rng)
        index = torch.arange(len(chosen)).repeat_interleave(draws).to(summaries.device)
        own = network.summary(self.about.x[torch.from_numpy(chosen)].to(summaries))
        noise = normal(rng, (len(index), network.flow.draw_noise), summaries)
        with torch.no_grad():
            z = network.flow.push(noise, own, index, False)[0]
        log_p = self.about.log_joint(z.cpu().numpy().astype(float), chosen.repeat(draws))
        gap = torch.from_numpy(log_p).to(summaries) - network.flow.log_prob(z, own[index])
        return variances(gap.reshape(-1, draws)).mean()


def variances(values: Tensor) -> Tensor:
    """Returns unbiased variances of the finite numbers in each row (M, L), shape (M,); 0 of less than two."""
    finite = values.isfinite()
    n = finite.sum(dim=1, keepdim=True)
    kept = torch.where(finite, values, 0.0)
    mean = kept.sum(dim=1, keepdim=True) / n.clamp(min=1)
    squares = torch.where(finite, kept - mean, 0.0).square().sum(dim=1)
    return squares / (n[:, 0] - 1).clamp(min=1)
