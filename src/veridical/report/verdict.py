"""The verdict: may the stated uncertainty of a method be trusted on a data set, and why.

Every rule gives each replicate an outcome. In each replicate these answer three questions (and what labelled
real data say), and the answers make a verdict by the table in `questions`; the verdict is the one that at
least half of the replicates reach, the worse where they are split. `docs/verdict.md` holds the tables, the
levels and how often it errs; `workflow/schemas/verdict.json` the fields of `verdict.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veridical.evidence import variants
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row, grouped, select
from veridical.evidence.numbers import rounded
from veridical.files import Migrations, migrated, read_json, write_json
from veridical.report import missing
from veridical.report.judging import (
    BAD,
    CANNOT_TELL,
    CAUTION,
    EVERY,
    GOOD,
    OUTCOMES,
    Evidence,
    majority,
)
from veridical.report.questions import (
    CARE,
    CONDITIONAL,
    LABELLED,
    NOT,
    PARTS,
    QUESTIONS,
    TRUST,
    Rule,
    answer,
    derive,
    unanswered,
    without_say,
)
from veridical.report.rules import RULES
from veridical.report.simulator_rules import detectable

FORMAT = 2
NOT_ASKED = "not asked"  # a rule that had nothing to judge
NOT_JUDGED = frozenset({"reference", "prior"})
_CALLED = {rule.name: rule.called for rule in RULES}
COSTS = frozenset({"fit_seconds", "simulation_seconds", "nominal_cost", "target_runs", "invalid_share"})


def judge(evidence: Evidence, rules: Sequence[Rule] = RULES) -> dict[str, Any]:
    """Returns the verdict on one method and data set, as it stands in `verdict.json`."""
    judged = [(rule, *_by_replicate(rule, evidence)) for rule in rules]
    lacking = missing.of(evidence)
    open_parts = _left_open(lacking, rules)
    parts, silent, verdicts = {}, {}, {}
    for seed in evidence.replicates:
        said = {part: _said(judged, part, seed) for part in PARTS}
        silent[seed] = without_say(said)
        said = {p: {r: o for r, o in own.items() if r not in silent[seed]} for p, own in said.items()}
        parts[seed] = {part: answer(part, own) for part, own in said.items()}
        parts[seed] |= {p: max(o, CANNOT_TELL) for p, o in parts[seed].items() if p in open_parts}
        standing = [said[r.part][r.name] for r in rules if r.stands and r.name in said[r.part]]
        verdicts[seed] = derive({**parts[seed], "standing": max(standing, default=GOOD)})
    worst = majority(verdicts.values())
    alone = [rule.called for rule, outcomes, _ in judged if rule.decisive and BAD in outcomes.values()]
    found = max(worst, CARE) if alone or lacking else worst
    findings = [_finding(*one, silent) for one in judged]
    questions = {part: _part(part, parts, findings, open_parts.get(part, [])) for part in PARTS}
    return {
        "method": evidence.method,
        "dataset": evidence.dataset,
        "budget": evidence.budget,
        "n_calibration": evidence.calibration,
        "replicates": len({r["seed"] for r in evidence.own if r["seed"] is not None}),
        "verdict": VERDICTS[found],
        "summary": _summary(found, evidence, questions, alone if worst < CARE else []),
        "questions": {part: questions[part] for part in QUESTIONS},
        LABELLED: questions[LABELLED],
        "by_replicate": {seed: VERDICTS[v] for seed, v in verdicts.items()},
        "findings": findings,
    }


def _by_replicate(rule: Rule, evidence: Evidence) -> tuple[dict[int, int], str]:
    """Outcomes of a rule, those that concern every replicate given to each, and its sentence."""
    outcomes, text = rule.judge(evidence) or ({}, rule.asks)
    if EVERY in outcomes:
        outcomes = dict.fromkeys(evidence.replicates, outcomes[EVERY])
    return outcomes, text


def _left_open(lacking: Sequence[missing.Entry], rules: Sequence[Rule]) -> dict[str, list[missing.Entry]]:
    """What could not be checked, by the question that it leaves open: of real data what those say."""
    found: dict[str, list[missing.Entry]] = {}
    for entry in lacking:
        check = entry["what"].removeprefix("check ")
        parts = {rule.part for rule in rules if check in rule.checks} - {LABELLED} or {"inference"}
        for part in {LABELLED} if entry["dataset"] == "real" else parts:
            found.setdefault(part, []).append(entry)
    return found


def _said(judged: Sequence[tuple[Rule, dict[int, int], str]], part: str, seed: int) -> dict[str, int]:
    """Outcomes of the rules of one question in one replicate."""
    return {
        rule.name: outcomes[seed] for rule, outcomes, _ in judged if rule.part == part and seed in outcomes
    }


def _finding(
    rule: Rule, outcomes: Mapping[int, int], text: str, silent: Mapping[int, Mapping[str, str]]
) -> dict[str, Any]:
    """What one rule found: an outcome overall and per replicate, a sentence for the reader, what to do.

    Where others silence it in so many replicates that what it says is no longer what most say, it is told so.
    """
    why = {seed: own[rule.name] for seed, own in silent.items() if rule.name in own and seed in outcomes}
    said = {**outcomes, **dict.fromkeys(why, CANNOT_TELL)}
    outcome = OUTCOMES[majority(said.values())] if said else NOT_ASKED
    if why and outcome == OUTCOMES[CANNOT_TELL] and majority(outcomes.values()) != CANNOT_TELL:
        text = f"Says nothing here: {next(iter(why.values()))}. It found: {text}"
    return {
        "rule": rule.name,
        "question": rule.part,
        "outcome": outcome,
        "text": text,
        "advice": rule.advice if outcome in OUTCOMES[1:] else "",
        "replicates": {seed: OUTCOMES[o] for seed, o in sorted(said.items())},
    }


def _part(
    part: str,
    parts: Mapping[int, Mapping[str, int]],
    findings: Sequence[Mapping[str, Any]],
    lacking: Sequence[missing.Entry],
) -> dict[str, Any]:
    """The outcome of one question over replicates, and why it is no better."""
    own = {seed: outcomes[part] for seed, outcomes in parts.items()}
    outcome = majority(own.values())
    said = {f["rule"]: f["outcome"] for f in findings if f["question"] == part}
    if outcome >= CAUTION:
        by = [_CALLED.get(name, name) for name, o in said.items() if o == OUTCOMES[outcome]]
        text = f"By {', '.join(by)}." if by else "Its repeats object for different reasons."
    else:
        without = unanswered(part, {name: OUTCOMES.index(o) for name, o in said.items() if o in OUTCOMES})
        text = (
            f"Not told: {'; '.join(without)}."
            if without and outcome != GOOD and not missing.to_come(lacking)
            else ""
        )
    text = " ".join([text, *missing.said(lacking)]).strip()
    return {
        "asks": PARTS[part],
        "outcome": OUTCOMES[outcome],
        "text": text,
        "replicates": {seed: OUTCOMES[o] for seed, o in own.items()},
    }


# ---- the sentence --------------------------------------------------------------------------------


def _summary(
    verdict: int, evidence: Evidence, questions: Mapping[str, Mapping[str, Any]], alone: Sequence[str]
) -> str:
    """What the verdict rests on, in one sentence or two."""
    if verdict == TRUST:
        return (
            "Trust: on labelled real data like these the intervals hold the truth as often as they should, "
            "which speaks of inference, simulator and prior together."
        )
    if verdict == CONDITIONAL and evidence.of("estimate"):
        return (
            "Trust, as far as the classes are as they were simulated: in repeated experiments intervals held "
            "the truth as often as they say, and the sample looks like a mixture of the classes. Errors of "
            "both that look like another mixture can be seen by no test of the sample."
        )
    if verdict == CONDITIONAL:
        return (
            "Trust, as far as the simulator is right: as far as could be tested this is the posterior of the "
            "simulator and prior, and nothing in the data speaks against them. A misfit of one summary by "
            f"{rounded(detectable(evidence), 2)} predictive standard deviations would have been seen with "
            "probability 0.9 in one observation; one that the parameters absorb can be seen by no test "
            "without labelled data."
        )
    if alone:
        return (
            "Use the stated uncertainty with care: most repeats pass, but in one the answer is badly off "
            f"(by {', '.join(alone)})."
        )
    counted = OUTCOMES[2:] if verdict == NOT else OUTCOMES[1:]
    against = [
        f"{part}: {own['outcome']}"
        for part, own in questions.items()
        if own["outcome"] in (OUTCOMES[2:] if part == LABELLED else counted)
    ]
    why = f" ({', '.join(against)})" if against else " (repeats object for different reasons)"
    if verdict == CARE:
        return f"Use the stated uncertainty with care: not every question was cleared{why}."
    return f"Do not rely on these intervals{why}."


# ---- a study -------------------------------------------------------------------------------------


def decide(rows: Sequence[Row], unchecked: Sequence[missing.Entry] = ()) -> dict[str, Any]:
    """Returns the verdicts of a study: on every method, calibration size and real data set, at the method's
    largest budget.

    A method that has costs but no answer of its own, because others build on it, is not judged.

    Arguments:
        rows: The study's metrics.
        unchecked: What could not be checked, see `veridical.report.missing`.
    """
    by_variant = grouped(rows, variants.of_cells)
    common = select(variants.summarised(rows), method=variants.REFERENCE)
    finals = variants.finals(v for v in by_variant if v.method not in NOT_JUDGED)
    kept = {v: by_variant[v] for v in finals if not {r["metric"] for r in by_variant[v]} <= COSTS}
    rivals = max(1, sum(any(r["dataset"] == "real" for r in own) for own in kept.values()))
    verdicts = []
    for variant, own in kept.items():
        names = sorted({r["dataset_name"] for r in own if r["dataset"] == "observed"})
        lacking = [one for one in unchecked if variants.of_cells(one) == variant]
        names += ["real"] if any(r["dataset"] == "real" for r in (*own, *lacking)) else []
        about = variant.method, variant.budget
        verdicts += [
            judge(Evidence([*own, *common], *about, name, variant.calibration, rivals, unchecked))
            for name in names or ["simulated"]
        ]
    first = rows[0] if rows else {}
    about_study = {"format": FORMAT, "study": first.get("study"), "task": first.get("task")}
    return {**about_study, "verdicts": verdicts, "unchecked": list(unchecked)}


def write(path: str | Path, verdicts: Mapping[str, Any]) -> None:
    """Writes `verdict.json` whole or not at all."""
    write_json(path, verdicts, indent=1)


def load(path: str | Path) -> dict[str, Any]:
    """Reads `verdict.json`.

    Raises:
        ArtifactError: If the file is missing or damaged.
    """
    return migrated(read_json(path, "the verdict of a study"), path, FORMAT, MIGRATIONS)


_QUESTION_OF_V1 = {
    **dict.fromkeys(("typical", "reproduces", "like_simulations"), "simulator"),
    "labelled_coverage": LABELLED,
}
_WORDS_OF_V1 = {"unknown": NOT_ASKED}


def _three_questions(record: dict[str, Any]) -> dict[str, Any]:
    """Format 1 to 2: what earlier rules called good answers none of the three questions.

    Nor does their trust, which an exact reference alone could earn, count as more than caution.
    """
    return {"unchecked": [], **record, "verdicts": [_with_questions(one) for one in record["verdicts"]]}


def _with_questions(found: Mapping[str, Any]) -> dict[str, Any]:
    findings = [
        {
            "rule": f["rule"],
            "question": _QUESTION_OF_V1.get(f["rule"], "inference"),
            **{k: v for k, v in f.items() if k != "rule"},
            "outcome": _WORDS_OF_V1.get(f["outcome"], f["outcome"]),
        }
        for f in found["findings"]
    ]
    objections = {part: [0] for part in PARTS}
    for f in findings:
        if f["outcome"] in OUTCOMES[2:]:
            objections[f["question"]].append(OUTCOMES.index(f["outcome"]))
    parts = {
        part: {"asks": asks, "outcome": OUTCOMES[max(objections[part]) or 1], "text": "", "replicates": {}}
        for part, asks in PARTS.items()
    }
    verdict = VERDICTS[CARE] if found["verdict"] == VERDICTS[TRUST] else found["verdict"]
    told = found["summary"]
    if verdict != found["verdict"]:
        told = "Judged by earlier rules, whose trust did not ask all that today's does; run the study again."
    about = {k: v for k, v in found.items() if k not in ("verdict", "summary", "findings")}
    made = {"verdict": verdict, "summary": told, "questions": {q: parts[q] for q in QUESTIONS}}
    return {**about, **made, LABELLED: parts[LABELLED], "by_replicate": {}, "findings": findings}


MIGRATIONS: Migrations = {1: _three_questions}
