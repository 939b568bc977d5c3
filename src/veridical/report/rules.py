"""The rules of the verdict: each asks one question of a study's metrics.

A rule gives every replicate an outcome, 0 (good), 1 (caution) or 2 (bad), and the reader a sentence. It looks
at numbers of `metrics.csv` only. A number that is not a number counts as failing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from veridical.evidence import reproduced
from veridical.evidence.numbers import rounded
from veridical.report.judging import (
    BAD,
    CAUTION,
    GOOD,
    Evidence,
    Found,
    decided,
    direction,
    graded,
    majority,
    middle,
    nan_last,
    passed,
    share,
    told,
    votes,
)
from veridical.report.labelled_rules import (
    CALIBRATION_P,
    DETECTION_P,
    SMALL_GAP,
    covered_in_experiments,
    labelled_coverage,
    like_simulations,
)

TYPICAL_P = 0.01
PREDICTIVE_BAD = 0.005
CALIBRATION_TESTS = ("sbc_p", "coverage_p", "tarp_p")
SHIFT_CAUTION, SHIFT_BAD = 1.0, 3.0  # largest shift of a posterior mean, in sd of the reference
MEAN_SHIFT_CAUTION, MEAN_SHIFT_BAD = 0.5, 1.0
RATIO_CAUTION, RATIO_BAD = 1.5, 2.0  # of the sds, in either direction
C2ST_CAUTION = 0.8
RHAT, ESS = 1.01, 1000.0
INVALID_CAUTION, INVALID_BAD = 0.05, 0.2
CONTRACTION = 0.05


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes:
        judge: Returns an outcome per replicate (0, 1, 2) and the sentence; None where there is nothing to
        judge. question: What it asks. caution: When it says `caution`, in words; empty where it never does.
        bad: When it says `do not trust`, in words; empty where it never does. advice: What to do then.
    """

    judge: Callable[[Evidence], Found]
    question: str
    caution: str
    bad: str
    advice: str

    @property
    def name(self) -> str:
        """Its name: that of the function that judges."""
        return self.judge.__name__

    def line(self) -> str:
        """Returns its line in the table of `docs/verdict.md`."""
        return f"| `{self.name}` | {self.question} | {self.caution or '-'} | {self.bad or '-'} |"


# ---- the rules -----------------------------------------------------------------------------------


def typical(evidence: Evidence) -> Found:
    """Is the observation one that the simulator could have made?"""
    p = decided(evidence, "mahalanobis_p", "typicality")
    if not p:
        return None
    return told(
        passed(p, TYPICAL_P),
        f"The data look like simulated data: of those, {share(p)} lie as far out or farther.",
        f"The data are unlike anything the simulator makes: only {share(p)} of the simulated data lie as "
        "far out. The network was never trained near them, so its answer there is a guess.",
    )


def reproduces(evidence: Evidence) -> Found:
    """Do simulations at the posterior look like the observation?"""
    names = ("predictive_p", "predictive_maximum", "predictive_detectable")
    by_seed = {name: evidence.of(name) for name in names}
    found = {
        seed: one
        for seed in decided(evidence, "predictive_p", "predictive")
        if (one := reproduced.of_rows([row for rows in by_seed.values() for row in rows.get(seed, ())]))
    }
    if not found:
        return None
    doubted = _answer_doubted(evidence)
    worst = CAUTION if doubted else BAD
    outcomes = {
        seed: GOOD if one.passed else CAUTION if one.p > PREDICTIVE_BAD else worst
        for seed, one in found.items()
    }
    sentence = reproduced.typical(found).sentence
    if doubted and majority(outcomes.values()) != GOOD:
        sentence += " As the answer itself is in doubt, the simulator need not be at fault."
    return outcomes, sentence


def _answer_doubted(evidence: Evidence) -> bool:
    """Whether the answer may be another than the simulator's posterior."""
    found = [rule(evidence) for rule in (simulated_calibration, near_reference)]
    return any(majority(one[0].values()) != GOOD for one in found if one)


