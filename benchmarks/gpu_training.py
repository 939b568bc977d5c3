"""Training of many small networks on a GPU: eager, compiled and captured steps; prints one line of JSON.

    python benchmarks/gpu_training.py [--members 5] [--replicates 3] [--batch 256] [--steps 300]

One stack holds the members of all replicates, which learn from rows of their own. For each way of making a
step (Adam, decay and clipping included) it prints member-steps per second and, on a GPU, the share of the
time in which a kernel runs. Without a GPU it says so and measures the CPU alone, which captures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from veridical import seeds
from veridical.estimators.npe_settings import NPESettings
from veridical.estimators.posterior_network import PosteriorNetwork
from veridical.networks.trainable import Stack
from veridical.training.batches import Batch, Held
from veridical.training.captured import WARM_UP
from veridical.training.session import Session, Steps, member_run, seeded_initialisation
from veridical.training.settings import TrainingSettings
from veridical.training.step import Step

ROWS, PARAMETERS, NUMBERS = 10_000, 5, 20
PROFILED = 50  # steps in the profile
Batches = Iterator[Batch]


def stack(members: int, replicates: int) -> Stack:
    """Networks of the default `npe`, without its regression."""
    settings = NPESettings.model_validate({"base": "none", "summary": {"type": "mlp"}})
    networks = []
    for replicate in range(replicates):
        for member in range(members):
            with seeded_initialisation(Session(1, ("gpu", replicate, member))):
                networks.append(PosteriorNetwork(settings, (NUMBERS,), (0,) * PARAMETERS))
    return Stack(networks)


def batches(members: int, replicates: int, plan: Steps, device: str) -> Batches:
    """Batches of all members (M, B, ...), each replicate with rows of its own."""
    sources = []
    for replicate in range(replicates):
        rng = seeds.generator(1, "test", "gpu", replicate)
        z = rng.standard_normal((ROWS, PARAMETERS))
        x = z @ rng.standard_normal((PARAMETERS, NUMBERS)) + rng.standard_normal((ROWS, NUMBERS))
        rows = tuple(torch.from_numpy(part).float().to(device) for part in (z, x))
        runs = [member_run(Session(1, ("gpu", replicate)), m) for m in range(members)]
        sources.append(Held(rows, rows, plan, runs, stacked=True).batches(0, plan.steps))
    return (tuple(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*sources, strict=True))


def wait(device: str) -> None:
    """Waits for what the GPU still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(how: str, device: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Member-steps per second of one way, and the share of time in kernels."""
    settings = TrainingSettings(batch_size=chosen.batch, epochs=10_000, captured=how == "captured")
    plan = Steps.of(ROWS, settings.model_copy(update={"max_steps": chosen.steps + 20 * WARM_UP + PROFILED}))
    network = stack(chosen.members, chosen.replicates).to(device)
    step = Step(network, plan, settings, [settings.weight_decay] * network.members)
    if how == "compiled":
        network.losses = torch.compile(network.losses)  # type: ignore[method-assign]
    feed = batches(chosen.members, chosen.replicates, plan, device)
    held = [next(feed) for _ in range(chosen.steps)]  # the order of rows is no part of a step
    first = float(step(*held[0]).mean())  # the same for all ways, to rounding, which training then amplifies
    for batch in held[1 : 2 * WARM_UP + 1]:
        step(*batch)
    wait(device)
    started = time.perf_counter()
    for batch in held:
        step(*batch)
    wait(device)
    seconds = time.perf_counter() - started
    found = {"device": device, "how": how, "member_steps_per_second": network.members * len(held) / seconds}
    if device == "cuda":
        found["kernel_share"] = kernel_share(step, held[:PROFILED])
    return {**found, "first_loss": first}


def kernel_share(step: Callable[..., Tensor], held: list[Batch]) -> float:
    """Share of the wall time of some steps in which kernels run."""
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        started = time.perf_counter()
        for batch in held:
            step(*batch)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    kernels = sum(event.self_device_time_total for event in profile.key_averages())  # microseconds
    return float(kernels / 1e6 / seconds)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=300)
    chosen = parser.parse_args()
    ways = [("cpu", "eager"), ("cpu", "compiled")]
    if torch.cuda.is_available():
        ways += [("cuda", how) for how in ("eager", "compiled", "captured")]
    else:
        print("no CUDA device here: CPU rows only", file=sys.stderr)
    found = [measure(how, device, chosen) for device, how in ways]
    about = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name() if len(ways) > 2 else None}
    print(json.dumps({**about, **vars(chosen), "threads": torch.get_num_threads(), "ways": found}))


if __name__ == "__main__":
    main()
