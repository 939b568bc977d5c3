"""Settings of members that see events as particles on a grid of angles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import Field

from veridical.errors import ShapeError, UnknownName
from veridical.networks.entries import numbered
from veridical.networks.summary_settings import Entry
from veridical.sections import Positive, Section, Widths


class Described(Protocol):
    """What is known of a task."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of x."""
        ...

    @property
    def axes(self) -> tuple[str, ...]:
        """The kind of each axis of x."""
        ...

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """The coordinates of each axis where they are names."""
        ...


class ParticlesSettings(Section):
    """Events are particles of an energy and two angles, in any number and order.

    Members are energy-flow networks then: `element` layers of the angles, summed over particles with their
    energies as weights, and the hidden layers of the sum. Angles are those of the centres of a square grid,
    which is fine near the axis: there are `cells` by `cells`, of the same width in asinh(angle / core).
    """

    energy: Entry = Field(
        default=0,
        description="Which of the three numbers of a particle is its energy (or transverse momentum), by "
        "name or from 0; the others are angles around the axis.",
    )
    element: Widths = Field(
        default=[32, 32, 32], min_length=1, description="Widths of the layers applied to the angles."
    )
    cells: Annotated[int, Field(ge=2, le=255)] = Field(
        default=41, description="Cells of the grid along each angle."
    )
    reach: Positive = Field(
        default=0.6,
        description="Largest angle on the grid; what lies beyond counts in the cells at its edge.",
    )
    core: Positive = Field(
        default=0.01, description="Angle below which cells are of one width; above, they grow with it."
    )

    def places(self, task: Described) -> tuple[int, int]:
        """Returns the axis of x along which particles lie, and the entry of the energy along the other one.

        Raises:
            ShapeError: If several entries are named.
            UnknownName: If x has no such entry.
        """
        axis = task.axes.index("exchangeable")
        names: Sequence[str] = task.names[1 - axis] if task.names else ()
        found = numbered(self.energy, task.x_shape[1 - axis], names)
        if len(found) > 1:
            raise ShapeError(f"expected one entry, got {len(found)} for {self.energy!r}.")
        return axis, found[0]

    def unsuited(self, task: Described) -> str | None:
        """Returns why the events of a task are no such particles, if they are not."""
        kinds = [axis for axis, kind in enumerate(task.axes) if kind == "exchangeable"]
        if len(task.x_shape) != 2 or len(kinds) != 1 or task.x_shape[1 - kinds[0]] != 3:
            axes = ", ".join(kind or "undeclared" for kind in task.axes)
            return (
                "`particles` expects events of shape (particles, 3), an energy and two angles each, of which "
                f"the axis of particles says `kind: exchangeable`; those of task {task.name} have shape "
                f"{task.x_shape} and axes {axes}. Leave it out, or declare the axes."
            )
        try:
            self.places(task)
        except (ShapeError, UnknownName) as error:
            return f"particles.energy: {error}"
        return None
