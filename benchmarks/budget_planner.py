"""Does the planner of budgets choose nearly the best rows of either level?

    python benchmarks/budget_planner.py [PART ...] [--seeds 0 1 2 3 4] [--page docs/results/budget_planner.md]

Ornstein-Uhlenbeck process with two parameters; a simulation of `lf` costs 1, of `hf` 100, and 40,000 are to
be spent. Part `grid` trains `npe` with `start` (networks of the study `multifidelity_ou`, new simulations
for each seed) at seven divisions of this cost. Parts `small pilots` and `pilots` plan: with each seed a new
pilot of 80 dear and 2,000 cheap simulations (10,000, a quarter of the cost) trains with 20, 40 and 60 dear
rows after 0, 500 and 2,000 cheap ones, or one of 160 and 10,000 (26,000, which pays only where the final
training uses its rows again) with 40, 80 and 120 dear rows after 0, 2,000 and 10,000 cheap ones; each on
four sets of dear rows, which leave out another quarter each. Losses there, and nothing else, choose the
rows (`veridical.inference.transfer_curve`). Part `chosen` trains at every choice, with the seeds of the
grid. The planner sees neither test rows nor the exact posterior. The larger pilot was tried after the small
ones had chosen dear rows alone.

Gap is the mean over 1,000 test rows of how far the log density at the truth lies below that of the exact
posterior, in nats: mean over seeds ± its standard error, and the worst seed. *Over the least of the grid*
is the mean gap over that of the best division, which is the least of seven noisy means and so a little low;
its error is the jackknife's over seeds. Asked for: at most 1.1.

Part `multilevel` is of `ml_npe`: the cheap network of a seed, the gradients of its loss at 50 coupled
pairs, and `veridical.inference.allocation` say what rows give the gradient of the telescoping sum the least
variance, and how many times the cost dear rows alone would need for it. Part `multilevel_grid` trains it at
some divisions of the cost, at 400 dear rows the plain `npe`. The plan is of a variance at one place, of the
plain gradient; training rescales it and is judged by the gap.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import date
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from table_text import table

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.estimators.base import CoupledRows, Estimator, Material, Rows, TaskInfo
from veridical.inference import allocation, transfer_curve
from veridical.training.row_gradients import row_gradients
from veridical.training.session import Session

ROOT, TESTS, TOTAL = 20261201, 1000, 40_000
TASK = tasks.build({"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}})
COSTS = (TASK.fidelities["lf"], TASK.fidelities["hf"])
DEAR = (20, 40, 100, 200, 300, 360, 400)  # of the grid
PILOTS = {  # dear and cheap rows of their trainings
    "small pilots": ((20, 40, 60), (0, 500, 2000)),
    "pilots": ((40, 80, 120), (0, 2000, 10_000)),
}
SETS = 4
TELESCOPED = (40, 100, 200, 300, 400)  # of that of multilevel training
PAIRS = 50
SPEC: dict[str, Any] = {
    "type": "npe",
    "summary": {"type": "none"},
    "flow": {"transforms": 2, "bins": 5, "hidden": [50, 50]},
    "base": "none",
}
FEW = {"schedule": "constant", "learning_rate": 1e-3, "batch_size": 45, "epochs": 300, "patience": 20}
LOW = {"learning_rate": 3e-3, "batch_size": 250, "patience": 1000}
STEPS = (400, 800)  # of the cheap network, and ten epochs between
PARTS = ("grid", *PILOTS, "chosen", "multilevel", "multilevel_grid")
Array = np.ndarray


def simulated(levels: Sequence[str], n: int, *path: str | int) -> list[Rows]:
    """The same rows at some levels, every tenth held out."""
    theta = TASK.prior.sample(seeds.generator(ROOT, "test", "planner", *path, "theta"), n)
    noise = TASK.noise(seeds.generator(ROOT, "test", "planner", *path, "noise"), n)
    data = [np.asarray(TASK.simulate(theta, noise, level)).astype(TASK.x_dtype) for level in levels]
    return [Rows(theta, x, bank.validation_mask(n)) for x in data]


def fit(spec: Mapping[str, Any], material: Material, *path: str | int) -> Estimator:
    """A trained method."""
    with redirect_stdout(StringIO()):
        return methods.fit(dict(spec), TaskInfo.of(TASK), material, Session(ROOT, path))[0]


def low(rows: Rows, seed: int) -> Estimator:
    """The network of cheap rows."""
    steps = int(np.clip(10 * len(rows) / 250, *STEPS))
    epochs = int(np.ceil(steps / np.ceil(0.9 * len(rows) / 250)))
    training = {**LOW, "epochs": epochs, "max_steps": steps, "weight_decay": 0.0}
    return fit(
        {**SPEC, "fidelity": "lf", "training": training}, Material(rows, prior=TASK.prior), "low", seed
    )


def fine(rows: Rows, start: Estimator | None, *path: str | int) -> Estimator:
    """A network of dear rows, after a cheap one or from the beginning."""
    named = {"start": "low"} if start else {}
    spec = {**SPEC, **named, "training": {**FEW, "weight_decay": 0.0}}
    return fit(spec, Material(rows, parent=start, prior=TASK.prior), "fine", *path)


@cache
def tests() -> tuple[Rows, Array]:
    """Test rows with the log density of the exact posterior at their truths."""
    rows = simulated(["hf"], TESTS, "tests")[0]
    return rows, TASK.posterior_log_prob(rows.theta, rows.x)  # type: ignore[attr-defined]


def gap(estimator: Estimator) -> float:
    """The mean over test rows of how far log densities lie below the exact ones."""
    rows, exact = tests()
    return float((exact - estimator.log_prob(rows.theta, rows.x)).mean())


def divided(dear: int) -> int:
    """Cheap rows that go with dear ones."""
    return int((TOTAL - dear * COSTS[1]) / COSTS[0])


def transferred(dear: int, seed: int) -> float:
    """The gap of transfer with so many dear rows."""
    n = divided(dear)
    start = low(simulated(["lf"], n, "cheap", seed)[0], seed) if n >= 100 else None
    return gap(fine(simulated(["hf"], dear, "dear", seed)[0], start, seed))


def pilots(part: str, seed: int) -> dict[str, Any]:
    """The plan of a new pilot."""
    few, many = PILOTS[part]
    cheap = simulated(["lf"], max(many), "pilot cheap", seed)[0]
    size = max(few) * SETS // (SETS - 1)
    dear = simulated(["hf"], size, "pilot dear", seed)[0]
    starts = {n: low(masked(cheap, np.arange(n)), seed) if n else None for n in many}
    design = [(n, m) for n in many for m in few]
    losses = np.empty((size, len(design)))
    fold = np.arange(size) % SETS
    for k in range(SETS):
        inside, outside = np.roll(np.flatnonzero(fold != k), len(dear) // SETS * k), fold == k
        for j, (n, m) in enumerate(design):
            made = fine(masked(dear, inside[:m]), starts[n], "pilot", seed, k)
            losses[outside, j] = -made.log_prob(dear.theta[outside], dear.x[outside])
    counts = np.array(design, float).T
    rng = seeds.generator(ROOT, "test", "planner", "resampled", seed)
    plan = transfer_curve.planned(*counts, losses, COSTS, TOTAL, rng)
    curve = plan.curve
    return {
        "cost": float(np.dot((max(many), size), COSTS)),
        "dear": plan.rows[1],
        "dear_interval": plan.dear_interval,
        "gain": plan.gain,
        "gain_interval": plan.gain_interval,
        "worth": plan.worth,
        "powers": [curve.dear, curve.cheap],
        "losses": np.round(losses.mean(axis=0), 3).tolist(),
    }


def masked(rows: Rows, chosen: Array) -> Rows:
    """Some of the rows, every tenth of them held out."""
    return Rows(rows.theta[chosen], rows.x[chosen], bank.validation_mask(len(chosen)))


def multilevel(seed: int) -> dict[str, Any]:
    """What a pilot of coupled pairs says about the telescoping sum."""
    start: Any = low(simulated(["lf"], 2000, "pilot cheap", seed)[0], seed)
    levels = simulated(["lf", "hf"], PAIRS, "pilot pairs", seed)
    z = start.parameters.forward(levels[0].theta)[0].astype(np.float32)
    gradients = [row_gradients(start.network, z, start.inputs(rows.x, np.float32)) for rows in levels]
    pilot = allocation.Pilot(np.stack(gradients))
    rng = seeds.generator(ROOT, "test", "planner", "gradients", seed)
    found = allocation.recommended(pilot, COSTS, TOTAL, rng)
    covariances = pilot.covariances()
    rows = allocation.best(covariances, COSTS, TOTAL).rows
    return {
        "cost": float(2000 * COSTS[0] + PAIRS * sum(COSTS)),
        "correlation": float(covariances[0, 1] / np.sqrt(covariances[0, 0] * covariances[1, 1])),
        "rows": found.rows.tolist(),
        "of_both": [int(n) for n in rows],
        "gain": found.gain,
        "interval": [float(v) for v in found.interval],
        "worth": found.worth,
    }


def telescoped(dear: int, seed: int) -> float:
    """The gap of `ml_npe` with so many dear rows; at dear rows alone that of `npe`."""
    n = divided(dear)
    if not n:
        return transferred(dear, seed)
    cheap, above = simulated(["lf", "hf"], n, "coupled", seed)
    pairs = CoupledRows(cheap.theta[:dear], above.x[:dear], bank.validation_mask(dear), below=cheap.x[:dear])
    spec = {"type": "ml_npe", "lower": {"lf": n}, **{k: v for k, v in SPEC.items() if k != "type"}}
    return gap(fit(spec, Material(levels=[cheap, pairs], prior=TASK.prior), "telescoped", seed))


def measured(part: str, seed: int, kept: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The lines of a part that are not yet kept."""
    have = {(line["part"], line["seed"], line.get("dear")) for line in kept}
    if part in (*PILOTS, "multilevel"):
        if not any(line["part"] == part and line["seed"] == seed for line in kept):
            yield multilevel(seed) if part == "multilevel" else pilots(part, seed)
        return
    planned = sorted({one["dear"] for one in kept if one["part"] in PILOTS})
    grid = {"grid": DEAR, "chosen": planned, "multilevel_grid": TELESCOPED}[part]
    of = telescoped if part == "multilevel_grid" else transferred
    for dear in grid:
        if (part, seed, dear) not in have and not (part == "chosen" and ("grid", seed, dear) in have):
            yield {"dear": dear, "cheap": divided(dear), "gap": of(dear, seed)}


