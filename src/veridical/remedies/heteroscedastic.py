r"""Regression by Gaussian processes whose errors are Student t, with a scale that varies with the features.

Each of the D standardised outputs :math:`z_j` of n rows with features f (F of them, standardised) has

.. math:: K_j = 1 + \frac{c_j}{F} f^T f' + v_j e^{-|f - f'|^2 / 2 l_j^2} + s_j \delta_{f f'} ,

with c, v, l, s of the largest marginal likelihood; the first term is an offset as wide as the outputs, for
rows may come from another distribution than they are standardised by. With these fixed, each row is left out
in closed form:

.. math:: R_{ij} = [K_j^{-1} z_j]_i / \sqrt{[K_j^{-1}]_{ii}} .

Squares of R tell how wide the errors are where: with :math:`g_{ij} = \log \max(R_{ij}^2 / \overline{R_j^2},
10^{-4})` and k a Gaussian kernel of length :math:`\sqrt F`,

.. math:: \sigma_j(f) = \exp\big( \tfrac12 \, [ \tau k(f, \cdot) (\tau k + 5)^{-1} (g_j - \bar g_j)
    ]_{-3}^{3} \big) ,

5 being about the variance of the logarithm of a squared normal number. The answer is

.. math:: z = m(f) + \mathrm{sd}(f) \, \sigma(f) \, \epsilon , \qquad \epsilon \sim t_\nu(0, C) ,

C by expectation and maximisation from :math:`R_i / \sigma_{-i}(f_i)`, the scale of each row being that of the
others. tau and nu have the largest log score of rows that took no part in scale and C, in five folds.

References:
    | Gaussian Processes for Machine Learning (Rasmussen and Williams, 2006), sections 2.2 and 5.4
    | ML Estimation of the t Distribution Using EM and Its Extensions (Liu and Rubin, 1995)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import gammaln
from scipy.stats import multivariate_t

from veridical.estimators.apart import folds
from veridical.tasks.base import Array

CONSTANT = 1.0  # variance of the offset
TAUS, NUS = (0.0, 0.3, 1.0, 3.0), (3.0, 5.0, 10.0, 50.0)
VARIANTS = len(TAUS) * len(NUS)
WIDEST = 3.0  # standard deviations of the features beyond which the scale stays what it is there
EM_ROUNDS = 12
_LOG_CHI2 = 5.0  # about the variance of log chi^2 with one degree of freedom, which is pi^2 / 2
_BOUNDS = {"linear": (1e-3, 1e3), "smooth": (1e-3, 1e3), "length": (0.2, 50.0), "noise": (1e-4, 10.0)}


def _inverse(covariance: Array, noise: float) -> tuple[Array, float]:
    """The inverse of a covariance (n, n) with noise on its diagonal, and half of its log determinant."""
    noisy = covariance.copy()
    np.fill_diagonal(noisy, noisy.diagonal() + noise)
    factor = cholesky(noisy, lower=True, check_finite=False)
    lower = np.tril(dpotri(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T, float(np.log(factor.diagonal()).sum())


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process for one output.

    Attributes:
        f: Features, shape (n, F).
        z: The output, shape (n,).
        hyper: Weights of the linear and the smooth part, length of the latter, variance of the noise, (4,).
    """

    f: Array
    z: Array
    hyper: Array

    @classmethod
    def fit(cls, f: Array, z: Array, smooth: bool) -> Process:
        """Returns the process of the largest marginal likelihood, with a smooth part or without."""
        linear, squares = f @ f.T / f.shape[1], cdist(f, f, "sqeuclidean")
        start = np.log([1.0, 0.5, np.clip(np.sqrt(f.shape[1]), 0.2, 50.0), 0.3])
        free = np.array([True, smooth, smooth, True])

        def loss(logs: Array) -> tuple[float, Array]:
            full = start.copy()
            full[free] = logs
            c, v, length, noise = np.exp(full)
            kernel: Array | float = v * np.exp(-0.5 * squares / length**2) if smooth else 0.0
            inverse, half_log_determinant = _inverse(CONSTANT + c * linear + kernel, noise)
            alpha = inverse @ z
            inner = 0.5 * (inverse - np.outer(alpha, alpha))
            slopes = [c * np.vdot(inner, linear), 0.0, 0.0, noise * np.trace(inner)]
            if smooth:
                slopes[1:3] = np.vdot(inner, kernel), np.vdot(inner, kernel * squares) / length**2
            return float(0.5 * z @ alpha + half_log_determinant), np.array(slopes)[free]

        bounds = np.log([*_BOUNDS.values()])[free]
        found = minimize(loss, start[free], jac=True, method="L-BFGS-B", bounds=bounds)
        hyper = np.exp(np.where(free, 0.0, start))
        hyper[free] = np.exp(found.x)
        hyper[1] *= smooth
        return cls(f, z, hyper)

    def _kernel(self, f: Array) -> Array:
        """Covariances (N, n) of outputs at features (N, F) with those of the rows, without noise."""
        c, v, length, _ = self.hyper
        smooth = v * np.exp(-0.5 * cdist(f, self.f, "sqeuclidean") / length**2)
        return CONSTANT + c / self.f.shape[1] * f @ self.f.T + smooth

    @cached_property
    def _solved(self) -> tuple[Array, Array]:
        """The inverse of the covariance of the rows, noise included, and its product with z."""
        inverse, _ = _inverse(self._kernel(self.f), self.hyper[3])
        return inverse, inverse @ self.z

    def predict(self, f: Array) -> tuple[Array, Array]:
        """Returns mean and standard deviation, noise included, of the output at f (N, F), shape (N,) each."""
        inverse, alpha = self._solved
        k = self._kernel(f)
        c, v, _, noise = self.hyper
        own = CONSTANT + c / f.shape[1] * (f**2).sum(axis=1) + v + noise
        variance = own - np.einsum("ij,jk,ik->i", k, inverse, k, optimize=True)
        return k @ alpha, np.sqrt(np.maximum(variance, noise))

    def left_out(self) -> tuple[Array, Array]:
        """Returns errors of rows left out, in standard deviations, and these deviations, shape (n,) each."""
        inverse, alpha = self._solved
        root = np.sqrt(np.diag(inverse))
        return alpha / root, 1 / root


