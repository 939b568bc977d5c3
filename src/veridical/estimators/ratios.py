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

import numpy as np

from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.classes import Functions, two_classes
from veridical.estimators.members import Members, front_of
from veridical.estimators.ratio_settings import RatiosSettings
from veridical.networks.stacked import StackedMLP
from veridical.tasks.base import Array
from veridical.training import session
from veridical.training.events import Events


class Ratios(Functions, Members[StackedMLP]):
    """Log density ratios of two classes; no posterior."""

    type = "ratios"

    @classmethod
    def build(cls, settings: RatiosSettings, task: TaskInfo) -> StackedMLP:
        """Returns the stacked members, without weights yet."""
        front = front_of(settings, task)
        widths = front.features, *settings.hidden
        return StackedMLP(settings.members, widths, settings.slope, settings.loss, front)

    @classmethod
    def fit(
        cls, settings: RatiosSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Ratios, session.TrainingResult]:
        """Returns trained members; `material.classes` has the numerator first. See `Estimator.fit`."""
        events = dict(zip(material.classes or {}, two_classes(material, settings.type), strict=True))
        marked = material.require("validation", settings.type)
        return cls.learned(settings, task, events, {name: marked[name] for name in events}, Events, run)

    @property
    def size(self) -> int:
        """Number of the functions: 1 and the members."""
        return self.settings.members + 1

    def functions(self, x: Array) -> Array:
        """Returns 1 and the members' log ratios at events x (N, *x_shape), float64, shape (N, M + 1)."""
        out: Array = np.ones((len(x), self.size))
        for events, members, f in self.outputs(x):
            out[events, members.start + 1 : members.stop + 1] = f.numpy().T
        return self.require_finite(out)
