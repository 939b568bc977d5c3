"""The page of a collection: tasks by methods, a table for each question, from the numbers of its studies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veridical import coordinates
from veridical.evidence import metrics, numbers, variants
from veridical.evidence.metrics import Row
from veridical.report import followed, leaderboard, page


@dataclass(frozen=True)
class Question:
    """What one table tells, and which row of metrics says it.

    Attributes:
        heading: Its heading.
        words: What the numbers are, in a sentence or two.
        cells: Cells of the rows that tell it.
        goal: The best value; None where less is better.
    """

    heading: str
    words: str
    cells: Mapping[str, Any]
    goal: float | None = None


QUESTIONS = (
    Question(
        "C2ST against the exact posterior",
        "How well a classifier tells a method's draws from those of the exact sampler, mean over the "
        "observations: 0.5 is perfect, 1 is disjoint. The observations are the same for all methods, and the "
        "error is that of draws and classifier, not of which observations they are.",
        {"metric": "c2st", "dataset": "observed"},
    ),
    Question(
        "NLTP",
        "Negative log density of the true parameters of simulated test data, mean over data sets: less is "
        "better. Only methods with densities have one.",
        {"metric": "nltp", "dataset": "simulated"},
    ),
    Question(
        "Coverage of 90 % intervals",
        "Share of central 90 % intervals that hold the true parameters of simulated test data, all "
        "parameters together: 0.9 is right, below is over-confident.",
        {"metric": "coverage", "dataset": "simulated", "level": 0.9},
        goal=0.9,
    ),
    Question(
        "Error of the likelihood-ratio statistic",
        "Mean squared difference from the exact statistic, at all parameters of the grid that the exact one "
        "leaves plausible (below 20): less is better. Only learned likelihoods and ratios have one.",
        {"metric": "lrt_mse_grid", "dataset": "simulated"},
    ),
    Question(
        "Coverage of 95 % sets by the likelihood ratio",
        "Share of Wilks' sets that hold the true parameters of simulated test data. Those of the exact "
        "likelihood need not hold 95 % either, where data are few: each study's report shows both.",
        {"metric": "wilks_coverage", "dataset": "simulated", "level": 0.95},
        goal=0.95,
    ),
    Question(
        "Seconds of training",
        "Wall time of all that a method was fitted with, rounds included; on what machine, each study's "
        "provenance says.",
        {"metric": "fit_seconds", "dataset": None},
    ),
    Question(
        "Seconds of answers",
        "Wall time of the job that answers all simulated test data, start of Python included.",
        {"metric": "sample_seconds", "dataset": "simulated"},
    ),
)


@dataclass(frozen=True)
class Member:
    """One study of a collection, as its page shows it.

    Attributes:
        name: Its name.
        link: Where its report lies, from the page.
        rows: Its metrics.
        verdicts: Its verdicts.
    """

    name: str
    link: str
    rows: Sequence[Row]
    verdicts: Sequence[Mapping[str, Any]]


def build(about: Mapping[str, Any], members: Sequence[Member], methods: Sequence[str]) -> str:
    """Returns the page.

    Arguments:
        about: `collection`, `title`, `description` and `scale`.
        members: Its studies, in the order in which they are shown.
        methods: The methods in the order in which they are shown.
    """
    graded = bool(about.get("severities"))
    tables = [] if graded else [_table(question, members, methods) for question in QUESTIONS]
    shown = [_member(member) for member in members]
    context = {
        "about": about,
        "members": shown,
        "sampled": any(one["rhat"] for one in shown),
        "tables": [table for table in tables if table["lines"]],
        "boards": graded_boards(members, methods) if graded else [],
    }
    return str(page.environment({}).get_template("collection.html.j2").render(context))


def graded_boards(members: Sequence[Member], methods: Sequence[str]) -> list[leaderboard.Board]:
    """Returns what following the verdict brings in a collection with severities, and its leaderboard.

    Arguments:
        members: Its studies; those that name no severity are left out.
        methods: The methods in the order in which they are shown.
    """
    rows = [row for m in members for row in m.rows if coordinates.at_a_severity(row["study"])]
    named = [m for m in members if coordinates.at_a_severity(m.name)]
    verdicts = [{**one, "study": member.name} for member in named for one in member.verdicts]
    found = followed.evidence(rows, verdicts, methods)
    board = leaderboard.Board("verdict", followed.HEADING, followed.WORDS, followed.tables(found))
    return [board, *leaderboard.boards(rows, methods)]


def _member(member: Member) -> dict[str, Any]:
    """What the first table says of a study: how often its verdicts trust, and how sure its reference is."""
    words = [found["verdict"] for found in member.verdicts]
    exact = [row["value"] for row in metrics.select(member.rows, metric="rhat", method=variants.REFERENCE)]
    return {
        "name": member.name,
        "link": member.link,
        "verdicts": [
            (word, page.BADGES[word][0], words.count(word)) for word in page.BADGES if word in words
        ],
        "rhat": numbers.to_precision(max(exact), 0.01, 1) if exact else "",
    }


def _table(question: Question, members: Sequence[Member], methods: Sequence[str]) -> dict[str, Any]:
    """The answers to one question: a line per study and data set, a column per method that has any."""
    found = {(m.name, name): own for m in members for name, own in _of_study(question, m.rows).items()}
    own = {label for line in found.values() for label in line}
    order = {method: i for i, method in enumerate(methods)}
    columns = sorted(own, key=lambda label: (order.get(label.partition(" ")[0], len(order)), label))
    several = {name for name, _ in found if sum(name == other for other, _ in found) > 1}
    lines = [
        {
            "name": f"{study}: {dataset}" if study in several else study,
            "cells": _cells([line.get(column) for column in columns], question.goal),
        }
        for (study, dataset), line in found.items()
    ]
    return {"heading": question.heading, "words": question.words, "columns": columns, "lines": lines}


def _of_study(question: Question, rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """The row of each method that answers a question, at its largest budget, by data set."""
    kept = set(variants.leading(variants.of_rows(rows)))
    own = [
        row
        for row in metrics.select(rows, parameter=None, observation=None, **question.cells)
        if variants.of_cells(row) in kept
    ]
    repeated = {variants.of_cells(row) for row in own if row["seed"] not in (None, 0)}
    found: dict[str, dict[str, Row]] = {}
    for row in own:
        if (row["seed"] is None) == (variants.of_cells(row) in repeated):
            found.setdefault(row["dataset_name"] or "", {})[variants.of_cells(row).label] = row
    return found


def _cells(rows: Sequence[Row | None], goal: float | None) -> list[dict[str, Any]]:
    best = within_an_error([None if r is None else (r["value"], r["stderr"]) for r in rows], goal)
    return [
        {"text": "" if row is None else _text(row), "best": mark}
        for row, mark in zip(rows, best, strict=True)
    ]


def _text(row: Row) -> str:
    error = row["stderr"]
    if error is None or not math.isfinite(error) or error <= 0:
        return numbers.rounded(row["value"])
    value, width = (numbers.to_precision(number, error) for number in (row["value"], error))
    return f"{value} ± {width}"


def within_an_error(
    found: Sequence[tuple[float, float | None] | None], goal: float | None = None
) -> list[bool]:
    """Returns of each value whether it lies within one standard error of the best.

    Arguments:
        found: Values with their standard errors, None for no value; without an error it counts as exact.
        goal: The best value there can be; None where less is better.

    The error is that of the difference, as if both were independent; methods judged on the same data differ
    by less than this says, so that more of them are marked.
    """
    losses = [
        math.inf if one is None or not math.isfinite(one[0]) else abs(one[0] - goal) if goal else one[0]
        for one in found
    ]
    least = min(losses, default=math.inf)
    if not math.isfinite(least):
        return [False] * len(losses)
    errors = [(one[1] or 0.0) if one else 0.0 for one in found]
    of_best = errors[losses.index(least)]
    return [
        loss - least <= math.hypot(error, of_best) and math.isfinite(loss)
        for loss, error in zip(losses, errors, strict=True)
    ]
