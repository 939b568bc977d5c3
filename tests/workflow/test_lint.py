"""Code and workflow as their linters want them, and Snakemake's own report of a finished study."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Project, copy_project

pytestmark = pytest.mark.workflow

TOOLS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports", "--no-cache"],
    "snakefmt": ["snakefmt", "--check", "workflow"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_find_nothing(tool: str) -> None:
    name, *arguments = TOOLS[tool]
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\nRun `make format`, then `make lint`."


def test_without_a_study_the_clones_smallest_is_linted_and_run(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    for name in ("config/gaussian.yaml", "config/data/gaussian_example.csv"):
        shutil.copy(ROOT / name, project.folder / name)

    def run(*options: str) -> str:
        done = project.run([*project.command, *options], check=False)
        return done.stdout + done.stderr

    assert "Congratulations" in run("--lint")
    assert "results/gaussian@smoke/report.html" in run("--dry-run", "--config", "scale=smoke")
    (project.folder / "empty.yaml").write_text("{}")
    none = "No study is named. Add `--configfile config/NAME.yaml`; config/ has "
    assert f"{none}gaussian, tiny." in run("--dry-run", "--configfile", "empty.yaml")
    (project.folder / "config/gaussian.yaml").unlink()
    assert f"{none}tiny." in run("--dry-run", "--config", "scale=smoke")


def test_snakemakes_report_shows_every_result_with_its_caption(finished: Project, tmp_path: Path) -> None:
    """It is built without the network: what asks for it meets a closed port."""
    page = tmp_path / "report.html"
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    finished.snakemake("--report", str(page), env=finished.environment | closed)
    text = page.read_text()
    assert "Results of the study <strong>tiny</strong>" in text
    found = json.loads(re.search(r"var results = (\{.*?\});\n", text, flags=re.DOTALL)[1])
    categories = json.loads(re.search(r"var categories = (\{.*?\});\n", text, flags=re.DOTALL)[1])
    results = Path("results/tiny")
    tables = {str(results / n) for n in ("report.html", "metrics.csv", "verdict.json", "provenance.json")}
    figures = {
        str(p.relative_to(finished.folder)) for p in (finished.folder / results / "figures").glob("*.svg")
    }
    assert set(found) == tables | figures
    assert len(figures) >= 8
    assert set(categories) == {"Verdict", "Numbers", "Figures", "Provenance"}
    for name, result in found.items():
        assert re.sub(r"<[^>]+>", "", result["caption"]).strip(), f"{name} has no caption"
        assert result["labels"], f"{name} has no labels"
        assert "A figure of the study" not in result["caption"], f"{name} has no caption of its own"
    assert not re.search(r"""(src|href)=["']https?://[^"']+\.(js|css)""", text)
