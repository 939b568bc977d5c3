"""Peak memory of every pass over many rows, at 1e5, 1e6 and 1e7 of them; prints one line of JSON.

    python benchmarks/memory.py [--largest 10000000] [--folder DIR] [--only CASE ...]

Each case runs in a fresh Python; its peak is VmHWM of /proc/self/status, in MB, imports included. `growth` is
the peak at the largest number of rows over that at a tenth of them. Target: at most 1.2 for every case but
`training`, which holds its rows: `bytes_per_row` is its slope, beside `stored_bytes_per_row`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np

from veridical import seeds

SHARD = BATCH = 10_000
DRAWS = 1_000
FIRST = 100_000
TASK = {"name": "gaussian_linear", "settings": {"dimension": 5}}


def shards(folder: Path, n: int) -> list[Path]:
    """The shards that hold the first n rows: 5 parameters, 5 data, 61 bytes a row."""
    return sorted((folder / "bank/task-key/model/train-r0").glob("*.zip"))[: n // SHARD]


def batches(folder: Path, kind: str, n: int) -> list[Path]:
    """The batches of the first n pseudo-experiments."""
    return sorted((folder / kind).glob("*.zip"))[: n // BATCH]


# ---- what is measured --------------------------------------------------------------------------------


def shuffled(folder: Path, n: int) -> int:
    """One shuffled pass over a bank in batches of 256."""
    from veridical.bank import streaming

    rng = seeds.generator(1, "test", "memory")
    return sum(
        len(b["x"]) for b in streaming.batches(shards(folder, n), n, 256, rng, 50_000, names=["x", "theta"])
    )


def summaries(folder: Path, n: int) -> int:
    """Mean and standard deviation of a lazy bank."""
    import dask

    from veridical import bank

    stored = bank.open(shards(folder, n))
    x = stored["x"].where(stored["status"] == 0)
    mean, _ = dask.compute(x.mean("row"), x.std("row"), scheduler="threads", num_workers=2)
    return len(mean) and stored.sizes["row"]


def validity(folder: Path, n: int) -> int:
    """The share of failures, from the manifests of many shards."""
    from veridical import bank

    return int(bank.require_valid(shards(folder, n), 0.2)["rows"])


def provenance(folder: Path, n: int) -> int:
    """What the record of provenance says of a bank and of its files."""
    from veridical import digests
    from veridical.stages.provenance import banks

    paths = shards(folder, n)
    (found,) = banks(paths, {"model/train-r0": n}).values()
    return found["rows"] if all(digests.file_digest(path) for path in paths) else 0


def bank_digest(folder: Path, n: int) -> int:
    """The result digest of a bank."""
    from veridical.evidence import metrics, result_digest

    part = result_digest.Part(shards(folder, n), n)
    table = folder / "metrics.csv"
    metrics.write(table, [])
    lines = result_digest.result_lines(result_digest.arrays(folder, [], {"model/train-r0": part}), table)
    return n if len(lines) == 4 else 0


def draws_digest(folder: Path, n: int) -> int:
    """The result digest of a file of draws: n numbers a parameter."""
    from veridical.evidence import metrics, result_digest

    table = folder / "metrics.csv"
    metrics.write(table, [])
    return (
        n
        if len(result_digest.result_lines(result_digest.arrays(folder, [f"draws-{n}.nc"], {}), table)) > 2
        else 0
    )


def draws_metrics(folder: Path, n: int) -> int:
    """The rows that a file of draws adds to metrics.csv."""
    from veridical.coordinates import Coordinates
    from veridical.stages import aggregate

    return (
        n if aggregate.draws_rows(folder / f"draws-{n}.nc", Coordinates("npe", 1, 0, "simulated"), {}) else 0
    )


def posteriors(folder: Path, n: int) -> int:
    """Coverage of n pseudo-experiments of a posterior with two parameters."""
    from veridical.checks import experiments

    rng = seeds.generator(1, "test", "memory")
    found = experiments.aggregate(batches(folder, "posteriors", n), rng, ("a", "b"))
    return max(metric.n or 0 for metric in found.table)


def estimates(folder: Path, n: int) -> int:
    """Coverage of n pseudo-experiments with three true values."""
    from veridical.checks import experiments

    rng = seeds.generator(1, "test", "memory")
    found = experiments.aggregate(batches(folder, "estimates", n), rng, ("fraction",))
    return max(metric.n or 0 for metric in found.table)


def streamed_training(folder: Path, n: int) -> int:
    """A training of a small npe that holds 50 MB of rows, one pass over all of them."""
    return training(folder, n, {"epochs": 1, "batch_size": 10_000, "streaming": 50})


def training(folder: Path, n: int, given: Mapping[str, int] = MappingProxyType({"max_steps": 2})) -> int:
    """A training of a small npe, cut after two steps: its rows in memory, and whatever it makes of them."""
    from veridical.coordinates import Run
    from veridical.stages import train

    method = {"type": "npe", "summary": {"type": "none"}, "flow": {"transforms": 1, "hidden": [8]}}
    method["training"] = {**given, "rounds": 1, "accelerator": "cpu"}
    sources = train.Sources(simulations=(shards(folder, n), n), fidelity="model")
    with TemporaryDirectory() as out:
        place, checkpoints = Path(out) / "npe", Path(out) / "checkpoints"
        train.train(TASK, method, sources, place, Run("npe", n, 0), root=1, checkpoints=checkpoints)
    return n


CASES: dict[str, Callable[[Path, int], int]] = {
    case.__name__: case
    for case in (
        *(shuffled, summaries, validity, provenance, bank_digest, draws_digest, draws_metrics),
        *(posteriors, estimates, training, streamed_training),
    )
}


# ---- what it is measured on --------------------------------------------------------------------------


def make(folder: Path, largest: int) -> None:
    """Makes a bank, draws and pseudo-experiments with the largest number of rows."""
    with redirect_stdout(sys.stderr):
        make_bank(folder, largest)
        make_draws(folder, largest)
        make_experiments(folder, largest)


def make_bank(folder: Path, largest: int) -> None:
    """A bank of one fidelity in small shards."""
    from veridical import bank
    from veridical.bank.filling import ShardRows
    from veridical.stages.simulate import simulate_shard

    for first in range(0, largest, SHARD):
        last = first + SHARD - 1
        path = folder / "bank/task-key/model/train-r0" / bank.shard_name(first, last)
        rows = ShardRows(root=1, fidelity="model", split="train", first=first, last=last)
        simulate_shard(TASK, path, rows, key="key")


def make_draws(folder: Path, largest: int) -> None:
    """Files of 1,000 draws for each of n / 1,000 observations, two parameters."""
    from veridical.saved import posteriors as files

    rng = seeds.generator(1, "test", "memory", "draws")
    bounds, n = np.array([[-np.inf, np.inf]] * 2), FIRST
    while n <= largest:
        parts = (
            files.Draws(
                ("a", "b"),
                bounds,
                ("", ""),
                rng.normal(size=(DRAWS, 50, 2)),
                rng.normal(size=(DRAWS, 50)),
                truth=rng.normal(size=(50, 2)),
            )
            for _ in range(n // DRAWS // 50)
        )
        files.write(folder / f"draws-{n}.nc", n // DRAWS, parts)
        n *= 10


def make_experiments(folder: Path, largest: int) -> None:
    """Batches of pseudo-experiments of both kinds."""
    from veridical.saved import experiments

    rng, truth = seeds.generator(1, "test", "memory", "experiments"), np.array([0.1, 0.3, 0.5])
    for batch in range(largest // BATCH):
        name = f"batch-{batch:04d}.zarr.zip"
        held = {
            "rank": rng.random((BATCH, 2)),
            "log_q": rng.normal(size=BATCH),
            "truth": rng.normal(size=(BATCH, 2)),
            "hpd": rng.random(BATCH),
        }
        experiments.write(folder / "posteriors" / name, held)
        value = truth + rng.normal(size=(BATCH, 3))
        errors = {"statistical": np.full((BATCH, 3), 0.8), "ratio": np.full((BATCH, 3), 0.6)}
        experiments.write(folder / "estimates" / name, {"value": value, **errors, "truth": truth})


# ---- measuring ---------------------------------------------------------------------------------------


def peak_mb(case: str, folder: Path, n: int) -> float:
    """Peak memory of one case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--rows", str(n), "--folder", str(folder)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        raise SystemExit(f"{case} failed at {n} rows")
    return float(done.stdout.splitlines()[-1])


