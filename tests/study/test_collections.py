"""Collections: what their studies are, what they share with studies by themselves, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from veridical.errors import SettingError, VeridicalError
from veridical.study import collections, settings, unneeded
from veridical.study.layout import Layout

COMMON: dict[str, Any] = {
    "seed": 7,
    "simulation": {"shard_rows": 1000},
    "estimators": {"npe": {"type": "npe", "summary": {"type": "none"}}},
    "budgets": [1000],
    "replicates": 1,
    "test_rows": 100,
    "scales": {"smoke": {"test_rows": 60, "tasks": {"slcp": None, "wide": {"test_rows": 50}}}},
}
WIDE = {"name": "gaussian_linear", "settings": {"dimension": 3}}
GIVEN: dict[str, Any] = {
    "collection": "families",
    "tasks": {"two_moons": {}, "slcp": {"budgets": [2000]}, "wide": {"task": WIDE}},
    **COMMON,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without studies, in which the test works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config/collections").mkdir(parents=True)
    return tmp_path


def save(path: str, content: dict[str, Any]) -> Path:
    Path(path).write_text(yaml.safe_dump(content))
    return Path(path)


def refusal(**changes: Any) -> str:
    """What is said of the collection with these changes, before a job starts."""
    with pytest.raises(VeridicalError) as caught:
        collections.read({**GIVEN, **changes}).validate()
    return str(caught.value)


# ---- what it stands for --------------------------------------------------------------------------------


def test_each_task_is_a_study_below_the_collection() -> None:
    found = collections.read(GIVEN)
    assert [*found.layouts] == ["families/two_moons", "families/slcp", "families/wide"]
    assert {one.results for one in found.layouts.values()} == {f"results/{name}" for name in found.layouts}
    assert [one.task_spec["name"] for one in found.layouts.values()] == [
        "two_moons",
        "slcp",
        "gaussian_linear",
    ]
    assert found.report == "results/families"
    assert found.pages[-2:] == ["results/families/report.html", "results/families/metrics.csv"]
    found.validate()


@pytest.mark.parametrize(
    ("scale", "budgets", "rows"),
    [
        ("laptop", {"two_moons": [1000], "slcp": [2000], "wide": [1000]}, {"two_moons": 100, "wide": 100}),
        ("smoke", {"two_moons": [1000], "wide": [1000]}, {"two_moons": 60, "wide": 50}),
    ],
)
def test_what_stands_nearer_to_a_task_is_laid_on_top(
    scale: str, budgets: dict[str, list[int]], rows: dict[str, int]
) -> None:
    found = {one.study.study: one.study for one in collections.read(GIVEN, scale).layouts.values()}
    assert {name: study.budgets for name, study in found.items()} == budgets
    assert {name: found[name].test_rows for name in rows} == rows


def test_a_study_is_what_its_own_file_would_be() -> None:
    found = collections.read(GIVEN).layouts["families/two_moons"]
    own = {key: value for key, value in COMMON.items() if key != "scales"}
    alone = Layout(settings.parse({**own, "study": "alone", "task": "two_moons"}))
    (run,) = alone.runs
    assert found.bank == alone.bank
    assert found.source_shards(run) == alone.source_shards(run)
    assert found.spec("npe") == alone.spec("npe")
    assert found.method_code("train", run) == alone.method_code("train", run)
    assert found.artifact(run) == alone.artifact(run).replace("alone", "families/two_moons")


def test_studies_of_their_own_files_stay_where_they_are() -> None:
    own = {**COMMON, "study": "alone", "task": "two_moons"}
    save("config/alone.yaml", {**own, "scales": {}})
    found = collections.read({**GIVEN, "studies": ["alone"]})
    assert [*found.layouts][-1] == "alone"
    assert found.layouts["alone"].results == "results/alone"
    assert found.layouts["alone"].bank == found.layouts["families/two_moons"].bank
    assert found.user_of(Path(found.layouts["alone"].bank).name) is found.layouts["families/two_moons"]


def test_a_study_alone_is_what_it_was() -> None:
    raw = {**COMMON, "study": "alone", "task": "two_moons", "scales": {}}
    found = collections.read(raw, "smoke", data="new.csv")
    layout = Layout(settings.parse(raw, "smoke"), scale="smoke", data="new.csv")
    assert found.layouts == {"alone@smoke": layout}
    assert (found.name, found.report) == ("alone", "results/alone@smoke/new")
    assert found.pages == [
        f"{layout.report}/{name}"
        for name in ("report.html", "metrics.csv", "verdict.json", "provenance.json", "outcome.json")
    ]


def test_banks_of_collections_are_used(here: Path) -> None:
    path = save("config/collections/families.yaml", GIVEN)
    banks = [Path(one.bank) for one in collections.load(path).layouts.values()]
    for folder in (*banks, Path("results/bank/slcp-0123456789ab")):
        folder.mkdir(parents=True)
    found = unneeded.unneeded(here / "results", here / "config")
    assert [item.path.name for item in found] == ["slcp-0123456789ab"]


# ---- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"tasks": {"two_moons": {}, "slpc": {}}},
            "tasks.slpc: task 'slpc' is unknown. Did you mean 'slcp'?",
        ),
        ({"tasks": {"two_moons": {"budget": [1]}, "slcp": {}}}, "tasks.two_moons: budget: unknown setting."),
        ({"tasks": {"two_moons": {"seed": "x"}, "slcp": {"test_rows": 1}}}, "\ntasks.slcp: test_rows: "),
        ({"budget": [1]}, "budget: unknown setting. Did you mean 'budgets'?"),
        ({"tasks": {}}, "tasks: collection families has none at this scale"),
        ({"tasks": {"logs": {"task": WIDE}}}, "tasks.logs: a folder of the collection has this name"),
        ({"tasks": {"a b": {}}}, "tasks.a b"),
        ({"tasks": ["two_moons"]}, "tasks: "),
        ({"task": "slcp"}, "task: a collection has `tasks` in its place"),
        ({"study": "slcp"}, "study: a collection has `collection` in its place"),
        ({"scales": ["smoke"]}, "scales: expected settings below smoke, laptop, paper"),
        ({"scales": {"laptop": {"tasks": {"wide": 3}}}}, "scales.laptop: tasks.wide"),
        ({"studies": ["missing"]}, "study file config/missing.yaml does not exist"),
        ({"scales": {"paper": {"tasks": ["wide"]}}}, "scales.paper: tasks: "),
        ({"tasks": {"slcp": {"study": "a"}}}, "tasks.slcp.study: slcp is the name of its study"),
        ({"collection": "bank"}, "results/bank/ belongs to something else"),
        (
            {"reference": {}, "tasks": {"slcp": {}, "two_moons": {}}},
            "`reference` samples the posterior of an",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_task(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(**changes)


def test_a_fault_of_all_is_told_once() -> None:
    assert refusal(budget=[1]).count("unknown setting") == 1


def test_what_fits_one_task_alone_is_told_of_the_other() -> None:
    moons = {"two_moons": {}, "ornstein_uhlenbeck": {"budgets": [1000]}}
    said = refusal(estimators={"npe": {"type": "npe", "fidelity": "model"}}, tasks=moons)
    assert said.startswith("tasks.ornstein_uhlenbeck: estimators.npe")
    assert "two_moons" not in said


def test_names_of_studies_are_kept_apart() -> None:
    save("config/two_moons.yaml", {**COMMON, "study": "two_moons", "task": "two_moons", "scales": {}})
    assert "studies: two_moons is the name of two studies" in refusal(studies=["two_moons"])
    save("config/families.yaml", {})
    assert "results/families/ belongs to something else" in refusal()


def test_new_data_are_for_a_study() -> None:
    with pytest.raises(SettingError, match="new data belong to one study"):
        collections.read(GIVEN, "smoke", data="new.csv")


def test_modules_of_the_site_are_the_same_for_all() -> None:
    changed = {**GIVEN["tasks"], "slcp": {"simulation": {"modules": ["gcc/13"]}}}
    said = refusal(tasks=changed)
    assert said.startswith("tasks.slcp: simulations of one DAG load the same modules")


# ---- severities ----------------------------------------------------------------------------------------

GRADED: dict[str, Any] = {
    **GIVEN,
    "tasks": {"pendulum": {}, "gaussian_chain": {"task": {"settings": {"chain": 3}}}},
    "severities": [0, 0.5, 1],
    "scales": {"smoke": {"severities": [0.25]}},
}


def test_each_task_is_a_study_at_each_severity() -> None:
    found = collections.read(GRADED)
    assert [*found.layouts] == [
        f"families/{task}_s{s}" for task in ("pendulum", "gaussian_chain") for s in ("0", "0p5", "1")
    ]
    own = [one.task_spec["settings"] for one in found.layouts.values()]
    assert [one["severity"] for one in own] == [0, 0.5, 1] * 2 and own[-1]["chain"] == 3
    assert found.about["severities"] == [0, 0.5, 1] and "severities" not in collections.read(GIVEN).about
    assert [*collections.read(GRADED, "smoke").layouts] == [
        "families@smoke/pendulum_s0p25",
        "families@smoke/gaussian_chain_s0p25",
    ]
    found.validate()


def test_severities_share_all_simulations_but_those_of_nature() -> None:
    own = {key: value for key, value in COMMON.items() if key != "scales"}
    alone = Layout(settings.parse({**own, "study": "alone", "task": "pendulum"}))
    graded = [one for name, one in collections.read(GRADED).layouts.items() if "pendulum" in name]
    assert {one.bank_of("harmonic") for one in graded} == {alone.bank}
    assert len({one.bank_of("real") for one in graded}) == 3
    assert {path for one in graded for path in one.all_shards() if "/real/" not in path} == {
        path for path in alone.all_shards() if "/real/" not in path
    }
    told = [one.spec_at("harmonic") for one in graded]
    assert told == [alone.task_spec] * 3 and graded[1].spec_at("real")["settings"] == {"severity": 0.5}


def test_targets_of_a_class_task_share_what_its_simulators_decide() -> None:
    """Banks of templates, and what methods of templates are told; nature's classes are others."""

    def study(**of_task: Any) -> Layout:
        ratios = {"type": "template_ratios", "first": ["signal_0"], "second": ["background_1"]}
        return Layout(
            settings.parse(
                {
                    "study": "masses",
                    "seed": 1,
                    "task": {"name": "mass_plane", "settings": {"simulators": 2, **of_task}},
                    "budgets": [1000],
                    "estimators": {"templates": ratios, "ratios": {"type": "ratios"}},
                    "remedies": {"tamm": {"type": "tamm", "of": "templates"}},
                }
            )
        )

    one, other = study(), study(target="failing")
    assert one.bank_of("signal_0") == other.bank_of("signal_0") != other.bank_of("signal")
    assert {one.spec_of(name) == other.spec_of(name) for name in ("templates", "tamm")} == {True}
    assert one.spec_of("ratios") != other.spec_of("ratios") == other.task_spec != other.spec_of("tamm")
    assert one.levels("tamm") == ["signal_0", "background_1"]
    assert one.levels("ratios") == ["signal", "background"]
    assert {fidelity for fidelity, _, _ in one.parts(one.runs[-1])} == {"signal_0", "background_1"}


