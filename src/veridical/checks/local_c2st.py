r"""Can a classifier tell draws of the method from the truth, for data simulated near the observation?

Class 1 are parameters drawn around the answer, class 0 members drawn by weight from the pool of each of them
and the method's draws given its data (see `nearby`): exchangeable if the method gives the posterior there.
Each value enters as normal scores of its places in its pool, parameter by parameter, with their squares and
products: centres, widths and correlations in units of the method's own answer. A logistic classifier with a
ridge is fitted by Newton's method with the bound X'X / 4 in place of the Hessian, which all labellings share.

.. math:: T = \mathrm{mean}_{\text{class } 0} (c_0 - \tfrac12)^2

Its null is exact: the same after the two classes have been swapped at random within each data set.

Curves: `statistics`, `p_values` (N,), one per observation; `null` (N, H).

References:
    | L-C2ST: Local Diagnostics for Posterior Approximations in Simulation-Based Inference (Linhart, 2023)
    | https://arxiv.org/abs/2306.03580
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from veridical.checks import nearby
from veridical.checks.base import Check, CheckResult, Metric, monte_carlo_p, proportion_stderr
from veridical.checks.inputs import Array, Inputs, given
from veridical.checks.nearby import Neighbours
from veridical.errors import require_shape
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Positive, Section

_STEPS = 25


class LocalC2STSettings(Section):
    """Can a classifier tell the draws from the truth, for data simulated near the observation?"""

    alpha: Alpha = Field(default=0.01, description="Family-wise level over observations.")
    permutations: Annotated[int, Field(ge=99)] = Field(
        default=499, description="Labellings behind the null distribution."
    )
    ridge: Positive = Field(default=1.0, description="Penalty on the squared coefficients.")


def scores(around: Neighbours, place: Array) -> Array:
    """Returns normal scores of a member of each pool among all its members, shape (M, D).

    Arguments:
        around: The pools.
        place: Which member, shape (M,).
    """
    from scipy.special import ndtri

    pool = around.pool
    value = pool[place, np.arange(pool.shape[1])]
    below, equal = (pool < value).sum(axis=0), (pool == value).sum(axis=0)
    return np.asarray(ndtri((below + 0.5 * equal) / len(pool)))


def statistics(pairs: Array, labels: Array, ridge: float) -> Array:
    """Returns T of several labellings of pairs of values.

    Arguments:
        pairs: Both values of each data set, shape (2, M, D).
        labels: Which of the two is of class 0, in each labelling: 0 or 1, shape (M, H).
        ridge: Penalty on the squared coefficients.

    Returns:
        Shape (H,).
    """
    require_shape("pairs", pairs, 2, None, None)
    m = pairs.shape[1]
    x = _features(pairs.reshape(2 * m, -1))
    y = np.concatenate([labels == 0, labels == 1]).astype(float)
    penalty = ridge * np.arange(x.shape[1]).astype(bool)  # not on the constant
    inverse = np.linalg.inv(x.T @ x / 4 + np.diag(penalty))
    beta = np.zeros((x.shape[1], y.shape[1]))
    for _ in range(_STEPS):
        beta += inverse @ (x.T @ (y - _logistic(x @ beta)) - penalty[:, None] * beta)
    return np.asarray((y * (_logistic(x @ beta) - 0.5) ** 2).sum(axis=0) / m)


def _features(z: Array) -> Array:
    """A constant, z (R, D), its squares and products; standardised."""
    first, second = np.triu_indices(z.shape[1])
    f = np.concatenate([z, z[:, first] * z[:, second]], axis=1)
    f = (f - f.mean(axis=0)) / np.maximum(f.std(axis=0), 1e-12)
    return np.concatenate([np.ones((len(f), 1)), f], axis=1)


def _logistic(value: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * value))


class LocalC2ST(Check):
    """Tells draws of the method from parameters simulated at, near the observation."""

    name = "local_c2st"
    needs = frozenset({"observed", "nearby"})
    settings_class: ClassVar = LocalC2STSettings
    settings: LocalC2STSettings
    meanings: ClassVar = {
        "local_c2st": (
            "Mean of (c - 1/2)^2 over draws of the method for data simulated near the observation, c the "
            "probability that a classifier gives to their being its draws; of the observation with the "
            "smallest p-value."
        ),
        "local_c2st_null": "Mean of `local_c2st` after swapping at random what the classifier tells apart.",
        "local_c2st_p": (
            "Share of random swaps with as large a `local_c2st`; of the observation where it is smallest, "
            "corrected for their number."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        arrays = given(inputs.nearby, "simulations near the observation", self.name)
        around = nearby.by_observation(arrays, len(draws.names))
        if note := nearby.too_few(around):
            return self._result(draws, [], notes=(note,))
        found = np.array([self._statistics(one, rng) for one in around])  # (N, 1 + H)
        observed, null = found[:, 0], found[:, 1:]
        p_values = np.array([monte_carlo_p(t, t_null) for t, t_null in zip(observed, null, strict=True)])
        worst, h, alpha = int(p_values.argmin()), self.settings.permutations, self.settings.alpha
        p, rows = nearby.family(p_values), around[worst].pool.shape[1]
        spread = float(null[worst].std(ddof=1))
        p_error = len(around) * proportion_stderr(p_values[worst] * (h + 1) - 1, h)
        table = [
            Metric("local_c2st_p", p, p_error, rows),
            Metric("local_c2st", float(observed[worst]), spread, rows),
            Metric("local_c2st_null", float(null[worst].mean()), spread / np.sqrt(h), rows),
        ]
        decidable = len(around) / (h + 1) <= alpha
        note = f"{h} swaps for {len(around)} observations cannot tell whether p <= {alpha:g}."
        return self._result(
            draws,
            table,
            curves={"statistics": observed, "p_values": p_values, "null": null},
            passed=p > alpha if decidable else None,
            p_value=p,
            notes=() if decidable else (note,),
        )

    def _statistics(self, around: Neighbours, rng: np.random.Generator) -> Array:
        """The statistic of the classes as they are, then of those swapped at random; shape (1 + H,)."""
        m = around.pool.shape[1]
        pairs = np.stack([scores(around, around.resampled(rng)), scores(around, np.zeros(m, dtype=int))])
        swaps = rng.integers(0, 2, size=(m, self.settings.permutations))
        labels = np.concatenate([np.zeros((m, 1), dtype=int), swaps], axis=1)
        return statistics(pairs, labels, self.settings.ridge)
