"""How many simulations is a score worth to a ratio?

    python benchmarks/score_equivalence.py [--task gaussian_field] [--rows 500 1000 2000 4000 8000]
        [--seeds 0 1 2] [--variants plain last_layer permuted] [--tests 300] [--page PAGE.md]

Three tasks of two parameters whose likelihood is known: a Gaussian field, a Student-t field (both 8 x 8
sites), an SIS epidemic. An `nre` with binary loss and the summary network that suits learns from N
simulations, validation rows included, without scores (`plain`), with them by each rule of weights, with
scores of other rows (`permuted`), and with those of the epidemic's whole paths (`joint`). Rows, first
weights and orders of batches are those of the seed, the same for all variants.

Judged on data sets from the prior, by the likelihood-ratio statistic 2 (max log r - log r) against that of
the exact likelihood, on every fourth cell (every second of the epidemic) of the task's own grid along both
axes, with maxima between cells. `LRT` is its mean squared error at the true parameters, `LRT on the grid`
that at all cells where the exact one is below 20. `sets hold` is the share of Wilks' sets at 95 % that hold
the truth, less that of the sets by the exact likelihood of the same data, with the error of that difference
over data sets and seeds; `area` the mean share of all cells in these sets, in that of the exact ones.
`scores missed` are the mean squares of slopes less exact scores in those of the scores, for both parameters.
`excess loss` is the loss on test pairs less that of the exact ratio, whose evidence is a sum over cells.

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
from statistics import fmean
from typing import Any

import numpy as np
import score_arrows
from scipy.special import logsumexp
from table_text import number, table

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.scored import in_z, share_missed
from veridical.inference.wilks import LikelihoodSurfaces, agreement
from veridical.training.session import Session

ROOT, LEVEL = 20261130, 0.95
FIELD = {"side": 8}
TASKS: dict[str, tuple[dict[str, Any], int]] = {  # settings, and each which cell is judged
    "gaussian_field": (FIELD, 4),
    "student_field": (FIELD, 4),
    "sis": ({}, 2),
}
Array = np.ndarray
NETWORK = {"type": "nre", "loss": "binary", "summary": "auto", "training": {"epochs": 60, "patience": 20}}
FIGURE = "score_equivalence--arrows.svg"
ARROWS = (
    "From plain training (grey) to training with scores (blue) on as many simulations, means over seeds: "
    "where an arrow points down further than to the right, scores gain more than as many seconds of plain "
    "training on more simulations would."
)
VARIANTS: dict[str, Any] = {
    "plain": None,
    **{kind: {"type": kind} for kind in ("last_layer", "gradnorm", "kendall", "fixed")},
    "last_layer, a quarter of rows": {"share": 0.25},
    "permuted": {"permuted": True},
    "joint": {"type": "last_layer"},
}
KEYS = (
    "lrt",
    "grid",
    "held",
    "exact_held",
    "held_error",
    "area",
    "exact_area",
    "missed_0",
    "missed_1",
    "excess",
)


def simulated(task: Any, n: int, *path: str | int) -> Rows:
    """Rows with scores, every tenth for validation."""
    rng = [seeds.generator(ROOT, "test", "score_equivalence", *path, part) for part in ("theta", "noise")]
    theta = task.prior.sample(rng[0], n)
    found = tasks.as_arrays(task.simulate(theta, task.noise(rng[1], n), task.level(None)))
    return Rows(theta, found["x"].astype(np.float32), bank.validation_mask(n), found["score"])


class Judge:
    """Data sets with known answers.

    Arguments:
        task: The task.
        thin: Each which cell of its grid counts.
        tests: Number of data sets.
    """

    def __init__(self, task: Any, thin: int, tests: int) -> None:
        self.rows, level = simulated(task, tests, "judged"), task.level(None)
        self.axes = [each[thin // 2 :: thin] for each in task.centres()]
        cells = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)
        self.places = np.broadcast_to(cells[:, :, None], (*cells.shape[:2], tests, 2))
        whole = np.stack([task.surface(x, level) for x in self.rows.x])
        self.exact = LikelihoodSurfaces.of(self.axes, whole[:, thin // 2 :: thin, thin // 2 :: thin])
        evidence = logsumexp(whole, axis=(1, 2)) - np.log(whole[0].size)  # the prior is uniform
        own, other = (
            task.log_likelihoods(theta, self.rows.x, level) - evidence
            for theta in (self.rows.theta, self.others)
        )
        self.best = binary_loss(own, other)

    @property
    def others(self) -> Array:
        """Parameters that do not belong to the data, (N, 2)."""
        return np.roll(self.rows.theta, 1, 0)

    def __call__(self, estimator: Any) -> dict[str, float]:
        """What a ratio misses."""
        rows = self.rows
        surfaces = np.moveaxis(estimator.log_likelihood(self.places, rows.x), -1, 0)
        found = agreement(LikelihoodSurfaces.of(self.axes, surfaces), self.exact, rows.theta, LEVEL)
        z = estimator.parameters.forward(rows.theta)[0].astype(np.float32)
        score = in_z(estimator.parameters, rows.theta, rows.score).astype(np.float32)
        missed = share_missed(estimator.network, z, estimator.inputs(rows.x, np.float32), score)
        own, other = (estimator.log_likelihood(theta, rows.x) for theta in (rows.theta, self.others))
        excess = binary_loss(own, other) - self.best
        held = *found.coverage, found.coverage_error[1]
        numbers = found.statistic_mse, found.statistic_mse_of_cells, *held, *found.area, *missed, excess
        return dict(zip(KEYS, map(float, numbers), strict=True))


def binary_loss(own: Array, other: Array) -> float:
    """The loss of log ratios of joint and of independent pairs."""
    return float(np.logaddexp(0, -own).mean() + np.logaddexp(0, other).mean())


def built(name: str, scores: bool | str = True) -> Any:
    """A task that comes with scores."""
    return tasks.build({"name": name, "settings": {**TASKS[name][0], "scores": scores}})


def measured(task: Any, judge: Judge, n: int, seed: int, chosen: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line for each variant."""
    rows = simulated(task, n, "train", seed)
    for name in chosen:
        kept = simulated(built(task.name, "joint"), n, "train", seed) if name == "joint" else rows
        begun, material = time.process_time(), Material(kept, prior=task.prior)
        with redirect_stdout(StringIO()):
            spec = {**NETWORK, "scores": VARIANTS[name]}
            run = Session(ROOT, ("score_equivalence", seed))
            estimator, result = methods.fit(spec, TaskInfo.of(task), material, run)
        seconds = time.process_time() - begun
        assert result is not None
        line = {"task": task.name, "variant": name, "rows": n, "seed": seed}
        yield line | judge(estimator) | {"seconds": seconds, "steps": result.steps, "tests": len(judge.rows)}


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


