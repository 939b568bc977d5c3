"""A user's own code: a class in a Python file, imported under a name made of the file's content."""

from __future__ import annotations

import sys
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from veridical.errors import VeridicalError, suggest

T = TypeVar("T")


def load_class(file: str | Path, name: str, base: type[T], what: str, error: type[VeridicalError]) -> type[T]:
    """Returns the subclass of `base` called `name` in the Python file `file`.

    The file may import modules that lie beside it.

    Arguments:
        file: The Python file.
        name: The class.
        base: What it must be a subclass of.
        what: What the class is to be, for messages: `task`, `estimator`, `remedy`.
        error: What is raised.

    Raises:
        VeridicalError: Of the kind `error`, if the file or the class is missing, the file cannot be
            imported, or the class is not a complete subclass of `base`.
    """
    module = _module(Path(file), what, error)
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if _is_kind(value, base)]
        raise error(f"{file} has no class {name!r}. {suggest(name, classes)}")
    home = base.__module__.rpartition(".")[0] or base.__module__
    if not _is_kind(found, base):
        raise error(
            f"{file}: expected {name} to be a subclass of {home}.{base.__name__}, got {found!r}. "
            f"Write `class {name}({base.__name__}):` after `from {home} import {base.__name__}`."
        )
    if found.__abstractmethods__:
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise error(f"{file}: {name} does not implement {missing}, which each {what} must have.")
    return found


def _is_kind(value: object, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value is not base


def _module(file: Path, what: str, error: type[VeridicalError]) -> ModuleType:
    """Imports a file under a name made of its content, so that an edited file is imported anew."""
    if not file.is_file():
        near = [path.name for path in file.parent.glob("*.py")]
        hint = f" {suggest(file.name, near)}" if near else ""
        raise error(f"{what} file {file} is missing; paths are taken from {Path.cwd()}.{hint}")
    path = file.resolve()
    digest = blake2b(str(path).encode() + path.read_bytes(), digest_size=8).hexdigest()
    name = f"veridical_own_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise error(f"{what} file {file}: expected a Python file (*.py).")
    module = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as fault:
        del sys.modules[name]
        if not isinstance(fault, Exception | SystemExit):
            raise
        raise error(f"{what} file {file} cannot be imported: {type(fault).__name__}: {fault}") from fault
    finally:
        sys.path.remove(str(path.parent))
    return module
