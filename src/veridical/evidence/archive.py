"""Packs a finished study into one archive: report, numbers, weights, draws, data, settings and checksums.

The archive is an RO-Crate: its record stands beside `provenance.json` under the name that the standard asks
for. Equal contents give equal bytes: entries are sorted and carry no times, owners or machine names. In the
study file, paths begin in the working folder or the home directory, as in the record.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO

from veridical.digests import file_digest
from veridical.errors import ArtifactError
from veridical.evidence import intact, provenance
from veridical.files import whole

REQUIRED = ("report.html", "metrics.csv", "verdict.json", "provenance.json")
PATTERNS = ("observe/*", "train/**/*", "remedy/**/*", "infer/**/*.nc", "check/**/*.json", "figures/*")
CHECKSUMS = "SHA256SUMS"
INPUTS = "inputs/"
SUFFIX = ".tar.gz"
STUDY_FILES = (".yaml", ".yml")
TEXTS = (".csv", ".html", ".json", ".svg")


def export(study: str | Path, out: str | Path, *, extra: Iterable[str | Path] = ()) -> list[str]:
    """Writes one `.tar.gz` with all that belongs to a study; returns the names of its members.

    Arguments:
        study: The study's folder of results.
        out: The archive to write.
        extra: Further files, such as the study file and the data; they go to `inputs/`.

    Raises:
        ArtifactError: If the study is not finished, a file is damaged or not the one that its provenance
            names, or `out` is not the name of an archive or is that of a file to pack.
    """
    study, out = Path(study), Path(out)
    if not out.name.endswith(SUFFIX):
        raise ArtifactError(f"export: expected an archive named *{SUFFIX} to write, got {out}. Rename it.")
    members = {path.relative_to(study).as_posix(): path for path in _members(study)}
    _verify(study, members)
    for path in map(Path, extra):
        if not path.is_file():
            raise ArtifactError(f"export: {path} is to go into the archive but does not exist.")
        members[_place(path, members)] = path
    if out.resolve() in {path.resolve() for path in members.values()}:
        raise ArtifactError(
            f"export: {out} is one of the files to pack; expected another. Name an archive elsewhere."
        )
    for name, path in members.items():
        if not name.startswith(INPUTS):
            intact.check(path)
    members[provenance.DESCRIPTOR] = members["provenance.json"]
    texts = {n: _local(p) for n, p in members.items() if n.startswith(INPUTS) and p.suffix in STUDY_FILES}
    sums = {n: sha256(texts[n]).hexdigest() if n in texts else file_digest(p) for n, p in members.items()}
    texts[CHECKSUMS] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    _pack(out, members, texts, top=study.name.replace("@", "-"))
    for name in sorted({*members} - {*texts}):
        text = _text(members[name]) if members[name].suffix in TEXTS else ""
        if name.endswith(".json"):
            text = json.dumps(json.loads(text), ensure_ascii=False)
        if provenance.local(text) != text:
            print(f"{name} names a folder of this machine; where the study file states it, begin it with ./")
    return sorted([*members, CHECKSUMS])


def _local(path: Path) -> bytes:
    """A study file whose paths name no folder of this machine."""
    text: str = provenance.local(_text(path))
    return text.encode(errors="surrogateescape")


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="surrogateescape")


def _place(path: Path, members: Mapping[str, Path]) -> str:
    """Where a file goes among the inputs: under its name, and that of its folders where two share it."""
    for depth in range(1, len(path.absolute().parts)):
        name = INPUTS + "/".join(path.absolute().parts[-depth:])
        if name not in members or members[name].resolve() == path.resolve():
            return name
    raise ArtifactError(f"export: expected files of different names, got {path} twice.")


def _members(study: Path) -> list[Path]:
    missing = [name for name in REQUIRED if not (study / name).is_file()]
    if missing:
        raise ArtifactError(f"export: {study} lacks {', '.join(missing)}; run the study to its end first.")
    found = {study / name for name in REQUIRED}
    for pattern in PATTERNS:
        found |= {path for path in study.glob(pattern) if path.is_file() and not path.name.startswith(".")}
    return sorted(found)


def _verify(study: Path, members: dict[str, Path]) -> None:
    """Stops where a file differs from the one that the record of the study describes."""
    described = provenance.require_described(provenance.load(study / "provenance.json"), study)
    members |= {name: study / name for name in described}


def _pack(out: Path, members: Mapping[str, Path], texts: Mapping[str, bytes], top: str) -> None:
    """Writes the archive of members and of texts, which take the place of files of their name."""
    with (
        whole(out) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted({*members, *texts}):
            if name in texts:
                _add(archive, f"{top}/{name}", len(texts[name]), io.BytesIO(texts[name]))
                continue
            with members[name].open("rb") as stream:
                _add(archive, f"{top}/{name}", members[name].stat().st_size, stream)


def _add(archive: tarfile.TarFile, name: str, size: int, stream: IO[bytes]) -> None:
    """Adds one file without its time and owner."""
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, stream)
