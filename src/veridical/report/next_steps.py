"""What would change a verdict: the next steps, each with a price, what it changes and a command.

What only labelled data or a changed simulator mend is said first; then come what costs a look, a check, a
run (the cheapest first), and labelled data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, inf
from typing import Any

from veridical.coordinates import REAL, SIMULATED
from veridical.evidence.comparison import VERDICTS
from veridical.report import levels, step_estimates
from veridical.report.missing import COMING, UNCHECKED
from veridical.report.questions import CONDITIONAL, LABELLED, NEEDS
from veridical.report.rules import RULES
from veridical.report.step_estimates import CHECK, FIRST, LABEL, LABELS, LOOK, RUN, Known, Step

UNLIKE = ("typical", "like_simulations")  # rules whose objection the check `criticism` explains
SHOWN = 3  # numbers that it names

# What it takes to answer each rule that objects; every rule with advice stands in one of them.
OF_SIMULATIONS = (  # what more simulations answer, as the learning curve says how well
    *("reweighted", "near_reference", "local_ranks", "local_classifier", "simulated_calibration"),
)
TAKES: dict[int, tuple[str, ...]] = {
    LOOK: (
        *("typical", "prior_conflict", "learned", "likelihood_ratio_intervals", "reproduces"),
        *("possible_on_real", "valid_simulations", "mixture_fits"),
    ),
    RUN: (
        *("prior_matters", "possible", "covered_in_experiments", "labelled_experiments"),
        *("learned_here", "corrected", "converged", "stands", *OF_SIMULATIONS),
    ),
    LABEL: ("like_simulations", "labelled_coverage", "like_labelled"),
}
_TAKES = {rule: place for place, rules in TAKES.items() for rule in rules}
ONLY = (
    "Only labelled data, a remedy that learns from them, or a changed simulator help: more simulations, "
    "repeats or training leave it as it is."
)
DATA = "Give it the data that are asked about: of data that are not there no check can tell."
MEND = "Mend the cause of what could not be checked (its log says it), and run again: only that is made."


def steps(verdict: Mapping[str, Any], known: Known) -> list[Step]:
    """Returns the steps that could change a verdict, in the order in which they are to be shown.

    Questions that no check answered ask for these checks, and labelled data are asked for where none speak,
    but neither before inference is mended where it is bad.

    Arguments:
        verdict: One verdict, as in `verdict.json`.
        known: What the study knows of itself.
    """
    said = {part: own["outcome"] for part, own in verdict["questions"].items()}
    labelled = verdict[LABELLED]["outcome"]
    advised = [f for f in verdict["findings"] if f["advice"] and f["outcome"] in ("caution", "bad")]
    objecting = {f["rule"] for f in advised}
    absorbed = labelled in ("caution", "bad") and said.get("inference") == "good"
    hopeless = said.get("simulator") == "bad" or absorbed
    found = [] if hopeless else _of_inference(verdict, known, objecting)
    answered = (
        {"labelled_coverage"} if said.get("inference") in ("caution", "bad") else set()
    )  # by those steps
    answered |= set(OF_SIMULATIONS) if verdict["budget"] else set()
    found += [_advice(f, known, verdict) for f in advised if f["rule"] not in answered]
    found += step_estimates.other_methods(verdict, known)
    found += [] if verdict["dataset"] == REAL else _missing(verdict, known)
    early = said.get("inference") == "bad" and labelled == "cannot tell" and not hopeless
    of_classes = bool(known.evidence(verdict).of("estimate"))  # no labelled data can be asked for
    pairs = None if labelled == "good" or early or of_classes else step_estimates.pairs(verdict, known)
    if pairs and labelled == "cannot tell" and hopeless:
        pairs = replace(pairs, place=FIRST, text=f"{ONLY} {pairs.text}")
    elif hopeless:
        found.append(Step(FIRST, "nothing", ONLY))
    elif pairs and verdict.get("verdict") == VERDICTS[CONDITIONAL]:
        pairs = replace(pairs, place=FIRST)
    return in_order([*found, *([pairs] if pairs else [])])


def in_order(found: list[Step]) -> list[Step]:
    """Returns steps in the order in which they are shown, each text once."""
    ordered = sorted(found, key=lambda s: (s.place, inf if s.seconds is None else s.seconds))
    return list({step.text.split(". ")[0].rstrip("."): step for step in reversed(ordered)}.values())[::-1]


def _of_inference(verdict: Mapping[str, Any], known: Known, objecting: set[str]) -> list[Step]:
    """Steps that make the answer a better posterior, or tell better whether it is one."""
    made, about = [], verdict["questions"].get("inference", {})
    if objecting & set(OF_SIMULATIONS):
        made = [step_estimates.simulations(verdict, known), step_estimates.repeats(verdict, known)]
    elif about.get("outcome") == "cannot tell" and COMING not in about["text"]:
        made = [step_estimates.ranks(verdict, known)]
    elif verdict.get("verdict") == VERDICTS[CONDITIONAL]:
        made = [step_estimates.ranks(verdict, known), step_estimates.repeats(verdict, known)]
    return [step for step in made if step is not None]


def _advice(finding: Mapping[str, Any], known: Known, verdict: Mapping[str, Any]) -> Step:
    """What a rule advises, with what it named."""
    place, text, changes = _TAKES.get(finding["rule"], LOOK), finding["advice"], ""
    if finding["rule"] == "reproduces":
        rows = known.evidence(verdict).of("predictive_maximum").values()
        named = next((r["culprit"] for own in rows for r in own if r.get("culprit")), "")
        text, changes = (f"Look at what the predictive check names: {named}.", text) if named else (text, "")
    if finding["rule"] in UNLIKE and (named := _criticised(verdict, known)):
        text = f"{text} Check `criticism` names what stands out: {named}."
    price = {LOOK: "a look", RUN: "another run", LABEL: LABELS}[place]
    return Step(place, price, text, changes, known.prices.command({}))


def _criticised(verdict: Mapping[str, Any], known: Known) -> str:
    """What of the data simulations do not make, in words, of the first replicate that tells."""
    for rows in known.evidence(verdict).of("criticised_p").values():
        named = [r for r in rows if r["value"] <= levels.caution("set")]
        if named:
            return ", ".join(f"{r['number']} {r['how']}" for r in named[:SHOWN])
    return ""


def _missing(verdict: Mapping[str, Any], known: Known) -> list[Step]:
    """Checks that would answer what was not told."""
    first = verdict["questions"].get("inference", {})
    asked = {"inference": first} if first.get("outcome") == "bad" else verdict["questions"]
    texts = {part: q["text"].partition(UNCHECKED) for part, q in asked.items()}
    open_ = {part: told.strip(" .") for part, (told, *_) in texts.items() if told.startswith("Not told: ")}
    found = []
    if open_ and verdict["dataset"] == SIMULATED:
        found.append(Step(CHECK, "a look", DATA, "", known.prices.command({}, "FILE")))
    elif open_:
        words = "; ".join(told.removeprefix("Not told: ") for told in open_.values())
        over = _switched_off(open_, known) or _more_rows(verdict, known)
        made = known.run(over, f"Switch on what tells: {words}.", "") if over else None
        price, seconds = (made.price, made.seconds) if made else ("a check", None)
        command = known.prices.command(over)
        found.append(Step(CHECK, price, f"Switch on what tells: {words}.", "", command, seconds))
    if any(failed for _, failed, _ in texts.values()):
        found.append(Step(CHECK, "another run", MEND, "", known.prices.command({})))
    return found


def _switched_off(open_: Mapping[str, str], known: Known) -> dict[str, Any]:
    """Settings that switch on the checks behind what was not told, where the study switches them off."""
    chosen = known.prices.study.get("checks") or {}
    rules = {
        name for part, told in open_.items() for what, names in NEEDS[part] if what in told for name in names
    }
    checks = sorted({check for rule in RULES if rule.name in rules for check in rule.checks})
    off: dict[str, Any] = {check: {} for check in checks if check in chosen and chosen[check] is None}
    return {"checks": off} if off else {}


def _more_rows(verdict: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Settings with as many test rows as the tests that could not tell need; empty where rows are not why."""
    evidence = known.evidence(verdict)
    observations = {r["observation"] for rows in evidence.of("member_p").values() for r in rows}
    least = {
        "typical": len(observations) / levels.caution("members"),
        "like_simulations": 2 / levels.caution("set"),
        "prior_conflict": 1 / levels.caution("conflict"),
    }
    mute = {f["rule"] for f in verdict["findings"] if f["outcome"] == "cannot tell"}
    rows = max((ceil(least[rule]) for rule in mute & set(least)), default=0)
    return {"test_rows": rows} if rows > (known.prices.study.get("test_rows") or inf) else {}
