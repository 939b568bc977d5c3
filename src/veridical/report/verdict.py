"""The verdict: may the stated uncertainty of a method be trusted on a data set, and why.

Every rule says `good`, `caution` or `bad` of each replicate; its outcome is the worst that at least half of
the replicates reach. The worst outcome of all rules is the verdict. `docs/verdict.md` holds the table of
rules, how often it raises a false alarm, and the fields of `verdict.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical.evidence import variants
from veridical.evidence.metrics import Row, grouped, select
from veridical.files import read_json, write_json
from veridical.report.judging import Evidence, majority
from veridical.report.rules import CAUTION, GOOD, RULES, Rule

FORMAT = 1
OUTCOMES = ("good", "caution", "bad")
VERDICTS = ("trust", "caution", "do not trust")
NOT_JUDGED = frozenset({"reference", "prior"})
COSTS = frozenset({"fit_seconds", "simulation_seconds", "nominal_cost", "target_runs", "invalid_share"})


def judge(evidence: Evidence, rules: Sequence[Rule] = RULES) -> dict[str, Any]:
    """Returns the verdict on one method and data set, as it stands in `verdict.json`."""
    findings = [_finding(rule, evidence) for rule in rules]
    known = [OUTCOMES.index(f["outcome"]) for f in findings if f["outcome"] != "unknown"]
    worst = max(known, default=CAUTION)
    return {
        "method": evidence.method,
        "dataset": evidence.dataset,
        "budget": evidence.budget,
        "n_calibration": evidence.calibration,
        "replicates": len({r["seed"] for r in evidence.own if r["seed"] is not None}),
        "verdict": VERDICTS[worst],
        "summary": _summary(worst, known.count(worst)),
        "findings": findings,
    }


def _finding(rule: Rule, evidence: Evidence) -> dict[str, Any]:
    """What one rule found: an outcome overall and per replicate, a sentence for the reader, what to do."""
    outcomes, text = rule.judge(evidence) or ({}, rule.question)
    outcome = OUTCOMES[majority(outcomes.values())] if outcomes else "unknown"
    return {
        "rule": rule.name,
        "outcome": outcome,
        "text": text,
        "advice": "" if outcome in ("good", "unknown") else rule.advice,
        "replicates": {seed: OUTCOMES[o] for seed, o in sorted(outcomes.items())},
    }


def decide(rows: Sequence[Row], unchecked: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Returns the verdicts of a study: on every method, calibration size and real data set, at the method's
    largest budget.

    A method that has costs but no answer of its own, because others build on it, is not judged.

    Arguments:
        rows: The study's metrics.
        unchecked: What could not be checked, see `veridical.report.missing`.
    """
    by_variant = grouped(rows, variants.of_cells)
    common = select(variants.summarised(rows), method=variants.REFERENCE)
    verdicts = []
    for variant in variants.finals(v for v in by_variant if v.method not in NOT_JUDGED):
        own = by_variant[variant]
        if {r["metric"] for r in own} <= COSTS:
            continue
        names = sorted({r["dataset_name"] for r in own if r["dataset"] == "observed"})
        lacking = [one for one in unchecked if variants.of_cells(one) == variant]
        names += ["real"] if any(r["dataset"] == "real" for r in (*own, *lacking)) else []
        judged = [*own, *common]
        verdicts += [
            judge(Evidence(judged, variant.method, variant.budget, name, variant.calibration, unchecked))
            for name in names or ["simulated"]
        ]
    first = rows[0] if rows else {}
    about = {"format": FORMAT, "study": first.get("study"), "task": first.get("task")}
    return {**about, "verdicts": verdicts, "unchecked": list(unchecked)}


def write(path: str | Path, verdicts: Mapping[str, Any]) -> None:
    """Writes `verdict.json` whole or not at all."""
    write_json(path, verdicts, indent=1)


def load(path: str | Path) -> dict[str, Any]:
    """Reads `verdict.json`.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    return read_json(path, "the verdict of a study")


def _summary(worst: int, deciding: int) -> str:
    points = "one point" if deciding == 1 else f"{deciding} points"
    if worst == GOOD:
        return "The stated uncertainty passed every check, among them one beyond the simulator's own data."
    if worst == CAUTION:
        return f"Use the stated uncertainty with care: {points} could not be cleared."
    return f"Do not rely on these intervals: {points} failed."
