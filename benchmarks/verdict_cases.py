"""Right and wrong answers whose exact posterior is known, and what the checks of the verdict measure of them.

theta ~ N(0, 1)^D; each parameter is seen in J = 8 numbers x = theta + e, e ~ N(0, 1), so that the posterior
is N(g m, v), m their mean, g = J / (1 + J), v = 1 / (1 + J). An answer is a normal (or Laplace) distribution
in closed form, so that ranks, counts and densities need no draws; three replicates have small errors of their
own and share all data. Of the p-values, `sbc_p`, `coverage_p`, `member_p` are those of the checks; those of
the predictive check and of the local ranks come from the same tests on this model's closed forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special, stats

from veridical.checks import coverage, uniformity
from veridical.checks.base import monte_carlo_p
from veridical.checks.typicality import holm
from veridical.coordinates import dataset_cells
from veridical.evidence.metrics import Row, row

Array = np.ndarray
J, TESTS, REPLICATES, NULL = 8, 500, 3, 4_999
GAIN, VARIANCE = J / (1 + J), 1 / (1 + J)
AROUND, KAPPA_FROM = (
    300,
    5,
)  # data sets near the observation; parameters from which on their proposal is wider
DRAWS = 6  # of the answer, behind the predictive p-value


@dataclass(frozen=True)
class Answer:
    """The answer to data with means m (N, D): mean and sd (N, D), correlation, whether it is Laplace."""

    mean: Array
    sd: Array
    rho: float = 0.0
    laplace: bool = False

    def covariance(self) -> Array:
        d = self.mean.shape[1]
        return self.sd[:, :, None] * ((1 - self.rho) * np.eye(d) + self.rho) * self.sd[:, None, :]

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Draws (n, N, D)."""
        if self.laplace:
            return self.mean + self.sd / np.sqrt(2) * rng.laplace(size=(n, *self.mean.shape))
        z = rng.normal(size=(n, *self.mean.shape))
        return self.mean + np.einsum("nij,snj->sni", np.linalg.cholesky(self.covariance()), z)

    def ranks(self, theta: Array) -> tuple[Array, Array, Array]:
        """Ranks (N, D), levels of highest-density regions (N,) and log densities (N,) of the truth."""
        z, d = (theta - self.mean) / self.sd, theta.shape[1]
        if self.laplace:
            total = np.sqrt(2) * np.abs(z).sum(axis=1)
            u = 0.5 + 0.5 * np.sign(z) * -np.expm1(-np.sqrt(2) * np.abs(z))
            return u, special.gammainc(d, total), -total - np.log(self.sd * np.sqrt(2)).sum(axis=1)
        c = (1 - self.rho) * np.eye(d) + self.rho
        squared = np.einsum("ni,ij,nj->n", z, np.linalg.inv(c), z)
        log_det = np.linalg.slogdet(c)[1] + 2 * np.log(self.sd).sum(axis=1)
        log_q = -0.5 * (squared + log_det + d * np.log(2 * np.pi))
        return special.ndtr(z), special.chdtr(d, squared), log_q


Change = Callable[[Answer, Array], Answer]


@dataclass(frozen=True)
class Case:
    """One right or wrong answer, or nature.

    Attributes:
        name: What is wrong. answer: Changes the exact answer to data of some means. local: Whether it does so
        near the observation only. nature: Changes means (N, D) of real data. observed: Changes the numbers
        (D, J) of the observation alone. prior: Mean of the true parameters. net: Bias and log sd of the
        errors of a replicate, in posterior sd. wrong: Whether trust is wrong.
    """

    name: str
    answer: Change = field(default=lambda q, m: q)
    local: bool = False
    nature: Callable[[Array, np.random.Generator], Array] = field(default=lambda m, rng: m)
    observed: Callable[[Array], Array] = field(default=lambda x: x)
    prior: float = 0.0
    net: tuple[float, float] = (0.03, 0.02)
    wrong: bool = True


def scaled(factor: float, only: int | None = None) -> Change:
    def change(q: Answer, m: Array) -> Answer:
        sd = q.sd.copy()
        sd[:, :only] *= factor
        return replace(q, sd=sd)

    return change


def shifted(by: float, only: int | None = None) -> Change:
    def change(q: Answer, m: Array) -> Answer:
        mean = q.mean.copy()
        mean[:, :only] += by * q.sd[:, :only]
        return replace(q, mean=mean)

    return change


def right_on_average(q: Answer, m: Array) -> Answer:
    """Too narrow by 1.3 on one side, twice too wide on the other: 90 % intervals hold 0.79 and 1.00."""
    return replace(q, sd=q.sd * np.where(m[:, :1] > 0, 1 / 1.3, 2.0))


