r"""What following the verdict brings on a benchmark, where all truths are known.

A reader with labelled pairs has many answers and one verdict on each. The rule that is followed here, fixed
before any number was seen:

1. plain `npe`, if the verdict trusts it;
2. else the first trusted one of the methods that may see as many pairs, the last of the study's file first;
3. else the first of them on which the verdict says caution, in the same order;
4. else the prior.

It is judged by LPP, replicate by replicate, against plain `npe` and against each method as if it were always
taken. A verdict errs by *false trust* where it trusts an answer whose 90 % regions hold the truth in a share
outside of `STATED`, and by *false alarm* where it says `do not trust` of one inside that has at least the
prior's LPP. Verdict, coverage and LPP look at the same test rows, by different statistics: what is counted
is whether the verdict draws the right conclusion from them, not how another sample would come out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from veridical.coordinates import REAL
from veridical.evidence import metrics, variants
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row
from veridical.report.leaderboard import LEVEL, Cell, Table, finals, found_in, label, place_of
from veridical.report.places import Number, Place

STATED = (0.85, 0.97)  # of 90 % regions: what an answer that deserves trust holds
PLAIN = "npe"
TRUSTED = VERDICTS[:2]
CAUTION, NOT = VERDICTS[2:]
LEAST_GAIN = 0.0
HARMLESS = 0.05  # nats per parameter that following may cost where the simulator is right

HEADING = "Following the verdict"
WORDS = (
    "Whose answer somebody takes who follows the verdict: plain npe where it is trusted, else the first "
    "trusted method from the end of the study's file, else the first with caution, else the prior. It is "
    "judged by LPP, replicate by replicate; a gain is above 0 where following is better. False trust: "
    f"coverage of 90 % regions outside of {100 * STATED[0]:.0f} to {100 * STATED[1]:.0f} % on the test rows; "
    "false alarm: 'do not trust' though coverage is inside and LPP no less than the prior's. Both with "
    "95 % intervals as if verdicts were independent."
)

Case = tuple[str, float, int | None]  # a task, its severity, labelled pairs


@dataclass(frozen=True)
class Evidence:
    """What is known of all methods on real test data.

    Attributes:
        lpp: By place.
        coverage: Of 90 % regions, of central intervals where a method has no density.
        verdicts: By place.
        parameters: How many, by task.
        order: The methods, in the order of the study's file.
    """

    lpp: Mapping[Place, Number]
    coverage: Mapping[Place, Number]
    verdicts: Mapping[Place, str]
    parameters: Mapping[str, int]
    order: Sequence[str]


def evidence(rows: Sequence[Row], verdicts: Iterable[Mapping[str, Any]], methods: Sequence[str]) -> Evidence:
    """Returns what metrics and verdicts of all studies say.

    Arguments:
        rows: The metrics of a collection with severities.
        verdicts: Entries of `verdict.json`, each with the `study` that it is of.
        methods: The methods in the order of the file.
    """
    kept = finals([row for row in rows if row["dataset"] == REAL and row["observation"] is None])
    whole = [row for row in kept if row["parameter"] is None]
    lpp = found_in(metrics.select(whole, metric="lpp"))
    central = found_in(metrics.select(whole, metric="coverage", level=LEVEL))
    joint = found_in(metrics.select(whole, metric="hpd_coverage", level=LEVEL))
    named = metrics.grouped(
        (row for row in kept if row["parameter"] and row["metric"] == "coverage"),
        lambda row: place_of(row).task,
    )
    words = {place_of(one): one["verdict"] for one in verdicts if one["dataset"] == REAL}
    counts = {task: len({row["parameter"] for row in own}) for task, own in named.items()}
    return Evidence(lpp, {**central, **joint}, words, counts, methods)


def followed(found: Evidence, case: Case) -> Place | None:
    """Returns whose answer a reader takes who follows the verdict; None where not even the prior is there."""
    task, severity, pairs = case
    rivals = [
        place
        for place in found.verdicts
        if place.case == (task, severity) and place.pairs in (None, pairs) and place in found.lpp
    ]
    rank = {method: i for i, method in enumerate(found.order)}
    rivals.sort(key=lambda place: (place.method != PLAIN, -rank.get(place.method, -1), place.method))
    for place in rivals:
        if found.verdicts[place] in TRUSTED:
            return place
    cautious = [place for place in rivals if found.verdicts[place] == CAUTION and place.method != PLAIN]
    cautious += [place for place in rivals if found.verdicts[place] == CAUTION and place.method == PLAIN]
    if cautious:
        return cautious[0]
    prior = Place(task, severity, variants.PRIOR)
    return prior if prior in found.lpp else None


def cases(found: Evidence) -> list[Case]:
    """Returns all tasks at all severities with all numbers of labelled pairs."""
    given = sorted({place.pairs for place in found.lpp if place.pairs is not None})
    pairs: list[int | None] = [*given] or [None]
    where = dict.fromkeys(place.case for place in found.lpp)
    return [(task, severity, n) for task, severity in where for n in pairs]


# ---- against other rules -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """Following the verdict against one method that is always taken, over cells (cases by replicates).

    Attributes:
        cells: How many.
        better: Share of them in which following has the higher LPP; equal answers count as neither.
        worse: Share in which it has the lower one.
        gain: Median gain in nats per parameter.
        worst: Its smallest value.
        mean_loss: Mean of what following costs in nats per parameter, below 0 where it gains.
    """

    cells: int
    better: float
    worse: float
    gain: float
    worst: float
    mean_loss: float


def against(found: Evidence, method: str, severity: float) -> Compared | None:
    """Returns how following compares with a method at one severity; None without a cell of both."""
    gains = []
    for case in cases(found):
        if case[1] != severity or (taken := followed(found, case)) is None:
            continue
        task, _, pairs = case
        other = next(
            (
                p
                for p in (Place(task, severity, method), Place(task, severity, method, pairs))
                if p in found.lpp
            ),
            None,
        )
        if other is not None:
            gains += _gains(found.lpp[taken], found.lpp[other], found.parameters.get(task, 1))
    if not gains:
        return None
    ordered = sorted(gains)
    n, middle = len(ordered), len(ordered) // 2
    median = ordered[middle] if n % 2 else _between(ordered[middle - 1], ordered[middle])
    return Compared(
        n,
        sum(gain > LEAST_GAIN for gain in gains) / n,
        sum(gain < -LEAST_GAIN for gain in gains) / n,
        median,
        ordered[0],
        -fmean(gains) if all(map(math.isfinite, gains)) else -sum(gains),
    )


def _between(low: float, high: float) -> float:
    return low if math.isinf(low) else high if math.isinf(high) else (low + high) / 2


def _gains(taken: Number, other: Number, parameters: int) -> list[float]:
    """Gain in LPP per parameter, replicate by replicate; of answers that both exclude a truth none."""
    seeds = sorted(set(taken.replicates) & set(other.replicates))
    pairs = [(taken.replicates[s][0], other.replicates[s][0]) for s in seeds]
    return [0.0 if a == b else (a - b) / parameters for a, b in pairs]


# ---- how often it is wrong -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Errors:
    """How often verdicts are wrong at one severity: counts and of how many.

    Attributes:
        trusted, false_trust: Verdicts that trust, and those of them whose coverage is outside of `STATED`.
        refused, false_alarm: Verdicts `do not trust`, and those of them whose answers are inside and no worse
            than the prior.
        judged: All verdicts.
    """

    judged: int
    trusted: int
    false_trust: int
    refused: int
    false_alarm: int


def errors(found: Evidence, severity: float) -> Errors:
    """Returns how often verdicts on all methods and numbers of pairs are wrong at one severity."""
    here = {p: word for p, word in found.verdicts.items() if p.severity == severity and p in found.coverage}
    trusted = [place for place, word in here.items() if word in TRUSTED]
    refused = [place for place, word in here.items() if word == NOT]
    return Errors(
        len(here),
        len(trusted),
        sum(not _holds(found, place) for place in trusted),
        len(refused),
        sum(_holds(found, place) and _knows(found, place) for place in refused),
    )


def _holds(found: Evidence, place: Place) -> bool:
    return STATED[0] <= found.coverage[place].value <= STATED[1]


def _knows(found: Evidence, place: Place) -> bool:
    """Whether an answer is worth at least as much as the prior."""
    prior, own = found.lpp.get(Place(*place.case, variants.PRIOR)), found.lpp.get(place)
    return own is not None and prior is not None and own.value >= prior.value


# ---- tables --------------------------------------------------------------------------------------------


def tables(found: Evidence) -> list[Table]:
    """Returns three tables: what was followed, how that compares, how often verdicts are wrong."""
    severities = sorted({place.severity for place in found.lpp})
    return [_choices(found), *(_comparison(found, s) for s in severities), _wrong(found, severities)]


def _choices(found: Evidence) -> Table:
    lines = []
    for case in cases(found):
        taken = followed(found, case)
        task, severity, pairs = case
        name = f"{task}, severity {severity:g}" + ("" if pairs is None else f", {variants.pairs(pairs)}")
        verdict = "" if taken is None else found.verdicts.get(taken, "nothing better")
        lines.append((name, [Cell("" if taken is None else label(*taken.variant)), Cell(verdict)]))
    return Table("Whose answer is taken", ["answer of", "its verdict"], lines, first="case")


def _comparison(found: Evidence, severity: float) -> Table:
    lines = []
    for method in dict.fromkeys([PLAIN, *found.order]):
        one = against(found, method, severity)
        if one is not None:
            cells = [str(one.cells), _percent(one.better), _percent(one.worse)]
            cells += [f"{value:+.2f}" for value in (one.gain, one.worst, -one.mean_loss)]
            lines.append((method, [Cell(text) for text in cells]))
    columns = ["cells", "better in", "worse in", "median gain", "worst gain", "mean gain"]
    caption = (
        f"Following the verdict against always taking one method, severity {severity:g} (nats per parameter)"
    )
    return Table(caption, columns, lines, first="always")


def _wrong(found: Evidence, severities: Sequence[float]) -> Table:
    lines = []
    for severity in severities:
        one = errors(found, severity)
        cells = [
            str(one.judged),
            str(one.trusted),
            _share(one.false_trust, one.trusted),
            str(one.refused),
            _share(one.false_alarm, one.refused),
        ]
        lines.append((f"{severity:g}", [Cell(text) for text in cells]))
    columns = ["verdicts", "trust", "false trust", "do not trust", "false alarm"]
    return Table("How often verdicts are wrong", columns, lines, first="severity")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _share(k: int, n: int) -> str:
    """A count with the 95 % interval of its share (Wilson)."""
    if n == 0:
        return "none"
    z, p = 1.96, k / n
    middle, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * width) / (1 + z * z / n) for sign in (-1, 1))
    return f"{k} of {n} ({100 * max(low, 0):.0f} to {100 * high:.0f} %)"
