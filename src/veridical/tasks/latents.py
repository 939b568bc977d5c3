"""From all D parameters to K latent numbers and back, as the constraints of a task say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.errors import TaskError
from veridical.tasks.supports import Array, Constraint, Discrete, Values


class Support:
    """All that D parameters can be together: plain ones within bounds, the others as constraints say.

    Arguments:
        names: Names of the parameters.
        constraints: Constraints, each of other parameters.

    Raises:
        TaskError: If a constraint names an unknown parameter, one of another constraint, or a later one.
    """

    def __init__(self, names: Sequence[str], constraints: Iterable[Constraint] = ()) -> None:
        self.names, self.constraints = tuple(names), tuple(constraints)
        concerned = [name for constraint in self.constraints for name in constraint.names]
        for constraint in self.constraints:
            for name in (*constraint.names, *constraint.depends_on):
                if name not in self.names:
                    raise TaskError(
                        f"constraints: there is no parameter {name!r}; expected {', '.join(self.names)}."
                    )
            first = min(self.names.index(name) for name in constraint.names)
            if late := [name for name in constraint.depends_on if self.names.index(name) >= first]:
                raise TaskError(
                    f"parameter {constraint.names[0]!r} depends on {late[0]!r}, which does not stand "
                    "before it; put it behind."
                )
        if twice := [name for name in concerned if concerned.count(name) > 1]:
            raise TaskError(f"constraints: parameter {twice[0]!r} stands in two of them; expected one.")
        pairs = [([self.names.index(n) for n in c.names], c) for c in self.constraints]
        self._parts = sorted(pairs, key=lambda pair: min(pair[0]))
        constrained = {j for columns, _ in self._parts for j in columns}
        dropped = {j for columns, c in self._parts for j in columns[c.latents :]}
        self.plain = [j for j in range(len(self.names)) if j not in constrained]
        self.kept = [j for j in range(len(self.names)) if j not in dropped]
        sizes = {c.name: len(c.codes) for c in self.constraints if isinstance(c, Discrete)}
        self.cells = tuple(sizes.get(self.names[j], 0) for j in self.kept)

    @property
    def discrete(self) -> dict[str, Discrete]:
        """The discrete parameters by name."""
        return {c.name: c for c in self.constraints if isinstance(c, Discrete)}

    def inside(self, theta: Array) -> Array:
        """Whether theta (..., D) keeps to all constraints, shape (...)."""
        found = np.ones(theta.shape[:-1], bool)
        for columns, constraint in self._parts:
            found &= constraint.inside(theta[..., columns], self._values(theta, constraint))
        return found

    def forward(self, theta: Array, u: Array, log_slope: Array) -> tuple[Array, Array]:
        """Returns latent numbers and log slopes, both (..., K), of theta (..., D).

        `u` and `log_slope` (..., D) hold those of the plain parameters already.
        """
        with np.errstate(all="ignore"):  # what is impossible is told by `inside`
            for columns, constraint in self._parts:
                at = columns[: constraint.latents]
                u[..., at], slope = constraint.forward(theta[..., columns], self._values(theta, constraint))
                log_slope[..., columns] = 0.0
                log_slope[..., columns[0]] = slope
        return u[..., self.kept], log_slope[..., self.kept]

    def inverse(self, u: Array, theta: Array) -> Array:
        """Returns theta (..., D), whose plain parameters are there already, with the others of u (..., K)."""
        place = {j: k for k, j in enumerate(self.kept)}
        for columns, constraint in self._parts:
            latent = u[..., [place[j] for j in columns[: constraint.latents]]]
            theta[..., columns] = constraint.inverse(latent, self._values(theta, constraint))
        return theta

    def _values(self, theta: Array, constraint: Constraint) -> Values:
        return {name: theta[..., self.names.index(name)] for name in constraint.depends_on}


def constraints_of(prior: Any, names: Sequence[str]) -> tuple[Constraint, ...]:
    """Returns the constraints of a prior: those that it states, or those of each of its distributions."""
    stated = getattr(prior, "constraints", None)
    if isinstance(stated, tuple | list) and any(isinstance(one, Constraint) for one in stated):
        return tuple(stated)
    marginals = getattr(prior, "marginals", (prior,) if len(names) == 1 else ())
    each = list(marginals.values()) if isinstance(marginals, Mapping) else list(marginals)
    return tuple(m.constraint(name) for name, m in zip(names, each, strict=False) if hasattr(m, "constraint"))