def simulated_calibration(evidence: Evidence) -> Found:
    """Do intervals cover the truth on simulated data as often as they say?"""
    if evidence.calibration is not None:
        return None  # such a method has learned what real data look like, not what simulations do
    tests = [found for name in CALIBRATION_TESTS if (found := evidence.whole(name, "simulated"))]
    outcomes: dict[int, int] = {}
    worst: dict[int, tuple[float, str]] = {}
    for seed in sorted({seed for test in tests for seed in test}):
        passed = all(len(tests) * test[seed] >= CALIBRATION_P for test in tests if seed in test)
        worst[seed] = _worst_gap(evidence, seed)
        outcomes[seed] = GOOD if passed else CAUTION if worst[seed][0] <= SMALL_GAP else BAD
    if not outcomes:
        return None
    common = majority(outcomes.values())
    size = "slightly" if common == CAUTION else "badly"
    gap, where = sorted(worst.values(), key=nan_last)[len(worst) // 2]
    return told(
        outcomes,
        f"On simulated data the intervals hold the truth as often as they say{votes(outcomes)}.",
        f"Even on simulated data the intervals are {size} off{direction(evidence, 'simulated')}: their "
        f"coverage misses the stated probability by {rounded(100 * gap, 2)} percentage points on average "
        f"for {where}{votes(outcomes)}.",
    )


def _worst_gap(evidence: Evidence, seed: int) -> tuple[float, str]:
    """The largest coverage gap of one replicate and what it belongs to; NaN counts as the largest."""
    of_all = {"coverage_gap": "all parameters", "hpd_coverage_gap": "all parameters jointly"}
    gaps = [
        (row["value"], row["parameter"] or whole)
        for name, whole in of_all.items()
        for row in evidence.of(name, "simulated").get(seed, ())
    ]
    return max(gaps, key=nan_last, default=(float("nan"), "what was not measured"))


def reference_reached(evidence: Evidence) -> Found:
    """Did the exact sampler converge?"""
    rhat = [row["value"] for row in evidence.reference("rhat")]
    ess = [row["value"] for row in evidence.reference("ess")]
    if not rhat and not ess:
        return None
    good = all(v < RHAT for v in rhat) and all(v > ESS for v in ess)
    nothing = float("nan")
    numbers = f"largest R-hat {max(rhat, default=nothing):.3f}, smallest ESS {min(ess, default=nothing):,.0f}"
    return told(
        {0: GOOD if good else CAUTION},
        f"The exact reference converged ({numbers}).",
        f"The exact reference did not converge ({numbers}), so comparing with it proves nothing.",
    )


def near_reference(evidence: Evidence) -> Found:
    """Does the posterior agree with the exact one?"""
    shifts, ratios = evidence.of("mean_shift_sd"), evidence.of("sd_ratio")
    accuracy = evidence.whole("c2st")
    reached = reference_reached(evidence)
    if not shifts or (reached and majority(reached[0].values()) != GOOD):
        return None
    outcomes, worst_shift, mean_shift, worst_ratio = {}, {}, {}, {}
    for seed in shifts:
        size = [abs(row["value"]) for row in shifts[seed] if row["parameter"]]
        ratio = [_either_way(row["value"]) for row in ratios.get(seed, ()) if row["parameter"]]
        outcomes[seed] = _distance(size, ratio, accuracy.get(seed))
        worst_shift[seed], mean_shift[seed] = max(size), sum(size) / len(size)
        worst_ratio[seed] = max(ratio, default=1.0)
    numbers = (
        f"its means are shifted by {rounded(middle(mean_shift), 2)} standard deviations on average and "
        f"{rounded(middle(worst_shift), 2)} at most, its widths differ by a factor of at most "
        f"{rounded(middle(worst_ratio), 3)}"
    )
    numbers += f", a classifier tells the two apart in {share(accuracy)} of cases" if accuracy else ""
    words = ("agrees with", "differs somewhat from", "is far from")[majority(outcomes.values())]
    return outcomes, f"The posterior {words} the exact one for the same data: {numbers}{votes(outcomes)}."


def valid_simulations(evidence: Evidence) -> Found:
    """Did nearly all training simulations succeed?"""
    invalid = evidence.whole("invalid_share", "simulated")
    if not invalid:
        return None
    failed = f"{share(invalid)} of the training simulations failed"
    return told(
        {s: graded(v, INVALID_CAUTION, INVALID_BAD) for s, v in invalid.items()},
        f"{failed}.",
        f"{failed}; what makes them fail is silently cut out of the prior.",
    )


def learned(evidence: Evidence) -> Found:
    """Did the data teach the network anything?"""
    found = evidence.of("contraction", "simulated" if evidence.calibration is None else "real")
    each = {s: [r["value"] for r in rows if r["parameter"]] for s, rows in found.items()}
    best = {s: max(values) for s, values in each.items() if values}
    if not best:
        return None
    return told(
        passed(best, CONTRACTION, CAUTION),
        f"The data inform the parameters: prior variances shrink by up to {share(best)}.",
        "The posterior is no narrower than the prior for any parameter: calibration checks accept such an "
        "answer, but it says nothing.",
    )


def supported(evidence: Evidence) -> Found:
    """Was anything but simulated data asked?"""
    on_real = any(evidence.whole(name, "real") for name in ("coverage_p", "experiments_p"))
    exact = near_reference(evidence) is not None and bool(evidence.reference("rhat"))
    if on_real or exact:
        what = " and ".join(
            w for w, there in (("an exact reference", exact), ("labelled real data", on_real)) if there
        )
        return {0: GOOD}, f"The answer was held against {what}, not against the simulator alone."
    return {0: CAUTION}, (
        "The answer was held against simulated data only. That can show that the network learned its "
        "simulator, not that the simulator is right: an exact reference or labelled real data would be "
        "needed for more."
    )


def complete(evidence: Evidence) -> Found:
    """Did the checks run that a verdict needs?"""
    missing = []
    calibrated = evidence.calibration is not None
    where = "real" if calibrated else "simulated"
    tests = (*(("coverage_p",) if calibrated else CALIBRATION_TESTS), "experiments_p")
    if not any(evidence.of(name, where) for name in tests):
        missing.append(f"calibration on {where} data")
    itself = calibrated and evidence.dataset == "real"  # judged on what it was calibrated for
    if (
        evidence.dataset != "simulated"
        and not itself
        and not decided(evidence, "mahalanobis_p", "typicality")
    ):
        few = evidence.of("mahalanobis_p")
        missing.append("how typical the data are" + (" (too few simulated data sets to tell)" if few else ""))
    if evidence.dataset == "simulated":
        missing.append("anything on real data, of which the study has none")
    if not missing:
        return {0: GOOD}, "All checks that a verdict needs were made."
    return {0: CAUTION}, f"Not checked: {'; '.join(missing)}."


RULES: tuple[Rule, ...] = (
    Rule(
        typical,
        "Is the observation one that the simulator could have made?",
        "",
        f"`mahalanobis_p` < {TYPICAL_P} on the data set",
        "Check units, columns and outliers of the data first; then widen the prior or mend the simulator "
        "until its simulations look like the data.",
    ),
    Rule(
        reproduces,
        "Do simulations at the posterior look like the observation?",
        f"`predictive_p` <= its level ({reproduced.LEVEL:g}, unless the study says another) on the data set",
        f"`predictive_p` <= {PREDICTIVE_BAD}, and `simulated_calibration` and `near_reference` object not",
        "The sentence names what the simulator lacks, and the figure marks it. A wider noise model or a "
        "missing process are the usual remedies; faulty values of the data belong mended or left out.",
    ),
    Rule(
        like_simulations,
        "Taken together, are the data distributed like simulated data?",
        f"`mmd_p` < {DETECTION_P} on the data set, and `labelled_coverage` is good",
        f"`mmd_p` < {DETECTION_P} on the data set otherwise",
        "The simulator differs from reality in a way that the network sees. Calibrate with labelled real "
        "data (remedies), or mend the simulator.",
    ),
    Rule(
        labelled_coverage,
        "Do intervals hold the truth on labelled real data as often as they say?",
        f"`coverage_p` < {CALIBRATION_P} on `real`, and they are too wide by three standard errors",
        f"`coverage_p` < {CALIBRATION_P} on `real` (family-wise: a coverage curve leaves its band) otherwise",
        "The simulator differs from reality where it matters. Calibrate with the labelled data, or mend "
        "the simulator; more simulations will not help.",
    ),
    Rule(
        simulated_calibration,
        "Do intervals hold the truth on simulated data as often as they say (calibrated methods: not asked)?",
        f"the smallest of `sbc_p`, `coverage_p`, `tarp_p` times their number < {CALIBRATION_P} on "
        f"`simulated`, and every `coverage_gap` and `hpd_coverage_gap` <= {SMALL_GAP}",
        f"the same with a gap > {SMALL_GAP}",
        "The network has not learned its simulator well enough: use more simulations, a longer training or "
        "a larger network.",
    ),
    Rule(
        covered_in_experiments,
        "Do intervals hold the truth in repeated experiments as often as they say?",
        f"`experiments_p` < {CALIBRATION_P} (family-wise: a curve leaves its band), and every "
        "`coverage_gap_z` of the total error, `experiment_coverage_gap` and `experiment_hpd_coverage_gap` <= "
        f"{SMALL_GAP}",
        f"the same with a gap > {SMALL_GAP}",
        "The intervals leave out a source of error: look at where coverage is lost; more members, more "
        "events for the fit of weights, or more calibration data are the usual ways out.",
    ),
    Rule(
        reference_reached,
        "Did the exact sampler converge?",
        f"a `rhat` >= {RHAT} or an `ess` <= {ESS:.0f}; the reference then supports nothing",
        "",
        "Let the exact sampler run longer (settings of `reference`).",
    ),
    Rule(
        near_reference,
        "Does the posterior agree with the exact one (where that converged)?",
        f"largest absolute `mean_shift_sd` > {SHIFT_CAUTION:g} or their mean > {MEAN_SHIFT_CAUTION:g}, an "
        f"`sd_ratio` outside [{1 / RATIO_CAUTION:.2f}, {RATIO_CAUTION:g}], or `c2st` > {C2ST_CAUTION:g}",
        f"largest absolute `mean_shift_sd` > {SHIFT_BAD:g} or their mean > {MEAN_SHIFT_BAD:g}, or an "
        f"`sd_ratio` outside [{1 / RATIO_BAD:g}, {RATIO_BAD:g}]",
        "The network is not accurate at these data: use more simulations, or more of them near the data (a "
        "narrower prior). Until then use the exact answer.",
    ),
    Rule(
        valid_simulations,
        "Did nearly all training simulations succeed?",
        f"`invalid_share` > {INVALID_CAUTION:g}",
        f"`invalid_share` > {INVALID_BAD:g}",
        "Find out where simulations fail, and mend the simulator there or leave that part out of the prior "
        "on purpose.",
    ),
    Rule(
        learned,
        "Did the data teach the network anything?",
        f"`contraction` < {CONTRACTION:g} for every parameter on `simulated` (calibrated methods: `real`)",
        "",
        "Look at the training curves; if training went well, the data do not identify these parameters.",
    ),
    Rule(
        supported,
        "Was anything but simulated data asked?",
        "neither a converged reference nor labelled `real` data: at best caution",
        "",
        "Give the task a likelihood and the study a `reference`, or add real data whose true parameters "
        "are known.",
    ),
    Rule(
        complete,
        "Did the checks run that a verdict needs?",
        "no calibration check, no typicality check (not asked of a calibrated method on `real`), or no real "
        "data at all",
        "",
        "Name real data under `observations` where there are none, switch the missing checks on, or use more "
        "simulated test data (`test_rows`).",
    ),
)


# ---- words and numbers ---------------------------------------------------------------------------


def _distance(shifts: Sequence[float], ratios: Sequence[float], accuracy: float | None) -> int:
    mean = sum(shifts) / len(shifts)
    worst = max(
        graded(max(shifts, key=lambda v: (v != v, v)), SHIFT_CAUTION, SHIFT_BAD),
        graded(mean, MEAN_SHIFT_CAUTION, MEAN_SHIFT_BAD),
        *(graded(r, RATIO_CAUTION, RATIO_BAD) for r in ratios),
    )
    apart = accuracy is not None and not accuracy <= C2ST_CAUTION
    return max(worst, CAUTION if apart else GOOD)


def _either_way(ratio: float) -> float:
    return max(ratio, 1 / ratio) if ratio > 0 else float("inf")
