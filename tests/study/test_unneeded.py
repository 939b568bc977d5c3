"""What `gc` finds and removes, and above all what it leaves alone."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_command_line import STUDY, put_shard
from veridical import __main__ as command_line
from veridical import bank
from veridical.errors import SettingError
from veridical.study import settings, unneeded
from veridical.study.layout import Layout

OLD = "results/bank/gaussian_linear-0123456789ab"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one study and one bank that it does not use."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/small.yaml").write_text(yaml.safe_dump(STUDY))
    put_shard(OLD)
    return tmp_path


def used_bank(study: str = "config/small.yaml") -> Path:
    return Path(Layout(settings.load(study)).bank)


def age(*paths: Path) -> None:
    """Makes all of them, and all below them, two days old."""
    before = time.time() - 2 * unneeded.QUIET_SECONDS
    for path in paths:
        for one in (*path.rglob("*"), path):
            os.utime(one, (before, before))


def make_state(name: str, output: str | None = None) -> Path:
    folder = Path("results/small/checkpoints") / name
    folder.mkdir(parents=True)
    (folder / "state.ckpt").write_bytes(b"weights")
    (folder / "lease.json").touch()
    if output is not None:
        (folder / "output.txt").write_text(f"{output}\n")
    return folder


def make_output(folder: str) -> str:
    Path(folder).mkdir(parents=True)
    Path(folder, "estimator.json").write_text("{}")
    return folder


def found() -> dict[str, str]:
    return {str(item.path): item.why for item in unneeded.unneeded(Path("results"), Path("config"))}


def delete(code: int = 0) -> None:
    assert command_line.main(["gc", "--delete"]) == code


# ---- which studies there are -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "confg"], "confg: expected the folder of studies, found none"),
        (["--config", "config/small.yaml"], "config/small.yaml: expected the folder of studies"),
        (["--config", "empty"], "empty: expected study files (.yaml or .yml), found none"),
        (["--results", "reslts"], "reslts: expected the folder of results, found none"),
    ],
)
def test_nothing_goes_where_the_studies_are_not_known(
    arguments: list[str], told: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("empty/notes.txt").touch()
    assert command_line.main(["gc", "--delete", *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"SettingError: {told}")
    assert Path(OLD).is_dir()


@pytest.mark.parametrize("name", ["other.yml", "papers/first/other.yaml", "linked/other.yaml"])
def test_studies_of_either_ending_in_any_folder_keep_their_banks(name: str, home: Path) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/loop").symlink_to(home / "elsewhere")
    Path("config/linked").symlink_to(home / "elsewhere")
    path = Path("config", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**STUDY, "study": "other", "seed": 7}))
    shard = put_shard(used_bank(str(path)))
    delete()
    assert shard.exists() and not Path(OLD).exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"study: other\nseed: many\n", "config/other.yaml: "),
        ("title: Größe".encode("latin-1"), "config/other.yaml: expected text in UTF-8"),
    ],
)
def test_a_study_that_cannot_be_read_is_named(content: bytes, told: str, home: Path) -> None:
    Path("config/other.yaml").write_bytes(content)
    with pytest.raises(SettingError) as caught:
        found()
    assert str(caught.value).startswith(told) and str(caught.value).count("config/other.yaml") == 1


# ---- what may still have a writer --------------------------------------------------------------------


def test_temporary_files_without_a_living_writer_go(home: Path) -> None:
    shard = put_shard(used_bank())
    rests = [shard.with_name(f".{shard.name}.node-{pid}.part") for pid in (1, 2)]
    for rest in rests:
        rest.write_bytes(b"half a shard")
    age(rests[0])
    assert found()[str(rests[0])] == "rest"
    delete()
    assert [p.exists() for p in (*rests, shard)] == [False, True, True]


@pytest.mark.parametrize("inside", ["", "0.npz", "deeper"])
def test_a_folder_is_as_young_as_the_youngest_of_it_and_its_subfolders(inside: str, home: Path) -> None:
    """The scratch folder of a simulation is empty until its first block ends."""
    scratch = Path(used_bank(), "model/test/.rows.node-1.scratch")
    (scratch / "deeper").mkdir(parents=True)
    (scratch / "0.npz").touch()
    if not inside:
        shutil.rmtree(scratch)
        scratch.mkdir()
        assert str(scratch) not in found()
    age(scratch)
    assert found()[str(scratch)] == "rest"
    os.utime(scratch / inside)
    assert str(scratch) not in found()
    delete()
    assert scratch.is_dir()


# ---- states of trainings -----------------------------------------------------------------------------


def test_only_states_of_trainings_that_have_ended_go(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that waits in the queue over a weekend has no other copy of its progress."""
    output = make_output("results/small/train/npe/n1000-r0")
    elsewhere = make_output("results/other/train/npe/n1000-r0")
    Path("results/small/train/npe/n1000-r1").mkdir()
    ended, young = make_state("ended", output), make_state("young", output)
    kept = [
        make_state("without_output", "results/small/train/npe/n1000-r1"),
        make_state("untold"),
        make_state("empty", ""),
        make_state("of_another_study", elsewhere),
    ]
    age(ended, *kept)
    assert found() == {OLD: "bank", str(ended): "state"} | {str(path): "progress" for path in kept}
    delete()
    told = capsys.readouterr().out.splitlines()
    assert [p.exists() for p in (ended, young, *kept)] == [False, True, True, True, True, True]
    assert sum(line.startswith("kept     progress") for line in told) == 4
    assert "1 states of ended trainings, 0 temporary files, 4 unfinished trainings, kept" in told[-3]
    assert "Remove it by hand if that training is not wanted any more." in told[-1]


