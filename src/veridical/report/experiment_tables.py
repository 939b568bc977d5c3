"""What estimates were in repeated experiments, and what their errors are made of: tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

from veridical.evidence import numbers, variants
from veridical.evidence.metrics import Row, grouped, select

CHANCE = 3.0  # standard errors beyond which a number is wrong by more than chance
OFF, SPREAD = 0.3, (0.8, 1.25)  # in stated errors: what is right for any use
LEVELS = {"held": 0.6827, "held_90": 0.9}
LEAST = 0.005  # a share of the variance that is worth a word
SOURCES = {  # in words, by source of the error
    "sample": "the finite sample of events (the data)",
    "ratio": "the learned density ratios",
    "reference": "the finite simulated sample that densities are compared with",
    "penalty": "the finite simulated sample that fixes their norms",
}


class Measured(NamedTuple):
    """A mean over replicates with its standard error, and the experiments behind it."""

    value: float
    error: float
    n: int


def experiment_table(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Returns what estimates were in repeated experiments, a line for each method, true value or parameter.

    Numbers are means over replicates, empty where none were made, beside their standard errors. `wrong`
    names those that differ from what is right by more than chance and by more than is of no account.
    """
    lines, counts, trainings = [], [0], 1
    for bias in select(rows, metric="experiment_bias", seed=None):
        place = {key: bias.get(key) for key in ("true_value", "parameter", "dataset")}
        at = {**variants.of_cells(bias).cells, **place}
        table = [r for r in rows if all(r.get(key) == cell for key, cell in at.items())]
        own = [r for r in select(table, metric="experiment_bias") if r["seed"] is not None]
        trainings = max(trainings, len(own))
        counts += [r["n"] or 0 for r in own]
        lines.append(_line(bias, table))
    if not lines:
        return None
    alarms, means = (any(line[name] for line in lines) for name in ("alarms", "mean"))
    found = {"lines": lines, "alarms": alarms, "means": means}
    return {**found, "n": f"{max(counts):,}", "trainings": trainings}


def _line(bias: Row, table: Sequence[Row]) -> dict[str, Any]:
    """One method at one true value, or for one parameter whose true values are many."""
    sigma = _measured(table, metric="experiment_sigma", interval="total")
    data = _measured(table, metric="experiment_sigma", interval="statistical")
    truth, unit = bias.get("true_value"), sigma.value if sigma else 1.0
    scale = 1.0 if truth is None else unit  # with many true values, each experiment has a unit of its own
    names = ("pull_mean", "pull_sd") if truth is None else ("bias", "sd")
    off, spread, alarms = (_measured(table, metric=f"experiment_{name}") for name in (*names, "alarm_share"))
    off = off or Measured(bias["value"], 0.0, 0)
    held = {
        name: _measured(table, metric="experiment_coverage", interval="total", level=level)
        for name, level in LEVELS.items()
    }
    return {
        "method": variants.of_cells(bias).label,
        "truth": bias["parameter"] if truth is None else numbers.to_precision(truth, unit),
        "mean": "" if truth is None else numbers.to_precision(truth + off.value, unit),
        "off": _with_error(off.value / scale, off.error / scale),
        "sigma": numbers.to_precision(sigma.value, sigma.value) if sigma else "",
        "spread": _with_error(spread.value / scale, spread.error / scale) if spread else "",
        "data": numbers.percent((data.value / sigma.value) ** 2) if sigma and data and sigma.value else "",
        "alarms": numbers.percent(alarms.value) if alarms else "",
        **{name: _share(share) for name, share in held.items()},
        "wrong": _wrong(off, spread, held, scale),
    }


def _measured(rows: Sequence[Row], **cells: Any) -> Measured | None:
    """A number over replicates, whose error is their own or that of their spread, whichever is more."""
    found = select(rows, **cells)
    own = [r for r in found if r["seed"] is not None] or found
    if not own:
        return None
    values = [r["value"] for r in own]
    mean = sum(values) / len(values)
    inside = sqrt(sum((r["stderr"] or 0.0) ** 2 for r in own)) / len(own)
    across = 0.0
    if len(own) > 1:
        across = sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    return Measured(mean, max(inside, across), sum(r["n"] or 0 for r in own))


