"""Rules about real data with known truth: they speak of inference, simulator and prior together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veridical.evidence.metrics import Row
from veridical.evidence.numbers import percent
from veridical.report import by_pairs, by_size
from veridical.report.by_size import Counted
from veridical.report.judging import (
    BAD,
    CANNOT_TELL,
    CAUTION,
    GOOD,
    SMALL_GAP,
    Evidence,
    Found,
    direction,
    majority,
    middle,
    share,
    smallest,
    told,
    votes,
    worst_gap,
)
from veridical.report.questions import LABELLED, Rule

LIKE_LABELLED_P = 0.01
CURVES_P = 0.005  # of all coverage curves, where the 90 % intervals hold
AS_GOOD_AS = 0.85  # coverage that a perfect calibration on so many pairs has to exceed in 97.5 % of cases


def labelled_coverage(evidence: Evidence) -> Found:
    """Do 90 % intervals hold the truth on labelled real data?"""
    counted = {s: _counted(rows) for s, rows in evidence.of("coverage", "real", level=by_size.LEVEL).items()}
    if not counted:
        return None
    if any(v == 1 for v in evidence.whole("asked_together", "real").values()):
        outcomes = _together(counted)
    else:
        outcomes = {s: by_size.judge(own, evidence.rivals) for s, own in counted.items()}
    outcomes = {s: _with_pairs(o, counted[s], evidence.calibration) for s, o in outcomes.items()}
    off = _curves_off(evidence) if evidence.calibration is None else _off_for_pairs(evidence, counted)
    outcomes |= {s: CAUTION for s in off if outcomes.get(s) == GOOD}
    return _said(outcomes, counted, evidence, "On real data with known truth")


def labelled_experiments(evidence: Evidence) -> Found:
    """Do 90 % intervals hold the truth in repeated experiments on labelled real data?"""
    counted = {}
    for seed, rows in evidence.of("experiment_coverage", "real", level=by_size.LEVEL).items():
        own = [r for r in rows if r.get("interval") is None]  # of posteriors; estimates have no other
        counted[seed] = _counted(own or [r for r in rows if r["interval"] == "total"])
    if not counted:
        return None
    outcomes = {
        s: _with_pairs(by_size.judge(own, evidence.rivals), own, evidence.calibration)
        for s, own in counted.items()
    }
    return _said(outcomes, counted, evidence, "In repeated experiments on real data with known truth")


def possible_on_real(evidence: Evidence) -> Found:
    """Has the truth of labelled real data a density above zero?"""
    zeros = evidence.whole("zero_density_share", "real")
    if not zeros:
        return None
    return told(
        {s: GOOD if v == 0 else CAUTION for s, v in zeros.items()},
        "No true value of the labelled real data was given density zero.",
        "",
        f"The answer excludes the truth of {share(zeros.values())} of the labelled real data altogether: its "
        "density there is zero.",
    )


def like_labelled(evidence: Evidence) -> Found:
    """Are the data like the labelled real ones, so that what was seen there speaks for them?"""
    if evidence.dataset == "real":
        return {s: GOOD for s in evidence.replicates}, "These are the labelled real data themselves."
    p = smallest(evidence, "labelled_member_p", LIKE_LABELLED_P)
    if not p:
        return None
    # what is unlike the labelled data is not thereby wrong: they say nothing of it
    return told(
        {s: GOOD if v is not None and v >= LIKE_LABELLED_P else CANNOT_TELL for s, v in p.items()},
        "Each observation is like the labelled real data, so that what was seen on them speaks for it too.",
        "The data are unlike the labelled real data, or these are too few to tell: coverage there says "
        "nothing of them.",
    )


RULES = (
    Rule(
        labelled_coverage,
        "coverage on labelled data",
        LABELLED,
        "Do 90 % intervals hold the truth on labelled real data?",
        "some parameter, or for fewer than 200 rows the mean, does not exclude what would matter though a "
        "right answer would have with probability 0.8 (with fewer rows: cannot tell); or intervals are too "
        f"wide (every lower end > {by_size.WASTE}), or `coverage_p` < {CURVES_P} with a gap > {SMALL_GAP} "
        "by two standard errors; of a method calibrated on n pairs in place of the last a gap > "
        f"{SMALL_GAP} with probability < {CURVES_P} under a perfect calibration on n pairs, a mean over "
        f"replicates outside of what that gives in {100 * (1 - by_pairs.MEAN_ALPHA):.0f} % of cases, or "
        f"fewer pairs than let it exceed {AS_GOOD_AS}",
        f"the upper end of some parameter < {by_size.HARM} (97.5 %, Bonferroni over parameters); of a method "
        "calibrated on n pairs in addition below what a perfect calibration on n pairs shows on as many rows "
        "in 97.5 % (Bonferroni again)",
        "The simulator, or the remedy, fails where it matters. Calibrate with the labelled data or mend the "
        "simulator (more simulations will not help); where rows are few, label more.",
        ("coverage",),
        decisive=True,
    ),
    Rule(
        labelled_experiments,
        "coverage in experiments on labelled data",
        LABELLED,
        "The same in repeated experiments on labelled real data.",
        "as `labelled_coverage`, each parameter or true value",
        "as `labelled_coverage`",
        "The intervals leave out a source of error: more members, more events for the fit of weights, or "
        "more calibration data are the usual ways out.",
        ("experiments",),
        decisive=True,
    ),
    Rule(
        possible_on_real,
        "density at labelled truths",
        LABELLED,
        "Has the truth of labelled real data a density above zero?",
        "`zero_density_share` > 0 on `real`",
        "",
        "Widen the prior where these truths lie; a method that gives exactly zero inside its prior has to "
        "leave some density there.",
        ("scores",),
    ),
    Rule(
        like_labelled,
        "likeness to the labelled data",
        LABELLED,
        "Are the data like the labelled real ones? Where not, these say nothing of them.",
        "",
        "",
        "Label data that are like these ones.",
        ("typicality",),
    ),
)


def labelled_counts(evidence: Evidence) -> dict[int, Counted]:
    """Returns, by replicate, how many labelled truths the 90 % intervals hold."""
    found = evidence.of("coverage", "real", level=by_size.LEVEL)
    return {seed: _counted(rows) for seed, rows in found.items()}


def _curves_off(evidence: Evidence) -> set[int]:
    """The replicates whose coverage curves leave the diagonal by chance's measure and by a reader's."""
    return {
        seed
        for seed, p in evidence.whole("coverage_p", "real").items()
        if not p >= CURVES_P and not worst_gap(evidence, "real", seed, 2.0)[0] <= SMALL_GAP
    }


def _off_for_pairs(evidence: Evidence, counted: Mapping[int, Counted]) -> set[int]:
    """The same of a method that learned from pairs, by the measure of what as many pairs allow."""
    assert evidence.calibration is not None
    means = _means(evidence)
    rows = min(own.n for own in counted.values())
    low, high = by_pairs.mean_range(evidence.calibration, rows, len(counted), max(1, len(means)))
    if any(not low <= mean <= high for mean in means.values()):
        return set(counted)
    return {seed for seed, own in counted.items() if _gap_off(evidence, seed, own.n)}


def _gap_off(evidence: Evidence, seed: int, rows: int) -> bool:
    """Whether a coverage curve of one replicate has a gap that so many pairs do not explain."""
    found = [
        row["value"]
        for name in ("coverage_gap", "hpd_coverage_gap")
        for row in evidence.of(name, "real").get(seed, ())
        if row["parameter"] is not None or name == "hpd_coverage_gap"
    ]
    pairs = evidence.calibration or 0
    return any(
        not gap <= SMALL_GAP and by_pairs.gap_p(gap, pairs, rows) * len(found) < CURVES_P for gap in found
    )


def _means(evidence: Evidence) -> dict[str, float]:
    """Coverage of 90 % sets averaged over replicates, of each parameter and of all jointly."""
    shares: dict[str, list[float]] = {}
    for name, whole in (("coverage", None), ("hpd_coverage", "all jointly")):
        for rows in evidence.of(name, "real", level=by_size.LEVEL).values():
            for row in rows:
                if (of := row["parameter"] or whole) is not None:
                    shares.setdefault(of, []).append(row["value"])
    return {of: sum(own) / len(own) for of, own in shares.items()}


def _counted(rows: Sequence[Row]) -> Counted:
    """Truths held of one replicate, per parameter (of estimates: per true value)."""
    each = [r for r in rows if r["parameter"] is not None or r["true_value"] is not None] or list(rows)
    mean = [r for r in rows if r["parameter"] is None and r["true_value"] is None]
    n = min(r["n"] for r in each)
    error = mean[0]["stderr"] if mean and mean[0]["stderr"] is not None else 0.0
    average = sum(r["value"] for r in each) / len(each)
    return Counted(tuple(round(r["value"] * n) for r in each), n, average, error)


def _together(counted: Mapping[int, Counted]) -> dict[int, int]:
    """Outcomes where the answers of a replicate depend on each other: one for all of them."""
    n = min(own.n for own in counted.values())
    shares = [[k / own.n for k in own.held] for own in counted.values()]
    return dict.fromkeys(counted, by_size.dependent(shares, n))


def _with_pairs(outcome: int, counted: Counted, pairs: int | None) -> int:
    """The outcome of a method that learned from pairs: few of them allow no better than caution.

    Nor is it bad to miss by what even a perfect calibration on so many may.
    """
    if pairs is None:
        return outcome
    least = by_pairs.least_seen(pairs, counted.n, by_size.ALPHA_BAD / len(counted.held))
    if outcome == BAD and min(counted.held) / counted.n >= least:
        return CAUTION
    return outcome if by_size.as_good_as(pairs) > AS_GOOD_AS else max(outcome, CAUTION)


def _said(outcomes: dict[int, int], counted: Mapping[int, Counted], evidence: Evidence, known: str) -> Found:
    """The outcomes with a sentence: the smallest share held, out of how many, and what that excludes."""
    first = next(iter(counted.values()))
    n, d = first.n, len(first.held)
    least = percent(middle(min(own.held) / own.n for own in counted.values()))
    text = f"{known} ({n:,} data sets) the 90 % intervals hold the truth in {least}"
    text += " for the parameter where that is least" if d > 1 else ""
    common = majority(outcomes.values())
    if common == GOOD:
        excluded = by_size.EXCLUDED if n >= by_size.MANY else by_size.EXCLUDED_OF_FEW
        return outcomes, f"{text}: coverage below {percent(excluded)} is excluded{votes(outcomes)}."
    if common == CANNOT_TELL:
        rows = by_size.enough(d, evidence.rivals)
        return outcomes, f"{text}: too few data sets to tell; with {rows} or more a right answer would pass."
    if common == BAD:
        return outcomes, f"{text}: far too seldom{direction(evidence, 'real')}{votes(outcomes)}."
    return outcomes, f"{text}: {_doubt(counted, evidence)}{votes(outcomes)}."


def _doubt(counted: Mapping[int, Counted], evidence: Evidence) -> str:
    """Why labelled data call for caution."""
    alpha = by_size.ALPHA / evidence.rivals
    if all(by_size.too_wide(own) for own in counted.values()):
        return "more often than they say; safe, but wasteful"
    if not all(by_size.passed(own, alpha) for own in counted.values()):
        among = f", judged among {evidence.rivals} variants on the same data," if evidence.rivals > 1 else ""
        return f"these data{among} do not exclude that they hold it much less often than they say"
    pairs = evidence.calibration
    if pairs is not None and by_size.as_good_as(pairs) <= AS_GOOD_AS:
        return (
            f"but calibrated on {pairs} pairs even a perfect method may hold it in only "
            f"{percent(by_size.as_good_as(pairs))}"
        )
    if pairs is not None:
        return f"but {pairs} pairs do not explain all that it misses{direction(evidence, 'real')}"
    return f"but not at other probabilities{direction(evidence, 'real')}"
