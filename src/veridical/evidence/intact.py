"""Whether the files of a study and of its bank are what was written: each is read as its users read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from veridical import artifacts, bank, files, unchecked
from veridical.errors import ArtifactError, VeridicalError
from veridical.evidence import metrics, provenance
from veridical.saved import observations, posteriors


def _json(path: Path) -> Any:
    return files.read_json(path, "a record of a study")


def _npz(path: Path) -> Any:
    return files.read_npz(path, "arrays of a study")


def _weights(path: Path) -> Any:
    return artifacts.load_whole(path.parent)


def _record(path: Path) -> Any:
    return artifacts.load_record(path.parent)


def _drawn(path: Path) -> None:
    """A page or a figure, which ends with the element that it is."""
    with files.reading(path, "a page or a figure"):
        text = path.read_text(encoding="utf-8")
        if f"</{path.suffix[1:]}>" not in text:
            raise ValueError("its end is missing")


READERS: Mapping[str, Callable[[Path], Any]] = {  # the first pattern that fits decides
    "*.zarr.zip": bank.verify,
    "observe/*.nc": observations.load,
    "*.nc": posteriors.load,
    "*.npz": _npz,
    "weights.safetensors": _weights,
    "estimator.json": _record,
    "metrics.csv": metrics.read,
    "provenance.json": provenance.load,
    "*.json": _json,
    "*.jsonl": files.benchmark_records,
    "*.svg": _drawn,
    "*.html": _drawn,
}
_RUNNING = "checkpoints"  # states of trainings change while one looks; a training looks at its own


def check(path: str | Path) -> None:
    """Reads one file whole.

    Raises:
        VeridicalError: If it is not what was written; names the file and the remedy.
    """
    path = Path(path)
    if unchecked.read(path) is not None:
        return
    for pattern, read in READERS.items():
        if path.match(pattern):
            read(path)
            return


def find(folder: str | Path) -> list[Path]:
    """Returns a file, or all files below a folder that have a reader.

    Raises:
        ArtifactError: If there are none.
    """
    folder = Path(folder)
    found = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    known = [path for path in found if any(path.match(pattern) for pattern in READERS)]
    known = [path for path in known if _RUNNING not in path.parts and not path.name.startswith(".")]
    if not known:
        raise ArtifactError(
            f"{folder}: expected results of a study or shards of a bank, found none. Name their folder."
        )
    return known


def broken(folder: str | Path) -> Iterator[tuple[Path, VeridicalError | None]]:
    """Yields each file with what is wrong with it, None where nothing is."""
    for path in find(folder):
        try:
            check(path)
            if path.name == "provenance.json":
                provenance.require_described(provenance.load(path), path.parent)
        except VeridicalError as error:
            yield path, error
        else:
            yield path, None
