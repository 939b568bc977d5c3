"""Which answer to trust: all methods of a study side by side, as numbers and as a ranking within error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veridical.evidence import numbers, variants
from veridical.evidence.metrics import Row, select
from veridical.evidence.variants import PRIOR, SBI, UPPER_BOUND, Variant

SIGNIFICANCE = 0.05  # of the comparison of two methods, paired over replicates
VERDICTS = ("trust", "trust if the simulator is right", "caution", "do not trust")


@dataclass(frozen=True)
class Measured:
    """One number of one method on one data set.

    Attributes:
        value: The mean over replicates.
        stderr: Its standard error over test data and replicates; of a single replicate over its test data.
        replicates: The value of each replicate.
    """

    value: float
    stderr: float | None
    replicates: Mapping[int, float]


@dataclass(frozen=True)
class Quality:
    """One column of the comparison.

    Attributes:
        metric: Its metric. level: Its nominal level, where it has one. heading: What stands above it.
        sign: 1 where more is better, -1 where less is better, 0 where neither. absolute: Whether the size
        alone counts. percent: Whether it is a share.
    """

    metric: str
    heading: str
    sign: int = 0
    level: float | None = None
    absolute: bool = False
    percent: bool = False


QUALITIES = (
    Quality("lpp", "log density at truth (LPP)", 1),
    Quality("nltp_gap", "NLTP above exact", -1),
    Quality("c2st", "told from exact in (C2ST)", -1, percent=True),
    Quality("coverage_gap_z", "mean miss of coverage", -1, percent=True),
    Quality("acauc", "signed miss (ACAUC)", 0, absolute=True),
    Quality("coverage", "90 % intervals hold", 0, level=0.9, percent=True),
)
WINS = {
    "lpp": "gives the true parameters the highest density",
    "nltp_gap": "comes closest to the exact answer",
    "c2st": "comes closest to the exact answer",
}
WHO = ("Of those to trust", "Of those to trust if the simulator is right", "Of those to use with care")
YARDSTICKS = {
    PRIOR: "the prior, which knows nothing of the data,",
    SBI: "npe on simulated data, as if the simulator were right,",
}


# ---- numbers -------------------------------------------------------------------------------------


def labelled_dataset(rows: Sequence[Row]) -> str:
    """Returns the data whose truth is known that methods are compared on: real ones where there are some."""
    return "real" if any(r["dataset"] == "real" for r in rows) else "simulated"


def measured(
    rows: Sequence[Row], variant: Variant, dataset: str | None, metric: str, level: float | None = None
) -> Measured | None:
    """Returns one number of a method, the mean over all else that tells rows apart; None without any."""
    cells = {**variant.cells, "metric": metric, "level": level, "parameter": None, "dataset": dataset}
    found = [r for r in select(rows, **cells) if r.get("interval") in (None, "total")]
    found = [r for r in found if r["true_value"] is None] or found
    each = {seed: _mean(r["value"] for r in found if r["seed"] == seed) for seed in _seeds(found)}
    if not each:
        return None
    if len(each) == 1:
        (seed,) = each
        errors = [r["stderr"] for r in found if r["seed"] == seed]
    else:
        errors = [r["stderr"] for r in found if r["seed"] is None]
    known = [e for e in errors if e is not None]
    stderr = _mean(known) if known and len(known) == len(errors) else None
    return Measured(_mean(each.values()), stderr, each)


def yardsticks(rows: Sequence[Row], dataset: str) -> list[tuple[str, Variant, str]]:
    """Returns name, variant and data set of what the methods are measured against.

    These are the prior, and on real data NPE on simulated data made at the same parameters: what could be
    reached if the simulator were right.
    """
    found = [(PRIOR, v, dataset) for v in variants.of_rows(select(rows, method=PRIOR))]
    if dataset == "real":
        upper = variants.of_rows(select(rows, method=UPPER_BOUND, dataset="simulated"))
        found += [(SBI, v, "simulated") for v in upper]
    return found


def best(found: Mapping[Variant, Measured], sign: int) -> tuple[Variant | None, set[Variant]]:
    """Returns the best of several methods, and those that cannot be told from it."""
    finite = {v: m for v, m in found.items() if abs(m.value) < float("inf")}
    if not finite or not sign:
        return None, set()
    first = max(finite, key=lambda v: sign * finite[v].value)
    level = SIGNIFICANCE / 2 / max(1, len(finite) - 1)
    ties = {v for v, m in finite.items() if v != first and not _worse(finite[first], m, sign, level)}
    return first, ties


def _worse(leader: Measured, other: Measured, sign: int, level: float) -> bool:
    """Whether another method is worse than the leader by more than chance in training, on these test data.

    Replicates share test data, so differences are paired: Student's t over replicates. The level is
    two-sided, for the leader was picked by the same numbers, and shared by all comparisons. With a single
    replicate two combined standard errors decide.
    """
    common = sorted(set(leader.replicates) & set(other.replicates))
    if len(common) >= 2:
        from scipy.special import stdtrit

        differences = [sign * (leader.replicates[s] - other.replicates[s]) for s in common]
        mean, n = _mean(differences), len(differences)
        error = (sum((d - mean) ** 2 for d in differences) / (n - 1) / n) ** 0.5
        return bool(mean > stdtrit(n - 1, 1 - level) * error)
    if leader.stderr is None or other.stderr is None:
        return False
    gain = sign * (leader.value - other.value)
    return gain > 2 * (leader.stderr**2 + other.stderr**2) ** 0.5


def _seeds(rows: Sequence[Row]) -> list[int]:
    return sorted({r["seed"] for r in rows if r["seed"] is not None})


def _mean(values: Any) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


# ---- the table -----------------------------------------------------------------------------------


def table(rows: Sequence[Row], verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns the comparison of all methods as text, None where there are not two of them.

    Arguments:
        rows: The table of metrics.
        verdicts: The verdicts, as in `verdict.json`, with `colour` and `mark`.
    """
    judged = sorted({variants.of_cells(v) for v in verdicts}, key=lambda v: v.order)
    if len(judged) < 2:
        return None
    rows = variants.summarised(rows)
    dataset = labelled_dataset(rows)
    found = {v: _qualities(rows, v, dataset) for v in judged}
    columns = [q for q in QUALITIES if any(q in own for own in found.values())]
    ranked = {q: best({v: own[q] for v, own in found.items() if q in own}, q.sign) for q in columns}
    lines = [
        _line(rows, v, v.method, own, ranked, [w for w in verdicts if variants.of_cells(w) == v])
        for v, own in found.items()
    ]
    beside = [
        _line(rows, v, name, _qualities(rows, v, where), ranked, [])
        for name, v, where in yardsticks(rows, dataset)
    ]
    leader = columns[0] if columns else None
    lines.sort(key=lambda line: (line["rank"], -_key(line["found"], leader)))
    return {
        "dataset": dataset,
        "columns": [q.heading for q in columns],
        "lines": lines,
        "yardsticks": beside,
        "pairs": any(line["pairs"] for line in lines),
        "low": any(line["low"] for line in lines),
        "nominal": any(line["nominal"] for line in lines),
        "seconds": any(line["seconds"] for line in lines),
        "datasets": sorted({v["dataset"] for v in verdicts}),
        "headline": headline(lines, beside, leader),
        "marks": any(q.sign for q in columns),
        "two_repeats": len(_seeds(rows)) == 2,
    }


