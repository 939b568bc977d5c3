"""A finished study without training: a task whose exact posterior is known, saved as the pipeline saves."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from veridical import checks, seeds
from veridical.checks import prior_predictive
from veridical.checks.coverage import Coverage
from veridical.checks.predictive import Predictive
from veridical.checks.sbc import SBC
from veridical.checks.scores import Scores
from veridical.checks.tarp import TARP
from veridical.checks.two_sample import TwoSample
from veridical.checks.typicality import Typicality
from veridical.saved import observations, posteriors
from veridical.saved.posteriors import Draws
from veridical.tasks.base import Dimension, Parameter, Task

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
YEARS = 12
NOISE = 0.3


class Growth(Task):
    """Two populations that grow or shrink exponentially; linear and Gaussian in the logarithm."""

    name = "growth"
    parameters = (
        Parameter("start", unit="thousand (log)"),
        Parameter("hare", unit="1/year"),
        Parameter("lynx", unit="1/year"),
    )
    fidelities = {"exact": 1.0}  # noqa: RUF012
    dimensions = (
        Dimension("year", tuple(float(1900 + t) for t in range(YEARS)), ""),
        Dimension("species", ("hare", "lynx")),
    )
    x_unit = "thousand"
    scales = np.array([1.0, 0.2, 0.2])

    @property
    def design(self) -> np.ndarray:
        """The matrix of the linear model of log x, shape (24, 3)."""
        rows = []
        for t in range(YEARS):
            rows += [[1, t, 0], [1, 0, t]]
        return np.array(rows, dtype=float)

    def prior_sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(size=(n, 3)) * self.scales

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        log_x = theta @ self.design.T + NOISE * noise.normal(size=(len(theta), 2 * YEARS))
        return np.exp(log_x).reshape(-1, YEARS, 2)

    def posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (N, 3) and covariance (3, 3) of the exact posterior."""
        precision = self.design.T @ self.design / NOISE**2 + np.diag(self.scales**-2)
        covariance = np.linalg.inv(precision)
        return np.log(x).reshape(len(x), -1) @ self.design @ covariance / NOISE**2, covariance


@dataclass
class Options:
    """What a made-up study is like; the faults are those that the verdict must find."""

    methods: tuple[str, ...] = ("npe",)
    budgets: tuple[int, ...] = (1000, 4000)
    replicates: int = 3
    tests: int = 150
    draws: int = 299
    observed: dict[str, int] = field(default_factory=lambda: {"pelts": 1})
    reference: bool = True
    labelled: bool = False
    width: float = 1.0  # of the posterior, relative to the exact one
    shift: float = 0.0  # of its mean, in exact standard deviations
    outlier: bool = False
    invalid: float = 0.004
    rhat: float = 1.002


TASK = Growth()


def _draws(
    x: np.ndarray, truth: np.ndarray | None, o: Options, n: int, rng: Any, exact: bool = False
) -> Draws:
    mean, covariance = TASK.posterior(x)
    width, shift = (1.0, 0.0) if exact else (o.width, o.shift)
    mean = mean + shift * np.sqrt(np.diag(covariance))
    factor = width * np.linalg.cholesky(covariance)
    return gaussian_draws(x, truth, mean, factor, rng.normal(size=(n, len(x), 3)))


def gaussian_draws(
    x: np.ndarray, truth: np.ndarray | None, mean: np.ndarray, factor: np.ndarray, z: np.ndarray
) -> Draws:
    """Draws mean + factor z (S, N, 3) with all that the pipeline saves beside them."""
    log_det = np.log(np.diag(factor)).sum()

    def density(z: np.ndarray) -> np.ndarray:
        return -0.5 * (z**2).sum(axis=-1) - log_det - 1.5 * np.log(2 * np.pi)

    at_truth = None if truth is None else density(np.linalg.solve(factor, (truth - mean).T).T)
    return Draws(
        names=TASK.parameter_names,
        bounds=TASK.bounds,
        units=tuple(p.unit for p in TASK.parameters),
        draws=mean + z @ factor.T,
        log_density=density(z),
        truth=truth,
        log_density_truth=at_truth,
        summary=mean,
        summary_mean=np.zeros(3),
        summary_cov=np.diag(TASK.scales**2),
        x=x,
    )


