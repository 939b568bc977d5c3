"""The pages that are generated: every setting and section is there, every link leads somewhere."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from veridical.evidence import definitions
from veridical.study import documents, settings
from veridical.study.collections import CollectionSettings

ROOT = Path(__file__).parents[2]
PAGE = documents.page_text()
GENERATED = [documents.FIGURES, documents.CAPTIONS]


def section(title: str) -> dict[str, list[str]]:
    """The rows of one section's table by the name of the setting: type, default, meaning."""
    body = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in body.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def test_every_section_of_the_schema_has_one_table_with_all_its_settings() -> None:
    schema, whole = settings.schema(), CollectionSettings.model_json_schema()
    sections = {"Study": schema, "Collection": whole, **schema["$defs"]}
    titles = re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE)
    assert sorted(titles) == sorted(name.removesuffix("Settings") for name in sections)
    for name, node in sections.items():
        assert set(section(name.removesuffix("Settings"))) == set(node.get("properties", {}))


def test_every_link_leads_to_a_section() -> None:
    anchors = {title.lower() for title in re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE)}
    links = set(re.findall(r"\]\(#(\w+)\)", PAGE))
    assert links
    assert links <= anchors


def test_no_cell_is_empty() -> None:
    for title in re.findall(r"^## (\w+)$", PAGE, flags=re.MULTILINE):
        for name, cells in section(title).items():
            assert len(cells) == 3 and all(cell.strip() for cell in cells), f"{title}.{name}: {cells}"


@pytest.mark.parametrize(
    ("title", "name", "expected"),
    [
        ("Study", "seed", ["integer, at least 0 and below 9.22337e+18", "required"]),
        ("Study", "budgets", ["list of integer, above 0", "required"]),
        ("Study", "observations", ["mapping of names to [Observation](#observation)", "`{}`"]),
        ("Study", "reference", ["[Reference](#reference) or none", "`null`"]),
        (
            "Study",
            "simulation",
            ["[Simulation](#simulation)", "on, see its section", "How banks are filled."],
        ),
        ("Simulation", "max_invalid", ["number, at least 0 and below 1", "`0.2`"]),
        ("Observation", "layout", ["`series`, `table`", '`"series"`']),
        ("Observation", "columns", ["list of string or none", "`null`"]),
        ("RegistryTask", "settings", ["mapping", "`{}`"]),
        ("OwnTask", "class", ["string", "required"]),
        ("NPE", "type", ["`npe`", '`"npe"`', "Names this kind of section."]),
        ("Checks", "sbc", ["[SBC](#sbc) or none", "on, see its section"]),
    ],
)
def test_types_ranges_defaults_and_meanings_are_readable(title: str, name: str, expected: list[str]) -> None:
    assert section(title)[name][: len(expected)] == expected


def test_files_are_written_where_they_belong(tmp_path: Path) -> None:
    written = documents.write(tmp_path)
    assert written == [documents.SCHEMA, documents.PAGE, documents.METRICS, *GENERATED]
    assert json.loads((tmp_path / documents.SCHEMA).read_text()) == settings.schema()
    assert (tmp_path / documents.PAGE).read_text() == PAGE
    assert (tmp_path / documents.METRICS).read_text() == definitions.page()
    for path in written:
        assert (tmp_path / path).read_text() == (ROOT / path).read_text(), "run `make docs`"


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.name
)
def test_links_between_pages_lead_to_files(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


def test_studies_in_the_documentation_are_read_by_the_settings() -> None:
    """Any whole study file that a page shows must be valid."""
    import yaml

    seen = 0
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), flags=re.DOTALL):
            given = yaml.safe_load(block)
            if isinstance(given, dict) and {"study", "seed", "task", "budgets"} <= set(given):
                settings.parse(given)
                seen += 1
    assert seen


def test_the_page_of_benchmarks_is_that_of_the_recorded_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    page = (ROOT / "docs/results/benchmarks.md").read_text()
    assert page == tables.benchmarks_page(), "run `python benchmarks/tables.py benchmarks`"
