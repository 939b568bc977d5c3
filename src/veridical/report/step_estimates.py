"""What each step that could change a verdict would bring, from the study's own numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np

from veridical.coordinates import REAL, dataset_cells
from veridical.evidence import comparison
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.metrics import Row, grouped, select
from veridical.evidence.numbers import percent, rounded
from veridical.evidence.variants import Variant, finals, of_cells
from veridical.report import by_size, learning_curve, levels
from veridical.report.judging import Evidence
from veridical.report.labelled_rules import AS_GOOD_AS, labelled_counts
from veridical.report.learning_curve import LEAST_BUDGETS
from veridical.report.prices import Prices
from veridical.report.simulator_rules import POWER_Z

FIRST, LOOK, CHECK, RUN, LABEL = range(5)  # in this order steps are shown, those of one kind cheapest first
LABELS = "labelled data"  # the price of labelling
MORE = 4  # times the simulations
CENTRE = 0.1  # posterior sd by which chance may put the centre of a mixture off
NEARBY, DRAWS = 400, 4_000  # most simulations near an observation; draws for each, where weights are uneven
KS = 1.5  # times the data sets of a z-test

LogDensities = Mapping[int, Mapping[int, np.ndarray]]


@dataclass(frozen=True)
class Step:
    """One thing that could change a verdict.

    Attributes:
        place: When it is shown, `FIRST` to `LABEL`.
        price: What it costs, in words.
        text: What to do.
        changes: What that changes, as far as it can be told.
        command: The command for it; empty where there is none.
        seconds: Of its jobs; None where they are not known.
    """

    place: int
    price: str
    text: str
    changes: str = ""
    command: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Known:
    """What a study knows of itself.

    Attributes:
        prices: What changes of its settings cost.
        rows: Its metrics.
        verdicts: All of its verdicts.
        log_p: Log densities at the truth of simulated test sets, by method, budget and replicate.
    """

    prices: Prices
    rows: Sequence[Row] = ()
    verdicts: Sequence[Mapping[str, Any]] = ()
    log_p: Mapping[str, LogDensities] = field(default_factory=dict)

    def evidence(self, verdict: Mapping[str, Any]) -> Evidence:
        """Returns what the metrics say of the method and data of a verdict."""
        rivals = max(1, sum(v["dataset"] == REAL for v in self.verdicts))
        about = verdict["method"], verdict["budget"], verdict["dataset"], verdict["n_calibration"]
        return Evidence(self.rows, *about, rivals)

    def run(self, over: Mapping[str, Any], text: str, changes: str, place: int = RUN) -> Step:
        """Returns the step that runs the study with some settings changed, priced and with its command."""
        price = self.prices.of(over)
        return Step(place, price.text, text, changes, self.prices.command(over), price.seconds)


# ---- simulations and repeats ---------------------------------------------------------------------


def simulations(verdict: Mapping[str, Any], known: Known) -> Step | None:
    """Returns the step to more simulations, with the forecast of what they bring; None without a budget."""
    budget = verdict["budget"]
    if not budget:
        return None
    budgets = [*(known.prices.study.get("budgets") or [budget]), MORE * budget]
    text = f"Simulate {MORE} times as much: {MORE * budget:,} in place of {budget:,}."
    log_p = known.log_p.get(verdict["method"], {})
    forecast = _forecast(learning_curve.curve(log_p), len(log_p))
    step = known.run({"budgets": sorted(set(budgets))}, text, forecast)
    made = "simulations made elsewhere, added to their file"
    return replace(step, price=made, seconds=None) if known.prices.made_elsewhere else step


def _forecast(found: learning_curve.Curve | None, budgets: int) -> str:
    """What the learning curve says of that, in words."""
    if found is None:
        known = "densities at the truth are not known, or zero" if budgets != 1 else ""
        return f"How much it brings cannot be told: {known or f'it takes {LEAST_BUDGETS} budgets'}."
    if found.too_short:
        gained, error = found.last_step
        first, last = (f"{n:,.0f}" for n in found.budgets[-2:])
        return (
            f"How much it brings cannot be told: {found.too_short}. From {first} to {last} the log density "
            f"at the truth gained {rounded(gained, 2)} ± {rounded(error, 2)} nats."
        )
    low, high = learning_curve.gain(found, MORE)
    says = f"The log density at the truth gains between {rounded(low, 2)} and {rounded(high, 2)} nats (80 %)"
    matters = " less than matters" if high < learning_curve.MATTERS else ""
    enough = learning_curve.needed(found)
    until = "" if enough is None or matters else (
        f" Between {_two(enough[0])} and {_two(enough[1])} simulations come within {learning_curve.MATTERS} "
        "of the limit."
    )  # fmt: skip
    return f"{says}{':' if matters else ''}{matters}.{until}"


def _two(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}"


def centre_error(verdict: Mapping[str, Any], rows: Sequence[Row]) -> float:
    """Returns by how many posterior sd replicates differ in their centres; NaN where that is not known.

    The root mean square over parameters and observations.
    """
    here = {**of_cells(verdict).cells, **dataset_cells(verdict["dataset"])}
    place = itemgetter("observation", "parameter")
    means, sds = (
        grouped((r for r in select(rows, metric=name, **here) if r["seed"] is not None), place)
        for name in ("posterior_mean", "posterior_sd")
    )
    squares = []
    for where, own in means.items():
        width = np.mean([r["value"] ** 2 for r in sds.get(where, ())] or [0.0])
        if len(own) > 1 and width > 0:
            squares.append(np.var([r["value"] for r in own], ddof=1) / width)
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")


def repeats(verdict: Mapping[str, Any], known: Known) -> Step | None:
    """Returns the step to more replicates, whose mixture is the answer; None where chance puts off little.

    Centres that are off by chance, by b each, leave the mixture of K off by b / sqrt(K).
    """
    b, k = centre_error(verdict, known.rows), verdict["replicates"]
    if k == 1:
        return known.run(
            {"replicates": 3},
            "Repeat everything three times.",
            "One training does not show how much they differ; chance puts the mixture of three off by "
            f"{rounded(3**-0.5, 2)} times as much.",
        )
    if not b / math.sqrt(k) > CENTRE:
        return None
    now, then = (rounded(b / math.sqrt(n), 2) for n in (k, 2 * k))
    return known.run(
        {"replicates": 2 * k},
        f"Repeat everything {2 * k} times in place of {k}.",
        f"Repeats differ in their centres by {rounded(b, 2)} posterior sd. Chance puts their mixture off by "
        f"{now}, that of {2 * k} by {then}; what all get wrong alike stays.",
    )


# ---- the data themselves -------------------------------------------------------------------------


def shift_seen(data_sets: float, d: int, alpha: float, ks: float = KS) -> float:
    r"""Returns the shift, in posterior sd, that ranks of so many data sets show with probability 0.9.

    A shift delta moves the mean rank by :math:`\Phi(\delta / \sqrt 2) - 1/2`; KS tests take 1.5 times the
    data sets of a test of the mean.
    """
    from scipy.special import ndtri

    effect = (ndtri(1 - alpha / 2 / d) + POWER_Z) * math.sqrt(ks / 12 / data_sets)
    return float(math.sqrt(2) * ndtri(0.5 + effect)) if effect < 0.5 else float("inf")


def ranks(verdict: Mapping[str, Any], known: Known) -> Step | None:
    """Returns the step to a sharper test of ranks near the data; None where it was not made, or is sharp."""
    said = {f["rule"]: f["outcome"] for f in verdict["findings"]}.get("local_ranks", "not asked")
    now = (known.prices.study.get("checks") or {}).get("local_ranks")
    if said not in ("good", "cannot tell") or not now:
        return None
    if said == "cannot tell" and now["draws"] < DRAWS:
        over = {"checks": {"local_ranks": {"draws": DRAWS}}}
        text = f"Draw {DRAWS:,} times for each data set simulated near these."
        return known.run(over, text, "Uneven weights are why ranks near these data could not be judged.")
    own = select(known.rows, metric="posterior_mean", **dataset_cells(verdict["dataset"]))
    places, names = ({r[key] for r in own} for key in ("observation", "parameter"))
    each = now["simulations"] // max(len(places), 1)
    if each >= NEARBY or not names:
        return None
    level = levels.caution("local ranks")
    seen = [rounded(shift_seen(n, len(names), level), 2) for n in (NEARBY, max(each, 100))]
    over = {"checks": {"local_ranks": {"simulations": NEARBY * len(places)}}}
    text = f"Simulate {NEARBY} data sets near each observation in place of {each}."
    return known.run(
        over, text, f"A shift of {seen[0]} sd would be seen with probability 0.9, now {seen[1]}."
    )


def other_methods(verdict: Mapping[str, Any], known: Known) -> list[Step]:
    """Returns the steps to answers of the same study that are made already, and better on the same data."""
    rank = VERDICTS.index(verdict["verdict"])
    beside = [v for v in known.verdicts if v["dataset"] == verdict["dataset"]]
    better = [v for v in beside if VERDICTS.index(v["verdict"]) < rank]
    if better:
        first = min(better, key=lambda v: VERDICTS.index(v["verdict"]))
        text = (
            f"Take the answer of {of_cells(first).label}: on the same data its verdict is {first['verdict']}."
        )
        return [Step(LOOK, "nothing, it is made", text)]
    alike = finals(of_cells(v) for v in beside if VERDICTS.index(v["verdict"]) == rank)
    measured = {v: comparison.measured(known.rows, v, REAL, "lpp") for v in alike}
    found = {v: m for v, m in measured.items() if m is not None}
    best, ties = comparison.best(found, 1)
    own: Variant = of_cells(verdict)
    if best is None or own not in found or own == best or own in ties:
        return []
    gain = rounded(found[best].value - found[own].value, 2)
    text = f"Look at the answer of {best.label}, which the labelled data prefer."
    return [Step(LOOK, "nothing, it is made", text, f"It gives their truth {gain} nats more log density.")]


# ---- labelled data -------------------------------------------------------------------------------


def pairs(verdict: Mapping[str, Any], known: Known) -> Step | None:
    """Returns the step to labelled data, with how many it takes; None where what there is passes."""
    evidence = known.evidence(verdict)
    counts = labelled_counts(evidence)
    together = any(v == 1 for v in evidence.whole("asked_together", REAL).values())
    if not counts:
        return _first_pairs(verdict, known)
    found = sorted(counts.values(), key=lambda own: min(own.held) / own.n)[(len(counts) - 1) // 2]
    learned = verdict["n_calibration"]
    if not together and not by_size.passed(found, by_size.ALPHA / evidence.rivals):
        return _more_pairs(found, evidence.rivals, known)
    if learned is not None and by_size.as_good_as(learned) <= AS_GOOD_AS:
        least = max(n for n in range(1, 1000) if by_size.as_good_as(n) <= AS_GOOD_AS) + 1
        sizes = [*(known.prices.study.get("calibration") or []), least]
        step = known.run(
            {"calibration": sorted(set(sizes))},
            f"Calibrate on {least} labelled pairs in place of {learned}.",
            "Even a perfect calibration on so few may hold the truth in only "
            f"{percent(by_size.as_good_as(learned))}.",
        )
        return Step(LABEL, LABELS, step.text, step.changes, step.command)
    return None


def _first_pairs(verdict: Mapping[str, Any], known: Known) -> Step:
    """How many labelled data sets a right answer needs, where there are none."""
    own = select(known.rows, metric="posterior_mean", **of_cells(verdict).cells)
    d = len({r["parameter"] for r in own}) or 1
    few, many = (by_size.rows_for(d, p0, 0.9) for p0 in (by_size.EXCLUDED_OF_FEW, by_size.EXCLUDED))
    each = "" if d == 1 else f" for each of {d} parameters"
    return Step(
        LABEL,
        LABELS,
        f"Label {few} data sets like these (level `real` of the task).",
        f"A right answer then excludes coverage below {percent(by_size.EXCLUDED_OF_FEW)}{each} with "
        f"probability 0.9, with {max(many, by_size.MANY)} below {percent(by_size.EXCLUDED)}. No other test "
        "sees what the parameters absorb.",
        known.prices.command({}),
    )


def _more_pairs(found: by_size.Counted, rivals: int, known: Known) -> Step:
    """How many labelled data sets it takes if further ones are like those there are."""
    least = by_size.more_rows(found, rivals)
    seen = f"{min(found.held)} of {found.n}"
    if least is None:
        text = f"No number of labelled data sets is promised to change it: coverage looks like {seen}."
        return Step(FIRST, "nothing", text, "The simulator or the method has to change.")
    return Step(
        LABEL,
        LABELS,
        f"Label {least - found.n:,} more data sets, {least:,} in all.",
        f"Intervals that hold as often as so far ({seen}) pass then with probability 0.8.",
        known.prices.command({"test_rows": least}),
    )
