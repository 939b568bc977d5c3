"""The light tunnel: geometry of the hexagon, the law of the polarisers, and what the real camera does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.tasks.light_tunnel import SENSOR, LightTunnel


def quiet(n: int, pixels: int) -> dict[str, np.ndarray]:
    return {"observation": np.zeros((n, pixels, pixels, 3))}


def test_the_share_that_passes_is_that_of_uniform_angles(rng: np.random.Generator) -> None:
    share = LightTunnel().prior.sample(rng, 4000)[:, 3]
    angles = rng.uniform(-np.pi, np.pi, (4000, 2))
    assert stats.ks_2samp(share, np.cos(angles[:, 0] - angles[:, 1]) ** 2).pvalue > 1e-3
    at = np.array([[100.0, 10.0, 20.0, 0.3]])
    expected = stats.arcsine.logpdf(0.3) - 3 * np.log(255)
    assert LightTunnel().prior.log_prob(at)[0] == pytest.approx(expected)
    assert LightTunnel().prior.log_prob(at - [0, 0, 0, 0.4])[0] == -np.inf


def test_the_simulator_paints_a_hexagon_of_the_stated_colour() -> None:
    task = LightTunnel(pixels=200)
    image = task.simulate(np.array([[255.0, 51.0, 0.0, 0.5]]), quiet(1, 200), "model")[0]
    inside = image[..., 0] > 0
    assert inside.mean() == pytest.approx(1.5 * np.sqrt(3) * 0.22**2, rel=0.02), "the area of a hexagon"
    np.testing.assert_allclose(image[inside], np.tile([0.5, 0.1, 0.0], (inside.sum(), 1)))
    across = inside[100].sum() / 200, inside[:, 100].sum() / 200
    np.testing.assert_allclose(across, [0.44, 0.44 * np.cos(np.pi / 6)], atol=0.011)


def test_the_real_camera_mixes_colours_leaks_and_saturates() -> None:
    task = LightTunnel(pixels=51)
    theta = np.array([[255.0, 0.0, 0.0, 1.0], [100.0, 50.0, 20.0, 0.0], [255.0, 255.0, 255.0, 1.0]])
    x = task.simulate(theta, quiet(3, 51), "real")[:, 25, 25]
    np.testing.assert_allclose(x[0], np.minimum(1, 1.4 * 0.9 * SENSOR[:, 0]), rtol=1e-6)
    np.testing.assert_allclose(x[1], 1.4 * 0.08 * SENSOR @ (theta[1, :3] / 255), rtol=1e-6)
    np.testing.assert_allclose(x[2], 1.0, rtol=1e-6)


def test_blur_keeps_light_and_corners_are_darker() -> None:
    sharp, soft = LightTunnel(pixels=64, severity=0.0), LightTunnel(pixels=64)
    assert 0 < (soft._seen - sharp._seen).max() < 1, "light beyond the edge"
    assert soft._seen.sum() == pytest.approx((sharp._hexagon * (1 - 0.3 * 0.05)).sum(), rel=0.03)
    corner = LightTunnel(pixels=64)
    corner._hexagon = np.ones((64, 64))
    seen = corner._camera(np.array(corner.dimensions[0].coordinates))
    assert seen[0, 0] == pytest.approx(0.7, abs=0.02) and seen[32, 32] == pytest.approx(1, abs=0.01)
