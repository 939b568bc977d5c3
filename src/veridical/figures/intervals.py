"""Repeated experiments: how intervals lie about one true value.

Data: `level`, `true_value`, `reach` of good intervals and `panels` (label, `value`, `half`: half-widths,
`statistical`: the part of them that a larger observation would shrink, `misses`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import Axes, Data, Drawn, Figure, Found, Results, Sources, listed, plain
from veridical.figures.deviations import leading_curves

EXAMPLES = 50
EXAMPLE_LEVEL, EXAMPLE_Z = 0.9, 1.6448536269514722
ONE_AXIS = 2.0  # panels whose intervals reach no farther share an axis, in units of what good ones reach


class Intervals(Figure):
    """Intervals of many pseudo-experiments at one true value."""

    section = "comparison"
    heading = "What the intervals look like"
    read = (
        "The first experiments at one true value (dotted), sorted by their estimate: the estimate and its "
        "90 % interval. The thick part of a bar is the error of a finite observation alone, the thin part "
        "adds the error of the trained method. Intervals that miss the truth are orange with a cross; "
        "about one in ten should. Methods that are far off have an axis of their own."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        if found := sources.experiments("true_values"):
            yield Found((found,))

    def data(self, found: Mapping[Variant, Results]) -> dict[str, Any]:
        """Returns the first intervals of each method at one true value, sorted; of the first replicate."""
        first = leading_curves(found)
        at = len(first["true_values"]) // 2
        true_value = first["true_values"][at]
        panels = []
        for variant in sorted(found, key=lambda variant: variant.order):
            curves = found[variant][min(found[variant])]["curves"]
            value, total, statistical = (
                np.asarray(curves[f"example_{name}"], dtype=float)[:EXAMPLES, at]
                for name in ("value", "total", "statistical")
            )
            order = np.argsort(value, kind="stable")
            misses = ~(np.abs(value - true_value) <= EXAMPLE_Z * total)
            panel = {"label": variant.label, "value": plain(value[order]), "misses": misses[order].tolist()}
            panel["half"] = plain(EXAMPLE_Z * total[order])
            panel["statistical"] = plain(EXAMPLE_Z * statistical[order])
            panels.append(panel)
        about = {"level": EXAMPLE_LEVEL, "true_value": true_value, "panels": panels}
        return {**about, "reach": _spread(panels, true_value)}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        made, axes = style.grid(len(panels), 4, height=(0.4, 3.3), width=(0.6, 2.0))
        truth, reach = data["true_value"], 1.06 * data["reach"]
        common = []
        for ax, panel in zip(axes.flat, panels, strict=False):
            draw_stack(ax, panel, truth)
            low, high = ax.get_xlim()
            if max(truth - low, high - truth) <= ONE_AXIS * reach:
                common.append(ax)
            ax.locator_params(axis="x", nbins=4)
        limits = [ax.get_xlim() for ax in common]
        for ax in common:
            ax.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
        words = f"estimate with its {100 * data['level']:.0f} % interval (dotted: the truth)"
        made.supxlabel(words, fontsize=10)
        return made

    def shows(self, data: Data) -> str:
        total = len(data["panels"][0]["value"])
        missed = [f"{p['label']} {sum(p['misses'])}" for p in data["panels"]]
        return f"Of {total} intervals miss the truth: {listed(missed)}."


def _spread(panels: Sequence[Data], true_value: float) -> float:
    """How far intervals reach from the truth, in the panels where at least half of them hold it."""
    near = [p for p in panels if 2 * sum(p["misses"]) <= len(p["misses"])] or panels
    ends = [np.abs(np.asarray(p["value"]) - true_value) + np.asarray(p["half"]) for p in near]
    finite = np.concatenate(ends)[np.isfinite(np.concatenate(ends))]
    return float(finite.max(initial=1e-12))


def draw_stack(ax: Axes, panel: Mapping[str, Any], true_value: float) -> None:
    """Draws intervals one above the other, sorted; those that miss the truth are orange with a cross."""
    value, half, inner = (np.asarray(panel[name]) for name in ("value", "half", "statistical"))
    at, misses = np.arange(len(value)), np.asarray(panel["misses"], dtype=bool)
    for hit, colour, marker in ((True, style.ESTIMATE, "o"), (False, style.REFERENCE, "x")):
        chosen = misses != hit
        v, h, s, y = value[chosen], half[chosen], inner[chosen], at[chosen]
        ax.hlines(y, v - h, v + h, color=colour, linewidth=0.9)
        ax.hlines(y, v - s, v + s, color=colour, linewidth=2.8, alpha=0.5)
        ax.plot(v, y, marker, color=colour, markersize=2.5 if hit else 4, linestyle="none")
    ax.axvline(true_value, color=style.TRUTH, linewidth=1.1, linestyle=":")
    held = len(value) - int(misses.sum())
    ax.set_title(f"{panel['label']}\n{held} of {len(value)} hold the truth", fontsize=9)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
