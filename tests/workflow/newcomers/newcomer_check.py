"""Are posterior means right on average?

Curves: `errors` (N,), mean minus truth of the first parameter.
"""

from __future__ import annotations

from math import erfc, sqrt
from typing import ClassVar

import numpy as np

from veridical.checks.base import Check, CheckResult, Line, Metric, mean_stderr
from veridical.checks.inputs import Inputs, labelled
from veridical.saved.posteriors import Draws
from veridical.sections import Section


class NewcomerCheckSettings(Section):
    """Are posterior means right on average, as a newcomer would ask?"""


class NewcomerCheck(Check):
    """Tests whether the mean error is zero."""

    name = "newcomer_check"
    needs = frozenset({"truth"})
    settings_class: ClassVar = NewcomerCheckSettings
    meanings: ClassVar = {"newcomer_bias": "Mean of posterior mean minus truth over data sets."}
    shown: ClassVar = (Line("newcomer_check_p", "mean error, as a newcomer tests it", form="p"),)
    settings: NewcomerCheckSettings

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        theta, truth = labelled(draws, self.name)
        errors = theta.mean(axis=0)[:, 0] - truth[:, 0]
        stderr = float(mean_stderr(errors))
        p_value = erfc(abs(errors.mean()) / stderr / sqrt(2))
        table = [Metric("newcomer_bias", float(errors.mean()), stderr, len(errors))]
        passed = p_value >= 0.05
        return self._result(draws, table, passed=passed, p_value=p_value, curves={"errors": errors})
