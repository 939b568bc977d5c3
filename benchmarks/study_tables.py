"""Sections of the page of a study that compares methods, all from its table of metrics; see `tables.py`.

A method here is a variant: a name, a budget, a size of its calibration set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from estimate_tables import estimates
from reference_tables import against_reference
from replicates import (
    MEDIAN,
    Column,
    both,
    by_replicate,
    differences,
    leading_cells,
    middle,
    over_rows,
    variants_of,
)
from table_text import count, filled, number, table

from veridical.evidence import comparison, variants
from veridical.evidence.metrics import Row, select
from veridical.evidence.variants import SBI, UPPER_BOUND, Variant

PLAIN = UPPER_BOUND  # what methods that learn from a cheaper simulator too are compared with
FIGURES = (
    *("coverages", "deviations", "intervals", "calibration", "transport", "tradeoff", "detection"),
    "posterior",
)
ORDER = {word: i for i, word in enumerate(comparison.VERDICTS)}
QUALITY = (
    Column("lpp", "LPP"),
    Column("gain", "LPP - prior's"),
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
WILKS = (
    Column("lrt_mse", "LRT MSE"),
    Column("lrt_mse_grid", "LRT MSE on the grid"),
    Column("wilks_coverage", "95 % sets hold", 0.95),
    Column("wilks_coverage_exact", "exact ones", 0.95),
    Column("wilks_difference", "paired difference", 0.95),
    Column("wilks_area", "their share of the grid", 0.95),
    Column("wilks_area_exact", "of exact ones", 0.95),
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
    judged = found["verdicts"]
    parts = ["## Verdicts", verdicts(judged), *against_reference(rows, [v["dataset"] for v in judged])]
    parts += methods(rows, dataset)
    parts += pseudo_experiments(rows) + likelihood_ratios(rows) + detection(rows, dataset)
    parts += multifidelity(rows) + estimates(rows)
    return [*parts, "## Costs", costs(rows, dataset)]


def verdicts(judged: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts in one table, the most trusted first."""
    ordered = sorted(judged, key=lambda v: (ORDER[v["verdict"]], variants.of_cells(v).order, v["dataset"]))
    lines = [
        [v["method"], count(v["n_calibration"]), v["dataset"], v["verdict"], _reason(v)] for v in ordered
    ]
    return table(["method", "pairs", "data", "verdict", "main reason"], lines)


def _reason(judged: Mapping[str, Any]) -> str:
    """The first sentence of a finding that decided, and how many more there are."""
    outcome = {"do not trust": "bad", "caution": "caution"}.get(judged["verdict"])
    deciding = [f for f in judged["findings"] if f["outcome"] == outcome]
    if not deciding:
        return judged["summary"]
    first = deciding[0]["text"].partition(". ")[0].rstrip(".")
    return f"{first} (and {len(deciding) - 1} more)." if len(deciding) > 1 else f"{first}."


# ---- all methods ---------------------------------------------------------------------------------


def methods(rows: Sequence[Row], dataset: str) -> list[str]:
    """Quality of every method, budget and calibration size; beside real data what a right simulator gives."""
    places = [(v, v.method, dataset) for v in variants_of(rows)]
    if dataset == "real":
        names = f"{SBI} ({UPPER_BOUND}, simulated)"
        places += [(v, names, "simulated") for v in variants_of(select(rows, method=UPPER_BOUND))]
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
        text = _quality(rows, [(v, v.method, dataset) for v in variants_of(rows)], EXPERIMENTS)
        if text and select(rows, metric="experiment_lpp", dataset=dataset):
            parts += [f"## Pseudo-experiments on {dataset} data", text]
    return parts


def likelihood_ratios(rows: Sequence[Row]) -> list[str]:
    """Errors of the likelihood ratio statistic, and Wilks' sets beside those of the exact likelihood."""
    text = _quality(rows, [(v, v.method, "simulated") for v in variants_of(rows)], WILKS)
    return ["## Likelihood ratios beside the exact ones", text] if text else []


def detection(rows: Sequence[Row], dataset: str) -> list[str]:
    """The test of whether the data are like simulations."""
    text = _quality(rows, [(v, v.method, dataset) for v in variants_of(rows)], DETECTION)
    return [f"## Are the {dataset} data like simulated data?", text] if text else []


