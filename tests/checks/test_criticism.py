"""Criticism of single summaries and values: size, planted faults that are named, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from veridical.checks.criticism import Criticism, given_others
from veridical.errors import DataError, ShapeError

from .gaussian_model import Draws, value

AXES = [{"name": "day", "coordinates": [0, 1, 2]}, {"name": "series", "coordinates": ["a", "b"]}]
MIX = np.array([[1.0, 0.9, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # two correlated summaries


def data(rng: np.random.Generator, n: int, values: bool = True) -> Any:
    """Four summaries, of which the first two go together, and six values."""
    x = rng.normal(size=(n, 3, 2)) if values else None
    return Draws(("a",), np.zeros((2, n, 1)), summary=rng.normal(size=(n, 4)) @ MIX, x=x)


def names(result: Any) -> list[str]:
    return [f"{m.extra['number']} {m.extra['how']}" for m in result.metrics() if m.name == "criticised_p"]


def test_given_the_others_is_the_residual_of_a_regression(rng: np.random.Generator) -> None:
    z = rng.normal(size=(4000, 4)) @ MIX
    own = z[:, 0] - z[:, 1:] @ np.linalg.lstsq(z[:, 1:], z[:, 0], rcond=None)[0]
    found = given_others(z)[:, 0]
    assert np.corrcoef(own, found)[0, 1] > 0.999
    assert found.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n", [1, 8])
def test_what_is_planted_is_named(n: int, rng: np.random.Generator) -> None:
    simulated, observed = data(rng, 400), data(rng, n)
    observed.summary[:, 2] += 6.0
    observed.x[:, 1, 1] -= 6.0
    result = Criticism().run(observed, rng, null=simulated, axes=AXES)
    assert result.passed is False
    assert set(names(result)) >= {"summary 3 lies too high", "day 1, series b lies too low"}
    assert value(result, "criticism_summary_p").extra == {"number": "summary 3"}
    assert value(result, "criticism_value_p").extra == {"number": "day 1, series b"}
    assert result.curves["value_p"].shape == (3, 2) and result.curves["value_p"][0, 0] > 0.05
    assert np.argmin(result.curves["summary_p"]) == 2
    assert "What the simulations lack: " in result.notes[-1] and "summary 3 lies too high" in result.notes[-1]


def test_scatter_and_a_broken_relation_are_named(rng: np.random.Generator) -> None:
    simulated, observed = data(rng, 400), data(rng, 30)
    observed.summary[:, 3] *= 3
    assert names(Criticism().run(observed, rng, null=simulated))[0] == "summary 4 scatters too much"
    broken = data(rng, 30)
    broken.summary[:, 1] = np.hypot(0.9, 0.5) * rng.normal(size=30)  # each as it should be, but not together
    result = Criticism().run(broken, rng, null=simulated)
    told = names(result)
    assert told and all("scatters too much, given the others" in text for text in told)
    assert result.curves["summary_p"].min() > 0.05 > result.curves["summary_given_p"].min()


def test_its_size_is_its_level(rng: np.random.Generator) -> None:
    check = Criticism(null_sets=99)
    p = [check.run(data(rng, n), rng, null=data(rng, 99)).p_value for n in (1, 4) for _ in range(50)]
    assert sum(one <= 0.05 for one in p) <= 14  # binomial(100, 0.05): P(> 14) = 0.0001
    assert np.mean(p) == pytest.approx(0.5, abs=4 * 0.29 / 100**0.5)


def test_a_shift_of_the_stated_size_is_found_in_nine_of_ten(rng: np.random.Generator) -> None:
    check, simulated, found = Criticism(null_sets=199), data(rng, 300, values=False), []
    shift = value(check.run(data(rng, 10, values=False), rng, null=simulated), "criticism_detectable").value
    for _ in range(40):
        observed = data(rng, 10, values=False)
        observed.summary[:, 3] += shift
        found.append(check.run(observed, rng, null=simulated).passed is False)
    assert np.mean(found) > 0.7


def test_networks_of_an_ensemble_are_named(rng: np.random.Generator) -> None:
    simulated, observed = (replace(data(rng, n), summarisers=2) for n in (400, 5))
    observed.summary[:, 3] += 8.0
    assert names(Criticism().run(observed, rng, null=simulated))[0] == "summary 2 of network 2 lies too high"


def test_what_is_not_judged_is_told(rng: np.random.Generator) -> None:
    simulated, observed = data(rng, 100), data(rng, 30)
    few = Criticism(values=5, observations=10).run(observed, rng, null=simulated)
    assert few.notes[:2] == (
        "The 6 values of x, more than 5, were not judged one by one.",
        "10 of 30 data sets were judged, chosen at random.",
    )
    assert "value_p" not in few.curves
    assert Criticism().run(replace(observed, x=None), rng, null=simulated).curves.keys() == {
        *("summary_p", "summary_given_p", "summary_shift", "summary_spread")
    }
    small = Criticism(alpha=0.005).run(data(rng, 1), rng, null=simulated)
    assert (small.passed, small.notes[-1]) == (None, "100 sets cannot tell whether p <= 0.005.")
    assert not Criticism().run(simulated, rng, null=simulated).metrics()


def test_labelled_data_do_not_meet_simulations_of_the_same_parameters(rng: np.random.Generator) -> None:
    truth = rng.normal(size=(100, 1))
    simulated, real = (replace(data(rng, 100), truth=truth) for _ in range(2))
    with pytest.raises(DataError, match=r"at least 40 simulated data sets .* got 0; raise test_rows"):
        Criticism().run(real, rng, null=simulated)
    assert Criticism(observations=20).run(real, rng, null=simulated).metrics()


def test_what_cannot_be_judged_is_refused(rng: np.random.Generator) -> None:
    simulated, observed = data(rng, 100), data(rng, 3)
    with pytest.raises(DataError, match="draws of simulated test sets"):
        Criticism().run(observed, rng)
    with pytest.raises(ShapeError, match="expected as many as in simulation, 4, got 2"):
        Criticism().run(replace(observed, summary=observed.summary[:, :2]), rng, null=simulated)
    with pytest.raises(DataError, match="learned summaries of the data"):
        Criticism().run(replace(observed, summary=None), rng, null=simulated)
