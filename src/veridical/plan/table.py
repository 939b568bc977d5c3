"""The plan as text: a line per rule, a total, and warnings with their remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veridical.evidence.numbers import size
from veridical.plan.costs import Cost

MANY = 1_000
_REMEDIES = {
    "simulate": "a larger simulation.shard_rows",
    "experiment": "fewer, larger batches (experiments.batches, experiments.rows)",
}
_HEADER = ("rule", "jobs", "CPU h", "GPU h", "longest", "MB asked", "MB seen", "disk", "inodes", "how known")


def table(found: Sequence[Cost]) -> str:
    """Returns the plan as text: a line per rule, a total, and warnings with their remedies."""
    if not found:
        return "Nothing to be done: all results of this study are there."
    total = Cost.total("total", found)
    lines = [_HEADER, *(_cells(cost) for cost in found)]
    last = (*_cells(total)[:-1], "")
    widths = [max(len(line[i]) for line in (*lines, last)) for i in range(len(_HEADER))]
    shown = [_aligned(line, widths) for line in lines]
    rule = "-" * max(map(len, shown))
    return "\n".join([shown[0], rule, *shown[1:], rule, _aligned(last, widths), *_warnings(found, total)])


def _cells(cost: Cost) -> tuple[str, ...]:
    memory = [f"{cost.mb_asked:.0f}" if cost.mb_asked else "", f"{cost.mb_seen:.0f}" if cost.mb_seen else ""]
    hours = [_rounded(cost.cpu_hours), _rounded(cost.gpu_hours) if cost.gpu_hours else "0"]
    told = (cost.rule, f"{cost.jobs:,}", *hours, duration(cost.longest), *memory)
    return (*told, size(cost.bytes), f"{cost.inodes:,.0f}", "; ".join(_known(cost.basis)))


def _known(basis: Mapping[str, float]) -> list[str]:
    """The ways in which something is known, with how far beyond what was measured it lies."""
    ways = sorted(basis, key=lambda text: (len(text), text))
    return [text + (f" (x {basis[text]:.3g})" if basis[text] >= 2 else "") for text in ways]


def _warnings(found: Sequence[Cost], total: Cost) -> list[str]:
    lines = []
    if total.jobs > MANY:
        most = max(found, key=lambda cost: cost.jobs)
        lines.append(
            f"WARNING: {total.jobs:,} jobs, expected at most {MANY:,}; most are {most.rule} ({most.jobs:,}). "
            f"Give each more work: {_REMEDIES.get(most.rule, 'fewer budgets, methods or replicates')}."
        )
    for cost in found:
        if cost.limit and cost.longest > cost.limit:
            lines.append(
                f"WARNING: {cost.rule} may take {duration(cost.longest)}, its first attempt has "
                f"{duration(cost.limit)}; raise it with --set-resources {cost.rule}:runtime=MINUTES."
            )
        if cost.mb_seen > cost.mb_asked > 0:
            lines.append(
                f"WARNING: {cost.rule} has used {cost.mb_seen:.0f} MB, its first attempt has "
                f"{cost.mb_asked:.0f}; raise it with --set-resources {cost.rule}:mem_mb=MB."
            )
    return ["", *lines] if lines else []


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, last = zip(cells, widths, strict=True)
    middle = [text.rjust(width) for text, width in numbers]
    return "  ".join([first[0].ljust(first[1]), *middle, last[0]]).rstrip()


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def duration(seconds: float) -> str:
    """Returns a time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
