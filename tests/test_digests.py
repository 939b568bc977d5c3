"""What changes a digest, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical import digests

SOURCE = '''"""A module."""

# a comment
def double(x):
    """Doubles."""
    return 2 * x
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Doubles."""', '"""Gives twice x."""', True),
        ("# a comment\n", "", True),
        ('"""A module."""\n', "", True),
        ("def double(x):", "def double( x ) :", True),
        ("2 * x", "3 * x", False),
        ("double", "twice", False),
    ],
)
def test_source_digest_sees_code_and_nothing_else(tmp_path: Path, old: str, new: str, same: bool) -> None:
    before, after = tmp_path / "before.py", tmp_path / "after.py"
    before.write_text(SOURCE)
    after.write_text(SOURCE.replace(old, new))
    assert before.read_text() != after.read_text()
    assert (digests.source_digest(before) == digests.source_digest(after)) is same


def test_other_files_are_digested_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "simulate.awk"
    path.write_text("# one\n")
    first = digests.source_digest(path)
    path.write_text("# two\n")
    assert digests.source_digest(path) != first


def test_folder_digest_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "store.zarr"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = digests.file_digest(folder)
    (folder / "a").rename(folder / "b")
    second = digests.file_digest(folder)
    (folder / "b").write_text("2")
    assert len({first, second, digests.file_digest(folder)}) == 3


def test_dependencies_follow_imports_and_leave_out_plumbing_and_registries() -> None:
    found = digests.dependencies(["veridical.stages.predict"])
    assert {"veridical.stages.predict", "veridical.seeds"} <= found
    assert not found & digests.PLUMBING
    assert "veridical.tasks" not in found


def test_every_plumbing_module_exists() -> None:
    for name in digests.PLUMBING:
        assert digests.SOURCE.joinpath(*name.split(".")[1:]).with_suffix(".py").is_file(), name


def test_canonical_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digests.canonical({"a": float("nan")})
    assert digests.canonical({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'
