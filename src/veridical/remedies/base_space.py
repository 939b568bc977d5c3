r"""Recalibration of the normal numbers behind a flow, for answers that are sure of themselves and wrong.

A flow f makes a draw of noise, and knows the way back: :math:`e = f(z | y)` is :math:`N(0, I)` where the
answer q is right. Where no draw of q comes near the truth there is nothing to weigh by density levels, but
still an e of each labelled pair, however far out. So

.. math:: \tilde q(\theta | y) = t_\nu(e; 0, C) \, \Big| \det \frac{\partial e}{\partial \theta} \Big| ,

with C by expectation and maximisation from the e of the pairs, and nu from {3, 5, 10, 50} with the largest
log score of fifths left out. The density is exact; draws are those of the Student t pushed through the flow.
Sets :math:`\{|e| \leq r_{(k)}\}` of the ordered :math:`r_i = |e_i|` hold nine tenths whatever q is.

It changes widths and orientation by numbers that are the same for all y: coverage on average comes back, the
information that a wrong answer lost does not.

References:
    | ML Estimation of the t Distribution Using EM and Its Extensions (Liu and Rubin, 1995)
    | Algorithmic Learning in a Random World (Vovk, Gammerman, Shafer, 2005): ranks of exchangeable scores
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.apart import folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo, labelled
from veridical.estimators.flow_posterior import FlowPosterior
from veridical.remedies.conformal import ranks
from veridical.remedies.few_pairs import MIN_PAIRS
from veridical.remedies.heteroscedastic import NUS, log_student, student_scatter
from veridical.remedies.recalibrated_settings import RecalibratedSettings
from veridical.tasks.base import Array
from veridical.training import devices, session

PAIRS_PER_NUMBER = 2  # of C, at least


def fit_student(e: Array) -> tuple[Array, float]:
    """Returns the lower factor of C (D, D) and nu of the t_nu(0, C) of rows e (n, D)."""
    scores = [0.0] * len(NUS)
    for learn, held in folds(len(e)):
        for i, nu in enumerate(NUS):
            factor = np.linalg.cholesky(student_scatter(e[learn], nu))
            scores[i] += float(_log_t(e[held], factor, nu).sum())
    nu = NUS[int(np.argmax(scores))]
    return np.linalg.cholesky(student_scatter(e, nu)), nu


def _log_t(e: Array, factor: Array, nu: float) -> Array:
    """Log densities (...) of e (..., D) under t_nu(0, L L^T)."""
    rows = e.reshape(1, -1, e.shape[-1])
    return log_student(rows, factor[None], nu).reshape(e.shape[:-1])


@dataclass(eq=False)
class RecalibratedBase(Estimator):
    """The flow of `parent` with Student t in place of normal noise.

    Attributes:
        factor: Lower triangular, of the scale matrix C, shape (D, D).
        nu: Degrees of freedom.
        radii: |e| of the labelled pairs, shape (n,).
        parent: The posterior whose flow it is.
    """

    type = "recalibrated"
    settings: RecalibratedSettings
    task: TaskInfo
    factor: Array
    nu: float
    radii: Array
    parent: FlowPosterior

    def __post_init__(self) -> None:
        self.cloud, self.summarisers = self.parent.cloud, self.parent.summarisers

    @classmethod
    def fit(
        cls, settings: RecalibratedSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[RecalibratedBase, None]:
        """Returns the recalibration; see `Estimator.fit`."""
        parent: Estimator = material.require("parent", settings.type)
        pairs = labelled(material, "calibration", settings.type, task)
        if not (isinstance(parent, FlowPosterior) and parent.network.flow.has_base):
            raise TrainingError(
                f"remedy {settings.type!r} with `space: base` needs an `npe` with a flow of continuous "
                "parameters that maps normal numbers one to one, such as `flow: spline`, and got one of type "
                f"{parent.type!r} without; take `space: level`."
            )
        d = len(task.cells)
        least = max(MIN_PAIRS, PAIRS_PER_NUMBER * d * (d + 1) // 2)
        if len(pairs) < least:
            raise TrainingError(
                f"remedy {settings.type!r}: expected at least {least} labelled real rows for {d} parameters, "
                f"got {len(pairs)}."
            )
        parent.apart(pairs)  # which has learned from none of them, or says so
        with devices.cpu_threads(run.threads or settings.threads):
            return cls._of(settings, task, parent, cls._behind(parent, pairs)), None

    @classmethod
    def _of(
        cls, settings: RecalibratedSettings, task: TaskInfo, parent: FlowPosterior, e: Array
    ) -> RecalibratedBase:
        return cls(settings, task, *fit_student(e), np.sqrt((e**2).sum(axis=1)), parent)

    @classmethod
    def _behind(cls, parent: FlowPosterior, pairs: Rows) -> Array:
        """The noise (n, D) behind the true parameters of labelled pairs."""
        parent.parameters.require_inside(pairs.theta)
        e = parent.base(pairs.theta, pairs.x)
        if not np.isfinite(e).all():
            raise TrainingError(
                f"remedy {cls.type!r}: labelled pair {int(np.argmin(np.isfinite(e).all(axis=1)))} is nowhere "
                "in the space of the flow; its data may be far outside of the simulations."
            )
        return e

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns fifths of the pairs, each with what the others alone have recalibrated."""
        self.parent.apart(pairs)
        e = self._behind(self.parent, pairs)
        return [
            (np.flatnonzero(held), self._of(self.settings, self.task, self.parent, e[learn]))
            for learn, held in folds(len(e))
        ]

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        d = len(self.factor)
        context = self.parent.contexts(x)
        draws = np.empty((n, len(x), len(self.task.parameters)))
        for i in range(len(x)):
            noise = rng.standard_normal((n, d)) @ self.factor.T
            noise /= np.sqrt(rng.chisquare(self.nu, n) / self.nu)[:, None]
            draws[:, i] = self.parent.push(noise, context, np.full(n, i), False)[0]
        return draws, self.log_prob(draws, x)

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        e = self.parent.base(theta, x)
        log_normal = -0.5 * (e**2 + np.log(2 * np.pi)).sum(axis=-1)
        return self.parent.log_prob(theta, x) - log_normal + _log_t(e, self.factor, self.nu)

    def summary(self, x: Array) -> Array | None:
        """Returns those of the parent."""
        return self.parent.summary(x)

    def every_summary(self, x: Array) -> Array | None:
        """Returns those of the parent."""
        return self.parent.every_summary(x)

    def transforms(self) -> dict[str, Any]:
        """Returns those of the parent, the Student t, and within which radius 90 % of real data lie."""
        ordered, n = np.sort(self.radii), len(self.radii)
        sets = {
            name: {"rank": rank, "of": n, "radius": float(ordered[rank - 1])}
            for name, rank in zip(("set_90", "strict_set_90"), ranks(n), strict=True)
            if rank is not None
        }
        about = {"nu": self.nu, "scatter": (self.factor @ self.factor.T).tolist()}
        return {**self.parent.transforms(), "base": about, **sets}

    def arrays(self) -> dict[str, Array]:
        """Returns the Student t and the radii of the pairs."""
        return {"factor": self.factor, "nu": np.array(self.nu), "radii": self.radii}

    @classmethod
    def from_arrays(
        cls, settings: RecalibratedSettings, task: TaskInfo, arrays: Arrays, parent: Estimator | None = None
    ) -> RecalibratedBase:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`."""
        if not isinstance(parent, FlowPosterior) or {"factor", "nu", "radii"} - {*arrays}:
            raise ArtifactError(f"remedy {cls.type}: its parent or one of its arrays is missing.")
        return cls(settings, task, arrays["factor"], float(arrays["nu"]), arrays["radii"], parent)
