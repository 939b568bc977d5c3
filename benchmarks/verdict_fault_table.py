"""The table of the faults of earlier rules, before and after, in docs/results/verdict.md.

Measures the faults of some numbers, or all (`verdict_faults`), keeps what comes of them beside this script,
and writes their section of the page.

    python benchmarks/verdict_fault_table.py [--only 7 12]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from table_text import table
from verdict_cases import Case, scaled, shifted
from verdict_faults import (
    PRIOR,
    REPEATS,
    against_reference,
    calibrated,
    density_zero_at_the_truth,
    each_replicate_fails_another_rule,
    errors_over_replicates,
    from_one_corner,
    one_far_observation,
    one_wild_observation,
    outcome,
    predictive_check,
    seen_by_the_second_member,
    some_of_many_variants,
    uncalibrated_on_real,
    wrong_simulator,
)

from veridical.evidence.comparison import VERDICTS

PAGE = Path(__file__).parents[1] / "docs" / "results" / "verdict.md"
KEPT, HEADING = Path(__file__).with_suffix(".json"), "## Faults of earlier rules, before and after"


def _said(found: Counter[str]) -> str:
    """Shares of the verdicts in words, those given at least once."""
    return ", ".join(f"{word} {100 * found[word]:.0f} %" for word in VERDICTS if found[word] > 0)


@dataclass(frozen=True)
class Fault:
    """One line of the table: number, fault, figures before, and what measures the figures after."""

    number: str
    fault: str
    before: str
    after: Callable[[], str]


def _of_simulator() -> str:
    return "; ".join(f"{name}: {_said(own)}" for name, own in wrong_simulator().items())


def _wild() -> str:
    found = one_wild_observation()
    return f"rule `typical`: {outcome(found, 'typical')}; verdict {found['verdict']}"


def _of_prior() -> str:
    each = (f"{100 * calibrated(PRIOR, 4, n, REPEATS):.0f}" for n in (100, 500, 2000))
    return f"trust {' / '.join(each)} %"


def _few_rows() -> str:
    narrow, moved = (
        " / ".join(f"{100 * calibrated(case, 1, n, REPEATS):.0f}" for n in (10, 20, 50))
        for case in (Case("sd 1.5", scaled(1 / 1.5)), Case("shift 1", shifted(1.0)))
    )
    return f"sd 1.5x too small: trust {narrow} %; shift of 1 sd: {moved} %"


def _ratios() -> str:
    studies = 100
    found = errors_over_replicates(studies)
    three, one = (
        ", ".join(f"{name} {found[of][name]:.2f}" for name in names)
        for of, names in (("three", list(found["three"])), ("one", ["contraction", "nrmse"]))
    )
    error = 100 / (2 * (studies - 1)) ** 0.5
    return f"three replicates: {three}; one: {one} (each ± {error:.0f} %)"


def _predictive() -> str:
    found = predictive_check()
    error = (found["size"] * (1 - found["size"]) / found["n"]) ** 0.5
    return (
        f"P(p <= 0.05) = {found['size']:.3f} ± {error:.3f} at exact posteriors; counts with empty weekends: "
        f"p <= 0.03 in {found['seen']} of 50, seven days and the empty ones named in {found['named']} of "
        "these; sentence, rule and figure are one result"
    )


def _variants() -> str:
    each = (f"{100 * some_of_many_variants(v):.0f}" for v in (1, 5, 17))
    return (
        f"{density_zero_at_the_truth()}; trust {' / '.join(each)} %; "
        f"rule `typical`: {seen_by_the_second_member()}"
    )


FAULTS = (
    Fault(
        "1",
        "an exact reference counts as evidence for the simulator",
        "nature = simulator + 1, D = 4: trust 85 %, intervals hold 0.00; "
        "nature 1.5 theta: trust 85 %, hold 0.51",
        _of_simulator,
    ),
    Fault(
        "2",
        "majority rule by rule",
        "three replicates that each fail another rule badly: trust",
        each_replicate_fails_another_rule,
    ),
    Fault(
        "3", "one wild observation among twenty passes", '"the data look like simulated data", trust', _wild
    ),
    Fault(
        "4",
        "distance to the reference averaged over observations, limits harmless one by one",
        "five 2x too narrow and five 1.5x too wide: good; shift 0.49 and ratio 0.67: good",
        lambda: "; ".join(
            [against_reference([0.0] * 10, [0.5] * 5 + [1.5] * 5), against_reference([0.49], [0.67])]
        ),
    ),
    Fault(
        "5",
        "a calibrated method that answers with the prior, D = 4, 100 / 500 / 2,000 rows",
        "trust 82 / 75 / 23 %",
        _of_prior,
    ),
    Fault(
        "6",
        "trust with few labelled rows, D = 1, 10 / 20 / 50 rows",
        "sd 1.5x too small: trust 62-70 / 18-43 / 5 %; shift of 1 sd: 52-73 / 43-50 / 12 %",
        _few_rows,
    ),
    Fault(
        "7, 8",
        "± over replicates that share their test rows, and of contraction and NRMSE by themselves, "
        "stated / observed",
        "three replicates: coverage 1/4, ACAUC 1/9, RMSE and contraction 1/19, NRMSE 1/79, LPP 0; "
        "one: contraction 1/8, NRMSE 1/4",
        _ratios,
    ),
    Fault(
        "9",
        "ten observations from one corner of the prior",
        "do not trust 10 of 10 while intervals hold 0.90",
        lambda: f"{_said(from_one_corner())} (100 labelled rows)",
    ),
    Fault(
        "10",
        "one summary at 1e6, a null too small to reject",
        "fewer than 400 test rows: good",
        lambda: ", ".join(f"{n} rows: {one_far_observation(n)}" for n in (100, 300, 500, 1000)),
    ),
    Fault(
        "11",
        "uncalibrated methods on `real`",
        "never trust",
        lambda: f"right answer, 200 labelled rows, D = 4: trust {100 * uncalibrated_on_real():.0f} %",
    ),
    Fault(
        "12",
        "the predictive check hardly tests, and contradicts its figure",
        "P(p <= 0.05) = 0 at an exact posterior; daily counts with empty weekends: good (p = 0.16) above "
        '"37 of 56 values inside the 90 % band: the model does not reproduce the data"',
        _predictive,
    ),
    Fault(
        "13",
        "density zero at a fifth of the truths; the best of 1 / 5 / 17 wrong variants on 100 rows; a datum "
        "that only the second member of an ensemble sees 8 sd away",
        "trust; trust 1 / 5 / 15 %; good",
        _variants,
    ),
)


def measure(only: Collection[str] = ()) -> dict[str, dict]:
    """Returns `after` and `cpu_seconds` of each fault; only some numbers are measured again.

    Arguments:
        only: Numbers of faults; all if empty.
    """
    found = kept() if only else {}
    for fault in FAULTS:
        if only and not set(fault.number.split(", ")) & set(only):
            continue
        start = time.process_time()
        found[fault.number] = {"after": fault.after(), "cpu_seconds": round(time.process_time() - start, 1)}
        print(fault.number, found[fault.number], flush=True)
        KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def kept() -> dict[str, dict]:
    """Returns what was measured last."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}


def section(found: dict[str, dict]) -> str:
    """Returns the last section of docs/results/verdict.md: the faults that were measured."""
    lines = [[f.number, f.fault, f.before, found[f.number]["after"]] for f in FAULTS if f.number in found]
    return f"{HEADING}\n\n{table(['#', 'fault', 'before', 'after'], lines)}\n"


def main() -> None:
    """Measures faults and writes their section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="numbers of faults")
    found = measure(parser.parse_args().only)
    rest = PAGE.read_text(encoding="utf-8").partition(HEADING)[0]
    PAGE.write_text(rest + section(found), encoding="utf-8")


if __name__ == "__main__":
    main()
