"""Files appear whole or not at all; a full disk is told with the name of the file."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from veridical import artifacts, bank, files, tasks
from veridical.errors import ArtifactError
from veridical.saved import observations, posteriors
from veridical.stages.reference import sample
from veridical.training import checkpoints

TASK = {"name": "gaussian_linear", "settings": {"dimension": 2}}
ROWS = 20_000


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def save_text(path: Path) -> None:
    files.write_text(path, "a" * 200_000)


def save_observations(path: Path) -> None:
    x = np.zeros((ROWS, 2))
    observations.save(path, observations.Observations(x, None, "field", "observed"), tasks.build(TASK))


def save_draws(path: Path) -> None:
    bounds = np.array([[-np.inf, np.inf]] * 2)
    draws = posteriors.Draws(names=("a", "b"), bounds=bounds, units=("", ""), draws=np.zeros((ROWS, 1, 2)))
    posteriors.save(path, draws)


def save_record(path: Path) -> None:
    files.write_json(path, {"a": 1})


def save_arrays(path: Path) -> None:
    files.write_npz(path, {"a": np.zeros(3)})


def save_shard(path: Path) -> None:
    bank.write(path, {"x": np.ones((4, 2))}, {"first": 0, "last": 3}, {"x": ("row", "feature")})


def save_weights(path: Path) -> None:
    artifacts._write(path, b"weights")


def save_state(path: Path) -> None:
    """As Lightning does: in another folder, and moved."""
    elsewhere = path.parents[2] / "state"

    def write(draft: Path) -> None:
        elsewhere.write_bytes(b"state")
        elsewhere.rename(draft)

    with checkpoints.CheckpointFolder(path.parent) as folder:
        folder.save(write)


@pytest.mark.parametrize("umask", [0o002, 0o027])
@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.txt", save_text),
        ("a.json", save_record),
        ("a.npz", save_arrays),
        ("field.nc", save_observations),
        ("draws.nc", save_draws),
        ("rows.zarr.zip", save_shard),
        ("weights.safetensors", save_weights),
        ("state.ckpt", save_state),
    ],
)
def test_files_have_the_mode_of_the_umask_and_the_group_of_a_shared_folder(
    tmp_path: Path, umask: int, name: str, save: Callable[[Path], None]
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    groups = {os.getegid(), *os.getgroups(), *([4321] if os.geteuid() == 0 else [])}
    group = max(groups - {os.getegid()}, default=os.getegid())
    os.chown(shared, -1, group)
    shared.chmod(0o2770)
    before = os.umask(umask)
    try:
        save(shared / "below" / name)
    finally:
        os.umask(before)
    for path in (shared / "below", shared / "below" / name):
        found = path.stat()
        assert found.st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask
        assert found.st_gid == group


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.txt", save_text),
        ("field.nc", save_observations),
        ("draws.nc", save_draws),
    ],
)
def test_a_full_disk_leaves_nothing_and_names_the_file(
    tmp_path: Path, name: str, save: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    with room_for(100_000), pytest.raises(ArtifactError, match=f"{name}: cannot be written .*File too large"):
        save(path)
    assert not list(tmp_path.iterdir())
    save(path)
    assert path.stat().st_size > 100_000
    before = path.read_bytes()
    with room_for(100_000), pytest.raises(ArtifactError):
        save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_chains_on_a_full_disk_leave_nothing(tmp_path: Path) -> None:
    save_observations(tmp_path / "field.nc")
    data = observations.load(tmp_path / "field.nc")
    one = observations.Observations(data.x[:1], None, "field", "observed")
    observations.save(tmp_path / "field.nc", one, tasks.build(TASK))
    settings = {"walkers": 32, "prior_draws": 100, "warm_up": 10, "steps": 200}
    out = tmp_path / "ensemble-0.npz"
    with room_for(50_000), pytest.raises(ArtifactError, match=r"ensemble-0\.npz: cannot be written"):
        sample(TASK, tmp_path / "field.nc", settings, out, ensemble=0, root=1)
    assert [path.name for path in tmp_path.iterdir()] == ["field.nc"]


def test_any_other_error_leaves_nothing_either(tmp_path: Path) -> None:
    with pytest.raises(KeyError), files.whole(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError("in the middle")
    assert not list((tmp_path / "new").iterdir())
