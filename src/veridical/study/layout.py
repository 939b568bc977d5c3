"""Where every result of a study lies, and what each job is told: the one place that knows paths.

Shards of the bank are shared by all studies; the laptop scale has no suffix.

    results/bank/{task}-{key}/{fidelity}/{split}/rows-{first}-{last}.zarr.zip
    results/{study}[@{scale}]/observe/{dataset}.nc
    results/{study}[@{scale}]/train/{method}/{run}/...
    results/{study}[@{scale}]/rounds/{method}/{run}/observation-{i}/round-{k}/...
    results/{study}[@{scale}]/remedy/{method}/{run}/...
    results/{study}[@{scale}]/infer/{method}/{run}/{dataset}.nc
    results/{study}[@{scale}]/check/{method}/{run}/{dataset}/{check}.json
    results/{study}[@{scale}]/{report.html,metrics.csv,verdict.json,provenance.json}

The studies of a collection lie below it, in {collection}[@{scale}]/{study}. Which runs there are, and what
each learns from, stands in `runs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from veridical import bank, checks, digests, methods, seeds, tasks
from veridical.coordinates import LABELLED, LEVEL, REAL, SIMULATED, Coordinates, Run
from veridical.saved.beside import BESIDE
from veridical.study import code_digests
from veridical.study.asked import Asked, dataset_name

SCRIPTS = code_digests.HOME / "scripts"
_REPORT = code_digests.SOURCE / "report"
PILOT = "train-r0"  # the split whose first rows a plan of levels looks at
COLLECTION_TEMPLATES = tuple(_REPORT / "templates" / name for name in ("collection.html.j2", "report.css"))
TEMPLATES = (
    *sorted({*(_REPORT / "templates").iterdir()} - {COLLECTION_TEMPLATES[0]}),
    _REPORT / "error_rates.json",
)  # what the page is made of


OF_PROPOSALS = ("acquisition", "share")  # settings of rounds that decide where these simulate, and no more


def at_scale(name: str, scale: str) -> str:
    """Returns the name of the folder of results of a study or a collection."""
    return name if scale == "laptop" else f"{name}@{scale}"


@dataclass(frozen=True, kw_only=True)
class Layout(Asked):
    """All paths and job settings of one study at one scale.

    Attributes:
        study: The settings.
        scale: `smoke`, `laptop` or `paper`.
        root: The folder of all results.
        collection: The collection that the study is part of, or none.
    """

    scale: str = "laptop"
    root: str = "results"
    collection: str = ""

    # ---- folders ---------------------------------------------------------------------------------

    @cached_property
    def results(self) -> str:
        """The folder of this study at this scale."""
        return f"{self.root}/{self.folder}"

    @property
    def folder(self) -> str:
        """Its name, below that of all results."""
        if self.collection:
            return f"{at_scale(self.collection, self.scale)}/{self.study.study}"
        return at_scale(self.study.study, self.scale)

    @cached_property
    def report(self) -> str:
        """The folder of the report: the study's own, or one below it for new data."""
        return self.results if self.data is None else f"{self.results}/{dataset_name(self.data)}"

    # ---- task and bank ---------------------------------------------------------------------------

    @cached_property
    def task_digest(self) -> str:
        """Digest of what is the task's own: its settings, its code, files of the user's."""
        return self._digest(self.task_spec)

    def _digest(self, given: dict[str, Any]) -> str:
        sources = {str(p): code_digests.code_digest(p) for p in tasks.digest_sources(given)}
        code = code_digests.code_digest(*tasks.modules(given))
        spec = dict(given)
        if axes := spec.get("dimensions"):  # their kind decides networks, and no array
            spec["dimensions"] = [{k: v for k, v in axis.items() if k != "kind"} for axis in axes]
        return digests.short([spec, sources, code], 16)

    @property
    def bank_key(self) -> str:
        """The key of the bank of the simulator that is judged."""
        return self.bank_key_of(self.target)

    def bank_key_of(self, fidelity: str) -> str:
        """Short hash of all that decides the arrays of the bank of one level, and of nothing else.

        It is the same for all levels, but where the task has a setting that the level `real` alone reads.
        """
        return self._own_key if self.spec_at(fidelity) == self.task_spec else self._shared_key

    @cached_property
    def _own_key(self) -> str:
        return self._key(self.task_digest)

    @cached_property
    def _shared_key(self) -> str:
        return self._key(self._digest(self.simulated_spec))

    def _key(self, task_digest: str) -> str:
        task = self.task
        limit = self.study.simulation.time_limit if task.timeout_is_data else None
        parts = [
            task_digest,
            seeds.STREAMS,
            self.study.seed,
            task.block_rows,
            bank.SCHEMA_VERSION,
            limit,
        ]
        by_name = isinstance(task, tasks.FileTask) and getattr(
            task, "reordered", False
        )  # files once read by position
        return digests.short([*parts, "by name"] if by_name else parts)

    @property
    def bank(self) -> str:
        """The folder of the bank of the simulator that is judged."""
        return self.bank_of(self.target)

    def bank_of(self, fidelity: str) -> str:
        """The folder of the bank of one level."""
        return f"{self.root}/bank/{self.task_spec['name']}-{self.bank_key_of(fidelity)}"

    @cached_property
    def banks(self) -> list[str]:
        """The folders of all banks that the study uses."""
        return list(dict.fromkeys(map(self.bank_of, [self.target, *self.task.fidelities])))

    def shards(self, fidelity: str, split: str, rows: int) -> list[str]:
        """Paths of the shards that hold the first `rows` rows of one split.

        Shards are full, but for the last one of simulations made elsewhere, where the file ends.
        """
        size = self.study.simulation.shard_rows
        end = self.task.available(split.split("-")[0]) if isinstance(self.task, tasks.FileTask) else None
        folder = f"{self.bank_of(fidelity)}/{fidelity}/{split}"
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
        for fidelity in self.pilot_levels:
            part = f"{fidelity}/{PILOT}"
            used[part] = max(used.get(part, 0), self.pilot_rows)
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
        shards = self.all_shards()
        for bank_ in self.banks:
            shards = [shard.replace(f"{bank_}/", f"{bank_}/benchmarks/") for shard in shards]
        return [shard.replace(".zarr.zip", ".jsonl") for shard in shards]

    # ---- the plan of rows of each level ---------------------------------------------------------------

    def pilot_inputs(self) -> dict[str, Any]:
        """Paths of what the plan rests on: shards by `level_` and name, the network, probes of costs."""
        settings, folder = self.study.allocation, self.artifact(self.pilot_run)
        shards = {LEVEL + level: self.shards(level, PILOT, self.pilot_rows) for level in self.pilot_levels}
        measured = settings is not None and settings.costs == "measured"
        probes = [f"{self.bank_of(level)}/{level}/probe.json" for level in self.pilot_levels]
        found = {"record": f"{folder}/estimator.json", "weights": f"{folder}/weights.safetensors"}
        return shards | found | ({"probes": probes} if measured else {})

    def allocations(self) -> list[str]:
        """Path of the plan; none where it is not asked for, or new data are asked about."""
        asked = self.study.allocation is not None and self.data is None
        return [f"{self.results}/allocation.json"] if asked else []

    # ---- what a run learns from, and where it lies --------------------------------------------------

    def artifact(self, run: Run) -> str:
        """The folder of a trained method."""
        stage = "remedy" if run.method in self.study.remedies else "train"
        return f"{self.results}/{stage}/{run.folder}"

    def source_shards(self, run: Run) -> dict[str, list[str]]:
        """Paths of the shards of each of those parts."""
        return {
            self._role(run.method, fidelity, split): self.shards(fidelity, split, n)
            for fidelity, split, n in self.parts(run)
        }

    def unlabelled(self, run: Run) -> str | None:
        """Path of the observations that a run learns from, unlabelled; None where there are none."""
        name = self.methods[run.method].setting("unlabelled")
        return None if name in (None, REAL) else f"{self.results}/observe/{name}.nc"

    # ---- rounds of a method that learns in rounds ---------------------------------------------------

    def round_folder(self, run: Run, observation: int, number: int) -> str:
        """The folder of one round, counted from 1; it is named after the rows of the first one alone."""
        first = replace(run, budget=self.methods[run.method].round_rows[0])
        return f"{self.results}/rounds/{first.folder}/observation-{observation}/round-{number}"

    def round_spec(self, method: str, number: int) -> dict[str, Any]:
        """The settings of a method as if it ended with this round, for one observation."""
        rows = self.methods[method].round_rows[:number]
        own = {"rounds": number, "observations": 1, "rows": rows, "dataset": self.dataset_of(method)}
        told = {name: value for name, value in self.spec(method).items() if name not in OF_PROPOSALS}
        return {**told, **own}

    def proposal(self, run: Run, observation: int, number: int) -> str:
        """Path of the parameters that a round simulates at."""
        return f"{self.round_folder(run, observation, number)}/proposal.npz"

    def round_shards(self, run: Run, observation: int, number: int) -> list[str]:
        """Paths of the shards of a round's own simulations; the last one ends where they do."""
        rows, size = self.methods[run.method].round_rows[number - 1], self.study.simulation.shard_rows
        folder = self.round_folder(run, observation, number)
        return [
            f"{folder}/{bank.shard_name(first, min(first + size, rows) - 1)}"
            for first in range(0, rows, size)
        ]

    def rounds(self, run: Run) -> list[tuple[int, int]]:
        """Observation and number of each round of a run; none of most methods."""
        settings = self.methods[run.method]
        numbers = range(1, len(settings.round_rows) + 1)
        return [(i, k) for k in numbers for i in range(settings.setting("observations") or 0)]

    def round_files(self) -> list[str]:
        """Paths of all that rounds proposed and simulated."""
        return [
            path
            for run in self.runs
            for place in self.rounds(run)
            if place[1] > 1
            for path in (self.proposal(run, *place), *self.round_shards(run, *place))
        ]

    @property
    def round_records(self) -> list[str]:
        """Paths of the records of methods that learn in rounds, which say how these went."""
        return [f"{self.artifact(run)}/estimator.json" for run in self.runs if self.local(run.method)]

    # ---- data sets and checks ----------------------------------------------------------------------

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

    def pool(self, method: str, batch: str) -> list[tuple[str, str]]:
        """Paths of the events that a batch of pseudo-experiments draws from, with their levels.

        They belong to the ensemble whose functions are looked up there, not to one of its runs.
        """
        settings, ensemble = self.study.experiments, self.parent(method)
        if not (settings and settings.pool and ensemble and self.answers(ensemble) == "functions"):
            return []
        folder = f"{self.results}/check/{ensemble}/pool"
        return [(f"{folder}/{level}-{batch}.npz", level) for level in self.pooled_levels(ensemble)]

    def labelled_results(self) -> list[str]:
        """Paths of those on data whose truth is known."""
        return [path for path in self.check_results() if Coordinates.of(path).dataset in LABELLED]

    def check_inputs(self, run: Run, dataset: str, check: str) -> dict[str, str]:
        """Paths of the draws that a check looks at and of whatever it compares them with, by role."""
        folder, needs = f"{self.results}/infer", checks.needs(check)
        own = f"{folder}/{run.folder}/{dataset}"
        inputs = {"draws": f"{own}.nc"}
        if "null" in needs:
            inputs["null"] = f"{folder}/{(self.null_answer_of(run) or run).folder}/{SIMULATED}.nc"
        if check == "typicality" and self.labelled_real:
            inputs["labelled"] = f"{folder}/{run.folder}/{REAL}.nc"
        if "reference" in needs:
            inputs["reference"] = f"{folder}/reference/{dataset}.nc"
        if "predictive" in needs:
            inputs["prior"] = f"{self.results}/observe/{SIMULATED}.nc"
        return inputs | {role: f"{own}.{role}.npz" for role, one in BESIDE.items() if one.asked_by(needs)}

    def scores(self) -> list[str]:
        """Paths of the scores on simulated test data, by which budgets are compared."""
        return [path for path in self.check_results() if path.endswith(f"/{SIMULATED}/scores.json")]

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

    def shown_answers(self) -> list[str]:
        """Paths of the answers that the report shows."""
        return [
            self.answer(run, dataset)
            for run in self.final_runs
            for dataset in self.datasets(run)
            if dataset in self.shown_datasets
        ]

    def prior_draws(self) -> list[str]:
        """Path of the simulated test data, whose parameters are draws of the prior; none of a class task."""
        return [] if self.of_classes else [f"{self.results}/observe/{SIMULATED}.nc"]

    def control_answers(self) -> list[str]:
        """Paths of the answers to them, of the first replicate, in whose copies faults are planted."""
        return [
            self.answer(run, SIMULATED)
            for run in self.final_runs
            if run.replicate == 0 and SIMULATED in self.datasets(run) and not self.local(run.method)
        ]

    def labelled_answers(self) -> list[str]:
        """Paths of the answers of the final runs to data whose truth is known."""
        return [
            self.answer(run, dataset)
            for run in self.final_runs
            for dataset in self.datasets(run)
            if dataset in LABELLED
        ]

    def infer_benchmarks(self) -> list[str]:
        """Paths of what Snakemake measured while the methods answered on labelled data."""
        return [
            f"{self.results}/benchmarks/infer/{run.folder}/{dataset}.jsonl"
            for run in self.runs
            for dataset in self.datasets(run)
            if dataset in LABELLED
        ]

    def train_benchmarks(self, stage: str) -> list[str]:
        """Paths of what Snakemake measured while methods were fitted, in stage `train` or `remedy`."""
        of_stage = self.study.remedies if stage == "remedy" else self.study.estimators
        own = [run for run in self.runs if run.method in of_stage]
        folders = [self.round_folder(run, *place) for run in own for place in self.rounds(run)]
        rounds = [f"{folder}/train.jsonl" for folder in folders]
        return [
            f"{self.results}/benchmarks/{stage}/{run.folder}.jsonl" for run in own if not self.rounds(run)
        ] + [path.replace(self.results, f"{self.results}/benchmarks", 1) for path in rounds]

    # ---- code digests: what a change of code reruns ----------------------------------------------

    def code(self, rule: str, *code: str | Path) -> str:
        """Digest of the code behind a rule: what its script uses, and what a registry hands to the job."""
        script = SCRIPTS / f"{rule}.py"
        return digests.short([seeds.STREAMS, code_digests.code_digest(script, *code)], 16)

    def method_code(self, rule: str, run: Run) -> str:
        """Digest of the code behind a rule that calls a method: the method's and its ancestors' as well."""
        specs = [self.spec(r.method) for r in (run, *self.ancestors(run))]
        sources = [code_digests.code_digest(path) for spec in specs for path in methods.sources(spec)]
        own = self.code(rule, *(module for spec in specs for module in methods.modules(spec)))
        sources += [self.task_digest] * self.methods[run.method].needs_likelihood
        return digests.short([own, sources], 16) if sources else own
