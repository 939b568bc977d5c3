"""Study files read as they are written: what YAML would take for something else is refused and named.

YAML 1.1, which Python and Snakemake read, keeps the last of two equal keys, takes `no` for false, 010 for
8, 12:30 for 750, 2024-01-01 for a date and "$\\theta$" for a tab, but 1e3 for text. Here 1e3 is a number and
the others are refused with their line. Nothing in a file can make code run, and what it expands to is
bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from veridical.errors import SettingError

MOST_BYTES = 4_000_000
MOST_VALUES = 100_000  # with all aliases expanded
_DEEPEST = 1000  # that the reader in C, ten times as fast, is asked to follow
_DEEP = re.compile(rf"\n {{{_DEEPEST}}}|[-?][ \t]+[-?][ \t]+[-?][ \t]")
_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+")
_MEANT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)(?:\.[0-9]*)?|true|false|null")
# What a backslash before a letter becomes in double quotes: no text, or a formula with a gap.
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]|\$[^$]*\t[^$]*\$|\$[^$ ]*\n[^$ ]*\$")
_ZEROS = re.compile(r"[-+]?0(?:[0-9_]+|o[0-7_]+)")


class _Loader(yaml.SafeLoader):
    """Reads 1e3 as a number."""


class _FastLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same in C."""


for loader in (_Loader, _FastLoader):
    pattern = re.compile(f"^(?:{_EXPONENT.pattern})$")
    loader.add_implicit_resolver(f"{_TAG}float", pattern, list("-+0123456789"))


def read(path: str | Path) -> dict[str, Any]:
    """Returns the mapping in a YAML or JSON file.

    Raises:
        SettingError: If the file cannot be read, is no mapping, or holds what would be read as something else
            than what is written; with the line.
    """
    text = _text(Path(path))
    try:
        found = _json(path, text) if Path(path).suffix == ".json" else _yaml(path, text)
    except yaml.YAMLError as error:
        raise SettingError(_told(path, text, error)) from None
    except SettingError:
        raise
    except RecursionError:
        raise SettingError(
            f"{path}: its lists or mappings are nested too deeply. Write it flatter."
        ) from None
    except ValueError as error:  # a number of thousands of digits, a date that does not exist
        raise SettingError(f"{path}: a value cannot be read: {str(error)[:200]}.") from None
    if not isinstance(found, dict):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise SettingError(f"{path}: expected a mapping of settings (lines such as `seed: 1`), got {kind}.")
    return found


def numbers(given: Any) -> Any:
    """Returns values of a command line, which Snakemake reads, with 1e3 as the number that it is."""
    return _each(given, lambda text: float(text) if _EXPONENT.fullmatch(text) else text)


