r"""Domain-adversarial summaries (NPE-DANN): a classifier must not tell real data from simulations by them.

A small network d tells summaries s of unlabelled real data from those of simulations, by its loss

.. math:: B = - \tfrac12 \, \overline{\log \sigma(-d(s))}_{\text{simulated}}
    - \tfrac12 \, \overline{\log \sigma(d(s))}_{\text{real}} ,

which it minimises while the summary network maximises it: a gradient is reversed where it enters that
network. At the best classifier :math:`\log 2 - B` is the Jensen-Shannon divergence of the two, which is the
value of the term. As in the authors' training its weight grows by

.. math:: \lambda_t = w \, \left( \frac{2}{1 + e^{-10 t}} - 1 \right) ,

t being the share of all steps, for an untrained classifier says nothing. The classifier's own gradient grows
with it, which the optimiser, whose steps do not depend on the size of a loss, takes out again.

A game has no loss that ranks weights, so those of the last step are kept and nothing stops early. What was
said of aligned summaries holds here: real data decide the answers, and a wrong prior is hidden.

References:
    | Domain-Adversarial Training of Neural Networks (Ganin et al., 2016), https://arxiv.org/abs/1505.07818
    | Addressing Misspecification in Simulation-based Inference through Unsupervised Domain Adaptation
    | (Elsemüller et al., 2025), https://arxiv.org/abs/2502.04949
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from veridical.networks.layers import dense
from veridical.training.regularisers import About, Network, Regulariser

STEEPNESS = 10.0  # of the rise of the weight


class DomainAdversarial(Regulariser):
    """What a classifier tells of where summaries come from, in nats, at most log 2.

    Attributes:
        network: The classifier, from summaries (B, K) to the logit of being real (B, 1).
    """

    keeps_last = True

    def __init__(self, settings: Any, about: About) -> None:
        super().__init__(settings, about)
        self.network = dense((about.features, *settings.hidden, 1))

    def weight(self, share: float) -> float:
        """Returns lambda after this share of all steps."""
        return float(self.settings.weight * (2 / (1 + np.exp(-STEEPNESS * share)) - 1))

    def __call__(self, network: Network, summaries: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns the term; the first rows of a batch, whose order is random, stand for the simulations."""
        assert self.network is not None
        most = self.settings.observations
        chosen = torch.from_numpy(self.about.some(most, rng))
        real = network.summary(self.about.x[chosen].to(summaries))
        logits = [self.network(reversed_gradient(s)) for s in (summaries[:most], real)]
        loss = 0.5 * (softplus(logits[0]).mean() + softplus(-logits[1]).mean())
        return loss + (log(2) - 2 * loss).detach()


def reversed_gradient(s: Tensor) -> Tensor:
    """Returns s, whose gradient has the other sign."""
    return 2 * s.detach() - s
