"""The figure of `score_equivalence.py`: for each number of simulations an arrow from plain training on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from veridical.figures import style

ARROW = {"arrowstyle": "->", "color": style.TRUTH, "linewidth": 0.7, "alpha": 0.6}
TICKS = (1, 2, 5, 10, 20, 50, 100)
PLAIN, SCORED = "plain", "last_layer"


def draw(lines: Sequence[Mapping[str, Any]], tasks: Sequence[str], path: Path) -> None:
    """Draws seconds of training against the error of the statistic on the grid, a panel for each task."""
    from matplotlib.ticker import NullFormatter

    shown = [task for task in tasks if any(line["task"] == task for line in lines)]
    with style.styled():
        made, axes = style.grid(len(shown), 3, height=(0.4, 3.2), width=(0.4, 3.4))
        for ax, task in zip(axes.flat, shown, strict=False):
            own = [line for line in lines if line["task"] == task]
            plain, scored = (_means(own, variant) for variant in (PLAIN, SCORED))
            for colour, found in ((style.MUTED, plain), (style.ESTIMATE, scored)):
                at = [found[n] for n in sorted(found)]
                ax.plot(*zip(*at, strict=True), "o-", color=colour, markersize=3.5, linewidth=0.8)
            for n in sorted(plain.keys() & scored.keys()):
                ax.annotate("", scored[n], plain[n], arrowprops=ARROW)
            for n, at in plain.items():
                ax.annotate(f"{n:,}", at, xytext=(4, 4), textcoords="offset points", fontsize=7)
            ax.set(xscale="log", yscale="log", title=task.replace("_", " "))
            for side in (ax.xaxis, ax.yaxis):
                low, high = side.get_view_interval()
                within = [tick for tick in TICKS if low <= tick <= high]
                side.set_ticks(within, [str(tick) for tick in within])
                side.set_minor_formatter(NullFormatter())
        made.supxlabel("seconds of training", fontsize=10)
        made.supylabel("squared error of the statistic", fontsize=10)
        style.save(made, path)


def _means(lines: Sequence[Mapping[str, Any]], variant: str) -> dict[int, tuple[float, float]]:
    """Mean seconds and mean error over seeds for each number of simulations."""
    own = [line for line in lines if line["variant"] == variant]
    return {
        n: tuple(fmean(line[key] for line in own if line["rows"] == n) for key in ("seconds", "grid"))
        for n in sorted({line["rows"] for line in own})
    }
