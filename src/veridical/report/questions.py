"""The three questions of a verdict, what a rule is, and the table that makes the verdict from outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from veridical.evidence.comparison import VERDICTS
from veridical.report.judging import BAD, CANNOT_TELL, CAUTION, GOOD, OUTCOMES, Evidence, Found

TRUST, CONDITIONAL, CARE, NOT = range(4)
QUESTIONS: dict[str, str] = {
    "inference": "Is this the posterior of this simulator and prior?",
    "simulator": "Could this simulator have made these data?",
    "prior": "Does the prior allow what the data say?",
}
LABELLED = "labelled"  # not a question: what labelled real data say of all three together
PARTS: dict[str, str] = {**QUESTIONS, LABELLED: "Do the intervals hold on real data with known truth?"}

# What a question needs to be answered `good`: of each group one rule that says so, and no rule that objects.
NEEDS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "inference": (
        (
            "calibration on simulated data",
            ("simulated_calibration", "covered_in_experiments", "learned_here"),
        ),
        (
            "the answer to these data themselves",
            ("near_reference", "reweighted", "local_ranks", "local_classifier", "asked_near"),
        ),
    ),
    "simulator": (
        ("how typical the data are", ("typical", "mixture_fits")),
        ("whether the answer reproduces the data", ("reproduces", "mixture_fits")),
    ),
    "prior": (("whether prior and data agree", ("prior_conflict", "no_prior")),),
    LABELLED: (
        ("coverage on labelled real data", ("labelled_coverage", "labelled_experiments")),
        ("whether these data are like the labelled ones", ("like_labelled",)),
    ),
}


@dataclass(frozen=True)
class Rule:
    """One row of the table of rules.

    Attributes:
        judge: Returns an outcome per replicate and a sentence; None where there is nothing to judge.
        called: What readers call it: what it looks at, in a few words.
        part: The question it belongs to, or `labelled`.
        asks: What it asks.
        caution: When it says `caution`, in words; empty where it never does.
        bad: When it says `bad`, likewise.
        advice: What to do then.
        checks: The checks whose metrics it looks at.
        stands: Whether its caution stands where labelled data clear what other rules object to.
        decisive: Whether its `bad` in one replicate alone forbids trust.
    """

    judge: Callable[[Evidence], Found]
    called: str
    part: str
    asks: str
    caution: str
    bad: str
    advice: str
    checks: tuple[str, ...]
    stands: bool = False
    decisive: bool = False

    @property
    def name(self) -> str:
        """Its name: that of the function that judges."""
        return self.judge.__name__

    def line(self) -> str:
        """Returns its line in the table of `docs/verdict.md`."""
        return f"| `{self.name}` | {self.asks} | {self.caution or '-'} | {self.bad or '-'} |"


# ---- from outcomes to the verdict ----------------------------------------------------------------

ANY = frozenset({GOOD, CANNOT_TELL, CAUTION, BAD})
NOT_BAD, NOT_GOOD = ANY - {BAD}, ANY - {GOOD}
NO_OBJECTION = frozenset({GOOD, CANNOT_TELL})
ONLY = {outcome: frozenset({outcome}) for outcome in ANY}
_WORDS = {ANY: "-", NOT_BAD: "not bad", NOT_GOOD: "not good", NO_OBJECTION: "good or cannot tell"}


@dataclass(frozen=True)
class Case:
    """One line of the table of verdicts: it applies where each outcome is one of those it names.

    Attributes:
        inference, simulator, prior: Outcomes of the three questions.
        labelled: What labelled real data say of these data.
        standing: The worst that a rule says which labelled data do not clear.
        verdict: What follows.
        why: In words.
    """

    inference: frozenset[int]
    simulator: frozenset[int]
    prior: frozenset[int]
    labelled: frozenset[int]
    standing: frozenset[int]
    verdict: int
    why: str

    def applies(self, outcomes: Mapping[str, int]) -> bool:
        """Whether the outcomes are among those of this line."""
        return all(outcomes[name] in getattr(self, name) for name in COLUMNS)

    def line(self) -> str:
        """Returns its line in `docs/verdict.md`."""
        cells = [_words(getattr(self, name)) for name in COLUMNS]
        return f"| {' | '.join(cells)} | **{VERDICTS[self.verdict]}** | {self.why} |"


COLUMNS = (*QUESTIONS, LABELLED, "standing")
CASES: tuple[Case, ...] = (
    Case(ONLY[BAD], ANY, ANY, NOT_GOOD, ANY, NOT, "the answer is not the posterior"),
    Case(ANY, ANY, ANY, ONLY[BAD], ANY, NOT, "intervals were seen to miss the truth on real data"),
    Case(ANY, ONLY[BAD], ANY, NOT_GOOD, ANY, NOT, "the simulator cannot have made these data"),
    Case(ONLY[BAD], ANY, ANY, ONLY[GOOD], ANY, CARE, "right on labelled data, but not as a posterior"),
    Case(ANY, ONLY[BAD], ANY, ONLY[GOOD], ANY, CARE, "right on labelled data, but unlike the simulator"),
    Case(NOT_BAD, NOT_BAD, NOT_BAD, ONLY[GOOD], NO_OBJECTION, TRUST, "labelled real data support it"),
    Case(
        *(ONLY[GOOD], ONLY[GOOD], ONLY[GOOD], ONLY[CANNOT_TELL], NO_OBJECTION),
        CONDITIONAL,
        "all that can be tested without labelled data passed",
    ),
    Case(ANY, ANY, ANY, ANY, ANY, CARE, "something objects, or was not answered"),
)


def derive(outcomes: Mapping[str, int]) -> int:
    """Returns the verdict, an index of `VERDICTS`, by the first line of the table that applies."""
    return next(case.verdict for case in CASES if case.applies(outcomes))


def answer(part: str, said: Mapping[str, int]) -> int:
    """Returns the outcome of a question (or `labelled`) from those of its rules that had something to judge.

    The worst objection; without one `good` if of each group of rules that it needs one says so, else
    `cannot tell`.
    """
    worst = max(said.values(), default=CANNOT_TELL)
    if worst >= CAUTION:
        return worst
    return CANNOT_TELL if unanswered(part, said) else GOOD


def unanswered(part: str, said: Mapping[str, int]) -> list[str]:
    """Returns what a question lacks to be answered `good`, in words."""
    return [what for what, rules in NEEDS[part] if not any(said.get(rule) == GOOD for rule in rules)]


def without_say(said: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Returns the rules that say nothing given what others found in the same replicate, each with the reason.

    Arguments:
        said: Outcomes by part and rule.
    """
    silent: dict[str, str] = {}
    exact = any(said["inference"].get(rule) == GOOD for rule in ("near_reference", "reweighted"))
    if said["simulator"].get("typical", GOOD) >= CAUTION and not exact:
        why = "it looks at simulated data, and these data are unlike them"
        silent |= dict.fromkeys(("local_ranks", "local_classifier"), why)
    if BAD in said["inference"].values():
        silent["reproduces"] = "the parameters it simulates at are not those that the data ask for"
    return silent


def lines(rules: Sequence[Rule]) -> list[str]:
    """Returns the tables of rules and verdicts of `docs/verdict.md`."""
    found = ["| " + " | ".join(COLUMNS) + " | verdict | because |", "| " + "--- | " * 7]
    found[1] = found[1].rstrip()
    found += [case.line() for case in CASES]
    for part, asks in PARTS.items():
        found += [
            "",
            f"**{part}**: {asks}",
            "",
            "| rule | asks | caution | bad |",
            "| --- | --- | --- | --- |",
        ]
        found += [rule.line() for rule in rules if rule.part == part]
        needs = "; ".join(f"{what} ({_listed(names)})" for what, names in NEEDS[part])
        found += ["", f"To be `good` it needs: {needs}."]
    return found


def _words(outcomes: frozenset[int]) -> str:
    return _WORDS.get(outcomes) or " or ".join(OUTCOMES[o] for o in sorted(outcomes))


def _listed(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
