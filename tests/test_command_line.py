"""`python -m veridical`: verify, gc, export, digest, documents."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from veridical import __main__ as command_line
from veridical import bank
from veridical.evidence import archive as export
from veridical.evidence import metrics, result_digest
from veridical.study import documents, settings
from veridical.study.layout import Layout

STUDY: dict[str, Any] = {
    "study": "small",
    "seed": 1,
    "task": {"name": "gaussian_linear"},
    "simulation": {"shard_rows": 1000},
    "estimators": {"npe": {"type": "npe"}},
    "budgets": [1000],
    "observations": {"field": {"file": "field.csv", "layout": "table", "source": "a field"}},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one study, from which commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/small.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "field.csv").write_text("x0,x1\n0.1,0.2\n")
    return tmp_path


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def veridical(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in that folder; gives its exit status and what it says on both streams."""
    return lambda *arguments: (command_line.main([*arguments]), *capsys.readouterr())


def put_shard(folder: str | Path, first: int = 0) -> Path:
    path = Path(folder) / "model" / "test" / bank.shard_name(first, first + 9)
    x = np.arange(20.0).reshape(10, 2)
    bank.write(path, {"x": x}, {"first": first, "last": first + 9}, {"x": ("row", "feature")})
    return path


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(2.0).tobytes())] ^= 1
    path.write_bytes(content)


# ---- verify ------------------------------------------------------------------------------------------


def test_verify_counts_whole_shards_and_names_broken_ones(veridical: Command) -> None:
    paths = [put_shard("results/bank/a-1", first) for first in (0, 10)]
    assert veridical("verify") == (0, "2 of 2 files are what was written.\n", "")
    flip_a_byte(paths[1])
    code, told, _ = veridical("verify")
    broken, total = told.splitlines()
    assert code == 1 and broken.startswith("BROKEN") and str(paths[1]) in broken
    assert total == "1 of 2 files are what was written."
    assert veridical("verify", str(paths[0]))[0] == 0


def test_verify_of_what_is_no_shard_fails_and_does_not_tell_to_delete_it(veridical: Command) -> None:
    Path("empty").mkdir()
    for path, expected in (
        ("empty", "ArtifactError: empty: expected results of a study or shards of a bank, found none."),
        ("no/such/folder", "expected results of a study or shards of a bank, found none."),
        ("field.csv", "expected results of a study or shards of a bank, found none."),
        ("results/rows-000000000-000000009.zarr.zip", "no such shard"),
    ):
        code, *told = veridical("verify", path)
        assert code == 1 and path in "".join(told) and expected in "".join(told)
        assert path != "field.csv" or "elete" not in "".join(told)


# ---- gc ----------------------------------------------------------------------------------------------


def test_gc_lists_unused_banks_and_removes_them_only_when_told(veridical: Command) -> None:
    used = Layout(settings.load("config/small.yaml")).bank
    kept, old = put_shard(used), put_shard("results/bank/gaussian_linear-0123456789ab")
    Path("results/small").mkdir()
    code, listed, _ = veridical("gc")
    assert (
        code == 0 and "unused" in listed and "gaussian_linear-0123456789ab" in listed and used not in listed
    )
    assert "1 banks that no study uses, 0 states of ended trainings, 0 temporary files, 0 unf" in listed
    assert old.exists()
    assert veridical("gc", "--delete")[0] == 0
    assert kept.exists() and not old.parents[2].exists()
    assert Path("results/small").is_dir()


def test_gc_keeps_the_banks_of_every_scale(home: Path, veridical: Command) -> None:
    scales = {"paper": {"seed": 2}, "smoke": {"task": {"settings": {"dimension": 5}}}}
    (home / "config/small.yaml").write_text(yaml.safe_dump({**STUDY, "scales": scales}))
    layouts = [Layout(settings.load("config/small.yaml", scale), scale=scale) for scale in settings.SCALES]
    shards = [put_shard(layout.bank) for layout in layouts]
    assert len({layout.bank for layout in layouts}) == 3
    assert veridical("gc", "--delete")[0] == 0
    assert all(path.exists() for path in shards)


def test_gc_touches_nothing_where_a_study_cannot_be_read(veridical: Command) -> None:
    shard = put_shard("results/bank/gaussian_linear-0123456789ab")
    Path("config/other.yaml").write_text("study: other\nsed: 1\n")
    code, _, told = veridical("gc", "--delete")
    assert code == 1 and "Did you mean 'seed'?" in told
    assert shard.exists()


# ---- export, digest, documents -----------------------------------------------------------------------


