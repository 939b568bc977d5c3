r"""Ratios and likelihoods that learn from the scores of their simulations, too.

A ratio's network f(z, x) comes near :math:`\log p(x \mid \theta) - \log p(x)`, whose slope in theta is that
of the likelihood alone: neither the evidence nor the prior has a part in it. So each simulated pair, at the
parameters that made it, tells how f has to rise around it,

.. math:: \frac{\partial f}{\partial z_k} = s_k =
    \sum_d \frac{\partial \log p(x \mid \theta)}{\partial \theta_d} \frac{\partial \theta_d}{\partial z_k} ,
    \qquad L_k = \frac{E (\partial_k f - s_k)^2}{c_k^2} , \quad c_k^2 = E s_k^2 \text{ over training rows},

and :math:`L_k`, weighed, joins the loss (`training/score_weights`). It is 1 where f is flat in z and 0 at the
truth; another unit of a parameter changes nothing.

Where simulations keep the slope of a *joint* density of x and of what stays hidden, the mean of that given
theta and x is the score, so that the same loss has the same least value, now above 0. It holds for pairs as
they were simulated and for no others, and these alone enter here.

A density :math:`q(x \mid z)` has such slopes as well: f is then its logarithm, and the plain loss -f.

The slope of a ratio passes through what parameters and summaries meet in, not through the summary network,
which sees x once and is differentiated once. All its layers are smooth (SiLU), without which slopes would be
steps; those of the summary network may be as they like. Layers of a density that learns from scores are
smooth, too.

References:
    | Keeping Score (Shen and Kuusela, 2026), https://arxiv.org/abs/2605.12118
    | Mining gold from implicit models to improve likelihood-free inference (Brehmer et al., 2020)
    | https://arxiv.org/abs/1805.12244
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from veridical import seeds
from veridical.errors import TrainingError, require_shape
from veridical.estimators.sampled import LikelihoodNetwork
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array
from veridical.tasks.bounded import unbounded
from veridical.training import score_weights

if TYPE_CHECKING:
    from veridical.estimators.base import Rows
    from veridical.training.session import Session

STEP = 1e-5  # of z, for slopes of parameters under constraints


class ScoredNetwork(LikelihoodNetwork):
    """A network of a log likelihood f, up to a constant of x, whose slopes in z can be held to scores."""

    @abstractmethod
    def with_slopes(self, z: Tensor, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Returns what the loss judges of z (B, K) and x (B, *x_shape), and slopes in the first z (first, K).

        Both can be differentiated once more.
        """

    @abstractmethod
    def judged(self, f: Tensor) -> Tensor:
        """Returns the plain loss, of what `with_slopes` gives first."""

    @property
    @abstractmethod
    def last(self) -> Tensor:
        """The weights of its last layer, by whose gradients the parts of a loss are weighed."""


class Scored(Trainable):
    """A network while it learns from scores; a batch is z (B, K), x and their scores in z (B, K).

    It is judged by the plain loss, as a network without scores.

    Arguments:
        network: The network, which is trained in place.
        settings: The section `scores`.
        rms: Root mean squares of the scores of the training rows, shape (K,).
    """

    rms: Tensor

    def __init__(self, network: ScoredNetwork, settings: Any, rms: Array) -> None:
        super().__init__()
        self.network = network
        self.rule = score_weights.built(settings, len(rms))
        self.register_buffer("rms", torch.from_numpy(np.where(rms > 0, rms, 1.0).astype(np.float32)))

    def parts(self, z: Tensor, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the plain loss, a number, and the errors of the slopes, shape (K,)."""
        first = max(1, round(self.rule.settings.share * len(z)))
        f, slopes = self.network.with_slopes(z, x, first)
        return self.network.judged(f), ((slopes - score[:first]) / self.rms).square().mean(dim=0)

    def accumulate(self, *batch: Tensor) -> Tensor:
        """Adds the gradients of the whole loss to those of the weights; returns the plain loss (1,)."""
        loss, errors = self.parts(*batch)
        self.rule(loss, errors, self.network.last).backward()
        return loss.detach()[None]

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the plain loss of a batch."""
        z, x, _ = batch
        return self.network.loss(z, x)

    def trained(self) -> list[Tensor]:
        """Returns the weights of the network alone: those of the loss neither decay nor have means."""
        return self.network.trained()

    def told(self) -> str:
        """Returns how scores were weighed at the kept look, in words."""
        return f"weights of the scores {', '.join(f'{w:.3g}' for w in self.rule.weights.tolist())}"


def scored(networks: Sequence[ScoredNetwork], settings: Any, score: Array) -> list[Scored]:
    """Returns networks as they learn from the scores (N, K) of the training rows."""
    rms = np.sqrt(np.mean(np.asarray(score, float) ** 2, axis=0))
    return [Scored(network, settings, rms) for network in networks]


def scores_of(rows: Rows, parameters: ParameterTransform, settings: Any, method: str, run: Session) -> Array:
    """Returns the scores in z of rows as they are learned from, float32, shape (N, K).

    With `permuted`, each training row has that of another one, and validation rows their own.

    Raises:
        TrainingError: If there are none, or they are not finite.
        ShapeError: If they are not one number for each parameter.
    """
    if rows.score is None:
        raise TrainingError(
            f"estimator {method!r}: `scores` needs the slopes of log p(x | theta) of its simulations, which "
            "came without; have the task return them as `score` (N, D) beside x, or leave `scores` out."
        )
    found = in_z(parameters, rows.theta, rows.score)
    if bad := int((~np.isfinite(found)).any(axis=1).sum()):
        raise TrainingError(
            f"estimator {method!r}: expected finite scores, got others in {bad} of {len(found)} rows; mend "
            "what computes them, or have such simulations fail."
        )
    if settings.permuted:
        learn = np.flatnonzero(~rows.validation)
        order = seeds.generator(run.root, "batches", *run.path, "permuted scores").permutation(learn)
        found[learn] = found[order]
    return found.astype(np.float32)


def in_z(parameters: ParameterTransform, theta: Array, score: Array) -> Array:
    """Returns slopes in z (N, K) of what has the slopes `score` (N, D) in theta (N, D).

    Parameters without constraints are mapped one by one; of others slopes are taken by central differences.
    """
    require_shape("theta", theta, None, len(parameters.bounds))
    require_shape("score", score, *theta.shape)
    score = np.asarray(score, float)
    if parameters.support is None:
        columns = zip(theta.T, parameters.bounds, strict=True)
        slopes = [unbounded(np.asarray(column, float), *bounds)[1] for column, bounds in columns]
        return score * parameters.scale / np.stack(slopes, axis=1)
    z, _ = parameters.forward(theta)
    found = np.empty(z.shape)
    for k, step in enumerate(STEP * np.eye(z.shape[1])):
        apart = parameters.inverse(z + step) - parameters.inverse(z - step)
        found[:, k] = (score * apart).sum(axis=1) / (2 * STEP)
    return found


def share_missed(network: ScoredNetwork, z: Array, x: Array, score: Array) -> Array:
    """Returns the mean square of slopes less scores, in that of scores (K,): 0 at the truth, 1 of flat f."""
    with torch.no_grad():
        context = network.contexts(torch.from_numpy(x))
    places = torch.from_numpy(z).requires_grad_()
    (slopes,) = torch.autograd.grad(network.log_likelihood(places, context).sum(), places)
    own = score.astype(float)
    squares = np.mean(own**2, axis=0)
    return np.mean((slopes.numpy() - own) ** 2, axis=0) / np.where(squares > 0, squares, 1.0)