def run_case(case: str, folder: Path, n: int) -> None:
    """Runs one case and prints the peak memory of this process."""
    found = CASES[case](folder, n)
    if found != n:
        raise SystemExit(f"{case}: expected {n} rows, got {found}")
    text = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=10_000_000)
    parser.add_argument(
        "--folder", type=Path, help="where there is room for 150 bytes a row; kept if it has a bank"
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        run_case(chosen.case, chosen.folder, chosen.rows)
        return
    with TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        if not (folder / "estimates").is_dir():
            make(folder, chosen.largest)
        print(json.dumps(measure(folder, chosen.largest, chosen.only)))


def measure(folder: Path, largest: int, cases: list[str]) -> dict[str, object]:
    """Returns the peaks of all cases, and how they grow."""
    sizes = [n for n in (FIRST, 1_000_000, 10_000_000) if n <= largest]
    found: dict[str, object] = {"rows": sizes}
    for case in cases:
        peaks = [peak_mb(case, folder, n) for n in sizes]
        found[f"{case}_mb"] = [round(peak, 1) for peak in peaks]
        found[f"{case}_growth"] = round(peaks[-1] / peaks[-2], 3)
        if case == "training":
            found["bytes_per_row"] = round((peaks[-1] - peaks[-2]) * 2**20 / (sizes[-1] - sizes[-2]), 1)
            found["stored_bytes_per_row"] = 5 * 8 + 5 * 4 + 1
        print(case, found[f"{case}_mb"], file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
