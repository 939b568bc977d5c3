r"""An ensemble of independently seeded posteriors on the same rows: their mixture.

.. math:: q(\theta \mid x) = \frac{1}{M} \sum_{m=1}^{M} q_m(\theta \mid x) ,

computed in logarithms. Members differ in their initial weights and in the order of their batches; they
share rows and transforms. A draw comes from a member picked at random; its log density is the mixture's.

Small members are trained together as one stack where that is faster (see `veridical.training`), larger ones
one after the other, each with a running state of its own.

References:
    | Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles
    | (Lakshminarayanan et al., 2017) https://arxiv.org/abs/1612.01474
    | A Trust Crisis In Simulation-Based Inference? (Hermans et al., 2022) https://arxiv.org/abs/2110.06581
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from scipy.special import logsumexp

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.flow_posterior import ROWS, FlowPosterior
from veridical.estimators.npe import (
    NPE,
    Prepared,
    initial_network,
    parent_of,
)
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import on_task
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks import weights
from veridical.networks.trainable import Trainable
from veridical.tasks.base import Array
from veridical.training import devices, fitting, session
from veridical.training.checkpoints import CheckpointFolder

STACKED_ROWS = 512  # rows per batch up to which training together is faster on a CPU


class OfMembers(Protocol):
    """Settings of several networks of one kind."""

    @property
    def members(self) -> int:
        """Number of members."""
        ...

    @property
    def member(self) -> Any:
        """The settings of each member."""
        ...

    @property
    def stacked(self) -> bool | None:
        """Whether they are trained together; None where that is left open."""
        ...

    @property
    def decays(self) -> list[float]:
        """Weight decay of each member."""
        ...


class Ensemble(Estimator):
    """The equal mixture of M amortised posteriors, whose summaries stand side by side."""

    type = "ensemble"

    def __init__(self, settings: EnsembleSettings, task: TaskInfo, members: Sequence[NPE]) -> None:
        self.settings = settings
        self.task = task
        self.members = list(members)
        self.summarisers = len(self.members)
        self.cloud = SummaryCloud.beside([member.cloud for member in self.members if member.cloud])

    @classmethod
    def fit(
        cls, settings: EnsembleSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Ensemble, session.TrainingResult]:
        """Returns trained members and how their training went, one after the other; see `Estimator.fit`."""
        settings = settings.model_copy(update={"member": on_task(settings.member, task)})
        member = settings.member.model_copy(update={"start": settings.start})
        parents = _parents(settings, member, task, material)
        prepared = Prepared.of(member, task, material, parents[0], run)
        networks = [
            initial_network(member, task, parent, session.member_run(run, m), prepared)
            for m, parent in enumerate(parents)
        ]
        results = train_members([*map(prepared.learner, networks)], prepared.data, settings, run)
        members = [prepared.estimator(settings.member, task, network) for network in networks]
        return cls(settings, task, members), together(results)

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n draws (n, N, D) of the mixture for each x (N, *x_shape), log densities (n, N)."""
        draws = self.sample(x, n, rng)
        return draws, self.log_prob(draws, x) if self.has_density else None

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, N, D) of the mixture for each x (N, *x_shape)."""
        draws = np.empty((len(x), n, len(self.task.parameters)))
        step = max(1, ROWS // n)
        for first in range(0, len(x), step):
            rows = slice(first, min(first + step, len(x)))
            draws[rows] = self._draw(x[rows], n, rng)
        return draws.swapaxes(0, 1)

    @property
    def has_density(self) -> bool:
        """Whether the members know their densities."""
        return self.members[0].has_density

    def _draw(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns draws (N, n, D): for each observation first the members picked, then the base noise."""
        d, k = len(self.task.parameters), self.members[0].draw_noise
        pairs = [(rng.integers(len(self.members), size=n), rng.standard_normal((n, k))) for _ in x]
        picked = np.concatenate([member for member, _ in pairs])
        noise = np.concatenate([z for _, z in pairs])
        draws = np.empty((len(noise), d))
        for m, member in enumerate(self.members):
            (rows,) = np.nonzero(picked == m)
            if len(rows):
                draws[rows] = member.push(noise[rows], member.contexts(x), rows // n, density=False)[0]
        return draws.reshape(len(x), n, d)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        return self._mixed([member.log_prob(theta, x) for member in self.members])

    def quick_log_prob(self, theta: Array, x: Array) -> Array:
        """Returns what `log_prob` does, in single precision."""
        return self._mixed([member.quick_log_prob(theta, x) for member in self.members])

    def _mixed(self, log_p: Sequence[Array]) -> Array:
        """Log densities of the mixture from those of its members, shape (..., N) each."""
        return np.asarray(logsumexp(log_p, axis=0)) - np.log(len(self.members))

    def summary(self, x: Array) -> Array:
        """Returns summaries (N, K) of x (N, *x_shape) by the first member."""
        return self.members[0].summary(x)

    def every_summary(self, x: Array) -> Array:
        """Returns summaries (N, M K) of x (N, *x_shape), those of one member after the other."""
        return np.concatenate([member.summary(x) for member in self.members], axis=1)

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter around the networks."""
        return self.members[0].transforms()

    def arrays(self) -> dict[str, Array]:
        """Returns weights and statistics by name, those of member m below `member{m}.`."""
        parts = [(f"member{m}.", member.arrays()) for m, member in enumerate(self.members)]
        return {prefix + name: array for prefix, arrays in parts for name, array in arrays.items()}

    @classmethod
    def from_arrays(
        cls, settings: EnsembleSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Ensemble:
        """Returns the ensemble that `arrays` came from; see `Estimator.from_arrays`."""
        found = {name.partition(".")[0] for name in arrays}
        expected = {f"member{m}" for m in range(settings.members)}
        if found != expected:
            raise ArtifactError(
                f"estimator {cls.type}: expected weights of {len(expected)} members, got those of "
                f"{len(found)}: they do not fit the settings. Train again."
            )
        own = (weights.below(arrays, f"member{m}.") for m in range(settings.members))
        return cls(settings, task, [NPE.from_arrays(settings.member, task, each) for each in own])


class MemberFolder(CheckpointFolder):
    """The running state of one member, inside the folder of its ensemble."""

    def __init__(self, whole: CheckpointFolder, member: int) -> None:
        super().__init__(
            whole.folder / f"member{member}",
            stale_seconds=whole.stale_seconds,
            save_seconds=whole.save_seconds,
        )
        self.whole = whole

    def require(self) -> None:
        """Raises TrainingError unless this job still holds both leases."""
        self.whole.require()
        super().require()


def together(results: Sequence[session.TrainingResult]) -> session.TrainingResult:
    """Returns one result of several trainings: histories end to end, each entry with its `member`.

    `best` points at the best look of the member whose best validation loss is lowest; steps and seconds are
    sums.
    """
    rounds: list[dict[str, float]] = []
    bests = []
    for m, result in enumerate(results):
        bests.append(len(rounds) + result.best)
        rounds += [{**entry, "member": m} for entry in result.rounds]
    return session.TrainingResult(
        rounds=rounds,
        best=min(bests, key=lambda i: rounds[i]["validation_loss"]),
        steps=sum(result.steps for result in results),
        stopped_early=any(result.stopped_early for result in results),
        resumed_from=sorted({step for result in results for step in result.resumed_from}),
        seconds=sum(result.seconds for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
        device=results[0].device,
        size=results[0].size,
    )


def train_members(
    networks: Sequence[Trainable], data: fitting.Data, settings: OfMembers, run: session.Session
) -> list[session.TrainingResult]:
    """Trains members in place, as one stack or one after the other; returns how each training went."""
    if _stacks(settings, data.rows):
        return fitting.fit_stacked(networks, data, settings.member.training, run, settings.decays)
    return _one_by_one(networks, data, settings, run)


def _parents(
    settings: EnsembleSettings, member: NPESettings, task: TaskInfo, material: Material
) -> list[FlowPosterior | None]:
    """The posterior from whose weights each member starts; None where it starts from nothing."""
    if not isinstance(material.parent, Ensemble):
        return [parent_of(member, task, material)] * settings.members
    there = material.parent.members
    if len(there) != settings.members:
        raise TrainingError(
            f"start: ensemble {settings.start!r} has {len(there)} members, expected {settings.members} as "
            "here; give both the same number."
        )
    return [parent_of(member, task, replace(material, parent=parent)) for parent in there]


def _stacks(settings: OfMembers, rows: int) -> bool:
    """Whether the members are trained together.

    Raises:
        TrainingError: If that was asked for and their summary network cannot be stacked.
    """
    summary = settings.member.summary
    if not summary.stackable:
        if settings.stacked:
            raise TrainingError(
                f"stacked: a summary network of type {summary.type!r} cannot be trained stacked; leave "
                "`stacked` out, or choose another summary."
            )
        return False
    if settings.stacked is not None:
        return settings.stacked
    own = settings.member.training
    return settings.members > 1 and (
        own.batch(rows) <= STACKED_ROWS or devices.device_for(own.accelerator) != "cpu"
    )


def _one_by_one(
    networks: Sequence[Trainable], data: fitting.Data, settings: OfMembers, run: session.Session
) -> list[session.TrainingResult]:
    """Trains the members one after the other, each in its folder; finished ones are not trained again."""
    results = []
    for m, network in enumerate(networks):
        training = settings.member.training.model_copy(update={"weight_decay": settings.decays[m]})
        with MemberFolder(run.folder, m) if run.folder else nullcontext() as folder:
            own = replace(session.member_run(run, m), folder=folder)
            results.append(fitting.fit(network, data, training, own))
    return results
