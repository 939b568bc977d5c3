"""The comparison of result digests: it fails on a difference, and says where it compared nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden import compare
from veridical.evidence import result_digest


@pytest.mark.parametrize(
    ("lines", "python", "same", "told"),
    [
        (["as ever"], "as here", True, "as recorded"),
        (["changed"], "as here", False, "RESULTS HAVE CHANGED"),
        (["changed"], "3.99", None, "nothing compared"),
        (["new"], "as here", None, "no digest is recorded yet"),
    ],
)
def test_a_change_of_results_is_told(
    lines: list[str],
    python: str,
    same: bool | None,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform = compare.here() if python == "as here" else {**compare.here(), "versions": {"python": python}}
    known = {} if lines == ["new"] else {"small": result_digest.digest_of(["as ever"])}
    record = {"platform": platform, "digests": known}
    (tmp_path / "digests.json").write_text(json.dumps(record))
    monkeypatch.setattr(compare, "HOME", tmp_path)
    monkeypatch.setattr(result_digest, "listing", lambda folder: lines)
    assert compare.digest_is_recorded(Path("results/small")) is same
    assert told in capsys.readouterr().out
