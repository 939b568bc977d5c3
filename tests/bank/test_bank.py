"""The bank: what is written comes back bit by bit, whole or not at all, and any damage is reported."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import bank, seeds
from veridical.bank import shards, validity
from veridical.errors import BankError, SimulationError

Write = Callable[..., Path]

DIMS = {"theta": ("row", "parameter"), "x": ("row", "time", "species"), "status": ("row",), "score": ("row",)}


def make_arrays(n: int, *, seed: int = 0, first: int = 0) -> dict[str, np.ndarray]:
    """Random arrays of n rows; theta[:, 0] is the row of the bank, some rows have failed."""
    rng = seeds.generator(seed, "test", "make_arrays", first)
    arrays = {
        "theta": rng.normal(size=(n, 2)),
        "x": rng.normal(size=(n, 3, 2)).astype(np.float32),
        "status": np.where(rng.random(n) < 0.2, validity.RAISED, validity.OK).astype(np.uint8),
    }
    arrays["theta"][:, 0] = np.arange(first, first + n)
    arrays["x"][arrays["status"] != validity.OK] = np.nan
    return arrays


def make_attributes(arrays: dict[str, np.ndarray], first: int = 0, **changed: Any) -> dict[str, Any]:
    counts = bank.status_counts(arrays["status"])
    attributes = {"task": "t", "key": "k", "fidelity": "low", "split": "train", "replicate": 0}
    attributes |= {"first": first, "last": first + len(arrays["theta"]) - 1, "counts": counts}
    attributes |= {"n_invalid": len(arrays["theta"]) - counts["ok"], "first_traceback": "Traceback: why"}
    attributes["parameters"] = [{"name": "a"}, {"name": "b"}]
    attributes["dimensions"] = [
        {"name": "time", "coordinates": [0, 1, 2], "unit": "s"},
        {"name": "species", "coordinates": ["hare", "lynx"], "unit": ""},
    ]
    return attributes | changed


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes one shard of random rows and returns its path."""

    def write_rows(first: int, n: int, folder: Path = tmp_path, **changed: Any) -> Path:
        arrays = make_arrays(n, first=first)
        path = folder / bank.shard_name(first, first + n - 1)
        bank.write(path, arrays, make_attributes(arrays, first, **changed), DIMS)
        return path

    return write_rows


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 10 rows of `make_arrays`."""
    monkeypatch.setattr("veridical.bank.shards.CHUNK_BYTES", 240)


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """Whether two sets of arrays agree in names, types and bits."""
    return {k: (v.dtype, v.shape, v.tobytes()) for k, v in first.items()} == {
        k: (v.dtype, v.shape, v.tobytes()) for k, v in second.items()
    }


# ---- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 9, 10, 37])
def test_what_is_written_comes_back_bit_by_bit(write: Write, small_chunks: None, rows: int) -> None:
    path = write(0, rows)
    assert same(bank.load([path]), make_arrays(rows))
    assert bank.verify(path)["last"] == rows - 1


def test_a_shard_is_a_plain_zarr_v3_group(write: Write, small_chunks: None) -> None:
    import zarr

    path = write(0, 37)
    store = zarr.storage.ZipStore(path, mode="r")
    group = zarr.open_group(store, mode="r")
    arrays = make_arrays(37)
    for name, array in group.arrays():
        np.testing.assert_array_equal(array[:], arrays[name])
        assert array.metadata.zarr_format == 3
        assert array.metadata.dimension_names == DIMS[name]
        assert array.chunks == (10, *array.shape[1:])
        assert not array.compressors
    assert np.isnan(group["x"].fill_value) and group["status"].fill_value == validity.HOLE
    store.close()
    names = zipfile.ZipFile(path).namelist()
    assert len(names) == len(set(names)) == 3 * 4 + 4


def test_equal_content_gives_equal_bytes(write: Write, tmp_path: Path) -> None:
    first = write(0, 20).read_bytes()
    assert write(0, 20, tmp_path / "again").read_bytes() == first


def test_a_shard_of_fill_values_has_all_its_chunks(tmp_path: Path) -> None:
    arrays = {"x": np.full((4, 2), np.nan)}
    path = tmp_path / bank.shard_name(0, 3)
    bank.write(path, arrays, {"first": 0, "last": 3}, {"x": ("row", "feature")})
    assert "x/c/0/0" in zipfile.ZipFile(path).namelist()
    assert same(bank.load([path]), arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((19, 3, 2))}, "does not fit a shard of 20 rows"),
        ({"x": np.zeros((20, 3))}, "does not fit"),
        ({"x": np.zeros((20, 3, 2), dtype=complex)}, "floats or integers"),
        ({"x": np.zeros((20, 0, 2))}, "at least one row"),
    ],
)
def test_misfitting_arrays_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = make_arrays(20)
    with pytest.raises(BankError, match=message):
        bank.write(tmp_path / "rows.zarr.zip", arrays | change, make_attributes(arrays), DIMS)
    assert list(tmp_path.iterdir()) == []


WRITER = """
import os, resource, signal, sys
import numpy as np
from veridical import bank
from veridical.errors import BankError
how, path = sys.argv[1], sys.argv[2]
if how == "kill":
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(how), int(how)))
try:
    bank.write(path, {"x": np.ones((50_000, 2))}, {"first": 0, "last": 49_999}, {"x": ("row", "feature")})
