"""The transport plan: which simulations stand for which observation.

Data: `name`, `unit`, `picture` (weights of groups of simulations, across, for groups of observations,
upwards, both sorted by what they say of the parameter: `column_values`, `row_values`), `effective`
(`counts`, `edges`, `median`, `smallest`) and `facts` of the solver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence import notation
from veridical.evidence.numbers import rounded
from veridical.figures import style
from veridical.figures.base import Array, Axes, Data, Drawn, Figure, Found, Sources, histogram, plain

CELLS = 120  # pixels of the picture of a plan, along either side
FACTS = ("gamma", "tau", "mean cost", "row error", "residual", "iterations")
DECADES = 3.0
FEW = 10.0  # effective simulations behind an answer, below which it rests on too few


class Transport(Figure):
    """The transport plan of `rope`, and how many simulations stand behind an answer."""

    section = "data"
    heading = "Which simulations stand for which data?"
    read = (
        "Calibration answers for an observation with a mixture of the answers to simulations that "
        "resemble it. Left: the weight of simulations (across) for observations (upwards), both sorted by "
        "the parameter; dark means that the simulations stand for the observation. A narrow diagonal is a "
        "sharp match, an even colour says no more than the prior. Right: how many simulations an answer "
        "effectively rests on."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for variant, dataset, own, _ in sources.answers():
            if "plan" in own.extras:
                yield Found((own.extras, own.names, own.units), variant, dataset)

    def data(self, extras: Mapping[str, Array], names: Sequence[str], units: Sequence[str]) -> dict[str, Any]:
        """Returns a picture of the plan, sorted by the first parameter, and how many simulations count.

        Arguments:
            extras: What RoPE keeps beside its draws: `plan` (D, R, C), weights between groups of
                observations and of simulations; `plan_rows` (D, R) and `plan_columns` (D, C), mean
                parameters of the groups; `effective` (N,), effective numbers of simulations;
                `transport`, the FACTS of the solver.
            names: Names of the D parameters.
            units: Their units.
        """
        picture = _blocks(_blocks(np.asarray(extras["plan"])[0], CELLS, 0, np.mean), CELLS, 1, np.sum)
        effective = np.asarray(extras["effective"], dtype=float)
        binned = histogram(effective)
        return {
            "name": names[0],
            "unit": units[0],
            "picture": [[float(f"{v:.3g}") for v in line] for line in picture],
            "row_values": plain(_blocks(np.asarray(extras["plan_rows"])[0], CELLS, 0, np.mean)),
            "column_values": plain(_blocks(np.asarray(extras["plan_columns"])[0], CELLS, 0, np.mean)),
            "observations": len(effective),
            "effective": {
                "counts": binned["counts"],
                "edges": binned["edges"],
                "median": float(np.median(effective)),
                "smallest": float(effective.min()),
            },
            "facts": dict(zip(FACTS, map(float, np.asarray(extras["transport"])), strict=True)),
        }

    def draw(self, data: Data) -> Drawn:
        made, axes = style.figure(1, 2, height=3.9, width_ratios=[2.1, 1.0])
        draw_plan(made, axes[0, 0], data)
        draw_effective(axes[0, 1], data["effective"])
        return made

    def caption(self, data: Data) -> tuple[str, str]:
        facts = data["facts"]
        gamma, tau, error, residual = (
            rounded(facts[name], 2) for name in ("gamma", "tau", "row error", "residual")
        )
        found = (
            f" The plan was found with gamma {gamma} (of the mean cost) and tau {tau} in "
            f"{facts['iterations']:.0f} iterations: row sums are right to {error}, the condition of "
            f"optimality to {residual}."
        )
        return self.read + found, self.shows(data)

    def shows(self, data: Data) -> str:
        effective = data["effective"]
        shows = f"An answer rests on {rounded(effective['median'], 2)} simulations (median), on "
        shows += f"{rounded(effective['smallest'], 2)} at least."
        if effective["median"] < FEW:
            shows += " Those are few: the mixture has gaps unless its components are smoothed."
        return shows


def _blocks(values: Array, size: int, axis: int, reduce: Any) -> Array:
    """Neighbouring entries taken together along one axis, until at most `size` are left."""
    n = values.shape[axis]
    if n <= size:
        return values
    parts = np.array_split(values, size, axis=axis)
    return np.stack([reduce(part, axis=axis) for part in parts], axis=axis)


def draw_plan(made: Drawn, ax: Axes, data: Mapping[str, Any]) -> None:
    """Draws the weights on a logarithmic scale of three decades; white is nothing."""
    from matplotlib.colors import LogNorm

    picture = np.asarray(data["picture"], dtype=float)
    evenly = 1.0 / picture.shape[1]
    top = max(float(picture.max()), evenly)
    relative = np.maximum(picture, top * 10**-DECADES) / evenly
    image = ax.imshow(
        relative,
        cmap="Blues",
        norm=LogNorm(top * 10**-DECADES / evenly, top / evenly),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
    )
    bar = made.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
    bar.set_label("weight, relative to equal weights", fontsize=9)
    bar.ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
    bar.ax.minorticks_off()
    name = notation.with_unit(notation.label(data, data["name"]), data["unit"])
    _ticks(ax, data["column_values"], "x")
    _ticks(ax, data["row_values"], "y")
    ax.set(xlabel=f"{name} of the simulations", ylabel=f"{name} of the observations")
    ax.set_title("who stands for whom")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def _ticks(ax: Axes, values: list[float], axis: str) -> None:
    at = np.unique(np.linspace(0, len(values) - 1, 5).round().astype(int))
    texts = [f"{values[i]:.3g}".replace("-", "\N{MINUS SIGN}") for i in at]
    (ax.set_xticks if axis == "x" else ax.set_yticks)(at, texts)


def draw_effective(ax: Axes, effective: Mapping[str, Any]) -> None:
    """Draws how many simulations an observation effectively rests on."""
    ax.stairs(effective["counts"], effective["edges"], fill=True, color=style.ESTIMATE, alpha=0.6)
    ax.axvline(effective["median"], color=style.TRUTH, linestyle=":", linewidth=1.3)
    ax.set(xlabel="effective simulations", ylabel="observations")
    ax.set_xlim(left=0)
    ax.set_title(f"median {effective['median']:.3g}")
