"""Fits networks to arrays: one, or a stack of several."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from veridical.networks.trainable import Stack, Trainable
from veridical.tasks.base import Array
from veridical.training.devices import cpu_threads, device_for
from veridical.training.session import Session, Steps, TrainingResult
from veridical.training.settings import TrainingSettings


def fit(
    network: Trainable,
    train: tuple[Array, ...],
    validation: tuple[Array, ...],
    settings: TrainingSettings,
    run: Session,
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
    run: Session,
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
    run: Session,
    offsets: tuple[float, float],
) -> list[TrainingResult]:
    """Trains `network`, one or a stack, and leaves the best weights of its members in `into`."""
    from veridical.training import loop

    plan = Steps.of(len(train[0]), settings)
    device = device_for(settings.accelerator)
    capped = tuple(part[: settings.validation_rows] for part in validation)
    with cpu_threads(run.threads or settings.threads), _quiet():
        module = loop.Module(network, plan, settings, run, _tensors(train, device), _tensors(capped, device))
        progress = loop.Progress(plan, settings, run, offsets, network.members)
        trainer = loop.trainer(plan, settings, run, progress, device)
        saved = run.folder.saved() if run.folder else None
        if not progress.finished_before(saved):
            loop.run(trainer, module, saved)
    for member, course in zip(into, progress.courses, strict=True):
        member.cpu().load_state_dict(course.weights)
    return progress.results(torch.cuda.get_device_name() if device == "cuda" else "cpu")


def _tensors(arrays: tuple[Array, ...], device: str) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in arrays)


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
