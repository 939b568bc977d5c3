"""Batches of pseudo-experiments: whole or not at all, read lazily, nothing earlier touched by a new one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.errors import ArtifactError, ShapeError
from veridical.saved import experiments

TRUTH = np.array([0.1, 0.5, 0.9])


def estimates(rng: np.random.Generator, rows: int = 20) -> dict[str, np.ndarray]:
    value = TRUTH + 0.1 * rng.normal(size=(rows, 3))
    error = np.full((rows, 3), 0.1)
    return {"value": value, "statistical": error, "ratio": 0 * error, "truth": TRUTH}


def posteriors(rng: np.random.Generator, rows: int = 20) -> dict[str, np.ndarray]:
    return {
        "rank": rng.random((rows, 2)),
        "log_q": rng.normal(size=rows),
        "truth": rng.normal(size=(rows, 2)),
    }


def test_what_is_written_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    for arrays in (
        estimates(rng),
        {**estimates(rng), "z_lr": rng.normal(size=(20, 3)), "pull": rng.normal(size=20)},
        posteriors(rng),
        {**posteriors(rng), "hpd": rng.random(20)},
    ):
        path = tmp_path / "batch-0003.zarr.zip"
        experiments.write(path, arrays, seed=7)
        found = experiments.read(path)
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
        about = experiments.manifest(path)
        assert about["kind"] == ("posteriors" if "rank" in arrays else "estimates")
        assert (about["experiments"], about["seed"]) == (20, 7)
        assert list(tmp_path.iterdir()) == [path]


def test_failed_experiments_are_kept(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = estimates(rng)
    arrays["value"][3, 1] = np.nan
    experiments.write(tmp_path / "a.zarr.zip", arrays)
    np.testing.assert_array_equal(experiments.read(tmp_path / "a.zarr.zip")["value"], arrays["value"])


def test_the_same_batch_is_the_same_file(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = posteriors(rng)
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(2)]
    for path in paths:
        experiments.write(path, arrays)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_lazy_reading_equals_eager(tmp_path: Path, rng: np.random.Generator) -> None:
    """Batches of different lengths, one chunk each."""
    for make in (estimates, posteriors):
        paths = [tmp_path / f"{make.__name__}-{i}.zarr.zip" for i in range(3)]
        for path, rows in zip(paths, (20, 7, 13), strict=True):
            experiments.write(path, make(rng, rows))
        found, eager = experiments.lazy(paths), [experiments.read(path) for path in paths]
        for name, array in found.items():
            if array.ndim == 1 and name == "truth":
                np.testing.assert_array_equal(array.compute(scheduler="threads"), TRUTH)
                continue
            assert array.chunks[0] == (20, 7, 13)
            whole = np.concatenate([one[name] for one in eager])
            np.testing.assert_array_equal(array.compute(scheduler="threads"), whole)


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path, rng: np.random.Generator) -> None:
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(3)]
    for path in paths:
        experiments.write(path, posteriors(rng))
    found = experiments.lazy(paths)
    paths[2].unlink()
    found["rank"][:40].compute(scheduler="synchronous")
    with pytest.raises(ArtifactError, match=r"2\.zarr\.zip: no such batch"):
        found["rank"].compute(scheduler="synchronous")


def test_a_new_batch_leaves_the_others_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(3)]
    for path in paths[:2]:
        experiments.write(path, estimates(rng))
    before = [(p.read_bytes(), p.stat().st_mtime_ns) for p in paths[:2]]
    earlier = experiments.lazy(paths[:2])["value"].compute(scheduler="synchronous")
    experiments.write(paths[2], estimates(rng))
    assert [(p.read_bytes(), p.stat().st_mtime_ns) for p in paths[:2]] == before
    later = experiments.lazy(paths)["value"].compute(scheduler="synchronous")
    np.testing.assert_array_equal(later[:40], earlier)


def test_batches_that_do_not_belong_together_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    a, b, c, d = (tmp_path / f"{name}.zarr.zip" for name in "abcd")
    experiments.write(a, estimates(rng))
    experiments.write(b, posteriors(rng))
    experiments.write(c, {**estimates(rng), "pull": np.zeros(20)})
    experiments.write(d, {**estimates(rng), "truth": TRUTH + 1})
    with pytest.raises(ArtifactError, match=r"b\.zarr\.zip: expected a batch of estimates"):
        experiments.lazy([a, b])
    with pytest.raises(ArtifactError, match=r"c\.zarr\.zip: expected a batch of estimates with ratio, stat"):
        experiments.lazy([a, c])
    with pytest.raises(ArtifactError, match=r"d\.zarr\.zip: expected the true values"):
        experiments.lazy([a, d])["value"].compute(scheduler="synchronous")
    with pytest.raises(ArtifactError, match="at least one batch"):
        experiments.lazy([])


def test_what_is_no_batch_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path, good = tmp_path / "a.zarr.zip", estimates(rng)
    with pytest.raises(ArtifactError, match="`value` of estimates or `rank` of posteriors"):
        experiments.write(path, {"truth": TRUTH})
    with pytest.raises(ArtifactError, match=r"missing \['ratio'\], unknown \['hpd'\]"):
        experiments.write(path, {n: a for n, a in good.items() if n != "ratio"} | {"hpd": np.zeros(20)})
    with pytest.raises(ShapeError, match="ratio"):
        experiments.write(path, good | {"ratio": np.zeros((19, 3))})
    with pytest.raises(ShapeError, match="truth"):
        experiments.write(path, good | {"truth": TRUTH[:2]})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ArtifactError, match="no such batch of experiments"):
        experiments.read(path)
    path.write_bytes(b"torn")
    with pytest.raises(ArtifactError, match="cannot be read as a batch"):
        experiments.read(path)


def test_a_flipped_byte_is_found(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.zarr.zip"
    experiments.write(path, estimates(rng))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="come back bit by bit"):
        experiments.read(path)
