"""Sections of the page of a study that compares methods, all from its table of metrics; see `tables.py`.

A method here is a variant: a name, a budget, a size of its calibration set. Replicates share test data
between methods, so differences are taken within each replicate before anything is averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from veridical.metrics import Row, select
from veridical.report import comparison, variants
from veridical.report.variants import PRIOR, SBI, UPPER_BOUND, Variant

PLAIN = UPPER_BOUND  # what methods that learn from a cheaper simulator too are compared with
FIGURES = (
    *("coverages", "deviations", "intervals", "calibration", "transport", "tradeoff", "detection"),
    "posterior",
)
INTERVALS = ("total", "statistical", "likelihood_ratio")
SHARES = (0.6827, 0.9545)
MEDIAN = 1.25  # standard error of a median of normal numbers, in standard errors of their mean
UNSUPPORTED = ("supported", "complete")  # rules on what was not looked at
ORDER = {"trust": 0, "caution": 1, "do not trust": 2}


@dataclass(frozen=True)
class Column:
    """One number of a table: its metric and level, what stands above it, what it is changed by."""

    metric: str
    heading: str
    level: float | None = None
    less_prior: bool = False


QUALITY = (
    Column("lpp", "LPP"),
    Column("lpp", "LPP - prior's", less_prior=True),
    Column("nltp", "NLTP"),
    Column("nltp_gap", "NLTP gap"),
    Column("c2st", "C2ST"),
    Column("wasserstein", "Wasserstein"),
    Column("acauc", "ACAUC"),
    Column("coverage_gap", "coverage gap"),
    Column("coverage", "90 % intervals hold", 0.9),
    Column("zero_density_share", "density 0 at truth"),
)
EXPERIMENTS = (
    Column("experiment_lpp", "LPP"),
    Column("experiment_acauc", "ACAUC"),
    Column("experiment_coverage_gap", "coverage gap"),
    Column("experiment_hpd_coverage_gap", "HPD coverage gap"),
    Column("experiment_coverage", "90 % intervals hold", 0.9),
    Column("experiment_hpd_coverage", "90 % HPD regions hold", 0.9),
)
DETECTION = (
    Column("mmd_p", "p of the MMD"),
    Column("summary_mahalanobis_p", "p of the Mahalanobis distance"),
    Column("size", "size", 0.05),
    Column("power", "power at a shift of 1", 0.05),
)
COSTS = (
    Column("target_runs", "target runs"),
    Column("nominal_cost", "nominal cost"),
    Column("simulation_seconds", "simulation, s"),
    Column("fit_seconds", "fit, s"),
    Column("sample_seconds", "sampling, s"),
)


def sections(rows: Sequence[Row], found: Mapping[str, Any]) -> list[str]:
    """Returns verdicts and tables of a study of several methods.

    Arguments:
        rows: The table of metrics.
        found: The verdicts, as in `verdict.json`.
    """
    rows = variants.summarised(rows)
    dataset = comparison.labelled_dataset(rows)
    parts = ["## Verdicts", verdicts(found["verdicts"]), *methods(rows, dataset)]
    parts += pseudo_experiments(rows) + detection(rows, dataset) + multifidelity(rows) + estimates(rows)
    return [*parts, "## Costs", costs(rows, dataset)]


def verdicts(judged: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts in one table, the most trusted first."""
    ordered = sorted(judged, key=lambda v: (ORDER[v["verdict"]], variants.of_cells(v).order, v["dataset"]))
    lines = [
        [v["method"], _count(v["n_calibration"]), v["dataset"], v["verdict"], _reason(v)] for v in ordered
    ]
    return table(["method", "pairs", "data", "verdict", "main reason"], lines)


def _reason(judged: Mapping[str, Any]) -> str:
    """The first sentence of a finding that decided, and how many more there are; what was left out last."""
    outcome = {"do not trust": "bad", "caution": "caution"}.get(judged["verdict"])
    deciding = [f for f in judged["findings"] if f["outcome"] == outcome]
    if not deciding:
        return judged["summary"]
    first = min(deciding, key=lambda f: f["rule"] in UNSUPPORTED)["text"].partition(". ")[0].rstrip(".")
    return f"{first} (and {len(deciding) - 1} more)." if len(deciding) > 1 else f"{first}."