def finish(home: Path) -> Path:
    """Makes a finished study as far as packing is concerned."""
    from veridical.evidence import provenance

    folder = home / "results/small"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<html>report</html>")
    (folder / "verdict.json").write_text("{}")
    metrics.write(folder / "metrics.csv", [])
    record = provenance.build({"study": "small", "seed": 1}, folder, [folder / "metrics.csv"])
    provenance.write(folder / "provenance.json", record)
    return folder


def test_export_packs_results_study_file_and_data(home: Path, veridical: Command) -> None:
    finish(home)
    packed = (0, "packed results/small into results/small.tar.gz\n", "")
    assert veridical("export", "--study", "config/small.yaml") == packed
    with tarfile.open("results/small.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"report.html", "metrics.csv", "inputs/small.yaml", "inputs/field.csv", export.CHECKSUMS} <= names
    assert veridical("export", "--study", "config/small.yaml", "--out", "elsewhere.tar.gz")[0] == 0
    assert Path("elsewhere.tar.gz").read_bytes() == Path("results/small.tar.gz").read_bytes()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("config/small.yaml", "expected an archive named *.tar.gz to write, got config/small.yaml"),
        ("results/small/report.html", "expected an archive named *.tar.gz to write, got results/small/rep"),
        ("data/../field.tar.gz", "data/../field.tar.gz is one of the files to pack"),
        ("results/small/train/old.tar.gz", "results/small/train/old.tar.gz is one of the files to pack"),
    ],
)
def test_export_writes_over_no_file_that_is_not_its_own(
    out: str, told: str, home: Path, veridical: Command
) -> None:
    (finish(home) / "train").mkdir()
    (home / "data").mkdir()
    Path("results/small/train/old.tar.gz").write_text("old")
    Path("field.tar.gz").write_text("field")
    fields = {"field": {**STUDY["observations"]["field"], "file": "field.tar.gz"}}
    Path("config/small.yaml").write_text(yaml.safe_dump({**STUDY, "observations": fields}))
    before = Path(out).read_bytes()
    code, _, said = veridical("export", "--study", "config/small.yaml", "--out", out)
    assert code == 1 and said.startswith(f"ArtifactError: export: {told}")
    assert Path(out).read_bytes() == before


@pytest.mark.parametrize(
    ("study", "scale", "told"),
    [
        ("small", "smoke", "ArtifactError: export: results/small@smoke lacks report.html, metrics.csv"),
        ("smal", "laptop", "Did you mean 'small'?"),
        ("small", "smol", "Did you mean 'smoke'?"),
    ],
)
def test_export_of_what_is_not_there_is_refused(
    study: str, scale: str, told: str, veridical: Command
) -> None:
    code, _, said = veridical("export", "--study", f"config/{study}.yaml", "--scale", scale)
    assert code == 1 and told in said


@pytest.mark.parametrize("record", ["{", "{}", "[]"])
def test_a_damaged_record_is_told_without_a_traceback(record: str, home: Path, veridical: Command) -> None:
    (finish(home) / "provenance.json").write_text(record)
    expected = "ArtifactError: results/small/provenance.json: expected a record of provenance"
    for command in (["export", "--study", "config/small.yaml"], ["digest", "results/small"]):
        code, _, told = veridical(*command)
        assert code == 1 and told.startswith(expected)
        assert "with `-- results/small/provenance.json` behind its snakemake command" in told


def test_digest_prints_the_digest_and_on_demand_its_lines(
    veridical: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["bank/model/test/x <f8 (10, 2) 00", "metrics.csv 11"]
    monkeypatch.setattr(result_digest, "listing", lambda study: lines)
    assert veridical("digest", "results/small") == (
        0,
        f"{result_digest.digest_of(lines)} results/small\n",
        "",
    )
    code, told, _ = veridical("digest", "results/small", "--list")
    assert code == 0 and told.splitlines()[:2] == lines


def test_digest_of_what_is_no_study_is_refused(veridical: Command) -> None:
    code, _, said = veridical("digest", "results/nothing")
    assert code == 1 and "expected the folder of a finished study" in said


def test_documents_are_written_below_the_folder_where_it_runs(veridical: Command, home: Path) -> None:
    code, told, _ = veridical("documents")
    assert code == 0
    assert told.split() == [str(path) for path in documents.write(home)]
    assert all((home / path).is_file() for path in told.split())


# ---- as a process ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, ["verify", "gc", "export", "digest", "documents"]),
        ([], 2, ["required: command"]),
        (["digets"], 2, ["invalid choice: 'digets'"]),
        (["digest", "nowhere"], 1, ["ArtifactError: nowhere", "expected the folder of a finished study"]),
    ],
)
def test_exit_status_and_message(arguments: list[str], code: int, words: list[str]) -> None:
    source = str(Path(command_line.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "veridical", *arguments],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert all(word in done.stdout + done.stderr for word in words)
    assert "Traceback" not in done.stderr
