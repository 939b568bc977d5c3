"""The leaderboard of a collection with severities: one question after another, each number with its error.

A line is a method with its number of labelled pairs, a column a task, a table a severity. All numbers are
found in the metrics of the collection; see docs/benchmark.md for what each of them means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veridical.coordinates import REAL, at_a_severity, of_severity
from veridical.evidence import metrics, numbers, variants
from veridical.evidence.metrics import Row
from veridical.report import ranking
from veridical.report.places import Number, Place

SEVERITY = "severity"  # the column that the table of a collection has beside those of its studies
LEVEL = 0.9
HONEST = 0.87  # coverage of 90 % regions from which on an answer counts as honest
ROUNDING = 1e-12  # of a number: an error below that is none


Numbers = Mapping[Place, Number]


@dataclass(frozen=True)
class Question:
    """What one part of the leaderboard tells.

    Attributes:
        key: Its name in files. heading: Its heading. words: What the numbers are.
        cells: Cells of the rows of metrics that tell it.
        sign: -1 where less is better, 1 where more is, 0 where neither, and methods are not ranked.
        goal: The best value, from which distances count, or None.
    """

    key: str
    heading: str
    words: str
    cells: Mapping[str, Any]
    sign: int = -1
    goal: float | None = None

    def loss(self, value: float) -> float:
        """How bad a value is: less is better, and what is no number is worst."""
        if math.isnan(value):
            return math.inf
        return abs(value - self.goal) if self.goal is not None else -self.sign * value


WIDTH = "width"
QUESTIONS = (
    Question(
        "lpp",
        "Log density of the truth (LPP)",
        "Mean log posterior density of the true parameters of real test data, in nats: more is better. It "
        "asks for the right place and the right width at once. Minus infinity: a truth was excluded.",
        {"metric": "lpp", "dataset": REAL},
        sign=1,
    ),
    Question(
        "nltp_gap",
        "Nats lost to the exact posterior",
        "Mean of log p - log q at the truth, p the exact posterior of the real process, where it is known: 0 "
        "is best.",
        {"metric": "nltp_gap", "dataset": REAL},
    ),
    Question(
        "c2st",
        "C2ST against the exact posterior of each observation",
        "How well a classifier tells a method's draws for one observation from exact ones, mean over "
        "observations: 0.5 is perfect, 1 is disjoint.",
        {"metric": "c2st", "dataset": REAL},
    ),
    Question(
        "wasserstein",
        "Wasserstein distance to the exact posterior",
        "Sliced, of order 2, in standard deviations of the exact posterior, mean over observations.",
        {"metric": "wasserstein", "dataset": REAL},
    ),
    Question(
        "acauc",
        "Signed miss of coverage (ACAUC)",
        "Area between the diagonal and the coverage curve of central intervals: above 0 too narrow, below 0 "
        "too wide, 0 is right.",
        {"metric": "acauc", "dataset": REAL},
        goal=0.0,
    ),
    Question(
        "coverage",
        "Coverage of 90 % regions",
        "Share of highest-density 90 % regions that hold the truth of real test data. It says nothing alone: "
        "the prior has it, too. Calibrated on n pairs, it varies by 0.04 (n = 50) or 0.02 (n = 200) whatever "
        "the method.",
        {"metric": "hpd_coverage", "dataset": REAL, "level": LEVEL},
        goal=LEVEL,
    ),
    Question(
        WIDTH,
        "Width against the best honest answer",
        "Standard deviation of the answers (geometric mean over parameters of the root mean variance) over "
        f"that of the narrowest method whose 90 % regions hold the truth in {HONEST:.0%} or more, with as "
        "many pairs or none at the same task and severity. Below 1: narrower than any honest answer.",
        {},
        sign=0,
    ),
    Question(
        "power",
        "Detection: power",
        "Share of sets of simulations, shifted by one unit of the whitened summaries of the method, that its "
        "test rejects at 5 %: what it could have seen in so many data sets.",
        {"metric": "power", "dataset": REAL},
        sign=0,
    ),
    Question(
        "size",
        "Detection: size",
        "Share of sets of plain simulations that the test rejects at 5 %: 0.05 is right.",
        {"metric": "size", "dataset": REAL},
        sign=0,
    ),
    Question(
        "mmd_p",
        "Detection: p-value of the real data",
        "Small where the test tells the real data from simulations.",
        {"metric": "mmd_p", "dataset": REAL},
        sign=0,
    ),
    Question(
        "simulation_seconds",
        "Cost: simulator",
        "Seconds of the simulations that a method learned from, what it builds on included.",
        {"metric": "simulation_seconds", "dataset": None},
        sign=0,
    ),
    Question(
        "fit_seconds",
        "Cost: training",
        "Seconds of the fit of the method itself; of a remedy without those of what it builds on.",
        {"metric": "fit_seconds", "dataset": None},
        sign=0,
    ),
    Question(
        "sample_seconds",
        "Cost: answers",
        "Seconds of the job that answers all real test data, start of Python and any solver included.",
        {"metric": "sample_seconds", "dataset": REAL},
        sign=0,
    ),
)


def graded(rows: Iterable[Row]) -> list[Row]:
    """Returns the rows of a collection with severities, with the severity that their study names."""
    return [
        {**row, SEVERITY: of_severity(row["study"])[1]} if at_a_severity(row["study"]) else row
        for row in rows
    ]


def place_of(row: Mapping[str, Any]) -> Place:
    """Returns where a row of a graded table stands; a verdict with the cells of its study, likewise."""
    task, severity = of_severity(row["study"])
    return Place(task, severity, row["method"], row["n_calibration"])


def numbers_of(question: Question, rows: Sequence[Row]) -> dict[Place, Number]:
    """Returns the numbers of all methods, each at its largest budget."""
    if question.key == WIDTH:
        return widths(rows)
    return found_in(metrics.select(rows, parameter=None, observation=None, **question.cells))


def found_in(rows: Sequence[Row]) -> dict[Place, Number]:
    """Returns the numbers in rows of one metric and parameter, the largest budget of each method."""
    found: dict[Place, Number] = {}
    for place, own in metrics.grouped(finals(rows), place_of).items():
        each = [row for row in own if row["seed"] is not None]
        means = [row for row in own if row["seed"] is None and len(each) != 1]  # of one it states no error
        whole = (means or each)[0]
        replicates = {row["seed"]: (row["value"], row["stderr"] or 0.0) for row in each}
        found[place] = Number(whole["value"], whole["stderr"], replicates)
    return found


def finals(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows of the largest budget of each method in each study."""
    most: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = (row["study"], row["method"], row["n_calibration"])
        most[key] = max(most.get(key, 0), row["budget"] or 0)
    return [r for r in rows if (r["budget"] or 0) == most[r["study"], r["method"], r["n_calibration"]]]


