"""Settings of template-adapted mixtures."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings

Fraction = Annotated[float, Field(gt=0, lt=1)]


class TammSettings(MethodSettings):
    """The fraction of a class, with shapes of both that the data adapt from several wrong simulators."""

    code: ClassVar[str] = "veridical.remedies.tamm:Tamm"
    answers: ClassVar = "estimate"
    learns: ClassVar[tuple[str, ...]] = ("classes",)
    takes_missing: ClassVar[bool] = True
    builds_on: ClassVar[tuple[str, ...]] = ("template functions",)

    type: Literal["tamm"] = "tamm"
    of: str = Field(description="The ensemble of log ratios of templates to their pool.")
    mixes: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None,
        min_length=1,
        description="Which templates of either class are mixed, by their place (from 0) in `first` and "
        "`second` of the ensemble; all where not given. One alone is the fit of that simulator as it is.",
    )
    loss: Literal["mlc", "bce"] = Field(
        default="bce", description="Loss that the weights of the ensemble's members minimise."
    )
    ridge: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="Pull of the weights of templates towards equal ones; compare answers with 0.1 and 10.",
    )
    signal_ridge: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="That of the first class where it is another; more keeps it in shape."
    )
    starts: list[Fraction] = Field(
        default=[0.1, 0.02, 0.3], min_length=1, description="Fractions that the search begins with."
    )
    fit_rows: Annotated[int, Field(ge=40)] = Field(
        default=25_000,
        description="Events of each template, of the split `fit`: half for the weights of the members, a "
        "sixth each for the pool that these are fitted against, the reference and the penalty sample.",
    )

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what is wrong with the templates that are mixed; None where all are there."""
        sides: Any = parent.setting("templates")
        most, places = min(map(len, sides)) if sides else None, self.mixes or [0]
        if most is None or (max(places) < most and len(set(places)) == len(places)):
            return None
        return f"expected different places from 0 to {most - 1} in its `mixes`, got {self.mixes}"

    @property
    def fresh_rows(self) -> int:
        """Rows of the split `fit` that it learns from."""
        return self.fit_rows

    @property
    def ridges(self) -> tuple[float, float]:
        """The pull of either class."""
        return (self.ridge if self.signal_ridge is None else self.signal_ridge, self.ridge)
