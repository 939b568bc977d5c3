"""The map between bounded and unconstrained parameters."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import ShapeError
from veridical.tasks.bijection import Bijection

BOUNDS = np.array([[-np.inf, np.inf], [2.0, np.inf], [-np.inf, -1.0], [0.1, 4.0]])


def test_it_inverts_and_keeps_the_bounds(rng: np.random.Generator) -> None:
    bijection, z = Bijection(BOUNDS), 3 * rng.standard_normal((5, 7, 4))
    theta = bijection.to_parameters(z)
    assert ((theta > BOUNDS[:, 0]) & (theta < BOUNDS[:, 1])).all()
    np.testing.assert_allclose(bijection.to_unconstrained(theta), z, rtol=1e-8, atol=1e-8)


def test_the_jacobian_is_that_of_finite_differences(rng: np.random.Generator) -> None:
    bijection, z, step = Bijection(BOUNDS), rng.standard_normal((50, 4)), 1e-6
    slopes = (bijection.to_parameters(z + step) - bijection.to_parameters(z - step)) / (2 * step)
    expected = np.log(np.abs(slopes)).sum(axis=1)
    np.testing.assert_allclose(bijection.log_jacobian(z), expected, atol=1e-6)


def test_extremes_give_no_warning() -> None:
    bijection = Bijection(BOUNDS)
    theta = bijection.to_parameters(np.array([[0.0, 1e4, 1e4, 1e4], [0.0, -1e4, -1e4, -1e4]]))
    assert theta[0].tolist() == [0, np.inf, -np.inf, 4.0]
    assert theta[1].tolist() == [0, 2.0, -1.0, 0.1]
    assert np.isnan(bijection.to_unconstrained(np.array([0.0, 1.0, 0.0, 5.0]))[1:]).all()
    assert np.isfinite(bijection.log_jacobian(np.full((1, 4), 700.0))).all()


def test_bounds_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match="bounds"):
        Bijection(np.zeros(4))
