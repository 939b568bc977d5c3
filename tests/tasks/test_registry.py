"""The contract of a task, over the whole registry."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest

from tests.conftest import modules_after
from veridical import tasks
from veridical.errors import TaskError, UnknownName
from veridical.tasks.base import usable
from veridical.tasks.bijection import Bijection

ALL = sorted(tasks.TASKS)
N = 60
OF_CLASSES = {name for name in ALL if isinstance(tasks.build({"name": name}), tasks.ClassTask)}


@pytest.fixture(params=[name for name in ALL if name not in OF_CLASSES])
def task(request: pytest.FixtureRequest) -> tasks.Task:
    return tasks.build({"name": request.param})


def rows_of(noise: dict[str, np.ndarray], chosen: slice) -> dict[str, np.ndarray]:
    return {name: array[chosen] for name, array in noise.items()}


def test_each_task_keeps_the_contract(task: tasks.Task, rng: np.random.Generator) -> None:
    tasks.check_task(task)
    theta = task.prior.sample(rng, N)
    noise = task.noise(rng, N)
    assert theta.dtype == np.float64
    for fidelity in task.fidelities:
        before = {name: array.copy() for name, array in noise.items()}
        x = tasks.as_arrays(task.simulate(theta, noise, fidelity))["x"]
        assert x.shape == (N, *task.x_shape)
        assert x.dtype == np.float64
        finite = np.isfinite(x.reshape(N, -1))
        assert (finite.all(axis=1) | ~finite.any(axis=1)).all(), "a row fails as a whole"
        assert finite.all(axis=1).mean() > 0.8
        assert all(np.array_equal(noise[name], before[name]) for name in noise), "noise is not changed"
    with pytest.raises(TaskError, match="has no fidelity 'neither'; expected ") as told:
        task.simulate(theta, noise, "neither")
    assert all(level in str(told.value) for level in task.fidelities)


def test_a_batch_equals_its_rows_bit_for_bit(task: tasks.Task, rng: np.random.Generator) -> None:
    theta, noise = task.prior.sample(rng, N), task.noise(rng, N)
    for fidelity in task.fidelities:
        batch = task.simulate(theta, noise, fidelity)
        for i in range(5):
            row = slice(i, i + 1)
            alone = task.simulate(theta[row], rows_of(noise, row), fidelity)
            assert np.array_equal(batch[row], alone, equal_nan=True)


def test_prior_draws_lie_in_the_support_and_beyond_it_the_density_is_zero(
    task: tasks.Task, rng: np.random.Generator
) -> None:
    theta = task.prior.sample(rng, 2000)
    assert np.isfinite(task.prior.log_prob(theta)).all()
    for j, (lower, upper) in enumerate(task.bounds):
        for outside in (lower - 0.1, upper + 0.1):
            if np.isfinite(outside):
                moved = theta[:3].copy()
                moved[:, j] = outside
                assert (task.prior.log_prob(moved) == -np.inf).all()


def test_the_prior_density_integrates_to_one(task: tasks.Task, rng: np.random.Generator) -> None:
    """Importance sampling of the density from wider draws: the mean weight is one."""
    theta = task.prior.sample(rng, 20_000)
    wider, log_q = _student(theta, task.bounds, rng)
    weights = np.exp(task.prior.log_prob(wider) - log_q)
    error = weights.std() / np.sqrt(len(weights))
    assert abs(weights.mean() - 1) < 4.5 * error < 0.2


def _student(
    theta: np.ndarray, bounds: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Student-t draws around theta in unconstrained coordinates, with their log density in theta."""
    bijection = Bijection(bounds)
    z = bijection.to_unconstrained(theta)
    centre, factor = np.median(z, axis=0), 1.1 * np.linalg.cholesky(np.atleast_2d(np.cov(z.T)))
    t = rng.standard_t(5, size=z.shape)
    draws = centre + t @ factor.T
    constant = np.log(8 / (3 * np.pi * np.sqrt(5)))
    log_q = (constant - 3 * np.log1p(t**2 / 5) - np.log(np.diagonal(factor))).sum(axis=1)
    return bijection.to_parameters(draws), log_q - bijection.log_jacobian(draws)


