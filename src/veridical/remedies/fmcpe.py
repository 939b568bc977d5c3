r"""FMCPE: real data are sent to summaries of simulations, the posterior answers those, and a flow mends that.

Two fields are learned from labelled real data :math:`(\theta_i, y_i)` by flow matching along straight
lines, with what is known of y as their condition c(y). With simulations :math:`x` at :math:`\theta_i` and the
summary network h of the wrapped posterior q,

.. math:: v_s: \; \epsilon \to h(x) \mid c(y_i), \qquad
    v_\theta: \; \theta_0 \to \theta_i \mid c(y_i), \quad \theta_0 \sim q(\cdot \mid \tilde s), \;
    \tilde s \text{ by } v_s \text{ given } c(y_i) .

An answer to y goes the same way: noise, summaries, a draw of q, parameters. It depends on y alone, so that
single new observations are answered. :math:`\tilde s` blurs theta a second time, which :math:`v_\theta` has
to take back: with `correct: data`, the ablation without it, answers are too wide however many the pairs.

What is special here:

- Data go to summaries, not to simulations, and the second field is learned after the first: neither has
  weights of the other. Time and noise of pairs that stop a training are drawn eight times for each of their
  simulations, for the loss of a flow is mostly noise.
- There are five fits, each without a fifth of the pairs, the next fifth choosing its weights. Their mixture
  answers; each answers `apart` for the fifth that it has not seen. Whether the second field takes part is
  chosen by the log scores of these answers (`correct: best`).
- Summaries are in units of their spread over simulations, parameters in z; pairs scale the conditions.
- Ridge regressions on the conditions place what a field begins and ends with: summaries, draws of q (with
  the covariance of what is left, :math:`S_0`) and parameters (:math:`S`). The second field leads from
  :math:`S_0^{-1/2} (\theta_0 - m_0(c))` to :math:`S^{-1/2} (\theta - m(c))`, both of about zero mean and unit
  variance, and each field is that between standard normal numbers plus what its network adds. Without one
  step the answer is thus the regression of parameters on conditions, in the shape of the draws of q.
- The density of this way has gaps, since q is narrow and draws of it are few. The answer is the kernel
  density of its draws instead (`kernels`), which draws and log densities both follow; the draws behind it are
  made of the same noise for all y. What that loses stands in the record, as `smoothing_error`.

References:
    | Flow Matching Corrected Posterior Estimation (Ruhlmann, Rodrigues, Arbel, Forbes, 2025)
    | https://arxiv.org/abs/2509.23385
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from veridical import seeds
from veridical.bank.shards import digest
from veridical.errors import ArtifactError, require_shape
from veridical.estimators import apart
from veridical.estimators.apart import FOLDS, folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo
from veridical.estimators.encoded import Encoded, encoder_of
from veridical.networks import weights
from veridical.remedies import few_pairs
from veridical.remedies.fmcpe_flows import Flows, Posterior, Scaling, train
from veridical.remedies.fmcpe_settings import FMCPESettings
from veridical.remedies.kernels import Kernels, smoothing_error
from veridical.remedies.tuned import simulations
from veridical.remedies.tuned_settings import TunedSettings
from veridical.tasks.base import Array
from veridical.training import devices, session

BELIEFS = 40  # draws behind a median and a width
SCORED = 100  # draws behind an answer that says whether the second flow takes part, at most
KEPT = 4_000_000  # numbers of draws that are kept in memory for the next question


@dataclass(eq=False)
class FMCPE(Estimator):
    """A posterior between two flows.

    Attributes:
        members: The fits that answer, as an equal mixture.
        z: Parameters of the labelled pairs in z, shape (n, D).
        seed: Of the noise that draws behind an answer are made of.
        scores: Mean log scores in z of pairs left out, without the second flow and with it; zeros where
            they were not asked for, shape (2,).
        parent: The posterior that is corrected.
        beside: Others whose beliefs are told to the flows.
    """

    type = "fmcpe"
    settings: FMCPESettings
    task: TaskInfo
    members: Sequence[Flows]
    z: Array
    seed: int
    scores: Array
    parent: Encoded
    beside: Sequence[Estimator] = ()

    def __post_init__(self) -> None:
        self._kept: dict[str, Kernels] = {}
        self.posterior = _scaled(self.parent)

    @classmethod
    def fit(
        cls, settings: FMCPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[FMCPE, session.TrainingResult]:
        """Returns the remedy, and how the first of its trainings went; see `Estimator.fit`."""
        parent = encoder_of(material.require("parent", settings.type), settings.type)
        pairs = few_pairs.enough(material, settings.type, task)
        parent.parameters.require_inside(pairs.theta)
        z, seed = parent.parameters.forward(pairs.theta)[0], seeds.integer(run.root, "remedy", *run.path)
        found = cls(settings, task, [], z, seed, np.zeros(2), parent, material.beside)
        simulate = simulations(cast(TunedSettings, settings), material)
        rng = seeds.generator(run.root, "remedy", *run.path, "fmcpe")
        with devices.cpu_threads(run.threads or settings.threads):
            x, valid = simulate(np.repeat(pairs.theta, settings.repeats, axis=0), rng)
            if not valid.all():
                x = np.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, parent.inputs.mean)
            summaries = found.posterior.scaled(parent.summary(x))
            summaries[~valid] = np.nan
            summaries = summaries.reshape(len(pairs), settings.repeats, -1)
            raw, held = found._raw(pairs.x), [fold for _, fold in folds(len(pairs))]
            results = []
            for k in range(FOLDS):
                stop = held[(k + 1) % FOLDS]
                learn, own = ~(held[k] | stop), session.member_run(run, k)
                scaling = Scaling.fit(raw[~held[k]], settings.condition == "data")
                with session.seeded_initialisation(own):
                    flows = Flows.build(settings, scaling, summaries.shape[2], z.shape[1])
                data = scaling(raw), z, summaries
                results += train(flows, settings, found.posterior, data, learn, stop, own, rng)
                found.members = [*found.members, flows]
            if settings.correct == "best":
                found.scores = np.array([found._score(pairs, both) for both in (False, True)])
        return found, results[0]

    @property
    def corrected(self) -> bool:
        """Whether the second flow takes part in its answers."""
        best = bool(self.scores[1] > self.scores[0])
        return {"best": best, "data": False, "both": True}[self.settings.correct]

    def _score(self, pairs: Rows, both: bool) -> float:
        """The mean log density in z of pairs, each by the fit without it, with one flow or both."""
        log_p: Array = np.empty(len(pairs))
        scores = np.array([0.0, float(both)])
        fewer = self.settings.model_copy(update={"draws": min(self.settings.draws, SCORED)})
        for rows, alone in self._alone():
            one = replace(alone, settings=fewer, scores=scores)
            log_p[rows] = one.log_prob(pairs.theta[rows], pairs.x[rows])
        return float((log_p - self.parent.parameters.forward(pairs.theta)[1]).mean())

    @property
    def bagged(self) -> bool:
        """Whether it answers with the mixture of its fits."""
        return len(self.members) > 1

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns each fifth of the pairs that it has learned from, with the fit without it.

        Raises:
            TrainingError: If these are other pairs, or what it builds on has learned from pairs.
        """
        for one in (self.parent, *self.beside):
            apart.require_unseen(one)
        few_pairs.require_same(self.type, self.z, self.parent.parameters.forward(pairs.theta)[0])
        return [*self._alone()]

    def _alone(self) -> list[tuple[Array, FMCPE]]:
        """Each fifth of the pairs, with the fit without it."""
        parts = zip(self.members, folds(len(self.z)), strict=True)
        return [(np.flatnonzero(held), replace(self, members=[member])) for member, (_, held) in parts]

    def _raw(self, x: Array) -> Array:
        """What conditions are made of, (N, R), given x (N, *x_shape)."""
        require_shape("x", x, None, *self.task.x_shape)
        if self.settings.condition == "data":
            return np.asarray(x, float).reshape(len(x), -1)
        if self.settings.condition == "summaries":
            return self.posterior.scaled(self.parent.summary(x)).astype(float)
        forward, methods = self.parent.parameters.forward, (self.parent, *self.beside)
        drawn = [forward(one.sample_alike(x, BELIEFS, self.seed))[0] for one in methods]
        raw = [part for z in drawn for part in (np.median(z, axis=0), np.log(z.std(axis=0) + 1e-3))]
        return np.clip(np.concatenate(raw, axis=1), -8, 8)

    @cached_property
    def _noise(self) -> list[Array]:
        """What the draws of each member are made of, for all observations."""
        rng = seeds.generator(self.seed, "infer", self.type)
        width = len(self.posterior.mean) + self.parent.draw_noise
        shares = np.array_split(np.arange(self.settings.draws), len(self.members))
        return [rng.standard_normal((len(share), width)) for share in shares]

    def _answers(self, x: Array) -> list[Kernels]:
        """The answer to each x (N, *x_shape)."""
        found = []
        for one in x:
            key = digest([np.asarray(one, float)])
            if key not in self._kept:
                if len(self._kept) * self.settings.draws > KEPT:
                    self._kept.clear()
                self._kept[key] = self._answer(one)
            found.append(self._kept[key])
        return found

    def _answer(self, x: Array) -> Kernels:
        """The answer to one x (*x_shape)."""
        raw = self._raw(x[None])
        draws = [
            member.draw(member.scaling(raw)[0], noise, self.posterior, self.corrected)
            for member, noise in zip(self.members, self._noise, strict=True)
        ]
        z = np.concatenate(draws)
        if not np.isfinite(z).all():
            raise ArtifactError(
                f"remedy {self.type} of task {self.task.name}: draws are not finite numbers; the network is "
                "broken. Train it again."
            )
        return Kernels(z, self.settings.broad)

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        parameters, answers = self.parent.parameters, self._answers(x)
        theta = parameters.inverse(np.stack([one.sample(n, rng) for one in answers], axis=1))
        z, log_slope = parameters.forward(theta)
        return theta, np.stack([one.log_prob(z[:, i]) for i, one in enumerate(answers)], axis=1) + log_slope

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        z, log_slope = self.parent.parameters.forward(theta)
        rows = z.reshape(-1, len(x), z.shape[-1])
        found = [one.log_prob(rows[:, i]) for i, one in enumerate(self._answers(x))]
        return np.stack(found, axis=1).reshape(log_slope.shape) + log_slope

    def transforms(self) -> dict[str, Any]:
        """Returns what flows are told, what happens to each parameter, and what the density loses."""
        scores = dict(zip(("data", "both"), self.scores.tolist(), strict=True))
        return {
            **self.parent.transforms(),
            "told": self.settings.condition,
            "answer": f"mixture of {len(self.members)} fits, each without a fifth",
            "corrected": "both" if self.corrected else "data",
            "log_scores_apart": scores if self.settings.correct == "best" else {},
            "smoothing_error": smoothing_error(self.settings.draws, self.z.shape[1]),
        }

    def arrays(self) -> dict[str, Array]:
        """Returns the numbers of all fits by name, the parameters of the pairs, and the seed."""
        fits = {name: a for k, fit in enumerate(self.members) for name, a in fit.arrays(f"fold{k}.").items()}
        return {"z": self.z, "seed": np.array(self.seed), "scores": self.scores, **fits}

    @classmethod
    def from_arrays(
        cls,
        settings: FMCPESettings,
        task: TaskInfo,
        arrays: Arrays,
        parent: Estimator | None = None,
        beside: Sequence[Estimator] = (),
    ) -> FMCPE:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, Encoded) or len(beside) != len(settings.beside):
            raise ArtifactError(f"remedy {cls.type}: {settings.of!r} or one of those beside it is missing.")
        scaled = _scaled(parent)
        with weights.fitting(f"remedy {cls.type}"):
            z, seed, scores = arrays["z"], int(arrays["seed"]), arrays["scores"]
            groups = [weights.below(arrays, f"fold{k}.") for k in range(FOLDS)]
            shape = len(scaled.mean), z.shape[1]
            members = [Flows.from_arrays(settings, group, *shape) for group in groups]
        return cls(settings, task, members, z, seed, scores, parent, beside)


def _scaled(parent: Encoded) -> Posterior:
    """The posterior given summaries in units of their spread over its simulations."""
    cloud = parent.cloud
    if cloud is None:
        raise ArtifactError(f"remedy 'fmcpe': {parent.type!r} has no summaries; name an npe that has.")
    sd = np.sqrt(np.diag(cloud.covariance))
    return Posterior(parent, cloud.mean, np.where(sd > 0, sd, 1.0))
