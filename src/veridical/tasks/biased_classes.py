r"""Two classes of nature, and K simulators of each, none of which need be right.

What analyses of unlabelled events ask for is the fraction of nature's first class. They can learn from the
simulators alone: the first K of the 2K templates are those of the numerator, the others those of the
denominator. Templates are compared with the *pool* of all of them,

.. math:: p_\mathrm{pool} = \frac{1}{2K} \sum_j p_j , \qquad g_j(x) = \log \frac{p_j(x)}{p_\mathrm{pool}(x)} ,

which is positive wherever any of them is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import numpy as np

from veridical import seeds
from veridical.errors import TaskError
from veridical.tasks.base import Array, ClassTask

_ROUNDS = 200


class BiasedClasses(ClassTask):
    """A class task with simulators of its classes: `draw` gives nature's events, `draw_simulated` theirs.

    Attributes:
        simulators: K, how many simulators of each class there are.
        family: Which draw of K simulators this is, of many that could be.
    """

    simulators: int = 6
    family: int = 0

    @abstractmethod
    def draw_simulated(self, n: int, rng: np.random.Generator, cls: str, simulator: int) -> Array:
        """Returns n events of one class as one of the simulators has them, shape (n, *x_shape)."""

    def log_density(self, x: Array, cls: str, simulator: int | None = None) -> Array:
        """Returns exact log densities at events x (N, *x_shape), shape (N,): nature's, or a simulator's."""
        raise NotImplementedError(f"task {self.name} has no exact densities.")

    @property
    def fidelities(self) -> Mapping[str, float]:  # type: ignore[override]
        """The templates and nature's classes, each of nominal cost 1."""
        return dict.fromkeys((*self.templates, *self.classes), 1.0)

    @property
    def templates(self) -> tuple[str, ...]:
        """Names of the 2K templates as levels of `simulate`: those of the numerator, then the others."""
        return tuple(f"{cls}_{k}" for cls in self.classes for k in range(self.simulators))

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        """Draws one event for each empty row of theta (N, 0): of a class of nature's, or of a template."""
        if fidelity in self.templates:
            cls, _, k = fidelity.rpartition("_")
            return self.draw_simulated(len(theta), noise, cls, int(k))
        return super().simulate(theta, noise, fidelity)

    def pooled(self, n: int, rng: np.random.Generator) -> Array:
        """Returns n events of the pool in random order, each of any template with the same probability."""
        counts = rng.multinomial(n, np.full(2 * self.simulators, 0.5 / self.simulators))
        templates = [(cls, k) for cls in self.classes for k in range(self.simulators)]
        events = [
            self.draw_simulated(int(m), rng, *which) for m, which in zip(counts, templates, strict=True)
        ]
        return rng.permutation(np.concatenate(events), axis=0)

    def log_ratios_to_pool(self, x: Array) -> Array:
        """Returns the exact g_j at events x (N, *x_shape), in the order of `templates`, shape (N, 2K)."""
        log_p = np.stack(
            [self.log_density(x, cls, k) for cls in self.classes for k in range(self.simulators)], axis=1
        )
        log_pool = np.logaddexp.reduce(log_p, axis=1, keepdims=True) - np.log(log_p.shape[1])
        return np.asarray(log_p - log_pool)

    def generator(self, simulator: int) -> np.random.Generator:
        """Returns the generator of what one simulator has wrong, the same whatever K is."""
        return seeds.generator(0, "theta", self.name, "simulators", self.family, simulator)

    def require_family(self, simulators: int, family: int) -> None:
        """Takes the settings that all these tasks have.

        Raises:
            TaskError: If there is no simulator, or a number is not whole.
        """
        for value, least in ((simulators, 1), (family, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise TaskError(
                    f"task {self.name}: expected whole numbers simulators >= 1 and family >= 0, got "
                    f"{simulators!r} and {family!r}."
                )
        self.simulators, self.family = simulators, family

    def require_class(self, cls: str, simulator: int | None = None) -> None:
        """Raises TaskError unless there is such a class, and such a simulator where one is named."""
        if cls not in self.classes:
            raise TaskError(f"task {self.name} has no class {cls!r}; expected {self.classes}.")
        if simulator is not None and not 0 <= simulator < self.simulators:
            raise TaskError(
                f"task {self.name}: expected a simulator from 0 to {self.simulators - 1}, got {simulator}."
            )


def accepted(task: str, n: int, propose: Callable[[int], Array]) -> Array:
    """Returns the first n events that `propose`, called with a number of proposals, lets through.

    Raises:
        TaskError: If next to none is.
    """
    parts: list[Array] = [propose(max(n, 16))]
    proposed = max(n, 16)
    for _ in range(_ROUNDS):
        found = sum(map(len, parts))
        if found >= n:
            return np.concatenate(parts)[:n]
        wanted = 1.1 * (n - found) * proposed / max(found, 1) + 16
        size = int(min(wanted, 10 * max(n, 1000), 200_000))
        parts.append(propose(size))
        proposed += size
    raise TaskError(
        f"task {task}: {sum(map(len, parts))} of {proposed} proposed events lie where the task looks, "
        f"expected {n}; widen its window."
    )
