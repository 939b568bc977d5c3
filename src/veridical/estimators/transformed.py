"""Methods between a transform of x and one of theta, and those of them that hold one network."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

import torch
from torch import nn

from veridical.estimators.base import Arrays, Estimator, TaskInfo
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.networks import weights
from veridical.networks.transforms import InputTransform, ParameterTransform
from veridical.tasks.base import Array

Network = TypeVar("Network", bound=nn.Module)


@dataclass(eq=False)
class Transformed(Estimator):
    """A method between two transforms.

    Attributes:
        inputs: The transform of x.
        parameters: The transform between theta and z, which is unconstrained and standardised; None for a
            method without a posterior.
    """

    settings: Any
    task: TaskInfo
    inputs: InputTransform
    parameters: ParameterTransform | None

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter around the method."""
        after = self.parameters
        kinds = dict(zip(self.task.parameters, after.kinds, strict=True)) if after else {}
        steps = [self.inputs.done, "standardise"]
        if self.inputs.kind == "squash":
            steps.reverse()
        if noise := getattr(self.settings.setting("training"), "augment", None):
            own = f"normal noise of sd {noise:g}" if isinstance(noise, float) else str(noise.model_dump())
            steps.append(f"while training: + {own}")
        return {"x": steps, "parameters": kinds}

    def arrays(self) -> dict[str, Array]:
        """Returns the statistics of the transforms, by name."""
        return {**self.inputs.arrays(), **(self.parameters.arrays() if self.parameters else {})}


@dataclass(eq=False)
class Networked(Transformed, Generic[Network]):
    """A method between two transforms that is a network, whose settings say what else it has.

    Attributes:
        network: The trained network, on the CPU, in single precision.
    """

    network: Network
    cloud: SummaryCloud | None = None

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @classmethod
    @abstractmethod
    def build(cls, settings: Any, task: TaskInfo) -> Network:
        """Returns a network to be trained, or to be given weights."""

    @cached_property
    def precise(self) -> Network:
        """The network in double precision."""
        return copy.deepcopy(self.network).double()

    def arrays(self) -> dict[str, Array]:
        """Returns weights and statistics by name."""
        cloud = {} if self.cloud is None else self.cloud.arrays()
        return {**weights.arrays_of(self.network), **super().arrays(), **cloud}

    @classmethod
    def from_arrays(
        cls, settings: Any, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Self:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        with torch.random.fork_rng(devices=[]):
            network = cls.build(settings, task)
        posterior, summaries = settings.answers == "posterior", settings.offers("summaries")
        with weights.fitting(f"estimator {cls.type}"):
            weights.load_into(network, arrays)
            kind = settings.inputs.transform
            inputs = InputTransform.from_arrays(kind, arrays, has_missing=task.has_missing)
            parameters = (
                ParameterTransform.from_arrays(task.bounds, arrays, task.support) if posterior else None
            )
            cloud = SummaryCloud.from_arrays(arrays) if summaries else None
        return cls(settings, task, inputs, parameters, network, cloud)
