"""The house: what lies where, what imports what, and files that must agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import veridical
from tests.conftest import modules_after

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "veridical"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "templates" not in path.parts)
PLUGIN = sorted((ROOT / "src" / "snakemake_logger_plugin_veridical").glob("*.py"))


def imported(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def starts(names: set[str], *packages: str) -> set[str]:
    return {n for n in names if any(n == p or n.startswith(p + ".") for p in packages)}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    names = imported(path)
    assert not starts(names, "snakemake"), "nothing in src imports Snakemake"
    folder = path.parent.name
    if folder == "tasks":
        assert not starts(names, "torch", "lightning", "zuko", "scipy.stats")
    if folder == "checks":
        assert not starts(names, "torch", "lightning", "zuko", "veridical.estimators", "veridical.networks")
    if folder == "figures":
        assert not starts(names, "torch", "lightning", "zuko", "veridical.artifacts", "veridical.methods")
    if folder != "stages" and path.name not in ("__main__.py",):
        assert not starts(names, "veridical.stages"), "only scripts import stages"
    assert not starts(names, "pickle", "joblib", "dill", "cloudpickle")


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.name != "seeds.py"], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_only_seeds_makes_generators(path: Path) -> None:
    text = path.read_text()
    for call in ("default_rng(", "SeedSequence(", "manual_seed(", "random.seed(", "RandomState("):
        assert call not in text or path.name in ALLOWED.get(call, ()), f"{path.name} calls {call}"


ALLOWED = {"manual_seed(": ("session.py", "distributions.py"), "RandomState(": ("chains.py",)}


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("*.py")), ids=lambda p: p.stem)
def test_scripts_are_thin(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 25
    early = {"pathlib", "pathlib.Path", "veridical", "veridical.job", "veridical.coordinates"}
    assert {"veridical", "veridical.job"} <= imported(path, top_level=True) <= early


def test_every_rule_has_its_script_and_every_script_its_rule() -> None:
    text = "".join(p.read_text() for p in (ROOT / "workflow" / "rules").glob("*.smk"))
    for path in (ROOT / "scripts").glob("*.py"):
        assert f'"../../scripts/{path.name}"' in text
        assert f"rule {path.stem}:" in text


def direct_dependencies() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(d) for d in project["dependencies"]]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pairs}


OF_EXTRAS = {"pythia8mc"}  # imported where they are needed, with a remedy where they are absent


def test_all_that_is_imported_is_a_direct_dependency() -> None:
    files = [*MODULES, *PLUGIN, *(ROOT / "scripts").glob("*.py")]
    names = {name for path in files for name in imported(path)}
    found = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"veridical"}
    for path in MODULES:  # registries and what is imported by name
        found |= set(re.findall(r'import_module\("(\w+)', path.read_text()))
    found -= OF_EXTRAS
    providers = packages_distributions()
    needed = {canonicalize_name(name) for package in found for name in providers[package]}
    assert needed <= {canonicalize_name(d.name) for d in direct_dependencies()}


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_environments_are_in_step_with_the_project(kind: str) -> None:
    conda = yaml.safe_load((ROOT / "envs" / f"{kind}.yaml").read_text())
    assert set(conda) == {"channels", "dependencies"}
    (pip,) = [d["pip"] for d in conda["dependencies"] if isinstance(d, dict)]
    assert [f"python {supported_python()}", "pip"] == conda["dependencies"][:-1]
    exact = [d for d in pip if not d.startswith("-")]
    assert exact == [f"{d.name}=={pinned()[canonicalize_name(d.name)]}" for d in direct_dependencies()]


def supported_python() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]


def test_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [Requirement(d) for group in project["optional-dependencies"].values() for d in group]
    for dependency in [*direct_dependencies(), *extras]:
        version = pinned().get(canonicalize_name(dependency.name))
        assert version is not None, f"{dependency.name} is not pinned"
        assert version in dependency.specifier, f"{dependency.name}: {version} is outside of its range"


@pytest.fixture(scope="module")
def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_text_holds_the_marks_of_a_merge(committed: list[str]) -> None:
    texts = {name: (ROOT / name).read_bytes() for name in committed}
    marked = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)
    assert [name for name, text in texts.items() if marked.search(text)] == []


def test_top_level_holds_what_the_design_names(committed: list[str]) -> None:
    top = {name.split("/")[0] for name in committed}
    allowed = {
        "workflow", "scripts", "envs", "config", "src", "tests", "profiles", "README.md", "pyproject.toml",
        "setup.py", "Makefile", "LICENSE", "CHANGELOG.md", "CITATION.cff", "constraints.txt", "docs",
        "benchmarks",
    }  # fmt: skip
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == str(citation["version"]) == veridical.__version__


def test_the_workflow_catalog_is_told_what_is_there() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    flags = usage["mandatory-flags"]["flags"].split()
    assert flags[::2] == ["--profile", "--configfile"] and all((ROOT / path).exists() for path in flags[1::2])
    assert usage["report"] is usage["software-stack-deployment"]["conda"] is True
    listed = set(re.findall(r"`(\w+)`", (ROOT / "config/README.md").read_text().split("| --- |")[-1]))
    assert listed == {path.stem for path in (ROOT / "config").glob("*.yaml")}


def test_the_package_imports_nothing_heavy() -> None:
    found = modules_after("import veridical, veridical.study.settings, veridical.study.layout")
    heavy = {"torch", "lightning", "zuko", "xarray", "dask", "sklearn", "matplotlib", "scipy.stats"}
    assert not found & {*heavy, "snakemake"}
