"""What every metric means, and a glossary for readers new to the field; `docs/metrics.md` is made from it.

What a check measures it explains itself (`Check.meanings`); here stand the numbers that jobs leave.
"""

from __future__ import annotations

from veridical.checks import CHECKS, check_class
from veridical.checks.experiments import MEANINGS

PAGE = "docs/metrics.md"

_OF_JOBS = {
    "correction_k": (
        "Tail index of the weights by which the draws for one observation are picked, of remedy `importance` "
        "or of a likelihood with `sampling: {by: importance}`; from 0.7 on it is refused, unless half of the "
        "candidates count."
    ),
    "correction_share": "Share of its candidates for one observation that count under these weights.",
    "ess": (
        "Effective sample size of the exact reference, or of a method that draws by chains or weights: how "
        "many independent draws they are worth; the least of the observations shown."
    ),
    "estimate": "Estimate of one number from one observation; its standard error is the total one.",
    "estimate_alarms": (
        "Number of things that a method says itself against its estimate from one observation, which are in "
        "`category`."
    ),
    "estimate_fit_p": (
        "p-value of one observation as a mixture of the classes: the probability of a worse fit if it is one."
    ),
    "estimate_prior": "1 where an estimate rests on a prior: the mean of a posterior.",
    "estimate_ratio_error": "The part of its standard error that comes from the trained method.",
    "estimate_statistical_error": "The part of its standard error that comes from the finite observation.",
    "estimate_variance_share": (
        "Share of the variance (the squared standard error) of an estimate that comes from one source, "
        "`category`: `sample` (the finite observation), `ratio` (the learned density ratios), `reference` "
        "and `penalty` (finite simulated samples). Of each estimate they add up to 1; what a ridge decides "
        "is a bias and has no share."
    ),
    "fit_seconds": "Wall time of training.",
    "invalid_share": "Share of the simulations of a budget that failed or were not finite.",
    "leakage": (
        "Share of the answer to one observation that lies outside the region in which its last round has "
        "learned; it is cut off."
    ),
    "nominal_cost": (
        "Sum over fidelities of the rows that a run learned from, those of what it builds on included, "
        "times the nominal cost of the fidelity."
    ),
    "objections": (
        "Number of things that a method says itself against what it has learned, which are in `category`; "
        "left out where there are none."
    ),
    "posterior_mean": "Mean of the posterior draws for one observation.",
    "posterior_mixture_quantile": (
        "Quantile `level` of the draws of all replicates together, each of the same weight: the answer that "
        "the report gives where a study is repeated."
    ),
    "posterior_probability": (
        "Share of the posterior draws for one observation at the value `level` of a discrete parameter "
        "(`category`: its name, where it has one); of many values the 20 most frequent."
    ),
    "posterior_quantile": "Quantile `level` of the posterior draws for one observation.",
    "posterior_sd": "Standard deviation of the posterior draws for one observation.",
    "refused_share": "Share of the observations of a data set that a method refuses to answer.",
    "region_mass": "Prior mass of the region in which the answer to one observation, after all rounds, lies.",
    "rhat": (
        "Rank R-hat over independent ensembles, of the exact reference or of a method that draws by chains; "
        "1 is perfect; a reference has converged below 1.01, and an answer from 1.05 on is not one; the "
        "largest of the observations shown."
    ),
    "round_shift": (
        "How far the last round moved the mean of the answer to one observation, in standard deviations of "
        "the round before; the largest of all parameters."
    ),
    "round_spread": "By what share it changed a standard deviation; the largest of all parameters.",
    "sample_seconds": "Wall time of the job that draws from the posterior, start of Python included.",
    "scanned_members": (
        "Number of networks of the ensemble behind a method, where methods of one study differ in that "
        "alone; `category`: the first of them."
    ),
    "scanned_ridge": "Strength of the ridge of a method, likewise.",
    "scanned_simulators": (
        "Place of a method among those of one study that differ in the simulators alone that they learned "
        "from, as many of each class; `category`: the first of them."
    ),
    "scanned_templates": "Number of simulators of each class that a method mixes, likewise.",
    "scanned_topics": "Number of topics of each class of a method, likewise.",
    "simulation_seconds": (
        "Wall time of the simulations that a run learned from, at the measured rate of their fidelity."
    ),
    "target_runs": (
        "Rows at the target fidelity, the dearest simulator, that a run learned from, those of what it "
        "builds on included."
    ),
}

METRICS: dict[str, str] = {
    **_OF_JOBS,
    **MEANINGS,
    **{metric: text for name in CHECKS for metric, text in check_class(name).meanings.items()},
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

`metrics.csv` holds one number a row. This page is generated from what checks say of their metrics and
from `src/veridical/evidence/definitions.py`; one name has one definition.

Columns: `study`, `task`, `method`, `budget` (training simulations), `seed` (replicate; empty: mean over
replicates, with `stderr` its error over the test rows that they share and across them, and `n` their
number), `dataset` (`simulated`, `real`, `observed`), `metric`, `parameter` (empty: all parameters together),
`value`, `stderr` (Monte Carlo standard error), `n` (data sets or draws behind the value), `budget_low`,
`n_calibration`, `members`, `level`, `true_value`, `dataset_name` (of observed data), `observation` (its row
in the data set), then columns that only some metrics have. Rows of method `reference` belong to the exact
sampler and have no replicates. A check that ends in a p-value also has `{check}_p` and `{check}_decidable`: 0
where it has too few simulations ever to reject. Floats are written so that reading gives back every bit.
"""