def costs(rows: Sequence[Row], dataset: str) -> str:
    """What every method used: medians over replicates."""
    lines = []
    for variant in variants_of(rows):
        own = select(rows, **variant.cells)
        low = next((r["budget_low"] for r in own if r["budget_low"]), None)
        members = next((r["members"] for r in own if r["members"]), None)
        found = [by_replicate(own, c, dataset if c.metric == "sample_seconds" else None) for c in COSTS]
        cells = [number(median(each.values())) if each else "" for each in found]
        lines.append([*leading_cells(variant, variant.method), count(low), count(members), *cells])
    header = ["method", "pairs", "budget", "low-fidelity runs", "members", *(c.heading for c in COSTS)]
    return "Medians over replicates.\n\n" + table(*filled(header, lines))


def _quality(
    rows: Sequence[Row], places: Sequence[tuple[Variant, str, str]], columns: Sequence[Column]
) -> str:
    """A table of medians over replicates; empty where no method has any of the numbers."""
    lines = []
    for variant, name, dataset in places:
        own = select(rows, **variant.cells)
        cells = [middle(by_replicate(own, c, dataset), over_rows(own, c, dataset)) for c in columns]
        if any(cells):
            lines.append([*leading_cells(variant, name), *cells])
    if not lines:
        return ""
    return table(*filled(["method", "pairs", "budget", *(c.heading for c in columns)], lines))


def _repeats(rows: Iterable[Row]) -> str:
    """What stands in a cell of these tables."""
    n = len({r["seed"] for r in rows if r["seed"] is not None})
    if n < 2:
        return "One replicate: no errors across replicates."
    return (
        f"Median over {n} replicates ± its error: {MEDIAN} standard errors of their mean (of a median of "
        "normal numbers; of few replicates a rough guide), and the error over the test rows that they share."
    )


# ---- several fidelities --------------------------------------------------------------------------


def multifidelity(rows: Sequence[Row]) -> list[str]:
    """Methods that learned from a cheaper simulator against the plain one, at every budget of that."""
    low = variants_of(r for r in rows if r["budget_low"])
    plain = variants_of(select(rows, method=PLAIN, dataset="simulated"))
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
    beside = {v.budget: by_replicate(select(rows, **v.cells), column, "simulated") for v in plain}
    lines = []
    for variant in low:
        own = by_replicate(select(rows, **variant.cells), column, "simulated")
        if not own:
            continue
        gains = {budget: differences(own, other) for budget, other in beside.items()}
        enough = [b for b, d in gains.items() if d and median(d.values()) >= 0]
        cells = [both(d) for d in gains.values()]
        lines.append(
            [
                *leading_cells(variant, variant.method),
                *cells,
                count(min(enough, default=None)) or "none of these",
            ]
        )
    header = ["method", "pairs", "budget", *(f"{PLAIN} {count(b)}" for b in beside)]
    return table(*filled([*header, f"{PLAIN} not behind from"], lines))


# ---- figures -------------------------------------------------------------------------------------


def figures(folder: Path, rows: Sequence[Row], judged: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Returns the figures to show, those of all methods first.

    Where a kind has none of all methods, it is that of the most trusted one, of these that with the highest
    LPP; the look at the data is that of the plainest method, whose summaries no real data have changed.
    """
    dataset = comparison.labelled_dataset(rows)
    lpp = {
        v.key: median(each.values())
        for v in variants_of(rows)
        if (each := by_replicate(select(rows, **v.cells), QUALITY[0], dataset))
    }
    trusted: dict[str, int] = {}
    for one in judged:
        key = variants.of_cells(one).key
        trusted[key] = min(trusted.get(key, 0), -ORDER[one["verdict"]])
    plain = {v.key: -place for place, v in enumerate(variants_of(rows))}
    whole, single = [], []
    for kind in FIGURES:
        together = folder / "figures" / f"{kind}--all.svg"
        own = sorted((folder / "figures").glob(f"{kind}--*.svg"))
        if together.exists():
            whole.append(together)
        elif own:
            rank = [plain] if kind == "detection" else [trusted, lpp]
            single.append(max(own, key=lambda p: [_of(ranks, p) for ranks in rank]))
    return whole + single


def _of(ranks: Mapping[str, float], figure: Path) -> float:
    """The rank of the method that a figure shows."""
    return ranks.get(figure.name.split("--")[1], float("-inf"))
