"""`make`: what users name reaches the commands as it stands, and is never taken for a command itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment whose commands print what they are given."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/small.yaml").touch()
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("python", "snakemake"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / ".venv/.installed").touch()
    return tmp_path


def make(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NAME", "STUDY", "SCALE", "PROFILE", "DATA")}
    command = ["make", "--silent", *arguments]
    return subprocess.run(command, cwd=home, env=kept | environment, text=True, capture_output=True)


STRANGE = [
    "my pelts.csv",
    "it's.csv",
    'a "quoted" name.csv',
    "$(touch x).csv",
    "$(shell touch x).csv",
    "$$(touch x).csv",
    "`touch x`.csv",
    "a;touch x;.csv",
    "costs $5, or #1.csv",
]


@pytest.mark.parametrize("name", STRANGE)
def test_infer_hands_on_any_file_name(name: str, home: Path) -> None:
    expected = ["--profile", "profiles/local", "--configfile", "config/small.yaml"]
    expected += ["--config", "scale=laptop", f"data={name}"]
    for given in ({}, {"DATA": name}):
        done = make(home, "infer", "STUDY=small", *([] if given else [f"DATA={name}"]), **given)
        said = (done.returncode, done.stdout.splitlines())
        assert said == (0, [*expected, "--", "first_page", *expected]), done.stderr
    assert not (home / "x").exists()


def test_infer_asks_for_the_data(home: Path) -> None:
    done = make(home, "infer", "STUDY=small")
    assert done.returncode == 2
    assert "name the data, as in make infer STUDY=small DATA=new.csv" in done.stderr


@pytest.mark.parametrize(
    ("words", "file"),
    [(["benchmark"], "estimators"), (["benchmark", "COLLECTION=mine"], "mine"), (["study"], None)],
)
def test_a_benchmark_is_a_run_of_a_collection(words: list[str], file: str | None, home: Path) -> None:
    (home / "config/collections").mkdir()
    for name in ("estimators", "mine"):
        (home / f"config/collections/{name}.yaml").touch()
    done = make(home, *words, "NAME=small", "SCALE=smoke")
    path = f"config/collections/{file}.yaml" if file else "config/small.yaml"
    assert done.stdout.splitlines()[2:] == ["--configfile", path, "--config", "scale=smoke"], done.stderr
    unknown = make(home, "benchmark", "COLLECTION=none")
    assert unknown.returncode == 2
    assert "There is no study none: config/collections/ has estimators mine." in unknown.stderr


@pytest.mark.parametrize("name", ["budgets: [10, 40]", *STRANGE])
@pytest.mark.parametrize("target", [["study"], ["infer", "DATA=a.csv"]])
def test_changed_settings_reach_snakemake_in_one_word(target: list[str], name: str, home: Path) -> None:
    done = make(home, *target, "NAME=small", "SCALE=smoke", f"SET={name}")
    options = done.stdout.splitlines()[4:]
    assert options[:3] == ["--config", "scale=smoke", f"scales={{smoke: {{{name}}}}}"], done.stderr
    assert not (home / "x").exists()


@pytest.mark.parametrize("name", STRANGE)
def test_a_profile_may_lie_anywhere(name: str, home: Path) -> None:
    done = make(home, "study", "NAME=small", "SCALE=smoke", f"PROFILE={name}")
    assert done.stdout.splitlines()[1] == name
    assert done.stdout.splitlines()[-1] == "scale=smoke"
    assert not (home / "x").exists()


@pytest.mark.parametrize(
    "name",
    ["a;touch x;", "`touch x`", "a b", "$$(touch x)", "$(shell touch x)", "small.yaml;touch x;",
     "a'; touch x; '", 'a"; touch x; "', "small.yaml | touch x", "small.yaml\n\ttouch x", "-x; touch x #"],
)  # fmt: skip
def test_no_variable_is_a_command(name: str, home: Path) -> None:
    (home / ".venv/.dev").touch()
    targets = ("demo", "study", "plan", "status", "infer", "compare", "export", "digest", "gc", "verify")
    for target in (*targets, "test", "slurm-test", "chaos"):
        for given in ("NAME", "STUDY", "WITH", "SCALE", "TESTS", "SEED", "WORKERS", "DELETE"):
            make(home, target, "DATA=a.csv", f"{given}={name}")
            make(home, target, "DATA=a.csv", **{given: name})
    assert not list(home.rglob("x"))


def test_compare_hands_on_both_runs_and_asks_for_the_second(home: Path) -> None:
    done = make(home, "compare", "STUDY=small", "SCALE=smoke", "WITH=it's")
    expected = ["results/small@smoke", "results/it's", "--out", "results/small@smoke/compare.html"]
    assert done.stdout.splitlines()[-4:] == expected
    done = make(home, "compare", "STUDY=small")
    assert done.returncode == 2 and "make compare STUDY=small WITH=gaussian" in done.stderr


def test_a_study_may_be_called_name_or_study(home: Path) -> None:
    for given in ("NAME=small", "STUDY=small"):
        for target in ("study", "status"):
            assert "config/small.yaml" in make(home, target, given).stdout.splitlines()
        assert make(home, "digest", given).stdout.splitlines()[-1] == "results/small"
    (home / ".venv/.dev").touch()
    assert make(home, "test", "TESTS=tests/a tests/b").stdout.splitlines()[-2:] == ["tests/a", "tests/b"]


def test_a_name_in_the_environment_is_not_meant_for_us(home: Path) -> None:
    """Some systems keep that of the machine in NAME."""
    assert make(home, "digest", NAME="desktop-7").stdout.splitlines()[-1] == "results/lynx_hare"


def test_names_of_studies_are_let_through(home: Path) -> None:
    (home / "config/own").mkdir()
    (home / "config/own/a-b_c.2.yaml").touch()
    done = make(home, "study", "NAME=own/a-b_c.2")
    assert "config/own/a-b_c.2.yaml" in done.stdout.splitlines()
    assert make(home, "digest", "STUDY=a", "SCALE=smoke").stdout.splitlines()[-1] == "results/a@smoke"
    assert "There is no study smal: config/ has small." in make(home, "study", "NAME=smal").stderr


def test_what_ci_names_is_there() -> None:
    """Words of TESTS reach pytest one by one, so an expression in quotes would be several names."""
    script = (ROOT / ".ci/run").read_text()
    variables = dict(re.findall(r"^(\w+)=(\S+)$", script, re.MULTILINE))
    asked = [
        re.sub(r"\$(\w+)", lambda name: variables[name[1]], words)
        for words in re.findall(r'TESTS="(.+)"', script)
    ]
    named = [word for words in asked for word in words.split() if not word.startswith("--")]
    assert named and len(asked) == 1
    for word in named:
        file, _, function = word.partition("::")
        assert f"def {function or 'test_'}" in (ROOT / file).read_text(), word


def test_the_demo_trains_each_method_once_where_nothing_else_is_said(home: Path) -> None:
    (home / "config/lynx_hare.yaml").touch()
    assert "scales={laptop: {replicates: 1}}" in make(home, "demo").stdout.splitlines()
    assert "scales={laptop: {draws: 500}}" in make(home, "demo", "SET=draws: 500").stdout.splitlines()
    assert not any("scales" in line for line in make(home, "study", "NAME=small").stdout.splitlines())
