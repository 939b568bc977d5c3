r"""J-NPE from the weights of a posterior, cross-fitted: five fits, each without a fifth of the pairs.

Each fit goes on from the weights of the wrapped posterior, :math:`\phi`, by the loss of J-NPE,

.. math:: L_k(\phi) = - \frac12 \, E_{\text{simulations}} \log q_\phi(\theta \mid x)
    - \frac12 \, \frac{1}{m_k} \sum_{i \notin k} \log q_\phi(\theta_i \mid y_i) ,

with fresh simulations of the prior, under the distortions that the posterior was trained with, if any. Their
equal mixture is the answer; fit k alone answers the pairs of fold k, which it has not seen.

The few pairs are soon known by heart, so that the stopping rule decides how good this is. Stopped by the
pairs that it leaves out a fit would have a fifth of them to go by. Here all five stop at one common look, the
one with the largest

.. math:: \frac1n \sum_{i \le n} \log \big( 0.98 \, q_{k(i)}(\theta_i \mid y_i) + 0.02 \, p(\theta_i) \big)

over all pairs, with the prior p, which keeps single pairs from deciding. That is one number, chosen from n
pairs, that a fit learns of those left out. The posterior as it was takes part: where no step helps, or none
is taken, it is the answer. A mixture is wider than the fits that it consists of.

References:
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), baseline "J-NPE", https://arxiv.org/abs/2405.08719
    | Stacked Regressions (Breiman, 1996): scores of rows left out, https://doi.org/10.1007/BF00117832
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators import apart
from veridical.estimators.apart import FOLDS, folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo
from veridical.estimators.encoded import Encoded, encoder_of
from veridical.networks import weights
from veridical.remedies import few_pairs
from veridical.remedies.cross_joint_settings import CrossJNPESettings
from veridical.remedies.cross_joint_training import Training, network_of, untrained, with_network
from veridical.tasks.base import Array
from veridical.training import devices, session

ROWS = 8192  # draws that are made at once


@dataclass(eq=False)
class CrossJNPE(Estimator):
    """The equal mixture of five posteriors, each trained without a fifth of the labelled pairs.

    Attributes:
        members: The fits, in the order of the folds.
        z: Parameters of the labelled pairs in z, shape (n, K).
        parent: The posterior that they start from.
    """

    type = "cross_j_npe"
    settings: CrossJNPESettings
    task: TaskInfo
    members: Sequence[Encoded]
    z: Array
    parent: Encoded

    @classmethod
    def fit(
        cls, settings: CrossJNPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[CrossJNPE, session.TrainingResult]:
        """Returns the mixture and how its training went; see `Estimator.fit`.

        Validation losses in the record are the negative score that chooses a look; the first entry is the
        posterior as it was.
        """
        parent = encoder_of(material.require("parent", settings.type), settings.type)
        pairs = few_pairs.enough(material, settings.type, task)
        if not parent.has_density:
            raise TrainingError(
                f"remedy {settings.type!r} needs densities, which {parent.type!r} does not give."
            )
        parent.parameters.require_inside(pairs.theta)
        with devices.cpu_threads(run.threads or settings.threads):
            training = Training(settings, parent, pairs, material, run)
            result = training.take_steps()
        z = parent.parameters.forward(pairs.theta)[0]
        return cls(settings, task, training.members, z, parent), result

    @property
    def bagged(self) -> bool:
        """True: it answers with the mixture of its fits."""
        return True

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns each fifth of the pairs that it has learned from, with the fit without it.

        Raises:
            TrainingError: If these are other pairs, or what it starts from has learned from pairs.
        """
        apart.require_unseen(self.parent)
        few_pairs.require_same(self.type, self.z, self.parent.parameters.forward(pairs.theta)[0])
        parts = zip(self.members, folds(len(self.z)), strict=True)
        return [(np.flatnonzero(held), member) for member, (_, held) in parts]

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n draws (n, N, D) of the mixture for each x (N, *x_shape), log densities (n, N)."""
        draws = self.sample(x, n, rng)
        return draws, self.log_prob(draws, x)

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws (n, N, D) of the mixture for each x (N, *x_shape)."""
        draws = np.empty((len(x), n, len(self.task.parameters)))
        step = max(1, ROWS // n)
        for first in range(0, len(x), step):
            rows = slice(first, min(first + step, len(x)))
            draws[rows] = self._draw(x[rows], n, rng)
        return draws.swapaxes(0, 1)

    def _draw(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Draws (N, n, D): for each observation first the fits picked, then the base noise."""
        k = self.parent.draw_noise
        made = [(rng.integers(len(self.members), size=n), rng.standard_normal((n, k))) for _ in x]
        picked, noise = (np.concatenate(parts) for parts in zip(*made, strict=True))
        draws = np.empty((len(noise), len(self.task.parameters)))
        for m, member in enumerate(self.members):
            if len(rows := np.flatnonzero(picked == m)):
                context = torch.from_numpy(member.summary(x)).float()
                draws[rows] = member.push(noise[rows], context, rows // n, density=False)[0]
        return draws.reshape(len(x), n, -1)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        found = [member.log_prob(theta, x) for member in self.members]
        return np.asarray(logsumexp(found, axis=0)) - np.log(len(found))

    def transforms(self) -> dict[str, Any]:
        """Returns those of what it wraps, and what answers."""
        return {
            **self.parent.transforms(),
            "answer": f"mixture of {FOLDS} fits, each without a fifth",
        }

    def arrays(self) -> dict[str, Array]:
        """Returns the weights of all fits by name, and the parameters of the pairs."""
        fits = [weights.arrays_of(network_of(one), f"fold{k}.") for k, one in enumerate(self.members)]
        return {"z": self.z, **{name: array for each in fits for name, array in each.items()}}

    @classmethod
    def from_arrays(
        cls, settings: CrossJNPESettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> CrossJNPE:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, Encoded):
            raise ArtifactError(
                f"remedy {cls.type}: expected the npe {settings.of!r} beside it, got {parent}."
            )
        with torch.random.fork_rng(devices=[]):
            networks = [untrained(parent) for _ in range(FOLDS)]
        with weights.fitting(f"remedy {cls.type}", f"those of {settings.of!r}"):
            for k, network in enumerate(networks):
                weights.load_into(network, arrays, f"fold{k}.")
            z = arrays["z"]
        return cls(settings, task, [with_network(parent, network) for network in networks], z, parent)
