"""What every density promises, for all lines of the registry; and fields that are known in closed form."""

from __future__ import annotations

import copy
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest, norm

from veridical import seeds
from veridical.networks import DENSITIES, build_density, density_settings, trajectories
from veridical.networks.density import Density, log_normal
from veridical.networks.trainable import Stack, Trainable

CONTEXT = 3
SMALL = {"transforms": 4, "bins": 4, "hidden": [8, 8], "components": 3, "width": 16, "blocks": 2, "sizes": 10}
SECTIONS = {kind.model_fields["type"].default: kind for kind in get_args(density_settings._AnyFlow)}
LEARNED = ("flow_matching", "diffusion", "consistency")  # from noisy parameters, by the residual network


def density(
    name: str,
    features: int,
    seed: int = 0,
    scale: float = 1.5,
    context: int = CONTEXT,
    **own: Any,
) -> Density:
    """A small density in double precision, whose weights are larger than at the start."""
    section = SECTIONS[name]
    chosen = {key: value for key, value in SMALL.items() if key in section.model_fields}
    steps = {"steps": 20} if name in ("flow_matching", "diffusion") and not own else {}
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        made = build_density(section(**{**chosen, **steps, **own}).model_dump(), features, context).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def numbers(*shape: int) -> torch.Tensor:
    return torch.from_numpy(seeds.generator(0, "test", "densities", *shape).standard_normal(shape))


def loss(made: Density, rows: int = 60, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    noise = [numbers(rows, made.loss_noise).to(dtype)] if made.loss_noise else []
    return made.loss(numbers(rows, made.features).to(dtype), numbers(rows, CONTEXT).to(dtype), *noise)


every = pytest.mark.parametrize("name", DENSITIES)
dense = pytest.mark.parametrize("name", [name for name in DENSITIES if SECTIONS[name]().has_density])


def test_settings_and_registry_have_the_same_types() -> None:
    assert list(SECTIONS) == list(DENSITIES) == list(density_settings.TRAINING)
    for name, section in SECTIONS.items():
        assert density(name, 2).has_density == section().has_density


def test_what_suits_a_flow_is_the_default_of_its_training() -> None:
    from veridical.estimators.npe_settings import NPESettings

    plain = NPESettings()
    assert plain.flow == density_settings.SplineFlowSettings() and plain.training.learning_rate == 5e-3
    given = {"flow": {"type": "diffusion"}, "training": {"epochs": 7}}
    found = NPESettings.model_validate(given).training
    assert (found.epochs, found.learning_rate, found.warmup) == (7, 2e-3, 0.1)
    assert NPESettings(flow="consistency").training.epochs == 120
    again = NPESettings.model_validate(NPESettings(flow="consistency").model_dump())
    assert again == NPESettings(flow="consistency")
    assert NPESettings(flow={"bins": 5}) == NPESettings(flow={"type": "spline", "bins": 5})


@every
@pytest.mark.parametrize("features", [1, 2, 5])
def test_draws_of_a_batch_are_those_of_a_loop(name: str, features: int) -> None:
    made, noise, context = (
        density(name, features),
        numbers(12, density(name, features).draw_noise),
        numbers(4, CONTEXT),
    )
    index = torch.arange(12) % 4
    theta, log_p = made.push(noise, context, index)
    assert theta.shape == (12, features) and torch.isfinite(theta).all()
    assert (log_p is not None) == made.has_density
    torch.testing.assert_close(made.push(noise, context, index, density=False)[0], theta)
    for i in range(12):
        own = made.push(noise[i : i + 1], context, index[i : i + 1])
        torch.testing.assert_close(own[0][0], theta[i])
        if log_p is not None:
            assert own[1] is not None
            torch.testing.assert_close(own[1][0], log_p[i])
    again = copy.deepcopy(made).float().push(noise.float(), context.float(), index)[0]
    torch.testing.assert_close(again.double(), theta, rtol=1e-3, atol=1e-3)


@dense
@pytest.mark.parametrize("features", [1, 2, 5])
def test_draws_have_the_density_that_they_state(name: str, features: int) -> None:
    """Exact families to rounding; those that integrate to their own stated error."""
    made, noise, context = (
        density(name, features),
        numbers(50, density(name, features).draw_noise),
        numbers(1, CONTEXT),
    )
    theta, log_p = made.push(noise, context, torch.zeros(50, dtype=torch.long))
    with torch.no_grad():
        found = made.log_prob(theta, context.expand(50, -1))
        error = made.log_prob_error(theta, context.expand(50, -1))
    assert (error == 0).all() == (name not in LEARNED) and (error < 0.05).all()
    assert (abs(found - log_p) <= 3 * error.max() + 1e-8).all()


@dense
@pytest.mark.parametrize("features, reach, cells, within", [(1, 12, 40, 30), (2, 8, 16, 6)])
def test_a_density_integrates_to_one_and_draws_follow_it(
    name: str, features: int, reach: float, cells: int, within: int
) -> None:
    """Counts of 4,000 draws in cells, against the density summed over them."""
    made, context = density(name, features, seed=features), numbers(1, CONTEXT)
    step = 2 * reach / cells / within
    axis = (torch.arange(cells * within, dtype=torch.float64) + 0.5) * step - reach
    grid = torch.cartesian_prod(*[axis] * features).reshape(-1, features)
    with torch.no_grad():
        p = made.log_prob(grid, context.expand(len(grid), -1)).exp() * step**features
    assert float(p.sum()) == pytest.approx(1, abs=3e-3)
    theta = made.push(numbers(4000, made.draw_noise), context, torch.zeros(4000, dtype=torch.long))[0]
    edges = np.linspace(-reach, reach, cells + 1)
    expected, counts = (
        np.histogramdd(rows.numpy(), [edges] * features, weights=weights)[0].ravel()
        for rows, weights in ((grid, 4000 * p.numpy()), (theta, None))
    )
    often = expected > 5
    rest = [max(4000 - expected[often].sum(), 1e-9), 4000 - counts[often].sum()]
    total = np.append(expected[often], rest[0])
    assert chisquare(np.append(counts[often], rest[1]), total * 4000 / total.sum()).pvalue > 1e-4


@every
@pytest.mark.parametrize("features", [1, 3])
def test_a_gradient_reaches_every_weight(name: str, features: int) -> None:
    made = density(name, features, scale=1.0)
    loss(made).backward()
    for at, parameter in made.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), at


