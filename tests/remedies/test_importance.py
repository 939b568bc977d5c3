"""Importance correction: closed forms of normal models, planted faults, refusals, files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp, ndtr, ndtri

from tests.estimators.test_likelihoods import exact
from tests.remedies.shifted_task import LIKELIHOOD, PRIOR, SD, SHIFTED, ShiftedTask, rows, simulate
from veridical import artifacts, methods, seeds
from veridical.coordinates import Run
from veridical.errors import ArtifactError, Refused, TrainingError
from veridical.estimators.base import Estimator, Material, TaskInfo
from veridical.estimators.nle import NLE
from veridical.inference.likelihoods import Exact, Learned
from veridical.inference.weighted import Weighted, Wide, resampled
from veridical.networks.transforms import ParameterTransform
from veridical.remedies.importance import Importance
from veridical.remedies.importance_settings import CorrectionSettings
from veridical.stages.train import Sources, train
from veridical.tasks.base import Array
from veridical.tasks.priors import Normal, Product
from veridical.training.session import Session

FREE = np.array([(-np.inf, np.inf)])
TWO = np.tile([-np.inf, np.inf], (2, 1))


class Stated(Estimator):
    """An answer that is a distribution of scipy, made by `of` from x (*x_shape)."""

    type = "stated"

    def __init__(self, task: TaskInfo, of: Any) -> None:
        self.task, self.of = task, of

    @classmethod
    def fit(cls, settings: Any, task: TaskInfo, material: Material, run: Session) -> Any:
        raise NotImplementedError

    def sample_and_log_prob(self, x: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        draws = [self.of(one).rvs((n, len(self.task.parameters)), random_state=rng) for one in x]
        theta = np.stack(draws, axis=1)
        return theta, self.log_prob(theta, x)

    def log_prob(self, theta: Array, x: Array) -> Array:
        each = [self.of(one).logpdf(theta[..., i, :]).sum(axis=-1) for i, one in enumerate(x)]
        return np.stack(each, axis=-1)

    def arrays(self) -> dict[str, Array]:
        return {}

    @classmethod
    def from_arrays(cls, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class Normals:
    """theta ~ N(0, 3^2) each, x = theta + noise, or |theta| + noise, which has two modes in theta."""

    own_code = ()

    def __init__(self, folded: bool = False, noise: float = 0.5) -> None:
        self.folded, self.noise, self.prior, self.asked = folded, noise, self, 0

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        return 3 * rng.standard_normal((n, 2))

    def log_prob(self, theta: Array, x: Array | None = None) -> Array:
        if x is None:
            return stats.norm(0, 3).logpdf(theta).sum(axis=1)
        mean = np.abs(theta) if self.folded else theta
        return stats.norm(mean, self.noise).logpdf(x).sum(axis=1)

    def arrays(self) -> dict[str, Array]:
        return {}

    def evidence(self, x: Array) -> float:
        """Of one x where nothing is folded."""
        return float(stats.norm(0, np.hypot(3, self.noise)).logpdf(x).sum())


def corrected(of: Any, likelihood: Any, **settings: Any) -> Importance:
    info = TaskInfo("normals", ("a", "b"), TWO, ("", ""), (2,))
    chosen = CorrectionSettings(of="stated", **settings)
    return Importance(chosen, info, Stated(info, of), likelihood, seed=7)


@dataclass
class Cut:
    """The posterior of the small task, shifted by some of its standard deviations, cut to (0, 1)."""

    x: Array
    shift: float

    def __post_init__(self) -> None:
        self.sd = SD / np.sqrt(5)
        self.mean = float((self.x[0] + 2 * self.x[1]) / 5) + self.shift * self.sd
        self.low, high = ndtr((np.array([0, 1]) - self.mean) / self.sd)
        self.mass = high - self.low

    def rvs(self, shape: Any, random_state: Any) -> Array:
        drawn = self.mean + self.sd * ndtri(self.low + self.mass * random_state.random(shape))
        return np.clip(drawn, 1e-12, 1 - 1e-12)

    def logpdf(self, theta: Array) -> Array:
        log_p = -(((theta - self.mean) / self.sd) ** 2) / 2 - np.log(self.sd * np.sqrt(2 * np.pi) * self.mass)
        return np.where((theta > 0) & (theta < 1), log_p, -np.inf)


def of_task(shift: float, **settings: Any) -> Importance:
    chosen = CorrectionSettings(of="stated", **settings)
    parent = Stated(SHIFTED, lambda x: Cut(x, shift))
    return Importance(chosen, SHIFTED, parent, LIKELIHOOD, seed=7)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeds.generator(20261129, "test", "importance")


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.3, 0.8), (0.0, 0.6), (0.5, 2.0)])
def test_the_corrected_answer_is_the_posterior(shift: float, scale: float, rng: np.random.Generator) -> None:
    """Means within five errors of the draws that count, standard deviations likewise, and the evidence."""
    x, r = np.array([[1.0, -2.0]]), 9 / 9.25
    sd = 0.5 * np.sqrt(r)
    method = corrected(lambda one: stats.norm(r * one + shift * sd, scale * sd), Normals())
    draws, log_p = method.sample_and_log_prob(x, 4000, rng)
    counted = min(4000.0, float(method.standing(x).numbers["share"][0]) * 20_000)
    z = (draws[:, 0] - r * x) / sd
    assert (np.abs(z.mean(axis=0)) < 5 * np.sqrt(1 / counted + 1 / 4000)).all()
    assert (np.abs(z.std(axis=0) - 1) < 5 * np.sqrt(1 / counted + 1 / 4000)).all()
    exact = stats.norm(r * x, sd).logpdf(draws[:, 0]).sum(axis=1)
    np.testing.assert_allclose(log_p[:, 0], exact, atol=5 / np.sqrt(counted))
    assert np.ptp(log_p[:, 0] - exact) < 1e-9  # an error of the evidence alone
    np.testing.assert_allclose(method.log_prob(draws, x), log_p)
    assert len(np.unique(draws[:, 0, 0])) > 0.8 * 4000


@pytest.mark.parametrize(("found", "refuses"), [((-1, 1), False), ((1,), True)])
def test_a_mode_that_the_answer_lacks_is_seen_by_what_is_wider(found: Any, refuses: bool) -> None:
    """|theta| + noise: four modes; an answer that holds one of them puts no draw into the other three."""

    class Modes:
        def __init__(self, x: Array) -> None:
            self.x = x

        def rvs(self, shape: Any, random_state: Any) -> Array:
            return random_state.choice(found, shape) * self.x + 0.6 * random_state.standard_normal(shape)

        def logpdf(self, theta: Array) -> Array:
            each = [stats.norm(sign * self.x, 0.6).logpdf(theta) for sign in found]
            return logsumexp(each, axis=0) - np.log(len(found))

    x = np.array([[2.0, 3.0]])
    standing = corrected(Modes, Normals(folded=True)).standing(x)
    assert bool(standing.refused) == refuses
    if refuses:
        assert standing.numbers["k"][0] > 0.7 or standing.numbers["share"][0] < 0.01


def test_an_observation_is_refused_with_the_reason(rng: np.random.Generator) -> None:
    x = np.array([[0.0, 0.0], [1.0, 1.0]])
    off = corrected(lambda one: stats.norm(one * 9, 0.1), Normals(noise=0.05))
    standing = off.standing(x)
    assert list(standing.refused) == [1] and "tail index" in standing.refused[1]
    assert standing.answered(2).tolist() == [True, False]
    for ask in (lambda: off.sample(x, 100, rng), lambda: off.log_prob(np.zeros((1, 2, 2)), x)):
        with pytest.raises(Refused, match="is not answered"):
            ask()
    few = corrected(lambda one: stats.norm(one, 1.0), Normals(), least_share=0.5)
    assert "of the draws count" in few.standing(x).refused[0]

    class Nowhere(Normals):
        def log_prob(self, theta: Array, x: Array | None = None) -> Array:
            return super().log_prob(theta) if x is None else np.full(len(theta), -np.inf)

    assert "zero" in corrected(lambda one: stats.norm(one, 1.0), Nowhere()).standing(x).refused[0]


def test_the_observation_alone_decides_candidates_and_refusals(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 2))
    method = corrected(lambda one: stats.norm(one, 1.0), Normals())
    whole, alone = method.standing(x), method.standing(x[2:])
    assert whole.numbers["k"][2] == alone.numbers["k"][0]
    again = corrected(lambda one: stats.norm(one, 1.0), Normals())
    assert again.standing(x[[2]]).numbers["share"][0] == whole.numbers["share"][2]
    assert whole.numbers["share"][0] != whole.numbers["share"][1]  # each with noise of its own
    draws = [method.sample(x, 200, seeds.generator(1, "test", seed)) for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def test_more_candidates_come_where_too_few_count(rng: np.random.Generator) -> None:
    """Draws repeat little even where one candidate in twenty counts."""
    method = corrected(lambda one: stats.norm(one, 4.0), Normals(), draws=5000)
    x = np.zeros((1, 2))
    assert method.standing(x).numbers["share"][0] < 0.1
    draws = method.sample(x, 800, rng)[:, 0]
    assert len(np.unique(draws[:, 0])) > 0.9 * len(draws)


def test_a_tail_that_holds_hardly_any_weight_has_no_say() -> None:
    """At least half of n candidates count: no weight above sqrt(2 / n), here with a tail like no other."""
    log_w = np.zeros(4000)
    log_w[:60] = np.linspace(0.01, 0.05, 60)
    log_w[:6] = 2.0
    found = Weighted(np.zeros((4000, 1)), log_w, np.zeros(4000)).known
    assert found.k > 0.7 and found.share > 0.9 and not found.refusal()
    log_w[:6] = 8.0
    found = Weighted(np.zeros((4000, 1)), log_w, np.zeros(4000)).known
    assert found.share < 0.5 and "tail index" in found.refusal()


def test_systematic_resampling_is_unbiased_and_even(rng: np.random.Generator) -> None:
    weights = rng.random(50)
    weights /= weights.sum()
    counts = np.array([np.bincount(resampled(weights, 200, rng), minlength=50) for _ in range(400)])
    assert (np.abs(counts - 200 * weights) < 1 + 1e-9).all()
    assert (np.abs(counts.mean(axis=0) - 200 * weights) < 5 * 0.5 / np.sqrt(400)).all()


@pytest.mark.parametrize("bounds", [FREE, np.array([(0.0, np.inf)]), np.array([(0.0, 1.0)])])
def test_what_is_wider_is_a_density(bounds: Array, rng: np.random.Generator) -> None:
    transform = ParameterTransform.plain(bounds)
    wide = Wide.around(transform.inverse(0.4 * rng.standard_normal((2000, 1)) - 1), transform)
    z = np.linspace(-60, 60, 200_001)
    theta = transform.inverse(z[:, None])
    density = np.exp(wide.log_prob(theta) - transform.forward(theta)[1])
    inside = np.isfinite(density)
    assert np.trapezoid(np.where(inside, density, 0.0), z) == pytest.approx(1, abs=2e-3)
    draws = transform.forward(wide.sample(4000, rng))[0][:, 0]
    assert stats.kstest((draws - wide.mean[0]) / wide.factor[0, 0], stats.t(4).cdf).pvalue > 1e-4


def test_ranks_of_the_truth_are_uniform_where_the_correction_answers(rng: np.random.Generator) -> None:
    """500 data sets, of an answer so shifted that its own ranks are not; some are refused, by x alone."""
    theta = PRIOR.sample(rng, 500)
    x = simulate(theta, rng)
    method = of_task(shift=1.5, draws=1000)
    answered = method.standing(x).answered(500)
    assert 300 < answered.sum() < 500
    ranks = []
    for asked in (method, method.parent):
        draws = asked.sample(x[answered], 200, rng)
        ranks.append((draws[..., 0] < theta[answered, 0]).mean(axis=0))
    assert stats.kstest(ranks[0], "uniform").pvalue > 1e-3
    assert stats.kstest(ranks[1], "uniform").pvalue < 1e-10


def test_files_of_a_task_of_ones_own_run_only_where_that_is_allowed(tmp_path: Path) -> None:
    spec = {"type": "importance", "of": "prior"}
    prior, _ = methods.fit({"type": "prior"}, SHIFTED, Material(prior=PRIOR), Session(1, ("prior", 0)))
    artifacts.save_estimator(prior, tmp_path / "prior")
    material = Material(parent=prior, likelihood=LIKELIHOOD)
    method, _ = methods.fit(spec, SHIFTED, material, Session(1, ("importance", 0)))
    artifacts.save_estimator(method, tmp_path / "importance", parent=tmp_path / "prior")
    x = np.array([[0.5, 1.0]])
    loaded = artifacts.load_estimator(tmp_path / "importance")
    assert loaded.standing(x).numbers["k"] == method.standing(x).numbers["k"]
    draws = loaded.sample(x, 1000, seeds.generator(1, "test"))[:, 0, 0]
    assert draws.mean() == pytest.approx(0.5, abs=5 * SD / np.sqrt(5) / 20)
    with pytest.raises(ArtifactError, match=r"own_code=True"):
        artifacts.load_estimator(tmp_path / "importance", own_code=False)


def test_what_knows_no_density_is_not_corrected() -> None:
    class Mute(Stated):
        has_density = False  # type: ignore[assignment]

    material = Material(parent=Mute(SHIFTED, None), likelihood=LIKELIHOOD)
    with pytest.raises(TrainingError, match="densities"):
        Importance.fit(CorrectionSettings(of="mute"), SHIFTED, material, Session(1, ("importance", 0)))
    with pytest.raises(TrainingError, match="needs likelihood"):
        Importance.fit(
            CorrectionSettings(of="x"), SHIFTED, Material(parent=Stated(SHIFTED, None)), Session(1, ("i", 0))
        )


def test_a_likelihood_that_is_no_number_is_none() -> None:
    exact = Exact(LIKELIHOOD.spec)
    assert exact.own_code and isinstance(exact.task, object)
    exact.task.log_likelihood = lambda theta, x: np.array([np.nan, 1.0])  # type: ignore[method-assign]
    assert exact.log_prob(np.zeros((2, 1)), np.zeros(2)).tolist() == [-np.inf, 1.0]
    assert ShiftedTask.name == SHIFTED.name


@pytest.mark.parametrize("noise", [0.5, 0.75])
def test_a_learned_likelihood_is_what_the_corrected_answer_follows(
    noise: float, rng: np.random.Generator
) -> None:
    """Right or wrong: posteriors are those of the noise that was learned, by Kolmogorov and Smirnov.

    A factor of each observation, which ratios lack, changes nothing but densities' constant.
    """

    def log_ratio(theta: Array, x: Array) -> Array:
        return -0.5 * (((x - theta) / noise) ** 2).sum(axis=1) + 7 * x[:, 0]

    prior = Product({"a": Normal(0.0, 3.0), "b": Normal(0.0, 3.0)})
    info = TaskInfo("normals", ("a", "b"), TWO, ("", ""), (2,))
    method = corrected(lambda one: stats.norm(one, 0.8), Learned(exact(info, prior, log_ratio)))
    x = np.array([[1.0, -2.0], [0.3, 4.0]])
    draws, log_p = method.sample_and_log_prob(x, 2000, rng)
    sd = {width: width * np.sqrt(9 / (9 + width**2)) for width in (0.5, noise)}
    z = {width: (draws - x * sd[width] ** 2 / width**2) / sd[width] for width in sd}
    counted = np.minimum(2000, 20_000 * method.standing(x).numbers["share"])
    assert (stats.kstest(z[noise], "norm").statistic < 2.2 / np.sqrt(counted)[:, None]).all()
    assert (stats.kstest(z[0.5], "norm").statistic > 0.08).all() == (noise != 0.5)
    expected = stats.norm.logpdf(z[noise]).sum(axis=2) - 2 * np.log(sd[noise])
    assert np.abs(log_p - expected).max() < 0.05


def test_a_learned_likelihood_lies_beside_the_correction(tmp_path: Path) -> None:
    """Trained in a stage, found again by its record, and refused where it is another one."""
    folders = {name: tmp_path / name for name in ("prior", "nle", "other", "corrected")}
    material = Material(rows(400, False, seeds.generator(1, "test")), prior=PRIOR)
    spec = {"type": "nle", "flow": {"type": "maf", "transforms": 1, "hidden": [8]}}
    for name in ("prior", "nle", "other"):
        own = {"type": "prior"} if name == "prior" else {**spec, "training": {"max_steps": 20}}
        made, result = methods.fit(own, SHIFTED, material, Session(1, (name, 0)))
        artifacts.save_estimator(made, folders[name], result, record={"method": name})
    sources = Sources(parent=folders["prior"], likelihood=folders["nle"])
    settings = {"type": "importance", "of": "prior", "likelihood": "nle"}
    run = Run("corrected", 0, 0)
    train(LIKELIHOOD.spec, settings, sources, folders["corrected"], run, root=1, checkpoints=tmp_path / "c")
    found = artifacts.load_estimator(folders["corrected"], own_code=False)
    assert isinstance(found, Importance) and isinstance(found.likelihood, Learned)
    x, theta = np.array([[0.5, 1.0]]), np.array([[[0.4]], [[0.6]]])
    learned = artifacts.load_estimator(folders["nle"])
    assert isinstance(learned, NLE)
    log_p, log_l = found.log_prob(theta, x), learned.log_likelihood(theta, x)
    np.testing.assert_allclose(np.diff(log_p[:, 0]), np.diff(log_l[:, 0]))  # the prior is even
    built = artifacts.load_record(folders["corrected"])
    assert built["weighed_by"] == artifacts.load_record(folders["nle"])["record_sha256"]
    shutil.rmtree(folders["nle"])
    shutil.copytree(folders["other"], folders["nle"])
    with pytest.raises(ArtifactError, match="not the method"):
        artifacts.load_estimator(folders["corrected"])
