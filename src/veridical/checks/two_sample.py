r"""Distance between the draws of a method and those of an exact sampler on the same data.

- C2ST: accuracy of a cross-validated classifier that tells the two apart, 0.5 = alike, 1 = disjoint. The
  optimal classifier reaches 1/2 + TV/2, with TV the total variation distance; a trained one stays at or
  below that, up to noise. Its null, from the first against the second half of the reference, shows what the
  reference's own Monte Carlo error does.
- Shift of the mean, in standard deviations of the reference, and the ratio of standard deviations.
- What part of the reference the method's own 90 % intervals hold: shift and width, each harmless by itself,
  may together not be. Of the observation where it is smallest: averages hide what is wrong in one.

Standard errors count the effective sample size of the reference, where its attribute `ess` states it.

Curves, averaged over data sets where there are several: `mean`, `sd`, `reference_mean`, `reference_sd`,
`signed_shift_sd` (D,); `c2st_folds`, `c2st_null_folds` (folds,).

References:
    | Revisiting Classifier Two-Sample Tests (Lopez-Paz & Oquab, 2017), https://arxiv.org/abs/1610.06545
    | Benchmarking Simulation-Based Inference (Lueckmann et al., 2021), https://arxiv.org/abs/2101.04653
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, mean_stderr, per_parameter, proportion_stderr
from veridical.checks.inputs import Array, Inputs, given, unlabelled
from veridical.errors import DataError, require_shape
from veridical.saved.posteriors import Draws
from veridical.sections import Count, Section

LEVEL = 0.9  # of the intervals that should hold as much of the reference
_UNITS_PER_PARAMETER = 10


class TwoSampleSettings(Section):
    """Distance between the draws and those of the reference."""

    draws: Annotated[int, Field(ge=20)] = Field(
        default=2_000, description="Draws of each side given to the classifier."
    )
    folds: Annotated[int, Field(ge=2)] = Field(default=5, description="Folds of the cross-validation.")
    max_iterations: Count = Field(
        default=1_000, description="Most passes of the classifier over its training rows."
    )
    patience: Count = Field(
        default=50,
        description="Passes without a better accuracy on held-out rows after which training stops.",
    )


def held(draws: Array, reference: Array, level: float = LEVEL) -> Array:
    """Returns what part of a reference (R, N, D) central intervals of draws (S, N, D) hold, shape (N, D)."""
    lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    inside: Array = ((lower <= reference) & (reference <= upper)).mean(axis=0)
    return inside


class Difference(NamedTuple):
    """How the marginals of draws differ from those of a reference; each of shape (D,).

    Attributes:
        shift: Signed shift of the mean in standard deviations of the reference.
        shift_stderr: Its standard error.
        ratio: Ratio of standard deviations, draws over reference.
        ratio_stderr: Its standard error.
    """

    shift: Array
    shift_stderr: Array
    ratio: Array
    ratio_stderr: Array


def difference(draws: Array, reference: Array, ess: Array | None = None) -> Difference:
    r"""Compares the moments of draws (S, D) with those of a reference (R, D).

    The error of a mean is sd / sqrt(n); that of log sd is :math:`\sqrt{(\kappa - 1) / (4 n)}` with kurtosis
    :math:`\kappa`; n is the effective sample size.

    Arguments:
        draws: Independent draws of the method.
        reference: Draws of the exact sampler.
        ess: Effective sample size of the reference per parameter, shape (D,); None for independent draws.
    """
    n = np.full(draws.shape[1], len(draws), dtype=float)
    n_reference = np.full(draws.shape[1], len(reference), dtype=float)
    if ess is not None:
        n_reference = np.minimum(n_reference, ess)
    sd, sd_reference = draws.std(axis=0, ddof=1), reference.std(axis=0, ddof=1)
    if not (sd_reference > 0).all():
        raise DataError("reference: expected draws that differ, got a parameter of zero width.")
    ratio = sd / sd_reference
    return Difference(
        shift=(draws.mean(axis=0) - reference.mean(axis=0)) / sd_reference,
        shift_stderr=np.sqrt(ratio**2 / n + 1 / n_reference),
        ratio=ratio,
        ratio_stderr=ratio
        * np.sqrt((_kurtosis(draws) - 1) / (4 * n) + (_kurtosis(reference) - 1) / (4 * n_reference)),
    )


def c2st(
    reference: Array,
    draws: Array,
    rng: np.random.Generator,
    *,
    folds: int = 5,
    max_iterations: int = 1_000,
    patience: int = 50,
) -> Array:
    """Returns the accuracy of a classifier on the held-out part of each fold, shape (folds,).

    A perceptron with two layers of 10 D units, inputs standardised by the reference; classes balanced by
    leaving out surplus draws at random.

    Arguments:
        reference: Shape (R, D).
        draws: Shape (S, D).
        rng: Chooses draws and folds, seeds the classifier.
        folds: Folds of the cross-validation.
        max_iterations: Most passes over the training rows.
        patience: Passes without a better accuracy on held-out rows after which training stops.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    n, d = min(len(reference), len(draws)), draws.shape[1]
    rows = [rng.choice(len(side), n, replace=False) for side in (reference, draws)]
    scaled = np.concatenate([reference[rows[0]], draws[rows[1]]])
    scaled = (scaled - reference.mean(axis=0)) / reference.std(axis=0, ddof=1)
    seeds = rng.integers(0, 2**31 - 1, size=2)
    classifier = MLPClassifier(
        hidden_layer_sizes=(_UNITS_PER_PARAMETER * d,) * 2,
        batch_size=min(200, max(16, n // 10)),  # scikit-learn's 200, fewer where rows are few
        max_iter=max_iterations,
        early_stopping=True,
        n_iter_no_change=patience,
        random_state=int(seeds[0]),
    )
    split = StratifiedKFold(folds, shuffle=True, random_state=int(seeds[1]))
    labels = np.repeat([0, 1], n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the cap on passes is part of the definition
        accuracy: Array = cross_val_score(classifier, scaled, labels, cv=split)
    return accuracy


def effective_sizes(reference: Draws) -> Array | None:
    """Returns the effective sample size per parameter that a reference states, shape (D,), or None.

    Raises:
        DataError: If it states other than one positive number per parameter.
    """
    ess = reference.attrs.get("ess")
    if ess is None:
        return None
    if isinstance(ess, Mapping):
        ess = [ess.get(name, np.nan) for name in reference.names]
    sizes = np.atleast_1d(np.asarray(ess, dtype=float))
    if sizes.shape != (len(reference.names),) or not (sizes > 0).all():
        raise DataError(f"reference: expected a positive ess for each of {list(reference.names)}, got {ess}.")
    return sizes


class TwoSample(Check):
    """Compares draws with those of an exact sampler; has no threshold of its own."""

    name = "two_sample"
    needs = frozenset({"reference"})
    settings_class: ClassVar = TwoSampleSettings
    settings: TwoSampleSettings
    meanings: ClassVar = {
        "c2st": (
            "Accuracy with which a classifier tells draws from those of the exact reference: 5-fold, "
            "scikit-learn's MLPClassifier (10 D, 10 D), z-scored by the reference, up to 2,000 draws each. "
            "Where the exact posterior stands on a grid: 1/2 + TV/2, what the best classifier reaches. 0.5: "
            "no difference seen; 1: disjoint."
        ),
        "c2st_null": "`c2st` between two halves of the reference: what no difference looks like.",
        "reference_coverage": (
            "Part of the exact reference inside the answer's own central interval of level `level`: what that"
            " interval is worth. Of the observation where it is smallest."
        ),
        "reference_width": (
            "Posterior standard deviation divided by that of the reference, of the observation where it is "
            "largest."
        ),
        "mean_shift_sd": "|posterior mean - mean of the reference| in standard deviations of the reference.",
        "sd_ratio": "Posterior standard deviation divided by that of the reference.",
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        reference: Draws = given(inputs.reference, "draws of a reference", self.name)
        theta, exact = unlabelled(draws), unlabelled(reference)
        if tuple(reference.names) != tuple(draws.names):
            raise DataError(
                f"reference: expected parameters {list(draws.names)}, got {list(reference.names)}."
            )
        require_shape("reference", exact, None, *theta.shape[1:])
        if min(len(theta), len(exact) // 2) < 20:
            raise DataError(
                f"check {self.name}: expected at least 20 draws and 40 of the reference, "
                f"got {len(theta)} and {len(exact)}."
            )
        ess, n = effective_sizes(reference), theta.shape[1]
        pairs = [(theta[:, i], exact[:, i]) for i in range(n)]
        accuracies = np.array([self._accuracies(q, p, rng) for q, p in pairs])  # (N, 2, folds)
        moments = Difference(*np.array([difference(q, p, ess) for q, p in pairs]).transpose(1, 0, 2))
        table = self._classified(accuracies, len(theta), exact.shape[0], ess)
        table += self._moved(moments, draws)
        table += _worst(theta, exact, moments, draws.names)
        curves = {
            "mean": theta.mean(axis=(0, 1)),
            "sd": theta.std(axis=0, ddof=1).mean(axis=0),
            "reference_mean": exact.mean(axis=(0, 1)),
            "reference_sd": exact.std(axis=0, ddof=1).mean(axis=0),
            "signed_shift_sd": moments.shift.mean(axis=0),
            "c2st_folds": accuracies[:, 0].mean(axis=0),
            "c2st_null_folds": accuracies[:, 1].mean(axis=0),
        }
        return self._result(draws, table, curves=curves)

    def _accuracies(self, draws: Array, reference: Array, rng: np.random.Generator) -> Array:
        """C2ST per fold of draws against reference, and of one half of the reference against the other."""
        options = self.settings.model_dump(include={"folds", "max_iterations", "patience"})
        half = len(reference) // 2
        pairs = [(reference, draws), (reference[:half], reference[half:])]
        return np.stack(
            [c2st(self._thinned(p, rng), self._thinned(q, rng), rng, **options) for p, q in pairs]
        )

    def _thinned(self, draws: Array, rng: np.random.Generator) -> Array:
        return draws[rng.choice(len(draws), min(len(draws), self.settings.draws), replace=False)]

    def _classified(self, accuracies: Array, s: int, r: int, ess: Array | None) -> list[Metric]:
        """C2ST and its null; the error is the larger of that between folds and the binomial one."""
        table = []
        for i, (name, sides) in enumerate({"c2st": (s, r), "c2st_null": (r // 2, r - r // 2)}.items()):
            value, n = float(accuracies[:, i].mean()), len(accuracies)
            used = min(self.settings.draws, *sides)
            independent = used if ess is None else min(used, float(ess.min()))
            binomial = np.sqrt(max(value * (1 - value), 1 / (4 * used)) / (used + independent))
            between = mean_stderr(accuracies[:, i].reshape(n, -1).T).max()
            stderr = max(binomial, between) / np.sqrt(n)
            table.append(Metric(name, value, float(stderr), 2 * used))
        return table

    def _moved(self, moments: Difference, draws: Draws) -> list[Metric]:
        n = len(draws.draws)
        shift, error = np.abs(moments.shift).mean(axis=0), _pooled(moments.shift_stderr)
        overall = float(np.sqrt((error**2).sum()) / len(error))
        return [
            *per_parameter("mean_shift_sd", shift, error, draws.names, n=n),
            Metric("mean_shift_sd", float(shift.mean()), overall, n),
            *per_parameter(
                "sd_ratio", moments.ratio.mean(axis=0), _pooled(moments.ratio_stderr), draws.names, n=n
            ),
        ]


def _worst(draws: Array, exact: Array, moments: Difference, names: Sequence[str]) -> list[Metric]:
    """What intervals are worth, and how wide they are, in the observation that is worst, per parameter."""
    inside, table = held(draws, exact), []
    error = proportion_stderr(inside.min(axis=0) * len(exact), len(exact))
    for j, name in enumerate(names):
        at = int(inside[:, j].argmin())
        extra = {"observation": at} if len(inside) > 1 else {}
        value, wide = float(inside[at, j]), int(moments.ratio[:, j].argmax())
        table.append(Metric("reference_coverage", value, float(error[j]), len(exact), name, LEVEL, extra))
        widest, its_error = float(moments.ratio[wide, j]), float(moments.ratio_stderr[wide, j])
        table.append(Metric("reference_width", widest, its_error, len(exact), name))
    return table


def _pooled(errors: Array) -> Array:
    """The error of a mean of independent numbers with errors (N, D), shape (D,)."""
    return np.sqrt((errors**2).sum(axis=0)) / len(errors)


def _kurtosis(draws: Array) -> Array:
    """Fourth standardised moment, shape (D,)."""
    centred = draws - draws.mean(axis=0)
    variance = np.maximum((centred**2).mean(axis=0), np.finfo(float).tiny)
    return (centred**4).mean(axis=0) / variance**2