def offset(by: float) -> Callable[[Array, np.random.Generator], Array]:
    return lambda m, rng: m + by * np.sqrt(VARIANCE) / GAIN


def noisy(m: Array, rng: np.random.Generator) -> Array:
    """Doubles the noise of the means."""
    return m + np.sqrt(3 / J) * rng.normal(size=m.shape)


def patterned(x: Array) -> Array:
    """Every fourth number of the observation low by 3 sd."""
    return x - np.where(np.arange(J) % 4 == 0, 3.0, 0.0)


def with_outlier(x: Array) -> Array:
    x = x.copy()
    x[0, 0] += 8.0
    return x


CASES: tuple[Case, ...] = (
    Case("right", net=(0.0, 0.0), wrong=False),
    Case("right, net of bias 0.03, width 2 %", wrong=False),
    Case("right, net of bias 0.15, width 5 %", net=(0.15, 0.05), wrong=False),
    Case("sd 1.25 too small", scaled(1 / 1.25)),
    Case("sd 1.5 too small", scaled(1 / 1.5)),
    Case("sd 2 too small", scaled(0.5)),
    Case("sd 1.5 too large", scaled(1.5)),
    Case("shift 0.25 sd", shifted(0.25)),
    Case("shift 0.5 sd", shifted(0.5)),
    Case("shift 1 sd", shifted(1.0)),
    Case("one parameter: sd 1.5 too small", scaled(1 / 1.5, 1)),
    Case("one parameter: shift 1 sd", shifted(1.0, 1)),
    Case("correlation 0.7 in place of 0", lambda q, m: replace(q, rho=0.7)),
    Case("wrong shape (Laplace)", lambda q, m: replace(q, laplace=True)),
    Case("the prior", lambda q, m: Answer(0 * q.mean, np.ones_like(q.sd))),
    Case("near the observation only: shift 0.5 sd", shifted(0.5), local=True),
    Case("near the observation only: sd 0.7", scaled(0.7), local=True),
    Case("right on average only", right_on_average),
    Case("nature: offset of 1 posterior sd", nature=offset(1.0)),
    Case("nature: scale 1.5", nature=lambda m, rng: 1.5 * m),
    Case("nature: noise doubled", nature=noisy),
    Case("this datum: an outlier of 8 sd", observed=with_outlier),
    Case("this datum: a pattern of 3 sd", observed=patterned),
    Case("prior off by 4 sd", prior=4.0),
)


# ---- what the checks measure -----------------------------------------------------------------------


def rows_of(case: Case, d: int, sizes: tuple[int, ...], rng: np.random.Generator) -> dict[int, list[Row]]:
    """The metrics of one study, by number of labelled rows (0: none)."""
    theta, m = _data(d, TESTS, rng)
    labelled_theta, labelled = _data(d, max(sizes), rng)
    labelled = case.nature(labelled, rng)
    theta_o = case.prior + rng.normal(size=(1, d))
    x = theta_o.T + rng.normal(size=(d, J))
    x += (case.nature(x.mean(axis=1)[None], rng)[0] - x.mean(axis=1))[:, None]
    x = case.observed(x)
    m_o = x.mean(axis=1)[None]
    found: dict[int, list[Row]] = {n: [] for n in sizes}
    for seed in range(REPLICATES):
        ask = _method(case, d, m_o, rng)
        common = [
            *_simulated(ask, theta, m, seed),
            *_observed(ask, x, m, seed, rng),
            *_near(ask, m_o, seed, rng),
        ]
        for n in sizes:
            real = _labelled(ask, labelled_theta[:n], labelled[:n], m_o, seed) if n else []
            found[n] += common + real
    return found


def calibrated_rows(
    case: Case, d: int, sizes: tuple[int, ...], rng: np.random.Generator, pairs: int = 1000
) -> dict[int, list[Row]]:
    """The metrics of a method that learned from labelled pairs, on labelled rows alone, by their number."""
    theta, m = _data(d, max(sizes), rng)
    m = case.nature(m, rng)
    found: dict[int, list[Row]] = {n: [] for n in sizes}
    for seed in range(REPLICATES):
        ask = _method(case, d, np.full((1, d), np.inf), rng)
        for n in sizes:
            rows = _labelled(ask, theta[:n], m[:n], None, seed) + _learned(
                ask, theta[:n], m[:n], seed, "real"
            )
            found[n] += [{**r, "n_calibration": pairs} for r in rows]
    return found


def held(case: Case, d: int, rng: np.random.Generator, studies: int = 4_000) -> float:
    """How often the 90 % interval of the worst parameter holds the truth behind such an observation."""
    theta = case.prior + rng.normal(size=(studies, d))
    m = case.nature(theta + rng.normal(size=theta.shape) / np.sqrt(J), rng)
    m = m + (case.observed(np.zeros((d, J))).mean(axis=1))
    q = case.answer(_exact(m), m)
    return float((np.abs(2 * q.ranks(theta)[0] - 1) <= 0.9).mean(axis=0).min())


