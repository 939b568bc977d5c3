"""Settings: what is refused, in which words, and that schema, page and classes agree."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from veridical.errors import SettingError
from veridical.study import settings

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "config").glob("*.yaml"))


def raw(**changes: Any) -> dict[str, Any]:
    base = {"study": "s", "seed": 1, "task": "gaussian_linear", "estimators": {"npe": {}}, "budgets": [1000]}
    base["estimators"] = {"npe": {"type": "npe"}}
    return settings.merge(base, changes)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
@pytest.mark.parametrize("scale", settings.SCALES)
def test_every_study_is_valid_at_every_scale(path: Path, scale: str) -> None:
    study = settings.load(path, scale)
    assert study.study == path.stem


def test_every_setting_is_described() -> None:
    for name, node in settings.schema()["$defs"].items():
        for field, entry in node["properties"].items():
            branches = [entry, *entry.get("anyOf", ())]
            sections = any({"$ref", "discriminator", "const"} & set(branch) for branch in branches)
            assert sections or entry.get("description"), f"{name}.{field} has no description"


def at(place: str, value: Any) -> dict[str, Any]:
    """Changes that put a value at a place of a study."""
    for name in reversed(place.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("replicats", 3, "unknown setting. Did you mean 'replicates'?"),
        ("simulation.shards_row", 5, "unknown setting. Did you mean 'shard_rows'?"),
        ("estimators.npe.flow.bin", 8, "unknown setting. Did you mean 'bins'?"),
        ("checks.sbcc", {}, "unknown setting. Did you mean 'sbc'?"),
        ("checks.sbc.alfa", 0.1, "unknown setting. Did you mean 'alpha'?"),
        ("observations.a.fil", "x.csv", "unknown setting. Did you mean 'file'?"),
        ("task", "my_model.py", "expected a class behind the file, as in my_model.py:MyTask"),
        ("replicates", 0, "expected a number greater than or equal to 1; got 0"),
        ("replicates", "three", "expected an integer; got 'three'"),
        ("seed", -1, "expected a number greater than or equal to 0"),
        ("budgets", [], "List should have at least 1 item"),
        ("study", "bank", "results/bank holds simulations of all studies; choose another name"),
        ("study", "../elsewhere", "expected a name of letters, digits and _"),
        ("simulation", 3, "expected a mapping of settings; got 3."),
        ("simulation.max_invalid", 1.5, "expected a number less than 1; got 1.5"),
        ("simulation.max_invalid", False, "expected a number; got False"),
        ("simulation.time_limit", math.inf, "expected a finite number; got inf"),
        ("simulation.time_limit", math.nan, "expected a finite number; got nan"),
        ("simulation.time_limit", 1e300, "expected a number less than or equal to 10000000; got 1e+300"),
        ("simulation.time_limit", True, "expected a number; got True"),
        ("simulation.seconds", 0.5, "expected a mapping of names; got 0.5"),
        ("simulation.seconds.model", math.inf, "expected a finite number"),
        ("simulation.seconds.model", 2e7, "expected a number less than"),
        ("simulation.mem_mb", 1e26, "expected a much smaller number; got 1e+26"),
        ("simulation.mem_mb", 10**9, "expected a number less than or equal to 100000000"),
        ("simulation.shard_rows", 1e20, "expected a much smaller number"),
        ("simulation.shard_rows", 10**9 + 1, "expected a number less than or equal"),
        ("simulation.probe_rows", 10**14, "expected a number less than or equal"),
        ("simulation.cores", True, "expected a number; got True"),
        ("simulation.modules", "gcc/12", "expected a list; got 'gcc/12'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(place: str, value: Any, told: str) -> None:
    with pytest.raises(SettingError, match=rf"(?m)^{re.escape(f'{place}: {told}')}"):
        settings.parse(raw(**at(place, value)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            at("estimators.npe.summary.type", "cnv"),
            "estimators.npe.summary.type: expected 'auto', 'mlp', 'conv', 'image', 'gru', 'transformer', "
            "'deepset', 'set_transformer', 'energy_flow', 'none', 'parts'; got 'cnv'. Did you mean 'conv'?",
        ),
        (
            at(
                "estimators.npe.summary",
                {"type": "parts", "parts": {"a": {"entries": [0], "summary": {"type": "gru", "stat": 3}}}},
            ),
            "estimators.npe.summary.parts.a.summary.stat: unknown setting. Did you mean 'state'?",
        ),
        (
            at("estimators.npe.summary", {"type": "transformer", "width": 30}),
            "width: expected a multiple of the 4 heads, got 30",
        ),
        (
            at("estimators.npe.summary", {"type": "gru", "stat": 3}),
            "estimators.npe.summary.stat: unknown setting. Did you mean 'state'?",
        ),
        ({"task": {"name": "mixture", "seting": {}}}, "seting: unknown setting. Did you mean 'settings'?"),
        ({"task": {"name": "c", "comand": "awk"}}, "comand: unknown setting. Did you mean 'command'?"),
        (
            {"task": {"simulations": "s.npz", "parameters": {"a": {}}, "reserved": {"tset": 10}}},
            "expected 'test', 'calibration' or 'fit'; got 'tset'. Did you mean 'test'?",
        ),
        (
            at("simulation.modules", ["gcc/12; touch x"]),
            "simulation.modules.0: expected a module name such as gcc/12; got 'gcc/12; touch x'",
        ),
        ({"budgets": [200, 100]}, "budgets must grow from first to last"),
        ({"estimators": {"reference": {"type": "npe"}}}, "the name 'reference' is taken"),
        ({"observations": {"simulated": {"file": "x.csv"}}}, "the name 'simulated' is taken"),
        ({"reference": {}}, "`observations` is empty"),
        ({"scales": {"smok": {}}}, "scales: there is no scale 'smok'. Did you mean 'smoke'?"),
        ({"scales": {"paper": {"replicats": 3}}}, "scales.paper: replicats: unknown setting."),
    ],
)
def test_wrong_settings_name_the_place_and_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        settings.parse(raw(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"reference": {}},
            "`reference` samples the posterior of an observation, but `observations` is empty.",
        ),
        (
            {"estimators": {"late": {"type": "npe", "start": "npr"}}},
            "estimators.late builds on 'npr', which is no method of this study. Did you mean 'npe'?",
        ),
        (
            {"experiments": {"batches": 1, "rows": 2, "methods": ["npr"]}},
            "experiments.methods: 'npr' is no method of this study. Did you mean 'npe'?",
        ),
        (
            {"scales": {"smoke": {"reference": {}}}},
            "scales.smoke: `reference` samples the posterior of an observation, but `observations` is empty.",
        ),
    ],
)
def test_what_is_wrong_between_sections_is_one_sentence_without_a_place(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingError) as caught:
        settings.parse(raw(**changes))
    assert str(caught.value) == sentence


def test_a_scale_is_blamed_for_its_own_faults_only() -> None:
    with pytest.raises(SettingError) as caught:
        settings.parse(raw(bugets=[1], scales={"smoke": {"replicats": 3}}))
    assert str(caught.value).splitlines() == [
        "bugets: unknown setting. Did you mean 'budgets'?",
        "scales.smoke: replicats: unknown setting. Did you mean 'replicates'?",
    ]


def test_a_missing_setting_is_named() -> None:
    given = raw()
    del given["seed"]
    with pytest.raises(SettingError, match="seed: this setting is required and missing"):
        settings.parse(given)


def test_scales_are_merged_and_lists_replaced() -> None:
    given = raw(
        simulation={"shard_rows": 5000, "max_invalid": 0.1},
        budgets=[10, 20, 30],
        scales={"smoke": {"simulation": {"shard_rows": 1000}, "budgets": [5]}},
    )
    smoke, laptop = settings.parse(given, "smoke"), settings.parse(given)
    assert (smoke.simulation.shard_rows, smoke.simulation.max_invalid, smoke.budgets) == (1000, 0.1, [5])
    assert (laptop.simulation.shard_rows, laptop.budgets) == (5000, [10, 20, 30])


def test_unknown_scale_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"scale 'smol' is unknown\. Did you mean 'smoke'"):
        settings.parse(raw(), "smol")
    (tmp_path / "lynx_hare.yaml").write_text("")
    with pytest.raises(SettingError, match=r"does not exist\. Did you mean 'lynx_hare'"):
        settings.load(tmp_path / "lynx_hair.yaml")
    with pytest.raises(SettingError, match="expected a mapping of settings"):
        settings.load(tmp_path / "lynx_hare.yaml")


def test_a_study_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "s.yaml"
    path.touch()
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(SettingError, match=r"s\.yaml: cannot be read"):
        settings.load(path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("study: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(SettingError, match="not valid YAML"):
        settings.load(path)


def test_a_study_survives_yaml(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(raw()))
    assert settings.load(path) == settings.parse(raw())
