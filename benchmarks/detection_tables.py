"""The page of `detection_power.py`: its tasks and tests, and tables of what was found."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from table_text import table

ALPHA, SIZES = 0.05, (1, 2, 5, 10, 50, 200)
TESTS = ("mmd", "mahalanobis", "typicality", "c2st", "criticism")
SD = 0.1**0.5
TASKS: dict[str, tuple[str, dict[str, Any], str]] = {  # registry name, settings, what is wrong
    "gaussian_cloud": ("gaussian_cloud", {"wrong": "noise"}, "a share of the points has no centre"),
    "gaussian_mean": ("gaussian_mean", {"wrong": "contamination"}, "a share of the draws has twice the sd"),
    "gaussian_linear": (
        "gaussian_linear",
        {"dimension": 10, "prior_sd": SD, "noise_sd": SD, "real_noise_sd": 0.2**0.5},
        "the noise has up to twice the variance",
    ),
    "stochastic_sir": ("stochastic_sir", {"dequantised": True}, "weekends are seen on Mondays"),
    "cancer_stromal": ("cancer_stromal", {}, "tumours lose their cores"),
}
Line = dict[str, Any]


def page(about: str, lines: list[Line], root: int) -> str:
    """The record as Markdown, beside what the script says of itself."""
    command, sets, classifier, distortions, weekends, foot = about.strip().split("\n\n")[1:]
    parts = ["# Size and power of the tests for a wrong simulator", written(command, lines, root), sets]
    parts += ["## Size: severity 0", by_test(lines, 0.0), too_large(lines)]
    parts += ["## Power: severity 0.5", by_test(lines, 0.5), "## Power: severity 1", by_test(lines, 1.0)]
    parts += ["## What a test costs", costs(lines), classifier, by_classifier(lines)]
    parts += ["## Distortions", distortions, weekends, by_loss(lines), foot]
    return "\n\n".join(parts) + "\n"


def written(command: str, lines: list[Line], root: int) -> str:
    """Which calls measured what the page holds, and with what."""
    version = f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"
    script = " ".join(command.split()[:2])
    calls = [f"`{script} {o['arguments']}` on {o['date']}" for o in lines if o["what"] == "run"]
    return f"Written by {', and before by '.join(reversed(calls))} ({version}; root seed {root})."


def by_test(lines: list[Line], severity: float) -> str:
    """A line per task and test, a column per number of data sets."""
    of = {(o["task"], o["test"], o["n"]): o for o in lines if o.get("severity") == severity}
    cells = []
    for task, (_, _, wrong) in TASKS.items():
        for test in (*TESTS, "distortions"):
            own = [of.get((task, test, n)) for n in SIZES]
            if any(own):
                what = f"{task}: {wrong}" if severity else task
                cells.append(
                    [what, test, *(f"{o['share']:.2f} ± {o['error']:.2f}" if o else "" for o in own)]
                )
    return table(["task", "test", *(f"N = {n}" for n in SIZES)], cells)


def too_large(lines: list[Line]) -> str:
    """How the sizes lie about the level, in units of the errors that they have where it is kept."""
    least = ALPHA * (1 - ALPHA)
    z = [
        (o["share"] - ALPHA) / max(o["error"] if o["share"] > ALPHA else 0.0, (least / o["tests"]) ** 0.5)
        for o in lines
        if o.get("severity") == 0.0
    ]
    if not z:
        return "Not run yet."
    beyond = sum(abs(one) > 2 for one in z)
    mean = np.mean([o["share"] for o in lines if o.get("severity") == 0.0])
    return (
        f"{judged(lines)} Of {len(z)} sizes {beyond} lie more than two of their errors from 0.05 (by chance "
        f"{0.05 * len(z):.0f}); the largest distance is {max(map(abs, z)):.1f} errors; their mean "
        f"is {mean:.3f}."
    )


def judged(lines: list[Line]) -> str:
    """How many sets stand behind each figure."""
    counts = {n: {o["tests"] for o in lines if o["what"] == "grid" and o["n"] == n} for n in SIZES}
    told = [f"{' or '.join(map(str, sorted(found)))} of {n}" for n, found in counts.items() if found]
    return f"Sets judged for each task and severity: {', '.join(told)}; of distortions see below."


def costs(lines: list[Line]) -> str:
    """Milliseconds of one test, by test and number of data sets, means over tasks."""
    cells = []
    for test in (*(t for t in TESTS if t != "mahalanobis"), "distortions"):
        own = [[o["seconds"] for o in lines if (o.get("test"), o.get("n")) == (test, n)] for n in SIZES]
        named = "mmd and mahalanobis" if test == "mmd" else test
        cells.append([named, *(f"{1000 * np.mean(each):.1f}" if each else "" for each in own)])
    return table(["CPU ms, what a pool shares left out", *(f"N = {n}" for n in SIZES)], cells)


def by_loss(lines: list[Line]) -> str:
    """The table of planted weekends."""
    cells = [
        [
            *(o["task"], f"{o['loss']:.0%}", str(o["tests"]), f"{o['share']:.3f} ± {o['error']:.3f}"),
            *(f"{o['at_0.1']:.2f}", f"{o['named']} of {o['found']}" if o["loss"] else ""),
        ]
        for o in lines
        if o["what"] == "weekend"
    ]
    header = ["counts", "lost on weekends", "repeats", "found at 0.03", "at 0.1", "named"]
    return table(header, cells) if cells else "Not run yet."


def by_classifier(lines: list[Line]) -> str:
    """The table of classifiers: power and CPU seconds."""
    cells = [
        [
            *(o["task"], str(o["n"]), f"{o['real']:g}", o["test"], str(o.get("tests", ""))),
            *(f"{o['share']:.2f} ± {o['error']:.2f}" if "share" in o else "not run", f"{o['seconds']:.3g}"),
        ]
        for o in lines
        if o["what"] == "classifier"
    ]
    header = ["task", "N", "severity", "classifier", "tests", "power", "CPU seconds of one test"]
    return table(header, cells) if cells else "Not run yet."
