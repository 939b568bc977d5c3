"""The examples in docstrings are true; they run in a folder with an estimator, given `np` and `rng`."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from veridical import seeds

ROOT = Path(__file__).parents[1]
FOUND = [path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text()]
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__") for path in FOUND
)


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tmp_path / "results/example/train/npe"
    trained.mkdir(parents=True)
    (trained / "n60-r0").symlink_to(ROOT / "tests/golden/artifacts/npe")
    monkeypatch.chdir(tmp_path)
    given = {"np": np, "rng": seeds.generator(1, "test", "docstrings")}
    found = doctest.testmod(import_module(module), extraglobs=given)
    assert found.attempted and not found.failed


def test_public_modules_have_examples() -> None:
    public = {"veridical", "veridical.seeds", "veridical.tasks", "veridical.tasks.priors", "veridical.checks"}
    assert public <= set(MODULES)
