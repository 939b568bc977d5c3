r"""ML-NPE: neural posterior estimation by a telescoping sum over levels of simulations,

.. math:: L(\phi) = E_0 [- \log q_\phi(\theta \mid x^0)] + \sum_{l \ge 1}
    E_l [- \log q_\phi(\theta \mid x^l) + \log q_\phi(\theta \mid x^{l - 1})] ,

with many rows at the cheapest level, and few pairs of coupled simulations at each dearer one. How its
gradients are put together stands in `veridical.training.telescoped`.

The bank couples levels by row: row i has the same parameters and random numbers at each. So the pairs of a
level are its rows, beside the first ones of the level below, and cost nothing more there. Looks judge the
loss of the dearest level on rows held out: the telescoping sum has the same mean, but weights may reach a low
value of it by what few rows happen to cancel.

References:
    | Multilevel neural simulation-based inference (Hikida et al., 2025)
    | https://arxiv.org/abs/2506.06087
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veridical.estimators.base import Material
from veridical.estimators.levelled import LevelledPosterior, Levels
from veridical.estimators.multilevel_settings import MultilevelSettings
from veridical.training import fitting, session
from veridical.training.telescoped import Telescoped


class MultilevelNPE(LevelledPosterior):
    """An amortised posterior trained on coupled simulations of several levels."""

    type = "ml_npe"

    @classmethod
    def lesson(
        cls,
        network: Any,
        levels: Levels,
        settings: MultilevelSettings,
        material: Material,
        run: session.Session,
    ) -> tuple[Telescoped, fitting.Data]:
        """Returns the telescoping loss, and the rows of the cheapest level with numbers of pairs beside."""
        (z, x), *pairs = map(levels.prepared, levels.learned)
        network.regress(*pairs[-1][:2])
        numbers = [np.arange(len(z)) % len(each[0]) for each in pairs]
        apart, slope = levels.held_out(settings.validation, settings.training.validation_rows)
        offsets = float(levels.slopes(levels.learned[0]).mean()), slope
        loss = Telescoped(network, pairs, settings.gradients == "rescaled")
        return loss, fitting.Data((z, x, *numbers), apart, offsets)
