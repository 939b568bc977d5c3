"""Digests of the code that a job depends on: what a change of code reruns.

They are taken over definitions, not over files: over what a rule's script names, what that names in turn, and
so on through this package. Of a definition counts its syntax tree without what changes no result: docstrings
(comments are not in a tree), descriptions of settings, labels, what a check says of its metrics, messages of
errors, what a task needs of a machine, and from where in the package a name is imported. A moved file is thus
the same code.

The walk stops at registries (packages' own `__init__`, `REGISTRIES`), which name all methods while a job uses
one; at plumbing; and at the modules `VERSIONED`, for which the number `seeds.STREAMS` stands.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from veridical.digests import file_digest, short

PACKAGE = "veridical"
SOURCE = Path(__file__).parents[1]
_INSTALLED = SOURCE / "_workflow"
HOME = _INSTALLED if _INSTALLED.is_dir() else SOURCE.parents[1]  # of workflow/, scripts/, envs/, profiles/

# Plumbing moves results without making them: its formats carry version numbers, its settings are params.
# It is these modules, these packages but for `MAKING`, and all modules whose names end in `settings`.
_PLUMBING = """
    artifacts coordinates digests errors files job methods own_code sections setting_messages unchecked
    version tasks.needs training.checkpoints bank saved study
"""
PLUMBING = frozenset(_PLUMBING.split())
MAKING = frozenset({"bank.blocks", "bank.validity", "saved.estimates"})
VERSIONED = frozenset({"seeds", "tasks.base", "tasks.distributions"})
REGISTRIES = frozenset({"MARGINALS"})
# Definitions revised without a change of any array, by the digest that they have now: the one that they keep.
REVISED = {
    "6db4e9ef1a7bdc732246f9caef19f481": "ead39ce564cb851f8da38878788cb709",  # Product
    "c70c2201052ed0b9d20fe48ca860a903": "49ab4d5d480779da675e4d5905bdadc8",  # MultivariateNormal
    "dfccfbab08f1bd46687e9ad2148483c1": "d573b36ad845e45a966fbf493c7b3c9e",  # Pendulum
    "33b1797827222a314953a0ab7c41aded": "65424be7f0f7f4651dc5e0a880b8c071",  # GaussianChain
    "ad438d2ec5d618f08c975bf5d50b9cad": "399ffb91d4058eeee00821a46e93668b",  # CancerStromal
    "a45f5bdda985738cfb85479316084186": "cdf24e7d1f5109785b05fa91dbf00328",  # GaussianLinear
    "ea70b6d866628135db2f6c7912a3520b": "a1add737929a851e3ce4e6aa9a08dadb",  # SLCP
}

Reference = tuple[str, str | None]  # a module, and a name in it or all of it
_ENTRY = re.compile(rf"{PACKAGE}(\.\w+)+(?=:\w+$)")  # the module of an entry of a registry, module:Class
_LEFT_OUT = object()
# For readers alone: keywords that are left out, by what is called with them.
_WORDS = {"Field": "description", "Parameter": "label", "Dimension": "label", "parameters": "labels"}


def code_digest(*roots: str | Path) -> str:
    """Returns the digest of some code and of all definitions of this package that it uses.

    Arguments:
        roots: Modules of this package (`veridical.checks.sbc`), single definitions in them
            (`veridical.tasks.priors:Uniform`), files. All of a module or a Python file counts, and the bytes
            of any other file or folder.

    Raises:
        FileNotFoundError: If there is no such module or file.
    """
    others = [r for r in roots if isinstance(r, Path) and r.suffix != ".py"]
    code = _digest(_stated(r for r in roots if r not in others))
    return short([code, *(file_digest(path) for path in others)], 16) if others else code


def dependencies(roots: Iterable[str | Path]) -> set[str]:
    """Returns the names of the modules whose definitions are in the digest of `roots`."""
    return {name for name, _ in _reached(_stated(roots))}


# ---- from roots to all definitions that they use ---------------------------------------------------

Stated = tuple[tuple[str, str | None], ...]  # each root, with its text where it is a file


def _stated(roots: Iterable[str | Path]) -> Stated:
    """The roots with the texts of files, which can change while a process runs; modules do not."""
    return tuple((str(r), r.read_text("utf-8") if isinstance(r, Path) else None) for r in roots)


@cache
def _digest(roots: Stated) -> str:
    return short(sorted(set(_reached(roots).values())), 16)


def _reached(roots: Stated) -> dict[tuple[str, str], str]:
    """The digest of each definition that the roots use, directly or not, by module and name."""
    found: dict[tuple[str, str], str] = {}
    waiting: list[tuple[_Module, str | None]] = []
    for root, text in roots:
        if text is not None:
            waiting.append((_parsed(root, text), None))
        else:
            name, _, attribute = root.partition(":")
            waiting.append((_module(name), attribute or None))
    while waiting:
        module, wanted = waiting.pop()
        for name in module.all if wanted is None else [wanted, *module.effects]:
            if (module.name, name) not in found:
                found[module.name, name], uses = module.unit(name)
                waiting += [(_module(other) if other else module, part) for other, part in uses]
    return found


def _origins(module: str, name: str | None) -> Iterator[Reference]:
    """Where the code behind a name lies, followed through modules that only hand it on."""
    path, counts = _file_of(module), _counts(module)
    if path is not None and path.name != "__init__.py" and not counts:
        return
    there = _module(module)
    if name is None or name in there.statements:
        if counts and not there.is_package and name not in REGISTRIES:
            yield module, name
    elif name in there.imports:
        for target in there.imports[name]:
            yield from _origins(*target)
    elif name in there.foreign:
        yield module, name
    elif _file_of(f"{module}.{name}"):
        yield from _origins(f"{module}.{name}", None)
    else:
        yield from _origins(module, None)  # made while the module runs: all of it counts


def _counts(module: str) -> bool:
    """Whether digests look into a module."""
    path = module.removeprefix(f"{PACKAGE}.")
    if path in VERSIONED or path.endswith("settings"):
        return False
    return path in MAKING or not {path, path.partition(".")[0]} & PLUMBING


# ---- modules and their definitions -----------------------------------------------------------------


@cache
def _file_of(name: str) -> Path | None:
    """The file of a module of this package; None where there is none."""
    package, *parts = name.split(".")
    base = SOURCE.joinpath(*parts)
    files = (base.with_suffix(".py"), base / "__init__.py") if package == PACKAGE else ()
    return next((path for path in files if path.is_file()), None)


@cache
def _module(name: str) -> _Module:
    path = _file_of(name)
    if path is None:
        raise FileNotFoundError(f"module {name} has no file below {SOURCE}.")
    return _Module(name, path.read_text("utf-8"), path.name == "__init__.py")


@cache
def _parsed(name: str, text: str) -> _Module:
    return _Module(name, text, False)


class _Module:
    """What a module defines and imports, read without importing it.

    Attributes:
        name: Its dotted name, or the path of a file.
        is_package: Whether it is the `__init__` of a package: a registry, or names handed on.
        statements: The statements that make up each definition.
        effects: Names of statements that define nothing, and count with whatever is used.
        imports: What a name stands for that is imported from this package.
        foreign: How a name is imported from elsewhere.
    """

    def __init__(self, name: str, text: str, is_package: bool) -> None:
        self.name, self.is_package = name, is_package
        self.statements: dict[str, list[ast.stmt]] = {}
        self.effects: list[str] = []
        self.imports: dict[str, set[Reference]] = {}
        self.foreign: dict[str, set[str]] = {}
        self._units: dict[str, tuple[str, set[Reference]]] = {}
        tree = ast.parse(text, filename=name)
        for node in _imports(tree.body):
            self._bind(node)
        for statement in tree.body:
            self._define(statement)

    @property
    def all(self) -> list[str]:
        """All names that it defines or imports from elsewhere."""
        return [*self.statements, *self.foreign]

    def unit(self, name: str) -> tuple[str, set[Reference]]:
        """The digest of one definition, and what it uses; of this module where the module is empty."""
        if name not in self._units:
            reader = _Reader(self)
            plain = [reader.plain(statement) for statement in self.statements.get(name, [])]
            plain += sorted(self.foreign.get(name, []))
            uses = {origin for used in reader.uses for origin in _origins(*used)} | reader.own
            digest = short(plain, 32)
            self._units[name] = REVISED.get(digest, digest), uses
        return self._units[name]

    def _bind(self, node: ast.Import | ast.ImportFrom) -> None:
        """Notes what an import makes known, wherever in the module it stands."""
        for alias, (source, part) in zip(node.names, _targets(node), strict=True):
            name = alias.asname or alias.name
            if isinstance(node, ast.Import) and not alias.asname:  # import a.b makes a known
                name = name.partition(".")[0]
                source = name if _file_of(source) else source
            if source == "__future__":
                continue
            if _file_of(source) and part == "*":
                for each in {*_module(source).all, *_module(source).imports}:
                    self.imports.setdefault(each, set()).add((source, each))
            elif _file_of(source):
                self.imports.setdefault(name, set()).add((source, part))
            else:
                self.foreign.setdefault(name, set()).add(f"{source} {part}")

    def _define(self, statement: ast.stmt) -> None:
        """Files a statement of the module under the names that it defines."""
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [statement.name]
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                return
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Compare(left=ast.Name("__name__"))):
                return
            case _:
                names = [f"line {statement.lineno}"]
                self.effects += names
        for name in names:
            if name != "__all__":
                self.statements.setdefault(name, []).append(statement)


def _imports(statements: list[Any]) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports among statements and those inside them; several times as fast as `ast.walk`."""
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        for inside in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _imports(getattr(statement, inside, []))


