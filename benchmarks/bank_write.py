"""The bank against numpy.save, and reading four times the memory allowed; prints one line of JSON.

    python benchmarks/bank_write.py [--rows 1000000] [--columns 100] [--repeats 5] [--folder DIR]

`write_ratio` is (shortest seconds of numpy.save) / (shortest seconds of bank.write) over the repeats: the
same array, new files, both fsynced, in turns after one round to warm up. The bank also takes a SHA-256 and a
CRC of every byte, in part in a second thread: on two idle cores it is 0.6, on one 0.4. Target: at least 0.4.

`read_*`: a child whose address space may grow by `read_allowed_mb` after its imports streams one shuffled
pass over a bank of `bank_mb`. Targets: every row once, within the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from veridical import bank, seeds

READER = """
import json, os, resource, sys, time
import numpy as np
from veridical import bank, seeds
from veridical.bank import streaming
from veridical.bank.shards import opened
folder, allowed, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".zip")]
with opened(paths[0]) as arrays:
    arrays["x"][:]  # starts all threads of zarr, which reserve address space
def peak_mb():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + allowed
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = peak_mb()
seen = np.zeros(rows, dtype=np.uint8)
rng = seeds.generator(1, "test", "bank_write")
row_bytes = 4 * bank.manifest(paths[0])["columns"]
started = time.perf_counter()
for batch in streaming.batches(paths, None, 256, rng, buffer_rows=allowed // (2 * row_bytes)):
    seen[batch["row"]] += 1
seconds = time.perf_counter() - started
grew = peak_mb() - before
try:
    bank.load(paths)
    loaded = True
except MemoryError:
    loaded = False
print(json.dumps({"read_seconds": seconds, "read_whole_bank_fits": loaded,
                  "read_each_row_once": bool((seen == 1).all()),
                  "read_grew_mb": grew}))
"""


def seconds_of(action: Callable[[], None]) -> float:
    """Wall seconds of one call, begun when no other writes wait for the disk."""
    os.sync()
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def save_numpy(path: Path, x: np.ndarray) -> None:
    """numpy.save with an fsync."""
    with path.open("wb") as stream:
        np.save(stream, x)
        stream.flush()
        os.fsync(stream.fileno())


def save_bank(path: Path, x: np.ndarray, first: int = 0) -> None:
    """bank.write of one array; it fsyncs."""
    attributes = {"first": first, "last": first + len(x) - 1, "columns": x.shape[1]}
    bank.write(path, {"x": x}, attributes, {"x": ("row", "feature")})


def _one_round(folder: Path, x: np.ndarray, bank_first: bool) -> tuple[float, float]:
    """Seconds of numpy.save and of the bank, into new files, in this order or the other."""
    plain, shard = folder / "x.npy", folder / bank.shard_name(0, len(x) - 1)
    seconds = {}
    for path in (shard, plain) if bank_first else (plain, shard):
        save = save_bank if path is shard else save_numpy
        seconds[path] = seconds_of(partial(save, path, x))
    plain.unlink()
    shard.unlink()
    return seconds[plain], seconds[shard]


def measure(rows: int, columns: int, repeats: int, folder: Path) -> dict[str, object]:
    """Runs both benchmarks in `folder` and returns the numbers."""
    x = seeds.generator(0, "test", "bank_write").standard_normal((rows, columns), dtype=np.float32)
    times = [_one_round(folder, x, bool(turn % 2)) for turn in range(repeats + 1)][1:]
    part = rows // 10
    for first in range(0, part * 10, part):
        save_bank(folder / bank.shard_name(first, first + part - 1), x[first : first + part], first)
    allowed = x.nbytes // 4
    run = subprocess.run(
        [sys.executable, "-c", READER, str(folder), str(allowed), str(part * 10)],
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
    )
    if run.returncode:
        raise SystemExit(run.stderr)
    return {
        "bank_mb": x.nbytes / 2**20,
        "numpy_seconds": min(a for a, _ in times),
        "bank_seconds": min(b for _, b in times),
        "write_ratio": min(a for a, _ in times) / min(b for _, b in times),
        "write_ratios": [a / b for a, b in times],
        "read_allowed_mb": allowed / 2**20,
        **json.loads(run.stdout),
    }


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the file system to measure")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(measure(options.rows, options.columns, options.repeats, Path(folder))))


if __name__ == "__main__":
    main()
