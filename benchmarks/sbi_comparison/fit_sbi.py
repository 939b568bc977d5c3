"""Fits sbi's `zuko_nsf` with its own defaults to the data that `compare.py` wrote; runs in its own venv."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import sbi
import torch
from sbi.inference import NPE


def main(data: str, out: str, draws: int, seed: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    with np.load(data, allow_pickle=False) as stored:
        arrays = {name: torch.as_tensor(stored[name], dtype=torch.float32) for name in stored.files}
    theta, x = arrays["theta"], arrays["x"].flatten(1)
    test_theta, test_x = arrays["test_theta"], arrays["test_x"].flatten(1)

    wall, cpu = time.perf_counter(), time.process_time()
    inference = NPE(density_estimator="zuko_nsf", show_progress_bars=False)
    estimator = inference.append_simulations(theta, x).train(validation_fraction=float(arrays["validation"]))
    cost = {"fit_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}

    with torch.no_grad():
        log_density = estimator.log_prob(test_theta[None], test_x)[0].numpy()
        samples = estimator.sample((draws,), test_x).numpy()
    np.savez(out, draws=samples, log_density=log_density)
    epochs = len(inference.summary["training_loss"])
    print()  # sbi leaves its last line open
    print(json.dumps({**cost, "epochs": epochs, "version": sbi.__version__}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
