r"""The loop that trains the members of an ensemble of density ratios side by side.

All members take their steps together: each has batches of its own, and the losses add up, so that no member
sees another. Members are worked through in groups with gradients in common tensors (`networks.stacked`), each
has best weights of its own, and a step takes a millisecond or two: Lightning's automatic optimisation serves
none of it, hence a lean loop, with the same promises. Batches depend on (method, replicate, member, epoch)
alone, and a training that starts again from its private folder ends with the same bits as an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical import seeds
from veridical.errors import TrainingError
from veridical.networks import stacked
from veridical.networks.stacked import StackedMLP
from veridical.tasks.base import Array
from veridical.training import session
from veridical.training.session import Session, TrainingResult
from veridical.training.settings import RatioTrainingSettings

CHUNK = 2500  # validation events that go through a member at once

Pair = tuple[Tensor, Tensor]  # numerator, denominator


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


def losses(kind: str, margin: Tensor) -> Tensor:
    """Returns the loss of events with margin f (numerator) or -f (denominator)."""
    return torch.expm1(-margin) - margin if kind == "mlc" else functional.softplus(-margin)


class RatioTraining:
    """The training of one ensemble.

    Arguments:
        network: The members, initialised.
        events: Inputs of each class, float32, shape (N_c, d).
        chosen: Which of them each member sees.
        kind: `mlc` or `bce`.
        settings: How to train.
        run: Seeds, folder for the running state, time limit.
        device: `cpu` or `cuda`.
    """

    def __init__(
        self,
        network: StackedMLP,
        events: tuple[Array, Array],
        chosen: MemberEvents,
        kind: str,
        settings: RatioTrainingSettings,
        run: Session,
        device: str,
    ) -> None:
        self.network = network.to(device)
        self.kind, self.settings, self.run_info = kind, settings, run
        inputs = [torch.from_numpy(part) for part in events]
        self.events = [part.to(device) for part in inputs]
        self.rows = [torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in chosen.train]
        self.judged = [
            self.events[c][torch.from_numpy(part).to(device)] for c, part in enumerate(chosen.validation)
        ]
        self.counts = [torch.from_numpy(part).to(device) for part in chosen.multiplicity]
        sizes = [part.shape[1] for part in chosen.train]
        self.batches = [min(settings.batch_size // 2, size) for size in sizes]
        self.steps = min(size // batch for size, batch in zip(sizes, self.batches, strict=True))
        for parameter in self.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, fused=True)
        self.best = [p.detach().clone() for p in self.network.parameters()]
        self.best_loss = torch.full((network.members,), math.inf, device=device)
        self.rounds: list[dict[str, float]] = []
        self.epoch = 0
        self.resumed_from: list[int] = []
        self.spent = [0.0, 0.0]
        self.started = (time.perf_counter(), time.process_time())

    def fit(self) -> TrainingResult:
        """Trains, from a saved state where there is one; leaves the best weights of each member, on the CPU.

        Raises:
            TrainingError: If a loss is not finite, or time runs out.
        """
        self._resume()
        running: list[Tensor] = []
        device = next(self.network.parameters()).device
        while self.epoch < self.settings.epochs:
            running.append(self._train_epoch())
            self.epoch += 1
            if self.epoch % self.settings.look_every == 0 or self.epoch == self.settings.epochs:
                self._look(torch.stack(running).mean(dim=0))
                running.clear()
                self._keep()
        with torch.no_grad():
            for parameter, best in zip(self.network.parameters(), self.best, strict=True):
                parameter.copy_(best)
        self.network.cpu()
        return self._result(torch.cuda.get_device_name() if device.type == "cuda" else "cpu")

    def _train_epoch(self) -> Tensor:
        """Takes the steps of one epoch; returns the mean training loss of each member."""
        orders = [self._orders(size.shape[1]) for size in self.rows]
        total = torch.zeros_like(self.best_loss)
        for step in range(self.steps):
            picked = [
                rows if order is None else rows.gather(1, order[:, step * batch : (step + 1) * batch])
                for rows, order, batch in zip(self.rows, orders, self.batches, strict=True)
            ]
            for parameter in self.network.parameters():
                assert parameter.grad is not None
                parameter.grad.zero_()
            for group in self.network.groups(sum(self.batches)):
                total[group] += self._accumulate([part[group] for part in picked], group)
            self.optimiser.step()
        return total / self.steps

    def _orders(self, rows: int) -> Tensor | None:
        """The order of rows of each member in this epoch, (M, rows); None where one step sees them all."""
        if self.steps == 1 and rows <= self.settings.batch_size // 2:
            return None
        orders = [
            seeds.generator(self.run_info.root, "batches", *self.run_info.path, m, self.epoch).permutation(
                rows
            )
            for m in range(self.network.members)
        ]
        return torch.from_numpy(np.stack(orders)).to(self.best_loss.device)

    def _accumulate(self, picked: Sequence[Tensor], group: slice) -> Tensor:
        """Adds the gradients of a group at the events picked (G, b_c) per class; returns its losses (G,)."""
        x = torch.cat([events[rows] for events, rows in zip(self.events, picked, strict=True)], dim=1)
        f = stacked.apply(*self.network.leaves(group), x, self.network.slope)
        first = picked[0].shape[1]
        loss = losses(self.kind, f[:, :first]).mean(dim=1) + losses(self.kind, -f[:, first:]).mean(dim=1)
        loss.sum().backward()
        return loss.detach()

    @torch.no_grad()
    def _validation_loss(self) -> Tensor:
        """The validation loss of each member, (M,)."""
        total = torch.zeros_like(self.best_loss)
        for sign, x, counts in zip((1, -1), self.judged, self.counts, strict=True):
            mass = counts.sum(dim=1)
            for first in range(0, len(x), CHUNK):
                part, weight = x[first : first + CHUNK], counts[:, first : first + CHUNK]
                for group in self.network.groups(len(part)):
                    values = losses(self.kind, sign * self.network(part, group))
                    total[group] += (values * weight[group]).sum(dim=1) / mass[group]
        return total

    def _look(self, train_loss: Tensor) -> None:
        """Records a look, and keeps the weights of the members that are better than ever."""
        loss = self._validation_loss()
        if not (torch.isfinite(loss).all() and torch.isfinite(train_loss).all()):
            bad = (~torch.isfinite(loss + train_loss)).nonzero().flatten().tolist()
            raise TrainingError(
                f"the loss of members {bad} is not finite at epoch {self.epoch}; lower "
                f"training.learning_rate (now {self.settings.learning_rate:g}), choose loss: bce, or tame x "
                "with inputs.transform: asinh."
            )
        better = loss < self.best_loss
        self.best_loss = torch.where(better, loss, self.best_loss)
        for best, parameter in zip(self.best, self.network.parameters(), strict=True):
            best[better] = parameter.detach()[better]
        entry = {
            "step": self.epoch * self.steps,
            "epoch": float(self.epoch),
            "train_loss": float(train_loss.mean()),
            "validation_loss": float(loss.mean()),
            "learning_rate": self.settings.learning_rate,
        }
        self.rounds.append(entry)

    def _keep(self) -> None:
        """Saves the running state when it is time, and stops where the job's time is up."""
        folder, deadline = self.run_info.folder, self.run_info.deadline
        finished = self.epoch == self.settings.epochs
        late = deadline is not None and time.time() > deadline and not finished
        if folder and (late or finished or folder.due()):
            folder.save(lambda path: torch.save(self._state(), path))
        if late:
            rest = "run again to go on from here" if folder else "nothing was saved, for no folder was given"
            raise TrainingError(
                f"the job's time ends after {self.epoch} of {self.settings.epochs} epochs; {rest}, or allow "
                "it more time."
            )

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "best_loss": self.best_loss,
            "rounds": self.rounds,
            "epoch": self.epoch,
            "resumed_from": self.resumed_from,
            "spent": list(self._total()),
        }

    def _resume(self) -> None:
        """Goes on from a saved state, if there is one."""
        folder = self.run_info.folder
        saved = folder.saved() if folder else None
        if saved is None:
            return
        state = torch.load(saved, weights_only=True, map_location=self.best_loss.device)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.best_loss = state["best"], state["best_loss"]
        self.rounds, self.epoch, self.spent = state["rounds"], state["epoch"], state["spent"]
        ended = self.epoch == self.settings.epochs
        self.resumed_from = [*state["resumed_from"], *([] if ended else [self.epoch * self.steps])]

    def _total(self) -> tuple[float, float]:
        now = (time.perf_counter(), time.process_time())
        return (self.spent[0] + now[0] - self.started[0], self.spent[1] + now[1] - self.started[1])

    def _result(self, device: str) -> TrainingResult:
        """How it went; losses are means over members, each of which kept its own best look."""
        seconds, cpu_seconds = self._total()
        return TrainingResult(
            rounds=self.rounds,
            best=int(np.argmin([entry["validation_loss"] for entry in self.rounds])),
            steps=self.epoch * self.steps,
            stopped_early=False,
            resumed_from=self.resumed_from,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            device=device,
        )
