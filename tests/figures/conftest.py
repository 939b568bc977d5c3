"""A small fabricated set of saved results, in which every figure finds what it is made from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import checks, seeds, tasks
from veridical.checks import CheckResult, Metric, prior_predictive
from veridical.evidence import metrics
from veridical.evidence.metrics import row
from veridical.evidence.tabulation import QUANTILES
from veridical.figures.sources import Sources
from veridical.saved import estimates, observations, posteriors
from veridical.saved.estimates import Estimate
from veridical.saved.posteriors import Draws

LEVELS = np.linspace(0.1, 0.9, 9)
KAPPAS = np.array([0.1, 0.5])


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Saved results of three methods: draws with calibration pairs, draws without, and estimates."""
    root = tmp_path_factory.mktemp("saved")
    rng = seeds.generator(7, "test", "figures", "saved")
    task = tasks.build({"name": "gaussian_linear", "settings": {"dimension": 2}})
    data = observations.Observations(rng.normal(size=(2, 2)), None, "pelts", "observed", "made up")
    (root / "observe").mkdir()
    observations.save(root / "observe/pelts.nc", data, task)
    look = prior_predictive.look(data.x, rng.normal(size=(200, 2)))
    runs = {"npe": ("n100-r0", "n100-r1"), "rope": ("n100-c10-r0", "n100-c50-r0")}
    draws = [_draws(root / "infer/reference/pelts.nc", rng, {})]
    draws += [_draws(root / f"infer/npe/{run}/pelts.nc", rng, {}) for run in runs["npe"]]
    draws += [_draws(root / f"infer/rope/{run}/pelts.nc", rng, _plan(rng)) for run in runs["rope"]]
    results = [
        _check(root / f"check/{method}/{run}/{dataset}", name, curves)
        for method, names in runs.items()
        for run in names
        for (dataset, name), curves in _curves(rng).items()
    ]
    results.append(_check(root / "check/wifi/n100-r0/simulated", "experiments", _experiments(rng)))
    draws.append(_estimate(root / "infer/tamm/n100-r0/pelts.json"))
    epochs = [{"epoch": float(e), "train_loss": 2.0 - e, "validation_loss": 2.1 - e} for e in range(3)]
    record = {"s": 12.5, "h:m:s": "0:00:12", "max_rss": 300.0, "cpu_time": 11.0}
    metrics.write(root / "metrics.csv", metrics.tidy(_rows()))
    return Sources(
        results=results,
        draws=draws,
        observations=[root / "observe/pelts.nc"],
        histories=[_json(root / "train/npe/n100-r0/history.json", {"epochs": epochs, "best_epoch": 2.0})],
        table=root / "metrics.csv",
        prior=[_prior(root / "observe/simulated.nc", rng, task)],
        simulated=[
            _draws(root / "infer/npe/n100-r0/simulated.nc", rng, {}, rng.normal(size=(40, 2))),
            root / "infer/wifi/n100-r0/simulated.json",
        ],
        looks=[_json(root / "observe/pelts.look.json", look)],
        records=[_json(root / "train/npe/n100-r0/estimator.json", {"rounds": [_rounds(), _rounds()]})],
        allocations=[_json(root / "allocation.json", _plan_of_levels())],
        benchmarks={"train": [_json(root / "benchmarks/train.jsonl", record)]},
    )


