"""What do scores cost a step of a ratio's training?

    python benchmarks/score_overhead.py [--side 16] [--batch 256] [--blocks 30] [--page PAGE.md]

Steps of the whole optimiser, without scores and with them (`last_layer`, a look at gradients every 20 steps),
on random data of the shape of the Gaussian field: 20 of one kind, then 20 of the other, and so on, one thread
of a CPU. `ratio` is that of the medians of their CPU times, in brackets quartiles of ratios of neighbours.
`summary` is what x passes through once, `contrasts` how many other parameters each x meets in the head,
`share` that of the rows whose slopes are looked at. Asked for is a ratio of at most 1.1 with a network of
convolutions, `auto`.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table_text import table

from veridical import artifacts, seeds, tasks
from veridical.estimators.base import TaskInfo
from veridical.estimators.nre import NRE
from veridical.estimators.nre_settings import NRESettings
from veridical.estimators.scored import Scored
from veridical.networks.trainable import Trainable
from veridical.training.session import Steps
from veridical.training.step import Step

LOOK = 20  # steps of a block: one look at the gradients
CASES: list[tuple[str, int, float]] = [
    ("auto", 1, 1.0),
    ("auto", 1, 0.5),
    ("auto", 1, 0.25),
    ("auto", 60, 1.0),
    ("mlp", 1, 1.0),
    ("mlp", 1, 0.25),
    ("none", 1, 1.0),
]


def stepper(network: Trainable, settings: NRESettings, batch: int) -> Step:
    """The steps of a training of many."""
    plan = Steps.of(1000 * batch, settings.training.model_copy(update={"batch_size": batch, "epochs": 1}))
    return Step(network, plan, settings.training, [0.0])


def seconds(step: Step, parts: tuple[torch.Tensor, ...]) -> float:
    """CPU seconds of one step, mean over a block."""
    begun = time.process_time()
    for _ in range(LOOK):
        step(*parts)
    return (time.process_time() - begun) / LOOK


def measured(
    summary: str, contrasts: int, share: float, side: int, batch: int, blocks: int
) -> dict[str, Any]:
    """One line: milliseconds of a step without and with scores, and their ratio."""
    loss = "binary" if contrasts == 1 else "contrastive"
    task = tasks.build({"name": "gaussian_field", "settings": {"side": side}})
    settings = NRESettings(summary=summary, loss=loss, contrasts=contrasts, scores={"share": share})
    rng = seeds.generator(20261130, "test", "score_overhead")
    shapes = (batch, 2), (batch, side, side), (batch, 2)
    z, x, score = (torch.from_numpy(rng.standard_normal(shape, np.float32)) for shape in shapes)
    with torch.random.fork_rng(devices=[]):
        network = NRE.build(settings, TaskInfo.of(task))
    plain = stepper(copy.deepcopy(network), settings, batch)
    own = stepper(Scored(network, settings.scores, np.ones(2)), settings, batch)
    times = np.array([(seconds(plain, (z, x)), seconds(own, (z, x, score))) for _ in range(blocks + 2)])[2:]
    without, with_scores = 1e3 * np.median(times, axis=0)
    near = np.quantile(times[:, 1] / times[:, 0], [0.25, 0.75])
    line = {"summary": summary, "contrasts": contrasts, "share": share, "side": side, "batch": batch}
    line |= {"plain_ms": without, "scores_ms": with_scores, "ratio": with_scores / without}
    return line | {"lower": near[0], "upper": near[1]}


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    text = str(__doc__).strip().split("\n\n")
    cells = [
        [
            line["summary"],
            *(str(line[k]) for k in ("contrasts", "share", "side", "batch")),
            *(f"{line[k]:.2f}" for k in ("plain_ms", "scores_ms")),
            f"{line['ratio']:.2f} ({line['lower']:.2f} to {line['upper']:.2f})",
        ]
        for line in record["lines"]
    ]
    header = ["summary", "contrasts", "share", "side", "batch", "without, ms", "with scores, ms", "ratio"]
    made = f"Made {record['date']} by `{record['command']}`, {record['versions']}."
    return "\n\n".join(["# What scores cost a step", *text[2:], table(header, cells), made]) + "\n"


def main() -> None:
    """Prints a line per network, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for case in CASES:
        found = measured(*case, options.side, options.batch, options.blocks)
        lines.append({k: round(float(v), 4) if isinstance(v, float) else v for k, v in found.items()})
        print(json.dumps(lines[-1]), flush=True)
    sizes = f"--side {options.side} --batch {options.batch} --blocks {options.blocks}"
    record = {"command": f"python benchmarks/score_overhead.py {sizes}", "date": time.strftime("%Y-%m-%d")}
    record |= {
        "versions": ", ".join(f"{name} {version}" for name, version in artifacts.versions().items()),
        "lines": lines,
    }
    if options.page:
        Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
        options.page.write_text(page(record))


if __name__ == "__main__":
    main()
