"""How often the verdict objects to an exact posterior: the false alarms of every rule.

The model is theta ~ N(0, 1) in four dimensions, x = theta + N(0, 1); its exact posterior, N(x/2, 1/2), stands
in for the estimator and for the reference. Every repeat draws its own test sets, observation and draws, runs
the checks and the rules. Usage: python benchmarks/verdict_false_alarms.py [repeats]
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np

from veridical import checks, coordinates, seeds
from veridical.coordinates import Coordinates
from veridical.evidence import tabulation
from veridical.evidence.metrics import Row, row
from veridical.report import verdict
from veridical.report.judging import Evidence
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions

D, TESTS, DRAWS, REPLICATES, ROOT = 4, 500, 199, 3, 2026
NAMES = tuple(f"theta_{i}" for i in range(D))
SMALL = {"bootstrap": 2}


def exact(x: np.ndarray, truth: np.ndarray | None, n: int, rng: np.random.Generator) -> Draws:
    """Draws of the exact posterior for x (N, D), with all that checks need."""
    z = rng.normal(size=(n, *x.shape))
    at_truth = None if truth is None else -((truth - x / 2) ** 2).sum(axis=-1)
    return Draws(
        names=NAMES,
        bounds=np.tile([-np.inf, np.inf], (D, 1)),
        units=("",) * D,
        draws=x / 2 + z * np.sqrt(0.5),
        log_density=-0.5 * (z**2).sum(axis=-1),
        truth=truth,
        log_density_truth=at_truth,
        summary=x,
        summary_mean=np.zeros(D),
        summary_cov=2 * np.eye(D),
        x=x,
    )


def rows_of(result: checks.base.CheckResult, replicate: int, dataset: str) -> list[Row]:
    """The rows of one check."""
    return tabulation.check_rows(Coordinates("npe", 1000, replicate, dataset), result.to_json())


def one_study(rng: np.random.Generator) -> list[Row]:
    """All metrics of one study whose estimator is exact; replicates share test sets and observation."""
    theta = rng.normal(size=(TESTS + 1, D))
    data = theta + rng.normal(size=theta.shape)
    x, truth, observed = data[1:], theta[1:], data[:1]
    reference = exact(observed, None, 2000, rng)
    rows = []
    for r in range(REPLICATES):
        simulated = exact(x, truth, DRAWS, rng)
        for check in ("sbc", "coverage", "scores"):
            rows += rows_of(checks.build(check, **SMALL).run(simulated, rng), r, "simulated")
        rows += rows_of(checks.build("tarp").run(simulated, rng), r, "simulated")
        own = exact(observed, None, 2000, rng)
        rows += rows_of(checks.build("typicality").run(own, rng, null=simulated), r, "data")
        at = own.draws[:3]
        replicates = at[:, None] + rng.normal(size=(3, 400, *own.draws.shape[1:]))
        x = own.draws[:200] + rng.normal(size=own.draws[:200].shape)
        predictive = Predictions(x, own.draws[:200], replicates, at)
        found = checks.build("predictive", **SMALL).run(own, rng, predictive=predictive, null=simulated)
        rows += rows_of(found, r, "data")
        options = {"draws": 500, "max_iterations": 100, "patience": 5}
        rows += rows_of(checks.build("two_sample", **options).run(own, rng, reference=reference), r, "data")
    where = {"method": "reference", **coordinates.dataset_cells("data")}
    rows += [row(**where, parameter=n, metric="rhat", value=1.0) for n in NAMES]
    return rows + [row(**where, parameter=n, metric="ess", value=2000.0) for n in NAMES]


def main(repeats: int = 400) -> None:
    """Prints the share of repeats in which each rule, and the verdict as a whole, objects."""
    verdicts: Counter[str] = Counter()
    objections: Counter[str] = Counter()
    for i in range(repeats):
        rows = one_study(seeds.generator(ROOT, "test", "false alarms", i))
        found = verdict.judge(Evidence(rows, "npe", 1000, "data"))
        verdicts[found["verdict"]] += 1
        objections.update(f["rule"] for f in found["findings"] if f["outcome"] in ("caution", "bad"))
    print(f"{repeats} repeats, {TESTS} test sets, {REPLICATES} replicates")
    for name in verdict.VERDICTS:
        print(f"{name:15s} {100 * verdicts[name] / repeats:5.1f} %")
    for name, count in objections.most_common():
        print(f"  {name:25s} {100 * count / repeats:5.1f} %")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
