"""Schema, pages and captions, generated from the code so that they cannot disagree."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from veridical import figures
from veridical.evidence import definitions
from veridical.setting_messages import mapping_value
from veridical.study import settings
from veridical.study.collections import CollectionSettings

SCHEMA = Path("workflow/schemas/study.json")
PAGE = Path("docs/settings.md")
METRICS = Path(definitions.PAGE)
FIGURES = Path("docs/figures.md")
CAPTIONS = Path("workflow/report/figure.rst")

_INTRODUCTION = """# Settings

One YAML file in `config/` is one study, one in `config/collections/` several (see [Collection](#collection)
and [collections.md](collections.md)). This page is generated from the typed classes (`make docs`); unknown
or misspelt settings are refused with the nearest valid name. `scales:` holds overrides for `smoke`, `laptop`
and `paper`, merged over the rest key by key; lists are replaced.
"""

_FIGURES = """# Figures

One file in `src/veridical/figures/` is one kind of figure: what it is made from, its data, its drawing and
its words. This page is generated from them (`make docs`), as are the captions of Snakemake's report. One more
is a file there and a line in `figures/__init__.py`.

| kind of figure | section of the page | shows | how to read it |
| --- | --- | --- | --- |"""


def write(root: str | Path = ".") -> list[Path]:
    """Writes the schema and the pages below `root`; returns their paths."""
    texts = {SCHEMA: schema_text(), PAGE: page_text(), METRICS: definitions.page()}
    texts |= {FIGURES: figures_text(), CAPTIONS: captions_text()}
    for path, text in texts.items():
        target = Path(root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return list(texts)


def schema_text() -> str:
    """Returns the JSON schema of a study file as text."""
    return json.dumps(settings.schema(), indent=1) + "\n"


def figures_text() -> str:
    """Returns the page of figures: a line for each kind."""
    found = [(kind, figures.build(kind)) for kind in figures.FIGURES]
    rows = [f"| `{kind}` | {f.section} | {type(f).__doc__} | {f.read} |" for kind, f in found]
    return "\n".join([_FIGURES, *rows]) + "\n"


def captions_text() -> str:
    """Returns the captions of figures in Snakemake's report, a template that chooses by the kind."""
    lines = ['{% set kind = snakemake.wildcards.kind.split("--")[0] %}']
    for kind in figures.FIGURES:
        lines += [
            f'{{% if kind == "{kind}" %}}',
            *textwrap.wrap(figures.build(kind).read, 118),
            "{% endif %}",
        ]
    return "\n".join(lines) + "\n"


def page_text() -> str:
    """Returns the page of settings: a table per section, in the order of first use."""
    schema = settings.schema()
    sections = [("Study", schema)]
    seen: set[str] = set()
    parts = [_INTRODUCTION]
    while sections:
        title, node = sections.pop(0)
        parts.append(_section(title, node, schema["$defs"]))
        for name in _references(node):
            if name not in seen:
                seen.add(name)
                sections.append((name.removesuffix("Settings"), schema["$defs"][name]))
    return "\n".join([*parts, _section("Collection", CollectionSettings.model_json_schema(), {})])


def _section(title: str, node: dict[str, Any], definitions: dict[str, Any]) -> str:
    required = set(node.get("required", ()))
    rows = [
        f"| `{name}` | {_type(field)} | {_default(name, field, required)} | {_meaning(field, definitions)} |"
        for name, field in node.get("properties", {}).items()
    ]
    table = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([f"## {title}", "", node.get("description", "").split("\n\n")[0], "", *table, ""])


def _meaning(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a setting says of itself; a section without words of its own is described by its class."""
    if "const" in field:
        return "Names this kind of section."
    if "description" in field or not (named := _references(field)):
        return str(field.get("description", ""))
    if len(named) > 1:
        return "One of these sections."
    return " ".join(definitions[named[0]].get("description", "").split("\n\n")[0].split())


def _default(name: str, field: dict[str, Any], required: set[str]) -> str:
    if name in required:
        return "required"
    default = field.get("default")
    if isinstance(default, dict) and default:
        return "on, see its section"
    if "default" not in field:
        return "`{}`" if field.get("type") == "object" else "see its section"
    return f"`{json.dumps(default)}`"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1].removesuffix("Settings")
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    for key in ("anyOf", "oneOf"):
        if key in field:
            return " or ".join(dict.fromkeys(_type(branch) for branch in field[key]))
    kind = field.get("type", "any")
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    if value := mapping_value(field):
        return f"mapping of names to {_type(dict(value))}"
    return str({"null": "none", "object": "mapping"}.get(kind, kind)) + _range(field)


def _range(field: dict[str, Any]) -> str:
    signs = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{word} {field[key]:g}" for key, word in signs.items() if key in field]
    return f", {' and '.join(limits)}" if limits else ""


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else []
        return own + [name for key, value in node.items() if key != "$defs" for name in _references(value)]
    if isinstance(node, list):
        return [name for value in node for name in _references(value)]
    return []
