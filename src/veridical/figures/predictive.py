"""Simulations at the posterior laid over the observed data.

Data: `panels` (label, unit, `x`, `bands`: quantile level as text -> values, `observed`, `log`, `numeric`,
`inside`, `of`, `marked`), `axis` (name, unit), `role` (`posterior` or `prior`). A panel whose `x` are names,
not numbers, shows whiskers in place of a band.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence import notation, reproduced
from veridical.evidence.numbers import percent
from veridical.figures import style
from veridical.figures.base import Array, Axes, Data, Drawn, Figure, Found, Sources, plain
from veridical.figures.sources import EXAMPLE

COLOURS = {"posterior": style.ESTIMATE, "prior": style.MUTED}
MAX_PANELS = 8
BAND_LEVELS = ("0.05", "0.25", "0.5", "0.75", "0.95")


class Predictive(Figure):
    """Data simulated at the posterior beside one observation."""

    section = "data"
    rule = "reproduces"
    heading = "After the data: predictions of the fitted model"
    read = (
        "Dots are the observed data. The shaded bands are what the fitted model says the data should look "
        "like: half of the dots should fall into the dark band and nine in ten into the light one."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for (results,), variant, dataset in sources.of_check("predictive"):
            if dataset in sources.axes:
                yield Found((standing_for(results), *sources.axes[dataset]), variant, dataset)

    def data(
        self, result: Mapping[str, Any], axes: Sequence[Mapping[str, Any]], unit: str
    ) -> dict[str, Any] | None:
        """Returns quantiles of data simulated at the posterior beside the first observation.

        Arguments:
            result: The saved check `predictive`; without `bands` there is no figure.
            axes: Name, coordinates and unit of each dimension of x.
            unit: The unit of x.
        """
        if "bands" not in result["curves"]:
            return None
        x = np.asarray(result["curves"]["observed"], dtype=float)[EXAMPLE]
        bands = np.asarray(result["curves"]["bands"], dtype=float)[:, EXAMPLE]
        named = result["curves"].get("named")
        marked = None if named is None else np.asarray(named, dtype=bool)[EXAMPLE]
        return {"role": "posterior", **against_bands(x, bands, axes, unit, marked)}

    def draw(self, data: Data) -> Drawn:
        panels = data["panels"]
        columns = 1 if len(panels) <= 3 else 2
        made, axes = style.grid(len(panels), columns, height=(0.5, 2.4), sharex=panels[0]["numeric"])
        for ax, panel in zip(axes.flat, panels, strict=False):
            drawer = draw_band if panel["numeric"] else draw_whiskers
            drawer(ax, panel, COLOURS[data["role"]])
            ax.set_title(panel["label"])
            ax.set_ylabel(panel["unit"] or "value")
            if panel["numeric"] and all(float(x).is_integer() for x in panel["x"]):
                ax.xaxis.get_major_locator().set_params(integer=True)
            if panel["log"]:
                ax.set_yscale("log")
                style.log_ticks(ax)
        for ax in axes[-1]:
            name = notation.label(data, data["axis"]["name"], "dimensions")
            ax.set_xlabel(notation.with_unit(name, data["axis"]["unit"]))
        style.legend(made, "outside upper right")
        return made

    def shows(self, data: Data) -> str:
        inside, of = (sum(panel[key] for panel in data["panels"]) for key in ("inside", "of"))
        if not of:
            return "None of the numbers shown is there, or simulated."
        shows = f"{inside} of {of} observed values ({percent(inside / of)}) lie inside the 90 % band."
        if any(any(panel.get("marked", ())) for panel in data["panels"]):
            shows += " The values that the check names are circled."
        if data["of_panels"] > len(data["panels"]):
            shows += f" The first {len(data['panels'])} of {data['of_panels']} series are shown."
        return f"{shows} {data['missing']}" if "missing" in data else shows


# ---- data ----------------------------------------------------------------------------------------


def standing_for(results: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the check of the replicate that the verdict speaks of; the first where none could decide."""
    found = {seed: one for seed, result in results.items() if (one := reproduced.of_check(result))}
    if not found:
        return results[min(results)]
    shown = reproduced.typical(found)
    return next(results[seed] for seed in sorted(found) if found[seed] is shown)


