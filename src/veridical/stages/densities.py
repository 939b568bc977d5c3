"""Stage infer, densities: the task's own ones at the draws of a method, for the checks that weigh them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical import tasks
from veridical.files import write_npz
from veridical.saved import posteriors
from veridical.tasks.base import Array, Prior

DRAWS = 200  # of each answer, behind a mean
EDGE = 0.01  # of the range between two bounds


def densities(
    spec: dict[str, Any],
    draws: str | Path,
    simulated: str | Path | None,
    out: str | Path,
    *,
    likelihood: bool,
) -> None:
    """Writes densities of the prior, and of the likelihood where asked for, at the draws of each observation.

    Writes `log_prior`, `log_likelihood` (S, N); `log_prior_mean` (N,), mean over 200 draws; `edge` (N,), the
    largest share of these draws within 1 % of a bound, of parameters with two bounds; and of the answers to
    test sets `log_prior_null`, `edge_null` (R,).

    Arguments:
        spec: The task, as plain data.
        draws: Draws for the observations.
        simulated: Draws of the same method on simulated test sets; None where there are none.
        out: Where the arrays go.
        likelihood: Whether to compute it.
    """
    task, found = tasks.build(spec), posteriors.load(draws)
    s, n, d = found.draws.shape
    arrays = {"log_prior": task.prior.log_prob(found.draws.reshape(s * n, d)).reshape(s, n)}
    if likelihood:
        assert found.x is not None
        each = [task.log_likelihood(found.draws[:, i], found.x[i]) for i in range(n)]
        arrays["log_likelihood"] = np.stack(each, axis=1)
    null = None if simulated is None else posteriors.load(simulated)
    few = min(DRAWS, s) if null is None else min(DRAWS, s, len(null.draws))
    for suffix, answers in {"": found, "_null": null}.items():
        if answers is not None:
            arrays[f"log_prior{suffix or '_mean'}"] = _mean_log_prior(task.prior, answers.draws[:few])
            arrays[f"edge{suffix}"] = _at_edge(answers.draws[:few], task.bounds)
    write_npz(out, arrays)
    print(f"densities at {s} draws for {n} observation(s)")


def _mean_log_prior(prior: Prior, draws: Array) -> Array:
    """Mean over draws (S, N, D) of their log prior densities, shape (N,)."""
    log_p = prior.log_prob(draws.reshape(-1, draws.shape[-1])).reshape(draws.shape[:2])
    return np.asarray(log_p.mean(axis=0))


def _at_edge(draws: Array, bounds: Array) -> Array:
    """Largest share, over parameters between two bounds, of draws (S, N, D) close to either; shape (N,)."""
    lower, upper = bounds[np.isfinite(bounds).all(axis=1)].T
    inside = draws[..., np.isfinite(bounds).all(axis=1)]
    margin = EDGE * (upper - lower)
    return np.asarray(
        ((inside < lower + margin) | (inside > upper - margin)).mean(axis=0).max(axis=-1, initial=0.0)
    )
