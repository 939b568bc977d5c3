#!/usr/bin/env python3
"""Influenza in a school as a stochastic SIR model, event by event: a program that knows nothing of veridical.

usage: my_study.py THETA OUT SEEDS

THETA is CSV with a header and a row of parameters for each simulation, SEEDS holds an integer for each, and
OUT gets a row of numbers for each: how many pupils are in bed on days 2 to 14. On day 1 three are ill.
"""

import csv
import random
import sys

PUPILS = 763
DAYS = range(2, 15)


def simulate(infection, recovery, rng):
    """Returns the pupils in bed on each day; rates are per day."""
    susceptible, ill, time, x = PUPILS - 3, 3, 1.0, []
    while len(x) < len(DAYS):
        infections, recoveries = infection * susceptible * ill / PUPILS, recovery * ill
        rate = infections + recoveries
        time += rng.expovariate(rate) if rate > 0 else float("inf")
        while len(x) < len(DAYS) and time > DAYS[len(x)]:
            x.append(ill)
        if rng.random() * rate < infections:
            susceptible, ill = susceptible - 1, ill + 1
        else:
            ill -= 1
    return x


if len(sys.argv) != 4:
    sys.exit("usage: my_study.py THETA OUT SEEDS")
with open(sys.argv[1]) as thetas, open(sys.argv[3]) as seeds, open(sys.argv[2], "w") as out:
    for row, seed in zip(csv.DictReader(thetas), seeds, strict=True):
        x = simulate(float(row["infection"]), float(row["recovery"]), random.Random(int(seed)))
        print(*x, sep=",", file=out)
