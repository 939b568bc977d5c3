"""RSNL around an exact likelihood: two noisy copies of a normal parameter, one of which may be far off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from veridical import methods
from veridical.errors import TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.nle import NLE
from veridical.estimators.nle_settings import NLESettings
from veridical.estimators.sampled import LikelihoodNetwork
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.remedies.rsnl import RSNL, laplace
from veridical.remedies.rsnl_settings import RSNLSettings
from veridical.tasks.priors import Normal, Product
from veridical.training.session import Session

FREE = np.array([(-np.inf, np.inf)])
COPIES = TaskInfo("copies", ("t",), FREE, ("",), (2,))
SAMPLING = {"walkers": 64, "ensembles": 2, "prior_draws": 500}
X = np.array([[0.6, 13.6], [0.6, 0.9], [-1.0, 1.0]])


class Copies(LikelihoodNetwork):
    """x_j = t + N(0, 1)."""

    def log_likelihood(self, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return -0.5 * (context - z).square().sum(dim=1)


def parent(**settings: Any) -> NLE:
    inputs = InputTransform("none", np.zeros(2), np.ones(2))
    own, network = NLESettings(**settings), Copies()
    return NLE(
        own, COPIES, inputs, ParameterTransform.plain(FREE), network, prior=Product({"t": Normal(0.0, 1.0)})
    )  # type: ignore[arg-type]


def remedy(**settings: Any) -> RSNL:
    own = {"type": "rsnl", "of": "nle", "sampling": SAMPLING, **settings}
    found, _ = methods.fit(own, COPIES, Material(parent=parent()), Session(1, ("rsnl", 0)))
    assert isinstance(found, RSNL)
    return found


def test_normal_numbers_become_laplace_ones() -> None:
    p = np.array([1e-9, 0.01, 0.25, 0.5, 0.75, 0.999])
    np.testing.assert_allclose(laplace(stats.norm.ppf(p)), stats.laplace.ppf(p), rtol=1e-9, atol=1e-12)


def test_answers_and_shifts_follow_the_integral(rng: np.random.Generator) -> None:
    """Given t the shifts are independent: one integral over each, on a grid, for t and for what is told.

    1,000 draws of some 100 effective ones: their worth is told and used.
    """
    method = remedy()
    draws, _, worth = method.drawn(X, 1000, rng)
    told = method.extras(X)
    t, shift = (
        np.linspace(-5, 5, 201),
        np.concatenate([-np.geomspace(60, 1e-6, 1500), np.geomspace(1e-6, 60, 1500)]),
    )
    step = np.gradient(shift)
    for i, y in enumerate(X):
        scales = np.maximum(0.3 * np.abs(y), 0.01)
        joint = [
            stats.norm.pdf(y[j] - shift - t[:, None]) * stats.laplace.pdf(shift, scale=scales[j]) * step
            for j in range(2)
        ]
        each = [part.sum(axis=1) for part in joint]
        p = stats.norm.pdf(t) * each[0] * each[1]
        p /= p.sum()
        mean = p @ t
        sd = (p @ (t - mean) ** 2) ** 0.5
        error = sd / worth["ess"][i, 0] ** 0.5
        assert abs(draws[:, i, 0].mean() - mean) < 4.5 * error
        np.testing.assert_allclose(draws[:, i, 0].std(), sd, rtol=4.5 / (2 * worth["ess"][i, 0]) ** 0.5)
        for j in range(2):
            given = joint[j] * (p / each[j])[:, None]
            assert told["shift"][i, j] == pytest.approx(
                (given @ shift).sum(), abs=0.35 * told["shift_sd"][i, j]
            )
            beyond = given[:, np.abs(shift) > scales[j] * np.log(2)].sum()
            assert told["shifted"][i, j] == pytest.approx(beyond, abs=0.1)
    assert told["shifted"][0, 1] > 0.95 and (told["shifted"][1] < 0.6).all()


def test_shifts_of_no_width_leave_the_answer_of_what_it_wraps(rng: np.random.Generator) -> None:
    """A limit: N((x_1 + x_2) / 3, 1/3), by 2,000 draws of at least 200 effective ones."""
    draws, _, worth = remedy(share=0.0, least=1e-3).drawn(X[1:], 2000, rng)
    assert (worth["ess"] > 200).all() and worth["rhat"].shape == (2, 1)
    error = (1 / 3 / worth["ess"][:, 0]) ** 0.5
    assert (np.abs(draws[..., 0].mean(axis=0) - X[1:].sum(axis=1) / 3) < 4.5 * error).all()
    np.testing.assert_allclose(draws[..., 0].std(axis=0), 3**-0.5, rtol=0.2)


def test_what_is_told_depends_on_the_observation_and_the_seed_alone() -> None:
    method = remedy(draws=200)
    whole, alone = method.extras(X), method.extras(X[1:2])
    assert all(np.allclose(whole[name][1], alone[name][0]) for name in whole)
    method.seed += 1
    assert not np.allclose(method.extras(X)["shift"], whole["shift"])


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        (lambda: parent(), {"sampling": {"walkers": 16}}, None),
        (lambda: parent(independent=0), {}, "adds the likelihoods of many alike entries"),
        (lambda: remedy(), {}, "expected an `nle`, got a method 'rsnl'"),
    ],
)
def test_what_it_cannot_shift_is_refused(made: Any, settings: dict[str, Any], message: str | None) -> None:
    """Three numbers to sample want twelve walkers; a fit for a wider task says how many."""
    task = COPIES if message else TaskInfo("wide", ("t",), FREE, ("",), (20,))
    with pytest.raises(TrainingError, match=message or "at least 84 walkers, got 16"):
        RSNL.fit(RSNLSettings(of="nle", **settings), task, Material(parent=made()), Session(1, ("rsnl", 0)))


def test_shifts_are_not_drawn_by_weights() -> None:
    with pytest.raises(ValidationError, match="by `chains`, not by importance"):
        RSNLSettings(of="nle", sampling={"by": "importance"})  # type: ignore[arg-type]
