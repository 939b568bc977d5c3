"""Gradients of a loss by the weights, row by row: what a telescoping sum of them scatters by."""

from __future__ import annotations

import copy

import numpy as np
import torch

from veridical.networks.trainable import Trainable
from veridical.tasks.base import Array


def row_gradients(network: Trainable, *rows: Array) -> Array:
    """Returns the gradient of the loss of each row by all weights, (N, P), in double precision.

    Arguments:
        network: Whose loss is a mean over rows; a copy of it is asked, whose weights may move.
        rows: What a training batch of it consists of, (N, ...) each.
    """
    network = copy.deepcopy(network).eval().requires_grad_(True)  # weights of loaded networks are frozen
    weights, arrays = network.trained(), [torch.from_numpy(np.asarray(each)) for each in rows]
    found = []
    for i in range(len(arrays[0])):
        loss = network.loss(*(each[i : i + 1] for each in arrays))
        parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        found.append(torch.cat([part.flatten() for part in parts]).double().numpy())
    return np.stack(found)
