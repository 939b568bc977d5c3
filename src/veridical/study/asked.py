"""What the methods of a study are asked: about which data, with which checks and pseudo-experiments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from veridical import checks, tasks
from veridical.checks.local_ranks import LocalRanksSettings
from veridical.checks.predictive import PredictiveSettings
from veridical.checks.wilks import WilksSettings
from veridical.coordinates import LABELLED, REAL, SIMULATED, Run
from veridical.saved.columns import for_new_data
from veridical.saved.observations import FRACTION
from veridical.saved.settings import ObservationSettings
from veridical.study.runs import Runs

SLOW = frozenset(
    {"reference", "exact", "nearby", "likelihood", "surfaces"}
)  # needs of checks that a first page leaves out
MOST_AXES = 3  # of a grid of parameters


@dataclass(frozen=True, kw_only=True)
class Asked(Runs):
    """The data sets, checks and pseudo-experiments of a study's runs.

    Attributes:
        study: The settings.
        data: A file of new data that takes the place of the study's own observations, or None.
    """

    data: str | None = None

    def datasets(self, run: Run) -> list[str]:
        """The data sets that a run is asked about."""
        if self.answers(run.method) == "functions":
            return []
        if self.local(run.method):
            own = [name for name in [self.dataset_of(run.method)] if name in self.observations]
            typical = [] if self.methods[run.method].as_parent else [SIMULATED]  # not for answers
            return [*typical, *own] if own else []
        labelled = [] if self.calibrated(run.method) else [SIMULATED]
        labelled += [REAL] if REAL in self.task.fidelities else []
        return labelled + (list(self.observations) if run in self.final_runs else [])

    def rows_asked(self, method: str) -> int | None:
        """How many of the labelled data sets a method is asked about; all of them where None."""
        return self.study.sampled_rows if self.methods[method].sampled else None

    def dataset_of(self, method: str) -> str:
        """The data set that a local method answers for: the one that it names, or the study's first."""
        named: str | None = self.methods[self.basis(method)].setting("dataset")
        return named or next(iter(self.study.observations), "")

    def null_answer_of(self, run: Run) -> Run | None:
        """The run whose answers to simulated data its answers are compared with: itself, or what it wraps."""
        return next((one for one in (run, self.basis_run(run)) if SIMULATED in self.datasets(one)), None)

    @cached_property
    def observations(self) -> dict[str, ObservationSettings]:
        """The real data sets by name."""
        if self.data is None:
            return dict(self.study.observations)
        name = dataset_name(self.data)
        first = next(iter(self.study.observations.values()), ObservationSettings(file=self.data))
        return {name: for_new_data(first, self.task, self.data, name)}

    @cached_property
    def checks(self) -> dict[str, dict[str, Any]]:
        """Settings of the checks that are switched on, by name."""
        chosen = self.study.checks.model_dump(mode="json")
        return {name: settings for name, settings in chosen.items() if settings is not None}

    def applicable(self, run: Run, dataset: str) -> list[str]:
        """Names of the checks that make sense for a run on a data set."""
        if self.answers(run.method) != "posterior":
            return []
        has, dense = set(), self.has_density(run.method)
        basis = self.methods[self.basis(run.method)]
        if basis.offers("summaries") and not self.calibrated(run.method):
            has |= {"summary"} | ({"null"} if dataset != SIMULATED else set())
        if basis.local and dataset == SIMULATED:
            return []
        if dataset in LABELLED:
            has |= {"truth"}
            has |= {"exact"} if self.task.has_posterior and dense else set()
            has |= {"observed"} if dataset == REAL else set()
            has |= {"surfaces"} if dataset == SIMULATED and not self.no_surfaces(run.method) else set()
        else:
            has |= {"observed"}
            made_elsewhere = isinstance(self.task, tasks.FileTask)
            has |= set() if made_elsewhere else {"predictive"}
            has |= set() if self.study.reference is None else {"reference"}
            few = self.rows_asked(run.method) or self.nearby_sizes["simulations"]
            affordable = self.nearby_sizes["simulations"] <= few
            if not made_elsewhere and basis.amortised and affordable and not self.calibrated(run.method):
                has |= {"nearby"}
            if self.prior_known:
                own = self.methods[run.method]  # a wrapper that asks the likelihood weighs already
                weighed = self.task.has_likelihood and dense and not (own.as_parent and own.needs_likelihood)
                has |= {"densities"} | ({"likelihood"} if weighed else set())
        final = run in self.final_runs
        return [
            name
            for name in self.checks
            if checks.needs(name) <= has
            and (final or checks.check_class(name).on_all_budgets)
            and (dataset != REAL or checks.check_class(name).on_real)
        ]

    @property
    def quick(self) -> list[str]:
        """Names of the checks that a first page waits for."""
        return [name for name in self.checks if not checks.needs(name) & SLOW]

    @property
    def labelled_real(self) -> bool:
        """Whether there are labelled real data."""
        return REAL in self.task.fidelities

    def fidelity_of_data(self, dataset: str) -> str:
        """The fidelity that labelled data come from; the target for all others."""
        return REAL if dataset == REAL else self.target

    @cached_property
    def exact_sizes(self) -> dict[str, int]:
        """How much is compared with the exact posterior: `observations` and `draws`."""
        chosen = self.checks.get("exact", {})
        return {name: chosen.get(name, default) for name, default in (("observations", 20), ("draws", 1000))}

    def no_surfaces(self, method: str) -> str | None:
        """What keeps log likelihoods of a method from being computed on a grid of parameters, if anything."""
        if not self.methods[method].offers("likelihood"):
            return f"method {method} gives no likelihood, as an `nle` or `nre` does"
        if len(self.task.parameters) > MOST_AXES:
            return (
                f"there are {len(self.task.parameters)} parameters, of which a grid has {MOST_AXES} at most"
            )
        if self.task.constraints:
            return "a grid takes parameters that are real numbers, each by itself"
        return None

    @cached_property
    def surface_sizes(self) -> dict[str, int]:
        """Of how many data sets log likelihoods are computed, and on how many cells of each parameter."""
        chosen = self.checks.get("wilks") or WilksSettings().model_dump()
        return {name: chosen[name] for name in ("observations", "cells")}

    @property
    def target_is_dearest(self) -> bool:
        """Whether the simulated data come from the dearest level, whose likelihood a task may know."""
        return self.target == [level for level in self.task.fidelities if level != REAL][-1]

    @cached_property
    def nearby_sizes(self) -> dict[str, int]:
        """How much is simulated near observations: most `simulations` in all, and `draws` for each."""
        defaults = LocalRanksSettings()
        chosen = self.checks.get("local_ranks", {})
        return {name: chosen.get(name, getattr(defaults, name)) for name in ("simulations", "draws")}

    @cached_property
    def prediction_sizes(self) -> dict[str, int | None]:
        """How much is simulated at draws of an answer: `bands`, `draws` and `replicates`."""
        chosen = self.checks.get("predictive") or PredictiveSettings().model_dump()
        return {name: chosen[name] for name in ("bands", "draws", "replicates")}

    @property
    def prior_known(self) -> bool:
        """Whether the prior has a density: that of simulations made elsewhere may not be stated."""
        made_elsewhere = isinstance(self.task, tasks.FileTask)
        return not made_elsewhere or all("prior" in p for p in self.task_spec["parameters"].values())

    @cached_property
    def asked(self) -> list[str]:
        """Names of what is asked for: the parameters, or the fraction of the first class."""
        return list(self.task.parameter_names) or [FRACTION]

    @cached_property
    def experiment_settings(self) -> dict[str, Any]:
        """What decides one batch of pseudo-experiments: not how many batches there are."""
        settings = self.study.experiments
        return (
            {} if settings is None else settings.model_dump(exclude={"batches", "methods"}, exclude_none=True)
        )

    @cached_property
    def batches(self) -> list[str]:
        """Names of the batches of pseudo-experiments."""
        settings = self.study.experiments
        return [f"{batch:04d}" for batch in range(settings.batches if settings else 0)]

    @cached_property
    def experiments(self) -> list[tuple[Run, str]]:
        """The runs that get a study of coverage, with the kind of data it is made on."""
        settings = self.study.experiments
        if settings is None:
            return []
        dataset = REAL if REAL in self.task.fidelities else SIMULATED
        chosen = self.methods if settings.methods is None else settings.methods
        return [
            (run, dataset)
            for run in self.final_runs
            if run.method in chosen and dataset in self.datasets(run) and not self.local(run.method)
        ]

    def pooled_levels(self, ensemble: str) -> list[str]:
        """The levels of which pseudo-experiments with the functions of an ensemble have a pool."""
        templates = self.methods[ensemble].setting("templates")
        return [*chain(*templates)] if templates else [*self.nature]

    def place_in_pool(self, ensemble: str, level: str) -> int:
        """The place of a level among them."""
        return self.pooled_levels(ensemble).index(level)

    @property
    def shown_datasets(self) -> list[str]:
        """The data sets whose answers the report shows: observed ones, or else labelled ones."""
        labelled = REAL if REAL in self.task.fidelities else SIMULATED
        return list(self.observations) or [labelled]


def dataset_name(path: str) -> str:
    """Returns the name of the data set in a file: its stem, as letters, digits and underscores."""
    stem = Path(path).name.split(".")[0]
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in stem)
    return name if name[:1].isalpha() else f"data_{name}"
