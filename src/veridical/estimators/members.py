"""What estimators of stacked members share: what members see of events, their training, their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from veridical import seeds
from veridical.errors import ArtifactError, require_shape
from veridical.estimators.base import TaskInfo
from veridical.estimators.transformed import Networked
from veridical.networks.cells import Grid, as_rows, cells_of
from veridical.networks.fronts import EnergyFlowFront, Front
from veridical.networks.stacked import StackedMLP
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.training import devices, fitting, session
from veridical.training.events import CHUNK, Events, choose

Stacked = TypeVar("Stacked", bound=StackedMLP)
AT_ONCE = 4096  # events whose particles are looked up at once


class Members(Networked[Stacked]):
    """Stacked members that see the numbers of an event, or its particles on a grid of angles."""

    @classmethod
    def learned(
        cls,
        settings: Any,
        task: TaskInfo,
        events: Mapping[str, Array],
        marked: Mapping[str, Array],
        source: Callable[..., Events],
        run: session.Session,
    ) -> tuple[Self, session.TrainingResult]:
        """Returns the estimator with trained members.

        Arguments:
            settings: Its settings.
            task: Its task.
            events: Events of each class, (N_c, *x_shape).
            marked: Which of them serve validation, (N_c,).
            source: Makes batches of them.
            run: Seeds, threads, folder for the running state, time limit.
        """
        masks = [np.asarray(mask, bool) for mask in marked.values()]
        for (name, x), mask in zip(events.items(), masks, strict=True):
            require_shape(f"events of class {name}", x, None, *task.x_shape)
            require_shape(f"validation of class {name}", mask, len(x))
        chosen = choose(settings.mode, settings.members, masks, run)
        seen = np.concatenate([x[~mask] for x, mask in zip(events.values(), masks, strict=True)])
        inputs = transform_of(settings, task, seen)
        network = cls.build(settings, task)
        members = range(settings.members)
        network.initialise([seeds.generator(run.root, "initialise", *run.path, m) for m in members])
        device = devices.device_for(settings.training.accelerator)
        rows = rows_of(settings, task, inputs, [*events.values()])
        batches = source(tuple(rows), chosen, settings.training, run, device)
        results = fitting.train(network, batches, settings.training.plain(), run, device)
        return cls(settings, task, inputs, None, network), averaged(results)

    def outputs(self, x: Array) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yields which events and members, and what the networks of these give there, (G, B, ...)."""
        (rows,) = rows_of(self.settings, self.task, self.inputs, [x])
        inputs = torch.from_numpy(rows)
        with torch.no_grad():
            for first in range(0, len(x), CHUNK):
                part = inputs[first : first + CHUNK]
                for group in self.network.groups(len(part)):
                    yield slice(first, first + CHUNK), group, self.network(part, group)

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x before it enters the networks."""
        found = super().transforms()
        if particles := self.settings.particles:
            cells = f"energies in {particles.cells} x {particles.cells} cells"
            found["x"] = ["divide energies by their mean sum", cells]
        return found

    def require_finite(self, found: Array) -> Array:
        """Returns log ratios, if they are finite numbers; raises ArtifactError otherwise."""
        if not np.isfinite(found).all():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: log ratios are not finite numbers; the "
                "networks are broken, or x is far outside of what they were trained on. Train them again."
            )
        return found


def front_of(settings: Any, task: TaskInfo) -> Front:
    """Returns what comes before the dense layers of members, without weights yet."""
    if settings.particles is None:
        return Front(prod(task.x_shape))
    return EnergyFlowFront(settings.members, _grid(settings), settings.particles.element, settings.slope)


def transform_of(settings: Any, task: TaskInfo, x: Array) -> InputTransform:
    """Returns the transform of events x (N, *x_shape) that members learn from.

    Energies of particles are divided by their mean sum and not shifted, and angles stay as they are.
    """
    if settings.particles is None:
        return InputTransform.fit(x, settings.inputs.transform)
    mean, scale = np.zeros(task.x_shape), np.ones(task.x_shape)
    energy, _ = _particles(settings, task, x)
    total = float(np.nansum(energy, axis=1, dtype=float).mean())
    _particles(settings, task, scale[None])[0][:] = total if total > 0 else 1.0
    return InputTransform(settings.inputs.transform, mean, scale, task.has_missing)


def rows_of(settings: Any, task: TaskInfo, inputs: InputTransform, events: Sequence[Array]) -> list[Array]:
    """Returns what the networks see of several sets of events, float32, shapes (N, d) with one d."""
    if settings.particles is None:
        return [inputs(x, np.float32).reshape(len(x), -1) for x in events]
    grid, found = _grid(settings), []
    for x in events:
        for first in range(0, max(1, len(x)), AT_ONCE):
            part = _particles(settings, task, inputs(x[first : first + AT_ONCE]))
            found.append(cells_of(grid, *part))
    ends = np.cumsum([len(x) for x in events])
    return np.split(np.concatenate(as_rows(found)), ends[:-1])


def averaged(results: Sequence[session.TrainingResult]) -> session.TrainingResult:
    """One result whose losses are means over members, each of which kept its own best look."""
    looks = zip(*(result.rounds for result in results), strict=True)
    means = [{name: float(np.mean([entry[name] for entry in look])) for name in look[0]} for look in looks]
    rounds = [{**mean, "step": int(mean["step"])} for mean in means]
    return replace(
        results[0],
        rounds=rounds,
        best=int(np.argmin([entry["validation_loss"] for entry in rounds])),
        seconds=sum(result.seconds for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
    )


def _grid(settings: Any) -> Grid:
    particles = settings.particles
    return Grid(particles.cells, particles.reach, particles.core)


def _particles(settings: Any, task: TaskInfo, x: Array) -> tuple[Array, Array]:
    """Energies (N, P) and angles (N, P, 2) of the particles of events; energies are a view."""
    axis, energy = settings.particles.places(task)
    particles = np.moveaxis(x, axis + 1, 1)
    return particles[..., energy], np.delete(particles, energy, axis=-1)
