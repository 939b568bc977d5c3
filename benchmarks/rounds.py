"""What do rounds reach at one observation, round by round, and what does importance correction make of them?

    python benchmarks/rounds.py [TASK ...] [--replicates 3] [--page docs/results/rounds.md]

The settings of `config/lynx_hare.yaml` (five rounds of 10,000 simulations, `npe` with the defaults) on the
pelts of Hudson Bay and on two tasks of the published benchmark: two moons, whose posterior has two modes, and
the GLM in ten dimensions, at the first observation of `benchmarks/defaults.py`. Shifts of means (mean and
largest of the parameters) are in standard deviations of the exact posterior, ratios are of standard
deviations; exact posteriors are Markov chains as there. C2ST is 5-fold, on 2,000 draws of either side. Each
line is the middle of the replicates, number by number. Seconds are CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import defaults
import numpy as np
from sequential import rounds
from table_text import number, table

from veridical import seeds, tasks
from veridical.checks.two_sample import c2st
from veridical.estimators.base import TaskInfo
from veridical.estimators.tsnpe import TSNPE
from veridical.estimators.tsnpe_settings import TSNPESettings
from veridical.inference.likelihoods import Exact
from veridical.remedies.importance import Importance
from veridical.remedies.importance_settings import CorrectionSettings
from veridical.saved import observations
from veridical.study import settings

STUDY = Path(__file__).parents[1] / "config/lynx_hare.yaml"
SPECS = {"lotka_volterra": {"name": "lotka_volterra"}}
SPECS |= {name: defaults.TASKS[name] for name in ("two_moons", "bernoulli_glm")}
DRAWS, STARTS, ROOT = 4000, 20_000, 20261129
Array = np.ndarray


def observed(task: tasks.Task) -> Array:
    """The observation (*x_shape): the pelts, or the first one of the benchmark of defaults."""
    if task.name != "lotka_volterra":
        return defaults.simulated(task, "fresh", defaults.FRESH)[1][0]
    data = settings.load(STUDY).observations["hudson_bay"].model_dump()
    return observations.read({**data, "file": str(STUDY.parents[1] / data["file"])}, task, "pelts").x[0]


def compared(draws: Array, reference: Array) -> dict[str, float]:
    """How far draws lie from those of the reference."""
    shift = np.abs(draws.mean(axis=0) - reference.mean(axis=0)) / reference.std(axis=0)
    ratio = draws.std(axis=0) / reference.std(axis=0)
    return {
        "shift": float(shift.mean()),
        "largest": float(shift.max()),
        "narrowest": float(ratio.min()),
        "widest": float(ratio.max()),
    }


def run(name: str, replicate: int, x: Array, reference: Array) -> list[dict[str, Any]]:
    """One line per round, and one for the correction of the last."""
    spec, task = SPECS[name], tasks.build(SPECS[name])
    given = settings.load(STUDY).methods["tsnpe"].model_dump()
    given["posterior"]["fidelity"] = None
    if name != "lotka_volterra":
        given["posterior"]["inputs"] = {}
    chosen = TSNPESettings.model_validate(given)
    path, lines = (name, replicate), []
    for k, (method, seconds) in enumerate(rounds(task, chosen, x, ROOT, path, STARTS), 1):
        told = method.account()["rounds"][0][-1]
        draws = method.sample(x[None], DRAWS, seeds.generator(ROOT, "infer", *path, k))[:, 0]
        line = {
            "task": name,
            "replicate": replicate,
            "what": f"round {k}",
            **compared(draws, reference),
        }
        line |= {key: told[key] for key in ("kept", "mass", "acceptance", "leakage")} | seconds
        lines.append(line)
        print(json.dumps(line), flush=True)
    lines[-1]["c2st"] = float(c2st(reference, draws, seeds.generator(ROOT, "check", *path)).mean())
    return [*lines, corrected(spec, TaskInfo.of(task), method, x, reference, lines[-1])]


def corrected(
    spec: dict[str, Any], info: TaskInfo, method: TSNPE, x: Array, reference: Array, last: dict[str, Any]
) -> dict[str, Any]:
    """The line of the correction of a last round."""
    begun = time.process_time()
    seed = seeds.integer(ROOT, "remedy", last["task"], last["replicate"])
    remedy = Importance(CorrectionSettings(of="tsnpe"), info, method, Exact(spec), seed)
    standing = remedy.standing(x[None])
    line = {"task": last["task"], "replicate": last["replicate"], "what": "corrected"}
    line |= {name: float(values[0]) for name, values in standing.numbers.items()}
    if not standing.refused:
        draws = remedy.sample(x[None], DRAWS, seeds.generator(ROOT, "infer", "corrected", last["task"]))[:, 0]
        line |= compared(draws, reference) | {"fit": time.process_time() - begun}
        rng = seeds.generator(ROOT, "check", "corrected", last["task"], last["replicate"])
        line["c2st"] = float(c2st(reference, draws, rng).mean())
    print(json.dumps(line), flush=True)
    return line


def page(kept: list[dict[str, Any]]) -> str:
    """The record as Markdown."""
    columns = {
        **{
            "shift": "mean shift",
            "largest": "largest",
            "narrowest": "least ratio",
            "widest": "largest ratio",
        },
        **{"c2st": "C2ST", "kept": "rows used", "mass": "prior mass", "acceptance": "acceptance"},
        **{
            "leakage": "leakage",
            "share": "share",
            "k": "k",
            "propose": "propose, s",
            "fit": "train or correct, s",
        },
    }
    text, told = str(__doc__).split("\n\n", 2)[2].strip(), []
    for name in SPECS:
        own = [line for line in kept if line["task"] == name]
        cells = []
        for what in dict.fromkeys(line["what"] for line in own):
            lines = [line for line in own if line["what"] == what]
            found = [[line[key] for line in lines if key in line] for key in columns]
            cells.append([what, *(number(float(np.median(v))) if v else "" for v in found)])
        if cells:
            n = len({line["replicate"] for line in own})
            told += [f"## {name}", f"{n} replicate{'s' * (n > 1)}.", table(["", *columns.values()], cells)]
    return "\n\n".join(["# Rounds and their correction", text, *told]) + "\n"


def main() -> None:
    """Prints a line per round, and keeps them beside the page, which it writes anew after each replicate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", choices=[*SPECS, []])
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    for name in options.tasks or SPECS:
        task = tasks.build(SPECS[name])
        x = observed(task)
        reference, about = defaults.exact(task, x.astype(float), 0)
        print(name, about, flush=True)
        for replicate in range(options.replicates):
            found = run(name, replicate, x, reference)
            kept = [old for old in kept if (old["task"], old["replicate"]) != (name, replicate)] + found
            if options.page:
                record.write_text(json.dumps(kept, indent=1) + "\n")
                options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
