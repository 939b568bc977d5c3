"""What settings of stacked members that may see particles share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from veridical.estimators.settings import TrainedSettings
from veridical.networks.particle_settings import ParticlesSettings

if TYPE_CHECKING:
    from veridical.estimators.base import TaskInfo
    from veridical.networks.settings import InputsSettings

Particles = Annotated[
    ParticlesSettings | None,
    Field(
        description="Where events are particles, such as the constituents of jets: members are energy-flow "
        "networks, and absent particles may be NaN. Without it they see the numbers of an event as they are."
    ),
]


class MembersSettings(TrainedSettings):
    """Base of the settings of stacked members, which see the numbers of an event or its particles."""

    mends_missing: ClassVar[str] = (
        "where events are particles of an energy and two angles, give it `particles: {}` and its members are "
        "energy-flow networks, which take them"
    )

    if TYPE_CHECKING:
        inputs: InputsSettings
        particles: ParticlesSettings | None

    @property
    def takes_missing(self) -> bool:  # type: ignore[override]
        """Whether it takes x with missing numbers: as absent particles."""
        return self.particles is not None

    @model_validator(mode="after")
    def _energies_add_up(self) -> Self:
        """Refuses transforms of what is summed."""
        kind = self.inputs.transform
        if self.particles is not None and kind not in ("auto", "none"):
            raise ValueError(f"inputs.transform: `particles` wants energies that add up, not their {kind}")
        return self

    def unsuited(self, task: TaskInfo) -> str | None:
        """Returns why events are no particles, where they are taken for some."""
        return None if self.particles is None else self.particles.unsuited(task)
