r"""Calibration near the observation: ranks of parameters drawn around the answer, reweighted.

Simulated test sets from all of the prior hardly ever lie near the observation. Here parameters come from
around the answer instead, and the draws of the method given the data simulated at them are reweighted
accordingly (see `nearby`): the ranks are exactly uniform if the method gives the posterior *there*, whatever
the weights. They are tested per parameter, and for the log weight, which is how near a parameter lies to the
centre of the answer and sees wrong widths in many parameters at once.

Where weights fail the test has no power rather than a wrong level. Two gates say so, and then nothing found
is not a pass: the number of draws that the reweighted ones are worth, and a control in which a draw resampled
by weight from one half of the draws takes the place of the parameters and is ranked among the other half.

Curves, of the observation that fits worst: `grid` (K,), `ecdf` (D, K), `ecdf_log_weight` (K,), `lower`,
`upper` (K,), the band at the family-wise level; `p_values`, `control_p`, `effective`, `widening` (N,).

References:
    | Posterior SBC (Säilynoja et al., 2025), https://arxiv.org/abs/2502.03279
    | Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018)
    | https://arxiv.org/abs/1804.06788
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks import nearby
from veridical.checks.base import Check, CheckResult, Metric, mean_stderr, per_parameter, proportion_stderr
from veridical.checks.inputs import Array, Inputs, given
from veridical.checks.nearby import Neighbours
from veridical.checks.sbc import Uniformity, uniform
from veridical.checks.uniformity import LEVELS
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Section

LEAST_EFFECTIVE = 10.0
LEVEL = 0.9  # of the intervals whose coverage is tabulated: how much a fault matters


class LocalRanksSettings(Section):
    """Are ranks uniform for data simulated near the observation?"""

    alpha: Alpha = Field(default=0.01, description="Family-wise level over parameters and observations.")
    simulations: Annotated[int, Field(ge=100, le=100_000)] = Field(
        default=800,
        description="Most simulations around the answers to a data set: 400 for each observation at most, "
        "for as many of the first observations as get 100 each. `local_c2st` looks at the same ones.",
    )
    draws: Annotated[int, Field(ge=100)] = Field(
        default=1_000, description="Posterior draws for each of these simulations."
    )
    null_draws: Annotated[int, Field(ge=999)] = Field(
        default=9_999, description="Uniform samples behind the null distribution of gamma."
    )


class Ranked(NamedTuple):
    """The ranks around one observation.

    Attributes:
        test: Of the ranks of each parameter and of the log weight.
        held: How many parameters lie inside the central 90 % of their reweighted draws, shape (D,).
        control_p: p-value of the control, which should be uniform if the weights work.
        effective: How many draws the reweighted ones of a data set are worth, shape (M,).
    """

    test: Uniformity
    held: Array
    control_p: float
    effective: Array


class LocalRanks(Check):
    """Tests reweighted ranks near the observation for uniformity."""

    name = "local_ranks"
    needs = frozenset({"observed", "nearby"})
    settings_class: ClassVar = LocalRanksSettings
    settings: LocalRanksSettings
    meanings: ClassVar = {
        "local_ranks_p": (
            "p-value of uniform ranks for data simulated near the observation; of the observation where it "
            "is smallest, corrected for their number, without a parameter for that of parameters as well."
        ),
        "local_coverage": (
            "Share of the parameters simulated at, near the observation, inside the central interval of "
            "level `level` of their reweighted draws; of the observation where it is farthest off."
        ),
        "local_control_p": (
            "The same for draws of the method in place of the parameters simulated at: small where weights "
            "are too uneven for the test of `local_ranks_p` to find anything."
        ),
        "local_effective": (
            "Mean number of draws that the reweighted ones near the observation are worth; of the "
            "observation where it is smallest."
        ),
        "local_invalid_share": "Share of the simulations near the observation that failed.",
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        arrays: Mapping[str, Array] = given(inputs.nearby, "simulations near the observation", self.name)
        around = nearby.by_observation(arrays, len(draws.names))
        failed = int(np.sum(arrays["failed"]))
        total = failed + sum(one.pool.shape[1] for one in around)
        table = [Metric("local_invalid_share", failed / total, proportion_stderr(failed, total), total)]
        if note := nearby.too_few(around):
            return self._result(draws, table, notes=(note,))
        ranked = [self._ranked(one, rng) for one in around]
        p_values = np.array([one.test.family_p for one in ranked])
        control = np.array([one.control_p for one in ranked])
        effective = np.array([one.effective.mean() for one in ranked])
        worst = ranked[int(p_values.argmin())]
        table += self._metrics(ranked, draws)
        band = worst.test.band
        curves = {
            "grid": band.grid,
            "ecdf": worst.test.ecdf[:-1],
            "ecdf_log_weight": worst.test.ecdf[-1],
            "lower": band.lower,
            "upper": band.upper,
            "p_values": p_values,
            "control_p": control,
            "effective": effective,
            "widening": np.asarray(arrays["widening"], dtype=float),
        }
        p, alpha = nearby.family(p_values), self.settings.alpha
        mute = nearby.family(control) <= alpha or effective.min() < LEAST_EFFECTIVE
        notes = [f"around {len(around)} of {draws.draws.shape[1]} observations"]
        if mute:
            notes.append("Reweighted draws are too few for the ranks near the observation to find a fault.")
        passed = False if p <= alpha else None if mute else True
        return self._result(draws, table, curves=curves, passed=passed, p_value=p, notes=tuple(notes))

    def _ranked(self, around: Neighbours, rng: np.random.Generator) -> Ranked:
        """Tests the ranks around one observation, and those of the control."""
        half = (len(around.pool) - 1) // 2
        first, second = slice(1, 1 + half), slice(1 + half, None)
        columns = np.arange(around.pool.shape[1])
        place = 1 + nearby.drawn(nearby.normalised(around.log_weight[first]), rng)
        control = Neighbours(
            np.concatenate([around.pool[place, columns][None], around.pool[second]]),
            np.concatenate([around.log_weight[place, columns][None], around.log_weight[second]]),
        )
        u = self._ranks(around, rng)
        held = (np.abs(2 * u[:, :-1] - 1) <= LEVEL).sum(axis=0)
        control_p = self._test(self._ranks(control, rng)).family_p
        return Ranked(self._test(u), held, control_p, around.effective)

    def _ranks(self, around: Neighbours, rng: np.random.Generator) -> Array:
        """Weighted ranks of the parameters and of their log weight, shape (M, D + 1)."""
        return around.ranks(np.concatenate([around.pool, around.log_weight[..., None]], axis=-1), rng)

    def _test(self, u: Array) -> Uniformity:
        return uniform(u, LEVELS, self.settings.alpha, self.settings.null_draws)

    def _metrics(self, ranked: list[Ranked], draws: Draws) -> list[Metric]:
        n, rows = len(ranked), min(len(one.effective) for one in ranked)
        each = np.minimum(1.0, n * np.min([one.test.p[:-1] for one in ranked], axis=0))
        errors = np.sqrt(each * (1 - each) / self.settings.null_draws)
        table = per_parameter("local_ranks_p", each, errors, draws.names, n=rows)
        for j, name in enumerate(draws.names):
            shares = [(int(one.held[j]), len(one.effective)) for one in ranked]
            held, of = max(shares, key=lambda share: abs(share[0] / share[1] - LEVEL))
            table.append(Metric("local_coverage", held / of, proportion_stderr(held, of), of, name, LEVEL))
        for name, p_values in {
            "local_ranks_p": [one.test.family_p for one in ranked],
            "local_control_p": [one.control_p for one in ranked],
        }.items():
            table.append(Metric(name, nearby.family(np.array(p_values)), None, rows))
        least = min((one.effective for one in ranked), key=np.mean)
        table.append(Metric("local_effective", float(least.mean()), float(mean_stderr(least)), rows))
        return table
