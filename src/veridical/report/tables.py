"""The tables of the report, taken from the table of metrics: numbers as text, ready for the page.

Medians and intervals are those of the mixture of replicates, as in the figures, with each replicate's own
beside them; all else is the mean over replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from veridical import checks
from veridical.checks.base import Line
from veridical.evidence import metrics, numbers, variants
from veridical.evidence.metrics import Row, grouped, select
from veridical.evidence.tabulation import MIXTURE
from veridical.report.inference_rules import CALIBRATION_TESTS
from veridical.report.levels import caution

MAX_ESTIMATES = 20
MOST_PROBABLE, LEAST = 3, 0.005  # values of a discrete parameter, and what makes one worth a word
_P = f"above {caution('calibration') / len(CALIBRATION_TESTS):.2g}"  # as in the rule simulated_calibration
_FORMS: dict[str, Callable[[float], str]] = {
    "percent": numbers.percent,
    "number": numbers.rounded,
    "p": lambda p: "< 0.001" if p < 0.001 else numbers.rounded(p, 2),
}


def posterior_table(
    own: Sequence[Row], exact: Sequence[Row], units: Mapping[str, str], observation: int
) -> dict[str, Any]:
    """Returns medians and intervals of one observation, beside those of the reference.

    Arguments:
        own: Rows of the method.
        exact: Rows of the reference; none where there is none.
        units: Units by parameter, in the order in which parameters are shown.
        observation: Which observation.
    """
    here = select(own, observation=observation)
    seeds = sorted({r["seed"] for r in here if r["metric"] == "posterior_quantile"} - {None})
    each = [_quantiles(select(here, seed=seed)) for seed in seeds]
    mine = _quantiles(here, MIXTURE) or each[0]
    theirs = _quantiles(select(exact, observation=observation))
    probable = select(here, metric="posterior_probability", seed=seeds[0])
    lines = []
    for name in _ordered(mine, units):
        q = mine[name]
        width = (q[0.95] - q[0.05]) / 2
        sd = width / 1.645
        line = {
            "parameter": name,
            "unit": units.get(name, ""),
            "median": numbers.to_precision(q[0.5], sd),
            "half": _interval(q[0.25], q[0.75], sd),
            "ninety": _interval(q[0.05], q[0.95], sd),
            "probable": "",
            "truth": _truth(own, name, observation, sd),
            "repeats": _spread([one[name][0.5] for one in each if name in one], sd),
            "each": [": ".join(numbers.interval(one[name])) for one in each if name in one],
        }
        if values := [r for r in probable if r["parameter"] == name]:
            line |= _discrete(q, values)
        if name in theirs:
            r = theirs[name]
            line["exact_median"] = numbers.to_precision(r[0.5], sd)
            line["exact_ninety"] = _interval(r[0.05], r[0.95], sd)
        lines.append(line)
    return {
        "observation": observation,
        "lines": lines,
        "exact": bool(theirs),
        "probable": any(line["probable"] for line in lines),
        "truth": any(line["truth"] for line in lines),
        "repeats": any(line["repeats"] for line in lines),
        "seeds": seeds,
        "units": any(line["unit"] for line in lines),
    }


def _discrete(quantiles: Mapping[float, float], values: Sequence[Row]) -> dict[str, str]:
    """Cells of a discrete parameter: its most probable values, and whole values in all others."""
    shown = {r["level"]: str(r.get("category") or f"{r['level']:g}") for r in values}
    names = {q: shown.get(value, f"{value:g}") for q, value in quantiles.items()}
    best = sorted((r for r in values if r["value"] >= LEAST), key=lambda r: -r["value"])[:MOST_PROBABLE]
    cells = {"probable": ", ".join(f"{shown[r['level']]} ({numbers.percent(r['value'])})" for r in best)}
    truth = values[0]["true_value"]
    if truth is not None:
        cells["truth"] = shown.get(truth, f"{truth:g}")
    if any(r.get("category") for r in values):
        return {**cells, "median": "", "half": "", "ninety": ""}  # names have no order
    spans = {"half": (0.25, 0.75), "ninety": (0.05, 0.95)}
    return {**cells, "median": names[0.5], **{k: f"{names[a]} to {names[b]}" for k, (a, b) in spans.items()}}


def _representative(rows: Sequence[Row]) -> list[Row]:
    """Means over replicates with their errors; of a single replicate its own rows, with their own errors."""
    seeds = {r["seed"] for r in rows} - {None}
    return [r for r in rows if (r["seed"] is None) == (len(seeds) > 1)]


def _ordered(names: Iterable[str], units: Mapping[str, str]) -> list[str]:
    """Names in the task's order, in which `units` has them; unknown ones last."""
    place = {name: i for i, name in enumerate(units)}
    return sorted(names, key=lambda name: place.get(name, len(place)))


def _quantiles(rows: Sequence[Row], metric: str = "posterior_quantile") -> dict[str, dict[float, float]]:
    found = grouped(select(rows, metric=metric), itemgetter("parameter"))
    return {name: {r["level"]: r["value"] for r in own} for name, own in found.items()}


