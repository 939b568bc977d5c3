r"""Several likelihood-to-evidence ratios with a weight each, and 1 with another.

.. math:: \log r(x, \theta) = w_0 + \sum_{m=1}^{M} w_m f_m(x, \theta) .

Members are those of `nre`, trained on the same rows from seeds of their own. As trained, the ensemble answers
with their mean (w_0 = 0, w_m = 1 / M), the naive one; remedies take the functions and fit weights.

References:
    | Averting A Crisis In Simulation-Based Inference (Hermans et al., 2021) https://arxiv.org/abs/2110.06581
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from veridical.errors import ArtifactError
from veridical.estimators import sampled
from veridical.estimators.base import TaskInfo
from veridical.estimators.ensemble import together, train_members
from veridical.estimators.nre import NRE
from veridical.estimators.nre_ensemble_settings import NREEnsembleSettings
from veridical.estimators.nre_settings import NRESettings
from veridical.estimators.ratio_network import RatioNetwork
from veridical.estimators.scored import scored
from veridical.tasks.base import Array
from veridical.training import fitting, session


class RatioMembers(RatioNetwork):
    """Networks for the ratio, side by side; what they give is summed with weights."""

    def __init__(self, members: Sequence[RatioNetwork]) -> None:
        nn.Module.__init__(self)
        self.each = nn.ModuleList(members)
        self.combined = np.array([0.0, *[1 / len(members)] * len(members)])

    def contexts(self, x: Tensor) -> Tensor:
        """Returns the members' summaries of standardised x (N, *x_shape), side by side, (N, M C)."""
        return torch.cat([member.contexts(x) for member in self._members], dim=-1)

    def functions(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns 1 and the members' log ratios (P, B) of z (B, K), each given its own context (B, M C)."""
        parts = context.chunk(len(self.each), dim=-1)
        found = [member.log_likelihood(z, part) for member, part in zip(self._members, parts, strict=True)]
        return torch.stack([torch.ones_like(found[0]), *found])

    def log_likelihood(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns weighted log ratios (B,) of z (B, K), each given its own context (B, M C)."""
        return self._weighted(self.functions(z, context))

    def rolled(self, z: Tensor, x: Tensor, rolls: int) -> Tensor:
        """Returns weighted log ratios (1 + rolls, B); see `RatioNetwork.rolled`."""
        found = [member.rolled(z, x, rolls) for member in self._members]
        return self._weighted(torch.stack([torch.ones_like(found[0]), *found]))

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean of the members' losses on one batch."""
        return torch.stack([member.loss(*batch) for member in self._members]).mean()

    @property
    def _members(self) -> list[RatioNetwork]:
        return [cast(RatioNetwork, member) for member in self.each]

    def _weighted(self, functions: Tensor) -> Tensor:
        return torch.tensordot(torch.from_numpy(self.combined).to(functions), functions, dims=1)


class NREEnsemble(NRE):
    """The posterior of a weighted sum of log ratios; as it is trained, of their mean."""

    type = "nre_ensemble"

    @classmethod
    def build(cls, settings: NRESettings, task: TaskInfo) -> RatioMembers:
        """Returns the networks of one element of x and the parameters."""
        assert isinstance(settings, NREEnsembleSettings)
        return RatioMembers([NRE.build(settings, task) for _ in range(settings.members)])

    @classmethod
    def teach(
        cls, network: RatioNetwork, data: fitting.Data, settings: NRESettings, run: session.Session
    ) -> session.TrainingResult:
        """Trains each member in place; returns how their trainings went, one after the other."""
        assert isinstance(settings, NREEnsembleSettings)
        members = cast(RatioMembers, network)._members
        if settings.scores is None:
            return together(train_members(members, data, settings, run))
        learners = scored(members, settings.scores, data.train[2])
        return together(train_members(learners, data, settings.model_copy(update={"stacked": False}), run))

    @property
    def size(self) -> int:
        """Number P of the functions: 1 and the members."""
        return len(self._of_all.combined)

    @property
    def _of_all(self) -> RatioMembers:
        return cast(RatioMembers, self.precise)

    def weighted(self, weights: Array) -> NREEnsemble:
        """Returns the ensemble with other weights (P,); networks are copied."""
        network = copy.deepcopy(cast(RatioMembers, self.network))
        network.combined = np.asarray(weights, float)
        found = copy.copy(self)
        found.__dict__.pop("precise", None)
        found.network = network
        return found

    def functions(self, theta: Array, x: Array) -> Array:
        """Returns 1 and log ratios at pairs theta (N, D), x (N, *x_shape), of R elements: (N, R, P)."""
        z, context = self.parameters.forward(theta)[0], self._contexts(x)
        out: Array = np.empty((len(x), context.shape[1], self.size))
        step = max(1, sampled.ROWS // context.shape[1])
        for first in range(0, len(x), step):
            rows = slice(first, first + step)
            own = context[rows]
            many = torch.from_numpy(z[rows]).repeat_interleave(own.shape[1], 0)
            out[rows] = self._evaluated(many, own.flatten(0, 1)).T.reshape(*own.shape[:2], self.size)
        return out

    def summed(self, x: Array) -> Callable[[Array], Array]:
        """Returns what gives, at unconstrained parameters (B, K), the functions summed over one x, (B, P)."""
        (context,) = self._contexts(x[None])

        def function(z: Array) -> Array:
            out: Array = np.empty((len(z), self.size))
            step = max(1, sampled.ROWS // len(context))
            for first in range(0, len(z), step):
                part = torch.from_numpy(np.ascontiguousarray(z[first : first + step]))
                many, own = part.repeat_interleave(len(context), 0), context.repeat(len(part), 1)
                found = self._evaluated(many, own).reshape(self.size, len(part), len(context))
                out[first : first + step] = found.sum(-1).T
            return out

        return function

    def _evaluated(self, z: Tensor, context: Tensor) -> Array:
        """The functions (P, B) at pairs of z (B, K) and what networks see (B, M C)."""
        with torch.no_grad():
            found: Array = self._of_all.functions(z, context).numpy()
        if not np.isfinite(found).all():
            raise ArtifactError(
                f"estimator {self.type} of task {self.task.name}: log ratios are not finite numbers; the "
                "networks are broken, or x is far outside of what they were trained on. Train them again."
            )
        return found
