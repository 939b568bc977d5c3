r"""A hexagon of light behind two polarisers, seen by a camera that the simulator takes for perfect.

The light has the colour (R, G, B), each uniform from 0 to 255. Polarisers at angles that are uniform let pass
the share :math:`\alpha = \cos^2(\phi_1 - \phi_2)`, whose density is
:math:`1 / (\pi \sqrt{\alpha (1 - \alpha)})`. The image is black but for a hexagon around its centre, with
corners at 0, 60, ... degrees and a radius of 0.22 of its side, of the colour

.. math:: c = \frac{\alpha}{255} (R, G, B) .

Each number has noise of standard deviation `noise_sd`. At the level `real` and severity s

.. math:: c = \min\!\Big(1, \; w \, S \, \frac{(R, G, B)^T}{255} \, (T_p \alpha + T_c (1 - \alpha))\Big) ,

with the exposure w, a matrix S by which sensors see other colours, and polarisers that are not perfect; the
image is blurred, and darker towards its corners. All of this grows with s: w from 1 to 1.4, S from I to the
matrix `SENSOR`, :math:`T_p` from 1 to 0.9, :math:`T_c` from 0 to 0.08, the blur from 0 to 1.5 % of the side,
the loss in the corners from 0 to 30 %. These numbers are made up: this nature stands in for the images of the
Causal Chambers, which do not come with it.

References:
    | Causal chambers as a real-world physical testbed for AI methodology (Gamella et al., 2025): light
    | tunnel, models F1 and F3, data lt_camera_v1, https://arxiv.org/abs/2404.11341
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), task E, https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform, linear_map

RADIUS = 0.22
EXPOSURE, PASSED, CROSSED, BLUR, DARKER = 1.4, 0.9, 0.08, 0.015, 0.3
SENSOR = np.array([[0.85, 0.1, 0.05], [0.12, 0.8, 0.08], [0.03, 0.15, 0.82]])
COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Arcsine:
    """The distribution on [0, 1] of a squared cosine of a uniform angle."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper end of the support."""
        return 0.0, 1.0

    def quantile(self, u: Array) -> Array:
        """Returns the values below which a share u in (0, 1) lies."""
        return np.sin(0.5 * np.pi * u) ** 2

    def log_prob(self, value: Array) -> Array:
        """Returns log densities; -inf outside the support."""
        inside = (value > 0) & (value < 1)
        at = np.where(inside, value, 0.5)
        return np.where(inside, -np.log(np.pi) - 0.5 * np.log(at * (1 - at)), -np.inf)


class LightTunnel(Task):
    """Three colours and the share that polarisers let pass, from an image.

    Arguments:
        pixels: Height and width of the image.
        noise_sd: Standard deviation of the noise of each number, where 1 is white.
        severity: s, how far the camera of the level `real` is from a perfect one, from 0 (not at all) to 1.
    """

    name = "light_tunnel"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    block_rows = 100

    def __init__(self, pixels: int = 32, noise_sd: float = 0.02, severity: float = 1.0) -> None:
        if not (pixels >= 4 and noise_sd > 0):
            raise TaskError(
                f"task {self.name}: expected pixels >= 4 and a positive noise_sd, got {pixels} and "
                f"{noise_sd}."
            )
        self.prior = Product({**{colour: Uniform(0.0, 255.0) for colour in COLOURS}, "passed": Arcsine()})
        self.parameters = self.prior.parameters()
        self.noise_sd, self.severity = noise_sd, require_severity(self.name, severity)
        at = tuple(((np.arange(pixels) + 0.5) / pixels).tolist())
        self.dimensions = (
            Dimension("height", at, kind="image"),
            Dimension("width", at, kind="image"),
            Dimension("colour", COLOURS),
        )
        self._hexagon = _hexagon(np.array(at))
        self._seen = self._camera(np.array(at))

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the standard normal noise of each number, (n, pixels, pixels, 3)."""
        return {"observation": rng.standard_normal((n, *self.x_shape))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 4), shape (N, pixels, pixels, 3)."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 4)
        light, passed, s = theta[:, :3] / 255, theta[:, 3:], self.severity
        if fidelity == "model":
            colour, shape = light * passed, self._hexagon
        else:
            sensor, shape = (1 - s) * np.eye(3) + s * SENSOR, self._seen
            share = (1 + s * (PASSED - 1)) * passed + s * CROSSED * (1 - passed)
            colour = np.minimum(1.0, (1 + s * (EXPOSURE - 1)) * linear_map(sensor, light) * share)
        return shape[..., None] * colour[:, None, None] + self.noise_sd * noise["observation"]

    def _camera(self, at: Array) -> Array:
        """The hexagon as the camera of the level `real` sees it."""
        image, squares = self._hexagon, (at - 0.5) ** 2
        if self.severity > 0:
            kernel = np.exp(-0.5 * ((at[:, None] - at) / (BLUR * self.severity)) ** 2)
            kernel /= kernel.sum(axis=1, keepdims=True)
            image = kernel @ image @ kernel.T
        return image * (1 - DARKER * self.severity * (squares[:, None] + squares) / 0.5)


def _hexagon(at: Array) -> Array:
    """1 inside of the hexagon and 0 outside, (P, P), at coordinates (P,) that are shares of the side."""
    y, x = np.meshgrid(at - 0.5, at - 0.5, indexing="ij")
    edges = np.deg2rad(np.arange(30, 390, 60))  # the directions of the edges' middles
    across = np.max([x * np.cos(edge) + y * np.sin(edge) for edge in edges], axis=0)
    return (across <= RADIUS * np.cos(np.pi / 6)).astype(float)
