"""The data of the figures that show what checks found, taken from their saved results as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical.figures.base import Array, Data, plain_list

MAX_PANELS = 8
MAX_LINES = 20
BAND_LEVELS = ("0.05", "0.25", "0.5", "0.75", "0.95")


# ---- predictions ---------------------------------------------------------------------------------


def predictive(
    result: Mapping[str, Any], axes: Sequence[Mapping[str, Any]], unit: str, index: int = 0
) -> Data | None:
    """Returns quantiles of data simulated at the posterior beside one observation; None where there are none.

    Arguments:
        result: The saved check `predictive`.
        axes: Name, coordinates and unit of each dimension of x.
        unit: The unit of x.
        index: Which observation.
    """
    if "bands" not in result["curves"]:
        return None
    x = np.asarray(result["curves"]["observed"], dtype=float)[index]
    bands = np.asarray(result["curves"]["bands"], dtype=float)[:, index]
    return {"role": "posterior", **_against_bands(x, bands, axes, unit)}


def prior(look: Mapping[str, Any], x: Array, axes: Sequence[Mapping[str, Any]], unit: str) -> Data:
    """Returns quantiles of data simulated at the prior beside one observation.

    Arguments:
        look: What the probe saw: `levels` and `bands` (levels, *x_shape).
        x: One observation, shape (*x_shape).
        axes: Name, coordinates and unit of each dimension of x.
        unit: The unit of x.
    """
    rows = [list(look["levels"]).index(float(level)) for level in BAND_LEVELS]
    bands = np.asarray(look["bands"], dtype=float)[rows]
    return {"role": "prior", **_against_bands(np.asarray(x, dtype=float), bands, axes, unit)}


def _against_bands(x: Array, bands: Array, axes: Sequence[Mapping[str, Any]], unit: str) -> Data:
    """One observation (*x_shape) beside quantiles (5, *x_shape), in panels.

    A two-dimensional observation with a numeric first axis gets a panel for each entry of its second; any
    other is one row of numbers, standardised by the quantiles where its axis holds names.
    """
    if x.ndim == 2 and _numeric(axes[0]) and x.shape[0] > 1:
        names = [str(c) for c in axes[1]["coordinates"]][:MAX_PANELS]
        at = axes[0]["coordinates"]
        panels = [_panel(name, unit, at, x[:, k], bands[:, :, k]) for k, name in enumerate(names)]
        return {"axis": _axis(axes[0]), "panels": panels, "of_panels": x.shape[1]}
    several = {"name": "entry of the data", "coordinates": list(range(x.size)), "unit": ""}
    single = axes[0] if x.ndim == 1 else several
    flat, flat_bands = x.ravel(), bands.reshape(len(bands), -1)
    if not _numeric(single):
        flat, flat_bands = _standardised(flat, flat_bands)
        unit = "half-widths of the 90 % interval"
    panel = _panel("", unit, single["coordinates"], flat, flat_bands)
    panel["numeric"] = _numeric(single) and x.size > 3
    return {"axis": _axis(single), "panels": [panel], "of_panels": 1}


def _panel(label: str, unit: str, at: Sequence[Any], observed: Array, bands: Array) -> Data:
    positive = bool((observed > 0).all() and (bands > 0).all())
    spread = float(bands.max() / bands.min()) if positive else 0.0
    numeric = all(isinstance(c, int | float | np.number) for c in at)
    inside = (observed >= bands[0]) & (observed <= bands[-1])
    return {
        "label": label,
        "unit": unit,
        "x": plain_list(np.asarray(at)) if numeric else [str(c) for c in at],
        "bands": {level: plain_list(band) for level, band in zip(BAND_LEVELS, bands, strict=True)},
        "observed": plain_list(observed),
        "log": positive and spread > 10,
        "numeric": numeric,
        "inside": int(inside.sum()),
        "of": int(inside.size),
    }


def _standardised(x: Array, bands: Array) -> tuple[Array, Array]:
    """Values and bands about the predicted median, in half-widths of the 90 % interval."""
    half = (bands[-1] - bands[0]) / 2
    half = np.where(half > 0, half, 1.0)
    return (x - bands[2]) / half, (bands - bands[2]) / half


def _axis(axis: Mapping[str, Any]) -> Data:
    return {"name": axis["name"], "unit": axis.get("unit", "")}


def _numeric(axis: Mapping[str, Any]) -> bool:
    return all(isinstance(c, int | float | np.number) for c in axis["coordinates"])


# ---- checks --------------------------------------------------------------------------------------


def ranks(results: Mapping[int, Mapping[str, Any]]) -> Data:
    """Returns rank ECDFs minus their expectation, a panel per parameter with a curve per replicate.

    Arguments:
        results: The saved check `sbc` by replicate.
    """
    first = results[min(results)]
    curves = first["curves"]
    grid, band = curves["grid"], (curves["lower"], curves["upper"])
    panels = [
        _rank_panel(name, {r: result["curves"]["ecdf"][j] for r, result in results.items()}, grid, band)
        for j, name in enumerate(first["parameters"])
    ]
    if "ecdf_log_density" in curves:
        band = curves["lower_log_density"], curves["upper_log_density"]
        ecdfs = {r: result["curves"]["ecdf_log_density"] for r, result in results.items()}
        panels.append(_rank_panel("density", ecdfs, grid, band))
    return {"panels": panels}


def _rank_panel(
    label: str,
    ecdfs: Mapping[int, Sequence[float]],
    points: Sequence[float],
    band: tuple[Sequence[float], Sequence[float]],
) -> Data:
    """The panel of one column of ranks, from its ECDF by replicate; thinned, but judged at all points."""
    grid, low, high = (np.asarray(values, dtype=float) for values in (points, *band))
    thin = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), 200)).round().astype(int))
    curves = []
    for replicate, values in sorted(ecdfs.items()):
        ecdf = np.asarray(values, dtype=float)
        inside = bool(((ecdf >= low - 1e-7) & (ecdf <= high + 1e-7)).all())
        difference = plain_list((ecdf - grid)[thin])
        curves.append({"replicate": replicate, "difference": difference, "inside": inside})
    return {
        "label": label,
        "points": plain_list(grid[thin]),
        "lower": plain_list((low - grid)[thin]),
        "upper": plain_list((high - grid)[thin]),
        "curves": curves,
    }


def typicality(results: Mapping[int, Mapping[str, Any]]) -> Data:
    """Returns distances of simulated data and of the observations, a panel per replicate.

    Arguments:
        results: The saved check `typicality` by replicate.
    """
    panels = []
    for replicate, result in sorted(results.items()):
        null = np.asarray(result["curves"]["null"], dtype=float)
        observed = np.asarray(result["curves"]["distances"], dtype=float)[:MAX_LINES]
        panels.append(
            {
                "label": f"repeat {replicate + 1}" if len(results) > 1 else "",
                **histogram(null),
                "observed": plain_list(observed),
                "threshold": float(np.quantile(null, 0.99)),
            }
        )
    return {"panels": panels}


def histogram(null: Array) -> Data:
    """Returns `edges` and `counts` of simulated statistics (R,): a dozen to a bin, but 8 to 30 bins."""
    counts, edges = np.histogram(null, bins=min(30, max(8, len(null) // 12)))
    return {"edges": plain_list(edges), "counts": counts.tolist()}


def coverage(results: Mapping[int, Mapping[str, Any]]) -> Data:
    """Returns coverage against stated probability: regions of highest density, and intervals per parameter.

    Arguments:
        results: The saved check `coverage` by replicate.
    """
    first = results[min(results)]
    levels = first["curves"]["levels"]
    band = {"levels": levels, "lower": first["curves"]["lower"], "upper": first["curves"]["upper"]}
    panels = []
    if "hpd" in first["curves"]:
        curves = [
            {"label": f"repeat {r + 1}", "levels": levels, "coverage": result["curves"]["hpd"]}
            for r, result in sorted(results.items())
        ]
        panels.append({"label": "all parameters together", "joint": True, "band": band, "curves": curves})
    curves = [
        {"label": name, "levels": levels, "coverage": first["curves"]["central"][j]}
        for j, name in enumerate(first["parameters"])
    ]
    panels.append({"label": "each parameter", "band": band, "curves": curves})
    return {"panels": panels}
