"""The learning curve: quality against the number of simulations, with the spread over repeats.

Data: `metric` (name, label, `lower_is_better`) and `curves` (label, `repeats`, `budget`, `mean`, `stderr`,
`points`: budget and value of every replicate).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from veridical.evidence import metrics
from veridical.evidence.metrics import Row
from veridical.evidence.numbers import rounded
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources

# What is shown: the first of these that every budget has; and whether lower is better.
METRICS = (
    ("nltp", "surprise at the true parameters (NLTP)", True),
    ("lpp", "log density at the true parameters (LPP)", False),
    ("nrmse", "typical error of a draw, in prior ranges (NRMSE)", True),
)
MATTERS_NATS = 0.05  # a change of NLTP or LPP below this matters to nobody
MATTERS_SHARE = 0.02  # likewise for a relative change of NRMSE


class Learning(Figure):
    """Quality on simulated data against the budget, where there are several budgets."""

    section = "training"
    heading = "Would more simulations help?"
    leads = True
    read = (
        "The same method trained on fewer and on more simulations, judged on simulated data. Dots are "
        "repeats, lines their mean. A curve that still moves at its right end says that more simulations "
        "would help."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        yield Found((sources.rows,))

    def data(self, rows: Sequence[Row]) -> dict[str, Any] | None:
        """Returns a curve per method; None where there is only one budget."""
        for name, label, lower_is_better in METRICS:
            found = metrics.select(rows, metric=name, dataset="simulated")
            budgeted = [r for r in found if r["budget"] is not None]
            curves = [_curve(budgeted, method) for method in sorted({r["method"] for r in budgeted})]
            curves = [curve for curve in curves if len(curve["budget"]) > 1]
            if curves:
                metric = {"name": name, "label": label, "lower_is_better": lower_is_better}
                return {"metric": metric, "curves": curves}
        return None

    def draw(self, data: Data) -> Drawn:
        from matplotlib.ticker import NullFormatter, NullLocator

        made, axes = style.figure(height=3.2, width=6.4)
        ax = axes[0, 0]
        for index, curve in enumerate(data["curves"]):
            look, points = style.nth(index), curve["points"]
            error = [0.0 if e is None else e for e in curve["stderr"]]
            ax.errorbar(curve["budget"], curve["mean"], yerr=error, capsize=3, label=curve["label"], **look)
            ax.plot(points["budget"], points["value"], "o", color=look["color"], alpha=0.45, markersize=5)
        ax.set_xscale("log")
        budgets = sorted({b for curve in data["curves"] for b in curve["budget"]})
        ax.set_xticks(budgets, [f"{b:,}" for b in budgets])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
        better = "lower" if data["metric"]["lower_is_better"] else "higher"
        ax.set_xlabel("simulations used for training")
        ax.set_ylabel(f"{data['metric']['label']}\n({better} is better)")
        ax.margins(x=0.15)
        if len(data["curves"]) > 1:
            ax.legend()
        return made

    def shows(self, data: Data) -> str:
        named = len(data["curves"]) > 1
        return " ".join(more_simulations(data["metric"], curve, named) for curve in data["curves"])


def more_simulations(metric: Data, curve: Data, named: bool = False) -> str:
    """Answers in one sentence whether more simulations would help, from the last two budgets of a curve."""
    (first, last), (before, after) = curve["budget"][-2:], curve["mean"][-2:]
    gain = before - after if metric["lower_is_better"] else after - before
    errors = curve["stderr"][-2:]
    who = f"{curve['label']}: " if named else ""
    step = f"going from {first:,} to {last:,} simulations"
    amount, name = rounded(abs(gain), 2), metric["name"].upper()
    matters = MATTERS_SHARE * abs(before) if metric["name"] == "nrmse" else MATTERS_NATS
    if gain != gain:
        return f"{who}Cannot be told: {step} gave a quality that is not a number."
    if None in errors:
        direction = "improved" if gain > 0 else "worsened"
        return (
            f"{who}Cannot be told: {step} {direction} {name} by {amount}, without an error to judge that by."
        )
    spread = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    pm = f"{amount} ± {rounded(spread, 2)}" + (" (one repeat)" if curve["repeats"] == 1 else "")
    if gain > 2 * spread and gain > matters:
        return f"{who}Probably yes: {step} still improved {name} by {pm}."
    if gain < -2 * spread and -gain > matters:
        return f"{who}Probably not: {step} made {name} worse by {pm}; look at the training first."
    if 2 * spread > 10 * matters:
        return f"{who}Cannot be told: {step} changed {name} by {pm}, which is too uncertain."
    return f"{who}Probably not much: {step} changed {name} by only {pm}."


def _curve(rows: Sequence[Row], method: str) -> dict[str, Any]:
    """Mean over parameters per budget: of the aggregate, and of each replicate.

    The errors are those across replicates; with a single replicate, those over its test data.
    """
    own = metrics.select(rows, method=method)
    budgets = sorted({r["budget"] for r in own})
    repeats = len({r["seed"] for r in own} - {None})
    source = [r for r in own if (r["seed"] is None) == (repeats > 1)]
    points = sorted({(r["budget"], r["seed"]) for r in own if r["seed"] is not None})
    return {
        "label": method,
        "repeats": repeats,
        "budget": budgets,
        "mean": [_mean(metrics.select(own, budget=b, seed=None), "value") for b in budgets],
        "stderr": [_mean(metrics.select(source, budget=b), "stderr") for b in budgets],
        "points": {
            "budget": [b for b, _ in points],
            "value": [_mean(metrics.select(own, budget=b, seed=s), "value") for b, s in points],
        },
    }


def _mean(rows: Sequence[Row], column: str) -> float | None:
    """The mean of a column; None where a cell is empty."""
    cells = [r[column] for r in rows]
    return float(np.mean(cells)) if cells and None not in cells else None
