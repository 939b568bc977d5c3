"""Answers to several observations, or of several methods, one below the other: a forest plot.

Data: `parameters` (name, unit, `prior`: its 90 % range or None) and `rows` (label, group, `role` `estimate`,
`other` for a second run or `reference`, `cells`: per parameter None, or `quantiles` at 5, 25, 50, 75, 95 %
and `truth`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence import answers, notation
from veridical.evidence.answers import Answer
from veridical.evidence.tabulation import QUANTILES
from veridical.evidence.variants import REFERENCE
from veridical.figures import style
from veridical.figures.base import Array, Axes, Data, Drawn, Figure, Found, Sources, plain

MAX_ROWS = 24
MAX_PARAMETERS = 6
COLOURS = {"estimate": style.ESTIMATE, "reference": style.REFERENCE, "other": style.CYCLE[2]}


LINES = (
    "Each line is one answer: the dot its median, the thick bar its 50 % and the thin bar its 90 % interval. "
    "Orange squares are exact answers, black crosses true values where they are known."
)
PRIOR = " The grey band holds 90 % of what was thought possible before the data."


class Forest(Figure):
    """Answers of all methods to all observations, each parameter beside what was thought before the data."""

    section = "overview"
    read = LINES + PRIOR

    def found(self, sources: Sources) -> Iterator[Found]:
        found = answers.of_study(sources.answered)
        if sum(a.variant.method != REFERENCE for a in found) > 1:
            yield Found((found, sources.units, sources.prior_draws))

    def data(
        self,
        found: Sequence[Answer],
        units: Mapping[str, str],
        prior: Mapping[str, Array],
        runs: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Returns the quantiles of answers, those of one observation together.

        Arguments:
            found: The answers; the first MAX_ROWS are shown.
            units: Units by parameter, in the order in which parameters are shown.
            prior: Draws of the prior (R,) by parameter; empty where there are none.
            runs: The run that each answer comes from, where they come from several.
        """
        names = [name for name in units if name in found[0].quantiles] or list(found[0].quantiles)
        several = len({a.observation for a in found}) > 1
        rows = [_row(a, names[:MAX_PARAMETERS], several) for a in found[:MAX_ROWS]]
        for row, run in zip(rows, runs, strict=False):
            row["label"] = f"{run}: {row['label']}"
            row["role"] = "other" if row["role"] == "estimate" and run != runs[0] else row["role"]
        parameters = [
            {
                "name": name,
                "unit": units.get(name, ""),
                "prior": plain(np.quantile(prior[name], [0.05, 0.95])) if name in prior else None,
            }
            for name in names[:MAX_PARAMETERS]
        ]
        return {"parameters": parameters, "rows": rows, "of_rows": len(found), "of_parameters": len(names)}

    def draw(self, data: Data) -> Drawn:
        parameters, rows = data["parameters"], data["rows"]
        places, heads = _places(rows)
        size = (1.1 + 0.19 * (places[-1] + 1), 2.6 + 1.9 * min(len(parameters), 3))
        columns = min(len(parameters), 3)
        deep = -(-len(parameters) // columns)
        made, axes = style.figure(deep, columns, height=size[0] * deep, width=min(size[1], style.WIDTH))
        for j, (ax, parameter) in enumerate(zip(axes.flat, parameters, strict=False)):
            _draw_panel(ax, rows, places, j, parameter["prior"])
            name = notation.label(data, parameter["name"])
            ax.set_xlabel(notation.with_unit(name, parameter["unit"]))
            _label(ax, rows, places, heads if not j % columns else None)
        for ax in list(axes.flat)[len(parameters) :]:
            ax.set_visible(False)
        return made

    def caption(self, data: Data) -> tuple[str, str]:
        known = any(parameter["prior"] for parameter in data["parameters"])
        return LINES + (PRIOR if known else ""), self.shows(data)

    def shows(self, data: Data) -> str:
        shown, total = len(data["rows"]), data["of_rows"]
        words = f"{total} answers" if shown == total else f"The first {shown} of {total} answers"
        if data["of_parameters"] > len(data["parameters"]):
            words += f", the first {len(data['parameters'])} of {data['of_parameters']} parameters"
        return words + "."


def _row(answer: Answer, names: Sequence[str], several: bool) -> dict[str, Any]:
    """One line; `several` tells the observations of a data set apart."""
    exact = answer.variant.method == REFERENCE
    cells = [
        {"quantiles": plain([own[level] for level in QUANTILES]), "truth": answer.truth.get(name)}
        if (own := answer.quantiles.get(name))
        else None
        for name in names
    ]
    return {
        "label": "exact" if exact else answer.variant.label,
        "group": f"{answer.dataset} {answer.observation + 1}" if several else answer.dataset,
        "role": "reference" if exact else "estimate",
        "cells": cells,
    }


def _places(rows: Sequence[Data]) -> tuple[list[float], dict[float, str]]:
    """Where rows stand from the top, and the headings of groups that have more than one row."""
    groups = [row["group"] for row in rows]
    places, heads, at = [], {}, 0.0
    for i, group in enumerate(groups):
        if i == 0 or group != groups[i - 1]:
            at += 0.35 if i else 0.0
            if len(set(groups)) > 1 and groups.count(group) > 1:
                heads[at] = group
                at += 1.0
        places.append(at)
        at += 1.0
    return places, heads


def _draw_panel(
    ax: Axes, rows: Sequence[Data], places: Sequence[float], j: int, prior: Sequence[float] | None
) -> None:
    shown = [(row, y) for row, y in zip(rows, places, strict=True) if row["cells"][j] is not None]
    for row, y in shown:
        low, first, middle, third, high = row["cells"][j]["quantiles"]
        colour = COLOURS[row["role"]]
        ax.hlines(y, low, high, color=colour, linewidth=1.3)
        ax.hlines(y, first, third, color=colour, linewidth=3.6, alpha=0.55)
        marker = "s" if row["role"] == "reference" else "o"
        ax.plot([middle], [y], marker, color=colour, markersize=4.5)
        if row["cells"][j]["truth"] is not None:
            ax.plot([row["cells"][j]["truth"]], [y], "x", color=style.TRUTH, markersize=5)
    left, right = ax.get_xlim()
    if prior is not None:
        ax.axvspan(*prior, color=style.BAND, alpha=0.45, linewidth=0, zorder=0)
        span = right - left
        left, right = max(left - span, min(left, prior[0])), min(right + span, max(right, prior[1]))
    ax.set_xlim(left, right)
    ax.locator_params(axis="x", nbins=4)


def _label(
    ax: Axes, rows: Sequence[Data], places: Sequence[float], heads: Mapping[float, str] | None
) -> None:
    ax.set_ylim(places[-1] + 0.7, -0.7)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    if heads is None:
        ax.set_yticks([])
        return
    many = len({row["group"] for row in rows}) > 1
    names = [row["group"] if many and not heads else row["label"] for row in rows]
    if many and not heads and len({row["label"] for row in rows}) > 1:
        names = [f"{row['group']}: {row['label']}" for row in rows]
    ticks = dict(zip(places, names, strict=True)) | dict(heads)
    ax.set_yticks(list(ticks), [notation.safe(str(name)) for name in ticks.values()])
    for at, text in zip(ticks, ax.get_yticklabels(), strict=True):
        text.set_fontweight("bold" if at in heads else "normal")