# ---- all methods ---------------------------------------------------------------------------------


def methods(rows: Sequence[Row], dataset: str) -> list[str]:
    """Quality of every method, budget and calibration size; beside real data what a right simulator gives."""
    places = [(v, v.method, dataset) for v in _variants(rows)]
    if dataset == "real":
        names = f"{SBI} ({UPPER_BOUND}, simulated)"
        places += [(v, names, "simulated") for v in _variants(select(rows, method=UPPER_BOUND))]
    text = _quality(rows, places, [c for c in QUALITY if c.metric != "nltp" or dataset == "simulated"])
    if not text:
        return []
    notes = (
        f"{_repeats(rows)} ACAUC is the mean over parameters, the coverage gap the mean of |coverage - level|"
        " of central intervals. Definitions: [metrics](../metrics.md)."
    )
    if dataset == "real":
        notes += f" The line {SBI} is {UPPER_BOUND} on simulated data, as if the simulator were right."
    return [f"## All methods on {dataset} data", notes, text]


def pseudo_experiments(rows: Sequence[Row]) -> list[str]:
    """Coverage of posteriors over pseudo-experiments."""
    parts = []
    for dataset in ("real", "simulated"):
        text = _quality(rows, [(v, v.method, dataset) for v in _variants(rows)], EXPERIMENTS)
        if text and select(rows, metric="experiment_lpp", dataset=dataset):
            parts += [f"## Pseudo-experiments on {dataset} data", text]
    return parts


def detection(rows: Sequence[Row], dataset: str) -> list[str]:
    """The test of whether the data are like simulations."""
    text = _quality(rows, [(v, v.method, dataset) for v in _variants(rows)], DETECTION)
    return [f"## Are the {dataset} data like simulated data?", text] if text else []


def costs(rows: Sequence[Row], dataset: str) -> str:
    """What every method used: medians over replicates."""
    lines = []
    for variant in _variants(rows):
        own = select(rows, **variant.cells)
        low = next((r["budget_low"] for r in own if r["budget_low"]), None)
        members = next((r["members"] for r in own if r["members"]), None)
        found = [_each(own, c, dataset if c.metric == "sample_seconds" else None) for c in COSTS]
        cells = [number(median(each.values())) if each else "" for each in found]
        lines.append([*_name(variant, variant.method), _count(low), _count(members), *cells])
    header = ["method", "pairs", "budget", "low-fidelity runs", "members", *(c.heading for c in COSTS)]
    return "Medians over replicates.\n\n" + table(*_filled(header, lines))


def _quality(
    rows: Sequence[Row], places: Sequence[tuple[Variant, str, str]], columns: Sequence[Column]
) -> str:
    """A table of medians over replicates; empty where no method has any of the numbers."""
    priors = _variants(select(rows, method=PRIOR))
    lines = []
    for variant, name, dataset in places:
        own = select(rows, **variant.cells)
        prior = select(rows, **priors[0].cells) if priors and variant.method != PRIOR else []
        cells = []
        for column in columns:
            each = _each(own, column, dataset)
            cells.append(
                _middle(_differences(each, _each(prior, column, dataset)) if column.less_prior else each)
            )
        if any(cells):
            lines.append([*_name(variant, name), *cells])
    if not lines:
        return ""
    return table(*_filled(["method", "pairs", "budget", *(c.heading for c in columns)], lines))


# ---- several fidelities --------------------------------------------------------------------------