# ---- width ---------------------------------------------------------------------------------------------


def widths(rows: Sequence[Row]) -> dict[Place, Number]:
    """Returns widths over that of the narrowest honest method that may see as many pairs.

    Without an honest method at a task, severity and number of pairs there is nothing to compare with.
    """
    own = {place: number for place, number in _log_widths(rows).items() if math.isfinite(number.value)}
    coverage = numbers_of(next(q for q in QUESTIONS if q.key == "coverage"), rows)
    honest = {place for place, one in coverage.items() if place in own and one.value >= HONEST}
    found = {}
    for place, number in own.items():
        rivals = [own[p] for p in honest if p.case == place.case and p.pairs in (None, place.pairs)]
        if rivals:
            least = min(rivals, key=lambda one: one.value)
            found[place] = _ratio(number, least)
    return found


def _ratio(log_width: Number, least: Number) -> Number:
    """The ratio of two widths, from their logarithms; errors as if both were independent."""

    def over(value: float, error: float | None) -> tuple[float, float]:
        ratio = math.exp(value - least.value)
        same = log_width is least
        return ratio, 0.0 if same else ratio * math.hypot(error or 0.0, least.stderr or 0.0)

    value, stderr = over(log_width.value, log_width.stderr)
    each = {seed: over(*one) for seed, one in log_width.replicates.items()}
    return Number(value, stderr or None, each)


def _log_widths(rows: Sequence[Row]) -> dict[Place, Number]:
    """Mean over parameters of the log of the width in standard deviations of the prior."""
    shrunk = [row for row in rows if row["metric"] == "prior_contraction" and row["dataset"] == REAL]
    found: dict[Place, list[Number]] = {}
    for own in metrics.grouped(shrunk, lambda row: row["parameter"]).values():
        for place, number in found_in(own).items():
            value, stderr = _log_width(number.value, number.stderr)
            each = {seed: _log_width(*one) for seed, one in number.replicates.items()}
            found.setdefault(place, []).append(Number(value, stderr, each))
    return {place: _mean(each) for place, each in found.items()}


def _log_width(contraction: float, stderr: float | None) -> tuple[float, float]:
    left = 1 - contraction
    if not left > 0:
        return -math.inf, math.inf
    return 0.5 * math.log(left), 0.5 * (stderr or 0.0) / left


