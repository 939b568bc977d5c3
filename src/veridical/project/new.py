"""Writes a folder that runs at once: a study, its model, its data, profiles and what to type.

The folder is put together from `templates/common` and `templates/{kind}`. In all texts `my_study` stands for
the study and `MyStudy` for a class of that name; a line `<<name>>` stands for the kind's `fragments/name`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from veridical.errors import SettingError, suggest
from veridical.study import code_digests, documents

KINDS = ("python", "command", "file")
TEMPLATES = Path(__file__).parent / "templates"
RESERVED = frozenset({"bank"})  # results/bank holds the simulations of all studies


def snakefile() -> str:
    """Returns the path of the workflow's Snakefile, in a clone or in an installed package."""
    return str(code_digests.HOME / "workflow" / "Snakefile")


def create(folder: str | Path, kind: str = "python") -> Path:
    """Writes a project, whole or not at all, and returns its folder.

    Arguments:
        folder: A new or empty folder; its name becomes that of the study.
        kind: What simulates: `python`, a class; `command`, a program; `file`, nothing, as simulations exist.

    Raises:
        SettingError: If the name cannot be that of a study, the kind is unknown, or something is in the way.
    """
    folder = Path(folder).absolute()
    _require_name(folder.name)
    if kind not in KINDS:
        raise SettingError(f"task: expected one of {', '.join(KINDS)}, got {kind!r}. {suggest(kind, KINDS)}")
    _require_room(folder)
    staged = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        _write(staged, folder.name, kind)
        if folder.exists():  # somebody may stand in it
            for path in staged.iterdir():
                path.rename(folder / path.name)
        else:
            staged.rename(folder)
    except OSError as error:
        raise SettingError(
            f"{folder} cannot be written ({error}). Name a folder where you may write, on a disk with room."
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in RESERVED:
        expected = "letters, digits and underscores, a letter first, as in my_study"
        why = " (results/bank holds the simulations of all studies)" if name in RESERVED else ""
        raise SettingError(f"name of a study: expected {expected}, got {name!r}{why}. Choose another name.")


def _require_room(folder: Path) -> None:
    if not folder.parent.is_dir():
        raise SettingError(f"{folder}: expected a place in a folder that exists. Make {folder.parent} first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "a folder that holds files" if folder.is_dir() else "a file"
        raise SettingError(
            f"{folder}: expected a new or an empty folder, got {what}. Choose another name or empty it."
        )


def _write(folder: Path, name: str, kind: str) -> None:
    """Fills a new folder."""
    fragments = {path.name: path.read_text("utf-8") for path in (TEMPLATES / kind / "fragments").iterdir()}
    names = {"my_study": name, "MyStudy": _class_name(name)}
    for source in (TEMPLATES / "common", TEMPLATES / kind):
        for path in sorted(source.rglob("*")):
            inside = path.relative_to(source)
            if path.is_dir() or {"fragments", "__pycache__"} & {*inside.parts}:
                continue
            text = re.sub(r"(?m)^<<(.+)>>\n", lambda m: fragments[m[1]], path.read_text("utf-8"))
            target = folder / str(inside).replace("my_study", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(re.sub("my_study|MyStudy", lambda m: names[m[0]], text), encoding="utf-8")
            if text.startswith("#!"):
                readable = target.stat().st_mode & 0o444
                target.chmod(target.stat().st_mode | readable >> 2)
    (folder / "config" / "schema.json").write_text(documents.schema_text(), encoding="utf-8")
    profiles = code_digests.HOME / "profiles"
    for path in filter(Path.is_file, profiles.rglob("*")):
        target = folder / "profiles" / path.relative_to(profiles)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    if kind == "file":
        subprocess.run([sys.executable, "models/make_runs.py"], cwd=folder, check=True)


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
