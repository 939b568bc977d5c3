"""Seals: whatever becomes of a byte of a file, its reader refuses the file by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pytest

from veridical import files, seals
from veridical.errors import ArtifactError


def write_json(path: Path) -> None:
    files.write_json(path, {"format": 1, "numbers": [0.25, 3]})


def write_npz(path: Path) -> None:
    files.write_npz(path, {"x": np.arange(3.0)})


def write_hdf5(path: Path) -> None:
    with files.whole_hdf5(path) as stream, h5netcdf.File(stream, "w") as file:
        file.dimensions = {"row": 3}
        file.create_variable("x", ("row",), float, data=np.arange(3.0))


def write_text(path: Path) -> None:
    files.write_text(path, seals.filled(f"<svg>1</svg>\n<!-- {seals.EMPTY} -->\n"))


def read(path: Path) -> Any:
    if path.suffix == ".json":
        return files.read_json(path, "a record")
    if path.suffix == ".npz":
        return {name: array.tolist() for name, array in files.read_npz(path, "arrays").items()}
    with files.reading(path, "a file"):
        if path.suffix == ".svg":
            return path.read_text()
        with h5netcdf.File(path, "r") as file:
            return file["x"][...].tolist()


WRITERS = {"a.json": write_json, "a.npz": write_npz, "a.nc": write_hdf5, "a.svg": write_text}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_comes_back_and_no_byte_of_it_may_change(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    assert read(path) and seals.require(path)
    content = path.read_bytes()
    for place in range(0, len(content), 1 if len(content) < 2000 else 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ArtifactError, match=name):
            read(path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    "cut", [lambda c: b"", lambda c: c[: len(c) // 2], lambda c: c[:-70], lambda c: c + b"0"]
)
def test_what_was_cut_or_prolonged_is_refused(
    name: str, cut: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(ArtifactError, match=rf"{name}: .*with `-- .*{name}` behind"):
        read(path)


def test_files_of_revisions_without_seals_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"a": 1}\n')
    assert files.read_json(tmp_path / "old.json", "a record") == {"a": 1}
    np.savez(tmp_path / "old.npz", x=np.ones(2))
    assert files.read_npz(tmp_path / "old.npz", "arrays")["x"].sum() == 2


def test_a_file_without_permission_or_that_is_gone_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no\.json is missing; expected a record\. Run again"):
        files.read_json(tmp_path / "no.json", "a record")
    with pytest.raises(ArtifactError, match="Mend its permissions"), files.reading(__file__, "a record"):
        raise PermissionError(13, "Permission denied")
