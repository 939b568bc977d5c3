"""Settings of how banks are filled."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from veridical.bank.shards import MOST_ROWS
from veridical.sections import Cores, Megabytes, Module, Seconds, Section, no_boolean


class SimulationSettings(Section):
    """How banks are filled."""

    shard_rows: Annotated[int, Field(gt=0, le=MOST_ROWS), BeforeValidator(no_boolean)] = Field(
        10_000, description="Rows of one shard, the share of one job; a multiple of the task's block."
    )
    probe_rows: Annotated[int, Field(gt=0, le=10**7), BeforeValidator(no_boolean)] = Field(
        200, description="Rows that the probe runs per fidelity before any fan-out."
    )
    time_limit: Seconds = Field(600.0, description="Seconds that one block of simulations may take.")
    max_invalid: Annotated[float, Field(ge=0, lt=1), BeforeValidator(no_boolean)] = Field(
        0.2, description="Largest share of failed simulations per fidelity."
    )
    cores: Cores | None = Field(
        None, description="CPU cores of a job, which simulates as many blocks at a time; the task's if unset."
    )
    mem_mb: Megabytes | None = Field(
        None, description="Memory of one simulation process beside Python's own, in MB; the task's if unset."
    )
    seconds: dict[str, Seconds] | None = Field(
        None,
        description="Seconds of one simulation by fidelity, for time limits and plans; the task's if unset, "
        "else what the probe measures.",
    )
    modules: list[Module] | None = Field(
        None, description="Environment modules of a simulation job, for `--sdm env-modules`; else the task's."
    )
