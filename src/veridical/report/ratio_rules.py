"""The rule on what a method says itself against what it has learned."""

from __future__ import annotations

from veridical.coordinates import SIMULATED
from veridical.report.judging import CAUTION, GOOD, Evidence, Found, told, votes
from veridical.report.questions import Rule


def stands(evidence: Evidence) -> Found:
    """Does a method object to what it has learned itself?"""
    found = evidence.of("objections", SIMULATED)
    if not found:
        return None
    outcomes = {seed: CAUTION if seed in found else GOOD for seed in evidence.replicates}
    said = next(iter(found.values()))[0]["category"]
    return told(
        outcomes,
        f"In most repeats the method objects to nothing that it has learned{votes(outcomes)}.",
        "",
        f"The method itself objects to what it has learned{votes(outcomes)}: {said}.",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        stands,
        "what the method objects to",
        "inference",
        "Does a method object to what it has learned itself: a ratio that few events decide, members alike, "
        "a span that misses?",
        "any `objections`",
        "",
        "Follow what it says: more rows for the fit of its weights, fewer or longer trained members.",
        (),
    ),
)
