"""`python -m veridical new`: what it writes is valid, and it writes all of it or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from veridical import __main__ as command_line
from veridical import project
from veridical.errors import SettingError
from veridical.study import code_digests, documents, settings, validation
from veridical.study.layout import Layout


@pytest.fixture(scope="module", params=project.KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of each kind."""
    return project.create(tmp_path_factory.mktemp("place") / f"flu_by_{request.param}", request.param)


@pytest.mark.parametrize("scale", settings.SCALES)
def test_the_study_is_valid_and_all_it_names_is_there(
    folder: Path, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    study = settings.load(f"config/{folder.name}.yaml", scale)
    assert study.study == folder.name
    layout = Layout(study, scale=scale)
    validation.validate(layout)
    assert layout.task.parameter_names == ("infection", "recovery")
    assert layout.task.name in ("MyStudy", "flu_by_python", folder.name)


def test_editors_find_the_schema(folder: Path) -> None:
    first = (folder / "config" / f"{folder.name}.yaml").read_text().splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (folder / "config" / named).read_text() == documents.schema_text()


def test_every_name_is_that_of_the_study(folder: Path) -> None:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz"]
    assert len(paths) >= 10
    for path in paths:
        assert "my_study" not in str(path) + path.read_text() and "MyStudy" not in path.read_text(), path
    assert "<<" not in (folder / "README.md").read_text()
    for name in ("profiles/local/profile.yaml", "profiles/slurm/partitions.yaml"):
        assert (folder / name).read_bytes() == (code_digests.HOME / name).read_bytes()


def test_programs_can_be_started(tmp_path: Path) -> None:
    assert os.access(project.create(tmp_path / "a", "command") / "models" / "a.py", os.X_OK)


def test_stored_simulations_are_what_their_script_says(tmp_path: Path) -> None:
    with np.load(project.create(tmp_path / "a", "file") / "config" / "data" / "runs.npz") as stored:
        theta, x = stored["theta"], stored["x"]
    assert (theta.shape, x.shape) == ((5000, 2), (5000, 13))
    # the mean of the first day, in ten steps, as long as nearly all are susceptible
    growth = (np.exp(-theta[:, 1] / 10) + theta[:, 0] * 760 / 763 / 10) ** 10
    error = (x[:, 0] - 3 * growth)[theta[:, 0] < 2]
    assert abs(error.mean()) < 5 * error.std() / np.sqrt(len(error))


def test_the_page_shows_the_snakefile_of_the_readme(tmp_path: Path) -> None:
    page = Path(__file__).parents[2].joinpath("docs/bring_your_own.md").read_text()
    readme = (project.create(tmp_path / "my_study") / "README.md").read_text()
    assert readme.split("```")[1] in page.split("```")


@pytest.mark.parametrize("name", ["1st", "my-study", "my study", "café", "_x", "a.b", "bank"])
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"expected letters, digits and underscores.*got.*another name"):
        project.create(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"expected one of python, command, file, got 'comand'.*'command'"):
        project.create(tmp_path / "a", "comand")
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("mine")
    (tmp_path / "b").write_text("mine")
    with pytest.raises(
        SettingError, match="expected a new or an empty folder, got a folder that holds files"
    ):
        project.create(tmp_path / "a")
    with pytest.raises(SettingError, match="expected a new or an empty folder, got a file"):
        project.create(tmp_path / "b")
    with pytest.raises(SettingError, match="expected a place in a folder that exists"):
        project.create(tmp_path / "c" / "d")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "mine"]


def test_an_empty_folder_is_filled_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    project.create(".")
    assert Path("config/a.yaml").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(documents, "schema_text", full)
    with pytest.raises(SettingError, match=r"cannot be written.*No space left.*on a disk with room"):
        project.create(tmp_path / "a")
    assert not any(tmp_path.iterdir())


def test_the_command_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["new", "flu", "--task", "command"]) == 0
    assert capsys.readouterr().out.endswith("    cd flu\n    make SCALE=smoke\n")
    assert command_line.main(["new", "flu"]) == 1
    assert "SettingError: " in capsys.readouterr().err
    assert command_line.main(["workflow"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
    assert command_line.main(["schema"]) == 0
    assert capsys.readouterr().out == documents.schema_text()
