"""What changes a digest of settings or of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical import digests


def test_folder_digest_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "store.zarr"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = digests.file_digest(folder)
    (folder / "a").rename(folder / "b")
    second = digests.file_digest(folder)
    (folder / "b").write_text("2")
    assert len({first, second, digests.file_digest(folder)}) == 3


def test_canonical_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digests.canonical({"a": float("nan")})
    assert digests.canonical({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'
