"""Faults of earlier rules, each shown again: what the verdict says of them today.

Every function makes the situation in which the rules of format 1 went wrong, by the checks themselves where
these were at fault, and returns what comes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import predictive_battery
from verdict_cases import CASES, Case, calibrated_rows, offset, rows_of, scaled

from veridical import checks, coordinates, seeds
from veridical.coordinates import Coordinates
from veridical.evidence import metrics, tabulation
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


def seen_by_the_second_member() -> str:
    """What rule `typical` says of an observation that the second of three members sees 8 sd away."""
    rng = generator("second member")
    s = rng.normal(size=(2, 6))
    s[1, 2:4] += 8.0
    own, null = (
        replace(with_summary(part), attrs={"summarisers": 3}) for part in (s[1:], rng.normal(size=(500, 6)))
    )
    rows = [r for r in rows_of(RIGHT, 2, (0,), rng)[0] if r["metric"] != "member_p"]
    result = checks.build("typicality").run(own, rng, null=null)
    return outcome(judged(rows + [{**r, "seed": k} for k in range(3) for r in checked(result)]), "typical")


def density_zero_at_the_truth() -> str:
    """A fifth of the simulated truths at density zero, all else good."""
    rows = rows_of(RIGHT, 2, (0,), generator("zero"))[0]
    cells = {"method": "npe", "budget": 1000, **coordinates.dataset_cells("simulated")}
    zeros = [row(**cells, seed=s, metric="zero_density_share", value=0.2) for s in range(3)]
    return str(judged(rows + zeros)["verdict"])


def errors_over_replicates(studies: int = 100) -> dict[str, dict[str, float]]:
    """Stated error over the spread between studies: of the mean of three replicates that share test rows
    (`three`) and of a single one (`one`)."""
    names = {"coverage": 0.9, **dict.fromkeys(("acauc", "lpp", "rmse", "nrmse", "contraction"))}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for i in range(studies):
        rows = metrics.tidy(_three_replicates(generator("errors", i)))
        for of, seed in (("three", None), ("one", 0)):
            for name, level in names.items():
                own = metrics.select(rows, metric=name, level=level, seed=seed)
                whole = next((r for r in own if r["parameter"] is None), own[0])
                found.setdefault((of, name), []).append((whole["value"], whole["stderr"]))
    ratios: dict[str, dict[str, float]] = {"three": {}, "one": {}}
    for (of, name), pairs in found.items():
        value, stated = np.transpose(pairs)
        ratios[of][name] = float(stated.mean() / value.std(ddof=1))
    return ratios


def _three_replicates(rng: np.random.Generator) -> list[Row]:
    """Scores and coverage of three replicates of the exact posterior on the same 300 test sets."""
    theta, rows = rng.normal(size=(300, 2)), []
    x = theta + rng.normal(size=theta.shape)
    for r in range(3):
        z = rng.normal(size=(99, 300, 2))
        known = {
            "truth": theta,
            "log_density": -0.5 * (z**2).sum(-1) - np.log(np.pi),
            "log_density_truth": -((theta - x / 2) ** 2).sum(-1) - np.log(np.pi),
        }
        data = Draws(**{**vars(draws_of(x / 2 + np.sqrt(0.5) * z)), **known})
        for check, options in (("coverage", {"null_draws": 999}), ("scores", {})):
            result = checks.build(check, bootstrap=20, **options).run(data, rng)
            rows += tabulation.check_rows(Coordinates("npe", 1000, r, "simulated"), result.to_json())
    return rows


def predictive_check(repeats: int = REPEATS) -> dict[str, float]:
    """Size of the predictive check at exact posteriors of counts and of a mean (at 0.05), and what it finds
    of counts without weekends (at 0.03) and names."""
    size = [
        predictive_battery.repeat(model, "none", repeats + i)[0] <= 0.05
        for model in ("counts, n = 56", "mean, n = 56")
        for i in range(repeats)
    ]
    weekends = [predictive_battery.repeat("counts, n = 56", "empty weekends", 1000 + i) for i in range(50)]
    seen = [right for p, right in weekends if p <= 0.03]
    return {"size": float(np.mean(size)), "n": len(size), "seen": len(seen), "named": sum(seen)}
