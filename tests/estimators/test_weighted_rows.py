"""Rows with weights: what they count in a loss, and the exact posterior from rows of another prior."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.estimators.small import BOX, NETWORKS, PRIOR
from tests.estimators.small import box_rows as rows
from veridical import seeds, tasks
from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.ensemble import Ensemble
from veridical.estimators.ensemble_settings import EnsembleSettings
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.weighted_rows import WeightedRows
from veridical.inference.acquisition import acquired
from veridical.training import session

SHORT: dict[str, Any] = {**NETWORKS, "training": {"epochs": 3, "batch_size": 40, "learning_rate": 1e-2}}
RUN = session.Session(11, ("npe", 0))
ROWS = 3000


def test_a_weight_of_two_is_a_row_twice_and_one_of_zero_is_none() -> None:
    with session.seeded_initialisation(RUN):
        network = NPE.build(NPESettings(**SHORT), BOX)
    generator = torch.Generator().manual_seed(1)
    theta, x = (torch.randn(6, n, generator=generator) for n in (2, 3))
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 1.0])
    found = WeightedRows(network).loss(theta, x, weight)
    as_rows = [0, 1, 1, 3, 4, 5]
    torch.testing.assert_close(found, network.loss(theta[as_rows], x[as_rows]))


@pytest.mark.parametrize("stacked", [True, False])
def test_weights_of_one_change_nothing(stacked: bool) -> None:
    """Members learn the same up to rounding, and the recorded losses are in the same coordinates."""
    settings = EnsembleSettings(members=2, stacked=stacked, member=SHORT)  # type: ignore[arg-type]
    found = [
        Ensemble.fit(settings, BOX, Material(replace(rows(), weight=w), prior=PRIOR), RUN)
        for w in (None, np.ones(200))
    ]
    (plain, result), (weighed, other) = found
    for name, array in plain.arrays().items():
        np.testing.assert_allclose(weighed.arrays()[name], array, rtol=1e-3, atol=1e-4)
    for one, two in zip(result.rounds, other.rounds, strict=True):
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], abs=1e-3)


def test_a_flow_that_does_not_learn_by_its_density_is_refused() -> None:
    settings = NPESettings(**{**SHORT, "flow": {"type": "flow_matching", "width": 8, "blocks": 1}})
    material = Material(replace(rows(), weight=np.ones(200)), prior=PRIOR)
    with pytest.raises(TrainingError, match="'flow_matching' does not learn by its own density"):
        NPE.fit(settings, BOX, material, RUN)


def test_the_posterior_of_acquired_rows_is_the_exact_one_with_weights_alone() -> None:
    r"""Gaussian prior and noise of sd 1/2, four fifths of the rows by the score exp(theta), thus of the prior
    1/5 N(0, 1) + 4/5 N(1, 1). At x = 0 the exact mean is 0, and that of unweighted rows near 0.14; the
    network of 3,000 rows, with weights up to 5, has a standard error of 0.02.
    """
    task = tasks.build({"name": "gaussian_linear", "settings": {"dimension": 1, "noise_sd": 0.5}})
    rng = seeds.generator(5, "test", "weighted")
    pool = rng.standard_normal((20 * ROWS, 1))
    theta, weight = acquired(pool, np.exp(pool[:, 0]), ROWS, 0.8, rng)
    x = theta + 0.5 * rng.standard_normal((ROWS, 1))
    training = {"epochs": 25, "batch_size": 150, "learning_rate": 1e-2}
    spec = {"summary": {"type": "none"}, "flow": {"type": "mixture", "components": 1, "hidden": [16]}}
    settings = NPESettings(**spec, training=training)  # type: ignore[arg-type]
    means = []
    for given in (weight, None):
        data = Rows(theta, x, np.arange(ROWS) % 10 == 9, weight=given)
        found = NPE.fit(settings, TaskInfo.of(task), Material(data), RUN)[0]
        means.append(found.sample(np.zeros((1, 1)), 4000, seeds.generator(6, "test"))[:, 0].mean())
    assert abs(means[0]) < 0.07, means
    assert 0.1 < means[1] < 0.2, means
