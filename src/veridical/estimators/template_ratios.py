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
from math import log

import numpy as np
import torch

from veridical.errors import TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.classes import TemplateFunctions
from veridical.estimators.members import Members, front_of
from veridical.estimators.template_ratio_settings import TemplateRatiosSettings
from veridical.networks.softmax import StackedSoftmax
from veridical.tasks.base import Array
from veridical.training import session
from veridical.training.class_events import ClassEvents


class TemplateRatios(TemplateFunctions, Members[StackedSoftmax]):
    """Log ratios of templates to their pool; no posterior."""

    type = "template_ratios"

    @classmethod
    def build(cls, settings: TemplateRatiosSettings, task: TaskInfo) -> StackedSoftmax:
        """Returns the stacked members, without weights yet."""
        front = front_of(settings, task)
        widths = front.features, *settings.hidden
        classes = sum(map(len, settings.templates))
        return StackedSoftmax(settings.members, widths, settings.slope, classes, front)

    @classmethod
    def fit(
        cls, settings: TemplateRatiosSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[TemplateRatios, session.TrainingResult]:
        """Returns trained members; `material.classes` has events of every template. See `Estimator.fit`."""
        events = of_templates(material.require("classes", settings.type), settings)
        marked = of_templates(material.require("validation", settings.type), settings)
        return cls.learned(settings, task, events, marked, ClassEvents, run)

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
        classes = self.network.classes
        out: Array = np.empty((classes, self.size, len(x)))
        out[:, 0] = 1
        for events, members, logits in self.outputs(x):
            log_p = torch.log_softmax(logits.permute(2, 0, 1).double(), dim=0).add_(log(classes))
            out[:, members.start + 1 : members.stop + 1, events] = log_p.numpy()
        return self.require_finite(out.transpose(2, 0, 1))


def of_templates(found: Mapping[str, Array], settings: TemplateRatiosSettings) -> dict[str, Array]:
    """Returns the arrays of all templates in order, by name.

    Raises:
        TrainingError: If there are none of a template.
    """
    names = list(chain(*settings.templates))
    if missing := [name for name in names if name not in found]:
        raise TrainingError(
            f"estimator {settings.type!r}: expected events of {', '.join(names)}, got none of "
            f"{', '.join(missing)}; name templates that the task has."
        )
    return {name: found[name] for name in names}
