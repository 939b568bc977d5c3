"""A user's own task: a class in a Python file."""

from __future__ import annotations

import sys
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from veridical.errors import TaskError, suggest
from veridical.tasks.base import Task


def load_class(file: str | Path, name: str) -> type[Task]:
    """Returns the subclass of Task called `name` in the Python file `file`.

    The file may import modules that lie beside it.

    Raises:
        TaskError: If the file or the class is missing, the file cannot be imported, or the class is no task.
    """
    module = _module(Path(file))
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if _is_task(value)]
        raise TaskError(f"{file} has no class {name!r}. {suggest(name, classes)}")
    if not _is_task(found):
        raise TaskError(
            f"{file}: expected {name} to be a subclass of veridical.tasks.Task, got {found!r}. "
            f"Write `class {name}(Task):` after `from veridical.tasks import Task`."
        )
    if found.__abstractmethods__:
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise TaskError(f"{file}: {name} does not implement {missing}, which each task must have.")
    return found


def _is_task(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Task) and value is not Task


def _module(file: Path) -> ModuleType:
    """Imports a file under a name made of its content, so that an edited file is imported anew."""
    if not file.is_file():
        near = [path.name for path in file.parent.glob("*.py")]
        hint = f" {suggest(file.name, near)}" if near else ""
        raise TaskError(f"task file {file} is missing; paths are taken from {Path.cwd()}.{hint}")
    path = file.resolve()
    digest = blake2b(str(path).encode() + path.read_bytes(), digest_size=8).hexdigest()
    name = f"veridical_own_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"task file {file}: expected a Python file (*.py).")
    module = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise TaskError(f"task file {file} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module
