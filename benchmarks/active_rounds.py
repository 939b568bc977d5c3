"""Are half as many dear runs enough at one observation, if rounds begin with a cheap network and acquire?

    python benchmarks/active_rounds.py [--seeds 3] [--observations 5] [--runs 100] [--methods METHOD ...]
        [--page docs/results/active_rounds.md]

`ornstein_uhlenbeck` with two parameters, whose exact posterior is known on a grid of 120 x 80 cells; `lf` is
the cheap level, `hf` the dear one. Networks are those of the study `multifidelity_ou`: the cheap `npe` learns
from 10,000 rows of `lf`, another one for each seed, and members are five. `tsnpe` has three rounds, with 40,
30 and 30 % of the dear runs; `npe` learns once for all observations. Methods called *mf* begin with the cheap
network, in each round; *active* ones take a fifth of the rows of further rounds by disagreement.

*KL* is that of the exact posterior at the observation from the density that the last network gives there,
E[log p - log q] in nats: the excess of the mean negative log density at parameters of the exact posterior.
*C2ST* is the best that any classifier could tell the answer, cut to its regions, from the exact posterior,
1/2 + sum |p - q| / 4 over cells. *Lost* is how much of the exact posterior lies outside these regions, where
no answer is given.

A number is the mean over observations and seeds, with the standard error of the means of the seeds. Paired
differences are those at one seed and observation, with their standard error over both; all methods share
observations. *Stopped* counts chains whose next answer leaked more than 20 % out of its regions, and which
count with the round before. Seconds are CPU seconds of one thread for a chain, without the cheap network.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sequential import rounds
from table_text import number, table

from veridical import artifacts, bank, seeds, tasks
from veridical.bank.blocks import simulate_at
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.tsnpe import TSNPE
from veridical.estimators.tsnpe_settings import TSNPESettings
from veridical.study import settings
from veridical.training.session import Session

STUDY = Path(__file__).parents[1] / "config/multifidelity_ou.yaml"
TASK = tasks.build({"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}})
ROOT, STARTS, CHEAP, MEMBERS = 20261201, 20_000, 10_000, 5
PARTS = (0.4, 0.3, 0.3)  # of the dear runs, in each round
# What differs between methods: times the dear runs, and settings of the rounds.
ONE, CHEAPLY = {"rounds": 1}, {"start": "low_only"}
MANY, ACTIVE = {"members": MEMBERS}, {"acquisition": "disagreement", "share": 0.2}
METHODS: dict[str, tuple[int, dict[str, Any]]] = {
    "npe": (1, ONE),
    "npe, 4 times": (4, ONE),
    "mf npe": (1, {**ONE, **CHEAPLY}),
    "tsnpe": (1, {}),
    "tsnpe, twice": (2, {}),
    "tsnpe, 4 times": (4, {}),
    "tsnpe members, twice": (2, MANY),
    "mf tsnpe": (1, CHEAPLY),
    "mf tsnpe members": (1, {**CHEAPLY, **MANY}),
    "active": (1, {**CHEAPLY, **MANY, **ACTIVE}),
    "active uncorrected": (1, {**CHEAPLY, **MANY, **ACTIVE}),
}
PAIRS = [
    ("mf tsnpe", "tsnpe, twice"),
    ("active", "tsnpe, twice"),
    ("active", "tsnpe members, twice"),
    ("active", "mf tsnpe members"),
]
Array = np.ndarray


def network(name: str) -> dict[str, Any]:
    """The settings of a network of the study, without what places it there."""
    given = settings.load(STUDY).methods[name].model_dump()
    return {key: value for key, value in given.items() if key not in ("start", "budgets", "fidelity")}


def chosen(name: str, runs: int) -> TSNPESettings:
    """The rounds of a method."""
    times, own = METHODS[name]
    told = {key: value for key, value in own.items() if key != "members"}
    rows = [runs * times] if "rounds" in own else [round(part * runs * times) for part in PARTS]
    posterior = network("npe")
    if "members" in own:
        posterior = {"type": "ensemble", "members": own["members"], "member": posterior}
    return TSNPESettings(**{"rounds": len(rows), "rows": rows, "posterior": posterior, **told})


@cache
def cheap(seed: int) -> NPE:
    """The network of the cheap level."""
    rng = seeds.generator(ROOT, "test", "cheap", seed)
    theta = TASK.prior.sample(rng, CHEAP)
    x = simulate_at(TASK, theta, "lf", ROOT, "nearby", "cheap", seed).arrays["x"]
    rows = Rows(theta, x, bank.validation_mask(CHEAP))
    spec = NPESettings(**network("low_only"))
    material = Material(rows, prior=TASK.prior)
    return NPE.fit(spec, TaskInfo.of(TASK), material, Session(ROOT, ("low_only", seed)))[0]


def observed(n: int) -> Array:
    """Observations of the dear level, (n, 10)."""
    theta = TASK.prior.sample(seeds.generator(ROOT, "test", "observed"), n)
    return np.asarray(simulate_at(TASK, theta, "hf", ROOT, "nearby", "observed").arrays["x"])


def judged(method: TSNPE, x: Array) -> dict[str, float]:
    """How far an answer at x (10,) is from the exact posterior."""
    centres, area = TASK.grid()  # type: ignore[attr-defined]
    at = centres[:, None], x[None].astype(float)
    log_p = TASK.posterior_log_prob(*at)[:, 0]  # type: ignore[attr-defined]
    p = np.exp(log_p) * area
    p /= p.sum()
    log_q, cut = method.posterior.log_prob(*at)[:, 0], method.log_prob(*at)[:, 0]
    kl = float(np.sum(p * (np.where(p > 0, log_p, 0.0) - log_q), where=p > 0))
    q = np.exp(cut) * area
    return {
        "kl": kl,
        "c2st": 0.5 + 0.25 * float(np.abs(p - q).sum()),
        "lost": float(p[~np.isfinite(cut)].sum()),
    }


def run(name: str, seed: int, data: Array, runs: int) -> Iterator[dict[str, Any]]:
    """One line for each observation; a method of one round learns once for all."""
    spec = chosen(name, runs)
    start: Estimator | None = cheap(seed) if spec.start else None
    local = spec.rounds > 1
    for i, x in enumerate(data):
        if local or not i:
            begun, stopped, method = time.process_time(), 0, None
            path = ("active rounds", seed, i) if local else ("active rounds", seed)
            try:
                plain = name.endswith("uncorrected")
                for found, _ in rounds(TASK, spec, x, ROOT, path, STARTS, start, uncorrected=plain):
                    method = found
            except TrainingError as error:
                if "outside the region" not in str(error) or method is None:
                    raise
                stopped = 1
            spent = time.process_time() - begun
        assert method is not None
        line = {"method": name, "seed": seed, "observation": i, "runs": sum(spec.round_rows)}
        yield {**line, **judged(method, x), "stopped": stopped, "seconds": spent}


def spread(values: Array) -> str:
    """A mean over seeds (rows) and observations, and its standard error over seeds."""
    error = values.mean(axis=1).std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {error:.3f}"


def by_place(lines: list[dict[str, Any]], name: str, key: str) -> Array:
    """Numbers of one method, (seeds, observations)."""
    own = sorted((line["seed"], line["observation"], line[key]) for line in lines if line["method"] == name)
    return np.reshape([value for *_, value in own], (len({seed for seed, *_ in own}), -1))


def page(kept: dict[str, Any]) -> str:
    """The record as Markdown, of the methods that all seeds have come to."""
    lines, counts = kept["lines"], Counter(line["method"] for line in kept["lines"])
    names = [name for name in METHODS if counts[name] == max(counts.values())]
    header = ["method", "dear runs", "KL, nats", "C2ST", "lost", "stopped", "CPU s"]
    cells = []
    for name in names:
        found = {
            key: by_place(lines, name, key) for key in ("runs", "kl", "c2st", "lost", "stopped", "seconds")
        }
        cells.append(
            [
                *(name, str(int(found["runs"].flat[0])), spread(found["kl"]), spread(found["c2st"])),
                *(number(float(found["lost"].mean()), 2), str(int(found["stopped"].sum()))),
                number(float(found["seconds"].mean())),
            ]
        )
    told = [table(header, cells), "## Paired differences of KL", table(*compared(lines, names))]
    text = str(__doc__).split("\n\n", 2)[2].strip()
    about = kept["about"]
    made = f"Made on {about['date']} by `{about['command']}`, root seed {ROOT}, with " + ", ".join(
        f"{name} {version}" for name, version in about["versions"].items()
    )
    return "\n\n".join(["# Rounds that begin cheaply and acquire", text, *told, f"{made}."]) + "\n"


def compared(lines: list[dict[str, Any]], names: list[str]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the differences between methods."""
    cells = []
    for one, other in PAIRS:
        if {one, other} <= {*names}:
            gap = by_place(lines, one, "kl") - by_place(lines, other, "kl")
            error = gap.std(ddof=1) / np.sqrt(gap.size)
            cells.append([one, other, f"{gap.mean():+.3f} ± {error:.3f}", f"{(gap < 0).mean():.0%}"])
    return ["method", "beside", "difference", "lower in"], cells


def main() -> None:
    """Prints a line per chain, and keeps them beside the page, which it writes where one is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--observations", type=int, default=5)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=[*METHODS])
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record, data = Path(__file__).with_suffix(".json"), observed(options.observations)
    lines = json.loads(record.read_text())["lines"] if options.page and record.is_file() else []
    command = f"benchmarks/active_rounds.py --seeds {options.seeds} --observations {options.observations}"
    about = {
        "command": f"{command} --runs {options.runs}",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": artifacts.versions(),
    }
    for seed in range(options.seeds):
        for name in options.methods:
            found = list(run(name, seed, data, options.runs))
            print("\n".join(map(json.dumps, found)), flush=True)
            lines = [old for old in lines if (old["method"], old["seed"]) != (name, seed)] + found
            if options.page:
                kept = {"about": about, "lines": lines}
                record.write_text(json.dumps(kept, indent=1) + "\n")
                options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
