"""Stage report, new data: a first page from the answers and what is quick to check, before the rest."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from veridical import unchecked
from veridical.checks.predictive import draws_for
from veridical.coordinates import LABELLED, SIMULATED, Coordinates, Run
from veridical.errors import Refused, Unchecked
from veridical.figures.sources import Sources
from veridical.job import printable
from veridical.report.missing import TO_COME
from veridical.saved import observations, posteriors
from veridical.stages.aggregate import aggregate
from veridical.stages.check import check
from veridical.stages.densities import densities
from veridical.stages.estimate import estimate
from veridical.stages.figures import draw
from veridical.stages.infer import infer
from veridical.stages.observe import look, observe
from veridical.stages.predict import predict
from veridical.stages.report import render
from veridical.study import resources
from veridical.study.layout import Layout

SECTIONS = ("overview", "answer", "data")  # of the page, which show new data
SECONDS = 10.0  # of simulations, for all predictions together
OF_STUDY = ("null", "labelled", "prior")  # what checks compare with that is no result of the new data
SUPERSEDED = ("metrics.csv", "outcome.json")  # of a whole report, which is thus made again


def first_page(layout: Layout, table: str | Path, verdicts: str | Path, log: str) -> None:
    """Writes the report on new data, `report.html` and `verdict.json`, as far as it is quickly known.

    Everything is computed as the jobs of the study do, with the same seeds, in a folder that is thrown away.
    Checks that need a reference, a likelihood, or simulations near the data are still to come, as are
    predictions by simulators so dear that they take longer than 10 seconds. The verdict says so.

    Arguments:
        layout: The study, with new data.
        table: Where the metrics go.
        verdicts: Where the verdict goes, beside its place in the report.
        log: The log of the job, which records of failures name.
    """
    with TemporaryDirectory(prefix="first-page-") as folder:
        here = replace(layout, root=f"{folder}/results")
        for dataset in layout.observations:
            _observe(layout, here, dataset)
            for run in layout.final_runs:
                if dataset in layout.datasets(run):
                    _answer(layout, here, run, dataset, log)
                    _check(layout, here, run, dataset, log)
        for path in here.references:
            _to_come(path, log)
        both = zip(layout.check_results(), here.check_results(), strict=True)
        results = [ours if Coordinates.of(ours).dataset in LABELLED else new for ours, new in both]
        answers = here.shown_answers() + here.references
        aggregate(
            layout.study.study,
            layout.task_spec["name"],
            results=results,
            draws=answers,
            costs=[f"{layout.artifact(run)}/cost.json" for run in layout.runs],
            benchmarks=layout.infer_benchmarks(),
            simulations=layout.bank_benchmarks(),
            ledgers=layout.ledgers(),
            table=table,
            verdicts=verdicts,
        )
        looks = [f"{here.results}/observe/{dataset}.look.json" for dataset in layout.observations]
        sources = Sources(
            results=results,
            draws=answers,
            observations=[f"{here.results}/observe/{dataset}.nc" for dataset in layout.observations],
            histories=[],
            table=table,
            looks=looks,
            prior=layout.prior_draws(),
        )
        with suppress(Unchecked):  # the page says which figures are missing
            draw(f"{folder}/figures", sources, layout.labels, log, SECTIONS)
        _publish(layout, table, verdicts, f"{folder}/figures", looks)


def _publish(layout: Layout, table: str | Path, verdicts: str | Path, figures: str, looks: list[str]) -> None:
    """Puts page and verdict into the report, after what there is of an earlier one that was whole."""
    for name in SUPERSEDED:
        Path(layout.report, name).unlink(missing_ok=True)
    about = layout.study.model_dump(mode="json", include={"study", "title", "description", "seed"})
    data = {name: own.model_dump(mode="json") for name, own in layout.observations.items()}
    copyfile(verdicts, Path(layout.report, "verdict.json"))
    render(
        {**about, "observations": data, "labels": layout.labels, "scale": layout.scale},
        table=table,
        verdicts=verdicts,
        figures=figures,
        provenance=None,
        looks=looks,
        scores=layout.scores(),
        study=layout.study.model_dump(mode="json"),
        data=layout.data,
        out=f"{layout.report}/report.html",
    )


def _observe(layout: Layout, here: Layout, dataset: str) -> None:
    folder = Path(here.results, "observe")
    folder.mkdir(parents=True)
    settings = layout.observations[dataset].model_dump(mode="json")
    observe(layout.task_spec, settings, dataset, folder / f"{dataset}.nc")
    prior = f"{layout.results}/observe/{SIMULATED}.nc"
    look(folder / f"{dataset}.nc", prior, folder / f"{dataset}.look.json")


def _answer(layout: Layout, here: Layout, run: Run, dataset: str, log: str) -> None:
    """Asks one method about the data."""
    out, study = Path(here.answer(run, dataset)), layout.study
    out.parent.mkdir(parents=True, exist_ok=True)
    data = observations.load(f"{here.results}/observe/{dataset}.nc")
    if layout.answers(run.method) == "estimate":
        estimate(layout.artifact(run), data, out)
    else:
        try:
            infer(
                layout.artifact(run), data, out, draws=study.draws, root=study.seed, replicate=run.replicate
            )
        except Refused as error:
            unchecked.write(out, str(error), log, refused=dict(error.about))


def _check(layout: Layout, here: Layout, run: Run, dataset: str, log: str) -> None:
    """Checks one answer as far as that is quick; in the place of other checks lies that they are to come."""
    for name in layout.applicable(run, dataset):
        out = Path(f"{here.results}/check/{run.folder}/{dataset}/{name}.json")
        out.parent.mkdir(parents=True, exist_ok=True)
        if name not in layout.quick:
            _to_come(out, log)
            continue
        ours = layout.check_inputs(run, dataset, name)
        inputs = here.check_inputs(run, dataset, name)
        inputs |= {role: path for role, path in ours.items() if role in OF_STUDY}
        for role, prepare in (("predictive", _predict), ("densities", _densities)):
            if role in inputs and not Path(inputs[role]).exists():
                with _or_record(inputs[role], log):
                    prepare(layout, run, dataset, inputs["draws"], inputs[role], log)
        with _or_record(out, log):
            unchecked.require(inputs.values())
            check(name, layout.checks[name], inputs, out, **_seeds(layout, run), dataset=dataset)


def _predict(layout: Layout, run: Run, dataset: str, draws: str, out: str, log: str) -> None:
    sizes, n = layout.prediction_sizes, posteriors.load(draws).draws.shape[1]
    rows = n * (int(sizes["bands"] or 0) + (sizes["draws"] or draws_for(n)) * int(sizes["replicates"] or 0))
    probe = f"{layout.bank}/{layout.target}/probe.json"
    seconds = rows * len(layout.final_runs) * resources.row_seconds(layout, layout.target, probe)
    if seconds > SECONDS:
        print(f"predictions of {run.folder} would take {seconds:.0f} s")
        _to_come(out, log)
        return
    predict(layout.task_spec, draws, out, sizes=sizes, **_seeds(layout, run), fidelity=layout.target)


def _seeds(layout: Layout, run: Run) -> dict[str, Any]:
    return {"root": layout.study.seed, "method": run.method, "replicate": run.replicate}


def _densities(layout: Layout, run: Run, dataset: str, draws: str, out: str, log: str) -> None:
    null = layout.null_answer_of(run)
    simulated = None if null is None else layout.answer(null, SIMULATED)
    densities(layout.task_spec, draws, simulated, out, likelihood=False)


def _to_come(path: str | Path, log: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    unchecked.write(path, TO_COME, log)


@contextmanager
def _or_record(path: str | Path, log: str) -> Iterator[None]:
    """Leaves a record in place of a result that cannot be made, as jobs do (see `unchecked`)."""
    try:
        yield
    except Exception as error:
        if unchecked.of_machine(error):
            raise
        print(traceback.format_exc())
        record = getattr(error, "record", None) or {"unchecked": printable(unchecked.cause(error))}
        unchecked.write(path, **{**record, "log": log})
