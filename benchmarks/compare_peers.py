"""How soon are we as good as other toolboxes at their end, and how fast are draws?

    python benchmarks/compare_peers.py [--only ours sbi bayesflow] [--trial] [--page docs/results/peers.md]

Task `lotka_volterra_bf`: 5,556 simulations, of which every tenth is for validation, the same rows for all;
300 further ones as observations. Everyone sees the 20 numbers of x as they are, without a summary network,
and has its own defaults: sbi stops after 20 epochs without a better loss, BayesFlow takes 100 epochs at
batches of 32, with parameters mapped to unbounded ones and everything standardised. Where a limit of epochs
was set instead, the table says so. One thread each; seconds are CPU seconds after all imports.

A loss is the mean of -log q of the parameters in their own coordinates, in nats, over the validation rows.
Of peers it is taken after each epoch while the clock stands still; our looks are in our time. Our seconds
end with the first look at which our loss is the peer's or lower: the one it ends with, against its whole
training, and the best that it had, against its time until then. Losses of families that learn fields are no
densities, and looks at them are dear: there the points are whole trainings of ours with a 16th, a quarter
and all of the epochs, and the score is the loss by the ordinary equation, or, without a density
(consistency), the energy score of the draws, mean |theta - truth| - |theta - theta'| / 2 in standard
deviations of the prior.

What is chosen for this task, and no default, stands in the name of a line of ours: x through asinh, for it
has values 40 standard deviations off, and a peak rate of 1e-2; for flow matching four times the epochs.

Draws are 1,000 for each observation, without rejection outside of the prior; where the table says so they
were made for fewer observations and the seconds scaled up. Asked for: a tenth of the seconds of sbi's spline
flow and MAF, a twentieth of those of BayesFlow's coupling flow and flow matching.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import peer_tables
import tables
from peers import environment

from veridical import bank, methods, seeds, tasks
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe_settings import NPESettings
from veridical.networks import DENSITIES
from veridical.networks.density_settings import TRAINING
from veridical.training.session import Session

ROWS, OBSERVATIONS, DRAWS, ROOT = 5556, 300, 1000, 20261121
FIELDS = ("flow_matching", "diffusion", "consistency")  # of ours, whose losses are no densities
RECORD = Path(__file__).with_name("peers.json")
VARIANTS: dict[str, dict[str, Any]] = {  # of our settings; x of this task has values 40 sd off
    "default": {},
    "asinh, rate 1e-2": {"inputs": {"transform": "asinh"}, "training": {"learning_rate": 1e-2}},
    "240 epochs": {"training": {"epochs": 240}},
}
OF_FIELDS = {"flow_matching": "240 epochs"}  # others learn with the defaults alone
SHARES = (1 / 16, 1 / 4, 1.0)  # of their epochs
PEERS: dict[str, dict[str, dict[str, Any]]] = {  # family of the peer: ours, and what is not its default
    "sbi": {
        "zuko_nsf": {"ours": "spline"},
        "maf": {"ours": "maf"},
        "mdn": {"ours": "mixture"},
        "fmpe": {"ours": "flow_matching", "epochs": 200, "observations": 10},
        "npse": {"ours": "diffusion", "epochs": 200, "observations": 10},
    },
    "bayesflow": {
        "coupling": {"ours": "coupling"},
        "flow_matching": {"ours": "flow_matching", "observations": 3},
        "spline_coupling": {"ours": "spline", "epochs": 10},
        "diffusion": {"ours": "diffusion", "epochs": 20, "observations": 3},
        "consistency": {"ours": "consistency", "epochs": 20},
    },
}
Array = np.ndarray


def simulated() -> tuple[TaskInfo, dict[str, Array]]:
    """The task, and its rows to learn from, to validate on and to observe."""
    task = tasks.build({"name": "lotka_volterra_bf"})
    found: dict[str, Array] = {"bounds": task.bounds}
    held_back = bank.validation_mask(ROWS)
    for part, n in (("train", ROWS), ("test", OBSERVATIONS)):
        theta = task.prior.sample(seeds.generator(ROOT, "test", "peers", part, "theta"), n)
        noise = task.noise(seeds.generator(ROOT, "test", "peers", part, "noise"), n)
        x = tasks.as_arrays(task.simulate(theta, noise, "ode"))["x"].astype(task.x_dtype).reshape(n, -1)
        for name, rows in (("theta", theta), ("x", x)):
            if part == "test":
                found |= {f"{name}_test": rows}
            else:
                found |= {name: rows[~held_back], f"{name}_apart": rows[held_back]}
    return TaskInfo(task.name, task.parameter_names, task.bounds, ("",) * 4, found["x"].shape[1:]), found


class Watch:
    """Takes the place of the folder of a running training, and keeps the times of its looks alone."""

    folder = Path()

    def __init__(self) -> None:
        self.begun = time.perf_counter(), time.process_time()
        self.times: list[tuple[float, float]] = []

    def saved(self) -> None:
        """There is no state to go on from."""

    def due(self) -> bool:
        """Keeps the time; no state is wanted."""
        self.times.append(self.spent())
        return False

    def save(self, write: Any) -> None:
        """Keeps the time of the last look, after which the state is saved anyway."""
        self.due()

    def spent(self) -> tuple[float, float]:
        """Wall and CPU seconds so far."""
        return time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]


def ours(
    family: str, info: TaskInfo, rows: dict[str, Array], seed: int, threads: int, variant: str = "default"
) -> dict[str, Any]:
    """Trains one family of ours, once or in several lengths, and measures it at its defaults."""
    import veridical.training.loop  # noqa: F401  imports torch and Lightning before the clock starts
    from veridical.training.devices import cpu_threads

    mask = np.repeat([False, True], [len(rows["x"]), len(rows["x_apart"])])
    simulations = Rows(
        *(np.concatenate([rows[name], rows[f"{name}_apart"]]) for name in ("theta", "x")), mask
    )
    line: dict[str, Any] = {"tool": "veridical", "family": family, "variant": variant, "seed": seed}
    line["looks"] = []
    for share in SHARES if family in FIELDS else SHARES[-1:]:
        usual = TRAINING[family].get("epochs", NPESettings().training.epochs)
        whole = VARIANTS[variant].get("training", {}).get("epochs", usual)
        epochs = max(1, round(share * whole))
        spec = {"type": "npe", "summary": "none", "flow": family, **VARIANTS[variant]}
        spec["training"] = {**spec.get("training", {}), "epochs": epochs}
        watch = Watch()
        run = Session(ROOT, ("npe", family, seed), threads, watch)  # type: ignore[arg-type]
        estimator, result = methods.fit(spec, info, Material(simulations), run)
        spent = watch.spent()
        with cpu_threads(threads):
            found = measured(estimator, rows, share == SHARES[-1])
        score = found.get("apart", found.get("energy"))
        if family in FIELDS:
            line["looks"].append([*spent, score])
        else:
            each = [round["validation_loss"] for round in result.rounds]
            line["looks"] = [[*at, loss] for at, loss in zip(watch.times, each, strict=True)]
        line |= {"epochs": epochs, "seconds": spent[0], "cpu_seconds": spent[1], **found}
    return line


def measured(estimator: Any, rows: dict[str, Array], draw: bool) -> dict[str, Any]:
    """Scores of an estimator of ours, and seconds of its draws."""
    found: dict[str, Any] = {}
    if estimator.has_density:
        for part in ("apart", "test"):
            found[part] = float(-estimator.log_prob(rows[f"theta_{part}"], rows[f"x_{part}"]).mean())
    if draw or not estimator.has_density:
        rng = seeds.generator(ROOT, "infer", "peers")
        estimator.sample(rows["x_test"][:1], 1, rng)
        clock = Watch()
        draws = estimator.sample(rows["x_test"], DRAWS, rng)
        spent = clock.spent()
        found |= {"sample_seconds": spent[0], "sample_cpu_seconds": spent[1], "observations": OBSERVATIONS}
        found["energy"] = energy(draws, rows)
    return found


def theirs(
    tool: str, family: str, rows: dict[str, Array], seed: int, threads: int, trial: bool
) -> dict[str, Any]:
    """Has a peer train one of its families, in a process of its own."""
    known = PEERS[tool][family]
    observations, limit = known.get("observations", OBSERVATIONS), known.get("epochs")
    draws = DRAWS
    if trial:
        observations, limit, draws = min(observations, 3), 1, 20
    found, drawn = environment.fit(
        tool, family, rows, seed=seed, threads=threads, draws=draws, observations=observations, epochs=limit
    )
    line = {"tool": tool, "family": family, "seed": seed, "ours": known["ours"], "limit": limit}
    return line | found | {"observations": observations, "energy": energy(drawn, rows)}


def energy(draws: Array, rows: dict[str, Array]) -> float:
    """Mean energy score of draws (S, N, D) in standard deviations of the prior, each with one partner."""
    scale = rows["theta"].std(axis=0)
    truth = rows["theta_test"][: draws.shape[1]]
    off = np.linalg.norm((draws - truth) / scale, axis=-1).mean()
    return float(off - np.linalg.norm((draws - draws[::-1]) / scale, axis=-1).mean() / 2)


def fits(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Makes the lines that were asked for: ours one after the other, those of peers beside them."""
    info, rows = simulated()

    def wanted(known: Iterable[str]) -> list[str]:
        return [family for family in known if family in (options.families or known)]

    def all_of_ours(seed: int) -> list[dict[str, Any]]:
        plain = [(family, "default") for family in wanted(DENSITIES)]
        others = [(f, "asinh, rate 1e-2") for f in wanted(DENSITIES) if f not in FIELDS]
        others += [(f, OF_FIELDS[f]) for f in wanted(OF_FIELDS)]
        return [ours(family, info, rows, seed, options.threads, v) for family, v in plain + others]

    def one_of_theirs(tool: str, family: str, seed: int) -> list[dict[str, Any]]:
        return [theirs(tool, family, rows, seed, options.threads, options.trial)]

    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(all_of_ours, seed) for seed in range(options.seeds) if "ours" in options.only]
        for tool in [tool for tool in PEERS if tool in options.only]:
            for family in wanted(PEERS[tool]):
                waiting += [pool.submit(one_of_theirs, tool, family, seed) for seed in range(options.seeds)]
        for done in as_completed(waiting):
            yield from done.result()


