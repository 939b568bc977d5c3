"""docs/bring_your_own.md: every file it shows is run as it stands, from the simulator to the report."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from veridical import bank
from veridical.evidence import metrics
from veridical.evidence.comparison import VERDICTS
from veridical.saved import observations
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate

from .conftest import QUICK, ROOT, Examples, files_of

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MINUTES = np.arange(0.0, 31.0, 3.0)

MUTE = {"local_ranks": None, "local_c2st": None}  # a thousand more calls of a program


def left(theta: np.ndarray, fidelity: str = "exact") -> np.ndarray:
    """The share of the first temperature difference that is left, (N, 11); NaN where Euler fails."""
    rate = theta[:, :1]
    if fidelity == "exact":
        return np.exp(-rate * MINUTES)
    shares = (1 - 3 * rate) ** np.arange(11)
    return np.where(3 * rate < 1, shares, np.nan)


def assert_simulated(theta: np.ndarray, x: np.ndarray, fidelity: str = "exact") -> None:
    """Readings are the curve plus independent errors of one degree (five standard errors)."""
    room = theta[:, 1:]
    error = x - (room + (90 - room) * left(theta, fidelity))
    np.testing.assert_array_equal(np.isnan(error), np.isnan(left(theta, fidelity)))
    error = error[np.isfinite(error)]
    assert abs(error.mean()) < 5 / np.sqrt(error.size)
    assert abs(error.std() - 1) < 5 / np.sqrt(2 * error.size)


def load(study: Path, dataset: str = "simulated") -> observations.Observations:
    return observations.load(study / "observe" / f"{dataset}.nc")


def rows(examples: Examples, task: str, fidelity: str, split: str) -> dict[str, np.ndarray]:
    (folder,) = (examples.folder / "results/bank").glob(f"{task}-*/{fidelity}/{split}")
    return bank.load(sorted(folder.glob("*.zarr.zip")))


def assert_finished(study: Path, dataset: str, seen: int) -> dict[str, Any]:
    """All four files are there and speak of the data set; the estimates are of the right size."""
    page = (study / "report.html").read_text()
    verdict = json.loads((study / "verdict.json").read_text())
    assert "<svg" in page and dataset in page
    assert json.loads((study / "provenance.json").read_text())["@graph"]
    for found in verdict["verdicts"]:
        assert (found["dataset"], found["budget"], found["replicates"]) == (dataset, 1000, 1)
        assert found["verdict"] in VERDICTS
        assert found["verdict"] in page
        assert all(finding["text"] for finding in found["findings"])
    table = metrics.read(study / "metrics.csv")
    for parameter, lower, upper in (("rate", 0.02, 0.13), ("room", 12.0, 28.0)):
        means = [
            row["value"]
            for row in table
            if (row["metric"], row["parameter"], row["seed"]) == ("posterior_mean", parameter, 0)
            and row["method"] == "npe"
        ]
        assert len(means) == seen
        assert all(lower < mean < upper for mean in means)
    return verdict


def test_every_study_of_the_page_is_run_here(examples: Examples) -> None:
    files = files_of(examples.page)
    studies = {Path(name).stem for name in files if name.startswith("config/") and name.endswith(".yaml")}
    assert studies == {"coffee", "coffee_levels", "coffee_awk", "coffee_c", "coffee_elsewhere", "draughty"}
    assert not any((ROOT / name).exists() for name in files), (
        "an example would overwrite a file of the project"
    )
    for name in studies:
        settings = yaml.safe_load(files[f"config/{name}.yaml"])
        assert settings["study"] == name


def test_a_class_in_a_python_file(examples: Examples) -> None:
    examples.snakemake("coffee", "--until", "observe_simulated")
    data = load(examples.results("coffee"))
    assert data.x.shape == (100, 11)
    assert_simulated(data.truth, data.x)
    (folder,) = (examples.folder / "results/bank").glob("coffee-*")
    said = (folder / "logs/probe-exact.log").read_text()
    shown = re.search(r"```text\n(coffee, fidelity.*?)```", examples.page, flags=re.DOTALL)
    assert shown is not None
    words = re.split(r"\d[\d.]*(?:e-\d+)?", shown[1])
    assert re.fullmatch(r"\d[\d.]*(?:e-\d+)?".join(map(re.escape, words)), said)
    found = json.loads((folder / "exact/probe.json").read_text())["fidelities"]["exact"]
    named = {"seconds_per_row", "cpu_seconds_per_row", "bytes_per_row", "invalid_share", "counts"}
    assert named | {"first_traceback", "reproducible"} <= set(found)
    for name in (*named, "first_traceback", *found["counts"], "reproducible"):
        assert f"`{name}`" in examples.page


def test_fidelities_with_shared_noise_and_a_likelihood(examples: Examples, levels: Path) -> None:
    verdict = assert_finished(levels, "kitchen", 1)
    assert {found["method"] for found in verdict["verdicts"]} == {"npe", "npe_euler"}
    rules = {f["rule"]: f["outcome"] for f in verdict["verdicts"][0]["findings"]}
    assert rules["near_reference"] not in ("not asked", "cannot tell")
    euler, exact = (rows(examples, "coffee_levels", name, "train-r0") for name in ("euler", "exact"))
    np.testing.assert_array_equal(euler["theta"], exact["theta"])
    assert_simulated(euler["theta"], euler["x"], "euler")
    assert_simulated(exact["theta"], exact["x"])
    both = bank.valid(euler)
    room = exact["theta"][both, 1:]
    noise = [
        one["x"][both] - room - (90 - room) * left(one["theta"][both], name)
        for one, name in ((euler, "euler"), (exact, "exact"))
    ]
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-3)  # x is float32


def test_a_finished_example_has_nothing_left_to_do(examples: Examples, levels: Path) -> None:
    done = examples.snakemake("coffee_levels", "--dry-run", profile=False, **QUICK)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_program_in_awk(examples: Examples) -> None:
    if shutil.which("awk") is None:
        pytest.skip("awk is not installed")
    examples.snakemake("coffee_awk", checks={"scores": None, "tarp": None, "sbc": None, **MUTE})
    study = examples.results("coffee_awk")
    assert_finished(study, "cups", 3)
    data = load(study)
    assert_simulated(data.truth, data.x)
    table = np.loadtxt(
        examples.folder / "config/data/cups.csv", delimiter=",", skiprows=2, usecols=range(1, 12)
    )
    np.testing.assert_array_equal(load(study, "cups").x, table)


def test_a_program_in_c(examples: Examples) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (compile_it,) = re.findall(r"^    (gcc .*)$", examples.page, flags=re.MULTILINE)
    subprocess.run(shlex.split(compile_it), cwd=examples.folder, check=True)
    examples.snakemake("coffee_c", "--until", "observe", "observe_simulated", "train")
    study = examples.results("coffee_c")
    euler = rows(examples, "coffee_c", "euler", "train-r0")
    assert_simulated(euler["theta"], euler["x"], "euler")
    np.testing.assert_array_equal(bank.valid(euler), 3 * euler["theta"][:, 0] < 1)
    data = load(study)
    assert_simulated(data.truth, data.x)
    assert load(study, "cups").x.shape == (3, 11)
    cost = json.loads((study / "train/npe/n1000-r0/cost.json").read_text())
    assert cost["n_valid"] == bank.valid(euler).sum()


def test_simulations_made_elsewhere(examples: Examples) -> None:
    examples.snakemake("coffee_elsewhere", checks={"scores": None, "tarp": None, "coverage": None})
    study = examples.results("coffee_elsewhere")
    assert_finished(study, "cups", 3)
    checked = {path.stem for path in (study / "check").rglob("*.json")}
    expected = {"sbc", "typicality", "detection", "prior_sensitivity"}
    assert checked == expected, "no check that simulates, without a simulator"
    data = load(study)
    assert_simulated(data.truth, data.x)
    stored = np.load(examples.folder / "models/runs.npz")
    places = [np.flatnonzero((stored["theta"] == theta).all(axis=1)) for theta in data.truth]
    assert all(len(place) == 1 for place in places)
    np.testing.assert_array_equal(data.x, stored["x"][np.concatenate(places)].astype(np.float32))
    train = rows(examples, "coffee_elsewhere", "stored", "train-r0")["theta"]
    assert not (train[:, None] == data.truth).all(axis=-1).any(), "a test row is among the training rows"


@pytest.mark.parametrize("file", ["runs.csv", "runs.zarr"])
def test_the_same_simulations_in_another_format(
    examples: Examples, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(examples.folder)
    text = files_of(examples.page)["config/coffee_elsewhere.yaml"]
    assert f"`simulations: models/{file}`" in examples.page

    def rows(text: str) -> dict[str, np.ndarray]:
        layout = Layout(settings.parse(yaml.safe_load(text)))
        validate(layout)
        return layout.task.rows("train", 0, 0, 99, root=1)

    ours, theirs = rows(text.replace("models/runs.npz", f"models/{file}")), rows(text)
    for name in ("theta", "x"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12)


def test_an_estimator_and_a_remedy_of_the_users_own(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples.snakemake("draughty")
    study = examples.results("draughty")
    rows_of = metrics.read(study / "metrics.csv")
    labelled_real = {
        method: metrics.value(
            rows_of, method=method, dataset="real", metric="coverage", parameter=None, level=0.9, seed=0
        )
        for method in ("linear", "widened")
    }
    assert labelled_real["linear"] < 0.75, "the draught makes the plain answer over-confident"
    assert 0.8 < labelled_real["widened"] <= 1.0
    import veridical

    (folder,) = (study / "remedy/widened").iterdir()
    record = json.loads((folder / "estimator.json").read_text())
    assert record["settings"]["of"] == "linear" and record["parent"]["path"].endswith("n1000-r0")
    monkeypatch.chdir(examples.folder)  # files of the user's own are looked for where the study was run
    assert record["calibration"] == 50 and veridical.load(folder, own_code=True).parent is not None
