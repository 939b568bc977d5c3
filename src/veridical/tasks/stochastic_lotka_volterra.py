r"""Predators and prey as whole animals: Lotka-Volterra as a Markov jump process, and three approximations.

Of X prey and Y predators, 100 and 50 at the start,

.. math:: X \to X + 1 \text{ at the rate } k_1 X , \qquad (X, Y) \to (X - 1, Y + 1) \text{ at } k_2 X Y ,
    \qquad Y \to Y - 1 \text{ at } k_3 Y .

Parameters are the logarithms of the rates, uniform, with :math:`k_1 \in [0.5, 1.5]`,
:math:`k_2 \in [0.005, 0.015]` and :math:`k_3 \in [0.25, 1]`; data are :math:`\log (1 + X)` and
:math:`\log (1 + Y)` at t = 1, ..., 10, with Gaussian noise of standard deviation 0.1.

Fidelities:

`ode`: the mean without chance, :math:`X' = k_1 X - k_2 X Y`, :math:`Y' = k_2 X Y - k_3 Y`, by the classical
Runge-Kutta method in steps of 0.05.

`langevin`: the chemical Langevin equation, by Euler and Maruyama in steps of h = 0.02: of the kind with rate
a there are :math:`a h + \sqrt{a h} z` events in a step, with z standard normal; numbers below 0 become 0.

`tau_leap`: Poisson(a h) events of each kind, the quantile at :math:`\Phi(z)`, no more than there are animals.

`jumps`: each event, exactly (Gillespie's direct method).

All levels share the noise of the data, the inner two also the numbers z. Each event of `jumps` takes 64 bits
of the SplitMix64 generator, the upper half for the waiting time, the lower for the kind, so that a row needs
one number for all of its events, its key.

References:
    | Stochastic modelling for systems biology (Wilkinson, 2006), chapters 6 and 8
    | Fast splittable pseudorandom number generators (Steele, Lea, Flood, 2014)
    | https://doi.org/10.1145/2660193.2660195
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.lotka_volterra import rk4_log_counts
from veridical.tasks.priors import Product, Uniform

RANGES = {"log_birth": (0.5, 1.5), "log_predation": (0.005, 0.015), "log_death": (0.25, 1.0)}
START = (100.0, 50.0)
TIMES = 10
NOISE_SD = 0.1
STEP, ODE_STEP = 0.02, 0.05
MOST_EVENTS = 200_000  # of `jumps`; rows that need more fail


class StochasticLotkaVolterra(Task):
    """Rates of birth, predation and death from ten counts of both species."""

    name = "stochastic_lotka_volterra"
    fidelities = {"ode": 1.0, "langevin": 3.0, "tau_leap": 8.0, "jumps": 50.0}  # noqa: RUF012
    dimensions = (Dimension("time", tuple(range(1, TIMES + 1))), Dimension("species", ("prey", "predator")))

    def __init__(self) -> None:
        self.prior = Product({name: Uniform(*np.log(ends)) for name, ends in RANGES.items()})
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns standard normal numbers of the data (n, 10, 2) and of each step and kind of event
        (n, 500, 3), and a key of the numbers behind single events, (n,).
        """
        return {
            "observation": rng.standard_normal((n, *self.x_shape)),
            "steps": rng.standard_normal((n, TIMES * _steps(STEP), 3)),
            "events": rng.integers(0, 2**64, n, dtype=np.uint64),
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 3), shape (N, 10, 2); NaN in rows of too many events."""
        require_shape("noise['observation']", noise["observation"], len(theta), *self.x_shape)
        return np.log1p(self.counts(theta, noise, fidelity)) + NOISE_SD * noise["observation"]

    def counts(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Returns numbers of prey and predators at theta (N, 3) of one level, shape (N, 10, 2)."""
        if fidelity not in self.fidelities:
            raise TaskError(
                f"task {self.name} has no fidelity {fidelity!r}; expected {', '.join(self.fidelities)}."
            )
        require_shape("theta", theta, None, 3)
        rates = np.ascontiguousarray(np.exp(np.asarray(theta, float)).T)
        if fidelity == "ode":
            return _ode(rates)
        if fidelity == "jumps":
            return _jumps(rates, noise["events"])
        return _leaps(rates, noise["steps"], whole=fidelity == "tau_leap")