@dataclass(frozen=True, eq=False)
class Scale:
    """How wide errors are where, relative to their mean.

    Attributes:
        f: Features, shape (n, F).
        errors: Of the rows, in standard deviations, shape (n, D).
        tau: How much the scale varies; 0 for not at all.
    """

    f: Array
    errors: Array
    tau: float

    @cached_property
    def _excess(self) -> Array:
        """Logarithms (n, D) of squared errors, centred."""
        squares = self.errors**2
        g = np.log(np.maximum(squares / squares.mean(axis=0), 1e-4))
        return g - g.mean(axis=0)

    def _kernel(self, f: Array) -> Array:
        return self.tau * np.exp(-0.5 * cdist(f, self.f, "sqeuclidean") / self.f.shape[1])

    @cached_property
    def _inverse(self) -> Array:
        return _inverse(self._kernel(self.f), _LOG_CHI2)[0]

    def at(self, f: Array) -> Array:
        """Returns the scale at features (N, F), shape (N, D)."""
        smooth = self._kernel(np.clip(f, -WIDEST, WIDEST)) @ self._inverse @ self._excess
        return np.exp(0.5 * np.clip(smooth, -3, 3))

    def left_out(self) -> Array:
        """Returns the scale at each row that the others tell, shape (n, D)."""
        smoother = np.eye(len(self.f)) - _LOG_CHI2 * self._inverse
        own = np.diag(smoother)[:, None]
        smooth = (smoother @ self._excess - own * self._excess) / (1 - own)
        return np.exp(0.5 * np.clip(smooth, -3, 3))


def student_scatter(errors: Array, nu: float) -> Array:
    """Returns the scale matrix C (D, D) of t_nu(0, C) that is likeliest for errors (n, D)."""
    n, d = errors.shape
    scatter = errors.T @ errors / n
    for _ in range(EM_ROUNDS):
        squares = (errors * np.linalg.solve(scatter, errors.T).T).sum(axis=1)
        scatter = (errors * ((nu + d) / (nu + squares))[:, None]).T @ errors / n
    return scatter


