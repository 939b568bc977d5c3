r"""Which named distortion would make the observations what the fitted simulator predicts?

For each distortion of `distortion_bank` the gain in log-likelihood at its best amplitude is computed, alike
for each row of a *pool*: the observation and the replicates simulated at one draw of the answer. With an
exact answer these are exchangeable (see `battery`), whatever the residuals' law, so that

- *p*: each distortion's best penalised gain is ranked in the pool (normal scores, beyond the central 95 % by
  distance), the largest score over distortions is M, and p is the share of rows with M at least that of the
  observation. It is exact at one draw; several are combined by Cauchy's rule, and of several observations
  both what they share (scores added up) and each by itself are tested, at half the level each.
- *p of each distortion and of each value*: the same by Westfall and Young's step-down, corrected for the
  number of distortions, or of values.
- *Ranking*: by penalised gain, not by p. A large offset inflates the noise too, and both have p as small as
  replicates allow; but what explains the residuals best gains most.

A distortion that the parameters can imitate is absorbed by the answer and not seen. A name is a description
of the residuals, no proof of a cause.

Curves: `gain` (J,), penalised, of what observations share, with `gain_null` (J,), its 95 % point among
replicates; `distortion_p` (J,); `value_p` (N, *x_shape); `member_p` (N,).

References:
    | Rao, 1948: Large sample tests of statistical hypotheses
    | Resampling-Based Multiple Testing (Westfall & Young, 1993)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from veridical.checks.base import Check, CheckResult, Metric, proportion_stderr
from veridical.checks.battery import combined, scores, share_beyond, stepped_down
from veridical.checks.culprit_words import Arrangement
from veridical.checks.distortion_bank import (
    DISTORTIONS,
    Candidate,
    Residuals,
    Scored,
    candidates,
    noise_gain,
    penalty,
)
from veridical.checks.inputs import Array, Inputs, given
from veridical.errors import DataError, require_shape
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
from veridical.sections import Alpha, Section
from veridical.tasks.base import usable

MIN_REPLICATES = 40
NAMES = tuple(DISTORTIONS)


class DistortionsSettings(Section):
    """Which named distortion of the data would the fitted simulator need?"""

    alpha: Alpha = Field(default=0.03, description="Level of the p-value of all distortions together.")


class Best(NamedTuple):
    """The best candidate of each distortion at one draw of the answer.

    Attributes:
        gain: Penalised gains of each row, shape (P, J); -inf of distortions without a candidate.
        at: Where the best candidate of the first row lies, for each distortion.
        sign: Sign of its first amplitude; of noise, of the excess.
    """

    gain: Array
    at: tuple[tuple[int, ...], ...]
    sign: Array


class Member(NamedTuple):
    """Residuals of the pool of one observation, with scores of each family's candidates."""

    residuals: Residuals
    scored: dict[str, list[Scored]]
    where: dict[str, list[Candidate]]


def member(pool: Array, *, ordered: bool) -> Member:
    """Returns residuals and scores of a pool (P, n, C), the observation in its first row."""
    residuals = Residuals.of(pool)
    where = {
        name: candidates(name, residuals.predicted, ordered=ordered) for name in NAMES if name != "noise"
    }
    return Member(residuals, {k: [residuals.scored(c) for c in each] for k, each in where.items()}, where)


def best(members: Sequence[Member]) -> Best:
    """Returns the best candidate of each distortion for amplitudes that all members share."""
    columns: list[Array] = []
    places: list[tuple[int, ...]] = []
    signs: list[float] = []
    values = members[0].residuals.r.shape[1]
    for name in NAMES:
        if name == "noise":
            squares = np.mean([one.residuals.squares() for one in members], axis=0)
            squares = squares / np.median(squares)
            columns.append(noise_gain(squares, values * len(members)) - penalty(1, 1, values))
            places.append(())
            signs.append(float(np.sign(squares[0] - 1)))
            continue
        gains, first = _gains(name, members, values)
        chosen = int(np.argmax(gains[:, 0])) if len(gains) else 0
        columns.append(gains.max(axis=0) if len(gains) else np.full(len(members[0].residuals.r), -np.inf))
        places.append(members[0].where[name][chosen].at if len(gains) else ())
        signs.append(float(np.sign(first[chosen])) if len(gains) else 0.0)
    return Best(np.stack(columns, axis=1), tuple(places), np.asarray(signs, dtype=float))


