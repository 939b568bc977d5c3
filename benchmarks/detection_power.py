"""Size and power of each test for a wrong simulator, by task, severity and number of data sets.

    python benchmarks/detection_power.py [TASK ...] [--pools 20] [--sets 15]
        [--classifiers 20] [--weekend 100] [--page PAGE.md] [--at-most SECONDS]

**Sets of data among simulations.** Each of `pools` times 1,000 data sets are simulated at draws of the
prior: what a study with 1,000 test rows has. The summaries are the numbers of each task (of the 100 points
of `gaussian_cloud` two means, logarithms of two variances and the covariance): no network's training is in
these figures. All have the mean 0 and the sd 1 of other simulations (`typicality` hardly sees a number whose
variance is tiny beside that of others: its ridge is a share of their mean). Against each pool `sets` sets of
N data sets are judged at the level 0.05 for each severity, half as many of N = 200. `mmd` and `mahalanobis`
(the mean distance) are the tests of the check `detection`, which judges 50 data sets unless its setting
`observations` says more; `typicality` is the test of a set of that check, `c2st` the classifier of
`detection`, `criticism` the one p of the check of that name, for all numbers by themselves and given the
others. Errors count that the sets of a pool share its chance.

**Which classifier.** Each is trained again for each of 39 random sets of the pool. `fisher` is the closed
form of `c2st`; `fisher, unseen` its area under the curve for rows left out of the direction that scores
them; `logistic, unseen` the area of a logistic regression on the same features (L2 penalty 1, classes of
equal weight) in five folds; `network` that of scikit-learn's MLP on the numbers themselves (two layers of 10
K, early stopping), of which one training in five folds is timed, times 40.

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
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import detection_tables
import numpy as np
from detection_tables import ALPHA, SIZES, TASKS, TESTS
from predictive_battery import Counts, Model, Overdispersed

from veridical import seeds, tasks
from veridical.checks.base import monte_carlo_p
from veridical.checks.battery import stepped_down
from veridical.checks.classifier import area, classify, sets_of, whitened_features
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

ROOT, ROWS = 20261201, 1000
SEVERITIES = (0.0, 0.5, 1.0)
FIRST = (10, 1, 50, 2, 5, 200)  # the order in which numbers of data sets are measured
NULL_SETS = {200: 99}  # of mmd; 199 elsewhere
REPLICATES = {"grid": 100, "weekend": 200}
EXACT = ("gaussian_cloud", "gaussian_mean", "gaussian_linear")
CASES = (("gaussian_linear", 50, 0.5), ("cancer_stromal", 10, 0.5))  # of classifiers
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
    return sets if n < 200 else (sets + 1) // 2


def grid(name: str, n: int, pools: int, sets: int) -> Iterator[Line]:
    """A line per severity and test: the share found, its error, CPU seconds of one test."""
    most = max(sets_at(m, sets) * m for m in SIZES)
    simulations = rows_of(name, "model", 0.0, pools, ROWS)
    training = rows_of(name, "training", 0.0, 1, 2000)[0]
    centre, scale = training.mean(axis=0), training.std(axis=0)  # as those of a network have one scale
    found: dict[tuple[float, str], list[list[tuple[float, float]]]] = {}
    for i, rows in enumerate(simulations):
        judge = Judge((rows - centre) / scale, (training - centre) / scale, n)
        for severity in SEVERITIES:
            real = (rows_of(name, "real", severity, pools, most)[i] - centre) / scale
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


# ---- which classifier -----------------------------------------------------------------------------


def unseen(pool: Array, n: int, sets: Array, made: Callable[[], Any]) -> Array:
    """Areas under the curve, in five folds, of a classifier of each set against the rest of a pool."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    found = []
    for rows in sets:
        label = np.isin(np.arange(len(pool)), rows)
        folds = StratifiedKFold(min(5, n), shuffle=True, random_state=0)
        scored = cross_val_predict(made(), pool, label, cv=folds, method="predict_proba")[:, 1]
        found.append(roc_auc_score(label, scored))
    return np.array(found)


