"""Rules of the verdict about real data with known truth, and about repeated experiments."""

from __future__ import annotations

from veridical.evidence.numbers import rounded
from veridical.report.judging import (
    BAD,
    CAUTION,
    GOOD,
    TOO_WIDE,
    Evidence,
    Found,
    any_too_narrow,
    decided,
    direction,
    majority,
    middle,
    nan_last,
    passed,
    share,
    told,
    votes,
)

CALIBRATION_P = 0.05  # family-wise over the parameters, and over the tests
DETECTION_P = 0.01
SMALL_GAP = 0.05  # a coverage gap up to here is small


def labelled_coverage(evidence: Evidence) -> Found:
    """Do intervals cover the truth on labelled real data as often as they say?"""
    p = evidence.whole("coverage_p", "real")
    if not p:
        return None
    way = direction(evidence, "real")
    failed = CAUTION if way == TOO_WIDE and not any_too_narrow(evidence, "real") else BAD
    outcomes = passed(p, CALIBRATION_P, failed)
    known = "On real data with known truth the intervals"
    return told(
        outcomes,
        f"{known} hold the truth as often as they say{votes(outcomes)}.",
        f"{known} hold the truth more often than they say{way}: safe, but wasteful{votes(outcomes)}.",
        f"{known} do not hold the truth as often as they say{way}{votes(outcomes)}.",
    )


def like_simulations(evidence: Evidence) -> Found:
    """Are the data, taken together, distributed like simulated data?"""
    p = decided(evidence, "mmd_p", "detection")
    if not p:
        return None
    on_labelled = labelled_coverage(evidence)
    cleared = on_labelled is not None and majority(on_labelled[0].values()) == GOOD
    outcomes = passed(p, DETECTION_P, CAUTION if cleared else BAD)
    known = " On labelled real data the intervals hold nevertheless." if cleared else ""
    return told(
        outcomes,
        "Taken together, the data are not told from simulated data: of sets of simulated data as large, "
        f"{share(p)} differ as much or more{votes(outcomes)}.",
        "Taken together, the data are not distributed like simulated data: of sets of simulated data as "
        f"large, only {share(p)} differ as much{votes(outcomes)}.{known}",
    )


def covered_in_experiments(evidence: Evidence) -> Found:
    """Do intervals hold the truth in repeated experiments as often as they say?"""
    where = "real" if evidence.of("experiments_p", "real") else "simulated"
    p = evidence.whole("experiments_p", where)
    worst = {seed: _widest_gap(evidence, where, seed) for seed in p}
    if not worst:
        return None
    outcomes = {
        seed: GOOD if v >= CALIBRATION_P else CAUTION if worst[seed][0] <= SMALL_GAP else BAD
        for seed, v in p.items()
    }
    gap = rounded(100 * middle({seed: size for seed, (size, _) in worst.items()}), 2)
    common, data = majority(outcomes.values()), f"{where} data"
    size = "slightly" if common == CAUTION else "badly"
    _, at = sorted(worst.values(), key=nan_last)[len(worst) // 2]
    return told(
        outcomes,
        f"In repeated experiments on {data} the intervals hold the truth as often as they say"
        f"{votes(outcomes)}: at worst their coverage misses by {gap} percentage points on average.",
        f"In repeated experiments on {data} the intervals are {size} off: their coverage misses the stated "
        f"probability by {gap} percentage points on average{at}{votes(outcomes)}.",
    )


def _widest_gap(evidence: Evidence, where: str, seed: int) -> tuple[float, str]:
    """The largest gap of one replicate and where it is, a true value or a parameter; NaN is largest."""
    of_estimates = [
        (r["value"], "" if r["true_value"] is None else f" where the truth is {rounded(r['true_value'])}")
        for r in evidence.of("coverage_gap_z", where).get(seed, ())
        if r.get("interval") in (None, "total")
    ]
    of_posteriors = [
        (r["value"], f" for {r['parameter']}" if r["parameter"] else "")
        for name in ("experiment_coverage_gap", "experiment_hpd_coverage_gap")
        for r in evidence.of(name, where).get(seed, ())
    ]
    gaps = of_estimates + of_posteriors
    return max(gaps, key=nan_last, default=(float("nan"), ""))