def _gains(name: str, members: Sequence[Member], values: int) -> tuple[Array, Array]:
    """Penalised gains (K, P) of the candidates that all members have, and first amplitudes of row 0 (K,)."""
    count = min(len(one.where[name]) for one in members)
    total = values * np.sum([one.residuals.squares() for one in members], axis=0)
    gains, first = [], []
    for k in range(count):
        parts = [one.scored[name][k] for one in members]
        score = np.sum([part.score for part in parts], axis=0)
        information = np.sum([part.information for part in parts], axis=0)
        gain = free_scale(Scored(score, information).gain(), total, values * len(members))
        gains.append(gain - penalty(score.shape[1], count, values))
        first.append(score[0, 0])
    return np.array(gains), np.array(first)


def free_scale(gain: Array, total: Array, values: int) -> Array:
    r"""Returns gains where the scale of the residuals may be free, :math:`\tfrac d2 \log Q / (Q - 2 G)`.

    An answer with a free noise makes room in it for a fault, whose gain G in the units of that noise is
    small; as a part of the sum of squares Q it is not. The larger of both counts.

    Arguments:
        gain: Gains G at the predicted scale, shape (P,).
        total: Sums of squares Q, shape (P,).
        values: The number of values d.
    """
    left = np.maximum(total - 2 * gain, 1e-3 * np.maximum(total, 1e-12))
    return np.maximum(gain, 0.5 * values * np.log(np.maximum(total, 1e-12) / left))


def maximum(gain: Array) -> Array:
    """Returns the largest score over distortions of penalised gains (P, J), shape (P,)."""
    there = np.isfinite(gain).all(axis=0)
    return np.asarray(scores(gain[:, there]).max(axis=1))


class Distortions(Check):
    """Tests named distortions of the data against data simulated at the answer, and ranks them."""

    name = "distortions"
    needs = frozenset({"observed", "predictive"})
    settings_class: ClassVar = DistortionsSettings
    settings: DistortionsSettings
    meanings: ClassVar = {
        "distortion_p": (
            "Share of replicates, simulated at one draw of the answer, that some named distortion would "
            "explain as well as it does the data; several draws and observations combined. Uniform if "
            "simulator and answer are right. `level` is that of the check."
        ),
        "distortion_gain": (
            "Gain in log-likelihood, minus the price of its amplitudes and places, by the distortion that "
            "fits best; `distortion` says which, in words."
        ),
        "distortion_value_p": (
            "Smallest p-value of a single number of the data against replicates, corrected for how many "
            "there are (step-down); `value` says which."
        ),
        **{
            f"distortion_{name}_p": (
                f"`distortion_p` of {text} alone, corrected for the number of distortions (step-down)."
            )
            for name, text in DISTORTIONS.items()
        },
    }

    def _judge(self, draws: Draws, rng: np.random.Generator, inputs: Inputs) -> CheckResult:
        x = np.asarray(given(draws.x, "the observed data", self.name), dtype=float)
        found: Predictions = given(inputs.predictive, "data simulated at the draws", self.name)
        require_shape("predictions", found.replicates, None, None, *x.shape)
        layout = Arrangement(x.shape[1:], found.axes)
        pools = [[_pool(x[i], at[:, i], layout) for i in range(len(x))] for at in found.replicates]
        rows = min(len(pool) for each in pools for pool in each) if pools else 0
        if rows <= MIN_REPLICATES:
            note = f"{max(rows - 1, 0)} valid predictions are too few to judge; {MIN_REPLICATES} are needed."
            empty = Metric("distortion_gain", 0.0, 0.0, len(x), extra={"distortion": ""})
            return self._result(draws, [empty], notes=(note,))
        ordered = layout.series is not None
        at_draws = [[member(pool[:rows], ordered=ordered) for pool in each] for each in pools]
        return self._told(draws, x, layout, at_draws)

    def _told(self, draws: Draws, x: Array, layout: Arrangement, at_draws: list[list[Member]]) -> CheckResult:
        n, used, alpha = len(x), len(at_draws[0][0].residuals.r) - 1, self.settings.alpha
        shared = [best(each) for each in at_draws]
        set_p = float(combined(np.array([share_beyond(maximum(one.gain)) for one in shared])))
        member_p = np.array([set_p])
        if n > 1:
            own = [np.stack([maximum(best([one]).gain) for one in each], axis=1) for each in at_draws]
            member_p = np.asarray(combined(np.array([stepped_down(m) for m in own])))
        p = set_p if n == 1 else min(1.0, 2 * min(set_p, float(member_p.min())))
        each_p = np.asarray(combined(np.array([_by_distortion(one.gain) for one in shared])))
        values = [[stepped_down(np.abs(one.residuals.r)) for one in each] for each in at_draws]
        value_p = np.minimum(np.asarray(combined(np.array(values))) * n, 1.0)  # (N, d)
        shape = (n, *at_draws[0][0].residuals.predicted.shape)
        gain = np.mean([one.gain[0] for one in shared], axis=0)
        order = [int(j) for j in np.argsort(-gain, kind="stable") if np.isfinite(gain[j])]
        words = [_words(NAMES[j], shared[0].at[j], float(shared[0].sign[j]), layout) for j in order]

        def p_value(name: str, value: float, **more: Any) -> Metric:
            return Metric(name, value, proportion_stderr(value * (used + 1) - 1, used), used, **more)

        error = float(np.std([one.gain[0, order[0]] for one in shared]) / np.sqrt(len(shared)))
        smallest = np.unravel_index(int(value_p.argmin()), value_p.shape)
        place = layout.place(*(int(v) for v in np.unravel_index(int(smallest[1]), shape[1:])))
        table = [
            p_value("distortion_p", p, level=alpha),
            Metric("distortion_gain", float(gain[order[0]]), error, n, extra={"distortion": words[0]}),
            *(p_value(f"distortion_{NAMES[j]}_p", float(each_p[j])) for j in sorted(order)),
            p_value("distortion_value_p", float(value_p.min()), extra={"value": place}),
        ]
        finite = [np.where(np.isfinite(one.gain), one.gain, 0.0) for one in shared]
        curves = {
            "gain": np.where(np.isfinite(gain), gain, 0.0),
            "gain_null": np.mean([np.quantile(one[1:], 0.95, axis=0) for one in finite], axis=0),
            "distortion_p": each_p,
            "value_p": layout.put_back(value_p.reshape(shape)),
            "member_p": member_p,
        }
        decidable = (1 if n == 1 else 2) / (used + 1) <= alpha
        notes = _notes(words, used, alpha, decidable, p)
        passed = p > alpha if decidable else None
        return self._result(draws, table, curves=curves, passed=passed, p_value=p, notes=notes)


