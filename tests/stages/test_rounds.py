"""Rounds: what each learns from, the same bits however simulations are cut, the posterior at the end."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.bank.small_tasks import spec as small_spec
from veridical import artifacts, bank, seeds, tasks
from veridical.bank.filling import ShardRows
from veridical.coordinates import Run
from veridical.errors import ArtifactError, BankError, DataError, TrainingError
from veridical.estimators import tsnpe
from veridical.inference.truncation import holds
from veridical.saved import observations
from veridical.saved.observations import Observations
from veridical.stages.rounds import Place, gather, propose, simulate_proposed, train_round
from veridical.stages.simulate import simulate_shard
from veridical.stages.train import Sources, train

NPE: dict[str, Any] = {
    "type": "npe",
    "summary": {"type": "none"},
    "flow": {"transforms": 1, "bins": 4, "hidden": [32]},
    "training": {"epochs": 12, "batch_size": 100, "learning_rate": 0.02},
}
SHORT: dict[str, Any] = {**NPE, "training": {"epochs": 3, "batch_size": 100, "learning_rate": 0.01}}
ROWS = (1500, 1000, 1000)
GAUSSIAN = {"name": "gaussian_linear", "settings": {"dimension": 2, "noise_sd": 0.2}, "block_rows": 250}
RUN = Run("tsnpe", ROWS[0], 0)
X = np.array([[0.5, -0.4], [-1.0, 0.2]])


@dataclass
class Rounds:
    """A folder in which rounds run as the rules of the workflow call them."""

    folder: Path
    task: dict[str, Any]
    posterior: dict[str, Any]
    fidelity: str = "model"
    shard_rows: int = 500
    share: float = 0.0
    start: dict[str, Any] | None = None

    def part(self, number: int, observation: int = 0) -> Path:
        return self.folder / f"observation-{observation}" / f"round-{number}"

    def bank(self) -> list[Path]:
        path = self.folder / "train" / bank.shard_name(0, ROWS[0] - 1)
        if not path.exists():
            rows = ShardRows(root=3, fidelity=self.fidelity, split="train", first=0, last=ROWS[0] - 1)
            simulate_shard(self.task, path, rows, key="k", max_invalid=0.5)
        return [path]

    def data(self) -> Path:
        path = self.folder / "field.nc"
        task = tasks.build(self.task)
        x = X if task.x_shape == (2,) else np.array([[0.85, 1.05, 1.25]])
        observations.save(path, Observations(x, None, "field", "observed"), task)
        return path

    def shards(self, number: int, observation: int = 0) -> list[Path]:
        n, size = ROWS[number - 1], self.shard_rows
        ends = [(a, min(a + size, n) - 1) for a in range(0, n, size)]
        return [self.part(number, observation) / bank.shard_name(*end) for end in ends]

    def simulate(self, number: int, observation: int = 0) -> None:
        place = Place("field", observation, number)
        proposal = self.part(number, observation) / "proposal.npz"
        sizes = {"rows": ROWS[number - 1], "share": self.share}
        propose(self.task, self.part(number - 1, observation), proposal, place, RUN, root=3, **sizes)
        for path in self.shards(number, observation):
            first, last = (int(word) for word in path.name.split(".")[0].split("-")[1:])
            rows = {"root": 3, "fidelity": self.fidelity, "replicate": 0, "first": first, "last": last}
            simulate_proposed(self.task, proposal, path, place, rows, key="k", max_invalid=0.5)

    def train(self, number: int, observation: int = 0) -> None:
        later = range(2, number + 1)
        inputs: dict[str, Any] = {
            "data": self.data(),
            "bank": self.bank(),
            "proposals": [self.part(k, observation) / "proposal.npz" for k in later],
            "shards": [path for k in later for path in self.shards(k, observation)],
        }
        if number > 1:
            inputs["parent"] = self.part(number - 1, observation) / "estimator.json"
        spec = {"type": "tsnpe", "rounds": number, "rows": list(ROWS[:number]), "posterior": self.posterior}
        if self.start:
            spec["start"], inputs["start"] = "low", self.cheap()
        options = {"root": 3, "checkpoints": self.folder / "checkpoints", "code": "abc"}
        out, place = self.part(number, observation), Place("field", observation, number)
        train_round(
            self.task, spec, inputs, out, place, RUN, fidelity=self.fidelity, max_invalid=0.5, **options
        )

    def cheap(self) -> Path:
        """The record of a method whose weights rounds begin with."""
        out = self.folder / "low"
        sources = Sources((self.bank(), ROWS[0]), fidelity=self.fidelity, max_invalid=0.5)
        options = {"root": 3, "checkpoints": self.folder / "checkpoints"}
        assert self.start is not None
        train(self.task, self.start, sources, out, Run("low", ROWS[0], 0), **options)
        return out / "estimator.json"

    def run(self, last: int = 3, observation: int = 0) -> tsnpe.TSNPE:
        for number in range(1, last + 1):
            if number > 1:
                self.simulate(number, observation)
            self.train(number, observation)
        return self.load(last, observation)

    def load(self, number: int, observation: int = 0) -> Any:
        return artifacts.load_estimator(self.part(number, observation))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    rounds = Rounds(tmp_path_factory.mktemp("rounds"), GAUSSIAN, NPE)
    for observation in (0, 1):
        rounds.run(observation=observation)
    return rounds


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """Two rounds for the first observation, trained for a moment."""
    rounds = Rounds(tmp_path_factory.mktemp("short"), GAUSSIAN, SHORT)
    rounds.run(2)
    return rounds


def test_the_last_round_is_near_the_exact_posterior(finished: Rounds) -> None:
    """Within 0.2 sd and 20 %: networks of 1,500 rows differ by some 0.1; the prior's mean lies 1 to 5 off."""
    task, rng = tasks.build(GAUSSIAN), seeds.generator(1, "test", "rounds")
    for i, x in enumerate(X):
        draws = finished.load(3, i).sample(x[None], 4000, rng)[:, 0]
        shift = (draws.mean(axis=0) - task.posterior_shrinkage * x) / task.posterior_sd
        assert np.abs(shift).max() < 0.2, shift
        assert np.abs(draws.std(axis=0) / task.posterior_sd - 1).max() < 0.2


