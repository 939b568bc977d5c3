"""What a simulation job of a task asks a scheduler for; a study can ask for something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Needs:
    """What a task's simulator needs.

    None of it decides a number: no bank and no result changes with it.

    Attributes:
        cores: CPU cores of a job; as many blocks are simulated at a time.
        mem_mb: Memory of one simulation process, in MB, beside Python's own.
        seconds: Seconds of one simulation by fidelity; what the probe measures where not given.
        modules: Environment modules that a node has to load, for `snakemake --sdm env-modules`.
    """

    cores: int = 1
    mem_mb: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
