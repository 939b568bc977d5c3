"""Rules on inference at the data themselves: is the answer to *these* data the posterior?"""

from __future__ import annotations

from veridical.evidence.metrics import Row
from veridical.evidence.numbers import percent, rounded
from veridical.report import levels
from veridical.report.judging import (
    BAD,
    CANNOT_TELL,
    CAUTION,
    EVERY,
    GOOD,
    Evidence,
    Found,
    graded,
    majority,
    middle,
    share,
    smallest,
    tested,
    told,
    votes,
)
from veridical.report.questions import Rule

HELD_CAUTION, HELD_BAD = 0.80, 0.60  # part of the exact posterior inside the answer's 90 % intervals
WIDTH_CAUTION = 1.5  # of the answer, relative to the exact posterior
C2ST_CAUTION = 0.8
RHAT, ESS = 1.01, 1000.0
RANKS_PASS = 0.01  # level of the check, which does not pass up to there
USABLE_K, ENOUGH, SHARE, LOST = 0.7, 200.0, 0.9, 0.02  # of importance weights


def near_reference(evidence: Evidence) -> Found:
    """What are the answer's intervals worth under the exact posterior?"""
    held, widths = evidence.of("reference_coverage"), evidence.of("reference_width")
    if not held:
        return None
    numbers = _not_converged(evidence)
    if numbers is not None:
        text = f"The exact reference did not converge ({numbers}), so comparing with it proves nothing."
        return {EVERY: CANNOT_TELL}, text
    accuracy = evidence.whole("c2st")
    outcomes = {}
    for seed, rows in held.items():
        wide = [r["value"] for r in widths.get(seed, ())]
        outcomes[seed] = _worth(rows, wide, accuracy.get(seed))
    least = min((r for rows in held.values() for r in rows), key=_held)
    at = "" if least["observation"] is None else f" (observation {least['observation'] + 1})"
    widest = middle(max((r["value"] for r in rows), default=1.0) for rows in widths.values())
    text = (
        f"the answer's 90 % intervals hold {percent(least['value'])} of the exact posterior for the "
        f"parameter and observation where that is least, {least['parameter']}{at}, and are at most "
        f"{rounded(widest, 3)} times as wide as it needs"
    )
    text += f"; a classifier tells the two apart in {share(accuracy.values())} of cases" if accuracy else ""
    words = {GOOD: "agrees with", CAUTION: "differs somewhat from", BAD: "is far from"}
    return outcomes, (
        f"The posterior {words[majority(outcomes.values())]} the exact one for the same data: "
        f"{text}{votes(outcomes)}."
    )


def reweighted(evidence: Evidence) -> Found:
    """Where the likelihood is known: what does weighting the answer by it change?"""
    k, effective = evidence.whole("pareto_k"), evidence.of("effective_share", parameter=None)
    if not k or not effective:
        return None
    held = evidence.of("reweighted_coverage")
    outcomes = {}
    for seed, rows in effective.items():
        own = held.get(seed, [])
        outcomes[seed] = _weighed(k.get(seed, float("nan")), rows[0], own)
    least = share(min((_held(r) for r in rows), default=float("nan")) for rows in held.values())
    text = (
        "Weighting the answer by the known likelihood "
        f"({share(rows[0]['value'] for rows in effective.values())} of the draws count, tail index "
        f"{rounded(middle(k.values()), 2)})"
    )
    objects = f"gives a posterior of which the answer's 90 % intervals hold only {least}"
    if not middle(k.values()) < USABLE_K:
        objects = (
            "leaves a few draws with all the weight: the answer has hardly any where the likelihood is high"
        )
    return told(
        outcomes,
        f"{text} hardly changes it{votes(outcomes)}.",
        f"{text} does not tell whether it is right.",
        f"{text} {objects}{votes(outcomes)}.",
    )


def local_ranks(evidence: Evidence) -> Found:
    """Are ranks uniform for data simulated near these data?"""
    level = levels.caution("local ranks")
    p = smallest(evidence, "local_ranks_p", level, "local_ranks")
    if not p:
        return None
    between = {s for s, v in p.items() if v is not None and level <= v <= RANKS_PASS}
    outcomes = {s: CANNOT_TELL if s in between else tested(v, level) for s, v in p.items()}
    return told(
        outcomes,
        f"For data simulated near these, the truth lies where the answer says{votes(outcomes)}.",
        "Whether the truth lies where the answer says for data simulated near these could not be told: "
        "too few draws there, their weights too uneven, or a doubt too small to object.",
        "For data simulated near these, the truth does not lie where the answer says "
        f"(p = {rounded(middle(p.values()), 2)}){votes(outcomes)}.",
    )


