"""Rules on frequentist answers, which have no prior and promise what intervals do in repetitions."""

from __future__ import annotations

from collections.abc import Sequence

from veridical.evidence.metrics import Row
from veridical.report import levels
from veridical.report.judging import (
    BAD,
    CANNOT_TELL,
    CAUTION,
    GOOD,
    Evidence,
    Found,
    middle,
    told,
    votes,
)
from veridical.report.questions import Rule

NEAR = 2.0  # standard errors of the estimate


def mixture_fits(evidence: Evidence) -> Found:
    """Is the sample a mixture of the classes as the method has them?"""
    p, alarms = evidence.of("estimate_fit_p"), evidence.of("estimate_alarms")
    if not p and not alarms:
        return None
    least = {seed: _least(rows) for seed, rows in p.items()}
    outcomes, said = {seed: _fit(least.get(seed)) for seed in sorted({*p, *alarms})}, []
    for seed, rows in alarms.items():
        if objections := [row["category"] for row in rows if row["value"]]:
            outcomes[seed] = max(outcomes[seed], CAUTION)
            said += objections
    known = f"of mixtures, a share of {middle(least.values()):.2g} would fit worse"
    return told(
        outcomes,
        f"The sample looks like a mixture of the classes as they were learned: {known}{votes(outcomes)}.",
        "Whether the sample is a mixture of the classes could not be told: too few events, or too many "
        "numbers in each.",
        "The sample does not look like a mixture of the classes as they were learned"
        f"{votes(outcomes)}: {said[0] if said else known}.",
    )


def asked_near(evidence: Evidence) -> Found:
    """Were there experiments at fractions like the one that was found?"""
    estimates, gaps = evidence.of("estimate"), evidence.of("coverage_gap_z", "simulated", interval="total")
    if not estimates or not gaps:
        return None
    asked_at = {row.get("true_value") for rows in gaps.values() for row in rows}
    truths = sorted(truth for truth in asked_at if truth is not None)
    outcomes = {
        seed: GOOD if all(_between(row, truths) for row in rows) else CANNOT_TELL
        for seed, rows in estimates.items()
    }
    asked = ", ".join(f"{truth:g}" for truth in truths)
    return told(
        outcomes,
        f"Experiments asked at fractions around what was found ({asked}): what they say of intervals holds "
        f"here{votes(outcomes)}.",
        f"Experiments asked at {asked}, and not near what was found: what intervals hold here was not tried. "
        "Add such fractions to `experiments.true_values`.",
    )


def no_prior(evidence: Evidence) -> Found:
    """Does no prior enter?"""
    found = evidence.of("estimate")
    if not found:
        return None
    text = "No prior enters: the answer is an estimate, and its interval a promise on repetitions."
    return dict.fromkeys(found, GOOD), text


def _least(rows: Sequence[Row]) -> float:
    """The smallest p-value of some samples times their number; NaN if one is not a number."""
    worst = min((row["value"] for row in rows), key=lambda v: (v == v, v))
    return worst if worst != worst else min(1.0, len(rows) * worst)


def _fit(p: float | None) -> int:
    """The outcome of the smallest p-value of all samples; NaN is bad."""
    if p is None:
        return CANNOT_TELL
    if p > levels.caution("predictive"):
        return GOOD
    return CAUTION if p > levels.bad("predictive") else BAD


def _between(row: Row, truths: Sequence[float]) -> bool:
    """Whether an estimate lies between two true fractions, or no more than two of its errors from one."""
    reach = NEAR * (row["stderr"] or 0.0)
    return bool(truths) and bool(truths[0] - reach <= row["value"] <= truths[-1] + reach)


RULES = (
    Rule(
        asked_near,
        "experiments near the estimate",
        "inference",
        "Were there experiments at fractions like the one that an estimate found?",
        "",
        "",
        "",
        ("experiments",),
    ),
    Rule(
        mixture_fits,
        "the sample as a mixture of the classes",
        "simulator",
        "Is the sample a mixture of the classes, as the method of an estimate has them?",
        f"`estimate_fit_p` times the number of samples <= {levels.caution('predictive')}, or any "
        "`estimate_alarms`",
        f"`estimate_fit_p` times the number of samples <= {levels.bad('predictive')}",
        "The classes differ from what was simulated, or the sample has events of a third one: look at where "
        "it does not follow the mixture. More simulators that differ more span more of what nature may be.",
        (),
    ),
    Rule(
        no_prior,
        "no prior",
        "prior",
        "Does no prior enter (an estimate has none)?",
        "",
        "",
        "",
        (),
    ),
)
