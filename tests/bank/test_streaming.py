"""Reading in pieces: every row once per pass, well shuffled, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from veridical import bank
from veridical.bank import streaming, validity
from veridical.errors import BankError

ROWS, SHARD, CHUNK = 6000, 1000, 50


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A bank of 6 shards in chunks of 50 rows; x and theta tell the row, every seventh row has failed."""
    folder = tmp_path_factory.mktemp("bank")
    paths = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("veridical.bank.shards.CHUNK_BYTES", CHUNK * 16)
        for first in range(0, ROWS, SHARD):
            row = np.arange(first, first + SHARD)
            arrays = {
                "theta": np.stack([row, -row], axis=1).astype(float),
                "x": np.repeat(row[:, None], 3, axis=1).astype(np.float32),
                "status": np.where(row % 7 == 0, validity.RAISED, validity.OK).astype(np.uint8),
            }
            attributes = {
                "task": "t", "key": "k", "fidelity": "low", "split": "train", "replicate": 0,
                "first": first, "last": first + SHARD - 1,
                "parameters": [{"name": "a"}, {"name": "b"}],
                "dimensions": [{"name": "time", "coordinates": [0.0, 0.5, 1.0], "unit": "s"}],
            }  # fmt: skip
            dims = {"theta": ("row", "parameter"), "x": ("row", "time"), "status": ("row",)}
            paths.append(folder / bank.shard_name(first, first + SHARD - 1))
            bank.write(paths[-1], arrays, attributes, dims)
    return paths


@pytest.mark.parametrize("rows", [ROWS, 4321, 17])
@pytest.mark.parametrize("batch_size", [64, 1])
def test_each_row_comes_exactly_once_and_whole(
    shards: list[Path], rng: np.random.Generator, rows: int, batch_size: int
) -> None:
    batches = list(streaming.batches(shards, rows, batch_size, rng, buffer_rows=400))
    assert {len(b["row"]) for b in batches[:-1]} <= {batch_size}
    row = np.concatenate([b["row"] for b in batches])
    np.testing.assert_array_equal(np.sort(row), np.arange(rows))
    for batch in batches:
        np.testing.assert_array_equal(batch["theta"][:, 0], batch["row"])
        np.testing.assert_array_equal(batch["x"][:, 2], batch["row"])
        np.testing.assert_array_equal(batch["status"] == validity.RAISED, batch["row"] % 7 == 0)


def test_only_kept_rows_and_named_arrays_come(shards: list[Path], rng: np.random.Generator) -> None:
    batches = list(
        streaming.batches(shards, None, 64, rng, buffer_rows=400, names=["x", "status"], keep=bank.valid)
    )
    assert all(batch.keys() == {"x", "status", "row"} for batch in batches)
    assert {len(b["row"]) for b in batches[:-1]} == {64}
    row = np.sort(np.concatenate([b["row"] for b in batches]))
    np.testing.assert_array_equal(row, [r for r in range(ROWS) if r % 7])


def test_order_is_a_function_of_the_generator(shards: list[Path]) -> None:
    def order(seed: int) -> np.ndarray:
        rng = np.random.Generator(np.random.PCG64(seed))
        return np.concatenate([b["row"] for b in streaming.batches(shards, ROWS, 64, rng, 800)])

    np.testing.assert_array_equal(order(1), order(1))
    assert (order(1) == order(2)).mean() < 0.01


def test_rows_are_well_shuffled(shards: list[Path], rng: np.random.Generator) -> None:
    """Against a uniform shuffle: no trend, no neighbours, batches spread over the bank as random ones are."""
    batches = list(streaming.batches(shards, ROWS, 60, rng, buffer_rows=1000))
    row = np.concatenate([b["row"] for b in batches])
    # The units are the 120 chunks, so the correlation of a random order of units is of order 1/sqrt(120).
    assert abs(np.corrcoef(np.arange(ROWS), row)[0, 1]) < 4 / np.sqrt(ROWS / CHUNK)
    # Neighbours stay neighbours with probability 2/n in a uniform order; here n is the buffer.
    assert (np.abs(np.diff(row)) == 1).mean() < 10 * 2 / 1000
    # The mean row of a batch of 60 scatters by at least sd/sqrt(60), and by at most sd/sqrt(20) more between
    # fillings of 20 chunks; the bounds leave room for the scatter of a standard deviation of 100 batches.
    spread = np.std([b["row"].mean() for b in batches]) / (ROWS / np.sqrt(12))
    assert 0.8 / np.sqrt(60) < spread < 2 / np.sqrt(20)


