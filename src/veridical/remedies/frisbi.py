r"""FRISBI: transport between real data and simulations, learned once; single observations are answered.

With the summaries h(x_j) of n simulations and the posterior q of an NPE, RoPE's mixture without a demand on
how often simulations are used is known for any summary s at once,

.. math:: p_\gamma(\theta | s) = \sum_j \alpha_j(s) \, q(\theta | h(x_j)) , \qquad
    \alpha(s) = \operatorname{softmax}_j \left( - \frac{\| s - h(x_j) \|^2}{K \gamma} \right) ,

for K summaries in units of their spread over simulations. An encoder g of real data learns from labelled
pairs and unlabelled data where summaries should lie (`frisbi_encoders`), and a density :math:`p_\psi` is
distilled from the mixtures,

.. math:: L(\psi) = - E_{s, \gamma} \, E_{\theta \sim p_\gamma(\cdot | s)}
    \log p_\psi(\theta | s, \log \gamma) .

The answer to y is :math:`p_\psi(\theta | g(y), \log \gamma)`. It depends on y alone.

What is special here:

- Mixtures are distilled at summaries between simulations that transport takes for neighbours, not at those of
  real data: what is distilled has then seen no label, and serves all encoders. Summaries of real data are
  brought within the range of simulations.
- gamma is told to the density, and chosen by the answers to pairs held out: the mean of log gamma, weighted
  by the likelihood of those pairs. The published 0.5 is the largest that is tried.
- There are five encoders, each learned without a fifth of the pairs, the next fifth choosing its weights and
  its gamma. Their mixture answers; each answers `apart` for the fifth that it has not seen in any way.
- Clouds of summaries are not standardised apart, which would align them. Real data may be (`inputs`), before
  their encoder sees them.

References:
    | Inductive Domain Transfer In Misspecified Simulation-Based Inference (Senouf, Wehenkel, Vincent-Cuaz,
    | Abbé, Frossard, 2025), https://arxiv.org/abs/2508.15593
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators import apart
from veridical.estimators.apart import FOLDS, folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.encoded import Encoded, encoder_of
from veridical.estimators.flow_posterior import ROWS
from veridical.estimators.npe import NPE
from veridical.networks import weights
from veridical.remedies import few_pairs
from veridical.remedies.components import Components
from veridical.remedies.frisbi_encoders import Cloud, RealEncoder, learned
from veridical.remedies.frisbi_settings import FRISBISettings
from veridical.remedies.tuned import simulations
from veridical.remedies.tuned_settings import TunedSettings
from veridical.tasks.base import Array, usable
from veridical.training import devices, session

HELD = 10  # one row that is distilled in so many is held out
AT_ONCE = 1000  # rows of weights that are held at once
GAMMAS = 9  # that held-out pairs are asked about


@dataclass(frozen=True, eq=False)
class Fit:
    """An encoder of real data, and the gamma of the mixture at its summaries."""

    encoder: RealEncoder
    gamma: float


@dataclass(eq=False)
class FRISBI(Estimator):
    """A density that is distilled from mixtures, at the summaries of real data.

    Attributes:
        members: The fits that answer, as an equal mixture.
        z: Parameters of the labelled pairs in z, shape (n, D).
        simulated: The simulations that are mixed of.
        distilled: The density, given scaled summaries and log gamma.
        parent: What knows the encoder of simulations, and their posteriors.
    """

    type = "frisbi"
    settings: FRISBISettings
    task: TaskInfo
    members: Sequence[Fit]
    z: Array
    simulated: Cloud
    distilled: NPE
    parent: Encoded

    @classmethod
    def fit(
        cls, settings: FRISBISettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[FRISBI, session.TrainingResult]:
        """Returns the remedy, and how what is distilled was trained; see `Estimator.fit`."""
        parent = encoder_of(material.require("parent", settings.type), settings.type)
        pairs = few_pairs.enough(material, settings.type, task)
        rows = labelled(material, "simulations", settings.type, task)
        parent.parameters.require_inside(pairs.theta)
        real = _unlabelled(settings, task, material)
        run = replace(run, threads=run.threads or settings.threads)
        with devices.cpu_threads(run.threads or settings.threads):
            summaries = parent.summary(rows.x[: settings.simulations])
            cloud = Cloud.of(summaries)
            distilled, result = _distilled(
                settings, task, Components(parent, summaries), cloud, material, run
            )
            z = parent.parameters.forward(pairs.theta)[0]
            found = cls(settings, task, [], z, cloud, distilled, parent)
            goals = _goals(settings, parent, cloud, pairs, material, run)
            held = [fold for _, fold in folds(len(pairs))]
            for k in range(FOLDS):
                stop = held[(k + 1) % FOLDS]
                learn, own = ~(held[k] | stop), session.member_run(run, k)
                seen = np.concatenate([real, pairs.x[~held[k]]])
                encoder = learned(settings, parent, cloud, seen, (pairs.x, goals), learn, stop, own)
                found.members = [*found.members, found._placed(encoder, pairs, stop)]
        return found, result

    def _placed(self, encoder: RealEncoder, pairs: Rows, stop: Array) -> Fit:
        """The fit of an encoder with a gamma by the pairs that stop."""
        low, high = np.log([self.settings.least_gamma, self.settings.gamma])
        if low == high or not self.has_density:
            return Fit(encoder, self.settings.gamma)
        grid, x = np.linspace(low, high, GAMMAS), pairs.x[stop]
        tried = [replace(self, members=[Fit(encoder, float(np.exp(one)))]) for one in grid]
        scores = np.array([one.log_prob(pairs.theta[stop], x).sum() for one in tried])
        shares = np.exp(scores - logsumexp(scores))
        return Fit(encoder, float(np.exp(shares @ grid)))

    @property
    def has_density(self) -> bool:
        """Whether it knows the densities of its answers."""
        return self.distilled.has_density

    @property
    def bagged(self) -> bool:
        """Whether it answers with the mixture of its fits."""
        return len(self.members) > 1

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns each fifth of the pairs that it has learned from, with the fit without it.

        Raises:
            TrainingError: If these are other pairs, or what it builds on has learned from pairs.
        """
        apart.require_unseen(self.parent)
        few_pairs.require_same(self.type, self.z, self.parent.parameters.forward(pairs.theta)[0])
        parts = zip(self.members, folds(len(self.z)), strict=True)
        return [(np.flatnonzero(held), replace(self, members=[member])) for member, (_, held) in parts]

    def _told(self, member: Fit, x: Array) -> Array:
        """What the density is told of x (N, *x_shape), shape (N, K + 1)."""
        require_shape("x", x, None, *self.task.x_shape)
        return _with_gamma(self.simulated.scaled(member.encoder(x)), np.full(len(x), member.gamma))

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array | None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        draws = self.sample(x, n, rng)
        return draws, self.log_prob(draws, x) if self.has_density else None

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape), each by a fit picked at random."""
        told = [self._told(member, x) for member in self.members]
        draws, step = np.empty((len(x), n, len(self.task.parameters))), max(1, ROWS // n)
        for first in range(0, len(x), step):
            part = slice(first, min(first + step, len(x)))
            draws[part] = self._draw([each[part] for each in told], n, rng)
        return draws.swapaxes(0, 1)

    def _draw(self, told: list[Array], n: int, rng: np.random.Generator) -> Array:
        """Draws (N, n, D): for each observation first the fits picked, then the noise."""
        numbers = self.distilled.draw_noise
        parts = [(rng.integers(len(told), size=n), rng.standard_normal((n, numbers))) for _ in told[0]]
        picked, noise = (np.concatenate(each) for each in zip(*parts, strict=True))
        draws = np.empty((len(noise), len(self.task.parameters)))
        for m, each in enumerate(told):
            (rows,) = np.nonzero(picked == m)
            if len(rows):
                context = self.distilled.contexts(each)
                draws[rows] = self.distilled.push(noise[rows], context, rows // n, density=False)[0]
        return draws.reshape(len(told[0]), n, -1)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        found = [self.distilled.log_prob(theta, self._told(member, x)) for member in self.members]
        return np.asarray(logsumexp(found, axis=0)) - np.log(len(found))

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to each parameter, and which encoders and gammas answer."""
        encoders = [member.encoder for member in self.members]
        return {
            **self.distilled.transforms(),
            "x": [one.kind + (", trained" if one.trained else "") for one in encoders],
            "errors": [one.error for one in encoders],
            "gammas": [member.gamma for member in self.members],
            "answer": f"mixture of {len(self.members)} fits, each without a fifth",
        }

    def arrays(self) -> dict[str, Array]:
        """Returns the numbers of all fits by name, the simulations, the density, parameters of the pairs."""
        found = {"z": self.z, "gammas": np.array([member.gamma for member in self.members])}
        found |= {f"cloud.{name}": array for name, array in vars(self.simulated).items()}
        found |= {f"distilled.{name}": array for name, array in self.distilled.arrays().items()}
        for k, member in enumerate(self.members):
            found |= member.encoder.arrays(f"fold{k}.")
        return found

    @classmethod
    def from_arrays(
        cls, settings: FRISBISettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> FRISBI:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, Encoded) or parent.encoder is None or parent.cloud is None:
            raise ArtifactError(
                f"remedy {cls.type}: expected the npe {settings.of!r} beside it, got {parent}."
            )
        with weights.fitting(f"remedy {cls.type}"):
            z, gammas = arrays["z"], arrays["gammas"]
            cloud = Cloud(**{name: arrays[f"cloud.{name}"] for name in ("rows", "mean", "scale")})
            told = _told_task(task, cloud)
            distilled = NPE.from_arrays(settings.posterior, told, weights.below(arrays, "distilled."))
            groups = [weights.below(arrays, f"fold{k}.") for k in range(len(gammas))]
            members = [
                Fit(RealEncoder.from_arrays(group, parent), float(gamma))
                for group, gamma in zip(groups, gammas, strict=True)
            ]
        return cls(settings, task, members, z, cloud, distilled, parent)