def lines_of(lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table of one task: means over seeds for each N and variant."""
    groups: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: (line["rows"], [*VARIANTS].index(line["variant"]))):
        groups.setdefault((line["rows"], [*VARIANTS].index(line["variant"])), []).append(line)
    means = {
        at: {k: fmean(one[k] for one in found) for k in (*KEYS, "seconds")} for at, found in groups.items()
    }
    plain, cells = {n: each["grid"] for (n, kind), each in means.items() if kind == 0}, []
    for (n, kind), found in groups.items():
        own, each = means[n, kind], [one["grid"] for one in found]
        error = np.sqrt(sum(one["held_error"] ** 2 for one in found)) / len(found)
        row = [f"{n:,}", [*VARIANTS][kind], str(len(found)), number(own["lrt"]), number(own["grid"])]
        row += [f"{min(each):.3g} to {max(each):.3g}", worth(plain, n, own["grid"]) if kind else ""]
        row += [
            f"{own['held'] - own['exact_held']:+.3f} ± {error:.3f}",
            f"{own['area'] / own['exact_area']:.2f}",
        ]
        row += [
            f"{own['missed_0']:.2f}, {own['missed_1']:.2f}",
            f"{own['excess']:.3f}",
            number(own["seconds"]),
        ]
        cells.append(row)
    return cells


def page(record: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    text, parts = str(__doc__).strip().split("\n\n"), []
    header = [
        "N",
        "scores",
        "seeds",
        "LRT",
        "LRT on the grid",
        "least to greatest",
        "worth",
        "sets hold",
        "area",
    ]
    header += ["scores missed", "excess loss", "fit, s"]
    for name in TASKS:
        if own := [line for line in record["lines"] if line["task"] == name]:
            exact = own[0]
            said = (
                f"Exact 95 % sets of {exact['tests']} data sets hold {exact['exact_held']:.3f} of the truths."
            )
            parts += [f"## {name}", said, table(header, lines_of(own))]
    parts += ["## Arrows", ARROWS, f"![seconds and errors]({FIGURE})"]
    made = f"Last lines made {record['date']} by `{record['command']}`, {record['versions']}."
    return "\n\n".join(["# What scores are worth to a ratio", *text[2:], *parts, made]) + "\n"


def publish(record: Mapping[str, Any], file: Path, to: Path) -> None:
    """Keeps a record, and writes its page and figure."""
    file.write_text(json.dumps(record, indent=1) + "\n")
    to.write_text(page(record))
    score_arrows.draw(record["lines"], [*TASKS], to.with_name(FIGURE))


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
    parser.add_argument("--task", choices=[*TASKS], default="gaussian_field")
    parser.add_argument("--tests", type=int, default=300)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    task = built(options.task)
    judge, file = Judge(task, TASKS[options.task][1], options.tests), Path(__file__).with_suffix(".json")
    kept = json.loads(file.read_text())["lines"] if options.page and file.is_file() else []
    asked = ("task", "rows", "seeds", "variants", "tests")
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
                names = ("task", "variant", "rows", "seed")
                kept = [old for old in kept if [old[k] for k in names] != [line[k] for k in names]]
                kept.append(line)
                if options.page:
                    publish({**record, "lines": kept}, file, options.page)


if __name__ == "__main__":
    main()
