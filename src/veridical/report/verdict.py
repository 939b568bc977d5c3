"""The verdict: may the stated uncertainty of a method be trusted on a data set, and why.

Every rule says `good`, `caution` or `bad` of each replicate; its outcome is the worst that at least half of
the replicates reach. The worst outcome of all rules is the verdict. `docs/verdict.md` holds the table of
rules, how often it raises a false alarm, and the fields of `verdict.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veridical.evidence import variants
from veridical.evidence.metrics import Row, select
from veridical.evidence.variants import Variant
from veridical.files import read_json, write_json
from veridical.report.judging import Evidence, majority
from veridical.report.rules import CAUTION, GOOD, RULES, Rule

FORMAT = 1
OUTCOMES = ("good", "caution", "bad")
VERDICTS = ("trust", "caution", "do not trust")
NOT_JUDGED = frozenset({"reference", "prior"})
COSTS = frozenset({"fit_seconds", "simulation_seconds", "nominal_cost", "target_runs", "invalid_share"})


@dataclass(frozen=True)
class Finding:
    """What one rule found: an outcome per replicate and overall, a sentence for the reader, what to do."""

    rule: str
    outcome: str
    text: str
    advice: str
    replicates: Mapping[int, str]


def judge(evidence: Evidence, rules: Sequence[Rule] = RULES) -> dict[str, Any]:
    """Returns the verdict on one method and data set, as it stands in `verdict.json`."""
    findings = []
    for rule in rules:
        found = rule.judge(evidence)
        if found is None:
            findings.append(Finding(rule.name, "unknown", rule.question, "", {}))
        else:
            outcomes, text = found
            named = {seed: OUTCOMES[o] for seed, o in sorted(outcomes.items())}
            outcome = OUTCOMES[majority(outcomes.values())]
            advice = "" if outcome == "good" else rule.advice
            findings.append(Finding(rule.name, outcome, text, advice, named))
    worst = max((OUTCOMES.index(f.outcome) for f in findings if f.outcome != "unknown"), default=CAUTION)
    return {
        "method": evidence.method,
        "dataset": evidence.dataset,
        "budget": evidence.budget,
        "n_calibration": evidence.calibration,
        "replicates": len({r["seed"] for r in evidence.own if r["seed"] is not None}),
        "verdict": VERDICTS[worst],
        "summary": _summary(worst, [f for f in findings if f.outcome == OUTCOMES[worst]]),
        "findings": [asdict(finding) for finding in findings],
    }


def decide(rows: Sequence[Row]) -> dict[str, Any]:
    """Returns the verdicts of a study: on every method, calibration size and real data set, at the method's
    largest budget.

    A method that has costs but no answer of its own, because others build on it, is not judged.
    """
    by_variant: dict[Variant, list[Row]] = {}
    for r in rows:
        by_variant.setdefault(variants.of_cells(r), []).append(r)
    common = select(variants.summarised(rows), method=variants.REFERENCE)
    verdicts = []
    for variant in variants.finals(v for v in by_variant if v.method not in NOT_JUDGED):
        own = by_variant[variant]
        if {r["metric"] for r in own} <= COSTS:
            continue
        names = sorted({r["dataset_name"] for r in own if r["dataset"] == "observed"})
        names += ["real"] if any(r["dataset"] == "real" for r in own) else []
        judged = [*own, *common]
        verdicts += [
            judge(Evidence(judged, variant.method, variant.budget, name, variant.calibration))
            for name in names or ["simulated"]
        ]
    first = rows[0] if rows else {}
    return {"format": FORMAT, "study": first.get("study"), "task": first.get("task"), "verdicts": verdicts}


def write(path: str | Path, verdicts: Mapping[str, Any]) -> None:
    """Writes `verdict.json` whole or not at all."""
    write_json(path, verdicts, indent=1)


def load(path: str | Path) -> dict[str, Any]:
    """Reads `verdict.json`.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    return read_json(path, "the verdict of a study")


def _summary(worst: int, deciding: Sequence[Finding]) -> str:
    if worst == GOOD:
        return "The stated uncertainty passed every check, among them one beyond the simulator's own data."
    if worst == CAUTION:
        return "Use the stated uncertainty with care: " + _points(len(deciding)) + " could not be cleared."
    return "Do not rely on these intervals: " + _points(len(deciding)) + " failed."


def _points(n: int) -> str:
    return "one point" if n == 1 else f"{n} points"
