"""What do 10, 50, 200 labelled pairs buy, by regression, recalibration, stacking, beside the exact answer?

    python benchmarks/remedies_with_labels.py [TASK ...] [--pairs 50 --pairs 200] [--sets 3]
        [--methods METHOD ...] [--parents results/rope_pendulum/train] [--regions 1000] [--page PAGE.md]

`npe` has learned from simulations that are wrong (`gaussian_chain`: 20,000; `pendulum` without friction:
100,000), `npe distorted` from the same series under random gains, offsets and noise; each set of pairs is
new, and so are the 1,000 test rows of the real process. LPP is the mean log density at their true parameters;
50 % and 90 % regions are those of highest density, by 300 draws. Each number is the mean over sets of pairs,
then each of them. Calibrated on n pairs, a share of 90 % varies between sets with a standard deviation of
0.08 (n = 10), 0.04 (50) and 0.02 (200), whatever the method. A coverage without the LPP beside it says
little: a wide answer covers too.

*In base space* is `recalibrated` with `space: base`; `moments` regresses on what `npe` believes, on the
pendulum beside it on what `npe distorted` does; `cross_j_npe` goes on from the last of the `npe`; `stacked`
is of `moments recalibrated`, `ridge` and the last of the `npe`, `stacked cross` of `moments` and
`cross_j_npe`. Seconds are CPU seconds of one thread for a fit, components not included. Asked for, with 200
pairs: on the chain `moments recalibrated` within 0.2 nats of the exact posterior; on the pendulum at least
-0.9 in each set, mixtures at least -0.4 on average; 0.87 to 0.93 in 90 % regions on average; mixtures at
most 0.05 below their best component. The prior, which they mix in too, is worth -3.35 on the pendulum.

Lines *of a study* are of the posteriors `npe` and `npe_distorted` of the study `rope_pendulum` (replicate 1)
in place of new ones: as many simulations and the same networks, up to 4,000 steps at a peak rate of 5e-3.
Their regions are those of the first 100 test rows, by 100 draws (standard error 0.03), their LPP of all.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from table_text import table

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.bank.blocks import Simulator
from veridical.checks.coverage import hpd_levels
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.tasks.gaussian_chain import GaussianChain
from veridical.training.session import Session

ROOT = 20261130
HIDDEN = {"gaussian_chain": [64, 64], "pendulum": [256, 256, 128]}
SIMULATIONS = {"gaussian_chain": 20_000, "pendulum": 100_000}
TRAINING: dict[str, dict[str, Any]] = {
    "gaussian_chain": {"epochs": 8},
    "pendulum": {
        "epochs": 60,
        "max_steps": 3500,
        "batch_size": 256,
        "learning_rate": 3e-3,
        "weight_decay": 0.0,
        "patience": 100,
    },
}
NPE, DISTORTED, CROSS = "npe", "npe distorted", "cross_j_npe"
SPECS: dict[str, tuple[dict[str, Any], list[str]]] = {  # settings, and the methods of `of` and `beside`
    "ridge": ({"type": "ridge"}, []),
    "npe distorted in base space": ({"type": "recalibrated", "space": "base"}, [DISTORTED]),
    "moments of npe": ({"type": "moments"}, [NPE]),
    "moments": ({"type": "moments"}, [NPE, DISTORTED]),
    "moments recalibrated": ({"type": "recalibrated"}, ["moments"]),
    "stacked": ({"type": "stacked"}, ["moments recalibrated", "ridge", DISTORTED]),
    CROSS: ({"type": "cross_j_npe"}, [DISTORTED]),
    "stacked cross": ({"type": "stacked"}, ["moments", CROSS]),
}
SERIES = ("pendulum",)  # tasks that have an `npe distorted`
OF_STUDY = ", of a study"  # after the name of a task whose posteriors are those of a study
Array = np.ndarray


def rows(task: tasks.Task, level: str, n: int, *path: str | int) -> Rows:
    """Rows of one level, in the precision of a bank."""
    theta = task.prior.sample(seeds.generator(ROOT, "test", "remedies", task.name, *path, "theta"), n)
    noise = task.noise(seeds.generator(ROOT, "test", "remedies", task.name, *path, "noise"), n)
    x = np.asarray(task.simulate(theta, noise, level)).astype(task.x_dtype)
    return Rows(theta, x, np.zeros(n, bool))


def simulator_of(task: tasks.Task) -> str:
    """The dearest level that is not the real process."""
    return [name for name in task.fidelities if name != "real"][-1]


def simulated(task: tasks.Task) -> dict[str, Estimator]:
    """The posteriors that have learned from simulations alone."""
    n = SIMULATIONS[task.name]
    found = rows(task, simulator_of(task), n, "train")
    material = Material(Rows(found.theta, found.x, bank.validation_mask(n)), prior=task.prior)
    summary = {"type": "mlp", "hidden": HIDDEN[task.name], "features": 10}
    training = TRAINING[task.name]
    spec: dict[str, Any] = {"type": "npe", "summary": summary, "training": training}
    specs = {NPE: spec}
    if task.name in SERIES:
        specs[NPE] = spec = spec | {"base": "none", "flow": {"transforms": 3, "bins": 8, "hidden": [64, 64]}}
        distorted = training | {"augment": {"type": "local_distortions"}}
        specs[DISTORTED] = spec | {"inputs": {"transform": "squash"}, "training": distorted}
    return {
        name: methods.fit(each, TaskInfo.of(task), material, Session(ROOT, (name, 0)))[0]
        for name, each in specs.items()
    }


def of_study(folder: Path, run: str) -> dict[str, Estimator]:
    """The posteriors of a study of a series, from its folder `train`."""
    names = {NPE: "npe", DISTORTED: "npe_distorted"}
    return {name: artifacts.load_estimator(folder / each / run) for name, each in names.items()}


def specs_of(task: str) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """The methods of a task, each by what there is to build on."""
    if task in SERIES:
        return SPECS
    known = {
        name: (spec, list(dict.fromkeys(NPE if one == DISTORTED else one for one in above)))
        for name, (spec, above) in SPECS.items()
    }
    return {name.replace(DISTORTED, NPE): one for name, one in known.items() if name != "moments of npe"}


def asked(wanted: set[str], specs: dict[str, tuple[dict[str, Any], list[str]]]) -> set[str]:
    """These methods and all that they build on."""
    above = {other for name in wanted & {*specs} for other in specs[name][1]}
    return wanted if above <= wanted else asked(wanted | above, specs)


def fitted(
    task: tasks.Task, simulated: dict[str, Estimator], pairs: Rows, number: int, wanted: set[str]
) -> Iterator[tuple[str, Estimator, float]]:
    """Each method that learns from pairs and is wanted, or needed by one that is, with its seconds."""
    made, specs = dict(simulated), specs_of(task.name)
    needed = asked(wanted or {*specs}, specs)
    for name, (spec, above) in specs.items():
        if name not in needed:
            continue
        parents = [made[other] for other in above]
        named = {"of": above[0]} if above else {}
        named |= {"beside": above[1:]} if above[1:] else {}
        material = Material(
            calibration=pairs,
            parent=parents[0] if parents else None,
            beside=parents[1:],
            prior=task.prior,
            simulate=Simulator(task, simulator_of(task)),
        )
        begun = time.process_time()
        made[name], _ = methods.fit(
            {**spec, **named}, TaskInfo.of(task), material, Session(ROOT, (name, number))
        )
        yield name, made[name], time.process_time() - begun


def judged(estimator: Estimator, test: Rows, draws: int, number: int, regions: int) -> dict[str, float]:
    """Log density at the truths of test rows, and coverage at those of the first of them."""
    _, log_p = estimator.sample_and_log_prob(
        test.x[:regions], draws, seeds.generator(ROOT, "infer", "remedies", number)
    )
    at_truth = estimator.log_prob(test.theta, test.x)
    assert log_p is not None
    levels = hpd_levels(log_p, at_truth[:regions], seeds.generator(ROOT, "check", "remedies", number))
    shares = {f"hpd{share}": float((levels <= share / 100).mean()) for share in (50, 90)}
    return {"lpp": float(at_truth.mean()), **shares}


def compare(
    task: tasks.Task,
    simulated: dict[str, Estimator],
    n: int,
    sets: int,
    test_rows: int,
    draws: int,
    wanted: set[str],
    regions: int,
) -> Iterator[dict[str, Any]]:
    """Lines of one task and number of pairs, 0 for what needs none: the exact posterior, and each method."""
    found = dict[str, list[dict[str, float]]]()
    for number in range(sets):
        pairs, test = rows(task, "real", n, "pairs", number), rows(task, "real", test_rows, "test", number)
        if isinstance(task, GaussianChain) and not n:
            lpp = float(task.posterior_log_prob(test.theta, test.x, "real").mean())
            found.setdefault("exact", []).append({"lpp": lpp})
        known = ((name, one, 0.0) for name, one in simulated.items())
        for method, estimator, seconds in fitted(task, simulated, pairs, number, wanted) if n else known:
            line = judged(estimator, test, draws, number, regions) | {"seconds": seconds}
            print(
                json.dumps({"task": task.name, "pairs": n, "set": number, "method": method, **line}),
                flush=True,
            )
            found.setdefault(method, []).append(line)
    for method, lines in found.items():
        each = {key: [round(line[key], 4) for line in lines] for key in lines[0]}
        yield {"task": task.name, "pairs": n, "method": method, **each}


def spread(values: list[float] | None, digits: int) -> str:
    """A mean, with each of the values."""
    if not values:
        return ""
    return f"{np.mean(values):.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})"


def page(lines: list[dict[str, Any]]) -> str:
    """The record as Markdown."""
    header = ["task", "pairs", "method", "LPP", "in 90 % regions", "in 50 % regions", "fit, s"]
    cells = [
        [
            line["task"],
            str(line["pairs"] or ""),
            line["method"],
            spread(line["lpp"], 2),
            spread(line.get("hpd90"), 3),
            spread(line.get("hpd50"), 3),
            f"{np.mean(line['seconds']):.1f}" if line["pairs"] and "seconds" in line else "",
        ]
        for line in lines
    ]
    text = str(__doc__).split("\n\n", 2)[2].strip()
    return "\n\n".join(["# Remedies with labels", text, table(header, cells)]) + "\n"


def main() -> None:
    """Measures, prints a line per fit, and writes record and page where a page is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", choices=[*HIDDEN, []])
    parser.add_argument("--pairs", type=int, action="append")
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=[], help="these, and what they build on; else all")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--regions", type=int, default=1000, help="test rows whose regions are asked for")
    parser.add_argument("--parents", type=Path, help="folder `train` of a study, whose posteriors to take")
    parser.add_argument("--run", default="n100000-r1", help="of that study")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    tasks_of = [*HIDDEN, *(name + OF_STUDY for name in SERIES)]
    order = list(dict.fromkeys(["exact", NPE, DISTORTED, *SPECS, *specs_of("gaussian_chain")]))
    for name in options.tasks or HIDDEN:
        task = tasks.build({"name": name})
        made = of_study(options.parents, options.run) if options.parents else simulated(task)
        for n in options.pairs or (0, 200, 50, 10):
            about = options.sets, options.rows, options.draws, {*options.methods}, options.regions
            for line in compare(task, made, n, *about):
                line["task"] += OF_STUDY if options.parents else ""
                place = ("task", "pairs", "method")
                kept = [old for old in kept if any(old[key] != line[key] for key in place)] + [line]
            kept.sort(key=lambda one: (tasks_of.index(one["task"]), one["pairs"], order.index(one["method"])))
            if options.page:
                record.write_text(json.dumps(kept, indent=1) + "\n")
                options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
