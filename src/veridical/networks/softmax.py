"""Several small dense classifiers of one shape, with the weights of all of them in one tensor per layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.networks.fronts import Front
from veridical.networks.stacked import StackedMLP


class StackedSoftmax(StackedMLP):
    """M dense networks with leaky ReLUs, from `widths[0]` inputs to the logits of C classes.

    Their loss is cross-entropy, with the same weight for each class whatever its number of events.

    Arguments:
        members: M.
        widths: Inputs, then hidden widths.
        slope: Slope of the leaky ReLU below zero.
        classes: C, at least two.
        front: What comes before them, where they do not see events as they are.
    """

    tamed_by = "lower training.learning_rate"

    def __init__(
        self,
        members: int,
        widths: Sequence[int],
        slope: float,
        classes: int,
        front: Front | None = None,
    ) -> None:
        super().__init__(members, widths, slope, front=front)
        self.classes, fan_in = classes, self.weights[-1].shape[1]
        self.weights[-1] = nn.Parameter(torch.zeros(members, fan_in, classes))
        self.biases[-1] = nn.Parameter(torch.zeros(members, 1, classes))

    def accumulate(self, *batch: Tensor) -> Tensor:
        """Adds the gradients of a batch, group by group; returns the losses (M,).

        A batch is the events of each class that each member sees, (M, b, d) each.
        """
        self._hold_parts()
        sizes, found = [part.shape[1] for part in batch], []
        for group in self.groups(sum(sizes)):
            if (key := (group.start, group.stop)) not in self._parts:
                self._parts[key] = self.leaves(group)
            logits = self.outputs(*self._parts[key], torch.cat([part[group] for part in batch], dim=1))
            log_p = functional.log_softmax(logits, dim=-1).split(sizes, dim=1)
            loss = -torch.stack([part[..., c].mean(dim=1) for c, part in enumerate(log_p)]).mean(dim=0)
            loss.sum().backward()
            found.append(loss.detach())
        return torch.cat(found)

    def losses_on_same(self, *batch: Tensor) -> Tensor:
        """Returns what events (B, d) of one class add to the mean loss of each member, (M,).

        With them come the number of their class, how often each member counts them (M, B), and all (M,).
        """
        x, cls, counts, mass = batch
        found = []
        for group in self.groups(len(x)):
            log_p = functional.log_softmax(self(x, group), dim=-1)[..., int(cls)]
            found.append(-(log_p * counts[group]).sum(dim=1) / (mass[group] * self.classes))
        return torch.cat(found)
