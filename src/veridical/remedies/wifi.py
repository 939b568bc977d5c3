r"""A w_i f_i ensemble: frozen log ratios f_i combined with weights that have a covariance.

The members of an ensemble of density ratios, and a constant, span a linear model of the log ratio. Its
weights are fitted to events that no member was trained on, where they have a sandwich covariance (see
`veridical.inference.ratio_weights`), and that covariance goes on into the fraction of the first class in a
sample of unlabelled events (see `veridical.inference.fractions`).

For comparison there are three other choices of weights: the mean of the members and a single member, which
state no error at all, and the mean plus a fitted constant, which states that of the constant.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.classes import Functions, Generators, WithoutPosterior, two_classes
from veridical.inference import fractions, mixture_fit, ratio_miss
from veridical.inference.fractions import Fraction
from veridical.inference.mixture_fit import Spectrum
from veridical.inference.ratio_objections import OF_MEAN, objections, off_one
from veridical.inference.ratio_weights import Events, Normalisation, RatioFit
from veridical.remedies import wifi_experiments
from veridical.remedies.wifi_settings import WifiSettings
from veridical.remedies.wifi_weights import ARRAYS, FunctionTable, weigh
from veridical.saved.estimates import Estimate
from veridical.tasks.base import Array, ClassTask
from veridical.training.session import Session

CURVE_REACH, CURVE_POINTS = 4.5, 73  # of the curve of the likelihood, in standard errors
NUMBERS = ("steps", "decrement", "condition", "ridge", "largest_share")
SIDES = ("numerator", "denominator")  # of which the fit has a normalisation each
EDGE = 1e-9  # distance of that curve from where the likelihood ends, relative to where it is defined


@dataclass(eq=False)
class Wifi(WithoutPosterior):
    """A density ratio with its error, and fractions of the first class with theirs; no posterior.

    Attributes:
        ratio: The weights with their covariance.
        spectrum: How the log ratio is distributed over the events of both classes.
        miss: p-value of functions that the span may lack, known where the weights have just been fitted.
    """

    type = "wifi"
    settings: WifiSettings
    task: TaskInfo
    ratio: RatioFit
    parent: Functions
    spectrum: Spectrum | None = None
    miss: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.parent, Functions):
            got: Estimator = self.parent
            raise TrainingError(
                f"remedy 'wifi': expected `of` to name an ensemble of type 'ratios', got {got.type!r}."
            )

    @classmethod
    def fit(
        cls, settings: WifiSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[Wifi, None]:
        """Returns the remedy with weights fitted to all of `material.classes`; nothing in it is random.

        Raises:
            TrainingError: If the weights cannot be fitted.
        """
        parent = cast(Functions, material.require("parent", settings.type))
        remedy = cls(settings, task, RatioFit.fixed(np.zeros(1)), parent)
        first, second = (FunctionTable(parent).events(x) for x in two_classes(material, settings.type))
        remedy.ratio = weigh(settings, first, second)
        if settings.weights == "fitted":
            remedy.miss = ratio_miss.miss(first, second, remedy.ratio, settings.loss)
        remedy.spectrum = mixture_fit.spectrum(remedy._at(first), remedy._at(second))
        return remedy, None

    def objections(self) -> list[str]:
        """Returns what speaks against the ratio, or the error that it states, in words."""
        if self.settings.weights != "fitted":
            return []
        own = self.settings
        return objections(self.ratio, own.fit_rows, self.miss, own.ridge, OF_MEAN) + off_one(self.ratio)

    def log_ratio(self, x: Array) -> tuple[Array, Array]:
        """Returns log r and its standard error at events x (N, *x_shape), shape (N,) each."""
        return self.ratio.log_ratio(self.parent.functions(x))

    def estimate(self, x: Array) -> Estimate:
        """Returns the fraction of the first class in each sample of events x (N, events, *x_shape)."""
        require_shape("x", x, None, None, *self.task.x_shape)
        table = FunctionTable(self.parent)
        samples = [table.events(sample) for sample in x]
        found = [fractions.estimate(events, self.ratio) for events in samples]
        fits = [mixture_fit.p_value(self.spectrum, *self._at(events)) for events in samples if self.spectrum]
        curves = [_curve(fraction) for fraction in found]
        bias = np.array([fraction.bias for fraction in found])
        shift = bias if self.settings.bias_correction else np.zeros(len(bias))
        return Estimate(
            value=np.array([fraction.value for fraction in found]) - shift,
            statistical=np.array([fraction.statistical for fraction in found]),
            ratio=np.array([fraction.ratio for fraction in found]),
            bias=bias,
            curve=np.stack([curve for curve, _ in curves]) - shift[:, None],
            curve_z=np.stack([z for _, z in curves]),
            fit_p=np.array(fits) if fits and np.isfinite(fits).all() else None,
        )

    def pseudo_experiments(
        self, task: ClassTask, settings: Mapping[str, Any], generators: Generators
    ) -> dict[str, Array]:
        """Returns what pseudo-experiments found, each with weights of its own; see `WithoutPosterior`."""
        found = wifi_experiments.experiments(self.settings, self.parent, task, generators, settings)
        return {name: array for name, array in found.items() if name != "bias"}

    def diagnostics(self) -> dict[str, float]:
        """Returns how the fit of the weights went; see `RatioFit`."""
        found = {name: float(getattr(self.ratio, name)) for name in NUMBERS}
        for side in SIDES:
            part: Normalisation = getattr(self.ratio, side)
            found |= {f"{side}_mean": part.value, f"{side}_stderr": part.stderr}
        return found

    def account(self) -> dict[str, Any]:
        """Returns what speaks against the ratio, where anything does."""
        said = self.objections()
        return {"objections": said} if said else {}

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x before it enters the networks."""
        return self.parent.transforms()

    def arrays(self) -> dict[str, Array]:
        """Returns weights, covariance and diagnostics."""
        numbers = {f"diagnostics.{name}": np.array(value) for name, value in self.diagnostics().items()}
        known = self.spectrum._asdict() if self.spectrum else {}
        spectrum = {f"spectrum.{name}": array for name, array in known.items()}
        return {**{name: getattr(self.ratio, name) for name in ARRAYS}, **numbers, **spectrum}

    @classmethod
    def from_arrays(
        cls, settings: WifiSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Wifi:
        """Returns the remedy that `arrays` came from, around its ensemble; see `Estimator.from_arrays`."""
        members = parent.size - 1 if isinstance(parent, Functions) else None
        try:
            ratio = _ratio_from(arrays)
        except KeyError as error:
            raise ArtifactError(
                f"remedy {cls.type}: expected an array {error}; run the remedy again."
            ) from error
        if not isinstance(parent, Functions) or len(ratio.weights) != parent.size:
            raise ArtifactError(
                f"remedy {cls.type}: expected an ensemble of {len(ratio.weights) - 1} members, got {members}."
            )
        return cls(settings, task, ratio, parent, _spectrum_from(arrays))

    def _at(self, events: Events) -> tuple[Array, Array]:
        """Log ratios at events, and how many coincide there."""
        return events.log_ratio(self.ratio.weights), events.counts


def _curve(fraction: Fraction) -> tuple[Array, Array]:
    """Fractions around the estimate, inside of where the likelihood is defined, and z there."""
    low, high = -1 / fraction.excess.max(), -1 / fraction.excess.min()
    margin = EDGE * (high - low)
    at = fraction.value + fraction.total * np.linspace(-CURVE_REACH, CURVE_REACH, CURVE_POINTS)
    at = np.clip(at, low + margin, high - margin)
    return at, fraction.z(at)


def _ratio_from(arrays: Mapping[str, Array]) -> RatioFit:
    def number(name: str) -> float:
        return float(arrays[f"diagnostics.{name}"])

    found: dict[str, Any] = {name: np.asarray(arrays[name]) for name in ARRAYS}
    found |= {name: number(name) for name in NUMBERS}
    for side in SIDES:
        found[side] = Normalisation(number(f"{side}_mean"), number(f"{side}_stderr"))
    return RatioFit(**{**found, "steps": int(found["steps"])})


def _spectrum_from(arrays: Mapping[str, Array]) -> Spectrum | None:
    """How log ratios were distributed; None of a remedy from before that was kept."""
    if "spectrum.edges" not in arrays:
        return None
    return Spectrum(*(np.asarray(arrays[f"spectrum.{name}"]) for name in Spectrum._fields))