def statistics(test: str, pool: Array, n: int, own: np.random.Generator) -> Array:
    """The statistic of the first n rows of a pool, then those of 39 random sets."""
    from sklearn.linear_model import LogisticRegression

    if test == "fisher":
        found = classify(pool, n, 39, own)
        return np.concatenate([[found.statistic], found.null])
    sets, features = sets_of(len(pool), n, 39, own), whitened_features(pool)[-1]
    if test == "logistic, unseen":
        return unseen(features, n, sets, partial(LogisticRegression, class_weight="balanced"))
    rest = [np.setdiff1d(np.arange(len(pool)), rows) for rows in sets]
    return np.array([area(features[[*rows, *others]], n)[0] for rows, others in zip(sets, rest, strict=True)])


def classifiers(name: str, n: int, severity: float, repeats: int) -> Iterator[Line]:
    """A line per classifier: the share found of sets of n, and CPU seconds of one test."""
    from sklearn.neural_network import MLPClassifier

    simulations = rows_of(name, "model", 0.0, repeats, ROWS)
    real = rows_of(name, "real", severity, repeats, n)
    line = {"what": "classifier", "task": name, "n": n, "real": severity}
    for test in ("fisher", "fisher, unseen", "logistic, unseen"):
        begun, p = time.process_time(), []
        for i in range(repeats):
            pool = np.concatenate([real[i], simulations[i]])
            found = statistics(test, pool, n, rng("classifiers", name, n, i))
            p.append(float(monte_carlo_p(found[0], found[1:])))
        seconds = (time.process_time() - begun) / repeats
        yield {**line, "test": test, **shares(np.array(p)[None] <= ALPHA), "seconds": seconds}
    hidden = (10 * pool.shape[1],) * 2
    made = partial(MLPClassifier, hidden, early_stopping=True, n_iter_no_change=50, max_iter=1000)
    begun = time.process_time()
    unseen(pool, n, np.arange(n)[None], made)
    yield {**line, "test": "network", "seconds": 40 * (time.process_time() - begun)}


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


# ---- all of it ----------------------------------------------------------------------------------------


def work(options: argparse.Namespace) -> Iterator[tuple[Line, Callable[[], Iterator[Line]]]]:
    """What is to be measured: how its lines are known, and what yields them."""
    for n in FIRST:
        for name in options.tasks or TASKS:
            yield {"what": "grid", "task": name, "n": n}, partial(grid, name, n, options.pools, options.sets)
    for name, n, severity in CASES:
        known = {"what": "classifier", "task": name, "n": n}
        yield known, partial(classifiers, name, n, severity, options.classifiers)
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


def save(record: Path, lines: list[Line]) -> None:
    """Writes the record, a line of text for each of its own."""
    record.write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")


def main() -> None:
    """Measures what the record beside this script lacks, and writes record and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []])
    parser.add_argument("--pools", type=int, default=20)
    parser.add_argument("--sets", type=int, default=15)
    parser.add_argument("--classifiers", type=int, default=20)
    parser.add_argument("--weekend", type=int, default=100)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--at-most", type=float, default=float("inf"))
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    begun, before = time.process_time(), len(kept)
    for known, measure in work(options):
        done = any(all(old.get(key) == value for key, value in known.items()) for old in kept)
        if done or time.process_time() - begun > options.at_most:
            continue
        for found in measure():
            line = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in found.items()}
            print(json.dumps(line), flush=True)
            kept.append(line)
        if options.page:
            save(record, kept)
    if options.page:
        if len(kept) > before:
            kept.append({"what": "run", "arguments": " ".join(sys.argv[1:]), "date": str(date.today())})
            save(record, kept)
        options.page.write_text(detection_tables.page(str(__doc__), kept, ROOT))
    print(json.dumps({"cpu_seconds": round(time.process_time() - begun, 1)}))


if __name__ == "__main__":
    main()