def multifidelity(rows: Sequence[Row]) -> list[str]:
    """Methods that learned from a cheaper simulator against the plain one, at every budget of that."""
    low = _variants(r for r in rows if r["budget_low"])
    plain = _variants(select(rows, method=PLAIN, dataset="simulated"))
    names = {"c2st": "C2ST", "nltp_gap": "NLTP gap", "nltp": "NLTP"}
    known = [m for m in names if select(rows, metric=m, dataset="simulated", method=PLAIN)]
    if not low or not plain or not known:
        return []
    parts = [
        f"## Gain from the cheaper simulator, against {PLAIN}",
        f"Number of the method minus that of {PLAIN} at the budget above the column, on simulated data, "
        "paired by replicate: median (mean ± its standard error). Less is better: below 0 the method is "
        f"ahead. The last column is the smallest budget at which {PLAIN} is not behind in the median. "
        "Budget counts the rows that the method was last trained on; one without target runs (see Costs) has "
        "them all from the cheaper simulator.",
    ]
    for metric in known[:2]:
        parts += [f"### {names[metric]}", _gains(rows, low, plain, Column(metric, names[metric]))]
    return parts


def _gains(rows: Sequence[Row], low: Sequence[Variant], plain: Sequence[Variant], column: Column) -> str:
    beside = {v.budget: _each(select(rows, **v.cells), column, "simulated") for v in plain}
    lines = []
    for variant in low:
        own = _each(select(rows, **variant.cells), column, "simulated")
        if not own:
            continue
        gains = {budget: _differences(own, other) for budget, other in beside.items()}
        enough = [b for b, d in gains.items() if d and median(d.values()) >= 0]
        cells = [_both(d) for d in gains.values()]
        lines.append(
            [*_name(variant, variant.method), *cells, _count(min(enough, default=None)) or "none of these"]
        )
    header = ["method", "pairs", "budget", *(f"{PLAIN} {_count(b)}" for b in beside)]
    return table(*_filled([*header, f"{PLAIN} not behind from"], lines))


# ---- estimates -----------------------------------------------------------------------------------


def estimates(rows: Sequence[Row]) -> list[str]:
    """Coverage and bias of estimates over pseudo-experiments, by true value and kind of interval."""
    gaps = select(rows, metric="coverage_gap_z")
    if not gaps:
        return []
    ideal = [f"{100 * share:.0f} %" for share in SHARES]
    parts = [
        "## Coverage of estimates",
        "Columns are true values. Mean over trainings ± standard error of the mean across trainings.",
        "### Mean miss of coverage over z in 0 .. 3 (`coverage_gap_z`)",
        "In brackets the largest of a single training.",
        _by_truth(gaps, largest=True),
    ]
    for share, text in zip(SHARES, ideal, strict=True):
        hold = select(rows, metric="experiment_coverage", level=share)
        if hold:
            parts += [f"### Intervals of {text} hold the truth", _by_truth(hold)]
    for metric, text in (
        ("experiment_bias", "Bias: mean of estimate - truth"),
        ("experiment_sd", "Spread of the estimate over pseudo-experiments"),
        ("experiment_sigma", "Mean stated total error"),
        ("experiment_failed_share", "Share of pseudo-experiments without an estimate"),
    ):
        own = [r for r in select(rows, metric=metric) if r.get("interval") in (None, "total")]
        if any(r["value"] for r in own):
            parts += [f"### {text}", _by_truth(own)]
    return parts


def _by_truth(rows: Sequence[Row], largest: bool = False) -> str:
    """One line for each method and kind of interval, one column for each true value."""
    truths: list[float | None] = sorted({r["true_value"] for r in rows if r["true_value"] is not None})
    kinds = [k for k in INTERVALS if any(r.get("interval") == k for r in rows)] or [None]
    named = len(kinds) > 1
    lines = []
    for variant in _variants(rows):
        for kind in kinds:
            own = [r for r in select(rows, **variant.cells) if r.get("interval") == kind]
            by_truth = [
                {r["seed"]: r["value"] for r in select(own, true_value=at) if r["seed"] is not None}
                for at in (*truths, None)
            ]
            if not by_truth[-1]:
                by_truth[-1] = _over(by_truth[:-1])
            cells = [_average(each) + (_largest(each) if largest else "") for each in by_truth]
            lines.append([variant.label, kind if named and kind else "", *cells])
    return table(*_filled(["method", "interval", *map(number, truths), "mean"], lines))


