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
    """A function of tensors that leaves gradients in weights; all but its first calls are replays.

    Arguments:
        function: Sets the gradients of a batch and returns losses (M,). It must make its gradients anew,
            neither read a number back nor branch on one, and draw no random numbers.
        graph: Makes what warms up, records and replays; a CUDA graph.
    """

    def __init__(self, function: Callable[..., Tensor], graph: Callable[[], Any] | None = None) -> None:
        self.function, self.graph = function, (graph or CudaGraph)()
        self.calls, self.losses = 0, torch.empty(0)
        self.inputs: tuple[Tensor, ...] = ()

    def __call__(self, *batch: Tensor) -> Tensor:
        """Returns the losses of a batch, (M,)."""
        self.calls += 1
        if self.calls <= WARM_UP:
            warm: Tensor = self.graph.warm_up(lambda: self.function(*batch))
            return warm
        if self.calls == WARM_UP + 1:
            self.inputs = tuple(part.clone() for part in batch)
            self.losses = self.graph.record(lambda: self.function(*self.inputs))
        for held, part in zip(self.inputs, batch, strict=True):
            held.copy_(part)
        self.graph.replay()
        return self.losses.clone()


class CudaGraph:
    """Records what a function does on the GPU, without doing it, and does it again."""

    def __init__(self) -> None:
        self.graph, self.stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    def warm_up(self, function: Callable[[], Tensor]) -> Tensor:
        """Calls a function on a stream of its own, as a recording needs it."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            found = function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return found

    def record(self, function: Callable[[], Tensor]) -> Tensor:
        """Returns where the function leaves its result at each replay.

        Raises:
            TrainingError: If the function cannot be recorded.
        """
        try:
            with torch.cuda.graph(self.graph, stream=self.stream):
                return function()
        except RuntimeError as error:
            raise TrainingError(
                "training.captured: this network cannot be recorded as a CUDA graph, for its loss needs "
                f"a number on the CPU or memory of a size that changes ({error}); leave `captured` out."
            ) from error

    def replay(self) -> None:
        """Does it again, with what its inputs hold now."""
        self.graph.replay()
