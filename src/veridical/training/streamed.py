"""Batches of rows that do not lie in memory: read in shuffled blocks or simulated, the same in any run.

The order of an epoch depends on (method, replicate, member, epoch) alone, in units of blocks and within a
buffer (see `bank.streaming`). Where a training goes on in the middle of an epoch, the batches before are read
again and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from veridical import seeds
from veridical.tasks.base import Array
from veridical.training.batches import Batch, Held, noisy, normal
from veridical.training.session import Session

Read = Callable[[int, np.random.Generator, int, int, int], Iterator[tuple[Array, ...]]]


@dataclass(frozen=True)
class Stream:
    """Training rows that are read while they are needed.

    Attributes:
        rows: How many there are.
        read: Yields those of one pass in batches: gets their size, a generator for the order, how many
            readers share the memory, how many passes came before, and how many batches to leave out first.
    """

    rows: int
    read: Read


class StreamedRows(Held):
    """A source whose training rows come from a stream; its other arguments are those of `Held`."""

    def __init__(self, stream: Stream, *held: Any, **settings: Any) -> None:
        super().__init__(*held, **settings)
        self.stream = stream
        self._open: dict[tuple[str | int, ...], tuple[int, Iterator[tuple[Array, ...]]]] = {}

    def member(self, run: Session, first: int, last: int) -> Iterator[Batch]:
        """Yields the batches of one member; what it has read goes on where the next round begins."""
        batches = self._batches(run, first, last)
        return noisy(batches, self.augment, run, first) if self.augment else batches

    def _batches(self, run: Session, first: int, last: int) -> Iterator[Batch]:
        device, per_epoch = self.train[0].device, self.plan.steps_per_epoch
        at, reader = self._open.pop(run.path, (-1, iter(())))
        for step in range(first, last):
            epoch, batch = divmod(step, per_epoch)
            if batch == 0 or at != step:
                rng = seeds.generator(run.root, "batches", *run.path, epoch)
                reader = self.stream.read(self.plan.batch, rng, len(self.runs), epoch, batch)
            parts = tuple(torch.from_numpy(part).to(device) for part in next(reader))
            numbers = normal(self.plan.batch, self.noise, run, "step", step).to(device)
            yield (*parts, numbers) if self.noise else parts
            at = step + 1
        self._open[run.path] = at, reader
