r"""An epidemic whose reproduction number wanders, in six summaries; nature reports weekends on Mondays.

.. math:: ds = -\gamma R s i \, dt, \quad di = (\gamma R s i - \gamma i) \, dt, \quad
    dR = \eta (\beta / \gamma - R) \, dt + \sigma \sqrt{|R|} \, dW ,

with :math:`\eta = \sigma = 0.05`, s = 0.999, i = 0.001 and :math:`R = \beta / \gamma` at the start, and a
uniform prior on :math:`0 < \gamma < \beta < 0.5`; by Euler and Maruyama in steps of 0.1 d. The number of
infected among 100,000 people is seen on each of the days 0, ..., 364. Data are the logarithms of its mean,
its median, its maximum, of 1 + the day of the maximum and of the first day up to which more than half of all
has been seen, and the correlation of neighbouring days.

At the level `real` and severity s the share 0.05 s of each Saturday and Sunday (days 1, 2, 8, 9, ...) is seen
on the Monday after.

References:
    | Robust Neural Posterior Estimation and Statistical Model Criticism (Ward et al., 2022), task SIR
    | https://arxiv.org/abs/2210.06564
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.joint import Joint, Sorted
from veridical.tasks.priors import Uniform

SUMMARIES = ("log_mean", "log_median", "log_max", "log_day_of_max", "log_day_of_half", "autocorrelation")
DAYS, STEPS = 365, 10  # days that are seen, steps of a day
PEOPLE = 1e5
REVERSION, DIFFUSION = 0.05, 0.05
MOVED = 0.05
SATURDAYS = np.arange(1, DAYS - 2, 7)


class StochasticSIR(Task):
    """Recovery and contact rate from six summaries.

    Arguments:
        dequantised: Whether a uniform number from -0.5 to 0.5 is added to both days before the logarithm, so
            that these summaries have a density.
        severity: s, from 0 (the simulator is right) to 1.
    """

    name = "stochastic_sir"
    of_nature = ("severity",)
    fidelities = {"sde": 1.0, "real": 100.0}  # noqa: RUF012
    dimensions = (Dimension("summary", SUMMARIES),)

    def __init__(self, dequantised: bool = False, severity: float = 1.0) -> None:
        self.prior = Joint({("gamma", "beta"): Sorted(Uniform(0.0, 0.5))})
        self.parameters = self.prior.parameters({"gamma": "1/d", "beta": "1/d"})
        self.dequantised, self.severity = bool(dequantised), require_severity(self.name, severity)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns standard normal numbers of each step, (n, 3640), and uniform ones of both days, (n, 2)."""
        return {
            "steps": rng.standard_normal((n, (DAYS - 1) * STEPS)),
            "days": rng.random((n, 2)) - 0.5,
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, 6)."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected sde, real.")
        require_shape("theta", theta, None, 2)
        seen = PEOPLE * _infected(theta[:, 0].copy(), theta[:, 1].copy(), noise["steps"])
        if fidelity == "real":
            seen = _reported_late(seen, MOVED * self.severity)
        return _summaries(seen, self.dequantised * noise["days"])


def _infected(gamma: Array, beta: Array, z: Array) -> Array:
    """The share of infected people on each day, (N, 365), for normal numbers z (N, steps)."""
    dt = 1 / STEPS
    start = beta / gamma
    s, i, r = np.full_like(beta, 0.999), np.full_like(beta, 0.001), start.copy()
    found = np.empty((len(beta), DAYS))
    found[:, 0] = i
    for step in range(z.shape[1]):
        new = gamma * r * s * i * dt
        r = r + REVERSION * (start - r) * dt + DIFFUSION * np.sqrt(np.abs(r) * dt) * z[:, step]
        s, i = s - new, i + new - gamma * i * dt
        if (step + 1) % STEPS == 0:
            found[:, (step + 1) // STEPS] = i
    return found


def _reported_late(seen: Array, share: float) -> Array:
    """Numbers of each day, (N, 365), with a share of Saturday's and Sunday's moved to Monday."""
    moved = seen.copy()
    moved[:, SATURDAYS] -= share * seen[:, SATURDAYS]
    moved[:, SATURDAYS + 1] -= share * seen[:, SATURDAYS + 1]
    moved[:, SATURDAYS + 2] += share * (seen[:, SATURDAYS] + seen[:, SATURDAYS + 1])
    return moved


def _summaries(seen: Array, days: Array) -> Array:
    """The six summaries (N, 6) of daily numbers (N, 365), with what is added to both days (N, 2)."""
    so_far = np.cumsum(seen, axis=1)
    half = np.maximum((so_far > 0.5 * so_far[:, -1:]).argmax(axis=1), 1)
    deviations = [part - part.mean(axis=1, keepdims=True) for part in (seen[:, :-1], seen[:, 1:])]
    squares = [(part**2).sum(axis=1) for part in deviations]
    return np.stack(
        [
            np.log(seen.mean(axis=1)),
            np.log(np.median(seen, axis=1)),
            np.log(seen.max(axis=1)),
            np.log(seen.argmax(axis=1) + 1 + days[:, 0]),
            np.log(half + days[:, 1]),
            (deviations[0] * deviations[1]).sum(axis=1) / np.sqrt(squares[0] * squares[1]),
        ],
        axis=1,
    )
