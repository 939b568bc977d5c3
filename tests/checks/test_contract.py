"""What every check of the registry keeps to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.conftest import modules_after
from veridical import checks
from veridical.checks.base import CheckResult, Metric
from veridical.errors import ArtifactError, UnknownName
from veridical.evidence.definitions import METRICS
from veridical.saved.predictions import Predictions
from veridical.study.settings import ChecksSettings

from .gaussian_model import gaussian
from .test_wilks import surfaces

KNOWN_NEEDS = {
    *("truth", "observed", "reference", "summary", "null", "predictive", "exact"),
    *("nearby", "densities", "likelihood", "surfaces"),
}


def _inputs(rng: np.random.Generator, labelled: bool) -> tuple[Any, dict[str, Any]]:
    """Draws and all else that a check may be handed; labelled test sets or one observation without truth."""
    simulated = gaussian(rng, 1.0, n=120, s=99, d=2)
    if labelled:
        return simulated, {}
    one = gaussian(rng, 1.0, n=1, s=200, d=2)
    draws = replace(one, truth=None, log_density_truth=None)
    replicates = one.draws[:, 0] + rng.normal(size=(200, 2))
    at = one.draws[:2, 0][:, None]
    repeated = at + rng.normal(size=(2, 100, 2))
    predictions = Predictions(replicates[:, None], one.draws, repeated[:, :, None], at)
    others = {"reference": one, "null": simulated, "predictive": predictions, "prior_predictive": simulated.x}
    others |= {"exact": _exact(rng), "nearby": _nearby(rng), "densities": _densities(one.draws, rng)}
    others |= {"surfaces": surfaces(rng)}
    return draws, others


def _nearby(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Pools of equal weight around one observation."""
    pool = rng.normal(size=(100, 60, 2))
    of_one = {"observation": np.zeros(60, dtype=int), "widening": np.ones(1), "failed": np.zeros(1)}
    return {"pool": pool, "log_weight": rng.normal(size=(100, 60)), **of_one}


