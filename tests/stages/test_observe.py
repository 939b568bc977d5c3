"""Stage observe: what reading a file of data left open is said in the log and kept beside the look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from veridical import tasks
from veridical.errors import ShapeError
from veridical.saved import observations
from veridical.stages import observe


def test_how_data_were_read_stands_in_log_and_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"name": "gaussian_linear", "settings": {"dimension": 2}}
    (tmp_path / "field.csv").write_text("mass,share\n1.0,-999\n2.0,0.5\n")
    settings = {"file": str(tmp_path / "field.csv"), "layout": "table", "source": ""}
    observe.observe(spec, settings, "field", tmp_path / "field.nc")
    said = capsys.readouterr().out
    prior = observations.Observations(np.zeros((3, 2)), None, "simulated", "simulated")
    observations.save(tmp_path / "simulated.nc", prior, tasks.build(spec))
    observe.look(tmp_path / "field.nc", tmp_path / "simulated.nc", tmp_path / "look.json")
    by_position, missing = json.loads((tmp_path / "look.json").read_text())["notes"]
    assert by_position.startswith(
        "read by position: the file names its columns mass, share, the task numbers"
    )
    assert missing.startswith(
        "feature 1 (column 'share'): does -999, in 1 of 2 rows, stand for a missing value?"
    )
    assert all(f"field: {note}\n" in said for note in (by_position, missing))


def test_other_gaps_than_simulated_stand_in_log_and_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {"name": "gaussian_linear", "settings": {"dimension": 3}}
    task, rng = tasks.build(spec), np.random.default_rng(3)
    for name, kind, x in (
        ("field", "observed", np.array([[0.1, np.nan, np.nan]])),
        ("simulated", "simulated", np.where(np.arange(3) < 2, rng.normal(size=(60, 3)), np.nan)),
    ):
        observations.save(tmp_path / f"{name}.nc", observations.Observations(x, None, name, kind), task)
    observe.look(tmp_path / "field.nc", tmp_path / "simulated.nc", tmp_path / "look.json")
    (note,) = json.loads((tmp_path / "look.json").read_text())["notes"]
    assert note.startswith("Missing values: 1 of 1 observations lack 2 of 3 numbers, simulations 1, and 1 of")
    assert capsys.readouterr().out == f"{note}\n"


def test_samples_of_events_keep_the_classes_that_these_are_of(tmp_path: Path) -> None:
    spec = {"name": "gaussian_classes", "settings": {"separation": 6.0}}
    settings = {"true_values": [0.25, 0.5], "events": 400}
    observe.observe_mixtures(spec, settings, tmp_path / "simulated.nc", root=7)
    found = observations.load(tmp_path / "simulated.nc")
    assert found.classes is not None and found.classes.shape == found.x.shape[:2] == (2, 400)
    first = tasks.build(spec).log_ratio(found.x[1]) > 0  # type: ignore[attr-defined]
    assert np.mean(first == (found.classes[1] == 0)) > 0.98  # they lie six standard deviations apart
    with pytest.raises(ShapeError, match="classes"):
        observations.Observations(found.x, found.truth, "s", "simulated", classes=found.classes[:, 1:])
