"""Rounds of `tsnpe` for one observation, in one process: what benchmarks on rounds have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from veridical import bank, seeds, tasks
from veridical.bank.blocks import simulate_at
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.estimators.tsnpe import TSNPE
from veridical.estimators.tsnpe_settings import TSNPESettings
from veridical.stages.rounds import proposed
from veridical.training.session import Session


def rounds(
    task: tasks.Task,
    chosen: TSNPESettings,
    x: np.ndarray,
    root: int,
    path: tuple[str | int, ...],
    starts: int,
    start: Estimator | None = None,
    uncorrected: bool = False,
) -> Iterator[tuple[TSNPE, dict[str, float]]]:
    """After each round what has been learned, and the CPU seconds that it took to propose and to fit.

    Arguments:
        task: The simulator, with its prior.
        chosen: Rounds, their rows, and the posterior to learn.
        x: One observation (*x_shape).
        root: Root seed.
        path: What names the seeds of this chain of rounds.
        starts: Draws of the posterior from which the walkers in its region begin.
        start: The method with whose weights each round begins.
        uncorrected: Whether acquired rows count as if they followed the prior: a negative control.
    """
    info = TaskInfo.of(task)
    method: Any = None
    parts: list[Rows] = []
    for k, n in enumerate(chosen.round_rows, 1):
        begun = time.process_time()
        rng = seeds.generator(root, "propose", *path, k)
        if method is None:
            theta, acceptance, weight = task.prior.sample(rng, n), 1.0, None
        else:
            theta, acceptance, _, weight = proposed(method, task, n, rng, chosen.acquired_share, starts)
        found = time.process_time()
        block = simulate_at(task, theta, [*task.fidelities][-1], root, "nearby", *path, k).arrays
        good = bank.valid(block)
        even = np.ones(n) if weight is None or uncorrected else weight
        parts.append(Rows(theta[good], block["x"][good], bank.validation_mask(n)[good], weight=even[good]))
        fields = ["theta", "x", "validation", *(["weight"] if chosen.acquisition else [])]
        pool = Rows(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in fields})
        simulated = time.process_time()
        material = Material(
            pool, observation=x, parent=method, start=start, prior=task.prior, acceptance=acceptance
        )
        method, _ = TSNPE.fit(chosen, info, material, Session(root, (*path, k)))
        yield method, {"propose": found - begun, "fit": time.process_time() - simulated}
