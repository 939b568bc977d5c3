r"""Training of a network with PyTorch Lightning: a lean loop, the same result after any interruption.

Data lie in memory on the device, and the loop gets whole batches. Training is a fixed number of
optimiser steps, cut into *rounds*; after each round comes a look at the validation loss. Rows are
ordered anew in every epoch by a generator that depends on (method, replicate, epoch) only, so step s
sees the same batch in any run. The learning rate follows one cycle: up from a 25th of its peak during
the warm-up, then down to almost nothing; or it is constant. The weights of the best look are kept.

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

import copy
import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from veridical import seeds
from veridical.errors import TrainingError
from veridical.estimators.settings import TrainingSettings
from veridical.tasks.base import Array
from veridical.training.checkpoints import CheckpointFolder

MIN_ROWS = 10
MIN_VALIDATION_ROWS = 2


class Trainable(nn.Module):
    """A network that knows its loss."""

    members = 1

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over the rows of a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no loss().")

    def losses(self, *batch: Tensor) -> Tensor:
        """Returns the loss of each member on its own batch, shape (M,)."""
        return self.loss(*batch)[None]

    def losses_on_same(self, *batch: Tensor) -> Tensor:
        """Returns the loss of each member on one batch for all, shape (M,)."""
        return self.loss(*batch)[None]

    def weights_of(self, member: int) -> dict[str, Tensor]:
        """Returns a copy of one member's weights, on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.state_dict().items()}


class Stack(Trainable):
    """Networks of one architecture whose weights lie in common tensors, so that one step trains all.

    Every operation runs once on tensors with a leading axis of members, which for small batches costs
    little more than one network alone.

    Arguments:
        networks: The M members; they are copied.
    """

    def __init__(self, networks: Sequence[Trainable]) -> None:
        super().__init__()
        self.members = len(networks)
        parameters, _ = torch.func.stack_module_state(list(networks))
        self.names = list(parameters)
        self.stacked = nn.ParameterList([parameters[name].detach().clone() for name in self.names])
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


@dataclass(frozen=True)
class Run:
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
    """

    rounds: list[dict[str, float]]
    best: int
    steps: int
    stopped_early: bool
    resumed_from: list[int]
    seconds: float
    cpu_seconds: float
    device: str


@dataclass(frozen=True)
class Plan:
    """Which steps a training takes: `steps` in all, cut at `ends`, batches of `batch` of `rows` rows."""

    rows: int
    batch: int
    steps: int
    ends: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, settings: TrainingSettings) -> Plan:
        """Returns the plan for so many training rows."""
        batch = min(settings.batch_size, rows)
        steps = settings.epochs * (rows // batch)
        if settings.max_steps is not None:
            steps = min(steps, settings.max_steps)
        rounds = min(steps, max(settings.rounds, math.ceil(steps / (rows // batch))))
        ends = np.linspace(0, steps, rounds + 1).round().astype(int)[1:]
        return cls(rows, batch, steps, tuple(int(end) for end in ends))

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
def seeded_initialisation(run: Run) -> Iterator[None]:
    """Seeds torch's CPU generator for layers made inside, and puts its state back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seeds.integer(run.root, "initialise", *run.path))
        yield


def member_run(run: Run, member: int) -> Run:
    """Returns the run of one member of an ensemble: seeds of its own."""
    return replace(run, path=(*run.path, member))


def fit(
    network: Trainable,
    train: tuple[Array, ...],
    validation: tuple[Array, ...],
    settings: TrainingSettings,
    run: Run,
    offsets: tuple[float, float] = (0.0, 0.0),
) -> TrainingResult:
    """Trains `network` in place, leaving it on the CPU with its best weights.

    Arguments:
        network: A `Trainable`.
        train: Arrays of training rows, first axis N.
        validation: The same for validation rows.
        settings: How to train.
        run: Seeds, threads, folder for the running state, time limit.
        offsets: Subtracted from recorded training and validation losses, to state them in other coordinates.

    Raises:
        TrainingError: If the loss is not finite, the asked device is absent, time runs out, or the
            process is told to end.
    """
    (result,) = _train(network, [network], train, validation, settings, run, offsets)
    return result


def fit_stacked(
    networks: Sequence[Trainable],
    train: tuple[Array, ...],
    validation: tuple[Array, ...],
    settings: TrainingSettings,
    run: Run,
    offsets: tuple[float, float] = (0.0, 0.0),
) -> list[TrainingResult]:
    """Trains networks of one architecture on the same rows in one loop, in place; see `fit`.

    Member m has the batches of `member_run(run, m)`, its own clipping, patience and best weights: up to
    rounding, the result is that of training the members one by one. The loop ends with the last member.
    A member's seconds are an equal share of the whole.
    """
    return _train(Stack(networks), networks, train, validation, settings, run, offsets)


def _train(
    network: Trainable,
    into: Sequence[Trainable],
    train: tuple[Array, ...],
    validation: tuple[Array, ...],
    settings: TrainingSettings,
    run: Run,
    offsets: tuple[float, float],
) -> list[TrainingResult]:
    """Trains `network`, one or a stack, and leaves the best weights of its members in `into`."""
    from veridical.training import loop

    plan = Plan.of(len(train[0]), settings)
    device = device_for(settings.accelerator)
    capped = tuple(part[: settings.validation_rows] for part in validation)
    with cpu_threads(run.threads or settings.threads), _quiet():
        module = loop.Module(network, plan, settings, run, _tensors(train, device), _tensors(capped, device))
        progress = loop.Progress(plan, settings, run, offsets, network.members)
        trainer = loop.trainer(plan, settings, run, progress, device)
        saved = run.folder.state if run.folder and run.folder.state.exists() else None
        if not progress.finished_before(saved):
            loop.run(trainer, module, saved)
    for member, course in zip(into, progress.courses, strict=True):
        member.cpu().load_state_dict(course.weights)
    return progress.results(torch.cuda.get_device_name() if device == "cuda" else "cpu")


def visible_gpus() -> str:
    """Says which GPUs this process was given, and whether torch can use them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = f"CUDA_VISIBLE_DEVICES: {'not set' if given is None else given}"
    if given not in (None, "", "-1", "NoDevFiles") and not torch.cuda.is_available():
        found += (
            f"\nWARNING: this job has a GPU, but torch {torch.__version__} sees none and `accelerator: auto` "
            "trains on the CPU. Install a CUDA build of torch that fits the node's driver, or ask for no GPU "
            "(accelerator: cpu)."
        )
    return found


def device_for(accelerator: str) -> str:
    """`cuda` or `cpu`; `auto` takes a GPU where there is one."""
    present = torch.cuda.is_available()
    if accelerator == "gpu" and not present:
        raise TrainingError(
            "training.accelerator: 'gpu' was asked for, but torch sees no CUDA device here; run the job on a "
            "node with a GPU and a CUDA build of torch, or choose 'auto' or 'cpu'."
        )
    return "cuda" if present and accelerator != "cpu" else "cpu"


def _tensors(arrays: tuple[Array, ...], device: str) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in arrays)


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Lets torch use so many CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Lightning's announcements, and a warning about its own code, out of the log."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
