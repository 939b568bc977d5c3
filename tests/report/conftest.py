"""A finished study without training: a task whose exact posterior is known, saved as the pipeline saves."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import checks, seeds
from veridical.checks import prior_predictive
from veridical.checks.base import CheckResult, Metric
from veridical.checks.coverage import Coverage
from veridical.checks.predictive import Predictive
from veridical.checks.sbc import SBC
from veridical.checks.scores import Scores
from veridical.checks.tarp import TARP
from veridical.checks.two_sample import TwoSample
from veridical.checks.typicality import Typicality
from veridical.saved import observations, posteriors
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
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


class LogNormal:
    """The prior of `Growth`: independent normals of mean zero."""

    scales = np.array([1.0, 0.2, 0.2])

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(size=(n, 3)) * self.scales

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        return (-0.5 * (theta / self.scales) ** 2 - np.log(self.scales * (2 * np.pi) ** 0.5)).sum(axis=-1)


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
    prior = LogNormal()
    scales = LogNormal.scales

    @property
    def design(self) -> np.ndarray:
        """The matrix of the linear model of log x, shape (24, 3)."""
        rows = []
        for t in range(YEARS):
            rows += [[1, t, 0], [1, 0, t]]
        return np.array(rows, dtype=float)

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


class MadeUp:
    """The results of a study as the pipeline leaves them, up to the report, written one by one."""

    def __init__(self, root: Path, task: str = "growth", **settings: Any) -> None:
        self.root, self.benchmarks, self.more = root, dict[str, list[Path]](), dict[str, Any]()
        self.checks, self.draws, self.costs = list[Path](), list[Path](), list[Path]()
        self.controls = list[Path]()
        self.histories, self.observations, self.looks = list[Path](), list[Path](), list[Path]()
        self.settings = {"seed": 7, "task": {"name": task}, "observations": {}, **settings}

    def path(self, *parts: str) -> Path:
        path = self.root.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_json(self, content: Any, *parts: str) -> Path:
        path = self.path(*parts)
        path.write_text(json.dumps(content))
        return path

    def benchmark(self, seconds: float, *parts: str) -> Path:
        record = {"s": seconds, "h:m:s": "0", "max_rss": 512.5, "cpu_time": seconds * 0.9}
        return self.save_json(record, *parts)

    def add_data(self, name: str, kind: str, x: np.ndarray, truth: np.ndarray | None) -> None:
        path = self.path("observe", f"{name}.nc")
        observations.save(path, observations.Observations(x, truth, name, kind, "made up for a test"), TASK)
        self.observations.append(path)

    def add_training(self, folder: str, cost: dict[str, Any], history: dict[str, Any]) -> None:
        self.costs.append(self.save_json(cost, folder, "cost.json"))
        self.histories.append(self.save_json(history, folder, "history.json"))

    def add_draws(self, run: str, name: str, found: Draws, shown: bool = True) -> None:
        path = self.path("infer", run, f"{name}.nc")
        posteriors.save(path, found)
        self.draws += [path] if shown else []
        self.controls += [path] if name == "simulated" and run.endswith("-r0") else []

    def add_check(self, run: str, name: str, check: str, result: Any) -> None:
        self.checks.append(self.path("check", run, name, f"{check}.json"))
        checks.save(result, self.checks[-1])


def _history(o: Options, budget: int, rng: Any) -> dict[str, Any]:
    epochs = np.arange(1, 26)
    floor = 2.0 - 0.5 * np.log10(budget / 1000)
    loss = floor + 3 * np.exp(-epochs / 4) + 0.02 * rng.normal(size=25)
    rounds = [
        {"epoch": float(e), "train_loss": float(v - 0.05), "validation_loss": float(v), "learning_rate": 1e-3}
        for e, v in zip(epochs, loss, strict=True)
    ]
    return {"epochs": rounds, "best_epoch": float(epochs[loss.argmin()]), "steps": 100, "resumed_from": []}


def build_study(folder: Path, **options: Any) -> MadeUp:
    """The results of a whole study, without its report."""
    o = Options(**options)
    rng = seeds.generator(7, "test", "report", "example")
    made = MadeUp(
        folder / "results" / "example",
        study="example",
        title="Growth of hare & lynx",
        description="A made-up study: two populations, counted once a year.",
        observations={name: {"file": f"{name}.csv", "source": "made up"} for name in o.observed},
    )
    theta = TASK.prior.sample(rng, o.tests)
    labelled = {"simulated": (TASK.simulate(theta, rng, "exact"), theta)}
    if o.labelled:
        labelled["real"] = (TASK.simulate(theta, rng, "exact"), theta)
    observed = {}
    for name, n in o.observed.items():
        theta = np.tile([[1.2, 0.15, -0.1]], (n, 1)) + (20.0 if o.outlier else 0.0) * np.array([1.0, 0, 0])
        observed[name] = TASK.simulate(theta, rng, "exact")
    for name, (x, truth) in {**labelled, **{k: (x, None) for k, x in observed.items()}}.items():
        made.add_data(name, name if name in labelled else "observed", x, truth)
        if name in observed:
            seen = prior_predictive.look(x, labelled["simulated"][0])
            made.looks.append(made.save_json(seen, "observe", f"{name}.look.json"))
    references = {}
    for name, x in observed.items() if o.reference else ():
        told = {"rhat": o.rhat, "ess": 1400.0}
        attrs = {key: dict.fromkeys(TASK.parameter_names, value) for key, value in told.items()}
        attrs["method"] = "reference"
        references[name] = replace(_draws(x, None, o, 1500, rng, exact=True), attrs=attrs)
        made.add_draws("reference", name, references[name])
    for method in o.methods:
        for budget in o.budgets:
            for replicate in range(o.replicates):
                _run(made, o, f"{method}/n{budget}-r{replicate}", budget, labelled, observed, references, rng)
    made.benchmarks = {
        "simulate": [made.benchmark(30.0 + i, "bank/benchmarks", f"{i}.jsonl") for i in range(4)],
        "train": [made.benchmark(75.0, "benchmarks", f"t{i}.jsonl") for i in range(3)],
        "infer": [made.benchmark(3.5, f"benchmarks/infer/npe/n{o.budgets[-1]}-r0/simulated.jsonl")],
    }
    return made


def _run(
    made: Any, o: Options, run: str, budget: int, labelled: Any, observed: Any, references: Any, rng: Any
) -> None:
    """One trained estimator: its costs, its history and, at the largest budget, its draws and checks."""
    final = budget == o.budgets[-1]
    cost = {"n": budget, "n_valid": round(budget * (1 - o.invalid)), "fit_seconds": budget / 50, "steps": 1}
    made.add_training(f"train/{run}", cost, _history(o, budget, rng))
    small = {"null_draws": 9999, "bootstrap": 20}
    worse = replace(o, width=o.width * (1 + 300 / budget))
    null, known = None, None
    for name, (x, truth) in labelled.items():
        own = _draws(x, truth, o if final else worse, o.draws, rng)
        null, known = (own, known) if name == "simulated" else (null, own)
        wanted: list[Any] = [Scores(bootstrap=20)]
        if final:
            wanted += [SBC(**small), Coverage(**small), TARP(null_draws=9999)]
        for check in wanted:
            made.add_check(run, name, check.name, check.run(own, rng, prior=TASK.prior))
        if final and name == "simulated":
            made.add_draws(run, name, own, shown=not observed)
    for name, x in observed.items() if final else ():
        own = _draws(x, None, o, 1500, rng)
        made.add_draws(run, name, own)
        theta = np.concatenate([own.draws[:200], own.draws[:2].repeat(400, axis=0)])
        made_up = TASK.simulate(theta.reshape(-1, 3), rng, "exact").reshape(-1, len(x), YEARS, 2)
        repeated = made_up[200:].reshape(2, 400, *made_up.shape[1:])
        axes = [{"name": d.name, "coordinates": list(d.coordinates), "unit": d.unit} for d in TASK.dimensions]
        predictive = Predictions(made_up[:200], own.draws[:200], repeated, own.draws[:2], axes)
        given = {"predictive": predictive, "null": null, "prior_predictive": labelled["simulated"][0]}
        given |= {"labelled": known}
        agreement = (Metric("prior_conflict_p", 0.4, None, 999),)
        found = CheckResult("prior_sensitivity", TASK.parameter_names, agreement)
        made.add_check(run, name, "prior_sensitivity", found)
        wanted = [Typicality(), Predictive(bootstrap=20)]
        if name in references:
            wanted.append(TwoSample(draws=400, max_iterations=60, patience=5))
            given["reference"] = references[name]
        for check in wanted:
            made.add_check(run, name, check.name, check.run(own, rng, **given))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """A well-specified study with an exact reference and three replicates, aggregated and drawn."""
    return finish(build_study(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="session")
def in_browser() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Opens a page in headless Chromium, which keeps its profile in a folder."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here; install the Debian package chromium")

    def run(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return run


def finish(made: MadeUp) -> MadeUp:
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
        table=made.table, looks=made.looks, benchmarks=made.benchmarks, simulated=made.controls,
        prior=[path for path in made.observations if path.stem == "simulated"],
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
