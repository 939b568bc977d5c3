"""Faults of earlier rules, each shown again: what the verdict says of them today.

Every function makes the situation in which the rules of format 1 went wrong, by the checks themselves where
these were at fault, and returns what comes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from verdict_cases import CASES, Case, calibrated_rows, offset, rows_of, scaled, shifted

from veridical import checks, coordinates, seeds
from veridical.coordinates import Coordinates
from veridical.evidence import metrics, tabulation
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row, row
from veridical.report import verdict
from veridical.report.judging import Evidence
from veridical.saved.posteriors import Draws

ROOT, REPEATS = 2026, 200
RIGHT = CASES[0]
PRIOR = next(case for case in CASES if case.name == "the prior")


def generator(*name: object) -> np.random.Generator:
    return seeds.generator(ROOT, "test", "verdict faults", *map(str, name))


def judged(rows: Sequence[Row], dataset: str = "data", pairs: int | None = None, rivals: int = 1) -> dict:
    """The verdict on some metrics."""
    return verdict.judge(Evidence(rows, "npe", 1000, dataset, pairs, rivals))


def outcome(found: dict, rule: str) -> str:
    """What one rule said."""
    return next(f["outcome"] for f in found["findings"] if f["rule"] == rule)


def draws_of(draws: np.ndarray, summary: np.ndarray | None = None) -> Draws:
    """Draws (S, N, D) with summaries (N, K) whose training rows had mean 0 and covariance 1."""
    d, k = draws.shape[2], 0 if summary is None else summary.shape[1]
    return Draws(
        names=tuple(f"p{j}" for j in range(d)),
        bounds=np.tile([-np.inf, np.inf], (d, 1)),
        units=("",) * d,
        draws=draws,
        log_density=None,
        truth=None,
        log_density_truth=None,
        summary=summary,
        summary_mean=np.zeros(k),
        summary_cov=np.eye(k),
        x=None,
    )


def with_summary(summary: np.ndarray) -> Draws:
    return draws_of(np.zeros((2, len(summary), 1)), summary)


def checked(result: checks.base.CheckResult, seed: int = 0) -> list[Row]:
    """The rows of one check on the observed data."""
    return tabulation.check_rows(Coordinates("npe", 1000, seed, "data"), result.to_json())


def converged(d: int, held: float = 0.9) -> list[Row]:
    """A converged exact reference, and what the answer's intervals are worth under it."""
    where = coordinates.dataset_cells("data")
    own = {"method": "npe", "budget": 1000, **where}
    rows = [row(method="reference", **where, parameter=f"p{j}", metric="rhat", value=1.0) for j in range(d)]
    rows += [
        row(method="reference", **where, parameter=f"p{j}", metric="ess", value=4000.0) for j in range(d)
    ]
    return rows + [
        row(**own, seed=s, parameter=f"p{j}", metric="reference_coverage", value=held)
        for s in range(3)
        for j in range(d)
    ]


def shares(case: Case, d: int, n: int, repeats: int, reference: bool = False) -> Counter[str]:
    """Shares of the verdicts on an observation, with n labelled rows."""
    found: Counter[str] = Counter()
    for i in range(repeats):
        rows = rows_of(case, d, (n,), generator(case.name, d, n, i))[n]
        found[judged(rows + (converged(d) if reference else []))["verdict"]] += 1 / repeats
    return found


def calibrated(case: Case, d: int, n: int, repeats: int) -> float:
    """How often a method that learned from pairs is trusted on n labelled rows."""
    trusted = 0
    for i in range(repeats):
        rows = calibrated_rows(case, d, (n,), generator("pairs", case.name, d, n, i))[n]
        trusted += judged(rows, "real", 1000)["verdict"] == "trust"
    return trusted / repeats


# ---- the faults ------------------------------------------------------------------------------------


def wrong_simulator(repeats: int = REPEATS) -> dict[str, Counter[str]]:
    """A converged reference beside data whose nature is another; without labelled rows, and with 100."""
    far = Case("nature: offset of 5 posterior sd", nature=offset(5.0))
    return {
        f"{name}{', 100 labelled rows' if n else ''}": shares(case, 4, n, repeats, reference=True)
        for name, case in (
            ("offset", far),
            ("scale 1.5", next(c for c in CASES if c.name.endswith("scale 1.5"))),
        )
        for n in (0, 100)
    }


def each_replicate_fails_another_rule() -> str:
    """Three replicates of which each fails another rule badly."""
    rows = rows_of(RIGHT, 2, (0,), generator("another rule"))[0] + converged(2)
    wrong = {"member_p": (0, 1e-4), "predictive_p": (1, 1e-4), "reference_coverage": (2, 0.0)}
    for r in rows:
        seed, value = wrong.get(r["metric"], (None, 0.0))
        if r["seed"] is not None and r["seed"] == seed:
            r["value"], r["least_p"] = value, 1e-4
    return str(judged(rows)["verdict"])


