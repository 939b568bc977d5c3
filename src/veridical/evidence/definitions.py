"""What every metric means, and a glossary for readers new to the field; `docs/metrics.md` is made from it."""

from __future__ import annotations

PAGE = "docs/metrics.md"

METRICS: dict[str, str] = {
    "acauc": (
        "Mean |2u - 1| - 1/2 over data sets, u the fractional rank of the truth among the draws: area "
        "between the diagonal and the coverage curve of central intervals. Above 0: too narrow; below 0: "
        "too wide; range [-0.5, 0.5]."
    ),
    "atypical_share": "Share of the observations whose own typicality p-value lies below `level`.",
    "c2st": (
        "Accuracy with which a classifier tells draws from those of the exact reference: 5-fold, "
        "scikit-learn's MLPClassifier (10 D, 10 D), z-scored by the reference, up to 2,000 draws each. Where "
        "the exact posterior stands on a grid: 1/2 + TV/2, what the best classifier reaches. 0.5: no "
        "difference seen; 1: disjoint."
    ),
    "c2st_null": "`c2st` between two halves of the reference: what no difference looks like.",
    "calibration_error": (
        "Median over 20 levels a in 0.005..0.995 of |share of central intervals of level a that hold the "
        "truth - a|."
    ),
    "contraction": (
        "Median over data sets of 1 - posterior variance / variance of the true parameters, clipped to [0, "
        "1]. 0: the data taught nothing; 1: they pin the parameter down."
    ),
    "coverage": "Share of central intervals of level `level` that hold the truth.",
    "coverage_gap": "Mean of |coverage - a| of central intervals over the levels a = 0.05, 0.10, ..., 0.95.",
    "coverage_gap_z": (
        "Mean over z = 0, 0.01, ..., 3 of |c(z) - ideal|, c the share of pseudo-experiments whose estimate "
        "lies within z standard errors of the truth; column `interval` says which: `total`, `statistical`, "
        "`likelihood_ratio`, `pointwise`. Without `true_value`: mean over true values."
    ),
    "coverage_p": "p-value of all coverage curves staying on the diagonal, Bonferroni-corrected over curves.",
    "ess": "Effective sample size of the exact reference: how many independent draws its chains are worth.",
    "estimate": "Estimate of one number from one observation; its standard error is the total one.",
    "estimate_ratio_error": "The part of its standard error that comes from the trained method.",
    "estimate_statistical_error": "The part of its standard error that comes from the finite observation.",
    "experiment_acauc": "`acauc` over pseudo-experiments.",
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
    "fit_seconds": "Wall time of training.",
    "hpd_area": (
        "Integral of (expected coverage - a) over levels a of highest-density regions. Below 0: "
        "over-confident."
    ),
    "hpd_coverage": "Share of highest-density regions of level `level` that hold the truth.",
    "hpd_coverage_gap": "Mean of |coverage - a| of highest-density regions over a = 0.05, 0.10, ..., 0.95.",
    "invalid_share": "Share of the simulations of a budget that failed or were not finite.",
    "log_gamma": (
        "log(gamma / gamma_bar) of the rank ECDF; below 0 rejects uniform ranks: per parameter at 5 %, "
        "without a parameter for all of them at a family-wise 5 %. The parameter `log_density` stands for "
        "ranks of the density."
    ),
    "lpp": "Mean log posterior density at the true parameters, in the parameters' units. Higher is better.",
    "lpp_quantile": "Quantile `level` over data sets of the log posterior density at the true parameters.",
    "mahalanobis": (
        "Mean Mahalanobis distance of the data's learned summaries from those of the training rows."
    ),
    "mahalanobis_p": (
        "Share of simulated data sets whose summaries lie as far out as those of the data, counting the "
        "data themselves: (1 + #) / (1 + R)."
    ),
    "mean_shift_sd": "|posterior mean - mean of the reference| in standard deviations of the reference.",
    "mmd": (
        "Root of the biased squared maximum mean discrepancy between the whitened summaries of the data and "
        "those of a reference of simulations; kernel summed over 19 scales. Depends on the number of data "
        "sets: compare with its null."
    ),
    "mmd_p": (
        "Share of sets of as many simulated data sets whose `mmd` is as large as that of the data, counting "
        "the data: (1 + #) / (1 + R)."
    ),
    "nltp": "-`lpp`. Lower is better.",
    "nltp_gap": (
        "Mean of log p - log q at the true parameters, p the exact posterior: nats lost against it, paired "
        "by data set. 0 is best."
    ),
    "nominal_cost": (
        "Sum over fidelities of the rows that a run learned from, those of what it builds on included, "
        "times the nominal cost of the fidelity."
    ),
    "nrmse": (
        "Median over draws of the root mean square error of a single draw over data sets, divided by the "
        "range of the true parameters. A calibrated posterior has sqrt(2) times the error of its mean."
    ),
    "posterior_mean": "Mean of the posterior draws for one observation.",
    "posterior_quantile": "Quantile `level` of the posterior draws for one observation.",
    "posterior_sd": "Standard deviation of the posterior draws for one observation.",
    "power": (
        "Share of simulated sets that `mmd_p` rejects at level `level` after a shift by one whitened unit of "
        "their summaries: what the test could have seen at this number of data sets."
    ),
    "predictive_coverage": "Share of the numbers of the data inside their predictive band of level `level`.",
    "predictive_distance": (
        "Median over replicates of the root mean square difference between simulated and observed data, in "
        "units of the spread of the prior predictive."
    ),
    "predictive_invalid_share": "Share of the simulations at posterior draws that failed.",
    "predictive_p": (
        "Share of data simulated from the posterior that lie as far from the predictive median as the data "
        "do, corrected for the number of observations. The data are used twice: small speaks against, large "
        "for nothing."
    ),
    "prior_predictive_distance": (
        "`predictive_distance` of simulations from the prior: the scale to read that on."
    ),
    "rhat": (
        "Rank R-hat of the exact reference over independent ensembles; 1 is perfect, below 1.01 converged."
    ),
    "rmse": "Root mean square error of the posterior mean over data sets, in the parameter's unit.",
    "sample_seconds": "Wall time of the job that draws from the posterior, start of Python included.",
    "sbc_p": "p-value of uniform ranks; without a parameter, Bonferroni-corrected over parameters.",
    "sd_ratio": "Posterior standard deviation divided by that of the reference.",
    "simulation_seconds": (
        "Wall time of the simulations that a run learned from, at the measured rate of their fidelity."
    ),
    "size": (
        "Share of simulated sets that `mmd_p` rejects at level `level` though the simulator made them; near "
        "`level` if the test is right."
    ),
    "summary_mahalanobis_p": (
        "As `mmd_p` for the mean Mahalanobis distance of the data from the reference of simulations."
    ),
    "target_runs": (
        "Rows at the target fidelity, the dearest simulator, that a run learned from, those of what it "
        "builds on included."
    ),
    "tarp_atc": (
        "Area between TARP's coverage curve and the diagonal above level 1/2. Above 0: too wide; below 0: "
        "too narrow or biased."
    ),
    "tarp_p": "Kolmogorov-Smirnov p-value of TARP's credibility levels being uniform.",
    "wasserstein": (
        "Sliced Wasserstein distance of order 2 between draws of the method and of the exact posterior, each "
        "parameter in standard deviations of the exact one; mean over data sets."
    ),
    "wasserstein_null": "`wasserstein` between two halves of the exact draws: what no difference looks like.",
    "z_score": "Median over data sets of (posterior mean - truth) / posterior standard deviation.",
    "z_score_sd": "Standard deviation of that z-score over data sets: 1 where the width is right.",
    "zero_density_share": (
        "Share of data sets whose true parameters have posterior density zero; any makes `lpp` -inf."
    ),
}

