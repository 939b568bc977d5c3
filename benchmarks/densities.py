"""How near do the families of densities come to exact posteriors, and what do they cost?

    python benchmarks/densities.py [FAMILY ...] [--task two_moons] [--page docs/results/densities.md]

Two moons and Gaussian mixture with 10,000 simulations, `npe` with the defaults of each family and no summary
network, one seed. Exact posteriors are drawn by formula. C2ST is the mean over the first five observations,
2,000 draws each; its null is two sets of exact draws for the first one. NLTP is -mean log q at the truths of
2,000 fresh pairs; the error of log q is what `log_prob_error` states for them, its 99 % quantile. Seconds are
CPU seconds of one thread. Targets: flow matching and diffusion at most 0.57, consistency at most 0.60.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from table_text import by_task

from veridical import bank, seeds
from veridical.checks.two_sample import c2st
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.networks import DENSITIES
from veridical.training.session import Session

ROWS, DRAWS, OBSERVATIONS, FRESH = 10_000, 2000, 5, 2000
DRAWN_OTHERWISE: dict[str, dict[str, dict[str, Any]]] = {  # the same networks with other settings
    "diffusion": {"stochastic": {"sampler": "sde"}},
    "consistency": {f"steps {n}": {"steps": n} for n in (1, 2, 4)},
}
Array = np.ndarray


def crescent(n: int, rng: np.random.Generator) -> Array:
    """What noise adds to the data of two moons, (n, 2)."""
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)


def two_moons(theta: Array, rng: np.random.Generator) -> Array:
    """Simulates data (n, 2)."""
    total, difference = theta.sum(axis=1), theta[:, 1] - theta[:, 0]
    return crescent(len(theta), rng) + np.stack([-np.abs(total), difference], axis=1) / 2**0.5


def two_moons_exact(x: Array, n: int, rng: np.random.Generator) -> Array:
    """Posterior draws (n, 2): noise is linear in theta up to a sign, so it is drawn and solved for theta."""
    away = (x - crescent(20 * n, rng)) * 2**0.5
    away = away[away[:, 0] <= 0]
    total, difference = away[:, 0] * rng.choice([-1, 1], len(away)), away[:, 1]
    theta = np.stack([total - difference, total + difference], axis=1) / 2
    return theta[(np.abs(theta) < 1).all(axis=1)][:n]


def gaussian_mixture(theta: Array, rng: np.random.Generator) -> Array:
    """Simulates data (n, 2): theta with noise of standard deviation 1 or 0.1."""
    return theta + rng.choice([1.0, 0.1], (len(theta), 1)) * rng.standard_normal(theta.shape)


def gaussian_mixture_exact(x: Array, n: int, rng: np.random.Generator) -> Array:
    """Posterior draws (n, 2): as the data, the other way round, and inside of the prior."""
    theta = gaussian_mixture(np.broadcast_to(x, (20 * n, 2)), rng)
    return theta[(np.abs(theta) < 10).all(axis=1)][:n]


TASKS: dict[str, tuple[Callable[..., Array], Callable[..., Array], float]] = {
    "two_moons": (two_moons, two_moons_exact, 1.0),
    "gaussian_mixture": (gaussian_mixture, gaussian_mixture_exact, 10.0),
}


def measure(name: str, task: str) -> Iterator[dict[str, Any]]:
    """Trains one family on one task, and compares its draws with exact ones."""
    simulate, _, reach = TASKS[task]
    made = {}
    for part, n in (("train", ROWS), ("fresh", FRESH)):
        rng = seeds.generator(1, "test", "densities", task, part)
        theta = rng.uniform(-reach, reach, (n, 2))
        made[part] = theta, simulate(theta, rng)
    theta, x = made["train"]
    info = TaskInfo(task, ("a", "b"), np.array([[-reach, reach]] * 2), ("", ""), (2,))
    begun = time.process_time()
    estimator, _ = NPE.fit(
        NPESettings.model_validate({"summary": "none", "flow": name}),
        info,
        Material(Rows(theta, x, bank.validation_mask(ROWS))),
        Session(1, (name, 0)),
    )
    about = {"task": task, "family": name}
    yield {**about, "fit_seconds": round(time.process_time() - begun, 1)} | judge(
        estimator, task, *made["fresh"]
    )
    for label, own in DRAWN_OTHERWISE.get(name, {}).items():
        settings = NPESettings.model_validate({"summary": "none", "flow": {"type": name, **own}})
        other = NPE.from_arrays(settings, info, estimator.arrays())
        yield {**about, "family": f"{name}, {label}"} | judge(other, task, *made["fresh"])


def judge(estimator: NPE, task: str, theta: Array, x: Array) -> dict[str, Any]:
    """Scores and seconds of an estimator, at fresh pairs."""
    exact = TASKS[task][1]
    found: dict[str, Any] = {}
    begun = time.process_time()
    draws = estimator.sample(x[:OBSERVATIONS], 10_000, seeds.generator(1, "test", "draws"))
    found["seconds_10000_draws"] = (time.process_time() - begun) / OBSERVATIONS
    if estimator.has_density:
        begun = time.process_time()
        found["nltp"] = float(-estimator.log_prob(theta, x).mean())
        found["seconds_10000_densities"] = (time.process_time() - begun) * 10_000 / FRESH
        found["density_error"] = float(np.quantile(estimator.log_prob_error(theta, x), 0.99))
    pairs = [(exact(x[i], DRAWS, _classifier(task, i)), draws[:DRAWS, i]) for i in range(OBSERVATIONS)]
    pairs.append((pairs[0][0], exact(x[0], DRAWS, _classifier(task, OBSERVATIONS))))
    *each, null = [
        float(c2st(reference, other, _classifier(task, i), folds=3, max_iterations=300, patience=20).mean())
        for i, (reference, other) in enumerate(pairs)
    ]
    found |= {"c2st": float(np.mean(each)), "c2st_null": null, "c2st_each": [round(one, 3) for one in each]}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def _classifier(task: str, i: int) -> np.random.Generator:
    return seeds.generator(1, "test", "classifier", task, i)


HEADER = {
    "c2st": "C2ST",
    "c2st_each": "by observation",
    "c2st_null": "null",
    "nltp": "NLTP",
    "density_error": "error of log q",
    "fit_seconds": "fit, s",
    "seconds_10000_draws": "10,000 draws, s",
    "seconds_10000_densities": "10,000 densities, s",
}


def page(lines: list[dict[str, Any]]) -> str:
    """The tables as Markdown, one for each task."""
    parts = ["# Families of densities", str(__doc__).split("\n\n", 2)[2].strip()]
    return "\n\n".join([*parts, *by_task(lines, "family", HEADER)]) + "\n"


def main() -> None:
    """Prints a line per family and task, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("families", nargs="*", choices=[*DENSITIES, []])
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json") if options.page else None
    kept = json.loads(record.read_text()) if record and record.is_file() else []
    for task in [options.task] if options.task else TASKS:
        for name in options.families or DENSITIES:
            kept = [old for old in kept if old["task"] != task or old["family"].split(",")[0] != name]
            for line in measure(name, task):
                print(json.dumps(line), flush=True)
                kept.append(line)
    kept.sort(
        key=lambda line: ([*TASKS].index(line["task"]), [*DENSITIES].index(line["family"].split(",")[0]))
    )
    if record:
        record.write_text(json.dumps(kept, indent=1) + "\n")
        options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
