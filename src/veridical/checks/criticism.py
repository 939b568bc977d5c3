r"""Which numbers of the data does the simulator not make? Each learned summary, and each value of x.

The n data sets that are judged and M simulated ones form a pool. Each number becomes its normal score in the
pool (`battery.scores`); a number *given the others* is the part of its score that the scores of the others do
not foretell linearly, :math:`(\Lambda z)_j / \sqrt{\Lambda_{jj}}` with the precision :math:`\Lambda` of the
pool: it shows where data break a relation whose parts are each ordinary. Of a set of rows, the mean score and
the logarithm of the mean square, each in units of their spread over sets, tell a shift and another scatter;
the larger one counts (of single rows the score alone). The judged set is compared with random sets of the
pool, single rows with each other one: exchangeable if the simulator is right, so that p-values are exact,
and corrected for all numbers together by Westfall and Young's step-down.

A number stands out with its relatives: what the network makes of one wrong value is spread over summaries.
As for all such tests, data from one corner of the prior look like those of a wrong simulator.

Curves: `summary_p`, `summary_given_p`, `summary_shift`, `summary_spread` (K,): p-values by itself and, where
rows suffice, given the others; mean and, of several data sets, standard deviation of scores. `value_p`,
`value_given_p`, `value_shift`, `value_spread` (*x_shape): the same of x.

References:
    | Resampling-Based Multiple Testing (Westfall & Young, 1993)
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022)
    | https://arxiv.org/abs/2210.06564: which summary is misspecified
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, proportion_stderr
from veridical.checks.battery import scores, standardised, stepped_down
from veridical.checks.classifier import CLIP, ROWS, means, sets_of
from veridical.checks.culprit_words import Arrangement
from veridical.checks.inputs import Array, Inputs, given, sharing, summaries
from veridical.checks.misfit import POWER_90
from veridical.errors import DataError, ShapeError
from veridical.saved.posteriors import Draws
from veridical.sections import Alpha, Count, Section

LEAST = 40  # simulated data sets
TOLD = 10  # numbers that are tabulated, the least p-values first


class CriticismSettings(Section):
    """Which summaries and values of the data does the simulator not make?"""

    alpha: Alpha = Field(default=0.05, description="Level of the p-value of all numbers together.")
    null_sets: Annotated[int, Field(ge=99)] = Field(
        default=999, description="Random sets that a set of several data sets is compared with."
    )
    observations: Count = Field(
        default=200, description="Most data sets judged as one set; of more, so many are chosen at random."
    )
    values: Annotated[int, Field(ge=0)] = Field(
        default=200, description="Most values of x that are judged one by one; of more none is."
    )


class Pool(NamedTuple):
    """Scores of all numbers of the judged rows and the simulated ones.

    Attributes:
        z: Scores, the judged rows first, shape (P, J).
        parts: Columns of each family: `summary` or `value`, by itself (False) or given the others (True).
    """

    z: Array
    parts: Mapping[tuple[str, bool], slice]

    @classmethod
    def of(cls, numbers: Mapping[str, Array]) -> Pool:
        """Returns the pool of families of numbers (P, J) each; given the others where rows suffice."""
        found, parts, first = [], {}, 0
        for name, values in numbers.items():
            z = scores(values)
            families = {False: z} | ({True: given_others(z)} if 1 < z.shape[1] <= len(z) // ROWS else {})
            for given_too, own in families.items():
                parts[name, given_too] = slice(first, first := first + own.shape[1])
                found.append(own)
        return cls(np.concatenate(found, axis=1), parts)


class Criticised(NamedTuple):
    """One summary or value: its p-value, how far it stands out, and what its row of the table says."""

    p: float
    apart: float
    of: str
    extra: Mapping[str, Any]


class Criticism(Check):
    """Tests each summary and each value of a set of data against simulated ones, and names those apart."""

    name = "criticism"
    needs = frozenset({"summary", "null"})
    on_real = True
    settings_class: ClassVar = CriticismSettings
    settings: CriticismSettings
    meanings: ClassVar = {
        "criticism_p": (
            "Share of sets of as many simulated data sets of which some summary or value stands out as much "
            "as of the data; uniform if simulator and prior are right. `level` is that of the check."
        ),
        "criticism_summary_p": (
            "Smallest p-value of a learned summary, by itself or given the others, corrected for all "
            "summaries and values (step-down); `number` says which."
        ),
        "criticism_value_p": "As `criticism_summary_p`, of a value of x.",
        "criticised_p": (
            "As `criticism_summary_p`, of the summary or value that `number` names, at most ten of them; "
            "`shift` and `spread` are mean and standard deviation of its scores, 0 and 1 in simulation."
        ),
        "criticism_detectable": (
            "Shift that data share, in standard deviations of one summary or value, that is found with "
            "probability 0.9 at this number of data sets."
        ),
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        simulated: Draws = given(inputs.null, "draws of simulated test sets", self.name)
        judged, null = (summaries(one, self.name) for one in (draws, simulated))
        if judged.shape[1:] != null.shape[1:]:
            raise ShapeError(
                f"summary: expected as many as in simulation, {null.shape[1]}, got {judged.shape[1]}."
            )
        if np.array_equal(judged, null):
            note = "The data judged are the simulated test sets themselves: there is nothing to tell apart."
            return self._result(draws, [], notes=(note,))
        n = min(len(judged), self.settings.observations)
        rows = np.sort(rng.choice(len(judged), n, replace=False))
        kept = self._kept(draws, simulated, rows)
        numbers, notes = self._numbers(draws, simulated, rows, kept)
        pool = Pool.of(numbers)
        sets = sets_of(n + len(kept), n, self.settings.null_sets, rng)
        apart = standing_out(pool.z, sets)
        if n < len(judged):
            notes.append(f"{n} of {len(judged)} data sets were judged, chosen at random.")
        return self._told(draws, pool, apart, n, inputs.axes, notes)

    def _kept(self, draws: Draws, simulated: Draws, rows: Array) -> Array:
        """Simulated data sets (M,) that share no parameters with those judged."""
        shared = sharing(draws, rows, simulated)
        if (~shared).sum() < LEAST:
            raise DataError(
                f"check {self.name}: expected at least {LEAST} simulated data sets with parameters of their "
                f"own, got {int((~shared).sum())}; raise test_rows."
            )
        return np.flatnonzero(~shared)

    def _numbers(
        self, draws: Draws, simulated: Draws, rows: Array, kept: Array
    ) -> tuple[dict[str, Array], list[str]]:
        """Summaries and values of the pool (P, J) each, and what is to be said of those left out."""

        def pooled(name: str) -> Array:
            pair = [np.asarray(getattr(of, name), dtype=float) for of in (draws, simulated)]
            both = np.concatenate([pair[0][rows], pair[1][kept]])
            return both.reshape(len(both), -1)

        numbers = {"summary": pooled("summary")}
        if draws.x is None or simulated.x is None:
            return numbers, []
        values = int(np.prod(np.shape(draws.x)[1:]))
        if values > self.settings.values:
            told = f"The {values} values of x, more than {self.settings.values}, were not judged one by one."
            return numbers, [told]
        return {**numbers, "value": pooled("x")}, []

    def _told(
        self,
        draws: Draws,
        pool: Pool,
        apart: Array,
        n: int,
        axes: Sequence[Mapping[str, Any]],
        notes: list[str],
    ) -> CheckResult:
        used, alpha = len(apart) - 1, self.settings.alpha
        p_values = stepped_down(apart)
        p = float(p_values.min())

        def p_value(name: str, value: float, **more: Any) -> Metric:
            return Metric(name, value, proportion_stderr(value * (used + 1) - 1, used), n, **more)

        shape = np.shape(draws.x)[1:] if draws.x is not None else ()
        found = _criticised(pool, apart[0], p_values, n, Names(draws.summarisers, Arrangement(shape, axes)))
        table = [p_value("criticism_p", p, level=alpha), _detectable(apart.max(axis=1), alpha, n)]
        for of in dict.fromkeys(of for of, _ in pool.parts):
            first = next(one for one in found if one.of == of)
            extra = {"number": first.extra["number"]}
            table.append(p_value(f"criticism_{of}_p", first.p, extra=extra))
        objected = [one for one in found[:TOLD] if one.p <= alpha]
        table += [p_value("criticised_p", one.p, extra=one.extra) for one in objected or found[:1]]
        decidable = 1 / (used + 1) <= alpha
        if not decidable:
            notes.append(f"{used} sets cannot tell whether p <= {alpha:g}.")
        elif objected:
            named = [f"{one.extra['number']} {one.extra['how']}" for one in objected]
            notes.append("What the simulations lack: " + "; ".join(named) + ".")
        return self._result(
            draws,
            table,
            curves=_curves(pool, p_values, n, shape),
            passed=p > alpha if decidable else None,
            p_value=p,
            notes=tuple(notes),
        )


class Names(NamedTuple):
    """Names of summaries and values: how many networks' summaries there are, and the layout of x."""

    summarisers: int
    layout: Arrangement

    def of(self, family: str, j: int, count: int) -> str:
        """Returns the name of number j of a family of so many."""
        if family == "summary":
            each = count // self.summarisers
            network = f" of network {j // each + 1}" if self.summarisers > 1 else ""
            return f"summary {j % each + 1}{network}"
        return self.layout.value(j)