def _over(found: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean over true values of each training that has them all."""
    seeds = set.intersection(*(set(each) for each in found)) if found else set()
    return {seed: fmean(each[seed] for each in found) for seed in sorted(seeds)}


def _largest(each: Mapping[int, float]) -> str:
    return f" ({number(max(each.values()))})" if len(each) > 1 else ""


# ---- figures -------------------------------------------------------------------------------------


def figures(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Returns the figures to show, those of all methods first.

    Where a kind has none of all methods, it is that of the method with the highest LPP; the look at the data
    is that of the plainest method, whose summaries no real data have changed.
    """
    dataset = comparison.labelled_dataset(rows)
    lpp = {
        v.key: median(each.values())
        for v in _variants(rows)
        if (each := _each(select(rows, **v.cells), QUALITY[0], dataset))
    }
    plain = {v.key: -place for place, v in enumerate(_variants(rows))}
    whole, single = [], []
    for kind in FIGURES:
        together = folder / "figures" / f"{kind}--all.svg"
        own = sorted((folder / "figures").glob(f"{kind}--*.svg"))
        if together.exists():
            whole.append(together)
        elif own:
            rank = plain if kind == "detection" else lpp
            single.append(max(own, key=lambda p: rank.get(p.name.split("--")[1], float("-inf"))))
    return whole + single


# ---- numbers and text ----------------------------------------------------------------------------


def _variants(rows: Iterable[Row]) -> list[Variant]:
    """All variants, smaller budgets too, in the order in which readers meet them."""
    found = {variants.of_cells(r) for r in rows if r["method"] != variants.REFERENCE}
    return sorted(found, key=lambda v: v.order)


def _each(rows: Sequence[Row], column: Column, dataset: str | None) -> dict[int, float]:
    """The number of each replicate, for all parameters and true values together."""
    found = [
        r
        for r in select(rows, metric=column.metric, level=column.level, dataset=dataset, parameter=None)
        if r["seed"] is not None and r["true_value"] is None and r.get("interval") is None
    ]
    return {r["seed"]: r["value"] for r in found}


def _differences(own: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    """One method minus another in each replicate that both have."""
    return {seed: own[seed] - other[seed] for seed in own if seed in other}


def _repeats(rows: Iterable[Row]) -> str:
    """What stands in a cell."""
    n = len({r["seed"] for r in rows if r["seed"] is not None})
    if n < 2:
        return "One replicate: no errors across replicates."
    return (
        f"Median over {n} replicates ± {MEDIAN} standard errors of the mean, the error of a median of normal "
        "numbers; of few replicates a rough guide."
    )


def _middle(each: Mapping[int, float]) -> str:
    """The median over replicates with its error."""
    if not each:
        return ""
    error = _error(each)
    return number(median(each.values())) + ("" if error is None else f" ± {number(MEDIAN * error, 2)}")


def _average(each: Mapping[int, float]) -> str:
    """The mean over replicates with its standard error."""
    if not each:
        return ""
    error = _error(each)
    return number(fmean(each.values())) + ("" if error is None else f" ± {number(error, 2)}")


def _both(each: Mapping[int, float]) -> str:
    """The median over replicates, behind it the mean with its standard error."""
    if len(each) < 2:
        return _middle(each)
    return f"{number(median(each.values()))} ({_average(each)})"


def _error(each: Mapping[int, float]) -> float | None:
    """The standard error of the mean over replicates; none where all agree or one is not finite."""
    values = list(each.values())
    if len(values) < 2 or not all(abs(v) < float("inf") for v in values):
        return None
    error = stdev(values) / len(values) ** 0.5
    return error if error > 1e-9 * max(map(abs, values)) else None


def _name(variant: Variant, name: str) -> list[str]:
    return [name, _count(variant.calibration), _count(variant.budget)]


def _count(given: int | None) -> str:
    return f"{given:,}" if given else ""


def _filled(header: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that are empty in every line."""
    kept = [i for i in range(len(header)) if any(line[i] for line in lines)]
    return [header[i] for i in kept], [[line[i] for i in kept] for line in lines]


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    rule = ["---"] * len(header)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *lines))


def number(given: float | None, digits: int = 3) -> str:
    """Returns a number with three digits, or nothing."""
    if given is None:
        return ""
    return f"{given:,.0f}" if abs(given) >= 1000 else f"{given:.{digits}g}"
