r"""A swinging pendulum of unknown frequency and amplitude, whose friction the simulators leave out.

.. math:: x(t) = A \cos(\omega_0 t + \varphi) \, e^{-\alpha t} + \sigma \epsilon(t) ,
    \qquad \varphi \sim U(-\pi, \pi), \quad 0 \le t \le 10 ,

with the prior :math:`\omega_0 \sim U(0, 3)`, :math:`A \sim U(0.5, 10)`. Its levels are

- `euler`: no friction; the equation :math:`\ddot x = -\omega_0^2 x` in explicit Euler steps of length h. With
  the velocity in units of :math:`\omega_0`, a step multiplies :math:`z = x - i \dot x / \omega_0` by
  :math:`1 + i \omega_0 h`, so that

  .. math:: x_n = A \, (1 + \omega_0^2 h^2)^{n/2} \cos(n \arctan(\omega_0 h) + \varphi) :

  the amplitude grows and the frequency is too low, the more the faster the pendulum;
- `harmonic`: no friction (alpha = 0), exact;
- `real`: with friction, :math:`\alpha \sim U(0, 1)` or, at another severity s than 1, U(0, s); it stands for
  nature.

References:
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), task C, https://arxiv.org/abs/2405.08719 (which prints the sign of a growth)
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform

POINTS = 200
DURATION = 10.0


class Pendulum(Task):
    """A pendulum with and without friction.

    Arguments:
        noise_sd: Standard deviation of the noise of each point.
        substeps: Euler steps from one point to the next, at the level `euler`.
        severity: The largest friction at the level `real`, in 1/s, from 0 (the simulator is right) to 1.
    """

    name = "pendulum"
    of_nature = ("severity",)
    fidelities = {"euler": 1.0, "harmonic": 10.0, "real": 1000.0}  # noqa: RUF012
    prior = Product({"frequency": Uniform(0.0, 3.0), "amplitude": Uniform(0.5, 10.0)})
    parameters = prior.parameters({"frequency": "rad/s", "amplitude": "m"})
    times = np.linspace(0.0, DURATION, POINTS)
    dimensions = (Dimension("time", tuple(times.tolist()), "s"),)
    x_unit = "m"

    def __init__(self, noise_sd: float = 0.1, substeps: int = 1, severity: float = 1.0) -> None:
        if not (noise_sd > 0 and substeps >= 1):
            raise TaskError(
                f"task {self.name}: expected a positive noise_sd and substeps >= 1, got {noise_sd} and "
                f"{substeps}."
            )
        self.noise_sd, self.substeps = noise_sd, substeps
        self.severity = require_severity(self.name, severity)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the phase and the friction at severity 1 (n, 1) and the points' normal noise (n, 200)."""
        return {
            "phase": rng.uniform(-np.pi, np.pi, (n, 1)),
            "friction": rng.random((n, 1)),
            "observation": rng.standard_normal((n, POINTS)),
        }

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 2), shape (N, 200)."""
        if fidelity not in self.fidelities:
            raise TaskError(
                f"task {self.name} has no fidelity {fidelity!r}; expected {', '.join(self.fidelities)}."
            )
        require_shape("theta", theta, None, 2)
        frequency, amplitude = theta[:, :1], theta[:, 1:]
        if fidelity == "euler":
            angle, growth = self._euler(frequency)
            curve = amplitude * growth * np.cos(angle + noise["phase"])
        else:
            curve = amplitude * np.cos(frequency * self.times + noise["phase"])
        if fidelity == "real":
            curve = curve * np.exp(-self.severity * noise["friction"] * self.times)
        return curve + self.noise_sd * noise["observation"]

    def _euler(self, frequency: Array) -> tuple[Array, Array]:
        """Angle and growth of the amplitude at each point, (N, 200), for frequencies (N, 1)."""
        step = DURATION / (POINTS - 1) / self.substeps
        steps = np.arange(POINTS) * self.substeps
        turn = frequency * step
        return steps * np.arctan(turn), np.exp(0.5 * steps * np.log1p(turn**2))