GLOSSARY: dict[str, str] = {
    "Simulator": "A program that turns parameter values into made-up data, with randomness.",
    "Prior": (
        "What was thought possible for the parameters before looking at the data: the range that "
        "simulations are drawn from."
    ),
    "Posterior": (
        "What is known about the parameters after looking at the data: a distribution, not one number."
    ),
    "90 % interval": "A range that should hold the true value in 90 of 100 cases like this one.",
    "Median": "The middle of the posterior: the true value is as likely above as below it.",
    "Estimator": "A neural network trained on simulations to give the posterior for any data set at once.",
    "Repeat": (
        "The whole chain done again with other random numbers: new simulations, new network. Repeats show "
        "how much of an answer is luck."
    ),
    "Calibrated": (
        "Saying 90 % and being right in 90 % of cases. Over-confident: right less often than stated."
    ),
    "Coverage": "How often intervals hold the true value, on data for which that is known.",
    "Rank": (
        "How many posterior draws lie below the true value. Over many data sets all ranks should be equally "
        "common."
    ),
    "Band": "What chance alone does to a perfect method. A curve that leaves it is not explained by chance.",
    "Typicality": (
        "Whether the real data look like anything that the simulator makes. If they do not, the network has "
        "to guess."
    ),
    "Posterior predictive": (
        "Data simulated at parameters from the posterior: what the fitted model says the data should look "
        "like."
    ),
    "Exact reference": (
        "The posterior computed by a slow method that is exact, where the simulator's likelihood is known."
    ),
    "C2ST": (
        "How often a classifier can tell two sets of draws apart: 50 % if they are alike, 100 % if they are "
        "not. It sees small differences in many dimensions."
    ),
    "LPP": (
        "Log density that the posterior gives the true parameters, on average over data sets: the higher, "
        "the more is known. A posterior that misses the truth is punished hard, one that is wide a little."
    ),
    "ACAUC": (
        "How far coverage lies from what is stated, over all probabilities, with its sign: 0 is right, "
        "above 0 the intervals are too narrow, below 0 too wide."
    ),
    "Labelled real data": (
        "Real data whose true parameters are known from elsewhere. A few of them can calibrate a method "
        "whose simulator is wrong; others show whether that worked."
    ),
    "Remedy": (
        "A correction of what a wrong simulator does to an answer, learned from labelled real data or "
        "from the data themselves."
    ),
    "Transport plan": (
        "Which simulations stand for which real data, found so that similar ones are matched and all "
        "simulations are used alike: optimal transport."
    ),
    "Effective number": (
        "How many equally weighted simulations an answer built from weighted ones is worth."
    ),
    "MMD": (
        "Maximum mean discrepancy: a distance between two sets of data, here as the network summarises "
        "them. It is compared with that of sets which the simulator made itself."
    ),
    "Standard error": (
        "How far an estimate typically lies from what it estimates. One standard error to either side should "
        "hold the truth in 68 % of cases, two in 95 %."
    ),
    "Nominal cost": (
        "What the simulations behind an answer cost, counted in units of the cheapest simulator that the "
        "task states."
    ),
    "NLTP": (
        "Negative log density that the posterior gives the true parameters, on average. Lower is better; a "
        "gain of 0.7 means that the truth became twice as likely."
    ),
    "R-hat, ESS": (
        "Whether the exact method has run long enough: R-hat should be below 1.01 and the effective sample "
        "size (ESS) above 1,000."
    ),
}


def page() -> str:
    """Returns `docs/metrics.md`."""
    rows = [f"| `{name}` | {text} |" for name, text in sorted(METRICS.items())]
    return "\n".join([_INTRODUCTION, "| metric | definition |", "| --- | --- |", *rows, ""])


_INTRODUCTION = """# Metrics

`metrics.csv` holds one number a row. This page is generated from `src/veridical/report/definitions.py`; one
name has one definition.

Columns: `study`, `task`, `method`, `budget` (training simulations), `seed` (replicate; empty: mean over
replicates, with `stderr` the standard error across them and `n` their number), `dataset` (`simulated`,
`real`, `observed`), `metric`, `parameter` (empty: all parameters together), `value`, `stderr` (Monte Carlo
standard error), `n` (data sets or draws behind the value), `budget_low`, `n_calibration`, `members`, `level`,
`true_value`, `dataset_name` (of observed data), `observation` (its row in the data set), then columns that
only some metrics have. Rows of method `reference` belong to the exact sampler and have no replicates. A check
that ends in a p-value also has `{check}_p` and `{check}_decidable`: 0 where it has too few simulations ever
to reject. Floats are written so that reading gives back every bit.
"""
