"""Rules on inference, on average over the prior: has the method learned the posterior of its simulator?"""

from __future__ import annotations

from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded
from veridical.report import by_size, levels
from veridical.report.judging import (
    BAD,
    CAUTION,
    GOOD,
    SMALL_GAP,
    Evidence,
    Found,
    direction,
    graded,
    majority,
    middle,
    nan_last,
    share,
    told,
    votes,
    worst_gap,
)
from veridical.report.questions import Rule

CALIBRATION_TESTS = ("sbc_p", "coverage_p", "tarp_p")
INVALID_CAUTION, INVALID_BAD = 0.05, 0.2
CONTRACTION = 0.05
NEVER = 0.05  # share of truths at density zero that is bad


def calibration_level(evidence: Evidence) -> float:
    """Returns the level of each calibration test on simulated data, which share one."""
    made = [name for name in (*CALIBRATION_TESTS, "experiments_p") if evidence.of(name, "simulated")]
    return levels.caution("calibration") / max(1, len(made))


def simulated_calibration(evidence: Evidence) -> Found:
    """Do intervals cover the truth on simulated data as often as they say?"""
    if evidence.calibration is not None:
        return None  # such a method has learned what real data look like, not what simulations do
    tests = [found for name in CALIBRATION_TESTS if (found := evidence.whole(name, "simulated"))]
    level = calibration_level(evidence)
    outcomes: dict[int, int] = {}
    worst: dict[int, tuple[float, str]] = {}
    for seed in sorted({seed for test in tests for seed in test}):
        passed = all(test[seed] >= level for test in tests if seed in test)
        harmful = worst_gap(evidence, "simulated", seed, 2.0)[0]
        worst[seed] = worst_gap(evidence, "simulated", seed)
        outcomes[seed] = GOOD if passed else CAUTION if harmful <= SMALL_GAP else BAD
    if not outcomes:
        return None
    size = "slightly" if majority(outcomes.values()) == CAUTION else "badly"
    gap, where = sorted(worst.values(), key=nan_last)[len(worst) // 2]
    return told(
        outcomes,
        f"On simulated data the intervals hold the truth as often as they say{votes(outcomes)}.",
        "",
        f"Even on simulated data the intervals are {size} off{direction(evidence, 'simulated')}: their "
        f"coverage misses the stated probability by {rounded(100 * gap, 2)} percentage points on average "
        f"for {where}{votes(outcomes)}.",
    )


def covered_in_experiments(evidence: Evidence) -> Found:
    """Do intervals hold the truth in repeated simulated experiments as often as they say?"""
    p = evidence.whole("experiments_p", "simulated")
    if not p or evidence.calibration is not None:
        return None
    worst = {seed: _widest_gap(evidence, seed) for seed in p}
    level = calibration_level(evidence)
    outcomes = {
        seed: GOOD if v >= level else CAUTION if worst[seed][0] <= SMALL_GAP else BAD for seed, v in p.items()
    }
    gap = rounded(100 * middle(size for size, _ in worst.values()), 2)
    size = "slightly" if majority(outcomes.values()) == CAUTION else "badly"
    _, at = sorted(worst.values(), key=nan_last)[len(worst) // 2]
    return told(
        outcomes,
        "In repeated experiments on simulated data the intervals hold the truth as often as they say"
        f"{votes(outcomes)}: at worst their coverage misses by {gap} percentage points on average.",
        "",
        f"In repeated experiments on simulated data the intervals are {size} off: their coverage misses the "
        f"stated probability by {gap} percentage points on average{at}{votes(outcomes)}.",
    )


def likelihood_ratio_intervals(evidence: Evidence) -> Found:
    """Do the intervals from the shape of the likelihood hold the truth in repeated experiments?"""
    where = "real" if evidence.of("experiment_coverage", "real") else "simulated"
    cells = {"level": by_size.LEVEL, "interval": "likelihood_ratio"}
    found = evidence.of("experiment_coverage", where, **cells)
    if not found:
        return None
    outcomes = {}
    for seed, rows in found.items():
        alpha = by_size.ALPHA_BAD / len(rows)
        low = [round(r["value"] * r["n"]) <= by_size.most_held(r["n"], by_size.HARM, alpha) for r in rows]
        outcomes[seed] = CAUTION if any(low) else GOOD
    least = share(min(r["value"] for r in rows) for rows in found.values())
    text = (
        f"90 % intervals from the shape of the likelihood hold the truth in at least {least} of experiments"
    )
    return told(
        outcomes,
        f"{text}{votes(outcomes)}.",
        "",
        f"{text}, too seldom{votes(outcomes)}: use the standard errors stated, not the likelihood's shape.",
    )


def possible(evidence: Evidence) -> Found:
    """Has the truth a density above zero on simulated data?"""
    zeros = evidence.whole("zero_density_share", "simulated")
    if not zeros or evidence.calibration is not None:
        return None
    return told(
        {s: graded(v, 0.0, NEVER) for s, v in zeros.items()},
        "No simulated truth was given density zero.",
        "",
        f"The answer excludes the truth of {share(zeros.values())} of simulated data sets altogether: its "
        "density there is zero, which no posterior does.",
    )


def learned(evidence: Evidence) -> Found:
    """Did the data teach the method more than its prior said?"""
    where = "simulated" if evidence.calibration is None else "real"
    gains = evidence.of("gain", where)
    shrink = evidence.of("prior_contraction", where)
    if not gains or not shrink:
        return None
    informed = evidence.of("informed_p", where)
    outcomes = {}
    for seed, (gain,) in gains.items():
        each = [r["value"] for r in informed.get(seed, ())]
        goes_with = bool(each) and len(each) * min(each) < levels.LEARNED and gain["value"] > -float("inf")
        narrower = any(r["value"] > CONTRACTION for r in shrink.get(seed, ()))
        outcomes[seed] = GOOD if narrower and (goes_with or _significant(gain)) else CAUTION
    nats = rounded(middle(rows[0]["value"] for rows in gains.values()), 2)
    names = [r["parameter"] for r in next(iter(shrink.values())) if not r["value"] > CONTRACTION]
    but = f" They say next to nothing of {', '.join(names)}." if names else ""
    return told(
        outcomes,
        f"The data inform the parameters: against the prior the truth gains {nats} nats on average.{but}",
        "",
        f"The answer is not told from the prior (gain {nats} nats): calibration checks accept such an "
        "answer, but it says nothing.",
    )


def valid_simulations(evidence: Evidence) -> Found:
    """Did nearly all training simulations succeed?"""
    invalid = evidence.whole("invalid_share", "simulated")
    if not invalid:
        return None
    failed = f"{share(invalid.values())} of the training simulations failed"
    return told(
        {s: graded(v, INVALID_CAUTION, INVALID_BAD) for s, v in invalid.items()},
        f"{failed}.",
        "",
        f"{failed}; what makes them fail is silently cut out of the prior.",
    )


RULES = (
    Rule(
        simulated_calibration,
        "calibration on simulated data",
        "inference",
        "Do intervals hold the truth on simulated data as often as they say (calibrated methods: not asked)?",
        f"the smallest of `sbc_p`, `coverage_p`, `tarp_p` times their number (with `experiments_p`) < "
        f"{levels.caution('calibration')} on `simulated`",
        f"the same, and a `coverage_gap` or `hpd_coverage_gap` > {SMALL_GAP} by two standard errors",
        "The network has not learned its simulator well enough: use more simulations, a longer training or "
        "a larger network.",
        ("sbc", "coverage", "tarp"),
    ),
    Rule(
        covered_in_experiments,
        "coverage in simulated experiments",
        "inference",
        "Do intervals hold the truth in repeated simulated experiments (calibrated methods: not asked)?",
        f"`experiments_p` times the number of those tests < {levels.caution('calibration')}",
        "the same, and a `coverage_gap_z` of the total error, `experiment_coverage_gap` or "
        f"`experiment_hpd_coverage_gap` > {SMALL_GAP}",
        "The intervals leave out a source of error: look at where coverage is lost; more members, more "
        "events for the fit of weights, or more calibration data are the usual ways out.",
        ("experiments",),
    ),
    Rule(
        likelihood_ratio_intervals,
        "intervals from the likelihood's shape",
        "inference",
        "Do intervals from the shape of the likelihood hold the truth in repeated experiments?",
        f"upper end of `experiment_coverage` of interval `likelihood_ratio` at 90 % < {by_size.HARM} (97.5 "
        "%, Bonferroni over true values or parameters)",
        "",
        "Quote the estimate with its standard error instead.",
        ("experiments",),
    ),
    Rule(
        possible,
        "density at simulated truths",
        "inference",
        "Has the truth a density above zero on simulated data (calibrated methods: not asked)?",
        "`zero_density_share` > 0 on `simulated` (`lpp` is then -inf)",
        f"`zero_density_share` > {NEVER}",
        "Some truths lie outside all draws and densities: train longer, or let the method keep some density "
        "everywhere inside the prior.",
        ("scores",),
    ),
    Rule(
        learned,
        "what the data taught",
        "inference",
        "Did the data teach the method more than its prior said?",
        f"neither `gain` > 0 (Student's t, level {levels.LEARNED}) nor a parameter with `informed_p` < "
        f"{levels.LEARNED} (Bonferroni); or no parameter with `prior_contraction` > {CONTRACTION}; on "
        "`simulated` (calibrated methods: `real`)",
        "",
        "Look at the training curves; if training went well, the data do not identify these parameters.",
        ("scores",),
        stands=True,
    ),
    Rule(
        valid_simulations,
        "failed simulations",
        "inference",
        "Did nearly all training simulations succeed?",
        f"`invalid_share` > {INVALID_CAUTION:g}",
        f"`invalid_share` > {INVALID_BAD:g}",
        "Find out where simulations fail, and mend the simulator there or leave that part out of the prior "
        "on purpose.",
        (),
    ),
)


def _widest_gap(evidence: Evidence, seed: int) -> tuple[float, str]:
    """The largest gap of one replicate and where it is, a true value or a parameter; NaN is largest."""
    of_estimates = [
        (r["value"], _where(r))
        for r in evidence.of("coverage_gap_z", "simulated").get(seed, ())
        if r.get("interval") in (None, "total")
    ]
    of_posteriors = [
        (r["value"], _where(r))
        for name in ("experiment_coverage_gap", "experiment_hpd_coverage_gap")
        for r in evidence.of(name, "simulated").get(seed, ())
    ]
    return max(of_estimates + of_posteriors, key=nan_last, default=(float("nan"), ""))


def _where(row: Row) -> str:
    """What a number belongs to: a true value, a parameter, or all of them."""
    if row.get("true_value") is not None:
        return f" where the truth is {rounded(row['true_value'])}"
    return f" for {row['parameter']}" if row["parameter"] else ""


def _significant(gain: Row) -> bool:
    """Whether a mean gain is above zero, one-sided."""
    from scipy.special import stdtrit

    error = gain["stderr"]
    return bool(error) and gain["value"] / error > stdtrit(gain["n"] - 1, 1 - levels.LEARNED)
