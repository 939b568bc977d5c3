r"""Regression of labelled real parameters on what a posterior believes of the data, right or wrong.

Features of an observation y are medians and log standard deviations of draws of the wrapped posterior given
y, in the space z where parameters are unbounded and standardised by the prior, of the same noise for all y,

.. math:: f(y) = [\mathrm{median}_j, \; \log(\mathrm{sd}_j + 10^{-3})]_{j = 1..D} \quad \text{in } [-8, 8] ,

standardised; or y itself, standardised and whitened by its principal components (at most a quarter of the
pairs), where the regression has no smooth part. What `heteroscedastic` learns of z given f(y) is the answer:
a Student t in z. Five fits, each without a fifth of the pairs, say by the log score of that fifth which
features are better. Their mixture answers where pairs are few, or where one fit to all pairs claims to be
narrower than they are: such a fit knows less than it says.

A summary of the encoder leaves the range of its training for real y; medians and widths do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from veridical import seeds
from veridical.errors import ArtifactError, require_shape
from veridical.estimators.apart import FOLDS, folds
from veridical.estimators.base import Arrays, Estimator, Material, Rows, TaskInfo
from veridical.networks.transforms import ParameterTransform
from veridical.remedies import few_pairs
from veridical.remedies.heteroscedastic import VARIANTS, HeteroscedasticRegression, log_student
from veridical.remedies.moments_settings import MomentsSettings
from veridical.tasks.base import Array
from veridical.training import devices, session

NARROWER = 0.1  # nats per parameter of entropy by which a fit to all pairs may be below those to four fifths
PRIOR_DRAWS = 20_000
BELIEFS, DATA = "beliefs", "data"


@dataclass(frozen=True, eq=False)
class Member:
    """A regression and the linear map to its features.

    Attributes:
        mean: Subtracted from what features are made of, shape (R,).
        matrix: Multiplies it then, shape (R, F).
        regression: Of z on the features.
    """

    mean: Array
    matrix: Array
    regression: HeteroscedasticRegression

    @classmethod
    def fit(cls, raw: Array, z: Array, kind: str) -> Member:
        """Returns the regression of z (n, D) on beliefs or data, raw (n, R)."""
        mean, scale = raw.mean(axis=0), raw.std(axis=0)
        matrix = np.diag(1 / np.where(scale > 0, scale, 1.0))
        if kind == DATA:
            _, s, vt = np.linalg.svd((raw - mean) @ matrix, full_matrices=False)
            kept = max(1, min(len(raw) // 4, int((s > 1e-6 * s[0]).sum())))
            matrix = matrix @ (vt[:kept].T * np.sqrt(len(raw)) / s[:kept])
        regression = HeteroscedasticRegression.fit((raw - mean) @ matrix, z, smooth=kind == BELIEFS)
        return cls(mean, matrix, regression)

    def features(self, raw: Array) -> Array:
        """Returns features (N, F) of beliefs or data, raw (N, R)."""
        return (raw - self.mean) @ self.matrix

    def log_score(self, raw: Array, z: Array) -> Array:
        """Returns log densities (N,) of z (N, D) given raw (N, R)."""
        return self.regression.log_score(self.features(raw), z)

    def arrays(self) -> dict[str, Array]:
        """Returns its numbers by name."""
        return {"mean": self.mean, "matrix": self.matrix, **self.regression.arrays()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> Member:
        """Returns the member that `arrays` came from."""
        return cls(arrays["mean"], arrays["matrix"], HeteroscedasticRegression.from_arrays(arrays))


@dataclass(eq=False)
class Moments(Estimator):
    """A Student t in z, or a mixture of them, given beliefs of the parent or the data.

    Attributes:
        parameters: The transform between theta and z.
        kind: What features are made of, `beliefs` or `data`.
        members: The fits, each without a fifth of the pairs.
        refit: The fit to all pairs.
        scores: Mean log scores in z of pairs left out, by what features are made of.
        seed: Of the draws that beliefs are taken from.
        answering: Which of the fits answer, as an equal mixture.
        parent: The method whose beliefs are features.
        beside: Others whose beliefs are features, too.
    """

    type = "moments"
    settings: MomentsSettings
    task: TaskInfo
    parameters: ParameterTransform
    kind: str
    members: Sequence[Member]
    refit: Member
    scores: dict[str, float]
    seed: int
    answering: Sequence[Member]
    parent: Estimator
    beside: Sequence[Estimator] = ()

    @classmethod
    def fit(
        cls, settings: MomentsSettings, task: TaskInfo, material: Material, run: session.Session
    ) -> tuple[Moments, None]:
        """Returns the regression; see `Estimator.fit`."""
        parent: Estimator = material.require("parent", settings.type)
        pairs = few_pairs.enough(material, settings.type, task)
        seed = seeds.integer(run.root, "remedy", *run.path, "moments")
        rng = seeds.generator(run.root, "remedy", *run.path, "prior")
        known = pairs.theta if material.prior is None else material.prior.sample(rng, PRIOR_DRAWS)
        parameters = ParameterTransform.fit(known, task.bounds, task.support)
        parameters.require_inside(pairs.theta)
        z, kinds = parameters.forward(pairs.theta)[0], (BELIEFS, DATA)
        with devices.cpu_threads(run.threads or settings.threads):
            candidates: dict[str, tuple[Array, list[Member]]] = {}
            for kind in kinds if settings.regress_on == "best" else (settings.regress_on,):
                raw = _apart(kind, (parent, *material.beside), parameters, pairs, settings.draws, seed)
                candidates[kind] = raw, [Member.fit(raw[learn], z[learn], kind) for learn, _ in folds(len(z))]
            scores = {kind: _score(*found, z) for kind, found in candidates.items()}
            kind = max(scores, key=lambda each: scores[each])
            raw, members = candidates[kind]
            refit = Member.fit(raw, z, kind)
            few = len(raw) < settings.refit
            answering = members if few or _narrower(refit, members, raw) else [refit]
        numbers = parameters, kind, members, refit, scores, seed, answering
        return cls(settings, task, *numbers, parent, material.beside), None

    @property
    def bagged(self) -> bool:
        """Whether it answers with the mixture of its fits to four fifths of the pairs."""
        return len(self.answering) > 1

    def apart(self, pairs: Rows) -> list[tuple[Array, Estimator]]:
        """Returns each fifth of the pairs that it has learned from, with the fit without it.

        Raises:
            TrainingError: If these are other pairs.
        """
        z = self.refit.regression.arrays()["z"]
        few_pairs.require_same(self.type, z, self.parameters.forward(pairs.theta)[0])
        below = [one.apart(pairs) for one in (self.parent, *self.beside)]
        found: list[tuple[Array, Estimator]] = []
        for member, (_, held) in zip(self.members, folds(len(z)), strict=True):
            rows = np.flatnonzero(held)
            parent, *beside = [_without(parts, rows) for parts in below]
            found.append((rows, replace(self, answering=[member], parent=parent, beside=beside)))
        return found

    def _moments(self, x: Array) -> list[tuple[Array, Array]]:
        """Centres (N, D) and factors (N, D, D) of each of the fits that answer, given x."""
        require_shape("x", x, None, *self.task.x_shape)
        raw = _raw(self.kind, (self.parent, *self.beside), self.parameters, x, self.settings.draws, self.seed)
        return [member.regression.at(member.features(raw)) for member in self.answering]

    def _log_mixture(self, z: Array, moments: Sequence[tuple[Array, Array]]) -> Array:
        """Log densities (N, S) of z (N, S, D)."""
        found = [
            log_student(z - centres[:, None], factors, member.regression.nu)
            for member, (centres, factors) in zip(self.answering, moments, strict=True)
        ]
        return np.asarray(logsumexp(found, axis=0)) - np.log(len(found))

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Returns n posterior draws (n, N, D) for each x (N, *x_shape) and their log densities (n, N)."""
        moments, d = self._moments(x), len(self.parameters.mean)
        centres, factors = (np.stack(parts) for parts in zip(*moments, strict=True))
        nus = np.array([member.regression.nu for member in self.answering])
        z: Array = np.empty((len(x), n, d))
        for i in range(len(x)):
            picked = rng.integers(len(nus), size=n)
            noise = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(nus[picked]) / nus[picked])[:, None]
            z[i] = centres[picked, i] + np.einsum("njk,nk->nj", factors[picked, i], noise)
        theta = self.parameters.inverse(z)
        again, log_slope = self.parameters.forward(theta)
        return theta.swapaxes(0, 1), (self._log_mixture(again, moments) + log_slope).T

    def log_prob(self, theta: Array, x: Array) -> Array:
        """Returns log densities (..., N) of theta (..., N, D) given x (N, *x_shape); -inf out of bounds."""
        theta = np.asarray(theta, float)
        require_shape("theta", theta, *[None] * (theta.ndim - 2), len(x), len(self.task.parameters))
        z, log_slope = self.parameters.forward(theta)
        rows = z.reshape(-1, len(x), z.shape[-1]).swapaxes(0, 1)
        return self._log_mixture(rows, self._moments(x)).T.reshape(log_slope.shape) + log_slope

    def transforms(self) -> dict[str, Any]:
        """Returns what features are made of, how they were chosen, and what answers."""
        fitted = [member.regression for member in self.answering]
        return {
            "x": [f"{self.kind} as features"],
            "parameters": dict(zip(self.task.parameters, self.parameters.kinds, strict=True)),
            "log_scores_apart": self.scores,
            "variants": len(self.scores) * VARIANTS,
            "answer": f"mixture of {FOLDS} fits, each without a fifth" if self.bagged else "fit to all pairs",
            "tau": [each.scale.tau for each in fitted],
            "nu": [each.nu for each in fitted],
        }

    def arrays(self) -> dict[str, Array]:
        """Returns the numbers of all fits by name, the transform of theta, scores, and the seed."""
        fits = {f"fold{k}": member for k, member in enumerate(self.members)} | {"all": self.refit}
        numbers = {f"{name}.{key}": a for name, fit in fits.items() for key, a in fit.arrays().items()}
        scores = {f"score.{kind}": np.array(score) for kind, score in self.scores.items()}
        about = {"bagged": np.array(self.bagged), "seed": np.array(self.seed)}
        return {**self.parameters.arrays(), **about, **scores, **numbers}

    @classmethod
    def from_arrays(
        cls,
        settings: MomentsSettings,
        task: TaskInfo,
        arrays: Arrays,
        parent: Estimator | None = None,
        beside: Sequence[Estimator] = (),
    ) -> Moments:
        """Returns the estimator that `arrays` came from; see `Estimator.from_arrays`.

        `beside` are the other methods whose beliefs are features.
        """
        if parent is None or len(beside) != len(settings.beside):
            raise ArtifactError(f"remedy {cls.type}: its parent or one of those beside it is missing.")
        names = [*(f"fold{k}" for k in range(FOLDS)), "all"]
        groups: dict[str, dict[str, Array]] = {name: {} for name in names}
        for name, array in arrays.items():
            group, _, key = name.partition(".")
            groups.get(group, {})[key] = array
        scores = {k: float(arrays[f"score.{k}"]) for k in (BELIEFS, DATA) if f"score.{k}" in arrays}
        try:
            *members, refit = map(Member.from_arrays, groups.values())
            parameters = ParameterTransform.from_arrays(task.bounds, arrays, task.support)
            answering = members if arrays["bagged"] else [refit]
            seed = int(arrays["seed"])
        except KeyError as error:
            raise ArtifactError(f"remedy {cls.type}: the array {error} is missing.") from error
        kind = max(scores, key=lambda each: scores[each])
        numbers = parameters, kind, members, refit, scores, seed, answering
        return cls(settings, task, *numbers, parent, beside)


