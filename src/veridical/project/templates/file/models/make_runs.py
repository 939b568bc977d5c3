"""Writes config/data/runs.npz; stands for the program that made your simulations. No study runs it.

5,000 runs of a stochastic SIR model of influenza in a school of 763 pupils, three of them ill on day 1:
`theta` (5000, 2), rates of infection and recovery per day, and `x` (5000, 13), pupils in bed on days 2 to 14.
"""

import numpy as np

RUNS, PUPILS, DAYS, STEPS = 5000, 763, 13, 10

rng = np.random.default_rng(1)
theta = np.exp(rng.normal([0.5, -0.7], 0.5, size=(RUNS, 2)))
infection, recovery = theta.T
ill = np.full(RUNS, 3)
susceptible = PUPILS - ill
x = np.empty((RUNS, DAYS))
for day in range(DAYS):
    for _ in range(STEPS):
        new = rng.binomial(susceptible, 1 - np.exp(-infection * ill / PUPILS / STEPS))
        cured = rng.binomial(ill, 1 - np.exp(-recovery / STEPS))
        susceptible, ill = susceptible - new, ill + new - cured
    x[:, day] = ill
np.savez_compressed("config/data/runs.npz", theta=theta, x=x)
