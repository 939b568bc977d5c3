"""Scores in the loss of a ratio: closed forms, what weighs them, planted faults, their way from the bank."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tests.estimators.small import same
from tests.study.test_sequential import make
from veridical import artifacts, methods, seeds
from veridical.bank.filling import ShardRows
from veridical.coordinates import Run
from veridical.errors import SettingError, ShapeError, TrainingError
from veridical.estimators import scored
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.estimators.nre import NRE
from veridical.estimators.nre_settings import NRESettings
from veridical.estimators.ratio_network import RatioNetwork
from veridical.estimators.scored import Scored, in_z, scores_of
from veridical.networks.transforms import ParameterTransform
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, train
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate
from veridical.tasks.gaussian_field import GaussianField
from veridical.tasks.joint import Dirichlet, Joint
from veridical.tasks.priors import Normal, Product, Uniform
from veridical.training import SCORE_WEIGHTS, score_weights, session
from veridical.training.checkpoints import CheckpointFolder

Array = np.ndarray
NOISE = 0.3
TWO = TaskInfo("two", ("a", "b"), np.array([(-np.inf, np.inf), (0.0, 3.0)]), ("", ""), (2,))
PRIOR = Product({"a": Normal(0.0, 1.0), "b": Uniform(0.0, 3.0)})
RUN = session.Session(20261130, ("nre", 0))
QUICK = {"epochs": 6, "batch_size": 40, "rounds": 6}
SPEC: dict[str, Any] = {"type": "nre", "loss": "binary", "width": 16, "blocks": 1, "training": QUICK}


def rng(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "scored", *path)


def simulated(n: int) -> Rows:
    """x ~ N(theta, 0.3^2) of two parameters, one of them bounded, with scores."""
    theta = PRIOR.sample(rng("theta"), n)
    x = theta + NOISE * rng("x").standard_normal((n, 2))
    return Rows(theta, x.astype(np.float32), np.arange(n) % 10 == 9, (x - theta) / NOISE**2)


def with_score(rows: Rows, score: Array | None) -> Rows:
    return Rows(rows.theta, rows.x, rows.validation, score)


def fitted(rows: Rows, run: session.Session = RUN, **changes: Any) -> Any:
    return methods.fit({**SPEC, **changes}, TWO, Material(rows, prior=PRIOR), run)[0]


# ---- the term ------------------------------------------------------------------------------------


class Products(nn.Module):
    """Stands for a residual network: a + b z t + c z^2 for one parameter and one summary t."""

    def __init__(self, slope: float, curvature: float) -> None:
        super().__init__()
        self.leave = nn.Linear(2, 1)
        with torch.no_grad():
            self.leave.weight.copy_(torch.tensor([[slope, curvature]]))

    def told(self, context: torch.Tensor) -> torch.Tensor:
        return context

    def forward(self, z: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        return self.leave(torch.cat([z * told, z.square() + 0 * told], dim=-1)).squeeze(-1)

    def with_slopes(self, z: torch.Tensor, told: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        slope, curvature = self.leave.weight[0]
        return self(z, told.expand(z.shape)), slope * told[:first] + 2 * curvature * z[0, :first]


def learner(network: RatioNetwork, rms: Array, **section: Any) -> Scored:
    section = {"type": "fixed", **section}
    return Scored(network, NRESettings(scores=section).scores, rms).double()


def ratio_network(parameters: int = 1, **changes: Any) -> RatioNetwork:
    own = NRESettings(**{"loss": "binary", "width": 8, "blocks": 1, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return RatioNetwork(own, (1,) if parameters == 1 else (3,), parameters, False)


def one_parameter(slope: float, curvature: float) -> tuple[Scored, list[torch.Tensor]]:
    """x | z ~ N(z, 1), whose log ratio is z x - z^2 / 2 and what z does not change, and 50 pairs of it."""
    z = rng("z").standard_normal((50, 1))
    x = z + rng("noise").standard_normal((50, 1))
    network = ratio_network()
    with torch.random.fork_rng(devices=[]):
        network.ratio = Products(slope, curvature)  # type: ignore[assignment]
    score = x - z
    return learner(network, np.sqrt((score**2).mean(axis=0))), [*map(torch.from_numpy, (z, x, score))]


def test_the_term_and_its_gradient_vanish_at_the_truth() -> None:
    """Elsewhere it is the mean square of the error of the slope; with the sign of scores turned it is 4."""
    term, (z, x, score) = one_parameter(1.0, -0.5)
    _, errors = term.parts(z, x, score)
    weight = term.network.ratio.leave.weight
    (gradient,) = torch.autograd.grad(errors.sum(), weight)
    assert errors.item() < 1e-24 and gradient.abs().max() < 1e-12
    _, turned = term.parts(z, x, -score)
    assert turned.item() == pytest.approx(4.0, rel=1e-6)
    off, _ = one_parameter(1.2, -0.4)
    _, errors = off.parts(z, x, score)
    expected = ((0.2 * x + 0.2 * z).square().mean() / score.square().mean()).item()
    assert errors.item() == pytest.approx(expected, rel=1e-6)
    flat, _ = one_parameter(0.0, 0.0)
    assert flat.parts(z, x, score)[1].item() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(("summary", "share", "loss"), [("none", 1.0, "binary"), ("mlp", 0.3, "contrastive")])
def test_gradients_are_those_of_finite_differences(summary: str, share: float, loss: str) -> None:
    own = summary if summary == "none" else {"hidden": [4], "features": 2}
    network = ratio_network(2, summary=own, loss=loss, contrasts=3)
    term = learner(network, np.array([0.7, 2.0]), weight=1.5, share=share)
    z, x, score = (torch.from_numpy(rng("batch", d).standard_normal((20, d))) for d in (2, 3, 2))
    score = 2 * score

    def value() -> float:
        loss, errors = term.parts(z, x, score)
        return (loss + 1.5 * errors.mean()).item()

    plain = term.accumulate(z, x, score)
    assert plain.shape == (1,) and plain.item() == pytest.approx(network.loss(z, x).item())
    for part in term.trained():
        assert part.grad is not None
        flat, gradient = part.data.view(-1), part.grad.view(-1)
        for i in range(0, len(flat), max(1, len(flat) // 3)):
            before = float(flat[i])
            ends = []
            for step in (1e-5, -1e-5):
                flat[i] = before + step
                ends.append(value())
            flat[i] = before
            assert float(gradient[i]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-7)


def test_the_slope_goes_around_the_summary_network_and_is_that_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = ratio_network(2, summary={"hidden": [4], "features": 2}).double()
    z, x = (torch.from_numpy(rng("split", d).standard_normal((12, d))) for d in (2, 3))
    places = z.clone().requires_grad_()
    whole = network.log_likelihood(places, network.contexts(x))
    (slopes,) = torch.autograd.grad(whole.sum(), places)
    seen, forward = [], network.summary.forward
    monkeypatch.setattr(network.summary, "forward", lambda x: seen.append(len(x)) or forward(x))
    f, found = network.with_slopes(z, x, 12)
    assert seen == [12], "data pass the summary network once"
    torch.testing.assert_close(found, slopes)
    torch.testing.assert_close(network.with_slopes(z, x, 5)[1], slopes[:5])
    torch.testing.assert_close(f, network.rolled(z, x, network.rolls(z)))
    names = {type(part).__name__ for part in network.ratio.modules()}
    assert names <= {"ResidualNetwork", "ModuleList", "Linear"}, "its activations are the SiLUs of `forward`"
    (again,) = torch.autograd.grad(found.square().sum(), network.ratio.enter.weight)
    assert (again != 0).any(), "slopes are smooth: what they pass through learns from them"


# ---- coordinates ----------------------------------------------------------------------------------


def test_scores_in_z_are_slopes_of_the_likelihood_there() -> None:
    """Parameters without bounds, with one and with two, and on a simplex, by central differences."""
    shares = Joint({("p", "q", "r"): Dirichlet([2.0, 3.0, 4.0])})
    plain = np.array([(-np.inf, np.inf), (0.0, np.inf), (-1.0, 2.0)])
    free = TaskInfo("free", ("a", "b", "c"), plain, ("",) * 3, (3,))
    simplex = TaskInfo("s", ("p", "q", "r"), np.array([(0, 1.0)] * 3), ("",) * 3, (3,), (), False)
    simplex = TaskInfo(**{**vars(simplex), "constraints": shares.constraints})
    box = Product({"a": Normal(0.0, 1.0), "b": Uniform(0.0, 4.0), "c": Uniform(-1.0, 2.0)})
    for task, prior, k in ((free, box, 3), (simplex, shares, 2)):
        theta = prior.sample(rng("prior", k), 30)
        x = rng("data", k).uniform(0.2, 1, (30, 3))
        space = ParameterTransform.fit(theta, task.bounds, task.support)
        z, _ = space.forward(theta)

        def log_p(z: Array, space: ParameterTransform = space, x: Array = x) -> Array:
            return (-0.5 * ((x - space.inverse(z)) / NOISE) ** 2).sum(axis=1)

        found = in_z(space, theta, (x - theta) / NOISE**2)
        steps = 1e-4 * np.eye(k)
        expected = [(log_p(z + step) - log_p(z - step)) / 2e-4 for step in steps]
        np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-4, atol=1e-4)


def test_another_unit_of_a_parameter_changes_nothing() -> None:
    """Of theta 100 times as large scores are a hundredth; those in z stay, and so do losses and weights."""
    rows = simulated(100)
    units = np.array([100.0, 0.01])
    found = []
    for factor in (np.ones(2), units):
        space = ParameterTransform.fit(rows.theta * factor, TWO.bounds * factor[:, None])
        found.append(in_z(space, rows.theta * factor, rows.score / factor))
    np.testing.assert_allclose(*found, rtol=1e-9)
    network = ratio_network(2)
    z, x = (torch.from_numpy(rng("units", d).standard_normal((100, d))) for d in (2, 3))
    for scale in (1.0, 1e3):  # of slopes that are c times as steep, errors are in units of these
        (term,) = scored.scored([network], NRESettings(scores="fixed").scores, scale * found[0])
        with torch.no_grad():
            network.ratio.leave.weight.zero_()
        _, errors = term.double().parts(z, x, torch.from_numpy(scale * found[0]))
        np.testing.assert_allclose(errors.detach().numpy(), 1.0, rtol=1e-6)


# ---- weights --------------------------------------------------------------------------------------


def rule(section: Any, parameters: int = 2) -> score_weights.ScoreWeights:
    return score_weights.built(NRESettings(scores=section).scores, parameters)


def test_the_last_layer_is_pulled_as_hard_by_each_score() -> None:
    """By hand: gradients of norm 3 a step later 5, of the errors 2 and 0.1, at most 10, one of them flat."""
    last = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    found = rule({"every": 2}, 3)
    parts = torch.stack([2 * last[1], 0.1 * last[2], last[0] * 0.0])
    total = found(3 * last[0], parts, last)
    assert found.weights.tolist() == pytest.approx([1.5, 10.0, 0.0])
    assert total.item() == pytest.approx(3 + (1.5 * 2 + 10 * 0.1) / 3)
    found(5 * last[0], parts, last)
    assert found.weights.tolist() == pytest.approx([1.5, 10.0, 0.0]), "between two looks they stay"
    found(5 * last[0], parts, last)
    assert found.weights.tolist() == pytest.approx([0.9 * 1.5 + 0.1 * 2.5, 10.0, 0.0])
    assert int(found.steps) == 3 and last.grad is None
    assert set(found.state_dict()) == {"weights", "steps"}, "what it remembers is saved with the training"


def test_gradnorm_moves_weights_towards_what_falls_slowly() -> None:
    """The second error has stayed, the first fallen to a quarter: relative errors 0.4 and 1.6."""
    last = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    found = rule({"type": "gradnorm", "every": 1, "power": 1.0})
    found(last[0], torch.stack([last[1], last[2]]), last)
    assert found.weights.tolist() == pytest.approx([1.0, 1.0]), "pulls are as they should be"
    found(last[0], torch.stack([last[1] - 0.75, last[2]]), last)
    assert found.weights.tolist() == pytest.approx([0.9, 1.1])
    assert set(found.state_dict()) == {"weights", "steps", "first"}


def test_kendalls_weights_end_at_the_precisions_and_fixed_ones_where_they_begin() -> None:
    """Where the loss is least, exp(a) is twice the plain loss, and each of the errors."""
    found = rule("kendall")
    loss, errors = torch.tensor(0.8), torch.tensor([0.25, 2.0])
    with torch.no_grad():
        found.log_variances.copy_(torch.tensor([1.6, 0.25, 2.0]).log())
    total = found(loss, errors, torch.empty(0))
    total.backward()
    assert found.log_variances.grad.abs().max() < 1e-6
    assert total.item() == pytest.approx(1.5 + 0.5 * np.log(1.6 * 0.25 * 2.0))
    np.testing.assert_allclose(found.weights.tolist(), [1.6 / 0.25, 1.6 / 2.0], rtol=1e-6)
    fixed = rule({"type": "fixed", "weight": 0.3})
    assert fixed(loss, errors, torch.empty(0)).item() == pytest.approx(0.8 + 0.3 * 1.125)


# ---- training -------------------------------------------------------------------------------------


def squared_error(rows: Rows, replicate: int = 0, **changes: Any) -> float:
    """Mean square error of differences of log ratios, at parameters near those of fresh data."""
    run, training = session.Session(0, ("nre", replicate)), {"epochs": 100, "batch_size": 50}
    found = fitted(rows, run, width=32, training=training, **changes)
    theta = np.stack([rng("fresh").standard_normal(200), rng("fresh", 2).uniform(0.4, 2.6, 200)], axis=1)
    x = theta + NOISE * rng("fresh", 3).standard_normal((200, 2))
    near = np.clip(theta + NOISE * rng("fresh", 4).standard_normal((2, 200, 2)), [-9, 0.05], [9, 2.95])
    truth = (-0.5 * ((x - near) / NOISE) ** 2).sum(axis=2)
    given = found.log_likelihood(near, x)
    return float(np.mean(((given[0] - given[1]) - (truth[0] - truth[1])) ** 2))


def test_right_scores_help_and_wrong_ones_hurt() -> None:
    """Of 300 rows the squared error, mean of two trainings, was 0.7 of that without scores; with scores of
    other rows it was three times as large, with their sign turned five times.
    """
    rows = simulated(300)
    plain = np.mean([squared_error(rows, r) for r in range(2)])
    assert np.mean([squared_error(rows, r, scores="last_layer") for r in range(2)]) < 0.85 * plain
    section = {"type": "fixed", "weight": 1.0}
    assert squared_error(rows, scores={**section, "permuted": True}) > 1.3 * plain
    assert squared_error(with_score(rows, -rows.score), scores=section) > 2 * plain


@pytest.mark.parametrize("kind", SCORE_WEIGHTS)
def test_scores_train_and_are_saved(kind: str) -> None:
    found = fitted(simulated(200), scores={"type": kind})
    again = NRE.from_arrays(found.settings, TWO, found.arrays())
    assert same(found, again) and found.account() == again.account()
    assert len(found.account()["scores_missed"]) == 2 and min(found.account()["scores_missed"]) > 0
    assert not [name for name in found.arrays() if "rule" in name], "weights of the loss are not the method's"


def test_scores_that_are_not_asked_for_change_nothing() -> None:
    rows = simulated(200)
    plain = fitted(rows)
    assert same(plain, fitted(with_score(rows, None))) and "scores_missed" not in plain.account()
    assert not same(plain, fitted(rows, scores="fixed"))


def test_members_of_an_ensemble_learn_from_scores() -> None:
    rows = simulated(150)
    spec = {**SPEC, "type": "nre_ensemble", "members": 2, "scores": "last_layer"}
    found, result = methods.fit(spec, TWO, Material(rows, prior=PRIOR), RUN)
    assert {entry["member"] for entry in result.rounds} == {0, 1} and len(found.missed) == 2
    alone = ratio_member(rows)
    theta, x = rows.theta[:5], rows.x[:5]
    np.testing.assert_allclose(found.functions(theta, x)[:, 0, 1], alone.log_likelihood(theta, x), atol=1e-6)


def ratio_member(rows: Rows) -> Any:
    """The first member by itself: weights of the ensemble's path, batches of its own."""
    spec = {**SPEC, "type": "nre_ensemble", "members": 1, "scores": "last_layer"}
    return methods.fit(spec, TWO, Material(rows, prior=PRIOR), RUN)[0]