def against_bands(
    x: Array, bands: Array, axes: Sequence[Mapping[str, Any]], unit: str, marked: Array | None = None
) -> dict[str, Any]:
    """One observation (*x_shape) beside quantiles (5, *x_shape), in panels; `marked` (*x_shape) are circled.

    A two-dimensional observation with a numeric first axis gets a panel for each entry of its second; any
    other is one row of numbers, standardised by the quantiles where its axis holds names.
    """
    if x.ndim == 2 and _numeric(axes[0]["coordinates"]) and x.shape[0] > 1:
        names = [str(c) for c in axes[1]["coordinates"]][:MAX_PANELS]
        at = axes[0]["coordinates"]
        panels = [_panel(name, unit, at, x[:, k], bands[:, :, k]) for k, name in enumerate(names)]
        if marked is not None:
            panels = [{**panel, "marked": marked[:, k].tolist()} for k, panel in enumerate(panels)]
        return {"axis": _named(axes[0]), "panels": panels, "of_panels": x.shape[1]}
    several = {"name": "entry of the data", "coordinates": list(range(x.size)), "unit": ""}
    single = axes[0] if x.ndim == 1 else several
    flat, flat_bands = x.ravel(), bands.reshape(len(bands), -1)
    if not _numeric(single["coordinates"]):
        half = (flat_bands[-1] - flat_bands[0]) / 2
        half = np.where(half > 0, half, 1.0)
        flat, flat_bands = (flat - flat_bands[2]) / half, (flat_bands - flat_bands[2]) / half
        unit = "half-widths of the 90 % interval"
    panel = _panel("", unit, single["coordinates"], flat, flat_bands)
    panel["numeric"] = _numeric(single["coordinates"]) and x.size > 3
    if marked is not None:
        panel["marked"] = marked.ravel().tolist()
    return {"axis": _named(single), "panels": [panel], "of_panels": 1}


def _panel(label: str, unit: str, at: Sequence[Any], observed: Array, bands: Array) -> dict[str, Any]:
    there = ~np.isnan(observed + bands[0])
    positive = bool((observed[there] > 0).all() and (bands[:, there] > 0).all() and there.any())
    spread = float(bands[:, there].max() / bands[:, there].min()) if positive else 0.0
    numeric = _numeric(at)
    inside = (observed >= bands[0]) & (observed <= bands[-1])
    return {
        "label": label,
        "unit": unit,
        "x": plain(np.asarray(at)) if numeric else [str(c) for c in at],
        "bands": {level: plain(band) for level, band in zip(BAND_LEVELS, bands, strict=True)},
        "observed": plain(observed),
        "log": positive and spread > 10,
        "numeric": numeric,
        "inside": int(inside.sum()),
        "of": int(there.sum()),
    }


def _named(axis: Data) -> dict[str, str]:
    return {key: axis[key] for key in ("name", "unit")}


def _numeric(at: Sequence[Any]) -> bool:
    return all(isinstance(c, int | float | np.number) for c in at)


# ---- drawing -------------------------------------------------------------------------------------


def draw_band(ax: Axes, panel: Mapping[str, Any], colour: str = style.ESTIMATE) -> None:
    """Draws the 50 % and 90 % bands, the median and the observed points of one series."""
    x, bands = panel["x"], panel["bands"]
    fill: dict[str, Any] = {"color": colour, "linewidth": 0}
    ax.fill_between(x, bands["0.05"], bands["0.95"], alpha=0.16, label="90 % band", **fill)
    ax.fill_between(x, bands["0.25"], bands["0.75"], alpha=0.30, label="50 % band", **fill)
    ax.plot(x, bands["0.5"], color=colour, linewidth=1.4, label="median")
    ax.plot(x, panel["observed"], "o", color="black", markersize=4, label="observed")
    _circle(ax, x, panel)


def _circle(ax: Axes, x: Sequence[Any], panel: Mapping[str, Any]) -> None:
    """Circles the observed values that the check names."""
    named = [(a, y) for a, y, on in zip(x, panel["observed"], panel.get("marked", ()), strict=False) if on]
    if named:
        look: dict[str, Any] = {"markersize": 9, "fillstyle": "none", "color": style.REFERENCE}
        ax.plot(*zip(*named, strict=True), "o", label="named", **look)


def draw_whiskers(ax: Axes, panel: Mapping[str, Any], colour: str = style.ESTIMATE) -> None:
    """Draws intervals as whiskers, for data without a numeric axis."""
    at, bands = np.arange(len(panel["x"])), panel["bands"]
    ax.vlines(at, bands["0.05"], bands["0.95"], color=colour, alpha=0.35, linewidth=4, label="90 % interval")
    ax.vlines(at, bands["0.25"], bands["0.75"], color=colour, alpha=0.6, linewidth=8, label="50 % interval")
    ax.plot(at, panel["observed"], "o", color="black", markersize=4, label="observed")
    _circle(ax, at.tolist(), panel)
    step = max(1, len(at) // 16)
    names = [notation.safe(str(name)) for name in panel["x"]]
    ax.set_xticks(at[::step], names[::step], rotation=45 if len(at) > 6 else 0)
