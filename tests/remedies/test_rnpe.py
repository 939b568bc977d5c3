"""RNPE around exact parts: two noisy copies of a normal parameter, whose errors and answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from veridical import methods
from veridical.errors import TrainingError
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import InputTransform
from veridical.remedies.rnpe import RNPE
from veridical.remedies.rnpe_settings import MOST, RNPESettings
from veridical.training.session import Session

FREE = np.array([(-np.inf, np.inf)])
COPIES = TaskInfo("copies", ("t",), FREE, ("",), (2,))
COVARIANCE = np.array([[2.0, 1.0], [1.0, 2.0]])  # of x_j = t + N(0, 1), t ~ N(0, 1)
SCALE = 2**0.5


class ExactPosterior(Estimator):
    """N((x_1 + x_2) / 3, 1/3)."""

    type, task, settings = "exact", COPIES, None

    @classmethod
    def fit(cls, *given: Any) -> Any: ...

    def sample_and_log_prob(self, x: np.ndarray, n: int, rng: np.random.Generator) -> Any:
        draws = (x.sum(axis=1) / 3)[:, None] + 3**-0.5 * rng.standard_normal((n, len(x), 1))
        return draws, self.log_prob(draws, x)

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.asarray(stats.norm.logpdf(theta[..., 0], x.sum(axis=1) / 3, 3**-0.5))

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    @classmethod
    def from_arrays(cls, *given: Any) -> Any: ...


class ExactMarginal(Trainable):
    """The density of x in units of its standard deviation."""

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        precision = torch.from_numpy(np.linalg.inv(COVARIANCE / 2))
        return -0.5 * ((x @ precision) * x).sum(dim=1)


def remedy(**settings: Any) -> RNPE:
    inputs = InputTransform("none", np.zeros(2), np.full(2, SCALE))
    own = RNPESettings(of="exact", **settings)
    marginal: Any = ExactMarginal()
    return RNPE(own, COPIES, inputs, marginal, 7, ExactPosterior())


def test_a_number_that_the_simulator_cannot_make_is_named_and_left_out(rng: np.random.Generator) -> None:
    """The second copy is 13 off. Its slab is as good as sure, the first one's is the prior share or less.

    The answer is that of the first copy alone, N(y_1 / 2, 1/2), where the parent's own is at (y_1 + y_2) / 3,
    four off; y_2 pulls a little, for an error is less likely the larger it is.
    """
    method, x = remedy(), np.array([[0.6, 13.6], [0.6, 0.9]])
    told = method.given(x).extras()
    assert told["misspecified"][0, 1] > 0.98 and told["misspecified"][0, 0] < 0.6
    assert (told["misspecified"][1] < 0.5).all() and (told["misspecified_sd"] < 0.2).all()
    assert (told["misspecified_rhat"] < 1.2).all() and all(each.shape == (2, 2) for each in told.values())
    draws = method.sample(x, 4000, rng)[..., 0]
    assert draws[:, 0].mean() == pytest.approx(0.3, abs=0.45) and 0.55 < draws[:, 0].std() < 0.95
    assert draws[:, 1].mean() == pytest.approx(0.5, abs=0.15)
    assert 3**-0.5 * 0.95 < draws[:, 1].std() < 0.5**0.5 * 1.05, "between both copies and one of them"


def test_errors_of_no_width_leave_the_answer_of_what_it_wraps(rng: np.random.Generator) -> None:
    """A limit: spike and slab of a thousandth give data back as they are."""
    method, x = remedy(spike=1e-3, slab=1e-4, share=0.01), np.array([[0.6, 0.9], [-2.0, 1.0]])
    for each, y in zip(method.denoised(x), x, strict=True):
        assert np.abs(each.x - y).max() < 0.02
    theta = rng.normal(size=(5, 2, 1))
    np.testing.assert_allclose(method.log_prob(theta, x), method.parent.log_prob(theta, x), atol=0.05)


def test_a_thorough_course_says_the_same_of_what_is_easy() -> None:
    x = np.array([[0.6, 13.6], [0.6, 0.9]])
    quick, thorough = (remedy(thorough=each).extras(x)["misspecified"] for each in (False, True))
    assert not np.allclose(quick, thorough)
    np.testing.assert_allclose(quick, thorough, atol=0.12)  # 192 draws each, a third of them independent


def test_an_answer_depends_on_its_observation_and_the_seed_alone() -> None:
    x = np.array([[0.6, 13.6], [0.6, 0.9]])
    whole, alone = remedy().denoised(x), remedy().denoised(x[1:])
    np.testing.assert_allclose(whole[1].x, alone[0].x)
    other = remedy()
    other.seed = 8
    assert not np.allclose(other.denoised(x)[1].x, whole[1].x)


@pytest.mark.parametrize(
    ("numbers", "still", "message"),
    [(MOST + 1, 0, "x has 101 numbers"), (3, 1, "number 2 of x takes one value")],
)
def test_data_without_a_density_are_refused(
    numbers: int, still: int, message: str, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(60, numbers))
    x[:, numbers - still :] = 1.0
    task = TaskInfo("wide", ("t",), FREE, ("",), (numbers,))
    rows = Rows(rng.normal(size=(60, 1)), x, np.arange(60) % 10 == 9)
    with pytest.raises(TrainingError, match=f"remedy 'rnpe': {message}"):
        methods.fit(
            {"type": "rnpe", "of": "npe"}, task, Material(rows, parent=ExactPosterior()), Session(1, ("r", 0))
        )
