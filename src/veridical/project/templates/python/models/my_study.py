"""Influenza in a school as a stochastic SIR model: pupils are susceptible, ill in bed, or recovered."""

import numpy as np

from veridical.tasks import Dimension, Task
from veridical.tasks.priors import LogNormal, Product

PUPILS = 763
DAYS = range(2, 15)  # on day 1 three are ill
STEPS = 10  # of the simulator within a day


class MyStudy(Task):
    """How many pupils are in bed on each day."""

    prior = Product({"infection": LogNormal(mean=0.5, sd=0.5), "recovery": LogNormal(mean=-0.7, sd=0.5)})
    parameters = prior.parameters({"infection": "1/day", "recovery": "1/day"})
    dimensions = (Dimension("day", tuple(DAYS), ""),)
    x_unit = "pupils"
    fidelities = {"sir": 1.0}

    def simulate(self, theta, rng, fidelity):
        """Returns x of shape (N, 13) for theta of shape (N, 2); all randomness comes from `rng`."""
        infection, recovery = theta.T
        ill = np.full(len(theta), 3)
        susceptible = PUPILS - ill
        recovers = 1 - np.exp(-recovery / STEPS)
        x = []
        for _ in DAYS:
            for _ in range(STEPS):
                falls_ill = 1 - np.exp(-infection * ill / PUPILS / STEPS)
                new, cured = rng.binomial(susceptible, falls_ill), rng.binomial(ill, recovers)
                susceptible, ill = susceptible - new, ill + new - cured
            x.append(ill)
        return np.stack(x, axis=1).astype(float)
