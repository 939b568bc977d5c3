"""Where a training runs: its device, its CPU threads, and what it says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from veridical.errors import TrainingError


def visible_gpus() -> str:
    """Says which GPUs this process was given, and whether torch can use them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = f"CUDA_VISIBLE_DEVICES: {'not set' if given is None else given}"
    if given not in (None, "", "-1", "NoDevFiles") and not torch.cuda.is_available():
        found += (
            f"\nWARNING: this job has a GPU, but torch {torch.__version__} sees none and `accelerator: auto` "
            "trains on the CPU. Install a CUDA build of torch that fits the node's driver, or ask for no GPU "
            "(accelerator: cpu)."
        )
    return found


def device_for(accelerator: str) -> str:
    """`cuda` or `cpu`; `auto` takes a GPU where there is one."""
    present = torch.cuda.is_available()
    if accelerator == "gpu" and not present:
        raise TrainingError(
            "training.accelerator: 'gpu' was asked for, but torch sees no CUDA device here; run the job on a "
            "node with a GPU and a CUDA build of torch, or choose 'auto' or 'cpu'."
        )
    return "cuda" if present and accelerator != "cpu" else "cpu"


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Lets torch use so many CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
