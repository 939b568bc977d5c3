"""The epidemic on a network: its laws by direct simulation, its limits, and what its levels share."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import TaskError
from veridical.tasks.network_sir import DAYS, STEP, Contacts, NetworkSIR

SMALL = NetworkSIR(people=60, infected=3, degree=4.0)
AT = np.log([0.6, 0.15])


def directly(task: NetworkSIR, level: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """The infected of each day of n runs, by coins for each person, contact and step; (n, 10)."""
    contact, recovery = np.exp(AT) * STEP
    of_all = np.ones((n, task.people, task.people)) / task.people
    pairs = np.triu(rng.random(of_all.shape) < task.degree / (task.people - 1), 1)
    weights = of_all if level == "chain" else (pairs | pairs.transpose(0, 2, 1)) / task.degree
    infected = np.zeros((n, task.people), dtype=bool)
    infected[:, : task.infected] = True
    susceptible, found = ~infected, []
    for step in range(1, int(DAYS[-1] / STEP) + 1):
        hazard = contact * np.einsum("nij,nj->ni", weights, infected.astype(float), optimize=True)
        new = susceptible & (rng.random(infected.shape) < -np.expm1(-hazard))
        infected = (infected & (rng.random(infected.shape) < np.exp(-recovery))) | new
        susceptible &= ~new
        if step * STEP in DAYS:
            found.append(infected.sum(axis=1))
    return np.stack(found, axis=1)


@pytest.mark.parametrize("level", ["chain", "network"])
def test_prevalences_follow_the_law_of_coins(level: str, rng: np.random.Generator) -> None:
    expected, n = directly(SMALL, level, 400, rng), 4000
    found = SMALL.prevalence(np.tile(AT, (n, 1)), SMALL.noise(rng, n), level)
    for power in (1, 2):  # of means and of squares
        one, other = expected**power, found**power
        error = np.sqrt(one.var(axis=0) / len(one) + other.var(axis=0) / n)
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4.5 * error).all()
    fell = (found[:, :-1] == 0) & (found[:, 1:] > 0)
    assert (found >= 0).all() and (found <= SMALL.people).all() and not fell.any(), "none come from outside"


def test_on_the_complete_graph_the_network_is_the_chain(rng: np.random.Generator) -> None:
    task = NetworkSIR(people=60, infected=3, degree=59.0)
    theta, noise = task.prior.sample(rng, 50), task.noise(rng, 50)
    faster = theta + np.array([np.log(60 / 59), 0.0])  # a person does not meet itself
    network, chain = task.prevalence(theta, noise, "network"), task.prevalence(faster, noise, "chain")
    assert np.array_equal(network, chain) and network.std() > 5


def test_of_many_people_the_chain_has_the_mean_field(rng: np.random.Generator) -> None:
    task, n = NetworkSIR(people=2000, infected=100), 300
    theta = np.tile(np.log([0.8, 0.2]), (n, 1))
    noise = task.noise(rng, n)
    chain, limit = (task.prevalence(theta, noise, level) / 2000 for level in ("chain", "mean_field"))
    error = chain.std(axis=0) / np.sqrt(n)
    assert error.max() < 2e-3
    assert (np.abs(chain.mean(axis=0) - limit[0]) < 4.5 * error + 1e-3).all()


def test_without_contacts_only_recoveries_are_left(rng: np.random.Generator) -> None:
    task = NetworkSIR(people=200, infected=150, degree=1e-9)
    n, theta = 300, np.log([1.0, 0.1])
    found = task.prevalence(np.tile(theta, (n, 1)), task.noise(rng, n), "network")
    left = np.exp(-0.1 * np.array(DAYS))
    error = np.sqrt(150 * left * (1 - left) / n)
    assert (np.abs(found.mean(axis=0) - 150 * left) < 4.5 * error).all()


def test_networks_are_random_graphs(rng: np.random.Generator) -> None:
    n, pairs, p = 300, 60 * 59 / 2, 4 / 59
    one, other = SMALL.network(SMALL.noise(rng, n)["contacts"])
    assert (one < other).all() and (one // 60 == other // 60).all(), "of one row, with no one alone"
    assert len(np.unique(one * (60 * n) + other)) == len(one), "each but once"
    contacts = np.bincount(one // 60, minlength=n)
    variance = pairs * p * (1 - p)
    assert abs(contacts.mean() - pairs * p) < 4.5 * np.sqrt(variance / n)
    assert abs(contacts.var() / variance - 1) < 4.5 * np.sqrt(2 / n)
    met = np.zeros((60, 60))
    np.add.at(met, (one % 60, other % 60), 1)
    of_pair = met[np.triu_indices(60, 1)] / n
    assert np.abs(of_pair - p).max() < 6 * np.sqrt(p * (1 - p) / n)
    degrees = np.bincount(np.concatenate([one, other]), minlength=60 * n)
    assert np.array_equal(np.diff(Contacts.of(one, other, 60 * n).first), degrees)


def test_contacts_of_some_people() -> None:
    contacts = Contacts.of(np.array([0, 0, 2]), np.array([1, 3, 3]), 5)
    assert contacts.of_each(np.array([3, 4, 0])).tolist() == [0, 2, 1, 3]
    assert contacts.of_each(np.array([], dtype=int)).size == 0


def test_half_of_the_infected_are_reported(rng: np.random.Generator) -> None:
    n, level = 3000, "mean_field"
    theta, noise = np.tile(AT, (n, 1)), SMALL.noise(rng, n)
    infected = np.rint(SMALL.prevalence(theta, noise, level))
    reports = SMALL.simulate(theta, noise, level) * 30
    assert np.abs(reports - np.rint(reports)).max() < 1e-9 and (reports <= infected + 1e-9).all()
    error = np.sqrt(infected[0] / 4 / n)
    assert (np.abs(reports.mean(axis=0) - infected[0] / 2) < 4.5 * error).all()
    assert np.abs(reports.var(axis=0) / (infected[0] / 4) - 1).max() < 0.15


def test_rows_do_not_depend_on_those_beside_them(rng: np.random.Generator) -> None:
    task, n = NetworkSIR(), 140  # more than are simulated together
    theta, noise = task.prior.sample(rng, n), task.noise(rng, n)
    for level in task.fidelities:
        whole, cut = task.simulate(theta, noise, level), slice(97, 139)
        assert np.array_equal(
            whole[cut], task.simulate(theta[cut], {k: v[cut] for k, v in noise.items()}, level)
        )


def test_levels_share_their_numbers_and_have_the_known_spread(rng: np.random.Generator) -> None:
    task, n = NetworkSIR(), 1000
    theta, noise, other = task.prior.sample(rng, n), task.noise(rng, n), task.noise(rng, n)
    x = {level: task.simulate(theta, noise, level) for level in task.fidelities}
    apart = {level: task.simulate(theta, other, level) for level in ("chain", "mean_field")}
    for below, level, most in (("mean_field", "chain", 0.97), ("chain", "network", 0.8)):
        coupled, uncoupled = ((x[level] - y).var(axis=0) for y in (x[below], apart[below]))
        assert coupled.mean() < most * uncoupled.mean()
    for level, mean, sd in (
        ("mean_field", 0.0966, 0.115),
        ("chain", 0.0933, 0.117),
        ("network", 0.0757, 0.099),
    ):
        error = x[level].mean(axis=1).std() / np.sqrt(n)
        assert abs(x[level].mean() - mean) < 4.5 * error and abs(x[level].std() / sd - 1) < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"people": 2001}, "whole numbers of people, up to 2000, and infected"),
        ({"people": 50.0}, "got 50.0 and 5"),
        ({"people": 5}, "from 1 to one less than people, got 5 and 5"),
        ({"infected": True}, "got 500 and True"),
        ({"degree": 0.0}, "a degree above 0 and up to 499, got 0.0"),
        ({"people": 10, "degree": 9.5}, "up to 9, got 9.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        NetworkSIR(**settings)  # type: ignore[arg-type]
