"""Methods by their settings: what a user's own class returns is held against the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import methods
from veridical.errors import TrainingError
from veridical.estimators import Material, Rows, TaskInfo
from veridical.training.session import Session, TrainingResult

TASK = TaskInfo("t", ("a",), np.array([[-np.inf, np.inf]]), ("",), (1,))
MATERIAL = Material(simulations=Rows(np.zeros((3, 1)), np.zeros((3, 1)), np.zeros(3, bool)))
TEXT = """
from veridical.estimators import Estimator
from veridical.training.session import TrainingResult

class Mine(Estimator):
    type = "own"
    arrays = from_arrays = log_prob = sample_and_log_prob = None

    @classmethod
    def fit(cls, spec, task, material, run):
        cls.given = spec
        return {returned}
"""


def own(folder: Path, returned: str) -> dict[str, Any]:
    file = folder / "mine.py"
    file.write_text(TEXT.format(returned=returned))
    return {"type": "own", "file": str(file), "class": "Mine"}


@pytest.mark.parametrize("result", [None, TrainingResult([], 0, 1, False, [], 1.0, 1.0, "cpu")])
def test_a_pair_is_what_fit_returns(result: TrainingResult | None, tmp_path: Path) -> None:
    spec = own(tmp_path, f"cls(), {result}")
    fitted, found = methods.fit(spec, TASK, MATERIAL, Session(1, ("mine", 0)))
    assert type(fitted).__name__ == "Mine"
    assert found == result and type(fitted).given is spec, "settings as plain data"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        ("cls()", "Mine"),
        ("None", "NoneType"),
        ("(cls(),)", "a tuple (Mine)"),
        ("None, cls()", "a tuple (NoneType, Mine)"),
        ("cls(), {}", "a tuple (Mine, dict)"),
        ("cls(), None, 1.0", "a tuple (Mine, NoneType, float)"),
        ("[cls(), None]", "list"),
    ],
)
def test_anything_else_is_refused_with_file_class_and_remedy(returned: str, got: str, tmp_path: Path) -> None:
    spec = own(tmp_path, returned)
    with pytest.raises(TrainingError) as caught:
        methods.fit(spec, TASK, MATERIAL, Session(1, ("mine", 0)))
    assert str(caught.value) == (
        f"{spec['file']}: Mine.fit: expected a pair, the fitted estimator and its TrainingResult or None, "
        f"got {got}. Write `return estimator, None` where nothing was iterated."
    )


@pytest.mark.parametrize(("summary", "there"), [("mlp", False), ("set_transformer", True), ("parts", True)])
def test_the_code_of_a_posterior_holds_its_networks(summary: str, there: bool) -> None:
    """Those of blocks, too, whichever they are."""
    code = methods.modules({"type": "npe", "summary": {"type": summary}, "flow": {"type": "spline"}})
    assert ("veridical.networks.set_transformer" in code) == there
    assert {"veridical.networks.masked", "veridical.networks.flow"} <= {*code}
