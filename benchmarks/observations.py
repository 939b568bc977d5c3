"""Writes config/data/benchmark/TASK.csv: five observations of each of the seven published tasks.

    python benchmarks/observations.py

They are simulations of the project's own at draws of the prior, whose parameters stand beside them; the first
rows of `benchmarks/defaults.py` are others.
"""

from __future__ import annotations

from pathlib import Path

from defaults import ROOT, TASKS

from veridical import seeds, tasks

ROWS = 5
FOLDER = Path(__file__).parents[1] / "config" / "data" / "benchmark"


def text(name: str) -> str:
    """The file of one task: a column per number of x, a row per observation."""
    task = tasks.build(TASKS[name])
    theta = task.prior.sample(seeds.generator(ROOT, "test", "observations", name, "theta"), ROWS)
    noise = task.noise(seeds.generator(ROOT, "test", "observations", name, "noise"), ROWS)
    x = tasks.as_arrays(task.simulate(theta, noise, [*task.fidelities][-1]))["x"].astype(task.x_dtype)
    flat = x.reshape(ROWS, -1)
    lines = [f"# {ROWS} simulations of task {name}, made by benchmarks/observations.py, at the parameters"]
    lines += [f"# {', '.join(task.parameter_names)}:"]
    lines += [f"# {', '.join(f'{value:.4g}' for value in row)}" for row in theta]
    lines += [",".join(f"x_{i}" for i in range(flat.shape[1]))]
    return "\n".join([*lines, *(",".join(map(str, row)) for row in flat)]) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for one in TASKS:
        (FOLDER / f"{one}.csv").write_text(text(one), encoding="utf-8")
