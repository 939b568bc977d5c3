"""Digests that decide what reruns: of settings, files, and the code a stage depends on.

The digest of code is taken over syntax trees without docstrings (comments are not in a tree), of a stage's
modules and of the modules of this package that they import, in turn. Left out are registries (packages' own
`__init__`), which name all methods while a job uses one, and plumbing: modules that move results without
making them, whose formats carry version numbers.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "veridical"
SOURCE = Path(__file__).parent
_INSTALLED = SOURCE / "_workflow"
HOME = _INSTALLED if _INSTALLED.is_dir() else SOURCE.parents[1]  # of workflow/, scripts/, envs/, profiles/
PLUMBING = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "artifacts",
        "bank",
        "digests",
        "errors",
        "export",
        "files",
        "job",
        "layout",
        "needs",
        "observations",
        "parallel",
        "posteriors",
        "setting_messages",
        "settings",
        "shards",
        "streaming",
        "tasks.needs",
        "tasks.settings",
        "checks.settings",
        "estimators.settings",
        "workers",
    )
)


def canonical(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces; refuses NaN and what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short(value: Any, length: int = 12) -> str:
    """Returns the first hex digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def file_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a file, or of the names and contents of all files in a folder."""
    path = Path(path)
    if path.is_dir():
        members = sorted(p for p in path.rglob("*") if p.is_file())
        return short({str(p.relative_to(path)): file_digest(p) for p in members}, 64)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_digest(path: str | Path) -> str:
    """Returns the digest of a Python file's syntax tree without docstrings; of any other file's bytes."""
    path = Path(path)
    if path.suffix != ".py":
        return file_digest(path)
    return _read(path)[0]


@cache
def script_digest(path: Path) -> str:
    """Returns the digest of a rule's script, empty where the rule has none; read once a process."""
    return source_digest(path) if path.is_file() else ""


@cache
def code_digest(*roots: str) -> str:
    """Returns the digest of modules and of all modules of this package that they import.

    Arguments:
        roots: Dotted names of modules of this package, such as `veridical.stages.train`.
    """
    return short({name: _module(name)[0] for name in sorted(dependencies(roots))}, 16)


def dependencies(roots: Iterable[str]) -> set[str]:
    """Returns the dotted names of `roots` and of the package's modules they import, directly or not."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in PLUMBING:
            found.add(name)
            waiting += _module(name)[1]
    return found


def _path_of(name: str) -> Path:
    return SOURCE.joinpath(*name.split(".")[1:]).with_suffix(".py")


def _module_path(name: str) -> Path:
    path = _path_of(name)
    if not path.is_file():
        raise FileNotFoundError(f"module {name} has no file {path}.")
    return path


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a module, and the modules of this package that it imports anywhere; read once a process."""
    found, names = _read(_module_path(name))
    inside = {n for n in names if n.startswith(f"{PACKAGE}.")}
    return found, tuple(n for n in sorted(inside) if _path_of(n).is_file())


def _read(path: Path) -> tuple[str, list[str]]:
    """SHA-256 of a Python file's syntax tree without docstrings, and the dotted names that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), names
