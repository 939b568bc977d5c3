r"""Truncated sequential neural posterior estimation: rounds of simulations ever closer to one observation.

The first round learns from rows of the prior. Each further one simulates at rows of the prior cut to where
all earlier answers to the observation put mass (see `inference/truncation`), and learns from all rows so far
that lie there, with the loss of its family and no correction,

.. math:: q_r = \arg\min_q - \sum_{i:\; \theta_i \in R_1 \cap \dots \cap R_{r-1}} \log q(\theta_i \mid x_i) ,

since inside that region every row follows the prior. A density is never trained outside of it: what an answer
leaks there is cut off, and what is left normalised; the share is kept, and too large a one refused.

With `start`, each round begins with the weights of a method of a cheaper level, and not with those of the
round before. With `acquisition`, rows come more often from where members differ, and count by weights that
undo it; see `inference/acquisition`.

References:
    | Truncated proposals for scalable and hassle-free simulation-based inference
    | (Deistler, Goncalves and Macke, 2022), https://arxiv.org/abs/2210.04815
    | Multifidelity Simulation-based Inference for Expensive Simulators (Krouglova et al., 2026)
    | https://arxiv.org/abs/2502.08416
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.ensemble import Ensemble
from veridical.estimators.npe import NPE
from veridical.estimators.tsnpe_settings import TSNPESettings
from veridical.inference import acquisition
from veridical.inference.truncation import Region, Within, holds, prior_mass
from veridical.networks import weights
from veridical.tasks.base import Array, Prior
from veridical.training import devices, session

FAMILIES: dict[str, type[Any]] = {"npe": NPE, "ensemble": Ensemble}
MOST_LEAKED = 0.2  # share of an answer outside of its region, beyond which it is no answer
LEAST_DRAWS = 10_000  # behind a threshold, and ten times as many as lie below it
NORM_DRAWS = 2_000  # behind the share that other data's answers leak
TRIES = 100  # times the draws wanted, after which data count as foreign to a region
STEADY_SHIFT, STEADY_SPREAD, STEADY_MASS = 0.1, 0.1, 0.3  # in sd; of an sd; of the log prior mass

_PLACE = re.compile(r"chain(\d+)\.round(\d+)\.")


@dataclass(frozen=True)
class Round:
    """One round for one observation.

    Attributes:
        posterior: What it has learned.
        x: The observation, shape (*x_shape).
        threshold: Log density that bounds its region.
        leakage: Share of its answer outside the regions of earlier rounds.
        acceptance: Of the proposals of its simulations; 1 in the first round.
        rows: Valid rows of all rounds so far.
        kept: Those of them in the regions of earlier rounds, which it has learned from.
        inside: Those of these in its own region; their share of the weights, where rows have any.
        mean, sd: Of its answer, each parameter, shape (D,).
    """

    posterior: NPE | Ensemble
    x: Array
    threshold: float
    leakage: float
    acceptance: float
    rows: int
    kept: int
    inside: float
    mean: Array
    sd: Array

    @property
    def region(self) -> Region:
        """Where its answer puts mass."""
        return Region(self.log_q, self.threshold)

    def log_q(self, theta: Array) -> Array:
        """Returns the log density of its posterior at theta (N, D), given the observation, shape (N,).

        In single precision, which is some 1e-5 off and takes half the time: chains ask it millions of times.
        """
        return self.posterior.quick_log_prob(theta[:, None], self.x[None])[:, 0]

    def disagreement(self, theta: Array) -> Array:
        """Returns the variance of its members' densities at theta (N, D), up to a factor, shape (N,).

        Raises:
            ArtifactError: If it has no members.
        """
        if not isinstance(self.posterior, Ensemble):
            raise ArtifactError("acquisition: expected rounds of an `ensemble`, got those of one network.")
        at = theta[:, None], self.x[None]
        return acquisition.disagreement(
            np.stack([member.quick_log_prob(*at)[:, 0] for member in self.posterior.members])
        )

    def arrays(self) -> dict[str, Array]:
        """Returns its numbers by name."""
        own = {name: np.asarray(value) for name, value in vars(self).items() if name != "posterior"}
        return own | {f"posterior.{name}": array for name, array in self.posterior.arrays().items()}

    @classmethod
    def from_arrays(cls, settings: TSNPESettings, task: TaskInfo, arrays: Arrays) -> Round:
        """Returns the round that `arrays` came from."""
        family = FAMILIES[settings.posterior.type]
        posterior = family.from_arrays(settings.posterior, task, weights.below(arrays, "posterior."))
        names = [name for name in cls.__dataclass_fields__ if name not in ("posterior", "x")]
        numbers: dict[str, Any] = {n: arrays[n] if arrays[n].ndim else arrays[n].item() for n in names}
        return cls(posterior, arrays["x"], **numbers)


Chain = Sequence[Round]


class TSNPE(Estimator):
    """Rounds for one or several observations; all other data are answered by the first round.

    The summaries are the first round's too: what is typical is a question of all simulations.
    """

    type = "tsnpe"

    def __init__(
        self, settings: TSNPESettings, task: TaskInfo, chains: Sequence[Chain], near: Chain | None = None
    ) -> None:
        self.settings = settings
        self.task = task
        self.chains = [list(chain) for chain in chains]
        self.near = near  # the rounds that answer all data, where these are near one observation
        self.cloud = self.chains[0][0].posterior.cloud

    @property
    def posterior(self) -> NPE | Ensemble:
        """What the last round has learned for the first observation."""
        return self.chains[0][-1].posterior

    @classmethod
    def fit(
        cls, settings: TSNPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[TSNPE, session.TrainingResult]:
        """Returns the rounds so far, the parent's with one more, for `material.observation`.

        Raises:
            TrainingError: If there are too few rows in the regions of earlier rounds, or the answer lies too
                much outside of them.
        """
        rows = labelled(material, "simulations", settings.type, task)
        x = np.asarray(material.require("observation", settings.type))
        earlier: list[Round] = material.parent.chains[0] if isinstance(material.parent, TSNPE) else []
        kept = holds([one.region for one in earlier], rows.theta)
        pool = rows.at(kept)
        member = FAMILIES[settings.posterior.type]
        posterior, result = member.fit(*_begun(settings, task, material, pool), run)
        rng = seeds.generator(run.root, "propose", *run.path, "threshold")
        with devices.cpu_threads(1):  # so that it is the same to the bit on any machine
            found = _answered(settings, posterior, x, earlier, rng)
            log_q = posterior.quick_log_prob(pool.theta[:, None], x[None])[:, 0]
        found |= {"rows": len(rows), "kept": len(pool)}
        found |= {"inside": _inside(log_q > found["threshold"], pool.weight)}
        settings = settings.model_copy(update={"rounds": len(earlier) + 1, "observations": 1})
        last = Round(posterior, x, acceptance=material.acceptance, **found)
        return cls(settings, task, [[*earlier, last]]), result

    @classmethod
    def gathered(cls, settings: TSNPESettings, parts: Sequence[TSNPE]) -> TSNPE:
        """Returns the rounds for several observations as one method."""
        return cls(settings, parts[0].task, [chain for part in parts for chain in part.chains])

    def around(self, x: Array, prior: Prior) -> tuple[Estimator, Prior]:
        """Returns the rounds for an observation as a method for data near it, and the prior cut to where it
        has learned; see `Estimator.around`.
        """
        chain = self._chain_of(x)
        return TSNPE(self.settings, self.task, self.chains, chain), Within(prior, _regions(chain))

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        draws, log_p = self._in_regions(x, n, rng)
        kept = [self._log_kept(chain, x[i : i + 1]) for i, chain in enumerate(map(self._chain_of, x))]
        return draws, log_p - kept

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, N, D) for each x (N, *x_shape), without what their densities alone need."""
        return self._in_regions(x, n, rng)[0]

    def _in_regions(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws in the regions and log densities as if there were none, data of one chain after the other."""
        draws, log_p = np.empty((n, len(x), len(self.task.parameters))), np.empty((n, len(x)))
        chains = [self._chain_of(one) for one in x]
        for chain in {id(chain[-1]): chain for chain in chains}.values():
            own = np.array([other[-1] is chain[-1] for other in chains])
            draws[:, own], log_p[:, own] = self._sample(chain, x[own], n, rng)
        return draws, log_p

    def _sample(self, chain: Chain, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws (n, N, D) given x (N, *x_shape) in the regions, and log densities (n, N) as if there were
        none: draws outside are replaced by others until none is left.
        """
        regions, (draws, log_p) = _regions(chain), self._proposed(chain, x, n, rng)
        outside = ~holds(regions, draws.reshape(-1, draws.shape[-1])).reshape(log_p.shape)
        for _ in range(TRIES):
            lacking = outside.any(axis=0)
            if not lacking.any():
                return draws, log_p
            more, log_q = self._proposed(chain, x[lacking], n, rng)
            inside = holds(regions, more.reshape(-1, more.shape[-1])).reshape(log_q.shape)
            for k, i in enumerate(np.flatnonzero(lacking)):
                places, found = np.flatnonzero(outside[:, i]), np.flatnonzero(inside[:, k])
                count = min(len(places), len(found))
                draws[places[:count], i] = more[found[:count], k]
                log_p[places[:count], i] = log_q[found[:count], k]
                outside[places[:count], i] = False
        raise ArtifactError(
            f"estimator {self.type}: expected an answer within the regions that its rounds simulated in, "
            f"got less than one in {TRIES} draws there: these data are not near the observation of the "
            "rounds. Ask a method without rounds, or run rounds for these data."
        )

    def _proposed(self, chain: Chain, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draws of the last round and their log densities."""
        theta, log_q = chain[-1].posterior.sample_and_log_prob(x, n, rng)
        if log_q is None:
            raise ArtifactError(f"estimator {self.type}: expected a posterior that knows its density.")
        return theta, log_q

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of regions."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        out: Array = np.empty(theta.shape[:-1])
        for i, chain in enumerate(map(self._chain_of, x)):
            one = x[i : i + 1]
            rows = theta[..., i, :].reshape(-1, theta.shape[-1])
            log_p = chain[-1].posterior.log_prob(rows[:, None], one)[:, 0]
            log_p[~holds(_regions(chain), rows)] = -np.inf
            out[..., i] = (log_p - self._log_kept(chain, one)).reshape(theta.shape[:-2])
        return out

    def _log_kept(self, chain: Chain, x: Array) -> float:
        """The log share of the last round's answer to x (1, *x_shape) in the regions of earlier rounds."""
        if len(chain) == 1:
            return 0.0
        if np.array_equal(chain[-1].x, x[0], equal_nan=True):
            return float(np.log1p(-chain[-1].leakage))
        rng = seeds.generator(0, "propose", "leakage")
        draws = chain[-1].posterior.sample(x, NORM_DRAWS, rng)[:, 0]
        return float(np.log(max(holds(_regions(chain), draws).mean(), 1 / NORM_DRAWS)))

    def _chain_of(self, x: Array) -> Chain:
        """The rounds that answer one x (*x_shape): those for this observation, else the first alone."""
        if self.near is not None:
            return self.near
        own = (chain for chain in self.chains if np.array_equal(chain[0].x, x, equal_nan=True))
        return next(own, self.chains[0][:1])

    def summary(self, x: Array) -> Array | None:
        """Returns summaries (N, K) of x (N, *x_shape) by the first round."""
        return self.chains[0][0].posterior.summary(x)

    def account(self) -> dict[str, Any]:
        """Returns, as plain data, how the rounds went, for each observation from the first round on."""
        return {"rounds": [_told(chain) for chain in self.chains]}

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter around the networks."""
        return self.posterior.transforms()

    def arrays(self) -> dict[str, Array]:
        """Returns weights, regions and statistics by name, those of a round below `chain{c}.round{r}.`."""
        return {
            f"chain{c}.round{r}.{name}": array
            for c, chain in enumerate(self.chains)
            for r, one in enumerate(chain, 1)
            for name, array in one.arrays().items()
        }

    @classmethod
    def from_arrays(
        cls, settings: TSNPESettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> TSNPE:
        """Returns the rounds that `arrays` came from; see `Estimator.from_arrays`."""
        chains, rounds = range(settings.observations), range(1, settings.rounds + 1)
        places = {name: found[0] for name in arrays if (found := _PLACE.match(name))}
        if len(places) < len(arrays) or set(places.values()) != {
            f"chain{c}.round{r}." for c in chains for r in rounds
        }:
            raise ArtifactError(
                f"estimator {cls.type}: expected {settings.rounds} rounds for {settings.observations} "
                "observation(s): the weights do not fit the settings. Train again."
            )
        with weights.fitting(f"estimator {cls.type}"):
            own = [[weights.below(arrays, f"chain{c}.round{r}.") for r in rounds] for c in chains]
            return cls(settings, task, [[Round.from_arrays(settings, task, r) for r in c] for c in own])


def _begun(
    settings: TSNPESettings, task: TaskInfo, material: Material, pool: Rows
) -> tuple[Any, TaskInfo, Material]:
    """What the method of a round is fitted to: its settings, the task, rows and what it begins with."""
    own, learned = settings.posterior, Material(simulations=pool)
    if settings.start is None:
        return own, task, learned
    start = material.require("start", settings.type)
    return own.model_copy(update={"start": settings.start}), task, replace(learned, parent=start)


def _inside(found: Array, weight: Array | None) -> float:
    """How many rows were found (N,), or the share of their weights (N,) times the number of all."""
    if weight is None:
        return int(found.sum())
    return float(len(found) * weight[found].sum() / weight.sum())


def _regions(chain: Chain) -> list[Region]:
    """Those of all rounds but the last, in which it has learned."""
    return [one.region for one in chain[:-1]]


def _answered(
    settings: TSNPESettings, posterior: NPE | Ensemble, x: Array, earlier: Chain, rng: np.random.Generator
) -> dict[str, Any]:
    """Threshold, leakage, mean and sd of an answer to x (*x_shape)."""
    n = max(LEAST_DRAWS, math.ceil(10 / settings.epsilon))
    drawn = posterior.sample(x[None], n, rng)[:, 0]
    inside = drawn[holds([one.region for one in earlier], drawn)]
    leakage = 1 - len(inside) / n
    if leakage > MOST_LEAKED:
        raise TrainingError(
            f"round {len(earlier) + 1}: {leakage:.0%} of its answer lies outside the region that it has "
            f"learned in, expected at most {MOST_LEAKED:.0%}: its density is wrong there. Give the rounds "
            "more `rows`, or members (`posterior: {type: ensemble}`), or fewer rounds."
        )
    log_q = posterior.quick_log_prob(inside[:, None], x[None])[:, 0]
    threshold = float(np.quantile(log_q, settings.epsilon))
    return {"threshold": threshold, "leakage": leakage, "mean": inside.mean(axis=0), "sd": inside.std(axis=0)}


def _told(chain: Chain) -> list[dict[str, Any]]:
    """How each round went, as plain data: movements are the largest of all parameters."""
    told: list[dict[str, Any]] = []
    for r, one in enumerate(chain):
        mass, error = prior_mass([(each.inside, each.kept) for each in chain[: r + 1]])
        now: dict[str, Any] = {"round": r + 1, "rows": one.rows, "kept": one.kept, "leakage": one.leakage}
        now |= {"acceptance": one.acceptance, "mass": mass, "mass_error": error}
        now |= {"shift": None, "spread": None, "steady": False}
        if r:
            before = chain[r - 1]
            now["shift"] = float(np.max(np.abs(one.mean - before.mean) / before.sd))
            now["spread"] = float(np.max(np.abs(one.sd / before.sd - 1)))
            now["steady"] = _steady(now, told[-1])
        told.append(now)
    return told


def _steady(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a round has moved neither the answer nor its region."""
    fell = abs(math.log(now["mass"] / before["mass"]))
    return bool(now["shift"] < STEADY_SHIFT and now["spread"] < STEADY_SPREAD and fell < STEADY_MASS)
