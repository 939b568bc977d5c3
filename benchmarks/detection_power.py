"""Size and power of each test for a wrong simulator, by task, severity and number of data sets.

    python benchmarks/detection_power.py [TASK ...] [--pools 20] [--sets 15] [--weekend 100]
        [--page PAGE.md] [--at-most SECONDS]

**Sets of data among simulations.** Each of `pools` times 1,000 data sets are simulated at draws of the prior:
what a study with 1,000 test rows has. The summaries are the numbers of each task (of `gaussian_cloud`, with
100 points for data, two means, logarithms of two variances and the covariance): no network's training is in
these figures. Against each pool `sets` sets of N data sets are judged at the level 0.05 for each severity, a
third as many of N = 200. `mmd` and `mahalanobis` (the mean distance) are the tests of the check
`detection`, which judges 50 data sets unless its setting `observations` says more; `typicality` is the test of
a set of that check, `c2st` the classifier of `detection`, `criticism` the one p of the check of that name, for
all numbers by themselves and given the others. Errors count that the sets of a pool share its chance.

**Distortions.** The check of that name at the level 0.05 on the tasks whose exact posterior under the
simulator is known: at three draws of it for one data set, two for two, one for more, with 100 replicates
each; 100 repeats of one or two data sets, 60 of more. `gaussian_cloud` has 20 points here.

**Weekends.** Daily counts with a rate that is learned, 56 of a Poisson law (`counts`, 20 a day on average) or
70 of a negative binomial one with the dispersion 5 (`overdispersed`, 37 a day); two days of seven lose each
case with a probability of 10, 30 or 50 %. The check `distortions` at its own level 0.03, three draws of the
exact posterior, 200 replicates at each. *Named*: of those found, where a period of 7 or 14 fits best.

Seconds are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from predictive_battery import Counts, Model, Overdispersed
from table_text import table

from veridical import seeds, tasks
from veridical.checks.base import monte_carlo_p
from veridical.checks.battery import stepped_down
from veridical.checks.classifier import classify, sets_of
from veridical.checks.criticism import Pool as Numbers
from veridical.checks.criticism import standing_out
from veridical.checks.detection import Whitening
from veridical.checks.distortions import Distortions
from veridical.checks.mmd import Reference
from veridical.checks.mmd_null import Pool, fresh_sets
from veridical.checks.typicality import mahalanobis, set_p_value
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
from veridical.tasks.base import Array

ROOT, ALPHA, ROWS = 20261201, 0.05, 1000
SIZES, SEVERITIES = (1, 2, 5, 10, 50, 200), (0.0, 0.5, 1.0)
TESTS = ("mmd", "mahalanobis", "typicality", "c2st", "criticism")
NULL_SETS = {200: 99}  # of mmd; 199 elsewhere
REPLICATES = {"grid": 100, "weekend": 200}
SD = 0.1**0.5
TASKS: dict[str, tuple[str, dict[str, Any], str]] = {  # registry name, settings, what is wrong
    "gaussian_cloud": ("gaussian_cloud", {"wrong": "noise"}, "a share of the points has no centre"),
    "gaussian_mean": ("gaussian_mean", {"wrong": "contamination"}, "a share of the draws has twice the sd"),
    "gaussian_linear": (
        "gaussian_linear",
        {"dimension": 10, "prior_sd": SD, "noise_sd": SD, "real_noise_sd": 0.2**0.5},
        "the noise has up to twice the variance",
    ),
    "stochastic_sir": ("stochastic_sir", {"dequantised": True}, "weekends are seen on Mondays"),
    "cancer_stromal": ("cancer_stromal", {}, "tumours lose their cores"),
}
EXACT = ("gaussian_cloud", "gaussian_mean", "gaussian_linear")
LOSSES = (0.0, 0.1, 0.3, 0.5)
MODELS: dict[str, Callable[[], Model]] = {"counts": Counts, "overdispersed": Overdispersed}
Line = dict[str, Any]


def rng(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(ROOT, "test", "detection power", *path)


def built(name: str, severity: float, **more: Any) -> tasks.Task:
    registered, settings, _ = TASKS[name]
    return tasks.build({"name": registered, "settings": {**settings, **more, "severity": severity}})


def simulated(task: tasks.Task, n: int, level: str, *path: str | int) -> tuple[Array, Array]:
    """Parameters (n, D) from the prior and data of a level; rows that failed are drawn again."""
    theta, x = [], []
    for part in range(0, n, 500):
        own = rng(*path, part)
        t = task.prior.sample(own, min(500, n - part) + 20)
        found = tasks.as_arrays(task.simulate(t, task.noise(own, len(t)), level))["x"]
        valid = np.flatnonzero(np.isfinite(found.reshape(len(found), -1)).all(axis=1))[: len(t) - 20]
        theta.append(t[valid])
        x.append(found[valid])
    return np.concatenate(theta), np.concatenate(x)


def numbers_of(x: Array) -> Array:
    """What is tested: the numbers of the data; of points (N, n, 2) their moments, (N, 5)."""
    if x.ndim == 2:
        return x
    covariance = np.einsum("nki,nkj->nij", *(2 * [x - x.mean(axis=1, keepdims=True)])) / x.shape[1]
    variances = np.log(covariance[:, [0, 1], [0, 1]])
    return np.concatenate([x.mean(axis=1), variances, covariance[:, :1, 1]], axis=1)


# ---- sets of data among simulations ---------------------------------------------------------------


class Judge:
    """One pool of simulations with what its tests need at any number of data sets."""

    def __init__(self, rows: Array, training: Array, n: int) -> None:
        half, quarter = len(rows) // 2, len(rows) // 4
        self.n, self.rows = n, rows
        self.whiten = Whitening.of(rows[:half])
        white = self.whiten(rows)
        self.reference, self.null = Reference.of(white[:half]), white[half : half + quarter]
        self.pool = None if n == 1 else Pool(self.reference, self.null, n)
        self.fresh = self.reference.distances(fresh_sets(self.null, 1, quarter)) if n == 1 else None
        self.cloud = training.mean(axis=0), np.cov(training.T)
        self.distances = mahalanobis(rows, *self.cloud, 1e-6)

    def __call__(self, judged: Array, own: np.random.Generator) -> dict[str, tuple[float, float]]:
        """P-value and CPU seconds of each test of a set (n, K)."""
        found = {}
        for name, test in (("mmd", self.of_detection), *((t, getattr(self, t)) for t in TESTS[2:])):
            begun = time.process_time()
            p = test(judged, own)
            seconds = time.process_time() - begun
            found |= {
                key: (value, seconds) for key, value in (p if isinstance(p, dict) else {name: p}).items()
            }
        return found

    def of_detection(self, judged: Array, own: np.random.Generator) -> dict[str, float]:
        white, repeats = self.whiten(judged), NULL_SETS.get(self.n, 199)
        if self.pool is None:
            lengths, values = np.linalg.norm(self.null, axis=1), self.fresh
            value, length = self.reference.distances(white[None])[0], np.linalg.norm(white)
        else:
            judged_by = self.pool.judge(self.pool.kernels(white), repeats, own)
            every = np.linalg.norm(np.concatenate([self.null, white]), axis=1)
            value, values = judged_by.value, judged_by.null
            length, lengths = every[-self.n :].mean(), every[judged_by.rows].mean(axis=1)
        return {"mmd": monte_carlo_p(value, values), "mahalanobis": monte_carlo_p(length, lengths)}

    def typicality(self, judged: Array, own: np.random.Generator) -> float:
        return set_p_value(mahalanobis(judged, *self.cloud, 1e-6), self.distances, 199, own)

    def c2st(self, judged: Array, own: np.random.Generator) -> float:
        found = classify(np.concatenate([judged, self.rows]), self.n, 199, own)
        return float(monte_carlo_p(found.statistic, found.null))

    def criticism(self, judged: Array, own: np.random.Generator) -> float:
        z = Numbers.of({"summary": np.concatenate([judged, self.rows])}).z
        return float(stepped_down(standing_out(z, sets_of(len(z), self.n, 199, own))).min())


@cache
def rows_of(name: str, level: str, severity: float, pools: int, each: int) -> Array:
    """Numbers (pools, each, K) of one level."""
    task = built(name, severity)
    real = "real" if level == "real" else next(iter(task.fidelities))
    return numbers_of(simulated(task, pools * each, real, name, level, str(severity))[1]).reshape(
        pools, each, -1
    )


def sets_at(n: int, sets: int) -> int:
    """How many sets of n each pool judges."""
    return sets if n < 200 else max(1, sets // 3)


def grid(name: str, n: int, pools: int, sets: int) -> Iterator[Line]:
    """A line per severity and test: the share found, its error, CPU seconds of one test."""
    most = max(sets_at(m, sets) * m for m in SIZES)
    simulations = rows_of(name, "model", 0.0, pools, ROWS)
    training = rows_of(name, "training", 0.0, 1, 2000)[0]
    found: dict[tuple[float, str], list[list[tuple[float, float]]]] = {}
    for i, rows in enumerate(simulations):
        judge = Judge(rows, training, n)
        for severity in SEVERITIES:
            real = rows_of(name, "real", severity, pools, most)[i]
            own = rng(name, "judge", n, i, str(severity))
            each = [judge(real[k * n : (k + 1) * n], own) for k in range(sets_at(n, sets))]
            for test in TESTS:
                found.setdefault((severity, test), []).append([one[test] for one in each])
    for (severity, test), every in found.items():
        both = np.array(every)  # (pools, sets, 2)
        yield {
            **{"what": "grid", "task": name, "n": n, "severity": severity, "test": test},
            **shares(both[..., 0] <= ALPHA),
            "seconds": float(both[..., 1].mean()),
        }


def shares(rejected: Array) -> Line:
    """The share of rejections (pools, sets), with the larger of the error over pools and the binomial one."""
    share, total = float(rejected.mean()), rejected.size
    smoothed = (rejected.sum() + 1) / (total + 2)
    error = max(
        float(rejected.mean(axis=1).std(ddof=1) / np.sqrt(len(rejected))) if len(rejected) > 1 else 0.0,
        float(np.sqrt(smoothed * (1 - smoothed) / total)),
    )
    return {"tests": total, "share": share, "error": error}


# ---- distortions ------------------------------------------------------------------------------------


def judged(
    x: Array, at: Array, replicates: Array, own: np.random.Generator, axes: Any = (), **settings: Any
) -> Any:
    """What the check `distortions` finds in x (N, *x_shape) by replicates (K, R, N, *x_shape) at draws."""
    found = Predictions(replicates[0, :2], np.zeros((2, *at.shape[1:])), replicates, at, axes)
    d = at.shape[-1]
    plain = Draws(tuple(f"p{j}" for j in range(d)), np.zeros((d, 2)), ("",) * d, at, x=x)
    return Distortions(**settings).run(plain, own, predictive=found)


def distorted(name: str, n: int, repeats: int) -> Iterator[Line]:
    """A line per severity: how often the check of distortions objects to n data sets."""
    more = {"points": 20} if name == "gaussian_cloud" else {}
    k, r = (3 if n == 1 else 2 if n == 2 else 1), REPLICATES["grid"]
    for severity in SEVERITIES:
        task, found, begun = built(name, severity, **more), [], time.process_time()
        level = next(iter(task.fidelities))
        for i in range(repeats):
            _, x = simulated(task, n, "real", name, "distorted", n, str(severity), i)
            own = rng(name, "distortions", n, str(severity), i)
            at = task.posterior_sample(x, own, k, level)
            theta = np.repeat(at[:, None], r, axis=1).reshape(-1, at.shape[-1])
            made = task.simulate(theta, task.noise(own, len(theta)), level)
            found.append(judged(x, at, made.reshape(k, r, *x.shape), own, alpha=ALPHA).p_value)
        seconds = (time.process_time() - begun) / repeats
        line = {"what": "distorted", "task": name, "n": n, "severity": severity, "test": "distortions"}
        yield {**line, **shares(np.array(found)[None] <= ALPHA), "seconds": seconds}


def weekend(name: str, loss: float, repeats: int) -> Line:
    """How often a weekend of this loss is found at the level of the check, and a period named."""
    p, named, begun = [], 0, time.process_time()
    for i in range(repeats):
        model, own = MODELS[name](), rng("weekend", name, str(loss), i)
        x = model.simulate(model.prior(own), 1, own)[0]
        at = np.arange(model.length)
        x = np.where(at % 7 >= 5, own.binomial(x.astype(int), 1 - loss), x).astype(float)
        draws = model.posterior(x, own)
        made = np.stack([model.simulate(t, REPLICATES["weekend"], own) for t in draws])
        axes = [{"name": "day", "coordinates": at.tolist()}]
        found = judged(x[None], draws[:, None], made[:, :, None], own, axes)
        p.append(found.p_value)
        best = next(m.extra["distortion"] for m in found.metrics() if m.name == "distortion_gain")
        named += found.passed is False and any(f"period {k} " in best for k in (7, 14))
    line = {"what": "weekend", "task": name, "loss": loss, "found": int((np.array(p) <= 0.03).sum())}
    more = {f"at_{level}": float((np.array(p) <= level).mean()) for level in (0.1, 0.03)}
    return {
        **line,
        **shares(np.array(p)[None] <= 0.03),
        **more,
        "named": named,
        "seconds": (time.process_time() - begun) / repeats,
    }


# ---- the page -----------------------------------------------------------------------------------------


def page(lines: list[Line]) -> str:
    """The record as Markdown."""
    title, command, sets, distortions, weekends, foot = str(__doc__).strip().split("\n\n")
    del title
    parts = ["# Size and power of the tests for a wrong simulator", written(command), sets]
    parts += ["## Size: severity 0", by_test(lines, 0.0), too_large(lines)]
    parts += ["## Power: severity 0.5", by_test(lines, 0.5), "## Power: severity 1", by_test(lines, 1.0)]
    parts += [
        "## What a test costs",
        costs(lines),
        "## Distortions",
        distortions,
        weekends,
        by_loss(lines),
        foot,
    ]
    return "\n\n".join(parts) + "\n"


def written(command: str) -> str:
    version = f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
    return f"Written by `{' '.join(command.split()[:2])} --page` ({version}; root seed {ROOT})."


def by_test(lines: list[Line], severity: float) -> str:
    """A line per task and test, a column per number of data sets."""
    of = {(o["task"], o["test"], o["n"]): o for o in lines if o.get("severity") == severity}
    cells = []
    for task, (_, _, wrong) in TASKS.items():
        for test in (*TESTS, "distortions"):
            own = [of.get((task, test, n)) for n in SIZES]
            if any(own):
                what = f"{task}: {wrong}" if severity else task
                cells.append(
                    [what, test, *(f"{o['share']:.2f} ± {o['error']:.2f}" if o else "" for o in own)]
                )
    return table(["task", "test", *(f"N = {n}" for n in SIZES)], cells)


def too_large(lines: list[Line]) -> str:
    """How the sizes lie about the level, in units of their errors."""
    z = [(o["share"] - ALPHA) / o["error"] for o in lines if o.get("severity") == 0.0]
    if not z:
        return "Not run yet."
    beyond = sum(abs(one) > 2 for one in z)
    mean = np.mean([o["share"] for o in lines if o.get("severity") == 0.0])
    return (
        f"Of {len(z)} sizes {beyond} lie more than two of their errors from 0.05 (by chance "
        f"{0.05 * len(z):.0f}); the largest distance is {max(map(abs, z)):.1f} errors; their mean "
        f"is {mean:.3f}."
    )


def costs(lines: list[Line]) -> str:
    """Milliseconds of one test, by test and number of data sets, means over tasks."""
    cells = []
    for test in (*(t for t in TESTS if t != "mahalanobis"), "distortions"):
        own = [[o["seconds"] for o in lines if (o.get("test"), o.get("n")) == (test, n)] for n in SIZES]
        named = "mmd and mahalanobis" if test == "mmd" else test
        cells.append([named, *(f"{1000 * np.mean(each):.1f}" if each else "" for each in own)])
    return table(["CPU ms, what a pool shares left out", *(f"N = {n}" for n in SIZES)], cells)


def by_loss(lines: list[Line]) -> str:
    """The table of planted weekends."""
    cells = [
        [
            *(o["task"], f"{o['loss']:.0%}", str(o["tests"]), f"{o['share']:.3f} ± {o['error']:.3f}"),
            *(f"{o['at_0.1']:.2f}", f"{o['named']} of {o['found']}" if o["loss"] else ""),
        ]
        for o in lines
        if o["what"] == "weekend"
    ]
    header = ["counts", "lost on weekends", "repeats", "found at 0.03", "at 0.1", "named"]
    return table(header, cells) if cells else "Not run yet."


def work(options: argparse.Namespace) -> Iterator[tuple[Line, Callable[[], Iterator[Line]]]]:
    """What is to be measured: how its lines are known, and what yields them."""
    for n in SIZES:
        for name in options.tasks or TASKS:
            yield {"what": "grid", "task": name, "n": n}, partial(grid, name, n, options.pools, options.sets)
    for name, loss in ((m, loss) for m in MODELS for loss in LOSSES):
        repeats = options.weekend * (2 if loss == 0 else 1)
        yield (
            {"what": "weekend", "task": name, "loss": loss},
            lambda m=name, s=loss, k=repeats: iter([weekend(m, s, k)]),
        )
    for n in (1, 2, 5, 10):
        for name in EXACT:
            repeats = 100 if n <= 2 else 60
            yield {"what": "distorted", "task": name, "n": n}, partial(distorted, name, n, repeats)


def main() -> None:
    """Measures what the record beside this script lacks, and writes record and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []])
    parser.add_argument("--pools", type=int, default=20)
    parser.add_argument("--sets", type=int, default=15)
    parser.add_argument("--weekend", type=int, default=100)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--at-most", type=float, default=float("inf"))
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    begun = time.process_time()
    for known, measure in work(options):
        done = any(all(old.get(key) == value for key, value in known.items()) for old in kept)
        if done or time.process_time() - begun > options.at_most:
            continue
        for found in measure():
            line = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in found.items()}
            print(json.dumps(line), flush=True)
            kept.append(line)
        if options.page:
            record.write_text("[\n" + ",\n".join(json.dumps(line) for line in kept) + "\n]\n")
    if options.page:
        options.page.write_text(page(kept))
    print(json.dumps({"cpu_seconds": round(time.process_time() - begun, 1)}))


if __name__ == "__main__":
    main()
