r"""Conditional autoregressive flows, of splines or of shifts and scales, built from zuko's transforms.

The flow maps theta (already unconstrained and standardised) to base noise,
:math:`z = f_T \circ \dots \circ f_1(\theta \mid c)`, so that

.. math:: \log q(\theta \mid c) = \log N(z; 0, 1) + \log |\det \partial f / \partial \theta| .

Splines act on :math:`[-5, 5]` and are the identity outside. An optional conditional shift and scale
comes first: it brings every posterior into that box at unit width, and gives what is left outside the
tails of a Gaussian whose centre and width depend on c.

Draws come from base noise that the caller made, pushed through the inverse. An autoregressive inverse
needs D passes through each network; here each pass computes only the units that the new parameter
brings, so that a draw costs about one forward pass. Its log density comes for free.

References:
    | Neural Spline Flows (Durkan et al., 2019)
    | https://arxiv.org/abs/1906.04032
    | Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017)
    | https://arxiv.org/abs/1705.07057
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform
from zuko.utils import unpack

from veridical.networks.density import Density, log_normal
from veridical.networks.layers import Activation

MIN_SLOPE = 1e-3
Kind = tuple[Any, list[tuple[int, ...]]]  # a map of one parameter, and the shapes of its parameters
AFFINE: Kind = (partial(MonotonicAffineTransform, slope=MIN_SLOPE), [(), ()])


def spline(bins: int) -> Kind:
    """Returns a spline of so many bins."""
    return partial(MonotonicRQSTransform, slope=MIN_SLOPE), [(bins,), (bins,), (bins - 1,)]


class AutoregressiveFlow(Density):
    """Maps of one parameter after the other, each given those before it and a context.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        kinds: What each transform does; every second one runs through the parameters backwards.
        hidden: Widths of the layers of each transform's network.
        activation: What is between them.
    """

    has_base = True

    def __init__(
        self,
        features: int,
        context: int,
        kinds: Sequence[Kind],
        hidden: Sequence[int],
        activation: Activation = nn.ReLU,
    ) -> None:
        super().__init__(features)
        forwards = torch.arange(features)
        self.transforms = nn.ModuleList(
            MaskedAutoregressiveTransform(
                features=features,
                context=context,
                order=forwards if i % 2 == 0 else forwards.flip(0),
                univariate=univariate,
                shapes=shapes,
                hidden_features=list(hidden),
                activation=activation,
            )
            for i, (univariate, shapes) in enumerate(kinds)
        )

    def log_prob(self, theta: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of theta (B, D) given contexts (B, C)."""
        noise, log_slope = self.base(theta, context)
        return log_slope + log_normal(noise)

    def base(self, theta: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the noise (B, D) behind theta (B, D), and log slopes (B,); see `Density.base`."""
        total = theta.new_zeros(theta.shape[:-1])
        for transform in self.transforms:
            theta, log_slope = transform(context).call_and_ladj(theta)
            total = total + (log_slope if log_slope.ndim == total.ndim else log_slope.sum(-1))
        return theta, total

    @torch.no_grad()
    def push(
        self, noise: Tensor, context: Tensor, index: Tensor, density: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Returns draws and their log densities from base noise; see `Density.push`."""
        log_p = log_normal(noise)
        theta = noise
        for transform in reversed(self.transforms):
            theta, log_slope = _invert(transform, theta, context, index)
            log_p = log_p + log_slope
        return theta, log_p


class SplineFlow(AutoregressiveFlow):
    """An autoregressive neural spline flow over D parameters given a context.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        transforms: Number of spline transforms.
        bins: Bins of each spline.
        hidden: Widths of the layers of each transform's network.
        affine: Whether a conditional shift and scale comes first.
        activation: What is between the layers.
    """

    def __init__(
        self,
        features: int,
        context: int,
        transforms: int,
        bins: int,
        hidden: Sequence[int],
        affine: bool,
        activation: Activation = nn.ReLU,
    ) -> None:
        kinds = [AFFINE] * affine + [spline(bins)] * transforms
        super().__init__(features, context, kinds, hidden, activation)


class MaskedAutoregressiveFlow(AutoregressiveFlow):
    """Conditional shifts and scales alone: of one parameter, a normal distribution.

    Arguments:
        features: Number of parameters D.
        context: Number of context features C.
        transforms: Number of transforms.
        hidden: Widths of the layers of each transform's network.
        activation: What is between them.
    """

    def __init__(
        self,
        features: int,
        context: int,
        transforms: int,
        hidden: Sequence[int],
        activation: Activation = nn.ReLU,
    ) -> None:
        super().__init__(features, context, [AFFINE] * transforms, hidden, activation)


def _invert(transform: nn.Module, z: Tensor, context: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Inverts one transform; returns theta (B, D) and the log slope of the *forward* map at theta (B,)."""
    if not isinstance(transform, MaskedAutoregressiveTransform):  # a single parameter: nothing to run through
        univariate = transform(context[index])
        theta = univariate.inv(z)
        return theta, univariate.call_and_ladj(theta)[1].reshape(len(z))
    layers = _Layers(transform, context, index)
    theta = torch.zeros_like(z)
    total = z.new_zeros(len(z))
    for step, feature in enumerate(torch.argsort(transform.order).tolist()):
        phi = layers.parameters_at(step, feature, theta)
        univariate = transform.univariate(*unpack(phi, transform.shapes))
        theta[:, feature] = univariate.inv(z[:, feature])
        total += univariate.call_and_ladj(theta[:, feature])[1]
    return theta, total


class _Layers:
    """The masked network of one transform, evaluated unit by unit as parameters become known.

    A unit belongs to step s if it depends on the first s parameters of the transform's order but not on
    later ones. Units are sorted by step, so that what is known at a step is a leading slice.
    """

    def __init__(self, transform: MaskedAutoregressiveTransform, context: Tensor, index: Tensor) -> None:
        linear = [layer for layer in transform.hyper if hasattr(layer, "mask")]
        d = len(transform.order)
        rank = transform.order + 1
        first = linear[0]
        steps = (first.mask[:, :d] * rank).amax(dim=1)
        by_step = torch.argsort(steps, stable=True)
        weight = (first.mask * first.weight)[by_step]
        self.rank, self.total = rank, transform.total
        self.weights = [weight[:, :d]]
        self.biases: list[Tensor] = []
        self.known = [_counts(steps, d)]
        self.pre = (context @ weight[:, d:].T + first.bias[by_step])[index]
        for layer in linear[1:-1]:
            steps = (layer.mask[:, by_step] * steps[by_step]).amax(dim=1)
            order = torch.argsort(steps, stable=True)
            self.weights.append((layer.mask * layer.weight)[order][:, by_step])
            self.biases.append(layer.bias[order])
            self.known.append(_counts(steps, d))
            by_step = order
        self.out = (linear[-1].mask * linear[-1].weight)[:, by_step]
        self.out_bias = linear[-1].bias
        self.units = [self.pre.new_zeros(len(index), len(w)) for w in self.weights]
        self.activations = [layer for layer in transform.hyper if not hasattr(layer, "mask")]

    def parameters_at(self, step: int, feature: int, theta: Tensor) -> Tensor:
        """Returns the spline parameters (B, P) of one feature, once all features before it are in theta."""
        for i, weight in enumerate(self.weights):
            new = slice(self.known[i][step], self.known[i][step + 1])
            if i == 0:
                seen = self.rank <= step
                pre = self.pre[:, new] + theta[:, seen] @ weight[new][:, seen].T
            else:
                below = self.known[i - 1][step + 1]
                pre = torch.addmm(
                    self.biases[i - 1][new], self.units[i - 1][:, :below], weight[new, :below].T
                )
            self.units[i][:, new] = self.activations[i](pre)
        rows = slice(feature * self.total, (feature + 1) * self.total)
        below = self.known[-1][step + 1]
        return torch.addmm(self.out_bias[rows], self.units[-1][:, :below], self.out[rows, :below].T)


def _counts(steps: Tensor, d: int) -> list[int]:
    """Number of units that belong to a step below 0, 1, ..., d + 1."""
    return [int((steps < s).sum()) for s in range(d + 2)]
