r"""Neural ratio estimation: likelihood over evidence, by telling pairs that belong together from others.

A network f(z, s(x)) of standardised, unconstrained parameters and of data, or of summaries s learned along
with it, comes near :math:`\log p(x \mid \theta) / p(x)` (losses: `networks/ratio`), so that
:math:`p(\theta) \prod_r e^{f(z(\theta), x_r)}` is the posterior; entries that are independent given the
parameters add. Pairs that do not belong together come from the batch itself, rolled.

A right ratio is *balanced*: :math:`E \sigma(f)` over joint pairs and over independent ones add up to 1. What
they add up to on the validation rows is kept, with its error; more than 0.02 off is a warning.

Where simulations keep their scores, the slopes of f can be held against these (`scored`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import torch

from veridical.estimators.base import Arrays, Estimator, TaskInfo
from veridical.estimators.nre_settings import NRESettings
from veridical.estimators.ratio_network import RatioNetwork
from veridical.estimators.sampled import element_shape
from veridical.estimators.score_learning import CHECK_ROWS, ScoreLearning
from veridical.networks import choice, weights
from veridical.tasks.base import Array

UNBALANCED = 0.02  # from 1, beyond which a ratio is warned of
CHECK_ROLLS = 10  # independent pairs of each validation row in that check


class Balance(NamedTuple):
    """What the two means of a ratio's check add up to, which should be 1, and its standard error."""

    value: float
    stderr: float

    @classmethod
    def of(cls, f: Array) -> Balance:
        """Returns the balance of log ratios (1 + rolls, N): joint pairs, then independent ones."""
        p = 1 / (1 + np.exp(-np.clip(f, -700, 700)))
        each = p[0] + p[1:].mean(axis=0)
        return cls(float(each.mean()), float(each.std() / np.sqrt(len(each))))

    def told(self) -> str:
        """Returns it in words, with a warning where it is off by more than chance explains."""
        off = abs(self.value - 1) > UNBALANCED + 2 * self.stderr
        text = f"balance {self.value:.3f} +- {self.stderr:.3f}, expected 1"
        remedy = "the ratio is not learned well; give it more rows or epochs, or a larger `width`."
        return f"warning: {text}: {remedy}" if off else text


class NRE(ScoreLearning[RatioNetwork]):
    """A likelihood-to-evidence ratio trained on simulations."""

    type = "nre"
    balance = Balance(np.nan, np.nan)

    @classmethod
    def build(cls, settings: NRESettings, task: TaskInfo) -> RatioNetwork:
        """Returns the network of one element of x and the parameters."""
        shape = element_shape(settings, task)
        return RatioNetwork(cls.on_task(settings, task), shape, len(task.cells), task.has_missing)

    @classmethod
    def on_task(cls, settings: NRESettings, task: TaskInfo) -> NRESettings:
        """Returns the settings with the summary network that they leave to the axes of x."""
        axes = tuple(axis for i, axis in enumerate(task.axes) if i != settings.independent)
        summary = choice.resolved(settings.summary, element_shape(settings, task), axes)
        return settings.model_copy(update={"summary": summary})

    def judge(self, validation: tuple[Array, ...]) -> None:
        """Keeps the balance on the validation rows, standardised z (N, K) and x (N, ...), and what their
        scores (N, K) say of its slopes where it has learned from scores.
        """
        super().judge(validation)
        z, x = (torch.from_numpy(part[:CHECK_ROWS]) for part in validation[:2])
        with torch.no_grad():
            f = self.network.rolled(z, x, max(1, min(CHECK_ROLLS, len(z) - 1)))
        self.balance = Balance.of(f.double().numpy())
        print(f"{self.type}: {self.balance.told()}")

    def account(self) -> dict[str, Any]:
        """Returns the balance of the ratio on the validation rows, and the share of each score that its
        slopes miss where it has learned from scores, as plain data.
        """
        balance = {"value": self.balance.value, "stderr": self.balance.stderr}
        return {"balance": balance, **super().account()}

    def arrays(self) -> dict[str, Array]:
        """Returns weights, statistics, the prior, the balance and what is missed of scores by name."""
        return {**super().arrays(), "balance": np.array(self.balance)}

    @classmethod
    def from_arrays(
        cls, settings: NRESettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Self:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        found = super().from_arrays(settings, task, arrays, parent)
        with weights.fitting(f"estimator {cls.type}"):
            found.balance = Balance(*arrays["balance"].tolist())
        return found
