"""How often the verdict errs: right and wrong answers, by dimension and number of labelled rows.

Every study draws its own data, three replicates of a method and all that the checks find (`verdict_cases`),
and is judged by the rules. Methods trained on simulations are judged on one observation, without labelled
rows and with; methods that learned from labelled pairs on labelled rows alone. Writes the page
docs/results/verdict.md, with the faults of earlier rules (`verdict_faults`) before and after, and the rates
that reports show, src/veridical/report/error_rates.json. A share below 1 writes the latter alone.

    python benchmarks/verdict_error_rates.py [SHARE]      10 minutes on one core; SHARE of the repeats
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import verdict_faults
from table_text import table
from verdict_cases import CASES, Case, calibrated_rows, held, rows_of

from veridical import seeds
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row
from veridical.files import write_json
from veridical.report import error_rates, verdict
from veridical.report.judging import Evidence

DOCS = Path(__file__).parents[1] / "docs"
OUT, SUMMARY = DOCS / "results" / "verdict.md", DOCS / "verdict.md"
MARKS = "<!-- measured: written by benchmarks/verdict_error_rates.py -->", "<!-- end of measured -->"
DIMENSIONS = (1, 4, 8)
OBSERVED = (0, 100, 200)  # labelled rows beside an observation
LABELLED = (20, 50, 100, 200, 500, 1000)  # labelled rows alone
REPEATS, OF_RIGHT, ROOT = 100, 400, 2026
HOLDS = 0.74  # by 90 % intervals of faults that no verdict should trust

Rows = Callable[[np.random.Generator], dict[int, list[Row]]]
Rates = dict[int, list[float]]  # shares of the verdicts, by labelled rows


def rates(rows: Rows, repeats: int, about: tuple[str, int | None], *name: object) -> Rates:
    """Returns how often each verdict is given, by number of labelled rows.

    Arguments:
        rows: Makes the metrics of a study.
        repeats: Studies.
        about: Data set and calibration pairs of what is judged.
        name: Of the stream of random numbers.
    """
    counts: dict[int, Counter[str]] = {}
    dataset, pairs = about
    for repeat in range(repeats):
        for n, found in rows(seeds.generator(ROOT, "test", *map(str, name), repeat)).items():
            judged = verdict.judge(Evidence(found, "npe", 1000, dataset, pairs))
            counts.setdefault(n, Counter())[judged["verdict"]] += 1
    return {n: [own[word] / repeats for word in VERDICTS] for n, own in counts.items()}


def measure(share: float) -> list[dict]:
    """Returns the rates of every case and dimension."""
    found = []
    for case in CASES:
        repeats = max(2, round(share * (REPEATS if case.wrong else OF_RIGHT)))
        of_population = not case.local and case.prior == 0 and not _of_datum(case)
        for d in DIMENSIONS:
            record = {"case": case.name, "wrong": case.wrong, "d": d, "repeats": repeats}
            record["held"] = held(case, d, seeds.generator(ROOT, "test", "held", case.name, d))
            observed = rates(
                lambda rng, case=case, d=d: rows_of(case, d, OBSERVED, rng),
                repeats,
                ("data", None),
                case.name,
                d,
            )
            record["observed"] = observed
            if of_population:
                record["labelled"] = rates(
                    lambda rng, case=case, d=d: calibrated_rows(case, d, LABELLED, rng),
                    repeats,
                    ("real", 1000),
                    case.name,
                    d,
                    "labelled",
                )
            found.append(record)
            print(json.dumps(record), flush=True)
    return found


def _of_datum(case: Case) -> bool:
    return bool((case.observed(np.zeros((1, 8))) != 0).any())


def _cells(shares: list[float]) -> str:
    return " / ".join(f"{100 * s:.0f}" for s in shares)


def page(found: list[dict], seconds: float) -> str:
    """Returns docs/results/verdict.md."""
    observed = [
        [f["case"], str(f["d"]), f"{f['held']:.2f}", *(_cells(f["observed"][n]) for n in OBSERVED)]
        for f in found
    ]
    labelled = [
        [f["case"], str(f["d"]), f"{f['held']:.2f}", *(_labelled_cells(f["labelled"][n]) for n in LABELLED)]
        for f in found
        if "labelled" in f
    ]
    head = ["answer", "D", "90 % intervals hold"]
    return (
        "\n\n".join(
            [
                "# How often the verdict errs",
                INTRODUCTION.format(right=OF_RIGHT, wrong=REPEATS, minutes=round(seconds / 60)),
                "## One observation, methods trained on simulations",
                "Each cell: trust / trust if the simulator is right / caution / do not trust, in % of "
                "studies.",
                table([*head, "no labelled rows", *(f"{n} labelled rows" for n in OBSERVED if n)], observed),
                "## Labelled rows alone, methods that learned from pairs",
                "Each cell: trust / caution / do not trust, in % of studies, by labelled rows.",
                table([*head, *map(str, LABELLED)], labelled),
                "## Against what was asked for",
                *required(found),
                "## Faults of earlier rules, before and after",
                table(["#", "fault", "before", "after"], verdict_faults.lines()),
            ]
        )
        + "\n"
    )


def shipped(found: list[dict], full: bool) -> dict:
    """Returns the two rates that reports show, by kind of data, parameters and labelled rows.

    Trust as far as the simulator is right is false where the answer is wrong, and not where nature is. Faults
    of a single datum do not count: no labelled data show them.
    """
    of_nature = {case.name for case in CASES if case.nature is not CASES[0].nature}
    rates = []
    for where in ("observed", "labelled"):
        own = [f for f in found if where in f]
        for d, n in ((d, n) for d in DIMENSIONS for n in own[0][where]):
            here = [f for f in own if f["d"] == d]
            wrong = [f for f in here if f["wrong"] and "labelled" in f and round(f["held"], 2) <= HOLDS]
            (right,) = (f for f in here if f["case"] == "right")
            trusted = {f["case"]: sum(f[where][n][: 1 if f["case"] in of_nature else 2]) for f in wrong}
            worst = max(trusted, key=lambda case: trusted[case])
            about = {"where": where, "d": d, "n": n, "fault": worst, "of_wrong": wrong[0]["repeats"]}
            rates.append(
                {
                    **about,
                    "false_trust": round(trusted[worst], 4),
                    "of_right": right["repeats"],
                    "false_alarm": round(sum(right[where][n][2:]), 4),
                }
            )
    return {"holds": HOLDS, "full": full, "rates": rates}


def _labelled_cells(shares: list[float]) -> str:
    return _cells([shares[0] + shares[1], shares[2], shares[3]])


def required(found: list[dict]) -> list[str]:
    """Returns the largest rates of false trust and of false alarm, as sentences."""
    lines = []
    for limit, least in ((HOLDS, 100), (0.80, 200)):
        wrong = [f for f in found if f["wrong"] and "labelled" in f and round(f["held"], 2) <= limit]
        worst = max(
            (f["labelled"][n][0], f"{f['case']}, D = {f['d']}, {n} rows", f["repeats"])
            for f in wrong
            for n in LABELLED
            if n >= least
        )
        beside = max(f["observed"][n][0] for f in wrong for n in OBSERVED if n >= least)
        lines.append(
            f"False trust where 90 % intervals hold {limit:.2f} or less, from {least} labelled rows on: "
            "at most "
            f"{_rate(worst[0], worst[2])} ({worst[1]}); with an observation and simulated checks beside "
            f"them at most {100 * beside:.1f} %. Asked for: 5 %."
        )
    right = [f for f in found if f["case"] == "right"]
    for where, least in (("labelled", 100), ("observed", 0)):
        for what, first, limit in (("caution or worse", 2, 10), ("do not trust", 3, 2)):
            repeats = right[0]["repeats"]
            worst = max(
                (sum(f[where][n][first:]), f"D = {f['d']}, {n} rows", repeats)
                for f in right
                for n in f[where]
                if n >= least
            )
            data = "labelled rows alone, 100 or more" if where == "labelled" else "one observation"
            lines.append(
                f"Right answers, {data}: {what} in at most {_rate(worst[0], worst[2])} ({worst[1]}). "
                f"Asked for: {limit} %."
            )
    return ["\n".join(f"- {line}" for line in lines)]


def _rate(share: float, n: int) -> str:
    q = (share * n + 1) / (n + 2)
    return f"{100 * share:.1f} ± {100 * (q * (1 - q) / n) ** 0.5:.1f} %"


INTRODUCTION = """Written by `python benchmarks/verdict_error_rates.py` ({minutes} minutes on one core); the
model and the faults are in `benchmarks/verdict_cases.py`, the rules in [verdict](../verdict.md).
theta ~ N(0, 1)^D, each parameter seen in eight numbers with noise 1; 500 simulated test sets; three
replicates that share all data, with small errors of their own (bias 0.03 posterior sd, width 2 %; in the
second case 0.15 and 5 %). {right} studies for right answers, {wrong} for wrong ones. *Hold* is what the
90 % interval of the worst parameter holds where the fault is (exact answer: 0.90). It shows what verdicts
such answers earn and proves nothing: the model is Gaussian, and its predictive check and local ranks are
closed forms of those of the pipeline."""


def write(found: list[dict], seconds: float) -> None:
    """Writes the page, and the rates that were asked for into docs/verdict.md, between two marks."""
    OUT.write_text(page(found, seconds), encoding="utf-8")
    before, _, rest = SUMMARY.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    text = "\n\n".join([before + MARKS[0], *required(found), MARKS[1] + after])
    SUMMARY.write_text(text, encoding="utf-8")


def main(share: float = 1.0) -> None:
    start = time.process_time()
    found = measure(share)
    write_json(error_rates.PATH, shipped(found, share >= 1), indent=1)
    if share >= 1:
        write(found, time.process_time() - start)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
