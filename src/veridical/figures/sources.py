"""The saved results of a study, in which each figure finds what it is made from; loaded when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from veridical import checks, files, job
from veridical.coordinates import REFERENCE, Coordinates
from veridical.evidence import comparison, metrics, tabulation, variants
from veridical.evidence.metrics import Row
from veridical.evidence.variants import PRIOR, Variant, of_coordinates
from veridical.saved import estimates, observations, posteriors
from veridical.saved.posteriors import Draws
from veridical.unchecked import made

Paths = Iterable[str | Path]
Results = Mapping[int, Mapping[str, Any]]  # saved results of a check by replicate
EXAMPLE = 0  # the observation that is drawn where only one can be; of replicates their mixture


class Found(NamedTuple):
    """The arguments of `Figure.data` for one figure, its method and data set (None, empty: none or all)."""

    given: tuple[Any, ...]
    of: Variant | None = None
    dataset: str = ""


@dataclass(kw_only=True)
class Sources:
    """The saved results of a study.

    Figures of one method show it at its largest budget and calibration set; those that compare show all
    calibration sets, and all budgets where they are about cost.

    Attributes:
        results: Saved checks.
        draws: Answers to observed data (to labelled data where there are none), and draws of the reference.
            Of answers that are no draws (JSON) none is drawn.
        observations: `observe/{dataset}.nc`, for the axes of the data.
        histories: `{train,remedy}/{method}/{run}/history.json`; the largest budget is drawn.
        table: `metrics.csv`.
        looks: `observe/{dataset}.look.json`, what the probe saw of the observed data.
        benchmarks: Snakemake's benchmark files by stage, first stage first.
        prior: `observe/simulated.nc`, whose parameters are draws of the prior.
        simulated: Answers of the first replicate to simulated data whose truth is known.
        records: `train/{method}/{run}/estimator.json` of methods that learn in rounds.
        allocations: `allocation.json`, where rows of each level are planned.
    """

    results: Paths
    draws: Paths
    observations: Paths
    histories: Paths
    table: str | Path
    looks: Paths = ()
    benchmarks: Mapping[str, Paths] = field(default_factory=dict)
    prior: Paths = ()
    simulated: Paths = ()
    records: Paths = ()
    allocations: Paths = ()

    @cached_property
    def answered(self) -> list[Row]:
        """All rows of the table, those of single answers among them."""
        return metrics.read(self.table)

    def __post_init__(self) -> None:
        """Leaves out what could not be made."""
        for name in ("results", "draws", "simulated", "allocations"):
            setattr(self, name, made(getattr(self, name)))

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of the table that sum up methods."""
        return variants.summarised(self.answered)

    @cached_property
    def labelled(self) -> str:
        """The data set that methods are compared on."""
        return comparison.labelled_dataset(self.rows)

    @cached_property
    def checked(self) -> dict[tuple[str, str], dict[Variant, Results]]:
        """Saved checks at the largest budgets, by check and data set, then by variant and replicate."""
        found = [(Coordinates.of(path), Path(path)) for path in self.results]
        final = set(variants.finals(of_coordinates(where) for where, _ in found))
        loaded: dict[tuple[str, str], dict[Variant, Any]] = {}
        for where, path in sorted(found, key=lambda pair: (pair[1].stem, str(pair[1]))):
            variant = of_coordinates(where)
            if variant in final:
                of_check = loaded.setdefault((path.stem, where.dataset), {})
                of_check.setdefault(variant, {})[where.replicate or 0] = checks.load(path)
        return loaded

    def of_check(self, name: str) -> Iterator[Found]:
        """Yields the results of a check by replicate, for each method and data set; not those without curves.

        A check has none where it found nothing to compare, which its notes say.
        """
        for (check, dataset), found in self.checked.items():
            if check == name:
                for variant in variants.leading(v for v in found if v.method != PRIOR):
                    shown = {seed: one for seed, one in found[variant].items() if one["curves"]}
                    if shown:
                        yield Found((shown,), variant, dataset)

    def experiments(self, curve: str) -> dict[Variant, Results]:
        """Returns repeated experiments on labelled data that hold a curve, by variant and replicate."""
        found = self.checked.get(("experiments", self.labelled), {})
        return {v: r for v, r in found.items() if all(curve in one["curves"] for one in r.values())}

    def answers(self) -> Iterator[tuple[Variant, str, Draws, Draws | None]]:
        """Yields method, data set, draws of all replicates together, and of the exact reference if any."""
        given = [(Coordinates.of(path), Path(path)) for path in self.draws if Path(path).suffix == ".nc"]
        exact = {where.dataset: path for where, path in given if where.method == REFERENCE}
        answers = [item for item in given if item[0].method not in (REFERENCE, PRIOR)]
        by_variant = metrics.grouped(sorted(answers, key=str), lambda item: of_coordinates(item[0]))
        for variant in variants.leading(by_variant):
            for dataset, own in metrics.grouped(by_variant[variant], lambda item: item[0].dataset).items():
                repeats = posteriors.answered_by_all([posteriors.load(path) for _, path in own])
                if not repeats[0].numbers:
                    continue
                together = tabulation.mixed([one.draws for one in repeats])
                answer = replace(repeats[EXAMPLE], draws=together, log_density=None)
                reference = posteriors.load(exact[dataset]) if dataset in exact else None
                if reference is not None and "refused" in answer.attrs:
                    reference = posteriors.only(reference, answer.numbers)
                yield variant, dataset, answer, reference

    def shapes(self) -> Iterator[tuple[Variant, str, list[dict[str, Any]], list[float] | None]]:
        """Yields method, data set, what it learned of the classes from each observation, and true fractions.

        They are those of the first replicate, of methods that have any.
        """
        given = [(Coordinates.of(path), Path(path)) for path in self.draws if Path(path).suffix == ".json"]
        found: dict[tuple[Variant, str], Path] = {}
        for where, path in sorted(given, key=str):
            found.setdefault((of_coordinates(where), where.dataset), path)
        leading = variants.leading(variant for variant, _ in found)
        for (variant, dataset), path in found.items():
            if variant in leading and (shapes := (record := estimates.load(path))["shapes"]):
                truth = record["truth"]
                yield variant, dataset, shapes, None if truth is None else truth.tolist()

    @cached_property
    def prior_draws(self) -> dict[str, Any]:
        """Draws of the prior (R,) by parameter, as many as there are simulated test data."""
        found: dict[str, Any] = {}
        for path in self.prior:
            names, truth = observations.load_truth(path)
            found = {name: truth[:, j] for j, name in enumerate(names)}
        return found

    @cached_property
    def units(self) -> dict[str, str]:
        """Units by parameter, in the order of the task."""
        for path in self.draws:
            if Path(path).suffix == ".nc":
                first = posteriors.load(path, 1)
                return dict(zip(first.names, first.units, strict=True))
        return {}

    def controls(self) -> Iterator[tuple[Variant, Draws]]:
        """Yields each method with its draws for simulated data whose truth is known."""
        draws = [path for path in self.simulated if Path(path).suffix == ".nc"]
        found = {of_coordinates(Coordinates.of(path)): path for path in draws}
        for variant in variants.leading(v for v in found if v.method != PRIOR):
            yield variant, posteriors.load(found[variant])

    def looked(self) -> Iterator[tuple[str, Any, Any]]:
        """Yields each observed data set, what the probe saw of it, and its first observation (*x_shape)."""
        of_data = {Path(path).stem: path for path in self.observations}
        for path in map(Path, self.looks):
            dataset = path.name.split(".")[0]
            x = observations.load(of_data[dataset]).x[EXAMPLE]
            yield dataset, files.read_json(path, "a look at data"), x

    @cached_property
    def axes(self) -> dict[str, tuple[list[dict[str, Any]], str]]:
        """Name, coordinates and unit of each dimension of a data set, and the unit of its data."""
        return {Path(path).stem: _axes(path) for path in self.observations}

    def trainings(self) -> dict[str, dict[int, Any]]:
        """Returns the histories of trainings that have epochs, by method and replicate."""
        told = "the history of a training"
        found = {Coordinates.of(path): files.read_json(path, told) for path in self.histories}
        leading = set(variants.leading(of_coordinates(where) for where in found))
        histories: dict[str, dict[int, Any]] = {}
        for where, history in found.items():
            if of_coordinates(where) in leading and history["epochs"]:
                histories.setdefault(where.method, {})[where.replicate or 0] = history
        return histories

    @cached_property
    def rounds(self) -> dict[str, dict[int, Any]]:
        """What records say of rounds, for each observation, by method and replicate."""
        found: dict[str, dict[int, Any]] = {}
        for path in self.records:
            where, record = Coordinates.of(path), files.read_json(path, "the record of a method")
            found.setdefault(where.method, {})[where.replicate or 0] = record["rounds"]
        return found

    def planned(self) -> Iterator[dict[str, Any]]:
        """Yields the plans of rows of each level."""
        for path in self.allocations:
            yield files.read_json(path, "a plan of rows of each level")

    def costs(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the records of all jobs by stage."""
        return {
            stage: [record for path in paths for record in job.records(Path(path))]
            for stage, paths in self.benchmarks.items()
        }


def _axes(path: str | Path) -> tuple[list[dict[str, Any]], str]:
    import xarray as xr

    with files.reading(path, "a data set of the study"), xr.open_dataset(path, engine="h5netcdf") as stored:
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
