"""Batches: what each step learns from, and what a look judges; the same in any run, whatever the rounds.

A *source* gives both. That of rows in memory, on the device, is `Held`. Rows are ordered anew in every epoch
by a generator that depends on (method, replicate, member, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from veridical import seeds
from veridical.training.augmentation import Augment
from veridical.training.session import Session, Steps

Batch = tuple[Tensor, ...]

MIN_CHUNK = 1024  # validation rows that go through the network at once


class Source(Protocol):
    """Where a training has its batches from, on the device that it runs on.

    Attributes:
        plan: The steps.
        judged: What the weights of one look add up to for each member, to divide its loss by.
        offsets: Subtracted from recorded training and validation losses, to state them in other coordinates.
    """

    plan: Steps
    judged: float
    offsets: tuple[float, float]

    def batches(self, first: int, last: int) -> Iterable[Batch]:
        """Returns the batches of the steps first, ..., last - 1; parts of a stack's are (M, B, ...)."""

    def looks(self) -> Iterable[tuple[float, Batch]]:
        """Returns batches that all members are judged on at each look, with a weight for each."""


class Held:
    """Rows that lie in memory.

    Arguments:
        train: Tensors of training rows, first axis N.
        validation: The same for validation rows.
        plan: The steps.
        runs: One for each member; its path names the order of its rows.
        noise: Standard normal numbers that the loss of a row needs.
        augment: What is added to x, the second part of a batch: noise of a standard deviation, or more.
        stacked: Whether the parts of a batch have an axis of members.
        offsets: See `Source`.
    """

    def __init__(
        self,
        train: Batch,
        validation: Batch,
        plan: Steps,
        runs: Sequence[Session],
        *,
        noise: int = 0,
        augment: Augment | None = None,
        stacked: bool = False,
        offsets: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.train, self.validation, self.plan, self.runs = train, validation, plan, runs
        self.noise, self.augment, self.stacked, self.offsets = noise, augment, stacked, offsets
        self.judged = float(len(validation[0]))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Yields the batches of the steps first, ..., last - 1."""
        members = [self.member(run, first, last) for run in self.runs]
        return side_by_side(members) if self.stacked else iter(members[0])

    def member(self, run: Session, first: int, last: int) -> Iterable[Batch]:
        """Returns those of one member."""
        batches = Batches(self.train, self.plan, run, first, last, self.noise)
        return noisy(batches, self.augment, run, first) if self.augment else batches

    def looks(self) -> Iterator[tuple[float, Batch]]:
        """Yields the validation rows in order, in chunks that stay in the cache."""
        size = max(MIN_CHUNK, self.plan.batch)
        for chunk in zip(*(part.split(size) for part in self.validation), strict=True):
            yield len(chunk[0]), chunk


class Batches:
    """Batches of one member for the steps first, ..., last - 1, with so much noise for the loss of a row."""

    def __init__(self, rows: Batch, plan: Steps, run: Session, first: int, last: int, noise: int = 0) -> None:
        self.rows, self.plan, self.run, self.first, self.last = rows, plan, run, first, last
        self.noise = noise

    def __iter__(self) -> Iterator[Batch]:
        plan, step = self.plan, self.first
        while step < self.last:
            epoch, batch = divmod(step, plan.steps_per_epoch)
            order = seeds.generator(self.run.root, "batches", *self.run.path, epoch).permutation(plan.rows)
            end = min(plan.steps_per_epoch, batch + self.last - step)
            rows = slice(batch * plan.batch, end * plan.batch)
            numbers = normal(plan.rows, self.noise, self.run, epoch)[rows].split(plan.batch)
            for chosen, noise in zip(torch.from_numpy(order[rows]).split(plan.batch), numbers, strict=True):
                index = chosen.to(self.rows[0].device)
                parts = tuple(part[index] for part in self.rows)
                yield (*parts, noise.to(index.device)) if self.noise else parts
            step += end - batch


def normal(rows: int, numbers: int, run: Session, *path: int | str) -> Tensor:
    """Returns standard normal numbers (rows, numbers) for what `path` names: an epoch, or `validation`."""
    rng = seeds.generator(run.root, "batches", *run.path, "noise", *path)
    return torch.from_numpy(rng.standard_normal((rows, numbers), dtype=np.float32))


def noisy(batches: Iterable[Batch], augment: Augment, run: Session, first: int) -> Iterator[Batch]:
    """Yields batches of the steps from `first` on with noise of their own in their second part, x."""
    for step, (z, x, *others) in enumerate(batches, first):
        rng = seeds.generator(run.root, "batches", *run.path, "augment", step)
        yield z, with_noise(x, augment, rng), *others


def with_noise(x: Tensor, augment: Augment, rng: np.random.Generator) -> Tensor:
    """Returns x (B, *x_shape) with normal noise of a standard deviation, or distorted."""
    if not isinstance(augment, float):
        return augment(x, rng)
    noise = torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32))
    return x + augment * noise.to(x.device)


def side_by_side(members: Sequence[Iterable[Batch]]) -> Iterator[Batch]:
    """Yields batches of several members together: parts (M, B, ...)."""
    for batches in zip(*members, strict=True):
        yield tuple(torch.stack(parts) for parts in zip(*batches, strict=True))
