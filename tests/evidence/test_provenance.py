"""The record of provenance is an RO-Crate that names every file, and the archive is what the record says."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from veridical import bank
from veridical.errors import ArtifactError
from veridical.evidence import metrics, provenance
from veridical.evidence.archive import CHECKSUMS, export
from veridical.files import write_json
from veridical.stages.provenance import banks
from veridical.stages.provenance import record as record_of

Record = dict[str, Any]


@pytest.fixture(scope="module")
def record(study: SimpleNamespace) -> Record:
    return provenance.load(study.provenance)


def references(thing: Any) -> list[str]:
    """All identifiers that an entity refers to."""
    if isinstance(thing, dict):
        if set(thing) == {"@id"}:
            return [thing["@id"]]
        return [r for key, value in thing.items() if key != "@id" for r in references(value)]
    return [r for value in thing for r in references(value)] if isinstance(thing, list) else []


# ---- RO-Crate 1.1: what a record must have -------------------------------------------------------


def test_the_descriptor_is_about_the_root_and_names_the_standard(record: Record) -> None:
    assert record["@context"] == "https://w3id.org/ro/crate/1.1/context"
    descriptor = provenance.entity(record, "ro-crate-metadata.json")
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}


def test_the_root_is_a_named_dated_data_set_with_a_licence(record: Record) -> None:
    root = provenance.entity(record, "./")
    assert root["@type"] == "Dataset"
    assert root["name"] and root["description"] and root["license"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", root["datePublished"])


def test_the_graph_is_flat_its_identifiers_unique_and_its_references_resolve(record: Record) -> None:
    identifiers = [thing["@id"] for thing in record["@graph"]]
    assert len(identifiers) == len(set(identifiers))
    assert all(thing.get("@type") for thing in record["@graph"])
    outside = {"https://w3id.org/ro/crate/1.1", "http://schema.org/CompletedActionStatus"}
    for thing in record["@graph"]:
        assert set(references(thing)) <= set(identifiers) | outside, thing["@id"]
        nested = [v for v in thing.values() if isinstance(v, dict) and set(v) != {"@id"}]
        assert not nested, f"{thing['@id']} is not flat"


def test_every_file_is_a_part_of_the_root_below_it_with_size_and_digest(
    record: Record, study: SimpleNamespace
) -> None:
    files = [thing for thing in record["@graph"] if thing["@type"] == "File"]
    parts = {part["@id"] for part in provenance.entity(record, "./")["hasPart"]}
    assert {thing["@id"] for thing in files} == parts
    hashed = [thing for thing in files if thing["@id"] != "report.html"]
    assert len(hashed) == len(study.checks) + len(study.draws) + len(study.observations) + 2
    for thing in hashed:
        content = (study.root / thing["@id"]).read_bytes()
        assert thing["sha256"] == hashlib.sha256(content).hexdigest()
        assert thing["contentSize"] == str(len(content))


def test_the_action_links_software_inputs_and_results(record: Record) -> None:
    run = provenance.entity(record, "#run")
    assert run["@type"] == "CreateAction"
    software = provenance.entity(record, run["instrument"]["@id"])
    assert software["@type"] == "SoftwareApplication" and software["softwareVersion"]
    assert {"@id": "#settings"} in run["object"]
    assert run["result"] == provenance.entity(record, "./")["hasPart"]
    assert provenance.properties(record, "#run")["seed"] == 7


def test_settings_versions_and_cpu_features_can_be_read_back(record: Record, study: SimpleNamespace) -> None:
    assert json.loads(provenance.entity(record, "#settings")["text"]) == study.settings
    assert provenance.entity(record, "#package-numpy")["softwareVersion"] == np.__version__
    assert json.loads(provenance.properties(record, "#run")["cpu_features"]) == provenance.cpu_features()


def test_data_and_banks_outside_the_study_are_named_with_their_digests(
    study: SimpleNamespace, tmp_path: Path, rng: np.random.Generator
) -> None:
    data = tmp_path / "pelts.csv"
    data.write_text("year,hare\n1900,1\n")
    theta = rng.normal(size=(20, 3))
    shards = []
    for first in (0, 10):
        path = tmp_path / "bank" / "growth-abc" / "exact" / "train-r0" / bank.shard_name(first, first + 9)
        attributes = {"first": first, "last": first + 9, "n_invalid": 1}
        bank.write(path, {"theta": theta[first : first + 10]}, attributes, {"theta": ("row", "parameter")})
        shards.append(path)
    finding = {
        "warnings": ["fidelity exact: column t0: the same in all 200 rows."],
        "notes": ["read by name"],
    }
    (path.parents[1] / "probe.json").write_text(json.dumps(finding))
    found = provenance.build(
        study.settings,
        study.root,
        [],
        data={"pelts": {"file": data, "source": "trappers"}},
        banks=banks(shards, {"exact/train-r0": 15}),
    )
    entity = provenance.entity(found, "#data-pelts")
    assert entity["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert entity["description"] == "trappers"
    part = provenance.properties(found, "#bank-growth-abc/exact/train-r0")
    assert (part["rows"], part["used"], part["invalid"], part["shards"]) == (20, 15, 2, 2)
    assert len(part["digest"]) == 64 and part["findings"] == f"{finding['warnings'][0]} read by name"


def test_files_elsewhere_are_inputs_and_no_part_of_the_crate(study: SimpleNamespace, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"0")
    found = provenance.build(study.settings, study.root, [weights])
    entity = provenance.entity(found, f"#file-{weights}")
    assert entity["sha256"] == hashlib.sha256(b"0").hexdigest()
    assert {"@id": entity["@id"]} in provenance.entity(found, "#run")["object"]
    assert {"@id": entity["@id"]} not in provenance.entity(found, "./")["hasPart"]


# ---- git -----------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


def test_the_revision_is_that_of_the_repository_which_holds_the_source(tmp_path: Path) -> None:
    assert provenance.revision(tmp_path) == (None, None)
    source = tmp_path / "src" / "veridical"
    source.mkdir(parents=True)
    (source / "provenance.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    assert provenance.revision(source) == (None, None), (
        "a repository that only surrounds the source counts for nothing"
    )
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "One")
    commit, dirty = provenance.revision(source)
    assert re.fullmatch(r"[0-9a-f]{40}", commit or "") and dirty is False
    (tmp_path / "README.md").write_text("new\n")
    assert provenance.revision(source) == (commit, True)


def test_without_git_the_revision_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.revision() == (None, None)


def test_a_reproducible_build_may_set_the_date(
    study: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    found = provenance.build(study.settings, study.root, [])
    assert provenance.entity(found, "./")["datePublished"] == "1970-01-01T00:00:00+00:00"


# ---- export --------------------------------------------------------------------------------------


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as packed:
        found = {}
        for member in packed.getmembers():
            stream = packed.extractfile(member)
            assert stream is not None
            found[member.name.split("/", 1)[1]] = stream.read()
        return found


def test_the_archive_holds_everything_with_its_checksum(study: SimpleNamespace, tmp_path: Path) -> None:
    data = tmp_path / "pelts.csv"
    data.write_text("year,hare\n")
    names = export(study.root, tmp_path / "out.tar.gz", extra=[data])
    found = members(tmp_path / "out.tar.gz")
    assert sorted(found) == names
    for name in ("report.html", "metrics.csv", "verdict.json", "provenance.json", "inputs/pelts.csv"):
        assert name in found
    assert "infer/npe/n4000-r0/pelts.nc" in found and "figures/cost--all.svg" in found
    sums = dict(line.split("  ")[::-1] for line in found[CHECKSUMS].decode().splitlines())
    assert set(sums) == set(found) - {CHECKSUMS}
    for name, digest in sums.items():
        assert hashlib.sha256(found[name]).hexdigest() == digest, name


def test_the_archive_is_an_ro_crate_by_name(study: SimpleNamespace, tmp_path: Path) -> None:
    export(study.root, tmp_path / "out.tar.gz")
    found = members(tmp_path / "out.tar.gz")
    assert found["ro-crate-metadata.json"] == found["provenance.json"]
    files = {t["@id"] for t in json.loads(found["provenance.json"])["@graph"] if t["@type"] == "File"}
    assert files <= set(found)


def test_equal_contents_give_equal_archives(study: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.tar.gz"):
        export(study.root, tmp_path / name)
    (study.root / "metrics.csv").touch()
    export(study.root, tmp_path / "c.tar.gz")
    assert len({(tmp_path / f"{n}.tar.gz").read_bytes() for n in "abc"}) == 1


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A study of two files and their record."""
    root = tmp_path / "small"
    root.mkdir()
    (root / "report.html").write_text("<html></html>")
    metrics.write(root / "metrics.csv", [])
    write_json(root / "verdict.json", {})
    found = provenance.build(
        {"study": "small", "seed": 1}, root, [root / "metrics.csv", root / "verdict.json"]
    )
    provenance.write(root / "provenance.json", found)
    return root


