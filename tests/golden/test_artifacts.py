"""Artifacts that earlier revisions wrote: today's reads every one, and it says what it said then.

Where CPU features and versions are those of the machine that made an artifact, every bit is the same. On
others what is only read stays so; what a method computes from it agrees to rtol 1e-4, atol 1e-5. (With the
plainest instructions in place of AVX-512 the largest difference was 1.6e-6: weights are float32.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.golden.compare import HOME, here
from tests.golden.make import KINDS, METHODS, answers
from veridical import artifacts, checks
from veridical.bank import shards
from veridical.errors import VeridicalError
from veridical.saved import estimates, posteriors

FOLDERS = sorted((HOME / "artifacts").iterdir())


def test_every_kind_of_artifact_is_there_and_together_they_are_small() -> None:
    assert [folder.name for folder in FOLDERS] == sorted(KINDS)
    assert sum(file.stat().st_size for folder in FOLDERS for file in folder.iterdir()) < 330_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_says_what_it_said_when_it_was_made(folder: Path) -> None:
    with np.load(folder / "answers.npz", allow_pickle=False) as stored:
        expected = dict(stored)
    same_machine = json.loads(str(expected.pop("platform"))) == here()
    found = {name: np.asarray(array) for name, array in answers(folder).items()}
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape), name
        if same_machine or folder.name not in METHODS:
            np.testing.assert_array_equal(array, expected[name], name)
        else:
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


FORMATS = {  # of each reader: where today's version stands
    "npe": (artifacts, "FORMAT"),
    "draws": (posteriors, "FORMAT"),
    "estimate": (estimates, "FORMAT"),
    "check_sbc": (checks.base, "FORMAT"),
    "shard": (shards, "SCHEMA_VERSION"),
    "batch_estimates": (shards, "SCHEMA_VERSION"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_older_version_is_migrated_step_by_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two versions later, what lies there goes through both, in this order, and says what it said."""
    (module, version), folder = FORMATS[kind], HOME / "artifacts" / kind
    today, steps = getattr(module, version), module.MIGRATIONS
    seen = []

    def step(record: dict[str, Any]) -> dict[str, Any]:
        seen.append(record.get("format", record.get("schema")))
        return record

    before = answers(folder)
    monkeypatch.setattr(module, version, today + 2)
    monkeypatch.setattr(module, "MIGRATIONS", {**steps, today: step, today + 1: step})
    for name, array in answers(folder).items():
        np.testing.assert_array_equal(array, before[name], name)
    assert seen and seen == [today, today + 1] * (len(seen) // 2)
    monkeypatch.setattr(module, "MIGRATIONS", {**steps, today + 1: step})
    with pytest.raises(VeridicalError, match=rf"expected (format|schema) {today + 2}, got {today}\."):
        answers(folder)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_newer_version_is_refused_with_the_remedy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, version = FORMATS[kind]
    monkeypatch.setattr(module, version, 0)
    with pytest.raises(VeridicalError, match=r"expected (format|schema) 0, got 1, .* Update veridical\."):
        answers(HOME / "artifacts" / kind)
