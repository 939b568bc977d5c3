r"""An ensemble of small networks, each the log ratio of the densities of two classes of events.

Member i minimises, over events of the numerator n and the denominator d,

.. math:: L_\mathrm{MLC}(f) = \mathrm{mean}_n[-f + e^{-f} - 1] + \mathrm{mean}_d[f + e^{f} - 1] ,

or cross-entropy; either is least at :math:`f = \log n / d`. In mode `bootstrap` it sees a resample of the
events (of the validation events too), in `partition` a part of its own, in `whole` all of them. Its weights
are those of its best look at validation events, and stay frozen: remedies take the members as functions.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
    | Learning New Physics from a Machine (D'Agnolo, Wulzer, 2018)
    | https://arxiv.org/abs/1806.02350
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import torch

from veridical import seeds
from veridical.errors import ArtifactError, require_shape
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.classes import Functions, two_classes
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.estimators.transformed import Networked
from veridical.networks.stacked import StackedMLP
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.training import devices, fitting, session
from veridical.training.events import CHUNK, Events, choose


class Ratios(Functions, Networked[StackedMLP]):
    """Log density ratios of two classes; no posterior."""

    type = "ratios"

    @classmethod
    def build(cls, settings: RatiosSettings, task: TaskInfo) -> StackedMLP:
        """Returns the stacked members, without weights yet."""
        widths = prod(task.x_shape), *settings.hidden
        return StackedMLP(settings.members, widths, settings.slope, settings.loss)

    @classmethod
    def fit(
        cls, settings: RatiosSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Ratios, session.TrainingResult]:
        """Returns trained members; `material.classes` has the numerator first. See `Estimator.fit`."""
        numerator, denominator = two_classes(material, settings.type)
        marked = material.require("validation", settings.type)
        masks = [np.asarray(marked[name], bool) for name in material.classes]
        events = [numerator, denominator]
        for name, x, mask in zip(material.classes, events, masks, strict=True):
            require_shape(f"events of class {name}", x, None, *task.x_shape)
            require_shape(f"validation of class {name}", mask, len(x))
        chosen = choose(settings.mode, settings.members, masks, run)
        learned = np.concatenate([x[~mask] for x, mask in zip(events, masks, strict=True)])
        inputs = InputTransform.fit(learned, settings.inputs.transform)
        network = cls.build(settings, task)
        members = range(settings.members)
        network.initialise([seeds.generator(run.root, "initialise", *run.path, m) for m in members])
        device = devices.device_for(settings.training.accelerator)
        flat = (_flat(inputs, numerator), _flat(inputs, denominator))
        source = Events(flat, chosen, settings.training, run, device)
        results = fitting.train(network, source, settings.training.plain(), run, device)
        return cls(settings, task, inputs, None, network), _averaged(results)

    @property
    def size(self) -> int:
        """Number of the functions: 1 and the members."""
        return self.settings.members + 1

    def functions(self, x: Array) -> Array:
        """Returns 1 and the members' log ratios at events x (N, *x_shape), float64, shape (N, M + 1)."""
        inputs = torch.from_numpy(_flat(self.inputs, x))
        out: Array = np.ones((len(x), self.size))
        with torch.no_grad():
            for first in range(0, len(x), CHUNK):
                part = inputs[first : first + CHUNK]
                for group in self.network.groups(len(part)):
                    columns = slice(group.start + 1, group.stop + 1)
                    out[first : first + CHUNK, columns] = self.network(part, group).numpy().T
        if not np.isfinite(out).all():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: log ratios are not finite numbers; the "
                "networks are broken, or x is far outside of what they were trained on. Train them again."
            )
        return out


def _averaged(results: Sequence[session.TrainingResult]) -> session.TrainingResult:
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


def _flat(inputs: InputTransform, x: Array) -> Array:
    """Inputs of the networks, float32, shape (N, d)."""
    return inputs(x, np.float32).reshape(len(x), -1)
