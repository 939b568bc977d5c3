r"""A copy g of an NPE's encoder h, fine-tuned to send real data where simulations of their parameters go.

For labelled real data :math:`(\theta_i, y_i)` the copy minimises

.. math:: \frac{1}{m} \sum_i \big\| g(y_i) - E_\epsilon \, h(S(\theta_i, \epsilon)) \big\|_2 ,

a norm, not a square, by Adam; one fresh simulation per pair and step stands for the expectation (gradients
flow through g alone). Part of the pairs is held back; their target is the mean summary of many simulations,
made once. The weights with the smallest mean norm on them are kept, those of h among the candidates: where
tuning never helps, g is h.

The copy sees y standardised by moments of *simulations*, like the original: what the simulator never makes
lies several standard deviations out. Tuning mends that near the pairs, and nowhere else.

On its own this is the ablation without transport: g(y) goes into the flow q, which was never trained on it.
Computing summaries leaves no room for randomness: networks are in evaluation mode from the first step on.

References:
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), section 3.2, https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical import bank, seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.encoded import Encoded, Recoded, encoder_of
from veridical.networks import weights
from veridical.networks.layers import rows_at_once
from veridical.networks.transforms import InputTransform
from veridical.remedies.tuned_settings import TunedSettings
from veridical.tasks.base import Array
from veridical.training import devices, session

MIN_PAIRS = 5
ENCODER = "encoder."  # before the names of its weights
SIMULATED_ROWS = 8192  # simulations that are made at once
Simulate = Callable[[Array, np.random.Generator], tuple[Array, Array]]  # x, and which rows are valid


@dataclass(eq=False)
class Tuned(Recoded):
    """The posterior q(theta | g(y)) of an NPE whose encoder was fine-tuned on labelled real data."""

    type = "tuned"
    settings: TunedSettings
    task: TaskInfo
    encoder: torch.nn.Module
    norms: Array
    parent: Encoded

    def __post_init__(self) -> None:
        self.posterior = self.parent.with_encoder(self.encoder)
        self.cloud = self.parent.cloud

    @property
    def helped(self) -> bool:
        """Whether fine-tuning brought held-back pairs nearer to their simulations."""
        return bool(self.norms[1] < self.norms[0])

    @classmethod
    def fit(
        cls, settings: TunedSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Tuned, session.TrainingResult]:
        """Returns the fine-tuned posterior and how the tuning went; see `Estimator.fit`.

        Losses in the record are mean norms, in units of the summaries; the first entry is h itself.
        """
        parent = encoder_of(material.require("parent", settings.type), settings.type)
        pairs = labelled(material, "calibration", settings.type, task)
        simulate = simulations(settings, material)
        with devices.cpu_threads(run.threads or settings.threads):
            tuning = _Tuning(settings, parent, pairs, simulate, run)
            result = tuning.take_steps()
        norms = np.array(
            [entry["validation_loss"] for entry in (result.rounds[0], result.rounds[result.best])]
        )
        return cls(settings, task, tuning.best, norms, parent), result

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        return self.posterior.sample_and_log_prob(x, n, rng)

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape)."""
        return self.posterior.sample(x, n, rng)

    @property
    def has_density(self) -> bool:
        """Whether what it wraps knows its densities."""
        return self.parent.has_density

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        return self.posterior.log_prob(theta, x)

    def summary(self, x: Array) -> Array:
        """Returns summaries g(x) (N, K) of x (N, *x_shape)."""
        return self.posterior.summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter around the network."""
        kept = "a fine-tuned copy" if self.helped else "the original: no step brought held-back pairs nearer"
        return {**self.posterior.transforms(), "encoder": kept, "norms": self.norms.tolist()}

    def arrays(self) -> dict[str, Array]:
        """Returns the weights of g by name, and the mean norms on held-back pairs of h and g."""
        return {**weights.arrays_of(self.encoder, ENCODER), "norms": self.norms}

    @classmethod
    def from_arrays(
        cls, settings: TunedSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Tuned:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, Encoded) or parent.encoder is None:
            raise ArtifactError(
                f"remedy {cls.type}: expected the npe {settings.of!r} beside it, got {parent}."
            )
        encoder = copy.deepcopy(parent.encoder)
        with weights.fitting(f"remedy {cls.type}", f"those of {settings.of!r}"):
            weights.load_into(encoder, arrays, ENCODER)
            norms = np.asarray(arrays["norms"])
        return cls(settings, task, encoder, norms, parent)


def simulations(settings: TunedSettings, material: Material) -> Simulate:
    """Returns what simulates: the task itself, or the stored simulations of nearest parameters.

    Distances between parameters are in units of their standard deviations over the stored simulations.

    Raises:
        TrainingError: If there is neither.
    """
    if settings.simulations == 0:
        if material.simulate is None:
            raise TrainingError(
                f"remedy {settings.type!r} simulates at the parameters of the pairs, but these simulations "
                "were made elsewhere; set `simulations` to a number of stored ones to use the nearest ones."
            )
        simulate = material.simulate

        def fresh(theta: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            arrays = simulate.block(theta, rng).arrays
            return arrays["x"], bank.valid(arrays)

        return fresh
    from scipy.spatial import KDTree

    stored: Rows = material.require("simulations", settings.type)
    scale = stored.theta.std(axis=0)
    tree = KDTree(stored.theta / scale)

    def nearest(theta: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return stored.x[tree.query(theta / scale)[1]], np.ones(len(theta), bool)

    return nearest


class _Tuning:
    """One fine-tuning: data, network, optimiser."""

    def __init__(
        self, settings: TunedSettings, parent: Encoded, pairs: Rows, simulate: Simulate, run: session.Session
    ) -> None:
        self.started = time.perf_counter(), time.process_time()
        self.settings, self.simulate, self.inputs = settings, simulate, parent.inputs
        self.rng = seeds.generator(run.root, "remedy", *run.path, "tuned")
        assert parent.encoder is not None
        self.original = copy.deepcopy(parent.encoder).eval().requires_grad_(False)
        self.tuned = copy.deepcopy(self.original).requires_grad_(True)
        self.best = copy.deepcopy(self.original)
        train, held = self._split(len(pairs))
        self.theta, self.y = pairs.theta[train], self._tensor(pairs.x[train], parent.inputs)
        self.held_y = self._tensor(pairs.x[held], parent.inputs)
        self.held_target = self._means(pairs.theta[held])
        self.rate = settings.learning_rate
        self.optimiser = torch.optim.Adam(self.tuned.parameters(), lr=self.rate, fused=True)
        self.rounds: list[dict[str, float]] = []

    def _split(self, n: int) -> tuple[Array, Array]:
        """Rows that are learned from and rows that are held back."""
        if n < MIN_PAIRS:
            raise TrainingError(
                f"remedy {self.settings.type!r}: expected at least {MIN_PAIRS} labelled real rows, got {n}."
            )
        held = min(max(1, round(self.settings.validation_share * n)), n - 2)
        order = self.rng.permutation(n)
        return np.sort(order[held:]), np.sort(order[:held])

    @staticmethod
    def _tensor(x: Array, inputs: InputTransform) -> Tensor:
        return torch.from_numpy(inputs(x, np.float32))

    def take_steps(self) -> session.TrainingResult:
        """Takes all steps, looking at the held-back pairs now and then."""
        settings = self.settings
        losses: list[float] = []
        every = max(1, settings.steps // settings.looks)
        best = 0
        for step, (rows, target) in enumerate(self._targets(), 1):
            loss = _norm(self.tuned(self.y[rows]), target)
            if step == 1:
                self._look(0, float(loss.detach()))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses.append(float(loss.detach()))
            if step % every == 0 or step == settings.steps:
                self._look(step, float(np.mean(losses)))
                losses.clear()
                if self.rounds[-1]["validation_loss"] < self.rounds[best]["validation_loss"]:
                    best = len(self.rounds) - 1
                    self.best.load_state_dict(self.tuned.state_dict())
        wall, cpu = time.perf_counter() - self.started[0], time.process_time() - self.started[1]
        return session.TrainingResult(self.rounds, best, settings.steps, False, [], wall, cpu, "cpu")

    def _look(self, step: int, train_loss: float) -> None:
        with torch.no_grad():
            held = float(_norm(self.tuned(self.held_y), self.held_target))
        if not (np.isfinite(held) and np.isfinite(train_loss)):
            raise TrainingError(
                f"the loss is not finite at step {step} (training {train_loss}, validation {held}); lower "
                f"learning_rate (now {self.rate:g})."
            )
        batch = min(self.settings.batch_size, len(self.theta))
        self.rounds.append(
            {
                "step": step,
                "epoch": step * batch / len(self.theta),
                "train_loss": train_loss,
                "validation_loss": held,
                "learning_rate": self.rate,
            }
        )

    def _targets(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of a step and h of one fresh simulation of each, for all steps; simulates many steps at once.

        A row whose simulation failed sits out that step.
        """
        n, batch = len(self.theta), min(self.settings.batch_size, len(self.theta))
        together = max(1, rows_at_once(tuple(self.y.shape[1:]), SIMULATED_ROWS) // batch)
        for first in range(0, self.settings.steps, together):
            count = min(together, self.settings.steps - first)
            rows = np.concatenate([self.rng.permutation(n)[:batch] for _ in range(count)])
            target, valid = self._encode(self.theta[rows])
            for part in np.split(np.arange(len(rows)), count):
                kept = part[valid[part]]
                if not len(kept):
                    raise TrainingError(
                        f"remedy {self.settings.type!r}: all {batch} simulations at the parameters of the "
                        "labelled real data failed; see why simulations fail there."
                    )
                yield torch.from_numpy(rows[kept]), target[torch.from_numpy(kept)]

    def _means(self, theta: Array) -> Tensor:
        """Mean summaries of many simulations at each theta."""
        count = self.settings.validation_simulations
        means = []
        for row in theta:
            summary, valid = self._encode(np.repeat(row[None], count, axis=0))
            if not valid.any():
                raise TrainingError(
                    f"remedy {self.settings.type!r}: all {count} simulations at {row} failed; see why "
                    "simulations fail at the parameters of the labelled real data."
                )
            means.append(summary[torch.from_numpy(valid)].mean(dim=0))
        return torch.stack(means)

    def _encode(self, theta: Array) -> tuple[Tensor, Array]:
        """Summaries h (N, K) of fresh simulations at theta (N, D), and which of them did not fail."""
        x, valid = self.simulate(theta, self.rng)
        with torch.no_grad():
            x = np.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, self.inputs.mean)
            return self.original(self._tensor(x, self.inputs)), valid


def _norm(summary: Tensor, target: Tensor) -> Tensor:
    """Mean Euclidean distance of rows (N, K)."""
    return torch.linalg.vector_norm(summary - target, dim=1).mean()