def given_others(z: Array) -> Array:
    """Returns of scores (P, J) the part that a linear rule of the others does not foretell, with sd 1."""
    clipped = np.clip(z, -CLIP, CLIP)
    precision = np.linalg.inv(np.cov(clipped, rowvar=False) + 1e-6 * np.eye(z.shape[1]))
    return np.asarray(z @ precision / np.sqrt(np.diag(precision)))


def standing_out(z: Array, sets: Array) -> Array:
    """How far each set (S, n) of a pool's scores (P, J) stands out in each number, shape (S, J)."""
    level = np.abs(standardised(means(z, sets)))
    if sets.shape[1] == 1:
        return level
    return np.maximum(level, np.abs(standardised(np.log(means(z**2, sets) + 1e-12))))


def _criticised(pool: Pool, apart: Array, p: Array, n: int, names: Names) -> list[Criticised]:
    """Each summary and value at its smaller p-value, those that stand out most first."""
    found = []
    for (of, _), part in ((key, s) for key, s in pool.parts.items() if not key[1]):
        for j in range(part.stop - part.start):
            columns = {key[1]: s.start + j for key, s in pool.parts.items() if key[0] == of}
            given_too = min(columns, key=lambda own: p[columns[own]])
            at = columns[given_too]
            z = pool.z[:n, at]
            shift, spread = float(z.mean()), float(z.std()) if n > 1 else None
            how = _how(shift, spread, n) + (", given the others" if given_too else "")
            extra = {"number": names.of(of, j, part.stop - part.start), "how": how, "shift": shift}
            extra |= {} if spread is None else {"spread": spread}
            found.append(Criticised(float(p[at]), float(apart[at]), of, extra))
    return sorted(found, key=lambda one: (one.p, -one.apart))


