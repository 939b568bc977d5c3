"""Rules on frequentist answers, which have no prior and promise what intervals do in repetitions."""

from __future__ import annotations

from collections.abc import Sequence

from veridical.coordinates import SIMULATED
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
ALIKE = 1.5  # factor between stated errors here and in experiments, of either part
PARTS = ("statistical", "ratio")


def mixture_fits(evidence: Evidence) -> Found:
    """Is the sample a mixture of the classes as the method has them?"""
    p, alarms = evidence.of("estimate_fit_p"), evidence.of("estimate_alarms")
    if evidence.dataset == SIMULATED or not (p or alarms):
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
    """Were there experiments like these data: at such fractions, with samples of such a size?"""
    estimates, sigmas = evidence.of("estimate"), evidence.of("experiment_sigma", SIMULATED)
    if evidence.dataset == SIMULATED or not estimates or not sigmas:
        return None
    outcomes = {
        seed: GOOD if all(_alike(evidence, row, sigmas.get(seed, ())) for row in rows) else CANNOT_TELL
        for seed, rows in estimates.items()
    }
    truths = sorted({row["true_value"] for rows in sigmas.values() for row in rows})
    asked = ", ".join(f"{truth:g}" for truth in truths)
    return told(
        outcomes,
        f"Experiments asked at fractions around what was found ({asked}), with errors like those stated "
        f"here: what they say of intervals holds here{votes(outcomes)}.",
        f"Experiments asked at {asked}, and not near what was found with errors like those stated here: "
        "what intervals hold here was not tried. Let `experiments` have such `true_values`, as many `events` "
        "as the sample, and the `fit_rows` of the method.",
    )


def no_prior(evidence: Evidence) -> Found:
    """Does no prior enter?"""
    found = evidence.of("estimate")
    if evidence.dataset == SIMULATED or not found or evidence.of("estimate_prior"):
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


def _alike(evidence: Evidence, estimate: Row, sigmas: Sequence[Row]) -> bool:
    """Whether experiments had errors like those of an estimate, at fractions around it or close to it."""
    by_truth: dict[float, dict[str, float]] = {}
    for row in sigmas:
        by_truth.setdefault(row["true_value"], {})[row["interval"]] = row["value"]
    truths = sorted(by_truth)
    if not truths:
        return False
    nearest = by_truth[min(truths, key=lambda truth: abs(truth - estimate["value"]))]
    reach = NEAR * nearest.get("total", 0.0)
    between = truths[0] - reach <= estimate["value"] <= truths[-1] + reach
    at = {"observation": estimate["observation"]}
    here = {
        part: [row["value"] for row in evidence.of(f"estimate_{part}_error", **at).get(estimate["seed"], ())]
        for part in PARTS
    }
    return bool(between) and all(
        len(own) == 1 and nearest.get(part, 0.0) / ALIKE <= own[0] <= nearest.get(part, 0.0) * ALIKE
        for part, own in here.items()
    )


RULES = (
    Rule(
        asked_near,
        "experiments near the estimate",
        "inference",
        "Were there experiments at fractions like the one that an estimate found, with errors like its own?",
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
