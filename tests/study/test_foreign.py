"""A bank of somebody else's: read where it is whole, otherwise told whose it is before any job starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veridical.errors import BankError
from veridical.study import foreign, settings
from veridical.study.layout import Layout

STUDY: dict[str, Any] = {
    "study": "small",
    "seed": 1,
    "task": {"name": "gaussian_linear"},
    "simulation": {"shard_rows": 1000},
    "estimators": {"npe": {"type": "npe"}},
    "budgets": [2500],
    "replicates": 1,
}


@pytest.fixture
def close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder look like one that this user may not write (the superuser may write all)."""

    def closed(folder: Path) -> None:
        def access(path: Any, mode: int) -> bool:
            return mode & os.W_OK == 0 or not Path(path).is_relative_to(folder)

        monkeypatch.setattr(os, "access", access)

    return closed


def filled(root: Path) -> tuple[Layout, list[Path]]:
    """A study and the files of its bank, all there."""
    layout = Layout(settings.parse(STUDY, "laptop"), root=str(root))
    bank = [f"{layout.bank}/{layout.target}/probe.json", *layout.all_shards(), *layout.bank_benchmarks()]
    for path in map(Path, bank):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return layout, list(map(Path, bank))


def test_a_whole_bank_of_somebody_else_is_as_good_as_ones_own(
    tmp_path: Path, close: Callable[[Path], None]
) -> None:
    layout, _ = filled(tmp_path)
    close(tmp_path / "bank")
    foreign.require_writable_or_whole(layout)


@pytest.mark.parametrize("which", [0, 1, -1])
def test_what_it_lacks_is_told_with_its_owner_and_what_to_do(
    tmp_path: Path, close: Callable[[Path], None], which: int
) -> None:
    layout, paths = filled(tmp_path)
    paths[which].unlink()
    foreign.require_writable_or_whole(layout)  # while it can be written
    close(tmp_path / "bank")
    with pytest.raises(BankError) as told:
        foreign.require_writable_or_whole(layout)
    message = str(told.value)
    assert f"belongs to {tmp_path.owner()} and cannot be written here" in message
    assert f"1 of {len(paths)} files are missing, such as {paths[which]}." in message
    assert f"in the place of {tmp_path}/bank" in message


def test_no_bank_can_be_begun_in_a_folder_of_somebody_else(
    tmp_path: Path, close: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless(path: Path) -> str:
        raise KeyError(path)

    layout = Layout(settings.parse(STUDY, "laptop"), root=str(tmp_path))
    (tmp_path / "bank").mkdir()
    close(tmp_path / "bank")
    monkeypatch.setattr(Path, "owner", nameless)
    with pytest.raises(BankError, match=f"{tmp_path}/bank belongs to user {os.getuid()} and cannot"):
        foreign.require_writable_or_whole(layout)
