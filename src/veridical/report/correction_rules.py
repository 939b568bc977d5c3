"""The rule on answers that are corrected by importance weights, or refused."""

from __future__ import annotations

from veridical.evidence.numbers import rounded
from veridical.report.judging import BAD, CAUTION, GOOD, Evidence, Found, middle, share, told, votes
from veridical.report.questions import Rule

FEW = 0.05  # share of many observations that may be refused


def corrected(evidence: Evidence) -> Found:
    """Do the weights hold that correct the answer, and is there an answer?"""
    parts = evidence.whole("refused_share")
    if not parts:
        return None
    outcomes = {seed: BAD if part == 1 else CAUTION if part > FEW else GOOD for seed, part in parts.items()}
    k, counted = (evidence.of(name) for name in ("correction_k", "correction_share"))
    worst = middle(max(row["value"] for row in rows) for rows in k.values())
    least = share(min(row["value"] for row in rows) for rows in counted.values())
    weights = f" ({least} of the candidates count, tail index {rounded(worst, 2)})" if k else ""
    some = middle(parts.values())
    refused = (
        f" It refuses {share(parts.values())} of these data sets, whose weights fail: they are left out of "
        "all that is said here."
        if 0 < some < 1
        else ""
    )
    simulated = [part for part in evidence.whole("refused_share", "simulated").values() if part]
    if simulated and evidence.dataset != "simulated":
        refused += f" Of simulated data sets it refuses {share(simulated)}, and is judged by the others."
    failed = (
        "Weights of the correction fail for some of these data"
        if some < 1
        else "There is no answer: the correction was refused, since its weights fail"
    )
    return told(
        outcomes,
        f"The answer is corrected by the exact likelihood, and the weights hold{weights}{votes(outcomes)}. "
        f"That says nothing of places that no candidate reached.{refused}",
        "",
        f"{failed}{weights}{votes(outcomes)}.{refused}",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        corrected,
        "weights of the correction",
        "inference",
        "Do the weights hold that correct an answer, and is there an answer?",
        f"`refused_share` > {FEW:g}: some data are not answered",
        "`refused_share` = 1: no answer",
        "Improve what is corrected: more simulations, more rounds, an ensemble; or use the exact reference.",
        (),
        stands=True,
        decisive=True,
    ),
)
