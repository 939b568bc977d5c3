r"""RoPE: posteriors of real data as mixtures of those of the simulations that transport matches to them.

With fresh simulations :math:`x_j`, the encoder h of an NPE and one for real data, g,

.. math:: C_{ij} = \| g(y_i) - h(x_j) \|_2 , \qquad
          \tilde p(\theta | y_i) = \sum_j \alpha_{ij} \, q(\theta | h(x_j)) , \qquad \alpha = n_o P^* ,

where :math:`P^*` is the semi-balanced entropic plan of `transport`. g is a fine-tuned copy of h (`of` a
`tuned`), or h itself (`of` an `npe`: transport only). tau = 1 is RoPE, tau < 1 RoPE*.

- The answer to one observation depends on all that it is asked with. At tau = 1 posteriors average to the
  mean component, nearly the prior: a batch whose parameters do not follow the prior is pulled towards it,
  and a single observation gets the prior. Ask with hundreds.
- gamma is relative to the mean cost; very large, it gives the mean component to everybody.
- A good NPE has components far narrower than the distances between n simulations, so that mixtures have gaps
  and truths fall into them. The *gap* says how much: the mean over simulations of

  .. math:: \log p(\theta_j) - \log \frac{1}{n - 1} \sum_{k \neq j} q(\theta_j | h(x_k)) ,

  zero or less where components cover the prior. Above 0.25 nats the remedy warns; `smoothing` (see
  `components`) or more `simulations` mend it. Smoothing is no part of the published method.
- Costs are distances of summaries as they are, or in units of their standard deviation over simulations;
  never are the two clouds standardised apart, which would align them.

References:
    | Addressing Misspecification in Simulation-based Inference through Data-driven Calibration
    | (Wehenkel et al., 2024), https://arxiv.org/abs/2405.08719
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from veridical import seeds
from veridical.errors import ArtifactError, TrainingError, require_shape
from veridical.estimators.base import Conditioned, Estimator, Material, TaskInfo, labelled
from veridical.estimators.encoded import Encoded, Recoded, encoder_of
from veridical.estimators.summary_cloud import SummaryCloud
from veridical.remedies.components import Components
from veridical.remedies.rope_settings import RoPESettings
from veridical.remedies.transport import Plan, semi_balanced
from veridical.tasks.base import Array, Prior
from veridical.training import devices, session

MIN_SIMULATIONS = 10
GAP = 0.25  # nats above which the remedy warns
GAP_ROWS = 100  # simulations that the gap is measured at
DENSITIES = 2_000_000.0  # evaluations of the flow above which draws come without densities
PICTURE = 200  # rows and columns of the picture of a plan, at most


@dataclass(eq=False)
class RoPE(Estimator):
    """Posteriors by optimal transport between real observations and simulations.

    Attributes:
        summaries: Summaries h(x) of the simulations, shape (n, K).
        means: The mean of each component, in the space z, shape (n, D).
        gap: How far the components stay below the prior, and its standard error, shape (2,).
        parent: What knows the encoder of real data.
        centres: Draws of each component where they are smoothed, shape (n, m, D).
    """

    type = "rope"
    settings: RoPESettings
    task: TaskInfo
    summaries: Array
    means: Array
    gap: Array
    parent: Encoded | Recoded
    centres: Array | None = None

    def __post_init__(self) -> None:
        self.simulated = encoder_of(self.parent, self.type, tuned=True)
        self.components = Components(self.simulated, self.summaries, self.centres, self.settings.smoothing)
        self.cloud = SummaryCloud.of(self.summaries)
        scaled = self.settings.standardise == "simulated"
        self.scale = self.summaries.std(axis=0) if scaled else np.ones(self.summaries.shape[1])

    @classmethod
    def fit(
        cls, settings: RoPESettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[RoPE, None]:
        """Returns the remedy with the summaries of its simulations; see `Estimator.fit`."""
        parent = material.require("parent", settings.type)
        posterior = encoder_of(parent, settings.type, tuned=True)
        rows = labelled(material, "simulations", settings.type, task)
        if len(rows) < MIN_SIMULATIONS:
            raise TrainingError(
                f"remedy {settings.type!r}: expected at least {MIN_SIMULATIONS} valid simulations, got "
                f"{len(rows)}; raise `simulations`, or see why they fail."
            )
        theta, x = rows.theta[: settings.simulations], rows.x[: settings.simulations]
        rng = seeds.generator(run.root, "remedy", *run.path, "rope")
        with devices.cpu_threads(run.threads or settings.threads):
            summaries = posterior.summary(x)
            drawn = Components(posterior, summaries).latent(settings.component_draws, rng)
            centres = drawn if settings.smoothing else None
            gap = _gap(Components(posterior, summaries, centres, settings.smoothing), theta, material.prior)
        remedy = cls(settings, task, summaries, drawn.mean(axis=1), gap, parent, centres)
        if remedy.warning:
            print(f"{'/'.join(map(str, run.path))}: {remedy.warning}")
        return remedy, None

    @property
    def warning(self) -> str | None:
        """What is wrong with the components, if anything."""
        if not self.gap[0] > GAP:
            return None
        n, d = len(self.summaries), len(self.task.parameters)
        return (
            f"components leave gaps: at parameters of simulations, a mixture of all other {n - 1} components "
            f"is {self.gap[0]:.2f} nats below the prior on average; raise `simulations`, or set `smoothing` "
            f"to about {0.5 * n ** (-1 / (d + 4)):.2f}."
        )

    def given(self, x: Array) -> Mixture:
        """Returns the posteriors of a whole data set x (N, *x_shape), matched to simulations together."""
        return Mixture(self, x)

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n draws (n, N, D) for each x (N, *x_shape), asked together, and log densities (n, N).

        Raises:
            ArtifactError: If there are too many densities; ask for draws and densities of some, by `given`.
        """
        draws, log_density = self.given(x).sample_and_log_prob(slice(None), n, rng)
        if log_density is None:
            raise ArtifactError(
                f"remedy {self.type}: densities of {n} draws for {len(x)} observations under mixtures of "
                f"{len(self.components)} components take too long; use `sample`, or `given` and `log_prob`."
            )
        return draws, log_density

    def sample(self, x: Array, n: int, rng: np.random.Generator) -> Array:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape), asked together."""
        return self.given(x).sample(slice(None), n, rng)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape), asked together."""
        return self.given(x).log_prob(theta, slice(None))

    def summary(self, x: Array) -> Array:
        """Returns summaries g(x) (N, K) of real data x (N, *x_shape)."""
        found = self.parent.summary(x)
        assert found is not None
        return found

    def plan(self, x: Array) -> Plan:
        """Returns the transport plan between x (N, *x_shape) and the simulations."""
        cost = cdist(self.summary(x) / self.scale, self.summaries / self.scale)
        return semi_balanced(cost, self.settings.gamma, self.settings.tau)

    def transforms(self) -> dict[str, Any]:
        """Returns what happens to x and to each parameter, and how well the components cover the prior."""
        known = np.isfinite(self.gap).all()
        gap = {"nats": float(self.gap[0]), "stderr": float(self.gap[1])} if known else None
        return {
            **self.parent.transforms(),
            "components": len(self.components),
            "gap": gap,
            "warning": self.warning,
        }

    def arrays(self) -> dict[str, Array]:
        """Returns summaries of simulations; mean and, where smoothed, draws of each component; the gap."""
        return {name: getattr(self, name) for name in _saved(self.settings)}

    @classmethod
    def from_arrays(
        cls,
        settings: RoPESettings,
        task: TaskInfo,
        arrays: Mapping[str, Array],
        parent: Estimator | None = None,
    ) -> RoPE:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, Encoded | Recoded):
            raise ArtifactError(f"remedy {cls.type}: expected {settings.of!r} beside it, got {parent}.")
        names = _saved(settings)
        if missing := [name for name in names if name not in arrays]:
            raise ArtifactError(f"remedy {cls.type}: arrays {', '.join(missing)} are missing; run it again.")
        return cls(settings, task, parent=parent, **{name: np.asarray(arrays[name]) for name in names})


