"""Scores in the loss of a likelihood: gradients, what they are worth on a density known, planted faults."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.estimators.small import same
from veridical import methods, seeds
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.nle import NLE, DataDensity
from veridical.estimators.nle_settings import NLESettings
from veridical.estimators.scored import Scored, in_z, share_missed
from veridical.networks.density_settings import LikelihoodFlow
from veridical.tasks.priors import Normal, Product, Uniform
from veridical.training import session

Array = np.ndarray
TWO = TaskInfo("two", ("a", "b"), np.array([(-np.inf, np.inf), (0.0, 3.0)]), ("", ""), (2,))
PRIOR = Product({"a": Normal(0.0, 1.0), "b": Uniform(0.0, 3.0)})
RUN = session.Session(20261201, ("nle", 0))
FAMILIES = [kind.model_fields["type"].default for kind in get_args(get_args(LikelihoodFlow)[0])]


def rng(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261201, "test", "scored likelihoods", *path)


def simulated(n: int, *path: str | int) -> tuple[Rows, Array]:
    """x1 ~ N(a, 0.3^2), x2 ~ N(b + a^2 / 2, (0.2 + 0.2 b)^2), with scores, and log p(x | theta)."""
    theta = PRIOR.sample(rng("theta", *path), n)
    (a, b), e = theta.T, rng("x", *path).standard_normal((n, 2))
    sd = np.stack([np.full(n, 0.3), 0.2 + 0.2 * b], axis=1)
    x = np.stack([a, b + a**2 / 2], axis=1) + sd * e
    score = np.stack([e[:, 0] / 0.3 + a * e[:, 1] / sd[:, 1], e[:, 1] / sd[:, 1]], axis=1)
    score[:, 1] += 0.2 * (e[:, 1] ** 2 - 1) / sd[:, 1]
    log_p = (-0.5 * e**2 - np.log(sd) - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    return Rows(theta, x.astype(np.float32), np.arange(n) % 10 == 9, score), log_p


def fitted(rows: Rows, flow: str = "maf", **changes: Any) -> Any:
    spec = {"type": "nle", "flow": flow, "training": {"epochs": 12, "rounds": 6}, **changes}
    return methods.fit(spec, TWO, Material(rows, prior=PRIOR), RUN)[0]


def test_the_scores_of_these_rows_are_slopes_of_their_density() -> None:
    (rows, log_p), step = simulated(50), 1e-5
    for d in range(2):
        ends = []
        for sign in (1, -1):
            a, b = (rows.theta + sign * step * np.eye(2)[d]).T
            sd = np.stack([np.full(50, 0.3), 0.2 + 0.2 * b], axis=1)
            e = rng("x").standard_normal((50, 2))
            x = np.stack([rows.theta[:, 0], rows.theta[:, 1] + rows.theta[:, 0] ** 2 / 2], axis=1)
            x = x + np.stack([np.full(50, 0.3), 0.2 + 0.2 * rows.theta[:, 1]], axis=1) * e
            e = (x - np.stack([a, b + a**2 / 2], axis=1)) / sd
            ends.append((-0.5 * e**2 - np.log(sd) - 0.5 * np.log(2 * np.pi)).sum(axis=1))
        np.testing.assert_allclose(rows.score[:, d], (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-6)
    assert np.isfinite(log_p).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_finite_differences(family: str) -> None:
    """Of the whole loss, through densities of each family; their layers are smooth."""
    settings = NLESettings(flow={"type": family, "hidden": [6]}, scores={"type": "fixed", "share": 0.5})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = DataDensity(settings.flow, 2, 2, smooth=True)
    assert not [part for part in network.modules() if isinstance(part, torch.nn.ReLU)]
    term = Scored(network, settings.scores, np.array([0.7, 2.0])).double()
    z, x, score = (torch.from_numpy(rng("batch", k).standard_normal((20, 2))) for k in range(3))

    def value() -> float:
        loss, errors = term.parts(z, x, score)
        return (loss + errors.mean()).item()

    plain = term.accumulate(z, x, score)
    assert plain.item() == pytest.approx(network.loss(z, x).item())
    for part in term.trained():
        flat, gradient = part.data.view(-1), part.grad.view(-1)
        i = int(gradient.abs().argmax())
        before, ends = float(flat[i]), []
        for step in (1e-6, -1e-6):
            flat[i] = before + step
            ends.append(value())
        flat[i] = before
        assert float(gradient[i]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_right_scores_help_and_those_of_others_hurt() -> None:
    """Of 1,000 rows; what slopes miss of fresh scores, and what the density lacks at fresh rows."""
    rows, _ = simulated(1000, "train")
    fresh, log_p = simulated(2000, "fresh")
    found = {}
    for name, scores in (("plain", None), ("scores", "last_layer"), ("others", {"permuted": True})):
        made = fitted(rows, scores=scores)
        z = made.parameters.forward(fresh.theta)[0].astype(np.float32)
        given = in_z(made.parameters, fresh.theta, fresh.score).astype(np.float32)
        missed = share_missed(made.network, z, made.inputs(fresh.x, np.float32), given)
        found[name] = missed.max(), float((log_p - made.log_likelihood(fresh.theta, fresh.x)).mean())
    assert found["scores"][0] < 0.5 * found["plain"][0] and found["scores"][1] < found["plain"][1] - 0.02
    assert found["others"][0] > 0.9 * found["plain"][0] and found["others"][1] > found["plain"][1]


def test_they_are_saved_and_change_nothing_where_they_are_not_asked_for() -> None:
    rows, _ = simulated(200)
    found, plain = fitted(rows, scores="last_layer"), fitted(rows)
    again = NLE.from_arrays(found.settings, TWO, found.arrays())
    assert same(found, again) and found.account() == again.account()
    assert len(found.account()["scores_missed"]) == 2 and "scores_missed" not in plain.account()
    bare = Rows(rows.theta, rows.x, rows.validation, None)
    assert same(plain, fitted(bare)) and not same(plain, found)


def test_what_does_not_go_with_them_is_refused() -> None:
    for kind, more in (
        ("nle", {"independent": 0}),
        ("nle", {"training": {"captured": True}}),
        ("ml_nle", {"lower": {"lf": 100}}),
    ):
        with pytest.raises(ValidationError, match="scores: not"):
            methods.typed(kind, {"type": kind, "scores": "last_layer", **more})