def one_wild_observation(n: int = 20, simulated: int = 500) -> dict:
    """One of n observations 40 sd away, among so many simulated test sets."""
    rng = generator("wild", n)
    s = rng.normal(size=(n, 2))
    s[3] = [40.0, 0.0]
    options = {"permutations": 999}
    result = checks.build("typicality", **options).run(
        with_summary(s), rng, null=with_summary(rng.normal(size=(simulated, 2)))
    )
    rows = rows_of(RIGHT, 2, (0,), rng)[0]
    rows = [r for r in rows if r["metric"] != "member_p"]
    return judged(rows + [{**r, "seed": seed} for seed in range(3) for r in checked(result)])


def against_reference(shift: Sequence[float], sd: Sequence[float]) -> str:
    """What rule `near_reference` says of answers to several observations, shifted and scaled one by one."""
    rng = generator("reference", *shift, *sd)
    n = len(shift)
    own = np.asarray(shift)[:, None] + np.asarray(sd)[:, None] * rng.normal(size=(2000, n, 1))
    exact = draws_of(rng.normal(size=(4000, n, 1)))
    options = {"draws": 200, "folds": 2, "max_iterations": 20, "patience": 2}
    result = checks.build("two_sample", **options).run(draws_of(own), rng, reference=exact)
    rows = [r for r in converged(1) if r["metric"] != "reference_coverage"]
    return outcome(judged(rows + checked(result)), "near_reference")


def from_one_corner(repeats: int = REPEATS) -> Counter[str]:
    """Ten observations at 1.5 prior sd in each of four parameters, a right simulator, 100 labelled rows."""
    found: Counter[str] = Counter()
    for i in range(repeats):
        rng = generator("corner", i)
        null = with_summary(rng.normal(size=(2000, 4)))
        s = with_summary((1.5 + 0.2 * rng.normal(size=(10, 4))) / np.sqrt(1.04))
        result = checks.build("typicality", permutations=999).run(s, rng, null=null)
        rows = [r for r in rows_of(RIGHT, 4, (100,), rng)[100] if r["metric"] != "member_p"]
        rows += [{**r, "seed": seed} for seed in range(3) for r in checked(result)]
        found[judged(rows)["verdict"]] += 1 / repeats
    return found


def one_far_observation(simulated: int) -> str:
    """What rule `like_simulations` says of one summary at 1e6, among so many simulated test sets."""
    rng = generator("far", simulated)
    null = with_summary(rng.normal(size=(simulated, 2)))
    result = checks.build("detection", sets=20).run(with_summary(np.array([[1e6, 0.0]])), rng, null=null)
    return outcome(judged(checked(result)), "like_simulations")


def uncalibrated_on_real(repeats: int = REPEATS) -> float:
    """How often a right method without calibration is trusted on 200 labelled rows of `real`."""
    found = [rows_of(RIGHT, 4, (200,), generator("on real", i))[200] for i in range(repeats)]
    return sum(judged(rows, "real")["verdict"] == "trust" for rows in found) / repeats


def some_of_many_variants(n_variants: int, repeats: int = REPEATS, n: int = 100) -> float:
    """How often some of many wrong variants (sd 1.5 too small) is trusted on the same n labelled rows."""
    wrong = Case("", scaled(1 / 1.5))
    trusted = 0
    for i in range(repeats):
        name = ("variants", n_variants, i)
        each = [calibrated_rows(wrong, 1, (n,), generator(*name, v))[n] for v in range(n_variants)]
        trusted += any(judged(rows, "real", 1000, n_variants)["verdict"] == "trust" for rows in each)
    return trusted / repeats


def density_zero_at_the_truth() -> str:
    """A fifth of the simulated truths at density zero, all else good."""
    rows = rows_of(RIGHT, 2, (0,), generator("zero"))[0]
    cells = {"method": "npe", "budget": 1000, **coordinates.dataset_cells("simulated")}
    zeros = [row(**cells, seed=s, metric="zero_density_share", value=0.2) for s in range(3)]
    return str(judged(rows + zeros)["verdict"])


