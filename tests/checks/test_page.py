"""`docs/checks.md` explains every check: its metrics and its curves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.checks.test_contract import result_of
from veridical import checks
from veridical.evidence.definitions import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")


def test_metrics_are_explained_and_none_beside_them() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert {metric for name in checks.CHECKS for metric in checks.check_class(name).meanings} <= explained
    assert explained <= METRICS.keys()


@pytest.mark.parametrize("check", checks.CHECKS)
def test_curves_are_listed(check: str, rng: np.random.Generator) -> None:
    section = PAGE.split(f"\n## `{check}`")[1].split("\n## ")[0]
    listed = re.findall(r"`(\w+)`", section.rsplit("Curves:", 1)[1])
    assert set(result_of(check, rng).curves) <= set(listed)
