"""What a first page leaves for later, and what it says where a quick check fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from veridical import unchecked
from veridical.coordinates import Run
from veridical.errors import ArtifactError
from veridical.report.missing import TO_COME
from veridical.saved import posteriors
from veridical.stages import first_page
from veridical.study import resources


@pytest.mark.parametrize(("row_seconds", "later"), [(0.001, False), (0.01, True)])
def test_predictions_of_a_dear_simulator_are_still_to_come(
    row_seconds: float, later: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    answer = SimpleNamespace(draws=np.zeros((50, 2, 1)))  # two observations: 2 (100 + 2 x 400) rows for a run
    layout: Any = SimpleNamespace(
        prediction_sizes={"bands": 100, "draws": None, "replicates": 400},
        final_runs=[Run("npe", 1000, 0), Run("npe", 1000, 1)],
        study=SimpleNamespace(seed=1),
        bank="bank",
        target="only",
        task_spec={},
    )
    monkeypatch.setattr(posteriors, "load", lambda path: answer)
    monkeypatch.setattr(resources, "row_seconds", lambda *about: row_seconds)
    monkeypatch.setattr(first_page, "predict", lambda *about, **settings: asked.append(settings))
    out = tmp_path / "predictive.npz"
    first_page._predict(layout, layout.final_runs[0], "pelts", "pelts.nc", str(out), "a.log")
    assert bool(asked) == (not later)
    assert (unchecked.read(out) or {}).get("unchecked") == (TO_COME if later else None)


def test_a_check_that_fails_costs_itself_alone_but_not_where_the_machine_failed(tmp_path: Path) -> None:
    out, after = tmp_path / "predictive.npz", tmp_path / "predictive.json"
    with first_page._or_record(out, "a.log"):
        raise ValueError("no \x1b such thing")
    with first_page._or_record(after, "a.log"):
        unchecked.require([out])
    expected = {"unchecked": "ValueError: no \\x1b such thing", "log": "a.log"}
    assert [{k: (unchecked.read(path) or {})[k] for k in expected} for path in (out, after)] == [expected] * 2
    with pytest.raises(ArtifactError), first_page._or_record(out, "a.log"):
        raise ArtifactError("damaged")
