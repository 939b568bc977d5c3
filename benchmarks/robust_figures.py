"""Do remedies without labels reach the published figures on the published tasks?

    python benchmarks/robust_figures.py [gaussian_mean] [gaussian_linear] [cancer_stromal] [stochastic_sir]
        [ricker] [mean_reversion] [--seeds 0 1 2] [--page PAGE.md]

**Errors of single numbers (RNPE, NNPE).** Each method learns once from 50,000 simulations
(`cancer_stromal`, `stochastic_sir`: 20,000), then answers observations of nature and, where noted, of the
simulator itself. Errors are of posterior means, squared, in units of the prior's variance, with the Monte
Carlo variance of the mean taken off; log scores are of parameters in units of the prior's standard
deviation. `too sure` is the mean, over observations, of the posterior mass denser than the truth, less 1/2:
above zero the answer is too narrow. `rnpe` asks the `npe` of its line, at 192 observations without errors
each. Published errors are means over 1,000 trainings (Ward et al., 2022), the exact ones integrals in one
dimension, at the very observations of the line.

**Robust statistics (NPE-RS).** 1,000 simulations of 100 series each, the same for all seeds, of which
networks and data are new; one observed set of 100, of which 20 have other parameters. Errors are roots of
mean squares over 1,000 draws and both parameters, MMD^2 those between logarithms of temporal moments of
1,000 predicted series and of the 100 observed. The summary network of `ricker` is linear in the average
series, as the published one is; that of `mean_reversion` is a small dense network on each series and a
mean. Published numbers are means over 100 seeds (Huang et al., 2023).

Seconds are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import robust_bars
from remedies_without_labels import ROOT, SPIKE_AND_SLAB, exact_answers, rng, simulated
from scipy.stats import norm

from veridical import bank, methods, tasks
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.remedies.rnpe import RNPE
from veridical.tasks.base import usable
from veridical.training.session import Session

Array = np.ndarray
BLOCK = 2_500  # simulations at a time
PLACED = 32  # draws of an answer that tell where the truth lies among them


@dataclass(frozen=True)
class Case:
    """A task of single numbers.

    Attributes:
        settings: Of the task.
        simulations: That are learned from.
        rows: Observations of each level.
        epochs: Of each training, in batches of 512.
        draws: Of an answer; of `rnpe` one at each observation without errors.
        thorough: Whether `rnpe` is.
    """

    settings: dict[str, Any]
    simulations: int
    rows: dict[str, int]
    epochs: int
    draws: int = 384
    thorough: bool = False


ROOT_TENTH = 0.1**0.5
LINEAR = {"dimension": 10, "prior_sd": ROOT_TENTH, "noise_sd": ROOT_TENTH, "real_noise_sd": 0.2**0.5}
CASES = {
    "gaussian_mean": Case({}, 50_000, {"real": 200, "model": 100}, 6, draws=512),
    "gaussian_linear": Case(LINEAR, 50_000, {"real": 120}, 6),
    "cancer_stromal": Case({}, 20_000, {"real": 150, "model": 50}, 20),
    "stochastic_sir": Case({"dequantised": True}, 20_000, {"real": 100, "sde": 20}, 25, thorough=True),
}


@dataclass(frozen=True)
class Series:
    """A task of realisations of a series.

    Attributes:
        settings: Of the task.
        truth: Parameters of those that are not contaminated.
        weight: Of the regulariser.
        summary: The network.
        epochs: Of a training.
        averaged: Whether it sees the average series alone.
    """

    settings: dict[str, Any]
    truth: tuple[float, float]
    weight: float
    summary: dict[str, Any]
    epochs: int
    averaged: bool = False


PER_SERIES = {"type": "deepset", "element": [32, 32], "hidden": [], "features": 4}
SERIES = {
    "ricker": Series({}, (4.0, 10.0), 1.0, {"type": "mlp", "hidden": [], "features": 4}, 120, averaged=True),
    "mean_reversion": Series({"step": 5 / 26}, (0.5, 1.0), 2.0, PER_SERIES, 60),
}
SMALL = {
    "base": "none",
    "inputs": {"transform": "none"},
    "flow": {"type": "maf", "transforms": 3, "hidden": [20]},
    "training": {"batch_size": 100, "learning_rate": 2e-3, "patience": 20},
}


def in_blocks(task: tasks.Task, n: int, level: str, size: int, *path: str | int) -> tuple[Array, Array]:
    """Theta and x of n simulations, those that failed left out."""
    parts = [simulated(task, min(size, n - k), level, "robust", *path, k) for k in range(0, n, size)]
    theta, x = (np.concatenate(part) for part in zip(*parts, strict=True))
    good = usable(x, False)
    return theta[good], x[good]


def trained(
    info: TaskInfo, spec: dict[str, Any], rows: tuple[Array, Array], seed: int, **more: Any
) -> tuple[Estimator, float]:
    """A method and its CPU seconds."""
    begun, (theta, x) = time.process_time(), rows
    material = Material(Rows(theta, x.astype(np.float32), bank.validation_mask(len(x))), **more)
    estimator, _ = methods.fit(spec, info, material, Session(ROOT, ("robust", info.name, spec["type"], seed)))
    return estimator, time.process_time() - begun


# ---- errors of single numbers -------------------------------------------------------------------------


def single_numbers(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """A line for each method and each kind of observations."""
    case = CASES[name]
    task: Any = tasks.build({"name": name, "settings": case.settings})
    first = next(iter(task.fidelities))
    rows = in_blocks(task, case.simulations, first, BLOCK, name, "train", seed)
    info, scale = TaskInfo.of(task), rows[0].std(axis=0)
    training = {"epochs": case.epochs, "batch_size": 512}
    made: dict[str, tuple[Estimator, float]] = {}
    made["npe"] = trained(info, {"type": "npe", "training": training}, rows, seed, prior=task.prior)
    noisy = {**SPIKE_AND_SLAB, "training": {**training, **SPIKE_AND_SLAB["training"]}}
    made["nnpe"] = trained(info, {"type": "npe", **noisy}, rows, seed, prior=task.prior)
    spec = {"type": "rnpe", "of": "npe", "training": training, "thorough": case.thorough}
    made["rnpe"] = trained(info, spec, rows, seed, parent=made["npe"][0])
    for level, n in case.rows.items():
        theta, x = in_blocks(task, n, level, BLOCK, name, level, seed)
        for method, (estimator, seconds) in made.items():
            line = {"what": name, "data": "real" if level == "real" else "model", "method": method}
            line |= {"seed": seed, "rows": len(x), "seconds": seconds}
            line |= told(estimator, x) if isinstance(estimator, RNPE) else {}
            line |= judged(estimator, theta, x, scale, exact(task, method, theta, x), name, level, seed)
            yield line


def told(estimator: RNPE, x: Array) -> dict[str, Any]:
    """What the sampler says of each number of x, and what that took."""
    begun = time.process_time()
    found = estimator.extras(x)
    each = (time.process_time() - begun) / len(x)
    slab, sd, rhat = (found[f"misspecified{name}"] for name in ("", "_sd", "_rhat"))
    medians = {"slab": slab.mean(axis=0).tolist(), "slab_median": np.median(slab, axis=0).tolist()}
    return {**medians, "slab_sd": sd.mean(), "settled": (rhat < 1.1).mean(), "seconds_each": each}


def judged(
    estimator: Estimator, theta: Array, x: Array, scale: Array, known: Any, name: str, *path: str | int
) -> dict[str, Any]:
    """Errors, log scores, and where truths lie in the posteriors; beside exact answers where known."""
    own = estimator.settings
    n = own.populations * own.particles if isinstance(estimator, RNPE) else CASES[name].draws
    draws = estimator.sample(x, n, rng("robust", "draws", name, *path))
    squares = ((draws.mean(axis=0) - theta) ** 2 - draws.var(axis=0, ddof=1) / n) / scale**2
    log_p, log_draws = estimator.log_prob(theta, x), estimator.log_prob(draws[:PLACED], x)
    error, score = squares.mean(axis=1), log_p + np.log(scale).sum()
    place = (log_draws > log_p).mean(axis=0)
    line = {"error": error.mean(), "error_se": standard_error(error), "median": np.median(error)}
    line |= {
        "per_parameter": squares.mean(axis=0).tolist(),
        "score": score.mean(),
        "score_median": np.median(score),
    }
    line |= {"sure": place.mean() - 0.5, "sure_se": standard_error(place)}
    if known is not None:
        best = ((known[0] - theta) ** 2 / scale**2).mean(axis=1)
        line |= {
            "exact": best.mean(),
            "paired": (error - best).mean(),
            "paired_se": standard_error(error - best),
        }
        line |= {"gap": (log_p - known[1]).mean(), "gap_se": standard_error(log_p - known[1])}
    return line


def standard_error(values: Array) -> float:
    """Of the mean of values (N,)."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def exact(task: Any, method: str, theta: Array, x: Array) -> tuple[Array, Array] | None:
    """Means (N, D) and log densities (N,) of exact answers: the simulator's, or those with its error model.

    The variance that `gaussian_mean` sees beside the mean depends neither on that nor on the parameter.
    """
    if task.name not in ("gaussian_mean", "gaussian_linear"):
        return None
    noise = 1 / task.repeats if task.name == "gaussian_mean" else task.noise_sd**2
    own, y = task.prior_sd**2, x[:, : theta.shape[1]]
    shrinkage, sd = own / (own + noise), (own * noise / (own + noise)) ** 0.5
    if method != "npe":
        return exact_answers(theta, y, (own + noise) ** 0.5, shrinkage, sd)
    return shrinkage * y, norm.logpdf(theta, shrinkage * y, sd).sum(axis=1)