def test_a_buffer_too_small_is_refused(shards: list[Path], rng: np.random.Generator) -> None:
    with pytest.raises(BankError, match="buffer_rows is 100, expected at least 114"):
        next(streaming.batches(shards, ROWS, 64, rng, buffer_rows=100))


def test_a_damaged_shard_stops_the_pass_and_is_named(
    shards: list[Path], rng: np.random.Generator, tmp_path: Path
) -> None:
    data = bytearray(shards[1].read_bytes())
    data[300] ^= 1
    bad = tmp_path / shards[1].name
    bad.write_bytes(data)
    with pytest.raises(BankError, match=str(bad)):
        list(streaming.batches([shards[0], bad], None, 64, rng, buffer_rows=400))


READER = """
import json, resource, os, sys
import numpy as np
from veridical import bank, seeds
from veridical.bank import streaming, validity
from veridical.bank.shards import opened
allowed, paths = int(sys.argv[1]), sys.argv[2:]
with opened(paths[0]) as arrays:
    arrays["x"][:]  # starts all threads of zarr, which reserve address space
now = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (now + allowed, now + allowed))
rows = bank.manifest(paths[-1])["last"] + 1
seen = np.zeros(rows, dtype=int)
batches = streaming.batches(paths, None, 128, seeds.generator(0, "test", "reader"), allowed // 2 // 1024)
for batch in batches:
    seen[batch["row"]] += 1
    assert (batch["x"][:, 0] == batch["row"]).all()
try:
    bank.load(paths)
    fits = True
except MemoryError:
    fits = False
print(json.dumps({"fits": fits, "once": bool((seen == 1).all()), "rows": rows}))
"""


def test_a_bank_four_times_larger_than_memory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address space may grow by 12 MB; the bank has 48 MB in 4 shards."""
    monkeypatch.setattr("veridical.bank.shards.CHUNK_BYTES", 256 << 10)
    paths = []
    for first in range(0, 48 << 10, 12 << 10):
        row = np.arange(first, first + (12 << 10))
        x = np.repeat(row[:, None], 256, axis=1).astype(np.float32)
        paths.append(tmp_path / bank.shard_name(int(row[0]), int(row[-1])))
        bank.write(paths[-1], {"x": x}, {"first": first, "last": int(row[-1])}, {"x": ("row", "feature")})
    run = subprocess.run(
        [sys.executable, "-c", READER, str(12 << 20), *map(str, paths)],
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"fits": False, "once": True, "rows": 48 << 10}


@pytest.mark.parametrize(("piece_bytes", "number"), [(1, 120), (2000, 60), (1 << 15, 3), (1 << 20, 1)])
def test_the_lazy_view_is_the_same_in_pieces_of_any_size(
    shards: list[Path], piece_bytes: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece holds part of a shard, or several shards where these are small."""
    import dask

    monkeypatch.setattr(streaming, "_LAZY_BYTES", piece_bytes)
    data = bank.open(shards)
    assert len(data["x"].chunks[0]) == number
    with dask.config.set(scheduler="threads", num_workers=2):
        np.testing.assert_array_equal(data["x"].values, bank.load(shards)["x"])


def test_the_lazy_view_agrees_with_load(shards: list[Path]) -> None:
    import dask

    data = bank.open(shards)
    arrays = bank.load(shards)
    assert dict(data.sizes) == {"row": ROWS, "parameter": 2, "time": 3}
    assert data["parameter"].values.tolist() == ["a", "b"]
    assert (data["time"].attrs["unit"], data.attrs["fidelity"]) == ("s", "low")
    with dask.config.set(scheduler="threads", num_workers=2):
        for name, array in arrays.items():
            np.testing.assert_array_equal(data[name].values, array)
        near = data["x"].sel(time=0.5).isel(row=slice(990, 1011)).values
    np.testing.assert_array_equal(near, np.arange(990, 1011))