def errors_over_replicates(studies: int = 40) -> dict[str, float]:
    """Stated error of the mean of three replicates that share test rows, over the spread between studies."""
    names = (("coverage", 0.9), ("acauc", None), ("contraction", None))
    value: dict[str, list[float]] = {name: [] for name, _ in names}
    stated: dict[str, list[float]] = {name: [] for name, _ in names}
    for i in range(studies):
        rng, rows = generator("errors", i), []
        theta = rng.normal(size=(300, 2))
        x = theta + rng.normal(size=theta.shape)
        for r in range(3):
            z = rng.normal(size=(99, 300, 2))
            at_truth = -((theta - x / 2) ** 2).sum(-1) - np.log(np.pi)
            data = Draws(
                **{
                    **vars(draws_of(x / 2 + np.sqrt(0.5) * z)),
                    "truth": theta,
                    "log_density": -0.5 * (z**2).sum(-1) - np.log(np.pi),
                    "log_density_truth": at_truth,
                }
            )
            for check, options in (("coverage", {"null_draws": 999}), ("scores", {})):
                result = checks.build(check, bootstrap=20, **options).run(data, rng)
                rows += tabulation.check_rows(Coordinates("npe", 1000, r, "simulated"), result.to_json())
        for name, level in names:
            cells = {"metric": name, "level": level, "parameter": None, "seed": None}
            (mean,) = metrics.select(metrics.tidy(rows), **cells)
            value[name].append(mean["value"])
            stated[name].append(mean["stderr"])
    return {name: float(np.mean(stated[name]) / np.std(value[name], ddof=1)) for name, _ in names}


# ---- the table -------------------------------------------------------------------------------------


def lines() -> list[list[str]]:
    """Returns number, fault, figures before and after, of each fault of the rules."""
    said = {name: _said(own) for name, own in wrong_simulator().items()}
    wild, errors = one_wild_observation(), errors_over_replicates()
    of_prior = " / ".join(f"{100 * calibrated(PRIOR, 4, n, REPEATS):.0f}" for n in (100, 500, 2000))
    narrow, moved = Case("sd 1.5", scaled(1 / 1.5)), Case("shift 1", shifted(1.0))
    few = [
        " / ".join(f"{100 * calibrated(c, 1, n, REPEATS):.0f}" for n in (10, 20, 50)) for c in (narrow, moved)
    ]
    mixed = against_reference([0.0] * 10, [0.5] * 5 + [1.5] * 5)
    together = against_reference([0.49], [0.67])
    far = ", ".join(f"{n} rows: {one_far_observation(n)}" for n in (100, 300, 500, 1000))
    variants = " / ".join(f"{100 * some_of_many_variants(v):.0f}" for v in (1, 5, 17))
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in errors.items())
    return [
        [
            "1",
            "an exact reference counts as evidence for the simulator",
            "nature = simulator + 1, D = 4: trust 85 %, intervals hold 0.00; "
            "nature 1.5 theta: trust 85 %, hold 0.51",
            "; ".join(f"{name}: {text}" for name, text in said.items()),
        ],
        [
            "2",
            "majority rule by rule",
            "three replicates that each fail another rule badly: trust",
            each_replicate_fails_another_rule(),
        ],
        [
            "3",
            "one wild observation among twenty passes",
            '"the data look like simulated data", trust',
            f"rule `typical`: {outcome(wild, 'typical')}; verdict {wild['verdict']}",
        ],
        [
            "4",
            "distance to the reference averaged over observations, limits harmless one by one",
            "five 2x too narrow and five 1.5x too wide: good; shift 0.49 and ratio 0.67: good",
            f"{mixed}; {together}",
        ],
        [
            "5",
            "a calibrated method that answers with the prior, D = 4, 100 / 500 / 2,000 rows",
            "trust 82 / 75 / 23 %",
            f"trust {of_prior} %",
        ],
        [
            "6",
            "trust with few labelled rows, D = 1, 10 / 20 / 50 rows",
            "sd 1.5x too small: trust 62-70 / 18-43 / 5 %; shift of 1 sd: 52-73 / 43-50 / 12 %",
            f"sd 1.5x too small: trust {few[0]} %; shift of 1 sd: {few[1]} %",
        ],
        [
            "7, 8",
            "± over replicates that share their test rows, stated / observed",
            "coverage 1/4, ACAUC 1/9, contraction 1/19",
            ratios,
        ],
        [
            "9",
            "ten observations from one corner of the prior",
            "do not trust 10 of 10 while intervals hold 0.90",
            f"{_said(from_one_corner())} (100 labelled rows)",
        ],
        [
            "10",
            "one summary at 1e6, a null too small to reject",
            "fewer than 400 test rows: good",
            far,
        ],
        [
            "11",
            "uncalibrated methods on `real`",
            "never trust",
            f"right answer, 200 labelled rows, D = 4: trust {100 * uncalibrated_on_real():.0f} %",
        ],
        [
            "13",
            "density zero at a fifth of the truths; the best of 1 / 5 / 17 wrong variants on 100 rows",
            "trust; trust 1 / 5 / 15 %",
            f"{density_zero_at_the_truth()}; trust {variants} %",
        ],
    ]


def _said(found: Counter[str]) -> str:
    """Shares of the verdicts in words, those given at least once."""
    return ", ".join(f"{word} {100 * found[word]:.0f} %" for word in VERDICTS if found[word] > 0)
