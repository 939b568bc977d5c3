"""Batches of events of two classes, for members that see events of their own.

Orders depend on (method, replicate, member, epoch) alone. A member is judged on each class by itself, on
validation events that it may count more than once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veridical import seeds
from veridical.tasks.base import Array
from veridical.training import session
from veridical.training.batches import Batch
from veridical.training.session import Session, Steps
from veridical.training.settings import RatioTrainingSettings

CHUNK = 2500  # validation events that go through a member at once


@dataclass(frozen=True)
class MemberEvents:
    """Which events each member learns from and is judged on.

    Attributes:
        train: Indices into the events of each class, shape (M, n_c).
        validation: Indices of the validation events of each class, shape (v_c,).
        multiplicity: How often a member counts each of these, shape (M, v_c).
    """

    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    multiplicity: tuple[Array, Array]


def choose(mode: str, members: int, validation: Sequence[Array], run: Session) -> MemberEvents:
    """Returns the events of each member.

    Arguments:
        mode: `bootstrap`: as many events as there are, with replacement, for training and validation alike;
            `partition`: every M-th training event, all validation events; `whole`: all of both.
        members: M.
        validation: Whether an event serves validation, for each class.
        run: Seeds.

    Raises:
        TrainingError: If a member had too few events.
    """
    found = []
    for c, mask in enumerate(validation):
        rows, held = np.flatnonzero(~mask), np.flatnonzero(mask)
        part = len(rows) // members if mode == "partition" else len(rows)
        session.require_rows(part, len(held))
        parts = [rows[i::members][:part] if mode == "partition" else rows for i in range(members)]
        train, counts = np.stack(parts), np.ones((members, len(held)), np.float32)
        if mode == "bootstrap":
            rngs = [seeds.generator(run.root, "batches", *run.path, m, "resample", c) for m in range(members)]
            train = np.stack([rng.choice(rows, part) for rng in rngs])
            draws = [np.bincount(rng.integers(0, len(held), len(held)), minlength=len(held)) for rng in rngs]
            counts = np.stack(draws).astype(np.float32)
        found.append((train, held, counts))
    return MemberEvents(*zip(*found, strict=True))


class Events:
    """A source of batches with half of the events from either class; see `batches.Source`.

    Arguments:
        events: Inputs of each class, float32, shape (N_c, d).
        chosen: Which of them each member sees.
        settings: How to train.
        run: Seeds.
        device: `cpu` or `cuda`.
    """

    judged, offsets = 1.0, (0.0, 0.0)  # the weights of a member's events have a sum of 1 in each class

    def __init__(
        self,
        events: tuple[Array, Array],
        chosen: MemberEvents,
        settings: RatioTrainingSettings,
        run: Session,
        device: str,
    ) -> None:
        def there(part: Array) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(part)).to(device)

        self.run, self.half, self.device = run, settings.batch_size // 2, device
        self.events = [there(part) for part in events]
        self.rows = [there(part) for part in chosen.train]
        self.validation = [x[there(part)] for x, part in zip(self.events, chosen.validation, strict=True)]
        self.counts = [there(part) for part in chosen.multiplicity]
        sizes = [rows.shape[1] for rows in self.rows]
        self.each = [min(self.half, size) for size in sizes]
        size, batch = min(zip(sizes, self.each, strict=True), key=lambda pair: pair[0] // pair[1])
        looks = [*range(settings.look_every, settings.epochs, settings.look_every), settings.epochs]
        ends = tuple(epoch * (size // batch) for epoch in looks)
        self.plan = Steps(size, batch, ends[-1], ends)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Yields events of both classes, (M, b, d) each, for the steps first, ..., last - 1."""
        orders: list[Tensor | None] = []
        for step in range(first, last):
            epoch, batch = divmod(step, self.plan.steps_per_epoch)
            if batch == 0 or step == first:
                orders = [self._orders(rows.shape[1], len(rows), epoch) for rows in self.rows]
            yield tuple(
                x[rows if order is None else rows.gather(1, order[:, batch * b : (batch + 1) * b])]
                for x, rows, order, b in zip(self.events, self.rows, orders, self.each, strict=True)
            )

    def _orders(self, rows: int, members: int, epoch: int) -> Tensor | None:
        """The order of rows of each member in an epoch, (M, rows); None where one step sees them all."""
        if self.plan.steps_per_epoch == 1 and rows <= self.half:
            return None
        rngs = [seeds.generator(self.run.root, "batches", *self.run.path, m, epoch) for m in range(members)]
        return torch.from_numpy(np.stack([rng.permutation(rows) for rng in rngs])).to(self.device)

    def looks(self) -> Iterator[tuple[float, Batch]]:
        """Yields validation events (B, d) with sign of their class, counts (M, B) and their sum (M,)."""
        for sign, x, counts in zip((1.0, -1.0), self.validation, self.counts, strict=True):
            parts = zip(x.split(CHUNK), counts.split(CHUNK, dim=1), strict=True)
            for events, counted in parts:
                yield 1.0, (events, x.new_tensor(sign), counted, counts.sum(dim=1))