class Lossy(Trainable):
    """A density that learns from its own rows."""

    def __init__(self, made: Density) -> None:
        super().__init__()
        self.made = made

    def loss(self, *batch: torch.Tensor) -> torch.Tensor:
        return self.made.loss(*batch)


@every
@pytest.mark.parametrize("features", [1, 3])
def test_members_learn_in_one_stack(name: str, features: int) -> None:
    """The losses and gradients of a stack are those of its members."""
    members = [Lossy(density(name, features, seed)) for seed in (1, 2)]
    stack = Stack(members)
    batch = [numbers(40, n) for n in (features, CONTEXT, members[0].made.loss_noise) if n]
    together = stack.losses_on_same(*batch)
    alone = torch.stack([member.loss(*batch) for member in members])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(stack.losses(*(torch.stack([part] * 2) for part in batch)), alone)
    together.sum().backward()
    alone.sum().backward()
    gradients = dict(zip(stack.names, (part.grad for part in stack.stacked), strict=True))
    for at, weights in members[1].named_parameters():
        torch.testing.assert_close(gradients[at][1], weights.grad)  # type: ignore[index]


MEAN, SD = 0.7, 0.3


def unplaced(made: Density) -> Density:
    """The same density, with z for theta."""
    for weights in made.place.parameters():
        weights.data.zero_()
    return made