def test_every_bank_of_a_severity_is_found_by_its_name() -> None:
    found = collections.read(GRADED)
    for layout in found.layouts.values():
        assert [found.user_of(Path(bank).name).banks.count(bank) for bank in layout.banks] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"tasks": {"pendulum": {}, "two_moons": {}}},
            "names `severity` in its `of_nature`, got 'two_moons'",
        ),
        ({"severities": [1, 0]}, "severities must grow"),
        ({"severities": [2]}, "severities.0"),
    ],
)
def test_severities_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(VeridicalError) as caught:
        collections.read({**GRADED, **changes}).validate()
    assert sentence in str(caught.value)


def test_the_benchmark_of_remedies_has_the_cells_that_it_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    found = collections.load("config/collections/misspecification.yaml")
    found.validate()
    cells = [
        (run.replicate, pairs)
        for layout in found.layouts.values()
        for run in layout.runs
        for pairs in (layout.study.calibration if run.calibration is None else [run.calibration])
    ]
    tasks = {layout.task_spec["name"] for layout in found.layouts.values()}
    assert len(tasks) >= 6 and len(found.layouts) == 3 * len(tasks)
    assert len(cells) >= 6 * 3 * 10 * 2 * 3 and {pairs for _, pairs in cells} == {50, 200}
    assert len({one.bank for one in found.layouts.values()}) == len(tasks), "severities share simulations"


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
@pytest.mark.parametrize("name", ["estimators", "multifidelity", "score_ratio"])
def test_collections_that_come_along_can_be_run(
    name: str, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    found = collections.load(f"config/collections/{name}.yaml", scale)
    found.validate()
    assert len(found.layouts) > 1 and all(len(layout.runs) > 1 for layout in found.layouts.values())