NEEDED = {"pythia_jets": ("pythia8mc",)}


@pytest.mark.parametrize("name", sorted(OF_CLASSES))
def test_each_task_with_classes_keeps_the_contract(name: str, rng: np.random.Generator) -> None:
    task = tasks.build({"name": name})
    tasks.check_task(task)
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    for cls in task.fidelities:
        events = task.simulate(task.prior.sample(rng, N), rng, cls)
        assert events.shape == (N, *task.x_shape) and usable(events, task.has_missing).all()
    with pytest.raises(TaskError, match="has no class 'neither'"):
        task.simulate(np.empty((3, 0)), rng, "neither")
    assert task.mixture(7, 0.25, rng).shape == (7, *task.x_shape)
    same = [np.random.Generator(np.random.PCG64(3)) for _ in range(2)]
    events, classes = task.labelled_mixture(9, 0.5, same[0])
    np.testing.assert_array_equal(events, task.mixture(9, 0.5, same[1]))
    assert set(classes.tolist()) <= {0, 1} and classes.shape == (9,)
    if not task.has_log_ratio:
        with pytest.raises(NotImplementedError, match=f"task {name} has no exact density ratio"):
            task.log_ratio(events)
        return
    sample = task.mixture(4000, 0.25, rng)
    share = (task.log_ratio(sample) > task.log_ratio(task.mixture(4000, 0.75, rng)).mean()).mean()
    assert sample.shape == (4000, *task.x_shape) and share < 0.5


WITH_REAL: dict[str, dict[str, float]] = {
    "ricker": {"realisations": 10},
    "gaussian_linear": {"real_noise_sd": 2.0},
    "seir": {"weekend": 1.0},
    "slcp": {"points": 5, "real_noise_sd": 100.0},
}
OF_NATURE = [
    n
    for n in ALL
    for task in [tasks.build({"name": n, "settings": WITH_REAL.get(n, {})})]
    if "real" in task.fidelities and "severity" in signature(type(task)).parameters
]


