r"""An ensemble of classifiers of templates, each with the log ratio of every template to their pool.

Member i minimises cross-entropy over events of T templates, each with the same weight. With its logits l at
an event, the log ratio of template t to the pool, an equal share of all of them, is

.. math:: g_t(x) = l_t - \log \frac{1}{T} \sum_j e^{l_j} ,

which is exact at the least loss. One network for all templates keeps their ratios to one pool consistent:
:math:`\mathrm{mean}_t\, e^{g_t} = 1` at every event. Members see resamples, parts or all of the events as
those of `veridical.estimators.ratios` do, keep the weights of their best look, and stay frozen.

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026)
    | https://arxiv.org/abs/2604.02219
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from math import log, prod

import numpy as np
import torch

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.classes import TemplateFunctions
from veridical.estimators.ratios import _averaged
from veridical.estimators.template_ratio_settings import TemplateRatiosSettings
from veridical.estimators.transformed import Networked
from veridical.networks.softmax import StackedSoftmax
from veridical.networks.transforms import InputTransform
from veridical.tasks.base import Array
from veridical.training import devices, fitting, session
from veridical.training.class_events import ClassEvents
from veridical.training.events import CHUNK, choose


class TemplateRatios(TemplateFunctions, Networked[StackedSoftmax]):
    """Log ratios of templates to their pool; no posterior."""

    type = "template_ratios"

    @classmethod
    def build(cls, settings: TemplateRatiosSettings, task: TaskInfo) -> StackedSoftmax:
        """Returns the stacked members, without weights yet."""
        widths = prod(task.x_shape), *settings.hidden
        classes = sum(map(len, settings.templates))
        return StackedSoftmax(settings.members, widths, settings.slope, classes)

    @classmethod
    def fit(
        cls, settings: TemplateRatiosSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[TemplateRatios, session.TrainingResult]:
        """Returns trained members; `material.classes` has events of every template. See `Estimator.fit`."""
        events = template_events(material.require("classes", settings.type), settings, task)
        marked = template_events(material.require("validation", settings.type), settings)
        masks = [np.asarray(mask, bool) for mask in marked]
        for x, mask in zip(events, masks, strict=True):
            require_shape("validation of a template", mask, len(x))
        chosen = choose(settings.mode, settings.members, masks, run)
        learned = np.concatenate([x[~mask] for x, mask in zip(events, masks, strict=True)])
        inputs = InputTransform.fit(learned, settings.inputs.transform)
        network = cls.build(settings, task)
        members = range(settings.members)
        network.initialise([seeds.generator(run.root, "initialise", *run.path, m) for m in members])
        device = devices.device_for(settings.training.accelerator)
        source = ClassEvents([_flat(inputs, x) for x in events], chosen, settings.training, run, device)
        results = fitting.train(network, source, settings.training.plain(), run, device)
        return cls(settings, task, inputs, None, network), _averaged(results)

    @property
    def templates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the templates of the first class, and of the second."""
        found: tuple[tuple[str, ...], tuple[str, ...]] = self.settings.templates
        return found

    @property
    def size(self) -> int:
        """Number of the functions of each template: 1 and the members."""
        return int(self.settings.members) + 1

    def functions(self, x: Array) -> Array:
        """Returns 1 and the members' log ratios at events x (N, *x_shape), shape (N, T, M + 1)."""
        inputs = torch.from_numpy(_flat(self.inputs, x))
        classes = self.network.classes
        out: Array = np.ones((len(x), classes, self.size))
        with torch.no_grad():
            for first in range(0, len(x), CHUNK):
                part = inputs[first : first + CHUNK]
                for group in self.network.groups(len(part)):
                    log_p = torch.log_softmax(self.network(part, group).double(), dim=-1) + log(classes)
                    columns = slice(group.start + 1, group.stop + 1)
                    out[first : first + CHUNK, :, columns] = log_p.permute(1, 2, 0).numpy()
        if not np.isfinite(out).all():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: log ratios are not finite numbers; the "
                "networks are broken, or x is far outside of what they were trained on. Train them again."
            )
        return out


def template_events(
    found: Mapping[str, Array], settings: TemplateRatiosSettings, task: TaskInfo | None = None
) -> list[Array]:
    """Returns the arrays of all templates in order, of the shape of events where a task is given.

    Raises:
        TrainingError: If there are none of a template.
    """
    names = list(chain(*settings.templates))
    if missing := [name for name in names if name not in found]:
        raise TrainingError(
            f"estimator {settings.type!r}: expected events of {', '.join(names)}, got none of "
            f"{', '.join(missing)}; name templates that the task has."
        )
    for name in names if task else ():
        require_shape(f"events of template {name}", found[name], None, *task.x_shape)  # type: ignore[union-attr]
    return [found[name] for name in names]


def _flat(inputs: InputTransform, x: Array) -> Array:
    """Inputs of the networks, float32, shape (N, d)."""
    return inputs(x, np.float32).reshape(len(x), -1)
