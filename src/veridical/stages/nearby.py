"""Stage infer, near the observation: data simulated around one answer, and the method's answers to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical import artifacts, bank, seeds, tasks
from veridical.bank import blocks
from veridical.checks.nearby import ENOUGH, Neighbours
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator
from veridical.files import write_npz
from veridical.inference.proposals import NoProposal, Proposal
from veridical.saved import posteriors
from veridical.stages.infer import PART_NUMBERS
from veridical.tasks.base import Array, Prior

WIDENINGS = (1.0, 1.5, 2.0, 3.0)
MOST, LEAST = 400, 100  # simulations around one observation
PILOT = 20  # one in so many of them chooses a widening, again for each that is tried


def nearby(
    spec: dict[str, Any],
    folder: str | Path,
    answer: str | Path,
    out: str | Path,
    *,
    fidelity: str,
    simulations: int,
    draws: int,
    root: int,
    replicate: int,
    threads: int = 1,
) -> None:
    """Simulates at parameters around each answer, asks the method about these data, and writes both.

    A few simulations beforehand choose the smallest widening at which the reweighted draws count enough; the
    rows that are written know nothing of them. Writes, for M rows of up to `simulations` / 100 observations,
    `observation` (M,), `pool` (S + 1, M, D), the parameters simulated at and S draws given these data,
    `log_weight` (S + 1, M), and `widening`, `failed` per observation.

    Arguments:
        spec: The task, as plain data.
        folder: The folder of the method.
        answer: Its draws for the observations.
        out: Where the arrays go.
        fidelity: The level that is simulated.
        simulations: Most simulations in all, beside those that choose.
        draws: S.
        root: Root seed.
        replicate: The method's replicate, for seeds.
        threads: CPU threads.

    Raises:
        TrainingError: If the method answers whole data sets alone.
    """
    from veridical.training.devices import cpu_threads

    task, method = tasks.build(spec), artifacts.load_estimator(folder)
    if type(method).given is not Estimator.given:
        raise TrainingError(
            f"method {folder}: its answer to one data set depends on others, so that it cannot be asked "
            "about simulated ones; say `transductive: true` in its settings."
        )
    found = posteriors.load(answer)
    path = (artifacts.load_record(folder)["method"], replicate, str(found.attrs["dataset"]))
    looked_at = min(found.draws.shape[1], max(1, simulations // LEAST))
    rows = min(MOST, simulations // looked_at)
    assert found.x is not None
    with cpu_threads(threads):
        parts = []
        for i in range(looked_at):
            near, prior = method.around(found.x[i], task.prior)
            asked = Neighbourhood(task, near, fidelity, draws, root, prior)
            parts.append(asked.around(found.draws[:, i], found.bounds, rows, *path, i))
    arrays = {name: np.concatenate([part[name] for part in parts], axis=1) for name in ("pool", "log_weight")}
    valid = [part["pool"].shape[1] for part in parts]
    arrays["observation"] = np.repeat(np.arange(looked_at), valid)
    arrays["failed"] = rows - np.array(valid)
    arrays["widening"] = np.array([part["widening"] for part in parts])
    write_npz(out, arrays)
    widest = float(arrays["widening"].max())
    print(f"{looked_at} observation(s), {rows} simulations around each, widened by up to {widest:g}")


@dataclass(frozen=True)
class Neighbourhood:
    """What simulates around an answer and asks the method about what comes of it.

    Attributes:
        task: The task.
        method: The method; only its `sample` is asked.
        fidelity: The level that is simulated.
        draws: Posterior draws for each simulation, S.
        root: Root seed.
        prior: The prior that its answers rest on there; the task's where None.
    """

    task: tasks.Task
    method: Estimator
    fidelity: str
    draws: int
    root: int
    prior: Prior | None = None

    def around(self, answer: Array, bounds: Array, rows: int, *path: str | int) -> dict[str, Array]:
        """Returns `pool` (S + 1, M, D) and `log_weight` (S + 1, M) of rows that succeed, and `widening`.

        There are no rows where nothing can be simulated around the answer; the log says why.

        Arguments:
            answer: Draws (S, D) of the answer to one observation.
            bounds: Of the parameters, shape (D, 2).
            rows: Simulations.
            path: What names their seeds.
        """
        try:
            prior = self.task.prior if self.prior is None else self.prior
            for widening in WIDENINGS:
                rng = seeds.generator(self.root, "nearby", *path, "proposal", round(100 * widening))
                proposal = Proposal.around(answer, bounds, prior, widening, rng)
                pilot = self._answered(proposal, max(1, rows // PILOT), rng, *path, "pilot")
                if pilot["pool"].shape[1] and np.median(Neighbours(**pilot).effective) >= ENOUGH:
                    break
            made = self._answered(proposal, rows, rng, *path, "rows")
        except NoProposal as error:
            print(error)
            none = (self.draws + 1, 0)
            made = {"pool": np.empty((*none, len(bounds))), "log_weight": np.empty(none)}
        return {**made, "widening": np.asarray(widening)}

    def _answered(
        self, proposal: Proposal, n: int, rng: np.random.Generator, *path: str | int
    ) -> dict[str, Array]:
        """Simulates n rows and asks the method about those that do not fail and that it does not refuse."""
        theta = proposal.sample(n, rng)
        block = blocks.simulate_at(self.task, theta, self.fidelity, self.root, "nearby", *path)
        valid = bank.valid(block.arrays)
        x, theta = block.arrays["x"][valid], theta[valid]
        answered = self.method.standing(x).answered(len(x))
        x, theta = x[answered], theta[answered]
        size = max(1, PART_NUMBERS // (self.draws * theta.shape[1]))
        parts = [
            self.method.sample(x[first : first + size], self.draws, rng) for first in range(0, len(x), size)
        ]
        drawn = np.concatenate(parts, axis=1) if parts else np.empty((self.draws, *theta.shape))
        pool = np.concatenate([theta[None], drawn])
        return {"pool": pool, "log_weight": proposal.log_weights(pool)}
