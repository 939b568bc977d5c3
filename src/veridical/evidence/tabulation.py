"""Rows of the table of metrics from what jobs saved."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.coordinates import LABELLED, Coordinates
from veridical.evidence.metrics import Row, row
from veridical.tasks.supports import Discrete, OneOf

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MIXTURE = "posterior_mixture_quantile"
MAX_VALUES = 20  # of a discrete parameter, whose probabilities are tabulated
MAX_OBSERVATIONS = 100  # posterior summaries are tabulated for the first so many observations of a data set


def check_rows(where: Coordinates, result: Mapping[str, Any], **common: Any) -> list[Row]:
    """Returns the rows of one saved check: one for each of its metrics, and two of its own.

    A check that ends in a p-value has it as `{check}_p` unless it tabulates it itself, and says in
    `{check}_decidable` (1 or 0) whether its null is large enough ever to reject.

    Arguments:
        where: What the check looked at.
        result: The check as saved: `metrics` is a list of name, value, stderr, n, parameter, level, extra.
        common: Cells that all rows share, such as study and task.
    """
    shared = {**common, **where.cells}
    rows = []
    for metric in result["metrics"]:
        cells = {key: metric.get(key) for key in ("value", "stderr", "n", "level")}
        cells |= {"metric": metric["name"], "parameter": metric.get("parameter") or None}
        rows.append(row(**shared, **cells, **(metric.get("extra") or {})))
    if result.get("p_value") is not None:
        decidable = float(result.get("passed") is not None)
        rows.append(row(**shared, metric=f"{result['check']}_decidable", value=decidable))
        if not any(r["metric"].endswith("_p") and r["parameter"] is None for r in rows):
            rows.append(row(**shared, metric=f"{result['check']}_p", value=result["p_value"]))
    return rows


def cost_rows(where: Coordinates, cost: Mapping[str, Any], **common: Any) -> list[Row]:
    """Returns `fit_seconds` of one training, what it objects, and `invalid_share` where it used rows."""
    cells = {**common, **where.cells, "dataset": None, "n": cost["n"]}
    rows = [row(**cells, metric="fit_seconds", value=float(cost["fit_seconds"]))]
    if said := cost.get("objections"):
        about = {"metric": "objections", "category": "; ".join(said), "dataset": "simulated"}
        rows.append(row(**{**cells, **about}, value=float(len(said))))
    if not cost["n"]:
        return rows
    share = 1.0 - cost["n_valid"] / cost["n"]
    error = math.sqrt(share * (1.0 - share) / cost["n"])
    rows.append(row(**{**cells, "dataset": "simulated"}, metric="invalid_share", value=share, stderr=error))
    return rows


def round_rows(where: Coordinates, rounds: Sequence[Sequence[Mapping[str, Any]]], **common: Any) -> list[Row]:
    """Returns how the last round for each observation went, as rows.

    Arguments:
        where: The method, its budget, replicate and data set.
        rounds: What its record says of each round, for each observation.
        common: Further cells.
    """
    names = {"leakage": "leakage", "region_mass": "mass", "round_shift": "shift", "round_spread": "spread"}
    found = []
    for i, chain in enumerate(rounds):
        last = chain[-1]
        cells = {**common, **where.cells, "observation": i, "n": last["kept"]}
        errors = {"region_mass": last["mass_error"]}
        found += [
            row(**cells, metric=metric, value=float(last[name]), stderr=errors.get(metric))
            for metric, name in names.items()
            if last[name] is not None
        ]
    return found


def standing_rows(
    where: Coordinates, numbers: Mapping[str, Sequence[float]], refused: Collection[Any], **common: Any
) -> list[Row]:
    """Returns what a correction says of its answers, and the share of the observations that it refused.

    Arguments:
        where: Whose answers they are.
        numbers: `k` and `share` of each observation, refused or not.
        refused: Those that it refused.
        common: Further cells.
    """
    n, cells = len(numbers["k"]), {**common, **where.cells}
    part = len(refused) / n
    error = math.sqrt(part * (1 - part) / n)
    rows = [row(**cells, metric="refused_share", value=part, stderr=error, n=n)]
    if where.dataset not in LABELLED:
        each = zip(numbers["k"][:MAX_OBSERVATIONS], numbers["share"], strict=False)
        for i, (k, share) in enumerate(each):
            rows.append(row(**cells, metric="correction_k", value=float(k), observation=i))
            rows.append(row(**cells, metric="correction_share", value=float(share), observation=i))
    return rows


def posterior_rows(
    where: Coordinates,
    names: Sequence[str],
    draws: np.ndarray,
    truth: np.ndarray | None = None,
    discrete: Mapping[str, Discrete] | None = None,
    numbers: Sequence[int] | None = None,
    **common: Any,
) -> list[Row]:
    """Returns mean, sd and quantiles of posterior draws as rows, and probabilities of discrete parameters.

    Arguments:
        where: Whose draws they are.
        names: Names of the D parameters.
        draws: Posterior draws, shape (S, N, D); only the first MAX_OBSERVATIONS observations are tabulated.
        truth: True parameters, shape (N, D), where they are known.
        discrete: The discrete parameters, by name.
        numbers: Numbers of the observations in their data set; 0, 1, ... where None.
        common: Cells that all rows share.
    """
    draws = draws[:, :MAX_OBSERVATIONS]
    n = draws.shape[0]
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    quantiles = np.quantile(draws, QUANTILES, axis=0)
    rows = []
    for i in range(draws.shape[1]):
        for j, name in enumerate(names):
            known = None if truth is None else float(truth[i, j])
            cells = {
                **common,
                **where.cells,
                "parameter": name,
                "observation": i if numbers is None else numbers[i],
                "n": n,
                "true_value": known,
            }
            error = float(sd[i, j]) / math.sqrt(n)
            rows.append(row(**cells, metric="posterior_mean", value=float(mean[i, j]), stderr=error))
            rows.append(row(**cells, metric="posterior_sd", value=float(sd[i, j])))
            rows += [
                row(**cells, metric="posterior_quantile", value=float(quantiles[k, i, j]), level=level)
                for k, level in enumerate(QUANTILES)
            ]
            if discrete and name in discrete:
                rows += _probabilities(draws[:, i, j], discrete[name], cells)
    return rows


def mixture_rows(
    where: Coordinates,
    names: Sequence[str],
    repeats: Sequence[np.ndarray],
    numbers: Sequence[int],
    **common: Any,
) -> list[Row]:
    """Returns quantiles of the mixture of replicates, each of the same weight: the answer of a method.

    Arguments:
        where: Whose draws they are; of any of the replicates.
        names: Names of the D parameters.
        repeats: Posterior draws of each replicate, shape (S, N, D).
        numbers: Numbers of the N observations in their data set.
        common: Cells that all rows share.
    """
    pooled = mixed(repeats)[:, :MAX_OBSERVATIONS]
    quantiles = np.quantile(pooled, QUANTILES, axis=0)
    shared = {**common, **where.cells, "seed": None, "metric": MIXTURE, "n": len(pooled)}
    return [
        row(**shared, parameter=name, observation=numbers[i], level=level, value=float(quantiles[k, i, j]))
        for i in range(pooled.shape[1])
        for j, name in enumerate(names)
        for k, level in enumerate(QUANTILES)
    ]


def mixed(repeats: Sequence[np.ndarray]) -> np.ndarray:
    """Returns draws of the mixture of replicates (S, ...), as many of each, spread evenly over its own."""
    size = min(map(len, repeats))
    return np.concatenate([own[np.linspace(0, len(own) - 1, size).round().astype(int)] for own in repeats])


def _probabilities(values: np.ndarray, of: Discrete, cells: Mapping[str, Any]) -> list[Row]:
    """The share of draws (S,) at each value, or at the most frequent ones where there are many."""
    shares = np.bincount(of.number(values), minlength=len(of.codes)) / len(values)
    listed = np.sort(np.argsort(-shares, kind="stable")[:MAX_VALUES])
    texts = of.labels if isinstance(of, OneOf) and isinstance(of.values[0], str) else None
    return [
        row(
            **cells,
            **({"category": texts[k]} if texts else {}),
            metric="posterior_probability",
            level=float(of.codes[k]),
            value=float(shares[k]),
            stderr=math.sqrt(shares[k] * (1 - shares[k]) / len(values)),
        )
        for k in listed
    ]
