"""Where a result belongs: the one place that writes, reads and constrains names of runs and data sets.

A run is called `n{budget}-r{replicate}`, or `n{budget}-c{pairs}-r{replicate}` where a method learns from
labelled real data. A split that each replicate has for itself ends in `-r{replicate}`. The study of a task at
one severity ends in `_s{severity}`, with a `p` in place of the point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical.errors import DataError

REAL, SIMULATED = "real", "simulated"
LABELLED = (SIMULATED, REAL)  # names of the data sets whose truth is known
REFERENCE = "reference"  # stands in the place of a method; it has no runs
LEVEL = "level_"  # before the name of a cheaper level, where it is one of the parts that a run learns from

_NAME = r"[A-Za-z]\w*"
_SEVERITY = re.compile(r"(\w+)_s(\d+(?:p\d+)?)")
_RUN = re.compile(r"n(\d+)(?:-c(\d+))?-r(\d+)")
WILDCARDS = {  # what Snakemake's wildcards may be
    "bank": r"[^/]+-[0-9a-f]{12}",
    "fidelity": _NAME,
    "split": r"[a-z]+(-r\d+)?",
    "first": r"\d{9}",
    "last": r"\d{9}",
    "method": _NAME,
    "run": r"n\d+(-c\d+)?-r\d+",
    "observation": r"\d+",
    "round": r"\d+",
    "batch": r"\d{4}",
    "dataset": _NAME,
    "ensemble": r"\d+",
    "check": r"[a-z]\w*",
}


@dataclass(frozen=True, order=True)
class Run:
    """One trained method: at one budget, with one number of calibration pairs, in one replicate."""

    method: str
    budget: int
    replicate: int
    calibration: int | None = None

    @property
    def name(self) -> str:
        """The part of a path that tells this run from others of its method."""
        pairs = "" if self.calibration is None else f"-c{self.calibration}"
        return f"n{self.budget}{pairs}-r{self.replicate}"

    @property
    def folder(self) -> str:
        """The part of a path that names this run."""
        return f"{self.method}/{self.name}"

    @classmethod
    def of(cls, method: str, name: str) -> Run:
        """Returns the run of a method that is called `name`.

        Raises:
            DataError: If no run is called so.
        """
        match = _RUN.fullmatch(name)
        if match is None:
            raise DataError(
                f"{name}: expected the name of a run, nBUDGET-rREPLICATE or nBUDGET-cPAIRS-rREPLICATE."
            )
        return cls(method, int(match[1]), int(match[3]), None if match[2] is None else int(match[2]))


@dataclass(frozen=True, order=True)
class Coordinates:
    """Where a result belongs: method, budget, replicate, data set, calibration pairs; None for none."""

    method: str
    budget: int | None = None
    replicate: int | None = None
    dataset: str = ""
    calibration: int | None = None

    @property
    def cells(self) -> dict[str, Any]:
        """The cells of a row of metrics that say where it belongs."""
        run = {"budget": self.budget, "seed": self.replicate, "n_calibration": self.calibration}
        return {"method": self.method, **run, **dataset_cells(self.dataset)}

    @classmethod
    def of(cls, path: str | Path) -> Coordinates:
        """Reads where a result belongs off its path.

        The layouts are `.../{stage}/{method}/{run}[/{dataset}[/...]]`, of which the stages `train` and
        `remedy` have no data set, and `.../reference/{dataset}...`, which has no run.

        Raises:
            DataError: If the path follows neither layout.
        """
        parts = Path(path).parts
        for i, part in enumerate(parts):
            if i and _RUN.fullmatch(part.split(".")[0]):
                run = Run.of(parts[i - 1], part.split(".")[0])
                of_data = i + 1 < len(parts) and parts[i - 2 : i - 1] not in (("train",), ("remedy",))
                dataset = parts[i + 1].split(".")[0] if of_data else ""
                return cls(run.method, run.budget, run.replicate, dataset, run.calibration)
            if part == REFERENCE and i + 1 < len(parts):
                return cls(REFERENCE, dataset=parts[i + 1].split(".")[0])
        raise DataError(
            f"{path}: expected a path .../METHOD/nBUDGET-rREPLICATE/... or .../reference/DATASET..."
        )


def at_severity(task: str, severity: float) -> str:
    """Returns the name of the study of a task at one severity.

    >>> at_severity("pendulum", 0.5), of_severity("pendulum_s0p5")
    ('pendulum_s0p5', ('pendulum', 0.5))
    """
    return f"{task}_s{format(severity, 'f').rstrip('0').rstrip('.').replace('.', 'p') or '0'}"


def at_a_severity(study: str) -> bool:
    """Returns whether a name is that of a study at one severity."""
    return _SEVERITY.fullmatch(study) is not None


def of_severity(study: str) -> tuple[str, float]:
    """Returns the task and the severity that the name of a study says.

    Raises:
        DataError: If it names no severity.
    """
    match = _SEVERITY.fullmatch(study)
    if match is None:
        raise DataError(f"{study}: expected the name of a study at one severity, TASK_sSEVERITY.")
    return match[1], float(match[2].replace("p", "."))


def dataset_kind(dataset: str) -> str:
    """Returns `simulated` or `real` for the data sets of that name, `observed` for any other."""
    return dataset if dataset in ("", *LABELLED) else "observed"


def dataset_cells(dataset: str) -> dict[str, Any]:
    """Returns the cells of a row that name a data set; observed ones also by their own name."""
    kind = dataset_kind(dataset)
    return {"dataset": kind or None, "dataset_name": dataset if kind == "observed" else None}


def of_wildcards(wildcards: Any) -> dict[str, Any]:
    """Returns a job's wildcards as keyword arguments.

    Study and bank, which say where files lie, are left out. Digits become numbers, `train-r2` becomes split
    and replicate, and a run `n500-c50-r2` becomes budget, calibration and replicate.
    """
    own = {k: v for k, v in wildcards.items() if k not in ("study", "bank")}
    found: dict[str, Any] = {k: int(v) if v.isdigit() else v for k, v in own.items()}
    if "split" in found:
        split, _, replicate = found["split"].partition("-r")
        found |= {"split": split, "replicate": int(replicate or 0)}
    if "run" in found:
        run = Run.of("", found.pop("run"))
        found |= {"budget": run.budget, "calibration": run.calibration, "replicate": run.replicate}
    return found
