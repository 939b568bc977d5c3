r"""The hatch of a wind tunnel, from its pressure while a fan is at full load for a moment.

A fan at load L turns at a speed :math:`\omega` (1 at full load), and raises the pressure the less the wider
the hatch is open, by an angle H that is uniform from 0 to 45 degrees:

.. math:: \tau \, \dot\omega = L^2 - \omega^2, \qquad p = P \, \omega^2 \, r(H), \qquad
    r(H) = \frac{1}{1 + (H / 20)^2} ,

with :math:`\tau` = 0.6 s, P = 60 Pa. The load is 0.01 but for an impulse of full load, which begins at a
time that is uniform between the fifth reading and the sixth and ends 20 readings later. There are 50
readings, seven a second, each with noise of standard deviation `noise_sd`. With a constant load the
equation has the solution

.. math:: \omega(t) = L \, \frac{\omega_0 + L \tanh(L t / \tau)}{L + \omega_0 \tanh(L t / \tau)} .

At the level `real` and severity s the barometer is late, a second fan draws air through the hatch, and the
fan runs down more slowly than up: readings follow p with a time constant of 0.3 s, p is lower by 15 (1 -
r(H)) Pa, and the time constant after the impulse is longer by a half; all of these times s. The numbers are
made up: this nature stands in for the readings of the Causal Chambers, which do not come with it.

References:
    | Causal chambers as a real-world physical testbed for AI methodology (Gamella et al., 2025): wind tunnel,
    | models A2 and C3, data wt_intake_impulse_v1, https://arxiv.org/abs/2404.11341
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), task F, https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

import numpy as np

from veridical.errors import TaskError, require_shape
from veridical.tasks.base import Array, Dimension, Task, require_severity
from veridical.tasks.priors import Product, Uniform

READINGS, BEFORE, IMPULSE = 50, 5, 20
GAP = 1 / 7  # seconds between two readings
IDLE, FULL = 0.01, 1.0  # loads
SPIN, PRESSURE, HALF_OPEN = 0.6, 60.0, 20.0  # s, Pa, degrees
LATE, DRAWN, SLOWER = 0.3, 15.0, 0.5  # of the real tunnel: s, Pa, share
_FINE = 10  # steps between two readings, of the real barometer


class WindTunnel(Task):
    """The opening of a hatch from a series of pressures.

    Arguments:
        noise_sd: Standard deviation of the noise of each reading, in Pa.
        severity: s, how far the level `real` departs from the simulator, from 0 (not at all) to 1.
    """

    name = "wind_tunnel"
    of_nature = ("severity",)
    fidelities = {"model": 1.0, "real": 100.0}  # noqa: RUF012
    prior = Product({"hatch": Uniform(0.0, 45.0)})
    parameters = prior.parameters({"hatch": "deg"})
    dimensions = (Dimension("time", tuple((GAP * np.arange(READINGS)).tolist()), "s", kind="series"),)
    x_unit = "Pa"

    def __init__(self, noise_sd: float = 1.0, severity: float = 1.0) -> None:
        if not noise_sd > 0:
            raise TaskError(f"task {self.name}: expected a positive noise_sd, got {noise_sd}.")
        self.noise_sd, self.severity = noise_sd, require_severity(self.name, severity)

    def noise(self, rng: np.random.Generator, n: int) -> dict[str, Array]:
        """Returns the share of a gap after which the impulse begins, (n, 1), and noise (n, 50)."""
        return {"start": rng.random((n, 1)), "observation": rng.standard_normal((n, READINGS))}

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Array:
        """Simulates theta (N, 1), shape (N, 50)."""
        if fidelity not in self.fidelities:
            raise TaskError(f"task {self.name} has no fidelity {fidelity!r}; expected model, real.")
        require_shape("theta", theta, None, 1)
        resistance, start = 1 / (1 + (theta / HALF_OPEN) ** 2), GAP * (BEFORE - 1 + noise["start"])
        s = self.severity if fidelity == "real" else 0.0
        if s > 0:
            fine = GAP / _FINE * np.arange((READINGS - 1) * _FINE + 1)
            pressure = PRESSURE * resistance * _speed(fine - start, SPIN * (1 + SLOWER * s)) ** 2
            pressure = _late(pressure - DRAWN * s * (1 - resistance), LATE * s)[:, ::_FINE]
        else:
            pressure = PRESSURE * resistance * _speed(GAP * np.arange(READINGS) - start, SPIN) ** 2
        return pressure + self.noise_sd * noise["observation"]


def _speed(since: Array, spin_down: float) -> Array:
    """The speed of the fan at times (N, T) since the impulse began, with the time constant after it."""
    length = IMPULSE * GAP
    up = _turned(IDLE, FULL, np.clip(since, 0.0, length), SPIN)
    return np.where(since < length, up, _turned(up, IDLE, np.maximum(since - length, 0.0), spin_down))


def _turned(speed: Array | float, load: float, time: Array, constant: float) -> Array:
    """The speed after some time at a load."""
    grown = np.tanh(load * time / constant)
    return load * (speed + load * grown) / (load + speed * grown)


def _late(pressure: Array, constant: float) -> Array:
    """Readings (N, T) of a barometer that follows the pressure (N, T) from its first value on."""
    kept, found = np.exp(-GAP / _FINE / constant), pressure.copy()
    for t in range(1, pressure.shape[1]):
        found[:, t] = kept * found[:, t - 1] + (1 - kept) * pressure[:, t]
    return found
