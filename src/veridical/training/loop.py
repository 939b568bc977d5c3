"""The loop of a training, as PyTorch Lightning runs it; what `training.fit` drives.

One Lightning epoch is one round of the plan. Importing this module imports Lightning, which takes
seconds: only a job that trains does so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.types import OptimizerConfig, OptimizerLRSchedulerConfig
from torch import Tensor

from veridical.errors import TrainingError
from veridical.networks.trainable import Trainable
from veridical.training.average import Average
from veridical.training.batches import Batch, Source
from veridical.training.session import Session, Steps, TrainingResult
from veridical.training.settings import TrainingSettings
from veridical.training.step import Step

STRETCH = 32  # steps between two looks of Lightning at what else there is to do


def trainer(plan: Steps, run: Session, progress: Progress, device: str) -> pl.Trainer:
    """Returns a Trainer without loggers, progress bars, sanity checks or files of its own."""
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=len(plan.ends),
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
    """What Lightning sees: the batches of a round, the steps that they make, looks."""

    automatic_optimization = False

    def __init__(
        self,
        network: Trainable,
        source: Source,
        settings: TrainingSettings,
        decays: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.source = network, source
        decays = decays or [settings.weight_decay] * network.members
        self.step = Step(network, source.plan, settings, decays)
        self.average = Average(network, settings.ema) if settings.ema else None
        self.losses: list[Tensor] = []

    def train_dataloader(self) -> Round:
        """The batches of the current round; Lightning calls this once per round."""
        return Round(self.source, self.current_epoch)

    def training_step(self, batch: Iterator[Batch], index: int) -> None:
        """Makes the steps of one stretch; raises SIGTERMException where the job is told to end."""
        done = self.source.plan.ends[self.current_epoch - 1] if self.current_epoch else 0
        for one in batch:
            if self.trainer.received_sigterm:
                raise SIGTERMException
            self.losses.append(self.step(*one))
            if self.average:
                self.average.update(done + len(self.losses))

    @torch.no_grad()
    def look(self) -> tuple[Tensor, Tensor]:
        """Returns the mean training and validation losses (M,) of the round that ends; see `judged`."""
        self.network.eval()
        parts = [self.network.losses_on_same(*batch) * weight for weight, batch in self.source.looks()]
        self.network.train()
        train_losses = torch.stack([part.mean() for part in torch.stack(self.losses, dim=1)])
        self.losses.clear()
        return train_losses, torch.stack([p.sum() for p in torch.stack(parts, dim=1)]) / self.source.judged

    def judged(self) -> AbstractContextManager[None]:
        """Has the weights in the network that looks judge: running means where they are wanted."""
        return self.average.inside() if self.average else nullcontext()

    def configure_optimizers(self) -> OptimizerConfig | OptimizerLRSchedulerConfig:
        """The optimiser and the schedule of a step, for Lightning to keep in a saved state."""
        step = self.step
        if step.schedule is None:
            return {"optimizer": step.optimiser}
        return {"optimizer": step.optimiser, "lr_scheduler": {"scheduler": step.schedule, "interval": "step"}}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The rows of its batches lie on the device already."""
        return batch


class Round:
    """One round in stretches of steps, each a batch to Lightning, whose share in a step may be large."""

    def __init__(self, source: Source, done: int) -> None:
        ends = (0, *source.plan.ends)
        self.source, self.span = source, ends[done : done + 2]

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        batches, (first, last) = iter(self.source.batches(*self.span)), self.span
        return (islice(batches, STRETCH) for _ in range(first, last, STRETCH))


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
        with pl_module.judged():
            self._look(pl_module, float(trainer.optimizers[0].param_groups[0]["lr"]))
        self.done += 1
        trainer.should_stop = self.finished
        self._keep(trainer, self.plan.ends[self.done - 1])

    def _look(self, module: Module, rate: float) -> None:
        """Looks at the losses of all members that train on."""
        step, (train_losses, validation_losses) = self.plan.ends[self.done], module.look()
        for member, course in enumerate(self.courses):
            if course.finished:
                continue
            entry = {
                "step": step,
                "epoch": step / self.plan.steps_per_epoch,
                "train_loss": float(train_losses[member]) - self.offsets[0],
                "validation_loss": float(validation_losses[member]) - self.offsets[1],
                "learning_rate": rate,
            }
            self._record(course, entry, module.network, member)

    def _record(self, course: Course, entry: dict[str, float], network: Trainable, member: int) -> None:
        """Adds a look at one member's losses to its course."""
        step, loss = int(entry["step"]), entry["validation_loss"]
        self._require_finite(step, entry["train_loss"], loss, network.tamed_by)
        course.rounds.append(entry)
        better = course.best < 0 or loss < course.rounds[course.best]["validation_loss"]
        if better or network.keeps_last:
            course.best = len(course.rounds) - 1
            course.weights = network.weights_of(member)
        patient = len(course.rounds) - 1 - course.best < self.settings.patience
        course.finished = not patient or step == self.plan.steps

    def _require_finite(self, step: int, train_loss: float, validation_loss: float, tamed_by: str) -> None:
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise TrainingError(
                f"the loss is not finite at step {step} (training {train_loss}, validation "
                f"{validation_loss}); lower training.learning_rate (now {self.settings.learning_rate:g}), "
                f"{tamed_by}, or tame x with inputs.transform: asinh."
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
