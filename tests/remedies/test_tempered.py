"""Tempering of an exact normal posterior, whose powers are normal, and what cannot be tempered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.remedies.shifted_task import PRIOR, SHIFTED
from tests.remedies.test_importance import TWO, Stated
from veridical import methods
from veridical.errors import TrainingError
from veridical.estimators.base import Material, TaskInfo
from veridical.tasks.priors import Normal, Product
from veridical.training.session import Session

NORMALS = TaskInfo("normals", ("a", "b"), TWO, ("", ""), (2,))
STANDARD = Product({"a": Normal(0, 1), "b": Normal(0, 1)})
SD = 0.3  # of the posterior, and its means are x


def tempered(power: float, **more: Any) -> Any:
    parent = Stated(NORMALS, lambda x: stats.norm(x, SD))
    spec = {"type": "tempered", "of": "stated", "power": power, **more}
    return methods.fit(spec, NORMALS, Material(parent=parent, prior=STANDARD), Session(3, ("t", 0)))[0]


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0])
def test_a_power_of_a_normal_is_the_normal_of_added_precisions(
    power: float, rng: np.random.Generator
) -> None:
    """Precision beta / SD^2 + 1 - beta, mean of the posterior's precision times x: exact, with its constant.

    A constant from 20,000 candidates, of which a share s counts, errs by about (1 / (20,000 s))^(1/2): 0.02.
    """
    method, x = tempered(power), np.array([[0.8, -0.4], [2.5, 0.0]])
    assert (method.standing(x).numbers["share"] > 0.15).all()
    precision = power / SD**2 + 1 - power
    mean, sd = power / SD**2 * x / precision, precision**-0.5
    theta = rng.normal(mean, sd, (50, 2, 2))
    exact = stats.norm.logpdf(theta, mean, sd).sum(axis=-1)
    np.testing.assert_allclose(method.log_prob(theta, x), exact, atol=0.09)
    draws, log_p = method.sample_and_log_prob(x, 2000, rng)
    np.testing.assert_allclose(log_p, method.log_prob(draws, x), atol=1e-9)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5 * sd / 2000**0.5)
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.1)


def test_no_weight_exceeds_four(rng: np.random.Generator) -> None:
    """The bound of the mixture holds for the unnormalised weights, wherever the posterior lies."""
    weights = tempered(0.5)._candidates(np.array([4.0, -4.0]), rng).log_weights
    assert np.exp(weights).max() <= 4


def test_what_has_no_density_is_refused() -> None:
    class Mute(Stated):
        has_density = False

    material = Material(parent=Mute(SHIFTED, stats.norm), prior=PRIOR)
    with pytest.raises(TrainingError, match="'tempered' needs densities, which 'stated' does not give"):
        methods.fit({"type": "tempered", "of": "mute"}, SHIFTED, material, Session(1, ("t", 0)))