def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of the scores are part of the saved state: nine looks at gradients, four before the end."""
    rows, scores = simulated(200), {"every": 3}
    undisturbed = fitted(rows, scores=scores)
    steps, accumulate = [], Scored.accumulate

    def fails(self: Scored, *batch: torch.Tensor) -> torch.Tensor:
        steps.append(self.rule.weights.tolist())
        if len(steps) == 14:
            raise InterruptedError
        return accumulate(self, *batch)

    with CheckpointFolder(tmp_path / "a", save_seconds=0.0) as folder:
        run = session.Session(RUN.root, RUN.path, folder=folder)
        with monkeypatch.context() as patched:
            patched.setattr(Scored, "accumulate", fails)
            with pytest.raises(InterruptedError):
                fitted(rows, run, scores=scores)
        saved = torch.load(folder.saved(), weights_only=True)["state_dict"]
        assert saved["network.rule.weights"].tolist() == steps[12] and saved["network.rule.steps"] == 12
        assert same(fitted(rows, run, scores=scores), undisturbed)


def test_scores_of_other_rows_are_a_matter_of_the_seed() -> None:
    rows, section = simulated(100), NRESettings(scores={"permuted": True}).scores
    space = ParameterTransform.fit(rows.theta, TWO.bounds)
    own = in_z(space, rows.theta, rows.score).astype(np.float32)
    found = scores_of(rows, space, section, "nre", RUN)
    np.testing.assert_array_equal(found, scores_of(rows, space, section, "nre", RUN))
    other = scores_of(rows, space, section, "nre", session.Session(RUN.root, ("nre", 1)))
    assert not np.array_equal(found, other)
    np.testing.assert_array_equal(found[rows.validation], own[rows.validation])
    learn = ~rows.validation
    np.testing.assert_array_equal(np.sort(found[learn], axis=0), np.sort(own[learn], axis=0))
    assert (found[learn] != own[learn]).all(axis=1).mean() > 0.9


# ---- from the bank --------------------------------------------------------------------------------


def shards(folder: Path, scores: bool) -> list[Path]:
    """500 rows of the field, every hundredth of which fails."""
    task, found = Failing(scores), []
    for first in (0, 250):
        found.append(folder / f"rows-{first:09d}-{first + 249:09d}.zarr.zip")
        rows = ShardRows(root=1, fidelity="field", split="train", first=first, last=first + 249)
        simulate_shard(task, found[-1], rows, key="k")
    return found


class Failing(GaussianField):
    """The field, some of whose rows are not finite."""

    def __init__(self, scores: bool) -> None:
        super().__init__(side=4, scores=scores)

    def simulate(self, theta: Array, noise: dict[str, Array], fidelity: str) -> Any:
        found = super().simulate(theta, noise, fidelity)
        x = found["x"] if isinstance(found, dict) else found
        x[::100] = np.nan
        return found


def test_scores_come_from_the_bank_with_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a method is given belongs to its rows, some of which have failed and are left out."""
    given: list[Rows] = []

    def fit(spec: Any, info: Any, material: Material, session: Any) -> None:
        given.append(material.simulations)  # type: ignore[arg-type]
        raise InterruptedError

    where = {"checkpoints": tmp_path / "ckpt", "root": 3}
    spec, held = {"name": "gaussian_field", "settings": {"side": 4}}, shards(tmp_path, True)
    with monkeypatch.context() as patched:
        patched.setattr(methods, "fit", fit)
        for method in ({"type": "nre", "scores": "last_layer"}, {"type": "nre"}):
            with pytest.raises(InterruptedError):
                train(spec, method, Sources((held, 400)), tmp_path / "out", Run("nre", 400, 0), **where)
    rows, plain = given
    assert len(rows) == 400 - 4 - 1 and plain.score is None
    exact = GaussianField(side=4).score(rows.theta, rows.x)
    np.testing.assert_allclose(rows.score, exact, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(rows.at(rows.validation).score, rows.score[rows.validation])
    whole = {**SPEC, "scores": "last_layer", "training": {**QUICK, "epochs": 2}}
    train(spec, whole, Sources((held, 400)), tmp_path / "out", Run("nre", 400, 0), **where)
    found = artifacts.load_estimator(tmp_path / "out")
    assert len(artifacts.load_record(tmp_path / "out")["scores_missed"]) == 2 == len(found.missed)
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(TrainingError, match=r"rows-0.*holds .*theta.* alone. Have the task keep them"):
        sources = Sources((shards(bare, False), 400))
        train(spec, {"type": "nre", "scores": {}}, sources, tmp_path / "none", Run("nre", 400, 0), **where)


def test_what_does_not_go_with_scores_is_refused(tmp_path: Path) -> None:
    for wrong, why in (
        ({"independent": 0}, "one score as a whole"),
        ({"training": {"captured": True}}, "steps that set weights differ"),
        ({"type": "nre_ensemble", "stacked": True}, "trained one by one"),
        ({"scores": "lastlayer"}, "last_layer"),
        ({"scores": {"type": "fixed", "every": 3}}, "Extra inputs"),
    ):
        with pytest.raises(ValidationError, match=why):
            methods.typed(wrong.get("type", "nre"), {**SPEC, "scores": "fixed", **wrong})
    rows = simulated(50)
    with pytest.raises(TrainingError, match="which came without"):
        fitted(with_score(rows, None), scores="fixed")
    with pytest.raises(TrainingError, match="got others in 1 of 50"):
        fitted(with_score(rows, np.where(np.arange(50)[:, None] == 3, np.nan, rows.score)), scores="fixed")
    with pytest.raises(ShapeError, match="score"):
        fitted(with_score(rows, rows.score[:, :1]), scores="fixed")


def test_a_study_whose_task_keeps_no_scores_is_refused_before_any_job(tmp_path: Path) -> None:
    added = {"ratio": {"type": "nre", "scores": "last_layer"}}
    with pytest.raises(SettingError, match=r"estimators\.ratio\.scores: .*gaussian_linear keeps none; take"):
        validate(make(tmp_path, methods=added))
    base = {
        "study": "small",
        "seed": 1,
        "simulation": {"shard_rows": 500},
        "estimators": added,
        "budgets": [2000],
        "replicates": 1,
    }
    for scores in (False, True):
        task = {"name": "gaussian_field", "settings": {"side": 4, "scores": scores}}
        layout = Layout(settings.parse({**base, "task": task}))
        if scores:
            validate(layout)
            continue
        with pytest.raises(SettingError, match=r"set `scores: true` in task\.settings, or leave"):
            validate(layout)


def test_what_weighs_scores_is_in_the_digest_of_a_method() -> None:
    spec = methods.typed("nre", {"type": "nre", "scores": "gradnorm"}).model_dump(mode="json")
    assert "veridical.training.gradnorm" in methods.modules(spec)
    plain = methods.typed("nre", {"type": "nre"}).model_dump(mode="json")
    assert not {*methods.modules(plain)} & {"veridical.training.gradnorm", "veridical.training.last_layer"}
    assert SimpleNamespace(**spec).scores["permuted"] is False
