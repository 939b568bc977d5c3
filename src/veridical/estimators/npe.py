r"""Neural posterior estimation with a conditional density, by default a spline flow.

Simulations :math:`(\theta_i, x_i)` come from prior and simulator; a density :math:`q_\phi` minimises

.. math:: L(\phi) = - \frac{1}{N} \sum_i \log q_\phi(\theta_i \mid s_\phi(x_i)) ,

with a summary network :math:`s_\phi` trained along with it. Its minimum over all q is the posterior. Families
that learn from noisy parameters have losses of their own in its place.

Transfer: a method that states `start` begins with the weights of another one, trained on a cheaper level,
and goes on with the same loss on its own rows,

.. math:: \phi_L = \arg\min L_L(\phi), \qquad \phi_H = \text{local} \arg\min L_H(\phi) \text{ from } \phi_L .

References:
    | Automatic Posterior Transformation for Likelihood-Free Inference (Greenberg et al., 2019)
    | https://arxiv.org/abs/1905.07488
    | BayesFlow: Learning Complex Stochastic Models With Invertible Neural Networks (Radev et al., 2020)
    | https://arxiv.org/abs/2003.06281
    | Multifidelity Simulation-based Inference for Expensive Simulators (Krouglova et al., 2026)
    | https://arxiv.org/abs/2502.08416
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from veridical import seeds
from veridical.bank.online import Online
from veridical.bank.streaming import Streamed
from veridical.bank.validity import for_validation
from veridical.errors import TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo, labelled
from veridical.estimators.flow_posterior import CLOUD_ROWS, FlowPosterior
from veridical.estimators.npe_settings import NPESettings, PosteriorSettings
from veridical.estimators.posterior_network import PosteriorNetwork, on_task
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.estimators.weighted_rows import WeightedRows
from veridical.networks.standardised import standardised
from veridical.networks.trainable import Trainable
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array
from veridical.training import fitting, session
from veridical.training.streamed import Stream

FEW_ROWS = 1000  # fewer training rows than these take the statistics of theta from the prior
PRIOR_DRAWS = 10_000  # draws of the prior that stand in for them


class NPE(FlowPosterior):
    """A posterior trained on simulations."""

    type = "npe"

    @classmethod
    def fit(
        cls, settings: NPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[NPE, session.TrainingResult]:
        """Returns a trained posterior and how its training went; see `Estimator.fit`."""
        settings = on_task(settings, task)
        parent = parent_of(settings, task, material)
        prepared = Prepared.of(settings, task, material, parent, run)
        network = initial_network(settings, task, parent, run, prepared)
        result = fitting.fit(prepared.learner(network), prepared.data, settings.training, run)
        return prepared.estimator(settings, task, network), result


@dataclass(frozen=True)
class Prepared:
    """What one or several networks of one architecture train on.

    Attributes:
        inputs: The transform of x.
        parameters: The transform of theta.
        data: Standardised theta and x of the rows, and their weights if they have any, in single precision.
        x: The first training rows of x, for the cloud of summaries.
    """

    inputs: InputTransform
    parameters: ParameterTransform
    data: fitting.Data
    x: Array

    @classmethod
    def of(
        cls,
        settings: NPESettings,
        task: TaskInfo,
        material: Material,
        parent: FlowPosterior | None,
        run: session.Session,
    ) -> Prepared:
        """Returns the data of a training that starts from nothing, or from `parent`."""
        stream = material.simulations if isinstance(material.simulations, Streamed | Online) else None
        if stream:
            material = replace(material, simulations=_head(stream))
        rows = labelled(material, "simulations", settings.type, task)
        learn = ~rows.validation
        session.require_rows(int(learn.sum()), int(rows.validation.sum()))
        inputs = _input_transform(settings, rows.x[learn], task, parent)
        parameters = _parameter_transform(rows.theta[learn], task, material, parent, run)
        parameters.require_inside(rows.theta)
        theta = _permuted(rows, run) if settings.permuted else rows.theta
        z, log_slope = parameters.forward(theta)
        parts: tuple[Array, ...] = (z.astype(np.float32), inputs(rows.x, np.float32))
        if rows.weight is not None:
            parts, log_slope = (*parts, rows.weight.astype(np.float32)), log_slope * rows.weight
        data = replace(fitting.Data.split(parts, learn, rows.validation, log_slope), inputs=inputs)
        if stream:
            data = replace(data, stream=_standardised(stream, inputs, parameters))
        return cls(inputs, parameters, data, rows.x[learn][:CLOUD_ROWS])

    def learner(self, network: PosteriorNetwork) -> Trainable:
        """Returns a network as it learns from these rows: itself, or with a loss that weighs them."""
        return WeightedRows(network) if len(self.data.train) > 2 else network

    def estimator(
        self, settings: NPESettings, task: TaskInfo, network: PosteriorNetwork, cls: type[NPE] = NPE
    ) -> NPE:
        """Returns the posterior of a trained network."""
        estimator = cls(settings, task, self.inputs, self.parameters, network)
        estimator.cloud = SummaryCloud.of(estimator.summary(self.x))
        return estimator


def _head(stream: Streamed | Online) -> Rows:
    """The first rows of a stream, for statistics, the regression and looks."""
    arrays = stream.head()
    return Rows(arrays["theta"], arrays["x"], for_validation(arrays["row"]))


def _standardised(
    stream: Streamed | Online, inputs: InputTransform, parameters: ParameterTransform
) -> Stream:
    """The training rows of a stream as networks see them."""

    def read(
        size: int, rng: np.random.Generator, readers: int, turn: int, skip: int
    ) -> Iterator[tuple[Array, ...]]:
        for arrays in islice(stream.training_batches(size, rng, readers, turn), skip, None):
            parameters.require_inside(arrays["theta"])
            z, _ = parameters.forward(arrays["theta"])
            yield z.astype(np.float32), inputs(arrays["x"], np.float32)

    return Stream(stream.counts[0], read)


def parent_of(settings: NPESettings, task: TaskInfo, material: Material) -> FlowPosterior | None:
    """Returns the trained posterior that a method starts from; None where it starts from nothing.

    Raises:
        TrainingError: If its networks, and so its weights, are of another shape.
    """
    if settings.start is None:
        return None
    parent = material.require("parent", settings.type)
    if not isinstance(parent, FlowPosterior):
        raise TrainingError(
            f"start: {settings.start!r} is of type {parent.type!r}, whose weights fit no {settings.type!r}; "
            f"expected a method of type {settings.type!r}."
        )
    own, there = _shape(settings, task), _shape(parent.settings, parent.task)
    for name, wanted in own.items():
        if there[name] != wanted:
            raise TrainingError(
                f"start: weights of {settings.start!r} do not fit, for its {name} is {there[name]}, expected "
                f"{wanted}; give both methods the same {name}."
            )
    return parent


def _shape(settings: PosteriorSettings, task: TaskInfo) -> dict[str, Any]:
    known = on_task(settings, task)
    architecture = {name: known.model_dump()[name] for name in settings.architecture}
    shape = {"parameters": task.parameters, "x_shape": task.x_shape, "has_missing": task.has_missing}
    return {**shape, "values": task.cells, **architecture}


def initial_network(
    settings: NPESettings,
    task: TaskInfo,
    parent: FlowPosterior | None,
    run: session.Session,
    prepared: Prepared,
) -> PosteriorNetwork:
    """Returns a network to train, with the parent's weights and regression where there is one."""
    with session.seeded_initialisation(run):
        network = NPE.build(settings, task)
    if parent is None:
        network.regress(*prepared.data.train[:2])
    else:
        network.load_state_dict(parent.network.state_dict())
    return network


