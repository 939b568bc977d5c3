"""Gradients recorded once as a CUDA graph and replayed, for networks that launches of kernels hold back.

The graph holds forward pass, backward pass and clipping of all members of a stack. What moves the weights, a
handful of kernels whose rates change with each step, stays outside. Batches of one training have one shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from veridical.errors import TrainingError

WARM_UP = 3  # steps before the recording, in which libraries choose their kernels and get their memory


class Captured:
    """A function of tensors that leaves gradients in weights; its last calls are replays.

    Arguments:
        function: Sets the gradients of a batch and returns tensors of losses. It must make its gradients
            anew, neither read a number back nor branch on one, and draw no random numbers.
        graph: Makes what records; a CUDA graph.
    """

    def __init__(self, function: Callable[..., Tensor], graph: Callable[[], Any] | None = None) -> None:
        self.function, self.graph, self.calls = function, graph or CudaGraph, 0
        self.recorded: Any = None

    def __call__(self, *batch: Tensor) -> Tensor:
        """Returns the losses of a batch, (M,)."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.function(*batch)
        if self.recorded is None:
            self.inputs = tuple(part.clone() for part in batch)
            self.recorded = self.graph()
            self.losses = self.recorded.record(lambda: self.function(*self.inputs))
        for held, part in zip(self.inputs, batch, strict=True):
            held.copy_(part)
        self.recorded.replay()
        return self.losses.clone()


class CudaGraph:
    """Records what a function does on the GPU, without doing it, and does it again."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def record(self, function: Callable[[], Tensor]) -> Tensor:
        """Returns where the function leaves its result at each replay.

        Raises:
            TrainingError: If the function cannot be recorded.
        """
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(self.graph):
                return function()
        except RuntimeError as error:
            raise TrainingError(
                "training.captured: the loss of this network cannot be recorded as a CUDA graph, for it needs a "
                f"number on the CPU or memory of a size that changes ({error}); leave `captured` out."
            ) from error

    def replay(self) -> None:
        """Does it again, with what its inputs hold now."""
        self.graph.replay()
