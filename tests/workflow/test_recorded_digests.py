"""Studies that other tests ran already end in the bits that were recorded for them."""

from __future__ import annotations

import pytest

from tests.golden.compare import digest_is_recorded

from .conftest import Project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.mark.parametrize(
    ("run", "study"), [("finished", "tiny"), ("finished_methods", "real"), ("finished_methods", "ratios")]
)
def test_the_digest_is_the_recorded_one(run: str, study: str, request: pytest.FixtureRequest) -> None:
    project: Project = request.getfixturevalue(run)
    same = digest_is_recorded(project.folder / "results" / study)
    if same is None:
        pytest.skip("bits are promised on another platform")
    assert same