def _densities(draws: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Densities at draws, and of the answers to 120 test sets."""
    log_prior = -0.5 * (draws**2).sum(axis=-1)
    found = {"log_prior": log_prior, "log_likelihood": -((draws - 0.1) ** 2).sum(axis=-1)}
    found |= {"log_prior_mean": log_prior.mean(axis=0), "edge": np.zeros(1)}
    return found | {"log_prior_null": -rng.exponential(size=120), "edge_null": rng.random(120)}


def _exact(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two posteriors on a grid of four cells, for six data sets, and their draws."""
    log_p, log_q = (np.log(rng.dirichlet(np.ones(4), size=6)) for _ in range(2))
    draws = rng.normal(size=(2, 60, 6, 2))
    return {
        "log_p_truth": log_p[:, 0],
        "log_q_truth": log_q[:, 0],
        "log_p_grid": log_p,
        "log_q_grid": log_q,
        "cell_volume": np.array(1.0),
        "draws_exact": draws[0],
        "draws": draws[1],
    }


def result_of(name: str, rng: np.random.Generator) -> CheckResult:
    """The result of a check on a well-specified problem."""
    draws, others = _inputs(rng, "truth" in checks.needs(name))
    fast = {"patience": 2, "folds": 2} if name == "two_sample" else {}
    return checks.build(name, **fast).run(draws, rng, **others)


@pytest.fixture(params=sorted(checks.CHECKS))
def result(request: pytest.FixtureRequest, rng: np.random.Generator) -> CheckResult:
    """The result of each check in turn."""
    return result_of(request.param, rng)


def test_metrics_are_finite_documented_and_unique(result: CheckResult) -> None:
    metrics = result.metrics()
    assert metrics
    keys = [(m.name, m.parameter, m.level) for m in metrics]
    assert len(set(keys)) == len(keys)
    for metric in metrics:
        assert np.isfinite(metric.value), metric
        assert metric.stderr is None or (np.isfinite(metric.stderr) and metric.stderr >= 0), metric
        assert metric.n and metric.n > 0, metric
        assert metric.parameter in {"", "log_density", *result.parameters}
    assert {m.name for m in metrics} <= METRICS.keys()


def test_every_number_says_how_far_to_trust_it(result: CheckResult) -> None:
    """Only exact p-values, family-wise ones, and distances of a single observation have no error."""
    without = {m.name for m in result.metrics() if m.stderr is None}
    assert without <= {
        "sbc_p",
        "coverage_p",
        "tarp_p",
        "member_p",
        "mahalanobis",
        "mmd",
        "local_ranks_p",
        "local_control_p",
        "wilks_p",
    }


def test_results_survive_a_round_trip(result: CheckResult, tmp_path: Path) -> None:
    path = tmp_path / "check.json"
    checks.save(result, path)
    found = checks.load(path)
    assert found["check"] == result.check
    assert [Metric(**m) for m in found["metrics"]] == result.metrics()
    assert (found["passed"], found["p_value"]) == (result.passed, result.p_value)
    assert found["parameters"] == list(result.parameters)
    assert found["curves"].keys() == result.curves.keys()
    for name, curve in result.curves.items():
        np.testing.assert_allclose(found["curves"][name], curve, rtol=1e-6)
    assert list(tmp_path.iterdir()) == [path]
    json.loads(path.read_text(), parse_constant=pytest.fail)  # strict JSON: no NaN, no Infinity


def test_results_are_reproducible() -> None:
    for name in sorted(checks.CHECKS):
        runs = []
        for _ in range(2):
            rng = np.random.Generator(np.random.PCG64(5))
            runs.append(result_of(name, rng).to_json())
        assert runs[0] == runs[1], name


def test_registry_settings_and_names_agree() -> None:
    switched_on = ChecksSettings()
    assert set(ChecksSettings.model_fields) == set(checks.CHECKS)
    for name in checks.CHECKS:
        cls = checks.check_class(name)
        assert cls.name == name
        chosen = getattr(switched_on, name)
        assert chosen is None if name in checks.ASKED_FOR else type(chosen) is cls.settings_class
        assert cls.needs <= KNOWN_NEEDS
        assert cls.needs & {"truth", "observed", "reference", "null", "exact", "surfaces"}
        assert checks.modules(name) == (cls.__module__,)


def test_every_check_explains_metrics_that_no_other_does() -> None:
    meanings = [name for check in checks.CHECKS for name in checks.check_class(check).meanings]
    assert len(set(meanings)) == len(meanings)
    assert set(meanings) <= METRICS.keys()


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'coverage'"):
        checks.build("covrage")
    with pytest.raises(ValidationError, match="alhpa"):
        checks.build("sbc", alhpa=0.1)
    with pytest.raises(ValidationError):
        ChecksSettings(sbc={"alpha": 2.0})
    assert ChecksSettings(sbc=None).sbc is None


def test_infinities_are_saved_as_such(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    table = (Metric("lpp", -np.inf, extra={"zero_densities": np.int64(2)}), Metric("nltp", np.inf))
    checks.save(CheckResult("scores", ("a",), table, {"z": np.array([np.nan, 1.0])}), path)
    found = checks.load(path)
    assert [m["value"] for m in found["metrics"]] == [-np.inf, np.inf]
    assert found["metrics"][0]["extra"] == {"zero_densities": 2}
    assert np.isnan(found["curves"]["z"][0])


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"format": 999}'])
def test_files_of_another_kind_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"other\.json: expected"):
        checks.load(path)


def test_checks_import_neither_torch_nor_estimators() -> None:
    """Nor, before they run, anything heavy."""
    found = modules_after("from veridical import checks; [checks.check_class(n) for n in checks.CHECKS]")
    assert not found & {"torch", "sklearn", "scipy", "xarray", "matplotlib", "veridical.estimators"}