def _notes(words: Sequence[str], used: int, alpha: float, decidable: bool, p: float) -> tuple[str, ...]:
    """What the reader is told: that nothing can be, or what fits best where something is wrong."""
    if not decidable:
        return (f"{used} replicates cannot tell whether p <= {alpha:g}.",)
    return ("What fits best: " + "; then ".join(words[:3]) + ".",) if p <= alpha else ()


def _pool(x: Array, replicates: Array, layout: Arrangement) -> Array:
    """The observation and its valid replicates as series, shape (P, n, C); what it alone lacks left out."""
    valid = usable(replicates.reshape(len(replicates), -1), True)
    replicates = replicates[valid]
    if np.isnan(x).all():
        raise DataError("x: expected numbers, got an observation of which every value is missing.")
    left_out = np.isnan(x) & ~np.isnan(replicates).any(axis=0)
    pool = np.concatenate([x.astype(replicates.dtype)[None], replicates])
    return layout.laid_out(np.where(left_out, 0.0, pool).astype(float))


def _by_distortion(gain: Array) -> Array:
    """Family-wise p-values of each distortion from penalised gains (P, J), shape (J,); 1 without any."""
    there, p = np.isfinite(gain).all(axis=0), np.ones(gain.shape[1])
    p[there] = stepped_down(gain[:, there])
    return p


def _words(name: str, at: tuple[int, ...], sign: float, layout: Arrangement) -> str:
    """A distortion in words, with the names and coordinates of the data."""
    side = "high" if sign > 0 else "low"
    if name == "offset":
        return f"an offset: all values lie too {side}"
    if name == "gain":
        return f"a gain: all values are scaled {'up' if sign > 0 else 'down'}"
    if name == "noise":
        return f"too {'much' if sign > 0 else 'little'} noise"
    if name == "drift":
        return f"a drift {'up' if sign > 0 else 'down'} along {layout.along}"
    if name == "period":
        return f"a pattern of period {at[0]} along {layout.along}"
    if name == "block":
        first, last = (layout.coordinate(i) for i in at)
        return f"a block that lies too {side}, {layout.along} {first} to {last}"
    channels = 1 if layout.series is None else int(np.prod(layout.shape)) // layout.shape[layout.series]
    return f"one value too {side}, {layout.place(at[0] // channels, at[0] % channels)}"
