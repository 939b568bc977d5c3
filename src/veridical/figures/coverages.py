"""Coverage of all methods side by side, and what it misses.

Data: `dataset`, `panels` (label, dataset, `band`: levels, lower, upper; `curves`: label, coverage, outside).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from veridical.evidence import variants
from veridical.evidence.variants import PRIOR, SBI, Variant
from veridical.figures import style
from veridical.figures.base import Axes, Data, Drawn, Figure, Found, Results, Sources, listed, plain, thinned

MAX_POINTS = 60
COLUMNS = 4
PERCENT = ([0, 0.5, 1], ["0", "50 %", "100 %"])
READ = (
    "A panel per method, judged on data whose truth is known. Above: of intervals with a stated "
    "probability, how many held the truth (mean over parameters and repeats). Below: the same minus what "
    "was stated. The grey band is what chance does to right intervals. A curve below it is too sure of "
    "itself, one above it too careful; curves that leave it, for some parameter and in at least half of "
    "the repeats, are dashed and orange."
)
SIZES = " Light curves: few labelled data for calibration; dark ones: many."
UPPER = " “sbi” is npe on simulated data: what a right simulator would give."


class Coverages(Figure):
    """Coverage of central intervals of all methods side by side, and what it misses."""

    section = "comparison"
    heading = "Do the stated probabilities come true?"
    read = READ + SIZES + UPPER

    def found(self, sources: Sources) -> Iterator[Found]:
        dataset = sources.labelled
        covered = {**sources.checked.get(("coverage", dataset), {}), **sources.experiments("levels")}
        if len(covered) > 1:
            simulated = sources.checked.get(("coverage", "simulated"), {}) if dataset == "real" else {}
            upper = (found for v, found in simulated.items() if v.method == variants.UPPER_BOUND)
            yield Found((covered, dataset, next(upper, None)))

    def data(
        self, found: Mapping[Variant, Results], dataset: str, upper: Results | None = None
    ) -> dict[str, Any]:
        """Returns a panel per method with a curve per calibration size.

        A curve is the mean over parameters and replicates of the coverage of central intervals. Each of the
        curves that it averages stays within the band if all is right, hence so does their mean.

        Arguments:
            found: The saved check `coverage` by variant and replicate.
            dataset: Where it was made.
            upper: The same of NPE on simulated data, where the data are real ones.
        """
        by_method: dict[str, list[Variant]] = {}
        for variant in sorted(found, key=lambda v: v.order):
            by_method.setdefault(variant.method, []).append(variant)
        panels = [
            _coverage_panel(method, {v: found[v] for v in own}, dataset) for method, own in by_method.items()
        ]
        if upper:
            place = 1 if panels and panels[0]["label"] == PRIOR else 0
            panels.insert(place, _coverage_panel(SBI, {Variant(SBI): upper}, "simulated"))
        return {"dataset": dataset, "panels": panels}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        rows, columns = style.grid_shape(len(panels), COLUMNS)
        made, axes = style.figure(
            2 * rows,
            columns,
            height=0.4 + 3.1 * rows,
            width=min(style.WIDTH, 0.8 + 2.1 * columns),
            height_ratios=[2.0, 1.0] * rows,
            sharex=True,
        )
        reach = 1.1 * max(_reach(panel) for panel in panels)
        for index, panel in enumerate(panels):
            row, column = 2 * (index // columns), index % columns
            above, below = axes[row, column], axes[row + 1, column]
            draw_coverage(above, panel)
            draw_coverage(below, panel, residual=True)
            above.set(ylim=(0, 1), xticks=PERCENT[0], yticks=PERCENT[0], yticklabels=PERCENT[1])
            above.set_title(panel["label"], fontsize=9.5)
            below.set(ylim=(-reach, reach))
            below.set_xticks(*PERCENT, fontsize=8)
            _signed_percent(below, reach)
            above.tick_params(labelbottom=False, labelleft=column == 0)
            below.tick_params(labelbottom=True, labelleft=column == 0)
            if column == 0:
                above.set_ylabel("how often the\ntruth was inside", fontsize=9)
                below.set_ylabel("minus what\nwas stated", fontsize=9)
            if len(panel["curves"]) > 1:
                above.legend(fontsize=7, loc="upper left", handlelength=1.3, labelspacing=0.15, borderpad=0.0)
        for index in range(len(panels), rows * columns):
            for shift in (0, 1):
                axes[2 * (index // columns) + shift, index % columns].set_visible(False)
        made.supxlabel("stated probability", fontsize=10)
        return made

    def caption(self, data: Data) -> tuple[str, str]:
        sized = any(len(panel["curves"]) > 1 for panel in data["panels"])
        upper = any(panel["dataset"] != data["dataset"] for panel in data["panels"])
        return READ + (SIZES if sized else "") + (UPPER if upper else ""), self.shows(data)

    def shows(self, data: Data) -> str:
        places: dict[bool, list[str]] = {False: [], True: []}
        for panel in data["panels"]:
            for curve in panel["curves"]:
                name = panel["label"] + (f" ({curve['label']})" if curve["label"] else "")
                places[curve["outside"]].append(name)
        if not places[False]:
            return "No method stays inside the band."
        outside = f" Outside: {listed(places[True])}." if places[True] else ""
        return f"Inside the band: {listed(places[False])}.{outside}"


def _coverage_panel(label: str, own: Mapping[Variant, Results], dataset: str) -> dict[str, Any]:
    curves, band = [], None
    for variant, results in own.items():
        every = [result["curves"] for _, result in sorted(results.items())]
        levels = np.asarray(every[0]["levels"], dtype=float)
        thin = thinned(len(levels), MAX_POINTS)
        central = np.mean([np.mean(c["central"], axis=0) for c in every], axis=0)
        failed = sum(result["passed"] is False for result in results.values())
        size = "" if variant.calibration is None else variants.pairs(variant.calibration)
        curve = {"label": size, "coverage": plain(central[thin]), "outside": 2 * failed >= len(every)}
        curves.append(curve)
        band = {"levels": plain(levels[thin])}
        band |= {side: plain(np.asarray(every[0][side], dtype=float)[thin]) for side in ("lower", "upper")}
    return {"label": label, "dataset": dataset, "band": band, "curves": curves}


def draw_coverage(ax: Axes, panel: Mapping[str, Any], residual: bool = False) -> None:
    """Draws coverage curves in their band, or what they differ by from the stated probability.

    Light curves belong to small calibration sets; dashed orange ones leave the band.
    """
    band = panel["band"]
    levels = np.asarray(band["levels"])
    base = levels if residual else 0.0
    lower, upper = np.asarray(band["lower"]) - base, np.asarray(band["upper"]) - base
    ax.fill_between(levels, lower, upper, color=style.BAND, linewidth=0)
    ax.plot([0, 1], [0, 0 if residual else 1], color=style.MUTED, linewidth=0.8)
    steps = len(panel["curves"])
    for step, curve in enumerate(panel["curves"]):
        colour = style.REFERENCE if curve["outside"] else style.ESTIMATE
        ax.plot(
            levels,
            np.asarray(curve["coverage"]) - base,
            color=style.shade(colour, step, steps),
            linestyle="--" if curve["outside"] else "-",
            linewidth=1.6,
            label=curve["label"] or None,
        )
    ax.set_xlim(0, 1)


def _reach(panel: Mapping[str, Any]) -> float:
    levels = np.asarray(panel["band"]["levels"])
    every = [panel["band"]["lower"], panel["band"]["upper"], *(c["coverage"] for c in panel["curves"])]
    return float(max(np.abs(np.asarray(values) - levels).max() for values in every))


def _signed_percent(ax: Axes, reach: float) -> None:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 1.0) if 1.3 * s >= reach / 1.5 or s == 1.0)
    ax.set_yticks([-step, 0, step], [f"\N{MINUS SIGN}{100 * step:.0f} %", "0", f"+{100 * step:.0f} %"])
