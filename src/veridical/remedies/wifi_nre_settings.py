"""Settings of w_i f_i ensembles of parametrised ratios."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from veridical.estimators.settings import MethodSettings
from veridical.sections import Threads


class WifiNRESettings(MethodSettings):
    """A likelihood-to-evidence ratio as a weighted sum of frozen members, with the error of its weights."""

    code: ClassVar[str] = "veridical.remedies.wifi_nre:WifiNRE"
    learns: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[tuple[str, ...]] = ("likelihood",)
    builds_on: ClassVar[tuple[str, ...]] = ("functions of pairs",)
    takes_missing: ClassVar[bool] = True
    discrete: ClassVar[bool] = False
    sampled: ClassVar[bool] = True
    as_parent: ClassVar[bool] = True

    type: Literal["wifi_nre"] = "wifi_nre"
    of: str = Field(description="The ensemble of ratios, an `nre_ensemble`.")
    loss: Literal["bce", "mlc"] = Field(default="bce", description="Loss that the weights minimise.")
    ridge: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="Ridge relative to the mean diagonal of the Hessian; more only where that is singular.",
    )
    fit_rows: Annotated[int, Field(ge=50)] = Field(
        default=5_000, description="Simulations, of the split `fit`, that the weights are fitted to."
    )
    shuffles: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="Parameters of other rows that each of them is paired with."
    )
    weight_draws: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=100,
        description="Draws of the weights, half of them mirrored, over which posteriors are averaged.",
    )
    threads: Threads = Field(default=1, description="CPU threads.")

    @property
    def has_density(self) -> bool:
        """False: the densities of its answers lack their constants."""
        return False

    @property
    def fresh_rows(self) -> int:
        """Rows of the split `fit` that it learns from."""
        return self.fit_rows

    def misfit(self, parent: MethodSettings, name: str) -> str | None:
        """Returns what keeps it from building on a method of this name, if anything."""
        if not parent.may_refuse:
            return None
        return (
            f"{name!r} draws by weights and may refuse; give it `sampling: {{by: chains}}`, whose draws can "
            "be weighed once more."
        )
