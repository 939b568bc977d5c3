"""The loop of a training, as PyTorch Lightning runs it; what `training.fit` drives.

One Lightning epoch is one round of the plan. Importing this module imports Lightning, which takes
seconds: only a job that trains does so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.types import OptimizerConfig, OptimizerLRSchedulerConfig
from torch import Tensor

from veridical import seeds
from veridical.errors import TrainingError
from veridical.networks.trainable import Stack, Trainable
from veridical.training.session import Session, Steps, TrainingResult, member_run
from veridical.training.settings import TrainingSettings

MIN_CHUNK = 1024  # validation rows that go through the network at once


def trainer(
    plan: Steps, settings: TrainingSettings, run: Session, progress: Progress, device: str
) -> pl.Trainer:
    """Returns a Trainer without loggers, progress bars, sanity checks or files of its own."""
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=len(plan.ends),
        gradient_clip_val=settings.clip,
        callbacks=[progress],
        plugins=[LightningEnvironment()],  # never SLURM's: it would requeue jobs behind the scheduler's back
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=str(run.folder.folder) if run.folder else None,
    )


def run(trainer: pl.Trainer, module: Module, saved: Path | None) -> None:
    """Trains, from a saved state where there is one.

    Raises:
        TrainingError: On SIGTERM; Lightning alone would end the process with the exit code of success.
    """
    try:
        trainer.fit(module, ckpt_path=saved, weights_only=True)
    except SIGTERMException as end:
        raise TrainingError(
            "the job was told to end (SIGTERM) before its training had; run it again to go on from the last "
            "state saved, and allow it more time if that was the reason."
        ) from end


class Module(pl.LightningModule):
    """What Lightning sees: batches, loss, optimiser, schedule."""

    def __init__(
        self,
        network: Trainable,
        plan: Steps,
        settings: TrainingSettings,
        run: Session,
        train: tuple[Tensor, ...],
        validation: tuple[Tensor, ...],
        decays: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.decays = decays or [settings.weight_decay] * network.members
        self.plan, self.settings, self.seed_path = plan, settings, run
        self.train_rows, self.validation_rows = train, validation
        self.losses: list[Tensor] = []
        self.validation_losses: list[Tensor] = []

    def train_dataloader(self) -> Batches | StackedBatches:
        """The batches of the current round; Lightning calls this once per round."""
        done = self.current_epoch
        first = self.plan.ends[done - 1] if done else 0
        span = (first, self.plan.ends[done])
        rows, noise = self.train_rows, self.network.noise
        if not isinstance(self.network, Stack):
            return Batches(rows, self.plan, self.seed_path, *span, noise)
        runs = [member_run(self.seed_path, m) for m in range(self.network.members)]
        return StackedBatches([Batches(rows, self.plan, run, *span, noise) for run in runs])

    def val_dataloader(self) -> Chunks:
        """The validation rows."""
        return Chunks(self.validation_rows, max(MIN_CHUNK, self.plan.batch))

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """The loss of one batch, summed over members."""
        losses = self.network.losses(*batch)
        self.losses.append(losses.detach())
        return losses.sum()

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Adds the loss of one chunk, weighted by its rows."""
        self.validation_losses.append(self.network.losses_on_same(*batch) * len(batch[0]))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient of each member by itself."""
        if isinstance(self.network, Stack):
            self.network.clip(self.settings.clip)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shrinks weights in proportion to the rate of the step, so that all steps shrink them as stated."""
        if any(self.decays):
            share = optimizer.param_groups[0]["lr"] / self.plan.sum_of_rates(self.settings)
            self.network.shrink([1 - decay * share for decay in self.decays])

    def configure_optimizers(self) -> OptimizerConfig | OptimizerLRSchedulerConfig:
        """Fused Adam, under a one-cycle schedule or at a constant rate."""
        settings = self.settings
        optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, fused=True)
        if settings.schedule == "constant":
            return {"optimizer": optimiser}
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            settings.learning_rate,
            total_steps=self.plan.length(settings),
            pct_start=settings.warmup,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The rows lie on the device already."""
        return batch


class Batches:
    """Batches of the steps first, ..., last - 1, with so many standard normal numbers for each row."""

    def __init__(
        self,
        rows: tuple[Tensor, ...],
        plan: Steps,
        run: Session,
        first: int,
        last: int,
        noise: int = 0,
    ) -> None:
        self.rows, self.plan, self.run, self.first, self.last = rows, plan, run, first, last
        self.noise = noise

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
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


def normal(rows: int, numbers: int, run: Session, epoch: int | str) -> Tensor:
    """Returns standard normal numbers (rows, numbers) for the losses of one epoch, or of `validation`."""
    rng = seeds.generator(run.root, "batches", *run.path, "noise", epoch)
    return torch.from_numpy(rng.standard_normal((rows, numbers), dtype=np.float32))


class StackedBatches:
    """Batches of several members side by side: parts (M, B, ...)."""

    def __init__(self, members: list[Batches]) -> None:
        self.members = members

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for batches in zip(*self.members, strict=True):
            yield tuple(torch.stack(parts) for parts in zip(*batches, strict=True))


class Chunks:
    """Rows in order, in chunks that stay in the cache."""

    def __init__(self, rows: tuple[Tensor, ...], size: int) -> None:
        self.rows, self.size = rows, size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(part.split(self.size) for part in self.rows), strict=True)


@dataclass
class Course:
    """How the training of one member goes.

    Attributes:
        rounds: One entry per look at the validation loss.
        best: Index of the best one.
        weights: The member's weights at that look.
        finished: Whether its patience ran out, or its last step was done.
    """

    rounds: list[dict[str, float]] = field(default_factory=list)
    best: int = -1
    weights: dict[str, Tensor] = field(default_factory=dict)
    finished: bool = False


class Progress(pl.Callback):
    """After each round: history, best weights, patience, running state, time limit."""

    def __init__(
        self,
        plan: Steps,
        settings: TrainingSettings,
        run: Session,
        offsets: tuple[float, float],
        members: int = 1,
    ) -> None:
        self.plan, self.settings, self.run_info, self.offsets = plan, settings, run, offsets
        self.courses = [Course() for _ in range(members)]
        self.done = 0  # rounds
        self.resumed_from: list[int] = []
        self.spent = (0.0, 0.0)
        self.started = (time.perf_counter(), time.process_time())
        self.looked = self.started[0]
        self.longest = 0.0  # seconds of a round

    @property
    def finished(self) -> bool:
        """Whether all members are."""
        return all(course.finished for course in self.courses)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Records the round (Lightning's epoch) that ended, and decides how to go on."""
        assert isinstance(pl_module, Module)
        step = self.plan.ends[self.done]
        rows = len(pl_module.validation_rows[0])
        train_losses = [part.mean() for part in torch.stack(pl_module.losses, dim=1)]
        validation_losses = [part.sum() / rows for part in torch.stack(pl_module.validation_losses, dim=1)]
        pl_module.losses.clear()
        pl_module.validation_losses.clear()
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        for member, course in enumerate(self.courses):
            if course.finished:
                continue
            entry = {
                "step": step,
                "epoch": step / self.plan.steps_per_epoch,
                "train_loss": float(train_losses[member]) - self.offsets[0],
                "validation_loss": float(validation_losses[member]) - self.offsets[1],
                "learning_rate": float(rate),
            }
            self._record(course, entry, pl_module.network, member)
        self.done += 1
        trainer.should_stop = self.finished
        self._keep(trainer, step)

    def _record(self, course: Course, entry: dict[str, float], network: Trainable, member: int) -> None:
        """Adds a look at one member's losses to its course."""
        step, loss = int(entry["step"]), entry["validation_loss"]
        self._require_finite(step, entry["train_loss"], loss)
        course.rounds.append(entry)
        better = course.best < 0 or loss < course.rounds[course.best]["validation_loss"]
        if better or network.keeps_last:
            course.best = len(course.rounds) - 1
            course.weights = network.weights_of(member)
        patient = len(course.rounds) - 1 - course.best < self.settings.patience
        course.finished = not patient or step == self.plan.steps

    def _require_finite(self, step: int, train_loss: float, validation_loss: float) -> None:
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise TrainingError(
                f"the loss is not finite at step {step} (training {train_loss}, validation "
                f"{validation_loss}); lower training.learning_rate (now {self.settings.learning_rate:g}) or "
                "training.clip, or tame x with inputs.transform: asinh."
            )

    def _keep(self, trainer: pl.Trainer, step: int) -> None:
        """Saves the running state when it is time, and stops where there is no time for another round."""
        folder, deadline = self.run_info.folder, self.run_info.deadline
        before, self.looked = self.looked, time.perf_counter()
        self.longest = max(self.longest, self.looked - before)
        late = deadline is not None and time.time() + self.longest > deadline and not self.finished
        if folder and (late or self.finished or folder.due()):
            folder.save(trainer.save_checkpoint)
        if late:
            rest = "run again to go on from here" if folder else "nothing was saved, for no folder was given"
            raise TrainingError(
                f"the job's time ends after {step} of {self.plan.steps} steps; {rest}, or allow it more time."
            )

    def finished_before(self, saved: Path | None) -> bool:
        """Reads a saved state; returns whether its training had ended already."""
        if saved is None:
            return False
        state = torch.load(saved, weights_only=True, map_location="cpu")["callbacks"][self.state_key]
        self.load_state_dict(state)
        return self.finished

    def state_dict(self) -> dict[str, Any]:
        """What Lightning keeps of this callback in a saved state."""
        return {
            "courses": [vars(course) for course in self.courses],
            "done": self.done,
            "finished": self.finished,
            "resumed_from": self.resumed_from,
            "spent": list(self._total()),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a saved state."""
        self.courses = [Course(**course) for course in state_dict["courses"]]
        self.done = state_dict["done"]
        step = self.plan.ends[self.done - 1]
        self.resumed_from = [*state_dict["resumed_from"], *([] if self.finished else [step])]
        self.spent = (state_dict["spent"][0], state_dict["spent"][1])

    def _total(self) -> tuple[float, float]:
        now = (time.perf_counter(), time.process_time())
        return (self.spent[0] + now[0] - self.started[0], self.spent[1] + now[1] - self.started[1])

    def results(self, device: str) -> list[TrainingResult]:
        """Returns how it went, one entry for each member."""
        seconds, cpu_seconds = (spent / len(self.courses) for spent in self._total())
        return [
            TrainingResult(
                rounds=course.rounds,
                best=course.best,
                steps=int(course.rounds[-1]["step"]),
                stopped_early=int(course.rounds[-1]["step"]) < self.plan.steps,
                resumed_from=self.resumed_from,
                seconds=seconds,
                cpu_seconds=cpu_seconds,
                device=device,
            )
            for course in self.courses
        ]
