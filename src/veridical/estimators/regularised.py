r"""Neural posterior estimation with one more term in its loss,

.. math:: L(\phi) = - \frac{1}{N} \sum_i \log q_\phi(\theta_i \mid s_\phi(x_i)) + \lambda_t \, R(\phi) ,

where R says what should hold of real data without labels, or of summaries of simulations. What terms there
are stands in `veridical.training`: self-consistency (NPE-SC), MMD of summaries (NPE-RS), a classifier of
summaries (NPE-DANN), normal summaries.

A look at the validation rows judges the loss with R at its full weight, with the same random numbers at each
look: weights from before R was learned would seem best otherwise. Real data enter by their inputs alone,
which the transform of the simulations makes. The result is a posterior like any `npe`: it answers each
observation by itself, can be wrapped, and can begin with the weights of another (`start`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from veridical import seeds
from veridical.errors import TrainingError, require_shape
from veridical.estimators.base import Material, TaskInfo
from veridical.estimators.npe import NPE, Prepared, initial_network, parent_of
from veridical.estimators.posterior_network import PosteriorNetwork, on_task
from veridical.estimators.regularised_settings import RegularisedSettings
from veridical.inference.likelihoods import Likelihood
from veridical.inference.weighted import log_density
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import ParameterTransform
from veridical.tasks.base import Array, usable
from veridical.training import fitting, regularisers, session


class WithTerm(Trainable):
    """A posterior network whose loss has one more term.

    Arguments:
        posterior: The network.
        term: The regulariser.
        steps: Of the whole training.
        run: Decides the random numbers of each step.
    """

    done: Tensor

    def __init__(
        self, posterior: PosteriorNetwork, term: regularisers.Regulariser, steps: int, run: session.Session
    ) -> None:
        super().__init__()
        self.posterior, self.term, self.steps, self.run = posterior, term, steps, run
        self.noise, self.keeps_last = posterior.noise, posterior.keeps_last or term.keeps_last
        self.beside = term.network
        self.register_buffer("done", torch.zeros((), dtype=torch.long))  # steps; kept with a running state

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over the rows of a batch, with the term; see `PosteriorNetwork.loss`."""
        theta, x, *noise = batch
        context = self.posterior.summary(x)
        loss, at = self.posterior.loss_given(theta, context, *noise), int(self.done)
        place: int | str = at if self.training else "validation"
        weight = self.term.weight(at / self.steps if self.training else 1.0)
        self.done += int(self.training)
        if not weight:
            return loss
        rng = seeds.generator(self.run.root, "batches", *self.run.path, "regulariser", place)
        return loss + weight * self.term(self.posterior, context, rng)


class Regularised(NPE):
    """A posterior trained on simulations, with a term about real data without labels."""

    type = "regularised"

    @classmethod
    def fit(  # type: ignore[override]
        cls, settings: RegularisedSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[NPE, session.TrainingResult]:
        """Returns a trained posterior and how its training went; see `Estimator.fit`."""
        if wrong := settings.unsuited(task):
            raise TrainingError(f"estimator {settings.type!r}: {wrong}")
        settings = on_task(settings, task)
        parent = parent_of(settings, task, material)
        prepared = Prepared.of(settings, task, material, parent, run)
        network = initial_network(settings, task, parent, run, prepared)
        known = about(settings, task, material, prepared)
        with session.seeded_initialisation(run):
            term = regularisers.built(settings.regulariser, replace(known, features=network.summary.features))
        steps = session.Steps.of(prepared.data.rows, settings.training).steps
        result = fitting.fit(WithTerm(network, term, steps, run), prepared.data, settings.training, run)
        return prepared.estimator(settings, task, network, cls), result


def about(
    settings: RegularisedSettings, task: TaskInfo, material: Material, prepared: Prepared
) -> regularisers.About:
    """Returns what the regulariser may use: inputs of the unlabelled data, prior times likelihood.

    Raises:
        TrainingError: If the data, or the likelihood, are missing.
    """
    if not settings.regulariser.unlabelled:
        return regularisers.About(torch.empty(0))
    x: Array = material.require("unlabelled", settings.type)
    require_shape("unlabelled x", x, None, *task.x_shape)
    x = x[usable(x, task.has_missing)]
    if not len(x):
        raise TrainingError(
            f"estimator {settings.type!r}: none of the unlabelled observations of {settings.unlabelled!r} is "
            "free of NaN; name other data as `unlabelled`."
        )
    inputs = torch.from_numpy(prepared.inputs(x, np.float32))
    if not settings.regulariser.likelihood:
        return regularisers.About(inputs)
    likelihood: Likelihood = material.require("likelihood", settings.type)
    return regularisers.About(inputs, log_joint(likelihood, prepared.parameters, x))


def log_joint(likelihood: Likelihood, parameters: ParameterTransform, x: Array) -> Callable[..., Array]:
    """Returns the log of prior times likelihood as a density of z; see `regularisers.About`."""

    def function(z: Array, rows: Array) -> Array:
        theta = parameters.inverse(z)
        found = log_density(likelihood.prior, theta) - parameters.forward(theta)[1]
        for row in np.unique(rows):
            own = rows == row
            found[own] += likelihood.log_prob(theta[own], x[row])
        return found

    return function
