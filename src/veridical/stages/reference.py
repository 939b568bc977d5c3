"""Stage infer, reference: the exact posterior by Markov chains, for tasks with a likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical import tasks
from veridical.files import read_npz, write_npz
from veridical.inference import chains as reference
from veridical.saved import observations, posteriors
from veridical.saved.posteriors import Draws


def sample(
    spec: dict[str, Any],
    data: str | Path,
    settings: Mapping[str, Any],
    out: str | Path,
    *,
    ensemble: int,
    root: int,
) -> None:
    """Runs one independent ensemble on each observation of a data set and writes its chains.

    Writes `draws` (N, T, W, D), `log_posterior` (N, T, W) and `acceptance` (N,).
    """
    task = tasks.build(spec)
    observed = observations.load(data)
    chains = [
        reference.sample_ensemble(
            task, x, ensemble, settings, root, dataset=observed.name, observation=number
        )
        for number, x in enumerate(observed.x)
    ]
    arrays: dict[str, Any] = {name: np.stack([chain[name] for chain in chains]) for name in chains[0]}
    write_npz(out, arrays)
    print(
        f"{observed.name}: ensemble {ensemble}, share of accepted moves", *(c["acceptance"] for c in chains)
    )


def combine(
    spec: dict[str, Any],
    data: str | Path,
    files: Sequence[str | Path],
    settings: Mapping[str, Any],
    out: str | Path,
) -> None:
    """Joins the ensembles of a data set to reference draws, with R-hat and ESS per parameter.

    A reference that has not converged is kept with its figures: the verdict then refuses to rest on it.
    """
    task = tasks.build(spec)
    observed = observations.load(data)
    ensembles = [read_npz(path, "the chains of a reference") for path in files]
    names = task.parameter_names
    found = [
        reference.combine([{k: v[i] for k, v in chain.items()} for chain in ensembles], settings["draws"])
        for i in range(len(observed.x))
    ]
    rhat = np.max([one.rhat for one in found], axis=0)
    ess = np.min([one.ess for one in found], axis=0)
    converged = all(one.converged(settings["max_rhat"], settings["min_ess"]) for one in found)
    draws = Draws(
        names=names,
        bounds=task.bounds,
        units=tuple(p.unit for p in task.parameters),
        draws=np.stack([one.draws for one in found], axis=1),
        x=observed.x,
        constraints=task.constraints,
        attrs={
            "task": str(task.name),
            "method": "reference",
            "dataset": observed.name,
            "kind": observed.kind,
            "source": observed.source,
            "rhat": dict(zip(names, rhat.tolist(), strict=True)),
            "ess": dict(zip(names, ess.tolist(), strict=True)),
            "converged": converged,
        },
    )
    posteriors.save(out, draws)
    print(f"R-hat up to {rhat.max():.4f}, ESS at least {ess.min():.0f}, converged: {converged}")
