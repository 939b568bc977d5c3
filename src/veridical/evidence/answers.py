"""The answers of a study, from its table of metrics: quantiles of each parameter, by method and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from veridical.evidence import variants
from veridical.evidence.metrics import Row, grouped, select
from veridical.evidence.tabulation import MIXTURE, QUANTILES
from veridical.evidence.variants import PRIOR, REFERENCE, Variant

_NORMAL = dict(zip(QUANTILES, (-1.6448536, -0.6744898, 0.0, 0.6744898, 1.6448536), strict=True))
Quantiles = Mapping[str, Mapping[float, float]]  # by parameter and level


@dataclass(frozen=True)
class Answer:
    """What a method says of one observation.

    Attributes:
        variant: The method.
        dataset: The data set.
        observation: The place of the observation in it, from 0.
        quantiles: Of the mixture of its replicates, by parameter and level.
        repeats: Those of each replicate.
        truth: True values by parameter, where they are known.
    """

    variant: Variant
    dataset: str
    observation: int
    quantiles: Quantiles
    repeats: Mapping[int, Quantiles]
    truth: Mapping[str, float]


def of_study(rows: Sequence[Row]) -> list[Answer]:
    """Returns the answers of each method at its largest budget and calibration set, and of the reference.

    Answers to observed data where there are some, or else to the first labelled one. Of an estimate
    with a standard error the quantiles are those of a normal distribution.
    """
    metrics = ("posterior_quantile", MIXTURE, "estimate")
    own = [row for name in metrics for row in select(rows, metric=name) if row["method"] != PRIOR]
    own = [row for row in own if row["metric"] == MIXTURE or row["seed"] is not None or _exact(row)]
    observed = [row for row in own if row["dataset"] == "observed"]
    observed = observed or [row for row in own if not row["observation"]]
    leading = variants.leading({variants.of_cells(row) for row in own if not _exact(row)})
    found = []
    for of, group in grouped(observed, _place).items():
        if of[0] in leading or of[0].method == REFERENCE:
            found.append(_answer(of, group))
    order = {variant: place for place, variant in enumerate(leading)}
    return sorted(found, key=lambda a: (a.dataset, a.observation, order.get(a.variant, len(order))))


def _exact(row: Row) -> bool:
    return bool(row["method"] == REFERENCE)


def _place(row: Row) -> tuple[Variant, str, int]:
    return variants.of_cells(row), row["dataset_name"] or row["dataset"], row["observation"] or 0


def _answer(of: tuple[Variant, str, int], rows: Sequence[Row]) -> Answer:
    mixture = [row for row in rows if row["metric"] == MIXTURE]
    by_seed = grouped((row for row in rows if row["metric"] != MIXTURE), itemgetter("seed"))
    repeats = {seed: _quantiles(own) for seed, own in sorted(by_seed.items(), key=lambda item: item[0] or 0)}
    first = next(iter(repeats.values()), {})
    truth = {row["parameter"]: row["true_value"] for row in rows if row["true_value"] is not None}
    return Answer(*of, _quantiles(mixture) or first, {} if _exact(rows[0]) else repeats, truth)


def _quantiles(rows: Sequence[Row]) -> dict[str, dict[float, float]]:
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        own = found.setdefault(row["parameter"], {})
        if row["metric"] == "estimate":
            own.update({level: row["value"] + z * (row["stderr"] or 0.0) for level, z in _NORMAL.items()})
        else:
            own[row["level"]] = row["value"]
    return found