@pytest.mark.parametrize("name", OF_NATURE)
def test_severity_is_a_dial_from_the_simulator_to_nature(name: str, rng: np.random.Generator) -> None:
    """At 0 data of the level `real` are the simulator's, row by row; at 1 the default's; between, neither."""

    def real(severity: dict[str, float]) -> np.ndarray:
        settings = WITH_REAL.get(name, {}) | severity
        return tasks.build({"name": name, "settings": settings}).simulate(theta, noise, "real")

    task = tasks.build({"name": name, "settings": WITH_REAL.get(name, {})})
    theta, noise = task.prior.sample(rng, N), task.noise(rng, N)
    target = [level for level in task.fidelities if level != "real"][-1]
    model = task.simulate(theta, noise, target)
    assert task.of_nature == ("severity",)
    settings = WITH_REAL.get(name, {}) | {"severity": 0.5}
    graded = tasks.build({"name": name, "settings": settings})  # which other levels do not see
    for level in set(task.fidelities) - {"real"}:
        np.testing.assert_array_equal(
            graded.simulate(theta, noise, level), task.simulate(theta, noise, level)
        )
    np.testing.assert_allclose(real({"severity": 0.0}), model, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(real({"severity": 1.0}), real({}))
    half, whole = (np.abs(real({"severity": s}) - model) > 1e-9 for s in (0.5, 1.0))
    assert half.any() and whole.any() and (real({"severity": 0.5}) != real({})).any()
    for bad in (-0.1, 1.1, True, "1"):
        with pytest.raises(TaskError, match="expected a severity from 0 "):
            real({"severity": bad})


EXACT = [
    "g_and_k",
    "gaussian_chain",
    "gaussian_cloud",
    "gaussian_linear",
    "gaussian_mean",
    "gaussian_variance",
    "mixture",
    "ornstein_uhlenbeck",
    "sis",
]


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_posterior_is_prior_times_likelihood(name: str, rng: np.random.Generator) -> None:
    task = tasks.build({"name": name})
    fidelity = [level for level in task.fidelities if level != "real"][-1]
    x = task.simulate(task.prior.sample(rng, 3), task.noise(rng, 3), fidelity)
    theta = task.posterior_sample(x, rng, 50)
    assert theta.shape == (50, 3, len(task.parameters))
    exact = task.posterior_log_prob(theta, x)
    assert exact.shape == (50, 3)
    for i in range(3):
        product = task.prior.log_prob(theta[:, i]) + task.log_likelihood(theta[:, i], x[i])
        constant = exact[:, i] - product
        np.testing.assert_allclose(constant, constant[0], rtol=1e-9)


def test_a_misspelt_name_or_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'lotka_volterra'"):
        tasks.build({"name": "lotka_voltera"})
    with pytest.raises(TaskError, match=r"no setting 'dimensions'\. Did you mean 'dimension'"):
        tasks.build({"name": "gaussian_linear", "settings": {"dimensions": 3}})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("gaussian_linear", {"dimension": 0}, "gaussian_linear: expected dimension >= 1"),
        ("gaussian_linear", {"prior_sd": -1.0}, "positive prior_sd"),
        ("gaussian_linear", {"real_noise_sd": 0.0}, "positive real_noise_sd"),
        ("gaussian_linear", {"severity": 0.5}, "a severity needs a real_noise_sd"),
        ("seir", {"weekend": 0.0}, "a weekend above 0 and up to 1, got 0"),
        ("seir", {"severity": 0.5}, "a severity needs a weekend"),
        ("slcp", {"severity": 0.5}, "a severity needs a real_noise_sd"),
        ("slcp", {"points": 0}, "points >= 1 and a positive real_noise_sd, got 0"),
        ("gaussian_chain", {"chain": -1}, "whole number chain >= 0"),
        ("gaussian_chain", {"chain": 1.5}, "whole number chain >= 0"),
        ("gaussian_chain", {"chain": True}, "whole number chain >= 0"),
        ("gaussian_classes", {"separation": -0.1}, "positive separation"),
        ("gaussian_classes", {"resolution": 2}, r"resolution in \[0, 1\]"),
        ("gaussian_variance", {"repeats": 0}, "expected"),
        ("mass_plane", {"simulators": True}, "whole numbers simulators >= 1"),
        ("mixture", {"weight": 1.0}, "expected"),
        ("ornstein_uhlenbeck", {"parameters": 4}, "expected parameters 2 or 3, got 4"),
        ("pendulum", {"noise_sd": 0.0}, "expected a positive noise_sd and substeps >= 1"),
        ("pendulum", {"substeps": 0}, "expected a positive noise_sd and substeps >= 1"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        tasks.build({"name": name, "settings": settings})


def test_block_rows_come_from_the_settings() -> None:
    assert tasks.build({"name": "mixture", "block_rows": 7}).block_rows == 7
    assert tasks.build({"name": "mixture"}).block_rows == 1000


def test_modules_and_sources_of_a_registry_task() -> None:
    assert tasks.modules({"name": "mixture"}) == ("veridical.tasks.mixture",)
    assert tasks.digest_sources({"name": "mixture"}) == []


def test_tasks_import_numpy_and_scipy_special_only() -> None:
    loop = f"for name in {ALL}: tasks.check_task(tasks.build({{'name': name}}))"
    found = modules_after(f"from veridical import tasks\n{loop}")
    assert not found & {"torch", "xarray", "dask", "zarr", "pydantic", "emcee", "scipy.stats"}