def spread(values: Sequence[float]) -> str:
    """A mean with its standard error, and the largest value."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3f} ± {error:.3f} ({max(values):.3f})"


def by_dear(lines: Sequence[Mapping[str, Any]], *parts: str) -> dict[int, dict[int, float]]:
    """Gaps by dear rows and seed."""
    found: dict[int, dict[int, float]] = {}
    for line in sorted((one for one in lines if one["part"] in parts), key=lambda one: one["dear"]):
        found.setdefault(line["dear"], {})[line["seed"]] = line["gap"]
    return found


def ratio(found: Mapping[int, Mapping[int, float]], dear: int) -> str:
    """The mean gap at some rows over the least of the grid, with the jackknife's error over seeds."""
    best = min((n for n in DEAR if n in found), key=lambda n: np.mean([*found[n].values()]))
    both = sorted(found[best].keys() & found[dear].keys())
    own, least = (np.array([found[n][seed] for seed in both]) for n in (dear, best))
    if not both[1:]:
        return ""
    left_out = [np.delete(own, i).mean() / np.delete(least, i).mean() for i in range(len(both))]
    error = np.sqrt((len(both) - 1) * np.var(left_out))
    return f"{own.mean() / least.mean():.2f} ± {error:.2f}"


def page(record: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = record["lines"]
    made = {key: value for key, value in record.items() if key != "lines"}
    parts = ["# The planner of budgets", str(__doc__).split("\n\n", 2)[2].strip()]
    parts.append("Made with " + ", ".join(f"{key} {value}" for key, value in made.items()) + ".")
    for title, names in (
        ("Transfer", ("grid", "chosen")),
        ("Multilevel training", ("multilevel_grid",)),
    ):
        found = by_dear(lines, *names)
        if found:
            cells = [
                [str(n), f"{divided(n):,}", spread([*own.values()]), str(len(own)), ratio(found, n)]
                for n, own in found.items()
            ]
            header = ["dear rows", "cheap rows", "gap (worst seed)", "seeds", "over the least of the grid"]
            parts += [f"## {title}", table(header, cells)]
        parts += _of_pilots(lines, found) if title == "Transfer" else _of_gradients(lines)
    return "\n\n".join(parts) + "\n"


def _of_pilots(lines: Sequence[Mapping[str, Any]], found: Mapping[int, Mapping[int, float]]) -> list[str]:
    own = [line for line in lines if line["part"] in PILOTS]
    cells = [
        [
            f"{line['part'].removesuffix('s')} {line['seed']}",
            f"{line['cost']:,.0f}",
            f"{line['dear']} ({line['dear_interval'][0]:.0f} to {line['dear_interval'][1]:.0f})",
            f"{line['gain']:.2f} ({line['gain_interval'][0]:.2f} to {line['gain_interval'][1]:.2f})",
            line["worth"],
            ", ".join(f"{power:.2f}" for power in line["powers"]),
            ratio(found, line["dear"]) if line["dear"] in found else "",
        ]
        for line in own
    ]
    header = [
        "pilot",
        "its cost",
        "dear rows (90 %)",
        "gain over dear alone, nats",
        "worth it",
        "powers",
        "ratio",
    ]
    return [table(header, cells)] if own else []


def _of_gradients(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    own = [line for line in lines if line["part"] == "multilevel"]
    cells = [
        [
            str(line["seed"]),
            f"{line['correlation']:.2f}",
            " and ".join(f"{n:,}" for n in line["of_both"]),
            f"{line['gain']:.3f} ({line['interval'][0]:.3f} to {line['interval'][1]:.3f})",
            line["worth"],
        ]
        for line in own
    ]
    header = ["pilot", "correlation of gradients", "cheap and dear rows", "gain in cost (90 %)", "worth it"]
    return [table(header, cells)] if own else []


def main() -> None:
    """Measures, prints a line per training, and writes record and page where a page is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    file = Path(__file__).with_suffix(".json")
    kept = json.loads(file.read_text())["lines"] if options.page and file.is_file() else []
    for part in options.parts or PARTS:
        for seed in options.seeds:
            begun = time.process_time()
            for found in measured(part, seed, kept):
                seconds = round(time.process_time() - begun, 2)
                kept = [*kept, {"part": part, "seed": seed, **found, "seconds": seconds}]
                print(json.dumps(kept[-1]), flush=True)
                begun = time.process_time()
                if options.page:
                    about = {"date": date.today().isoformat(), "seed": ROOT, **artifacts.versions()}
                    record = {**about, "lines": kept}
                    file.write_text(json.dumps(record, indent=1) + "\n")
                    options.page.write_text(page(record))


if __name__ == "__main__":
    main()
