"""Rules on the simulator: could it have made these data? What parameters absorb, none of them can see."""

from __future__ import annotations

from veridical.evidence import reproduced
from veridical.report import levels
from veridical.report.judging import (
    BAD,
    CANNOT_TELL,
    CAUTION,
    GOOD,
    Evidence,
    Found,
    majority,
    middle,
    share,
    smallest,
    tested,
    told,
    votes,
)
from veridical.report.questions import Rule

STATISTICS = 10  # summaries among which a misfit is looked for where the check states no detectable one
POWER_Z = 1.2816  # normal quantile of power 0.9


def typical(evidence: Evidence) -> Found:
    """Is each observation one that the simulator could have made?"""
    caution, bad = levels.caution("members"), levels.bad("members")
    p, tail = smallest(evidence, "member_p", caution), smallest(evidence, "member_tail_p", caution)
    if not p:
        return None
    outcomes = {}
    for seed, value in p.items():
        beyond = tail.get(seed)  # approximate, hence a third of the level and no worse than caution
        outcomes[seed] = tested(value, caution, bad) if value is not None else tested(beyond, caution / 3)
    known = [value if value is not None else tail.get(seed) for seed, value in p.items()]
    return told(
        outcomes,
        f"Each observation looks like simulated data: of these, {share(known)} lie as far out as the "
        "farthest.",
        "How typical the data are could not be told: too few simulated data sets.",
        f"The data are unlike anything the simulator makes: {_which(evidence)} as far out as hardly any "
        "simulated data set. The network was never trained near such data, so its answer there is a guess"
        f"{votes(outcomes)}.",
    )


def like_simulations(evidence: Evidence) -> Found:
    """Are the data, taken together, distributed like simulated data?"""
    level = levels.caution("set") / 2
    tests = [smallest(evidence, "mmd_p", level, "detection")]
    several = any(r["n"] and r["n"] > 1 for rows in evidence.of("mahalanobis_p").values() for r in rows)
    tests += [smallest(evidence, "mahalanobis_p", level, "typicality")] if several else []
    tests = [test for test in tests if test]
    if not tests:
        return None
    seeds = sorted({seed for test in tests for seed in test})
    p = {s: _least([test[s] for test in tests if s in test]) for s in seeds}
    outcomes = {s: tested(v, level) for s, v in p.items()}
    return told(
        outcomes,
        "Taken together, the data are not told from simulated data: of sets of simulated data as large, "
        f"{share(p.values())} differ as much or more{votes(outcomes)}.",
        "Whether the data, taken together, are like simulated data could not be told: too few of these.",
        "Taken together, the data are not distributed like simulated data: of sets of simulated data as "
        f"large, only {share(p.values())} differ as much{votes(outcomes)}. That can also mean that they come "
        "from one corner of the prior.",
    )


def reproduces(evidence: Evidence) -> Found:
    """Do simulations at the answer look like the observation?"""
    caution, bad = levels.caution("predictive"), levels.bad("predictive")
    names = ("predictive_p", "predictive_maximum", "predictive_detectable")
    by_name = [evidence.of(name) for name in names]
    p, found = smallest(evidence, "predictive_p", caution, "predictive"), {}
    for seed, value in p.items():
        one = reproduced.of_rows([row for rows in by_name for row in rows.get(seed, ())])
        if value is not None and one is not None:
            found[seed] = one
    if not p:
        return None
    outcomes = dict.fromkeys(p, CANNOT_TELL)
    for seed, one in found.items():
        outcomes[seed] = GOOD if one.passed else CAUTION if one.p > bad else BAD
    if majority(outcomes.values()) == CANNOT_TELL or not found:
        return outcomes, "Whether simulations at the answer look like the data could not be told: too few."
    return outcomes, reproduced.typical(found).sentence


def detectable(evidence: Evidence) -> float:
    """Returns the misfit, in predictive sd, that one observation would have shown with probability 0.9.

    As the predictive check states it; else that of the best of ten summaries, tested by their maximum.
    """
    stated = [r["value"] for rows in evidence.of("predictive_detectable").values() for r in rows]
    if stated:
        return middle(stated)
    from scipy.special import ndtri

    return float(-ndtri(levels.caution("predictive") / 2 / STATISTICS) + POWER_Z)


RULES = (
    Rule(
        typical,
        "each observation among simulated ones",
        "simulator",
        "Is each observation one that the simulator could have made?",
        f"`member_p` of an observation < {levels.caution('members')}; where simulated data are too few for "
        "that, `member_tail_p` < a third of it",
        f"`member_p` < {levels.bad('members')}",
        "Check units, columns and outliers of the data first; then widen the prior or mend the simulator "
        "until its simulations look like the data. More `test_rows` make the test sharper.",
        ("typicality",),
    ),
    Rule(
        like_simulations,
        "the data as a whole among simulated ones",
        "simulator",
        "Taken together, are the data distributed like simulated data?",
        f"`mmd_p` or, of several observations, `mahalanobis_p` < {levels.caution('set') / 2}",
        "",
        "The simulator differs from reality in a way that the network sees, or the data come from one "
        "corner of the prior. Labelled real data tell whether it matters.",
        ("detection", "typicality"),
    ),
    Rule(
        reproduces,
        "simulations at the answer",
        "simulator",
        "Do simulations at the answer look like the observation? (Cannot tell where inference is bad.)",
        f"`predictive_p` <= the level of the check ({levels.caution('predictive')}, unless the study says "
        "another)",
        f"`predictive_p` <= {levels.bad('predictive')}",
        "The sentence names what the simulator lacks, and the figure marks it. A wider noise model or a "
        "missing process are the usual remedies; faulty values of the data belong mended or left out.",
        ("predictive",),
    ),
)


def _least(values: list[float | None]) -> float | None:
    """The smallest of what is known; None of nothing."""
    return min((v for v in values if v is not None), default=None)


def _which(evidence: Evidence) -> str:
    """Which observations are atypical in most replicates, in words."""
    level = levels.caution("members")
    for metric, limit in (("member_p", level), ("member_tail_p", level / 3)):
        far: dict[int, list[int]] = {}
        for rows in evidence.of(metric).values():
            for row in rows:
                outcome = GOOD if row["value"] >= limit else CAUTION
                far.setdefault(row["observation"] or 0, []).append(outcome)
        found = [str(i + 1) for i, own in sorted(far.items()) if majority(own) >= CAUTION]
        if len(far) > 1 and found:
            plural = "observations" if len(found) > 1 else "observation"
            lie = "lie" if len(found) > 1 else "lies"
            return f"{plural} {', '.join(found)} {lie}"
    return "they lie"
