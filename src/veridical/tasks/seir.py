r"""An epidemic wave in cases a day for each million people, whose contacts change once; no weekends.

.. math:: S' = - \frac{R(t)}{5} \frac{S I}{N}, \qquad E' = \frac{R(t)}{5} \frac{S I}{N} - \frac{E}{3}, \qquad
    I' = \frac{E}{3} - \frac{I}{5}, \qquad N = 10^6 ,

in days: 3 until one infects others, 5 for which one does. R is a number before the day of the change and
another after it. Of those who begin to infect 40 % become cases, and reporting scatters: with the expected
number :math:`m_t` of cases on day t

.. math:: x_t \sim \mathrm{NegativeBinomial}, \qquad \mathrm{E} x_t = m_t, \qquad
    \mathrm{Var} x_t = m_t + m_t^2 / k, \qquad t = 0, \dots, 55 .

At the start I people are infectious, 0.6 I infected, 5 % immune. The equations are solved in four steps a
day. Counts are quantiles of uniform numbers (Poisson, with a gamma distributed rate). With `weekly` x holds
the cases of eight weeks instead, whose likelihood is not known.

Where `weekend` is set there is a level `real`, day 0 of which is a Monday: that share of the cases of each
Saturday and Sunday, times the severity and rounded, is seen on the Monday after, or beyond the end.

References:
    | An Introduction to Mathematical Modeling of Infectious Diseases (Li, 2018), chapter 1
    | OutbreakFlow (Radev et al., 2021), https://arxiv.org/abs/2010.00300: changing contacts, noisy reports
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincinv, gammaln

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.cancer_stromal import poisson_quantile
from veridical.tasks.priors import LogNormal, Product, Uniform

DAYS, WEEK = 56, 7
SATURDAY = 5
PEOPLE, IMMUNE = 1e6, 0.05
LATENT, INFECTIOUS = 3.0, 5.0  # days
REPORTED = 0.4
_STEPS = 4  # of a day
_LEAST = 1e-6  # expected cases


class SEIR(Task):
    """Two reproduction numbers, the day between them, the start, and how even reports are.

    Arguments:
        weekly: Whether x holds the cases of weeks, and not of days.
        weekend: The share of weekends' cases that is seen on Mondays at the level `real`, above 0 and up to
            1, which is there only where this is given.
        severity: How much of that share it is, from 0 (the simulator is right) to 1.
    """

    name = "seir"
    of_nature = ("severity",)
    x_unit = "cases per million"

    def __init__(self, weekly: bool = False, weekend: float | None = None, severity: float = 1.0) -> None:
        if weekend is not None and not 0 < weekend <= 1:
            raise TaskError(f"task {self.name}: expected a weekend above 0 and up to 1, got {weekend!r}.")
        if weekend is None and severity != 1:
            raise TaskError(f"task {self.name}: a severity needs a weekend, without which nature is right.")
        self.prior = Product(
            {
                "r_before": Uniform(0.8, 2.5),
                "r_after": Uniform(0.3, 1.6),
                "change_day": Uniform(0.0, float(DAYS)),
                "infectious": LogNormal(mean=6.0, sd=1.2),
                "dispersion": LogNormal(mean=1.5, sd=1.5),
            }
        )
        self.parameters = self.prior.parameters({"change_day": "d", "infectious": "per million"})
        self.weekly, self.severity = bool(weekly), require_severity(self.name, severity)
        self.moved = self.severity * (weekend or 0.0)
        self.fidelities = {"seir": 1.0} if weekend is None else {"seir": 1.0, "real": 100.0}
        axis = ("week", DAYS // WEEK) if weekly else ("day", DAYS)
        self.dimensions = (Dimension(axis[0], tuple(range(axis[1])), "wk" if weekly else "d", kind="series"),)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns uniform numbers of each day's rate and count, (n, 56)."""
        return {"rates": rng.random((n, DAYS)), "counts": rng.random((n, DAYS))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 5), shape (N, 56), or (N, 8) of weeks."""
        if fidelity not in self.fidelities:
            known = ", ".join(self.fidelities)
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected {known}.")
        k = theta[:, 4:]
        rates = self.expected(theta) * gammaincinv(k, noise["rates"]) / k
        x = poisson_quantile(noise["counts"], rates).astype(float)
        if fidelity == "real":
            x = _seen_on_mondays(x, self.moved)
        return x.reshape(len(x), -1, WEEK).sum(axis=2) if self.weekly else x

    def expected(self, theta: Array) -> Array:
        """Returns the expected cases of each day, (N, 56), at theta (N, 5)."""
        require_shape("theta", theta, None, 5)
        before, after, change, start, _ = np.ascontiguousarray(theta.T)
        s, e, i = (1 - IMMUNE) * PEOPLE - 1.6 * start, 0.6 * start, start
        s, found, dt = np.maximum(s, 0.0), np.empty((len(theta), DAYS)), 1 / _STEPS
        for day in range(DAYS):
            new = np.zeros(len(theta))
            for step in range(_STEPS):
                still = np.clip(
                    (change - day) / dt - step, 0.0, 1.0
                )  # the share of this step before the change
                r = still * before + (1 - still) * after
                infected = np.minimum(r / INFECTIOUS * i * s / PEOPLE * dt, s)
                ill, well = e * dt / LATENT, i * dt / INFECTIOUS
                s, e, i, new = s - infected, e + infected - ill, i + ill - well, new + ill
            found[:, day] = REPORTED * new
        return np.maximum(found, _LEAST)

    @property
    def has_likelihood(self) -> bool:
        """Whether the likelihood is known: that of days is."""
        return not self.weekly

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns the simulator's log p(x | theta) for one x (56,) at theta (N, 5), shape (N,)."""
        if self.weekly:
            raise NotImplementedError(f"task {self.name} has no exact likelihood of weeks.")
        require_shape("x", x, DAYS)
        mean, k = self.expected(theta), theta[:, 4:]
        ways = gammaln(x + k) - gammaln(k) - gammaln(x + 1)
        return (ways - k * np.log1p(mean / k) - x * np.log1p(k / mean)).sum(axis=1)


def _seen_on_mondays(x: Array, share: float) -> Array:
    """Daily counts (N, 56) with a share of the weekends' ones moved to the Mondays after; whole numbers."""
    x = x.copy()
    for saturday in range(SATURDAY, DAYS, WEEK):
        moved = np.rint(share * x[:, saturday : saturday + 2])
        x[:, saturday : saturday + 2] -= moved
        x[:, saturday + 2 : saturday + 3] += moved.sum(axis=1, keepdims=True)  # none after the end
    return x