def _wrong(
    off: Measured, spread: Measured | None, held: Mapping[str, Measured | None], unit: float
) -> list[str]:
    """The cells of a line that are wrong by more than chance."""
    found = []
    if abs(off.value) > max(OFF * unit, CHANCE * off.error):
        found.append("off")
    if spread is not None:
        low, high = (edge * unit for edge in SPREAD)
        far = max(spread.value - high, low - spread.value)
        found += ["spread"] if far > 0 and abs(spread.value - unit) > CHANCE * spread.error else []
    for name, level in LEVELS.items():
        share = held[name]
        if share is not None:
            chance = sqrt(level * (1 - level) / max(share.n, 1))
            found += [name] if level - share.value > CHANCE * max(chance, share.error) else []
    return found


def _with_error(value: float, error: float) -> str:
    if not error > 0:
        return numbers.rounded(value, 2)
    digits = 1 if error >= 0.1 else 2
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return f"{rounded:.{digits}f} ± {error:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _share(share: Measured | None) -> str:
    if share is None:
        return ""
    if not share.error > 0:
        return numbers.percent(share.value)
    return f"{100 * share.value:.0f} ± {max(100 * share.error, 1):.0f} %"


def variance_words(own: Sequence[Row]) -> str:
    """Returns in a sentence what the stated variance of the estimates of one method is made of; or nothing.

    Shares are those of the first replicate, means over observations; of each they add up to 1.
    """
    found = [r for r in select(own, metric="estimate_variance_share") if r["seed"] is not None]
    if not found or select(own, metric="estimate_prior"):
        return ""
    first = min(r["seed"] for r in found)
    by_source = grouped([r for r in found if r["seed"] == first], lambda r: str(r["category"]))
    parts = []
    for source, rows in sorted(by_source.items(), key=lambda item: _place(item[0])):
        values = [r["value"] for r in rows]
        if max(values) >= LEAST:
            low, high = numbers.percent(min(values)), numbers.percent(max(values))
            share = low if low == high else f"{low.removesuffix(' %')} to {high}"
            parts.append(f"{share} come from {SOURCES.get(source, source)}")
    text = f"Of the variance (the squared standard error), {_listed(parts)}."
    if not any(max(r["value"] for r in rows) >= LEAST for s, rows in by_source.items() if s != "sample"):
        return f"{text} No error of what was learned is stated: more events would seem to make it vanish."
    return f"{text} More data shrink the first part alone; the others need more simulated events."


def simulator_words(rows: Sequence[Row]) -> list[str]:
    """Returns how far answers of other simulators lie apart, a sentence for each set of methods and truth.

    What scatters are the mean estimates over experiments, less what their finite number adds; the sd over
    draws of simulators, in mean stated errors, is that of simulators and networks together.
    """
    texts = []
    families = grouped(select(rows, metric="scanned_simulators", seed=None), lambda r: str(r["category"]))
    for family in families.values():
        names = [variants.of_cells(r).label for r in family]
        found: dict[float, list[tuple[Measured, Measured]]] = {}
        for r in family:
            own = select(rows, **variants.of_cells(r).cells)
            for truth in sorted({b["true_value"] for b in select(own, metric="experiment_bias")}):
                bias = _measured(own, metric="experiment_bias", true_value=truth)
                sigma = _measured(own, metric="experiment_sigma", interval="total", true_value=truth)
                if bias and sigma:
                    found.setdefault(truth, []).append((bias, sigma))
        scatter = [
            f"{numbers.rounded(_scatter(pairs), 2)} at {numbers.rounded(truth, 2)}"
            for truth, pairs in sorted(found.items())
            if len(pairs) > 1
        ]
        if scatter:
            texts.append(
                f"{_listed(names)} learned from other simulators and are alike in all else: their mean "
                f"estimates scatter by {_listed(scatter)}, in stated errors. No stated error holds this "
                "part, which is that of the simulators and of their networks."
            )
    return texts


def _scatter(pairs: Sequence[tuple[Measured, Measured]]) -> float:
    """Standard deviation of biases over draws of simulators beyond chance, in mean stated errors."""
    biases = [bias.value for bias, _ in pairs]
    mean = sum(biases) / len(biases)
    variance = sum((b - mean) ** 2 for b in biases) / (len(biases) - 1)
    chance = sum(bias.error**2 for bias, _ in pairs) / len(pairs)
    return sqrt(max(variance - chance, 0.0)) * len(pairs) / sum(sigma.value for _, sigma in pairs)


def _place(source: str) -> int:
    return list(SOURCES).index(source) if source in SOURCES else len(SOURCES)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
