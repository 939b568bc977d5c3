"""Stacked energy-flow networks: sums, gradients, closeness to the plain network of particles, both heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical import seeds
from veridical.networks import fronts, stacked
from veridical.networks.cells import Grid, as_rows, cells_of
from veridical.networks.fronts import EnergyFlowFront
from veridical.networks.softmax import StackedSoftmax
from veridical.networks.stacked import StackedMLP
from veridical.tasks.base import Array

GRID = Grid(cells=9, reach=0.6, core=0.01)
SLOPE = 0.2


def particles(n: int, *path: str) -> tuple[Array, Array]:
    """Energies, with some absent, and angles."""
    rng = seeds.generator(4, "test", "fronts", *path)
    energy = rng.dirichlet(np.ones(12), n)
    energy[rng.random(energy.shape) < 0.3] = np.nan
    return energy, rng.normal(0, 0.1, (n, 12, 2))


def rows(n: int, *path: str) -> Tensor:
    return torch.from_numpy(as_rows([cells_of(GRID, *particles(n, *path))])[0])


def network(members: int = 3, classes: int = 0) -> StackedMLP:
    front = EnergyFlowFront(members, GRID, (6, 5), SLOPE)
    widths = front.features, 4
    made = (
        StackedSoftmax(members, widths, SLOPE, classes, front)
        if classes
        else StackedMLP(members, widths, SLOPE, "bce", front)
    )
    made.initialise([seeds.generator(4, "test", "fronts", "weights", m) for m in range(members)])
    return made


def plain(net: StackedMLP, member: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The same member of torch's own layers: of angles, and of the sum."""

    def layers(weights: nn.ParameterList, biases: nn.ParameterList) -> list[nn.Module]:
        found: list[nn.Module] = []
        for w, b in zip(weights, biases, strict=True):
            layer = nn.Linear(*w.shape[1:], device="meta").to_empty(device="cpu")
            layer.load_state_dict({"weight": w[member].T, "bias": b[member, 0]})
            found += [layer, nn.LeakyReLU(SLOPE)]
        return found

    element = nn.Sequential(*layers(net.front.weights, net.front.biases))
    return element, nn.Sequential(*layers(net.weights, net.biases)[:-1])


def test_members_are_energy_flow_networks_of_particles_moved_to_the_centres() -> None:
    """Outputs and gradients as of a sum over particles, one by one."""
    net, (energy, angles) = network(), particles(40)
    x = rows(40)
    net.zero_grad()
    net._hold_parts()
    at = torch.from_numpy(GRID.stretched[GRID.locate(np.nan_to_num(angles))]).float()
    z = torch.from_numpy(np.nan_to_num(energy)).float()
    for m in range(3):
        element, after = plain(net, m)
        one = after((z[..., None] * element(at)).sum(dim=1))[:, 0]
        torch.testing.assert_close(net(x)[m], one)
        (one**2).sum().backward()
        (net.outputs(*net.leaves(slice(m, m + 1)), x) ** 2).sum().backward()
        for made, own in ((element, net.front), (after, net)):
            linear = [layer for layer in made if isinstance(layer, nn.Linear)]
            for layer, w, b in zip(linear, own.weights, own.biases, strict=True):
                torch.testing.assert_close(w.grad[m].T, layer.weight.grad)
                torch.testing.assert_close(b.grad[m, 0], layer.bias.grad)


def test_the_sum_has_the_gradient_that_torch_has() -> None:
    rng = np.random.default_rng(1)
    cells = torch.from_numpy(rng.integers(0, 7, (20, 5))).int()
    energies = torch.from_numpy(rng.exponential(size=(20, 5)).astype(np.float32))
    energies[rng.random((20, 5)) < 0.3] = 0
    energies[3] = 0
    own, theirs = (torch.linspace(-1, 1, 21).reshape(7, 3).requires_grad_() for _ in range(2))
    found = fronts.weighed_sum(own, cells, energies)
    expected = functional.embedding_bag(cells, theirs, mode="sum", per_sample_weights=energies)
    torch.testing.assert_close(found, expected)
    assert not found[3].any()
    (found**3).sum().backward()
    (expected**3).sum().backward()
    torch.testing.assert_close(own.grad, theirs.grad)


@pytest.mark.parametrize("classes", [0, 3])
def test_groups_and_more_padding_change_nothing(monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    """Losses and gradients of a batch, all members at once and one by one, with wider rows too."""
    batch = rows(24 * (classes or 2)).reshape(classes or 2, 3, 8, -1)
    found = []
    for activations, wider in ((10**9, 0), (1, 0), (10**9, 4)):
        monkeypatch.setattr(stacked, "GROUP_ACTIVATIONS", activations)
        net = network(classes=classes)
        net.zero_grad()
        padded = [torch.cat([functional.pad(p, (0, wider)) for p in x.chunk(2, -1)], -1) for x in batch]
        losses = net.accumulate(*padded)
        found.append([losses, *[p.grad.clone() for p in net.parameters()]])
    for other in found[1:]:
        for one, part in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, part, atol=1e-7, rtol=1e-5)


def test_groups_count_the_cells() -> None:
    net = StackedMLP(8, (32, 32), SLOPE, front=EnergyFlowFront(8, Grid(41, 0.6, 0.01), (32,), SLOPE))
    assert [g.stop - g.start for g in net.groups(512)] == [8]
    assert [g.stop - g.start for g in net.groups(5000)] == [5, 3]


def test_weights_come_and_go_by_member() -> None:
    net, other = network(), network()
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.take([net.weights_of(m) for m in range(3)])
    torch.testing.assert_close(other(rows(5)), net(rows(5)))
    assert [*net.state_dict()] == [name for name, _ in net.named_parameters()], "the grid is no weight"