def _ode(rates: Array) -> Array:
    """Counts (N, 10, 2) at rates (3, N) without chance."""
    birth, predation, death = rates
    start = np.log(np.broadcast_to(np.reshape(START, (2, 1)), (2, rates.shape[1])))
    four = np.stack([birth, predation, death, predation])
    path = rk4_log_counts(four, start, ODE_STEP, _steps(ODE_STEP), TIMES)
    return np.exp(np.ascontiguousarray(path[1:].transpose(2, 0, 1)))


def _leaps(rates: Array, z: Array, whole: bool) -> Array:
    """Counts (N, 10, 2) at rates (3, N) in steps with numbers z (N, 500, 3); Poisson ones where `whole`."""
    z = np.ascontiguousarray(z.transpose(1, 2, 0))
    birth, predation, death = rates * STEP
    prey, predators = (np.full(rates.shape[1], count) for count in START)
    path, means = np.empty((TIMES, 2, rates.shape[1])), np.empty(rates.shape)
    for step in range(len(z)):
        means[0], means[1], means[2] = birth * prey, predation * prey * predators, death * predators
        if whole:
            born, eaten, dead = poisson_quantile(ndtr(z[step]), means)
            eaten, dead = np.minimum(eaten, prey), np.minimum(dead, predators)
        else:
            born, eaten, dead = means + np.sqrt(means) * z[step]
        prey = np.maximum(prey + born - eaten, 0.0)
        predators = np.maximum(predators + eaten - dead, 0.0)
        if (step + 1) % _steps(STEP) == 0:
            path[step // _steps(STEP)] = prey, predators
    return np.ascontiguousarray(path.transpose(2, 0, 1))


def _jumps(rates: Array, keys: Array) -> Array:
    """Counts (N, 10, 2) at rates (3, N), event by event; NaN in rows that need too many."""
    n = rates.shape[1]
    found, rows = np.full((n, TIMES, 2), np.nan), np.arange(n)
    prey, predators = (np.full(n, count) for count in START)
    time, look = np.zeros(n), np.zeros(n, dtype=int)
    for event in range(MOST_EVENTS):
        born, eaten = rates[0] * prey, rates[1] * prey * predators
        total = born + eaten + rates[2] * predators
        waiting, kind = uniforms(keys, event)
        with np.errstate(divide="ignore"):
            time = time - np.log(waiting) / total
        kind *= total
        looking = time > look + 1  # nothing happens before the next look, from which time goes on
        happens = ~looking
        is_birth, is_death = happens & (kind < born), happens & (kind >= born + eaten)
        is_meal = happens ^ is_birth ^ is_death
        if looking.any():
            at = np.flatnonzero(looking)
            found[rows[at], look[at], 0], found[rows[at], look[at], 1] = prey[at], predators[at]
            look[at] += 1
            time[at] = look[at]
        prey += is_birth
        prey -= is_meal
        predators += is_meal
        predators -= is_death
        if looking.any() and (left := look < TIMES).sum() < len(left):
            rows, keys, rates = rows[left], keys[left], rates[:, left]
            prey, predators, time, look = prey[left], predators[left], time[left], look[left]
            if not rows.size:
                break
    found[rows] = np.nan
    return found


def poisson_quantile(u: Array, mean: Array) -> Array:
    """Returns the least k with P(count <= k) >= u of Poisson counts of these means, below 700; floats.

    Adds up probabilities from k = 0, which for small means is many times faster than an incomplete gamma
    function.
    """
    p = np.exp(-mean)
    up_to, found = p.copy(), np.zeros(np.shape(mean))
    most = mean.max(initial=0.0)
    for k in range(1, int(most + 40 * np.sqrt(most) + 40)):
        more = u > up_to
        if not more.any():
            break
        found += more
        p *= mean / k
        up_to += p
    return found


def uniforms(keys: Array, count: int) -> tuple[Array, Array]:
    """Returns two uniform numbers in (0, 1) for each key (N,): the halves of the output `count`, from 0, of
    the SplitMix64 generator that begins there.
    """
    bits = keys + np.uint64((count + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    halves = bits >> np.uint64(32), bits & np.uint64(2**32 - 1)
    return tuple((half + 0.5) * 2.0**-32 for half in halves)  # type: ignore[return-value]


def _steps(step: float) -> int:
    """Steps of a unit of time."""
    return round(1 / step)
