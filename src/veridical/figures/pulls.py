"""Repeated experiments: how far estimates lie from the truth, in the errors that they state.

Data: `true_value`, `edges`, and `panels` (label, `counts` between edges, `beyond`, `n`, `expected`, `lower`,
`upper`, `off`, `moments`: `true_value`, `mean`, `mean_error`, `sd`, `sd_error`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import erf, sqrt
from typing import Any

import numpy as np

from veridical.evidence import numbers
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import Array, Data, Drawn, Figure, Found, Results, Sources, listed, plain
from veridical.figures.deviations import leading_curves

COARSER = ((200, 2), (50, 2))  # with fewer experiments than that, so many bins are one, and again
BAND = (0.025, 0.975)
FAR = 3.0  # standard errors of a mean or a width, beyond which it is off
SMALL = 0.1  # a mean or a width that is off by less is right for any use


class Pulls(Figure):
    """Distribution of the errors of estimates in their own standard errors."""

    section = "comparison"
    heading = "Are estimates off by what they state?"
    read = (
        "Experiments with known truth at one true value: (estimate − truth) divided by the stated error. "
        "Right answers follow the black curve, the unit normal, within the grey band, in which chance leaves "
        "19 of 20 bars. A heap beside zero is a bias; a wider one means that stated errors are too small, a "
        "narrower one that they are too large. The table has the mean (0 is right) and the width (1 is "
        "right) at every true value, with their standard errors."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        if found := sources.experiments("pull_counts"):
            yield Found((found,))

    def data(self, found: Mapping[Variant, Results]) -> dict[str, Any]:
        """Returns a histogram for each method at the middle true value, of all replicates together."""
        first = leading_curves(found)
        truths, edges = first["true_values"], np.asarray(first["pull_edges"], dtype=float)
        at = len(truths) // 2
        order = sorted(found, key=lambda variant: variant.order)
        cells = [_summed(found[variant], at) for variant in order]
        least = min(int(counts.sum()) for counts in cells)
        for few, times in COARSER:
            if least < few:
                edges, cells = edges[::times], [_joined(counts, times) for counts in cells]
        panels = [
            _panel(variant.label, counts, edges, [_moments(found[variant], truth) for truth in truths], at)
            for variant, counts in zip(order, cells, strict=True)
        ]
        return {"true_value": truths[at], "edges": plain(edges), "panels": panels}

    def draw(self, data: Data) -> Drawn:
        panels, edges = data["panels"], np.asarray(data["edges"])
        made, axes = style.grid(
            len(panels), 4, height=(0.5, 2.1), width=(0.6, 2.2), sharex=True, sharey=False
        )
        fine = np.linspace(edges[0], edges[-1], 161)
        for ax, panel in zip(axes.flat, panels, strict=False):
            colour = style.REFERENCE if panel["off"] else style.ESTIMATE
            ax.stairs(panel["upper"], edges, baseline=panel["lower"], fill=True, color=style.BAND)
            ax.stairs(panel["counts"], edges, color=colour, linewidth=1.5, zorder=3)
            scale = panel["n"] * (edges[1] - edges[0])
            ax.plot(fine, scale * np.exp(-0.5 * fine**2) / sqrt(2 * np.pi), color=style.TRUTH, linewidth=0.9)
            ax.axvline(0, color=style.TRUTH, linewidth=0.8, linestyle=":")
            moments = next(m for m in panel["moments"] if m["true_value"] == data["true_value"])
            ax.set_title(f"{panel['label']}\n{_about(moments)}", fontsize=9)
            if panel["beyond"]:
                text = f"{panel['beyond']} beyond"
                ax.annotate(text, (0.98, 0.9), xycoords="axes fraction", ha="right", fontsize=8, color=colour)
            ax.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
            ax.set_xticks([-3, 0, 3])
            ax.set_yticks([])
            ax.tick_params(labelbottom=True)
            ax.spines["left"].set_visible(False)
        made.supxlabel("(estimate − truth) / stated error", fontsize=10)
        return made

    def shows(self, data: Data) -> str:
        right = [panel["label"] for panel in data["panels"] if not panel["off"]]
        texts = []
        for panel in data["panels"]:
            if panel["off"]:
                worst = max(panel["moments"], key=_distance)
                place = numbers.rounded(worst["true_value"], 2)
                texts.append(f"{panel['label']} ({_about(worst)} at {place})")
        words = [f"Not told from what is right: {listed(right)}."] if right else []
        return " ".join([*words, *([f"Off: {listed(texts)}."] if texts else [])])

    def table(self, data: Data) -> list[list[str]]:
        head = ["method", "true value", "mean of pulls", "width of pulls"]
        lines = [
            [
                panel["label"],
                numbers.rounded(m["true_value"], 3),
                *(_cell(m, name) for name in ("mean", "sd")),
            ]
            for panel in data["panels"]
            for m in panel["moments"]
        ]
        return [head, *lines]


def _summed(results: Results, at: int) -> Array:
    """Cells (K + 1,) of all replicates at one true value."""
    every = [np.asarray(result["curves"]["pull_counts"], dtype=int)[at] for result in results.values()]
    return np.asarray(np.sum(every, axis=0))


def _joined(cells: Array, times: int) -> Array:
    """Cells of bins so many times as wide, those beyond the ends as they are."""
    inner = cells[1:-1].reshape(-1, times).sum(axis=1)
    return np.concatenate([cells[:1], inner, cells[-1:]])


def _panel(
    label: str, cells: Array, edges: Array, moments: list[dict[str, float]], at: int
) -> dict[str, Any]:
    from scipy.stats import binom

    n = int(cells.sum())
    share = np.diff([0.5 * (1 + erf(edge / sqrt(2))) for edge in edges])
    low, high = (binom.ppf(q, n, share) for q in BAND)
    return {
        "label": label,
        "counts": cells[1:-1].tolist(),
        "beyond": int(cells[0] + cells[-1]),
        "n": n,
        "expected": plain(n * share),
        "lower": plain(np.maximum(low - 0.5, 0)),
        "upper": plain(high + 0.5),
        "off": any(_distance(one) > FAR for one in moments),
        "moments": moments,
    }


def _moments(results: Results, true_value: float) -> dict[str, Any]:
    """Mean and width at one true value: means over replicates, with the error of these; None without any."""
    found: dict[str, Any] = {"true_value": true_value}
    for name in ("mean", "sd"):
        rows = [
            metric
            for result in results.values()
            for metric in result["metrics"]
            if metric["name"] == f"experiment_pull_{name}" and metric["extra"]["true_value"] == true_value
        ]
        values, errors = (np.array([row[key] for row in rows], dtype=float) for key in ("value", "stderr"))
        if not len(values):
            found |= {name: None, f"{name}_error": None}
            continue
        across = values.std(ddof=1) / sqrt(len(values)) if len(values) > 1 else 0.0
        own = sqrt(float((errors**2).sum())) / len(errors)
        found |= {name: float(values.mean()), f"{name}_error": max(float(across), own)}
    return found


def _distance(moments: Mapping[str, Any]) -> float:
    """How far mean or width is from what is right, in its standard errors; infinite where there is none."""
    worst = 0.0
    for name, right in (("mean", 0.0), ("sd", 1.0)):
        if moments[name] is None:
            return float("inf")
        off, error = abs(moments[name] - right), moments[f"{name}_error"]
        worst = max(worst, off / max(error, 1e-12) if off > SMALL else 0.0)
    return worst


def _about(moments: Mapping[str, Any]) -> str:
    """Mean and width in words."""
    if moments["mean"] is None:
        return "no answers"
    mean = f"{moments['mean']:+.1f}".replace("-", "\N{MINUS SIGN}")
    return f"mean {mean}, width {numbers.rounded(moments['sd'], 2)}"


def _cell(moments: Mapping[str, Any], name: str) -> str:
    value, error = moments[name], moments[f"{name}_error"]
    if value is None:
        return "no answer"
    return f"{numbers.to_precision(value, error)} ± {numbers.to_precision(error, error)}"
