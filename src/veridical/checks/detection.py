r"""Misspecification in summary space: do the data, as a set, look simulated to the summary network?

A set of N_o observed summaries is compared with a reference of simulated ones by the MMD
(`veridical.checks.mmd`), its value with those of sets of as many simulations (`veridical.checks.mmd_null`).
Summaries are whitened by mean and covariance of the reference, so that no affine map of them changes the
answer; the length of a whitened summary is its Mahalanobis distance, whose mean over the set is the second
statistic, with the same sets as its null. Those of an ensemble are whitened member by member and stand side
by side: squared distances add over members, so that each of them can show that data differ.

Size is the share of rejections among sets from a third part of the simulations, power the same after a shift
by one whitened unit. A shift of the prior alarms like a fault of the simulator does; neither says how far the
parameters are off; and what the summaries do not hold, this cannot see.

Curves: `null` (R,), sorted, and `observed` (1,), root MMD; `critical` (1,); `summary_null` (R,), sorted, and
`summary_observed` (1,), mean Mahalanobis distances.

References:
    | Detecting Model Misspecification in Amortized Bayesian Inference with Neural Networks
    | (Schmitt et al., 2021)
    | https://arxiv.org/abs/2112.08866
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, finite_or_none, monte_carlo_p, proportion_stderr
from veridical.checks.classifier import classify
from veridical.checks.inputs import Array, Inputs, given, sharing, summaries
from veridical.checks.mmd import Reference, jackknife
from veridical.checks.mmd_null import Pool, fresh_sets, rejections, subsets
from veridical.errors import DataError, ShapeError
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Count, Section

_RIDGE = 1e-6  # share of each variance: a summary that others determine, or that never moved, counts heavily
_SHARED_ROWS = 1_000  # most null rows (and as many for the size) whose kernels with one another are held
_RETRAINED = 100  # most sets that a classifier is trained on for its size, and for its power
_PERMUTATIONS = 99  # at least, behind one rejection of the size and the power where sets share rows


class DetectionSettings(Section):
    """Do the data, as a set, come from the simulator, as the summary network sees them?"""

    alpha: Alpha = Field(default=0.05, description="Level of the test, and of its size and power.")
    kernel: Literal["gaussian", "inverse_multiquadratic"] = Field(
        default="gaussian", description="Kernel of the discrepancy, summed over 19 scales."
    )
    reference: Annotated[int, Field(ge=20)] = Field(
        default=1_000, description="Most simulated data sets that others are compared with."
    )
    null_sets: Annotated[int, Field(ge=99)] = Field(
        default=2_000, description="Simulated sets of as many data sets as are judged, behind the p-value."
    )
    sets: Annotated[int, Field(ge=20)] = Field(
        default=200, description="Further simulated sets behind the size and the power."
    )
    observations: Count = Field(
        default=50, description="Most data sets judged as one set; of more, so many are chosen at random."
    )
    classifier: bool = Field(
        default=False, description="Whether a classifier tells data from simulations too, by its own p-value."
    )


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

        return solve_triangular(self.factor, (points - self.mean).T, lower=True).T


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
    on_real = True
    settings_class: ClassVar = DetectionSettings
    settings: DetectionSettings
    meanings: ClassVar = {
        "mmd": (
            "Root of the biased squared maximum mean discrepancy between the whitened summaries of the data "
            "and those of a reference of simulations; kernel summed over 19 scales. Depends on the number of"
            " data sets: compare with its null."
        ),
        "mmd_p": (
            "Share of sets of as many simulated data sets whose `mmd` is as large as that of the data, "
            "counting the data: (1 + #) / (1 + R)."
        ),
        "power": (
            "Share of simulated sets that `mmd_p` rejects at level `level` after a shift by one whitened "
            "unit of their summaries: what the test could have seen at this number of data sets."
        ),
        "size": (
            "Share of simulated sets that `mmd_p` rejects at level `level` though the simulator made them; "
            "near `level` if the test is right."
        ),
        "c2st_p": (
            "As `mmd_p` for a classifier (Fisher's discriminant of normal scores of the summaries, with "
            "squares and products) that is trained to tell the data from simulations, and each set of the "
            "null likewise."
        ),
        "c2st_auc": (
            "Area under the curve of that classifier on data sets of the data that it has not seen: 0.5 is "
            "chance, 1 that each is told from simulations."
        ),
        "c2st_power": "As `power`, of `c2st_p`.",
        "c2st_size": "As `size`, of `c2st_p`.",
        "summary_mahalanobis_p": (
            "As `mmd_p` for the mean Mahalanobis distance of the data from the reference of simulations."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        simulated: Draws = given(inputs.null, "draws of simulated test sets", self.name)
        if np.array_equal(summaries(draws, self.name), summaries(simulated, self.name)):
            note = "The data judged are the simulated test sets themselves: there is nothing to tell apart."
            return self._result(draws, [], notes=(note,))
        observed, rows = self._rows(draws, simulated, rng)
        n = len(observed)
        parts = self._parts(rows, n)
        observed, *whitened = _whitened([observed, *parts], parts.reference, draws.summarisers)
        parts = Parts(*whitened)
        reference = Reference.of(parts.reference, self.settings.kernel)
        fresh = len(parts.null) >= n * self._null_sets(n, len(parts.null))
        pool = None if fresh else Pool(reference, parts.null, n)
        found = self._compare(observed, parts.null, reference, pool, rng)
        table = self._table(observed, found, reference)
        size, power = self._operating(parts, found.null, reference, pool, n, rng)
        if self.settings.classifier:
            table += self._classified(observed, parts, rng)
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

    def _rows(self, draws: Draws, simulated: Draws, rng: np.random.Generator) -> tuple[Array, Array]:
        """The summaries judged (N_o, K) and those simulated (M, K), in random order, that share no truth."""
        judged, null = summaries(draws, self.name), summaries(simulated, self.name)
        if judged.shape[1:] != null.shape[1:]:
            raise ShapeError(
                f"summary: expected as many as in simulation, {null.shape[1]}, got {judged.shape[1]}."
            )
        n = min(len(judged), self.settings.observations, len(null) // 4)
        chosen = np.sort(rng.choice(len(judged), n, replace=False))
        null = null[~sharing(draws, chosen, simulated)]
        n = min(n, len(null) // 4)
        if n < 1 or len(null) < 40:
            raise DataError(
                f"check {self.name}: expected at least 40 simulated data sets with parameters of their own, "
                f"got {len(null)}; raise test_rows."
            )
        return judged[chosen[:n]], null[rng.permutation(len(null))]

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
            error, least = proportion_stderr(p * (repeats + 1) - 1, repeats), 1 / (repeats + 1)
            table.append(Metric(name, p, error, n, extra={"least_p": least}))
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

    def _classified(self, observed: Array, parts: Parts, rng: np.random.Generator) -> list[Metric]:
        """What a classifier finds, with the size and the power of its test at this number of data sets."""
        n, rows = len(observed), np.concatenate(parts)
        found = classify(np.concatenate([observed, rows]), n, self.settings.null_sets, rng)
        repeats, p = len(found.null), float(monte_carlo_p(found.statistic, found.null))
        error, least = proportion_stderr(p * (repeats + 1) - 1, repeats), 1 / (repeats + 1)
        table = [Metric("c2st_p", p, error, n, extra={"least_p": least})]
        if found.auc is not None:
            table.append(Metric("c2st_auc", found.auc, found.auc_error, n))
        sets, tries = (
            min(self.settings.sets, _RETRAINED),
            max(_PERMUTATIONS, round(1 / self.settings.alpha) - 1),
        )
        for name, shift in (("c2st_size", 0.0), ("c2st_power", 1.0)):
            rejected = []
            for _ in range(sets):
                pool = rows[rng.permutation(len(rows))]
                pool[:n, 0] += shift
                one = classify(pool, n, tries, rng)
                rejected.append(bool(rejections(np.asarray(one.statistic), one.null, self.settings.alpha)))
            share, independent = float(np.mean(rejected)), min(sets, len(rows) // n)
            error = proportion_stderr(share * independent, independent)
            table.append(Metric(name, share, error, sets, level=self.settings.alpha))
        return table

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


def _whitened(groups: Sequence[Array], reference: Array, summarisers: int) -> list[Array]:
    """Groups of summaries (N, K), those of each network whitened by its own of the reference (R, K)."""
    blocks = np.split(np.arange(reference.shape[1]), summarisers)
    whitenings = [Whitening.of(reference[:, block]) for block in blocks]
    if len(blocks) == 1:
        return [whitenings[0](group) for group in groups]
    return [
        np.hstack([whiten(group[:, block]) for whiten, block in zip(whitenings, blocks, strict=True)])
        for group in groups
    ]
