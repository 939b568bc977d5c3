"""Stage report, second job: every figure as SVG, with the data it was drawn from as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from veridical import checks, files
from veridical.coordinates import Coordinates
from veridical.evidence import comparison, metrics, variants
from veridical.evidence.variants import Variant, of_coordinates
from veridical.figures import base as figures
from veridical.figures import coverage as check_figures
from veridical.figures import coverages as comparison_figures
from veridical.figures import intervals as remedy_figures
from veridical.figures import style
from veridical.files import write_text
from veridical.saved import posteriors
from veridical.saved.observations import load as load_observations

Paths = Iterable[str | Path]
EXAMPLE = 0  # the replicate and the observation that are drawn where only one can be


class Figure(NamedTuple):
    """One figure: its kind, the method and the data set it shows (None, empty: all), its data."""

    kind: str
    of: Variant | None
    dataset: str
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name: `{kind}--{method}[-c{pairs}]--{dataset}`, or `{kind}--all`."""
        of = [part for part in (self.of.key if self.of else "", self.dataset) if part]
        return "--".join([self.kind, *(of or ["all"])])

    def record(self) -> dict[str, Any]:
        """Returns what is saved beside the picture."""
        of = self.of or Variant("")
        about = {"kind": self.kind, "method": of.method, "calibration": of.calibration}
        return {**about, "dataset": self.dataset, "data": figures.plain(self.data)}


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

    Figures of one method show it at its largest budget and calibration set; those that compare show all
    calibration sets, and all budgets where they are about cost.

    Arguments:
        out: Folder of `{kind}--{name}.svg` and `.json`.
        results: Saved checks.
        draws: Answers to observed data (to labelled data where there are none), and draws of the reference.
            Of answers that are no draws (JSON) none is drawn.
        observations: `observe/{dataset}.nc`, for the axes of the data.
        histories: `{train,remedy}/{method}/{run}/history.json`; the largest budget is drawn.
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
        *_comparisons(loaded, table),
        *_of_training(histories),
        *_of_study(table, benchmarks or {}),
    ]
    with style.styled():
        for figure in made:
            record = figure.record()
            write_text(out / f"{figure.name}.json", json.dumps(record, allow_nan=True) + "\n")
            style.save(figures.render(figure.kind, record["data"]), out / f"{figure.name}.svg")
            print(figure.name)


# ---- from saved results to the data of figures ---------------------------------------------------

Results = dict[int, dict[str, Any]]  # by replicate
Loaded = dict[tuple[str, str], dict[Variant, Results]]  # by check and data set


def _load_checks(paths: Paths) -> Loaded:
    """Saved checks at the largest budgets, by check and data set, then by variant and replicate."""
    found = [(Coordinates.of(path), Path(path)) for path in paths]
    final = set(variants.finals(of_coordinates(where) for where, _ in found))
    loaded: Loaded = {}
    for where, path in sorted(found, key=lambda pair: (pair[1].stem, str(pair[1]))):
        variant = of_coordinates(where)
        if variant in final:
            of_check = loaded.setdefault((path.stem, where.dataset), {})
            of_check.setdefault(variant, {})[where.replicate or 0] = checks.load(path)
    return loaded


def _posteriors(paths: Paths) -> Iterator[Figure]:
    found = {Coordinates.of(path): path for path in paths if Path(path).suffix == ".nc"}
    leading = set(variants.leading(of_coordinates(where) for where in found))
    for where, path in sorted(found.items(), key=lambda item: str(item[0])):
        variant = of_coordinates(where)
        drawn = variant in leading and where.replicate == EXAMPLE
        if not drawn or where.method in (variants.REFERENCE, variants.PRIOR):
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
        yield Figure("posterior", variant, where.dataset, data)
        if "plan" in own.extras:
            plan = remedy_figures.transport(own.extras, own.names, own.units)
            yield Figure("transport", variant, where.dataset, plan)


