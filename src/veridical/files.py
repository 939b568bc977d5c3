"""Files that appear under their name whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veridical.errors import ArtifactError


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what was written there gets its own name at the end.

    Nothing is left behind on any error.

    Raises:
        ArtifactError: If the file cannot be written, as on a full disk.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be written ({error}); nothing was left behind. Make room or mend the file "
            "system, then run again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
