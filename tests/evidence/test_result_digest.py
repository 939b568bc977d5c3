"""The digest of a study's results: what it covers, what it does not see, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from veridical import bank
from veridical.errors import ArtifactError, BankError
from veridical.evidence import metrics, provenance, result_digest
from veridical.saved import posteriors
from veridical.saved.posteriors import Draws
from veridical.seals import EMPTY
from veridical.stages.provenance import banks

ROWS, USED = 40, 35


def fill(folder: Path, size: int, other_row: int = ROWS) -> list[Path]:
    """A bank of all rows in shards of one size; x of one row may be another than usual."""
    theta = np.arange(3.0 * ROWS).reshape(ROWS, 3)
    x = np.sqrt(theta[:, :2]).astype(np.float32)
    x[other_row : other_row + 1] += 1
    paths = []
    for first in range(0, ROWS, size):
        arrays = {name: array[first : first + size] for name, array in (("theta", theta), ("x", x))}
        last = first + len(arrays["x"]) - 1
        paths.append(folder / bank.shard_name(first, last))
        dims = {"theta": ("row", "parameter"), "x": ("row", "feature")}
        bank.write(paths[-1], arrays, {"first": first, "last": last, "n_invalid": 0}, dims)
    return paths


def make_study(
    root: Path, size: int = 20, weight: float = 0.5, seconds: float = 1.0, other_row: int = ROWS
) -> Path:
    """A finished study without a training: weights, draws, table and record as the pipeline leaves them."""
    study, run = root / "study", "npe/n35-r0"
    shards = fill(root / "bank" / f"growth-{size}" / "exact" / "train-r0", size, other_row)
    (study / "train" / run).mkdir(parents=True)
    weights = study / "train" / run / "weights.safetensors"
    save_file({"layer": np.full((2, 3), weight, dtype=np.float32)}, weights)
    draws = study / "infer" / run / "pelts.nc"
    values = np.arange(100.0).reshape(100, 1, 1)
    posteriors.save(draws, Draws(("hare",), np.array([[-np.inf, np.inf]]), ("",), values))
    table = study / "metrics.csv"
    metrics.write(table, [metrics.row(metric=m, value=seconds, seed=0) for m in sorted(metrics.TIME_METRICS)])
    used = banks(shards, {"exact/train-r0": USED})
    record = provenance.build({"study": "study", "seed": 1}, study, [weights, draws, table], banks=used)
    provenance.write(study / "provenance.json", record)
    return study


def test_the_digest_covers_banks_weights_draws_and_metrics(tmp_path: Path) -> None:
    names = {line.split()[0] for line in result_digest.listing(make_study(tmp_path))}
    assert {
        "bank/exact/train-r0/theta",
        "bank/exact/train-r0/x",
        "infer/npe/n35-r0/pelts.nc/posterior/hare",
        "train/npe/n35-r0/weights.safetensors/layer",
        "metrics.csv",
    } <= names


def test_the_digest_sees_neither_shards_nor_times_nor_what_earlier_runs_left(tmp_path: Path) -> None:
    digests = {
        result_digest.digest(make_study(tmp_path / str(size), size, seconds=size)) for size in (40, 20, 16)
    }
    study = make_study(tmp_path / "more")
    shutil.copytree(study / "train" / "npe" / "n35-r0", study / "train" / "npe" / "n99-r0")
    fill(tmp_path / "more" / "bank" / "growth-20" / "exact" / "train-r0", 8)
    fill(tmp_path / "more" / "bank" / "growth-20" / "exact" / "train-r0", 40)
    assert {*digests, result_digest.digest(study)} == digests
    assert len(digests) == 1


@pytest.mark.parametrize("numbers", [1, 7, 60, 1000])
def test_the_digest_does_not_depend_on_the_pieces_that_are_read(
    numbers: int, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws have a first axis of length one: pieces are cut along the first that is long."""
    path = tmp_path / "d.nc"
    posteriors.save(path, Draws(("a",), np.array([[-np.inf, np.inf]]), ("",), rng.normal(size=(30, 20, 1))))
    whole = {name: list(pieces) for name, _, _, pieces in result_digest.arrays(tmp_path, ["d.nc"], {})}
    monkeypatch.setattr(result_digest, "PIECE_NUMBERS", numbers)
    cut = {name: list(pieces) for name, _, _, pieces in result_digest.arrays(tmp_path, ["d.nc"], {})}
    assert whole.keys() == cut.keys()
    for name, pieces in cut.items():
        assert max(piece.size for piece in pieces) <= numbers
        assert b"".join(p.tobytes() for p in pieces) == b"".join(p.tobytes() for p in whole[name])


