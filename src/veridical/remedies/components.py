r"""Mixtures of the posteriors of many simulations, with other weights for each observation.

A component is :math:`q(\theta | s_j)` with the summary :math:`s_j` of one simulation. Where n components are
far narrower than the distances between their parameters, a mixture has gaps and the truth falls into them.
*Smoothing* replaces each component by m of its draws, each widened by a Gaussian:

.. math:: q_b(z | s_j) = \frac{1}{m} \sum_{l=1}^m N(z; z_{jl}, b^2 I) , \qquad z_{jl} \sim q(z | s_j) ,

in the space z where parameters are unbounded and have unit variance over the simulations. Densities then
gain the slope of z. Draws are exact for the density stated, smoothed or not.
"""

from __future__ import annotations

import numpy as np
import torch

from veridical.errors import ArtifactError
from veridical.estimators.encoded import Encoded
from veridical.tasks.base import Array

NEGLIGIBLE = 1e-12  # weight that all components left out of one density may have together
FLOW_ROWS = 16_384  # evaluations of the flow at once
KERNEL_NUMBERS = 1 << 20  # kernels evaluated at once
KERNELS_PER_FLOW = 2000  # kernels that take as long as one evaluation of the flow, roughly


class Components:
    """The components of mixtures.

    Arguments:
        posterior: The posterior.
        summaries: Summaries of the simulations, shape (n, K).
        centres: Draws of each component in z, shape (n, m, D); None for components as they are.
        width: Standard deviation b of the Gaussians around them.
    """

    def __init__(
        self, posterior: Encoded, summaries: Array, centres: Array | None = None, width: float = 0.0
    ) -> None:
        self.posterior, self.width, self.centres = posterior, width, centres
        self.context = torch.from_numpy(np.asarray(summaries, float))

    def __len__(self) -> int:
        """Number of components."""
        return len(self.context)

    def cost(self, densities: int) -> float:
        """Evaluations that so many densities take, in units of one evaluation of the flow."""
        kernels = KERNELS_PER_FLOW if self.centres is None else self.centres.shape[1]
        return densities * len(self) * (kernels / KERNELS_PER_FLOW)

    def latent(self, m: int, rng: np.random.Generator) -> Array:
        """Returns m draws of each component in z, shape (n, m, D)."""
        n, k = len(self), len(self.posterior.task.cells)
        index = np.repeat(np.arange(n), m)
        draws = self._push(rng.standard_normal((n * m, self.posterior.draw_noise)), index)
        return self.posterior.parameters.forward(draws)[0].reshape(n, m, k)

    def sample(self, weights: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, N, D) of each mixture with weights (N, components), in the task's coordinates.

        Randomness is drawn observation by observation.
        """
        d, k = len(self.posterior.task.parameters), len(self.posterior.task.cells)
        k = k if self.centres is not None else self.posterior.draw_noise
        chosen, inner = np.empty((len(weights), n), int), np.zeros((len(weights), n), int)
        noise = np.empty((len(weights), n, k))
        for i, row in enumerate(weights):
            steps = np.cumsum(row)
            chosen[i] = np.searchsorted(steps, rng.random(n) * steps[-1], side="right")
            if self.centres is not None:
                inner[i] = rng.integers(self.centres.shape[1], size=n)
            noise[i] = rng.standard_normal((n, k))
        if self.centres is not None:
            draws = self.posterior.parameters.inverse(self.centres[chosen, inner] + self.width * noise)
        else:
            order = np.argsort(chosen, axis=None, kind="stable")
            draws = np.empty((len(order), d))
            draws[order] = self._push(noise.reshape(-1, k)[order], chosen.ravel()[order])
        return draws.reshape(len(weights), n, d).swapaxes(0, 1)

    def _push(self, noise: Array, index: Array) -> Array:
        """Draws (B, D) of the components `index` (ascending) from base noise."""
        context = self.context.float()
        parts = [slice(first, first + FLOW_ROWS) for first in range(0, len(noise), FLOW_ROWS)]
        push = self.posterior.push
        return np.concatenate([push(noise[part], context, index[part], density=False)[0] for part in parts])

    def log_prob(self, theta: Array, log_weights: Array) -> Array:
        """Returns log densities (N,) of theta (N, D), each under the mixture of its own log weights.

        Arguments:
            theta: Parameters, shape (N, D).
            log_weights: Logarithms of weights that sum to one in each row, shape (N, components); components
                whose weights together stay below 1e-12 are left out, which can only lower a density.
        """
        z, log_slope = self.posterior.parameters.forward(theta)
        density = self._flows(z, log_weights) if self.centres is None else self._kernels(z, log_weights)
        if np.isnan(density).any():
            raise ArtifactError(
                f"mixture for task {self.posterior.task.name}: {int(np.isnan(density).sum())} log densities "
                "are not numbers; the network is broken. Train it again."
            )
        return density + log_slope

    def _flows(self, z: Array, log_weights: Array) -> Array:
        out = np.empty(len(z))
        kept = log_weights > np.log(NEGLIGIBLE / len(self))
        rows = max(1, FLOW_ROWS // len(self))
        points = torch.from_numpy(z)
        for first in range(0, len(z), rows):
            part = slice(first, first + rows)
            row, column = np.nonzero(kept[part])
            terms = np.full(kept[part].shape, -np.inf)
            with torch.no_grad():
                density = self.posterior.density(points[part][row], self.context[column]).numpy()
            terms[row, column] = log_weights[part][row, column] + density
            out[part] = _logsumexp(terms)
        return out

    def _kernels(self, z: Array, log_weights: Array) -> Array:
        assert self.centres is not None
        _, m, k = self.centres.shape
        centres = self.centres.reshape(-1, k) / self.width
        squares = 0.5 * (centres**2).sum(axis=1)
        out = np.empty(len(z))
        rows = max(1, KERNEL_NUMBERS // len(centres))
        for first in range(0, len(z), rows):
            part = slice(first, first + rows)
            point = z[part] / self.width
            terms = point @ centres.T
            terms -= squares
            terms += np.repeat(log_weights[part], m, axis=1)
            out[part] = _logsumexp(terms) - 0.5 * (point**2).sum(axis=1)
        return out - np.log(m) - k * np.log(self.width * np.sqrt(2 * np.pi))


def _logsumexp(terms: Array) -> Array:
    """Over the last axis; -inf where all terms are."""
    peak = terms.max(axis=1)
    safe = np.where(np.isneginf(peak), 0.0, peak)
    with np.errstate(divide="ignore"):
        return safe + np.log(np.exp(terms - safe[:, None]).sum(axis=1))
