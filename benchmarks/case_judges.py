"""What comes of a study that has run, and judges of it: each says what is right, or raises AssertionError."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical import bank
from veridical.report import missing, verdict
from veridical.saved import observations, posteriors


@dataclass
class Ended:
    """A study that has run: its folder, what it said, its exit status."""

    folder: Path
    said: str
    status: int
    results: Path

    def observed(self, name: str) -> np.ndarray:
        """x of a data set, flat in each row."""
        x = observations.load(self.results / "observe" / f"{name}.nc").x
        return np.asarray(x.reshape(len(x), -1))

    def draws(self, method: str, name: str) -> dict[str, np.ndarray]:
        """Draws (S, N) of each parameter for a data set."""
        (path,) = self.results.glob(f"infer/{method}/*/{name}.nc")
        found = posteriors.load(path)
        return dict(zip(found.names, np.moveaxis(found.draws, 2, 0), strict=True))


Judge = Callable[[Ended], str]


def refused(*words: str) -> Judge:
    """A refusal: not a traceback, but a sentence that holds all of these words."""

    def judge(ended: Ended) -> str:
        assert ended.status, f"it ran:\n{ended.said[-2000:]}"
        assert "Traceback" not in ended.said, ended.said[-3000:]
        lines = [line for line in ended.said.splitlines() if all(word in line for word in words)]
        assert lines, f"expected a line with {words}, got\n{ended.said[-3000:]}"
        return "refused: " + re.sub(r"^.*?(?:Error|error): ", "", lines[0]).strip()

    return judge


def read_as(dataset: str, *rows: Sequence[float]) -> Judge:
    """Observations as they were meant."""

    def judge(ended: Ended) -> str:
        found = ended.observed(dataset)
        np.testing.assert_allclose(found, rows, rtol=1e-7)
        return "x = " + ", ".join(f"({', '.join(f'{v:g}' for v in row)})" for row in found)

    return judge


def answers(
    method: str,
    dataset: str,
    parameter: str,
    mean: Sequence[float],
    sd: Sequence[float],
    judged: int | None = None,
) -> Judge:
    """Posterior means within a quarter of the exact sd, sds within a quarter of themselves.

    Of the first `judged` observations; the others are shown beside the exact answer, whatever they are.
    """

    def judge(ended: Ended) -> str:
        draws = ended.draws(method, dataset)[parameter].astype(np.float64)
        found = np.array([draws.mean(axis=0), draws.std(axis=0, ddof=1)])
        exact = np.array([mean, sd])
        off = np.abs(found - exact) / exact[1]
        assert (off[:, :judged] <= 0.25).all(), f"got {found}, exact is {exact}"
        return "; ".join(
            f"{parameter} {m:.4g} +- {s:.3g} (exact {em:.4g} +- {es:.3g}{', not reached' * bool(far > 0.25)})"
            for m, s, em, es, far in zip(*found, *exact, off.max(axis=0), strict=True)
        )

    return judge


def all_of(*judges: Judge) -> Judge:
    """Several things are right."""
    return lambda ended: "; ".join(judge(ended) for judge in judges)


def either(judge: Judge, *words: str) -> Judge:
    """Right as the judge says, or refused with the cause."""
    return lambda ended: refused(*words)(ended) if ended.status else judge(ended)


def ran(ended: Ended) -> str:
    """The study ended with a report."""
    assert not ended.status, ended.said[-3000:]
    assert (ended.results / "report.html").is_file(), "there is no report"
    return "report"


def reported(ended: Ended) -> str:
    """There is a report, whatever could not be made; the exit status tells."""
    assert (ended.results / "report.html").is_file(), f"there is no report: {ended.said[-3000:]}"
    lacks = missing.told(verdict.load(ended.results / "verdict.json")["unchecked"])
    return "; lacks ".join([f"a report, exit status {ended.status}", *lacks])


def warned(*words: str) -> Judge:
    """The probe says so, whatever comes after."""

    def judge(ended: Ended) -> str:
        lines = [line for line in ended.said.splitlines() if all(word in line for word in words)]
        logs = [path.read_text() for path in ended.folder.rglob("*.log")]
        lines += [line for log in logs for line in log.splitlines() if all(word in line for word in words)]
        assert lines, f"expected a line with {words}"
        return lines[0].strip()

    return judge


def values_exist(method: str, dataset: str, parameter: str, exact: dict[int, float]) -> Judge:
    """Draws of a whole number are whole, with the exact probabilities for the first observation."""

    def judge(ended: Ended) -> str:
        draws = ended.draws(method, dataset)[parameter]
        assert (draws == np.round(draws)).all(), "draws that do not exist"
        found = {value: float((draws[:, 0] == value).mean()) for value in exact}
        assert all(abs(found[value] - p) < 0.1 for value, p in exact.items()), f"{found}, exact is {exact}"
        return ", ".join(f"P({value}) = {found[value]:.2f} (exact {p:.2f})" for value, p in exact.items())

    return judge


def sums_to_one(method: str, dataset: str) -> Judge:
    """Draws of shares sum to one."""

    def judge(ended: Ended) -> str:
        sums = sum(ended.draws(method, dataset).values())
        assert np.allclose(sums, 1.0, atol=1e-6), f"sums from {np.min(sums)} to {np.max(sums)}"
        return f"all draws sum to 1 within {np.abs(sums - 1).max():.0e}"

    return judge


def rows_are_their_own(ended: Ended) -> str:
    """Each row of the bank holds the x of its own theta, which differs from it by noise of 0.1."""
    parts = [bank.load([path]) for path in ended.folder.glob("results/bank/*/*/train-r0/*.zarr.zip")]
    off = np.concatenate([np.abs(part["x"] - part["theta"]).max(axis=1) for part in parts])
    assert len(off) >= 1000 and (off < 0.7).all(), f"{(off >= 0.7).sum()} of {len(off)} rows are others'"
    left = [path.name for path in ended.folder.iterdir() if path.suffix == ".dat"]
    assert not left, f"left in the folder: {left}"
    return f"{len(off)} rows, each its own; nothing left behind"


def not_trusted(method: str, dataset: str, rule: str, *words: str) -> Judge:
    """The verdict trusts nothing, and a rule objects in these words."""

    def judge(ended: Ended) -> str:
        found, said = _judged(ended, method, dataset, rule)
        assert not found["verdict"].startswith("trust"), found["verdict"]
        assert said["outcome"] in ("caution", "bad"), said
        assert all(word in said["text"] for word in words), said["text"]
        return f"{found['verdict']}; `{rule}`: {said['outcome']}. {said['text']}"

    return judge


def predicted(method: str, dataset: str, words: Sequence[str], never: Sequence[str] = ()) -> Judge:
    """What the predictive check found, in these words; the figure's caption ends with that very sentence."""

    def judge(ended: Ended) -> str:
        _, said = _judged(ended, method, dataset, "reproduces")
        assert all(word in said["text"] for word in words), said["text"]
        assert not any(word in said["text"] for word in never), said["text"]
        page = (ended.results / "report.html").read_text(encoding="utf-8")
        figure = page.partition(f'<figure id="figure-predictive-{method}-{dataset}">')[2].partition(
            "</figure>"
        )[0]
        caption = html.unescape(re.sub("<[^>]+>", "", figure.partition("<figcaption>")[2]))
        agreed = f"{said['text']} Outcome: {said['outcome']}."
        assert agreed in caption, f"expected {agreed!r} in {caption!r}"
        return f"{dataset}: {said['outcome']}. {said['text']}"

    return judge


def _judged(ended: Ended, method: str, dataset: str, rule: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The verdict on one method and data set, and what one rule found."""
    verdicts = verdict.load(ended.results / "verdict.json")["verdicts"]
    (found,) = [v for v in verdicts if (v["method"], v["dataset"]) == (method, dataset)]
    (said,) = [f for f in found["findings"] if f["rule"] == rule]
    return found, said


def no_figure_failed(ended: Ended) -> str:
    """The report is there and so is every figure that draws the unit."""
    assert (ended.results / "figures").is_dir()
    return f"{len([*(ended.results / 'figures').glob('*.svg')])} figures"
