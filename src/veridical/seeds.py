"""The only module that makes random generators.

A generator is named by the root seed of the study and a path: the stage, then names and numbers
(task, split, replicate, block, ...). The path becomes the `spawn_key` of a `numpy.random.SeedSequence`:
a number is one 32-bit word below 2**31, a name is two words above it, so that no two paths share a key
and no word ever reaches 2**32 (where numpy would split it into two).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

# The version of what makes the arrays of banks beside a task's own code: this module, `blocks`, `tasks.base`,
# tasks that settings describe (`tasks.command`, `tasks.elsewhere`). It stands for all that in names of banks,
# and for this module and `tasks.base` in the digests of jobs. Whoever changes an array raises it.
STREAMS = 1

STAGES = {
    "theta": 1,  # parameters of a block: (task, split, replicate, block)
    "noise": 2,  # simulator noise of a block: (task, [fidelity], split, replicate, block)
    "row": 3,  # one row of a block that is redone row by row: as noise, then the row
    "probe": 4,
    "split": 5,  # order of simulations made elsewhere
    "initialise": 6,  # weights of a network: (method, replicate, member)
    "batches": 7,  # order of rows: (method, replicate, epoch)
    "infer": 8,  # base noise of draws: (method, replicate, dataset)
    "check": 9,  # null distributions, classifiers, references: (check, method, replicate, dataset)
    "predict": 10,  # predictive simulations: (method, replicate, dataset)
    "reference": 11,  # exact sampler: (dataset, ensemble)
    "remedy": 12,
    "calibrate": 13,
    "experiment": 14,  # pseudo-experiments: (part, task, replicate, batch, ...)
    "exact": 15,  # draws of an exact posterior, for comparison: (method, replicate, dataset)
    "nearby": 16,  # simulations around an answer: (method, replicate, dataset, observation, ...)
    "propose": 17,  # where a round simulates: (method, replicate, observation, round, ...)
    "test": 99,  # for tests and benchmarks only
}

_NAME = 1 << 31
_MAX_ROOT = 1 << 64


def seed_key(stage: str, *path: str | int) -> tuple[int, ...]:
    """Returns the spawn key of one named piece of work, a tuple of words below 2**32.

    Raises:
        ValueError: If the stage is unknown or a number is not in [0, 2**31).
    """
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r} has no seed code; choose from {sorted(STAGES)}.")
    words = [STAGES[stage]]
    for part in path:
        if isinstance(part, str):
            digest = blake2b(part.encode(), digest_size=8).digest()
            words += [int.from_bytes(digest[i : i + 4], "little") | _NAME for i in (0, 4)]
        elif 0 <= int(part) < _NAME:
            words.append(int(part))
        else:
            raise ValueError(f"seed path {path}: numbers must lie in [0, 2**31), got {part}.")
    return tuple(words)


def sequence(root: int, stage: str, *path: str | int) -> np.random.SeedSequence:
    """Returns the seed sequence of one named piece of work."""
    if not 0 <= root < _MAX_ROOT:
        raise ValueError(f"root seed must lie in [0, 2**64), got {root}.")
    return np.random.SeedSequence(root, spawn_key=seed_key(stage, *path))


def generator(root: int, stage: str, *path: str | int) -> np.random.Generator:
    """Returns the generator of one named piece of work, the same on any machine or split.

    >>> generator(7, "theta", "lynx_hare", "train", 0).random(2).round(6)
    array([0.924792, 0.666445])
    >>> generator(7, "theta", "lynx_hare", "train", 1).random(2).round(6)  # another replicate
    array([0.253521, 0.237759])
    """
    return np.random.Generator(np.random.PCG64(sequence(root, stage, *path)))


def integer(root: int, stage: str, *path: str | int) -> int:
    """Returns a 63-bit seed for a library that takes integers only."""
    return int(sequence(root, stage, *path).generate_state(1, np.uint64)[0] >> np.uint64(1))
