"""Networks that know their loss, alone or several of one architecture as one stack."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Trainable(nn.Module):
    """A network that knows its loss.

    Attributes:
        noise: Standard normal numbers that the loss of a row needs, the last part of a batch; none where 0.
        keeps_last: Whether the weights of the last step are kept, for its loss ranks none.
        tamed_by: What else keeps its loss finite, for messages.
    """

    members = 1
    noise = 0
    keeps_last = False
    tamed_by = "lower training.clip"

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over the rows of a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no loss().")

    def losses(self, *batch: Tensor) -> Tensor:
        """Returns the loss of each member on its own batch, shape (M,)."""
        return self.loss(*batch)[None]

    def losses_on_same(self, *batch: Tensor) -> Tensor:
        """Returns the loss of each member on one batch for all, shape (M,)."""
        return self.loss(*batch)[None]

    def accumulate(self, *batch: Tensor) -> Tensor:
        """Adds the gradients of the losses of a batch to those of the weights; returns the losses (M,)."""
        losses = self.losses(*batch)
        losses.sum().backward()
        return losses.detach()

    def clip(self, largest: float) -> None:
        """Scales the gradient of each member down to the norm `largest`."""
        nn.utils.clip_grad_norm_(self.parameters(), largest)

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """Returns a copy of one member's weights, on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.state_dict().items()}

    def take(self, weights: Sequence[dict[str, Tensor]]) -> None:
        """Takes the weights of each member that `weights_of` returned, and stays on the CPU."""
        self.cpu().load_state_dict(weights[0])

    def trained(self) -> list[Tensor]:
        """Returns the weights that training moves."""
        return [part for part in self.parameters() if part.requires_grad]

    @torch.no_grad()
    def shrink(self, factors: Sequence[float]) -> None:
        """Multiplies the weights of each member by its own factor (M,)."""
        trained = self.trained()
        if len(set(factors)) == 1:
            torch._foreach_mul_(trained, factors[0])
            return
        for part in trained:
            part.mul_(part.new_tensor(factors).reshape(-1, *[1] * (part.ndim - 1)))


class Stack(Trainable):
    """Networks of one architecture whose weights lie in common tensors, so that one step trains all.

    Every operation runs once on tensors with a leading axis of members, which for small batches costs
    little more than one network alone.

    Arguments:
        networks: The M members; they are copied, and take what the stack has learned at the end.
    """

    def __init__(self, networks: Sequence[Trainable]) -> None:
        super().__init__()
        self.into = tuple(networks)
        self.members, self.noise, self.keeps_last = len(networks), networks[0].noise, networks[0].keeps_last
        parameters, _ = torch.func.stack_module_state(list(networks))
        self.names = list(parameters)
        moved = [networks[0].get_parameter(name).requires_grad for name in self.names]
        self.stacked = nn.ParameterList(
            nn.Parameter(parameters[name].detach().clone(), moves)
            for name, moves in zip(self.names, moved, strict=True)
        )
        self.shared = _LossOf(copy.deepcopy(networks[0]).requires_grad_(False))

    def losses(self, *batch: Tensor) -> Tensor:
        """Returns the loss of each member on its own batch; parts of the batch are (M, B, ...)."""
        return torch.vmap(self._loss)(list(self.stacked), *batch)

    def losses_on_same(self, *batch: Tensor) -> Tensor:
        """Returns the loss of each member on one batch for all; parts of the batch are (B, ...)."""
        return torch.vmap(self._loss, in_dims=(0, *[None] * len(batch)))(list(self.stacked), *batch)

    def _loss(self, weights: list[Tensor], *batch: Tensor) -> Tensor:
        named = {f"network.{name}": weight for name, weight in zip(self.names, weights, strict=True)}
        return torch.func.functional_call(self.shared, named, batch)

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """Returns a copy of one member's weights, on the CPU."""
        buffers = dict(self.shared.network.named_buffers())
        own = {name: part[member] for name, part in zip(self.names, self.stacked, strict=True)}
        state = {**buffers, **own}
        names = self.shared.network.state_dict()
        return {name: state[name].detach().cpu().clone() for name in names}

    def take(self, weights: Sequence[dict[str, Tensor]]) -> None:
        """Gives the members their weights, on the CPU."""
        for member, own in zip(self.into, weights, strict=True):
            member.take([own])

    def clip(self, largest: float) -> None:
        """Scales the gradient of each member down to the norm `largest`."""
        gradients = [part.grad for part in self.stacked if part.grad is not None]
        squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
        factor = (largest / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.reshape(-1, *[1] * (gradient.ndim - 1)))


class _LossOf(nn.Module):
    """Calls a network's loss as `forward`, as functional calls need it."""

    def __init__(self, network: Trainable) -> None:
        super().__init__()
        self.network = network

    def forward(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over the rows of a batch."""
        return self.network.loss(*batch)
