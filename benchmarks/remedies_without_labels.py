"""What do remedies without labels reach where the exact answer is known?

    python benchmarks/remedies_without_labels.py [nnpe] [consistency] [--seeds 0 1 2]
        [--variants npe "sc, 32 sets"] [--page PAGE.md]

**Noise in training (NNPE).** Ten parameters of variance 0.1, a number of variance 0.1 around each; in nature
its variance is 0.2. Errors are of means, squared, in units of the prior's variance; 300 real rows, so that
their own spread (0.02) is left out by pairs: each is compared with the exact answer under the same error
model, one integral for each number. The exact plain answer has 0.750, that of the process 0.667, that of the
error model 0.700. Asked for is a paired difference of at most 0.01.

**Self-consistency (NPE-SC).** Ten parameters, standard normal, a number of sd 1 around each, 4,096
simulations; real parameters lie three prior standard deviations off, where there are none. Fresh real data
are answered after training with so many others, unlabelled. `error` is the mean distance of posterior means
from the exact ones, `KL` from the exact posterior in nats, `sd` in units of the exact one. Asked for with 32
unlabelled data sets are an error of at most 0.3 and a KL of at most 0.1 of those of NPE, and an sd within 5
%. A network of 128, 128 with one normal distribution behind it, 1,500 steps of 128; `spline` has the default
flow in place of that.

Seconds are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp
from scipy.stats import cauchy, norm
from table_text import number, table

from veridical import bank, methods, seeds, tasks
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.inference.likelihoods import Exact
from veridical.training.session import Session

ROOT, D, DRAWS, FRESH = 20261130, 10, 400, 300
Array = np.ndarray
SPIKE_AND_SLAB = {"inputs": {"transform": "squash"}, "training": {"augment": {"type": "spike_and_slab"}}}
WRITTEN = (  # what the tables do not say
    "Means over seeds, least and greatest in brackets; shares of NPE's compare means of the same seeds. "
    "Variants without a row were not run."
)
NETWORK = {"summary": {"type": "mlp", "hidden": [128, 128]}, "base": "none"}
NETWORK |= {"training": {"max_steps": 1500, "epochs": 60, "batch_size": 128, "learning_rate": 2e-3}}
ONE_NORMAL = {**NETWORK, "flow": {"type": "mixture", "components": 1}}
CONSISTENT = {"type": "regularised", "unlabelled": "real", "regulariser": {"type": "self_consistency"}}
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {  # settings, and unlabelled data sets
    "npe": ({"type": "npe", **ONE_NORMAL}, 0),
    **{f"sc, {m} sets": ({**CONSISTENT, **ONE_NORMAL}, m) for m in (4, 8, 16, 32, 64, 128)},
    "npe, spline": ({"type": "npe", **NETWORK}, 0),
    "sc, 32 sets, spline": ({**CONSISTENT, **NETWORK}, 32),
}


def rng(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(ROOT, "test", "without_labels", *path)


def simulated(task: tasks.Task, n: int, level: str, *path: str | int) -> tuple[Array, Array]:
    """Theta and x (n, D) of a level."""
    theta = task.prior.sample(rng(*path, "theta"), n)
    return theta, tasks.as_arrays(task.simulate(theta, task.noise(rng(*path, "noise"), n), level))["x"]


def fitted(
    task: tasks.Task, spec: dict[str, Any], rows: tuple[Array, Array], seed: int, **more: Any
) -> tuple[Estimator, float]:
    """A trained method and its CPU seconds."""
    begun, (theta, x) = time.process_time(), rows
    simulations = Rows(theta, x.astype(np.float32), bank.validation_mask(len(x)))
    material = Material(simulations, prior=task.prior, **more)
    estimator, _ = methods.fit(spec, TaskInfo.of(task), material, Session(ROOT, (spec["type"], seed)))
    return estimator, time.process_time() - begun


# ---- noise in training --------------------------------------------------------------------------------


def robust(y: Array, share: float = 0.5, spike: float = 0.01, slab: float = 0.25) -> tuple[Array, Array]:
    """Standardised x and its weights (n, G) given standardised y (n,) with errors, of x standard normal."""
    x = np.linspace(-8, 8, 8001)  # five points for each spike
    error = y[:, None] - x
    p = (1 - share) * norm.pdf(error, scale=spike) + share * cauchy.pdf(error, scale=slab)
    p *= norm.pdf(x)
    return x, p / p.sum(axis=1, keepdims=True)


def exact_answers(theta: Array, y: Array, scale: float, shrinkage: float, sd: float) -> tuple[Array, Array]:
    """Means (n, D) and log densities of the truth (n,) of the exact answer under the error model."""
    mean, log_p = np.empty(y.shape), np.zeros(len(y))
    for j in range(y.shape[1]):
        x, weights = robust(y[:, j] / scale)
        centres = shrinkage * scale * x
        mean[:, j] = weights @ centres
        log_p += logsumexp(norm.logpdf(theta[:, [j]], centres, sd), b=weights, axis=1)
    return mean, log_p


def noise_in_training(seed: int, rows: int = 20_000) -> Iterator[dict[str, Any]]:
    """One line: errors of NNPE beside the exact ones."""
    sd = 0.1**0.5
    settings = {"dimension": D, "prior_sd": sd, "noise_sd": sd, "real_noise_sd": 0.2**0.5}
    task: Any = tasks.build({"name": "gaussian_linear", "settings": settings})
    theta, y = simulated(task, FRESH, "real", "nnpe", "fresh", seed)
    train = simulated(task, rows, "model", "nnpe", seed)
    estimator, seconds = fitted(task, {"type": "npe", **SPIKE_AND_SLAB}, train, seed)
    exact, log_p = exact_answers(theta, y, 0.2**0.5, task.posterior_shrinkage, task.posterior_sd)
    draws = estimator.sample(y, DRAWS, rng("nnpe", "draws", seed))
    squares = (draws.mean(axis=0) - theta) ** 2 - draws.var(axis=0, ddof=1) / DRAWS
    own, best = (each.mean(axis=1) / sd**2 for each in (squares, (exact - theta) ** 2))
    gap = (estimator.log_prob(theta, y) - log_p) / D
    line = {"what": "nnpe", "seed": seed, "rows": rows, "error": own.mean(), "exact": best.mean()}
    line |= {"paired": (own - best).mean(), "stderr": (own - best).std(ddof=1) / FRESH**0.5}
    yield line | {"gap": gap.mean(), "gap_stderr": gap.std(ddof=1) / FRESH**0.5, "seconds": seconds}


# ---- self-consistency -----------------------------------------------------------------------------------


def consistency(
    seed: int, chosen: Sequence[str] = (*VARIANTS,), off: float = 3.0, rows: int = 4096
) -> Iterator[dict[str, Any]]:
    """A line for each variant: what it answers to fresh real data, and to simulated ones."""
    spec = {"name": "gaussian_linear", "settings": {"dimension": D}}
    task = tasks.build(spec)
    train, near = (simulated(task, n, "model", "sc", n, seed) for n in (rows, FRESH))
    real, far = (simulated(task, n, "model", "sc", "real", n, seed)[1] + off for n in (128, FRESH))
    for name in chosen:
        settings, sets = VARIANTS[name]
        more = {"unlabelled": real[:sets], "likelihood": Exact(spec)} if sets else {}
        estimator, seconds = fitted(task, settings, train, seed, **more)
        line: dict[str, Any] = {"what": "consistency", "variant": name, "seed": seed, "seconds": seconds}
        for place, y in (("far", far), ("near", near[1])):
            draws, log_q = estimator.sample_and_log_prob(y, DRAWS, rng("sc", "draws", place, seed))
            log_p = norm.logpdf(draws, y / 2, 0.5**0.5).sum(axis=2)
            line[f"error_{place}"] = np.abs(draws.mean(axis=0) - y / 2).mean()
            line |= {f"kl_{place}": (log_q - log_p).mean(), f"sd_{place}": draws.std(axis=0).mean() * 2**0.5}
        yield line


# ---- the page -------------------------------------------------------------------------------------------


def page(lines: list[dict[str, Any]]) -> str:
    """The record as Markdown."""
    _, _, nnpe, sc, foot = str(__doc__).strip().split("\n\n")
    cells = [
        [
            str(line["seed"]),
            *(f"{line[k]:.4f}" for k in ("error", "exact")),
            *(f"{line[k]:+.4f} ± {line[e]:.4f}" for k, e in (("paired", "stderr"), ("gap", "gap_stderr"))),
            number(line["seconds"]),
        ]
        for line in lines
        if line["what"] == "nnpe"
    ]
    header = ["seed", "error", "exact", "paired difference", "log score less exact, per parameter", "fit, s"]
    shown = table(header, cells) if cells else "Not run yet."
    text = [nnpe, shown, sc, table(*self_consistency(lines)), WRITTEN, foot]
    return "\n\n".join(["# Remedies without labels", *text]) + "\n"


def self_consistency(lines: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table of variants, those that were not run left out."""
    of = {(line["variant"], line["seed"]): line for line in lines if line["what"] == "consistency"}
    cells = []
    for name in VARIANTS:
        seeds_run = sorted(seed for variant, seed in of if variant == name)
        if not seeds_run:
            continue
        found = [of[name, seed] for seed in seeds_run]
        plain = [of.get(("npe, spline" if "spline" in name else "npe", seed)) for seed in seeds_run]
        keys = ("error_far", "kl_far", "sd_far", "error_near", "kl_near", "seconds")
        parts = [np.array([line[k] for line in found]) for k in keys]
        spread = [f"{p.mean():.3f} ({p.min():.3f} to {p.max():.3f})" for p in parts[:3]]
        ratios = [
            np.mean([line[k] for line in found]) / np.mean([line[k] for line in plain if line])
            if all(plain)
            else np.nan
            for k in keys[:2]
        ]
        near = [f"{p.mean():.3f}" for p in parts[3:5]]
        shares = [f"{ratio:.2f}" for ratio in ratios]
        cells.append([name, str(len(found)), *spread, *shares, *near, number(parts[5].mean())])
    columns = ["method", "seeds", "error, 3 sd off", "KL", "sd", "error, of NPE's", "KL, of NPE's"]
    return [*columns, "error, as simulated", "KL", "fit, s"], cells


def main() -> None:
    """Prints a line per training, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=["nnpe", "consistency", []])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS], default=[*VARIANTS])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    asked = {"nnpe": noise_in_training, "consistency": partial(consistency, chosen=options.variants)}
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    for what in options.what or asked:
        for seed in options.seeds:
            for found in asked[what](seed):
                line = {k: round(float(v), 5) if isinstance(v, float) else v for k, v in found.items()}
                print(json.dumps(line), flush=True)
                names = ("what", "variant", "seed")
                kept = [old for old in kept if [old.get(n) for n in names] != [line.get(n) for n in names]]
                kept.append(line)
                if options.page:
                    record.write_text(json.dumps(kept, indent=1) + "\n")
                    options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
