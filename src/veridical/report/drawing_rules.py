"""Rules on how draws were made: do weights hold, do chains agree, and is there an answer at all?"""

from __future__ import annotations

from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded
from veridical.report.judging import BAD, CAUTION, GOOD, Evidence, Found, middle, nan_last, share, told, votes
from veridical.report.questions import Rule

FEW = 0.05  # share of many observations that may be refused
RHAT = 1.05  # from which chains have not converged
ESS_CAUTION, ESS_BAD = 400.0, 100.0  # independent draws: means are off by 0.05 and 0.1 standard deviations


def corrected(evidence: Evidence) -> Found:
    """Do the weights hold by which draws were picked, and is there an answer?"""
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
        "Weights with the likelihood fail for some of these data"
        if some < 1
        else "There is no answer: it was refused, since its weights with the likelihood fail"
    )
    return told(
        outcomes,
        f"Draws were picked by weights with the likelihood that the method asks, and these hold{weights}"
        f"{votes(outcomes)}. That says nothing of places that no candidate reached.{refused}",
        "",
        f"{failed}{weights}{votes(outcomes)}.{refused}",
    )


def converged(evidence: Evidence) -> Found:
    """Where draws depend on each other: do independent chains agree, and are there enough of them?"""
    rhat, ess = evidence.of("rhat"), evidence.of("ess")
    if not ess:
        return None
    apart = {seed: max(rows, key=_largest) for seed, rows in rhat.items()}
    fewest = {seed: max(rows, key=_least) for seed, rows in ess.items()}
    outcomes = {
        seed: _worth(row["value"], apart[seed]["value"] if seed in apart else 1.0)
        for seed, row in fewest.items()
    }
    worth = f"worth {rounded(middle(row['value'] for row in fewest.values()), 2)} independent ones"
    chains = f", and independent chains agree (R-hat at most {_middle(apart)})" if apart else ""
    if any(not row["value"] < RHAT for row in apart.values()):
        row = max(apart.values(), key=_largest)
        objection = (
            f"Independent Markov chains do not agree on the answer to these data{_at(row)}: R-hat is "
            f"{row['value']:.2f}, expected less than {RHAT}. What they drew is not the posterior that the "
            f"method has learned, but depends on where they began{votes(outcomes)}."
        )
    else:
        row = max(fewest.values(), key=_least)
        objection = (
            f"The draws for these data are too few: they are {worth}{_at(row)}, since they repeat or follow "
            f"each other, so that means, widths and intervals hold the error of so few{votes(outcomes)}."
        )
    return told(outcomes, f"The draws are {worth}{chains}{votes(outcomes)}.", "", objection)


def _worth(ess: float, rhat: float) -> int:
    """The outcome of an effective size and of R-hat, which is one where there are no chains; NaN is bad."""
    if not rhat < RHAT or not ess >= ESS_BAD:
        return BAD
    return GOOD if ess >= ESS_CAUTION else CAUTION


def _largest(row: Row) -> tuple[bool, float]:
    return nan_last((row["value"], ""))


def _least(row: Row) -> tuple[bool, float]:
    return nan_last((-row["value"], ""))


def _middle(rows: dict[int, Row]) -> str:
    return f"{middle(row['value'] for row in rows.values()):.2f}"


def _at(row: Row) -> str:
    """The parameter and, where there may be several, the observation of a row."""
    number = "" if row["observation"] is None else f" (observation {row['observation'] + 1})"
    return f" for {row['parameter']}{number}"


RULES: tuple[Rule, ...] = (
    Rule(
        corrected,
        "weights of the draws",
        "inference",
        "Do the weights hold by which draws were picked, and is there an answer?",
        f"`refused_share` > {FEW:g}: some data are not answered",
        "`refused_share` = 1: no answer",
        "Improve what is corrected: more simulations, more rounds, an ensemble. Or draw by chains, or take "
        "the exact reference.",
        (),
        stands=True,
        decisive=True,
    ),
    Rule(
        converged,
        "convergence of the draws",
        "inference",
        "Where draws depend on each other: do independent chains agree, and are there enough draws?",
        f"`ess` of some parameter in some observation < {ESS_CAUTION:g}",
        f"`rhat` of some parameter in some observation >= {RHAT}, or `ess` < {ESS_BAD:g}",
        "Let chains run longer (`sampling`: more `warm_up` and `steps`, more `walkers` and `prior_draws` for "
        "several modes), or give weights more candidates.",
        (),
        stands=True,
        decisive=True,
    ),
)
