"""The task section of a study: its forms, short forms and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from veridical import tasks
from veridical.inference.settings import ReferenceSettings
from veridical.tasks.settings import TaskSettings

ADAPTER: TypeAdapter[Any] = TypeAdapter(TaskSettings)
UNIFORM = {"prior": "uniform", "lower": 0.0, "upper": 1.0}


def spec(value: Any) -> dict[str, Any]:
    return ADAPTER.validate_python(value).spec()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("lotka_volterra", {"name": "lotka_volterra", "settings": {}}),
        (
            "models/my_model.py:MyTask",
            {
                "name": "my_model",
                "file": "models/my_model.py",
                "class": "MyTask",
                "settings": {},
                "depends_on": [],
            },
        ),
        (
            {"simulations": "data/runs.zarr.zip", "parameters": {"a": {"lower": 0}}},
            {
                "name": "runs",
                "simulations": "data/runs.zarr.zip",
                "parameters": {"a": {"lower": 0.0}},
                "reserved": {},
                "fidelity": "stored",
                "depends_on": [],
            },
        ),
        (
            {"name": "c", "command": "./s {theta} {out}", "parameters": {"a": UNIFORM}, "x_shape": [3]},
            {
                "name": "c",
                "command": "./s {theta} {out}",
                "parameters": {"a": UNIFORM},
                "x_shape": [3],
                "fidelities": {"model": 1.0},
                "block_rows": 100,
                "timeout_is_data": False,
                "output": "csv",
                "depends_on": [],
            },
        ),
    ],
)
def test_each_form_becomes_a_plain_dict(value: Any, expected: dict[str, Any]) -> None:
    assert spec(value) == expected
    assert spec(expected) == expected
    assert ADAPTER.validate_python(value).model_dump(mode="json", exclude_none=True) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "expected the name of a task, a file and class, or a mapping"),
        ({"name": "a/b"}, "should match pattern"),
        ({"name": "x", "setings": {}}, "setings\n  Extra inputs"),
        ({"name": "x", "comand": "./s {theta} {out}"}, "command.command\n  Field required"),
        ({"file": "x.py"}, "file.class\n  Field required"),
        ({"name": "c", "command": "s", "parameters": {"a": UNIFORM}}, "expected `dimensions` or `x_shape`"),
        ({"name": "c", "command": "s", "parameters": {"a": {}}, "x_shape": [1]}, "'a': expected a `prior`"),
        ({"name": "c", "command": "s", "parameters": {}, "x_shape": [1]}, "at least 1 item"),
        ({"simulations": "s.npz", "parameters": {"a": {"prior": "gaussian"}}}, "Input should be 'uniform'"),
        ({"name": "mixture", "block_rows": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_named(value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ADAPTER.validate_python(value)
    assert message in str(raised.value)


def test_the_schema_knows_the_short_form() -> None:
    schema = ADAPTER.json_schema()
    assert {"type": "string"} in schema["anyOf"]
    assert len(schema["anyOf"]) == 5


def test_reference_settings_have_defaults_and_bounds() -> None:
    assert ReferenceSettings().ensembles == 4
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        ReferenceSettings(ensembles=1)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "gaussian_linear"},
        {"file": __file__, "class": "Kept"},
        {"name": "c", "command": "cp {theta} {out}", "parameters": {"a": UNIFORM}, "x_shape": [1]},
        {"simulations": "runs.csv", "parameters": {"a": {}}},
    ],
)
def test_the_type_of_x_can_be_chosen_for_a_task_of_any_form(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs.csv").write_text("a,x\n1,2459000.9\n2,2459000.1\n")
    for dtype in ("float32", "float64"):
        assert tasks.build(spec({**value, "x_dtype": dtype})).x_dtype == dtype
    assert "x_dtype" not in spec(value)
    with pytest.raises(ValidationError, match="x_dtype\n  Input should be 'float32' or 'float64'"):
        spec({**value, "x_dtype": "float16"})


class Kept(tasks.Task):
    """A task whose x matters not."""

    def simulate(self, theta: Any, noise: Any, fidelity: str) -> Any:
        return theta
