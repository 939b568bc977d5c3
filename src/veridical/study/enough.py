"""Are there rows enough to train on and to judge with? Found out from settings, before any job starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from veridical.checks import predictive
from veridical.errors import SettingError

if TYPE_CHECKING:
    from veridical.study.layout import Layout

LEAST_BUDGET = 20  # every tenth row is for validation, of which two are needed
LEAST_TEST_ROWS = 40  # for the null of `detection`


def require_enough(layout: Layout) -> None:
    """Stops on a budget or a number of test rows with which a training or a check would fail for certain.

    Raises:
        SettingError: Which setting, what was expected, what came.
    """
    for run in layout.runs:
        trains = layout.methods[run.method].setting("training") is not None
        for _, split, rows in layout.parts(run):
            if trains and split.startswith("train") and rows < LEAST_BUDGET:
                raise SettingError(
                    f"budgets: method {run.method!r} trains on {rows} rows; expected {LEAST_BUDGET} or more, "
                    "of which every tenth is for validation."
                )
    wanted = _wanted(layout)
    if "detection" in wanted and layout.study.test_rows < LEAST_TEST_ROWS:
        raise SettingError(
            f"test_rows: check `detection` expects at least {LEAST_TEST_ROWS}, got {layout.study.test_rows}; "
            "raise it or leave the check out (`checks: {detection: null}`)."
        )
    for name in sorted(wanted & {"sbc", "coverage"}):
        settings, d = layout.checks[name], len(layout.task.parameters)
        if settings["alpha"] * (settings["null_draws"] + 1) < d:
            raise SettingError(
                f"checks.{name}.null_draws: a level of {settings['alpha']:g} over {d} parameters needs at "
                f"least {math.ceil(d / settings['alpha'])}, got {settings['null_draws']}."
            )


def undecidable(layout: Layout, observations: Mapping[str, int]) -> list[str]:
    """Returns what can never be told, a sentence for each check.

    Arguments:
        layout: The study.
        observations: How many observations each of its real data sets holds.
    """
    return [*_typicality(layout), *_predictive(layout, observations)]


def _predictive(layout: Layout, observations: Mapping[str, int]) -> Iterator[str]:
    alpha = layout.checks.get("predictive", {}).get("alpha")
    for name, n in observations.items():
        if alpha is None or not any("predictive" in layout.applicable(r, name) for r in layout.final_runs):
            continue
        most = predictive.replicates(n)
        draws = min(layout.study.draws, most)
        if predictive.decidable(n, draws // 2, alpha):
            continue
        enough = predictive.decidable(n, most // 2, alpha)
        remedy = f"set draws to {most}" if enough else "spread them over several data sets"
        yield (
            f"checks.predictive: {n} observation{'s' * (n > 1)} of data set {name} with {draws} predictions "
            f"each cannot tell whether p < {alpha:g}, so that the verdict will not say whether the fitted "
            f"model reproduces them; {remedy}."
        )


def _typicality(layout: Layout) -> list[str]:
    settings, rows = layout.checks.get("typicality"), layout.study.test_rows
    if settings is None or "typicality" not in _wanted(layout) or 1 / (rows + 1) < settings["alpha"]:
        return []
    alpha = settings["alpha"]
    return [
        f"checks.typicality: {rows} test rows cannot tell whether p < {alpha:g} for one observation, so that "
        f"the verdict stays open; set test_rows above {1 / alpha:.0f}."
    ]


def _wanted(layout: Layout) -> set[str]:
    """Names of the checks that some run is asked."""
    return {
        name
        for run in layout.runs
        for dataset in layout.datasets(run)
        for name in layout.applicable(run, dataset)
    }
