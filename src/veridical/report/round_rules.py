"""The rule on answers for one data set alone, which have no calibration on average over the prior."""

from __future__ import annotations

from veridical.evidence.numbers import rounded
from veridical.report.judging import Evidence, Found, graded, middle, share, told, votes
from veridical.report.questions import Rule

LEAKED_CAUTION, LEAKED_BAD = 0.05, 0.2
STEADY = 0.1  # movement of a mean in standard deviations, and of a standard deviation


def learned_here(evidence: Evidence) -> Found:
    """Does an answer from rounds of simulations near these data keep to where it has learned?"""
    leaked = evidence.of("leakage")
    if not leaked:
        return None
    worst = {seed: max(row["value"] for row in rows) for seed, rows in leaked.items()}
    outcomes = {seed: graded(value, LEAKED_CAUTION, LEAKED_BAD) for seed, value in worst.items()}
    shift, spread = (_typical(evidence, name) for name in ("round_shift", "round_spread"))
    alone = (
        "The method has learned to answer these data alone, in rounds of simulations near them, so that no "
        "calibration on average over the prior can judge it: this question rests on the checks near these "
        "data."
    )
    moved = (
        f" The last round moved its means by up to {rounded(shift, 2)} standard deviations and these by up "
        f"to {share([spread])}: "
        + ("further rounds would change little." if max(shift, spread) < STEADY else "one more may move it.")
    )
    return told(
        outcomes,
        f"{alone}{moved if shift == shift else ''}",
        "",
        f"{alone} But {share(worst.values())} of its answer lies where it has not learned{votes(outcomes)}.",
    )


def _typical(evidence: Evidence, metric: str) -> float:
    """The largest value over observations, of the middle replicate."""
    return middle(max(row["value"] for row in rows) for rows in evidence.of(metric).values())


RULES: tuple[Rule, ...] = (
    Rule(
        learned_here,
        "where the rounds simulated",
        "inference",
        "Does an answer for these data alone keep to where its rounds simulated?",
        f"`leakage` > {LEAKED_CAUTION:g}",
        f"`leakage` > {LEAKED_BAD:g}",
        "Give the rounds more rows, or an ensemble.",
        (),
    ),
)
