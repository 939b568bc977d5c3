"""The training of cross-fitted J-NPE: five networks from the weights of one, and a look that suits all."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical import bank, seeds
from veridical.errors import TrainingError
from veridical.estimators.apart import FOLDS, folds
from veridical.estimators.base import Material, Rows
from veridical.estimators.encoded import Encoded
from veridical.networks.layers import rows_at_once
from veridical.networks.trainable import Stack, Trainable
from veridical.remedies.cross_joint_settings import CrossJNPESettings
from veridical.tasks.base import Array
from veridical.training import session
from veridical.training.augmentation import augmentation
from veridical.training.batches import with_noise

BROAD = 0.02  # weight of the prior in the score that chooses a look
OFTEN = 4  # times that a pair is in a batch, at most
SIMULATED_ROWS = 8192  # simulations that are made at once
Batch = tuple[Tensor, ...]


def network_of(posterior: Any) -> Trainable:
    """The network of a posterior."""
    found: Trainable = posterior.network
    return found


def untrained(posterior: Any) -> Trainable:
    """A network of the same architecture, in evaluation mode; what can be trained of it is."""
    found: Trainable = posterior.build(posterior.settings, posterior.task)
    return found.eval()


def with_network(parent: Any, network: Trainable) -> Encoded:
    """The posterior with another network."""
    found: Encoded = replace(parent, network=network)
    return found


class Training:
    """The five fits: their networks, pairs and simulations, and what they were at the best look so far.

    Attributes:
        members: The fits at that look.
    """

    def __init__(
        self,
        settings: CrossJNPESettings,
        parent: Encoded,
        pairs: Rows,
        material: Material,
        run: session.Session,
    ) -> None:
        self.started = time.perf_counter(), time.process_time()
        self.settings, self.parent, self.pairs = settings, parent, pairs
        prior = material.require("prior", settings.type)
        self.log_prior = prior.log_prob(pairs.theta)
        if (bad := ~np.isfinite(self.log_prior)).any():
            raise TrainingError(
                f"remedy {settings.type!r}: {int(bad.sum())} of {len(pairs)} labelled pairs, the first being "
                f"number {int(np.argmax(bad))}, have no density under the prior; correct their parameters, "
                "or widen the prior."
            )
        self.draw = rows_of(settings, material)
        self.augment = augmentation(parent.settings.training, parent.inputs)
        self.theta, self.x = self._tensors(pairs.theta, pairs.x)
        self.learn = [np.flatnonzero(learn) for learn, _ in folds(len(pairs))]
        self.half = min(settings.batch_size // 2, OFTEN * min(map(len, self.learn)))
        self.rngs = [seeds.generator(run.root, "remedy", *run.path, "pairs", k) for k in range(FOLDS)]
        self.rng = seeds.generator(run.root, "remedy", *run.path, "simulations")
        with session.seeded_initialisation(run):
            networks = [untrained(parent) for _ in range(FOLDS)]
        for network in networks:
            network.load_state_dict(network_of(parent).state_dict())
        together = parent.settings.summary.stackable
        self.groups: list[Trainable] = [Stack(networks)] if together else networks
        rate = settings.learning_rate
        self.optimisers = [torch.optim.Adam(one.parameters(), lr=rate, fused=True) for one in self.groups]
        self.members: list[Encoded] = [parent] * FOLDS
        self.rounds: list[dict[str, float]] = []
        self.best = 0

    def _tensors(self, theta: Array, x: Array) -> Batch:
        """Parameters in z and x as networks see them, in single precision."""
        z = self.parent.parameters.forward(theta)[0].astype(np.float32)
        return torch.from_numpy(z), torch.from_numpy(self.parent.inputs(x, np.float32))

    def take_steps(self) -> session.TrainingResult:
        """Takes all steps, looking at the pairs now and then, until looks get no better."""
        settings, losses = self.settings, list[float]()
        every = max(1, settings.steps // settings.looks)
        step = 0
        if not settings.steps:
            self._look(0)
        for step, batch in enumerate(self._batches(), 1):
            losses.append(self._step(batch))
            if not np.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss is not finite at step {step}; lower learning_rate (now "
                    f"{settings.learning_rate:g})."
                )
            if step == 1:
                self._look(0, losses[0])
            if step % every == 0 or step == settings.steps:
                self._look(step, float(np.mean(losses)))
                losses.clear()
                if len(self.rounds) - 1 - self.best >= settings.patience:
                    break
        early = step < settings.steps
        wall, cpu = time.perf_counter() - self.started[0], time.process_time() - self.started[1]
        return session.TrainingResult(self.rounds, self.best, step, early, [], wall, cpu, "cpu")

    def _step(self, batch: Batch) -> float:
        """Moves the weights of all fits by one batch, parts (M, B, ...); returns their mean loss."""
        found = []
        if len(self.groups) == 1:
            parts: list[Batch] = [batch]
        else:
            parts = list(zip(*batch, strict=True))
        for group, optimiser, own in zip(self.groups, self.optimisers, parts, strict=True):
            optimiser.zero_grad(set_to_none=True)
            found.append(group.accumulate(*own))
            group.clip(self.settings.clip)
            optimiser.step()
        return float(torch.cat(found).mean())

    def _look(self, step: int, train_loss: float | None = None) -> None:
        """Scores each pair by the fit that has not seen it, and keeps the fits where that is best."""
        states = [group.weights_of(m) for group in self.groups for m in range(group.members)]
        members, log_q = [self.parent] * FOLDS, np.empty(len(self.pairs))
        for k, (_, held) in enumerate(folds(len(self.pairs))):
            if step:
                network = copy.deepcopy(network_of(self.parent))
                network.load_state_dict(states[k])
                members[k] = with_network(self.parent, network)
            log_q[held] = members[k].log_prob(self.pairs.theta[held], self.pairs.x[held])
        broad = np.log(BROAD) + self.log_prior
        score = float(np.logaddexp(np.log1p(-BROAD) + log_q, broad).mean())
        if not self.rounds or -score < self.rounds[self.best]["validation_loss"]:
            self.best, self.members = len(self.rounds), members
        self.rounds.append(
            {
                "step": step,
                "epoch": step * self.half / len(self.learn[0]),
                "train_loss": -score if train_loss is None else train_loss,
                "validation_loss": -score,
                "learning_rate": self.settings.learning_rate,
            }
        )

    def _batches(self) -> Iterator[Batch]:
        """Yields, for each step, parts (M, 2 B, ...): simulations, the same for all fits, and their pairs."""
        steps, half = self.settings.steps, self.half
        together = max(1, rows_at_once(tuple(self.x.shape[1:]), SIMULATED_ROWS) // half)
        for first in range(0, steps, together):
            count = min(together, steps - first)
            theta, x = self._tensors(*self.draw(count * half, self.rng))
            for own in torch.arange(count * half).split(half):
                seen = x[own] if self.augment is None else with_noise(x[own], self.augment, self.rng)
                chosen = torch.from_numpy(np.stack([self._pairs(k) for k in range(FOLDS)]))
                both = (theta[own], self.theta), (seen, self.x)
                parts = [torch.cat([one.expand(FOLDS, *one.shape), pairs[chosen]], 1) for one, pairs in both]
                yield (*parts, *self._noise())

    def _pairs(self, k: int) -> Array:
        """Rows of pairs for a batch of fit k, none of its own fold."""
        again = -(-self.half // len(self.learn[k]))
        rows = np.concatenate([self.rngs[k].permutation(self.learn[k]) for _ in range(again)])
        return rows[: self.half]

    def _noise(self) -> Batch:
        """What the loss of a batch needs beside its rows, if anything."""
        if not (numbers := self.groups[0].noise):
            return ()
        shape = 2 * self.half, numbers
        return (torch.from_numpy(np.stack([r.standard_normal(shape, np.float32) for r in self.rngs])),)


def rows_of(settings: CrossJNPESettings, material: Material) -> Callable[..., tuple[Array, Array]]:
    """Returns what gives so many valid simulations, theta and x: fresh ones of the prior, or stored ones.

    Raises:
        TrainingError: If there is nothing to simulate with, or, on a call, nothing but failures.
    """
    if settings.simulations:
        stored: Rows = material.require("simulations", settings.type)

        def taken(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
            chosen = rng.integers(len(stored), size=n)
            return stored.theta[chosen], stored.x[chosen]

        return taken
    if material.simulate is None:
        raise TrainingError(
            f"remedy {settings.type!r} simulates at draws of the prior, but these simulations were made "
            "elsewhere; set `simulations` to a number of stored ones to learn from these."
        )
    simulate, prior = material.simulate, material.require("prior", settings.type)

    def fresh(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        theta = prior.sample(rng, n)
        arrays = simulate.block(theta, rng).arrays
        valid = np.flatnonzero(bank.valid(arrays))
        if not len(valid):
            raise TrainingError(
                f"remedy {settings.type!r}: all {n} simulations at draws of the prior failed; see why."
            )
        chosen = np.resize(valid, n)  # those that failed are replaced by others, again
        return theta[chosen], arrays["x"][chosen]

    return fresh
