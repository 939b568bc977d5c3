"""A linear regression in front of densities: closed forms, every family behind it, where it stands back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.estimators.small import BOX, NETWORKS
from tests.networks.test_densities import dense, density, every, numbers
from veridical import seeds
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import PosteriorNetwork, on_task
from veridical.networks.density import Density, log_normal
from veridical.networks.none import NoSummary
from veridical.networks.regressed import ROWS_PER_NUMBER, Regressed, Residual, linear_share, regress
from veridical.networks.trainable import Stack
from veridical.tasks.supports import Whole
from veridical.training.session import Session

D, C = 2, 3


class Normal(Density):
    """Standard normal whatever the context."""

    def log_prob(self, theta: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return log_normal(theta)


def linear_rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """z (n, D) = a + b x plus correlated noise; x (n, C) standard normal."""
    rng = seeds.generator(seed, "test", "regressed", n)
    x = rng.standard_normal((n, C))
    noise = rng.standard_normal((n, D)) @ np.array([[0.5, 0.2], [0.0, 0.1]])
    return 0.3 + x @ np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 0.2]]) + noise, x


def fitted(n: int, inner: Density | None = None) -> tuple[Regressed, Residual]:
    summary = Regressed(NoSummary((C,)), C, D).double()
    behind = Residual(inner or Normal(D)).double()
    regress(summary, behind, *linear_rows(n))
    return summary.requires_grad_(False), behind


def test_alone_it_is_the_normal_posterior_of_least_squares() -> None:
    """Against numpy's least squares on the same rows; the ridge moves it by 1e-6 or so."""
    z, x = linear_rows(5000)
    design = np.column_stack([np.ones(len(x)), x])
    coefficients = np.linalg.lstsq(design, z, rcond=None)[0]
    left = z - design @ coefficients
    covariance = left.T @ left / len(left)
    quadratic = np.einsum("ni,ij,nj->n", left, np.linalg.inv(covariance), left)
    expected = -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])
    summary, behind = fitted(5000)
    found = behind.log_prob(torch.from_numpy(z), summary(torch.from_numpy(x)))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(behind.root, behind.root.T, atol=1e-12)
    np.testing.assert_allclose(behind.root @ behind.inverse, np.eye(D), atol=1e-12)


def test_far_from_all_rows_predictions_stay_among_the_parameters_of_the_rows() -> None:
    z, x = linear_rows(5000)
    summary, _ = fitted(5000)
    near = summary(torch.from_numpy(x)).numpy()[:, -D:]
    (low, other), (high, another) = (f(np.stack([z, near]), axis=(0, 1)) for f in (np.min, np.max))
    found = summary(torch.tensor([[1e3, 1e3, -1e3], [-1e3, -1e3, 1e3]]).double())[:, -D:]
    np.testing.assert_allclose(found, [[high, other], [low, another]], rtol=1e-6)


@pytest.mark.parametrize(("rows", "told"), [(ROWS_PER_NUMBER * C, True), (ROWS_PER_NUMBER * C - 1, False)])
def test_of_few_rows_it_takes_the_mean_and_covariance_alone(rows: int, told: bool) -> None:
    z, _ = linear_rows(rows)
    summary, behind = fitted(rows)
    assert bool(summary.slope.any()) is told
    if not told:
        np.testing.assert_allclose(summary.constant, z.mean(axis=0))
        np.testing.assert_allclose(behind.root @ behind.root, np.cov(z.T, bias=True))


@every
def test_every_family_stands_behind_it(name: str) -> None:
    """Draws are those of the family, mapped; densities the family's at what is left, less log det R."""
    inner = density(name, D, context=C + D)
    summary, behind = fitted(500, inner)
    context, index = summary(numbers(4, C)).detach(), torch.arange(12) % 4
    noise = numbers(12, inner.draw_noise)
    plain, plain_log_p = inner.push(noise, context, index)
    theta, log_p = behind.push(noise, context, index)
    torch.testing.assert_close(theta, context[index, -D:] + plain @ behind.root)
    assert (log_p is None) is (plain_log_p is None) and behind.has_density == inner.has_density
    if log_p is not None:
        torch.testing.assert_close(log_p, plain_log_p - torch.linalg.slogdet(behind.root)[1])
    given = [numbers(12, inner.loss_noise)] if inner.loss_noise else []
    shift = 0 if given else float(torch.linalg.slogdet(behind.root)[1])
    expected = inner.loss(plain, context[index], *given) + shift
    torch.testing.assert_close(behind.loss(theta, context[index], *given), expected)


@dense
def test_densities_integrate_to_one(name: str) -> None:
    """Over a grid 12 standard deviations wide: families of the registry do so themselves."""
    inner = density(name, D, context=C + D, scale=0.5)
    summary, behind = fitted(500, inner)
    side = torch.linspace(-6, 6, 121).double()
    left = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).reshape(-1, D)
    context = summary(numbers(1, C)).expand(len(left), -1)
    with torch.no_grad():
        log_p = behind.log_prob(context[:, -D:] + left @ behind.root, context)
    cell = (12 / 120) ** 2 * torch.linalg.det(behind.root)
    assert float(log_p.exp().sum() * cell) == pytest.approx(1, abs=0.01)


