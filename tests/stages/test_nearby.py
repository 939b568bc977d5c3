"""Stages nearby and densities: what lies in their files, and which methods cannot be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.golden.compare import HOME
from tests.stages.test_train_infer import run, shard
from veridical import checks
from veridical.errors import TrainingError
from veridical.files import read_npz
from veridical.saved import posteriors
from veridical.saved.observations import Observations
from veridical.stages.densities import densities
from veridical.stages.infer import infer
from veridical.stages.nearby import nearby

GAUSSIAN = {"name": "gaussian_linear", "settings": {"dimension": 2}}
SIZES = {"simulations": 200, "draws": 150}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small `npe` in `out`, and its draws for two observations and for forty test sets."""
    folder, rng = tmp_path_factory.mktemp("trained"), np.random.Generator(np.random.PCG64(1))
    run([shard(folder, first, rng) for first in (0, 300)], folder)
    for name, n in (("field", 2), ("simulated", 40)):
        truth = rng.normal(size=(n, 2))
        data = Observations(truth + rng.normal(size=(n, 2)), truth, name, "observed", "a test")
        infer(folder / "out", data, folder / f"{name}.nc", draws=300, root=3, replicate=0)
    return folder


def ask(folder: Path, out: Path, root: int = 3, method: str = "out") -> dict[str, np.ndarray]:
    given = (GAUSSIAN, folder / method, folder / "field.nc", out)
    nearby(*given, fidelity="model", **SIZES, root=root, replicate=0)
    return read_npz(out, "simulations near the observation")


def test_simulations_lie_around_each_answer_and_follow_from_the_seed(trained: Path, tmp_path: Path) -> None:
    arrays = ask(trained, tmp_path / "a.npz")
    assert arrays["pool"].shape == (151, 200, 2) and arrays["log_weight"].shape == (151, 200)
    assert arrays["observation"].tolist() == [0] * 100 + [1] * 100
    assert arrays["failed"].tolist() == [0, 0] and set(arrays["widening"]) <= {1.0, 1.5, 2.0, 3.0}
    answers = posteriors.load(trained / "field.nc").draws
    for i in range(2):
        centre = arrays["pool"][0, arrays["observation"] == i].mean(axis=0)
        assert (np.abs(centre - answers[:, i].mean(axis=0)) < answers[:, i].std(axis=0)).all()
    again, other = ask(trained, tmp_path / "b.npz"), ask(trained, tmp_path / "c.npz", root=4)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(arrays["pool"], other["pool"])


def test_a_method_that_ties_answers_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="say `transductive: true`"):
        ask(HOME / "artifacts", tmp_path / "a.npz", method="rope")


def test_parameters_that_nothing_can_be_simulated_around_are_not_judged(
    trained: Path, tmp_path: Path
) -> None:
    """All draws are alike, as those of a parameter that is known for certain."""
    answers = posteriors.load(trained / "field.nc")
    alike = replace(answers, draws=np.ones_like(answers.draws))
    posteriors.save(tmp_path / "field.nc", alike)
    (tmp_path / "out").symlink_to(trained / "out")
    arrays = ask(tmp_path, tmp_path / "a.npz")
    assert arrays["pool"].shape == (151, 0, 2) and arrays["failed"].tolist() == [100, 100]
    for name in ("local_ranks", "local_c2st"):
        result = checks.build(name).run(alike, np.random.Generator(np.random.PCG64(1)), nearby=arrays)
        assert result.passed is None and result.notes[0].startswith("0 valid simulations")


@pytest.mark.parametrize("simulated", [True, False])
def test_densities_are_those_of_the_task(simulated: bool, trained: Path, tmp_path: Path) -> None:
    null = trained / "simulated.nc" if simulated else None
    densities(GAUSSIAN, trained / "field.nc", null, tmp_path / "d.npz", likelihood=simulated)
    arrays = read_npz(tmp_path / "d.npz", "densities")
    found = posteriors.load(trained / "field.nc")
    log_prior = stats.norm.logpdf(found.draws).sum(axis=-1)
    np.testing.assert_allclose(arrays["log_prior"], log_prior)
    np.testing.assert_allclose(arrays["log_prior_mean"], log_prior[:200].mean(axis=0))
    assert ("log_likelihood" in arrays) == ("log_prior_null" in arrays) == simulated
    assert not arrays["edge"].any(), "no parameter has two bounds"
    if simulated:
        log_p = stats.norm(found.draws, 1).logpdf(found.x).sum(axis=-1)
        np.testing.assert_allclose(arrays["log_likelihood"], log_p)
        assert arrays["log_prior_null"].shape == (40,)
        rng = np.random.Generator(np.random.PCG64(1))
        result = checks.build("prior_sensitivity").run(found, rng, densities=arrays)
        assert result.curves["p_values"].shape == (2,)


def test_mass_at_the_edges_of_a_flat_prior_is_counted(tmp_path: Path) -> None:
    """Of the first answer, half of the draws of one parameter lie within 1 % of its lower bound."""
    theta = np.full((300, 2, 2), 1.5)
    theta[::2, 0, 0] = 0.01
    bounds = np.array([[0.0, 3.0], [0.5, 10.0]])
    draws = posteriors.Draws(("frequency", "amplitude"), bounds, ("", ""), theta)
    posteriors.save(tmp_path / "draws.nc", draws)
    densities({"name": "pendulum"}, tmp_path / "draws.nc", None, tmp_path / "d.npz", likelihood=False)
    assert read_npz(tmp_path / "d.npz", "densities")["edge"].tolist() == [0.5, 0.0]