@pytest.fixture(scope="session")
def alone(saved: Sources, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """The same with a single answer, of one method to one observation."""
    rng = seeds.generator(7, "test", "figures", "alone")
    root = tmp_path_factory.mktemp("alone")
    own = _draws(root / "infer/npe/n100-r0/pelts.nc", rng, {}, rng.normal(size=(1, 2)))
    return replace(saved, draws=[own, _draws(root / "infer/reference/pelts.nc", rng, {})])


def _plan_of_levels() -> dict[str, Any]:
    """Rows of two levels, which are worth it."""
    return {
        "method": "npe",
        "pairs": 60,
        "levels": ["lf", "hf"],
        "costs": [1.0, 100.0],
        "unit": "nominal",
        "total": 20_000.0,
        "rows": [10_000, 100],
        "gain": 1.4,
        "interval": [1.1, 1.8],
        "level": 0.9,
        "worth": "yes",
        "warning": "",
        "totals": [2_000.0, 20_000.0, 200_000.0],
        "curve": [[1_000, 10], [10_000, 100], [100_000, 1_000]],
    }


def _rounds() -> list[dict[str, Any]]:
    """Three rounds, the last of which has moved nothing."""
    both = {"rows": 900, "kept": 500, "acceptance": 0.3, "leakage": 0.01, "mass_error": 0.01}
    moves = [(None, None, False), (0.8, 0.4, False), (0.05, 0.06, True)]
    return [
        {**both, "round": i + 1, "mass": 0.2 / (i + 1), "shift": shift, "spread": spread, "steady": steady}
        for i, (shift, spread, steady) in enumerate(moves)
    ]


def _json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _check(folder: Path, name: str, curves: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = [Metric("mmd", 1.5, n=50), Metric("power", 0.8, n=20)]
    for kappa in KAPPAS if "pull_counts" in curves else ():
        for moment, value in (("mean", 0.1), ("sd", 1.05)):
            extra = {"true_value": float(kappa)}
            table.append(Metric(f"experiment_pull_{moment}", value, 0.2, 20, extra=extra))
    checks.save(CheckResult(name, ("a", "b"), tuple(table), curves, True, 0.4), folder / f"{name}.json")
    return folder / f"{name}.json"


def _curves(rng: np.random.Generator) -> dict[tuple[str, str], dict[str, Any]]:
    """Curves of the checks of draws, by data set and check."""
    band = {"lower": LEVELS - 0.1, "upper": LEVELS + 0.1}
    ranks = {"ecdf": np.stack([LEVELS, LEVELS + 0.2]), "ecdf_log_density": LEVELS, "grid": LEVELS}
    ranks |= {f"{side}_log_density": values for side, values in band.items()}
    null = {"null": rng.chisquare(2, size=100)}
    x = rng.normal(size=(2, 2))
    bands = np.stack([x + shift for shift in (-2, -1, 0, 1, 2)])
    return {
        ("simulated", "sbc"): {**ranks, **band},
        ("simulated", "scores"): {
            **{name: rng.normal(size=(20, 2)) for name in ("truth", "median", "z_score")},
            **{name: rng.uniform(size=(20, 2)) for name in ("mad", "contraction")},
        },
        ("pelts", "local_ranks"): {**ranks, **band, "ecdf_log_weight": ranks["ecdf"][0]},
        ("simulated", "coverage"): {"levels": LEVELS, "central": [LEVELS] * 2, "hpd": LEVELS, **band},
        ("simulated", "wilks"): {
            **{name: LEVELS for name in ("levels", "held", "held_exact")},
            **{name: rng.chisquare(2, size=20) for name in ("statistic", "statistic_exact")},
            **band,
        },
        ("pelts", "typicality"): {**null, "distances": np.array([1.0, 50.0])},
        ("pelts", "detection"): {**null, "observed": np.array([1.0]), "critical": np.array([6.0])},
        ("pelts", "distortions"): {
            name: np.arange(7.0) / 7 for name in ("gain", "gain_null", "distortion_p")
        },
        ("pelts", "criticism"): {
            **{name: np.array([0.01, 0.5]) for name in ("summary_p", "summary_given_p")},
            **{name: np.array([3.0, 0.1]) for name in ("summary_shift", "summary_spread")},
            **{"value_p": np.array([[0.5, 0.7]]), "value_shift": np.array([[0.1, -0.2]])},
        },
        ("pelts", "predictive"): {
            "observed": np.tile(x, (5, 1)),
            "bands": np.tile(bands, (1, 5, 1)),
            "quantiles": np.array([0.05, 0.25, 0.5, 0.75, 0.95]),
        },
    }


def _experiments(rng: np.random.Generator) -> dict[str, Any]:
    curves = {"z": np.linspace(0, 3, 7), "true_values": KAPPAS, "residual_total": np.zeros((2, 7))}
    examples = {name: 0.1 + rng.uniform(size=(20, 2)) for name in ("value", "total", "statistical")}
    curves |= {
        "pull_edges": np.linspace(-4, 4, 33),
        "pull_counts": rng.multinomial(20, np.full(34, 1 / 34), 2),
    }
    return curves | {f"example_{name}": values for name, values in examples.items()}


def shape_record(seed: int = 0, bins: int = 6, true: bool = True) -> dict[str, Any]:
    """What a method says that it learned of two classes, of which the events are known or not."""
    rng = seeds.generator(7, "test", "figures", "shapes", seed)
    share = np.full(bins, 1 / bins)

    def side(n: int) -> dict[str, Any]:
        templates = rng.dirichlet(np.full(bins, 20.0), 3).tolist()
        known = rng.multinomial(n, share).tolist() if true else None
        shapes = {"templates": templates, "template_errors": [[0.01] * bins] * 3, "true": known}
        return {"shares": share.tolist(), "errors": [0.01] * bins, **shapes}

    data = rng.multinomial(900, share).tolist()
    feature = {"name": "mass", "unit": "GeV", "edges": np.linspace(0, 3, bins + 1).tolist(), "data": data}
    feature |= {"expected": [900 / bins] * bins, "error": [11.0] * bins, "classes": [side(90), side(810)]}
    about = {"classes": ["signal", "background"], "kappa": 0.1, "sigma": 0.02, "weights": [[0.5, 0.5]] * 2}
    return about | {"features": [feature]}


def _estimate(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    one = np.full(1, 0.1)
    estimates.save(path, Estimate(one, one / 5, one / 10, 0 * one), shapes=[shape_record()])
    return path


def _draws(
    path: Path, rng: np.random.Generator, extras: dict[str, Any], truth: np.ndarray | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bounds = np.array([[-9.0, 9.0]] * 2)
    draws = rng.normal(size=(300, 2 if truth is None else len(truth), 2))
    posteriors.save(path, Draws(("a", "b"), bounds, ("m", ""), draws, None, truth=truth, extras=extras))
    return path


def _prior(path: Path, rng: np.random.Generator, task: Any) -> Path:
    x = rng.normal(size=(60, 2))
    observations.save(path, observations.Observations(x, 2 * x, "simulated", "simulated"), task)
    return path


def _plan(rng: np.random.Generator) -> dict[str, Any]:
    centres = np.sort(rng.normal(size=(2, 30)))
    plan = rng.dirichlet(np.ones(30), size=(2, 30))
    effective = rng.uniform(5, 30, size=30)
    return {"plan": plan, "plan_rows": centres, "plan_columns": centres, "effective": effective,
            "transport": np.array([0.1, 1.0, 3.0, 1e-9, 1e-9, 50.0])}  # fmt: skip


def _rows() -> list[Any]:
    """Quality and cost at two budgets, and with two numbers of calibration pairs."""
    rows = []
    runs = (("npe", 100, None), ("npe", 900, None), ("rope", 100, 10), ("rope", 100, 50))
    for method, budget, pairs in runs:
        for seed in range(2):
            cells = {"method": method, "budget": budget, "n_calibration": pairs, "seed": seed}
            rows.append(row(**cells, metric="nominal_cost", value=budget + (pairs or 0)))
            for name in ("nltp", "lpp"):
                value = 1.0 + seed / 10 + budget / 1000
                rows.append(row(**cells, dataset="simulated", metric=name, value=value))
            where = {"dataset": "observed", "dataset_name": "pelts", "metric": "posterior_quantile"}
            rows += [
                row(**cells, **where, observation=0, parameter=parameter, level=level, value=level + seed)
                for parameter in ("a", "b")
                for level in QUANTILES
            ]
    return [*rows, *scan_rows("ridge", {"tamm": 1.0, "tamm_firm": 10.0})]


def scan_rows(name: str, values: dict[str, float], held: float = 0.68) -> list[Any]:
    """Estimates and experiments of methods that differ in one number."""
    rows = []
    for method, value in values.items():
        cells = {"method": method, "budget": 100, "seed": 0}
        rows.append(row(**cells, metric=f"scanned_{name}", value=value, category=next(iter(values))))
        where = {**cells, "dataset": "simulated", "true_value": 0.1, "n": 100}
        rows.append(row(**where, metric="estimate", observation=0, value=0.11, stderr=0.02 / value))
        rows.append(row(**where, metric="experiment_bias", value=0.01, stderr=0.002))
        total = {**where, "interval": "total"}
        rows.append(row(**total, metric="experiment_sigma", value=0.02, stderr=0.001))
        rows.append(row(**total, metric="experiment_coverage", level=0.6827, value=held, stderr=0.047))
    return rows
