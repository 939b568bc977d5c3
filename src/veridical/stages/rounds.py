"""Stage train in rounds for one observation: propose where to simulate, learn from it, join observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.bank.filling import ShardRows
from veridical.bank.shards import digest
from veridical.coordinates import Run
from veridical.errors import BankError, DataError, if_bad
from veridical.files import read_json, read_npz, write_npz
from veridical.inference.acquisition import CANDIDATES, acquired
from veridical.inference.truncation import TruncatedPrior
from veridical.networks.transforms import ParameterTransform
from veridical.saved import observations
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, listed, train
from veridical.tasks.base import Array, Task, usable

DRAWS = 20_000  # of the newest answer, from which chains start


@dataclass(frozen=True)
class Place:
    """Which round of which observation of a data set.

    Attributes:
        dataset: The data set.
        observation: The number of the observation in it.
        round: The round, counted from 1.
    """

    dataset: str
    observation: int
    round: int

    @property
    def split(self) -> str:
        """What names its simulations in seeds and manifests."""
        return f"{self.dataset}-{self.observation}-{self.round}"


class Proposal(NamedTuple):
    """Where a round simulates.

    Attributes:
        theta: Parameters, shape (N, D).
        acceptance: Of the proposals that they, or the candidates for them, come from.
        chains: Whether they come by Markov chains.
        weight: What each counts in a loss, shape (N,); None where they follow the truncated prior.
    """

    theta: Array
    acceptance: float
    chains: bool
    weight: Array | None = None


def proposed(
    before: Any, task: Task, rows: int, rng: np.random.Generator, share: float = 0.0, starts: int = DRAWS
) -> Proposal:
    """Returns where the round after some others simulates.

    Arguments:
        before: The rounds so far, for one observation, of type `tsnpe`.
        task: The task.
        rows: N.
        rng: Decides all.
        share: Part of the rows that goes by the disagreement of members.
        starts: Draws of the newest answer from which chains start, at least.

    Raises:
        ConvergenceError: If the answer lies outside the regions of earlier rounds.
    """
    chain, n = before.chains[0], rows * CANDIDATES if share else rows
    transform = ParameterTransform.plain(task.bounds, before.task.support)
    draws = before.sample(chain[-1].x[None], max(starts, rows), rng)[:, 0]
    found = TruncatedPrior(task.prior, transform, [r.region for r in chain]).sample(n, draws, rng)
    if not share:
        return Proposal(*found)
    theta, weight = acquired(found.theta, chain[-1].disagreement(found.theta), rows, share, rng)
    return Proposal(theta, found.acceptance, found.chains, weight)


def propose(
    spec: Mapping[str, Any],
    folder: str | Path,
    out: str | Path,
    place: Place,
    run: Run,
    *,
    rows: int,
    root: int,
    share: float = 0.0,
    threads: int = 1,
) -> None:
    """Writes the parameters `theta` (N, D) that a round simulates at, and their `acceptance`.

    Where some go by disagreement, the `weight` of each (N,) stands beside them.

    Arguments:
        spec: The task, as plain data.
        folder: The rounds before this one.
        out: Where the arrays go.
        place: The round.
        run: The method and its replicate, for seeds.
        rows: N.
        root: Root seed.
        share: Part of the rows that goes by the disagreement of members.
        threads: CPU threads.

    Raises:
        ConvergenceError: If the answer lies outside the regions of earlier rounds.
    """
    from veridical.training.devices import cpu_threads

    before: Any = artifacts.load_estimator(folder)
    task = tasks.build(dict(spec))
    rng = seeds.generator(root, "propose", run.method, run.replicate, place.observation, place.round)
    with cpu_threads(threads):
        found = proposed(before, task, rows, rng, share)
    weights = {} if found.weight is None else {"weight": found.weight}
    write_npz(out, {"theta": found.theta, "acceptance": np.asarray(found.acceptance), **weights})
    how = "Markov chains" if found.chains else "rejection from the prior"
    how += "" if found.weight is None else f", weights {found.weight.min():.2f} to {found.weight.max():.2f}"
    print(f"{place.split}: {rows} rows by {how}, acceptance {found.acceptance:.3f}")


def simulate_proposed(
    spec: Mapping[str, Any],
    proposal: str | Path,
    path: str | Path,
    place: Place,
    rows: Mapping[str, Any],
    **limits: Any,
) -> None:
    """Simulates a part of a round's proposal and writes it as one shard.

    Arguments:
        spec: The task, as plain data.
        proposal: The file of all parameters of the round.
        path: The shard's file.
        place: The round.
        rows: Which rows: `root`, `fidelity`, `replicate`, `first` and `last` of `ShardRows`.
        limits: As `simulate_shard` takes them.
    """
    theta = read_npz(proposal, "the proposal of a round")["theta"][rows["first"] : rows["last"] + 1]
    simulate_shard(spec, path, ShardRows(split=place.split, given=theta, **rows), **limits)


def train_round(
    spec: Mapping[str, Any],
    method_spec: Mapping[str, Any],
    inputs: Mapping[str, Any],
    out: str | Path,
    place: Place,
    run: Run,
    *,
    fidelity: str,
    max_invalid: float,
    **options: Any,
) -> None:
    """Fits one round to the rows of all rounds so far that lie where it is to answer; see `train`.

    Arguments:
        spec: The task, as plain data.
        method_spec: Settings of the method with so many rounds for one observation, as plain data.
        inputs: `data`, the data set; `bank`, the shards of the first round; of later ones `proposals` and
            `shards`; `parent`, the record of the round before; `start`, that of what all rounds begin with.
        out: The folder of the round.
        place: The round.
        run: The method, its budget in the bank, its replicate.
        fidelity: The level of its simulations.
        max_invalid: Largest share of failed simulations.
        options: As `train` takes them.
    """
    task = tasks.build(dict(spec))
    x = observation(inputs["data"], place, task.has_missing)
    proposals, rows = listed(inputs.get("proposals", [])), method_spec["rows"]
    further = [
        ([s for s in listed(inputs["shards"]) if Path(s).parent == Path(proposal).parent], n)
        for proposal, n in zip(proposals, rows[1:], strict=True)
    ]
    found = [
        _proposal(proposal, bank.load(shards, n, names=["theta"])["theta"])
        for proposal, (shards, n) in zip(proposals, further, strict=True)
    ]
    parent, start = (Path(inputs[role]).parent if role in inputs else None for role in ("parent", "start"))
    sources = Sources(
        (listed(inputs["bank"]), rows[0]),
        parent=parent,
        fidelity=fidelity,
        max_invalid=max_invalid,
        further=further,
        weights=[one["weight"] for one in found if "weight" in one],
        start=start,
        observation=x,
        acceptance=float(found[-1]["acceptance"]) if found else 1.0,
    )
    about = {**vars(place), "x": digest([x])}
    train(spec, method_spec, sources, out, run, place=about, **options)


def observation(path: str | Path, place: Place, has_missing: bool) -> Array:
    """Returns the observation of a round (*x_shape).

    Raises:
        DataError: If the data set has no such observation, or it is no data.
    """
    x = observations.load(path).x
    if place.observation >= len(x) or not usable(x[[place.observation]], has_missing).all():
        raise DataError(
            f"data set {place.dataset}: expected finite numbers in observation number {place.observation} of "
            f"{len(x)}, for which there are rounds, got none; see `observations` in the method's settings."
        )
    return x[place.observation]


def _proposal(proposal: str | Path, theta: Array) -> Mapping[str, Array]:
    """A proposal, whose parameters must be those that were simulated."""
    found = read_npz(proposal, "the proposal of a round")
    if not np.array_equal(theta, found["theta"]):
        raise BankError(f"{proposal}: the simulations beside it are at other parameters. {if_bad(proposal)}.")
    return found


def gather(
    method_spec: Mapping[str, Any],
    folders: Sequence[str | Path],
    rounds: Sequence[str | Path],
    out: str | Path,
    run: Run,
    *,
    root: int,
    code: str = "",
) -> None:
    """Joins the last rounds for all observations to one method and writes it, with the costs of all rounds.

    Arguments:
        method_spec: Settings of the method, as plain data.
        folders: The last round for each observation.
        rounds: `cost.json` of all rounds.
        out: The folder of the method.
        run: The method, its budget and replicate.
        root: Root seed.
        code: Digest of the code that trains.
    """
    parts: list[Any] = [artifacts.load_estimator(folder) for folder in folders]
    whole = type(parts[0]).gathered(methods.typed("tsnpe", method_spec), parts)
    records = [artifacts.load_record(folder) for folder in folders]
    found = [read_json(path, "the cost of a round") for path in rounds]
    spent = {name: sum(one[name] for one in found) for name in ("fit_seconds", "cpu_seconds", "steps")}
    learned = [read_json(Path(folder) / artifacts.COST, "the cost of a round") for folder in folders]
    n, valid = (sum(one[name] for one in learned) for name in ("n", "n_valid"))
    about = {
        "method": run.method,
        "budget": run.budget,
        "calibration": None,
        "replicate": run.replicate,
        "seed": root,
        "digests": {"rounds": [record["record_sha256"] for record in records], "code": code},
    }
    cost = {**spent, "n": n, "n_valid": valid, "invalid_share": 1 - valid / n}
    past = read_json(Path(folders[0]) / artifacts.HISTORY, "the history of a round")
    artifacts.save_estimator(whole, out, record=about, cost=cost, past=past)
    print(f"{run.method}: {len(parts)} observation(s), {len(found)} rounds in {spent['fit_seconds']:.1f} s")
