"""What the verdict spends on false alarms, as data: a budget whose entries add up.

`CAUTION_LEVELS` bound how often the rules of one replicate say caution or worse of a right answer to data
from a right simulator, `BAD_LEVELS` how often they say bad; each entry is family-wise within itself.
A verdict goes with at least half of the replicates, whose errors these do not add up to.
"""

from __future__ import annotations

CAUTION_LEVELS: dict[str, tuple[float, str]] = {
    "predictive": (0.03, "`reproduces`: all statistics, draws and observations together"),
    "calibration": (0.01, "`simulated_calibration` and `covered_in_experiments` together"),
    "local ranks": (0.005, "`local_ranks`"),
    "local classifier": (0.01, "`local_classifier`"),
    "members": (0.01, "`typical`: each observation by itself (Holm)"),
    "set": (0.01, "`like_simulations`: distance and MMD of the whole set together"),
    "conflict": (0.005, "`prior_conflict`"),
}
BAD_LEVELS: dict[str, tuple[float, str]] = {
    "predictive": (0.01, "`reproduces`"),
    "members": (0.005, "`typical`"),
    "calibration": (0.005, "the same tests, and a gap of over 5 points by two standard errors"),
}
LEARNED = (
    0.01  # level at which an answer that is the prior passes rule `learned`: false trust, not false alarm
)


def caution(what: str) -> float:
    """Returns the level below which a p-value says caution."""
    return CAUTION_LEVELS[what][0]


def bad(what: str) -> float:
    """Returns the level below which a p-value says bad."""
    return BAD_LEVELS[what][0]


def table() -> list[str]:
    """Returns the lines of the budget in `docs/verdict.md`."""
    lines = ["| spent on | caution | do not trust | by |", "| --- | --- | --- | --- |"]
    for name, (level, by) in CAUTION_LEVELS.items():
        worst = f"{BAD_LEVELS[name][0]:g}" if name in BAD_LEVELS else "-"
        lines.append(f"| {name} | {level:g} | {worst} | {by} |")
    sums = [sum(level for level, _ in one.values()) for one in (CAUTION_LEVELS, BAD_LEVELS)]
    return [*lines, f"| **sum** | **{sums[0]:g}** | **{sums[1]:g}** | union bound |"]
