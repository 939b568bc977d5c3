"""Rounds of `tsnpe` for one observation, in one process: what benchmarks on rounds have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from veridical import bank, seeds, tasks
from veridical.bank.blocks import simulate_at
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.tsnpe import TSNPE
from veridical.estimators.tsnpe_settings import TSNPESettings
from veridical.inference.truncation import TruncatedPrior
from veridical.networks.transforms import ParameterTransform
from veridical.training.session import Session


def rounds(
    task: tasks.Task,
    chosen: TSNPESettings,
    x: np.ndarray,
    root: int,
    path: tuple[str | int, ...],
    starts: int,
) -> Iterator[tuple[TSNPE, dict[str, float]]]:
    """After each round what has been learned, and the CPU seconds that it took to propose and to fit.

    Arguments:
        task: The simulator, with its prior.
        chosen: Rounds, their rows, and the posterior to learn.
        x: One observation (*x_shape).
        root: Root seed.
        path: What names the seeds of this chain of rounds.
        starts: Draws of the posterior from which the walkers in its region begin.
    """
    info = TaskInfo.of(task)
    transform = ParameterTransform.plain(task.bounds, info.support)
    method: Any = None
    parts: list[Rows] = []
    for k, n in enumerate(chosen.round_rows, 1):
        begun = time.process_time()
        rng = seeds.generator(root, "propose", *path, k)
        theta, acceptance = task.prior.sample(rng, n), 1.0
        if method is not None:
            regions = [one.region for one in method.chains[0]]
            inside = method.sample(x[None], starts, rng)[:, 0]
            theta, acceptance, _ = TruncatedPrior(task.prior, transform, regions).sample(n, inside, rng)
        proposed = time.process_time()
        block = simulate_at(task, theta, [*task.fidelities][-1], root, "nearby", *path, k).arrays
        good = bank.valid(block)
        parts.append(Rows(theta[good], block["x"][good], bank.validation_mask(n)[good]))
        pool = Rows(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("theta", "x", "validation")))
        simulated = time.process_time()
        material = Material(pool, observation=x, parent=method, prior=task.prior, acceptance=acceptance)
        method, _ = TSNPE.fit(chosen, info, material, Session(root, (*path, k)))
        yield method, {"propose": proposed - begun, "fit": time.process_time() - simulated}