def _targets(node: ast.Import | ast.ImportFrom) -> list[Reference]:
    """The module and the name in it that each part of an import stands for."""
    if isinstance(node, ast.Import):
        return [(alias.name, None) for alias in node.names]
    module = "" if node.level else node.module or ""
    names = [f"{module}.{alias.name}" for alias in node.names]
    return [
        (name, None) if _file_of(name) else (module, alias.name)
        for name, alias in zip(names, node.names, strict=True)
    ]


class _Reader:
    """Turns syntax trees into plain data without what changes no result, and notes the names they use."""

    def __init__(self, module: _Module) -> None:
        self.module = module
        self.uses: set[Reference] = set()
        self.own: set[Reference] = set()

    def plain(self, node: Any, in_raise: bool = False) -> Any:
        """Returns a node as lists of strings, without empty fields, which differ with Python's version."""
        if isinstance(node, list):
            return [p for n in node if (p := self.plain(n, in_raise)) is not _LEFT_OUT]
        if not isinstance(node, ast.AST):
            return repr(node)
        in_raise = in_raise or isinstance(node, ast.Raise)
        match node:
            case ast.Import() | ast.ImportFrom() if all(_file_of(m) for m, _ in _targets(node)):
                return _LEFT_OUT
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if _called(value) == "Needs":
                return _LEFT_OUT
            case ast.AnnAssign(target=ast.Name("meanings" | "shown"), annotation=ast.Name("ClassVar")):
                return _LEFT_OUT
            case ast.Assign(targets=[ast.Name("of_nature")]):  # says who shares simulations
                return _LEFT_OUT
            case ast.JoinedStr() if in_raise:
                return "message"
            case ast.Constant(value=str(text)):
                return "message" if in_raise else repr(_ENTRY.sub("", text))
            case ast.Name():
                return self._name(node.id)
            case ast.Attribute() if module := self._module_of(node.value):
                self.uses.add((module, node.attr))
                return ["Name", node.attr]
        fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            fields["body"] = node.body[1:]
        if isinstance(node, ast.Call) and (words := _WORDS.get(_called(node) or "")):
            fields["keywords"] = [k for k in node.keywords if k.arg != words]
        present = {name: value for name, value in fields.items() if value is not None and value != []}
        return [type(node).__name__, *([name, self.plain(v, in_raise)] for name, v in present.items())]

    def _name(self, name: str) -> list[str]:
        module = self.module
        if (name in module.statements or name in module.foreign) and name not in REGISTRIES:
            self.own.add(("", name))
        targets = module.imports.get(name, set())
        self.uses |= targets
        return ["Name", *sorted(part or "" for _, part in targets)] if targets else ["Name", name]

    def _module_of(self, node: ast.expr) -> str | None:
        """The module of this package that an expression stands for."""
        if isinstance(node, ast.Name):
            targets = self.module.imports.get(node.id, set())
            return next((m for m, part in targets if part is None), None) if len(targets) == 1 else None
        base = self._module_of(node.value) if isinstance(node, ast.Attribute) else None
        name = f"{base}.{node.attr}" if base and isinstance(node, ast.Attribute) else ""
        return name if _file_of(name) else None


def _called(node: Any) -> str | None:
    """The last name of what is called."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "id", getattr(function, "attr", None))
