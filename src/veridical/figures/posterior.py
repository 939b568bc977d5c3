"""Posterior pairs: marginals on the diagonal, contours of pairs below it, one colour per posterior.

Data: `parameters` (name, unit, range; of discrete ones `values`, which stand at 0, 1, ...), `series`
(label, role, `marginals`: per parameter `x` and `density`;
`pairs`: per pair `row`, `column`, `x`, `y`, `density` and the two `levels` that hold 90 % and 50 % of the
mass), `truth` (D numbers or None), `units` by parameter, and `largest_shift` from the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from veridical.evidence import notation
from veridical.evidence.numbers import rounded
from veridical.figures import style
from veridical.figures.base import Array, Axes, Data, Drawn, Figure, Found, Sources, plain
from veridical.figures.sources import EXAMPLE
from veridical.tasks.supports import Discrete

MAX_PARAMETERS = 8
BINS = 36
MASSES = (0.9, 0.5)
COLOURS = {"estimate": style.ESTIMATE, "reference": style.REFERENCE}
DASHES: dict[str, Any] = {"estimate": "-", "reference": "--"}
DIAGONAL = "On the diagonal, how plausible each value of a parameter is: the higher the curve, the more so."
PAIRS = (
    " Below it, each pair of parameters: the true values lie inside the inner line with 50 % and inside the "
    "outer line with 90 % probability. Slanted shapes mean that two parameters trade off against each other."
)
BARS = " Bars are probabilities of single values; cells are darker inside the 50 % than inside the 90 %."
EXACT = (
    " Solid blue is the network's answer, dashed orange the exact one; where they lie on top of each other "
    "the network can be believed."
)


class Posterior(Figure):
    """How plausible each value of a parameter is, beside the exact answer where there is one."""

    section = "answer"
    read = DIAGONAL + PAIRS + EXACT

    def found(self, sources: Sources) -> Iterator[Found]:
        for variant, dataset, own, exact in sources.answers():
            draws = {variant.method: own.draws[:, EXAMPLE]}
            reference = None if exact is None else "exact reference"
            if exact is not None:
                draws["exact reference"] = exact.draws[:, EXAMPLE]
            truth = None if own.truth is None else own.truth[EXAMPLE]
            given = (own.names, own.units, draws, reference, truth, own.draws.shape[1], own.support.discrete)
            yield Found(given, variant, dataset)

    def data(
        self,
        names: Sequence[str],
        units: Sequence[str],
        draws: Mapping[str, Array],
        reference: str | None = None,
        truth: Array | None = None,
        observations: int = 1,
        discrete: Mapping[str, Discrete] | None = None,
    ) -> dict[str, Any]:
        """Returns marginal and pairwise densities of one or two posteriors on common axes.

        Arguments:
            names: Names of the D parameters; the first MAX_PARAMETERS are shown.
            units: Their units.
            draws: Posterior draws (S, D) by label.
            reference: The label that is the reference.
            truth: True parameters (D,), where they are known.
            observations: How many there are, of which one is shown.
            discrete: The discrete parameters by name; those of many values are shown as continuous ones.
        """
        d = min(len(names), MAX_PARAMETERS)
        shown = {label: np.array(values, dtype=float)[:, :d] for label, values in draws.items()}
        shift = _largest_shift(shown, reference)
        truth = None if truth is None else np.array(truth, dtype=float)[:d]
        edges = common_edges(list(shown.values()))
        parameters: list[dict[str, Any]] = [{"name": names[j], "unit": units[j]} for j in range(d)]
        for j, of in enumerate((discrete or {}).get(name) for name in names[:d]):
            if of is not None and len(of.codes) <= BINS:
                for values in (*shown.values(), *(() if truth is None else (truth[None],))):
                    values[:, j] = of.number(values[:, j])
                edges[j] = np.arange(len(of.codes) + 1) - 0.5
                parameters[j]["values"] = of.labels
            parameters[j]["range"] = plain(edges[j][[0, -1]])
        bars = ["values" in parameter for parameter in parameters]
        series = [
            {
                "label": label,
                "role": "reference" if label == reference else "estimate",
                "marginals": [marginal(values[:, j], edges[j], bars[j]) for j in range(d)],
                "pairs": [_pair(values, edges, i, j, bars) for i in range(d) for j in range(i)],
            }
            for label, values in shown.items()
        ]
        return {
            "parameters": parameters,
            "series": series,
            "truth": None if truth is None else plain(truth),
            "of_parameters": len(names),
            "units": dict(zip(names, units, strict=True)),
            "largest_shift": shift,
            "of_observations": observations,
        }

    def draw(self, data: Data) -> Drawn:
        parameters = data["parameters"]
        d = len(parameters)
        side = min(style.WIDTH + 0.7, 2.2 + 1.05 * d) if d > 1 else 4.0
        made, axes = style.figure(d, d, height=side * 0.93 if d > 1 else 3.0, width=side)
        made.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        for (i, j), ax in np.ndenumerate(axes):
            if j > i:
                ax.set_visible(False)
            else:
                _draw_panel(ax, data, i, j)
        made.align_labels()
        _legend(made, data)
        return made

    def caption(self, data: Data) -> tuple[str, str]:
        several = len(data["parameters"]) > 1
        read = DIAGONAL + (PAIRS if several else "")
        read += BARS if any("values" in p for p in data["parameters"]) else ""
        read += EXACT if _has_reference(data) else ""
        safe = notation.safe
        units = {notation.label(data, p["name"]): safe(p["unit"]) for p in data["parameters"] if p["unit"]}
        if units and len(data["parameters"]) > 4:
            read += " Units: " + "; ".join(f"{name} in {unit}" for name, unit in units.items()) + "."
        return read, self.shows(data)

    def shows(self, data: Data) -> str:
        shows = ""
        if _has_reference(data):
            shows = f"The centres differ by at most {rounded(data['largest_shift'], 2)} standard deviations."
        if data["of_parameters"] > len(data["parameters"]):
            shows += f" The first {len(data['parameters'])} of {data['of_parameters']} parameters are shown."
        return shows.strip()


def _has_reference(data: Data) -> bool:
    return any(series["role"] == "reference" for series in data["series"])


# ---- data ----------------------------------------------------------------------------------------


def _largest_shift(draws: Mapping[str, Array], reference: str | None) -> float | None:
    """The largest distance of means from those of the reference, in standard deviations of that."""
    if reference is None:
        return None
    centre, sd = draws[reference].mean(axis=0), draws[reference].std(axis=0)
    return float(max((np.abs(own.mean(axis=0) - centre) / sd).max() for own in draws.values()))


def common_edges(draws: Sequence[Array]) -> list[Array]:
    """Returns bin edges per parameter that hold the central 99 % of every posterior and some room."""
    low = np.min([np.quantile(values, 0.005, axis=0) for values in draws], axis=0)
    high = np.max([np.quantile(values, 0.995, axis=0) for values in draws], axis=0)
    span = np.maximum(high - low, 1e-4 * np.maximum(np.abs(high), np.abs(low)))
    span = np.where(span > 0, span, 1.0)
    return [
        np.linspace(a - 0.08 * s, b + 0.08 * s, BINS + 1) for a, b, s in zip(low, high, span, strict=True)
    ]


def marginal(values: Array, edges: Array, bars: bool = False) -> Data:
    """Returns the density of draws (S,) at the centres of bins, smoothed unless it is one of bars."""
    counts, _ = np.histogram(values, edges)
    density = _smooth(counts / (len(values) * np.diff(edges)), [bars])
    return {"x": _centres(edges), "density": plain(density)}


def _pair(values: Array, edges: Sequence[Array], i: int, j: int, bars: Sequence[bool]) -> Data:
    counts, _, _ = np.histogram2d(values[:, i], values[:, j], [edges[i], edges[j]])
    density = _smooth(counts / max(counts.sum(), 1.0), [bars[i], bars[j]])
    return {
        "row": i,
        "column": j,
        "x": _centres(edges[j]),
        "y": _centres(edges[i]),
        "density": plain(density),
        "levels": plain(_mass_levels(density)),
    }


def _centres(edges: Array) -> list[float]:
    return plain((edges[1:] + edges[:-1]) / 2)


def _smooth(density: Array, bars: Sequence[bool]) -> Array:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(density, sigma=[0.0 if one else 1.3 for one in bars], mode="constant")


def _mass_levels(density: Array) -> Array:
    """Heights above which 90 % and 50 % of the mass lie, growing, never equal."""
    heights = np.sort(density.ravel())[::-1]
    mass = np.cumsum(heights) / heights.sum()
    low, high = (heights[np.searchsorted(mass, m)] for m in MASSES)
    return np.array([low, max(high, low * (1 + 1e-6))])


# ---- drawing -------------------------------------------------------------------------------------


def _draw_panel(ax: Axes, data: Data, i: int, j: int) -> None:
    """Draws densities of one parameter, or the regions that hold 50 % and 90 % of two, and the truth."""
    truth = data["truth"]
    for series in data["series"]:
        colour, dash = COLOURS[series["role"]], DASHES[series["role"]]
        bars = any("values" in data["parameters"][k] for k in (i, j))
        if i == j:
            _draw_marginal(ax, series["marginals"][i], colour, dash, bars)
        else:
            pair = next(p for p in series["pairs"] if (p["row"], p["column"]) == (i, j))
            _draw_pair(ax, pair, colour, dash, bars)
        if i == j and truth is not None:
            ax.axvline(truth[i], color=style.TRUTH, linestyle=":", linewidth=1.2)
    if i != j and truth is not None:
        ax.plot(truth[j], truth[i], marker="+", color=style.TRUTH, markersize=8)
    _label(ax, data, i, j)


def _draw_marginal(ax: Axes, marginal: Data, colour: str, dash: str, bars: bool) -> None:
    if bars:
        ax.bar(marginal["x"], marginal["density"], color=colour, alpha=0.5, edgecolor=colour, linestyle=dash)
    elif dash == "-":
        ax.fill_between(marginal["x"], marginal["density"], color=colour, alpha=0.15, linewidth=0)
    if not bars:
        ax.plot(marginal["x"], marginal["density"], color=colour, linestyle=dash)
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.08 * max(marginal["density"])))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _draw_pair(ax: Axes, pair: Data, colour: str, dash: str, bars: bool) -> None:
    from matplotlib.colors import ListedColormap

    grid, levels = (pair["x"], pair["y"], np.asarray(pair["density"])), pair["levels"]
    if bars:
        for level in levels:
            held = np.where(grid[2] >= level, 1.0, np.nan)
            ax.pcolormesh(*grid[:2], held, cmap=ListedColormap([colour]), alpha=0.25, shading="nearest")
        return
    if dash == "-":
        ax.contourf(*grid, levels=[*levels, np.inf], colors=[colour, colour], alpha=0.18)
    styles = "solid" if dash == "-" else "dashed"
    ax.contour(*grid, levels=levels, colors=colour, linewidths=[1.0, 1.5], linestyles=styles)


def _label(ax: Axes, data: Data, i: int, j: int) -> None:
    parameters = data["parameters"]
    many = len(parameters) > 4  # and no room for units
    called = [notation.label(data, p["name"]) for p in parameters]
    names = called if many else list(map(notation.with_unit, called, (p["unit"] for p in parameters)))
    _place(ax, "x", parameters[j], many)
    ax.tick_params(labelsize=7.5 if many else 9)
    if i == j:
        ax.set_title(called[i], loc="center", fontsize=9.5 if many else 10.5)
    else:
        _place(ax, "y", parameters[i], many)
    if i == len(parameters) - 1:
        ax.set_xlabel(names[j], fontsize=9)
        for text in ax.get_xticklabels():
            text.set_rotation(45 if many else 0)
    else:
        ax.tick_params(labelbottom=False)
    if j == 0 and i > 0:
        ax.set_ylabel(names[i], fontsize=9)
    elif j > 0:
        ax.tick_params(labelleft=False)


def _place(ax: Axes, axis: Literal["x", "y"], parameter: Data, many: bool) -> None:
    """Sets the range of an axis, and its ticks: at the values of a discrete parameter, at some of many."""
    ax.set(**{f"{axis}lim": parameter["range"]})
    values = parameter.get("values")
    if values is None:
        ax.locator_params(axis=axis, nbins=3 if many else 4)
    else:
        step = -(-len(values) // (4 if many else 10))
        shown = [notation.safe(value) for value in values[::step]]
        ax.set(**{f"{axis}ticks": range(0, len(values), step), f"{axis}ticklabels": shown})


def _legend(made: Drawn, data: Data) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[s["role"]], linestyle=DASHES[s["role"]], label=s["label"])
        for s in data["series"]
    ]
    if data["truth"] is not None:
        handles.append(Line2D([], [], color=style.TRUTH, linestyle=":", marker="+", label="true value"))
    if len(data["parameters"]) == 1:
        made.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    else:
        made.legend(handles=handles, loc="upper right", fontsize=11, bbox_to_anchor=(0.98, 0.97))