def _unlabelled(settings: FRISBISettings, task: TaskInfo, material: Material) -> Array:
    """Real data without labels, shape (M, *x_shape); none where the settings name none."""
    if settings.unlabelled is None:
        return np.empty((0, *task.x_shape))
    x: Array = material.require("unlabelled", settings.type)
    require_shape("unlabelled x", x, None, *task.x_shape)
    return x[usable(x, False)]


def _goals(
    settings: FRISBISettings,
    parent: Encoded,
    cloud: Cloud,
    pairs: Rows,
    material: Material,
    run: session.Session,
) -> Array:
    """Scaled mean summaries of simulations at the parameters of pairs, shape (n, K)."""
    fresh = 0 if material.simulate is not None else settings.simulations
    simulate = simulations(TunedSettings(of=settings.of, simulations=fresh), material)
    repeats = settings.repeats if not fresh else 1
    rng = seeds.generator(run.root, "remedy", *run.path, "frisbi", "pairs")
    x, valid = simulate(np.repeat(pairs.theta, repeats, axis=0), rng)
    x = np.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, parent.inputs.mean)
    summaries = np.where(valid[:, None], (parent.summary(x) - cloud.mean) / cloud.scale, 0.0)
    counts = valid.reshape(-1, repeats).sum(axis=1)
    if not counts.all():
        raise TrainingError(
            f"remedy {settings.type!r}: all simulations at {int((counts == 0).sum())} of {len(pairs)} "
            "labelled parameters failed; see why simulations fail there."
        )
    return np.asarray(summaries.reshape(len(pairs), repeats, -1).sum(axis=1) / counts[:, None])


