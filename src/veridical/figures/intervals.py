"""The data of the figures about remedies: repeated experiments, the transport plan, detection; plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence.numbers import rounded
from veridical.evidence.variants import Variant
from veridical.figures.base import Array, Data, plain_list
from veridical.figures.coverage import histogram

EXAMPLES = 50
EXAMPLE_LEVEL, EXAMPLE_Z = 0.9, 1.6448536269514722
Z_POINTS = 61
NEARLY_RIGHT, LEAST_REACH = 0.1, 0.08
CELLS = 120  # pixels of the picture of a plan, along either side
FACTS = ("gamma", "tau", "mean cost", "row error", "residual", "iterations")
Results = Mapping[int, Mapping[str, Any]]  # saved results of a check by replicate


# ---- repeated experiments ------------------------------------------------------------------------


def deviations(found: Mapping[Variant, Results]) -> Data:
    """Returns c(z) minus its ideal, a panel per true value with a curve per method.

    The band around a curve is one standard error: the standard deviation over trainings, divided by the
    root of their number; None for a single training.

    Arguments:
        found: The saved check `experiments` of methods that estimate, by variant and replicate.
    """
    first = _first(found)
    z = np.asarray(first["z"], dtype=float)
    thin = np.unique(np.linspace(0, len(z) - 1, min(len(z), Z_POINTS)).round().astype(int))
    panels = []
    for v, true_value in enumerate(first["true_values"]):
        curves = []
        for variant in sorted(found, key=lambda variant: variant.order):
            every = [result["curves"]["residual_total"][v] for _, result in sorted(found[variant].items())]
            residual = np.asarray(every, dtype=float)[:, thin]
            curves.append({"label": variant.label, "trainings": len(every), **_mean_and_error(residual)})
        panels.append(
            {"true_value": true_value, "label": f"truth {rounded(true_value, 2)}", "curves": curves}
        )
    return {"z": plain_list(z[thin]), "panels": panels, "reach": _reach(panels)}


def _reach(panels: Sequence[Data]) -> float:
    """How far the axis goes: so that curves that are nearly right can be seen, others may leave it."""
    every = [curve for panel in panels for curve in panel["curves"]]
    near = [curve for curve in every if curve["gap"] <= NEARLY_RIGHT] or every
    far = [
        np.abs(curve["mean"]) + (0.0 if curve["stderr"] is None else np.asarray(curve["stderr"]))
        for curve in near
    ]
    return max(LEAST_REACH, 1.15 * float(np.max(far)))


def _mean_and_error(values: Array) -> Data:
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    mean = values.mean(axis=0)
    return {
        "mean": plain_list(mean),
        "stderr": None if error is None else plain_list(error),
        "gap": float(np.abs(values).mean()),
    }


def intervals(found: Mapping[Variant, Results]) -> Data:
    """Returns the first intervals of each method at one true value, sorted.

    Arguments:
        found: The saved check `experiments` of methods that estimate, by variant and replicate; the first
            replicate is shown.
    """
    first = _first(found)
    at = len(first["true_values"]) // 2
    panels = []
    for variant in sorted(found, key=lambda variant: variant.order):
        curves = found[variant][min(found[variant])]["curves"]
        value, total, statistical = (
            np.asarray(curves[f"example_{name}"], dtype=float)[:EXAMPLES, at]
            for name in ("value", "total", "statistical")
        )
        order = np.argsort(value, kind="stable")
        misses = ~(np.abs(value - first["true_values"][at]) <= EXAMPLE_Z * total)
        panel = {"label": variant.label, "value": plain_list(value[order]), "misses": misses[order].tolist()}
        panel["half"] = plain_list(EXAMPLE_Z * total[order])
        panel["statistical"] = plain_list(EXAMPLE_Z * statistical[order])
        panels.append(panel)
    true_value = first["true_values"][at]
    return {
        "level": EXAMPLE_LEVEL,
        "true_value": true_value,
        "panels": panels,
        "reach": _spread(panels, true_value),
    }


def _spread(panels: Sequence[Data], true_value: float) -> float:
    """How far intervals reach from the truth, in the panels where at least half of them hold it."""
    near = [p for p in panels if 2 * sum(p["misses"]) <= len(p["misses"])] or panels
    ends = [np.abs(np.asarray(p["value"]) - true_value) + np.asarray(p["half"]) for p in near]
    finite = np.concatenate(ends)[np.isfinite(np.concatenate(ends))]
    return float(finite.max(initial=1e-12))


def _first(found: Mapping[Variant, Results]) -> Mapping[str, Any]:
    results = found[min(found, key=lambda variant: variant.order)]
    curves: Mapping[str, Any] = results[min(results)]["curves"]
    return curves


# ---- the transport plan --------------------------------------------------------------------------


def transport(extras: Mapping[str, Array], names: Sequence[str], units: Sequence[str]) -> Data:
    """Returns a picture of a transport plan, sorted by the first parameter, and how many simulations count.

    Arguments:
        extras: What RoPE keeps beside its draws: `plan` (D, R, C), weights between groups of observations and
            of simulations; `plan_rows` (D, R) and `plan_columns` (D, C), mean parameters of the groups;
            `effective` (N,), effective numbers of simulations; `transport`, the FACTS of the solver.
        names: Names of the D parameters.
        units: Their units.
    """
    picture = _blocks(_blocks(np.asarray(extras["plan"])[0], CELLS, 0, np.mean), CELLS, 1, np.sum)
    effective = np.asarray(extras["effective"], dtype=float)
    counts, edges = np.histogram(effective, bins=min(30, max(8, len(effective) // 12)))
    return {
        "name": names[0],
        "unit": units[0],
        "picture": [[float(f"{v:.3g}") for v in line] for line in picture],
        "row_values": plain_list(_blocks(np.asarray(extras["plan_rows"])[0], CELLS, 0, np.mean)),
        "column_values": plain_list(_blocks(np.asarray(extras["plan_columns"])[0], CELLS, 0, np.mean)),
        "observations": len(effective),
        "effective": {
            "counts": counts.tolist(),
            "edges": plain_list(edges),
            "median": float(np.median(effective)),
            "smallest": float(effective.min()),
        },
        "facts": dict(zip(FACTS, map(float, np.asarray(extras["transport"])), strict=True)),
    }


def _blocks(values: Array, size: int, axis: int, reduce: Any) -> Array:
    """Neighbouring entries taken together along one axis, until at most `size` are left."""
    n = values.shape[axis]
    if n <= size:
        return values
    parts = np.array_split(values, size, axis=axis)
    return np.stack([reduce(part, axis=axis) for part in parts], axis=axis)


# ---- detection -----------------------------------------------------------------------------------


def detection(results: Results) -> Data:
    """Returns root MMDs of simulated sets and of the data, a panel per replicate.

    Arguments:
        results: The saved check `detection` by replicate.
    """
    panels = []
    for replicate, result in sorted(results.items()):
        curves = result["curves"]
        found = {m["name"]: m for m in result["metrics"]}
        panels.append(
            {
                "label": f"repeat {replicate + 1}" if len(results) > 1 else "",
                **histogram(np.asarray(curves["null"], dtype=float)),
                "observed": float(np.asarray(curves["observed"]).ravel()[0]),
                "critical": float(np.asarray(curves["critical"]).ravel()[0]),
                "p": result["p_value"],
                "n": found["mmd"]["n"] if "mmd" in found else None,
                "power": found["power"]["value"] if "power" in found else None,
            }
        )
    return {"panels": panels}
