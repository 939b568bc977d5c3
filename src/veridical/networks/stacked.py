r"""Several small dense networks of one shape, with the weights of all of them in one tensor per layer.

They are log ratios f of two classes of events, and know two losses of a margin, f or -f by the class.

One batched product then serves all members. It wins while the activations of the members stay in the cache;
beyond that, members are worked through in *groups* whose gradients add up in the same stacked tensors, so
that one optimiser step serves all either way. A group takes as many members as keep

    members x events x widest hidden layer <= GROUP_ACTIVATIONS

on a CPU, where rows of a front (see `veridical.networks.fronts`) count as events, and members with one have
eight times the room; on a GPU one group holds them all. One step of 16 members 1-32-32-1, in groups of 1 / 4
/ 16, on one core of an EPYC in ms: 256 events 5.7 / 2.4 / 1.4; 1000: 7.4 / 5.6 / 8.2; 2500: 11.5 / 13.0 /
17.9; 5000: 16.6 / 28.6 / 37.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.networks.fronts import Front, dense
from veridical.networks.trainable import Trainable

GROUP_ACTIVATIONS = 150_000  # 32 wide: all of 16 members at 256 events, 4 at 1000, one at 2500


class StackedMLP(Trainable):
    """M dense networks with leaky ReLUs, from `widths[0]` inputs to one number.

    Arguments:
        members: M.
        widths: Inputs, then hidden widths.
        slope: Slope of the leaky ReLU below zero.
        kind: Their loss, `mlc` or `bce`.
        front: What comes before them, where they do not see events as they are.
    """

    tamed_by = "choose loss: bce"

    def __init__(
        self,
        members: int,
        widths: Sequence[int],
        slope: float,
        kind: str = "mlc",
        front: Front | None = None,
    ) -> None:
        super().__init__()
        self.members, self.widths, self.slope, self.kind = members, tuple(widths), slope, kind
        layers = list(pairwise((*widths, 1)))
        self.weights = nn.ParameterList(torch.zeros(members, fan_in, out) for fan_in, out in layers)
        self.biases = nn.ParameterList(torch.zeros(members, 1, out) for _, out in layers)
        self.front = front or Front(self.widths[0])
        self._parts: dict[tuple[int, int], tuple[list[Tensor], list[Tensor]]] = {}  # leaves of groups
        self._parts_of: list[int] = []

    @torch.no_grad()
    def initialise(self, generators: Sequence[np.random.Generator]) -> None:
        """Draws each member's weights and biases, uniform within 1 / sqrt(inputs), from its own generator."""
        for i, rng in enumerate(generators):
            for weight, bias in zip(*self._layers, strict=True):
                bound = 1 / math.sqrt(weight.shape[1])
                for part in (weight[i], bias[i]):
                    part.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(part.shape))))

    def groups(self, events: int) -> Iterator[slice]:
        """Yields the members group by group, for batches of so many events each."""
        size = self.members
        if not self.weights[0].is_cuda:
            widest = max(self.front.widest, *self.widths[1:], 1)
            most = GROUP_ACTIVATIONS * self.front.room
            size = max(1, most // ((events + self.front.rows) * widest))
        for first in range(0, self.members, size):
            yield slice(first, min(first + size, self.members))

    @property
    def _layers(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Weights and biases of all layers, those of the front first."""
        return [*self.front.weights, *self.weights], [*self.front.biases, *self.biases]

    def forward(self, x: Tensor, group: slice | None = None) -> Tensor:
        """Returns f (G, B) of the members of a group at x (G, B, d), or at the same x (B, d) for each."""
        group = slice(0, self.members) if group is None else group
        weights, biases = self._layers
        return self.outputs([w[group] for w in weights], [b[group] for b in biases], x)

    def outputs(self, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor) -> Tensor:
        """Returns f as `forward` does, with these weights and biases of all layers."""
        first = len(self.front.weights)
        h = self.front(weights[:first], biases[:first], x)
        return apply(weights[first:], biases[first:], h, self.slope)

    def leaves(self, group: slice) -> tuple[list[Tensor], list[Tensor]]:
        """Returns weights and biases of a group as leaves that add their gradients to the stacked ones.

        The stacked tensors must have gradients already.
        """
        weights, biases = self._layers
        return [_leaf(w, group) for w in weights], [_leaf(b, group) for b in biases]

    def accumulate(self, *batch: Tensor) -> Tensor:
        """Adds the gradients of a batch, group by group; returns the losses (M,).

        A batch is the events of both classes that each member sees, (M, b, d) each, numerator first.
        """
        self._hold_parts()
        first, found = batch[0].shape[1], []
        for group in self.groups(sum(part.shape[1] for part in batch)):
            if (key := (group.start, group.stop)) not in self._parts:
                self._parts[key] = self.leaves(group)
            f = self.outputs(*self._parts[key], torch.cat([part[group] for part in batch], dim=1))
            loss = losses(self.kind, f[:, :first]).mean(dim=1) + losses(self.kind, -f[:, first:]).mean(dim=1)
            loss.sum().backward()
            found.append(loss.detach())
        return torch.cat(found)

    def _hold_parts(self) -> None:
        """Gives all weights gradients, and forgets leaves that are not theirs."""
        held = []
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            held += [parameter.data_ptr(), parameter.grad.data_ptr()]
        if held != self._parts_of:
            self._parts_of = held
            self._parts.clear()

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Makes gradients zero; they stay where they are, for the leaves of groups."""
        super().zero_grad(set_to_none=False)

    def losses_on_same(self, *batch: Tensor) -> Tensor:
        """Returns what events (B, d) of one class add to the mean loss of each member, (M,).

        With them come the sign of their class, how often each member counts them (M, B), and all (M,).
        """
        x, sign, counts, mass = batch
        groups = self.groups(len(x))
        return torch.cat(
            [
                (losses(self.kind, sign * self(x, group)) * counts[group]).sum(dim=1) / mass[group]
                for group in groups
            ]
        )

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """Returns a copy of one member's weights, on the CPU."""
        return {name: part.detach()[member].cpu().clone() for name, part in self.named_parameters()}

    def take(self, weights: Sequence[dict[str, Tensor]]) -> None:
        """Takes the weights of each member, and stays on the CPU."""
        names = dict(self.named_parameters())
        self._parts.clear()
        self.cpu().load_state_dict({name: torch.stack([own[name] for own in weights]) for name in names})


def losses(kind: str, margin: Tensor) -> Tensor:
    """Returns the loss of events with margin f (numerator) or -f (denominator)."""
    return torch.expm1(-margin) - margin if kind == "mlc" else functional.softplus(-margin)


def apply(weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, slope: float) -> Tensor:
    """Returns outputs (G, B) at x (G, B, d) or (B, d) of networks with stacked weights and biases."""
    return dense(weights, biases, x, slope).squeeze(-1)


def _leaf(stacked: Tensor, group: slice) -> Tensor:
    leaf = stacked.detach()[group].requires_grad_()
    assert stacked.grad is not None
    leaf.grad = stacked.grad[group]
    return leaf
