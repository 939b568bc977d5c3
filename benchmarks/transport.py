"""Time, memory and accuracy of semi-balanced transport on one core; prints one line of JSON.

    python benchmarks/transport.py [--repeats 3]

Costs are Euclidean distances between two Gaussian clouds in ten dimensions. Each size runs in a process of
its own, after POT was imported and a small problem solved. `seconds` is the shortest of the repeats;
`grew_mb` how far the peak of memory rose above what the process held with the cost made; `cost_mb` the cost.
Targets: `square` (2,000 x 2,000, gamma 0.106 of the mean cost, tau 0.9) within 3 s; row errors below 1e-9,
residuals below 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

CHILD = """
import json, sys
import numpy as np
from scipy.spatial.distance import cdist
from veridical import seeds
from veridical.remedies.transport import semi_balanced
rows, columns, gamma, tau, repeats = (float(word) for word in sys.argv[1:])
rng = seeds.generator(1, "test", "transport")
cost = cdist(rng.standard_normal((int(rows), 10)), 0.3 + 1.1 * rng.standard_normal((int(columns), 10)))
semi_balanced(cost[:20, :20], 0.5, 0.9)
def status(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))
before = status("VmRSS")
seconds = []
for _ in range(int(repeats)):
    plan = semi_balanced(cost, gamma, tau)
    seconds.append(plan.seconds)
    facts = {"row_error": plan.row_error, "residual": plan.residual, "iterations": plan.iterations}
    facts |= {"solver": plan.solver, "effective": float(np.median(plan.effective))}
    del plan
grew = {"grew_mb": status("VmHWM") - before, "cost_mb": cost.nbytes / 2**20}
print(json.dumps({"seconds": min(seconds), "all_seconds": seconds, **grew, **facts}))
"""
PROBLEMS = {
    "square": (2000, 2000, 0.106, 0.9),
    "square_balanced": (2000, 2000, 0.12, 1.0),
    "square_sharp": (2000, 2000, 0.05, 1.0),
    "square_tiny_gamma": (2000, 2000, 0.001, 0.9),
    "wide": (2000, 20_000, 0.106, 0.9),
    "wide_balanced": (2000, 20_000, 0.12, 1.0),
}


def measure(rows: int, columns: int, gamma: float, tau: float, repeats: int) -> dict[str, object]:
    """Solves one problem in a process of its own, on one thread."""
    arguments = [str(word) for word in (rows, columns, gamma, tau, repeats)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    run = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, env={**os.environ, **one}
    )
    if run.returncode:
        raise SystemExit(run.stderr)
    return {"rows": rows, "columns": columns, "gamma": gamma, "tau": tau, **json.loads(run.stdout)}


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found = {}
    for name, problem in PROBLEMS.items():
        found[name] = measure(*problem, options.repeats)
        print(name, found[name])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
