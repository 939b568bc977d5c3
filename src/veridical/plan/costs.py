"""What a job will cost: hours, memory, disk and files, from what finished jobs of its kind needed.

Where no job of a kind was measured, it is assumed to take its whole time limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath

from veridical.errors import ArtifactError, PlanError, if_bad
from veridical.files import read_json
from veridical.plan.dry_run import Job
from veridical.plan.measured import Rate, Record, bytes_per_job, records
from veridical.plan.work import Piece, amount, rows_of, size
from veridical.study import resources
from veridical.study.layout import Layout

_ASSUMED_SECONDS = 600.0  # of a job without time limit, or whose limit follows from a probe still to run
_ASSUMED_BYTES = 20_000.0  # of a file
_ASSUMED_FILES = 50.0  # in a folder that is one output
FOLDERS = ("figures",)  # kinds whose output is a folder


@dataclass(frozen=True)
class Cost:
    """What one job, or all jobs of a rule, will cost.

    Attributes:
        rule: The rule.
        jobs: How many jobs.
        longest: Wall seconds of the longest.
        limit: Time limit of its first attempt, seconds; 0 where it has none.
        cpu_hours: Hours times threads.
        gpu_hours: Hours times GPUs.
        mb_asked: Memory that a job asks for, MB.
        mb_seen: Largest memory of finished jobs of this kind, MB; 0 where none was measured.
        bytes: Size of the outputs.
        inodes: Files and folders that appear, logs, benchmarks and Snakemake's own records included.
        basis: Where seconds and bytes come from, and how many times the largest work measured there this is.
    """

    rule: str
    jobs: int
    longest: float
    limit: float
    cpu_hours: float
    gpu_hours: float
    mb_asked: float
    mb_seen: float
    bytes: float
    inodes: float
    basis: Mapping[str, float]

    @classmethod
    def total(cls, rule: str, costs: Sequence[Cost]) -> Cost:
        """Returns the sum of some costs; the largest of what a job alone costs."""
        basis: dict[str, float] = {}
        for cost in costs:
            for text, far in cost.basis.items():
                basis[text] = max(far, basis.get(text, 0.0))
        added = ("jobs", "cpu_hours", "gpu_hours", "bytes", "inodes")
        largest = ("longest", "limit", "mb_asked", "mb_seen")
        numbers = {name: sum(getattr(cost, name) for cost in costs) for name in added}
        numbers |= {name: max(getattr(cost, name) for cost in costs) for name in largest}
        return cls(rule, basis=basis, **numbers)


class Costs:
    """What jobs will need, by what finished jobs needed.

    Arguments:
        layouts: The layouts of the study at all scales.
        scale: The scale of the plan.
        above: The folder of the collection that the study is part of, whose jobs count as its own.
        beside: What finished jobs of other studies of the collection cost, for kinds that it has none of.
    """

    def __init__(
        self, layouts: dict[str, Layout], scale: str, above: str = "", beside: Sequence[Record] = ()
    ) -> None:
        self.layout = layout = layouts[scale]
        folders = dict.fromkeys((*layout.banks, layout.results, layout.report, above))
        self._logs = [f"{folder}/logs" for folder in folders if folder]
        self.layouts = list(layouts.values())
        self.records, self._beside = records(self.layouts), beside
        self._rates: dict[tuple[str, str], Rate | None] = {}
        self._folders: set[str] = set()
        self._bytes: dict[str, tuple[float, float, str] | None] = {}

    def owns(self, job: Job) -> bool:
        """Whether a job is one of this study."""
        return any(PurePosixPath(job.log).is_relative_to(folder) for folder in self._logs)

    def of(self, job: Job) -> Cost:
        """What one job will cost.

        Raises:
            PlanError: If it is none of this study.
        """
        piece = self._piece(job)
        limit = 60 * job.number("runtime")
        work = None if piece is None else amount(piece, self.layout)
        rate = None if piece is None or work is None else self._rate(piece)
        if rate is not None and work is not None:
            seconds = rate.seconds(work)
            basis = {f"measured at {', '.join(rate.scales)}": work / rate.largest}
        else:
            seconds, text = self._assumed(piece, limit)
            basis = {text: 1.0}
        held, inodes, disk = self._disk(job, piece)
        return Cost(
            rule=job.rule,
            jobs=1,
            longest=seconds,
            limit=limit,
            cpu_hours=seconds * job.threads / 3600,
            gpu_hours=seconds * job.number("gpu") / 3600,
            mb_asked=job.number("mem_mb"),
            mb_seen=0.0 if rate is None else rate.mb or 0.0,
            bytes=held,
            inodes=inodes,
            basis={**basis, disk: 1.0} if disk else basis,
        )

    def seconds(self, piece: Piece, layout: Layout | None = None) -> float | None:
        """Seconds of a job, as measured, declared or probed; None where nothing is known of its kind.

        Arguments:
            piece: What it does.
            layout: The layout of changed settings of the study, if these ask for the job.
        """
        work = amount(piece, layout or self.layout)
        rate = None if work is None else self._rate(piece)
        if rate is not None and work is not None:
            return rate.seconds(work)
        known = self._simulated(piece)
        return None if known is None else known[0]

    def _piece(self, job: Job) -> Piece | None:
        """What a job does, by the stem of its log; None for a kind that nothing is known of."""
        log = PurePosixPath(job.log)
        for folder in self._logs:
            if log.is_relative_to(folder):
                return Piece.of(log.relative_to(folder).with_suffix("").as_posix())
        raise PlanError(
            f"rule {job.rule}: expected its log in one of {', '.join(self._logs)}, got {job.log!r}: this is "
            "the dry run of another study, scale or version. Make both with the same `make plan`."
        )

    def _assumed(self, piece: Piece | None, limit: float) -> tuple[float, str]:
        """Seconds of a job of which none was measured, and what they rest on."""
        known = None if piece is None else self._simulated(piece)
        if known is not None:
            return known
        if limit:
            return limit, "time assumed: the limit"
        return _ASSUMED_SECONDS, f"time assumed: {_ASSUMED_SECONDS:g} s"

    def _simulated(self, piece: Piece) -> tuple[float, str] | None:
        """Seconds of one shard as declared or probed, and which of the two; None for other jobs."""
        if piece.kind not in ("simulate", "simulate_round"):
            return None
        where = piece.where
        known = self._seconds_per_row(where.get("fidelity") or self.layout.fidelity(where["method"]))
        if known is None:
            return None
        blocks = ceil(rows_of(piece) / self.layout.task.block_rows)
        cores = min(resources.simulation_needs(self.layout).cores, blocks)
        return known[0] * rows_of(piece) / cores, f"time {known[1]}"

    def _seconds_per_row(self, fidelity: str) -> tuple[float, str] | None:
        """Seconds of one simulation as declared, or as the probe found."""
        declared = resources.simulation_needs(self.layout).seconds.get(fidelity)
        if declared is not None:
            return declared, "declared"
        probe = Path(self.layout.bank_of(fidelity)) / fidelity / "probe.json"
        if not probe.is_file():
            return None
        try:
            found = read_json(probe, "the record of a probe")["fidelities"]
            return float(found[fidelity]["seconds_per_row"]), "probed"
        except (ArtifactError, ValueError, TypeError, KeyError) as error:
            raise PlanError(
                f"{probe}: expected the seconds of a row at fidelity {fidelity}, got what cannot be read "
                f"({type(error).__name__}: {error}). {if_bad(probe)}."
            ) from None

    def _rate(self, piece: Piece) -> Rate | None:
        """The rate of jobs like this one, here or beside; of others of its kind where there is none.

        A method that learns from no rows, as the prior, says nothing of what rows cost another.
        """
        key = (piece.kind, piece.group)
        if key not in self._rates:
            kind, there = (
                [r for r in found if r.piece.kind == piece.kind] for found in (self.records, self._beside)
            )
            like = [[r for r in found if r.piece.group == piece.group] for found in (kind, there)]
            others = [[r for r in found if r.work > 1] for found in (kind, there)]
            found = next(filter(None, (*like, *others)), [])
            self._rates[key] = Rate.through(found) if found else None
        return self._rates[key]

    def _disk(self, job: Job, piece: Piece | None) -> tuple[float, float, str]:
        """Bytes and inodes of a job, and how they are known where that is not plain."""
        inodes = float(self._inodes(job))
        if piece is not None and (computed := size(piece, self.layout)) is not None:
            return computed, inodes, ""
        kind = "" if piece is None else piece.kind
        if kind not in self._bytes:
            self._bytes[kind] = bytes_per_job(self.layouts, kind)
        found, inside = self._bytes[kind], kind in FOLDERS
        if found is None:
            files = _ASSUMED_FILES if inside else float(len(job.outputs))
            return _ASSUMED_BYTES * files, inodes + files * inside, "disk assumed"
        return found[0], inodes + found[1] * inside, ""

    def _inodes(self, job: Job) -> int:
        """Files of a job, a record of Snakemake's for each output, and folders that no job before needed."""
        files = [*job.outputs, *filter(None, (job.log, job.benchmark))]
        folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
        new = folders - self._folders
        self._folders |= new
        return len(files) + len(job.outputs) + len(new)
