r"""An epidemic on a network of contacts, among as many people who all meet, and as its mean: three levels.

Susceptible, infected and recovered people, 5 of 500 infected at the start, in steps of h = 1/4 day. Of those
infected on the days 4, 8, ..., 40 each is reported with probability 1/2; x is the number of reports over half
the number of people. Parameters are the logarithms of the contact rate :math:`\beta` and the recovery rate
:math:`\gamma`, both uniform, with :math:`\beta \in [0.2, 1]` and :math:`\gamma \in [0.1, 0.4]` a day.

Fidelities:

`network`: each pair of people meets with the same probability, six others on average (an Erdős-Rényi graph,
drawn for each row), and a contact with an infected one infects at the rate :math:`\beta / 6`.

`chain`: all n people meet, the chain binomial model of Reed and Frost,

.. math:: \text{infections} \sim \mathrm{Bin}(S, 1 - e^{-\beta I h / n}), \qquad
    \text{recoveries} \sim \mathrm{Bin}(I, 1 - e^{-\gamma h}) .

`mean_field`: the limit of the chain for many people, :math:`S' = S e^{-\beta I h / n}` and
:math:`I' = I + S - S' - I (1 - e^{-\gamma h})`; I is rounded before it is reported.

Both random levels are Sellke's construction: person i is infected when what it has been exposed to,

.. math:: \Lambda_i(t) = \frac{\beta h}{n} \sum_{s < t} I(s) \quad \text{or} \quad
    \frac{\beta h}{6} \sum_{s < t} I_{\text{contacts of } i}(s) ,

passes an exponential threshold of its own, and recovers after :math:`\lceil E_i / (\gamma h) \rceil` steps.
They share thresholds and :math:`E_i`, and all levels the uniform numbers behind the reports. On the complete
graph both are the same epidemic, person by person.

References:
    | On the asymptotic distribution of the size of a stochastic epidemic (Sellke, 1983)
    | https://doi.org/10.2307/3213811
    | Efficient generation of large random networks (Batagelj, Brandes, 2005)
    | https://doi.org/10.1103/PhysRevE.71.036113
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task
from veridical.tasks.priors import Product, Uniform

CONTACT, RECOVERY = (0.2, 1.0), (0.1, 0.4)
STEP, DAYS = 0.25, tuple(range(4, 41, 4))
MOST_PEOPLE = 2000  # for the table of reports
_NEVER = np.iinfo(np.int32).max
_AT_ONCE = 2**16  # people of all rows that are simulated together: their numbers are sorted by 16 bits


class NetworkSIR(Task):
    """Contact and recovery rate of an epidemic.

    Arguments:
        people: How many there are.
        infected: How many of them are infected at the start.
        degree: How many others a person meets on average.
    """

    name = "network_sir"
    fidelities = {"mean_field": 1.0, "chain": 10.0, "network": 200.0}  # noqa: RUF012
    dimensions = (Dimension("day", DAYS, "d"),)

    def __init__(self, people: int = 500, infected: int = 5, degree: float = 6.0) -> None:
        if not all(isinstance(k, int) and not isinstance(k, bool) for k in (people, infected)) or not (
            1 <= infected < people <= MOST_PEOPLE
        ):
            raise TaskError(
                f"task {self.name}: expected whole numbers of people, up to {MOST_PEOPLE}, and infected, "
                f"from 1 to one less than people, got {people!r} and {infected!r}."
            )
        if isinstance(degree, bool) or not 0 < degree <= people - 1:
            raise TaskError(
                f"task {self.name}: expected a degree above 0 and up to {people - 1}, got {degree!r}."
            )
        self.people, self.infected, self.degree = people, infected, float(degree)
        self.prior = Product(
            {"log_contact": Uniform(*np.log(CONTACT)), "log_recovery": Uniform(*np.log(RECOVERY))}
        )
        self.parameters = self.prior.parameters()

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns exponential numbers behind contacts (n, E), thresholds (n, P) and durations (n, P) of P
        people, and uniform ones behind reports (n, 10).

        A network needs more than E contacts with a probability below 1e-15.
        """
        mean = self.people * self.degree / 2
        contacts = min(len(self._pairs[0]), int(np.ceil(mean + 8.5 * np.sqrt(mean) + 20)))
        widths = {"contacts": contacts, "thresholds": self.people, "durations": self.people}
        found = {name: rng.standard_exponential((n, width)) for name, width in widths.items()}
        return found | {"reports": rng.random((n, len(DAYS)))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, 10)."""
        infected = np.rint(self.prevalence(theta, noise, fidelity)).astype(int)
        found = np.searchsorted(self._reported_up_to, infected + noise["reports"], side="right")
        return (found - infected * (self.people + 1)) / (self.people / 2)

    def prevalence(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Returns how many are infected on each day at theta (N, 2) of one level, shape (N, 10); not rounded
        at `mean_field`.
        """
        if fidelity not in self.fidelities:
            raise TaskError(
                f"task {self.name} has no fidelity {fidelity!r}; expected {', '.join(self.fidelities)}."
            )
        require_shape("theta", theta, None, 2)
        require_shape("noise['reports']", noise["reports"], len(theta), len(DAYS))
        rates = np.exp(np.asarray(theta, float)) * STEP
        if fidelity == "mean_field":
            return self._mean_field(rates)
        size = max(1, _AT_ONCE // self.people)
        pieces = [slice(first, first + size) for first in range(0, len(theta), size)]
        course = self._on_network if fidelity == "network" else self._all_meet
        return np.concatenate(
            [course(rates[rows], {k: v[rows] for k, v in noise.items()}) for rows in pieces]
        )

    def network(self, exponential: Array) -> tuple[Array, Array]:
        """Returns both people of each contact, numbered over all N P people, (C,) each, from exponential
        numbers (N, E): between two contacts a geometric number of the pairs, in a fixed order, do not meet.
        """
        first, second = self._pairs
        with np.errstate(divide="ignore"):
            gap = -np.log1p(-self.degree / (self.people - 1))
        place = np.cumsum(np.maximum(np.ceil(exponential / gap), 1), axis=1) - 1
        row, column = np.nonzero(place < len(first))
        pair, offset = place[row, column].astype(int), row * self.people
        return offset + first[pair], offset + second[pair]

    def _mean_field(self, rates: Array) -> Array:
        """The limit for many people, at the rates of a step (N, 2)."""
        contact, recovery = np.ascontiguousarray(rates.T)
        susceptible = np.full(len(rates), float(self.people - self.infected))
        infected = np.full(len(rates), float(self.infected))
        lost, found = -np.expm1(-recovery), np.empty((len(rates), len(DAYS)))
        for step in range(1, _steps(DAYS[-1]) + 1):
            left = susceptible * np.exp(-contact * infected / self.people)
            infected = infected + susceptible - left - infected * lost
            susceptible = left
            if step % _steps(DAYS[0]) == 0:
                found[:, step // _steps(DAYS[0]) - 1] = infected
        return found

    def _all_meet(self, rates: Array, noise: dict[str, Array]) -> Array:
        """The chain binomial model."""
        infected = np.full((len(rates), 1), self.infected, dtype=np.int32)

        def exposure(fallen_ill: Array, recovered: Array) -> Array:
            for people, change in ((fallen_ill, 1), (recovered, -1)):
                np.add.at(infected[:, 0], people // self.people, change)
            return infected

        return self._course(rates, rates[:, :1] / self.people, noise, exposure, infected)

    def _on_network(self, rates: Array, noise: dict[str, Array]) -> Array:
        """The epidemic on networks, one for each row."""
        networks = Contacts.of(*self.network(noise["contacts"]), len(rates) * self.people)
        met = np.zeros((len(rates), self.people), dtype=np.int32)
        at_start = np.arange(len(rates))[:, None] * self.people + np.arange(self.infected)
        np.add.at(met.reshape(-1), networks.of_each(at_start.reshape(-1)), 1)

        def exposure(fallen_ill: Array, recovered: Array) -> Array:
            for people, change in ((fallen_ill, 1), (recovered, -1)):
                np.add.at(met.reshape(-1), networks.of_each(people), change)
            return met

        return self._course(rates, rates[:, :1] / self.degree, noise, exposure, met)

    def _course(
        self,
        rates: Array,
        per_contact: Array,
        noise: dict[str, Array],
        exposure: Callable[[Array, Array], Array],
        at_start: Array,
    ) -> Array:
        """The infected of each day, (N, 10), of Sellke's construction.

        Arguments:
            rates: Of a step, (N, 2).
            per_contact: The rate at which one contact with an infected person infects in a step, (N, 1).
            noise: See `noise`.
            exposure: From who, of all N P people, fell ill and who recovered in a step to how many infected
                people each is exposed to thereafter, (N, P), or (N, 1) if all to the same.
            at_start: That number at the start.
        """
        last = _steps(DAYS[-1])
        left = _whole(noise["thresholds"] / per_contact, _NEVER).astype(np.int32)  # exposures up to infection
        duration = _whole(noise["durations"] / rates[:, 1:], last + 1).astype(np.int16)
        recovery = np.zeros(duration.shape, dtype=np.int16)  # the step after which; 0 for those not infected
        left[:, : self.infected] = _NEVER
        recovery[:, : self.infected] = duration[:, : self.infected]
        count, found = np.full(len(rates), self.infected), np.zeros((len(rates), len(DAYS)))
        so_far, now = np.zeros_like(at_start), at_start
        flat_left, flat_duration, flat_recovery = left.reshape(-1), duration.reshape(-1), recovery.reshape(-1)
        for step in range(1, last + 1):
            so_far += now
            fallen_ill = np.flatnonzero(so_far >= left)
            recovered = np.flatnonzero(flat_recovery == step)
            flat_left[fallen_ill] = _NEVER
            flat_recovery[fallen_ill] = step + flat_duration[fallen_ill]
            for people, change in ((fallen_ill, 1), (recovered, -1)):
                np.add.at(count, people // self.people, change)
            now = exposure(fallen_ill, recovered)
            if step % _steps(DAYS[0]) == 0:
                found[:, step // _steps(DAYS[0]) - 1] = count
        return found

    @cached_property
    def _pairs(self) -> tuple[Array, Array]:
        """All pairs of people."""
        return np.triu_indices(self.people, 1)

    @cached_property
    def _reported_up_to(self) -> Array:
        """I + the probability that of I infected no more than y are reported, one after another for I and y
        from 0 to P, ascending; ((P + 1)^2,).
        """
        infected, y = np.ogrid[: self.people + 1, : self.people + 1]
        missed = np.maximum(infected - y, 0)
        log_ways = gammaln(infected + 1) - gammaln(y + 1) - gammaln(missed + 1)
        p = np.where(y <= infected, np.exp(log_ways - infected * np.log(2)), 0.0)
        up_to = np.minimum(np.cumsum(p, axis=1), 1.0)
        up_to[y >= infected] = 1.0  # whatever was rounded
        return (infected + up_to).ravel()


@dataclass(frozen=True)
class Contacts:
    """Who meets whom.

    Attributes:
        first: Where the contacts of each person begin, and end where those of the next do, (P + 1,).
        others: Those whom they meet, (C,).
    """

    first: Array
    others: Array

    @classmethod
    def of(cls, one: Array, other: Array, people: int) -> Contacts:
        """Returns contacts of so many people, up to 65,536, from both sides of each, (C / 2,)."""
        person, met = np.concatenate([one, other]), np.concatenate([other, one])
        order = np.argsort(person.astype(np.uint16), kind="stable")  # a radix sort
        first = np.concatenate([[0], np.cumsum(np.bincount(person, minlength=people))])
        return cls(first, met[order])

    def of_each(self, people: Array) -> Array:
        """Returns whom these people (K,) meet, one after another."""
        first = self.first[people]
        lengths = self.first[people + 1] - first
        shift = np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        return self.others[shift + np.arange(len(shift))]


def _whole(values: Array, most: int) -> Array:
    """The values rounded up to whole numbers from 1 to `most`."""
    return np.clip(np.ceil(values), 1, most)


def _steps(days: float) -> int:
    return round(days / STEP)
