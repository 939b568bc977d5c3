"""What a reader is told about every figure: how to read it, and what it shows here.

Each function takes the figure's data, as saved beside it, and returns two texts of plain words. `alternative`
texts for readers who cannot see the figure are the second of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from veridical.evidence.numbers import duration, percent, rounded
from veridical.report import comparison_captions
from veridical.report.comparison_captions import listed

Data = Mapping[str, Any]
Caption = tuple[str, str]
MATTERS_NATS = 0.05  # a change of NLTP or LPP below this matters to nobody
MATTERS_SHARE = 0.02  # likewise for a relative change of NRMSE


def posterior(data: Data) -> Caption:
    """Caption of the posterior pairs."""
    several = len(data["parameters"]) > 1
    read = "On the diagonal, how plausible each value of a parameter is: the higher the curve, the more so. "
    if several:
        read += (
            "Below it, each pair of parameters: the true values lie inside the inner line with 50 % and "
            "inside the outer line with 90 % probability. Slanted shapes mean that two parameters trade "
            "off against each other."
        )
    reference = [s["label"] for s in data["series"] if s["role"] == "reference"]
    shows = ""
    if reference:
        shows = f"The centres differ by at most {rounded(data['largest_shift'], 2)} standard deviations."
        read += (
            " Solid blue is the network's answer, dashed orange the exact one; where they lie on top of each "
            "other the network can be believed."
        )
    units = {p["name"]: p["unit"] for p in data["parameters"] if p["unit"]}
    if units and len(data["parameters"]) > 4:
        read += " Units: " + "; ".join(f"{name} in {unit}" for name, unit in units.items()) + "."
    if data["of_parameters"] > len(data["parameters"]):
        shows += f" The first {len(data['parameters'])} of {data['of_parameters']} parameters are shown."
    return read.strip(), shows.strip()


def predictive(data: Data) -> Caption:
    """Caption of the predictive bands."""
    read = (
        "Dots are the observed data. The shaded bands are what the fitted model says the data should look "
        "like: half of the dots should fall into the dark band and nine in ten into the light one."
    )
    inside = sum(panel["inside"] for panel in data["panels"])
    total = sum(panel["of"] for panel in data["panels"])
    shows = f"{inside} of {total} observed values ({percent(inside / total)}) lie inside the 90 % band."
    low = inside / total < 0.7
    if low:
        shows += " That is too few: the model does not reproduce the data."
    if data["of_panels"] > len(data["panels"]):
        shows += f" The first {len(data['panels'])} of {data['of_panels']} series are shown."
    return read, shows


def prior(data: Data) -> Caption:
    """Caption of the bands of simulations from the prior."""
    read = (
        "Dots are the observed data. The grey bands are what the simulator made before it saw any data, at "
        "parameters from the prior. Dots far outside mean that prior or simulator cannot explain the data."
    )
    inside = sum(panel["inside"] for panel in data["panels"])
    total = sum(panel["of"] for panel in data["panels"])
    return read, f"{inside} of {total} observed values ({percent(inside / total)}) lie inside the 90 % band."


def ranks(data: Data) -> Caption:
    """Caption of the rank ECDFs."""
    read = (
        "Tested on simulated data whose true parameters are known; one line per repeat. Inside the grey "
        "band is fine: the band is what chance does to a perfect method. A line that rises and then falls "
        "below zero means intervals that are too narrow; the other way round, too wide; one hump to a "
        "side, a bias."
    )
    bad = [p["label"] for p in data["panels"] if any(not c["inside"] for c in p["curves"])]
    if not bad:
        return read, "All lines stay inside the grey band."
    lines = sum(not c["inside"] for p in data["panels"] for c in p["curves"])
    total = sum(len(p["curves"]) for p in data["panels"])
    return read, f"{lines} of {total} lines leave the band, for {listed(bad)} (dashed orange)."


def coverage(data: Data) -> Caption:
    """Caption of the coverage curves."""
    read = (
        "How often the stated probability came true on data with known truth: a 90 % region should hold "
        "the truth in 90 % of cases. Inside the grey band around the diagonal is fine; below it the "
        "method is too sure of itself, above it too careful."
    )
    outside = [
        panel["label"] if panel.get("joint") else curve["label"]
        for panel in data["panels"]
        for curve in panel["curves"]
        if _leaves(curve, panel["band"])
    ]
    if not outside:
        return read, "All curves stay inside the grey band."
    return read, f"Outside the band: {listed(outside)}."


def typicality(data: Data) -> Caption:
    """Caption of the distances."""
    read = (
        "Grey: how far simulated data sets lie from the bulk of the simulations, as the network sees them. "
        "The thick line is the real data. Within the grey hill is fine; to the right of the dashed line, "
        "the network was never trained on anything like it."
    )
    beyond = sum(d > p["threshold"] for p in data["panels"] for d in p["observed"])
    total = sum(len(p["observed"]) for p in data["panels"])
    if not beyond:
        return read, "The real data lie within the range of the simulations."
    return read, f"{beyond} of {total} lines lie beyond what 99 % of simulations reach."


def training(data: Data) -> Caption:
    """Caption of the training curves."""
    read = (
        "The error of the network while it learned, on the simulations it learned from (dotted) and on "
        "ones held back (solid). Both should fall and level off together; a solid line that turns upwards "
        "means learning by heart."
    )
    gaps = [gap for panel in data["panels"] for run in panel["runs"] if (gap := _final_gap(run)) is not None]
    if not gaps:
        return read, ""
    worst = max(gaps)
    size = rounded(max(worst, 0.0), 2)
    shows = f"At the weights kept, the held-back loss lies at most {size} above the other: "
    return read, shows + ("some learning by heart." if worst > 0.5 else "little or no learning by heart.")


def learning(data: Data) -> Caption:
    """Caption of the learning curve: would more simulations help?"""
    read = (
        "The same method trained on fewer and on more simulations, judged on simulated data. Dots are "
        "repeats, lines their mean. A curve that still moves at its right end says that more simulations "
        "would help."
    )
    return read, " ".join(
        more_simulations(data["metric"], curve, len(data["curves"]) > 1) for curve in data["curves"]
    )


def more_simulations(metric: Data, curve: Data, named: bool = False) -> str:
    """Answers in one sentence whether more simulations would help, from the last two budgets of a curve."""
    (first, last), (before, after) = curve["budget"][-2:], curve["mean"][-2:]
    gain = before - after if metric["lower_is_better"] else after - before
    errors = curve["stderr"][-2:]
    who = f"{curve['label']}: " if named else ""
    step = f"going from {first:,} to {last:,} simulations"
    amount, name = rounded(abs(gain), 2), metric["name"].upper()
    matters = MATTERS_SHARE * abs(before) if metric["name"] == "nrmse" else MATTERS_NATS
    if gain != gain:
        return f"{who}Cannot be told: {step} gave a quality that is not a number."
    if None in errors:
        direction = "improved" if gain > 0 else "worsened"
        return (
            f"{who}Cannot be told: {step} {direction} {name} by {amount}, without an error to judge that by."
        )
    spread = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    pm = f"{amount} ± {rounded(spread, 2)}" + (" (one repeat)" if curve["repeats"] == 1 else "")
    if gain > 2 * spread and gain > matters:
        return f"{who}Probably yes: {step} still improved {name} by {pm}."
    if gain < -2 * spread and -gain > matters:
        return f"{who}Probably not: {step} made {name} worse by {pm}; look at the training first."
    if 2 * spread > 10 * matters:
        return f"{who}Cannot be told: {step} changed {name} by {pm}, which is too uncertain."
    return f"{who}Probably not much: {step} changed {name} by only {pm}."


def cost(data: Data) -> Caption:
    """Caption of the costs."""
    total = sum(stage["seconds"] for stage in data["stages"])
    dearest = max(data["stages"], key=lambda stage: stage["seconds"])
    read = "Time of all jobs of a stage added up; jobs that ran side by side took less on the clock."
    return (
        read,
        f"In all {duration(total)} of computing, most of it ({percent(dearest['seconds'] / total)}) for "
        f"stage “{dearest['name']}”.",
    )


CAPTIONS: dict[str, Callable[[Data], Caption]] = {
    "posterior": posterior,
    "prior": prior,
    "predictive": predictive,
    "ranks": ranks,
    "coverage": coverage,
    "typicality": typicality,
    "training": training,
    "learning": learning,
    "cost": cost,
    "coverages": comparison_captions.coverages,
    "calibration": comparison_captions.calibration,
    "deviations": comparison_captions.deviations,
    "intervals": comparison_captions.intervals,
    "transport": comparison_captions.transport,
    "tradeoff": comparison_captions.tradeoff,
    "detection": comparison_captions.detection,
}


def caption(kind: str, data: Data) -> Caption:
    """Returns how to read a figure, and what it shows here."""
    return CAPTIONS[kind](data)


def _leaves(curve: Data, band: Data) -> bool:
    triples = zip(curve["coverage"], band["lower"], band["upper"], strict=True)
    return any(not low - 1e-7 <= c <= high + 1e-7 for c, low, high in triples)


def _final_gap(run: Data) -> float | None:
    """How far the held-back loss lies above the training loss at the weights that were kept."""
    best = run.get("best_epoch")
    if best not in run["epoch"]:
        return None
    at = run["epoch"].index(best)
    gap = run["validation"][at] - run["train"][at]
    return gap if gap == gap else None
