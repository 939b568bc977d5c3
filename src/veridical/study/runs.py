"""Which runs a study has: each method at its budgets, with its calibration pairs, in each replicate.

A run is called `n{budget}-r{replicate}`, or `n{budget}-c{pairs}-r{replicate}` where a method learns from
labelled real data. The budget counts the rows that the method's last training used, 0 where it used none.
Methods build on others; what a run cost includes what those cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from veridical import tasks
from veridical.coordinates import LEVEL, REAL, Run
from veridical.methods import MethodSettings
from veridical.study.scans import scans
from veridical.study.settings import StudySettings

UNLABELLED = "unlabelled"  # the split of real rows whose parameters no method sees


@dataclass(frozen=True)
class Runs:
    """The methods of a study and their runs.

    Attributes:
        study: The settings.
    """

    study: StudySettings

    @cached_property
    def task_spec(self) -> dict[str, Any]:
        """The task as plain data, as jobs get it."""
        spec: dict[str, Any] = self.study.task.spec()
        if "simulations" in spec:
            spec["reserved"] = {"test": self.study.test_rows, **spec.get("reserved", {})}
        return spec

    @cached_property
    def simulated_spec(self) -> dict[str, Any]:
        """The task as its simulators know it: without what nature alone reads."""
        given = self.task_spec.get("settings") or {}
        kept = {name: value for name, value in given.items() if name not in self.task.of_nature}
        return self.task_spec if kept == given else {**self.task_spec, "settings": kept}

    @property
    def nature(self) -> tuple[str, ...]:
        """The levels that stand for nature: `real`, or the classes of a class task."""
        return self.task.classes if isinstance(self.task, tasks.ClassTask) else (REAL,)

    def spec_at(self, fidelity: str) -> dict[str, Any]:
        """The task as one level knows it."""
        return self.task_spec if fidelity in self.nature else self.simulated_spec

    def spec_of(self, method: str) -> dict[str, Any]:
        """The task as a method knows it that learns: of classes, from no more than simulators know."""
        alone = self.of_classes and not {*self.levels(method)} & {*self.nature}
        return self.simulated_spec if alone else self.task_spec

    @cached_property
    def task(self) -> tasks.Task:
        """The task itself."""
        return tasks.build(self.task_spec)

    @cached_property
    def labels(self) -> dict[str, dict[str, str]]:
        """What readers see for the names of `parameters` and `dimensions`, of those that have a label."""
        stated = self.study.task.labels()
        found = {
            "parameters": {p.name: p.label for p in self.task.parameters if p.label} | stated["parameters"],
            "dimensions": {d.name: d.label for d in self.task.dimensions if d.label} | stated["dimensions"],
        }
        return {what: labels for what, labels in found.items() if labels}

    @property
    def of_classes(self) -> bool:
        """Whether the task has classes in place of parameters."""
        return isinstance(self.task, tasks.ClassTask)

    @property
    def target(self) -> str:
        """The fidelity that the checks simulate and the estimators are judged at: the dearest simulator."""
        return [f for f in self.task.fidelities if f != REAL][-1]

    @property
    def tested(self) -> list[str]:
        """The fidelities that have test data: the target, and `real` where there is one."""
        return [self.target, REAL] if REAL in self.task.fidelities else [self.target]

    @cached_property
    def methods(self) -> dict[str, MethodSettings]:
        """Settings of all methods by name."""
        return self.study.methods

    def spec(self, method: str) -> dict[str, Any]:
        """The settings of a method as plain data, as jobs get them; not what decides no number."""
        return self.methods[method].model_dump(mode="json", exclude={"gpus"})

    def fidelity(self, method: str) -> str:
        """The fidelity that a method trains on: its own choice, that of what it wraps, or the target."""
        own, parent = self.methods[method].setting("fidelity"), self.parent(method)
        if own is None and parent is not None and method in self.study.remedies:
            return self.fidelity(parent)
        return own or self.target

    def fidelity_of(self, method: str) -> str | None:
        """The fidelity that a method may simulate at while it learns; None for a class task."""
        return None if self.of_classes else self.fidelity(method)

    def parent(self, method: str) -> str | None:
        """The method that another one builds on."""
        return self.methods[method].parent

    def below(self, method: str) -> list[str]:
        """The methods that another one builds on: its parent, and those that it asks beside that."""
        parent = self.parent(method)
        return [*([parent] if parent else []), *self.methods[method].others]

    def calibrated(self, method: str) -> bool:
        """Whether a method, or one that it builds on, learns from labelled real data."""
        return self.methods[method].learns_from("calibration") or any(
            map(self.calibrated, self.below(method))
        )

    def basis(self, method: str) -> str:
        """The method that says what data a method is for and which summaries it has: itself or its parent."""
        parent = self.parent(method)
        return self.basis(parent) if parent and self.methods[method].as_parent else method

    def local(self, method: str) -> bool:
        """Whether a method answers for one data set alone, so that nothing on simulated data can judge it."""
        return self.methods[self.basis(method)].local

    def basis_run(self, run: Run) -> Run:
        """The run of that method behind a run."""
        above = self.parent_run(run)
        return self.basis_run(above) if above and self.methods[run.method].as_parent else run

    def has_density(self, method: str) -> bool:
        """Whether a method knows the densities of its answers, itself or by what it wraps."""
        own, parent = self.methods[method].has_density, self.parent(method)
        return self.has_density(parent) if own is None and parent is not None else bool(own)

    def answers(self, method: str) -> str:
        """What a method gives: `posterior`, `estimate`, or `functions` for others to build on."""
        return self.methods[method].answers

    def levels(self, method: str) -> list[str]:
        """The levels of a class task that a method learns from: its own choice, or that of what it wraps."""
        parent = self.parent(method)
        if parent is not None and method in self.study.remedies:
            return self.levels(parent)
        return self.methods[method].levels(self.nature)

    def budgets(self, method: str) -> list[int]:
        """The budgets of a method: its own, its parent's last one, the study's, or none."""
        settings, parent = self.methods[method], self.parent(method)
        if own := settings.setting("budgets"):
            return list(own)
        if method in self.study.remedies and parent is not None:
            return self.budgets(parent)[-1:]
        return list(self.study.budgets) if settings.learns_from("simulations", "classes") else [0]

    @cached_property
    def runs(self) -> list[Run]:
        """All trained methods."""
        return [
            Run(method, budget, replicate, pairs)
            for method in self.methods
            for budget in self.budgets(method)
            for pairs in (self.study.calibration if self.calibrated(method) else [None])
            for replicate in range(self.study.replicates)
        ]

    @cached_property
    def final_runs(self) -> list[Run]:
        """The runs at the largest budget of each method: those that the verdict judges."""
        return [run for run in self.runs if run.budget == self.budgets(run.method)[-1]]

    @cached_property
    def judged(self) -> list[Run]:
        """The runs that answer for themselves; a mere basis of functions does not."""
        return [run for run in self.runs if self.answers(run.method) != "functions"]

    def parent_run(self, run: Run) -> Run | None:
        """The run that another one builds on."""
        parent = self.parent(run.method)
        return None if parent is None else self._last_run(parent, run)

    def other_runs(self, run: Run) -> list[Run]:
        """The runs that a run asks beside that one."""
        return [self._last_run(name, run) for name in self.methods[run.method].others]

    def _last_run(self, method: str, run: Run) -> Run:
        """The run of a method at its largest budget, with the pairs and in the replicate of another run."""
        pairs = run.calibration if self.calibrated(method) else None
        return Run(method, self.budgets(method)[-1], run.replicate, pairs)

    def _asked(self, run: Run) -> list[Run]:
        """The runs that a run builds on or asks."""
        found = [self.parent_run(run), *self.other_runs(run), self.weigher_run(run)]
        return [one for one in found if one is not None]

    def weigher_run(self, run: Run) -> Run | None:
        """The run whose learned likelihood a run asks."""
        name = self.methods[run.method].weighed_by
        return None if name is None else Run(name, self.budgets(name)[-1], run.replicate)

    def ancestors(self, run: Run) -> list[Run]:
        """The runs that a run needs when it is asked: what it wraps or asks, and what that wraps."""
        if run.method not in self.study.remedies:
            return []
        found = [each for one in self._asked(run) for each in (one, *self.ancestors(one))]
        return list(dict.fromkeys(found))

    def parts(self, run: Run) -> list[tuple[str, str, int]]:
        """What a run itself learns from: fidelity, split and number of rows of each part of the bank."""
        method, r = self.methods[run.method], run.replicate
        if self.of_classes:
            rows = method.fresh_rows
            split, n = ("fit", rows) if rows else ("train", run.budget)
            return [(level, f"{split}-r{r}", n) for level in self.levels(run.method)]
        parts = []
        if rows := method.fresh_rows:
            parts.append((self.fidelity(run.method), f"fit-r{r}", rows))
        elif method.learns_from("simulations") and run.method in self.study.estimators:
            rows = method.round_rows[0] if method.round_rows else run.budget
            parts += [(level, f"train-r{r}", n) for level, n in method.lower_rows.items()]
            parts.append((self.fidelity(run.method), f"train-r{r}", rows))
        if method.learns_from("calibration") and run.calibration is not None:
            parts.append((REAL, f"calibration-r{r}", run.calibration))
        if method.setting("unlabelled") == REAL:
            parts.append((REAL, f"{UNLABELLED}-r{r}", method.setting("unlabelled_rows")))
        return parts

    def _role(self, method: str, fidelity: str, split: str) -> str:
        if self.of_classes:
            return fidelity
        own = split.partition("-")[0]
        if own in ("calibration", UNLABELLED):
            return own
        return f"{LEVEL}{fidelity}" if fidelity in self.methods[method].lower_rows else "simulations"

    def source_rows(self, run: Run) -> dict[str, int]:
        """Number of rows of each part that a run learns from: `simulations`, others of cheaper levels, real
        ones, or a class.
        """
        return {self._role(run.method, fidelity, split): n for fidelity, split, n in self.parts(run)}

    def ledger(self, run: Run) -> dict[str, int]:
        """How many rows of each fidelity a run cost, those of the methods that it builds on included."""
        rows: dict[str, int] = {}
        for (fidelity, _), n in self._bought(run).items():
            rows[fidelity] = rows.get(fidelity, 0) + n
        return rows

    def _bought(self, run: Run) -> dict[tuple[str, str], int]:
        """Those rows by fidelity and by what they are part of: rows that several methods share count once."""
        settings = self.methods[run.method]
        bought = {(fidelity, split): n for fidelity, split, n in self.parts(run)}
        if further := sum(settings.round_rows[1:]):
            bought[self.fidelity(run.method), run.method] = further * settings.setting("observations")
        if further := settings.unstored_rows(run.budget):
            bought[self.fidelity(run.method), run.method] = further
        for other in self._asked(run):
            for part, n in self._bought(other).items():
                bought[part] = max(n, bought.get(part, 0))
        return bought

    def ledgers(self) -> dict[str, dict[str, Any]]:
        """What each run cost and is made of, by its folder: for the table of metrics."""
        nominal, scanned = self.task.fidelities, scans(self.methods)
        found: dict[str, dict[str, Any]] = {}
        for run in self.runs:
            rows = self.ledger(run)
            low = sum(n for level, n in rows.items() if level not in (self.target, REAL))
            found[run.folder] = {
                "rows": rows,
                "nominal": sum(nominal[level] * n for level, n in rows.items()),
                "target": sum(rows.values()) if self.of_classes else rows.get(self.target, 0),
                "budget_low": low if low and not self.of_classes else None,
                "members": self.methods[run.method].setting("members"),
            }
            if run.method in scanned:
                found[run.folder]["scans"] = scanned[run.method]
        return found

    @property
    def pilot_levels(self) -> list[str]:
        """The levels of the pilot of a plan, cheapest first; none where no plan is asked for."""
        return [] if self.study.allocation is None else [f for f in self.task.fidelities if f != REAL]

    @property
    def pilot_rows(self) -> int:
        """Rows of the pilot at each of them."""
        return 0 if self.study.allocation is None else self.study.allocation.pairs

    @property
    def pilot_run(self) -> Run:
        """The run at whose weights gradients are taken."""
        method = self.study.allocation.method if self.study.allocation else ""
        return next(run for run in self.final_runs if run.method == method)

    def acquired_share(self, method: str) -> float:
        """The part of the rows of a further round that goes by the disagreement of members."""
        return float(self.methods[method].setting("acquired_share") or 0.0)
