"""What does the best family reach with 10,000 simulations in all, on the tasks of the published benchmark?

    python benchmarks/best_family.py [TASK ...] [--first 0] [--observations 3] [--page PAGE.md]

Of each observation, alone: `rounds` are four of `tsnpe` with 2,500 simulations each and an `ensemble` of
three members, and `corrected` is that weighted by the exact likelihood (`importance`), which asks it 20,000
times or more but simulates nothing. Observations, exact posteriors and C2ST are those of
`benchmarks/defaults.py`; of tasks that are not here its default `npe` reaches what is asked. Refused: the
correction's own word on weights that do not hold. Seconds are CPU seconds of one thread for an observation.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import defaults
import numpy as np
from sequential import rounds
from table_text import number, table

from veridical import seeds, tasks
from veridical.checks.two_sample import c2st
from veridical.estimators.base import TaskInfo
from veridical.estimators.tsnpe_settings import TSNPESettings
from veridical.inference.likelihoods import Exact
from veridical.remedies.importance import Importance
from veridical.remedies.importance_settings import CorrectionSettings

ASKED = {
    "two_moons": 0.53,
    "slcp": 0.72,
    "bernoulli_glm": 0.62,
    "gaussian_linear": 0.55,
    "gaussian_mixture": 0.56,
    "sir": 0.57,
    "lotka_volterra_counts": 0.65,
}
SETTINGS = {"rounds": 4, "rows": 2500, "posterior": {"type": "ensemble", "members": 3}}
STARTS, ROOT = 10_000, defaults.ROOT
Array = np.ndarray


def answered(name: str, x: Array, reference: Array, i: int) -> Iterator[dict[str, Any]]:
    """C2ST of each family at one observation."""
    task, spec = tasks.build(defaults.TASKS[name]), defaults.TASKS[name]
    begun = time.process_time()
    chosen = TSNPESettings.model_validate(SETTINGS)
    *_, (method, _) = rounds(task, chosen, x, ROOT, (name, i), STARTS)
    seed = seeds.integer(ROOT, "remedy", name, i)
    remedy = Importance(CorrectionSettings(of="tsnpe"), TaskInfo.of(task), method, Exact(spec), seed)
    for what, answer in (("rounds", method), ("corrected", remedy)):
        line: dict[str, Any] = {"task": name, "what": what, "observation": i}
        if not answer.standing(x[None]).refused:
            rng = seeds.generator(ROOT, "infer", name, what, i)
            draws = answer.sample(x[None], defaults.DRAWS, rng)[:, 0]
            line |= {"seconds": time.process_time() - begun}
            rng = seeds.generator(ROOT, "check", "defaults", i)
            found = c2st(reference[::2], draws, rng, folds=3, max_iterations=300, patience=20)
            line |= {"c2st": float(found.mean())}
        print(json.dumps(line), flush=True)
        yield line


def page(kept: list[dict[str, Any]]) -> str:
    """The record as Markdown."""
    text = str(__doc__).split("\n\n", 2)[2].strip()
    header = ["task", "", "C2ST", "asked of the best", "by observation", "refused", "s"]
    cells = []
    for name in ASKED:
        for what in dict.fromkeys(line["what"] for line in kept if line["task"] == name):
            lines = [line for line in kept if (line["task"], line["what"]) == (name, what)]
            found = [line["c2st"] for line in lines if "c2st" in line]
            error = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.nan
            cells.append(
                [
                    *(name, what, f"{np.mean(found):.3f} ± {error:.3f}" if found else "", str(ASKED[name])),
                    ", ".join(f"{value:.3f}" for value in found),
                    str(len(lines) - len(found)),
                    number(
                        float(np.median([line["seconds"] for line in lines if "seconds" in line] or [np.nan]))
                    ),
                ]
            )
    return "\n\n".join(["# The best family of 10,000 simulations", text, table(header, cells)]) + "\n"


def main() -> None:
    """Prints a line per answer, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", choices=[*ASKED, []])
    parser.add_argument("--first", type=int, default=0, help="observations before this one stay as they are")
    parser.add_argument("--observations", type=int, default=3)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text()) if options.page and record.is_file() else []
    for name in options.tasks or ASKED:
        task = tasks.build(defaults.TASKS[name])
        fresh = defaults.finite(task, "fresh", defaults.FRESH)
        for i in range(options.first, options.observations):
            reference, _ = defaults.exact(task, fresh.x[i].astype(float), i)
            found = [*answered(name, fresh.x[i], reference, i)]
            kept = [old for old in kept if (old["task"], old["observation"]) != (name, i)] + found
            if options.page:
                record.write_text(json.dumps(kept, indent=1) + "\n")
                options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
