"""The section on estimates of the page of a study: coverage and bias by true value and kind of interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from replicates import average, variants_of
from table_text import filled, number, table

from veridical.evidence.metrics import Row, select

INTERVALS = ("total", "statistical", "likelihood_ratio")
SHARES = (0.6827, 0.9545)


def estimates(rows: Sequence[Row]) -> list[str]:
    """Coverage and bias of estimates over pseudo-experiments, by true value and kind of interval."""
    gaps = select(rows, metric="coverage_gap_z")
    if not gaps:
        return []
    if len({r["true_value"] for r in gaps} - {None}) == 1:
        return _at_one_truth(rows, gaps)
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


def _at_one_truth(rows: Sequence[Row], gaps: Sequence[Row]) -> list[str]:
    """All numbers of a study of one true value in one table, a line for each method."""
    (truth,) = {r["true_value"] for r in gaps} - {None}
    counts = {r["n"] for r in gaps if r["seed"] is not None and r["n"]}
    words = (
        f"The true fraction is {number(truth)}, in {' or '.join(f'{n:,}' for n in sorted(counts))} "
        "pseudo-experiments of each training. Intervals of three kinds: with all of the stated error, with "
        "that of the data alone, and by the likelihood ratio. Errors are those of the pseudo-experiments, or "
        "standard errors across trainings where there are several."
    )
    columns = [
        *(
            (heading, {"metric": f"experiment_{name}", "interval": kind})
            for heading, name, kind in (
                ("bias", "bias", None),
                ("spread", "sd", None),
                ("stated error", "sigma", "total"),
                ("of it data", "sigma", "statistical"),
                ("alarms", "alarm_share", None),
            )
        ),
        *(
            (f"{share:.0%} {kind.replace('_', ' ')}", {"metric": "experiment_coverage", **at})
            for share in SHARES
            for kind in INTERVALS
            for at in [{"level": share, "interval": kind}]
        ),
    ]
    lines = []
    for variant in variants_of(gaps):
        own = select(rows, **variant.cells, true_value=truth)
        lines.append([variant.label, *(_with_error(select(own, **cells)) for _, cells in columns)])
    return ["## Coverage of estimates", words, table(*filled(["method", *(h for h, _ in columns)], lines))]


def _with_error(rows: Sequence[Row]) -> str:
    """The mean over trainings with its error, or that of the pseudo-experiments of a single one."""
    each = {r["seed"]: r for r in rows if r["seed"] is not None}
    if len(each) == 1:
        (row,) = each.values()
        return number(row["value"]) + (f" ± {number(row['stderr'], 2)}" if row["stderr"] else "")
    return average({seed: row["value"] for seed, row in each.items()}) if each else ""


def _by_truth(rows: Sequence[Row], largest: bool = False) -> str:
    """One line for each method and kind of interval, one column for each true value."""
    truths: list[float | None] = sorted({r["true_value"] for r in rows if r["true_value"] is not None})
    kinds = [k for k in INTERVALS if any(r.get("interval") == k for r in rows)] or [None]
    named = len(kinds) > 1
    lines = []
    for variant in variants_of(rows):
        for kind in kinds:
            own = [r for r in select(rows, **variant.cells) if r.get("interval") == kind]
            by_truth = [
                {r["seed"]: r["value"] for r in select(own, true_value=at) if r["seed"] is not None}
                for at in (*truths, None)
            ]
            if not by_truth[-1]:
                by_truth[-1] = _over(by_truth[:-1])
            cells = [average(each) + (_largest(each) if largest else "") for each in by_truth]
            lines.append([variant.label, kind if named and kind else "", *cells])
    return table(*filled(["method", "interval", *map(number, truths), "mean"], lines))


def _over(found: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean over true values of each training that has them all."""
    seeds = set.intersection(*(set(each) for each in found)) if found else set()
    return {seed: fmean(each[seed] for each in found) for seed in sorted(seeds)}


def _largest(each: Mapping[int, float]) -> str:
    return f" ({number(max(each.values()))})" if len(each) > 1 else ""
