"""Is the mean of plain NPE that of the exact posterior, on data that its simulator does not know?

    python benchmarks/gaussian_linear_error.py [--seeds 3] [--observations 300]

theta ~ N(0, 0.1 I), simulated x = theta + N(0, 0.1 I), real y = theta + N(0, 0.2 I), ten dimensions. NPE,
trained on 50,000 simulations, should answer y with the posterior of the assumed model, whose mean is y / 2.
Per observation the squared error of its posterior mean (in standard deviations of theta, mean over
dimensions, less the variance that a mean over draws adds) is compared with that of y / 2. Target: a paired
difference within 0.02.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from veridical import bank, seeds, tasks
from veridical.bank import blocks
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.training import session

PRIOR_VARIANCE = 0.1
TASK = {
    "name": "gaussian_linear",
    "settings": {"dimension": 10, "prior_sd": 0.1**0.5, "noise_sd": 0.1**0.5, "real_noise_sd": 0.2**0.5},
}
SPEC = {
    "type": "npe",
    "summary": {"type": "none"},
    "flow": {"transforms": 3},
    "training": {"epochs": 6, "batch_size": 512},
}
ROWS, DRAWS = 50_000, 100


def rows(task: tasks.Task, fidelity: str, n: int, path: tuple[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Parameters from the prior and data, (n, D) each."""
    theta = task.prior.sample(seeds.generator(1, "test", "theta", *path), n)
    x = blocks.simulate_at(task, theta, fidelity, 1, "test", "noise", *path).arrays["x"]
    return theta, x


def measure(task: tasks.Task, seed: int, observations: int) -> dict[str, float]:
    """Trains once and compares squared errors on real data."""
    theta, x = rows(task, "model", ROWS, ("train", seed))
    truth, y = rows(task, "real", observations, ("real", 0))
    material = Material(Rows(theta, x, bank.validation_mask(ROWS)), prior=task.prior)
    begun = time.process_time()
    estimator, _ = NPE.fit(
        NPESettings(**SPEC), TaskInfo.of(task), material, session.Session(1, ("npe", seed))
    )
    seconds = time.process_time() - begun
    draws = estimator.sample(y, DRAWS, seeds.generator(1, "test", "draws", seed))
    own = (draws.mean(axis=0) - truth) ** 2 - draws.var(axis=0, ddof=1) / DRAWS
    difference = (own - (y / 2 - truth) ** 2).mean(axis=1) / PRIOR_VARIANCE
    return {
        "squared_error": float(own.mean() / PRIOR_VARIANCE),
        "exact": float(((y / 2 - truth) ** 2).mean() / PRIOR_VARIANCE),
        "difference": float(difference.mean()),
        "stderr": float(difference.std(ddof=1) / np.sqrt(observations)),
        "fit_cpu_seconds": seconds,
    }


def main() -> None:
    """Prints a line per training, and all of them as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--observations", type=int, default=300)
    options = parser.parse_args()
    task, columns = tasks.build(TASK), {}
    for seed in range(options.seeds):
        found = {name: round(value, 4) for name, value in measure(task, seed, options.observations).items()}
        print(found, flush=True)
        for name, value in found.items():
            columns.setdefault(name, []).append(value)
    print(json.dumps({**columns, "observations": options.observations}))


if __name__ == "__main__":
    main()
