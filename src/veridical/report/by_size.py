r"""Coverage on labelled data, judged by its size: do intervals for it exclude what would matter?

K of n truths lie inside the 90 % interval of a parameter. The one-sided 95 % Clopper-Pearson interval for
the coverage lies above p0 just if :math:`K \geq k(n, p_0)`, the least K with
:math:`P(Bin(n, p_0) \geq K) \leq 0.05`. A good answer needs this of *every* parameter, so that a wrong one
passes with 5 % whatever their number, and V variants judged on the same rows share the 5 %. Few rows exclude
0.74 at best (a posterior one standard deviation off); then the mean over parameters has to exclude 0.80.

References:
    | The use of confidence or fiducial limits illustrated in the case of the binomial
    | (Clopper & Pearson, 1934)
    | Multiparameter hypothesis testing and acceptance sampling (Berger, 1982)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np

from veridical.report.judging import BAD, CANNOT_TELL, CAUTION, GOOD

LEVEL = 0.9  # of the intervals that are counted
ALPHA, ALPHA_BAD = 0.05, 0.025
MANY = 200  # rows from which on every parameter has to exclude EXCLUDED itself
EXCLUDED, EXCLUDED_OF_FEW = 0.80, 0.74
HARM = 0.85  # coverage that even the upper end has to miss to be bad
WASTE = 0.93  # coverage that every lower end exceeds where intervals are too wide
_LONGEST = 5_000  # rows that are thought of
POWER = 0.8  # with which a right answer has to pass; fewer rows are too few to tell


@dataclass(frozen=True)
class Counted:
    """Truths inside the 90 % interval of each of D parameters.

    Attributes:
        held: How many, per parameter.
        n: Out of how many.
        mean: Their mean share over parameters.
        stderr: Its standard error, rows taken as clusters; 0 where it is not known.
    """

    held: Sequence[int]
    n: int
    mean: float
    stderr: float = 0.0


@cache
def least_held(n: int, excluded: float, alpha: float = ALPHA) -> int:
    """Returns the least K of n whose one-sided interval lies above a coverage; n + 1 where none does."""
    from scipy.stats import binom

    return int(binom.isf(alpha, n, excluded)) + 1


@cache
def most_held(n: int, reached: float, alpha: float) -> int:
    """Returns the largest K of n whose one-sided interval lies below a coverage; -1 where none does."""
    return n - least_held(n, 1 - reached, alpha)


@cache
def passes(n: int, d: int, rivals: int = 1) -> float:
    """Returns how often a right answer in d independent parameters passes the bound on each of them."""
    from scipy.stats import binom

    excluded = EXCLUDED if n >= MANY else EXCLUDED_OF_FEW
    return float(binom.sf(least_held(n, excluded, ALPHA / rivals) - 1, n, LEVEL)) ** d


@cache
def rows_for(d: int, excluded: float, power: float, rivals: int = 1) -> int:
    """Returns from how many rows on a right answer in d parameters excludes a coverage in each of them.

    Arguments:
        d: Independent parameters.
        excluded: The coverage that is to be excluded.
        power: Probability with which it has to succeed.
        rivals: Variants judged on the same rows.
    """
    from scipy.stats import binom

    n = np.arange(1, _LONGEST)
    held = binom.isf(ALPHA / rivals, n, excluded) + 1
    return int(n[binom.sf(held - 1, n, LEVEL) ** d < power].max()) + 1


def enough(d: int, rivals: int = 1) -> int:
    """Returns from how many rows on a right answer passes with probability 0.8 (at most MANY)."""
    return min(rows_for(d, EXCLUDED_OF_FEW, POWER, rivals), MANY)


def more_rows(found: Counted, rivals: int = 1) -> int | None:
    """Returns the least number of rows, beyond those there are, that will pass with probability 0.8.

    What is seen on further rows follows the beta-binomial law after K of n (Jeffreys' prior), parameters
    independently. None where the counts so far promise no such number.
    """
    grid = np.unique(np.geomspace(found.n + 1, max(_LONGEST, 10 * found.n), 150).astype(int))
    return next((int(n) for n in grid if _will_pass(found, int(n), rivals) >= POWER), None)


def _will_pass(found: Counted, n: int, rivals: int) -> float:
    """Probability that counts so far, with further rows up to n, will pass."""
    from scipy.special import ndtri
    from scipy.stats import betabinom

    alpha, d, more = ALPHA / rivals, len(found.held), n - found.n
    least = least_held(n, EXCLUDED if n >= MANY else EXCLUDED_OF_FEW, alpha)
    passing = []  # by parameter, the probability of each number held that passes
    for k in found.held:
        own = np.zeros(n + 1)
        rest = np.arange(max(least - k, 0), more + 1)
        own[k + rest] = betabinom.pmf(rest, more, k + 0.5, found.n - k + 0.5)
        passing.append(own)
    if n >= MANY:
        return math.prod(float(own.sum()) for own in passing)
    total = reduce(np.convolve, passing)
    bound = EXCLUDED - ndtri(alpha) * math.sqrt(LEVEL * (1 - LEVEL) / (n * d))
    return float(total[math.ceil(bound * n * d) :].sum())


def judge(found: Counted, rivals: int = 1) -> int:
    """Returns the outcome of counted coverage.

    Arguments:
        found: The counts.
        rivals: Variants judged on the same rows, from which a reader may choose.
    """
    n, alpha, d = found.n, ALPHA / rivals, len(found.held)
    if min(found.held) <= most_held(n, HARM, ALPHA_BAD / d):
        return BAD
    if passed(found, alpha):
        return CAUTION if too_wide(found) else GOOD
    return CANNOT_TELL if n < MANY and passes(n, d, rivals) < POWER else CAUTION


def passed(found: Counted, alpha: float = ALPHA) -> bool:
    """Whether every parameter, and for few rows their mean, excludes what would matter."""
    n, each = found.n, EXCLUDED if found.n >= MANY else EXCLUDED_OF_FEW
    return min(found.held) >= least_held(n, each, alpha) and (n >= MANY or lower_end(found, alpha) > EXCLUDED)


def too_wide(found: Counted) -> bool:
    """Whether intervals of every parameter hold the truth too often by more than chance."""
    return min(found.held) >= least_held(found.n, WASTE)


def lower_end(found: Counted, alpha: float = ALPHA) -> float:
    """Returns the lower end of the interval for the mean coverage over parameters.

    Its error is that of a right answer, larger by what rows as clusters add to that of independent counts.
    """
    from scipy.special import ndtri

    counts = found.n * len(found.held)
    independent = math.sqrt(found.mean * (1 - found.mean) / counts)
    clusters = max(1.0, found.stderr / independent) if independent > 0 else 1.0
    return float(found.mean - ndtri(1 - alpha) * clusters * math.sqrt(LEVEL * (1 - LEVEL) / counts))


@cache
def as_good_as(pairs: int) -> float:
    """Returns what coverage a perfect calibration on so many pairs exceeds in 97.5 % of cases.

    The coverage of a 90 % set calibrated on n pairs follows Beta(k, n + 1 - k), k = ceil(0.9 (n + 1)).
    """
    from scipy.stats import beta

    k = math.ceil(LEVEL * (pairs + 1) - 1e-9)
    return float(beta.ppf(0.025, k, pairs + 1 - k)) if k <= pairs else 0.0


def dependent(shares: Sequence[Sequence[float]], n: int) -> int:
    """Returns the outcome where answers depend on each other, so that counts over rows are not binomial.

    What is independent are whole replicates, each calibrated and trained for itself: Student's t over these,
    their error and that of n rows together. Fewer than three cannot tell.

    Arguments:
        shares: Coverage of each replicate (K) and parameter (D).
        n: Rows.
    """
    from scipy.special import stdtrit

    k, d = len(shares), len(shares[0])
    if k < 3:
        return CANNOT_TELL
    ends = []
    for own in zip(*shares, strict=True):
        mean = sum(own) / k
        spread = sum((c - mean) ** 2 for c in own) / (k - 1)
        error = math.sqrt(spread / k + LEVEL * (1 - LEVEL) / n)
        t, t_bad = stdtrit(k - 1, 1 - ALPHA), stdtrit(k - 1, 1 - ALPHA_BAD / d)
        ends.append((mean - t * error, mean + t_bad * error))
    if any(upper < HARM for _, upper in ends):
        return BAD
    return GOOD if all(lower > EXCLUDED for lower, _ in ends) else CAUTION