class Exact(torch.nn.Module):
    """Stands in for the network of a family, where all parameters are N(MEAN, SD^2) whatever the context."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def told(self, context: torch.Tensor) -> torch.Tensor:
        return context[:, :0]

    def forward(self, theta: torch.Tensor, time: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        angle = 2 * (4 * time[..., None]).exp().atan()
        if self.name == "flow_matching":  # E(theta - noise | theta_t)
            time = angle.cos() / (angle.cos() + angle.sin()) * (1 + 2e-3)
            variance = (time * SD) ** 2 + (1 - time) ** 2
            return MEAN + (time * SD**2 - (1 - time)) / variance * (theta - time * MEAN)
        spread = ((angle.cos() * SD) ** 2 + angle.sin() ** 2).sqrt()
        away = (theta - angle.cos() * MEAN) / spread
        if self.name == "diffusion":  # parameters and noise, on average given the two together
            clean, noise = MEAN + angle.cos() * SD**2 / spread * away, angle.sin() / spread * away
            return angle.cos() * noise - angle.sin() * clean
        over = angle - 1e-3  # where the ordinary equation ends
        return (over.cos() * theta - MEAN - SD * away) / over.sin().clamp(min=1e-12)


@pytest.mark.parametrize("name, own", [*((n, {}) for n in LEARNED), ("diffusion", {"sampler": "sde"})])
def test_the_exact_network_gives_the_exact_normal(name: str, own: dict[str, Any]) -> None:
    """Draws by Kolmogorov and Smirnov; densities to the stated error, which shrinks with the steps."""
    made = unplaced(density(name, 2, **own))
    made.network = Exact(name)
    context, index = numbers(1, CONTEXT), torch.zeros(5000, dtype=torch.long)
    theta, log_p = made.push(numbers(5000, made.draw_noise), context, index)
    for column in theta.numpy().T:
        assert kstest(column, norm(MEAN, SD).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(theta.numpy().T)[0, 1]) < 0.06
    if not made.has_density:
        assert log_p is None
        return
    exact = log_normal((theta - MEAN) / SD) - 2 * np.log(SD)
    context = context.expand(5000, -1)
    error = made.log_prob_error(theta, context)
    assert error.max() < 0.01
    assert (abs(made.log_prob(theta, context) - exact) < 2 * error + 2e-3).all()
    assert log_p is not None and (abs(log_p - exact) < 2 * error.max() + 2e-3).all()
    made.steps *= 4
    assert made.log_prob_error(theta, context).mean() < error.mean() / 4


@pytest.mark.parametrize("name, own", [*((n, {}) for n in LEARNED)])
def test_the_loss_of_the_exact_network_is_least(name: str, own: dict[str, Any]) -> None:
    """Moving its answers raises the loss, on the same noise."""
    made, n = unplaced(density(name, 1, **own)), 20_000
    theta, noise, context = MEAN + SD * numbers(n, 1), numbers(n, made.loss_noise), numbers(n, CONTEXT)
    made.network = Exact(name)
    least = made.loss(theta, context, noise)
    for shift in (-0.1, 0.1):
        made.network = moved = Exact(name)
        moved.register_forward_hook(lambda _, __, out, shift=shift: out + shift)
        assert made.loss(theta, context, noise) > least + 1e-3


@pytest.mark.parametrize("name", ["flow_matching", "diffusion"])
def test_divergences_by_probes_are_within_their_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five standard errors of four probes, which are themselves uncertain: twice as many for the largest."""
    made, theta, context = density(name, 6), numbers(30, 6), numbers(30, CONTEXT)
    with torch.no_grad():
        exact = made.log_prob(theta, context)
        monkeypatch.setattr(trajectories, "EXACT", 5)
        found, error = made.log_prob(theta, context), made.log_prob_error(theta, context)
        pushed = made.push(numbers(30, 6), context, torch.arange(30))[1]
    assert ((found - exact).abs() < 10 * error + 1e-3).all() and not torch.equal(found, exact)
    assert pushed is not None and torch.isfinite(pushed).all()