def test_a_file_that_is_not_the_recorded_one_is_not_packed(small: Path, tmp_path: Path) -> None:
    export(small, tmp_path / "out.tar.gz")
    (small / "metrics.csv").write_text("changed")
    with pytest.raises(ArtifactError, match=r"metrics\.csv is not the file"):
        export(small, tmp_path / "again.tar.gz")
    (small / "metrics.csv").unlink()
    with pytest.raises(ArtifactError, match=r"lacks metrics\.csv"):
        export(small, tmp_path / "again.tar.gz")


def test_a_recorded_file_that_is_gone_is_told(small: Path, tmp_path: Path) -> None:
    weights = small / "weights.safetensors"
    weights.write_bytes(b"0")
    found = provenance.build({"study": "small", "seed": 1}, small, [weights])
    provenance.write(small / "provenance.json", found)
    weights.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        export(small, tmp_path / "out.tar.gz")


def test_data_that_are_gone_are_told(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere\.csv is to go into the archive"):
        export(small, tmp_path / "out.tar.gz", extra=[tmp_path / "nowhere.csv"])


def test_files_of_one_name_go_into_folders_of_their_own(small: Path, tmp_path: Path) -> None:
    files = [tmp_path / folder / "x.csv" for folder in ("a", "b")]
    for path in files:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    names = export(small, tmp_path / "out.tar.gz", extra=[*files, files[0]])
    assert [name for name in names if name.startswith("inputs/")] == ["inputs/b/x.csv", "inputs/x.csv"]


def test_a_damaged_result_is_neither_recorded_nor_packed(small: Path, tmp_path: Path) -> None:
    path = small / "check" / "npe" / "n5-r0" / "field" / "sbc.json"
    write_json(path, {"p_value": 0.25})
    path.write_text(path.read_text().replace("0.25", "0.75"))
    with pytest.raises(ArtifactError, match=r"sbc\.json: damaged"):
        export(small, tmp_path / "out.tar.gz")
    given = {"root": small, "data": {}, "shards": [], "rows": {}, "out": tmp_path / "record.json"}
    with pytest.raises(ArtifactError, match=r"sbc\.json: damaged"):
        record_of({"study": "small", "seed": 1}, files=[path], **given)


def test_no_path_of_the_machine_leaves_it(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Home, working folder and its name by a link, in a study that states all its paths from the root."""
    home, work, linked = tmp_path / "home of ánna", tmp_path / "home of ánna" / "project", tmp_path / "link"
    work.mkdir(parents=True)
    linked.symlink_to(work)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PWD", str(linked))
    paths = {"a": work / "a.csv", "b": home / "b.csv", "c": linked / "c.csv"}
    for path in paths.values():
        path.write_text("x\n1\n")
    data = {name: {"file": str(path), "source": f"from {path}"} for name, path in paths.items()}
    settings = {"study": "small", "seed": 1, "observations": data, "other": [f"{home}-else", "/data/x"]}
    (work / "study.yaml").write_text(f"observations: {{a: {{file: '{work}/a.csv'}}}}\n")
    record = provenance.build(settings, small, [small / "metrics.csv", small / "verdict.json"], data=data)
    provenance.write(small / "provenance.json", record)
    export(small, tmp_path / "out.tar.gz", extra=[work / "study.yaml", *paths.values()])
    found = members(tmp_path / "out.tar.gz")
    for name, content in found.items():
        for place in (str(home).encode(), json.dumps(str(home))[1:-1].encode(), str(linked).encode()):
            assert place not in content.replace(place + b"-else", b""), name
    kept = provenance.load(small / "provenance.json")
    paths_kept = [provenance.properties(kept, f"#data-{name}")["path"] for name in paths]
    assert paths_kept == ["./a.csv", "~/b.csv", "./c.csv"]
    assert found["inputs/study.yaml"].decode() == "observations: {a: {file: './a.csv'}}\n"
    text = json.loads(provenance.entity(kept, "#settings")["text"])
    assert capsys.readouterr().out == ""
    (small / "check").mkdir()
    write_json(small / "check" / "own.json", {"file": f"{work}/own.py"})
    export(small, tmp_path / "again.tar.gz")
    assert capsys.readouterr().out.startswith("check/own.json names a folder of this machine")
    assert text["other"] == [f"{home}-else", "/data/x"]
    sums = dict(line.split("  ")[::-1] for line in found[CHECKSUMS].decode().splitlines())
    assert sums["inputs/study.yaml"] == hashlib.sha256(found["inputs/study.yaml"]).hexdigest()
