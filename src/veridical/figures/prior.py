"""Simulations at the prior laid over the observed data: data and drawing as those of `predictive`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.figures.base import Array, Found, Sources
from veridical.figures.predictive import BAND_LEVELS, Predictive, against_bands


class Prior(Predictive):
    """Data simulated at the prior beside one observation; no method has a part in it."""

    heading = "Before the data: what the simulator expected"
    read = (
        "Dots are the observed data. The grey bands are what the simulator made before it saw any data, at "
        "parameters from the prior. Dots far outside mean that prior or simulator cannot explain the data."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for dataset, look, x in sources.looked():
            yield Found((look, x, *sources.axes[dataset]), None, dataset)

    def data(  # type: ignore[override]
        self, look: Mapping[str, Any], x: Array, axes: Sequence[Mapping[str, Any]], unit: str
    ) -> dict[str, Any]:
        """Returns quantiles of data simulated at the prior beside one observation.

        Arguments:
            look: What the probe saw: `levels` and `bands` (levels, *x_shape).
            x: One observation, shape (*x_shape).
            axes: Name, coordinates and unit of each dimension of x.
            unit: The unit of x.
        """
        rows = [list(look["levels"]).index(float(level)) for level in BAND_LEVELS]
        bands = np.asarray(look["bands"], dtype=float)[rows]
        missing = {"missing": look["missing"]} if "missing" in look else {}
        return {"role": "prior", **missing, **against_bands(np.asarray(x, dtype=float), bands, axes, unit)}
