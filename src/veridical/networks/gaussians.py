r"""Mixtures of K normal distributions with full covariance, whose numbers a dense network gives,

.. math:: q(\theta | c) = \sum_k \pi_k \, N(\theta; m_k, (L_k^T L_k)^{-1}) ,

L_k lower triangular with a positive diagonal. Means start apart, for components that begin alike stay so.
The outputs are K (1 + D + D (D + 1) / 2).

References:
    | Mixture Density Networks (Bishop, 1994)
    | https://publications.aston.ac.uk/id/eprint/373/
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.networks.density import Density, log_normal
from veridical.networks.layers import Activation, dense

APART = 0.7  # standard deviation of the means at the start
_LEAST = 1e-3  # of the diagonal of L
_ONE = log(expm1(1 - _LEAST))  # added to what the network gives, so that the diagonal starts near 1


class GaussianMixture(Density):
    """A mixture of K normal distributions over D parameters given a context.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        components: K.
        hidden: Widths of the network's layers.
    """

    place: Tensor

    def __init__(
        self,
        features: int,
        context: int,
        components: int,
        hidden: Sequence[int],
        activation: Activation = nn.ReLU,
    ) -> None:
        super().__init__(features, draw_noise=features + 1)
        self.components = components
        rows, columns = torch.tril_indices(features, features).tolist()
        place = torch.zeros(len(rows), features, features)  # of each entry of L
        place[range(len(rows)), rows, columns] = 1.0
        self.register_buffer("place", place, persistent=False)
        self.network = dense([context, *hidden, components * (1 + features + len(rows))], activation)
        with torch.no_grad():
            last = self.network[-1]
            assert isinstance(last, nn.Linear)
            means = last.bias.view(components, -1)[:, 1 : 1 + features]
            means.copy_(APART * torch.randn(components, features))

    def _parts(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (..., K), means (..., K, D) and factors L (..., K, D, D)."""
        d = self.features
        out = self.network(context).unflatten(-1, (self.components, -1))
        logits, means, entries = out.split([1, d, len(self.place)], dim=-1)
        lower = torch.einsum("...e,eij->...ij", entries, self.place)
        diagonal = functional.softplus(lower.diagonal(dim1=-2, dim2=-1) + _ONE) + _LEAST
        return logits[..., 0].log_softmax(-1), means, lower.tril(-1) + torch.diag_embed(diagonal)

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        return self._log_prob(theta, *self._parts(context))

    def _log_prob(self, theta: Tensor, log_weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
        whitened = (factors @ (theta[..., None, :] - means)[..., None])[..., 0]
        log_slope = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return torch.logsumexp(log_weights + log_slope + log_normal(whitened), dim=-1)

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities: the first number picks the component; see `Density.push`."""
        log_weights, means, factors = (part[index] for part in self._parts(context))
        place = torch.special.ndtr(noise[:, :1])
        picked = (log_weights.exp().cumsum(-1)[:, :-1] < place).sum(-1)
        row = torch.arange(len(noise))
        own = factors[row, picked]
        theta = means[row, picked]
        theta = theta + torch.linalg.solve_triangular(own, noise[:, 1:, None], upper=False)[..., 0]
        return theta, self._log_prob(theta, log_weights, means, factors) if density else None