def test_the_digest_sees_one_bit_of_a_weight_and_one_row_of_the_bank(tmp_path: Path) -> None:
    study = make_study(tmp_path / "one")
    other = make_study(tmp_path / "two", weight=float(np.nextafter(np.float32(0.5), np.float32(1))))
    assert differing(study, other) == {"train/npe/n35-r0/weights.safetensors/layer"}
    last_used = make_study(tmp_path / "three", other_row=USED - 1)
    assert differing(study, last_used) == {"bank/exact/train-r0/x"}
    assert differing(study, make_study(tmp_path / "four", other_row=USED)) == set()


def differing(one: Path, two: Path) -> set[str]:
    """Names of the arrays in which two studies differ; their digests agree just when there are none."""
    lines = set(result_digest.listing(one)) ^ set(result_digest.listing(two))
    assert (result_digest.digest(one) == result_digest.digest(two)) == (not lines)
    return {line.split()[0] for line in lines}


def test_what_is_no_finished_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"expected the folder of a finished study; it has no provenance"):
        result_digest.digest(tmp_path)
    study = make_study(tmp_path)
    empty: dict[str, Any] = provenance.build({"study": "s", "seed": 1}, study, [study / "metrics.csv"])
    provenance.write(study / "provenance.json", empty)
    with pytest.raises(ArtifactError, match="names no weights of its own"):
        result_digest.digest(study)


def test_a_shard_that_is_gone_is_named_by_its_rows(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    next(tmp_path.rglob("rows-000000020-*")).unlink()
    with pytest.raises(BankError, match=r"the study used rows 20\.\.34, but no shard of up to 20 rows"):
        result_digest.digest(study)


WEIGHTS, DRAWS = "train/npe/n35-r0/weights.safetensors", "infer/npe/n35-r0/pelts.nc"


@pytest.mark.parametrize("name", [WEIGHTS, DRAWS, "metrics.csv"])
def test_a_file_that_is_gone_or_damaged_is_named_with_its_remedy(name: str, tmp_path: Path) -> None:
    path = make_study(tmp_path) / name
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError) as caught:
            result_digest.digest(tmp_path / "study")
        assert str(caught.value).startswith(str(path))
        assert f"`-- {path}` behind its snakemake command" in str(caught.value)
    path.unlink()
    with pytest.raises(
        ArtifactError, match=r"is missing; .* Run again; .*`-- .*` behind its snakemake"
    ) as gone:
        result_digest.digest(tmp_path / "study")
    assert str(gone.value).startswith(str(path))


def test_draws_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    """The file opens, but reading its numbers fails."""

    class Torn:
        shape = (3,)

        def __getitem__(self, _: object) -> np.ndarray:
            raise OSError("wrong checksum")

    with pytest.raises(ArtifactError, match=r"d\.nc: expected a file of a finished study.*wrong checksum"):
        list(result_digest._pieces(Torn(), tmp_path / "d.nc"))


RECORDS = ["{", "{}", "[]", '{"@graph": {}}', '{"@graph": [1]}', '{"@graph": [{"@id": "a"}]}', "\xff"]


@pytest.mark.parametrize("record", RECORDS)
def test_a_damaged_record_is_named_with_its_remedy(record: str, tmp_path: Path) -> None:
    path = make_study(tmp_path) / "provenance.json"
    path.write_bytes(record.encode("latin-1"))
    with pytest.raises(ArtifactError) as caught:
        result_digest.digest(tmp_path / "study")
    assert str(caught.value).startswith(f"{path}: expected a record of provenance")
    assert f"`-- {path}` behind its snakemake command" in str(caught.value)


def test_a_record_that_lacks_what_it_says_of_the_bank_is_named(tmp_path: Path) -> None:
    path = make_study(tmp_path) / "provenance.json"
    record = json.loads(path.read_text().replace('"shard_rows"', '"rows_of_shards"'))
    record["@graph"][0]["identifier"] = EMPTY
    provenance.write(path, record)
    with pytest.raises(ArtifactError, match=r"provenance\.json: expected a file.*KeyError: 'shard_rows'"):
        result_digest.digest(tmp_path / "study")


def test_studies_of_a_collection_find_the_bank_beside_that(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    expected = result_digest.digest(study)
    (tmp_path / "families").mkdir()
    shutil.move(study, tmp_path / "families" / "study")
    assert result_digest.digest(tmp_path / "families" / "study") == expected


def test_the_bank_is_found_from_within_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path)
    expected = result_digest.digest(study)
    monkeypatch.chdir(study)
    assert result_digest.digest(".") == expected
    monkeypatch.chdir(study / "train")
    assert result_digest.digest("..") == expected
    (tmp_path / "moved").mkdir()
    shutil.move(study, tmp_path / "moved")
    study.symlink_to(tmp_path / "moved" / "study")
    assert result_digest.digest(study) == expected