def _input_transform(
    settings: NPESettings, x: Array, task: TaskInfo, parent: FlowPosterior | None
) -> InputTransform:
    """The transform of x by the policy `standardise`."""
    if parent is not None and settings.standardise == "kept":
        return parent.inputs
    like, kind = parent.inputs if parent else None, settings.inputs.transform
    own = standardised(settings.summary, x, kind, has_missing=task.has_missing, like=like)
    return own.pooled(parent.inputs) if parent is not None and settings.standardise == "pooled" else own


def _parameter_transform(
    theta: Array, task: TaskInfo, material: Material, parent: FlowPosterior | None, run: session.Session
) -> ParameterTransform:
    """The transform of theta, whose distribution is the prior at every fidelity.

    So a parent's transform is kept under every policy: another one would only add the noise of a second
    estimate and move the posteriors that its weights describe. Few rows take their statistics from draws
    of the prior, where it is known; many rows give them themselves.
    """
    if parent is not None:
        return parent.parameters
    if len(theta) < FEW_ROWS and material.prior is not None:
        rng = seeds.generator(run.root, "initialise", *run.path, "parameters")
        ParameterTransform.plain(task.bounds, task.support).require_inside(theta)
        theta = material.prior.sample(rng, PRIOR_DRAWS)
    return ParameterTransform.fit(theta, task.bounds, task.support)


def _permuted(rows: Rows, run: session.Session) -> Array:
    """Theta (N, D) shuffled among the training rows, and among the validation rows."""
    theta = rows.theta.copy()
    for part, chosen in enumerate((~rows.validation, rows.validation)):
        order = seeds.generator(run.root, "batches", *run.path, "permuted", part)
        theta[chosen] = order.permutation(theta[chosen])
    return theta
