"""A training that is killed at every end of a round, beside an undisturbed one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from veridical.coordinates import Run
from veridical.errors import TrainingError
from veridical.stages.train import Sources, train
from veridical.training import checkpoints

ROUNDS = 5


def whole_and_parts(
    spec: Mapping[str, Any],
    method: Mapping[str, Any],
    sources: Sources,
    run: Run,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, Path]:
    """Returns the folders of a method that learned at one go, and of one that did a round in each job."""
    given: dict[str, Any] = {"root": 1, "checkpoints": folder / "checkpoints"}
    train(spec, method, sources, folder / "whole", run, **given)
    monkeypatch.setattr(checkpoints.CheckpointFolder, "due", lambda self: True)
    for _ in range(ROUNDS):
        try:
            train(spec, method, sources, folder / "parts", run, deadline=0.0, **given)
        except TrainingError as error:
            assert "time ends after" in str(error)
    return folder / "whole", folder / "parts"
