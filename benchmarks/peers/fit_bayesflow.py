"""Fits one family of BayesFlow with its own defaults; runs in the peers' own environment. See `runner`.

Parameters are mapped to unbounded ones by the adapter, and all that the network sees is standardised.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from runner import Job, job

os.environ["KERAS_BACKEND"] = "torch"

import bayesflow as bf
import keras
import torch

FAMILIES = {
    "coupling": lambda steps: bf.networks.CouplingFlow(),
    "spline_coupling": lambda steps: bf.networks.CouplingFlow(transform="spline"),
    "flow_matching": lambda steps: bf.networks.FlowMatching(),
    "diffusion": lambda steps: bf.networks.DiffusionModel(),
    "consistency": lambda steps: bf.networks.ConsistencyModel(total_steps=steps),
}
EXACT = ("coupling", "spline_coupling")  # whose losses are densities
EPOCHS, BATCH = 100, 32  # defaults of `fit_offline`


class Looks(keras.callbacks.Callback):
    """Looks at the validation rows after each epoch, while the clock stands still."""

    def __init__(self, own: Job, log_prob: Any) -> None:
        super().__init__()
        self.own, self.log_prob = own, log_prob

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.own.look(lambda: self.log_prob("apart"))


def main() -> None:
    own = job()
    torch.set_num_threads(own["threads"])
    keras.utils.set_random_seed(own["seed"])
    epochs, family = own["epochs"] or EPOCHS, own["family"]
    lower, upper = own["bounds"].T
    adapter = bf.Adapter()
    if np.isfinite(own["bounds"]).all():
        adapter = adapter.constrain("theta", lower=lower, upper=upper)
    adapter = adapter.convert_dtype("float64", "float32")
    adapter = adapter.rename("theta", "inference_variables").rename("x", "inference_conditions")

    def log_prob(part: str) -> np.ndarray:
        return workflow.log_prob({name: own[f"{name}_{part}"] for name in ("theta", "x")})

    def draw(draws: int, observations: int) -> np.ndarray:
        x = own["x_test"][:observations]
        return workflow.sample(num_samples=draws, conditions={"x": x})["theta"].swapaxes(0, 1)

    own.start()
    network = FAMILIES[family](epochs * -(-len(own["theta"]) // BATCH))
    workflow = bf.BasicWorkflow(adapter=adapter, inference_network=network, standardize="all")
    workflow.fit_offline(
        {name: own[name] for name in ("theta", "x")},
        epochs=epochs,
        batch_size=BATCH,
        verbose=0,
        callbacks=[Looks(own, log_prob)] if family in EXACT else [],
    )
    own.finish(bf.__version__, draw, None if family == "consistency" else log_prob, epochs)


if __name__ == "__main__":
    main()