def _of_checks(loaded: Loaded, axes: Mapping[str, Any]) -> Iterator[Figure]:
    for (check, dataset), of_check in loaded.items():
        for variant in variants.leading(v for v in of_check if v.method != variants.PRIOR):
            data = _of_check(check, dataset, of_check[variant], axes)
            if data is not None:
                yield Figure(PICTURES[check], variant, dataset, data)


# The figure that shows what a check found, about one method.
PICTURES = {
    "predictive": "predictive",
    "typicality": "typicality",
    "detection": "detection",
    "sbc": "ranks",
    "coverage": "coverage",
}


def _of_check(check: str, dataset: str, results: Results, axes: Mapping[str, Any]) -> Any:
    if check == "predictive" and dataset in axes:
        return check_figures.predictive(results[min(results)], *axes[dataset])
    drawn = {
        "typicality": check_figures.typicality,
        "detection": remedy_figures.detection,
        "sbc": check_figures.ranks,
        "coverage": check_figures.coverage,
    }
    return drawn[check](results) if check in drawn else None


def _comparisons(loaded: Loaded, table: str | Path) -> Iterator[Figure]:
    """The figures that show several methods side by side."""
    rows = variants.summarised(metrics.read(table))
    dataset = comparison.labelled_dataset(rows)
    repeated = loaded.get(("experiments", dataset), {})
    of_posteriors = {v: found for v, found in repeated.items() if _about(found, "levels")}
    of_estimates = {v: found for v, found in repeated.items() if _about(found, "true_values")}
    covered = {**loaded.get(("coverage", dataset), {}), **of_posteriors}
    if len(covered) > 1:
        upper = loaded.get(("coverage", "simulated"), {}) if dataset == "real" else {}
        of_upper = next((found for v, found in upper.items() if v.method == variants.UPPER_BOUND), None)
        yield Figure("coverages", None, "", comparison_figures.coverages(covered, dataset, of_upper))
    if of_estimates:
        yield Figure("deviations", None, "", remedy_figures.deviations(of_estimates))
        yield Figure("intervals", None, "", remedy_figures.intervals(of_estimates))
    for kind, data in (
        ("calibration", comparison_figures.calibration_sizes(rows)),
        ("tradeoff", comparison_figures.tradeoff(rows)),
    ):
        if data is not None:
            yield Figure(kind, None, "", data)


def _about(results: Results, curve: str) -> bool:
    return all(curve in result["curves"] for result in results.values())


def _of_looks(paths: Paths, axes: Mapping[str, Any], data: Mapping[str, str | Path]) -> Iterator[Figure]:
    """What simulations from the prior look like beside each observed data set; no method has a part in it."""
    for path in paths:
        dataset = Path(path).name.split(".")[0]
        x = load_observations(data[dataset]).x[EXAMPLE]
        found = check_figures.prior(json.loads(Path(path).read_text()), x, *axes[dataset])
        yield Figure("prior", None, dataset, found)


def _of_training(paths: Paths) -> Iterator[Figure]:
    found = {Coordinates.of(path): json.loads(Path(path).read_text()) for path in paths}
    leading = set(variants.leading(of_coordinates(where) for where in found))
    histories: dict[str, dict[int, Any]] = {}
    for where, history in found.items():
        if of_coordinates(where) in leading and history["epochs"]:
            histories.setdefault(where.method, {})[where.replicate or 0] = history
    if histories:
        yield Figure("training", None, "", figures.training(histories))


def _of_study(table: str | Path, benchmarks: Mapping[str, Paths]) -> Iterator[Figure]:
    learning = figures.learning(metrics.read(table))
    if learning is not None:
        yield Figure("learning", None, "", learning)
    stages = {
        name: [r for path in paths for r in files.benchmark_records(path)]
        for name, paths in benchmarks.items()
    }
    if any(stages.values()):
        yield Figure("cost", None, "", figures.cost(stages))


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