def _save_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _save_check(path: Path, result: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    checks.save(result, path)
    return path


def _history(o: Options, budget: int, rng: Any) -> dict[str, Any]:
    epochs = np.arange(1, 26)
    floor = 2.0 - 0.5 * np.log10(budget / 1000)
    loss = floor + 3 * np.exp(-epochs / 4) + 0.02 * rng.normal(size=25)
    rounds = [
        {"epoch": float(e), "train_loss": float(v - 0.05), "validation_loss": float(v), "learning_rate": 1e-3}
        for e, v in zip(epochs, loss, strict=True)
    ]
    return {"epochs": rounds, "best_epoch": float(epochs[loss.argmin()]), "steps": 100, "resumed_from": []}


def empty_study(root: Path) -> SimpleNamespace:
    """A study without any file: paths by role."""
    lists = ("checks", "draws", "costs", "histories", "observations", "looks")
    return SimpleNamespace(root=root, benchmarks={}, more={}, **{role: [] for role in lists})


def build_study(root: Path, **options: Any) -> SimpleNamespace:
    """Writes the results of a study as the pipeline would, up to the report; returns paths by role."""
    o = Options(**options)
    rng = seeds.generator(7, "test", "report", "example")
    made = empty_study(root)
    theta = TASK.prior_sample(rng, o.tests)
    labelled = {"simulated": (TASK.simulate(theta, rng, "exact"), theta)}
    if o.labelled:
        labelled["real"] = (TASK.simulate(theta, rng, "exact"), theta)
    observed = {}
    for name, n in o.observed.items():
        theta = np.tile([[1.2, 0.15, -0.1]], (n, 1)) + (20.0 if o.outlier else 0.0) * np.array([1.0, 0, 0])
        observed[name] = TASK.simulate(theta, rng, "exact")
    for name, (x, truth) in {**labelled, **{k: (x, None) for k, x in observed.items()}}.items():
        path = root / "observe" / f"{name}.nc"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = name if name in labelled else "observed"
        observations.save(path, observations.Observations(x, truth, name, kind, "made up for a test"), TASK)
        made.observations.append(path)
        if kind == "observed":
            seen = prior_predictive.look(x, labelled["simulated"][0])
            made.looks.append(_save_json(root / "observe" / f"{name}.look.json", seen))
    references = {}
    for name, x in observed.items() if o.reference else ():
        found = _draws(x, None, o, 1500, rng, exact=True)
        found = Draws(
            **{**vars(found), "attrs": {"rhat": [o.rhat] * 3, "ess": [1400.0] * 3, "method": "reference"}}
        )
        path = root / "infer" / "reference" / f"{name}.nc"
        posteriors.save(path, found)
        references[name] = found
        made.draws.append(path)
    for method in o.methods:
        for budget in o.budgets:
            for replicate in range(o.replicates):
                _run(made, o, f"{method}/n{budget}-r{replicate}", budget, labelled, observed, references, rng)
    made.benchmarks = {
        "simulate": [_benchmark(root / "bank" / "benchmarks" / f"{i}.jsonl", 30.0 + i) for i in range(4)],
        "train": [_benchmark(root / "benchmarks" / f"t{i}.jsonl", 75.0) for i in range(3)],
        "infer": [
            _benchmark(
                root / "benchmarks" / "infer" / "npe" / f"n{o.budgets[-1]}-r0" / "simulated.jsonl", 3.5
            )
        ],
    }
    made.settings = {
        "study": "example",
        "title": "Growth of hare & lynx",
        "description": "A made-up study: two populations, counted once a year.",
        "seed": 7,
        "task": {"name": "growth"},
        "observations": {name: {"file": f"{name}.csv", "source": "made up"} for name in observed},
    }
    return made


def _benchmark(path: Path, seconds: float) -> Path:
    return _save_json(path, {"s": seconds, "h:m:s": "0", "max_rss": 512.5, "cpu_time": seconds * 0.9})


def _run(
    made: Any, o: Options, run: str, budget: int, labelled: Any, observed: Any, references: Any, rng: Any
) -> None:
    """One trained estimator: its costs, its history and, at the largest budget, its draws and checks."""
    root, final = made.root, budget == o.budgets[-1]
    cost = {"n": budget, "n_valid": round(budget * (1 - o.invalid)), "fit_seconds": budget / 50, "steps": 1}
    made.costs.append(_save_json(root / "train" / run / "cost.json", cost))
    made.histories.append(_save_json(root / "train" / run / "history.json", _history(o, budget, rng)))
    small = {"null_draws": 9999, "bootstrap": 20}
    worse = Options(**{**vars(o), "width": o.width * (1 + 300 / budget)})
    null = None
    for name, (x, truth) in labelled.items():
        own = _draws(x, truth, o if final else worse, o.draws, rng)
        null = own if name == "simulated" else null
        wanted: list[Any] = [Scores(bootstrap=20)]
        if final:
            wanted += [SBC(**small), Coverage(**small), TARP(null_draws=9999)]
        for check in wanted:
            path = root / "check" / run / name / f"{check.name}.json"
            made.checks.append(_save_check(path, check.run(own, rng)))
        if final and name == "simulated" and not observed:
            path = root / "infer" / run / f"{name}.nc"
            posteriors.save(path, own)
            made.draws.append(path)
    for name, x in observed.items() if final else ():
        own = _draws(x, None, o, 1500, rng)
        path = root / "infer" / run / f"{name}.nc"
        posteriors.save(path, own)
        made.draws.append(path)
        theta = own.draws[:400].reshape(-1, 3)
        predictive = TASK.simulate(theta, rng, "exact").reshape(400, len(x), YEARS, 2)
        given = {"predictive": predictive, "null": null, "prior_predictive": labelled["simulated"][0]}
        wanted = [Typicality(), Predictive(bootstrap=20)]
        if name in references:
            wanted.append(TwoSample(draws=400, max_iterations=60, patience=5))
            given["reference"] = references[name]
        for check in wanted:
            path = root / "check" / run / name / f"{check.name}.json"
            made.checks.append(_save_check(path, check.run(own, rng, **given)))


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Makes the results of a study below the test's folder."""
    return lambda **options: build_study(tmp_path / "results" / "example", **options)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A well-specified study with an exact reference and three replicates, aggregated and drawn."""
    made = build_study(tmp_path_factory.mktemp("study") / "results" / "example")
    return finish(made)


@pytest.fixture(scope="session")
def in_browser() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Opens a page in headless Chromium, which keeps its profile in a folder."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here; install the Debian package chromium")

    def run(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return run


@pytest.fixture(scope="session")
def made_up() -> SimpleNamespace:
    """The pieces that a made-up study is put together from."""
    return SimpleNamespace(
        task=TASK, draws=gaussian_draws, empty=empty_study, finish=finish,
        save_check=_save_check, save_json=_save_json, benchmark=_benchmark,
    )  # fmt: skip


def finish(made: SimpleNamespace) -> SimpleNamespace:
    """Runs the stages of the report on what `build_study` made."""
    from veridical.figures.sources import Sources
    from veridical.stages import aggregate, figures, provenance, report

    root = made.root
    made.table, made.verdicts = root / "metrics.csv", root / "verdict.json"
    aggregate.aggregate(
        "example", "growth", results=made.checks, draws=made.draws, costs=made.costs,
        benchmarks=made.benchmarks.get("infer", ()), table=made.table, verdicts=made.verdicts,
        **made.more,
    )  # fmt: skip
    made.figures = root / "figures"
    sources = Sources(
        results=made.checks, draws=made.draws, observations=made.observations, histories=made.histories,
        table=made.table, looks=made.looks, benchmarks=made.benchmarks,
    )  # fmt: skip
    figures.draw(made.figures, sources)
    made.provenance, made.page = root / "provenance.json", root / "report.html"
    files = [*made.checks, *made.draws, *made.observations, made.table, made.verdicts]
    provenance.record(made.settings, root=root, files=files, data={}, shards=[], rows={}, out=made.provenance)
    report.render(
        made.settings, table=made.table, verdicts=made.verdicts, figures=made.figures,
        provenance=made.provenance, out=made.page,
    )  # fmt: skip
    return made


@pytest.fixture(scope="session")
def finish_study() -> Callable[[SimpleNamespace], SimpleNamespace]:
    """Runs the stages of the report."""
    return finish
