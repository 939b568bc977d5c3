"""The rules of the verdict, in the order in which they are shown.

A rule looks at numbers of `metrics.csv` only, gives every replicate an outcome and the reader a sentence. A
number that is not a number counts as failing. To add one, write it into the file of its question.
"""

from __future__ import annotations

from veridical.report import (
    drawing_rules,
    estimate_rules,
    inference_rules,
    labelled_rules,
    local_rules,
    prior_rules,
    ratio_rules,
    round_rules,
    simulator_rules,
)
from veridical.report.questions import Rule

RULES: tuple[Rule, ...] = (
    *labelled_rules.RULES,
    *inference_rules.RULES,
    *round_rules.RULES,
    *drawing_rules.RULES,
    *local_rules.RULES,
    *simulator_rules.RULES,
    *prior_rules.RULES,
    *estimate_rules.RULES,
    *ratio_rules.RULES,
)