def of_command_line(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a command line as YAML means them.

    Snakemake leaves every number, `true`, `false` and `null` inside of lists and mappings as text.
    """
    nested = {
        name: _each(value, _meant) for name, value in given.items() if isinstance(value, Mapping | list)
    }
    return {**numbers(given), **nested}


def _each(given: Any, reading: Callable[[str], Any]) -> Any:
    """The same with each text in it read."""
    if isinstance(given, Mapping):
        return {name: _each(value, reading) for name, value in given.items()}
    if isinstance(given, list):
        return [_each(value, reading) for value in given]
    return reading(given) if isinstance(given, str) else given


def _meant(text: str) -> Any:
    if _EXPONENT.fullmatch(text):
        return float(text)
    return yaml.safe_load(text) if _MEANT.fullmatch(text) else text


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingError(f"{path}: cannot be read ({error}). Mend its permissions or its disk.") from error
    if len(content) > MOST_BYTES:
        raise SettingError(f"{path}: expected a study of at most {MOST_BYTES} bytes, got {len(content)}.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingError(
            f"{path}: expected text in UTF-8; line {line} is not ({error.reason}). Save it as UTF-8."
        ) from None


def _told(path: str | Path, text: str, error: yaml.YAMLError) -> str:
    """One sentence for what the parser says."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)
    line = mark.line + 1 if mark else text.count("\n", 0, position) + 1 if position is not None else None
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    context = getattr(error, "context", None)
    where = f", line {line}" if line else ""
    near = text.splitlines()[line - 1 : line] if line else []
    tabs = " Indent with spaces, not with tabs." if any("\t" in one for one in near) else ""
    told = " ".join(str(part) for part in (context, problem) if part)
    if "escape character" in told:
        tabs = " A backslash in double quotes begins an escape: put the text in single quotes."
    return f"{path}{where} is not valid YAML: {told.encode('unicode_escape').decode()[:300]}.{tabs}"


# ---- YAML --------------------------------------------------------------------------------------------


def _yaml(path: str | Path, text: str) -> Any:
    deep = text.count("[") + text.count("{") > _DEEPEST or _DEEP.search(text)
    loader = (_Loader if deep else _FastLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_plain(node, str(path), {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _require_plain(node: yaml.Node, path: str, sizes: dict[yaml.Node, int]) -> int:
    """Refuses what would be read as something else than what is written; returns the number of values."""
    if node in sizes:
        if not sizes[node]:
            raise SettingError(f"{path}, line {_line(node)}: an alias stands inside of what it stands for.")
        return sizes[node]
    sizes[node] = 0
    size = 1
    if isinstance(node, yaml.ScalarNode):
        _require_as_written(node, path)
    elif isinstance(node, yaml.MappingNode):
        _require_unique(node, path)
        size += sum(_require_plain(part, path, sizes) for pair in node.value for part in pair)
    else:
        size += sum(_require_plain(item, path, sizes) for item in node.value)
    if size > MOST_VALUES:
        raise SettingError(
            f"{path}, line {_line(node)}: expected at most {MOST_VALUES} values, got more, with all aliases "
            "expanded. Keep data in a file of their own."
        )
    sizes[node] = size
    return size


def _require_unique(node: yaml.MappingNode, path: str) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise SettingError(f"{path}, line {_line(key)}: expected a word as key, got a list or mapping.")
        if key.tag in (f"{_TAG}bool", f"{_TAG}null", f"{_TAG}timestamp"):
            _require_as_written(key, path)
            raise SettingError(
                f"{path}, line {_line(key)}: YAML does not read the key {key.value!r} as a word. "
                "Put it in quotes."
            )
        name = (key.tag, key.value)
        if name in lines:
            raise SettingError(
                f"{path}: the key {key.value!r} stands twice, in lines {lines[name]} and {_line(key)}. "
                "Keep one of them."
            )
        lines[name] = _line(key)


def _require_as_written(node: yaml.ScalarNode, path: str) -> None:
    """Refuses plain words that YAML 1.1 takes for something else, and formulas in double quotes."""
    if node.style == '"' and (found := _ESCAPED.search(node.value)):
        raise SettingError(
            f"{path}, line {_line(node)}: a backslash in double quotes begins an escape, which YAML reads as "
            f"{found[0][:20]!r}. Put the text in single quotes, as in '$\\theta$'."
        )
    if node.style in ("'", '"', "|", ">"):
        return
    text, kind, read = node.value, node.tag.removeprefix(_TAG), ""
    remedy = "if it is a name"
    if kind == "bool" and text.lower() not in ("true", "false"):
        read = "true" if text.lower() in ("yes", "on") else "false"
        remedy += f", or write {read} if that is meant"
    elif kind == "timestamp":
        read = "a date"
    elif kind in ("int", "float") and ":" in text:
        read = "a number of base 60"
    elif kind in ("int", "str") and _ZEROS.fullmatch(text):
        read = "an octal number or as text"
        remedy += ", or write the number without leading zeros"
    if read:
        raise SettingError(
            f"{path}, line {_line(node)}: YAML reads {text} as {read}. Put it in quotes, '{text}', {remedy}."
        )


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


# ---- JSON --------------------------------------------------------------------------------------------


def _json(path: str | Path, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, _ in pairs:
            if sum(name == other for other, _ in pairs) > 1:
                raise SettingError(f"{path}: the key {name!r} stands twice. Keep one of them.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise SettingError(f"{path}, line {error.lineno} is not valid JSON: {error.msg}.") from None
