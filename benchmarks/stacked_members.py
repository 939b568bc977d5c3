"""What does a step of 32 energy-flow members cost as one stack, one after another, and on padded particles?

    python benchmarks/stacked_members.py [--members 32] [--jets 512] [--rounds 5] [--threads 1 2]
        [--page PAGE.md]

Members Phi 2-32-32-32, a sum over particles weighted by their momentum, F 32-32-32-32-1; cross-entropy; jets
of `lund_jets`, half of either class, a bootstrap sample of its own for each member. A step is the gathering
of the batch, the loss, its gradient and Adam (fused), for all members. In turns, in the same process:

- `stacked, grid`: what `ratios` with `particles` trains;
- `one by one, grid`: 32 stacks of one member, each with an optimiser of its own: the same arithmetic;
- `one by one, padded`: torch's own layers on every particle up to the largest number of them, absent ones
  with weight zero, as the summary network `energy_flow` does it. Particles lie at the centres of their cells.

All begin with the same weights and see the same batches, and their losses have to agree to 1e-5 in every
step. Asked for is that the stack is at least 3 times as fast as one by one, and that a fit of weights
(Newton, float64, bce) to the functions of 32 members at 20,000 events of each class takes at most 2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table_text import number, table
from torch import Tensor, nn
from torch.nn import functional

from veridical import seeds, tasks
from veridical.inference import ratio_weights
from veridical.networks.cells import Grid, as_rows, cells_of
from veridical.networks.fronts import EnergyFlowFront
from veridical.networks.stacked import StackedMLP

ROOT, POOL, SLOPE, RATE = 20261130, 4000, 0.2, 2e-3
GRID, ELEMENT, HIDDEN = Grid(41, 0.6, 0.01), (32, 32, 32), (32, 32, 32)
AGREE, TURNS = 1e-5, 4
Step = Callable[[], Tensor]


def rng(*path: str | int) -> np.random.Generator:
    """The generator of a named piece of work."""
    return seeds.generator(ROOT, "test", "stacked_members", *path)


def network(members: int) -> StackedMLP:
    """Members without weights."""
    front = EnergyFlowFront(members, GRID, ELEMENT, SLOPE)
    return StackedMLP(members, (ELEMENT[-1], *HIDDEN), SLOPE, "bce", front)


def optimiser(module: nn.Module) -> torch.optim.Optimizer:
    """As trainings have it."""
    return torch.optim.Adam(module.parameters(), lr=RATE, fused=True)


class Padded(nn.Module):
    """One member on all particles, (B, P, 3): weight, and the stretched angles of its cell."""

    def __init__(self, stack: StackedMLP, member: int) -> None:
        super().__init__()
        self.element, self.after = _layers(stack.front, member), _layers(stack, member)[:-1]

    def loss(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Cross-entropy."""
        x, first = torch.cat([numerator, denominator]), len(numerator)
        f = self.after((x[..., :1] * self.element(x[..., 1:])).sum(dim=1))[:, 0]
        return functional.softplus(-f[:first]).mean() + functional.softplus(f[first:]).mean()


def _layers(part: Any, member: int) -> nn.Sequential:
    found: list[nn.Module] = []
    for weight, bias in zip(part.weights, part.biases, strict=True):
        layer = nn.Linear(*weight.shape[1:], device="meta").to_empty(device="cpu")
        layer.load_state_dict({"weight": weight[member].T, "bias": bias[member, 0]})
        found += [layer, nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*found)


def stacked(stack: StackedMLP, events: list[Tensor], rows: list[Tensor]) -> Step:
    """A step of all members at once."""
    chosen = optimiser(stack)

    def step() -> Tensor:
        stack.zero_grad()
        losses = stack.accumulate(*(x[r] for x, r in zip(events, rows, strict=True)))
        chosen.step()
        return losses

    return step


def one_by_one(steps: list[Step]) -> Step:
    """The steps of members, one after another."""
    return lambda: torch.cat([step() for step in steps])


def padded(member: Padded, events: list[Tensor], rows: list[Tensor]) -> Step:
    """A step of one member on padded particles."""
    chosen = optimiser(member)

    def step() -> Tensor:
        chosen.zero_grad()
        loss = member.loss(*(x[r] for x, r in zip(events, rows, strict=True)))
        loss.backward()
        chosen.step()
        return loss.detach()[None]

    return step


