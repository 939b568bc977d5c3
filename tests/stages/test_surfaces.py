"""Stage surfaces: log likelihoods of a method on a grid of parameters, beside the exact ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.golden.compare import HOME
from veridical import artifacts, tasks
from veridical.errors import DataError, TrainingError
from veridical.files import read_npz
from veridical.saved.observations import Observations
from veridical.stages import surfaces as stage
from veridical.stages.surfaces import grid_of, known, surfaces

SIS = {"name": "sis", "settings": {}}


def test_cells_fill_the_box_and_share_centres_with_those_of_the_task() -> None:
    task = tasks.build(SIS)
    own = grid_of(task, 20, np.zeros((1, 2)))
    for axis, whole, (lower, upper) in zip(own, task.centres(), task.bounds, strict=True):
        assert np.isclose(whole, axis[:, None], rtol=0, atol=1e-12).any(axis=1).all() and len(axis) >= 20
        half = (axis[1] - axis[0]) / 2
        assert (axis[0] - half, axis[-1] + half) == pytest.approx((lower, upper))
    plain = tasks.build({"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}})
    for axis, (lower, upper) in zip(grid_of(plain, 24, np.zeros((1, 2))), plain.bounds, strict=True):
        half = (upper - lower) / 48
        assert len(axis) == 24 and (axis[0] - half, axis[-1] + half) == pytest.approx((lower, upper))


def test_where_there_is_no_bound_cells_fill_the_range_of_parameters(rng: np.random.Generator) -> None:
    task, theta = (
        tasks.build({"name": "gaussian_linear", "settings": {"dimension": 2}}),
        rng.normal(size=(50, 2)),
    )
    for axis, column in zip(grid_of(task, 20, theta), theta.T, strict=True):
        half, room = (axis[1] - axis[0]) / 2, 0.02 * np.ptp(column)
        assert (axis[0] - half, axis[-1] + half) == pytest.approx((column.min() - room, column.max() + room))


@pytest.mark.parametrize("spec", [SIS, {"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}}])
def test_the_exact_surfaces_are_the_likelihood_at_the_centres(
    spec: dict[str, object], rng: np.random.Generator
) -> None:
    task = tasks.build(spec)
    theta = task.prior.sample(rng, 2)
    x = tasks.as_arrays(task.simulate(theta, task.noise(rng, 2), [*task.fidelities][-1]))["x"]
    axes = grid_of(task, 20, theta)
    found, centres = known(task, x, axes), np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    assert found.shape == (2, *map(len, axes))
    for i in range(2):
        expected = task.log_likelihood(centres[::37], x[i])
        np.testing.assert_allclose(found[i].reshape(-1)[::37], expected, rtol=1e-9, atol=1e-9)


def asked(folder: str, out: Path, truth: bool = True) -> dict[str, np.ndarray]:
    """Surfaces of a stored method, three data sets of it."""
    method = artifacts.load_estimator(HOME / "artifacts" / folder)
    rng = np.random.Generator(np.random.PCG64(3))
    theta, x = rng.normal(size=(5, 2)), rng.normal(size=(5, *method.task.x_shape))
    data = Observations(x, theta if truth else None, "simulated", "simulated", "a test")
    spec = {"name": "ornstein_uhlenbeck", "settings": {"parameters": 2}}
    surfaces(spec, HOME / "artifacts" / folder, data, out, observations=3, cells=10, exact=False, root=1)
    return read_npz(out, "surfaces")


def test_learned_surfaces_are_those_of_the_method_in_whatever_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = asked("nre", tmp_path / "a.npz")
    assert arrays["log_l"].shape == (3, 10, 10) and "log_l_exact" not in arrays
    monkeypatch.setattr(stage, "ROWS", 100)
    for name, array in asked("nre", tmp_path / "b.npz").items():
        np.testing.assert_allclose(array, arrays[name], rtol=1e-5, atol=1e-5, err_msg=name)
    method = artifacts.load_estimator(HOME / "artifacts/nre")
    rng = np.random.Generator(np.random.PCG64(3))
    x = (rng.normal(size=(5, 2)), rng.normal(size=(5, *method.task.x_shape)))[1][:3]
    theta = np.array([arrays["axis_0"][4], arrays["axis_1"][7]])
    own = method.log_likelihood(np.tile(theta, (3, 1)), x)
    np.testing.assert_allclose(arrays["log_l"][:, 4, 7], own, rtol=1e-5, atol=1e-5)


def test_methods_without_a_likelihood_and_data_without_truth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected one with a likelihood"):
        asked("npe", tmp_path / "a.npz")
    with pytest.raises(DataError, match="expected the true parameters"):
        asked("nre", tmp_path / "a.npz", truth=False)
    assert not [*tmp_path.iterdir()]