def _data(d: int, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    theta = rng.normal(size=(n, d))
    return theta, theta + rng.normal(size=theta.shape) / np.sqrt(J)


def _exact(m: Array) -> Answer:
    return Answer(GAIN * m, np.full(m.shape, np.sqrt(VARIANCE)))


def _method(case: Case, d: int, m_o: Array, rng: np.random.Generator) -> Callable[[Array], Answer]:
    """The trained method of one replicate: the answer of the case with small errors of its own."""
    bias, width = case.net[0] * rng.normal(size=d), np.exp(case.net[1] * rng.normal(size=d))
    reach = stats.chi2.isf(0.01, d) * (VARIANCE + 1 / J)

    def ask(m: Array) -> Answer:
        q, exact = case.answer(_exact(m), m), _exact(m)
        if case.local:
            near = (((m - m_o) ** 2).sum(axis=1) <= reach)[:, None]
            q = replace(q, mean=np.where(near, q.mean, exact.mean), sd=np.where(near, q.sd, exact.sd))
        return replace(q, mean=q.mean + bias * q.sd, sd=q.sd * width)

    return ask


def _row(
    seed: int, dataset: str, metric: str, value: float, parameter: int | None = None, **more: Any
) -> Row:
    cells = {"method": "npe", "budget": 1000, "seed": seed, **dataset_cells(dataset)}
    name = None if parameter is None else f"p{parameter}"
    return row(**cells, metric=metric, value=float(value), parameter=name, **more)


def _coverage(levels: Array, d: int, seed: int, dataset: str) -> list[Row]:
    """As check `coverage`: levels (N, D + 1) of central intervals and of the joint region."""
    n = len(levels)
    inside, gaps = levels[:, :d] <= 0.9, coverage.coverage_gap(levels)
    p = _uniform(levels)
    spread = inside.mean(axis=1).std(ddof=1) / np.sqrt(n)
    rows = [_row(seed, dataset, "coverage_p", p)]
    rows.append(_row(seed, dataset, "coverage", inside.mean(), level=0.9, n=n, stderr=float(spread)))
    gap_error = 0.4 / np.sqrt(n)
    for j in range(d):
        rows.append(_row(seed, dataset, "coverage", inside[:, j].mean(), j, level=0.9, n=n))
        rows.append(_row(seed, dataset, "coverage_gap", gaps[j], j, stderr=gap_error))
    return [*rows, _row(seed, dataset, "hpd_coverage_gap", gaps[d], stderr=gap_error)]


def _uniform(u: Array) -> float:
    """The family-wise p-value of check `sbc` and `coverage` for columns of (N, C)."""
    n, grid = len(u), uniformity.LEVELS
    p = uniformity.p_value(uniformity.log_gamma(uniformity.counts_below(u, grid), n, grid), n, grid, NULL)
    return min(1.0, u.shape[1] * float(p.min()))


def _simulated(ask: Callable[[Array], Answer], theta: Array, m: Array, seed: int) -> list[Row]:
    """Calibration on simulated data, and what the data taught."""
    u, hpd, _ = ask(m).ranks(theta)
    rows = _coverage(np.column_stack([np.abs(2 * u - 1), hpd]), theta.shape[1], seed, "simulated")
    rows.append(_row(seed, "simulated", "sbc_p", _uniform(u)))
    return rows + _learned(ask, theta, m, seed, "simulated")


def _learned(ask: Callable[[Array], Answer], theta: Array, m: Array, seed: int, dataset: str) -> list[Row]:
    """Gain over the prior and contraction of its variance."""
    q = ask(m)
    gain = q.ranks(theta)[2] - stats.norm.logpdf(theta).sum(axis=1)
    error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    rows = [_row(seed, dataset, "gain", gain.mean(), stderr=error, n=len(gain))]
    shrink = 1 - (q.sd**2).mean(axis=0)
    return rows + [_row(seed, dataset, "prior_contraction", c, j) for j, c in enumerate(shrink)]


def _labelled(
    ask: Callable[[Array], Answer], theta: Array, m: Array, m_o: Array | None, seed: int
) -> list[Row]:
    """Coverage on labelled real data, and how like them the observation is."""
    u, hpd, _ = ask(m).ranks(theta)
    rows = _coverage(np.column_stack([np.abs(2 * u - 1), hpd]), theta.shape[1], seed, "real")
    if m_o is None:
        return rows
    p = float(monte_carlo_p(np.linalg.norm(m_o), np.linalg.norm(m, axis=1)))
    return [*rows, _row(seed, "data", "labelled_member_p", p, least_p=1 / (len(m) + 1))]


def _observed(
    ask: Callable[[Array], Answer], x: Array, m: Array, seed: int, rng: np.random.Generator
) -> list[Row]:
    """Typicality, predictive check and agreement with the prior, of one observation x (D, J)."""
    m_o = x.mean(axis=1)[None]
    q, null = ask(m_o), ask(m)
    p = holm(np.atleast_1d(monte_carlo_p(np.linalg.norm(m_o), np.linalg.norm(m, axis=1))))[0]
    rows = [_row(seed, "data", "member_p", p, least_p=1 / (len(m) + 1))]
    theta = q.sample(rng, DRAWS)[:, 0]
    each = np.array([_predictive(x - t[:, None]) for t in theta]).clip(1e-3, 0.999)
    combined = 0.5 - np.arctan(np.tan((0.5 - each) * np.pi).mean()) / np.pi
    rows.append(_row(seed, "data", "predictive_p", combined))
    depth = [(a.mean**2 + a.sd**2).sum(axis=1) for a in (q, null)]
    conflict = float(monte_carlo_p(depth[0][0], depth[1]))
    return [*rows, _row(seed, "data", "prior_conflict_p", conflict, n=len(m))]


def _statistics(z: Array) -> Array:
    """Largest -log p of sum of squares, largest residual, mean and period 4 of residuals (..., D, J)."""
    n = z.shape[-1] * z.shape[-2]
    flat = z.reshape(*z.shape[:-2], n)
    phases = z.reshape(*z.shape[:-1], J // 4, 4).mean(axis=(-2, -3))
    spread = ((phases - phases.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1) * n / 4
    each = 2 * special.ndtr(-np.abs(flat).max(axis=-1))
    tails = (
        special.chdtrc(n, (flat**2).sum(axis=-1)),
        -np.expm1(n * np.log1p(-each)),
        2 * special.ndtr(-np.abs(flat.mean(axis=-1)) * np.sqrt(n)),
        special.chdtrc(3, spread),
    )
    return -np.log(np.maximum(np.minimum.reduce(tails), 1e-300))


@lru_cache
def _null_of_statistics(d: int) -> Array:
    return np.sort(_statistics(np.random.default_rng(d).normal(size=(20_000, d, J))))


def _predictive(residuals: Array) -> float:
    null = _null_of_statistics(len(residuals))
    at_least = len(null) - np.searchsorted(null, _statistics(residuals))
    return float((1 + at_least) / (1 + len(null)))


def _near(ask: Callable[[Array], Answer], m_o: Array, seed: int, rng: np.random.Generator) -> list[Row]:
    """Ranks of parameters from around the answer, reweighted, per parameter and jointly (Bonferroni)."""
    q_o, d = ask(m_o), m_o.shape[1]
    kappa = 1.0 if d < KAPPA_FROM else 1.5
    around = replace(q_o, sd=kappa * q_o.sd, laplace=False)
    theta = around.sample(rng, AROUND)[:, 0]
    q = ask(theta + rng.normal(size=theta.shape) / np.sqrt(J))
    if q.laplace:
        u = _weighted_ranks(q, around, theta, rng)
    else:
        inverse, near = np.linalg.inv(q.covariance()), np.linalg.inv(around.covariance()[0])
        cov = np.linalg.inv(inverse + near - np.eye(d))
        mean = np.einsum("nij,nj->ni", cov, np.einsum("nij,nj->ni", inverse, q.mean) + near @ around.mean[0])
        off = theta - mean
        squared = np.einsum("ni,nij,nj->n", off, np.linalg.inv(cov), off)
        sd = np.sqrt(np.einsum("nii->ni", cov))
        u = np.column_stack([special.ndtr(off / sd), special.chdtr(d, squared)])
    return [_row(seed, "data", "local_ranks_p", min(1.0, u.shape[1] * float(_kolmogorov(u).min())))]


def _kolmogorov(u: Array) -> Array:
    """P-values of uniform columns (N, C), by Stephens' approximation, shape (C,)."""
    ordered, n = np.sort(u, axis=0), len(u)
    steps = np.arange(n + 1)[:, None] / n
    distance = np.maximum(steps[1:] - ordered, ordered - steps[:-1]).max(axis=0)
    return special.kolmogorov(distance * (np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n)))


def _weighted_ranks(q: Answer, around: Answer, theta: Array, rng: np.random.Generator) -> Array:
    """The same from 200 draws, where there is no closed form."""
    draws = q.sample(rng, 200)
    log_w = stats.norm.logpdf(draws, around.mean[0], around.sd[0]) - stats.norm.logpdf(draws)
    w = special.softmax(log_w.sum(axis=-1), axis=0)
    return np.einsum("sn,snj->nj", w, draws < theta)
