"""Do intervals of parameters hold the truth, where the ratio is a weighted sum with fitted weights?

    python benchmarks/wifi_parameters.py [--page docs/results/wifi_parameters.md]

Each experiment fits the weights to simulations of its own (`fit` rows, 10 shuffles, BCE), draws a data set of
400 observations at one truth, and finds its most likely parameters with `wifi_nre`'s functions. *Parabola*:
the estimate and its standard error, of data and weights; *profile*: the likelihood-ratio interval that holds
both; *data only*: the standard error without that of the weights; *mean*: all members weighted alike, which
states no error of weights. Coverage of one parameter of 300 experiments has a counting error of 0.027 at 68 %
and 0.017 at 90 %.

x is normal around theta with variance one, theta standard normal, in one or two dimensions. Members are the
exact log ratio plus distortions, of which one set of weights takes all away; where the span *misses*, plus
a term in common that none can take away, of size 0.1 (by little) or 0.4. *Networks*: three `nre_ensemble` of
4 members, each trained on 10,000 simulations and frozen for 100 experiments (counting error 0.047 and 0.03).
`objects` is the share of experiments in which the score test of the span objects (p < 0.001).

The second table asks the same of the fraction of a class (`wifi`): events of N(+0.5, 1) among those of
N(-0.5, 1), 5,000 of each class for the weights and 5,000 unlabelled, 400 experiments. *Chord* and *score* are
other intervals from the likelihood: with the weights' variance along the way to the value asked, as in
parameters, and by the score there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from table_text import number, table

from veridical import seeds
from veridical.errors import DataError
from veridical.inference import fractions, pair_weights, ratio_miss, ratio_parameters, ratio_weights
from veridical.inference.pair_weights import Pairs
from veridical.inference.ratio_objections import MISS
from veridical.inference.ratio_weights import Events, RatioFit

ROOT, MANY, FRACTIONS, OBSERVATIONS, SHUFFLES = 20261130, 300, 400, 400, 10
TRAININGS, TRAINING_ROWS, OF_NETWORKS = 3, 10_000, 100  # experiments of each training
LEVELS = {68: 0.9945, 90: 1.6449}
TRUTH = np.array([0.5, -0.4])
MISSES = (0.1, 0.4)  # size of the term that no weights mend
Array = np.ndarray
Members = Callable[[Array, Array], Array]  # of theta and x (..., D) to (..., P)
PARAMETERS = {
    "case": "case",
    "parameter": "parameter",
    "fit": "fit",
    "n": "experiments",
    "bias": "bias / sd",
    "sd": "sd",
    "total": "stated",
    "data": "data only",
    **{f"{kind} {level}": f"{kind} {level}" for level in LEVELS for kind in ("parabola", "profile")},
    **{f"data {level}": f"data only {level}" for level in LEVELS},
    "mean bias": "mean: bias / sd",
    **{f"mean {level}": f"mean {level}" for level in LEVELS},
    "objects": "objects",
    "seconds": "CPU s each",
}
OF_FRACTIONS = {
    "case": "case",
    "loss": "loss",
    "truth": "fraction",
    "n": "experiments",
    "bias": "bias / sd",
    **{f"{kind} {level}": f"{kind} {level}" for level in LEVELS for kind in ("parabola", "likelihood")},
    **{f"{kind} {level}": f"{kind} {level}" for level in LEVELS for kind in ("chord", "score")},
    "objects": "objects",
}


def rng(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(ROOT, "test", "wifi_parameters", *path)


# ---- parameters ------------------------------------------------------------------------------------


def exact(theta: Array, x: Array) -> Array:
    """Log of p(x | theta) / p(x), of x and theta (..., D)."""
    d = x.shape[-1]
    return -((x - theta) ** 2).sum(-1) / 2 + (x**2).sum(-1) / 4 + d * np.log(2) / 2


def members(miss: float = 0.0) -> Members:
    """1 and four distorted ratios, of which 1, 1, 1, 8 elevenths are exact, plus what none can mend."""

    def found(theta: Array, x: Array) -> Array:
        t, u, log_r = theta[..., 0], theta[..., -1], exact(theta, x)
        off = [0.3 * np.sin(t + x[..., 0]), 0.25 * u, 0.2 * np.tanh(x[..., 0] - u)]
        off.append(-sum(off) / 8)
        common = miss * np.tanh(t) * x[..., 0] ** 2
        return np.stack([np.ones_like(t), *(log_r + each + common for each in off)], axis=-1)

    return found


class Known:
    """Members known in closed form."""

    def __init__(self, d: int, miss: float = 0.0) -> None:
        self.d, self.of = d, members(miss)

    def functions(self, theta: Array, x: Array) -> Array:
        """The members at pairs (N, D), shape (N, 1, P)."""
        return self.of(theta, x)[:, None]

    def summed(self, x: Array) -> Callable[[Array], Array]:
        """The members summed over observations (n, D), at parameters (B, D)."""
        return lambda z: self.of(np.broadcast_to(z[:, None], (len(z), *x.shape)), x).sum(axis=1)


class Trained:
    """Members that are networks, in one dimension; parameters are standard normal, and so unconstrained."""

    def __init__(self, k: int) -> None:
        from veridical.estimators.base import Material, Rows, TaskInfo
        from veridical.estimators.nre_ensemble import NREEnsemble
        from veridical.estimators.nre_ensemble_settings import NREEnsembleSettings
        from veridical.tasks.priors import Normal, Product
        from veridical.training.session import Session

        own = {"members": 4, "width": 32, "independent": 0, "loss": "binary", "training": {"epochs": 20}}
        task = TaskInfo("gaussian", ("mu",), np.array([[-np.inf, np.inf]]), ("",), (1,))
        theta = rng("training", k).standard_normal((TRAINING_ROWS, 1))
        x = theta + rng("training data", k).standard_normal(theta.shape)
        rows, prior = Rows(theta, x, np.arange(TRAINING_ROWS) % 10 == 9), Product({"mu": Normal(0.0, 1.0)})
        material = Material(simulations=rows, prior=prior)
        self.d, settings = 1, NREEnsembleSettings(**own)
        self.ensemble, _ = NREEnsemble.fit(settings, task, material, Session(ROOT, ("nre_ensemble", k)))

    def functions(self, theta: Array, x: Array) -> Array:
        """The members at pairs (N, 1), shape (N, 1, P)."""
        return self.ensemble.functions(theta, x)

    def summed(self, x: Array) -> Callable[[Array], Array]:
        """The members summed over observations (n, 1), at parameters (B, 1)."""
        transform, found = self.ensemble.parameters, self.ensemble.summed(x[:, 0])
        return lambda theta: found(transform.forward(theta)[0])


def experiment(model: Any, fit_rows: int, *path: str | int) -> dict[str, Array] | None:
    """One set of weights and one data set; None where there is no maximum."""
    simulated, d = rng("fit", *path), model.d
    theta = simulated.standard_normal((fit_rows, d))
    x = theta + simulated.standard_normal((fit_rows, d))
    rolled = [np.roll(theta, k, axis=0) for k in range(SHUFFLES + 1)]
    joint, *others = (model.functions(each, x) for each in rolled)
    pairs = Pairs(joint, np.stack(others))
    ratio = pair_weights.fit(pairs)

    def lacking(f: Array, z: Array) -> Array:
        s, z = np.tanh(f @ ratio.weights)[..., None], z[..., None, :]
        return np.concatenate([s**2, z, z**2, s * z], axis=-1)

    omitted = Pairs(lacking(joint, theta), lacking(pairs.others, np.stack(rolled[1:])))
    data = TRUTH[:d] + rng("data", *path).standard_normal((OBSERVATIONS, d))
    functions, starts = model.summed(data), rng("starts", *path).standard_normal((50, d))
    mean = RatioFit.fixed(np.array([0.0, *[1 / 4] * 4]))
    try:
        found = ratio_parameters.maximise(functions, ratio, starts)
        naive = ratio_parameters.maximise(functions, mean, starts)
        z = [ratio_parameters.z(functions, ratio, found, j, TRUTH[j]) for j in range(d)]
    except DataError:
        return None
    return {
        "error": found.place - TRUTH[:d],
        "total": np.sqrt(np.diag(found.covariance)),
        "data": np.sqrt(np.diag(found.data)),
        "z": np.array(z),
        "naive": naive.place - TRUTH[:d],
        "naive sigma": np.sqrt(np.diag(naive.data)),
        "miss": np.full(d, pair_weights.miss(pairs, omitted, ratio)),
    }


def parameters(name: str, model: Any, fit_rows: int, many: int = MANY) -> list[dict[str, Any]]:
    """One line for each parameter of a case."""
    begun = time.process_time()
    all_found = [experiment(model, fit_rows, name, e) for e in range(many)]
    seconds = (time.process_time() - begun) / many
    kept = [one for one in all_found if one is not None]
    of = {key: np.stack([one[key] for one in kept]) for key in kept[0]}
    lines = []
    for j in range(model.d):
        at = {key: array[:, j] for key, array in of.items()}
        line = {"case": name, "parameter": j + 1, "fit": fit_rows, "n": len(kept), "seconds": seconds}
        line |= {"sd": at["error"].std(ddof=1), "total": at["total"].mean(), "data": at["data"].mean()}
        line |= {"bias": at["error"].mean() / line["sd"], "objects": (at["miss"] < MISS).mean()}
        line |= {"mean bias": at["naive"].mean() / at["naive"].std(ddof=1)}
        for level, most in LEVELS.items():
            line[f"parabola {level}"] = (np.abs(at["error"] / at["total"]) < most).mean()
            line[f"profile {level}"] = (np.abs(at["z"]) < most).mean()
            line[f"data {level}"] = (np.abs(at["error"] / at["data"]) < most).mean()
            line[f"mean {level}"] = (np.abs(at["naive"] / at["naive sigma"]) < most).mean()
        lines.append(line)
        print(line)
    return lines


# ---- fractions -------------------------------------------------------------------------------------

HALF, EACH = 0.5, 5000
BASES: dict[str, Callable[[Array], list[Array]]] = {
    "in the span": lambda x: [x + 0.3 * np.sin(x), x - 0.3 * np.sin(x), x**2 / 5, np.tanh(x)],
    "misses": lambda x: [np.tanh(x), np.tanh(2 * x)],
}


def basis(case: str, x: Array) -> Events:
    """1 and the functions of a case at events (N,)."""
    return Events.of(np.stack([np.ones_like(x), *BASES[case](x)], axis=1))


def roots(x: Events, ratio: RatioFit, truth: float) -> list[float]:
    """Errors of one fraction: by standard error, likelihood, chord, score; the error itself."""
    found = fractions.estimate(x, ratio)
    q, error = found.excess, found.value - truth
    ends = found.value, truth
    m = [1 + at * q for at in ends]
    log_l = [float(fractions.log_likelihood(at, q, found.counts)) for at in ends]
    pulls = [x.functions.T @ (at * (1 + q) / each) for at, each in zip(ends, m, strict=True)]
    deviance, change = 2 * (log_l[0] - log_l[1]), pulls[0] - pulls[1]
    chord = np.sign(error) * deviance / np.sqrt(deviance + change @ ratio.covariance @ change)
    a = x.functions.T @ ((1 + q) / m[1] ** 2)
    score = (q / m[1]).sum() / np.sqrt(((q / m[1]) ** 2).sum() + a @ ratio.covariance @ a)
    return [error / found.total, float(found.z(truth)), chord, score, error]


def of_fractions(case: str, loss: str) -> list[dict[str, Any]]:
    """One line for each true fraction."""
    truths, found, missed = (0.01, 0.1), [], []
    for e in range(FRACTIONS):
        own = rng("fraction", case, loss, e)
        classes = [basis(case, own.normal(side, 1, EACH)) for side in (HALF, -HALF)]
        ratio = ratio_weights.fit(*classes, loss)
        missed.append(ratio_miss.miss(*classes, ratio, loss))
        mixed = [np.where(own.random(EACH) < k, HALF, -HALF) + own.normal(size=EACH) for k in truths]
        found.append([roots(basis(case, x), ratio, k) for x, k in zip(mixed, truths, strict=True)])
    z, lines = np.array(found), []
    for v, truth in enumerate(truths):
        line = {"case": case, "loss": loss, "truth": truth, "n": FRACTIONS}
        line |= {"bias": z[:, v, 4].mean() / z[:, v, 4].std(ddof=1)}
        line |= {"objects": (np.array(missed) < MISS).mean()}
        for i, kind in enumerate(("parabola", "likelihood", "chord", "score")):
            for level, most in LEVELS.items():
                line[f"{kind} {level}"] = (np.abs(z[:, v, i]) < most).mean()
        lines.append(line)
        print(line)
    return lines


# ---- page ------------------------------------------------------------------------------------------


def measured() -> dict[str, Any]:
    """All lines, with what they were made with."""
    cases: dict[str, tuple[Callable[[], Any], int, int]] = {
        "1 parameter": (lambda: Known(1), 1000, MANY),
        "1 parameter, few rows": (lambda: Known(1), 250, MANY),
        "2 parameters": (lambda: Known(2), 1000, MANY),
        "1 parameter, the span misses by little": (lambda: Known(1, MISSES[0]), 1000, MANY),
        "1 parameter, the span misses": (lambda: Known(1, MISSES[1]), 1000, MANY),
        "1 parameter, the span misses, more rows": (lambda: Known(1, MISSES[1]), 4000, MANY),
        **{f"1 parameter, networks {k}": (partial(Trained, k), 1000, OF_NETWORKS) for k in range(TRAININGS)},
    }
    lines = [line for name, (made, *sizes) in cases.items() for line in parameters(name, made(), *sizes)]
    fraction = [line for case in BASES for loss in ("bce", "mlc") for line in of_fractions(case, loss)]
    versions = {"numpy": np.__version__, "scipy": scipy.__version__}
    return {"date": date.today().isoformat(), "seed": ROOT, **versions, "lines": lines, "fractions": fraction}


def page(record: dict[str, Any]) -> str:
    """The page of the lines."""

    def lines(name: str, columns: dict[str, str]) -> str:
        cells = [
            [v if isinstance(v := line[key], str) else number(v) for key in columns] for line in record[name]
        ]
        return table([*columns.values()], cells)

    question, command, setting, parameters, fractions = str(__doc__).strip().split("\n\n")
    made = ", ".join(f"{name} {record[name]}" for name in ("numpy", "scipy"))
    parts = ["# Weighted ratios of parameters", question, setting, parameters]
    parts += ["## Parameters", lines("lines", PARAMETERS), "## Fractions", fractions]
    parts += [lines("fractions", OF_FRACTIONS)]
    run = command.strip().split(" [")[0]
    parts += [f"`{run}`, {record['date']}, seed {record['seed']}, {made}, one core of a shared machine."]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Measures, or writes the page of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", default="docs/results/wifi_parameters.md")
    parser.add_argument("--again", action="store_true", help="write the page of the figures that are there")
    given = parser.parse_args()
    path = Path(__file__).with_suffix(".json")
    if not given.again:
        path.write_text(f"{json.dumps(measured(), indent=1)}\n")
    Path(given.page).write_text(page(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
