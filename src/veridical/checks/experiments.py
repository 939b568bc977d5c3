"""Coverage studies: many pseudo-experiments with known truth, in batches, added up without holding them.

Estimates are judged by `veridical.checks.experiment_estimates`, posteriors by
`veridical.checks.experiment_posteriors`; what both share is in `veridical.checks.experiment_sums`.

Curves: of estimates `z`, `ideal`, `lower`, `upper` (301,), `true_values` (V,); `total`, `statistical`,
`likelihood_ratio` (V, 301), `pointwise` (301,); `residual_` of each but `z`, minus the ideal; the first
experiments as `example_value`, `example_statistical`, `example_total` (n, V). Of posteriors `levels`,
`lower`, `upper`, `hpd` (K,), `central` (D, K); `residual_` of each but `levels`, minus the level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.bank.shards import PathLike
from veridical.checks import experiment_estimates, experiment_posteriors
from veridical.checks.base import CheckResult
from veridical.checks.experiment_sums import Groups, Options


def aggregate(
    paths: Sequence[PathLike],
    rng: np.random.Generator,
    names: Sequence[str] = (),
    options: Options | None = None,
) -> CheckResult:
    """Returns the coverage of all experiments in some batches of one kind.

    Arguments:
        paths: The batches; their order decides nothing but the examples and the last bits of sums.
        rng: Resamples for the errors of the gaps.
        names: Names of the parameters: the D of posteriors, the one of estimates.
        options: How they are judged.

    Raises:
        ArtifactError: If batches are missing, damaged, or do not belong together.
        ShapeError: If there are other than D names.
    """
    options = options or Options()
    groups = Groups(paths)
    kind = experiment_posteriors if "rank" in groups.first else experiment_estimates
    return kind.coverage(groups, tuple(names), rng, options)


MEANINGS = {
    "coverage_gap_z": (
        "Mean over z = 0, 0.01, ..., 3 of |c(z) - ideal|, c the share of pseudo-experiments whose estimate "
        "lies within z standard errors of the truth; column `interval` says which: `total`, `statistical`, "
        "`likelihood_ratio`, `pointwise`. Without `true_value` or parameter: mean over them."
    ),
    "experiment_acauc": "`acauc` over pseudo-experiments.",
    "experiment_alarm_share": (
        "Share of pseudo-experiments in which the method itself says that its answer is not to be trusted."
    ),
    "experiment_bias": "Mean of (estimate - truth) over pseudo-experiments.",
    "experiment_coverage": (
        "Share of pseudo-experiments whose interval of level `level` holds the truth; of estimates by column "
        "`interval` as in `coverage_gap_z`, of posteriors central intervals."
    ),
    "experiment_coverage_gap": "`coverage_gap` over pseudo-experiments.",
    "experiment_failed_share": (
        "Share of pseudo-experiments without a finite answer; estimates that failed count as missed by every "
        "interval."
    ),
    "experiment_hpd_area": "`hpd_area` over pseudo-experiments.",
    "experiment_hpd_coverage": "`hpd_coverage` over pseudo-experiments.",
    "experiment_hpd_coverage_gap": "`hpd_coverage_gap` over pseudo-experiments.",
    "experiment_lpp": "`lpp` over pseudo-experiments.",
    "experiment_pull_mean": (
        "Mean over pseudo-experiments of the pull, (estimate - truth) / its stated error; 0 is right."
    ),
    "experiment_pull_sd": (
        "Standard deviation of the pull over pseudo-experiments; 1 is right, more means that stated errors "
        "are too small."
    ),
    "experiment_sd": "Standard deviation of the estimate over pseudo-experiments.",
    "experiment_sigma": (
        "Mean stated standard error over pseudo-experiments, to be compared with `experiment_sd`; column "
        "`interval` says which part: `statistical`, `ratio` (from the density ratio), `total`."
    ),
    "experiment_zero_density_share": "`zero_density_share` over pseudo-experiments.",
    "experiments_p": (
        "p-value of all coverage curves of pseudo-experiments being ideal (of estimates: with the total "
        "error), Bonferroni-corrected over curves."
    ),
}
