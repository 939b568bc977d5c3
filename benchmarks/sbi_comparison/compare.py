"""veridical's `npe` beside sbi's `zuko_nsf` on the same simulations, threads and test data, in one run.

    python benchmarks/sbi_comparison/compare.py [--python VENV/bin/python] [--seeds 3] [--sbi-seeds 3]

The task is `lotka_volterra_bf`: 5,556 simulations, of which each holds a tenth back for validation, and
300 test simulations. veridical takes the settings of `config/lotka_volterra_bf.yaml`; sbi its own defaults.
sbi lives in a virtual environment of its own; the script makes it beside itself where `--python` names none.

`fit_seconds` is the wall time and `cpu_seconds` the process time of training, both after all imports. sbi's
density is not confined to the prior's support, so it is also shown cut to it: draws outside are dropped and
log densities divided by the share that is left, as sbi's own posterior would do.

Writes one line per fit, prints a table, then all of it as one line of JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from veridical import bank, checks, seeds, tasks
from veridical.estimators.npe_settings import NPESettings
from veridical.saved.posteriors import Draws
from veridical.study import settings

HERE = Path(__file__).parent
STUDY = HERE.parents[1] / "config" / "lotka_volterra_bf.yaml"
ROOT = 20261121
TRAIN_ROWS, TEST_ROWS, DRAWS = 5556, 300, 1000
SPARE = 1.5  # times as many draws of sbi, of which those outside of the prior's support are dropped


@dataclass(frozen=True)
class Line:
    """One fit: its cost, and scores averaged over the parameters (NRMSE also for the worst one)."""

    method: str
    seed: int
    fit_seconds: float
    cpu_seconds: float
    nltp: float
    nltp_stderr: float
    nrmse: float
    nrmse_worst: float
    nrmse_by_parameter: str
    calibration_error: float
    contraction: float
    outside: float


@dataclass(frozen=True)
class Data:
    """Training and test rows; theta (N, 4), x (N, 10, 2)."""

    theta: np.ndarray
    x: np.ndarray
    test_theta: np.ndarray
    test_x: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the data, fits, scores, writes."""
    chosen = _options(arguments)
    task = tasks.build(settings.load(STUDY).task.spec())
    data = simulate(task)
    lines: list[Line] = []
    with TemporaryDirectory() as folder:
        for fitted in (ours(task, data, chosen), theirs(task, data, chosen, Path(folder))):
            for line in fitted:
                print(f"{line.method}, seed {line.seed}: {line.fit_seconds:.1f} s, NLTP {line.nltp:.2f}")
                lines.append(line)
    if chosen.out:
        write(chosen.out, lines)
    print(table(lines))
    print(json.dumps({"rows": [asdict(line) for line in lines], "threads": chosen.threads, "seed": ROOT}))


def simulate(task: tasks.Task) -> Data:
    """Returns simulations that any machine makes alike, in the precision of a bank."""
    found = []
    for part, rows in (("train", TRAIN_ROWS), ("test", TEST_ROWS)):
        theta = task.prior.sample(seeds.generator(ROOT, "test", "sbi_comparison", part, "theta"), rows)
        noise = task.noise(seeds.generator(ROOT, "test", "sbi_comparison", part, "noise"), rows)
        x = tasks.as_arrays(task.simulate(theta, noise, "ode"))["x"].astype(task.x_dtype)
        found += [theta, x]
    return Data(*found)


def ours(task: tasks.Task, data: Data, chosen: argparse.Namespace) -> Iterator[Line]:
    """Fits `npe` with the study's settings, once per seed, in this process."""
    import veridical.training.loop  # noqa: F401  imports torch and Lightning before the clock starts
    from veridical.estimators.base import Material, Rows, TaskInfo
    from veridical.estimators.npe import NPE
    from veridical.training.devices import cpu_threads
    from veridical.training.session import Session

    info, spec = TaskInfo.of(task), settings.load(STUDY).estimators["npe"].model_dump(mode="json")
    held_back = bank.validation_mask(TRAIN_ROWS)
    for seed in range(chosen.seeds):
        wall, cpu = time.perf_counter(), time.process_time()
        run = Session(ROOT, ("npe", seed), chosen.threads)
        estimator, _ = NPE.fit(NPESettings(**spec), info, Material(Rows(data.theta, data.x, held_back)), run)
        cost = (time.perf_counter() - wall, time.process_time() - cpu)
        with cpu_threads(chosen.threads):
            rng = seeds.generator(ROOT, "infer", "npe", seed, "simulated")
            draws = estimator.sample(data.test_x, DRAWS, rng)
            density = estimator.log_prob(data.test_theta, data.test_x)
        yield scored(task, data, "veridical npe", seed, cost, draws, density)


