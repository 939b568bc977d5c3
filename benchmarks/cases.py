"""Runs small studies on which the pipeline once failed, as users write them, and judges what comes of each.

    PYTHONPATH=src python benchmarks/cases.py FOLDER --out docs/results/cases.md [--only PATTERN]

FOLDER holds one folder a case: study files, models, data. Each study runs in a copy, through Snakemake,
to the target that its judge needs; a judge raises AssertionError or says what is right now. Programs of the
verdict's faults are made again (`case_programs`). Lines of cases that do not run stay on the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
from case_judges import (
    Judge,
    all_of,
    answers,
    either,
    no_figure_failed,
    not_trusted,
    predicted,
    ran,
    read_as,
    refused,
    reported,
    rows_are_their_own,
    sums_to_one,
    values_exist,
    warned,
)
from case_programs import PROGRAMS
from case_runs import Case, judged
from table_text import table

# ---- cases -------------------------------------------------------------------------------------------

TABLE = {"layout": "table", "source": "made up"}
LAB, ROWS = "observe/lab.nc", (1.0, 2.0, 0.5)
SETS = ([0.75, 20 / 21, 0.5], [0.5, 21**-0.5, 0.5**0.5])
SHARES = {
    name: ([(1 + a) / 103, (1 + b) / 103], [np.sqrt((1 + c) * (102 - c) / 103**2 / 104) for c in (a, b)])
    for name, a, b in (("alpha", 70, 95), ("beta", 25, 5))
}


def table_of(name: str, judge: Judge, before: str = "refused without the cause") -> Case:
    """A table as instruments and offices write them."""
    data = {"observations": {"lab": {"file": f"config/data/{name}", "layout": "table"}}}
    return Case("csv_dialects", "csv_dialects", before, judge, LAB, data, name)


def dated(name: str) -> Case:
    """A series whose rows bear dates."""
    data = {
        "observations": {"lab": {"file": f"config/data/{name}", "layout": "series", "columns": ["cases"]}}
    }
    return Case(
        "csv_dialects",
        "csv_dialects",
        "refused without the cause",
        read_as("lab", ROWS),
        LAB,
        {**data, "task": "models/m.py:Dated"},
        name,
    )


def study_of(name: str, before: str, judge: Judge, target: str = LAB) -> Case:
    """A study file as people write them."""
    return Case("study_yaml", name, before, judge, target)


def prior_of(name: str, before: str, judge: Judge) -> Case:
    """A prior as people have it."""
    return Case("prior_objects", name, before, judge)


CASES = (
    Case(
        "columns_infer",
        "swapped_names",
        "read by position, silently",
        read_as("field", (10.5, 50.5)),
        "observe/field.nc",
    ),
    Case(
        "columns_infer",
        "duplicate_keys",
        "the last of two keys won, silently",
        refused("estimators", "twice", "lines 6 and 10"),
    ),
    Case("columns_swapped", "python", "read by position, silently", read_as("lab", (5.0, 0.5)), LAB),
    Case("columns_swapped", "stored", "read by position, silently", read_as("lab", (0.5, 5.0)), LAB),
    Case("command_shared_folder", "race", "196 of 1,000 rows another's", all_of(ran, rows_are_their_own)),
    *(
        table_of(name, read_as("lab", ROWS))
        for name in ("semi.csv", "comma.csv", "tab.tsv", "space.csv", "x.csv.gz", "x.npy")
    ),
    table_of("unit.csv", either(read_as("lab", ROWS), "unit")),
    table_of("trail.csv", either(read_as("lab", ROWS), "column")),
    table_of("pandas.csv", read_as("lab", ROWS, (1.1, 2.1, 0.6))),
    table_of("masked99.csv", warned("-999", "missing"), "-999 taken as a value"),
    *(dated(name) for name in ("datetime.csv", "dates_us.csv")),
    Case(
        "float32_offset_julian",
        "julian",
        "sd 0.096, seven times too wide, all good",
        all_of(refused("x_dtype")),
    ),
    Case(
        "float32_offset_julian",
        "julian",
        "the remedy did not reach predict",
        all_of(ran, answers("npe", "lab", "shift", [0.4049], [0.0141], judged=0)),
        change={
            "task": {"file": "models/julian.py", "class": "Julian", "x_dtype": "float64"},
            "budgets": [20_000],
        },
        what="julian, x_dtype declared, 20,000 rows",
    ),
    Case(
        "integer_parameter",
        "integer",
        "930 of 2,700 rows refused after the bank",
        refused("channels", "Whole"),
    ),
    Case("integer_parameter", "wide", "no report", all_of(warned("channels", "Whole"), reported)),
    Case(
        "integer_parameter",
        "wide",
        "-",
        all_of(ran, values_exist("npe", "lab", "channels", {2: 0.07, 3: 0.77, 4: 0.16})),
        what="wide, constraints declared",
        said=(
            "models/integer_wide.py",
            "    prior = Prior()",
            "    from veridical.tasks.supports import Whole\n"
            '    constraints = (Whole("channels", 1, 6),)\n    prior = Prior()',
        ),
    ),
    Case("long_series", "long", "not trained in 190 s, 329 MB of state", ran),
    Case("missing_values", "nan", "93 % of simulations failed", refused("missing: true")),
    Case("missing_values", "nan_noobs", "93 % of simulations failed", refused("missing: true")),
    Case(
        "missing_values",
        "nan",
        "-",
        all_of(ran, answers("npe", "clinic", "mu", *SETS)),
        change={"budgets": [10_000]},
        what="nan, missing declared, 10,000 rows",
        said=(
            "models/sets.py",
            'Dimension("patient", tuple(range(20))),)\n    fidelities',
            'Dimension("patient", tuple(range(20)), kind="exchangeable", missing=True),)\n    fidelities',
        ),
    ),
    Case(
        "missing_values",
        "masked",
        "right with a deep set alone",
        all_of(ran, answers("npe_set", "clinic", "mu", *SETS)),
    ),
    Case("prior_fixed_parameter", "fixed", "a near its prior, then DataErrors", refused("b is 2 in all")),
    *(
        prior_of(name, "a bare AttributeError", all_of(ran, answers("npe", "lab", "a", [0.8], [0.447])))
        for name in ("scipylist", "scipyproduct")
    ),
    *(
        prior_of(name, "a bare AttributeError", refused("prior.sample", "bounds", " b "))
        for name in ("scipy", "torch")  # normal distributions, of a parameter that is to be positive
    ),
    prior_of("nologprob", "a bare AttributeError", refused("sample(rng, n)", "log_prob(theta)")),
    prior_of("columnlogprob", "a bare error", refused("prior.log_prob: expected shape")),
    prior_of("sampleorder", "a bare error", refused("sample(rng, n)")),
    prior_of("wrongbounds", "refused", refused("bounds", "b")),
    prior_of("conditional", "worked", ran),
    Case("prior_simplex", "simplex", "draws sum to 0.92 .. 1.31", refused("alpha + beta + gamma = 1")),
    Case(
        "prior_simplex",
        "simplex",
        "-",
        all_of(
            ran,
            sums_to_one("npe", "lab"),
            *(answers("npe", "lab", name, *exact, judged=1) for name, exact in SHARES.items()),
        ),
        change={"budgets": [10_000]},
        what="simplex, constraints declared, 10,000 rows",
        said=(
            "models/simplex.py",
            "    prior = Simplex()",
            "    from veridical.tasks import supports\n"
            '    constraints = (supports.Simplex(("alpha", "beta", "gamma")),)\n    prior = Simplex()',
        ),
    ),
    study_of("dup", "the last one won, silently", refused("budgets", "twice", "lines")),
    study_of("dupobs", "the last one won, silently", refused("lab", "twice", "lines")),
    study_of("norway", "'observations.0: expected a string; got False'", refused("'no'", "quotes")),
    study_of("boolparam", "'got True'", refused("'on'", "quotes")),
    study_of("number", "'got 2024'", refused("2024")),
    study_of("datecoord", "a date", refused("2020-01-06", "quotes")),
    study_of("exp", "1e3 refused as text", read_as("lab", (1.0, 1.0))),
    study_of("latin", "a traceback of Snakemake", refused("UTF-8", "line")),
    study_of("oct", "seed 83, silently", refused("0123")),
    *(
        Case(
            "units_as_text",
            "unit_that_latex_knows",
            "figures ended in a traceback",
            all_of(ran, no_figure_failed),
            "",
            {
                "study": f"unit_{i}",
                "task": {
                    "name": f"unit_{i}",
                    "command": "awk -v out={out} -v seeds={seeds} -f line.awk {theta}",
                    "parameters": {"slope": {"prior": "uniform", "lower": 0, "upper": 1, "unit": unit}},
                    "x_shape": [3],
                },
            },
            what=unit,
        )
        for i, unit in enumerate(("$\\micro$m", "\\si{\\metre}", "$/kg and $/t"))
    ),
    Case(
        "outlier_in_a_set",
        "stat2_outlier",
        "7.549 +- 0.004 where 20 +- 0.71 is right; looks like simulated data, trust",
        all_of(reported, not_trusted("npe", "twenty", "typical", "observation 1 lies")),
        change={"observations": {"twenty": {**TABLE, "file": "outlier_set.csv"}}},
    ),
    Case(
        "weekend",
        "weekend",
        "good (p = 0.16) above a caption that says the model does not reproduce CH",
        all_of(
            ran,
            predicted("npe", "CH", ["do not look like", "every 7 values of day", "all of them 0"]),
            predicted("npe", "GB", [], ["every 7 values", "of them 0"]),
        ),
        change={
            "seed": 20261121,
            "task": "seir.py:Seir",
            "observations": {
                name: {"file": f"config/{name}.csv", "layout": "series", "columns": ["cases"], "index": "day"}
                for name in ("CH", "GB")
            },
            "simulation": {"shard_rows": 5_000},
            "budgets": [10_000],
            "replicates": 1,
            "test_rows": 500,
            "test_draws": 299,
            "draws": 1000,
            "estimators": {
                "npe": {
                    "type": "npe",
                    "inputs": {"transform": "asinh"},
                    "summary": {"type": "mlp", "hidden": [128, 128], "features": 16},
                }
            },
        },
    ),
)


# ---- running -----------------------------------------------------------------------------------------


INTRODUCTION = """# Situations that went wrong once

