r"""Training of a network with PyTorch Lightning: a lean loop, the same result after any interruption.

Data lie in memory on the device, and the loop gets whole batches. Training is a fixed number of
optimiser steps, cut into *rounds*; after each round comes a look at the validation loss. Rows are
ordered anew in every epoch by a generator that depends on (method, replicate, epoch) only, so step s
sees the same batch in any run. The learning rate follows one cycle: up from a 25th of its peak during
the warm-up, then down to almost nothing; or it is constant. The weights of the best look are kept.

Weights decay apart from the gradient, :math:`w \to (1 - \eta_t \lambda) \, w` before a step of rate
:math:`\eta_t`. What is stated is :math:`\lambda \sum_t \eta_t`: a weight without gradient ends near
:math:`e^{-\lambda \sum_t \eta_t}` of itself, whatever the number of steps and their rates.

Several networks of one architecture can be trained as one *stack*: their weights lie in common tensors,
each step does one batch of every member. Members stay independent: own seeds, batches, clipping, patience
and best weights. On one core five small flows cost 2 to 3 times less than one after the other at batches
up to 250 rows, 1.4 to 2 times less at 500; from 1000 rows on nothing is gained.

At the ends of rounds the whole state goes into a private folder. A training that starts again there
ends with the same bits as an undisturbed one (CPU, equal number of threads, same versions).

References:
    | Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates (Smith, Topin, 2017)
    | https://arxiv.org/abs/1708.07120
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from veridical import seeds
from veridical.errors import TrainingError
from veridical.training.checkpoints import CheckpointFolder
from veridical.training.settings import TrainingSettings

MIN_ROWS = 10
MIN_VALIDATION_ROWS = 2
FIRST = 1 / 25  # of the peak rate, in the first step of one cycle


@dataclass(frozen=True)
class Session:
    """What a training needs beside settings and data.

    Attributes:
        root: Root seed.
        path: Names the training in seeds: (method, replicate, ...).
        threads: CPU threads; those of the settings where None.
        folder: Where the running state lives, already entered; None keeps no state.
        deadline: When to stop, as `time.time()` counts: at the last end of a round before it, with the
            state saved. None sets no limit.
    """

    root: int
    path: tuple[str | int, ...]
    threads: int | None = None
    folder: CheckpointFolder | None = None
    deadline: float | None = None


@dataclass(frozen=True)
class TrainingResult:
    """How a training went.

    Attributes:
        rounds: One entry per look: step, epoch, train_loss, validation_loss, learning_rate.
        best: Index of the entry whose weights were kept.
        steps: Optimiser steps done.
        stopped_early: Whether patience ran out before the last step.
        resumed_from: Steps at which an interrupted training went on.
        seconds: Wall time, over all attempts that left a state.
        cpu_seconds: Process time, likewise.
        device: `cpu` or the name of the GPU.
        size: How many weights learned from how many rows, in words, with a warning where those are too many.
    """

    rounds: list[dict[str, float]]
    best: int
    steps: int
    stopped_early: bool
    resumed_from: list[int]
    seconds: float
    cpu_seconds: float
    device: str
    size: str = ""


@dataclass(frozen=True)
class Steps:
    """Which steps a training takes: `steps` in all, cut at `ends`, batches of `batch` of `rows` rows."""

    rows: int
    batch: int
    steps: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, settings: TrainingSettings) -> Steps:
        """Returns the plan for so many training rows."""
        batch = settings.batch(rows)
        steps = settings.epochs * (rows // batch)
        if settings.max_steps is not None:
            steps = min(steps, settings.max_steps)
        rounds = min(steps, max(settings.rounds, math.ceil(steps / (rows // batch))))
        ends = np.linspace(0, steps, rounds + 1).round().astype(int)[1:]
        return cls(rows, batch, steps, tuple(int(end) for end in ends))

    def length(self, settings: TrainingSettings) -> int:
        """Returns the steps of the schedule: its warm-up needs two at least."""
        cycle = settings.schedule == "one_cycle"
        return max(self.steps, int(1 / settings.warmup) + 2) if cycle else self.steps

    def sum_of_rates(self, settings: TrainingSettings) -> float:
        """Returns the sum of the learning rates of all steps, to a step or so."""
        share = 1.0
        if (
            settings.schedule == "one_cycle"
        ):  # halves of cosines, from FIRST of the peak and to almost nothing
            share = 0.5 + 0.5 * FIRST * settings.warmup
        return settings.learning_rate * share * self.length(settings)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the rows; what is left over waits for another epoch's order."""
        return self.rows // self.batch


def require_rows(train: int, validation: int) -> None:
    """Raises TrainingError where there are too few valid rows to learn from."""
    if train < MIN_ROWS or validation < MIN_VALIDATION_ROWS:
        raise TrainingError(
            f"training needs at least {MIN_ROWS} valid training rows and {MIN_VALIDATION_ROWS} valid "
            f"validation rows, got {train} and {validation}; raise the budget, or see why simulations fail."
        )


@contextmanager
def seeded_initialisation(run: Session) -> Iterator[None]:
    """Seeds torch's CPU generator for layers made inside, and puts its state back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seeds.integer(run.root, "initialise", *run.path))
        yield


def member_run(run: Session, member: int) -> Session:
    """Returns the run of one member of an ensemble: seeds of its own."""
    return replace(run, path=(*run.path, member))
