r"""The loss of rows that do not follow the prior: each counts by a weight,

.. math:: L(\phi) = - \frac{1}{N} \sum_i w_i \log q_\phi(\theta_i \mid x_i) ,

which is that of rows of the prior, on average, where :math:`w_i` is the prior's density over that of the
rows.
"""

from __future__ import annotations

from torch import Tensor

from veridical.errors import TrainingError
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.networks.trainable import Trainable


class WeightedRows(Trainable):
    """A posterior's network while it learns from weighted rows; a batch is theta (B, D), x and weights (B,).

    Arguments:
        network: The network, which is trained in place.

    Raises:
        TrainingError: If its loss is not its negative log density.
    """

    def __init__(self, network: PosteriorNetwork) -> None:
        super().__init__()
        if network.noise:
            raise TrainingError(
                f"flow: {network.kind!r} does not learn by its own density, as rows with weights have it; "
                "choose another `flow`, or leave `acquisition` out."
            )
        self.network, self.keeps_last = network, network.keeps_last

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the weighted mean loss over the rows of a batch."""
        theta, x, weight = batch
        return -(weight * self.network.flow.log_prob(theta, self.network.summary(x))).mean()