def _spread(medians: Sequence[float], sd: float) -> str:
    """Standard deviation of the replicates' medians, as a share of the posterior's."""
    if len(medians) < 2 or sd <= 0:
        return ""
    mean = sum(medians) / len(medians)
    spread = (sum((m - mean) ** 2 for m in medians) / (len(medians) - 1)) ** 0.5
    return f"{numbers.rounded(spread / sd, 2)} sd"


def _truth(rows: Sequence[Row], name: str, observation: int, sd: float) -> str:
    found = [
        r["true_value"]
        for r in select(rows, parameter=name, observation=observation)
        if r["true_value"] is not None
    ]
    return numbers.to_precision(found[0], sd) if found else ""


def _interval(low: float, high: float, sd: float) -> str:
    return f"{numbers.to_precision(low, sd)} to {numbers.to_precision(high, sd)}"


def estimate_table(own: Sequence[Row]) -> list[dict[str, str]]:
    """Returns estimates with the parts of their errors, of the first replicate, an observation a line."""
    seeds = [r["seed"] for r in own if r["metric"] == "estimate" and r["seed"] is not None]
    lines = []
    for r in select(own, metric="estimate", seed=min(seeds, default=None))[:MAX_ESTIMATES]:
        at = {"seed": r["seed"], "parameter": r["parameter"], "observation": r["observation"]}
        parts = {
            name: metrics.value(own, metric=f"estimate_{name}_error", **at)
            for name in ("statistical", "ratio")
        }
        error = r["stderr"] or 0.0
        lines.append(
            {
                "observation": str((r["observation"] or 0) + 1),
                "parameter": r["parameter"] or "",
                "value": numbers.to_precision(r["value"], error),
                "error": numbers.to_precision(error, error),
                **{k: "" if v is None else numbers.to_precision(v, error) for k, v in parts.items()},
                "ninety": _interval(r["value"] - 1.645 * error, r["value"] + 1.645 * error, error),
                "truth": "" if r["true_value"] is None else numbers.to_precision(r["true_value"], error),
            }
        )
    return lines


def distance_table(
    own: Sequence[Row], exact: Sequence[Row], units: Mapping[str, str]
) -> dict[str, Any] | None:
    """Returns distances to the exact reference, mean over replicates, and how well that converged."""
    mine = _representative(own)
    shifts = {r["parameter"]: r for r in select(mine, metric="mean_shift_sd")}
    ratios = {r["parameter"]: r for r in select(mine, metric="sd_ratio")}
    if not shifts:
        return None
    rhat = {r["parameter"]: r["value"] for r in select(exact, metric="rhat")}
    ess = {r["parameter"]: r["value"] for r in select(exact, metric="ess")}
    lines = [
        {
            "parameter": name,
            "shift": _with_error(shifts[name]),
            "ratio": _with_error(ratios[name]) if name in ratios else "",
            "rhat": f"{rhat[name]:.3f}" if name in rhat else "",
            "ess": f"{ess[name]:,.0f}" if name in ess else "",
        }
        for name in _ordered((n for n in shifts if n), units)
    ]
    whole = {name: select(mine, metric=name) for name in ("c2st", "c2st_null")}
    return {
        "lines": lines,
        **{name: numbers.percent(r[0]["value"]) if r else "" for name, r in whole.items()},
    }


def calibration_table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Returns what the checks found on data whose truth is known, measures first, then tests."""
    lines = [line for name in checks.CHECKS for line in checks.check_class(name).shown]
    lines.sort(key=lambda line: line.form == "p")
    return [found for line in lines if (found := _calibration_line(rows, line)) is not None]


def _calibration_line(rows: Sequence[Row], line: Line) -> dict[str, str] | None:
    """One measure; None where it was not taken."""
    each = select(rows, metric=line.metric, level=line.level)
    mean = [r for r in each if r["seed"] is None]
    if not mean:
        return None
    write = _FORMS[line.form]
    values = [r["value"] for r in each if r["seed"] is not None]
    return {
        "text": line.text,
        "ideal": _P if line.metric in CALIBRATION_TESTS else line.ideal,
        "value": write(mean[0]["value"]),
        "range": f"{write(min(values))} to {write(max(values))}" if len(values) > 1 else "",
    }


def training_table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Simulations, time and failures per method and budget, mean over replicates."""
    lines = []
    for r in rows:
        if r["metric"] != "fit_seconds" or r["seed"] is not None:
            continue
        where = {**variants.of_cells(r).cells, "seed": None}
        share = metrics.value(rows, metric="invalid_share", dataset="simulated", **where)
        nltp = metrics.value(rows, metric="nltp", dataset="simulated", **where)
        lines.append(
            {
                "method": variants.of_cells(r).label,
                "budget": f"{r['budget']:,}" if r["budget"] else "none",
                "replicates": str(r["n"]),
                "seconds": numbers.duration(r["value"]),
                "failed": "" if share is None else numbers.percent(share),
                "nltp": "" if nltp is None else numbers.rounded(nltp, 3),
            }
        )
    return lines


def _with_error(r: Row) -> str:
    if r["stderr"] is None:
        return numbers.rounded(r["value"], 3)
    error = max(r["stderr"], 1e-12)
    return f"{numbers.to_precision(r['value'], error, 1)} ± {numbers.to_precision(error, error, 1)}"
