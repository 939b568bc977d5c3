"""Stage train in rounds for one observation: propose where to simulate, learn from it, join observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, bank, methods, seeds, tasks
from veridical.bank.filling import ShardRows
from veridical.bank.shards import digest
from veridical.coordinates import Run
from veridical.errors import BankError, DataError, if_bad
from veridical.files import read_json, read_npz, write_npz
from veridical.inference.truncation import TruncatedPrior
from veridical.networks.transforms import ParameterTransform
from veridical.saved import observations
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, listed, train
from veridical.tasks.base import Array, usable

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


def propose(
    spec: Mapping[str, Any],
    folder: str | Path,
    out: str | Path,
    place: Place,
    run: Run,
    *,
    rows: int,
    root: int,
    threads: int = 1,
) -> None:
    """Writes the parameters `theta` (N, D) that a round simulates at, and their `acceptance`.

    Arguments:
        spec: The task, as plain data.
        folder: The rounds before this one.
        out: Where the arrays go.
        place: The round.
        run: The method and its replicate, for seeds.
        rows: N.
        root: Root seed.
        threads: CPU threads.

    Raises:
        ConvergenceError: If the answer lies outside the regions of earlier rounds.
    """
    from veridical.training.devices import cpu_threads

    before: Any = artifacts.load_estimator(folder)
    task = tasks.build(dict(spec))
    rng = seeds.generator(root, "propose", run.method, run.replicate, place.observation, place.round)
    transform = ParameterTransform.plain(task.bounds, before.task.support)
    rounds = before.chains[0]
    with cpu_threads(threads):
        draws = before.sample(rounds[-1].x[None], max(DRAWS, rows), rng)[:, 0]
        found = TruncatedPrior(task.prior, transform, [r.region for r in rounds]).sample(rows, draws, rng)
    write_npz(out, {"theta": found.theta, "acceptance": np.asarray(found.acceptance)})
    how = "Markov chains" if found.chains else "rejection from the prior"
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
            `shards`; `parent`, the record of the round before.
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
    acceptance = 1.0
    for proposal, (shards, n) in zip(proposals, further, strict=True):
        acceptance = _acceptance(proposal, bank.load(shards, n, names=["theta"])["theta"])
    parent = Path(inputs["parent"]).parent if "parent" in inputs else None
    sources = Sources(
        (listed(inputs["bank"]), rows[0]),
        parent=parent,
        fidelity=fidelity,
        max_invalid=max_invalid,
        further=further,
        observation=x,
        acceptance=acceptance,
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


def _acceptance(proposal: str | Path, theta: Array) -> float:
    """The acceptance of a proposal, whose parameters must be those that were simulated."""
    proposed = read_npz(proposal, "the proposal of a round")
    if not np.array_equal(theta, proposed["theta"]):
        raise BankError(f"{proposal}: the simulations beside it are at other parameters. {if_bad(proposal)}.")
    return float(proposed["acceptance"])


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
