"""Size and power of the checks near the observation, against faults that exist only there.

    python benchmarks/local_checks.py [--repeats 100] [--null 400] [--page docs/results/local_checks.md]

The model is theta ~ N(0, I), x = theta + 0.2 e, in 2 and 8 dimensions, observed at (1, ..., 1). A faulty
method gives the exact posterior shifted by half a standard deviation, or of 0.7 times its width, in every
parameter, for data within the central 99 % (or 50 %) of the posterior predictive of the observation, and the
exact posterior everywhere else. Where the likelihood is known the same answer is weighted by it. Every repeat
goes the way of the jobs: answer, proposal, simulations, answers, checks. Prints a table and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy import stats

from veridical import checks, seeds
from veridical.saved.posteriors import Draws
from veridical.stages.nearby import MOST, PILOT, Neighbourhood
from veridical.tasks import build

ROOT, NOISE, DRAWS, S = 2026, 0.2, 4000, 1000
FAULTS = {  # shift in posterior sd, factor of the sd, share of the predictive that has the fault
    "none": (0.0, 1.0, 1.0),
    "shift 0.5": (0.5, 1.0, 0.99),
    "sd x 0.7": (0.0, 0.7, 0.99),
    "sd x 1.4": (0.0, 1.4, 0.99),
    "shift 0.5, inner half": (0.5, 1.0, 0.5),
    "sd x 0.7, inner half": (0.0, 0.7, 0.5),
}
TESTS = ("local_ranks", "local_c2st")


class Faulty:
    """The exact posterior but for data near the observation."""

    def __init__(self, d: int, fault: str) -> None:
        self.task = build({"name": "gaussian_linear", "settings": {"dimension": d, "noise_sd": NOISE}})
        self.shift, self.scale, share = FAULTS[fault]
        self.radius, self.d = stats.chi2(d).ppf(share), d

    def moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (N, D) and standard deviation (N, 1) of the answers to x (N, D)."""
        shrinkage, sd = self.task.posterior_shrinkage, self.task.posterior_sd
        far = ((x - shrinkage) ** 2).sum(axis=1) / (sd**2 + NOISE**2)
        near = (far <= self.radius)[:, None]
        return shrinkage * x + near * self.shift * sd, np.where(near, self.scale, 1.0) * sd

    def sample(self, x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws (n, N, D)."""
        mean, sd = self.moments(x)
        return mean + sd * rng.standard_normal((n, *x.shape))


def answer(method: Faulty, rng: np.random.Generator) -> Draws:
    """The draws for the observation."""
    x, d = np.ones((1, method.d)), method.d
    draws = method.sample(x, DRAWS, rng)
    mean, sd = method.moments(x)
    log_q = stats.norm(mean, sd).logpdf(draws).sum(axis=-1)
    names, bounds = method.task.parameter_names, method.task.bounds
    return Draws(names, bounds, ("",) * d, draws, log_density=log_q, x=x)


def repeat(d: int, fault: str, index: int) -> dict[str, float]:
    """p-values of the tests and the coverage that importance weights see; how many draws count."""
    method, path = Faulty(d, fault), ("local checks", d, fault, index)
    rng = seeds.generator(ROOT, "test", *path)
    draws = answer(method, rng)
    ask = Neighbourhood(method.task, method, "model", S, ROOT)  # type: ignore[arg-type]
    made = ask.around(draws.draws[:, 0], draws.bounds, MOST, *path)
    arrays = {**made, "widening": made["widening"][None], "failed": np.zeros(1)}
    arrays["observation"] = np.zeros(MOST, dtype=int)
    found = {name: checks.build(name).run(draws, rng, nearby=arrays) for name in TESTS}
    theta, x = draws.draws[:, 0], draws.x[0]
    densities = {"log_prior": method.task.prior.log_prob(theta)[:, None]}
    densities["log_likelihood"] = method.task.log_likelihood(theta, x)[:, None]
    weighed = checks.build("importance").run(draws, rng, densities=densities)
    values = {name: float(result.p_value) for name, result in found.items()}
    mute = found["local_ranks"].passed is None
    told = {True: "passed", False: "refused", None: "undecided"}[weighed.passed]
    effective = float(found["local_ranks"].curves["effective"][0])
    return {**values, "mute": mute, "effective": effective, "widening": float(made["widening"]), told: 1.0}


def measure(d: int, fault: str, repeats: int) -> dict[str, float | str | int]:
    """Shares of rejections at 0.05 and 0.01, one line of the table."""
    runs = [repeat(d, fault, i) for i in range(repeats)]
    p = {name: np.array([run[name] for run in runs]) for name in TESTS}
    either = np.minimum(*p.values())
    line: dict[str, float | str | int] = {"D": d, "fault": fault, "repeats": repeats}
    for alpha in (0.05, 0.01):
        line |= {f"{name} at {alpha}": float((p[name] <= alpha).mean()) for name in TESTS}
    line["either at 0.01 each"] = float((either <= 0.01).mean())
    for name in ("mute", "effective", "widening"):
        line[name] = float(np.mean([run[name] for run in runs]))
    for name in ("passed", "refused"):
        line[f"weights: {name}"] = float(np.mean([run.get(name, 0.0) for run in runs]))
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}


def page(lines: list[dict[str, float | str | int]], command: str) -> str:
    """The table as Markdown, with what it means."""
    head = list(lines[0])
    rows = [" | ".join(str(line[name]) for name in head) for line in lines]
    table = "\n".join(f"| {row} |" for row in [" | ".join(head), " | ".join("---" for _ in head), *rows])
    return f"""# Checks near the observation

`{command}`: {str(__doc__).split(chr(10) * 2)[2].strip()}

{MOST} simulations around the observation and {MOST // PILOT} for each widening tried, {S} draws for each.
Shares of repeats; a share s of R repeats has a standard error of sqrt(s (1 - s) / R). `mute`: the ranks say
that they have no power; `effective`: draws that the reweighted ones are worth. The last two columns are what
`importance` says, which knows the likelihood.

{table}
"""


def main() -> None:
    """Prints a line per dimension and fault, writes the page, prints all columns as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--null", type=int, default=400)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    begun, lines = time.process_time(), []
    for d in (2, 8):
        for fault in FAULTS:
            lines.append(measure(d, fault, options.null if fault == "none" else options.repeats))
            print(lines[-1], flush=True)
    if options.page:
        command = f"python benchmarks/local_checks.py --repeats {options.repeats} --null {options.null}"
        options.page.write_text(page(lines, command))
    columns = {name: [line[name] for line in lines] for name in lines[0]}
    print(json.dumps({**columns, "cpu_seconds": round(time.process_time() - begun, 1)}))


if __name__ == "__main__":
    main()
