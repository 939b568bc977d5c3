r"""Recalibration of a posterior's density levels, as a distribution, on labelled real data.

The level of parameters under q given y is the mass where q is higher,

.. math:: c(\theta, y) = \int q(\theta' | y) \, 1[q(\theta' | y) > q(\theta | y)] \, d\theta' ,

uniform if q is right. For any density g on [0, 1]

.. math:: \tilde q(\theta | y) = q(\theta | y) \, g(c(\theta, y))

integrates to one for each y, and where g is the density of the levels of labelled pairs that q has not
learned from, its regions :math:`c \le G^{-1}(a)` hold a share a of such pairs, for all a; the order within
each y is that of q. g is a Beta density, within 0.01 of either end its mean there, of the largest penalised
likelihood

.. math:: \sum_i \log g(c_i) - 2 (\log^2 a + \log^2 b) , \qquad e^{-1} \le a, b \le e^2 .

It is used only where it gains more than `least_gain`: on an answer that is honest already it would add the
noise of the pairs and nothing else. Nor is it used on a mixture of fits, of which single ones tell the levels
of pairs left out: it is wider than each of them.

A level is a rank among S draws of q, made of noise that y and a seed fix, and g constant between two of them,
so that densities integrate to one up to an error of about :math:`(E_q \, g^2 / S)^{1/2}`. Draws are fresh
draws of q, resampled by these weights: where q is so sure of itself that no draw comes near the truth, none
is made there. The levels of the pairs also tell sets that hold nine tenths whatever q is: see `ranks`.

References:
    | Algorithmic Learning in a Random World (Vovk, Gammerman, Shafer, 2005): ranks of exchangeable scores
    | Accurate Uncertainties for Deep Learning Using Calibrated Regression (Kuleshov et al., 2018): levels
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import minimize

from veridical import seeds
from veridical.bank.shards import digest
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.apart import folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo
from veridical.inference.weighted import resampled
from veridical.remedies import few_pairs
from veridical.remedies.conformal import ranks
from veridical.remedies.recalibrated_settings import RecalibratedSettings
from veridical.tasks.base import Array
from veridical.training import devices, session

SPARE = 2  # times the draws wanted, worth as many, that are resampled from
MOST = 20  # times the draws wanted, at most
KEPT = 4_000_000  # densities of draws behind levels that are kept in memory for the next question
_EDGE = 0.01  # within which of either end g is constant
_LOG_SHAPE = (-1.0, 2.0)  # of a and b
_EVEN = np.ones(2)


def log_g(levels: Array, shape: Array) -> Array:
    """Returns the log density (...) of levels (...): Beta(a, b), but even within 0.01 of either end."""
    inside = np.clip(levels, _EDGE, 1 - _EDGE)
    ends = stats.beta.logcdf(_EDGE, *shape), stats.beta.logsf(1 - _EDGE, *shape)
    found = np.where(levels < _EDGE, ends[0] - np.log(_EDGE), stats.beta.logpdf(inside, *shape))
    return np.where(levels > 1 - _EDGE, ends[1] - np.log(_EDGE), found)


def fit_beta(levels: Array) -> Array:
    """Returns a and b (2,) of the largest penalised likelihood of levels (n,)."""

    def loss(logs: Array) -> float:
        return float(2 * (logs**2).sum() - log_g(levels, np.exp(logs)).sum())

    return np.asarray(np.exp(minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[_LOG_SHAPE] * 2).x))


@dataclass(eq=False)
class Recalibrated(Estimator):
    """The answers of `parent` with other masses of their density levels.

    Attributes:
        parent: What is recalibrated.
        shape: a and b of the Beta density; ones for none.
        levels: Levels of the labelled pairs under what has not learned from them, shape (n,).
        seed: Of the draws behind levels.
    """

    type = "recalibrated"
    settings: RecalibratedSettings
    task: TaskInfo
    shape: Array
    levels: Array
    seed: int
    parent: Estimator

    def __post_init__(self) -> None:
        self.cloud, self.summarisers = self.parent.cloud, self.parent.summarisers
        self._kept: dict[str, Array] = {}

    @classmethod
    def fit(
        cls, settings: RecalibratedSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Estimator, None]:
        """Returns the recalibration; see `Estimator.fit`."""
        if settings.space == "base":
            from veridical.remedies.base_space import RecalibratedBase

            return RecalibratedBase.fit(settings, task, material, run)
        parent: Estimator = material.require("parent", settings.type)
        pairs = few_pairs.enough(material, settings.type, task)
        if not parent.has_density:
            raise TrainingError(
                f"remedy {settings.type!r} needs densities, which {parent.type!r} does not give."
            )
        found = cls(settings, task, _EVEN, np.empty(0), seeds.integer(run.root, "remedy", *run.path), parent)
        with devices.cpu_threads(run.threads or settings.threads):
            found.levels = found._levels_of(parent.apart(pairs), pairs)
        found.shape = found._chosen(found.levels)
        return found, None

    def _levels_of(self, parts: list[tuple[Array, Estimator]], pairs: Rows) -> Array:
        """The level of each pair under what has not learned from it, shape (n,)."""
        levels: Array = np.empty(len(pairs))
        for rows, method in parts:
            alone = Recalibrated(self.settings, self.task, _EVEN, np.empty(0), self.seed, method)
            for i in rows:
                theta, x = pairs.theta[i : i + 1, None], pairs.x[i : i + 1]
                log_q = method.log_prob(theta, x)[:, 0]
                if not np.isfinite(log_q).all():
                    raise TrainingError(
                        f"remedy {self.type!r}: labelled pair {i} has no density under {method.type!r}: its "
                        "parameters lie outside of their bounds; correct them, or widen the prior."
                    )
                denser, tied = alone._ranked(log_q, x[0])
                levels[i] = (denser[0] + 0.5 * tied[0] + 0.5) / (self.settings.draws + 1)
        return levels

    def _chosen(self, levels: Array) -> Array:
        """The Beta density of levels, where it gains enough and they are those of what answers."""
        shape = fit_beta(levels)
        gain = log_g(levels, shape).sum()
        return _EVEN if self.parent.bagged or gain < self.settings.least_gain else shape

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns parts of the pairs, each with what answers them, recalibrated by the others' levels."""
        parts = self.parent.apart(pairs)
        levels = self._levels_of(parts, pairs)
        if len(parts) == 1:
            parts = [(np.flatnonzero(held), self.parent) for _, held in folds(len(pairs))]
        found: list[tuple[Array, Estimator]] = []
        for rows, method in parts:
            others = np.delete(levels, rows)
            shape = self._chosen(others)
            found.append((rows, Recalibrated(self.settings, self.task, shape, others, self.seed, method)))
        return found

    @property
    def bagged(self) -> bool:
        """Whether what it wraps answers with a mixture of its fits."""
        return self.parent.bagged

    @cached_property
    def _weights(self) -> Array:
        """What g is between neighbouring draws, (S + 1,), with a mean of one."""
        s = self.settings.draws
        weights = np.exp(log_g((np.arange(s + 1) + 0.5) / (s + 1), self.shape))
        return weights / weights.mean()

    @property
    def mass_error(self) -> float:
        """About what the integral of a density differs from one."""
        return float(np.sqrt((self._weights**2).mean() / self.settings.draws)) if self.changes else 0.0

    @property
    def changes(self) -> bool:
        """Whether it answers otherwise than what it wraps."""
        return bool((self.shape != _EVEN).any())

    def _ranked(self, log_q: Array, x: Array) -> tuple[Array, Array]:
        """How many draws given one x (*x_shape) are denser than log_q (...), and as dense, (...) each."""
        key = digest([np.asarray(x, float)])
        if key not in self._kept:
            rng = seeds.generator(self.seed, "infer", self.type, key)
            found = self.parent.sample_and_log_prob(x[None], self.settings.draws, rng)[1]
            if found is None:
                raise ArtifactError(f"remedy {self.type}: expected a method that knows its density.")
            if len(self._kept) * len(found) > KEPT:
                self._kept.clear()
            self._kept[key] = np.sort(found[:, 0])
        first, last = (np.searchsorted(self._kept[key], log_q, side=side) for side in ("left", "right"))
        return self.settings.draws - last, last - first

    def _weight(self, log_q: Array, x: Array) -> Array:
        """What g is at log_q (...) given one x (*x_shape), shape (...): its mean over draws as dense."""
        denser, tied = self._ranked(log_q, x)
        sums = np.concatenate([[0.0], np.cumsum(self._weights)])
        return np.asarray((sums[denser + tied + 1] - sums[denser]) / (tied + 1))

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        return self.drawn(x, n, rng)[:2]

    def drawn(
        self, x: Array, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array | None, dict[str, Array]]:
        """Returns these, and how many independent draws they are worth; see `Estimator.drawn`."""
        if not self.changes:
            return *self.parent.sample_and_log_prob(x, n, rng), {}
        draws, log_p = np.empty((n, len(x), len(self.task.parameters))), np.empty((n, len(x)))
        ess = np.empty(draws.shape[1:])
        candidates = int(np.ceil(n * min(MOST, SPARE * (self._weights**2).mean())))
        for i, one in enumerate(x):
            theta, log_q = self.parent.sample_and_log_prob(one[None], candidates, rng)
            assert log_q is not None
            weights = self._weight(log_q[:, 0], one)
            chosen = resampled(weights, n, rng)
            draws[:, i], log_p[:, i] = theta[chosen, 0], log_q[chosen, 0] + np.log(weights[chosen])
            ess[i] = weights.sum() ** 2 / (weights**2).sum()
        return draws, log_p, {"ess": ess}

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        log_q = self.parent.log_prob(theta, x)
        if not self.changes:
            return log_q
        added = [np.log(self._weight(log_q[..., i], one)) for i, one in enumerate(x)]
        return log_q + np.stack(added, axis=-1)

    def summary(self, x: Array) -> Array | None:
        """Returns those of the parent."""
        return self.parent.summary(x)

    def every_summary(self, x: Array) -> Array | None:
        """Returns those of the parent."""
        return self.parent.every_summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns those of the parent, the Beta density, and which of the parent's regions hold 90 %."""
        ordered, n = np.sort(self.levels), len(self.levels)
        sets = {
            name: {"rank": rank, "of": n, "mass": float(ordered[rank - 1])}
            for name, rank in zip(("set_90", "strict_set_90"), ranks(n), strict=True)
            if rank is not None
        }
        beta = dict(zip("ab", self.shape.tolist(), strict=True))
        return {**self.parent.transforms(), "beta": beta if self.changes else None, **sets}

    def arrays(self) -> dict[str, Array]:
        """Returns the Beta density, the levels of the pairs, and the seed of the draws behind levels."""
        return {"shape": self.shape, "levels": self.levels, "seed": np.array(self.seed)}

    @classmethod
    def from_arrays(
        cls, settings: RecalibratedSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Estimator:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if settings.space == "base":
            from veridical.remedies.base_space import RecalibratedBase

            return RecalibratedBase.from_arrays(settings, task, arrays, parent)
        if parent is None or {"shape", "levels", "seed"} - {*arrays}:
            raise ArtifactError(f"remedy {cls.type}: its parent or one of its arrays is missing.")
        return cls(settings, task, arrays["shape"], arrays["levels"], int(arrays["seed"]), parent)