def _mean(each: Sequence[Number]) -> Number:
    """The mean over parameters, whose errors are added up as if they went together."""
    n = len(each)
    seeds = set.intersection(*(set(one.replicates) for one in each))
    replicates = {
        seed: (
            sum(one.replicates[seed][0] for one in each) / n,
            sum(one.replicates[seed][1] for one in each) / n,
        )
        for seed in sorted(seeds)
    }
    stderr = sum(one.stderr or 0.0 for one in each) / n
    return Number(sum(one.value for one in each) / n, stderr, replicates)


# ---- tables --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and whether it lies within an error of the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """One table: its caption, the headings of its columns, and lines of a name and cells."""

    caption: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Cell]]]
    first: str = "method"


@dataclass(frozen=True)
class Board:
    """One part of the leaderboard: a heading, what it tells, and a table for each severity."""

    key: str
    heading: str
    words: str
    tables: Sequence[Table]


def boards(rows: Sequence[Row], methods: Sequence[str]) -> list[Board]:
    """Returns the parts of the leaderboard that have numbers.

    Arguments:
        rows: The metrics of all studies of a collection with severities.
        methods: The methods in the order in which they are shown.
    """
    kept, found = finals([row for row in rows if row["dataset"] in (REAL, None)]), []
    for question in QUESTIONS:
        own = numbers_of(question, kept)
        if own:
            severities = sorted({place.severity for place in own})
            tables = [_table(question, own, severity, methods) for severity in severities]
            found.append(Board(question.key, question.heading, question.words, tables))
    return found


def _table(question: Question, found: Numbers, severity: float, methods: Sequence[str]) -> Table:
    here = {place: number for place, number in found.items() if place.severity == severity}
    tasks = list(dict.fromkeys(place.task for place in here))
    order = {method: i for i, method in enumerate(methods)}
    lines = sorted(
        {place.variant for place in here}, key=lambda v: (order.get(v[0], len(order)), v[0], v[1] or 0)
    )
    cells = {line: [here.get(Place(task, severity, *line)) for task in tasks] for line in lines}
    best = [_best(question, [cells[line][i] for line in lines]) for i in range(len(tasks))]
    ranks = ranking.ranks(question.loss, here) if question.sign or question.goal is not None else {}
    shown = [
        (
            label(*line),
            [
                *(Cell(text(number), best[i][k]) for i, number in enumerate(cells[line])),
                *([Cell(_rank_text(ranks, *line))] if ranks else []),
            ],
        )
        for k, line in enumerate(lines)
    ]
    columns = [*tasks, *(["mean rank (5 to 95 %)"] if ranks else [])]
    return Table(f"Severity {severity:g}", columns, shown)


def _best(question: Question, column: Sequence[Number | None]) -> list[bool]:
    """Which numbers of a column lie within one standard error, that of the difference, of its best."""
    if not question.sign and question.goal is None:
        return [False] * len(column)
    losses = [math.inf if one is None else question.loss(one.value) for one in column]
    least = min(losses, default=math.inf)
    if not math.isfinite(least):
        return [False] * len(losses)
    errors = [(one.stderr or 0.0) if one else 0.0 for one in column]
    of_best = errors[losses.index(least)]
    pairs = zip(losses, errors, strict=True)
    return [math.isfinite(loss) and loss - least <= math.hypot(error, of_best) for loss, error in pairs]


def _rank_text(
    ranks: Mapping[tuple[str, int | None, int | None], Any], method: str, pairs: int | None
) -> str:
    """Mean ranks of a method, among those that may see as many pairs; of one without pairs in each group."""
    own = [rank for (m, p, _), rank in sorted(ranks.items(), key=str) if (m, p) == (method, pairs)]
    most = max(rank.tasks for rank in ranks.values())
    return ", ".join(
        f"{one.mean:.1f} ({one.low:.1f} to {one.high:.1f}) of {one.of}"
        + (f" on {one.tasks} of {most} tasks" if one.tasks < most else "")
        for one in own
    )


def label(method: str, pairs: int | None) -> str:
    """Returns what readers call a method with its labelled pairs."""
    return method if pairs is None else f"{method} ({variants.pairs(pairs)})"


def text(number: Number | None) -> str:
    """Returns a number with its error, to as many digits as this allows."""
    if number is None:
        return ""
    error, least = number.stderr, ROUNDING * abs(number.value)
    if error is None or not math.isfinite(error) or error <= least or not math.isfinite(number.value):
        return numbers.rounded(number.value)
    value, width = (numbers.to_precision(one, error) for one in (number.value, error))
    return f"{value} ± {width}"
