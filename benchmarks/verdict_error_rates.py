"""How often the verdict errs: right and wrong answers, by dimension and number of labelled rows.

Every study draws its own data, three replicates of a method and all that the checks find (`verdict_cases`),
and is judged by the rules. Methods trained on simulations are judged on one observation, without labelled
rows and with; methods that learned from labelled pairs on labelled rows alone. Keeps the rates beside this
script and writes the page docs/results/verdict.md, with the faults of earlier rules (`verdict_fault_table`)
before and after, which are measured again with all cases alone, and the rates that reports show,
src/veridical/report/error_rates.json.

    python benchmarks/verdict_error_rates.py [--share SHARE] [--only PATTERN]

SHARE of the repeats; PATTERN of the names of cases, whose rates replace those kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatch
from itertools import product
from pathlib import Path

import numpy as np
import verdict_fault_table
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
KEPT = Path(__file__).with_suffix(".json")
MARKS = "<!-- measured: written by benchmarks/verdict_error_rates.py -->", "<!-- end of measured -->"
DIMENSIONS = (1, 4, 8)
OBSERVED = (0, 100, 200)  # labelled rows beside an observation
LABELLED = (20, 50, 100, 200, 500, 1000)  # labelled rows alone
REPEATS, OF_ONE, OF_RIGHT, ROOT = 100, 400, 1600, 2026
TRAINED = "right, net of bias 0.03, width 2 %"  # what well trained networks answer where all is right
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


def measure(share: float, only: str = "*") -> list[dict]:
    """Returns the rates, and CPU seconds, of every case and dimension whose case has such a name."""
    found = []
    for case in CASES:
        if not fnmatch(case.name, only):
            continue
        of_wrong = OF_ONE if case.name.startswith("one parameter") else REPEATS
        repeats = max(2, round(share * (of_wrong if case.wrong else OF_RIGHT)))
        of_population = not case.local and case.prior == 0 and not _of_datum(case)
        for d in DIMENSIONS:
            start = time.process_time()
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
            record["cpu_seconds"] = round(time.process_time() - start, 1)
            found.append(record)
            print(json.dumps(record), flush=True)
    return found


def _of_datum(case: Case) -> bool:
    return bool((case.observed(np.zeros((1, 8))) != 0).any())


def _cells(shares: list[float]) -> str:
    return " / ".join(f"{100 * s:.0f}" for s in shares)


def page(found: list[dict], faults: dict[str, dict]) -> str:
    """Returns docs/results/verdict.md, given rates and faults."""
    seconds = sum(one["cpu_seconds"] for one in (*found, *faults.values()))
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
    return "\n\n".join(
        [
            "# How often the verdict errs",
            INTRODUCTION.format(right=OF_RIGHT, one=OF_ONE, wrong=REPEATS, minutes=round(seconds / 60)),
            "## One observation, methods trained on simulations",
            "Each cell: trust / trust if the simulator is right / caution / do not trust, in % of studies.",
            table([*head, "no labelled rows", *(f"{n} labelled rows" for n in OBSERVED if n)], observed),
            "## Labelled rows alone, methods that learned from pairs",
            "Each cell: trust / caution / do not trust, in % of studies, by labelled rows.",
            table([*head, *map(str, LABELLED)], labelled),
            "## Against what was asked for",
            *required(found),
            verdict_fault_table.section(faults),
        ]
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
            (right,) = (f for f in here if f["case"] == TRAINED)
            trusted = {f["case"]: sum(f[where][n][: 1 if f["case"] in of_nature else 2]) for f in wrong}
            worst = max(trusted, key=lambda case: trusted[case])
            (of_wrong,) = (f["repeats"] for f in wrong if f["case"] == worst)
            about = {"where": where, "d": d, "n": n, "fault": worst, "of_wrong": of_wrong}
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
    data = (("labelled", 100, "labelled rows alone, 100 or more"), ("observed", 0, "one observation"))
    asked = (("caution or worse", 2, 10), ("do not trust", 3, 2))
    for case, (where, least, rows), (what, first, limit) in product(("right", TRAINED), data, asked):
        right = [f for f in found if f["case"] == case]
        share, place = max(
            (sum(f[where][n][first:]), f"D = {f['d']}, {n} rows")
            for f in right
            for n in f[where]
            if n >= least
        )
        lines.append(
            f"{case.capitalize()}, {rows}: {what} in at most {_rate(share, right[0]['repeats'])} ({place}). "
            f"Asked for: {limit} %."
        )
    return ["\n".join(f"- {line}" for line in lines)]


def _rate(share: float, n: int) -> str:
    q = (share * n + 1) / (n + 2)
    return f"{100 * share:.1f} ± {100 * (q * (1 - q) / n) ** 0.5:.1f} %"


INTRODUCTION = """Written by `python benchmarks/verdict_error_rates.py` ({minutes} minutes of CPU time, as
measured); the
model and the faults are in `benchmarks/verdict_cases.py`, the rules in [verdict](../verdict.md).
theta ~ N(0, 1)^D, each parameter seen in eight numbers with noise 1; 500 simulated test sets; three
replicates that share all data, with small errors of their own unless a case says which (bias 0.03
posterior sd, width 2 %; none where an answer is right). {right} studies for right answers, {one} for one
wrong parameter, {wrong} for other wrong ones. *Hold* is what the
90 % interval of the worst parameter holds where the fault is (exact answer: 0.90). It shows what verdicts
such answers earn and proves nothing: the model is Gaussian, and its predictive check and local ranks are
closed forms of those of the pipeline."""


def write(found: list[dict], faults: dict[str, dict]) -> None:
    """Writes the page, and the rates that were asked for into docs/verdict.md, between two marks."""
    OUT.write_text(page(found, faults), encoding="utf-8")
    before, _, rest = SUMMARY.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    text = "\n\n".join([before + MARKS[0], *required(found), MARKS[1] + after])
    SUMMARY.write_text(text, encoding="utf-8")


def merged(found: list[dict]) -> list[dict]:
    """Returns these rates with those kept of other cases, in the order of the cases, and keeps them all."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else []
    rates = {(f["case"], f["d"]): f for f in (*kept, *json.loads(json.dumps(found)))}
    every = [(case.name, d) for case in CASES for d in DIMENSIONS]
    together = [rates[name] for name in every if name in rates]
    KEPT.write_text(json.dumps(together, indent=1) + "\n", encoding="utf-8")
    if len(together) < len(every):
        raise SystemExit(f"{len(every) - len(together)} rates are still to be measured: leave --only out.")
    by_rows = ("observed", "labelled")
    return [
        {k: {int(n): s for n, s in v.items()} if k in by_rows else v for k, v in f.items()} for f in together
    ]


def main() -> None:
    """Measures rates and faults, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the repeats")
    parser.add_argument("--only", default="*", help="pattern of names of cases")
    chosen = parser.parse_args()
    found = merged(measure(chosen.share, chosen.only))
    full = min(one["repeats"] for one in found) >= REPEATS
    write_json(error_rates.PATH, shipped(found, full), indent=1)
    all_of_them = chosen.only == "*"
    write(found, verdict_fault_table.measure() if all_of_them else verdict_fault_table.kept())


if __name__ == "__main__":
    main()
