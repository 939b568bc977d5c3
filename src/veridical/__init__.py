"""Trustworthy inference from imperfect simulators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veridical.version import VERSION as __version__

__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from pathlib import Path


def load(path: str | Path, *, own_code: bool = False) -> Any:
    """Returns the estimator saved in the folder `path`, ready to `sample` and `log_prob`.

    Arguments:
        path: The folder.
        own_code: Whether the Python file of a method of type `own`, which the folder names, may run.

    >>> npe = load("results/example/train/npe/n60-r0")
    >>> npe.task.parameters, npe.task.x_shape
    (('share', 'rate'), (4, 2))
    >>> npe.sample(np.zeros((3, 4, 2)), 100, rng).shape  # 100 draws for each of three observations
    (100, 3, 2)
    """
    from veridical.artifacts import load_estimator

    return load_estimator(path, own_code=own_code)