def _saved(settings: RoPESettings) -> list[str]:
    """The arrays that a remedy with these settings consists of."""
    return ["summaries", "means", "gap", *(["centres"] if settings.smoothing else [])]


class Mixture(Conditioned):
    """The posteriors of one data set under one transport plan."""

    estimator: RoPE

    def __init__(self, estimator: RoPE, x: Array) -> None:
        super().__init__(estimator, x)
        self.plan = estimator.plan(x)

    def sample(self, rows: slice, n: int, rng: np.random.Generator) -> Array:
        """Returns n draws for each of these rows, shape (n, rows, D)."""
        return self.estimator.components.sample(np.exp(self.plan.log_weights[rows]), n, rng)

    def sample_and_log_prob(
        self, rows: slice, n: int, rng: np.random.Generator
    ) -> tuple[Array, Array | None]:
        """Returns n draws for each of these rows, (n, rows, D), and their log densities (n, rows).

        Densities are None where those of n draws for the whole data set would take minutes: each is a sum
        over all components.
        """
        draws = self.sample(rows, n, rng)
        affordable = self.estimator.components.cost(n * len(self.x)) <= DENSITIES
        return draws, self.log_prob(draws, rows) if affordable else None

    def log_prob(self, theta: Array, rows: slice) -> Array:
        """Returns log densities (..., rows) of theta (..., rows, D)."""
        theta = np.asarray(theta, float)
        log_weights = self.plan.log_weights[rows]
        require_shape(
            "theta", theta, *theta.shape[:-2], *log_weights.shape[:1], len(self.estimator.task.parameters)
        )
        flat = theta.reshape(-1, *theta.shape[-2:])
        found = [self.estimator.components.log_prob(part, log_weights) for part in flat]
        return np.stack(found).reshape(theta.shape[:-1])

    def extras(self) -> dict[str, Array]:
        """Returns what a picture of the plan needs.

        `plan` (D, R, C): for each parameter, groups of observations sorted by the mean of their mixture
        (rows) against groups of simulations sorted by the mean of their component (columns); entries are
        weights of groups of simulations, so that rows sum to one. `plan_rows` (D, R) and `plan_columns`
        (D, C): mean parameters of the groups. `effective` (N,): effective number of components. `transport`
        (6,): gamma, tau, mean cost, row error, residual, iterations.
        """
        weights, plan = self.plan.weights, self.plan
        inverse = self.estimator.simulated.parameters.inverse
        of_columns, of_rows = self.estimator.means, weights @ self.estimator.means
        pictures = [_coarse(weights, of_rows[:, j], of_columns[:, j]) for j in range(of_columns.shape[1])]
        facts = [plan.gamma, plan.tau, plan.mean_cost, plan.row_error, plan.residual, float(plan.iterations)]
        return {
            "plan": np.stack([picture for picture, _, _ in pictures]),
            "plan_rows": inverse(np.stack([rows for _, rows, _ in pictures], axis=-1)).T,
            "plan_columns": inverse(np.stack([columns for _, _, columns in pictures], axis=-1)).T,
            "effective": plan.effective,
            "transport": np.array(facts),
        }


