"""Where every result of a study lies, and what each job is told: the one place that knows paths.

Shards of the bank are shared by all studies; the laptop scale has no suffix.

    results/bank/{task}-{key}/{fidelity}/{split}/rows-{first}-{last}.zarr.zip
    results/{study}[@{scale}]/observe/{dataset}.nc
    results/{study}[@{scale}]/train/{method}/n{budget}-r{replicate}/...
    results/{study}[@{scale}]/infer/{method}/n{budget}-r{replicate}/{dataset}.nc
    results/{study}[@{scale}]/check/{method}/n{budget}-r{replicate}/{dataset}/{check}.json
    results/{study}[@{scale}]/{report.html,metrics.csv,verdict.json,provenance.json}
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from veridical import bank, checks, digests, estimators, tasks
from veridical.errors import SettingError, suggest
from veridical.settings import RESERVED_DATASETS, ObservationSettings, StudySettings

SIMULATED = "simulated"
FOLDERS = frozenset(
    {"benchmarks", "check", "checkpoints", "figures", "infer", "logs", "observe", "remedy", "report", "train"}
)
ON_ALL_BUDGETS = frozenset({"scores"})


@dataclass(frozen=True)
class Run:
    """One trained estimator: a method at one budget in one replicate."""

    method: str
    budget: int
    replicate: int

    @property
    def folder(self) -> str:
        """The part of a path that names this run."""
        return f"{self.method}/n{self.budget}-r{self.replicate}"


@dataclass(frozen=True)
class Layout:
    """All paths and job settings of one study at one scale.

    Attributes:
        study: The settings.
        scale: `smoke`, `laptop` or `paper`.
        data: A file of new data that takes the place of the study's own observations, or None.
        root: The folder of all results.
    """

    study: StudySettings
    scale: str = "laptop"
    data: str | None = None
    root: str = "results"

    # ---- folders ---------------------------------------------------------------------------------

    @cached_property
    def results(self) -> str:
        """The folder of this study at this scale."""
        suffix = "" if self.scale == "laptop" else f"@{self.scale}"
        return f"{self.root}/{self.study.study}{suffix}"

    @cached_property
    def report(self) -> str:
        """The folder of the report: the study's own, or one below it for new data."""
        return self.results if self.data is None else f"{self.results}/{dataset_name(self.data)}"

    # ---- task and bank ---------------------------------------------------------------------------

    @cached_property
    def task_spec(self) -> dict[str, Any]:
        """The task as plain data, as jobs get it."""
        spec: dict[str, Any] = self.study.task.spec()
        if "simulations" in spec:
            spec["reserved"] = {"test": self.study.test_rows, **spec.get("reserved", {})}
        return spec

    @cached_property
    def task(self) -> tasks.Task:
        """The task itself."""
        return tasks.build(self.task_spec)

    @cached_property
    def task_digest(self) -> str:
        """Digest of everything that decides what the task's simulator returns."""
        sources = {str(p): digests.source_digest(p) for p in tasks.digest_sources(self.task_spec)}
        modules = tasks.modules(self.task_spec)
        return digests.short([self.task_spec, sources, digests.code_digest(*modules)], 16)

    @cached_property
    def bank_key(self) -> str:
        """Short hash of everything that decides the arrays of the bank."""
        code = digests.code_digest("veridical.blocks", "veridical.seeds")
        task = self.task
        limit = self.study.simulation.time_limit if task.timeout_is_data else None
        return digests.short(
            [self.task_digest, code, self.study.seed, task.block_rows, bank.SCHEMA_VERSION, limit]
        )

    @cached_property
    def bank(self) -> str:
        """The folder of the bank."""
        return f"{self.root}/bank/{self.task_spec['name']}-{self.bank_key}"

    def shards(self, fidelity: str, split: str, rows: int) -> list[str]:
        """Paths of the shards that hold the first `rows` rows of one split.

        Shards are full, but for the last one of simulations made elsewhere, where the file ends.
        """
        size = self.study.simulation.shard_rows
        end = self.task.available(split.split("-")[0]) if isinstance(self.task, tasks.FileTask) else None
        folder = f"{self.bank}/{fidelity}/{split}"
        lasts = [first + size if end is None else min(first + size, end) for first in range(0, rows, size)]
        return [f"{folder}/{bank.shard_name(i * size, last - 1)}" for i, last in enumerate(lasts)]

    @cached_property
    def used_rows(self) -> dict[str, int]:
        """How many rows this study uses of each part of its bank, `{fidelity}/{split}`."""
        study = self.study
        used = {f"{self.target}/test": study.test_rows}
        for method in study.estimators:
            for replicate in range(study.replicates):
                used[f"{self.fidelity(method)}/train-r{replicate}"] = study.budgets[-1]
        return used

    def all_shards(self) -> list[str]:
        """Paths of all shards that this study uses."""
        paths = []
        for part, rows in self.used_rows.items():
            fidelity, split = part.split("/")
            paths += self.shards(fidelity, split, rows)
        return paths

    def bank_benchmarks(self) -> list[str]:
        """Paths of what Snakemake measured while it filled those shards."""
        folder = f"{self.bank}/benchmarks"
        return [
            shard.replace(self.bank, folder).replace(".zarr.zip", ".jsonl") for shard in self.all_shards()
        ]

    @property
    def target(self) -> str:
        """The fidelity that the checks simulate and the estimators are judged at: the dearest simulator."""
        return [f for f in self.task.fidelities if f != "real"][-1]

    def fidelity(self, method: str) -> str:
        """The fidelity that a method trains on."""
        return self.study.estimators[method].fidelity or self.target

    # ---- runs, data sets, checks -----------------------------------------------------------------

    @cached_property
    def runs(self) -> list[Run]:
        """All trained estimators."""
        study = self.study
        return [
            Run(m, b, r) for m in study.estimators for b in study.budgets for r in range(study.replicates)
        ]

    @cached_property
    def final_runs(self) -> list[Run]:
        """The runs at the largest budget: those that the verdict judges."""
        return [run for run in self.runs if run.budget == self.study.budgets[-1]]

    @cached_property
    def observations(self) -> dict[str, ObservationSettings]:
        """The real data sets by name."""
        if self.data is None:
            return dict(self.study.observations)
        name = dataset_name(self.data)
        first = next(iter(self.study.observations.values()), ObservationSettings(file=self.data))
        changes = {"file": self.data, "source": "", "index": None, "columns": _columns(first, name)}
        return {name: first.model_copy(update=changes)}

    @cached_property
    def checks(self) -> dict[str, dict[str, Any]]:
        """Settings of the checks that are switched on, by name."""
        chosen = self.study.checks.model_dump(mode="json")
        return {name: settings for name, settings in chosen.items() if settings is not None}

    def applicable(self, dataset: str) -> list[str]:
        """Names of the checks that make sense for a data set."""
        has = {"summary", "null"}
        if dataset == SIMULATED:
            has |= {"truth"}
        else:
            has |= {"observed"}
            has |= set() if isinstance(self.task, tasks.FileTask) else {"predictive"}
            has |= set() if self.study.reference is None else {"reference"}
        return [name for name in self.checks if checks.needs(name) <= has]

    def check_results(self) -> list[str]:
        """Paths of all results of checks."""
        paths = []
        for run in self.runs:
            final = run in self.final_runs
            for name in self.applicable(SIMULATED):
                if final or name in ON_ALL_BUDGETS:
                    paths.append(f"{self.results}/check/{run.folder}/{SIMULATED}/{name}.json")
            if final:
                for dataset in self.observations:
                    paths += [
                        f"{self.results}/check/{run.folder}/{dataset}/{name}.json"
                        for name in self.applicable(dataset)
                    ]
        return paths

    @cached_property
    def references(self) -> list[str]:
        """Paths of the draws of the exact reference."""
        datasets = self.observations if self.study.reference else {}
        return [f"{self.results}/infer/reference/{dataset}.nc" for dataset in datasets]

    def all_draws(self) -> list[str]:
        """Paths of all draws: of all runs for simulated data, of the final ones for real data, exact ones."""
        simulated = [(run, SIMULATED) for run in self.runs]
        real = [(run, dataset) for run in self.final_runs for dataset in self.observations]
        own = [f"{self.results}/infer/{run.folder}/{dataset}.nc" for run, dataset in simulated + real]
        return own + self.references

    # ---- code digests: what a change of code reruns ----------------------------------------------

    def code(self, rule: str, *modules: str) -> str:
        """Digest of the code behind a rule: its script and the modules that it names."""
        script = digests.SOURCE.parents[1] / "scripts" / f"{rule}.py"
        own = digests.source_digest(script) if script.is_file() else ""
        return digests.short([own, digests.code_digest(*modules)], 16)

    def estimator_modules(self, method: str) -> tuple[str, ...]:
        """Modules that define a method's estimator and networks."""
        return estimators.modules(self.study.estimators[method].type)

    # ---- before anything runs --------------------------------------------------------------------

    def validate(self) -> None:
        """Stops on all that can be known to be wrong before a job starts.

        Raises:
            VeridicalError: A task that breaks its contract, data that are missing or misshapen, a
                fidelity that the task does not have, shards that do not fit the task's blocks.
        """
        from veridical import observations

        tasks.check_task(self.task)
        tasks.digest_sources(self.task_spec)
        self._require_whole_blocks()
        for method in self.study.estimators:
            if self.fidelity(method) not in self.task.fidelities:
                raise SettingError(
                    f"estimators.{method}.fidelity: task {self.task.name} has no {self.fidelity(method)!r}. "
                    f"{suggest(self.fidelity(method), self.task.fidelities)}"
                )
        if self.study.reference is not None and not self.task.has_likelihood:
            raise SettingError(
                f"reference: task {self.task.name} has no exact likelihood; remove this section."
            )
        if self.data is not None:
            self._require_new_name(dataset_name(self.data))
        for name, settings in self.observations.items():
            observations.read(settings, self.task, name)

    def _require_new_name(self, name: str) -> None:
        """Stops where results of new data would mix with those of the study."""
        taken = FOLDERS | {*RESERVED_DATASETS, *self.study.observations}
        if name in taken:
            raise SettingError(
                f"data: {self.data} would be called {name!r}, which is the name of a data set of the study "
                "or of a folder of its results. Give the file another name."
            )

    def _require_whole_blocks(self) -> None:
        block, size = self.task.block_rows, self.study.simulation.shard_rows
        if size % block:
            nearest = max(1, round(size / block)) * block
            raise SettingError(
                f"simulation.shard_rows: expected a multiple of the task's block of {block} rows, got "
                f"{size}; {nearest} would do."
            )
        if isinstance(self.task, tasks.FileTask):
            wanted = {"train": self.study.budgets[-1], "test": self.study.test_rows}
            for split, rows in wanted.items():
                if rows > self.task.available(split):
                    setting = "budgets" if split == "train" else "test_rows"
                    raise SettingError(
                        f"{setting}: {rows} rows for {split} are asked for, but the file of simulations has "
                        f"{self.task.available(split)} for it."
                    )


def _columns(settings: ObservationSettings, name: str) -> list[str] | None:
    """The columns that make up x: those in the settings, or all of the study's file but its index."""
    from veridical import observations

    if settings.columns is not None or settings.index is None:
        return settings.columns
    return [c for c in observations.csv_columns(settings.file, name) if c != settings.index]


def dataset_name(path: str) -> str:
    """Returns the name of the data set in a file: its stem, as letters, digits and underscores."""
    stem = Path(path).name.split(".")[0]
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in stem)
    return name if name[:1].isalpha() else f"data_{name}"
