"""What would change a verdict: what the rules that object advise, and what was not told, cheapest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veridical.report.missing import UNCHECKED
from veridical.report.questions import LABELLED

# What each rule's advice costs, cheapest first; every rule stands in one of them.
PRICES: dict[str, tuple[str, ...]] = {
    "a look": (
        *("typical", "prior_conflict", "learned", "likelihood_ratio_intervals", "reproduces"),
        *("possible_on_real", "valid_simulations"),
    ),
    "another run": ("prior_matters", "possible"),
    "more simulations": (
        *("reweighted", "near_reference", "local_ranks", "local_classifier", "simulated_calibration"),
        *("covered_in_experiments", "labelled_experiments"),
    ),
    "labelled data": ("like_simulations", "labelled_coverage", "like_labelled"),
}
_ORDER = [rule for rules in PRICES.values() for rule in rules]
_PRICE = {rule: price for price, rules in PRICES.items() for rule in rules}
LABEL = "Label some data like these: no other test sees a misfit that the parameters absorb."
MEND = "Mend the cause of what could not be checked (its log says it), and run again: only that is made."


def steps(verdict: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns steps with their `price` and `text`, each advice once.

    Questions that no check answered ask for these checks, but not before inference is mended where it is bad;
    where no labelled data speak, they are asked for.

    Arguments:
        verdict: One verdict, as in `verdict.json`.
    """
    advised = [f for f in verdict["findings"] if f["advice"] and f["outcome"] in ("caution", "bad")]
    advised.sort(key=lambda f: _ORDER.index(f["rule"]) if f["rule"] in _PRICE else len(_ORDER))
    found: dict[str, dict[str, str]] = {}
    for f in advised:
        beginning = f["advice"].split(". ")[0].rstrip(".")
        found.setdefault(beginning, {"price": _PRICE.get(f["rule"], "a look"), "text": f["advice"]})
    first = verdict["questions"].get("inference", {})
    asked = [first] if first.get("outcome") == "bad" else verdict["questions"].values()
    texts = [q["text"].partition(UNCHECKED) for q in asked]
    open_ = [
        told.strip(" .").removeprefix("Not told: ") for told, *_ in texts if told.startswith("Not told: ")
    ]
    missing = [{"price": "a check", "text": f"Switch on what tells: {'; '.join(open_)}."}] if open_ else []
    if any(failed for _, failed, _ in texts):
        missing.append({"price": "another run", "text": MEND})
    last = [] if verdict[LABELLED]["outcome"] == "good" else [{"price": "labelled data", "text": LABEL}]
    if any(step["price"] == "labelled data" for step in found.values()):
        last = []
    return in_order([*missing, *found.values(), *last])


def in_order(found: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Returns steps by price, cheapest first, otherwise as they stand."""
    prices = ["a look", "a check", *list(PRICES)[1:]]
    return sorted(found, key=lambda step: prices.index(step["price"]))