def _distilled(
    settings: FRISBISettings,
    task: TaskInfo,
    components: Components,
    cloud: Cloud,
    material: Material,
    run: session.Session,
) -> tuple[NPE, session.TrainingResult]:
    """The density of parameters given scaled summaries and log gamma, from draws of the mixtures."""
    rng = seeds.generator(run.root, "remedy", *run.path, "frisbi", "rows")
    n, count = settings.rows, len(cloud.rows)
    low, high = np.log([settings.least_gamma, settings.gamma])
    gamma = np.exp(rng.uniform(low, high, n))
    summaries = cloud.rows[rng.integers(count, size=n)]
    theta = np.empty((n, len(task.parameters)))
    for first in range(0, n, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        steps = np.cumsum(mixed(summaries[part], cloud, gamma[part]), axis=1)
        share = rng.random((len(steps), 1))
        near = np.minimum((steps < share * steps[:, -1:]).sum(axis=1), count - 1)
        summaries[part] += rng.random((len(steps), 1)) * (cloud.rows[near] - summaries[part])
        theta[part] = components.sample(mixed(summaries[part], cloud, gamma[part]), 1, rng)[0]
    rows = Rows(theta, _with_gamma(summaries, gamma), np.arange(n) % HELD == HELD - 1)
    own = replace(run, path=(*run.path, "distilled"))
    learned_from = Material(rows, prior=material.prior)
    return NPE.fit(settings.posterior, _told_task(task, cloud), learned_from, own)


def mixed(summaries: Array, cloud: Cloud, gamma: Array) -> Array:
    """Returns the weights (N, n) of simulations at scaled summaries (N, K), each by its own gamma (N,)."""
    squares = (summaries**2).sum(axis=1)[:, None] + (cloud.rows**2).sum(axis=1) - 2 * summaries @ cloud.rows.T
    log_weights = -squares / (cloud.rows.shape[1] * gamma[:, None])
    found: Array = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)


def _with_gamma(summaries: Array, gamma: Array) -> Array:
    return np.concatenate([summaries, np.log(gamma)[:, None]], axis=1)


def _told_task(task: TaskInfo, cloud: Cloud) -> TaskInfo:
    """The task as what is distilled sees it: summaries and log gamma for data."""
    shape = (cloud.rows.shape[1] + 1,)
    return replace(task, x_shape=shape, axes=(), names=(), x_unit="", has_missing=False)