def main() -> None:
    """Prints a line per fit, and keeps them in the record, from which the page is written anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=["ours", *PEERS], default=["ours", *PEERS])
    parser.add_argument("--families", nargs="+", help="of any of them; else all")
    parser.add_argument("--trial", action="store_true", help="one epoch of peers, few draws, no record")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="fits at a time")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    environment.python()
    kept = json.loads(RECORD.read_text())["lines"] if RECORD.is_file() and not options.trial else []
    made = tables.made([sys.executable, *sys.argv])
    for line in fits(options):
        print(json.dumps({key: value for key, value in line.items() if key != "looks"}), flush=True)
        kept = [old for old in kept if key_of(old) != key_of(line)] + [line]
        kept.sort(key=key_of)
        record = {**made, "jobs": options.jobs, "threads": options.threads, "lines": kept}
        if not options.trial:
            RECORD.write_text(json.dumps(record, indent=1) + "\n")
        if options.page:
            options.page.write_text(peer_tables.page(str(__doc__), record))


def key_of(line: dict[str, Any]) -> tuple[int, int, int, int]:
    """Where a line stands: ours first, families and variants in the order of their tables."""
    known = {"veridical": [*DENSITIES], **{tool: [*families] for tool, families in PEERS.items()}}
    variant = [*VARIANTS].index(line.get("variant", "default"))
    return [*known].index(line["tool"]), known[line["tool"]].index(line["family"]), variant, line["seed"]


if __name__ == "__main__":
    main()
