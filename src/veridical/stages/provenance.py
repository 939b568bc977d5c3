"""Stage report, third job: the record of what made the results, from what, where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from veridical import bank, digests
from veridical.bank import probe
from veridical.evidence import intact, provenance
from veridical.unchecked import made

Paths = Iterable[str | Path]


def record(
    settings: Mapping[str, Any],
    *,
    root: str | Path,
    files: Paths,
    data: Mapping[str, Mapping[str, Any]],
    shards: Paths,
    rows: Mapping[str, int],
    out: str | Path,
) -> None:
    """Writes `provenance.json`; git, versions and platform are those of this job. A damaged file stops it.

    Arguments:
        settings: The study's settings, whole.
        root: The folder that holds `files`, and `out` itself.
        files: Result files.
        data: Observed data sets by name: `file` and `source`.
        shards: All shards of the bank that the study used.
        rows: How many rows of each part of the bank it used, by `{fidelity}/{split}`.
        out: Where the record goes.
    """
    files = [Path(path) for path in made(files)]
    for path in files:
        intact.check(path)
    found = provenance.build(settings, root, files, data=data, banks=banks(shards, rows))
    provenance.write(out, found)
    print(f"{out}: {len(found['@graph'])} entities")


def banks(shards: Paths, rows: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Returns rows, failures, shards, digest, findings of each part of a bank, by task, fidelity and split.

    Arguments:
        shards: The shards.
        rows: How many of the first rows were used, by `{fidelity}/{split}`.
    """
    parts: dict[str, list[Path]] = {}
    for path in sorted(map(Path, shards)):
        parts.setdefault("/".join(path.parts[-4:-1]), []).append(path)
    found = {}
    for name, paths in parts.items():
        sizes, invalid, contents = [], 0, []
        for path in paths:
            manifest = bank.manifest(path)
            sizes.append(manifest["last"] - manifest["first"] + 1)
            invalid += manifest["n_invalid"]
            contents.append(manifest["digests"])
        found[name] = {
            "path": paths[0].parent.as_posix(),
            "rows": sum(sizes),
            "used": rows[name.partition("/")[2]],
            "shard_rows": max(sizes),
            "invalid": invalid,
            "shards": len(paths),
            "digest": digests.short(contents, 64),
        }
        if findings := probe.findings(paths[0].parents[1] / "probe.json"):
            found[name]["findings"] = " ".join(findings)
    return found