# ---- links -------------------------------------------------------------------------------------------


def test_what_a_used_bank_leads_to_is_used(home: Path) -> None:
    bank_folder, moved, part = used_bank(), Path("results/bank/moved"), Path("results/bank/part/exact")
    put_shard(moved)
    part.mkdir(parents=True)
    bank_folder.symlink_to("moved")
    (bank_folder / "exact").symlink_to("../part/exact")
    assert found() == {OLD: "bank"}
    delete()
    assert (bank_folder / "model/test" / bank.shard_name(0, 9)).is_file() and part.is_dir()


def test_a_link_goes_and_what_it_leads_to_stays(home: Path) -> None:
    treasure, link = Path("treasure"), Path("results/bank/link")
    treasure.mkdir()
    (treasure / "data").write_bytes(b"0" * 100_000)
    link.symlink_to(home / treasure)
    Path(OLD, "inner").symlink_to(home / treasure)
    sizes = {str(item.path): item.size for item in unneeded.unneeded(Path("results"), Path("config"))}
    assert sizes[str(link)] < 1000 and sizes[OLD] < 50_000
    delete()
    assert not link.is_symlink() and not Path(OLD).exists() and (treasure / "data").is_file()


# ---- what goes wrong ---------------------------------------------------------------------------------


def test_one_that_cannot_be_removed_does_not_stop_the_others(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path("results/bank/zeta-0123456789ab")
    put_shard(other)
    rmtree = shutil.rmtree

    def refuse(path: Any, *args: Any, **options: Any) -> None:
        if Path(path) == Path(OLD):
            raise PermissionError(13, "Permission denied", str(path))
        rmtree(path, *args, **options)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    delete(code=1)
    told = capsys.readouterr()
    assert f"{OLD}: cannot be removed whole: [Errno 13] Permission denied" in told.err
    assert [line.split()[0] for line in told.out.splitlines()[:2]] == ["FAILED", "removed"]
    assert Path(OLD).exists() and not other.exists()


def test_what_vanishes_meanwhile_is_skipped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Path(OLD).parent / ".rows.node-1.part"
    rest.touch()
    age(rest)
    lstat = Path.lstat

    def late(path: Path) -> os.stat_result:
        if path.name in (rest.name, "test"):
            shutil.rmtree(Path(OLD, "model/test"), ignore_errors=True)
            rest.unlink(missing_ok=True)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", late)
    assert found() == {OLD: "bank"}
    monkeypatch.undo()
    os.chdir(home)
    unneeded.remove(Path(OLD))
    unneeded.remove(Path(OLD))
    assert not Path(OLD).exists()
