"""What is a cheap level worth to each scheme, and is the multilevel loss stable without rescaled gradients?

    python benchmarks/multifidelity_schemes.py [--seeds 0 1 2 3 4] [--variants npe ml_npe] [--page PAGE.md]

The Ornstein-Uhlenbeck process with two parameters: 100 rows of the process itself, 10,000 of a cheap stand-in
without memory, driven by the same random numbers. `gap` is the mean of log p(theta | x) - log q(theta | x)
over 500 fresh rows, in nats, p being the exact posterior; `C2ST` is the best that any classifier reaches,
1/2 + 1/4 sum |p - q| over the probabilities of 120 x 80 cells, 0.5 at best, for the first 20 of these rows.
All methods answer the same rows. A seed draws new simulations, weights and batches. `permuted` gives the rows
of the cheap level each other's data, at each place where a method sees them: a level that tells nothing.
`from the prior` has normal numbers for these data: what a network gains that has seen draws of the prior.

The flow has two transforms of 50, 50 with five bins and sees x as it is; `encoder` puts a dense network of 50
with 16 features before it, as features to match have to be something that is learned. Trainings of `ml_npe`,
`pooled_npe` and `distilled_npe` are their defaults; `npe` and transfer learn as in `config/multifidelity_ou`.

**Is the multilevel loss stable?** A training that looks at dear rows held out, and keeps its best weights,
hides what the loss does. So these keep the last ones, after a fixed number of steps. `loss` is the last one
that training saw, the telescoping sum; `held out` is that of ten dear rows held out.

Seconds are CPU seconds of one thread, on a machine with other work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from table_text import number, table

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.estimators.base import CoupledRows, Estimator, Material, Rows, TaskInfo
from veridical.training.session import Session, TrainingResult
from veridical.training.telescoped import Telescoped

ROOT, DEAR, CHEAP, FRESH, SHOWN = 20261201, 100, 10_000, 500, 20
TASK: Any = tasks.build({"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}})
PLAIN = {
    "summary": {"type": "none"},
    "flow": {"transforms": 2, "bins": 5, "hidden": [50, 50]},
    "base": "none",
}
ENCODED = {**PLAIN, "summary": {"type": "mlp", "hidden": [50], "features": 16}}
FEW = {"schedule": "constant", "learning_rate": 1e-3, "batch_size": 45, "epochs": 300}
FEW |= {"patience": 20, "weight_decay": 0.0}
LOW = {"learning_rate": 3e-3, "batch_size": 250, "epochs": 10, "patience": 1000, "weight_decay": 0.0}
LEVELS = {"lower": {"lf": CHEAP}}
LAST = {"patience": 100_000}
Array = np.ndarray


@dataclass(frozen=True)
class Variant:
    """A method, how it is trained, and from which cheap level.

    Attributes:
        spec: Its settings.
        cheap: Which cheap level: `itself`, with data `permuted` among its rows, or with `noise` for data,
            which leaves draws of the prior, of which there are as many as one likes.
        last: Whether the last weights are kept.
    """

    spec: dict[str, Any]
    cheap: str = "itself"
    last: bool = False


def multilevel(gradients: str, steps: int | None = None, cheap: str = "itself") -> Variant:
    """An `ml_npe`; with so many steps one that keeps its last weights."""
    training = {} if steps is None else {**LAST, "max_steps": steps, "epochs": steps}
    spec = {"type": "ml_npe", **LEVELS, **PLAIN, "gradients": gradients, "training": training}
    return Variant(spec, cheap, steps is not None)


def distilled(network: dict[str, Any], cheap: str = "itself", **weights: float) -> Variant:
    """A `distilled_npe`."""
    teacher = {} if weights.get("distillation") == 0 else {"of": "low"}
    return Variant({"type": "distilled_npe", **LEVELS, **network, **teacher, **weights}, cheap)


NPE = {"type": "npe", **PLAIN, "training": FEW}
POOLED = {"type": "pooled_npe", **LEVELS, **PLAIN}
VARIANTS = {
    "npe": Variant(NPE),
    "npe, encoder": Variant({**NPE, **ENCODED}),
    "transfer": Variant({**NPE, "start": "low"}),
    "transfer, permuted": Variant({**NPE, "start": "low"}, "permuted"),
    "transfer, from the prior": Variant({**NPE, "start": "low"}, "noise"),
    "ml_npe": multilevel("rescaled"),
    "ml_npe, plain": multilevel("plain"),
    "ml_npe, permuted": multilevel("rescaled", cheap="permuted"),
    "pooled_npe": Variant(POOLED),
    "pooled_npe, ignored": Variant({**POOLED, "level": "ignored"}),
    "pooled_npe, permuted": Variant(POOLED, "permuted"),
    "distilled_npe, encoder": distilled(ENCODED),
    "distilled_npe, encoder, features alone": distilled(ENCODED, joint=0, distillation=0),
    "distilled_npe": distilled(PLAIN, matching=0),
    "distilled_npe, joint alone": distilled(PLAIN, matching=0, distillation=0),
    "distilled_npe, permuted": distilled(PLAIN, "permuted", matching=0),
}
STABILITY = {
    f"{gradients}, {steps} steps": multilevel(gradients, steps)
    for steps in (300, 1000)
    for gradients in ("rescaled", "plain")
}


def rng(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(ROOT, "test", "multifidelity_schemes", *path)


def simulated(n: int, *path: str | int) -> tuple[Array, dict[str, Array]]:
    """Theta (n, D) and x (n, 10) of both levels from the same random numbers."""
    theta, noise = TASK.prior.sample(rng(*path, "theta"), n), TASK.noise(rng(*path, "noise"), n)
    return theta, {level: TASK.simulate(theta, noise, level) for level in TASK.fidelities}


class Fresh:
    """The rows that all methods answer, and the exact answers to them."""

    def __init__(self) -> None:
        self.theta, x = simulated(FRESH, "fresh")
        self.x = x["hf"]
        self.exact = TASK.posterior_log_prob(self.theta, self.x)
        self.grid, self.area = TASK.grid()
        shape = len(self.grid), SHOWN, self.theta.shape[1]
        self.cells = np.broadcast_to(self.grid[:, None], shape)
        self.p = shares(TASK.posterior_log_prob(self.cells, self.x[:SHOWN]))

    def measure(self, estimator: Estimator) -> dict[str, float]:
        """Gap and C2ST of a method."""
        q = shares(estimator.quick_log_prob(self.cells, self.x[:SHOWN]))  # type: ignore[attr-defined]
        gap = (self.exact - estimator.log_prob(self.theta, self.x)).mean()
        return {"gap": float(gap), "c2st": float(0.5 + 0.25 * np.abs(self.p - q).sum(axis=0).mean())}


def shares(log_p: Array) -> Array:
    """Probabilities of cells (C, N), of log densities there."""
    p = np.exp(log_p - log_p.max(axis=0))
    return np.asarray(p / p.sum(axis=0))


class Seed:
    """The simulations of a seed, and the method that learned from the cheap ones alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.theta, x = simulated(CHEAP, "train", seed)
        self.low, self.high = (x[level].astype(np.float32) for level in ("lf", "hf"))
        order, noise = (
            rng("permuted", seed).permutation(CHEAP),
            rng("noise", seed).normal(size=self.low.shape),
        )
        self.cheap = {"itself": self.low, "permuted": self.low[order], "noise": noise.astype(np.float32)}

    def levels(self, cheap: str) -> tuple[Rows, CoupledRows]:
        """The cheap rows, then the pairs."""
        low = self.cheap[cheap]
        masks = bank.validation_mask(CHEAP), bank.validation_mask(DEAR)
        dear = CoupledRows(self.theta[:DEAR], self.high[:DEAR], masks[1], below=low[:DEAR])
        return Rows(self.theta, low, masks[0]), dear

    @cached_property
    def teachers(self) -> dict[str, Estimator]:
        """The method that learned from each kind of cheap level."""
        spec = {"type": "npe", "fidelity": "lf", **PLAIN, "training": LOW}
        return {cheap: self.fit(spec, self.levels(cheap)[0], "low")[0] for cheap in self.cheap}

    def fit(
        self, spec: dict[str, Any], rows: Rows | None, name: str, **more: Any
    ) -> tuple[Any, TrainingResult]:
        """A method that learned from rows, or from what else there is."""
        material = Material(rows, prior=TASK.prior, **more)
        return methods.fit(spec, TaskInfo.of(TASK), material, Session(ROOT, (name, self.seed)))  # type: ignore[return-value]

    def fitted(self, name: str, variant: Variant) -> tuple[Estimator, TrainingResult]:
        """The method of a variant."""
        spec, levels = variant.spec, self.levels(variant.cheap)
        builds = "start" in spec or "of" in spec
        parent = self.teachers[variant.cheap] if builds else None
        if spec["type"] == "npe":
            return self.fit(spec, levels[-1], name, parent=parent)
        before, Telescoped.keeps_last = Telescoped.keeps_last, variant.last
        try:
            return self.fit(spec, None, name, levels=levels, parent=parent)
        finally:
            Telescoped.keeps_last = before


