"""Terms of a posterior's loss: their closed forms, what they mend and what not, and what studies may ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import norm

from tests.estimators.small import BOX, NETWORKS, PRIOR, box_rows, same
from tests.study.test_sequential import make
from veridical import methods
from veridical.checks import mmd
from veridical.errors import SettingError, TrainingError
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.regularised import log_joint
from veridical.networks.transforms import ParameterTransform
from veridical.progress.jobs import jobs
from veridical.study.validation import validate
from veridical.tasks.priors import Normal, Product
from veridical.training import checkpoints, regularisers, session
from veridical.training.domain_adversarial import DomainAdversarial
from veridical.training.regulariser_settings import DomainAdversarialSettings, SelfConsistencySettings
from veridical.training.self_consistency import SelfConsistency, variances
from veridical.training.summary_mmd import inverse_multiquadratic, squared_mmd, squares

RUN = session.Session(20261130, ("regularised", 0))
SC, MMD = (
    {"type": "regularised", "unlabelled": "field", "regulariser": {"type": t}}
    for t in ("self_consistency", "mmd")
)
WIDE = np.array([(-np.inf, np.inf)])


class Likelihood:
    """Of x ~ N(theta, sd^2), beside a standard normal prior."""

    own_code: tuple[str, ...] = ()

    def __init__(self, sd: float = 1.0, dimension: int = 1) -> None:
        self.sd, self.prior = sd, Product({f"t{i}": Normal(0.0, 1.0) for i in range(dimension)})

    def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
        return norm.logpdf(x, theta, self.sd).sum(axis=1)


class Answer(torch.nn.Module):
    """Stands for a network: N(slope x, sd^2) of one parameter, its summary x itself."""

    features, draw_noise = 1, 1

    def __init__(self, slope: float, sd: float) -> None:
        super().__init__()
        self.slope, self.sd = (torch.nn.Parameter(torch.tensor(value)) for value in (slope, sd))
        self.summary, self.flow = torch.nn.Identity(), self

    def log_prob(self, theta: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(self.slope * context, self.sd).log_prob(theta)[:, 0]

    def push(self, noise: torch.Tensor, context: torch.Tensor, index: torch.Tensor, density: bool) -> Any:
        return self.slope * context[index] + self.sd * noise, None


@pytest.mark.parametrize(
    ("slope", "sd", "expected"), [(0.5, 0.5**0.5, 0.0), (0.25, 0.5**0.5, 8.0), (0.5, 1.0, 0.5)]
)
def test_self_consistency_is_zero_at_the_posterior_alone(
    slope: float, sd: float, expected: float, rng: np.random.Generator
) -> None:
    r"""Of x = 8, theta | x ~ N(4, 1/2): with error e of the mean the log ratio varies by :math:`e^2 / v`, and
    with sd 1 by that of :math:`u^2 (1 - 1/2)`, u standard normal, 1/2. From 4,000 draws of 5 observations.
    """
    x = torch.full((5, 1), 8.0)
    plain = ParameterTransform.plain(WIDE)
    about = regularisers.About(x, log_joint(Likelihood(), plain, x.numpy()))
    term = SelfConsistency(SelfConsistencySettings(draws=4000), about)
    network = Answer(slope, sd)
    found = term(network, torch.empty(0), rng)
    exact = {0.25: 2.0**2 * 2}.get(slope, expected)
    assert found.item() == pytest.approx(exact, rel=0.1, abs=1e-4)
    found.backward()
    gradient = network.slope.grad.item()
    assert gradient < -1 if slope < 0.5 else sd > 0.8 or abs(gradient) < 0.01, "towards the posterior"
    assert [term.weight(share) for share in (0.0, 0.2, 0.35, 0.5, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])


def test_bounds_enter_self_consistency_by_their_slope(rng: np.random.Generator) -> None:
    """The joint of z is that of theta and the slope; where the likelihood vanishes, a draw is left out."""
    bounded = ParameterTransform(np.array([(0.0, 1.0)]), np.array([0.3]), np.array([2.0]))
    found = log_joint(Likelihood(), bounded, np.array([[0.4]]))(np.array([[-0.5], [1.0]]), np.zeros(2, int))
    theta = bounded.inverse(np.array([[-0.5], [1.0]]))[:, 0]
    expected = norm.logpdf(theta) + norm.logpdf(0.4, theta) + np.log(theta * (1 - theta) * 2.0)
    np.testing.assert_allclose(found, expected)
    rows = torch.tensor([[1.0, -torch.inf, 3.0, 5.0], [2.0, torch.nan, torch.inf, -torch.inf]])
    assert variances(rows).tolist() == [4.0, 0.0]
    many = torch.from_numpy(rng.normal(size=(3, 50)))
    np.testing.assert_allclose(variances(many), many.var(dim=1))


def test_the_mmd_is_that_of_the_check_and_that_of_two_points() -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    a, b = rng.normal(size=(40, 3)), rng.normal(1, 1, size=(7, 3))
    found = squared_mmd(torch.from_numpy(a), torch.from_numpy(b), inverse_multiquadratic)
    k = [mmd.kernel_matrix(p, q, "inverse_multiquadratic").mean() for p, q in ((a, a), (b, b), (a, b))]
    assert found.item() == pytest.approx(k[0] + k[1] - 2 * k[2])
    one, two = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    assert squares(one, two).item() == 25
    assert squared_mmd(one, two, lambda d2: torch.exp(-d2 / 25)).item() == pytest.approx(2 - 2 / np.e)


def test_self_consistency_mends_extrapolation_and_no_wrong_likelihood(rng: np.random.Generator) -> None:
    """Theta ~ N(0, I_4), x ~ N(theta, I); real parameters are 4 prior sd off, where no simulation is.

    Fresh real data: the error of the mean, x / 2, at most 0.4 of that without them. With a likelihood of sd 2
    in place of 1 the answers are x / 5, for the posterior that is aimed at is that of the model assumed.
    """
    d, n = 4, 2000
    theta = rng.normal(size=(n, d))
    x = theta + rng.normal(size=theta.shape)
    real = rng.normal(4, 1, (64, d)) + rng.normal(size=(64, d))
    task = TaskInfo("normals", tuple(f"t{i}" for i in range(d)), WIDE.repeat(d, 0), ("",) * d, (d,))
    small = {"summary": {"type": "mlp", "hidden": [64, 64], "features": 8}, "base": "none"}
    training = {"max_steps": 300, "learning_rate": 5e-3, "batch_size": 128, "epochs": 60}
    small |= {"flow": {"type": "mixture", "components": 1}, "training": training}
    rows = Rows(theta, x, np.arange(n) % 10 == 9)

    def mean(spec: dict[str, Any], sd: float = 1.0) -> np.ndarray:
        own = Material(rows, unlabelled=real[:32], likelihood=Likelihood(sd, d))
        fitted, _ = methods.fit({**spec, **small}, task, own, RUN)
        return np.asarray(fitted.sample(real[32:], 400, np.random.Generator(np.random.PCG64(1))).mean(axis=0))

    plain, consistent, wrong = mean({"type": "npe"}), mean(SC), mean(SC, 2.0)
    error = {name: np.abs(m - real[32:] / 2).mean() for name, m in (("npe", plain), ("sc", consistent))}
    assert error["sc"] < 0.4 * error["npe"], error
    assert np.abs(wrong - real[32:] / 5).mean() < 0.5 * np.abs(wrong - real[32:] / 2).mean()


class Summarised(torch.nn.Module):
    """Stands for a network whose summary is `scale` x."""

    flow: Any = None

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def summary(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


def test_a_classifier_descends_what_the_summaries_ascend(rng: np.random.Generator) -> None:
    """Simulated x = -1 and real x = 1, logit w s with s = scale x: B = log(1 + exp(-w scale)).

    Both gradients are those of B by hand, that of the scale with the other sign, that of w with its own.
    """
    about = regularisers.About(torch.ones(3, 1), features=1)
    with session.seeded_initialisation(RUN):
        term = DomainAdversarial(DomainAdversarialSettings(hidden=[]), about)
    (layer,) = term.network
    with torch.no_grad():
        layer.weight.fill_(0.7)
        layer.bias.fill_(0.0)
    network = Summarised(2.0)
    found = term(network, network.summary(-torch.ones(4, 1)), rng)
    assert found.item() == pytest.approx(np.log(2) - np.log1p(np.exp(-1.4)), rel=1e-5)
    found.backward()
    slope = -1 / (1 + np.exp(1.4))  # of B in w scale
    assert layer.weight.grad.item() == pytest.approx(2.0 * slope, rel=1e-5), "descended"
    assert network.scale.grad.item() == pytest.approx(-0.7 * slope, rel=1e-5), "ascended"
    weights = [term.weight(share) for share in (0.0, 0.1, 1.0)]
    assert weights == pytest.approx([0.0, np.tanh(0.5), np.tanh(5.0)]) and term.keeps_last


def test_robust_statistics_leave_out_what_the_simulator_cannot_make(rng: np.random.Generator) -> None:
    """Two copies of theta with noise, the second 6 off in reality: half of that is a plain answer's error.

    With summaries that have to agree it is half of it, or less. A weight of ten thousand on their MMD leaves
    the prior.
    """
    n = 2000
    theta = rng.normal(size=(n, 1))
    simulated = np.repeat(theta, 2, 1) + 0.2 * rng.normal(size=(n, 2))
    truth = rng.normal(size=(400, 1))
    real = np.repeat(truth, 2, 1) + 0.2 * rng.normal(size=(400, 2)) + [0.0, 6.0]
    task = TaskInfo("copies", ("t",), WIDE, ("",), (2,))
    small = {"summary": {"type": "mlp", "hidden": [32], "features": 2}, "base": "none"}
    small |= {
        "flow": {"type": "mixture", "components": 2},
        "training": {"max_steps": 600, "epochs": 100, "batch_size": 200},
    }
    rows = Rows(theta, simulated, np.arange(n) % 10 == 9)

    def answers(spec: dict[str, Any]) -> np.ndarray:
        fitted, _ = methods.fit({**small, **spec}, task, Material(rows, unlabelled=real[:200]), RUN)
        return np.asarray(fitted.sample(real[200:], 400, np.random.Generator(np.random.PCG64(1)))[..., 0])

    def error(spec: dict[str, Any]) -> float:
        return float(np.abs(answers(spec).mean(axis=0) - truth[200:, 0]).mean())

    plain = error({"type": "npe"})
    assert plain > 2
    for kind in ("mmd", "domain_adversarial"):
        robust = error({**MMD, "regulariser": {"type": kind, "weight": 3.0}})
        assert robust < plain / 2, (kind, plain, robust)
    nothing = answers({**MMD, "regulariser": {"type": "mmd", "weight": 1e4}})
    assert nothing.std(axis=0).mean() > 0.8


def test_normal_summaries_come_from_the_term(rng: np.random.Generator) -> None:
    """Mean and covariance of the summaries are nearer to zero and one than without it."""
    spec = {"type": "regularised", "regulariser": {"type": "normal_summaries"}, **NETWORKS}
    own, plain = (
        methods.fit(
            {**s, "training": {"epochs": 60, "batch_size": 90}},
            BOX,
            Material(box_rows(2000), prior=PRIOR),
            RUN,
        )[0]
        for s in (spec, {"type": "npe", "base": "none", **NETWORKS})
    )
    off = [np.abs(m.cloud.mean).max() + np.abs(m.cloud.covariance - np.eye(3)).max() for m in (own, plain)]
    assert off[0] < off[1] / 2, off


def test_steps_have_random_numbers_of_their_own_whatever_came_before(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """A training that is interrupted after a third goes on with the bits of one that is not."""
    spec = {**SC, **NETWORKS, "training": {"epochs": 6, "batch_size": 60, "rounds": 6}}
    real = box_rows(10, 1.0).x

    class BoxLikelihood(Likelihood):
        def log_prob(self, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
            return -0.5 * ((theta - x[:2]) ** 2).sum(axis=1)

    likelihood = BoxLikelihood()
    likelihood.prior = PRIOR
    material = Material(box_rows(), prior=PRIOR, likelihood=likelihood, unlabelled=real)
    whole, result = methods.fit(spec, BOX, material, RUN)
    assert result.steps == 18 and "done" not in "".join(whole.arrays())
    with checkpoints.CheckpointFolder(tmp_path / "state", save_seconds=0) as folder:
        with pytest.raises(TrainingError, match="time ends"):
            methods.fit(spec, BOX, material, replace(RUN, folder=folder, deadline=1.0))
        again, result = methods.fit(spec, BOX, material, replace(RUN, folder=folder))
    assert result.resumed_from and same(whole, again)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"unlabelled": None},
            "unlabelled: with a regulariser of type 'self_consistency' it names the real data",
        ),
        ({"flow": "flow_matching"}, "flow: self_consistency differentiates densities"),
        ({**MMD, "likelihood": "nle"}, "likelihood: a regulariser of type 'mmd' asks none"),
        ({**MMD, "base": "regression"}, "base: mmd moves summaries, beside which a regression stays"),
        ({**MMD, "summary": "none"}, "summary: mmd moves summaries; take a network"),
        ({"regulariser": {"type": "normal_summaries"}}, "unlabelled: .* belongs to other types"),
        ({"training": {"captured": True}}, "training.captured: .* draws random numbers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        methods.typed("regularised", {**SC, **changes})
    assert methods.typed("regularised", MMD).base == "none"
    assert methods.typed("regularised", SC).base == "regression"


def test_a_study_brings_the_data_to_the_training(tmp_path: Path) -> None:
    """Observations as a file, `real` as shards of a split of its own; a learned likelihood comes first."""
    own = {"sc": SC, "learned": {**SC, "likelihood": "nle"}, "nle": {"type": "nle"}}
    layout = make(tmp_path, methods=own)
    validate(layout)
    runs = {run.method: run for run in layout.runs}
    assert layout.unlabelled(runs["sc"]) == "results/small/observe/field.nc"
    assert layout.unlabelled(runs["npe"]) is None
    rules = {job.log.split("/")[-2]: job.rule for job in jobs(layout) if job.rule in ("train", "fine_tune")}
    assert rules["sc"] == rules["npe"] == "train" and rules["learned"] == "fine_tune"
    assert layout.methods["sc"].needs_likelihood and not layout.methods["learned"].needs_likelihood
    with pytest.raises(SettingError, match=r"estimators\.sc\.unlabelled: expected one of .* got 'real'"):
        validate(make(tmp_path, methods={"sc": {**SC, "unlabelled": "real"}}))
    real = make(tmp_path, methods={"sc": {**SC, "unlabelled": "real", "unlabelled_rows": 300}})
    real = replace(
        real,
        study=real.study.model_copy(
            update={"task": real.study.task.model_copy(update={"settings": {"real_noise_sd": 2.0}})}
        ),
    )
    (run,) = (run for run in real.runs if run.method == "sc")
    assert ("real", "unlabelled-r0", 300) in real.parts(run) and real.source_rows(run)["unlabelled"] == 300
    assert real.unlabelled(run) is None and not real.calibrated("sc")
