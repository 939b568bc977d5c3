"""Fixtures for all tests: one thread per library, and no test may touch global random state."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from veridical import seeds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests that run whole studies first: the many short ones behind them fill what time is left."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


def modules_after(code: str) -> set[str]:
    """The modules that a process of its own has loaded after some code."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own, named by the test and its file, wherever that lies."""
    return seeds.generator(20261121, "test", request.path.name, request.node.nodeid.partition("::")[2])


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Puts back what `job.run` does to signals."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def no_global_randomness() -> Iterator[None]:
    """Fails a test that changes numpy's or torch's global generator."""
    before = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    torch = sys.modules.get("torch")
    torch_before = torch.get_rng_state().clone() if torch else None
    yield
    after = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    same = before["pos"] == after["pos"] and np.array_equal(before["key"], after["key"])
    assert same, "the test changed numpy's global generator"
    if torch is not None and torch_before is not None:
        assert torch.equal(torch_before, torch.get_rng_state()), "the test changed torch's global generator"