def measured(seed: Seed, name: str, variant: Variant, fresh: Fresh) -> dict[str, Any]:
    """A line of the record."""
    if "start" in variant.spec or "of" in variant.spec:
        _ = seed.teachers  # their training is no part of this method's
    begun = time.process_time()
    estimator, course = seed.fitted(name, variant)
    line: dict[str, Any] = {"variant": name, "seed": seed.seed, "seconds": time.process_time() - begun}
    held = [look["validation_loss"] for look in course.rounds]
    line |= {"steps": course.steps, "held_best": min(held), "held_last": held[-1]}
    line |= {"loss_last": course.rounds[-1]["train_loss"]}
    return {
        k: round(v, 5) if isinstance(v, float) else v for k, v in (line | fresh.measure(estimator)).items()
    }


# ---- the page -------------------------------------------------------------------------------------------


def spread(lines: Sequence[dict[str, Any]], key: str, digits: int = 2) -> str:
    """A mean over seeds, least and greatest in brackets."""
    values = [line[key] for line in lines]
    low, high = (f"{bound(values):.{digits}f}" for bound in (min, max))
    return f"{np.mean(values):.{digits}f} ({low} to {high})"


def differences(lines: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> str:
    """The mean difference of gaps from those of the same seeds, with its standard error."""
    theirs = {line["seed"]: line["gap"] for line in base}
    found = np.array([line["gap"] - theirs[line["seed"]] for line in lines if line["seed"] in theirs])
    if len(found) < 2 or lines == base:
        return ""
    return f"{found.mean():+.2f} ± {found.std(ddof=1) / len(found) ** 0.5:.2f}"


def rows_of(
    record: Sequence[dict[str, Any]], names: Sequence[str], row: Callable[[list[dict[str, Any]]], list[str]]
) -> list[list[str]]:
    """A row of a table for each variant that was run."""
    found = [(name, [line for line in record if line["variant"] == name]) for name in names]
    return [[name, str(len(lines)), *row(lines)] for name, lines in found if lines]


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    _, _, process, flow, stable, foot = str(__doc__).strip().split("\n\n")
    lines = record["lines"]
    base = [line for line in lines if line["variant"] == "npe"]

    def scheme(own: list[dict[str, Any]]) -> list[str]:
        parts = [spread(own, "gap"), differences(own, base), spread(own, "c2st", 3)]
        return [*parts, number(float(np.mean([line["seconds"] for line in own])))]

    def course(own: list[dict[str, Any]]) -> list[str]:
        return [spread(own, key) for key in ("gap", "loss_last", "held_last")] + [spread(own, "c2st", 3)]

    first = ["method", "seeds", "gap, nats", "gap less that of npe", "C2ST", "fit, s"]
    second = ["gradients", "seeds", "gap, nats", "loss", "held out", "C2ST"]
    made = f"Last lines made {record['date']} by `{record['command']}`, {record['versions']}."
    note = (
        "Means over seeds, least and greatest in brackets; differences of equal seeds, with standard errors."
    )
    tables = [
        table(first, rows_of(lines, [*VARIANTS], scheme)),
        table(second, rows_of(lines, [*STABILITY], course)),
    ]
    parts = [
        "# Schemes for a cheap and a dear level",
        process,
        flow,
        tables[0],
        note,
        stable,
        tables[1],
        foot,
        made,
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Prints a line per training, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {**VARIANTS, **STABILITY}
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variants", nargs="+", choices=[*known], default=[*known])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    kept, fresh, file = [], Fresh(), Path(__file__).with_suffix(".json")
    if options.page and file.is_file():
        kept = json.loads(file.read_text())["lines"]
    words = " ".join(word if " " not in word else json.dumps(word) for word in sys.argv[1:])
    about = {
        "command": f"python benchmarks/multifidelity_schemes.py {words}",
        "date": time.strftime("%Y-%m-%d"),
    }
    about["versions"] = ", ".join(f"{name} {version}" for name, version in artifacts.versions().items())
    found = [Seed(seed) for seed in options.seeds]
    for name in options.variants:
        for own in found:
            line = measured(own, name, known[name], fresh)
            print(json.dumps(line), flush=True)
            kept = [old for old in kept if (old["variant"], old["seed"]) != (name, own.seed)] + [line]
            if options.page:
                record = {**about, "lines": kept}
                file.write_text(json.dumps(record, indent=1) + "\n")
                options.page.write_text(page(record))


if __name__ == "__main__":
    main()
