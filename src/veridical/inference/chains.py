r"""The exact posterior of one observation, by Markov chains, where a task has a likelihood.

Several independent ensembles of walkers are run with emcee in unconstrained coordinates z, with the density
:math:`p(\theta(z)) \, p(x | \theta(z)) \, |d\theta / dz|`. Walkers of one ensemble depend on each other, so
it is the ensembles that are compared for convergence.

Each ensemble starts from draws of its own of the tempered posterior, see `tempering`.

**Moves.** Differential evolution, one in ten with a jump of the whole difference (between modes). The snooker
move of emcee 3.1.6 is left out: it does not keep the target (a standard normal in eight dimensions comes out
with variance 0.63; dfm/emcee#531).

References:
    | emcee: The MCMC Hammer (Foreman-Mackey et al., 2013)
    | A Markov Chain Monte Carlo version of the genetic algorithm Differential Evolution (ter Braak, 2006)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical import seeds
from veridical.errors import ConvergenceError, SettingError, TaskError, require_shape
from veridical.inference import tempering
from veridical.inference.tempering import Target
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array, Task
from veridical.tasks.bijection import Bijection
from veridical.tasks.latents import Support

if TYPE_CHECKING:
    import emcee


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
    target = _target(task, np.asarray(x, dtype=float))
    path = (dataset, observation, ensemble)
    rng = seeds.generator(root, "reference", *path, "start")
    random = np.random.RandomState(np.random.MT19937(seeds.sequence(root, "reference", *path, "moves")))
    pool = target.space.to_unconstrained(task.prior.sample(rng, settings["prior_draws"]))

    def move(z: Array, powers: Array, steps: int, rows: Array) -> Array:
        return _run(target, z[0], float(powers[0]), steps, random).get_chain()[:, None]

    try:
        (z,) = tempering.starts(target, pool[None], settings["walkers"], move, [rng])
    except ConvergenceError as error:
        raise ConvergenceError(f"reference of task {task.name}: {error}") from error
    warm = _run(target, z, 1.0, settings["warm_up"], random)
    sampler = _run(target, warm.get_last_sample().coords, 1.0, settings["steps"], random)
    z = sampler.get_chain()
    return {
        "draws": target.space.to_parameters(z),
        "log_posterior": sampler.get_log_prob() - target.space.log_jacobian(z),
        "acceptance": np.asarray(sampler.acceptance_fraction.mean()),
    }


def _target(task: Task, x: Array) -> Target:
    """The posterior of one observation (*x_shape)."""
    support = Support(task.parameter_names, task.constraints)
    space: tempering.Coordinates = (
        tempering.Transformed(ParameterTransform.plain(task.bounds, support))
        if task.constraints
        else Bijection(task.bounds)
    )
    return Target(space, task.prior, lambda z, _: task.log_likelihood(space.to_parameters(z), x))


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
    rhat, ess = tempering.convergence(theta)
    return Reference(tempering.gathered(theta, draws), tempering.gathered(log_p, draws), rhat, ess)


def _run(
    target: Target, z: Array, power: float, steps: int, random: np.random.RandomState
) -> emcee.EnsembleSampler:
    """Moves the walkers z (W, D); `random` goes on where it is left."""
    import emcee

    moves = emcee.moves
    mix = [(moves.DEMove(), 0.9), (moves.DEMove(gamma0=1.0), 0.1)]
    powers, row = np.array([power]), np.zeros(1, int)

    def log_p(z: Array) -> Array:
        return target.tempered(z[None], powers, row)[0]

    sampler = emcee.EnsembleSampler(*z.shape, log_p, moves=mix, vectorize=True)
    start = emcee.State(z, random_state=random.get_state())
    end = sampler.run_mcmc(start, steps, skip_initial_state_check=True)
    random.set_state(end.random_state)
    return sampler
