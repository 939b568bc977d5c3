"""Rows that are simulated while a training learns from them: those of the bank first, then new ones.

The first pass is over the rows of the bank, which also give statistics and validation rows. Each later pass
takes rows that no pass before has shown and that nobody stores: whole blocks behind those of the bank, by
their numbers, so that they are the rows that a larger bank would hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import numpy as np

from veridical.bank.blocks import simulate_block
from veridical.bank.reading import load
from veridical.bank.shards import Array, PathLike
from veridical.bank.validity import for_validation, valid
from veridical.errors import SimulationError
from veridical.tasks.base import Task

_LABELLED = ("theta", "x", "status")
SPARE = 2  # times the rows of the bank that are set apart for a pass, for those that fail


@dataclass(frozen=True)
class Online:
    """Labelled rows of which each pass but the first is simulated as it goes.

    Attributes:
        paths: Shards of the bank.
        rows: How many of its rows, failures and those for validation included.
        task: What simulates the others, in this process.
        root: The root seed.
        fidelity: The level.
        replicate: The replicate.
    """

    paths: Sequence[PathLike]
    rows: int
    task: Task
    root: int
    fidelity: str
    replicate: int
    _last: dict[int, dict[str, Array]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _held(self) -> Mapping[str, Array]:
        arrays = load(self.paths, self.rows, _LABELLED)
        arrays["row"], good = np.arange(self.rows), valid(arrays)
        return {name: array[good] for name, array in arrays.items()}

    @property
    def counts(self) -> tuple[int, int]:
        """How many valid rows of the bank are for training, which is the length of a pass, and validation."""
        apart = int(for_validation(self._held["row"]).sum())
        return len(self._held["row"]) - apart, apart

    def __len__(self) -> int:
        """Number of valid rows of the bank."""
        return len(self._held["row"])

    def head(self) -> dict[str, Array]:
        """Returns the valid rows of the bank in order."""
        return dict(self._held)

    def training_batches(
        self, batch_size: int, rng: np.random.Generator, readers: int, turn: int
    ) -> Iterator[dict[str, Array]]:
        """Yields the batches of a pass: turn 0 has the bank's rows in random order, others new ones.

        Raises:
            SimulationError: If more than half of the new rows fail.
        """
        if turn == 0:
            (learned,) = np.nonzero(~for_validation(self._held["row"]))
            order = rng.permutation(learned)
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                yield {name: array[rows] for name, array in self._held.items()}
            return
        size = self.task.block_rows
        each = ceil(SPARE * self.rows / size)
        first = ceil(self.rows / size) + (turn - 1) * each
        waiting: dict[str, Array] = {}
        for number in range(first, first + each):
            new = self._block(number)
            waiting = {name: np.concatenate([waiting[name], new[name]]) for name in new} if waiting else new
            while len(waiting["row"]) >= batch_size:
                yield {name: array[:batch_size] for name, array in waiting.items()}
                waiting = {name: array[batch_size:] for name, array in waiting.items()}
        raise SimulationError(
            f"task {self.task.name} at fidelity {self.fidelity}: rows {first * size}.."
            f"{(first + each) * size - 1} hold fewer than the {self.counts[0]} valid ones that a pass of an "
            "online training asks for; see why so many simulations fail, or train from a bank."
        )

    def _block(self, number: int) -> dict[str, Array]:
        """The valid rows of one block; the members of a stack, which ask for it in turn, share it."""
        if number not in self._last:
            made = simulate_block(self.task, self.root, self.fidelity, "train", self.replicate, number)
            arrays = {name: made.arrays[name] for name in _LABELLED}
            size = self.task.block_rows
            arrays["row"], good = np.arange(number * size, (number + 1) * size), valid(arrays)
            self._last.clear()
            self._last[number] = {name: array[good] for name, array in arrays.items()}
        return self._last[number]