except BankError as error:
    sys.exit(str(error))
"""


def run_writer(how: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", WRITER, how, str(path)], capture_output=True, text=True
    )


# 800 kB of chunks, then metadata: the disk is full in the midst of data, of metadata, and at the last byte.
@pytest.mark.parametrize("limit", [0, 300_000, 800_200, -1])
@pytest.mark.parametrize("there_before", [False, True])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, limit: int, there_before: bool) -> None:
    path = tmp_path / bank.shard_name(0, 49_999)
    if limit < 0:
        bank.write(path, {"x": np.ones((50_000, 2))}, {"first": 0, "last": 49_999}, {"x": ("row", "feature")})
        limit += path.stat().st_size
        path.unlink()
    if there_before:
        path.write_bytes(b"an older shard")
    run = run_writer(str(limit), path)
    assert run.returncode == 1
    assert f"{path}: cannot be written (File too large); nothing was left behind" in run.stderr
    assert "Exception ignored" not in run.stderr
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"an older shard"] * there_before


def test_a_kill_while_writing_leaves_no_shard_and_the_next_writer_clears_up(tmp_path: Path) -> None:
    path = tmp_path / bank.shard_name(0, 49_999)
    assert run_writer("kill", path).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{path.name}.") and left.name.endswith(".part")
    assert not path.exists()
    assert run_writer(str(1 << 30), path).returncode == 0
    assert list(tmp_path.iterdir()) == [path]
    bank.verify(path)


def test_only_what_dead_processes_of_this_host_left_is_removed(tmp_path: Path) -> None:
    path, host = tmp_path / "rows.zarr.zip", socket.gethostname()
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone = [f"{host}-{dead.pid}", f"{host}-{os.getpid()}"]
    kept = [f"{host}-{os.getppid()}", f"{host}-1-{dead.pid}", f"other-{dead.pid}"]
    for owner in gone + kept:
        (tmp_path / f".rows.zarr.zip.{owner}.scratch").mkdir()
        (tmp_path / f".rows.zarr.zip.{owner}.scratch" / "0.npz").write_bytes(b"")
    assert shards.temporary(path, "scratch").name == f".rows.zarr.zip.{host}-{os.getpid()}.scratch"
    left = {p.name.removeprefix(".rows.zarr.zip.").removesuffix(".scratch") for p in tmp_path.iterdir()}
    assert left == set(kept)


# ---- damage ------------------------------------------------------------------------------------------


def content_ranges(path: Path) -> list[tuple[str, int, int]]:
    """Name, first and last byte (excluded) of the content of each member of a zip."""
    found = []
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name_length = int.from_bytes(data[info.header_offset + 26 : info.header_offset + 28], "little")
            start = info.header_offset + 30 + name_length
            found.append((info.filename, start, start + info.file_size))
    return found


def outcome(path: Path) -> list[Any]:
    """What reading and verifying a shard give: its arrays, or the messages of the errors."""
    results: list[Any] = []
    for action in (lambda: bank.load([path]), lambda: bank.verify(path) and bank.load([path])):
        try:
            results.append(action())
        except BankError as error:
            results.append(str(error))
    return results


def test_a_flipped_byte_in_any_data_or_metadata_is_reported_with_the_file(
    write: Write, small_chunks: None
) -> None:
    path = write(0, 25)
    good = path.read_bytes()
    rng = seeds.generator(0, "test", "flip content")
    for name, start, stop in content_ranges(path):
        for offset in {start, stop - 1, int(rng.integers(start, stop))}:
            bad = bytearray(good)
            bad[offset] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            for message in outcome(path):
                assert isinstance(message, str) and message.startswith(str(path)), (name, offset)


def test_a_flipped_byte_between_the_data_is_reported_or_changes_nothing(
    write: Write, small_chunks: None
) -> None:
    path = write(0, 25)
    good, arrays = path.read_bytes(), bank.load([path])
    inside = {o for _, start, stop in content_ranges(path) for o in range(start, stop)}
    between = [offset for offset in range(len(good)) if offset not in inside]
    rng = seeds.generator(0, "test", "flip headers")
    reported = 0
    for offset in rng.choice(between, size=100, replace=False):
        bad = bytearray(good)
        bad[offset] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        for result in outcome(path):
            reported += isinstance(result, str)
            assert str(path) in result if isinstance(result, str) else same(result, arrays), offset
    assert reported > 50


@pytest.mark.parametrize("keep", [0, 1, 500, -30, -1])
def test_a_truncated_shard_is_reported(write: Write, keep: int) -> None:
    path = write(0, 25)
    path.write_bytes(path.read_bytes()[:keep])
    assert all(str(path) in message for message in outcome(path))


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Writes the zip anew, CRCs and all, with changed members; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def test_a_missing_chunk_is_no_nan(write: Write, small_chunks: None) -> None:
    path = write(0, 25)
    rewritten(path, lambda name, content: None if name == "x/c/1/0/0" else content)
    with pytest.raises(BankError, match=r"rows-.*chunk x/c/1/0/0 is missing"):
        bank.load([path])


def test_verify_finds_what_the_crc_cannot(write: Write) -> None:
    path = write(0, 25)
    rewritten(path, lambda name, content: content[::-1] if name.startswith("theta/c") else content)
    bank.load([path])
    with pytest.raises(BankError, match=r"rows-000000000-000000024.*'theta'.*digest"):
        bank.verify(path)


def test_another_schema_is_refused(write: Write) -> None:
    path = write(0, 25)
    rewritten(path, lambda name, content: content.replace(b'"schema": 1', b'"schema": 99'))
    with pytest.raises(BankError, match=r"rows-.*expected schema 1, got 99"):
        bank.load([path])


def test_a_renamed_shard_is_refused(write: Write, tmp_path: Path) -> None:
    path = write(0, 25)
    other = path.rename(tmp_path / bank.shard_name(25, 49))
    with pytest.raises(BankError, match=r"rows-000000025-000000049.*holds the rows 0\.\.24"):
        bank.load([other])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no such shard"):
        bank.load([tmp_path / bank.shard_name(0, 9)])


def test_a_row_that_was_never_written_is_reported(tmp_path: Path) -> None:
    arrays = make_arrays(10)
    arrays["status"][7] = validity.HOLE
    path = tmp_path / bank.shard_name(0, 9)
    bank.write(path, arrays, make_attributes(arrays), DIMS)
    with pytest.raises(BankError, match=r"rows-.*row 7 was never written"):
        bank.load([path])


# ---- many shards -------------------------------------------------------------------------------------


def test_load_gives_exactly_the_first_rows_in_order(write: Write, small_chunks: None) -> None:
    paths = [write(first, 20) for first in (40, 0, 20)]
    for rows in (1, 20, 35, 60, None):
        arrays = bank.load(paths, rows)
        expected = np.arange(60 if rows is None else rows)
        np.testing.assert_array_equal(arrays["theta"][:, 0], expected)
        assert arrays["x"].shape == (len(expected), 3, 2)
    assert list(bank.load(paths, names=["x"])) == ["x"]


def test_load_opens_no_shard_behind_the_rows(write: Write) -> None:
    paths = [write(0, 20), write(20, 20)]
    rewritten(paths[1], lambda name, content: None if name.startswith("x/c") else content)
    assert len(bank.load(paths, 20)["x"]) == 20


def test_gaps_overlaps_and_strangers_are_refused(write: Write, tmp_path: Path) -> None:
    first, gap = write(0, 20), write(40, 20)
    with pytest.raises(BankError, match=r"rows-000000040.*row 20 is missing"):
        bank.load([first, gap])
    with pytest.raises(BankError, match="row 0 is missing"):
        bank.load([gap])
    with pytest.raises(BankError, match="row 10 is held twice"):
        bank.load([first, write(10, 20)])
    with pytest.raises(BankError, match="held twice"):
        bank.load([first, first])
    with pytest.raises(BankError, match="fidelity is 'high', but 'low'"):
        bank.load([first, write(20, 20, fidelity="high")])
    with pytest.raises(BankError, match="expected 21 rows, the bank holds 20"):
        bank.load([first], 21)
    with pytest.raises(BankError, match="at least one shard"):
        bank.load([])
    with pytest.raises(BankError, match="has no array"):
        bank.load([first], names=["score"])


@pytest.mark.parametrize(
    "change",
    [{"x": np.zeros((20, 3, 1), dtype=np.float32)}, {"x": np.zeros((20, 3, 2))}, {"score": np.zeros(20)}],
)
def test_shards_whose_arrays_differ_are_refused(write: Write, tmp_path: Path, change: dict[str, Any]) -> None:
    arrays = make_arrays(20, first=20) | change
    other = tmp_path / bank.shard_name(20, 39)
    bank.write(other, arrays, make_attributes(arrays, 20), DIMS)
    with pytest.raises(BankError, match=r"rows-000000020.*other shards of the bank"):
        bank.load([write(0, 20), other])


def test_valid_rows_and_validation_rows() -> None:
    status = np.array([validity.OK, validity.NON_FINITE, validity.RAISED, validity.TIMED_OUT, validity.OK])
    assert bank.valid({"status": status}).tolist() == [True, False, False, False, True]
    assert np.flatnonzero(bank.validation_mask(30)).tolist() == [9, 19, 29]
    np.testing.assert_array_equal(bank.validation_mask(100)[:37], bank.validation_mask(37))


def test_require_valid_counts_over_all_shards(write: Write) -> None:
    paths = [write(0, 50), write(50, 50)]
    failed = sum(
        (~bank.valid(bank.load([p]) if i == 0 else make_arrays(50, first=50))).sum()
        for i, p in enumerate(paths)
    )
    found = bank.require_valid(paths, 0.5)
    assert found == {"rows": 100, "n_invalid": failed, "invalid_share": failed / 100}
    with pytest.raises(
        SimulationError, match=r"t, fidelity low, split train: .*raised.*max_invalid.*\nTraceback: why"
    ):
        bank.require_valid(paths, 0.01)


def test_a_shard_is_implausible_only_when_clearly_beyond_the_limit() -> None:
    for failed, stops in ((200, False), (260, False), (264, True), (1000, True)):
        counts = {"ok": 1000 - failed, "non_finite": 0, "raised": failed, "timed_out": 0}
        if stops:
            with pytest.raises(SimulationError, match=r"here: \d+\.\d % of 1000".replace(" %", "%")):
                bank.require_plausible("here", counts, 0.2, "")
        else:
            bank.require_plausible("here", counts, 0.2, "")


def test_reading_leaves_no_file_open(write: Write) -> None:
    paths = [write(first, 20) for first in (0, 20)]
    bank.load(paths)
    opened = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    }
    assert not [name for name in opened if name.endswith(".zarr.zip")]


def test_the_manifest_is_json_that_any_reader_takes(write: Write) -> None:
    with zipfile.ZipFile(write(0, 20)) as archive:
        assert archive.namelist()[-1] == "zarr.json"
        attributes = json.loads(archive.read("zarr.json"), parse_constant=pytest.fail)["attributes"]
    assert attributes["schema"] == bank.SCHEMA_VERSION
    assert attributes["digests"].keys() == {"theta", "x", "status"}


# ---- places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["small-0123456789ab/high/test", "small-0123456789ab/low/train-r1", "small-ba9876543210/low/test"],
)
def test_a_shard_in_the_place_of_another_is_refused(place: str, tmp_path: Path) -> None:
    about = {"task": "small", "key": "0123456789ab", "fidelity": "low", "split": "test", "replicate": 0}
    own = tmp_path / "small-0123456789ab" / "low" / "test" / bank.shard_name(0, 3)
    bank.write(own, {"x": np.ones((4, 1))}, {**about, "first": 0, "last": 3}, {"x": ("row", "feature")})
    assert bank.load([own])["x"].sum() == 4
    other = tmp_path / place / own.name
    other.parent.mkdir(parents=True)
    other.write_bytes(own.read_bytes())
    expected = f"expected simulations of {place}, got those of small-0123456789ab/low/test"
    for read in (bank.manifest, bank.verify, lambda path: bank.load([path])):
        with pytest.raises(BankError, match=expected):
            read(other)


def test_no_byte_of_a_shard_may_change(tmp_path: Path) -> None:
    path = tmp_path / bank.shard_name(0, 3)
    bank.write(path, {"x": np.ones((4, 1))}, {"first": 0, "last": 3}, {"x": ("row", "feature")})
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(BankError, match=path.name):
            bank.load([path])
