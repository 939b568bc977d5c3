r"""A linear regression in front of a summary network and a density, begun in closed form,

.. math:: W = s \arg\min_W \sum_i | z_i - W (1, x_i) |^2 + 10^{-6} \, n \, |W|^2 , \qquad
    w = R^{-1} (z - W (1, x)) , \qquad R^2 = \operatorname{cov}(z - W (1, x)) ,

so that :math:`\log q(z | x) = \log q_w(w | c) - \log\det R`. Of a linear Gaussian simulator that is the
answer before the first step; of others what is left has zero mean and unit covariance. R is the symmetric
root: it turns axes as little as can be, so that edges of bounded parameters stay aligned. W then moves with
all other weights, to :math:`W + R V`, and weight decay draws V back to zero.

A line through what is bent has to be undone by the networks: a predator-prey model whose regression explains
half of the variance loses 0.3 to 1.2 nats by it. So it counts by
:math:`s = (R^2_x / R^2_f - 0.6) / 0.2` within [0, 1]: :math:`R^2_x` is the share of variance that ridge
regression on x explains in rows left out, :math:`R^2_f` that of one on x and random functions
:math:`\tanh(a^T x + b)`.

Predictions stand beside the summaries, as a part of the encoder: what replaces or tunes the encoder has them
too. They stay within those of the training rows and their parameters, and are constant where there are fewer
than ROWS_PER_NUMBER rows for each number of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veridical import seeds
from veridical.networks import ridge
from veridical.networks.density import Density
from veridical.networks.layers import Summary
from veridical.tasks.base import Array

ASKED, FEATURES = (
    2048,
    256,
)  # rows and functions of x that tell how linear it is; at most a quarter of the rows
PENALTIES = np.geomspace(1e-4, 1e1, 11)
RIDGE = 1e-6  # a row, in units of the variance of x
ROWS_PER_NUMBER = 10
_LEAST = 1e-8  # variance of what is left, in units of the parameters'


class Regressed(Summary):
    """The summaries of a network, and predictions of D parameters beside them.

    Arguments:
        network: Any summary network.
        numbers: Numbers in a row of x.
        parameters: D.
    """

    lowest: Tensor
    highest: Tensor
    root: Tensor

    def __init__(self, network: Summary, numbers: int, parameters: int) -> None:
        super().__init__()
        self.network, self.features = network, network.features + parameters
        self.slope = nn.Parameter(torch.zeros(numbers, parameters), requires_grad=False)  # for tuning to move
        self.constant = nn.Parameter(torch.zeros(parameters), requires_grad=False)
        self.tilt = nn.Parameter(torch.zeros(numbers, parameters))
        self.register_buffer("root", torch.eye(parameters))
        self.register_buffer("lowest", torch.full((parameters,), -torch.inf))
        self.register_buffer("highest", torch.full((parameters,), torch.inf))

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Takes weights of a revision whose regression did not move, too."""
        for name in ("tilt", "root"):
            state.setdefault(f"{prefix}{name}", getattr(self, name).detach())
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Returns summaries and predictions (B, K + D) of x (B, *x_shape)."""
        slope = self.slope + self.tilt @ self.root
        predicted = torch.clamp(x.flatten(1) @ slope + self.constant, self.lowest, self.highest)
        return torch.cat([self.network(x), predicted], dim=-1)


class Residual(Density):
    """A density of what predictions leave of D parameters, at unit covariance.

    Arguments:
        density: That of what is left. Its context ends with the D predictions.
    """

    root: Tensor
    inverse: Tensor
    log_slope: Tensor

    def __init__(self, density: Density) -> None:
        super().__init__(density.features, draw_noise=density.draw_noise, loss_noise=density.loss_noise)
        self.density, self.has_density, self.keeps_last = density, density.has_density, density.keeps_last
        self.has_base = density.has_base
        for name in ("root", "inverse"):
            self.register_buffer(name, torch.eye(density.features, dtype=torch.float64))
        self.register_buffer("log_slope", torch.zeros((), dtype=torch.float64))  # of w

    def _left(self, theta: Tensor, context: Tensor) -> Tensor:
        return (theta - context[..., -self.features :]) @ self.inverse.to(theta)

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        return self.density.log_prob(self._left(theta, context), context) + self.log_slope.to(theta)

    def base(self, theta: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the noise (B, D) behind theta (B, D), and log slopes (B,); see `Density.base`."""
        noise, log_slope = self.density.base(self._left(theta, context), context)
        return noise, log_slope + self.log_slope.to(theta)

    def log_prob_error(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns how far `log_prob` may be off by its own approximation, (B,)."""
        return self.density.log_prob_error(self._left(theta, context), context)

    def loss(self, theta: Tensor, context: Tensor, noise: Tensor | None = None) -> Tensor:
        """Returns the mean loss of what is left; that of a density is one of theta."""
        left = self.density.loss(self._left(theta, context), context, noise)
        return left if self.loss_noise else left - self.log_slope.to(left)

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        left, log_p = self.density.push(noise, context, index, density)
        theta = context[index, -self.features :] + left @ self.root.to(left)
        return theta, None if log_p is None else log_p + self.log_slope.to(log_p)


def regress(summary: Regressed, density: Residual, z: Array, x: Array) -> None:
    """Gives both the regression of standardised parameters z (N, D) on standardised x (N, *x_shape)."""
    n, z = len(z), np.asarray(z, float)
    rows = np.asarray(x, float).reshape(n, -1)
    centre, mean = rows.mean(axis=0), z.mean(axis=0)
    slope = np.zeros((rows.shape[1], z.shape[1]))
    if n >= ROWS_PER_NUMBER * rows.shape[1]:
        gram = (rows - centre).T @ (rows - centre) + RIDGE * n * np.eye(rows.shape[1])
        slope = np.linalg.solve(gram, (rows - centre).T @ (z - mean))
        slope *= linear_share(rows, z)
    predicted = mean + (rows - centre) @ slope
    left = z - predicted
    variances, axes = np.linalg.eigh(left.T @ left / n)
    sd = np.sqrt(np.maximum(variances, _LEAST))
    found = {
        summary.slope: slope,
        summary.constant: mean - centre @ slope,
        summary.lowest: np.minimum(z, predicted).min(axis=0),
        summary.highest: np.maximum(z, predicted).max(axis=0),
        summary.root: axes * sd @ axes.T,
        density.root: axes * sd @ axes.T,
        density.inverse: axes / sd @ axes.T,
        density.log_slope: -np.log(sd).sum(),
    }
    with torch.no_grad():
        for into, numbers in found.items():
            into.copy_(torch.from_numpy(np.asarray(numbers)))


def linear_share(x: Array, z: Array) -> float:
    """Returns how much of what x (N, F) tells of z (N, D) is linear: 1 from 0.8 on, 0 up to 0.6."""
    x, z = x[:ASKED], z[:ASKED]
    numbers, functions = x.shape[1], min(FEATURES, len(x) // 4)
    rng = seeds.generator(0, "initialise", "linear share")
    slope = rng.standard_normal((numbers, functions)) * 1.5 / np.sqrt(numbers)
    bent = np.tanh(x @ slope + rng.standard_normal(functions))
    scaled = [part / np.maximum(part.std(axis=0), 1e-9) for part in (x, np.hstack([x, bent]))]
    missed = [(ridge.regress(part, z, PENALTIES).residuals ** 2).mean(axis=0).sum() for part in scaled]
    told = np.maximum(z.var(axis=0).sum() - np.array(missed), 0.0)
    return float(np.clip((told[0] / told.max() - 0.6) / 0.2, 0, 1)) if told.max() > 0 else 0.0