def _without(parts: Sequence[tuple[Array, Estimator]], rows: Array) -> Estimator:
    """What answers all of these rows and has learned from none."""
    return next(method for own, method in parts if np.isin(rows, own).all())


def _apart(
    kind: str,
    parents: Sequence[Estimator],
    parameters: ParameterTransform,
    pairs: Rows,
    draws: int,
    seed: int,
) -> Array:
    """What features of labelled pairs are made of, (n, R), by what has not learned from them."""
    found = []
    for parent in parents if kind == BELIEFS else parents[:1]:
        parts = parent.apart(pairs)
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        each = [_raw(kind, (method,), parameters, pairs.x[rows], draws, seed) for rows, method in parts]
        found.append(np.concatenate(each)[order])
    return np.concatenate(found, axis=1)


def _score(raw: Array, members: Sequence[Member], z: Array) -> float:
    """The mean log density of z (n, D), each row by the member that has not seen it, given raw (n, R)."""
    parts = zip(members, folds(len(z)), strict=True)
    return float(np.concatenate([one.log_score(raw[held], z[held]) for one, (_, held) in parts]).mean())


def _narrower(refit: Member, members: Sequence[Member], raw: Array) -> bool:
    """Whether the fit to all pairs claims to know much more of a pair left out than the others do."""
    parts = zip(members, folds(len(raw)), strict=True)
    others = [one.regression.entropy(one.features(raw[held])) for one, (_, held) in parts]
    return bool(refit.regression.entropy() < np.mean(others) - NARROWER)


def _raw(
    kind: str,
    parents: Sequence[Estimator],
    parameters: ParameterTransform,
    x: Array,
    draws: int,
    seed: int,
) -> Array:
    """What features of x (N, *x_shape) are made of, (N, R): data, or medians and log widths of beliefs."""
    if kind == DATA:
        return np.asarray(x, float).reshape(len(x), -1)
    drawn = [parameters.forward(one.sample_alike(x, draws, seed))[0] for one in parents]
    raw = [part for z in drawn for part in (np.median(z, axis=0), np.log(z.std(axis=0) + 1e-3))]
    return np.clip(np.concatenate(raw, axis=1), -8, 8)
