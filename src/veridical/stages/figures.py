"""Stage report, second job: every figure as SVG, with the data it was drawn from as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from veridical import checks, metrics, posteriors
from veridical.files import write_text
from veridical.metrics import Coordinates, coordinates
from veridical.observations import load as load_observations
from veridical.plots import style
from veridical.report import check_figures, figures

Paths = Iterable[str | Path]
EXAMPLE = 0  # the replicate and the observation that are drawn where only one can be


class Figure(NamedTuple):
    """One figure: its kind, the method and the data set it shows (empty: all), its data."""

    kind: str
    method: str
    dataset: str
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name: `{kind}--{method}--{dataset}`, or `{kind}--all`."""
        of = [part for part in (self.method, self.dataset) if part]
        return "--".join([self.kind, *(of or ["all"])])


def draw(
    out: str | Path,
    *,
    results: Paths,
    draws: Paths,
    observations: Paths,
    histories: Paths,
    table: str | Path,
    looks: Paths = (),
    benchmarks: Mapping[str, Paths] | None = None,
) -> None:
    """Draws all figures of a study into the folder `out`.

    Arguments:
        out: Folder of `{kind}--{name}.svg` and `.json`.
        results: Saved checks.
        draws: Draws of observed data (of `simulated` data where there are none) and of the reference.
        observations: `observe/{dataset}.nc`, for the axes of the data.
        histories: `train/{method}/n{budget}-r{replicate}/history.json`; the largest budget is drawn.
        table: `metrics.csv`.
        looks: `observe/{dataset}.look.json`, what the probe saw of the observed data.
        benchmarks: Snakemake's benchmark files by stage, first stage first.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    loaded = _load_checks(results)
    axes = {Path(path).stem: _axes(path) for path in observations}
    made = [
        *_posteriors(draws),
        *_of_looks(looks, axes, {Path(path).stem: path for path in observations}),
        *_of_checks(loaded, axes),
        *_of_training(histories),
        *_of_study(table, benchmarks or {}),
    ]
    with style.styled():
        for figure in made:
            data = figures.plain(figure.data)
            about = {"kind": figure.kind, "method": figure.method, "dataset": figure.dataset, "data": data}
            write_text(out / f"{figure.name}.json", json.dumps(about, allow_nan=True) + "\n")
            style.save(figures.render(figure.kind, data), out / f"{figure.name}.svg")
            print(figure.name)


# ---- from saved results to the data of figures ---------------------------------------------------

Loaded = dict[
    tuple[str, str, str], dict[int, dict[str, Any]]
]  # (check, method, dataset) -> replicate -> result


def _load_checks(paths: Paths) -> Loaded:
    """Saved checks at the largest budget of each method, by check, method and data set, then replicate."""
    found = [(coordinates(path), Path(path)) for path in paths]
    largest = _largest([where for where, _ in found])
    loaded: Loaded = {}
    for where, path in found:
        if where.budget == largest[where.method]:
            key = (path.stem, where.method, where.dataset)
            loaded.setdefault(key, {})[where.replicate or 0] = checks.load(path)
    return dict(sorted(loaded.items()))


def _posteriors(paths: Paths) -> Iterator[Figure]:
    found = {coordinates(path): path for path in paths}
    largest = _largest(found)
    for where, path in sorted(found.items(), key=lambda item: str(item[0])):
        if where.method == "reference" or where.budget != largest[where.method] or where.replicate != EXAMPLE:
            continue
        own = posteriors.load(path)
        shown = {where.method: own.draws[:, EXAMPLE]}
        exact = found.get(Coordinates("reference", dataset=where.dataset))
        if exact is not None:
            shown["exact reference"] = posteriors.load(exact).draws[:, EXAMPLE]
        truth = None if own.truth is None else own.truth[EXAMPLE]
        reference = "exact reference" if exact is not None else None
        data = figures.posterior(own.names, own.units, shown, reference=reference, truth=truth)
        data["of_observations"] = own.draws.shape[1]
        yield Figure("posterior", where.method, where.dataset, data)


def _of_checks(loaded: Loaded, axes: Mapping[str, Any]) -> Iterator[Figure]:
    for (check, method, dataset), results in loaded.items():
        if check == "predictive" and dataset in axes:
            data = check_figures.predictive(results[min(results)], *axes[dataset])
            if data is not None:
                yield Figure("predictive", method, dataset, data)
        elif check == "typicality":
            yield Figure("typicality", method, dataset, check_figures.typicality(results))
        elif check == "sbc":
            yield Figure("ranks", method, dataset, check_figures.ranks(results))
        elif check == "coverage":
            yield Figure("coverage", method, dataset, check_figures.coverage(results))


def _of_looks(paths: Paths, axes: Mapping[str, Any], data: Mapping[str, str | Path]) -> Iterator[Figure]:
    """What simulations from the prior look like beside each observed data set; no method has a part in it."""
    for path in paths:
        dataset = Path(path).name.split(".")[0]
        x = load_observations(data[dataset]).x[EXAMPLE]
        found = check_figures.prior(json.loads(Path(path).read_text()), x, *axes[dataset])
        yield Figure("prior", "", dataset, found)


def _of_training(paths: Paths) -> Iterator[Figure]:
    found = {coordinates(path): json.loads(Path(path).read_text()) for path in paths}
    largest = _largest(found)
    histories: dict[str, dict[int, Any]] = {}
    for where, history in found.items():
        if where.budget == largest[where.method]:
            histories.setdefault(where.method, {})[where.replicate or 0] = history
    if histories:
        yield Figure("training", "", "", figures.training(histories))


def _of_study(table: str | Path, benchmarks: Mapping[str, Paths]) -> Iterator[Figure]:
    learning = figures.learning(metrics.read(table))
    if learning is not None:
        yield Figure("learning", "", "", learning)
    stages = {
        name: [r for path in paths for r in metrics.benchmark_records(path)]
        for name, paths in benchmarks.items()
    }
    if any(stages.values()):
        yield Figure("cost", "", "", figures.cost(stages))


def _largest(found: Iterable[Coordinates]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for where in found:
        largest[where.method] = max(largest.get(where.method, 0), where.budget or 0)
    return largest


def _axes(path: str | Path) -> tuple[list[dict[str, Any]], str]:
    """Name, coordinates and unit of each dimension of the data in a file, and the unit of the data."""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf") as stored:
        x = stored["x"]
        axes = [
            {
                "name": str(dim),
                "coordinates": x[dim].to_numpy().tolist(),
                "unit": x[dim].attrs.get("units", ""),
            }
            for dim in x.dims[1:]
        ]
        return axes, str(x.attrs.get("units", ""))
