"""Repeated experiments: what the coverage of estimates misses.

Data: `z`, `reach` of the axis, `n` experiments, `lower`, `upper` of what chance does to right intervals, and
`panels` (`true_value`, label, `curves`: label, trainings, mean, stderr, gap).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import erf, sqrt
from typing import Any

import numpy as np

from veridical.evidence.numbers import percent, rounded
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import (
    Array,
    Data,
    Drawn,
    Figure,
    Found,
    Results,
    Sources,
    listed,
    plain,
    thinned,
)

Z_POINTS = 61
NEARLY_RIGHT, LEAST_REACH = 0.1, 0.08
RIGHT_GAP = 0.03  # a mean miss of coverage below this is that of right intervals of many experiments
CHANCE = 2.0  # times the mean miss of right intervals, which few experiments reach by chance
USUAL = (1.0, 2.0)


class Deviations(Figure):
    """Coverage of estimates minus its ideal, against the width of intervals."""

    section = "comparison"
    heading = "Do the stated errors come true?"
    read = (
        "Many experiments with known truth were made up and analysed. For intervals of estimate ± so many "
        "stated standard errors (across): how many held the truth, minus how many should (68 % at 1, 95 % at "
        "2). Zero is right; below it the stated errors are too small, above it too large. A curve that "
        "leaves the frame is far off. The grey band is what chance does to right intervals in so many "
        "experiments of one training; bands in colour are one standard error over independent trainings."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        if found := sources.experiments("true_values"):
            yield Found((found,))

    def data(self, found: Mapping[Variant, Results]) -> dict[str, Any]:
        """Returns c(z) minus its ideal, a panel per true value with a curve per method.

        The band around a curve is one standard error: the standard deviation over trainings, divided by the
        root of their number; None for a single training.
        """
        first = leading_curves(found)
        z = np.asarray(first["z"], dtype=float)
        thin = thinned(len(z), Z_POINTS)
        panels = []
        for v, true_value in enumerate(first["true_values"]):
            curves = []
            for variant in sorted(found, key=lambda variant: variant.order):
                every = [
                    result["curves"]["residual_total"][v] for _, result in sorted(found[variant].items())
                ]
                residual = np.asarray(every, dtype=float)[:, thin]
                curves.append({"label": variant.label, "trainings": len(every), **_mean_and_error(residual)})
            panels.append(
                {"true_value": true_value, "label": f"truth {rounded(true_value, 2)}", "curves": curves}
            )
        data: dict[str, Any] = {"z": plain(z[thin]), "panels": panels, "reach": _reach(panels)}
        return data | _chance(first, thin) | {"n": _experiments(found)}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        columns = 3 if len(panels) in (3, 5, 6, 9) else 2
        made, axes = style.grid(len(panels), columns, height=(0.9, 2.5), sharex=True, sharey=True)
        for ax, panel in zip(axes.flat, panels, strict=False):
            if "lower" in data:
                ax.fill_between(data["z"], data["lower"], data["upper"], color=style.BAND, linewidth=0)
            ax.axhline(0, color="black", linewidth=0.9)
            for at in USUAL:
                ax.axvline(at, color=style.BAND, linewidth=1.0, zorder=0)
            for index, curve in enumerate(panel["curves"]):
                look, mean = style.nth(index), np.asarray(curve["mean"])
                if curve["stderr"] is not None:
                    ends = mean - curve["stderr"], mean + curve["stderr"]
                    ax.fill_between(data["z"], *ends, color=look["color"], alpha=0.2, linewidth=0)
                ax.plot(data["z"], mean, label=curve["label"], **look)
            ax.set_title(panel["label"])
            ax.set(xlim=(0, data["z"][-1]), ylim=(-data["reach"], data["reach"]))
            ax.set_xticks([0, 1, 2, 3])
            ax.yaxis.set_major_formatter(_points)
            ax.tick_params(labelbottom=True)
        made.supxlabel("half-width of the interval, in stated standard errors", fontsize=10)
        made.supylabel("coverage minus its ideal,\npercentage points", fontsize=10)
        style.legend(made, "outside upper left", 4)
        return made

    def shows(self, data: Data) -> str:
        gaps: dict[str, list[float]] = {}
        for panel in data["panels"]:
            for curve in panel["curves"]:
                gaps.setdefault(curve["label"], []).append(curve["gap"])
        worst = {label: max(values) for label, values in gaps.items()}
        most = max(RIGHT_GAP, CHANCE * _expected(data.get("n")))
        right = [label for label, gap in worst.items() if gap <= most]
        wrong = [f"{label} ({percent(gap)})" for label, gap in worst.items() if not gap <= most]
        limit = percent(most)
        texts = [f"On average off by {limit} or less at every true value: {listed(right)}."] if right else []
        texts += [f"Off by more than {limit} at some true value: {listed(wrong)}."] if wrong else []
        return " ".join(texts)


def leading_curves(found: Mapping[Variant, Results]) -> Mapping[str, Any]:
    """Returns the curves of the first replicate of the first method."""
    results = found[min(found, key=lambda variant: variant.order)]
    curves: Mapping[str, Any] = results[min(results)]["curves"]
    return curves


def _chance(curves: Mapping[str, Any], thin: Array) -> dict[str, Any]:
    """The band of right intervals minus their ideal, where the check has one."""
    if not {"lower", "upper", "ideal"} <= set(curves):
        return {}
    ideal = np.asarray(curves["ideal"], dtype=float)
    return {side: plain((np.asarray(curves[side], dtype=float) - ideal)[thin]) for side in ("lower", "upper")}


def _experiments(found: Mapping[Variant, Results]) -> int | None:
    """The least number of experiments behind the curves, of all trainings of a method together."""
    counts = [
        sum(max((m["n"] or 0 for m in result["metrics"]), default=0) for result in results.values())
        for results in found.values()
    ]
    return min(counts, default=0) or None


def _expected(n: int | None) -> float:
    """The mean miss of right intervals in n experiments: that of a share, averaged over 0 < z < 3."""
    if not n:
        return 0.0
    ideal = np.array([erf(z / sqrt(2)) for z in np.linspace(0, 3, 301)])
    return float(np.mean(np.sqrt(2 / np.pi * ideal * (1 - ideal) / n)))


def _reach(panels: Sequence[Data]) -> float:
    """How far the axis goes: so that curves that are nearly right can be seen, others may leave it."""
    every = [curve for panel in panels for curve in panel["curves"]]
    near = [curve for curve in every if curve["gap"] <= NEARLY_RIGHT] or every
    far = [
        np.abs(curve["mean"]) + (0.0 if curve["stderr"] is None else np.asarray(curve["stderr"]))
        for curve in near
    ]
    return max(LEAST_REACH, 1.15 * float(np.max(far)))


def _mean_and_error(values: Array) -> dict[str, Any]:
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    mean = values.mean(axis=0)
    return {
        "mean": plain(mean),
        "stderr": None if error is None else plain(error),
        "gap": float(np.abs(values).mean()),
    }


def _points(value: float, _: Any) -> str:
    text = f"{100 * value:+.3g}" if abs(value) > 1e-9 else "0"
    return text.replace("-", "\N{MINUS SIGN}")