def test_a_round_learns_from_all_rows_in_the_regions_so_far(finished: Rounds) -> None:
    third = finished.load(3)
    first, second, last = third.chains[0]
    theta = bank.load(finished.bank())["theta"]
    parts = [theta, *(bank.load(finished.shards(k))["theta"] for k in (2, 3))]
    inside = [holds([first.region, second.region], part) for part in parts]
    assert inside[2].all() and not inside[1].all() and not inside[0].all()
    assert last.kept == sum(part.sum() for part in inside) and last.rows == sum(ROWS)
    assert (first.kept, first.leakage, first.acceptance) == (ROWS[0], 0, 1)
    assert first.inside == holds([first.region], theta).sum()
    told = third.account()["rounds"][0]
    assert told == artifacts.load_record(finished.part(3))["rounds"][0]
    assert told[0]["mass"] == pytest.approx(first.inside / ROWS[0]) and told[0]["shift"] is None
    shares = [first.inside / first.kept, second.inside / second.kept, last.inside / last.kept]
    assert told[2]["mass"] == pytest.approx(np.prod(shares))
    exact = stats.ncx2(2, (X[0] ** 2).sum()).cdf(0.2**2 * stats.chi2(2).ppf(1 - 1e-3))
    assert 0.5 * exact < told[2]["mass"] < 2 * exact
    assert told[2]["shift"] == pytest.approx(np.max(np.abs(last.mean - second.mean) / second.sd))


def test_an_answer_keeps_to_the_regions_and_is_normalised(finished: Rounds) -> None:
    """Densities integrate to one within three standard errors, at the observation and beside it."""
    whole, rng = finished.load(3), seeds.generator(2, "test", "rounds")
    third, prior = whole.around(X[0], tasks.build(GAUSSIAN).prior)
    for x in (X[:1], X[:1] + 0.1):
        draws, log_p = third.sample_and_log_prob(x, 2000, rng)
        assert np.isfinite(prior.log_prob(draws[:, 0])).all()
        np.testing.assert_allclose(third.log_prob(draws, x), log_p, atol=5e-3)
        theta = X[:1] + rng.uniform(-1.5, 1.5, (4000, 1, 2))
        density = np.exp(third.log_prob(theta, x)) * 9
        assert abs(density.mean() - 1) < 3 * density.std() / np.sqrt(4000) + 0.02
    first, *rest = whole.chains[0]
    nowhere = tsnpe.TSNPE(whole.settings, whole.task, [[replace(first, threshold=np.inf), *rest]])
    with pytest.raises(ArtifactError, match="not near the observation"):
        nowhere.sample(X[:1], 10, rng)


def test_the_first_round_is_the_same_for_all_observations(finished: Rounds) -> None:
    first, second = (finished.load(1, i).posterior.arrays() for i in (0, 1))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    draws = [m.sample(X[:1] + 1, 9, seeds.generator(1, "test")) for m in (finished.load(k) for k in (1, 3))]
    np.testing.assert_array_equal(*draws)  # which answers all data but the observation
    assert finished.load(1, 0).chains[0][0].threshold != finished.load(1, 1).chains[0][0].threshold


@pytest.mark.parametrize("shard_rows", [250, 750])
def test_other_shards_give_the_same_bits(short: Rounds, tmp_path: Path, shard_rows: int) -> None:
    other = Rounds(tmp_path, GAUSSIAN, SHORT, shard_rows=shard_rows).run(2).arrays()
    assert all(np.array_equal(other[name], array) for name, array in short.load(2).arrays().items())