def _coarse(weights: Array, of_rows: Array, of_columns: Array) -> tuple[Array, Array, Array]:
    """Weights (R, C) between groups of rows and columns sorted by a value, and mean values of the groups."""
    row_order, column_order = np.argsort(of_rows, kind="stable"), np.argsort(of_columns, kind="stable")
    rows = np.array_split(row_order, min(PICTURE, len(of_rows)))
    columns = np.array_split(column_order, min(PICTURE, len(of_columns)))
    grouped = np.stack([weights[group].mean(axis=0) for group in rows])
    picture = np.stack([grouped[:, group].sum(axis=1) for group in columns], axis=1)
    return (
        picture,
        np.array([of_rows[group].mean() for group in rows]),
        np.array([of_columns[group].mean() for group in columns]),
    )


def _gap(components: Components, theta: Array, prior: Prior | None) -> Array:
    """Mean and standard error, in nats, of how far other components stay below the prior; NaN without one."""
    if prior is None:
        return np.full(2, np.nan)
    n = len(theta)
    rows = np.arange(min(GAP_ROWS, n))
    log_weights = np.full((len(rows), n), -np.log(n - 1))
    log_weights[rows, rows] = -np.inf
    below = prior.log_prob(theta[rows]) - components.log_prob(theta[rows], log_weights)
    return np.array([below.mean(), below.std(ddof=1) / np.sqrt(len(rows))])