# ---- robust statistics ----------------------------------------------------------------------------------


@cache
def learned_from(name: str) -> tuple[Array, Array]:
    """Theta and x of the simulations of a task, which all seeds share."""
    return in_blocks(
        tasks.build({"name": name, "settings": SERIES[name].settings}), 1000, "model", 50, name, "train"
    )


def robust_statistics(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """A line for each method at one observed set."""
    case = SERIES[name]
    task, single = (
        tasks.build({"name": name, "settings": {**case.settings, **more}})
        for more in ({}, {"realisations": 1})
    )
    theta, x = learned_from(name)
    truth = np.array([case.truth])
    noise = task.noise(rng("robust", name, "observed", seed), 1)
    observed = tasks.as_arrays(task.simulate(truth, noise, "real"))["x"]
    info, seen = TaskInfo.of(task), observed
    if case.averaged:
        info = replace(info, x_shape=info.x_shape[1:], axes=info.axes[1:])
        x, seen = x.mean(axis=1), observed.mean(axis=1)
    plain = {"summary": case.summary, **SMALL, "training": {**SMALL["training"], "epochs": case.epochs}}
    term = {"regulariser": {"type": "mmd", "weight": case.weight}, "unlabelled": "real"}
    specs = {"npe": {"type": "npe", **plain}, "npe_rs": {"type": "regularised", **term, **plain}}
    for method, spec in specs.items():
        estimator, seconds = trained(info, spec, (theta, x), seed, prior=task.prior, unlabelled=seen)
        draws = estimator.sample(seen, 1000, rng("robust", name, "draws", seed))[:, 0]
        noise = single.noise(rng("robust", name, "predicted", seed), len(draws))
        predicted = tasks.as_arrays(single.simulate(draws, noise, "model"))["x"][:, 0]
        line = {"what": name, "method": method, "seed": seed, "seconds": seconds}
        line |= {"rmse": ((draws - truth) ** 2).mean() ** 0.5, "centre": draws.mean(axis=0).tolist()}
        yield line | {"mmd": squared_mmd(log_moments(predicted), log_moments(observed[0]))}


def log_moments(series: Array) -> Array:
    """Logarithms of three temporal moments (N, 3) of series (N, T); rows without any are left out."""
    t = np.linspace(0, 100, series.shape[1])
    moments = np.stack([np.trapezoid(t**k * series, t, axis=1) for k in range(3)], axis=1)
    with np.errstate(invalid="ignore"):
        found = np.log(moments + 1e-4)
    return found[np.isfinite(found).all(axis=1)]


def squared_mmd(a: Array, b: Array) -> float:
    """Between rows (A, K) and (B, K), with a Gaussian kernel of length one."""

    def mean(a: Array, b: Array) -> float:
        return float(np.exp(-0.5 * ((a[:, None] - b) ** 2).sum(axis=2)).mean())

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


# ---- the record -----------------------------------------------------------------------------------------


def rounded(value: Any) -> Any:
    """A number or a list of them at six digits."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float | np.floating) else value


def main() -> None:
    """Prints a line per training, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=[*CASES, *SERIES, []])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    made = {"date": datetime.date.today().isoformat()}
    made |= {name: version(name) for name in ("veridical", "torch", "numpy")}
    for what in options.what or [*CASES, *SERIES]:
        for seed in options.seeds:
            for found in (single_numbers if what in CASES else robust_statistics)(what, seed):
                line = {k: rounded(v) for k, v in found.items()} | {"made": made}
                print(json.dumps(line), flush=True)
                names = ("what", "data", "method", "seed")
                kept = [old for old in kept if [old.get(n) for n in names] != [line.get(n) for n in names]]
                kept.append(line)
                if options.page:
                    record.write_text(json.dumps(kept, indent=1) + "\n")
    if options.page:
        options.page.write_text(robust_bars.page(str(__doc__), kept))


if __name__ == "__main__":
    main()
