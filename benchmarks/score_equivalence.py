"""How many simulations is a score worth to a ratio?

    python benchmarks/score_equivalence.py [--rows 500 1000 2000 4000 8000] [--seeds 0 1 2]
        [--variants plain last_layer permuted] [--side 8] [--tests 300] [--page PAGE.md]

The Gaussian field: the length scale and the nugget of x on a grid of sites, whose likelihood is known. An
`nre` with binary loss and a summary network for images learns from N simulations, validation rows included,
without scores (`plain`), with them by each rule of weights, and with scores of other rows (`permuted`). Rows,
first weights and orders of batches are those of the seed, the same for all variants.

Judged on data sets from the prior: the likelihood-ratio statistic of parameters against the best of all,
2 (max log r - log r), every fourth cell of the task's own grid along both axes and the true parameters,
against that of the exact likelihood on the same points. `LRT` is its mean squared error at the true
parameters, `LRT on the grid` that at all cells where the exact one is below 20. `scores missed` are the mean
squares of slopes less exact scores in those of the scores, for both parameters. `excess loss` is the loss on
test pairs less that of the exact ratio, whose evidence is a sum over cells.

`worth` is how many times as many simulations `plain` needs for the same error on the grid: by lines between
its means over seeds in log N and log error. Above the greatest N it is stated as more than that, below the
least as less. Seconds are CPU seconds of one thread for the training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp
from table_text import number, table

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.scored import in_z, share_missed
from veridical.training.session import Session

ROOT, THIN, NEAR = 20261130, 4, 20.0
Array = np.ndarray
NETWORK = {"type": "nre", "loss": "binary", "summary": "auto", "training": {"epochs": 60, "patience": 20}}
VARIANTS: dict[str, Any] = {
    "plain": None,
    **{kind: {"type": kind} for kind in ("last_layer", "gradnorm", "kendall", "fixed")},
    "last_layer, a quarter of rows": {"share": 0.25},
    "permuted": {"permuted": True},
}
KEYS = ("lrt", "grid", "missed_length", "missed_nugget", "excess", "seconds")


def simulated(task: Any, n: int, *path: str | int) -> Rows:
    """Rows of the field with scores, every tenth for validation."""
    rng = [seeds.generator(ROOT, "test", "score_equivalence", *path, part) for part in ("theta", "noise")]
    theta = task.prior.sample(rng[0], n)
    found = tasks.as_arrays(task.simulate(theta, task.noise(rng[1], n), "field"))
    return Rows(theta, found["x"].astype(np.float32), bank.validation_mask(n), found["score"])


class Judge:
    """Data sets with known answers.

    Arguments:
        task: The field.
        tests: Number of data sets.
    """

    def __init__(self, task: Any, tests: int) -> None:
        self.rows = simulated(task, tests, "judged")
        log_lengths, log_nuggets = (each[THIN // 2 :: THIN] for each in task.centres())
        cells = np.stack(np.meshgrid(log_lengths, log_nuggets, indexing="ij"), axis=-1).reshape(-1, 2)
        places = np.broadcast_to(cells[:, None], (len(cells), tests, 2))
        self.places = np.concatenate([self.rows.theta[None], places])
        own = task.log_likelihoods(self.rows.theta, self.rows.x, "field")
        whole = [task.surface(x, "field") for x in self.rows.x]
        evidence = np.array([logsumexp(one) - np.log(one.size) for one in whole])  # the prior is uniform
        each = [one[THIN // 2 :: THIN, THIN // 2 :: THIN].ravel() for one in whole]
        self.exact = statistic(np.concatenate([own[None], np.transpose(each)]))
        independent = task.log_likelihoods(np.roll(self.rows.theta, 1, 0), self.rows.x, "field")
        self.best = binary_loss(own - evidence, independent - evidence)

    def __call__(self, estimator: Any) -> dict[str, float]:
        """What a ratio misses."""
        rows, f = self.rows, estimator.log_likelihood(self.places, self.rows.x)
        off, near = (statistic(f) - self.exact) ** 2, self.exact[1:] < NEAR
        z = estimator.parameters.forward(rows.theta)[0].astype(np.float32)
        score = in_z(estimator.parameters, rows.theta, rows.score).astype(np.float32)
        missed = share_missed(estimator.network, z, estimator.inputs(rows.x, np.float32), score)
        other = estimator.log_likelihood(np.roll(rows.theta, 1, 0), rows.x)
        found = off[0].mean(), off[1:][near].mean(), *missed, binary_loss(f[0], other) - self.best
        return dict(zip(KEYS, map(float, found), strict=False))


def statistic(log_l: Array) -> Array:
    """Twice the distance of log likelihoods (P, N) from the greatest of each data set, (P, N)."""
    return np.asarray(2 * (log_l.max(axis=0) - log_l))


def binary_loss(own: Array, other: Array) -> float:
    """The loss of log ratios of joint and of independent pairs."""
    return float(np.logaddexp(0, -own).mean() + np.logaddexp(0, other).mean())


def measured(task: Any, judge: Judge, n: int, seed: int, chosen: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line for each variant."""
    rows = simulated(task, n, "train", seed)
    for name in chosen:
        begun, material = time.process_time(), Material(rows, prior=task.prior)
        with redirect_stdout(StringIO()):
            spec = {**NETWORK, "scores": VARIANTS[name]}
            run = Session(ROOT, ("score_equivalence", seed))
            estimator, result = methods.fit(spec, TaskInfo.of(task), material, run)
        seconds = time.process_time() - begun
        assert result is not None
        line = {"variant": name, "rows": n, "seed": seed, **judge(estimator), "seconds": seconds}
        yield line | {"steps": result.steps, "side": task.side, "tests": len(judge.rows)}