def _how(shift: float, spread: float | None, n: int) -> str:
    """In words, whichever of shift and spread is farther from what is simulated."""
    if spread is None or abs(shift) >= np.sqrt(2) * abs(np.log(max(spread, 1e-6))):
        return f"lies too {'high' if shift > 0 else 'low'}"
    return f"scatters too {'much' if spread > 1 else 'little'}"


def _detectable(maximum: Array, alpha: float, n: int) -> Metric:
    """The shift of a mean of n that stands out at a level with probability 0.9, with its error."""
    error = np.sqrt(alpha * (1 - alpha) / len(maximum))
    levels = np.clip(1 - alpha + error * np.array([-1, 0, 1]), 0, 1)
    low, at, high = np.quantile(maximum, levels) / np.sqrt(n)
    shift = float(at + POWER_90 / np.sqrt(n))
    return Metric("criticism_detectable", shift, float((high - low) / 2), n)


def _curves(pool: Pool, p: Array, n: int, shape: tuple[int, ...]) -> dict[str, Array]:
    """P-values, shifts and spreads of all numbers, those of values in the shape of x."""
    found = {}
    for (of, given_too), part in pool.parts.items():
        like = shape if of == "value" else (-1,)
        found[f"{of}_given_p" if given_too else f"{of}_p"] = p[part].reshape(like)
        if not given_too:
            z = pool.z[:n, part]
            found[f"{of}_shift"] = z.mean(axis=0).reshape(like)
            if n > 1:
                found[f"{of}_spread"] = z.std(axis=0).reshape(like)
    return found
