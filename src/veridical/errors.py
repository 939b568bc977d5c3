"""Named errors: each message says what was expected, what came and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any


class VeridicalError(Exception):
    """Base of every error that the reader of a log can fix."""


class SettingError(VeridicalError, ValueError):
    """Raised when a study's settings are unknown, misspelt, of a wrong type or out of range."""


class UnknownName(VeridicalError, KeyError):
    """Raised when a registry has no entry of the given name."""

    def __str__(self) -> str:
        return str(self.args[0])


class TaskError(VeridicalError, ValueError):
    """Raised when a task breaks its contract: shapes, prior, names, fidelities."""


class SimulationError(VeridicalError, RuntimeError):
    """Raised when a simulator raises, hangs, or fails on too many rows."""


class SimulationTimeout(SimulationError, TimeoutError):
    """Raised when a simulator exceeds its time limit; its process group is gone by then."""


class BankError(VeridicalError, RuntimeError):
    """Raised when a shard is missing, torn, of another schema or has a broken digest."""


class DataError(VeridicalError, ValueError):
    """Raised when observed data are missing, misshapen or not finite numbers."""


class ArtifactError(VeridicalError, RuntimeError):
    """Raised when a saved estimator or result is not what its record says."""


class TrainingError(VeridicalError, RuntimeError):
    """Raised when training cannot go on: no valid rows, a non-finite loss, a taken lease."""


class ConvergenceError(VeridicalError, RuntimeError):
    """Raised when the chains of an exact reference have not converged."""


class Unchecked(VeridicalError, RuntimeError):
    """Raised where a check, a prediction or a figure is missing; `record` is that of a lacking input."""

    record: Mapping[str, Any] | None = None


class Refused(VeridicalError, RuntimeError):
    """Raised where a method does not answer an observation, with the reason; `about` says more of it."""

    about: Mapping[str, Any] = MappingProxyType({})


class PlanError(VeridicalError, ValueError):
    """Raised when the text of a dry run cannot be read, so that no plan can be made."""


class ShapeError(VeridicalError, ValueError):
    """Raised when an array does not have the shape its consumer declares."""


def require_shape(name: str, array: Any, *expected: int | None) -> None:
    """Raises ShapeError unless the shapes agree; None stands for any length."""
    shape = tuple(array.shape)
    agree = len(shape) == len(expected) and all(
        want is None or want == got for want, got in zip(expected, shape, strict=True)
    )
    if not agree:
        wanted = "(" + ", ".join("any" if e is None else str(e) for e in expected) + ")"
        raise ShapeError(f"{name}: expected shape {wanted}, got {shape}.")


def if_gone(path: Any) -> str:
    """Returns the remedy for a file that is gone and can be made again."""
    return f"Run again; if the study had ended, with `-- {path}` behind its snakemake command"


def if_bad(path: Any) -> str:
    """Returns the remedy for a bad file that can be made again.

    A study that has ended does not look for files between its data and its report: they must be named.
    """
    return f"Delete it and run again; if the study had ended, with `-- {path}` behind its snakemake command"


def suggest(name: str, choices: Iterable[str]) -> str:
    """Returns a sentence with the nearest of `choices`, or all of them where none is near.

    >>> suggest("npee", ["npe", "rope"])
    "Did you mean 'npe'?"
    """
    names = sorted(choices)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Choose from {', '.join(names)}." if names else "None is known here."
