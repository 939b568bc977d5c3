"""Provenance of a study: what made which file, from what, on which machine, as RO-Crate JSON-LD.

The record follows RO-Crate 1.1 and the Process Run Crate profile: a root data set, one entity per file with
its SHA-256 and size, and one action that links inputs, software and results. Files outside the study's folder
(the banks, the data files) are named by a local identifier and keep their path as a property.

References:
    | RO-Crate Metadata Specification 1.1 | https://w3id.org/ro/crate/1.1
    | Process Run Crate 0.5 | https://w3id.org/ro/wfrun/process/0.5
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from veridical import seals
from veridical.digests import file_digest
from veridical.errors import ArtifactError, if_bad, if_gone
from veridical.files import read_json, write_text
from veridical.version import VERSION

CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
DESCRIPTOR = "ro-crate-metadata.json"
LICENSE = "The authors of this study state no licence; ask them before you share its results."
PACKAGES = (
    "dask",
    "emcee",
    "h5netcdf",
    "jinja2",
    "lightning",
    "matplotlib",
    "numpy",
    "POT",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "scipy",
    "snakemake",
    "torch",
    "xarray",
    "zarr",
    "zuko",
)
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".nc": "application/x-netcdf",
    ".npz": "application/zip",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}

Entity = dict[str, Any]


def build(
    settings: Mapping[str, Any],
    root: str | Path,
    files: Iterable[str | Path],
    *,
    data: Mapping[str, Mapping[str, Any]] | None = None,
    banks: Mapping[str, Mapping[str, Any]] | None = None,
    later: Iterable[str] = ("report.html",),
) -> dict[str, Any]:
    """Returns the record of a study.

    Arguments:
        settings: The study's settings, whole, with its name under `study` and its root seed under `seed`.
        root: The study's folder of results; files below it are named relative to it.
        files: Result files, hashed here; those outside of `root` count as inputs.
        data: Observed data sets by name: `file` and `source`.
        banks: Digest, rows and shards of every part of the bank that was used, by its path.
        later: Names of files that are made after this record and therefore stand without a digest.
    """
    root = Path(root)
    found = [file_entity(path, root) for path in sorted({Path(f) for f in files})]
    results = [thing for thing in found if thing["@type"] == "File"]
    results += [{"@id": name, "@type": "File", "encodingFormat": _media_type(name)} for name in later]
    inputs = [_data_entity(name, given) for name, given in sorted((data or {}).items())]
    inputs += [_bank_entity(name, given) for name, given in sorted((banks or {}).items())]
    inputs += [thing for thing in found if thing["@type"] != "File"]
    inputs.append(_settings_entity(settings))
    now = _now()
    graph = [
        _descriptor(),
        _root_entity(settings, results, inputs, now),
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        _action(settings, results, inputs, now),
        *_software(),
        *inputs,
        *results,
    ]
    return {"@context": f"{CRATE}/context", "@graph": [flat for thing in graph for flat in _flat(thing)]}


def write(path: str | Path, record: Mapping[str, Any]) -> None:
    """Writes the record whole or not at all, with the paths of this machine as `local` has them."""
    write_text(path, seals.filled(json.dumps(local(record), indent=1, allow_nan=False) + "\n"))


def local(value: Any) -> Any:
    """Returns text or plain data in which paths begin at the working folder (.) or the home directory (~).

    What leaves the machine so names neither its folders nor its user, and means the same in another place.
    """
    if isinstance(value, Mapping):
        return {local(key): local(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [local(inside) for inside in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    here, shell = os.getcwd(), os.environ.get("PWD", "")  # the shell names it by its links
    places = {os.path.expanduser("~"): "~", here: "."}
    if os.path.isdir(shell) and os.path.samefile(here, shell):
        places[shell] = "."
    for place in sorted(places, key=len, reverse=True):
        if os.path.isabs(place) and place.strip("/"):
            value = re.sub(rf"(?<![\w/]){re.escape(place)}(?![\w.-])", places[place], value)
    return value


def load(path: str | Path) -> dict[str, Any]:
    """Reads a record.

    Raises:
        ArtifactError: If the file is missing or holds no record.
    """
    record = read_json(path, "a record of provenance")
    graph = record.get("@graph")
    things = graph if isinstance(graph, list) else [None]
    if not all(isinstance(thing, dict) and {"@id", "@type"} <= thing.keys() for thing in things):
        raise ArtifactError(
            f"{path}: expected a record of provenance, an object with a list of entities `@graph`, got "
            f"something else. {if_bad(path)}."
        )
    return record


def require_described(record: Mapping[str, Any], root: str | Path) -> list[str]:
    """Returns the names of the files below `root` whose digests a record keeps, which must be theirs.

    Raises:
        ArtifactError: If one of them is missing or differs.
    """
    kept = {thing["@id"]: thing["sha256"] for thing in record["@graph"] if "sha256" in thing}
    names = [name for name in kept if not name.startswith("#")]
    for name in names:
        path = Path(root) / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; provenance.json names it. {if_gone(path)}.")
        if file_digest(path) != kept[name]:
            raise ArtifactError(f"{path} is not the file that provenance.json describes. {if_bad(path)}.")
    return names


def entity(record: Mapping[str, Any], identifier: str) -> Entity:
    """Returns the entity of that identifier.

    Raises:
        KeyError: If the record has none.
    """
    for candidate in record["@graph"]:
        if candidate["@id"] == identifier:
            return candidate
    raise KeyError(identifier)


def properties(record: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    """Returns the additional properties of an entity as a plain dictionary."""
    named = (entity(record, p["@id"]) for p in entity(record, identifier).get("additionalProperty", ()))
    return {p["name"]: p["value"] for p in named}


def file_entity(path: str | Path, root: str | Path) -> Entity:
    """Returns the entity of one file: its path below `root`, size, media type and SHA-256.

    A file elsewhere is no part of the crate: it gets a local identifier and keeps its path as a property.
    """
    path, root = Path(path), Path(root)
    about = {
        "contentSize": str(path.stat().st_size),
        "encodingFormat": _media_type(path.name),
        "sha256": file_digest(path),
    }
    if path.resolve().is_relative_to(root.resolve()):
        return {"@id": path.resolve().relative_to(root.resolve()).as_posix(), "@type": "File", **about}
    outside = {"name": path.name, "additionalProperty": {"path": path.as_posix()}}
    return {"@id": f"#file-{path.as_posix()}", "@type": "CreativeWork", **outside, **about}


def revision(folder: str | Path | None = None) -> tuple[str | None, bool | None]:
    """Returns the git revision of this package's source and whether it was changed since; None outside git.

    A repository that merely surrounds an installed package, and does not hold its source, does not count.
    """
    folder = Path(folder or Path(__file__).parent)
    try:
        _git(folder, "ls-files", "--error-unmatch", "provenance.py")
        commit = _git(folder, "rev-parse", "HEAD").strip()
        return commit, bool(_git(folder, "status", "--porcelain", ":/").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def environment() -> dict[str, Any]:
    """Returns what the last bits of results depend on, beside the versions of packages."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "cpu_features": cpu_features(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the packages that results depend on, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_features() -> list[str]:
    """Returns the CPU features that numpy found, which decide the last bits of its functions."""
    from numpy._core._multiarray_umath import __cpu_features__

    return sorted(name for name, there in __cpu_features__.items() if there)


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def _now() -> str:
    """The time, or the one in SOURCE_DATE_EPOCH where a reproducible build sets it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")


def _media_type(name: str) -> str:
    return MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")


def _reference(things: Iterable[Entity]) -> list[Entity]:
    return [{"@id": thing["@id"]} for thing in things]


def _flat(thing: Entity) -> list[Entity]:
    """The entity and its additional properties as entities of their own, as flattened JSON-LD has them."""
    values = thing.get("additionalProperty")
    if not values:
        return [thing]
    stem = thing["@id"] if thing["@id"].startswith("#") else f"#{thing['@id']}"
    named = [
        {"@id": f"{stem}-{name}", "@type": "PropertyValue", "name": name, "value": _plain(value)}
        for name, value in values.items()
    ]
    return [{**thing, "additionalProperty": _reference(named)}, *named]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else json.dumps(value)


def _descriptor() -> Entity:
    about = {"conformsTo": {"@id": CRATE}, "about": {"@id": "./"}, "identifier": seals.EMPTY}
    return {"@id": DESCRIPTOR, "@type": "CreativeWork", **about}


def _root_entity(
    settings: Mapping[str, Any], results: list[Entity], inputs: list[Entity], now: str
) -> Entity:
    name = settings.get("title") or settings["study"]
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": name,
        "description": settings.get("description") or f"Results of the veridical study {settings['study']}.",
        "datePublished": now,
        "license": LICENSE,
        "conformsTo": {"@id": PROFILE},
        "hasPart": _reference(results),
        "mentions": [{"@id": "#run"}, *_reference(inputs)],
    }


def _action(settings: Mapping[str, Any], results: list[Entity], inputs: list[Entity], now: str) -> Entity:
    return {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Study {settings['study']}",
        "endTime": now,
        "instrument": {"@id": "#veridical"},
        "object": _reference(inputs),
        "result": _reference(results),
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        "additionalProperty": {"seed": settings["seed"], **environment()},
    }


def _software() -> list[Entity]:
    commit, dirty = revision()
    packages = [
        {"@id": f"#package-{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        for name, version in {"python": platform.python_version(), **versions()}.items()
    ]
    own = {
        "@id": "#veridical",
        "@type": "SoftwareApplication",
        "name": "veridical",
        "softwareVersion": VERSION,
        "softwareRequirements": _reference(packages),
        "additionalProperty": {"git_revision": commit, "git_dirty": dirty},
    }
    return [own, *packages]


def _data_entity(name: str, given: Mapping[str, Any]) -> Entity:
    path = Path(given["file"])
    return {
        "@id": f"#data-{name}",
        "@type": "CreativeWork",
        "name": name,
        "description": given.get("source") or "source not stated",
        "contentSize": str(path.stat().st_size),
        "encodingFormat": _media_type(path.name),
        "sha256": file_digest(path),
        "additionalProperty": {"path": path.as_posix()},
    }


def _bank_entity(name: str, given: Mapping[str, Any]) -> Entity:
    return {
        "@id": f"#bank-{name}",
        "@type": "CreativeWork",
        "name": f"simulations {name}",
        "additionalProperty": dict(sorted(given.items())),
    }


def _settings_entity(settings: Mapping[str, Any]) -> Entity:
    return {
        "@id": "#settings",
        "@type": "CreativeWork",
        "name": "settings of the study",
        "encodingFormat": "application/json",
        "text": json.dumps(local(settings), sort_keys=True),
    }
