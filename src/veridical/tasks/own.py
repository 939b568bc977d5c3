"""A user's own task: a class in a Python file."""

from __future__ import annotations

from pathlib import Path

from veridical import own_code
from veridical.errors import TaskError
from veridical.tasks.base import Task


def load_class(file: str | Path, name: str) -> type[Task]:
    """Returns the subclass of Task called `name` in the Python file `file`.

    Raises:
        TaskError: If the file or the class is missing, the file cannot be imported, or the class is no task.
    """
    return own_code.load_class(file, name, Task, "task", TaskError)  # type: ignore[type-abstract]
