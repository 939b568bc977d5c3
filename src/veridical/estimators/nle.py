r"""Neural likelihood estimation: a conditional density of the data given the parameters.

A density :math:`q_\phi` of standardised data given standardised, unconstrained parameters z minimises

.. math:: L(\phi) = - \frac1N \sum_i \log q_\phi(x_i \mid z_i) ,

and the posterior of any data set is :math:`p(\theta) \prod_r q(x_r \mid z(\theta))` up to a constant: entries
that are independent given the parameters add. The prior enters there alone, so that rows of any proposal may
be learned from. Where simulations keep their scores, the slopes of log q in z can be held against these
(`scored`).

Whole numbers get uniform noise in [-1/2, 1/2), once for each training row; a density of the sum that is even
within a unit is the probability of the number, and is asked for at the number itself.

References:
    | Sequential Neural Likelihood (Papamakarios, Sterratt and Murray, 2019), https://arxiv.org/abs/1805.07226
    | A note on the evaluation of generative models (Theis, van den Oord and Bethge, 2016), for the noise
    | https://arxiv.org/abs/1511.01844
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from veridical import seeds
from veridical.errors import TrainingError
from veridical.estimators.base import TaskInfo
from veridical.estimators.nle_settings import NLESettings
from veridical.estimators.sampled import element_shape
from veridical.estimators.score_learning import ScoreLearning
from veridical.estimators.scored import ScoredNetwork
from veridical.networks import build_density
from veridical.networks.density_settings import LikelihoodFlow
from veridical.tasks.base import Array
from veridical.training import session


class DataDensity(ScoredNetwork):
    """A density of x given parameters; its loss is the negative log density of standardised x.

    Arguments:
        flow: Its settings.
        numbers: Of x, C.
        parameters: Unconstrained ones, K.
        smooth: Whether its layers are smooth (SiLU), as its slopes in z have to be to learn from scores.
    """

    def __init__(self, flow: LikelihoodFlow, numbers: int, parameters: int, smooth: bool = False) -> None:
        super().__init__()
        more = {"activation": nn.SiLU} if smooth else {}
        self.flow = build_density(flow.model_dump() | more, numbers, parameters)

    def log_likelihood(self, z: Tensor, context: Tensor) -> Tensor:
        """Returns log densities (B,) of standardised data (B, C) given z (B, K)."""
        found: Tensor = self.flow.log_prob(context, z)
        return found

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean over rows of -log q(x | z), of z (B, K) and standardised x (B, *x_shape)."""
        z, x = batch
        loss: Tensor = self.flow.loss(self.contexts(x), z)
        return loss

    def with_slopes(self, z: Tensor, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Returns log densities (B,) of x (B, *x_shape) given z (B, K), and slopes in the first z."""
        z = z.detach().requires_grad_()
        log_q = self.log_likelihood(z, self.contexts(x))
        (slopes,) = torch.autograd.grad(log_q[:first].sum(), z, create_graph=True)
        return log_q, slopes[:first]

    def judged(self, f: Tensor) -> Tensor:
        """Returns the mean of -log q(x | z), of log densities (B,)."""
        return -f.mean()

    @property
    def last(self) -> Tensor:
        """The weights of the last layer of its last transform."""
        linear = [layer for layer in self.flow.modules() if isinstance(layer, nn.Linear)]
        return linear[-1].weight


class NLE(ScoreLearning[DataDensity]):
    """A likelihood trained on simulations."""

    type = "nle"

    @classmethod
    def build(cls, settings: NLESettings, task: TaskInfo) -> DataDensity:
        """Returns a density of one element of x given the parameters."""
        numbers, smooth = prod(element_shape(settings, task)), settings.scores is not None
        return DataDensity(settings.flow, numbers, len(task.cells), smooth)

    @classmethod
    def learned(cls, x: Array, settings: NLESettings, run: session.Session) -> Array:
        """Returns elements of x (N, ...) whose whole numbers have become continuous."""
        x = _continuous(x, settings, run)
        require_spread(x)
        return x


def _continuous(x: Array, settings: NLESettings, run: session.Session) -> Array:
    """X (N, ...), whose whole numbers have become continuous."""
    whole = whole_numbers(x, settings.counts)
    if not whole.any():
        return x
    print(f"{settings.type}: {int(whole.sum())} of {whole.size} numbers of x are whole and get uniform noise")
    rng = seeds.generator(run.root, "initialise", *run.path, "counts")
    return np.where(whole, x + rng.uniform(-0.5, 0.5, x.shape), x)


def whole_numbers(x: Array, counts: bool | None) -> Array:
    """Returns which numbers of x (N, *x_shape) are whole, by setting or in all rows; shape (*x_shape)."""
    whole = (x == np.round(x)).all(axis=0) if counts is None else counts
    return np.broadcast_to(whole, x.shape[1:])


def require_spread(x: Array) -> None:
    """Raises TrainingError where a number of x is the same in all rows, which leaves it no density."""
    still = np.flatnonzero((x == x[0]).reshape(len(x), -1).all(axis=0))
    if len(still):
        raise TrainingError(
            f"x: number {still[0]} takes one value in all {len(x)} rows, so that it has no density; leave it "
            "out of x, or take an `npe` or `nre`."
        )
