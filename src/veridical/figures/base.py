"""The data of every figure, taken from saved results as plain JSON, and which figure is drawn from it.

A figure is redrawn from its JSON alone. All that is computed for a figure (densities, contour levels,
predictive quantiles) is computed here; `plots` only draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.evidence import metrics
from veridical.evidence.metrics import Row
from veridical.evidence.numbers import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
Data = dict[str, Any]

PLOTS = {
    "posterior": "veridical.figures.posterior:draw",
    "prior": "veridical.figures.predictive:draw",
    "predictive": "veridical.figures.predictive:draw",
    "ranks": "veridical.figures.ranks:draw_ecdf",
    "coverage": "veridical.figures.ranks:draw_coverage",
    "typicality": "veridical.figures.typicality:draw",
    "training": "veridical.figures.training:draw",
    "learning": "veridical.figures.learning:draw",
    "cost": "veridical.figures.cost:draw",
    "coverages": "veridical.figures.points:draw_coverages",
    "calibration": "veridical.figures.points:draw_calibration_sizes",
    "deviations": "veridical.figures.deviations:draw_deviations",
    "intervals": "veridical.figures.deviations:draw_intervals",
    "transport": "veridical.figures.transport:draw",
    "tradeoff": "veridical.figures.points:draw_tradeoff",
    "detection": "veridical.figures.detection:draw",
}
MAX_PARAMETERS = 8
BINS = 36
MASSES = (0.9, 0.5)
# What the learning curve shows: the first of these that every budget has; and whether lower is better.
LEARNING_METRICS = (
    ("nltp", "surprise at the true parameters (NLTP)", True),
    ("lpp", "log density at the true parameters (LPP)", False),
    ("nrmse", "typical error of a draw, in prior ranges (NRMSE)", True),
)


def modules() -> tuple[str, ...]:
    """Returns the modules that draw figures, for the digest of their code."""
    return tuple(sorted({entry.partition(":")[0] for entry in PLOTS.values()}))


def render(kind: str, data: Mapping[str, Any]) -> Figure:
    """Returns the figure of one kind, drawn from its data; call it inside `figures.style.styled()`."""
    module, _, attribute = PLOTS[kind].partition(":")
    draw: Callable[[Mapping[str, Any]], Figure] = getattr(import_module(module), attribute)
    return draw(data)


# ---- posterior -----------------------------------------------------------------------------------


def posterior(
    names: Sequence[str],
    units: Sequence[str],
    draws: Mapping[str, Array],
    *,
    reference: str | None = None,
    truth: Array | None = None,
) -> Data:
    """Returns marginal and pairwise densities of one or two posteriors on common axes.

    Arguments:
        names: Names of the D parameters; the first MAX_PARAMETERS are shown.
        units: Their units.
        draws: Posterior draws (S, D) by label.
        reference: The label that is the reference.
        truth: True parameters (D,), where they are known.
    """
    d = min(len(names), MAX_PARAMETERS)
    shown = {label: np.asarray(values, dtype=float)[:, :d] for label, values in draws.items()}
    edges = _common_edges(list(shown.values()))
    ranges = [plain_list(edge[[0, -1]]) for edge in edges]
    parameters = [{"name": names[j], "unit": units[j], "range": ranges[j]} for j in range(d)]
    series = [
        {
            "label": label,
            "role": "reference" if label == reference else "estimate",
            "marginals": [_marginal(values[:, j], edges[j]) for j in range(d)],
            "pairs": [_pair(values, edges, i, j) for i in range(d) for j in range(i)],
        }
        for label, values in shown.items()
    ]
    return {
        "parameters": parameters,
        "series": series,
        "truth": None if truth is None else plain_list(np.asarray(truth)[:d]),
        "of_parameters": len(names),
        "units": dict(zip(names, units, strict=True)),
        "largest_shift": _largest_shift(shown, reference),
    }


def _largest_shift(draws: Mapping[str, Array], reference: str | None) -> float | None:
    """The largest distance of means from those of the reference, in standard deviations of that."""
    if reference is None:
        return None
    centre, sd = draws[reference].mean(axis=0), draws[reference].std(axis=0)
    return float(max((np.abs(own.mean(axis=0) - centre) / sd).max() for own in draws.values()))


def _common_edges(draws: Sequence[Array]) -> list[Array]:
    """Bin edges per parameter that hold the central 99 % of every posterior and some room."""
    low = np.min([np.quantile(values, 0.005, axis=0) for values in draws], axis=0)
    high = np.max([np.quantile(values, 0.995, axis=0) for values in draws], axis=0)
    span = np.maximum(high - low, 1e-4 * np.maximum(np.abs(high), np.abs(low)))
    span = np.where(span > 0, span, 1.0)
    return [
        np.linspace(a - 0.08 * s, b + 0.08 * s, BINS + 1) for a, b, s in zip(low, high, span, strict=True)
    ]


def _marginal(values: Array, edges: Array) -> Data:
    counts, _ = np.histogram(values, edges)
    density = _smooth(counts / (len(values) * np.diff(edges)))
    return {"x": plain_list(_centres(edges)), "density": plain_list(density)}


def _pair(values: Array, edges: Sequence[Array], i: int, j: int) -> Data:
    counts, _, _ = np.histogram2d(values[:, i], values[:, j], [edges[i], edges[j]])
    density = _smooth(counts / max(counts.sum(), 1.0))
    return {
        "row": i,
        "column": j,
        "x": plain_list(_centres(edges[j])),
        "y": plain_list(_centres(edges[i])),
        "density": plain_list(density),
        "levels": plain_list(_mass_levels(density)),
    }


def _smooth(density: Array) -> Array:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(density, sigma=1.3, mode="constant")


def _mass_levels(density: Array) -> Array:
    """Heights above which 90 % and 50 % of the mass lie, growing, never equal."""
    heights = np.sort(density.ravel())[::-1]
    mass = np.cumsum(heights) / heights.sum()
    low, high = (heights[np.searchsorted(mass, m)] for m in MASSES)
    return np.array([low, max(high, low * (1 + 1e-6))])


def _centres(edges: Array) -> Array:
    return (edges[1:] + edges[:-1]) / 2


# ---- training, learning, cost --------------------------------------------------------------------


def training(histories: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> Data:
    """Returns loss curves, a panel per method.

    Arguments:
        histories: `history.json` by method and replicate.
    """
    panels = []
    for method, runs in sorted(histories.items()):
        curves = [
            {
                "replicate": replicate,
                "epoch": [entry["epoch"] for entry in history["epochs"]],
                "train": [entry["train_loss"] for entry in history["epochs"]],
                "validation": [entry["validation_loss"] for entry in history["epochs"]],
                "best_epoch": history["best_epoch"],
            }
            for replicate, history in sorted(runs.items())
        ]
        panels.append({"label": method, "runs": curves, "range": _loss_range(curves)})
    return {"panels": panels}


def _loss_range(runs: Sequence[Data]) -> list[float]:
    """Axis limits that show the end of training and do not let its first epochs squash it."""
    values = [v for run in runs for key in ("train", "validation") for v in run[key] if np.isfinite(v)]
    late = [v for run in runs for key in ("train", "validation") for v in run[key][1:] if np.isfinite(v)]
    low, high = min(values, default=0.0), float(np.quantile(late or values or [1.0], 0.98))
    room = 0.08 * max(high - low, 1e-3)
    return [low - room, high + room]


def learning(rows: Sequence[Row]) -> Data | None:
    """Returns quality on simulated data against the budget, None where there is only one budget."""
    for name, label, lower_is_better in LEARNING_METRICS:
        found = [
            r for r in rows if r["metric"] == name and r["dataset"] == "simulated" and r["budget"] is not None
        ]
        curves = [_learning_curve(found, method) for method in sorted({r["method"] for r in found})]
        curves = [curve for curve in curves if len(curve["budget"]) > 1]
        if curves:
            metric = {"name": name, "label": label, "lower_is_better": lower_is_better}
            return {"metric": metric, "curves": curves}
    return None


def _learning_curve(rows: Sequence[Row], method: str) -> Data:
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


def cost(stages: Mapping[str, Sequence[Mapping[str, Any]]]) -> Data:
    """Returns the time spent in each stage.

    Arguments:
        stages: Benchmark records of Snakemake by stage, first stage first: `s` is wall seconds, `cpu_time`
            CPU seconds and `max_rss` MB, the last two possibly not measured.
    """
    found = []
    for name, records in stages.items():
        if records:
            seconds = sum(float(r["s"]) for r in records)
            memory = [float(r["max_rss"]) for r in records if _is_number(r.get("max_rss"))]
            found.append(
                {
                    "name": name,
                    "jobs": len(records),
                    "seconds": seconds,
                    "peak_mb": max(memory, default=None),
                    "label": f"{duration(seconds)}  ({len(records)} job{'s' if len(records) > 1 else ''})",
                }
            )
    return {"stages": found}


def plain(data: Any) -> Any:
    """Returns data as plain JSON, arrays as lists of numbers with eight significant digits."""
    if isinstance(data, np.ndarray):
        return plain_list(data)
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    return [plain(value) for value in data] if isinstance(data, list | tuple) else data


def plain_list(array: Array) -> list[Any]:
    """Returns an array as nested lists of numbers with eight significant digits."""
    flat = [float(f"{v:.8g}") for v in np.asarray(array, dtype=float).ravel()]
    return np.asarray(flat).reshape(np.shape(array)).tolist()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