def test_one_method_of_all_observations(finished: Rounds, tmp_path: Path) -> None:
    spec = {"type": "tsnpe", "rounds": 3, "rows": list(ROWS), "observations": 2, "posterior": NPE}
    costs = [finished.part(k, i) / "cost.json" for k in (1, 2, 3) for i in (0, 1)]
    gather(spec, [finished.part(3, i) for i in (0, 1)], costs, tmp_path, Run("tsnpe", sum(ROWS), 0), root=3)
    whole: Any = artifacts.load_estimator(tmp_path)
    for i, x in enumerate(X):
        one, other = (m.log_prob(X[None, i : i + 1], x[None]) for m in (whole, finished.load(3, i)))
        np.testing.assert_array_equal(one, other)
    record, cost = artifacts.load_record(tmp_path), json.loads((tmp_path / "cost.json").read_text())
    assert record["budget"] == sum(ROWS) and [len(chain) for chain in record["rounds"]] == [3, 3]
    assert cost["steps"] == sum(json.loads(path.read_text())["steps"] for path in costs)


def test_members_bound_a_region_by_their_mixture(tmp_path: Path) -> None:
    """To the error of single precision."""
    member = {name: value for name, value in SHORT.items() if name != "type"}
    rounds = Rounds(tmp_path, GAUSSIAN, {"type": "ensemble", "members": 2, "member": member})
    found = rounds.run(2)
    assert len(found.posterior.members) == 2  # type: ignore[union-attr]
    theta = found.sample(X[:1], 500, seeds.generator(3, "test", "rounds"))
    parts = [m.log_prob(theta, X[:1])[:, 0] for m in found.posterior.members]  # type: ignore[union-attr]
    mixture = logsumexp(parts, axis=0) - np.log(2)
    np.testing.assert_allclose(found.chains[0][-1].log_q(theta[:, 0]), mixture, atol=1e-4)


def test_rounds_begin_with_cheap_weights_and_acquire(tmp_path: Path) -> None:
    """Without steps worth the name, each round ends with the weights that it begins with; rows that go by
    disagreement bear weights, which count in the loss, the regions and the record.
    """
    member = {**SHORT, "training": {"epochs": 1, "batch_size": 100, "learning_rate": 1e-12}}
    del member["type"]
    posterior = {"type": "ensemble", "members": 2, "member": member}
    cheap = {**posterior, "member": {**member, "training": SHORT["training"]}}
    rounds = Rounds(tmp_path, GAUSSIAN, posterior, share=0.4, start=cheap)
    found, low = rounds.run(2), artifacts.load_estimator(tmp_path / "low")
    for one in found.chains[0]:
        own, theirs = one.posterior.arrays(), low.arrays()
        for name in own:
            if ".network." in name or "weight" in name:
                np.testing.assert_allclose(own[name], theirs[name], atol=1e-6)
    proposal = np.load(rounds.part(2) / "proposal.npz")
    weight = proposal["weight"]
    assert weight.shape == (ROWS[1],) and 1.2 < weight.max() <= 1 / 0.6 + 1e-9 and weight.min() < 0.9
    first, second = found.chains[0]
    score = first.disagreement(proposal["theta"])
    assert np.corrcoef(score, weight)[0, 1] < -0.3
    kept = holds([first.region], bank.load(rounds.bank())["theta"])
    every = np.concatenate([np.ones(kept.sum()), weight])
    theta = np.concatenate([bank.load(rounds.bank())["theta"][kept], proposal["theta"]])
    inside = holds([second.region], theta)
    assert second.kept == len(theta)
    assert second.inside == pytest.approx(len(theta) * every[inside].sum() / every.sum())
    record = artifacts.load_record(rounds.part(2))
    assert record["begun_with"] == artifacts.load_record(tmp_path / "low")["record_sha256"]
    assert (
        "weights" in record["digests"] and "weights" not in artifacts.load_record(rounds.part(1))["digests"]
    )


def test_rows_that_fail_are_left_out_and_keep_their_parameters(tmp_path: Path) -> None:
    """The simulator raises where theta_0 > 0.9; blocks redone row by row, the last one short of whole."""
    task = small_spec("coupled", fault="raise", bad=0.1, block_rows=300)
    rounds = Rounds(tmp_path, task, SHORT, "low", 900)
    found = rounds.run(2)
    arrays = bank.load(rounds.shards(2))
    proposed = np.load(rounds.part(2) / "proposal.npz")["theta"]
    np.testing.assert_array_equal(arrays["theta"], proposed)
    bad = proposed[:, 0] > 0.9
    assert bad.any() and np.array_equal(~bank.valid(arrays), bad)
    first = int((~bank.valid(bank.load(rounds.bank()))).sum())
    assert found.chains[0][-1].rows == ROWS[0] + ROWS[1] - first - bad.sum()


def test_what_does_not_belong_together_is_refused(finished: Rounds, short: Rounds, tmp_path: Path) -> None:
    rounds = Rounds(tmp_path / "other", GAUSSIAN, SHORT)
    shutil.copytree(short.folder, rounds.folder)
    (rounds.part(2) / "proposal.npz").write_bytes((finished.part(2, 1) / "proposal.npz").read_bytes())
    (rounds.part(2) / "weights.safetensors").unlink()  # else there is nothing to do
    with pytest.raises(BankError, match="other parameters"):
        rounds.train(2)
    with pytest.raises(DataError, match="number 2 of 2"):
        rounds.train(1, observation=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsnpe, "MOST_LEAKED", -1.0)
        with pytest.raises(TrainingError, match="outside the region"):
            rounds.train(1, observation=1)
