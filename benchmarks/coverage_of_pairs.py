"""How often does the verdict's rule on labelled data object to a method that is as good as its pairs allow?

    python benchmarks/coverage_of_pairs.py [--studies 400] [--page PAGE.md]

Two parameters and their joint regions, independent of each other; three replicates with pairs of their own
and the test rows in common. A perfect method has levels that n pairs have recalibrated, by their empirical
distribution (steps) or by a Beta density. The others miss by a fault of their own and by nothing else: their
90 % sets hold less (a normal distribution that is too narrow), more, or 90 % with a centre that is too wide.
What is counted is the outcome of `labelled_coverage` in most replicates. *One sample* is the share of
replicates that a test at 5 % refuses whose null does not know of the pairs (`coverage_p`).

Asked for: a perfect method on 200 pairs or more gets worse than good in at most 5 %, and 90 % sets that hold
80 % are good in at most 5 %; with 50 pairs nothing is good.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import special, stats
from table_text import table

from veridical import seeds
from veridical.checks import coverage, uniformity
from veridical.coordinates import dataset_cells
from veridical.evidence.metrics import Row, row
from veridical.remedies.recalibrated import fit_beta
from veridical.report.judging import BAD, CAUTION, GOOD, Evidence, majority
from veridical.report.labelled_rules import labelled_coverage

PAIRS, ROWS, REPLICATES, PARAMETERS = (50, 200, 1000), (300, 1000), 3, 2
Array = np.ndarray
Levels = Callable[[Array, int, np.random.Generator], Array]  # of uniform numbers, given pairs: levels


def steps(v: Array, pairs: int, rng: np.random.Generator) -> Array:
    """Levels of a perfect method after recalibration by the empirical distribution of its pairs'."""
    u = np.sort(rng.random(pairs))
    return (np.searchsorted(u, v) + rng.random(len(v))) / (pairs + 1)


def by_beta(v: Array, pairs: int, rng: np.random.Generator) -> Array:
    """The same, by the Beta density that fits them."""
    return np.asarray(stats.beta.cdf(v, *fit_beta(rng.random(pairs))))


def narrow(held: float) -> Levels:
    """A normal distribution whose central 90 % interval holds less or more."""
    factor = stats.norm.ppf(0.95) / stats.norm.ppf((1 + held) / 2)
    return lambda v, pairs, rng: 2 * special.ndtr(factor * special.ndtri((1 + v) / 2)) - 1


def wide_centre(v: Array, pairs: int, rng: np.random.Generator) -> Array:
    """The 90 % sets hold 90 %, the 50 % sets 65 %."""
    return np.interp(v, [0, 0.65, 0.9, 1], [0, 0.5, 0.9, 1])


METHODS: dict[str, Levels] = {
    "perfect, steps": steps,
    "perfect, Beta": by_beta,
    "90 % sets hold 85 %": narrow(0.85),
    "90 % sets hold 80 %": narrow(0.80),
    "90 % sets hold 96 %": narrow(0.96),
    "50 % sets hold 65 %": wide_centre,
}


def rows_of(levels: Array, pairs: int, seed: int) -> list[Row]:
    """What check `coverage` says of levels (m, D + 1), the last those of joint regions."""
    m, gaps, held = len(levels), coverage.coverage_gap(levels), (levels <= 0.9).mean(axis=0)
    about = {"method": "one", "budget": 1, "seed": seed, "n_calibration": pairs, **dataset_cells("real")}
    found = [row(**about, metric="coverage", level=0.9, n=m, value=held[:-1].mean(), stderr=0.0)]
    for j in range(levels.shape[1] - 1):
        own = {**about, "parameter": f"p{j}"}
        found.append(row(**own, metric="coverage", level=0.9, n=m, value=held[j]))
        found.append(row(**own, metric="coverage_gap", n=m, value=gaps[j], stderr=0.0))
    found.append(row(**about, metric="hpd_coverage", level=0.9, n=m, value=held[-1]))
    return [*found, row(**about, metric="hpd_coverage_gap", n=m, value=gaps[-1], stderr=0.0)]


def one_sample(levels: Array) -> bool:
    """Whether a test at 5 % refuses levels (m, C) whose null does not know of the pairs."""
    m, grid = len(levels), uniformity.LEVELS
    gammas = uniformity.log_gamma(uniformity.counts_below(levels, grid), m, grid)
    return bool(uniformity.p_value(gammas, m, grid, 9_999).min() * levels.shape[1] < 0.05)


def judged(method: Levels, pairs: int, m: int, rng: np.random.Generator) -> tuple[int, float]:
    """The outcome of one study in most replicates, and the share that a test of one sample refuses."""
    v = rng.random((m, PARAMETERS + 1))
    rows: list[Row] = []
    refused = 0
    for seed in range(REPLICATES):
        levels = np.stack([method(column, pairs, rng) for column in v.T], axis=1)
        rows += rows_of(levels, pairs, seed)
        refused += one_sample(levels)
    found = labelled_coverage(Evidence(rows, "one", 1, "real", pairs))
    assert found is not None
    return majority(found[0].values()), refused / REPLICATES


def lines(studies: int) -> Iterator[list[str]]:
    """The table: a line for each method, number of pairs and of rows."""
    for number, (name, method) in enumerate(METHODS.items()):
        for pairs in PAIRS:
            for m in ROWS:
                rng = seeds.generator(20261130, "test", "coverage_of_pairs", number, pairs, m)
                found = [judged(method, pairs, m, rng) for _ in range(studies)]
                counts = Counter(outcome for outcome, _ in found)
                shares = [f"{counts[outcome] / studies:.3f}" for outcome in (GOOD, CAUTION, BAD)]
                refused = np.mean([share for _, share in found])
                line = [name, f"{pairs:,}", f"{m:,}", *shares, f"{refused:.2f}"]
                print(" | ".join(line), flush=True)
                yield line


def main() -> None:
    """Prints the table, and writes the page where one is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    header = ["method", "pairs", "rows", "good", "caution", "bad", "one sample refuses"]
    found = table(header, list(lines(options.studies)))
    if options.page:
        about = str(__doc__).split("\n\n", 2)[2].strip()
        title = "# Coverage of methods that learned from pairs"
        error = (
            f"{options.studies} studies a line: standard errors of at most {0.5 / options.studies**0.5:.3f}."
        )
        options.page.write_text("\n\n".join([title, about, error, found]) + "\n")


if __name__ == "__main__":
    main()
