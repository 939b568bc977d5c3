r"""w_i f_i of a parametrised ratio: frozen members combined with weights that have a covariance.

The members of an ensemble of likelihood-to-evidence ratios, and 1, span a linear model of
:math:`\log p(x | \theta) / p(x)`. Its weights are fitted to simulations that no member was trained on, as
they are and with parameters of other rows, by rows of which they have a sandwich covariance C
(`inference/pair_weights`). What that error does to answers:

**Estimates.** A data set of R independent entries (`independent` of the ensemble), or one observation, has
most likely parameters with a covariance in two parts, and profile intervals that hold both
(`inference/ratio_parameters`).

**Posteriors** are averaged over B draws :math:`w_b \sim N(\hat w, C)`, each normalised by itself:

.. math:: q(\theta | x) = \frac1B \sum_b \frac{p(\theta) e^{w_b \cdot F(\theta, x)}}{Z_b(x)} , \qquad
    v_s = \frac1B \sum_b \frac{e^{(w_b - \hat w) \cdot F_s}}{\sum_t e^{(w_b - \hat w) \cdot F_t}} ,

v_s being the weights by which the average is picked from draws at the fitted weights; how many of them count
goes into their effective size. An average over other posteriors is wider than they are, and no narrower than
the one at the fitted weights but for chance.

References:
    | Frequentist Uncertainties on Neural Density Ratios with w_i f_i Ensembles (Benevedes, Thaler, 2025)
    | https://arxiv.org/abs/2506.00113
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from scipy.special import softmax

from veridical import seeds
from veridical.errors import ArtifactError, DataError, TaskError, TrainingError, require_shape
from veridical.estimators.base import Arrays, Estimator, Material, TaskInfo, labelled
from veridical.estimators.nre_ensemble import NREEnsemble
from veridical.estimators.prior import draws_inside
from veridical.estimators.sampled import Likelihood
from veridical.inference import pair_weights, ratio_parameters
from veridical.inference.likely import Likely
from veridical.inference.pair_weights import Pairs
from veridical.inference.ratio_objections import objections
from veridical.inference.ratio_parameters import Maximum
from veridical.inference.ratio_weights import Normalisation, RatioFit
from veridical.inference.weighted import resampled
from veridical.remedies.wifi_nre_settings import WifiNRESettings
from veridical.tasks.base import Array
from veridical.training.session import Session

CANDIDATES = 4  # draws at the fitted weights for each draw of the average
STARTS = 500  # prior draws among which the maximum of a likelihood is looked for
SLOPE = 1e-4  # step of the derivative of parameters by unconstrained ones
KEPT = 20  # observations of a data set at most whose estimates are kept beside the draws
LEVELS = (0.68, 0.9)  # of the intervals that are kept
NUMBERS = ("condition", "ridge", "largest_share")
SIDES = ("numerator", "denominator")


@dataclass(eq=False)
class WifiNRE(Likelihood):
    """A weighted ratio with the error of its weights, its posteriors, and estimates by its likelihood.

    Attributes:
        ratio: The weights with their covariance.
        rows: How many simulations they were fitted to.
        miss: p-value of functions of parameters and ratio that the span may lack.
        seed: Of the draws of the weights.
    """

    type = "wifi_nre"
    settings: WifiNRESettings
    task: TaskInfo
    ratio: RatioFit
    rows: int
    miss: float
    seed: int
    parent: NREEnsemble

    def __post_init__(self) -> None:
        self.prior, self.cloud = self.parent.prior, self.parent.cloud
        self.summarisers = self.parent.summarisers

    @classmethod
    def fit(
        cls, settings: WifiNRESettings, task: TaskInfo, material: Material, run: Session
    ) -> tuple[WifiNRE, None]:
        """Returns the remedy with weights fitted to all of `material.simulations`.

        Raises:
            TrainingError: If there are too few of them, or the weights cannot be fitted.
        """
        parent = material.require("parent", settings.type)
        if not isinstance(parent, NREEnsemble):
            raise TrainingError(
                f"remedy 'wifi_nre': expected `of` to name an `nre_ensemble`, got {parent.type!r}."
            )
        simulated = labelled(material, "simulations", settings.type, task)
        theta = simulated.theta, *(np.roll(simulated.theta, k, 0) for k in range(1, settings.shuffles + 1))
        first, *others = (parent.functions(each, simulated.x) for each in theta)
        pairs = Pairs(first, np.stack(others))
        ratio = pair_weights.fit(pairs, settings.loss, ridge=settings.ridge)
        z = [parent.parameters.forward(each)[0][:, None] for each in theta]
        lacking = _omitted(pairs, ratio, z[0], np.stack(z[1:]))
        miss = pair_weights.miss(pairs, lacking, ratio, settings.loss)
        seed = seeds.integer(run.root, "remedy", *run.path)
        return cls(settings, task, ratio, len(simulated), miss, seed, parent), None

    def objections(self) -> list[str]:
        """Returns what speaks against the ratio, or the error that it states, in words."""
        return objections(self.ratio, self.rows, self.miss, self.settings.ridge)

    @cached_property
    def posterior(self) -> NREEnsemble:
        """The ensemble with the fitted weights."""
        return self.parent.weighted(self.ratio.weights)

    @cached_property
    def moves(self) -> Array:
        """Draws of the weights, less those fitted, in mirrored pairs; shape (B, P)."""
        values, vectors = np.linalg.eigh(self.ratio.covariance)
        noise = seeds.generator(self.seed, "remedy", "weights").standard_normal(
            (self.settings.weight_draws // 2, len(values))
        )
        half = noise * np.sqrt(np.maximum(values, 0)) @ vectors.T
        return np.concatenate([half, -half])

    # ---- posteriors ----------------------------------------------------------------------------------

    @property
    def has_density(self) -> bool:
        """False: its densities lack their constants."""
        return False

    def log_prob(self, theta: Array, x: Array) -> NoReturn:
        """Raises TaskError: densities are not normalised."""
        self.posterior.log_prob(theta, x)

    def log_likelihood(self, theta: Array, x: Array) -> Array:
        """Returns log ratios (..., N) of theta (..., N, D) at the fitted weights."""
        return self.posterior.log_likelihood(theta, x)

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape), and no densities."""
        return self.drawn(x, n, rng)[0], None

    def drawn(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, None, dict[str, Array]]:
        """Returns n draws (n, N, D) for each x (N, *x_shape), no densities, and what they are worth."""
        found, _, worth = self.posterior.drawn(x, CANDIDATES * n, rng)
        draws: Array = np.empty((n, *found.shape[1:]))
        for i, one in enumerate(x):
            weights = self._averaged(one, found[:, i])
            picked = resampled(weights, n, seeds.generator(self.seed, "remedy", "picked"))
            draws[:, i] = found[picked, i]
            worth["ess"][i] *= weights.sum() ** 2 / (len(weights) * np.sum(weights**2))
        return draws, None, worth

    def _averaged(self, x: Array, theta: Array) -> Array:
        """The weights v (S,) of draws (S, D) at the fitted weights, for one x (*x_shape)."""
        z, _ = self.parent.parameters.forward(theta)
        return np.asarray(softmax(self.parent.summed(x)(z) @ self.moves.T, axis=0).mean(axis=1))

    # ---- estimates -----------------------------------------------------------------------------------

    def estimate(self, x: Array, levels: Sequence[float] = LEVELS) -> Likely:
        """Returns the most likely parameters of each x (N, *x_shape), with errors and profile intervals.

        Numbers are NaN where a likelihood has no maximum.

        Raises:
            TaskError: If parameters are bound to each other.
        """
        if self.task.support is not None:
            raise TaskError(
                f"remedy {self.type} of task {self.task.name}: parameters are bound to each other, so that "
                "no interval is told for one of them; take its draws."
            )
        require_shape("x", x, None, *self.task.x_shape)
        return Likely.stack([self._likely(one, self._maximum(one), levels) for one in x], levels)

    @cached_property
    def starts(self) -> Array:
        """Where maxima are looked for, parameters without bounds, shape (S, D)."""
        rng = seeds.generator(self.seed, "remedy", "starts")
        return self.parent.parameters.forward(draws_inside(self.prior, self.task, STARTS, rng))[0]

    def _maximum(self, x: Array) -> Maximum | None:
        """The most likely parameters, without bounds, for one x (*x_shape); None where there are none."""
        try:
            return ratio_parameters.maximise(self.parent.summed(x), self.ratio, self.starts)
        except DataError:
            return None

    def _likely(self, x: Array, found: Maximum | None, levels: Sequence[float]) -> Likely:
        """The estimate for one x (*x_shape)."""
        d, transform, functions = len(self.task.parameters), self.parent.parameters, self.parent.summed(x)
        if found is None:
            return Likely.none(d, levels)
        ends: Array = np.empty((len(levels), d, 2))
        for i, level in enumerate(levels):
            for j in range(d):
                ends[i, j] = ratio_parameters.interval(functions, self.ratio, found, j, level)
        step = SLOPE * np.array([1.0, -1.0])[:, None]
        slope = np.subtract(*transform.inverse(found.place + step)) / (2 * SLOPE)
        scale = np.outer(slope, slope)
        value, limits = transform.inverse(found.place[None]), self.task.bounds
        for side in range(2):
            at = ends[..., side]
            inside = transform.inverse(np.where(np.isfinite(at), at, 0.0))
            ends[..., side] = np.where(np.isfinite(at), inside, limits[:, side])
        return Likely(
            value, (found.data * scale)[None], (found.weights * scale)[None], tuple(levels), ends[None]
        )

    def estimated(self, x: Array, truth: Array) -> dict[str, Array]:
        """Returns estimates with both parts of their errors, and roots of profile likelihood ratios."""
        if self.task.support is not None:
            return {}
        found = [self._maximum(one) for one in x]
        likely = Likely.stack([self._likely(*pair, ()) for pair in zip(x, found, strict=True)], ())
        parts = {"statistical": likely.data, "ratio": likely.ratio}
        errors = {name: np.sqrt(np.diagonal(part, axis1=1, axis2=2)) for name, part in parts.items()}
        roots: Array = np.full(truth.shape, np.nan)
        for i, z in enumerate(self.parent.parameters.forward(truth)[0]):
            for j, t in enumerate(z):
                roots[i, j] = self._root(x[i], found[i], j, t)
        return {"estimate": likely.value, **errors, "z_lr": roots}

    def _root(self, x: Array, found: Maximum | None, j: int, t: float) -> float:
        """The root of the likelihood ratio of parameter j at t; NaN where a likelihood has no maximum."""
        if found is None:
            return np.nan
        try:
            return ratio_parameters.z(self.parent.summed(x), self.ratio, found, j, t)
        except DataError:
            return np.nan

    def extras(self, x: Array) -> dict[str, Array]:
        """Returns the estimates of a data set of at most 20 observations, by `likely_` and what they are."""
        if len(x) > KEPT or self.task.support is not None:
            return {}
        return {f"likely_{name}": array for name, array in self.estimate(x).arrays().items()}

    # ---- what it is made of --------------------------------------------------------------------------

    def summary(self, x: Array) -> Array:
        """Returns what the networks see of x (N, *x_shape), as summaries (N, K)."""
        return self.parent.summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to parameters around the networks, and the weights of these."""
        return {**self.parent.transforms(), "weights": self.ratio.weights.tolist()}

    def account(self) -> dict[str, Any]:
        """Returns how the fit of the weights went, and what speaks against it, as plain data."""
        numbers = {name: float(getattr(self.ratio, name)) for name in NUMBERS}
        sides = {f"{side}_mean": vars(getattr(self.ratio, side)) for side in SIDES}
        said = self.objections()
        found = {"weights_fit": {**numbers, **sides, "rows": self.rows, "miss_p": self.miss}}
        return {**found, "objections": said} if said else found

    def arrays(self) -> dict[str, Array]:
        """Returns weights, covariance, diagnostics and the seed."""
        plain = {name: getattr(self.ratio, name) for name in ("weights", "covariance", *NUMBERS)}
        sides = {side: list(vars(getattr(self.ratio, side)).values()) for side in SIDES}
        own = {"rows": self.rows, "miss": self.miss, "seed": self.seed}
        return {name: np.asarray(value) for name, value in {**plain, **sides, **own}.items()}

    @classmethod
    def from_arrays(
        cls, settings: WifiNRESettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> WifiNRE:
        """Returns the remedy that `arrays` came from, around its ensemble; see `Estimator.from_arrays`."""
        try:
            ratio = _ratio_from(arrays)
            numbers = int(arrays["rows"]), float(arrays["miss"]), int(arrays["seed"])
        except KeyError as error:
            raise ArtifactError(
                f"remedy {cls.type}: expected an array {error}; run the remedy again."
            ) from error
        if not isinstance(parent, NREEnsemble) or parent.size != len(ratio.weights):
            got = parent.size - 1 if isinstance(parent, NREEnsemble) else None
            raise ArtifactError(
                f"remedy {cls.type}: expected an ensemble of {len(ratio.weights) - 1} members, got {got}."
            )
        return cls(settings, task, ratio, *numbers, parent)


def _ratio_from(arrays: Mapping[str, Array]) -> RatioFit:
    """The fitted weights."""
    numbers: dict[str, Any] = {name: float(arrays[name]) for name in NUMBERS}
    numbers |= {side: Normalisation(*arrays[side].tolist()) for side in SIDES}
    weights = np.asarray(arrays["weights"])
    return RatioFit(weights, np.asarray(arrays["covariance"]), np.zeros(len(weights)), **numbers)


def _omitted(pairs: Pairs, ratio: RatioFit, z: Array, others: Array) -> Pairs:
    """Functions that the span may lack: s^2, and z_j, z_j^2 and s z_j of each parameter, s = tanh(log r).

    Parameters are (N, 1, D) and (K, N, 1, D).
    """

    def made(functions: Array, z: Array) -> Array:
        s = np.tanh(functions @ ratio.weights)[..., None]
        at = np.broadcast_to(z, (*s.shape[:-1], z.shape[-1]))
        return np.concatenate([s**2, at, at**2, s * at], axis=-1)

    return Pairs(made(pairs.joint, z), made(pairs.others, others))
