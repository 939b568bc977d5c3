r"""Template-adapted mixtures: the fraction of a class where no simulator has either class right.

Each of several simulators has a density of either class, a *template*. An ensemble knows functions whose
weighted sums are the log ratios of all templates to their pool; the weights are fitted to events that no
member was trained on, and have one covariance (see `veridical.inference.adapted_ratios`). Unlabelled events
then choose how templates are combined together with the fraction (see `veridical.inference.adapted`).

Fresh events of each template are split: a half of them the weights are fitted to, a sixth each goes into the
pool that these are compared with, the reference and the penalty sample. All of them must have passed the
selection that the unlabelled events have; where the ensemble was trained without it, the fitted constants
take up what the efficiencies differ by (see `veridical.inference.windows`).

References:
    | Many Wrongs Make a Right: Leveraging Biased Simulations Towards Unbiased Parameter Inference
    | (Alvarez, Benevedes, Szewc, Thaler, 2026)
    | https://arxiv.org/abs/2604.02219
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, cast

import numpy as np

from veridical.errors import ArtifactError, DataError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo
from veridical.estimators.classes import Generators, TemplateFunctions, WithoutPosterior
from veridical.inference import adapted_alarm, adapted_fits, adapted_ratios, ratio_weights
from veridical.inference.adapted import Objective, Templates, log_ratio
from veridical.inference.adapted_alarm import BinnedFit
from veridical.inference.adapted_fits import SOURCES, AdaptedFit, Profile
from veridical.inference.ratio_weights import Events
from veridical.remedies import tamm_experiments, tamm_shapes
from veridical.remedies.tamm_settings import TammSettings
from veridical.saved.estimates import Estimate
from veridical.tasks.base import Array, ClassTask
from veridical.training.session import Session

CURVE_REACH, CURVE_POINTS = 3.5, 29  # of the curve of the likelihood, in standard errors
SHARES = (3, 1, 1, 1)  # sixths: own events, pool, reference, penalty
BINS = {1: 50, 2: 12, 3: 6}  # bins of each axis of x for the alarm
ARRAYS = ("weights", "covariance", "reference", "penalty")


@dataclass(eq=False)
class Tamm(WithoutPosterior):
    """Fractions of the first class from templates that the data adapt; no posterior.

    Attributes:
        weights: Of the functions of each template, shape (T, P).
        covariance: Of all weights, shape (T P, T P).
        reference: Events of the pool, shape (R, *x_shape).
        penalty: Others, shape (R, *x_shape).
    """

    type = "tamm"
    settings: TammSettings
    task: TaskInfo
    weights: Array
    covariance: Array
    reference: Array
    penalty: Array
    parent: TemplateFunctions

    def __post_init__(self) -> None:
        _require_templates(self.parent)

    @classmethod
    def fit(
        cls, settings: TammSettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[Tamm, None]:
        """Returns the remedy with weights fitted to events of all templates; nothing in it is random.

        Raises:
            TrainingError: If events of a template are missing, or weights cannot be fitted.
        """
        parent = _require_templates(material.require("parent", settings.type))
        own, pool, reference, penalty = _split(material, parent, settings, task)
        at_pool = parent.functions(pool)
        events = [Events.of(_columns(parent.functions(x), t)) for t, x in enumerate(own)]
        pooled = [Events.of(_columns(at_pool, t)) for t in range(len(own))]
        pairs = zip(events, pooled, strict=True)
        weights = [ratio_weights.fit_weights(a, b, settings.loss) for a, b in pairs]
        covariance = adapted_ratios.joint_covariance(weights, events, pooled, settings.loss)
        return cls(settings, task, np.stack(weights), covariance, reference, penalty, parent), None

    def log_ratios(self, x: Array) -> Array:
        """Returns the log ratios of all templates to the pool at events x (N, *x_shape), shape (N, T)."""
        return self._weighted(self.parent.functions(x))

    def adapt(self, x: Array) -> AdaptedFit:
        """Returns the mixture adapted to one sample of events x (N, *x_shape).

        Raises:
            DataError: If the fit has no minimum.
        """
        require_shape("x", x, None, *self.task.x_shape)
        return self.adapted(self.parent.functions(x))

    def adapted(self, functions: Array) -> AdaptedFit:
        """Returns the mixture adapted to events at which the functions are known, shape (N, T, P).

        Raises:
            DataError: If the fit has no minimum.
        """
        samples = functions, *self._samples
        data, reference, penalty = map(self._templates, samples)
        objective = Objective(data, reference, penalty, self.settings.ridges)
        found = adapted_fits.fit(objective, self.settings.starts)
        mixed = [t for side in self._mixed for t in side]
        tables = [tuple(functions[:, t] for functions in samples) for t in mixed]
        places = np.arange(self.weights.size).reshape(self.weights.shape)[mixed].ravel()
        moved = adapted_ratios.mixed(objective, found.theta, cast(Any, tables))
        return found.with_ratios(moved, self.covariance[np.ix_(places, places)])

    def estimate(self, x: Array) -> Estimate:
        """Returns the fraction of the first class in each sample of events x (N, events, *x_shape).

        Its curve is that of the profile between 0 and 1, made monotone; its bias is not known. Its errors are
        that of the finite sample, and that of all that is simulated.
        """
        return self.answer(x)[0]

    def answer(self, x: Array, classes: Array | None = None) -> tuple[Estimate, list[dict[str, Any]]]:
        """Returns `estimate`, and how each answer describes its sample; see `WithoutPosterior`."""
        require_shape("x", x, None, None, *self.task.x_shape)
        found = [self.adapt(sample) for sample in x]
        known = [None] * len(x) if classes is None else classes
        shapes = [tamm_shapes.record(self, *each) for each in zip(found, x, known, strict=True)]
        return self._estimated(found, x), shapes

    def _estimated(self, found: Sequence[AdaptedFit], x: Array) -> Estimate:
        curves = [_curve(fit) for fit in found]
        binned = [self.binned(fit, sample) for fit, sample in zip(found, x, strict=True)]
        p = [fit.p_value for fit in binned if fit is not None]
        return Estimate(
            value=np.array([fit.kappa for fit in found]),
            statistical=np.array([fit.observed for fit in found]),
            ratio=np.array([fit.simulated for fit in found]),
            parts={name: np.array([fit.sources[name] for fit in found]) for name in SOURCES},
            bias=np.zeros(len(found)),
            curve=np.stack([curve for curve, _ in curves]),
            curve_z=np.stack([z for _, z in curves]),
            fit_p=np.array(p) if len(p) == len(found) else None,
            alarms=[adapted_alarm.alarms(*pair) for pair in zip(found, binned, strict=True)],
        )

    def binned(self, fit: AdaptedFit, x: Array) -> BinnedFit | None:
        """Returns how an answer fits the events x (N, *x_shape) it came from in bins.

        They are bins of x, or of the log ratio of the adapted classes where x is more than three numbers or
        is not there; None where there are too few events for two bins.
        """
        flat, reference = (sample.reshape(len(sample), -1) for sample in (x, self.reference))
        per_axis = BINS.get(flat.shape[1]) if self.parent.sees_events else None
        if per_axis is None:
            flat, reference = (log_ratio(shapes, fit.theta)[:, None] for shapes in fit.objective.shapes[:2])
        bins = adapted_alarm.quantile_bins(reference, flat, per_axis or BINS[1])
        try:
            return adapted_alarm.binned_fit(fit, bins[1], bins[0])
        except DataError:
            return None

    def pseudo_experiments(
        self, task: ClassTask, settings: Mapping[str, Any], generators: Generators
    ) -> dict[str, Array]:
        """Returns what pseudo-experiments found, each with samples of its own; see `WithoutPosterior`."""
        return tamm_experiments.experiments(self, task, settings, generators)

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x before it enters the networks."""
        return self.parent.transforms()

    def arrays(self) -> dict[str, Array]:
        """Returns weights, their covariance and the two samples of the pool."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(
        cls, settings: TammSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> Tamm:
        """Returns the remedy that `arrays` came from, around its ensemble; see `Estimator.from_arrays`."""
        try:
            weights, covariance, reference, penalty = (np.asarray(arrays[name]) for name in ARRAYS)
        except KeyError as error:
            raise ArtifactError(
                f"remedy {cls.type}: expected an array {error}; run the remedy again."
            ) from error
        if not isinstance(parent, TemplateFunctions) or weights.shape != (_count(parent), parent.size):
            got = (_count(parent), parent.size) if isinstance(parent, TemplateFunctions) else parent
            raise ArtifactError(
                f"remedy {cls.type}: expected an ensemble with {weights.shape} functions, got {got}."
            )
        return cls(settings, task, weights, covariance, reference, penalty, parent)

    @cached_property
    def _samples(self) -> tuple[Array, Array]:
        """The functions at reference and penalty sample."""
        return self.parent.functions(self.reference), self.parent.functions(self.penalty)

    def _weighted(self, functions: Array) -> Array:
        return np.einsum("ntp,tp->nt", functions, self.weights)

    @property
    def _mixed(self) -> tuple[list[int], list[int]]:
        """The templates of either class that are mixed, by their places among all."""
        first, second = map(len, self.parent.templates)
        if self.settings.mixes is None:
            return [*range(first)], [*range(first, first + second)]
        return list(self.settings.mixes), [first + place for place in self.settings.mixes]

    def _templates(self, functions: Array) -> Templates:
        log_ratios = self._weighted(functions)
        return Templates.of(*(log_ratios[:, side] for side in self._mixed))


def _columns(functions: Array, t: int) -> Array:
    """Functions of one template, (N, P), each column whole in memory: there are few of them."""
    return np.asfortranarray(functions[:, t])


def _count(parent: TemplateFunctions) -> int:
    return sum(map(len, parent.templates))


def _require_templates(parent: Estimator) -> TemplateFunctions:
    if not isinstance(parent, TemplateFunctions):
        raise TrainingError(
            "remedy 'tamm': expected `of` to name an ensemble with functions of templates, got "
            f"{parent.type!r}."
        )
    return parent


def _split(
    material: Material, parent: TemplateFunctions, settings: TammSettings, task: TaskInfo
) -> tuple[list[Array], Array, Array, Array]:
    """Events that weights are fitted to, of each template, and pool, reference and penalty sample.

    The last three have as many events of each template.
    """
    events: Mapping[str, Array] = material.require("classes", settings.type)
    names = list(chain(*parent.templates))
    if missing := [name for name in names if name not in events]:
        raise TrainingError(
            f"remedy 'tamm': expected events of {', '.join(names)}, got none of {', '.join(missing)}."
        )
    rows = min(len(events[name]) for name in names)
    if rows < (least := sum(SHARES) * parent.size):
        raise TrainingError(
            f"remedy 'tamm': expected at least {least} events of each template, got {rows}; raise fit_rows."
        )
    ends = rows // sum(SHARES) * np.cumsum(SHARES)
    parts = []
    for name in names:
        require_shape(f"events of template {name}", events[name], None, *task.x_shape)
        parts.append(np.split(np.asarray(events[name])[: ends[-1]], ends[:-1]))
    own, *shared = zip(*parts, strict=True)
    pool, reference, penalty = (np.concatenate(part) for part in shared)
    return list(own), pool, reference, penalty


def _curve(fit: AdaptedFit) -> tuple[Array, Array]:
    """Fractions around the estimate and z there.

    Where the profile ends, or no shapes fit the data, the curve goes on straight up, as a likelihood does
    outside of where it is defined.
    """
    profile, half = Profile(fit), CURVE_POINTS // 2
    at, z = np.full(CURVE_POINTS, fit.kappa), np.zeros(CURVE_POINTS)
    for side, end in zip((-1, 1), profile.ends, strict=True):
        ended = False
        for step in range(1, half + 1):
            here, before = half + side * step, half + side * (step - 1)
            root = -side * step * CURVE_REACH / half  # that of a parabola
            kappa = fit.kappa - root * fit.sigma
            if not ended:
                ended = (kappa - end) * side >= 0
                at[here] = end if ended else kappa
                try:
                    root = profile.z(at[here])
                except DataError:
                    ended, at[here] = True, at[before]
            else:
                at[here] = at[before]
            z[here] = min(root, z[before]) if side > 0 else max(root, z[before])
    return at, z
