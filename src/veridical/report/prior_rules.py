"""Rules on the prior: does it allow what the data say? It is the user's assumption: no rule says bad."""

from __future__ import annotations

from veridical.evidence.numbers import rounded
from veridical.report import levels
from veridical.report.judging import CANNOT_TELL, CAUTION, GOOD, Evidence, Found, middle, tested, told, votes
from veridical.report.questions import Rule

SHIFT = 0.5  # of the mean, in sd of the answer, if the prior is squared or its root is taken
INFORMED = 0.8  # contraction from which on the prior should matter little


def prior_conflict(evidence: Evidence) -> Found:
    """Does the answer lie where the prior says parameters are?"""
    level = levels.caution("conflict")
    found = evidence.of("prior_conflict_p")
    if not found:
        return None
    p = {s: rows[0]["value"] if 1 / ((rows[0]["n"] or 0) + 1) < level else None for s, rows in found.items()}
    outcomes = {s: tested(v, level) for s, v in p.items()}
    return told(
        outcomes,
        "The answer lies where the prior says parameters are: of answers to simulated data, "
        f"{rounded(100 * middle(p.values()), 2)} % lie as far out{votes(outcomes)}.",
        "Whether prior and data agree could not be told: too few simulated data sets.",
        "Prior and data contradict each other: hardly any answer to simulated data lies as far out in the "
        f"prior (p = {rounded(middle(p.values()), 2)}){votes(outcomes)}.",
    )


def prior_matters(evidence: Evidence) -> Found:
    """Would another prior have given another answer?"""
    shifts = evidence.of("prior_shift_sd")
    if not shifts:
        return None
    where = "simulated" if evidence.calibration is None else "real"
    informed = evidence.of("prior_contraction", where)
    mute = {s for s, v in evidence.whole("prior_sensitivity_decidable").items() if v == 0}
    outcomes, largest = {}, {}
    for seed, rows in shifts.items():
        each = {r["parameter"]: r["value"] for r in rows if r["parameter"]}
        strong = {r["parameter"] for r in informed.get(seed, ()) if r["value"] >= INFORMED}
        alarming = any(not v <= SHIFT for name, v in each.items() if name in strong)
        outcomes[seed] = CANNOT_TELL if seed in mute else CAUTION if alarming else GOOD
        largest[seed] = max(each.values(), default=float("nan"))
    size = rounded(middle(largest.values()), 2)
    moved = f"Squaring the prior, or taking its root, moves the mean by {size} standard deviations at most"
    return told(
        outcomes,
        f"{moved}{votes(outcomes)}." if middle(largest.values()) <= SHIFT else f"{moved}: the prior matters.",
        "How much the answer owes to the prior could not be told: the weights of a scaled prior are too "
        "uneven.",
        f"{moved}, although the data inform the parameter well{votes(outcomes)}.",
    )


RULES = (
    Rule(
        prior_conflict,
        "where the answer lies in the prior",
        "prior",
        "Does the answer lie where the prior says parameters are?",
        f"`prior_conflict_p` < {levels.caution('conflict')}",
        "",
        "Ask whether the prior is what you believe; if so, the data are strange, and their units and "
        "columns are the first to check.",
        ("prior_sensitivity",),
    ),
    Rule(
        prior_matters,
        "the weight of the prior",
        "prior",
        "Would another prior have given another answer?",
        f"`prior_shift_sd` > {SHIFT} of a parameter with `prior_contraction` >= {INFORMED} (with less the "
        "prior is bound to matter: told, no caution)",
        "",
        "Report the answer under another prior beside this one.",
        ("prior_sensitivity",),
    ),
)
