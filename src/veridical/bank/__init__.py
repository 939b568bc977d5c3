"""The bank: the simulations of one (task, fidelity, split), in shards, read as one set of arrays.

`write`, `manifest` and `verify` handle one shard; `load` reads the first rows of a bank into memory, `open`
and `veridical.bank.streaming` what does not fit. A failed simulation is data: it stays in its row, with NaN
for `x` and the kind of failure in `status`.
"""

from __future__ import annotations

from veridical.bank.reading import contiguous, find, load
from veridical.bank.shards import SCHEMA_VERSION, digest, manifest, opened, shard_name, verify, write
from veridical.bank.streaming import open
from veridical.bank.validity import (
    STATUS,
    require_plausible,
    require_valid,
    status_counts,
    valid,
    validation_mask,
)

__all__ = [
    "SCHEMA_VERSION",
    "STATUS",
    "contiguous",
    "digest",
    "find",
    "load",
    "manifest",
    "open",
    "opened",
    "require_plausible",
    "require_valid",
    "shard_name",
    "status_counts",
    "valid",
    "validation_mask",
    "verify",
    "write",
]
