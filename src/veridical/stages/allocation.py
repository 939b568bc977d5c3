"""Stage plan of levels: how many rows of each level a given cost should buy, by a pilot of coupled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, bank, seeds, tasks
from veridical.errors import DataError, TaskError
from veridical.estimators.flow_posterior import FlowPosterior
from veridical.estimators.regularised_settings import TRACTABLE
from veridical.files import read_json, write_json
from veridical.inference import allocation
from veridical.tasks.base import Array
from veridical.training.row_gradients import row_gradients

TOTALS = np.geomspace(0.1, 10.0, 9)  # at which rows are drawn, in units of the cost that was asked about


def plan(
    spec: Mapping[str, Any],
    folder: str | Path,
    shards: Mapping[str, Sequence[str | Path]],
    out: str | Path,
    *,
    settings: Mapping[str, Any],
    probes: Sequence[str | Path] = (),
    root: int,
) -> None:
    """Writes the plan as JSON: what figure `allocation` shows, and covariances of gradients between levels.

    Arguments:
        spec: The task, as plain data.
        folder: The network at whose weights gradients of the loss are taken.
        shards: Shards of each level, cheapest first, that hold the rows of the pilot.
        out: Where the plan goes.
        settings: Those of `allocation`.
        probes: Probes of all levels, where costs are measured; else they are the task's nominal ones.
        root: Root seed.

    Raises:
        TaskError: If the method is no network with a density.
        DataError: If levels have other parameters, or too few rows are valid at all of them.
    """
    theta, data = _pilot(shards, settings["pairs"])
    posterior = artifacts.load_estimator(folder)
    if not (isinstance(posterior, FlowPosterior) and posterior.settings.flow.type in TRACTABLE):
        raise TaskError(
            f"allocation.method: expected a posterior network with log densities, which "
            f"{settings['method']!r} is not; name an `npe` with a spline flow."
        )
    z = posterior.parameters.forward(theta)[0].astype(np.float32)
    values = [row_gradients(posterior.network, z, posterior.inputs(x, np.float32)) for x in data]
    pilot = allocation.Pilot(np.stack(values))
    costs = _costs(tasks.build(spec).fidelities, list(shards), probes)
    rng = seeds.generator(root, "check", "allocation")
    found = allocation.recommended(pilot, costs, settings["total"], rng)
    write_json(
        out,
        {
            "method": settings["method"],
            "pairs": len(theta),
            "levels": list(shards),
            "costs": costs,
            "unit": "s" if probes else "nominal",
            "total": settings["total"],
            "rows": found.rows.tolist(),
            "gain": found.gain,
            "interval": list(found.interval),
            "level": allocation.LEVEL,
            "worth": found.worth,
            "warning": found.warning,
            "covariances": pilot.covariances().tolist(),
            "totals": (TOTALS * settings["total"]).tolist(),
            "curve": [(factor * found.rows).tolist() for factor in TOTALS],
        },
    )
    print(f"{len(theta)} rows at {', '.join(shards)}: plan {found.rows.tolist()}. {found.warning}")


def _pilot(shards: Mapping[str, Sequence[str | Path]], n: int) -> tuple[Array, list[Array]]:
    """Parameters of the rows that are valid at all levels, and their data at each."""
    loaded = [bank.load(paths, n, names=["theta", "x", "status"]) for paths in shards.values()]
    if not all(np.array_equal(loaded[0]["theta"], each["theta"]) for each in loaded):
        raise DataError(
            "levels are coupled by row, but rows of a level have other parameters; simulate anew."
        )
    valid = np.logical_and.reduce([bank.valid(each) for each in loaded])
    return loaded[0]["theta"][valid], [each["x"][valid] for each in loaded]


def _costs(nominal: Mapping[str, float], levels: Sequence[str], probes: Sequence[str | Path]) -> list[float]:
    """What a row of each level costs: nominal, or seconds by its probe."""
    if not probes:
        return [float(nominal[level]) for level in levels]
    found = [read_json(path, "the record of a probe")["fidelities"] for path in probes]
    return [float(each[level]["seconds_per_row"]) for each, level in zip(found, levels, strict=True)]
