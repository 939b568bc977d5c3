"""The objective of template-adapted mixtures: exact derivatives, scores, symmetries, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.mass_plane import BACKGROUND, SIGNAL, Plane
from veridical.errors import DataError, VeridicalError
from veridical.inference.adapted import Objective, Templates


@pytest.fixture
def objective(rng: np.random.Generator) -> Objective:
    plane = Plane.wrong(rng, 4)
    whole = plane.objective(rng, 3000)
    fewer = {
        name: Templates(t.signal[:, :3], t.background, t.counts)
        for name in ("data", "reference", "penalty")
        for t in [getattr(whole, name)]
    }
    return Objective(**fewer, ridge=(0.7, 30.0))


@pytest.fixture
def theta(objective: Objective, rng: np.random.Generator) -> np.ndarray:
    """A point where nothing vanishes."""
    return objective.start(0.2) + 0.1 * rng.normal(size=objective.size)


def test_derivatives_are_those_of_the_objective(objective: Objective, theta: np.ndarray) -> None:
    h = 1e-5
    gradient, hessian = objective.derivatives(theta)
    ways = h * np.eye(objective.size)
    slope = np.array([objective.value(theta + way) - objective.value(theta - way) for way in ways]) / (2 * h)
    bend = [objective.derivatives(theta + w)[0] - objective.derivatives(theta - w)[0] for w in ways]
    assert np.abs(gradient - slope).max() < 1e-6 * np.abs(gradient).max()
    assert np.abs(hessian - np.array(bend) / (2 * h)).max() < 1e-6 * np.abs(hessian).max()


def test_scores_sum_to_the_gradient_where_the_norms_agree(objective: Objective, theta: np.ndarray) -> None:
    at = objective.shapes[2].at(theta)
    theta[objective.shapes[2].slices[0].start] += np.log(at.background @ objective.penalty.counts)
    theta[objective.shapes[2].slices[0].start] -= np.log(at.signal @ objective.penalty.counts)
    samples = zip(objective.shapes, objective.scores(theta), strict=True)
    total = sum(shapes.counts @ scores for shapes, scores in samples)
    expected = objective.derivatives(theta)[0] - objective.ridge_derivatives(theta)[0]
    np.testing.assert_allclose(total, expected, atol=1e-9 * np.abs(expected).max())


def test_coinciding_events_are_counted(objective: Objective, theta: np.ndarray) -> None:
    def apart(t: Templates) -> Templates:
        index = np.repeat(np.arange(len(t.counts)), t.counts.astype(int))
        return Templates.of(t.signal[index], t.background[index])

    single = replace(objective, **{n: apart(getattr(objective, n)) for n in ("data", "reference", "penalty")})
    assert single.value(theta) == pytest.approx(objective.value(theta), rel=1e-12)
    for one, other in zip(single.derivatives(theta), objective.derivatives(theta), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(one).max())


def test_start_has_equal_weights_and_norms(objective: Objective) -> None:
    theta = objective.start(0.3)
    for weights in objective.weights(theta):
        np.testing.assert_allclose(weights, 1 / len(weights))
    shapes = objective.shapes[1]
    at = shapes.at(theta)
    assert at.kappa == 0.3
    for u in (at.signal, at.background):
        assert shapes.mean(u) == pytest.approx(1)


def test_the_objective_is_a_wall_where_a_density_is_negative_or_overflows(objective: Objective) -> None:
    for change in ({0: -50.0}, {1: 800.0}):
        theta = objective.start(0.1)
        for index, value in change.items():
            theta[index] = value
        assert objective.value(theta) == np.inf


def test_right_templates_are_the_model(rng: np.random.Generator) -> None:
    """One right template of each class: rho times the pool is the density of the mixture, cell by cell."""
    plane = Plane(SIGNAL[:, None], BACKGROUND[:, None])
    objective = plane.expected(1000, 0.3)
    theta = np.array([0.3, 0.0, 0.0])
    model = objective.shapes[1].at(theta).total * np.exp(plane.log_pool)
    np.testing.assert_allclose(model, plane.mixture(0.3), rtol=1e-9)
    assert np.abs(objective.derivatives(theta)[0]).max() < 1e-8


def test_what_is_no_template_is_refused(objective: Objective) -> None:
    data = objective.data
    with pytest.raises(DataError, match="some of them not finite"):
        Templates.of(np.full((3, 2), np.nan), np.zeros((3, 2)))
    with pytest.raises(DataError, match="got 0 of the signal"):
        Templates.of(np.zeros((3, 0)), np.zeros((3, 2)))
    with pytest.raises(VeridicalError, match="background"):
        Templates.of(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(VeridicalError, match="signal templates of the reference"):
        Objective(data, Templates(data.signal[:, 1:], data.background, data.counts), data)
    with pytest.raises(DataError, match="ridge"):
        replace(objective, ridge=(1.0, -1.0))
