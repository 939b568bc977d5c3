r"""Flow matching: the field that carries noise to parameters, learned along straight lines between both,

.. math:: \theta_t = t \theta + (1 - t) \epsilon , \qquad
    L = E \, | v(\theta_t, t, c) - (\theta - \epsilon) |^2 .

Times are those at which noise over parameters, :math:`(1 - t) / t`, has the sizes that `diffusion` learns
from: even times see too little of what is near the parameters. Where the field is right the draws have the
density of the posterior, by `trajectories`. Most of the loss cannot be learned, and small parts of it decide:
it is no reason to stop early.

References:
    | Flow Matching for Generative Modeling (Lipman et al., 2023), https://arxiv.org/abs/2210.02747
    | Flow Matching for Scalable Simulation-Based Inference (Wildberger et al., 2023)
    | https://arxiv.org/abs/2305.17161
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.networks.diffusion import CENTRE, SMALLEST, SPREAD, clock
from veridical.networks.trajectories import Trajectories, spaced


class FlowMatching(Trajectories):
    """A field learned by flow matching; see `Trajectories` for its arguments."""

    def times(self, steps: int) -> list[float]:
        """Returns times from 0 to 1, dense at the parameters."""
        return [1 - left for left in spaced(1.0, 0.0, steps)]

    def velocity(self, theta: Tensor, time: Tensor, told: Tensor) -> Tensor:
        """Returns the field (B, D)."""
        found: Tensor = self.network(theta, _clock(time), told)
        return found

    def loss_of_z(self, z: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Returns the mean squared error of the field, at times and noise that `noise` gives."""
        time, start = 1 / (1 + (CENTRE + SPREAD * noise[:, 0]).exp()), noise[:, 1:]
        between = torch.lerp(start, z, time[:, None])
        found = self.velocity(between, time, self.network.told(context))
        return (found - (z - start)).square().sum(-1).mean()


def _clock(time: Tensor) -> Tensor:
    """What the network is told of the time: near parameters the logarithm of the noise that is left."""
    return clock(torch.atan2(1 - time + SMALLEST, time))
