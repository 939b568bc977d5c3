"""What rules tell their jobs: lists of files and plain settings, each a function of the layout of a study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from veridical.coordinates import LABELLED, SIMULATED, Run
from veridical.study.layout import Layout

# ---- which methods and data sets a rule is for ---------------------------------------------------------


def maker(layout: Layout, method: str) -> str:
    """The rule that makes a method: `train`, `fine_tune` of what builds on others, `gather` or `remedy`."""
    if method in layout.study.remedies:
        return "remedy"
    settings = layout.methods[method]
    if settings.local:
        return "gather"
    return "train" if settings.parent is None and settings.weighed_by is None else "fine_tune"


def made_by(layout: Layout, rule: str) -> list[str]:
    """The methods that a rule makes."""
    return [method for method in layout.methods if maker(layout, method) == rule]


def answering(layout: Layout, kind: str) -> list[str]:
    """The methods that answer with a `posterior` or an `estimate`."""
    return [method for method in layout.methods if layout.answers(method) == kind]


def labelled(layout: Layout, of: str) -> Iterable[str]:
    """The labelled data sets that are made of `shards` of the bank, or as `mixtures` of classes."""
    if of == "mixtures":
        return [SIMULATED] if layout.of_classes else []
    return [] if layout.of_classes else LABELLED


# ---- files -------------------------------------------------------------------------------------------


def of_runs(layout: Layout, name: str) -> list[str]:
    """Paths of one file, such as `cost.json`, of all trained methods."""
    return [f"{layout.artifact(run)}/{name}" for run in layout.runs]


def costs(layout: Layout) -> list[str]:
    """Paths of what all trainings cost."""
    return of_runs(layout, "cost.json")


def weights(layout: Layout) -> list[str]:
    """Paths of the weights of all trained methods."""
    return of_runs(layout, "weights.safetensors")


def records(layout: Layout) -> list[str]:
    """Paths of the records of all trained methods."""
    return of_runs(layout, "estimator.json")


def histories(layout: Layout) -> list[str]:
    """Paths of how the trainings that are judged went."""
    return [f"{layout.artifact(run)}/history.json" for run in layout.final_runs]


def final_methods(layout: Layout) -> list[str]:
    """Paths of records and weights of all runs that are judged, and of what they wrap."""
    runs = [own for run in layout.final_runs for own in (run, *layout.ancestors(run))]
    return [path for run in runs for path in record_and_weights(layout, run)]


def record_and_weights(layout: Layout, run: Run) -> list[str]:
    """Paths of the two files that a run is loaded from."""
    folder = layout.artifact(run)
    return [f"{folder}/estimator.json", f"{folder}/weights.safetensors"]


def test_shards(layout: Layout, dataset: str) -> list[str]:
    """Paths of the shards that a labelled data set is made of."""
    return layout.shards(layout.fidelity_of_data(dataset), "test", layout.study.test_rows)


def probe(layout: Layout, method: str) -> str:
    """Path of the probe of the fidelity that a method learns from."""
    return f"{layout.bank_of(layout.fidelity(method))}/{layout.fidelity(method)}/probe.json"


def target_probe(layout: Layout) -> str:
    """Path of the probe of the fidelity that checks simulate."""
    return f"{layout.bank}/{layout.target}/probe.json"


def prior_data(layout: Layout) -> str:
    """Path of the simulated test data, whose parameters are draws of the prior."""
    return f"{layout.results}/observe/{SIMULATED}.nc"


def shown_data(layout: Layout) -> list[str]:
    """Paths of the data sets whose answers the report shows."""
    return [f"{layout.results}/observe/{dataset}.nc" for dataset in layout.shown_datasets]


def shown_draws(layout: Layout) -> list[str]:
    """Paths of the answers that the report shows, exact ones included."""
    return layout.shown_answers() + layout.references


def looks(layout: Layout) -> list[str]:
    """Paths of what was seen at first sight of the real data."""
    return [f"{layout.results}/observe/{dataset}.look.json" for dataset in layout.observations]


def chains(layout: Layout, dataset: str) -> list[str]:
    """Paths of the ensembles of chains that the exact reference of a data set is made of."""
    settings = layout.study.reference
    folder = f"{layout.results}/infer/reference/{dataset}"
    return [f"{folder}/ensemble-{e}.npz" for e in range(settings.ensembles if settings else 0)]


def chain_benchmarks(layout: Layout) -> list[str]:
    """Paths of what Snakemake measured while these ran, for all real data."""
    paths = [path for dataset in layout.observations for path in chains(layout, dataset)]
    measured = f"{layout.results}/benchmarks"
    return [path.replace(layout.results, measured, 1).replace(".npz", ".jsonl") for path in paths]


def batches(layout: Layout, method: str, run: str, dataset: str) -> list[str]:
    """Paths of the batches of pseudo-experiments of a run."""
    folder = f"{layout.results}/check/{method}/{run}/{dataset}/experiments"
    return [f"{folder}/batch-{batch}.zarr.zip" for batch in layout.batches]


def pool(layout: Layout, method: str, batch: str) -> list[str]:
    """Paths of the events that one batch of a method draws from; none where it makes its own."""
    return [path for path, _ in layout.pool(method, batch)]


def checkpoints(layout: Layout) -> str:
    """The folder of running states of trainings."""
    return f"{layout.results}/checkpoints"


# ---- settings ----------------------------------------------------------------------------------------


def settings(layout: Layout) -> dict[str, Any]:
    """The settings of the study as plain data."""
    return layout.study.model_dump(mode="json")


def data_settings(layout: Layout) -> dict[str, Any]:
    """The settings of the real data sets as plain data."""
    return {name: one.model_dump(mode="json") for name, one in layout.observations.items()}


def chain_settings(layout: Layout) -> dict[str, Any] | None:
    """What decides one ensemble of chains: not how many there are."""
    settings = layout.study.reference
    return (
        None
        if settings is None
        else settings.model_dump(include={"walkers", "prior_draws", "warm_up", "steps"})
    )


def reference_settings(layout: Layout) -> dict[str, Any] | None:
    """The settings of the exact reference as plain data."""
    settings = layout.study.reference
    return None if settings is None else settings.model_dump(mode="json")


def weighs_by_likelihood(layout: Layout) -> bool:
    """Whether draws are weighed by the task's own likelihood."""
    return layout.task.has_likelihood and "importance" in layout.checks


def time_limit(layout: Layout) -> str:
    """Seconds that a simulation may take, as text: a resource that no scheduler multiplies."""
    return str(layout.study.simulation.time_limit)


def max_invalid(layout: Layout) -> str:
    """The share of simulations that may fail, as text."""
    return str(layout.study.simulation.max_invalid)
