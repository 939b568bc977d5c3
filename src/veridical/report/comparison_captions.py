"""Captions of the figures that compare methods, and of those about remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from veridical.evidence.numbers import percent, rounded

Data = Mapping[str, Any]
Caption = tuple[str, str]
FEW = 10.0  # effective simulations behind an answer, below which it rests on too few
RIGHT_GAP = 0.03  # a mean miss of coverage below this is that of right intervals


def coverages(data: Data) -> Caption:
    """Caption of the coverage curves of all methods."""
    read = (
        f"A panel per method, judged on {_kind(data['dataset'])} data whose truth is known. Above: of "
        "intervals with a stated probability, how many held the truth (mean over parameters and repeats). "
        "Below: the same minus what was stated. The grey band is what chance does to right intervals. A "
        "curve below it is too sure of itself, one above it too careful; curves that leave it, for some "
        "parameter and in at least half of the repeats, are dashed and orange."
    )
    if any(len(panel["curves"]) > 1 for panel in data["panels"]):
        read += " Light curves: few labelled data for calibration; dark ones: many."
    if any(panel["dataset"] != data["dataset"] for panel in data["panels"]):
        read += " “sbi” is npe on simulated data: what a right simulator would give."
    inside: list[str] = []
    outside: list[str] = []
    for panel in data["panels"]:
        for curve in panel["curves"]:
            name = panel["label"] + (f" ({curve['label']})" if curve["label"] else "")
            (outside if curve["outside"] else inside).append(name)
    shows = [f"Inside the band: {listed(inside)}."] if inside else ["No method stays inside the band."]
    return read, " ".join(shows + ([f"Outside: {listed(outside)}."] if inside and outside else []))


def calibration(data: Data) -> Caption:
    """Caption of quality against calibration size."""
    read = (
        "Quality of the answers to data whose truth is known, against the number of labelled real data "
        "sets that a method was calibrated on; vertical bars are standard errors over repeats. Grey lines "
        "need no such data: the prior says nothing about the data, npe believes the simulator, and sbi is "
        "npe on simulated data, what could be reached if the simulator were right."
    )
    first = data["panels"][0]
    if first["metric"] != "lpp":
        return read, ""
    return read, " ".join(_gain(curve, first["lines"]) for curve in first["curves"] if len(curve["mean"]) > 1)


def _gain(curve: Data, lines: Sequence[Data]) -> str:
    few, many = curve["calibration"][0], curve["calibration"][-1]
    before, after = rounded(curve["mean"][0]), rounded(curve["mean"][-1])
    text = f"{curve['label']}: LPP {before} with {few:,} and {after} with {many:,}"
    prior = next((line["value"] for line in lines if line["label"] == "prior"), None)
    if prior is not None:
        least = next((c for c, m in zip(curve["calibration"], curve["mean"], strict=True) if m > prior), None)
        text += ", never above the prior" if least is None else f", above the prior from {least:,} on"
    return text + "."


def deviations(data: Data) -> Caption:
    """Caption of coverage in repeated experiments."""
    read = (
        "Many experiments with known truth were made up and analysed. For intervals of estimate ± so many "
        "stated standard errors (across): how many held the truth, minus how many should (68 % at 1, 95 % at "
        "2). Zero is right; below it the stated errors are too small, above it too large. A curve that "
        "leaves the frame is far off. Bands are one standard error over independent trainings."
    )
    gaps: dict[str, list[float]] = {}
    for panel in data["panels"]:
        for curve in panel["curves"]:
            gaps.setdefault(curve["label"], []).append(curve["gap"])
    worst = {label: max(values) for label, values in gaps.items()}
    right = [label for label, gap in worst.items() if gap <= RIGHT_GAP]
    wrong = [f"{label} ({percent(gap)})" for label, gap in worst.items() if not gap <= RIGHT_GAP]
    limit = percent(RIGHT_GAP)
    texts = [f"On average off by {limit} or less at every true value: {listed(right)}."] if right else []
    texts += [f"Off by more than {limit} at some true value: {listed(wrong)}."] if wrong else []
    return read, " ".join(texts)


def intervals(data: Data) -> Caption:
    """Caption of stacked intervals."""
    total = len(data["panels"][0]["value"])
    expected = (1 - data["level"]) * total
    read = (
        f"The first {total} experiments at one true value (dotted), sorted by their estimate: the estimate "
        f"and its {percent(data['level'])} interval. The thick part of a bar is the error of a finite "
        "observation alone, the thin part adds the error of the trained method. Intervals that miss the "
        f"truth are orange with a cross; about {expected:.0f} of {total} should. Methods that are far off "
        "have an axis of their own."
    )
    missed = [f"{p['label']} {sum(p['misses'])}" for p in data["panels"]]
    return read, f"Of {total} intervals miss the truth: {listed(missed)}."


def transport(data: Data) -> Caption:
    """Caption of a transport plan."""
    facts, effective = data["facts"], data["effective"]
    read = (
        "Calibration answers for an observation with a mixture of the answers to simulations that "
        "resemble it. Left: the weight of simulations (across) for observations (upwards), both sorted by "
        f"their {data['name']}; dark means that the simulations stand for the observation. A narrow "
        "diagonal is a sharp match, an even colour says no more than the prior. Right: how many "
        "simulations an answer effectively rests on. The plan was found with gamma "
        f"{rounded(facts['gamma'], 2)} (of the mean cost) and tau {rounded(facts['tau'], 2)} in "
        f"{facts['iterations']:.0f} iterations: row sums are right to {rounded(facts['row error'], 2)}, "
        f"the condition of optimality to {rounded(facts['residual'], 2)}."
    )
    shows = f"An answer rests on {rounded(effective['median'], 2)} simulations (median), on "
    shows += f"{rounded(effective['smallest'], 2)} at least."
    if effective["median"] < FEW:
        shows += " Those are few: the mixture has gaps unless its components are smoothed."
    return read, shows


def tradeoff(data: Data) -> Caption:
    """Caption of quality against cost."""
    read = (
        "Quality of the answers against what the simulations behind them cost. Vertical bars are standard "
        "errors over repeats. Left is cheaper: of two methods at one height, take the left one; of two at "
        "one cost, the better one."
    )
    shows = []
    for metric in dict.fromkeys(panel["metric"] for panel in data["panels"]):
        panel = next(p for p in data["panels"] if p["metric"] == metric)
        sign = -1 if panel["better"].startswith("lower") else 1
        points = [(m, x, c["label"]) for c in panel["curves"] for m, x in zip(c["mean"], c["x"], strict=True)]
        value, x, label = max(points, key=lambda point: sign * point[0])
        name = metric.upper() if metric != "nltp_gap" else "NLTP gap"
        cost = f"a nominal cost of {rounded(x)}" if panel["axis"] == "nominal_cost" else f"{x:,.0f} runs"
        shows.append(f"Best {name}: {rounded(value)}, by {label} at {cost}.")
    return read, " ".join(shows)


def detection(data: Data) -> Caption:
    """Caption of the null distribution of MMD."""
    read = (
        "Grey: distances between sets of simulated data and the simulations, as the network sees them, "
        "for sets as large as that of the data. The thick line is the data. Inside the grey hill is fine; "
        "beyond the dashed line, the simulator does not make such data, or not in these proportions."
    )
    panels = data["panels"]
    small = sum(p["p"] < 0.01 for p in panels)
    ps = [p["p"] for p in panels]
    which = "p-value" if len(ps) == 1 else "p-values"
    numbers = listed(["< 0.001" if p < 0.001 else rounded(p, 2) for p in ps])
    n = panels[0]["n"]
    shows = f"{n:,} data sets, {which} {numbers}: " if n else f"{which} {numbers}: "
    verdict = (
        "not told from simulated data." if 2 * small < len(ps) else "not distributed like simulated data."
    )
    shows += verdict
    power = panels[0].get("power")
    if 2 * small < len(ps) and power is not None:
        shows += f" A shift by one standard deviation would be found in {percent(power)} of cases."
    return read, shows[0].upper() + shows[1:]


def listed(names: Sequence[str]) -> str:
    """Returns names in words, each once."""
    unique = list(dict.fromkeys(names))
    if len(unique) < 2:
        return "".join(unique)
    return ", ".join(unique[:-1]) + " and " + unique[-1]


def _kind(dataset: str) -> str:
    return "real" if dataset == "real" else "simulated"
