"""What finished jobs of a study cost: seconds, memory and bytes, at any of its scales and in its banks.

Seconds and memory stand in Snakemake's benchmark files, where a rule has them; the log of a job ends in both
as the job saw them. A rate is a straight line through the jobs of one kind, by least squares of relative
errors, with neither a negative start nor a negative slope. What cannot be read is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veridical import files, job
from veridical.errors import ArtifactError
from veridical.plan.work import Piece, amount
from veridical.saved.beside import BESIDE
from veridical.study.layout import Layout

_DONE = re.compile(r"^done in (\d+(?:\.\d+)?) s(?:, (\d+) MB)?$", flags=re.MULTILINE)
_OUTPUTS = {
    "train": "train/*/*/*",
    "remedy": "remedy/*/*/*",
    "reference_ensemble": "infer/reference/*/ensemble-*.npz",
    "reference": "infer/reference/*.nc",
    **{one.rule: f"infer/*/*/*.{suffix}.npz" for suffix, one in BESIDE.items()},
    "infer": "infer/*/*/*.json",
    "pool": "check/*/pool/*.npz",
    "experiment": "check/*/*/*/experiments/*.zarr.zip",
    "check": "check/*/*/*/*.json",
    "observe": "observe/*.nc",
    "look": "observe/*.look.json",
    "figures": "figures/*",
    "report": "*.*",
}


@dataclass(frozen=True)
class Record:
    """What one finished job cost.

    Attributes:
        piece: What it did.
        scale: Where it was measured: a scale of the study, or `bank`.
        work: How much it did, as `work.amount` counts.
        seconds: Wall time.
        mb: Largest resident memory, MB; None where it was not measured.
    """

    piece: Piece
    scale: str
    work: float
    seconds: float
    mb: float | None


@dataclass(frozen=True)
class Rate:
    """Seconds of a job as a line in its work, and where that comes from.

    Attributes:
        start: Seconds of a job without work.
        slope: Seconds for a unit of work.
        mb: Largest memory seen, MB, None where none was measured.
        scales: Where it was measured.
        largest: The most work of a measured job.
    """

    start: float
    slope: float
    mb: float | None
    scales: tuple[str, ...]
    largest: float

    @classmethod
    def through(cls, records: Sequence[Record]) -> Rate:
        """Returns the rate of some jobs of one kind."""
        work = np.array([r.work for r in records])
        seconds = np.maximum([r.seconds for r in records], 1e-3)
        start, slope = _line(work, seconds)
        memory = [r.mb for r in records if r.mb is not None]
        scales = tuple(dict.fromkeys(r.scale for r in records))
        return cls(start, slope, max(memory, default=None), scales, float(work.max()))

    def seconds(self, work: float) -> float:
        """Seconds of a job that does so much work."""
        return self.start + self.slope * work


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Start and slope, both >= 0, that minimise the squares of (start + slope x) / y - 1."""
    through_zero = (x / y).sum() / ((x / y) ** 2).sum()
    if np.ptp(x) == 0:
        return 0.0, float(through_zero)
    start, slope = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(y)), rcond=None)[0]
    if start < 0:
        return 0.0, float(through_zero)
    if slope < 0:
        return float((1 / y).sum() / ((1 / y) ** 2).sum()), 0.0
    return float(start), float(slope)


def records(layouts: Sequence[Layout]) -> list[Record]:
    """Returns what all finished jobs of a study cost, given its layouts at all scales."""
    found = []
    for layout in layouts:
        found += list(_below(Path(layout.results), layout.scale, layout))
    for folder in dict.fromkeys(bank for layout in layouts for bank in layout.banks):
        owner = next(layout for layout in layouts if folder in layout.banks)
        found += list(_below(Path(folder), "bank", owner))
    return found


def _below(folder: Path, scale: str, layout: Layout) -> Iterator[Record]:
    """The records of one folder of results, or of one bank."""
    for log in sorted((folder / "logs").rglob("*.log")):
        stem = log.relative_to(folder / "logs").with_suffix("").as_posix()
        piece = Piece.of(stem)
        work = None if piece is None else amount(piece, layout)
        cost = _cost(log, folder / "benchmarks" / f"{stem}.jsonl") if work else None
        if piece is None or not work or cost is None:
            continue
        seconds, mb = cost
        if piece.kind in ("train", "remedy"):  # the benchmark knows the last attempt only
            seconds = max(seconds, _fit_seconds(folder / stem / "cost.json"))
        yield Record(piece, scale, work, seconds, mb)


def _cost(log: Path, benchmark: Path) -> tuple[float, float | None] | None:
    """Seconds and memory of a job; None where it has not finished."""
    try:
        lines = job.records(benchmark)
        seconds = sum(float(line["s"]) for line in lines)
        memory = [float(line["max_rss"]) for line in lines if isinstance(line["max_rss"], int | float)]
        if lines and math.isfinite(seconds):
            return seconds, max(memory, default=None)
    except (ArtifactError, OSError, ValueError, TypeError, KeyError):
        pass  # missing or torn; the log may still tell
    done = _DONE.findall(log.read_text(encoding="utf-8", errors="replace"))
    if not done:
        return None
    told, mb = done[-1]
    return float(told), float(mb) if mb else None


def _fit_seconds(cost: Path) -> float:
    """Seconds of all attempts of a training; 0 where they cannot be read."""
    try:
        seconds = float(files.read_json(cost, "the costs of a run")["fit_seconds"])
    except (ArtifactError, ValueError, TypeError, KeyError):
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def bytes_per_job(layouts: Sequence[Layout], kind: str) -> tuple[float, float, str] | None:
    """Returns mean bytes and files of one kind of finished job, and the scale; None where there is none.

    The scale with the largest files is the one that counts.
    """
    found = []
    for layout in layouts if kind in _OUTPUTS else ():
        folder = Path(layout.results)
        sizes = [p.stat().st_size for p in folder.glob(_OUTPUTS[kind]) if p.is_file()]
        jobs = sum(1 for log in (folder / "logs").rglob("*.log") if _kind(log, folder) == kind)
        if sizes and jobs:
            found.append((sum(sizes) / jobs, len(sizes) / jobs, layout.scale))
    return max(found, default=None)


def _kind(log: Path, folder: Path) -> str:
    piece = Piece.of(log.relative_to(folder / "logs").with_suffix("").as_posix())
    return "" if piece is None else piece.kind
