"""Size and power of the summary-space MMD test, beside those of an independent implementation.

    python benchmarks/mmd_power.py [--sets 2000] [--references 3]

Reference: 1,000 draws of N(0, I) in two dimensions; alternative: one mean shifted by one. For each reference,
null and fresh sets are new draws that share none; quantiles, size and power are means over references. Prints
a table and one line of JSON. Target: size 0.05 +- 0.03; power within 0.1 and null within 5 % of the other's.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from veridical import seeds
from veridical.checks.mmd import Reference
from veridical.checks.mmd_null import fresh_sets, rejections

ROOT, ALPHA = 2026, 0.05
SHIFT = np.array([1.0, 0.0])
# N_o: null median and 95 % quantile of the root MMD, power; another implementation, 200 replicates
TABULATED = {
    1: (2.70, 3.08, 0.11),
    2: (1.91, 2.21, 0.24),
    5: (1.20, 1.42, 0.44),
    10: (0.85, 0.98, 0.82),
    50: (0.39, 0.44, 1.0),
}


def measure(n: int, sets: int, index: int) -> list[float]:
    """Null median, null 95 % quantile, size and power against one reference."""
    rng = seeds.generator(ROOT, "test", "mmd power", n, index)
    reference = Reference.of(rng.normal(size=(1000, 2)))
    null = reference.distances(fresh_sets(rng.normal(size=(sets * n, 2)), n, sets))
    fresh = fresh_sets(rng.normal(size=(sets * n, 2)), n, sets)
    size = rejections(reference.distances(fresh), null, ALPHA).mean()
    shifted = fresh_sets(rng.normal(size=(sets * n, 2)) + SHIFT, n, sets)
    power = rejections(reference.distances(shifted), null, ALPHA).mean()
    return [float(np.median(null)), float(np.quantile(null, 1 - ALPHA)), float(size), float(power)]


def main() -> None:
    """Prints a line per number of observations, and all columns as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--references", type=int, default=3)
    options = parser.parse_args()
    begun, columns = time.process_time(), {}
    for n, (median, critical, other) in TABULATED.items():
        sets = options.sets if n < 50 else options.sets // 4
        runs = np.array([measure(n, sets, i) for i in range(options.references)])
        mean, error = runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
        line = {"observations": n, "sets": sets}
        for name, value, spread in zip(("null_median", "null_95", "size", "power"), mean, error, strict=True):
            line |= {name: round(float(value), 4), f"{name}_stderr": round(float(spread), 4)}
        line["tabulated_power"] = other
        line["null_off"] = round(float(max(abs(mean[0] / median - 1), abs(mean[1] / critical - 1))), 4)
        print(line, flush=True)
        for name, value in line.items():
            columns.setdefault(name, []).append(value)
    seconds = round(time.process_time() - begun, 1)
    print(json.dumps({**columns, "references": options.references, "cpu_seconds": seconds}))


if __name__ == "__main__":
    main()
