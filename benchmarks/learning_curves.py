"""How often forecasts of learning curves hold what more simulations bring, and how wide they are.

Simulated curves -b N^-g, g uniform in 0.2 .. 1.5, excess 0.1 .. 1.5 nats at the least budget, 500 test sets
whose luck (1.5 nats) all budgets share; trainings differ by `noise` at the least budget, falling as N^-1/4.
Writes docs/results/learning_curves.md.

    python benchmarks/learning_curves.py      3 minutes on one core
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from table_text import table

from veridical import seeds
from veridical.report import learning_curve

OUT = Path(__file__).parents[1] / "docs" / "results" / "learning_curves.md"
DESIGNS = ((4, 2), (4, 4), (5, 2), (6, 4))  # budgets, and the factor between them
NOISES, REPLICATES, CURVES, TESTS, ROOT = (0.005, 0.03, 0.1), (2, 3, 5), 200, 500, 2026


INTRODUCTION = """# Forecasts of learning curves

Written by `python benchmarks/learning_curves.py`, which says what is simulated: {curves} curves a line
(± 0.03). *Holds*: how often the 80 % interval for the gain of four times the largest budget holds it,
with its median width in nats. *N told*: how often the interval for the simulations that come within 0.05
nats of the limit is narrower than half a decade; *holds N*: how often it then holds them.

"""


def study(
    rng: np.random.Generator, budgets: np.ndarray, noise: float, replicates: int
) -> tuple[dict[int, dict[int, np.ndarray]], float, float]:
    """The log densities of one study, what four times the budget gains, and how many leave 0.05 nats."""
    rate, first = rng.uniform(0.2, 1.5), rng.uniform(0.1, 1.5)
    ratio = budgets / budgets[0]
    excess, luck = first * ratio**-rate, 1.5 * rng.normal(size=TESTS)
    found: dict[int, dict[int, np.ndarray]] = {}
    for n, left, spread in zip(budgets, excess, noise * ratio**-0.25, strict=True):
        common = luck - left + 0.3 * np.sqrt(left) * rng.normal(size=TESTS)
        own = (
            0.2 * np.sqrt(left) * rng.normal(size=TESTS) + spread * rng.normal() for _ in range(replicates)
        )
        found[int(n)] = {k: common + one for k, one in enumerate(own)}
    needed = budgets[-1] * (excess[-1] / learning_curve.MATTERS) ** (1 / rate)
    return found, excess[-1] * (1 - 4**-rate), needed


def line(count: int, factor: int, noise: float, replicates: int) -> list[str]:
    """One line of the table."""
    rng = seeds.generator(ROOT, "test", "learning curves", count, factor, str(noise), replicates)
    held, widths, told = [], [], []
    for _ in range(CURVES):
        densities, gain, needed = study(rng, 1000 * factor ** np.arange(count), noise, replicates)
        found = learning_curve.curve(densities)
        assert found is not None
        low, high = learning_curve.gain(found)
        held.append(low <= gain <= high)
        widths.append(high - low)
        if (ends := learning_curve.needed(found)) is not None:
            told.append(ends[0] <= needed <= ends[1])
    share = f"{np.mean(told):.2f}" if len(told) > 20 else ""
    cells = [f"{np.mean(held):.2f}", f"{np.median(widths):.3f}", f"{len(told) / CURVES:.2f}", share]
    return [str(count), str(factor), str(noise), str(replicates), *cells]


def main() -> None:
    lines = [line(*design, noise, k) for design in DESIGNS for noise in NOISES for k in REPLICATES]
    head = ["budgets", "factor", "noise", "replicates", "holds", "median width", "N told", "holds N"]
    text = INTRODUCTION.format(curves=CURVES) + table(head, lines) + "\n"
    OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
