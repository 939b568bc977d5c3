r"""Misspecification in summary space: do the data, as a set, look simulated to the summary network?

Between a reference a of simulated summaries and a set b of N_o observed ones, with a kernel k,

.. math:: \mathrm{MMD}^2 = \overline{k(a, a')} + \overline{k(b, b')} - 2\, \overline{k(a, b)}

(biased V-statistic, clipped at zero, root taken). Kernels sum over 19 scales w, d the Euclidean distance:
Gaussian :math:`\sum_w \exp(-d^2 / 2w)`, inverse multiquadratic :math:`\sum_w w / (w + d^2)`. Summaries are
whitened by mean and covariance of the reference, so that no affine map of them changes the answer; the length
of a whitened summary is its Mahalanobis distance, whose mean over the set is the second statistic.

The value of MMD depends on N_o; its null is made of sets of N_o simulated summaries that are not in the
reference, in one of two ways, both of which give exact p-values :math:`(1 + \#\{D_r \geq D\}) / (1 + R)`:

- *fresh*: R sets that share no row, where there are R N_o rows (and always for N_o = 1);
- *permuted*: where rows are fewer, each set is drawn without replacement from the null rows joined with the
  set that is judged. Given the reference these are exchangeable if the simulator is right, however much the
  sets share. (Sets from the null rows alone vary too little: at N_o = 100 of 125 rows, size 0.2 for 0.05.)

Size is the share of rejections among sets from a third part of the simulations, power the same after a shift
by one whitened unit. A shift of the prior alarms like a fault of the simulator does; neither says how far the
parameters are off; and what the summaries do not hold, this cannot see.

Curves: `null` (R,), sorted, and `observed` (1,), root MMD; `critical` (1,); `summary_null` (R,), sorted, and
`summary_observed` (1,), mean Mahalanobis distances.

References:
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks
    | (Schmitt et al., 2021)
    | https://arxiv.org/abs/2112.08866
    | A Kernel Two-Sample Test (Gretton et al., 2012)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from veridical.checks.base import Check, CheckResult, Metric, finite_or_none, monte_carlo_p, proportion_stderr
from veridical.checks.inputs import Array, DrawsLike, Inputs, given, require_finite
from veridical.checks.settings import DetectionSettings
from veridical.errors import DataError, ShapeError, require_shape

SCALES = (
    *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0),
    *(100.0, 1e3, 1e4, 1e5, 1e6),
)
KernelName = Literal["gaussian", "inverse_multiquadratic"]

_RIDGE = 1e-6  # share of each variance: a summary that others determine, or that never moved, counts heavily
_CHUNK = 1 << 16  # numbers of one step, so that they stay in the cache
_GATHERED = 1 << 22  # numbers gathered at once
_SHARED_ROWS = 1_000  # most null rows (and as many for the size) whose kernels with one another are held
_PERMUTATIONS = 99  # at least, behind one rejection of the size and the power where sets share rows


def _gaussian(squared: Array, scale: float) -> Array:
    value: Array = np.exp(squared * (-0.5 / scale))
    return value


def _inverse_multiquadratic(squared: Array, scale: float) -> Array:
    value: Array = scale / (scale + squared)
    return value


_KERNELS: dict[str, Callable[[Array, float], Array]] = {
    "gaussian": _gaussian,
    "inverse_multiquadratic": _inverse_multiquadratic,
}


def kernel_matrix(a: Array, b: Array, kernel: KernelName = "gaussian") -> Array:
    """Returns the kernel, summed over `SCALES`, of points (A, K) with points (B, K), shape (A, B)."""
    from scipy.spatial.distance import cdist

    term, total = _KERNELS[kernel], np.empty((len(a), len(b)))
    step = max(1, _CHUNK // len(b))
    for first in range(0, len(a), step):
        rows = slice(first, first + step)
        squared = cdist(a[rows], b, "sqeuclidean")
        part = term(squared, SCALES[0])
        for scale in SCALES[1:]:
            part += term(squared, scale)
        total[rows] = part
    return total


def root_mmd(own: float | Array, within: float | Array, across: float | Array) -> Array:
    """Returns the root of own + within - 2 across, mean kernels of reference, set, both."""
    root: Array = np.sqrt(np.maximum(np.asarray(own + within - 2 * np.asarray(across)), 0))
    return root


def mmd(a: Array, b: Array, kernel: KernelName = "gaussian") -> float:
    """Returns the root of the biased squared MMD of points (A, K) and points (B, K)."""
    means = (kernel_matrix(x, y, kernel).mean() for x, y in ((a, a), (b, b), (a, b)))
    return float(root_mmd(*means))


@dataclass(frozen=True)
class Reference:
    """Simulated summaries that sets of others are compared with.

    Attributes:
        points: Their places, shape (N, K).
        kernel: Name of the kernel.
        own: Mean kernel of the reference with itself.
    """

    points: Array
    kernel: KernelName
    own: float

    @classmethod
    def of(cls, points: Array, kernel: KernelName = "gaussian") -> Reference:
        """Returns the reference made of points (N, K)."""
        return cls(points, kernel, float(kernel_matrix(points, points, kernel).mean()))

    def across(self, points: Array) -> Array:
        """Returns the mean kernel of each of points (P, K) with the reference, shape (P,)."""
        step = max(1, _GATHERED // len(self.points))
        parts = [
            kernel_matrix(points[i : i + step], self.points, self.kernel).mean(axis=1)
            for i in range(0, len(points), step)
        ]
        return np.concatenate(parts)

    def distances(self, sets: Array) -> Array:
        """Returns the root MMD of each of the sets (T, N_o, K), shape (T,)."""
        t, n, k = sets.shape
        across = self.across(sets.reshape(t * n, k)).reshape(t, n).mean(axis=1)
        within = np.array([kernel_matrix(s, s, self.kernel).mean() for s in sets]) if n > 1 else self._peak()
        return root_mmd(self.own, within, across)

    def _peak(self) -> float:
        """The kernel of a point with itself."""
        return float(kernel_matrix(self.points[:1], self.points[:1], self.kernel)[0, 0])


class Kernels(NamedTuple):
    """Kernels of points with a pool (N, P) and with one another (N, N), mean ones with a reference (N,)."""

    pool: Array
    among: Array
    across: Array

    def rows(self, chosen: Array) -> Kernels:
        """Returns those of some of the points."""
        return Kernels(self.pool[chosen], self.among[np.ix_(chosen, chosen)], self.across[chosen])


class Judged(NamedTuple):
    """Root MMD of a set, those of sets that it is compared with (R,), and the rows of these (R, N_o)."""

    value: float
    null: Array
    rows: Array


class Pool:
    """Rows fresh to the reference, with all kernels among them, from which sets are drawn by indexing.

    Arguments:
        reference: What sets are compared with.
        points: The rows, shape (P, K).
        size: How many a set has, N_o.
    """

    def __init__(self, reference: Reference, points: Array, size: int) -> None:
        p = len(points)
        self.reference, self.points, self.size = reference, points, size
        self._across = np.concatenate([reference.across(points), np.zeros(size)])
        self._kernels = np.empty((p + size, p + size))  # the last rows are for the set that is judged
        self._kernels[:p, :p] = kernel_matrix(points, points, reference.kernel)

    def kernels(self, points: Array) -> Kernels:
        """Returns the kernels of points (N, K) that are not in the pool."""
        kernel = self.reference.kernel
        return Kernels(
            kernel_matrix(points, self.points, kernel),
            kernel_matrix(points, points, kernel),
            self.reference.across(points),
        )

    def judge(self, judged: Kernels, repeats: int, rng: np.random.Generator) -> Judged:
        """Compares a set with sets drawn from the rows of the pool joined with its own, which come last.

        Arguments:
            judged: Kernels of the N_o points of the set.
            repeats: How many sets to draw.
            rng: Draws them.
        """
        p, n = len(self.points), self.size
        kernels, across = self._kernels, self._across
        kernels[p:, :p], kernels[:p, p:], kernels[p:, p:] = judged.pool, judged.pool.T, judged.among
        across[p:] = judged.across
        rows = subsets(p + n, n, repeats, rng)
        value = root_mmd(self.reference.own, judged.among.mean(), judged.across.mean())
        step = max(1, _GATHERED // n**2)
        within = [
            kernels[part[:, :, None], part[:, None, :]].mean(axis=(1, 2))
            for part in (rows[i : i + step] for i in range(0, repeats, step))
        ]
        null = root_mmd(self.reference.own, np.concatenate(within), across[rows].mean(axis=1))
        return Judged(float(value), null, rows)


def subsets(rows: int, size: int, repeats: int, rng: np.random.Generator) -> Array:
    """Returns rows of random sets, each without replacement, shape (repeats, size)."""
    if size == rows:
        return np.tile(np.arange(rows), (repeats, 1))
    step = max(1, _GATHERED // rows)
    parts = [
        np.argpartition(rng.random((min(step, repeats - i), rows)), size - 1, axis=1)[:, :size]
        for i in range(0, repeats, step)
    ]
    return np.concatenate(parts)


def fresh_sets(points: Array, size: int, sets: int) -> Array:
    """Returns sets of points (P, K) that share none, shape (sets, size, K)."""
    return points[: sets * size].reshape(sets, size, -1)


def rejections(distances: Array, null: Array, alpha: float) -> Array:
    """Returns which distances have a p-value of at most alpha against a null, shape like the distances."""
    return np.asarray(monte_carlo_p(distances, null) <= alpha)


class Parts(NamedTuple):
    """Disjoint rows of the simulations: reference (N, K), null (P, K), for size and power (Q, K)."""

    reference: Array
    null: Array
    tests: Array


class Whitening(NamedTuple):
    """Mean (K,) and Cholesky factor (K, K) of the covariance of a reference."""

    mean: Array
    factor: Array

    @classmethod
    def of(cls, points: Array) -> Whitening:
        """Returns the whitening that makes points (N, K) have mean 0 and covariance 1."""
        sd = points.std(axis=0, ddof=1)
        scale = np.where(sd > 0, sd, _RIDGE * (sd.max() or 1.0))
        correlation = np.atleast_2d(np.cov((points / scale).T)) + _RIDGE * np.eye(len(sd))
        return cls(points.mean(axis=0), scale[:, None] * np.linalg.cholesky(correlation))

    def __call__(self, points: Array) -> Array:
        """Returns whitened points (N, K); their length is their Mahalanobis distance."""
        from scipy.linalg import solve_triangular

        whitened: Array = solve_triangular(self.factor, (points - self.mean).T, lower=True).T
        return whitened


class Found(NamedTuple):
    """Both statistics of a set and their nulls (R,)."""

    mmd: float
    null: Array
    distance: float
    distance_null: Array


class Detection(Check):
    """Tests whether a set of data comes from the simulator, by MMD and Mahalanobis distance of summaries."""

    name = "detection"
    needs = frozenset({"summary", "null"})
    settings_class: ClassVar = DetectionSettings
    settings: DetectionSettings

    def _judge(self, draws: DrawsLike, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        simulated: DrawsLike = given(inputs.null, "draws of simulated test sets", self.name)
        observed, rows = self._rows(draws, simulated, rng)
        n = len(observed)
        parts = self._parts(rows, n)
        whiten = Whitening.of(parts.reference)
        observed, parts = whiten(observed), Parts(*(whiten(part) for part in parts))
        reference = Reference.of(parts.reference, self.settings.kernel)
        fresh = len(parts.null) >= n * self._null_sets(n, len(parts.null))
        pool = None if fresh else Pool(reference, parts.null, n)
        found = self._compare(observed, parts.null, reference, pool, rng)
        table = self._table(observed, found, reference)
        size, power = self._operating(parts, found.null, reference, pool, n, rng)
        decidable = 1 / (len(found.null) + 1) <= self.settings.alpha
        p_value = float(monte_carlo_p(found.mmd, found.null))
        critical = np.quantile(found.null, 1 - self.settings.alpha, method="higher")
        return self._result(
            draws,
            [*table, size, power],
            curves={
                "null": np.sort(found.null),
                "observed": np.array([found.mmd]),
                "critical": np.array([critical]),
                "summary_null": np.sort(found.distance_null),
                "summary_observed": np.array([found.distance]),
            },
            passed=p_value > self.settings.alpha if decidable else None,
            p_value=p_value,
            notes=self._notes(n, len(draws.draws[0]), parts, fresh, decidable),
        )

    def _rows(self, draws: DrawsLike, simulated: DrawsLike, rng: np.random.Generator) -> tuple[Array, Array]:
        """The summaries judged (N_o, K) and those simulated (M, K), in random order, that share no truth."""
        judged, null = self._summary(draws), self._summary(simulated)
        if judged.shape[1:] != null.shape[1:]:
            raise ShapeError(
                f"summary: expected as many as in simulation, {null.shape[1]}, got {judged.shape[1]}."
            )
        if judged.shape == null.shape and np.array_equal(judged, null):
            raise DataError(
                f"check {self.name}: the data judged are the simulated test sets themselves; leave it out."
            )
        n = min(len(judged), self.settings.observations, len(null) // 4)
        chosen = np.sort(rng.choice(len(judged), n, replace=False))
        if draws.truth is not None and simulated.truth is not None:
            of, against = np.asarray(draws.truth)[chosen], np.asarray(simulated.truth)
            if of.shape[1:] == against.shape[1:]:  # data sets of other fidelities share their parameters
                null = null[~(against[:, None] == of).all(axis=-1).any(axis=1)]
        n = min(n, len(null) // 4)
        if n < 1 or len(null) < 40:
            raise DataError(
                f"check {self.name}: expected at least 40 simulated data sets with parameters of their own, "
                f"got {len(null)}; raise test_rows."
            )
        return judged[chosen[:n]], null[rng.permutation(len(null))]

    def _summary(self, draws: DrawsLike) -> Array:
        summary = np.asarray(given(draws.summary, "learned summaries of the data", self.name), dtype=float)
        require_shape("summary", summary, draws.draws.shape[1], None)
        require_finite("summary", summary)
        return summary

    def _parts(self, rows: Array, n: int) -> Parts:
        """Half of the rows for the reference, a quarter each for the null and for size and power, at most."""
        options = self.settings
        reference = min(options.reference, len(rows) // 2)
        tests = min(options.sets * n, (len(rows) - reference) // 2)
        null = min(options.null_sets * n, len(rows) - reference - tests)
        if n > 1 and null < options.null_sets * n:
            null, tests = min(null, _SHARED_ROWS), min(tests, _SHARED_ROWS)
        ends = np.cumsum([reference, null, tests])
        return Parts(rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] : ends[2]])

    def _null_sets(self, n: int, rows: int) -> int:
        """How many sets the null has; single observations are compared with each row once."""
        return min(self.settings.null_sets, rows) if n == 1 else self.settings.null_sets

    def _compare(
        self, observed: Array, null: Array, reference: Reference, pool: Pool | None, rng: np.random.Generator
    ) -> Found:
        """Both statistics of the set and of the sets of the null."""
        n = len(observed)
        repeats = self._null_sets(n, len(null))
        distance = float(np.linalg.norm(observed, axis=1).mean())
        if pool is None:
            sets = fresh_sets(null, n, repeats)
            distances = np.linalg.norm(sets, axis=2).mean(axis=1)
            value = float(reference.distances(observed[None])[0])
            return Found(value, reference.distances(sets), distance, distances)
        judged = pool.judge(pool.kernels(observed), repeats, rng)
        lengths = np.linalg.norm(np.concatenate([null, observed]), axis=1)
        return Found(judged.value, judged.null, distance, lengths[judged.rows].mean(axis=1))

    def _table(self, observed: Array, found: Found, reference: Reference) -> list[Metric]:
        n, repeats = len(observed), len(found.null)
        error = finite_or_none(jackknife(observed, reference)) if n > 2 else None
        table = [Metric("mmd", found.mmd, error, n)]
        for name, value, null in (
            ("mmd_p", found.mmd, found.null),
            ("summary_mahalanobis_p", found.distance, found.distance_null),
        ):
            p = float(monte_carlo_p(value, null))
            table.append(Metric(name, p, proportion_stderr(p * (repeats + 1) - 1, repeats), n))
        return table

    def _operating(
        self,
        parts: Parts,
        null: Array,
        reference: Reference,
        pool: Pool | None,
        n: int,
        rng: np.random.Generator,
    ) -> tuple[Metric, Metric]:
        """Size and power at the same N_o, on rows that neither reference nor null hold.

        The errors count the sets that share no row, hence are honest, and large, where rows are few.
        """
        apart = len(parts.tests) // n
        if apart >= self.settings.sets or n == 1:
            rows = np.arange(min(self.settings.sets, apart) * n).reshape(-1, n)
        else:
            rows = subsets(len(parts.tests), n, self.settings.sets, rng)
        metrics = []
        for name, shift in (("size", 0.0), ("power", 1.0)):
            points = parts.tests + shift * np.eye(parts.tests.shape[1])[0]
            if pool is None:
                rejected = rejections(reference.distances(points[rows]), null, self.settings.alpha)
            else:
                rejected = self._permuted(points, rows, pool, rng)
            share, independent = float(rejected.mean()), min(len(rows), apart)
            error = proportion_stderr(share * independent, independent)
            metrics.append(Metric(name, share, error, len(rows), level=self.settings.alpha))
        return metrics[0], metrics[1]

    def _permuted(self, points: Array, rows: Array, pool: Pool, rng: np.random.Generator) -> Array:
        """Which sets of points (Q, K), given by rows (T, N_o), the permutation test rejects, shape (T,)."""
        kernels, repeats = pool.kernels(points), max(_PERMUTATIONS, round(1 / self.settings.alpha) - 1)
        judged = [pool.judge(kernels.rows(chosen), repeats, rng) for chosen in rows]
        return np.array([bool(rejections(np.asarray(j.value), j.null, self.settings.alpha)) for j in judged])

    def _notes(self, n: int, given_rows: int, parts: Parts, fresh: bool, decidable: bool) -> tuple[str, ...]:
        how = "that share no row" if fresh else "drawn from these and the data judged, permuted"
        notes = [
            f"{len(parts.reference)} simulated data sets as reference, {len(parts.null)} for the null "
            f"(sets of {n} {how}), {len(parts.tests)} for size and power."
        ]
        if n < given_rows:
            notes.append(f"{n} of {given_rows} data sets were compared, chosen at random.")
        if not decidable:
            notes.append(
                f"{len(parts.null)} simulations cannot tell whether p <= {self.settings.alpha:g}; "
                "raise test_rows."
            )
        return tuple(notes)


def jackknife(observed: Array, reference: Reference) -> float:
    """Returns the standard error of the root MMD over observations (N_o, K), each left out in turn."""
    n = len(observed)
    kernels, across = kernel_matrix(observed, observed, reference.kernel), reference.across(observed)
    within = (kernels.sum() - 2 * kernels.sum(axis=1) + np.diag(kernels)) / (n - 1) ** 2
    left = root_mmd(reference.own, within, (across.sum() - across) / (n - 1))
    return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