def theirs(task: tasks.Task, data: Data, chosen: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """Fits sbi once per seed, each in a process of its own, and shows it as it is and cut to the support."""
    if not chosen.sbi_seeds:
        return
    python = chosen.python or make_environment(HERE / ".venv")
    np.savez(folder / "data.npz", validation=np.array(0.1), **asdict(data))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(chosen.threads))
    lower, upper = task.bounds.T
    for seed in range(chosen.sbi_seeds):
        out = folder / f"sbi-{seed}.npz"
        given = ["data.npz", out.name, str(round(SPARE * DRAWS)), str(seed), str(chosen.threads)]
        done = subprocess.run(
            [str(python), str(HERE / "fit_sbi.py"), *given],
            cwd=folder,
            env={**os.environ, **threads},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"fit_sbi.py failed:\n{done.stderr}")
        found = json.loads(done.stdout.splitlines()[-1])
        cost = (found["fit_seconds"], found["cpu_seconds"])
        with np.load(out, allow_pickle=False) as stored:
            draws, density = stored["draws"].astype(float), stored["log_density"].astype(float)
        name = f"sbi {found['version']} zuko_nsf"
        yield scored(task, data, name, seed, cost, draws[:DRAWS], density)
        inside = ((draws > lower) & (draws < upper)).all(axis=-1)
        kept, corrected = cut(draws, inside), density - np.log(inside.mean(axis=0))
        yield scored(task, data, f"{name}, cut", seed, cost, kept, corrected, float((~inside).mean()))


def cut(draws: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns the first DRAWS draws of each observation that are inside, or as many as all have."""
    fewest = int(inside.sum(axis=0).min())
    kept = [draws[inside[:, n], n][: min(DRAWS, fewest)] for n in range(draws.shape[1])]
    return np.stack(kept, axis=1)


def scored(
    task: tasks.Task,
    data: Data,
    method: str,
    seed: int,
    cost: tuple[float, float],
    draws: np.ndarray,
    density: np.ndarray,
    outside: float = 0.0,
) -> Line:
    """Returns the scores of draws (S, 300, 4) and of the log density of the truth (300,)."""
    names = task.parameter_names
    units = ("",) * len(names)
    judged = Draws(names, task.bounds, units, draws, truth=data.test_theta, log_density_truth=density)
    rng = seeds.generator(ROOT, "check", "scores", method, seed, "simulated")
    found = checks.build("scores").run(judged, rng).metrics()
    whole = {metric.name: metric for metric in found if not metric.parameter}
    each = [m.value for name in names for m in found if (m.name, m.parameter) == ("nrmse", name)]
    return Line(
        method=method,
        seed=seed,
        fit_seconds=cost[0],
        cpu_seconds=cost[1],
        nltp=whole["nltp"].value,
        nltp_stderr=float(whole["nltp"].stderr or 0.0),
        nrmse=whole["nrmse"].value,
        nrmse_worst=max(each),
        nrmse_by_parameter=" ".join(f"{value:.4f}" for value in each),
        calibration_error=whole["calibration_error"].value,
        contraction=whole["contraction"].value,
        outside=outside,
    )


def make_environment(folder: Path) -> Path:
    """Returns the Python of sbi's virtual environment, which is made where it is not there yet."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        requirements = str(HERE / "requirements.txt")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return python


def table(lines: Sequence[Line]) -> str:
    """Returns the medians over seeds of each method as text."""
    columns = (
        "fit_seconds",
        "cpu_seconds",
        "nltp",
        "nrmse",
        "nrmse_worst",
        "calibration_error",
        "contraction",
    )
    rows = [f"{'median over seeds':28s}" + "".join(f"{c:>18s}" for c in ("seeds", *columns))]
    for method in dict.fromkeys(line.method for line in lines):
        own: list[dict[str, Any]] = [asdict(line) for line in lines if line.method == method]
        middle = (float(np.median([line[c] for line in own])) for c in columns)
        rows.append(f"{method:28s}{len(own):18d}" + "".join(f"{value:18.3f}" for value in middle))
    return "\n".join(rows)


def write(path: Path, lines: Sequence[Line]) -> None:
    """Writes one row per fit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", type=Path, help="Python of an environment that has sbi")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of both")
    parser.add_argument("--seeds", type=int, default=3, help="fits of veridical")
    parser.add_argument("--sbi-seeds", type=int, default=3, help="fits of sbi; 0 leaves it out")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/sbi_comparison.csv"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
