"""Each line of docs/rerun.md: what a change reruns, and that it reruns nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest

from veridical import bank
from veridical.study.settings import merge

from .conftest import ROOT, Project

pytestmark = pytest.mark.workflow

REPORT = {"metrics", "figures", "provenance", "report", "outcome"}


def rules(project: Project, *options: str, study: str = "tiny") -> set[str]:
    return set(project.reruns(*options, study=study))


def test_nothing_after_a_change_that_cannot_matter(project: Project) -> None:
    """The default study has a reference, a title, other budgets: mixed in, any would make jobs run again."""
    shutil.copy(ROOT / "config/gaussian.yaml", project.folder / "config/gaussian.yaml")
    os.utime(project.folder / "config/data/field.csv")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "README.md", "src"], ["commit", "-qm", "Change"]):
        subprocess.run([*git, *command], cwd=project.folder, check=True)
    project.edit("README.md", "veridical", "Veridical")
    project.edit("src/veridical/bank/reading.py", '"""', '"""Really: ')
    project.edit("src/veridical/bank/blocks.py", "choose another name", "take another name")
    project.edit("src/veridical/seeds.py", '"probe": 4,', '"probe": 4, "propose": 16,')
    project.edit(
        "src/veridical/tasks/base.py", "    block_rows: int", '    colour: str = ""\n    block_rows: int'
    )
    networks = project.folder / "src/veridical/networks"
    (networks / "mixed.py").rename(networks / "moved.py")
    project.edit(
        "src/veridical/estimators/posterior_network.py",
        "veridical.networks.mixed",
        "veridical.networks.moved",
    )
    for path in (
        "stages/train.py",
        "stages/simulate.py",
        "bank/blocks.py",
        "checks/sbc.py",
        "tasks/gaussian_linear.py",
    ):
        project.edit(f"src/veridical/{path}", "from __future__", "# a comment\nfrom __future__")
        project.edit(f"src/veridical/{path}", '"""', '"""New words. ')
    project.edit("scripts/train.py", '"""', '"""New words. ')
    project.add_code("src/veridical/tasks/mixture.py")
    assert rules(project) == set()


def test_nothing_for_other_cores_memory_or_profile(project: Project) -> None:
    (project.folder / "profiles/other").mkdir()
    text = (project.folder / "profiles/local/profile.yaml").read_text().replace("cores: all", "cores: 1")
    (project.folder / "profiles/other/profile.yaml").write_text(text + "latency-wait: 9\n")
    other = ["--profile", "profiles/other", "--cores", "1", "--set-threads", "simulate=2"]
    other += ["--set-resources", "train:mem_mb=9000", "--default-resources", "runtime=5"]
    assert rules(project, *other) == set()


def test_another_scale_shares_the_bank(project: Project) -> None:
    assert not rules(project, "--config", "scale=smoke") & {"simulate", "probe"}


def test_a_plot_redraws_figures_and_report(project: Project) -> None:
    project.add_code("src/veridical/figures/posterior.py")
    assert rules(project) == {"figures", "report", "outcome"}


@pytest.mark.parametrize(
    ("changes", "counts", "never"),
    [
        (
            {"checks": {"tarp": {"neighbours": 7}}},
            {"check": 1, **dict.fromkeys(REPORT, 1)},
            {
                "simulate",
                "probe",
                "observe",
                "observe_simulated",
                "train",
                "infer",
                "exact",
                "predict",
                "nearby",
            },
        ),
        (
            {"replicates": 2},
            {"simulate": 1, "train": 1, "infer": 2},
            {"probe", "observe", "observe_simulated"},
        ),
        (
            {"estimators": {"npe": {"training": {"epochs": 4}}}},
            {"train": 1},
            {"simulate", "probe", "observe", "observe_simulated"},
        ),
    ],
    ids=["a setting of a check", "one more replicate", "a setting of an estimator"],
)
def test_a_setting_reruns_what_depends_on_it(
    project: Project, changes: dict[str, Any], counts: dict[str, int], never: set[str]
) -> None:
    project.write(merge(project.settings(), changes))
    found = project.reruns()
    assert {rule: found.get(rule) for rule in counts} == counts
    assert not set(found) & never


@pytest.mark.parametrize("older", [0, 10**9], ids=["written now", "with an older date"])
def test_other_data_redo_observe_onward(project: Project, older: int) -> None:
    """The content decides, not the date: data that were merely touched are among what reruns nothing."""
    field = project.folder / "config/data/field.csv"
    field.write_text("x0,x1\n0.9,0.9\n")
    now = field.stat().st_mtime
    os.utime(field, (now - older, now - older))
    again = rules(project)
    assert not again & {"simulate", "probe", "train", "observe_simulated"}
    assert {"observe", "infer", "check", "report"} <= again


def test_code_of_the_task_makes_a_new_bank_beside_the_old(project: Project) -> None:
    bank = project.folder / "results/bank"
    (old,) = bank.iterdir()
    shards = {p: p.read_bytes() for p in old.rglob("*.zarr.zip")}
    project.add_code("src/veridical/tasks/gaussian_linear.py")
    counts = project.reruns()
    assert {"probe", "simulate", "train", "infer", "check", "report"} <= set(counts)
    project.snakemake("--until", "simulate")
    assert len(list(bank.iterdir())) == 2
    assert {p: p.read_bytes() for p in old.rglob("*.zarr.zip")} == shards


def test_a_lost_shard_is_made_again_and_nothing_else(project: Project) -> None:
    shard = next((project.folder / "results/bank").rglob("test/*.zarr.zip"))
    before = bank.manifest(shard)["digests"]
    shard.unlink()
    project.snakemake("--", str(shard.relative_to(project.folder)))
    assert bank.manifest(shard)["digests"] == before
    assert rules(project) == set()