def variants(members: int, jets: int) -> dict[str, Step]:
    """A step of each variant; they begin with the same weights and see the same jets."""
    task: Any = tasks.build({"name": "lund_jets"})
    sets = [task.draw(POOL, rng(cls), cls) for cls in task.classes]
    cells = [torch.from_numpy(x) for x in as_rows([cells_of(GRID, x[..., 0], x[..., 1:]) for x in sets])]
    most = max(int((x[..., 0] > 0).sum(axis=1).max()) for x in sets)
    particles = [_at_centres(np.nan_to_num(x[:, :most])) for x in sets]
    rows = [torch.from_numpy(rng("rows", c).integers(0, POOL, (members, jets // 2))) for c in (0, 1)]
    stack = network(members)
    stack.initialise([rng("weights", m) for m in range(members)])
    apart, wide = [], []
    for m in range(members):
        own, single = [each[m] for each in rows], network(1)
        single.take([stack.weights_of(m)])
        apart.append(stacked(single, cells, [each[None] for each in own]))
        wide.append(padded(Padded(stack, m), particles, own))
    return {
        "stacked, grid": stacked(stack, cells, rows),
        "one by one, grid": one_by_one(apart),
        "one by one, padded": one_by_one(wide),
    }


def _at_centres(x: np.ndarray) -> Tensor:
    at = GRID.stretched[GRID.locate(x[..., 1:])]
    return torch.from_numpy(np.concatenate([x[..., :1], at], axis=-1).astype(np.float32))


def measure(members: int, jets: int, rounds: int, threads: int) -> dict[str, Any]:
    """Milliseconds of a step of each variant, in turns of four, of which the first is not counted.

    What another variant leaves in caches and in the heap is gone after the first.
    """
    torch.set_num_threads(threads)
    steps = variants(members, jets)
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    off = 0.0
    for _ in range(rounds):
        losses = {}
        for name, step in steps.items():
            found = []
            for turn in range(TURNS):
                begun = time.perf_counter(), time.process_time()
                found.append(step())
                if turn:
                    wall[name].append(1e3 * (time.perf_counter() - begun[0]))
                    cpu[name].append(1e3 * (time.process_time() - begun[1]))
            losses[name] = torch.stack(found)
        first, *others = losses.values()
        off = max(off, *(float((each - first).abs().max()) for each in others))
    if off > AGREE:
        raise SystemExit(f"losses differ by {off:.2g}, expected at most {AGREE:g}")
    took = {
        name: {
            "wall": float(np.median(wall[name])),
            "least": min(wall[name]),
            "cpu": float(np.median(cpu[name])),
        }
        for name in steps
    }
    return {"members": members, "jets": jets, "threads": threads, "losses_off": off, "steps": took}


def weight_fit(members: int, events: int = 20_000) -> dict[str, Any]:
    """Seconds of a fit of weights to functions that scatter around one log ratio, as members do."""
    made = []
    for cls, sign in enumerate((1, -1)):
        generator = rng("functions", cls)
        truth = generator.normal(sign, 1.4, (events, 1))
        noise = 0.3 * generator.normal(size=(events, members))
        made.append(ratio_weights.Events.of(np.append(np.ones((events, 1)), truth + noise, axis=1)))
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        fit = ratio_weights.fit(*made, "bce")
        took.append(time.perf_counter() - begun)
    return {"members": members, "events": events, "seconds": min(took), "steps": fit.steps}


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    text = str(__doc__).strip().split("\n\n")
    cells = []
    for line in record["lines"]:
        ours = line["steps"]["stacked, grid"]
        for name, took in line["steps"].items():
            ratios = ["", ""] if took is ours else [f"{took[k] / ours[k]:.1f}" for k in ("wall", "cpu")]
            sizes = [str(line[k]) for k in ("members", "jets", "threads")]
            cells.append([*sizes, name, *(number(took[k]) for k in ("wall", "least", "cpu")), *ratios])
    header = [
        "members",
        "jets",
        "threads",
        "variant",
        "wall ms",
        "least",
        "CPU ms",
        "wall, by stacked",
        "CPU",
    ]
    fit, off = record["fit"], max(line["losses_off"] for line in record["lines"])
    found = (
        f"Losses agree to {off:.1g}. A fit of the weights of {fit['members']} members to {fit['events']:,} "
        f"events of each class takes {fit['seconds']:.2f} s, {fit['steps']} Newton steps."
    )
    made = (
        f"`{record['command']}` on {record['date']}: medians over {record['rounds']} rounds of three steps, "
        f"in turns, seed {ROOT}, {record['cores']} cores of {record['machine']}, load {record['load']:.1f} "
        f"before it began, so that other processes took their share of wall time; torch {record['torch']}, "
        f"numpy {record['numpy']}."
    )
    return "\n\n".join(["# Stacked members", *text[2:], table(header, cells), found, NOTES, made]) + "\n"


NOTES = """
The grid brings most of it. Members that share a stack instead of taking turns bring the rest, since each
operation is called once for a group and not for every member. On one thread that is less than the 3 that were
asked for: half of the time of one by one is arithmetic, which stacking leaves as it is. With two threads, on
cores that others use too, each operation waits for the slower one; whoever calls fewer waits less, but one
thread was faster for all.
""".strip()


def _processor() -> str:
    """Name of the processor, where the system tells it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Prints a line for each number of threads, and writes record and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--jets", type=int, nargs="+", default=[512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--page", type=Path)
    parser.add_argument("--kept", action="store_true", help="write the page of the kept record anew")
    options = parser.parse_args()
    kept = Path(__file__).with_suffix(".json")
    if options.kept:
        options.page.write_text(page(json.loads(kept.read_text())))
        return
    load, lines = os.getloadavg()[0], []
    for threads in options.threads:
        for jets in options.jets:
            lines.append(measure(options.members, jets, options.rounds, threads))
            print(json.dumps(lines[-1]), flush=True)
    torch.set_num_threads(1)
    fit = weight_fit(options.members)
    print(json.dumps(fit))
    given = f"--members {options.members} --jets {' '.join(map(str, options.jets))} --rounds {options.rounds}"
    given += f" --threads {' '.join(map(str, options.threads))}"
    record = {
        "command": f"python benchmarks/stacked_members.py {given}",
        "date": datetime.now().astimezone().date().isoformat(),
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "machine": _processor(),
        "load": load,
        **{name: version(name) for name in ("torch", "numpy")},
        "lines": lines,
        "fit": fit,
    }
    if options.page:
        kept.write_text(json.dumps(record, indent=1) + "\n")
        options.page.write_text(page(record))


if __name__ == "__main__":
    main()
