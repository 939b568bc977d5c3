"""Fits networks to arrays: one, or a stack of several."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veridical import seeds
from veridical.networks.layers import Summary
from veridical.networks.trainable import Stack, Trainable
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.training import batches
from veridical.training.augmentation import Distorted, augmentation
from veridical.training.devices import cpu_threads, device_for
from veridical.training.session import Session, Steps, TrainingResult, member_run
from veridical.training.settings import TrainingSettings
from veridical.training.streamed import Stream, StreamedRows

VALIDATION_NOISE = 8  # times that the loss of a validation row is taken, at the same noise in every look
_MANY = 1_000_000, 100  # weights in all, and for each row, from which on their number is a warning


@dataclass(frozen=True)
class Data:
    """What networks learn from and are judged on.

    Attributes:
        train: Arrays of training rows, first axis N.
        validation: The same for validation rows.
        offsets: Subtracted from recorded training and validation losses, to state them in other coordinates.
        stream: All training rows, where `train` is only the first ones.
        inputs: What made the second part, x, of a row; None for a method that nothing distorts.
    """

    train: tuple[Array, ...]
    validation: tuple[Array, ...]
    offsets: tuple[float, float] = (0.0, 0.0)
    stream: Stream | None = None
    inputs: InputTransform | None = None

    @property
    def rows(self) -> int:
        """Number of training rows."""
        return self.stream.rows if self.stream else len(self.train[0])

    @classmethod
    def split(cls, rows: tuple[Array, ...], learn: Array, apart: Array, log_slope: Array) -> Data:
        """Returns data of both kinds of rows; losses lose the mean log slope (N,) of what made them."""
        offsets = float(log_slope[learn].mean()), float(log_slope[apart].mean())
        return cls(tuple(part[learn] for part in rows), tuple(part[apart] for part in rows), offsets)


def fit(network: Trainable, data: Data, settings: TrainingSettings, run: Session) -> TrainingResult:
    """Trains `network` in place, leaving it on the CPU with its best weights.

    Arguments:
        network: A `Trainable`.
        data: What it learns from.
        settings: How to train.
        run: Seeds, threads, folder for the running state, time limit.

    Raises:
        TrainingError: If the loss is not finite, the asked device is absent, time runs out, or the
            process is told to end.
    """
    (result,) = _fit(network, [run], data, settings, run)
    return result


def fit_stacked(
    networks: Sequence[Trainable],
    data: Data,
    settings: TrainingSettings,
    run: Session,
    decays: Sequence[float] | None = None,
) -> list[TrainingResult]:
    """Trains networks of one architecture on the same rows in one loop, in place; see `fit`.

    Member m has the batches of `member_run(run, m)`, its own clipping, patience and best weights: up to
    rounding, the result is that of training the members one by one. The loop ends with the last member.
    A member's seconds are an equal share of the whole. Members may differ in their weight decay, `decays`.
    """
    runs = [member_run(run, m) for m in range(len(networks))]
    return _fit(Stack(networks), runs, data, settings, run, decays)


def _fit(
    network: Trainable,
    runs: Sequence[Session],
    data: Data,
    settings: TrainingSettings,
    run: Session,
    decays: Sequence[float] | None = None,
) -> list[TrainingResult]:
    """Trains a network or a stack, whose members have orders of rows by `runs`."""
    plan, stacked = Steps.of(data.rows, settings), isinstance(network, Stack)
    size = weights_message(network.into[0] if isinstance(network, Stack) else network, plan.rows)
    print(size)
    device = device_for(settings.accelerator)
    capped = tuple(part[: settings.validation_rows] for part in data.validation)
    augment = augmentation(settings, data.inputs)
    if isinstance(augment, Distorted):
        capped = distorted(capped, augment, run, "validation")
    if network.noise:
        fixed = batches.normal(len(capped[0]), VALIDATION_NOISE * network.noise, run, "validation")
        capped = (*capped, fixed.numpy())
    offsets = (0.0, 0.0) if network.noise else data.offsets  # such losses are no densities
    needs: dict[str, Any] = {"noise": network.noise, "augment": augment, "offsets": offsets}
    first = tuple(part[:1] for part in data.train) if data.stream else data.train
    held = _tensors(first, device), _tensors(capped, device), plan, runs
    if data.stream:
        source: batches.Source = StreamedRows(data.stream, *held, **needs, stacked=stacked)
    else:
        source = batches.Held(*held, **needs, stacked=stacked)
    results = train(network, source, settings, run, device, decays)
    return [replace(result, size=size) for result in results]


def train(
    network: Trainable,
    source: batches.Source,
    settings: TrainingSettings,
    run: Session,
    device: str,
    decays: Sequence[float] | None = None,
) -> list[TrainingResult]:
    """Trains a network on the batches of a source; returns how it went, for each member.

    Arguments:
        network: One network, or several with losses of their own.
        source: Their batches.
        settings: How to train.
        run: Seeds, threads, folder for the running state, time limit.
        device: `cpu` or `cuda`.
        decays: The weight decay of each member, where they differ.
    """
    from veridical.training import loop

    with cpu_threads(run.threads or settings.threads), _quiet():
        module = loop.Module(network.to(device), source, settings, decays)
        progress = loop.Progress(source.plan, settings, run, source.offsets, network.members)
        trainer = loop.trainer(source.plan, run, progress, device)
        saved = run.folder.saved() if run.folder else None
        if not progress.finished_before(saved):
            loop.run(trainer, module, saved)
    network.take([course.weights for course in progress.courses])
    return progress.results(torch.cuda.get_device_name() if device == "cuda" else "cpu")


def distorted(rows: tuple[Array, ...], augment: Distorted, run: Session, *path: str) -> tuple[Array, ...]:
    """Returns rows whose second part, x, is distorted once, by what `path` names."""
    rng = seeds.generator(run.root, "batches", *run.path, "augment", *path)
    z, x, *others = rows
    return z, augment(torch.from_numpy(x), rng).numpy(), *others


def weights_message(network: nn.Module, rows: int) -> str:
    """Says how many weights are to be learned, with a warning where they exceed the rows by far."""
    sizes = {name: part.numel() for name, part in network.named_parameters() if part.requires_grad}
    weights = sum(sizes.values())
    text = f"{weights:,} weights, {rows:,} training rows"
    if weights < max(_MANY[0], _MANY[1] * rows):
        return text
    largest = max(sizes, key=sizes.__getitem__)
    told = "".join(part.narrower() for part in network.modules() if isinstance(part, Summary))
    return (
        f"warning: {text}: training is slow, and rows are learned by heart. {largest} alone has "
        f"{sizes[largest]:,}; {told or 'make its layers narrower, or simulate more.'}"
    )


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