def log_student(residuals: Array, factors: Array, nu: Array | float) -> Array:
    """Returns log densities (N, S) of residuals (N, S, D) under t_nu(0, L L^T), factors L (N, D, D)."""
    d = factors.shape[-1]
    white = np.linalg.solve(factors, residuals.swapaxes(1, 2))
    log_diagonal = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)[:, None]
    constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - d / 2 * np.log(nu * np.pi)
    return constant - log_diagonal - (nu + d) / 2 * np.log1p((white**2).sum(axis=1) / nu)


@dataclass(frozen=True, eq=False)
class HeteroscedasticRegression:
    """D outputs given features, as a Student t for each row.

    Attributes:
        processes: Of each output.
        scale: How wide errors are where.
        factor: Lower triangular, of the scale matrix C of the errors, shape (D, D).
        nu: Degrees of freedom.
    """

    processes: tuple[Process, ...]
    scale: Scale
    factor: Array
    nu: float

    @classmethod
    def fit(cls, f: Array, z: Array, smooth: bool) -> HeteroscedasticRegression:
        """Returns the regression of z (n, D) on standardised features f (n, F)."""
        processes = tuple(Process.fit(f, column, smooth) for column in z.T)
        errors = np.stack([process.left_out()[0] for process in processes], axis=1)
        scores = {
            (tau, nu): each for tau in TAUS for nu, each in zip(NUS, _scores(f, errors, tau), strict=True)
        }
        tau, nu = max(scores, key=lambda both: scores[both])
        scale = Scale(f, errors, tau)
        return cls(processes, scale, np.linalg.cholesky(student_scatter(errors / scale.left_out(), nu)), nu)

    def at(self, f: Array) -> tuple[Array, Array]:
        """Returns centres (N, D) and factors of the scale matrices (N, D, D) of outputs at f (N, F)."""
        centres, deviations = zip(*(process.predict(f) for process in self.processes), strict=True)
        scales = np.stack(deviations, axis=1) * self.scale.at(f)
        return np.stack(centres, axis=1), scales[:, :, None] * self.factor

    def entropy(self, f: Array | None = None) -> float:
        """Returns the mean entropy per output of answers at f (N, F); of its own rows, each left out."""
        found = [process.left_out() if f is None else process.predict(f) for process in self.processes]
        deviations = np.stack([each[1] for each in found], axis=1)
        scales = self.scale.left_out() if f is None else self.scale.at(f)
        spread = np.log(np.diag(self.factor)).mean()
        own = multivariate_t(shape=np.eye(len(self.factor)), df=self.nu).entropy() / len(self.factor)
        return float(np.log(deviations * scales).mean() + spread + own)

    def log_score(self, f: Array, z: Array) -> Array:
        """Returns log densities (N,) of z (N, D) at features (N, F)."""
        centres, factors = self.at(f)
        return log_student((z - centres)[:, None], factors, self.nu)[:, 0]

    def arrays(self) -> dict[str, Array]:
        """Returns its numbers by name."""
        return {
            "f": self.scale.f,
            "z": np.stack([process.z for process in self.processes], axis=1),
            "hyper": np.stack([process.hyper for process in self.processes]),
            "factor": self.factor,
            "errors": np.array([self.scale.tau, self.nu]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> HeteroscedasticRegression:
        """Returns the regression that `arrays` came from."""
        f, (tau, nu) = arrays["f"], map(float, arrays["errors"])
        processes = tuple(map(Process, [f] * len(arrays["hyper"]), arrays["z"].T, arrays["hyper"]))
        errors = np.stack([process.left_out()[0] for process in processes], axis=1)
        return cls(processes, Scale(f, errors, tau), arrays["factor"], nu)


def _scores(f: Array, errors: Array, tau: float) -> Array:
    """The log scores of errors (n, D) for all nu, each fifth by a scale and a scale matrix of the others."""
    total = np.zeros(len(NUS))
    for learn, held in folds(len(f)):
        scale = Scale(f[learn], errors[learn], tau)
        relative, there = errors[learn] / scale.left_out(), scale.at(f[held])
        for i, nu in enumerate(NUS):
            factors = there[:, :, None] * np.linalg.cholesky(student_scatter(relative, nu))
            total[i] += log_student(errors[held][:, None], factors, nu).sum()
    return total
