"""Where every result of a study lies, and what each job is told: the one place that knows paths.

Shards of the bank are shared by all studies; the laptop scale has no suffix.

    results/bank/{task}-{key}/{fidelity}/{split}/rows-{first}-{last}.zarr.zip
    results/{study}[@{scale}]/observe/{dataset}.nc
    results/{study}[@{scale}]/train/{method}/{run}/...
    results/{study}[@{scale}]/remedy/{method}/{run}/...
    results/{study}[@{scale}]/infer/{method}/{run}/{dataset}.nc
    results/{study}[@{scale}]/check/{method}/{run}/{dataset}/{check}.json
    results/{study}[@{scale}]/{report.html,metrics.csv,verdict.json,provenance.json}

Which runs there are, and what each learns from, stands in `runs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from veridical import bank, checks, digests, methods, shards, tasks
from veridical.errors import SettingError, suggest
from veridical.method_settings import has_summaries
from veridical.observations import FRACTION
from veridical.runs import REAL, Run, Runs
from veridical.settings import RESERVED_DATASETS, ObservationSettings

SIMULATED = "simulated"
FOLDERS = frozenset(
    {"benchmarks", "check", "checkpoints", "figures", "infer", "logs", "observe", "remedy", "report", "train"}
)
ON_ALL_BUDGETS = frozenset({"scores", "exact"})
# rows of `real` share theta with simulated ones, which `typicality` cannot allow for
ON_REAL = frozenset({"scores", "coverage", "exact", "detection"})


@dataclass(frozen=True)
class Layout(Runs):
    """All paths and job settings of one study at one scale.

    Attributes:
        study: The settings.
        scale: `smoke`, `laptop` or `paper`.
        data: A file of new data that takes the place of the study's own observations, or None.
        root: The folder of all results.
    """

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
        used: dict[str, int] = {}
        for run in self.runs:
            for fidelity, split, rows in self.parts(run):
                part = f"{fidelity}/{split}"
                used[part] = max(used.get(part, 0), rows)
        if not self.of_classes:
            for fidelity in self.tested:
                used[f"{fidelity}/test"] = self.study.test_rows
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

    # ---- what a run learns from, and where it lies --------------------------------------------------

    def artifact(self, run: Run) -> str:
        """The folder of a trained method."""
        stage = "remedy" if run.method in self.study.remedies else "train"
        return f"{self.results}/{stage}/{run.folder}"

    def source_shards(self, run: Run) -> dict[str, list[str]]:
        """Paths of the shards of each of those parts."""
        return {
            self._role(fidelity, split): self.shards(fidelity, split, n)
            for fidelity, split, n in self.parts(run)
        }

    # ---- data sets and checks ----------------------------------------------------------------------

    def datasets(self, run: Run) -> list[str]:
        """The data sets that a run is asked about."""
        if self.answers(run.method) == "functions":
            return []
        labelled = [] if self.calibrated(run.method) else [SIMULATED]
        labelled += [REAL] if REAL in self.task.fidelities else []
        return labelled + (list(self.observations) if run in self.final_runs else [])

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

    def applicable(self, run: Run, dataset: str) -> list[str]:
        """Names of the checks that make sense for a run on a data set."""
        if self.answers(run.method) != "posterior":
            return []
        has = set()
        if has_summaries(self.methods[run.method]) and not self.calibrated(run.method):
            has |= {"summary"} | ({"null"} if dataset != SIMULATED else set())
        if dataset in (SIMULATED, REAL):
            has |= {"truth"}
            has |= {"exact"} if self.task.has_posterior else set()
            has |= {"observed"} if dataset == REAL else set()
        else:
            has |= {"observed"}
            has |= set() if isinstance(self.task, tasks.FileTask) else {"predictive"}
            has |= set() if self.study.reference is None else {"reference"}
        final = run in self.final_runs
        return [
            name
            for name in self.checks
            if checks.needs(name) <= has
            and (final or name in ON_ALL_BUDGETS)
            and (dataset != REAL or name in ON_REAL)
        ]

    def check_results(self) -> list[str]:
        """Paths of all results of checks."""
        single = [
            f"{self.results}/check/{run.folder}/{dataset}/{name}.json"
            for run in self.runs
            for dataset in self.datasets(run)
            for name in self.applicable(run, dataset)
        ]
        return single + [
            f"{self.results}/check/{run.folder}/{dataset}/experiments.json"
            for run, dataset in self.experiments
        ]

    def fidelity_of_data(self, dataset: str) -> str:
        """The fidelity that labelled data come from; the target for all others."""
        return REAL if dataset == REAL else self.target

    @cached_property
    def exact_sizes(self) -> dict[str, int]:
        """How much is compared with the exact posterior: `observations` and `draws`."""
        chosen = self.checks.get("exact", {})
        return {name: chosen.get(name, default) for name, default in (("observations", 20), ("draws", 1000))}

    @cached_property
    def asked(self) -> list[str]:
        """Names of what is asked for: the parameters, or the fraction of the first class."""
        return list(self.task.parameter_names) or [FRACTION]

    @cached_property
    def experiment_settings(self) -> dict[str, Any]:
        """What decides one batch of pseudo-experiments: not how many batches there are."""
        settings = self.study.experiments
        return {} if settings is None else settings.model_dump(exclude={"batches", "methods"})

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
            if run.method in chosen and dataset in self.datasets(run)
        ]

    @cached_property
    def references(self) -> list[str]:
        """Paths of the draws of the exact reference."""
        datasets = self.observations if self.study.reference else {}
        return [f"{self.results}/infer/reference/{dataset}.nc" for dataset in datasets]

    def answer(self, run: Run, dataset: str) -> str:
        """Path of the answer of a run for a data set: draws, or an estimate."""
        suffix = "json" if self.answers(run.method) == "estimate" else "nc"
        return f"{self.results}/infer/{run.folder}/{dataset}.{suffix}"

    def all_draws(self) -> list[str]:
        """Paths of all answers: on labelled data, of the final runs on observed data too, and exact ones."""
        own = [self.answer(run, dataset) for run in self.runs for dataset in self.datasets(run)]
        return own + self.references

    @property
    def shown_datasets(self) -> list[str]:
        """The data sets whose answers the report shows: observed ones, or else labelled ones."""
        labelled = REAL if REAL in self.task.fidelities else SIMULATED
        return list(self.observations) or [labelled]

    def shown_answers(self) -> list[str]:
        """Paths of the answers that the report shows."""
        return [
            self.answer(run, dataset)
            for run in self.final_runs
            for dataset in self.datasets(run)
            if dataset in self.shown_datasets
        ]

    def infer_benchmarks(self) -> list[str]:
        """Paths of what Snakemake measured while the methods answered on labelled data."""
        return [
            f"{self.results}/benchmarks/infer/{run.folder}/{dataset}.jsonl"
            for run in self.runs
            for dataset in self.datasets(run)
            if dataset in (SIMULATED, REAL)
        ]

    def train_benchmarks(self, stage: str) -> list[str]:
        """Paths of what Snakemake measured while methods were fitted, in stage `train` or `remedy`."""
        of_stage = self.study.remedies if stage == "remedy" else self.study.estimators
        return [
            f"{self.results}/benchmarks/{stage}/{run.folder}.jsonl"
            for run in self.runs
            if run.method in of_stage
        ]

    # ---- code digests: what a change of code reruns ----------------------------------------------

    def code(self, rule: str, *modules: str) -> str:
        """Digest of the code behind a rule: its script and the modules that it names."""
        script = digests.HOME / "scripts" / f"{rule}.py"
        return digests.short([digests.script_digest(script), digests.code_digest(*modules)], 16)

    def method_code(self, rule: str, run: Run, *shared: str) -> str:
        """Digest of the code behind a rule that calls a method: the method's and its ancestors' as well."""
        specs = [self.spec(r.method) for r in (run, *self.ancestors(run))]
        sources = [digests.source_digest(path) for spec in specs for path in methods.sources(spec)]
        own = self.code(rule, *shared, *(module for spec in specs for module in methods.modules(spec)))
        return digests.short([own, sources], 16) if sources else own

    # ---- before anything runs --------------------------------------------------------------------

    def validate(self) -> None:
        """Stops on all that can be known to be wrong before a job starts.

        Raises:
            VeridicalError: A task that breaks its contract, data that are missing or misshapen, a
                fidelity that the task does not have, shards that do not fit the task's blocks.
        """
        from veridical import fitting_methods, observations

        tasks.check_task(self.task)
        tasks.digest_sources(self.task_spec)
        for name in self.study.simulation.seconds or ():
            if name not in self.task.fidelities:
                raise SettingError(
                    f"simulation.seconds: task {self.task.name} has no fidelity {name!r}. "
                    f"{suggest(name, self.task.fidelities)}"
                )
        self._require_whole_blocks()
        fitting_methods.require(self)
        if self.study.reference is not None and not self.task.has_likelihood:
            raise SettingError(
                f"reference: task {self.task.name} has no exact likelihood; remove this section."
            )
        if self.data is not None:
            self._require_new_name(dataset_name(self.data))
        for name, settings in self.observations.items():
            place = "data" if self.data is not None else f"observations.{name}.file"
            if {*"{}"} & {*settings.file}:
                raise SettingError(
                    f"{place}: expected a path without braces, which Snakemake takes for wildcards, got "
                    f"{settings.file}. Rename the file."
                )
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
        for part, rows in self.used_rows.items():
            if rows > shards.MOST_ROWS:
                raise SettingError(
                    f"{part}: at most {shards.MOST_ROWS:,} rows fit into one part of a bank, got {rows:,}; "
                    "spread them over replicates or fidelities."
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