def _qualities(rows: Sequence[Row], variant: Variant, dataset: str) -> dict[Quality, Measured]:
    """Numbers on labelled data; the distance to an exact answer on observed data where there is no other."""
    found = {q: measured(rows, variant, dataset, q.metric, q.level) for q in QUALITIES}
    for quality, number in found.items():
        if number is None and quality.metric == "c2st":
            found[quality] = measured(rows, variant, "observed", quality.metric)
    return {quality: number for quality, number in found.items() if number is not None}


def _line(
    rows: Sequence[Row],
    variant: Variant,
    name: str,
    found: Mapping[Quality, Measured],
    ranked: Mapping[Quality, tuple[Variant | None, set[Variant]]],
    verdicts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """One line of the table; yardsticks have no verdicts and win nothing."""
    cells = []
    for quality, (first, ties) in ranked.items():
        place = "" if not verdicts else "best" if variant == first else "tie" if variant in ties else ""
        cells.append({"text": _text(found[quality], quality) if quality in found else "", "place": place})
    nominal = measured(rows, variant, None, "nominal_cost")
    times = [measured(rows, variant, None, name) for name in ("simulation_seconds", "fit_seconds")]
    seconds = [time.value for time in times if time is not None]
    low = next((r["budget_low"] for r in select(rows, **variant.cells) if r["budget_low"]), None)
    return {
        "variant": variant,
        "found": found,
        "method": name,
        "note": "npe on simulated data" if name == SBI else "",
        "pairs": "" if variant.calibration is None else f"{variant.calibration:,}",
        "budget": f"{variant.budget:,}" if variant.budget else "none",
        "low": "" if low is None else f"{low:,}",
        "verdicts": {v["dataset"]: v for v in verdicts},
        "rank": max((VERDICTS.index(v["verdict"]) for v in verdicts), default=0),
        "cells": cells,
        "nominal": "" if nominal is None else numbers.rounded(nominal.value),
        "seconds": numbers.duration(sum(seconds)) if seconds else "",
    }


def _text(found: Measured, quality: Quality) -> str:
    scale, unit = (100.0, " %") if quality.percent else (1.0, "")
    value = scale * found.value
    if found.stderr is None or not 1e-6 * abs(found.value) < found.stderr < float("inf"):
        return numbers.rounded(value) + unit  # numbers that repeats do not change have no error over repeats
    error = scale * found.stderr
    digits = numbers.to_precision(value, error, 1)
    return f"{digits} ± {numbers.to_precision(error, error, 1)}{unit}"


def _key(found: Mapping[Quality, Measured], quality: Quality | None) -> float:
    """What lines of one verdict are sorted by, larger first."""
    if quality is None or quality not in found or (value := found[quality].value) != value:
        return float("-inf")
    return (quality.sign or -1) * (abs(value) if quality.absolute else value)


# ---- in words ------------------------------------------------------------------------------------


def headline(
    lines: Sequence[Mapping[str, Any]], yardsticks: Sequence[Mapping[str, Any]], quality: Quality | None
) -> list[str]:
    """Returns the comparison in a few sentences: what to trust, what is best within error, against what."""
    by_rank = {
        rank: [line["variant"] for line in lines if line["rank"] == rank] for rank in range(len(VERDICTS))
    }
    sentences = [_to_trust(by_rank)]
    for rank, who in enumerate(WHO):
        if quality is not None and quality.sign and len(by_rank[rank]) > 1:
            own = [line for line in lines if line["rank"] == rank and quality in line["found"]]
            found = {line["variant"]: line["found"][quality] for line in own}
            first, ties = best(found, quality.sign)
            if first is not None:
                sentences.append(_winner(who, first, found[first], ties, quality))
            break
    beside = [
        f"{YARDSTICKS[line['method']]} reaches {_text(line['found'][quality], quality)}"
        for line in yardsticks
        if quality is not None and quality in line["found"]
    ]
    return sentences + ([f"For scale, {' and '.join(beside)}."] if beside else [])


def _to_trust(by_rank: Mapping[int, Sequence[Variant]]) -> str:
    total = sum(map(len, by_rank.values()))
    for rank, words in enumerate(("Trust", "Trust if the simulator is right")):
        if by_rank[rank]:
            rest = "all of them" if len(by_rank[rank]) == total else f"{len(by_rank[rank])} of {total}"
            return f"{words} ({rest}): {_listed(by_rank[rank])}."
    if by_rank[2]:
        return f"No answer earns trust; use with care: {_listed(by_rank[2])}."
    return f"None of the {total} answers is to be trusted."


def _winner(who: str, first: Variant, found: Measured, ties: set[Variant], quality: Quality) -> str:
    what = WINS.get(quality.metric, "keeps its stated coverage best")
    text = f"{who}, {first.label} {what} ({_text(found, quality)})"
    if not ties:
        return text + "."
    beside = _listed(sorted(ties, key=lambda v: v.order))
    return f"{text}; not told from it by these repeats: {beside}."


def _listed(found: Sequence[Variant]) -> str:
    """Methods in words, the sizes of one method's calibration sets together."""
    sizes: dict[str, list[int | None]] = {}
    for variant in found:
        sizes.setdefault(variant.method, []).append(variant.calibration)
    words = []
    for method, calibrations in sizes.items():
        known = [f"{c:,}" for c in sorted(c for c in calibrations if c is not None)]
        sized = ", ".join(known[:-1]) + " and " + known[-1] if len(known) > 1 else "".join(known)
        words.append(f"{method} ({sized} pairs)" if known else method)
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]
