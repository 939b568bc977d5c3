"""Sentences for what is wrong with a study's settings: where, what was expected, what came, the nearest name.

pydantic says where an error is as a path of names, in which the branches of unions (the forms of a task, the
types of a summary network) stand as well. Here the path is walked through the JSON schema, so that it
reads as the user wrote it and the settings that may stand at its end are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from veridical.errors import suggest
from veridical.job import printable

Node = Mapping[str, Any]

_LONGEST = 80
_PATTERNS = {
    "^[A-Za-z][A-Za-z0-9_]*$": "a name of letters, digits and _ that begins with a letter",
    "^[A-Za-z0-9][A-Za-z0-9_-]*$": "a name of letters, digits, - and _ that begins with a letter or digit",
    r"^[A-Za-z0-9][\w.+/@-]*$": "a module name such as gcc/12",
}


def sentence(error: Mapping[str, Any], schema: Node) -> str:
    """Returns one sentence for one of pydantic's errors, without control characters.

    Arguments:
        error: The error, with `loc`, `type`, `msg`, `input` and perhaps `ctx`.
        schema: The JSON schema of a study.
    """
    return printable(_sentence(error, schema).replace("\n", " ").replace("\t", "\\t"))


def _sentence(error: Mapping[str, Any], schema: Node) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    path, nodes = _walk(error["loc"][:-1] if kind == "extra_forbidden" else error["loc"], schema)
    if kind == "extra_forbidden":
        siblings = {name for node in nodes for name in _below(node, schema)}
        name = str(error["loc"][-1])[:_LONGEST]
        return f"{'.'.join([*path, name])}: unknown setting. {suggest(name, siblings)}"
    where = ".".join(path)
    if kind == "missing":
        return f"{where}: this setting is required and missing."
    if kind in ("literal_error", "union_tag_invalid"):
        return _choice(where, error, context)
    got = "" if isinstance(error["input"], Mapping) else f"; got {shown(error['input'])}"
    told = f"{_expectation(error, context)}{got}"
    if kind == "string_type" and isinstance(error["input"], int | float):
        told += f"; put it in quotes, '{error['input']}', if it is a name"
    told += "" if told.endswith((".", "?")) else "."
    return f"{where}: {told}" if where else told  # what is wrong between sections has no place of its own


def mapping_value(node: Node) -> Node | None:
    """Returns the schema of the values where `node` is a mapping of names; None where it is not."""
    named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return next((value for value in named if isinstance(value, Mapping)), None)


def _choice(where: str, error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """One of a few words was expected, and the nearest is named."""
    if error["type"] == "union_tag_invalid":
        where, given = f"{where}.{context['discriminator'].strip(chr(39))}", context["tag"]
        choices = context["expected_tags"]
    else:
        given, choices = error["input"], context["expected"]
    names = re.findall(r"'([^']*)'", choices)
    near = f" {suggest(given, names)}" if isinstance(given, str) and len(names) > 1 else ""
    return f"{where}: expected {choices}; got {shown(given)}.{near}"


def _expectation(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """The message of pydantic, without the words that only its authors need."""
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] == "string_pattern_mismatch" and context["pattern"] in _PATTERNS:
        return f"expected {_PATTERNS[context['pattern']]}"
    if error["type"] == "dict_type":
        return "expected a mapping of names"
    if error["type"] in ("model_type", "model_attributes_type"):
        return "expected a mapping of settings"
    if error["type"] == "union_tag_not_found":
        return f"expected a mapping with the setting {context['discriminator']}"
    if error["type"] == "int_parsing_size":
        return "expected a much smaller number"
    message = re.sub(r" after validation, not \d+$|, unable to parse string as an? \w+$", "", error["msg"])
    message = re.sub(r"^Input should be (?=greater|less)", "expected a number ", message)
    message = message.replace("Input should be", "expected", 1).replace("a valid integer", "an integer")
    return re.sub(r"\ba valid (?=list|string|number)", "a ", message)


def shown(given: Any) -> str:
    """Returns a value as it is written in Python, cut where it is long."""
    text = repr(given)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


# ---- the schema ----------------------------------------------------------------------------------


def _walk(loc: tuple[Any, ...], schema: Node) -> tuple[list[str], list[Node]]:
    """Returns the path as the user wrote it and the schema nodes at its end."""
    path: list[str] = []
    nodes: list[Node] = [schema]
    for part in map(str, loc):
        members = [member for node in nodes for member in _members(node, schema)]
        if len(members) > len(nodes):
            nodes = _branch(members, part)
        elif part != "[key]":
            path.append(part)
            nodes = [child for member in members for child in _step(member, part)]
    return path, nodes


def _resolve(node: Node, schema: Node) -> Node:
    while "$ref" in node:
        node = schema["$defs"][str(node["$ref"]).rsplit("/", 1)[-1]]
    return node


def _members(node: Node, schema: Node) -> list[Node]:
    """The schemas that a node allows: itself, or the members of the union that it is, but for null."""
    node = _resolve(node, schema)
    branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if not branches:
        return [node]
    return [m for b in branches if b.get("type") != "null" for m in _members(b, schema)]


def _branch(members: list[Node], tag: str) -> list[Node]:
    """Those members of a union that its branch `tag` may mean."""
    typed = [m for m in members if m.get("properties", {}).get("type", {}).get("const") == tag]
    return typed or [m for m in members if tag in m.get("required", ())] or members


def _step(node: Node, part: str) -> list[Node]:
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    if named := mapping_value(node):
        return [named]
    return [node["items"]] if "items" in node else []


def _below(node: Node, schema: Node) -> set[str]:
    """Names of the settings that may stand below a node."""
    return {name for member in _members(node, schema) for name in member.get("properties", {})}
