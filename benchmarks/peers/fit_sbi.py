"""Fits one family of sbi with its own defaults; runs in the peers' own environment. See `runner`."""

from __future__ import annotations

from typing import Any

import numpy as np
import sbi
import torch
from runner import Job, job
from sbi.inference import FMPE, NPE, NPSE

FIELDS = {"fmpe": FMPE, "npse": NPSE}  # learned as fields of an equation, whose losses are no densities


def watched(base: type, own: Job) -> type:
    """Returns a way of inference that holds back the rows that it is told to, and looks after each epoch."""
    theta, x = (torch.as_tensor(own[name]) for name in ("theta_apart", "x_apart"))

    class Watched(base):
        def get_dataloaders(self, start: int, batch: int, share: float, resume: bool, **options: Any) -> Any:
            rows, first = len(own["theta"]) + len(theta), len(own["theta"])
            self.train_indices, self.val_indices = torch.arange(first), torch.arange(first, rows)
            return super().get_dataloaders(start, batch, len(theta) / rows, True, **options)

        def _summarize_epoch(self, *given: Any, **named: Any) -> None:
            super()._summarize_epoch(*given, **named)
            if base is NPE:
                with torch.no_grad():
                    own.look(lambda: self._neural_net.log_prob(theta[None], x)[0])

    return Watched


def main() -> None:
    own = job(np.float32)
    torch.set_num_threads(own["threads"])
    torch.manual_seed(own["seed"])
    base = FIELDS.get(own["family"], NPE)
    chosen = {} if base is not NPE else {"density_estimator": own["family"]}
    rows = [torch.as_tensor(np.concatenate([own[name], own[f"{name}_apart"]])) for name in ("theta", "x")]
    own.start()
    inference = watched(base, own)(show_progress_bars=False, **chosen)
    limit = {"max_num_epochs": own["epochs"]} if own["epochs"] else {}
    network = inference.append_simulations(*rows).train(**limit)
    if base is NPE:
        draw, log_prob = of_density(own, network)
    else:
        draw, log_prob = of_field(own, inference.build_posterior())
    own.finish(sbi.__version__, draw, log_prob, len(inference.summary["training_loss"]))


def of_density(own: Job, network: Any) -> tuple[Any, Any]:
    """Draws of the network itself, without rejection outside of the prior, and log densities."""

    def draw(draws: int, observations: int) -> np.ndarray:
        with torch.no_grad():
            return network.sample((draws,), torch.as_tensor(own["x_test"][:observations])).numpy()

    def log_prob(part: str) -> np.ndarray:
        theta, x = (torch.as_tensor(own[f"{name}_{part}"]) for name in ("theta", "x"))
        with torch.no_grad():
            return network.log_prob(theta[None], x)[0].numpy()

    return draw, log_prob


def of_field(own: Job, posterior: Any) -> tuple[Any, Any]:
    """Draws and log densities by the ordinary differential equation."""

    def draw(draws: int, observations: int) -> np.ndarray:
        x = torch.as_tensor(own["x_test"][:observations])
        return posterior.sample_batched((draws,), x, show_progress_bars=False).numpy()

    def log_prob(part: str) -> np.ndarray:
        theta, x = (torch.as_tensor(own[f"{name}_{part}"]) for name in ("theta", "x"))
        with torch.no_grad():
            return posterior.potential_fn.neural_ode(x).log_prob(theta).numpy()

    return draw, log_prob


if __name__ == "__main__":
    main()
