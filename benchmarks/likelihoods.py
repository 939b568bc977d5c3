"""How near do posteriors from learned likelihoods and ratios come to exact ones, and are they calibrated?

    python benchmarks/likelihoods.py [METHOD ...] [--task two_moons] [--page docs/results/likelihoods.md]

Two moons and Gaussian mixture with 10,000 simulations, the defaults of `nle` and `nre` but for what a name
says, one seed. C2ST is the mean over the first five observations, 2,000 draws each, against exact draws by
formula; its null is two sets of exact draws. SBC: p-value of uniform ranks in 300 fresh pairs, 250 draws
each, with the largest R-hat among them, all parameters, and the share of them below 1.05. `importance`: the
same network, draws by weights; k is the largest of five. Balance should be 1. Seconds are CPU seconds of one
thread; those of draws are for one observation. Targets: C2ST of two moons near 0.516 (`nle`) and 0.531
(`nre`), SBC not rejected at 1 %, R-hat below 1.05.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from densities import TASKS
from table_text import by_task

from veridical import bank, methods, seeds
from veridical.checks.sbc import uniform
from veridical.checks.two_sample import c2st
from veridical.checks.uniformity import fractional_ranks, rank_grid
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.tasks.priors import Product, Uniform
from veridical.training.session import Session

ROWS, DRAWS, OBSERVATIONS, FRESH, RANKED = 10_000, 2000, 5, 300, 250
METHODS: dict[str, dict[str, Any]] = {
    "nle": {"type": "nle"},
    "nle, maf": {"type": "nle", "flow": "maf"},
    "nle, mixture": {"type": "nle", "flow": "mixture"},
    "nre": {"type": "nre"},
    "nre, binary": {"type": "nre", "loss": "binary"},
    "nre, balanced": {"type": "nre", "loss": "balanced"},
}
HEADER = {
    "c2st": "C2ST",
    "c2st_each": "by observation",
    "c2st_null": "null",
    "c2st_importance": "C2ST, importance",
    "importance_k": "k",
    "sbc_p": "SBC, p",
    "rhat": "largest R-hat",
    "rhat_below": "below 1.05",
    "balance": "balance",
    "fit_seconds": "fit, s",
    "chain_seconds": "chains, s",
    "importance_seconds": "importance, s",
}


def measure(name: str, task: str) -> dict[str, Any]:
    """Trains one method on one task, and judges its draws."""
    simulate, exact, reach = TASKS[task]
    made = {}
    for part, n in (("train", ROWS), ("fresh", FRESH)):
        rng = seeds.generator(1, "test", "densities", task, part)
        theta = rng.uniform(-reach, reach, (n, 2))
        made[part] = theta, simulate(theta, rng)
    info = TaskInfo(task, ("a", "b"), np.array([[-reach, reach]] * 2), ("", ""), (2,))
    prior = Product({"a": Uniform(-reach, reach), "b": Uniform(-reach, reach)})
    material = Material(Rows(*made["train"], bank.validation_mask(ROWS)), prior=prior)
    begun = time.process_time()
    estimator, _ = methods.fit(METHODS[name], info, material, Session(1, (name, 0)))
    found: dict[str, Any] = {"task": task, "method": name, "fit_seconds": time.process_time() - begun}
    if "balance" in estimator.account():
        found["balance"] = estimator.account()["balance"]["value"]
    theta, x = made["fresh"]
    references = [exact(x[i], DRAWS, _classifier(task, i)) for i in range(OBSERVATIONS)]
    for by, kind in (("chains", "chain"), ("importance", "importance")):
        begun = time.process_time()
        rng = seeds.generator(1, "test", "draws")
        asked = _by(estimator, by=by)
        standing = asked.standing(x[:OBSERVATIONS])
        (answered,) = np.nonzero(standing.answered(OBSERVATIONS))
        draws = asked.sample(x[answered], DRAWS, rng)
        found[f"{kind}_seconds"] = (time.process_time() - begun) / OBSERVATIONS
        each = [_c2st(task, i, references[i], draws[:, place]) for place, i in enumerate(answered.tolist())]
        found["c2st" if by == "chains" else "c2st_importance"] = float(np.mean(each)) if each else np.nan
        if by == "chains":
            found["c2st_each"] = [round(one, 3) for one in each]
        else:
            found["importance_k"] = float(standing.numbers["k"].max())
    again = exact(x[0], DRAWS, _classifier(task, OBSERVATIONS))
    found["c2st_null"] = _c2st(task, OBSERVATIONS, references[0], again)
    rng = seeds.generator(1, "test", "ranks", task, name)
    draws, _, told = estimator.drawn(x, RANKED, rng)
    ranks = fractional_ranks(draws, theta, rng)
    found["sbc_p"] = uniform(ranks, rank_grid(RANKED, 1000), 0.05, 9999).family_p
    found |= {"rhat": float(told["rhat"].max()), "rhat_below": float((told["rhat"] < 1.05).mean())}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def _by(estimator: Any, **changes: Any) -> Any:
    """The same network with another way of drawing."""
    sampling = estimator.settings.sampling.model_copy(update=changes)
    settings = estimator.settings.model_copy(update={"sampling": sampling})
    return type(estimator).from_arrays(settings, estimator.task, estimator.arrays())


def _c2st(task: str, i: int, reference: np.ndarray, draws: np.ndarray) -> float:
    rng = _classifier(task, i)
    return float(c2st(reference, draws, rng, folds=3, max_iterations=300, patience=20).mean())


def _classifier(task: str, i: int) -> np.random.Generator:
    return seeds.generator(1, "test", "classifier", task, i)


def page(lines: list[dict[str, Any]]) -> str:
    """The tables as Markdown, one for each task."""
    parts = ["# Likelihoods and ratios", str(__doc__).split("\n\n", 2)[2].strip()]
    return "\n\n".join([*parts, *by_task(lines, "method", HEADER)]) + "\n"


def main() -> None:
    """Prints a line per method and task, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", choices=[*METHODS, []])
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = {(line["task"], line["method"]): line for line in _recorded(record)}
    for task in [options.task] if options.task else TASKS:
        for name in options.methods or METHODS:
            kept[task, name] = measure(name, task)
            print(json.dumps(kept[task, name]), flush=True)
            if options.page:
                lines = [kept[pair] for task in TASKS for name in METHODS if (pair := (task, name)) in kept]
                record.write_text(json.dumps(lines, indent=1) + "\n")
                options.page.write_text(page(lines))


def _recorded(record: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(record.read_text()) if record.is_file() else []
    return found


if __name__ == "__main__":
    main()