def local_classifier(evidence: Evidence) -> Found:
    """Can a classifier tell the answer from the truth for data simulated near these data?"""
    level = levels.caution("local classifier")
    p = smallest(evidence, "local_c2st_p", level, "local_c2st")
    if not p:
        return None
    outcomes = {seed: tested(v, level) for seed, v in p.items()}
    return told(
        outcomes,
        f"For data simulated near these, no classifier told the answer from the truth{votes(outcomes)}.",
        "Too few swaps to tell whether a classifier tells the answer from the truth near these data.",
        "For data simulated near these, a classifier tells the answer from the truth "
        f"(p = {rounded(middle(p.values()), 2)}){votes(outcomes)}.",
    )


_MORE = (
    "The network is not accurate at these data: use more simulations, or more of them near the data (a "
    "narrower prior, more rounds)."
)
RULES = (
    Rule(
        near_reference,
        "the exact posterior",
        "inference",
        "What are the answer's intervals worth under the exact posterior (where that converged: every "
        f"`rhat` < {RHAT} and `ess` > {ESS:.0f}; else cannot tell)?",
        f"`reference_coverage` of some parameter in some observation < {HELD_CAUTION:g}, `reference_width` > "
        f"{WIDTH_CAUTION:g}, or `c2st` > {C2ST_CAUTION:g}",
        f"`reference_coverage` of some parameter in some observation < {HELD_BAD:g}",
        f"{_MORE} Until then use the exact answer; where that has not converged, let it run longer "
        "(settings of `reference`).",
        ("two_sample",),
        stands=True,
        decisive=True,
    ),
    Rule(
        reweighted,
        "weights with the known likelihood",
        "inference",
        "Where the likelihood is known: what does weighting the answer by it change? Cannot tell where fewer "
        f"than {ENOUGH:.0f} draws count, or the effective share per parameter < {SHARE}.",
        f"`reweighted_coverage` of some parameter < {HELD_CAUTION:g}, or `pareto_k` >= {USABLE_K}",
        f"`reweighted_coverage` < {HELD_BAD:g}, or `pareto_k` >= {USABLE_K} with an `effective_share` < "
        f"{LOST}",
        f"{_MORE} Where `pareto_k` < {USABLE_K}, the reweighted draws are a better answer.",
        ("importance",),
        stands=True,
        decisive=True,
    ),
    Rule(
        local_ranks,
        "ranks near these data",
        "inference",
        "Are ranks uniform for data simulated near these data?",
        f"`local_ranks_p` < {levels.caution('local ranks')} (up to {RANKS_PASS}: cannot tell)",
        "",
        _MORE,
        ("local_ranks",),
        stands=True,
    ),
    Rule(
        local_classifier,
        "a classifier near these data",
        "inference",
        "Can a classifier tell the answer from the truth for data simulated near these data?",
        f"`local_c2st_p` < {levels.caution('local classifier')}",
        "",
        _MORE,
        ("local_c2st",),
        stands=True,
    ),
)


def _not_converged(evidence: Evidence) -> str | None:
    """R-hat and ESS of a reference that has not converged; None of one that has."""
    rhat = [row["value"] for row in evidence.reference("rhat")]
    ess = [row["value"] for row in evidence.reference("ess")]
    if rhat and ess and all(v < RHAT for v in rhat) and all(v > ESS for v in ess):
        return None
    nothing = float("nan")
    return f"largest R-hat {max(rhat, default=nothing):.3f}, smallest ESS {min(ess, default=nothing):,.0f}"


def _held(row: Row) -> float:
    """What an interval holds; NaN counts as nothing."""
    value = float(row["value"])
    return value if value == value else 0.0


def _worth(held: list[Row], widths: list[float], accuracy: float | None) -> int:
    """The outcome of the least that an interval holds, of widths, and of how well answers are told apart."""
    lost = 1 - min(_held(r) for r in held)
    outcome = graded(lost, 1 - HELD_CAUTION, 1 - HELD_BAD)
    wide = any(not w <= WIDTH_CAUTION for w in widths)
    apart = accuracy is not None and not accuracy <= C2ST_CAUTION
    return max(outcome, CAUTION if wide or apart else GOOD)


def _weighed(k: float, effective: Row, held: list[Row]) -> int:
    """The outcome of importance weights: a usable tail index does not mean a right answer."""
    part, draws = effective["value"], effective["n"] or 0
    if not k < USABLE_K:
        return BAD if part < LOST else CAUTION
    if not held or not part * draws >= ENOUGH:
        return CANNOT_TELL
    outcome = graded(1 - min(map(_held, held)), 1 - HELD_CAUTION, 1 - HELD_BAD)
    alike = part ** (1 / len({r["parameter"] for r in held})) >= SHARE
    return outcome if outcome != GOOD or alike else CANNOT_TELL
