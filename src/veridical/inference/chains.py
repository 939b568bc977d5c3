r"""The exact posterior of one observation, by Markov chains, where a task has a likelihood.

Several independent ensembles of walkers are run with emcee in unconstrained coordinates z, with the density
:math:`p(\theta(z)) \, p(x | \theta(z)) \, |d\theta / dz|`. Walkers of one ensemble depend on each other, so
it is the ensembles that are compared for convergence.

**Starts.** Each ensemble starts from draws of its own of the tempered posterior
:math:`p(\theta) \, p(x | \theta)^{1/2}`, which is wider than the posterior, in general by the square root of
two or more. They come from prior draws by a sequential Monte Carlo sampler: the power of the likelihood is
raised as far as the importance weights keep an effective size of twice the number of walkers, the pool is
resampled, the walkers move at that power, and the second half of their path is the pool for the next rise.
The weights give each mode its share; starts from the prior would leave walkers in minor modes for thousands
of steps.

**Moves.** Differential evolution, one in ten with a jump of the whole difference (between modes). The snooker
move of emcee 3.1.6 is left out: it does not keep the target (a standard normal in eight dimensions comes out
with variance 0.63; dfm/emcee#531).

References:
    | emcee: The MCMC Hammer (Foreman-Mackey et al., 2013)
    | A Markov Chain Monte Carlo version of the genetic algorithm Differential Evolution (ter Braak, 2006)
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical import seeds
from veridical.errors import ConvergenceError, SettingError, TaskError, require_shape
from veridical.inference.convergence import bulk_ess, rank_rhat
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array, Task
from veridical.tasks.bijection import Bijection
from veridical.tasks.latents import Support

if TYPE_CHECKING:
    import emcee

_START_POWER = 0.5
_LEVEL_STEPS = 30  # moves at each power up to that


@dataclass(frozen=True)
class Reference:
    """Draws of the exact posterior and the evidence that they are.

    Attributes:
        draws: Nearly independent draws, shape (S, D); any stretch of them mixes all ensembles.
        log_posterior: Log prior plus log likelihood at the draws, shape (S,); not normalised.
        rhat: Rank-normalised split R-hat across the ensembles, shape (D,).
        ess: Bulk effective sample size of all ensembles together, shape (D,).
    """

    draws: Array
    log_posterior: Array
    rhat: Array
    ess: Array

    def converged(self, max_rhat: float, min_ess: float) -> bool:
        """Returns whether each parameter has a small enough R-hat and a large enough effective size."""
        return bool((self.rhat < max_rhat).all() and (self.ess > min_ess).all())


class _Constrained:
    """What a `Bijection` does, for parameters under constraints: D of them for K unconstrained numbers."""

    def __init__(self, bounds: Array, support: Support) -> None:
        self.transform = ParameterTransform.plain(bounds, support)

    def to_parameters(self, z: Array) -> Array:
        """Returns theta (..., D) of unconstrained z (..., K)."""
        return self.transform.inverse(z)

    def to_unconstrained(self, theta: Array) -> Array:
        """Returns z (..., K) of parameters theta (..., D)."""
        return self.transform.forward(theta)[0]

    def log_jacobian(self, z: Array) -> Array:
        r"""Returns :math:`\log |d\theta / dz|` at z (..., K), shape (...)."""
        return -self.transform.forward(self.transform.inverse(z))[1]


class _Density:
    """The log density of z (N, D) under a tempered posterior; -inf where it is zero or undefined."""

    def __init__(self, task: Task, x: Array) -> None:
        self.task, self.x = task, x
        support = Support(task.parameter_names, task.constraints)
        self.bijection = _Constrained(task.bounds, support) if task.constraints else Bijection(task.bounds)

    def prior(self, z: Array) -> Array:
        """Returns the log prior density of z (N, D) in unconstrained coordinates, shape (N,)."""
        theta = self.bijection.to_parameters(z)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_p = self.task.prior.log_prob(theta) + self.bijection.log_jacobian(z)
        return np.where(np.isfinite(log_p), log_p, -np.inf)

    def likelihood(self, z: Array) -> Array:
        """Returns the log likelihood of z (N, D), shape (N,)."""
        log_p = self.task.log_likelihood(self.bijection.to_parameters(z), self.x)
        return np.where(np.isnan(log_p), -np.inf, log_p)

    def tempered(self, z: Array, power: float) -> Array:
        """Returns log prior + power * log likelihood of z (N, D), shape (N,)."""
        log_p = self.prior(z)
        inside = np.isfinite(log_p)
        if inside.any():
            log_p[inside] += power * self.likelihood(z[inside])
        return log_p


def sample_ensemble(
    task: Task,
    x: Array,
    ensemble: int,
    settings: Mapping[str, Any],
    root: int,
    *,
    dataset: str = "observed",
    observation: int = 0,
) -> dict[str, Array]:
    """Runs one independent ensemble on one observation.

    Arguments:
        task: A task with a likelihood.
        x: The observation, shape (*x_shape).
        ensemble: Number of the ensemble; it decides the randomness with the root seed, the dataset and
            the number of the observation.
        settings: `walkers`, `prior_draws`, `warm_up` and `steps`; see ReferenceSettings.
        root: Root seed.
        dataset: Name of the data set.
        observation: Which of its observations.

    Returns:
        `draws` (T, W, D) in the task's coordinates after warm-up, `log_posterior` (T, W), `acceptance` ().

    Raises:
        TaskError: If the task has no likelihood.
        SettingError: If there are too few walkers for the number of parameters.
        ConvergenceError: If the likelihood vanishes at all prior draws.
    """
    if not task.has_likelihood:
        raise TaskError(f"task {task.name} has no log_likelihood, so there is no exact reference.")
    require_shape("x", np.asarray(x), *task.x_shape)
    least = 4 * len(task.parameters)
    if settings["walkers"] < least:
        raise SettingError(
            f"reference.walkers: task {task.name} has {len(task.parameters)} parameters; expected at least "
            f"{least} walkers, got {settings['walkers']}."
        )
    density = _Density(task, np.asarray(x, dtype=float))
    path = (dataset, observation, ensemble)
    rng = seeds.generator(root, "reference", *path, "start")
    random = np.random.RandomState(np.random.MT19937(seeds.sequence(root, "reference", *path, "moves")))
    z = _tempered_start(density, settings, rng, random)
    warm = _run(density, z, 1.0, settings["warm_up"], random)
    sampler = _run(density, warm.get_last_sample().coords, 1.0, settings["steps"], random)
    z = sampler.get_chain()
    return {
        "draws": density.bijection.to_parameters(z),
        "log_posterior": sampler.get_log_prob() - density.bijection.log_jacobian(z),
        "acceptance": np.asarray(sampler.acceptance_fraction.mean()),
    }


def combine(chains: Sequence[Mapping[str, Array]], draws: int) -> Reference:
    """Joins independent ensembles to a reference with its convergence across them.

    Arguments:
        chains: What `sample_ensemble` returned, for at least two ensembles.
        draws: Draws to keep, at most; evenly spaced steps of all walkers.
    """
    if len(chains) < 2:
        raise ConvergenceError(f"R-hat needs at least two independent ensembles, got {len(chains)}.")
    theta = np.stack([chain["draws"] for chain in chains])  # (ensembles, T, W, D)
    log_p = np.stack([chain["log_posterior"] for chain in chains])
    ensembles, steps, walkers, wide = theta.shape
    kept = np.linspace(steps - 1, 0, min(steps, -(-draws // (ensembles * walkers)))).astype(int)[::-1]
    return Reference(
        draws=theta[:, kept].transpose(1, 2, 0, 3).reshape(-1, wide)[:draws],
        log_posterior=log_p[:, kept].transpose(1, 2, 0).reshape(-1)[:draws],
        rhat=np.array([rank_rhat(theta[..., j].reshape(ensembles, -1)) for j in range(wide)]),
        ess=np.array([bulk_ess(theta[..., j]) for j in range(wide)]),
    )


def _tempered_start(
    density: _Density, settings: Mapping[str, Any], rng: np.random.Generator, random: np.random.RandomState
) -> Array:
    """Returns as many draws z (W, D) of the tempered posterior as there are walkers."""
    walkers, power = settings["walkers"], 0.0
    pool = density.bijection.to_unconstrained(density.task.prior.sample(rng, settings["prior_draws"]))
    log_p = density.likelihood(pool)
    if not np.isfinite(log_p).any():
        raise ConvergenceError(
            f"reference: none of {len(pool)} prior draws of task {density.task.name} has a positive "
            f"likelihood for this observation; raise `prior_draws`, or see whether it fits the task."
        )
    while power < _START_POWER:
        rise = _largest_power(log_p, _START_POWER - power, 2 * walkers)
        power += rise
        weights = np.exp(rise * (log_p - log_p.max()))
        z = pool[rng.choice(len(pool), size=walkers, p=weights / weights.sum())]
        sampler = _run(density, z, power, _LEVEL_STEPS, random)
        pool = sampler.get_chain(discard=_LEVEL_STEPS // 2, flat=True)
        log_p = density.likelihood(pool)
    return sampler.get_last_sample().coords


def _largest_power(log_p: Array, most: float, size: float) -> float:
    """Returns the largest power <= most at which the weights p**power keep the effective size."""
    shifted = log_p[np.isfinite(log_p)] - log_p.max()
    size = min(size, 0.5 * len(shifted))

    def effective(power: float) -> float:
        weights = np.exp(power * shifted)
        return weights.sum() ** 2 / (weights**2).sum()

    if effective(most) >= size:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle) >= size else (low, middle)
    return high


def _run(
    density: _Density, z: Array, power: float, steps: int, random: np.random.RandomState
) -> emcee.EnsembleSampler:
    """Moves the walkers z (W, D); `random` goes on where it is left."""
    import emcee

    moves = emcee.moves
    mix = [(moves.DEMove(), 0.9), (moves.DEMove(gamma0=1.0), 0.1)]
    sampler = emcee.EnsembleSampler(*z.shape, lambda z: density.tempered(z, power), moves=mix, vectorize=True)
    start = emcee.State(z, random_state=random.get_state())
    end = sampler.run_mcmc(start, steps, skip_initial_state_check=True)
    random.set_state(end.random_state)
    return sampler