Written by `benchmarks/cases.py`, which runs the small studies of each situation through Snakemake and judges
what comes of them; *exact* numbers are closed forms. *Not reached* is what misses mean or width by more than
a quarter of the exact standard deviation: how well a network of that many simulations answers, not how data
are read.
"""


def lines_of(page: Path) -> dict[tuple[str, str], list[str]]:
    """The lines that a page has, by situation and study."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {(line[0], line[1]): line for line in cells[2:]}


def asked(home: Path, cores: int) -> Iterator[tuple[str, str, str, Callable[[], tuple[bool, str]]]]:
    """Yields situation, study, what was before, and what runs and judges it."""
    for case in CASES:
        yield case.folder, case.what or case.study, case.before, partial(judged, case, home, cores)
    for program, before in PROGRAMS:
        yield "verdict", f"{program.__name__}.py", before, partial(made_again, program)


def made_again(program: Callable[[], str]) -> tuple[bool, str]:
    """Whether what a program shows is right today, and what comes of it."""
    try:
        return True, program()
    except AssertionError as fault:
        return False, f"{type(fault).__name__}: {fault}"


def main() -> None:
    """Runs the cases, writes the page; ends with status 1 if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="*")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    before, lines, wrong = lines_of(chosen.out) if chosen.out else {}, [], 0
    for situation, study, was, judge in asked(chosen.folder.resolve(), chosen.cores):
        name = f"{situation}: {study}"
        if not fnmatch(name, chosen.only):
            lines += [before[situation, study]] if (situation, study) in before else []
            continue
        right, text = judge()
        wrong += not right
        print(f"{'right' if right else 'WRONG'} {name}: {text}", flush=True)
        lines.append([situation, study, was, text.replace("|", "/")])
    if chosen.out:
        text = table(["situation", "study", "before", "after"], lines)
        chosen.out.write_text(f"{INTRODUCTION}\n{text}\n", encoding="utf-8")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