def test_members_of_a_stack_share_it_and_only_its_tilt_moves() -> None:
    info = TaskInfo("linear", ("a", "b"), np.array([[-np.inf, np.inf]] * D), ("", ""), (C,))
    settings = on_task(NPESettings.model_validate(NETWORKS), info)
    networks = []
    for seed in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            networks.append(PosteriorNetwork(settings, (C,), info.cells))
        networks[-1].regress(*linear_rows(500))
    stack = Stack(networks)
    batch = [torch.from_numpy(part[:50]).float() for part in linear_rows(500)]
    losses = stack.losses_on_same(*batch)
    torch.testing.assert_close(losses, torch.stack([network.loss(*batch) for network in networks]))
    losses.sum().backward()
    frozen = [name for name, part in zip(stack.names, stack.stacked, strict=True) if part.grad is None]
    assert frozen == ["summary.slope", "summary.constant"]
    stack.shrink([0.5, 0.25, 1.0])
    own = stack.weights_of(1)
    for name, tensor in networks[1].state_dict().items():
        moved = name not in frozen and name in stack.names
        torch.testing.assert_close(own[name], tensor * 0.25 if moved else tensor)


def test_weights_of_a_revision_that_did_not_move_it_are_read() -> None:
    summary, _ = fitted(500)
    old = {name: part for name, part in summary.state_dict().items() if name not in ("tilt", "root")}
    again = Regressed(NoSummary((C,)), C, D).double()
    again.load_state_dict(old)
    x = torch.from_numpy(linear_rows(100)[1])
    torch.testing.assert_close(again(x), summary(x))


def bent_rows(n: int, power: int) -> tuple[np.ndarray, np.ndarray]:
    """z (n, D) = x^power plus noise of a tenth, the two mixed; x (n, D) standard normal."""
    rng = seeds.generator(power, "test", "regressed", n)
    x = rng.standard_normal((n, D))
    return x**power @ np.array([[1.0, 0.3], [0.3, 1.0]]) + 0.1 * rng.standard_normal((n, D)), x


@pytest.mark.parametrize("n", [400, 2000, 20_000])
def test_it_counts_by_how_linear_the_rows_are(n: int) -> None:
    """R^2 of a line through x^3 is 9 / 15, so that hardly anything remains; through x^2 it is 0."""
    share = {power: linear_share(*bent_rows(n, power)[::-1]) for power in (1, 2, 3)}
    assert share[1] == 1 and share[2] == 0
    assert share[3] < 0.3 + 8 / np.sqrt(n)
    z, x = linear_rows(n)
    assert linear_share(x, z) == 1
    assert linear_share(x, seeds.generator(9, "test", "regressed", n).standard_normal((n, D))) < 1


def test_where_a_line_says_nothing_it_is_left_out() -> None:
    summary, behind = Regressed(NoSummary((D,)), D, D).double(), Residual(Normal(D)).double()
    z, x = bent_rows(2000, 2)
    regress(summary, behind, z, x)
    assert not summary.slope.any()
    np.testing.assert_allclose(behind.root @ behind.root, np.cov(z.T, bias=True), rtol=1e-9)


def test_a_linear_task_is_answered_exactly_from_the_start() -> None:
    """Excess of -log q over the exact posterior's, on 2,000 fresh pairs, after one epoch: below 0.05."""
    info = TaskInfo("linear", ("a", "b"), np.array([[-np.inf, np.inf]] * D), ("", ""), (C,))
    settings = NPESettings(training={"epochs": 1, "batch_size": 256})
    theta, x = linear_rows(5000)
    rows = Rows(theta, x, np.arange(5000) % 10 == 9)
    estimator, _ = NPE.fit(settings, info, Material(rows), Session(1, ("npe", 0)))
    summary, behind = fitted(5000)
    theta, x = linear_rows(2000, seed=1)
    exact = behind.log_prob(torch.from_numpy(theta), summary(torch.from_numpy(x))).detach().numpy()
    assert (exact - estimator.log_prob(theta, x)).mean() < 0.05


@pytest.mark.parametrize(
    ("summary", "about"),
    [
        ({"type": "conv"}, {"x_shape": (64,)}),
        ({"type": "gru"}, {"x_shape": (8,)}),
        ({"type": "deepset"}, {"x_shape": (8, 2)}),
        ({"type": "image"}, {"x_shape": (16, 16)}),
        ({"type": "mlp"}, {"has_missing": True}),
        ({"type": "mlp"}, {"constraints": (Whole("b", 0, 2),)}),
    ],
)
def test_where_it_cannot_stand_the_settings_say_none(summary: dict[str, Any], about: dict[str, Any]) -> None:
    settings = NPESettings.model_validate({"summary": summary})
    info = TaskInfo(**{**vars(BOX), **about})
    assert settings.base == "regression" and on_task(settings, info).base == "none"
    assert on_task(settings, TaskInfo(**vars(BOX))).base == (
        "regression" if summary["type"] == "mlp" else "none"
    )