def worth(plain: Mapping[int, float], n: int, error: float) -> str:
    """How many times N `plain`, with errors by N, needs for the same error."""
    sizes = sorted(plain)
    errors = np.minimum.accumulate([plain[size] for size in sizes])
    if len(sizes) < 2:
        return ""
    if error < errors[-1]:
        return f"> {sizes[-1] / n:.2g}"
    if error > errors[0]:
        return f"< {sizes[0] / n:.2g}"
    found = np.interp(-np.log(error), -np.log(errors), np.log(sizes))
    return f"{np.exp(found) / n:.2g}"


def page(record: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    text, lines = str(__doc__).strip().split("\n\n"), record["lines"]
    cases = sorted({(line["rows"], [*VARIANTS].index(line["variant"])) for line in lines})
    groups = {(n, [*VARIANTS][kind]): [] for n, kind in cases}
    for line in lines:
        groups[line["rows"], line["variant"]].append(line)
    means = {
        case: {k: float(np.mean([one[k] for one in found])) for k in KEYS} for case, found in groups.items()
    }
    plain = {n: each["grid"] for (n, name), each in means.items() if name == "plain"}
    cells = []
    for (n, name), found in groups.items():
        own, each = means[n, name], [one["grid"] for one in found]
        row = [f"{n:,}", name, str(len(found)), number(own["lrt"]), number(own["grid"])]
        row += [
            f"{min(each):.3g} to {max(each):.3g}",
            f"{own['missed_length']:.2f}, {own['missed_nugget']:.2f}",
        ]
        row += [f"{own['excess']:.3f}", "" if name == "plain" else worth(plain, n, own["grid"])]
        cells.append([*row, number(own["seconds"])])
    header = ["N", "scores", "seeds", "LRT", "LRT on the grid", "least to greatest", "scores missed"]
    header += ["excess loss", "worth", "fit, s"]
    sizes = sorted({(line["side"], line["tests"]) for line in lines})
    made = f"Sites and data sets: {', '.join(f'{side} x {side}, {n}' for side, n in sizes)}. "
    made += f"Last lines made {record['date']} by `{record['command']}`, {record['versions']}."
    return "\n\n".join(["# What scores are worth to a ratio", *text[2:], table(header, cells), made]) + "\n"


def main() -> None:
    """Prints a line per training, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 1000, 2000, 4000, 8000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--variants", nargs="+", choices=[*VARIANTS], default=["plain", "last_layer", "permuted"]
    )
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--tests", type=int, default=300)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    task: Any = tasks.build({"name": "gaussian_field", "settings": {"side": options.side, "scores": True}})
    judge, file = Judge(task, options.tests), Path(__file__).with_suffix(".json")
    kept = json.loads(file.read_text())["lines"] if options.page and file.is_file() else []
    asked = ("rows", "seeds", "variants", "side", "tests")
    parts = [(name, getattr(options, name)) for name in asked]
    words = [f"--{k} {' '.join(map(json.dumps, v)) if isinstance(v, list) else v}" for k, v in parts]
    record = {"command": f"python benchmarks/score_equivalence.py {' '.join(words)}"}
    record |= {
        "date": time.strftime("%Y-%m-%d"),
        "versions": ", ".join(f"{name} {version}" for name, version in artifacts.versions().items()),
    }
    for seed in options.seeds:
        for n in options.rows:
            for found in measured(task, judge, n, seed, options.variants):
                line = {k: round(v, 5) if isinstance(v, float) else v for k, v in found.items()}
                print(json.dumps(line), flush=True)
                names = ("variant", "rows", "seed", "side")
                kept = [old for old in kept if [old[k] for k in names] != [line[k] for k in names]]
                kept.append(line)
                if options.page:
                    whole = {**record, "lines": kept}
                    file.write_text(json.dumps(whole, indent=1) + "\n")
                    options.page.write_text(page(whole))


if __name__ == "__main__":
    main()
