"""The training loop: its plan, its stopping, and that an interruption leaves no trace in the result."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from veridical.errors import TrainingError
from veridical.networks import build_summary, choice, trainable
from veridical.networks.settings import ConvSummarySettings
from veridical.training import devices, fitting, session
from veridical.training.batches import Held
from veridical.training.captured import Captured
from veridical.training.checkpoints import CheckpointFolder
from veridical.training.settings import TrainingSettings
from veridical.training.step import Step

ROWS = 200
RUN = session.Session(20261121, ("line", 0))
SIX = TrainingSettings(batch_size=32, epochs=6, rounds=6)


class Line(trainable.Trainable):
    """Fits y = a x + b by least squares; can do something at one of its training steps."""

    def __init__(self, at: int | None = None, act: object = None, noise: int = 0) -> None:
        super().__init__()
        self.noise, self.keeps_last = noise, noise > 0
        with session.seeded_initialisation(RUN):
            self.layer = nn.Linear(1, 1)
        self.at, self.act, self.steps = at, act, 0

    def loss(self, *batch: Tensor) -> Tensor:
        x, y, *noise = batch
        x = x + sum(part.mean(1, keepdim=True) for part in noise)
        if torch.is_grad_enabled():
            self.steps += 1
            if self.steps == self.at:
                self.act()  # type: ignore[operator]
        return (self.layer(x) - y).square().mean()


def line_data(slope: float = 2.0) -> fitting.Data:
    rng = np.random.Generator(np.random.PCG64(3))
    x = rng.normal(size=(ROWS + 50, 1)).astype(np.float32)
    y = (slope * x + 1 + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    return fitting.Data((x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:]))


def train(
    network: trainable.Trainable, folder: CheckpointFolder | None = None, **settings: object
) -> session.TrainingResult:
    given = TrainingSettings.model_validate({**SIX.model_dump(), **settings})
    return fitting.fit(network, line_data(), given, replace(RUN, folder=folder))


def always(path: Path) -> CheckpointFolder:
    """A folder that keeps the state after every round."""
    return CheckpointFolder(path, save_seconds=0)


def fingerprint(network: Line, result: session.TrainingResult) -> list[object]:
    return [result.rounds, result.best, result.steps, *(w.tolist() for w in network.state_dict().values())]


# ---- the plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "settings", "steps", "rounds"),
    [
        (5000, {"epochs": 25}, 1500, 25),
        (5000, {"epochs": 4}, 4 * (5000 // 32), 20),
        (5000, {"epochs": 4, "batch_size": 256}, 76, 20),
        (50_000, {"epochs": 25}, 25 * (50_000 // 256), 25),
        (5000, {"epochs": 400, "max_steps": 1000}, 1000, 53),
        (1_000_000, {"epochs": 10, "max_steps": 3000}, 3000, 20),
        (20, {"epochs": 3, "batch_size": 256}, 3, 3),
        (20, {"epochs": 30, "batch_size": 256, "rounds": 2}, 30, 30),
    ],
)
def test_the_plan_counts_steps_and_looks(
    rows: int, settings: dict[str, int], steps: int, rounds: int
) -> None:
    plan = session.Steps.of(rows, TrainingSettings.model_validate(settings))
    assert (plan.steps, len(plan.ends), plan.ends[-1]) == (steps, rounds, steps)
    assert (np.diff((0, *plan.ends)) > 0).all()


def test_each_epoch_shows_each_row_once_whatever_the_rounds() -> None:
    from veridical.training.batches import Batches

    rows = (torch.arange(ROWS),)
    seen = {}
    for rounds in (1, 3, 40):
        settings = TrainingSettings(batch_size=20, epochs=4, rounds=rounds)
        plan = session.Steps.of(ROWS, settings)
        pairs = zip((0, *plan.ends), plan.ends, strict=False)
        seen[rounds] = torch.cat(
            [b for first, last in pairs for (b,) in Batches(rows, plan, RUN, first, last)]
        )
    assert torch.equal(seen[1], seen[3]) and torch.equal(seen[1], seen[40])
    epochs = seen[1].reshape(4, ROWS)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(ROWS).expand(4, -1))
    assert not torch.equal(epochs[0], epochs[1])


def test_each_epoch_has_noise_of_its_own_whatever_the_rounds() -> None:
    """And what ranks no weights keeps the last ones; noise of looks is the same in all of them."""
    from veridical.training.batches import Batches, normal

    plan = session.Steps.of(ROWS, TrainingSettings(batch_size=20, epochs=2, rounds=1))
    whole = [noise for _, noise in Batches((torch.arange(ROWS),), plan, RUN, 0, plan.steps, 3)]
    parts = [
        noise
        for first in range(plan.steps)
        for _, noise in Batches((torch.arange(ROWS),), plan, RUN, first, first + 1, 3)
    ]
    assert torch.equal(torch.cat(whole), torch.cat(parts)) and whole[0].shape == (20, 3)
    assert torch.cat(whole).unique().numel() == 3 * 20 * plan.steps
    assert not torch.equal(normal(20, 3, RUN, "validation"), whole[0])
    result = train(Line(noise=1), learning_rate=1.0)
    assert result.best == len(result.rounds) - 1 != np.argmin([r["validation_loss"] for r in result.rounds])


# ---- a training ----------------------------------------------------------------------------------


class Still(trainable.Trainable):
    """Weights without a gradient, others that are frozen, and one that the loss needs."""

    keeps_last = True

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.zeros(1))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def loss(self, *batch: Tensor) -> Tensor:
        return (self.other - batch[1].mean()).square().sum() + 0 * self.weight.sum()


@pytest.mark.parametrize(
    "how", [{"epochs": 3}, {"epochs": 60}, {"schedule": "constant"}, {"learning_rate": 0.3}]
)
def test_without_gradient_weights_decay_as_stated_whatever_the_steps(how: dict[str, object]) -> None:
    """To exp(-decay): a product of (1 - d_t) that add up to the decay, to a step."""
    network = Still()
    train(network, patience=1000, weight_decay=0.7, **how)
    steps = session.Steps.of(ROWS, SIX.model_copy(update=how)).steps
    assert network.weight.tolist() == pytest.approx([np.exp(-0.7)] * 3, rel=0.7**2 / steps + 0.7 / steps)
    assert network.frozen.tolist() == [1, 1]


def test_members_of_a_stack_decay_each_at_its_own_rate() -> None:
    networks = [Still() for _ in range(3)]
    settings = TrainingSettings(epochs=20, batch_size=32, patience=1000)
    fitting.fit_stacked(networks, line_data(), settings, RUN, [0.0, 0.5, 2.0])
    found = [network.weight.mean().item() for network in networks]
    assert found == pytest.approx(np.exp([-0.0, -0.5, -2.0]), rel=0.06)


def test_a_line_is_learned_and_history_is_complete() -> None:
    network = Line()
    result = train(network, epochs=60, rounds=10, learning_rate=0.1, patience=1000, weight_decay=0.0)
    assert network.layer.weight.item() == pytest.approx(2, abs=4 * 0.1 / ROWS**0.5)
    assert result.steps == 60 * (ROWS // 32) and not result.stopped_early
    assert [e["step"] for e in result.rounds][-1] == result.steps
    assert set(result.rounds[0]) == {"step", "epoch", "train_loss", "validation_loss", "learning_rate"}
    rates = [e["learning_rate"] for e in result.rounds]
    assert max(rates) <= 0.1 and rates[-1] < 1e-3 < rates[len(rates) // 3]
    assert result.cpu_seconds > 0 and result.device == "cpu"


def test_the_best_weights_are_kept_not_the_last() -> None:
    network = Line()
    result = train(network, epochs=40, learning_rate=1.0, clip=1e6, patience=1000)
    x, y = (torch.from_numpy(part) for part in line_data().validation)
    with torch.no_grad():
        kept = float(network.loss(x, y))
    losses = [e["validation_loss"] for e in result.rounds]
    assert kept == pytest.approx(min(losses), rel=1e-5)
    assert result.best == int(np.argmin(losses)) < len(losses) - 1


def test_patience_ends_a_training_that_no_longer_improves() -> None:
    data, network = line_data(), Line()
    flat = (data.validation[0] * 0, data.validation[1] * 0 + network.layer.bias.item())  # perfect at once
    settings = TrainingSettings(batch_size=32, epochs=50, patience=3)
    result = fitting.fit(network, replace(data, validation=flat), settings, RUN)
    assert result.stopped_early
    assert len(result.rounds) == result.best + 1 + 3 < 50


def test_offsets_state_losses_in_other_coordinates() -> None:
    before = fitting.fit(Line(), line_data(), SIX, RUN).rounds
    after = fitting.fit(Line(), replace(line_data(), offsets=(1.0, -2.0)), SIX, RUN).rounds
    assert after[1]["train_loss"] == pytest.approx(before[1]["train_loss"] - 1)
    assert after[1]["validation_loss"] == pytest.approx(before[1]["validation_loss"] + 2)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    network = Line(7, lambda: network.layer.weight.data.fill_(torch.nan))
    with pytest.raises(TrainingError, match=r"not finite at step 12 .*lower training\.learning_rate"):
        train(network)


def test_a_gpu_that_is_asked_for_and_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="torch sees no CUDA device"):
        train(Line(), accelerator="gpu")


@pytest.mark.parametrize(("learn", "validate"), [(9, 5), (50, 1)])
def test_too_few_rows_are_an_error(learn: int, validate: int) -> None:
    with pytest.raises(TrainingError, match=f"got {learn} and {validate}"):
        session.require_rows(learn, validate)


class Slope(trainable.Trainable):
    """A constant gradient c, by which Adam at a constant rate takes steps of exactly the rate."""

    keeps_last = True

    def __init__(self, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([start, -start]))

    def loss(self, *batch: Tensor) -> Tensor:
        return (self.weight * self.weight.new_tensor([100.0, -300.0])).sum() + 0 * batch[0].sum()


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("stacked", [False, True])
def test_the_running_mean_of_the_weights_is_judged_and_kept(stacked: bool, beta: float) -> None:
    """After n steps w_i = w_0 -+ i r: sum of beta^(n - i) w_i over that of beta^(n - i)."""
    rate, still = 0.01, {"weight_decay": 0.0, "schedule": "constant", "patience": 1000}
    settings = SIX.model_copy(update={"learning_rate": rate, "ema": beta, "epochs": 2, "rounds": 3, **still})
    networks = [Slope(1.0), Slope(5.0)]
    if stacked:
        results = fitting.fit_stacked(networks, line_data(), settings, RUN)
    else:
        results = [fitting.fit(network, line_data(), settings, RUN) for network in networks]
    for start, network, result in zip((1.0, 5.0), networks, results, strict=True):
        for look in result.rounds:
            steps = np.arange(1, look["step"] + 1)
            moved = rate * np.average(steps, weights=beta ** (look["step"] - steps))
            expected = np.array([start - moved, -start + moved])
            assert look["validation_loss"] == pytest.approx(expected @ [100, -300], rel=1e-5)
        assert network.weight.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("stacked", [False, True])
def test_noise_added_to_x_is_new_in_every_batch_and_the_same_in_every_run(stacked: bool) -> None:
    """Its mean and spread by their standard errors; the other parts and validation rows have none."""
    z, x = torch.arange(ROWS, dtype=torch.float32)[:, None], torch.zeros(ROWS, 500)
    plan = session.Steps.of(ROWS, SIX.model_copy(update={"epochs": 2}))
    runs = [session.member_run(RUN, m) for m in range(2)] if stacked else [RUN]
    source = Held((z, x), (z, x), plan, runs, augment=0.3, stacked=stacked)
    whole = list(source.batches(0, plan.steps))
    parts = [batch for step in range(plan.steps) for batch in source.batches(step, step + 1)]
    assert all(
        torch.equal(a, b)
        for one, two in zip(whole, parts, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    plain = list(Held((z, x), (z, x), plan, runs, stacked=stacked).batches(0, plan.steps))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole, plain, strict=True))
    noise = torch.stack([batch[1] for batch in whole])
    n = noise.numel()
    assert noise.unique().numel() > 0.9 * n and abs(noise.mean()) < 5 * 0.3 / n**0.5
    assert noise.std().item() == pytest.approx(0.3, rel=5 / (2 * n) ** 0.5)
    assert all((batch[1] == 0).all() for _, batch in source.looks())


class Repeated:
    """Stands for a CUDA graph where there is none: repeats a function of inputs that stay where they are."""

    def warm_up(self, function: Callable[[], Tensor]) -> Tensor:
        return function()

    def record(self, function: Callable[[], Tensor]) -> Tensor:
        self.function, self.found = function, function()
        return self.found

    def replay(self) -> None:
        self.found.copy_(self.function())


@pytest.mark.parametrize("stacked", [False, True])
def test_captured_steps_are_those_of_the_eager_ones(stacked: bool) -> None:
    """New batches reach the recorded inputs, losses are not overwritten, rates stay those of each step."""
    found = []
    for captured in (False, True):
        network: trainable.Trainable = trainable.Stack([Line(), Line()]) if stacked else Line()
        runs = [session.member_run(RUN, m) for m in range(2)] if stacked else [RUN]
        plan, data = session.Steps.of(ROWS, SIX), line_data()
        rows = [tuple(map(torch.from_numpy, part)) for part in (data.train, data.validation)]
        step = Step(network, plan, SIX, [0.7] * network.members)
        if captured:
            step.gradients = Captured(step.plain_gradients, Repeated)
        losses = [step(*batch) for batch in Held(*rows, plan, runs, stacked=stacked).batches(0, plan.steps)]
        found.append([torch.stack(losses).tolist(), *(w.tolist() for w in network.state_dict().values())])
    assert found[0] == found[1] and len(found[0][0]) == 36


# ---- interruptions -------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_training import Line, always, train
with always({folder!r}) as folder:
    train(Line(20, lambda: os.kill(os.getpid(), signal.SIGKILL)), folder)
"""


def test_a_killed_training_goes_on_as_if_undisturbed(tmp_path: Path) -> None:
    """A process is killed in the middle of round 4; its lease is taken over; the end has the same bits."""
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "run"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "state.ckpt").exists() and (tmp_path / "run" / "lease.json").exists()

    resumed, undisturbed = Line(), Line()
    with always(tmp_path / "run") as folder:
        after = train(resumed, folder)
    assert after.resumed_from == [18] and resumed.steps == 18
    assert fingerprint(resumed, after) == fingerprint(undisturbed, train(undisturbed))


@pytest.mark.parametrize(
    ("noise", "settings"),
    [(0, {}), (2, {}), (0, {"ema": 0.9, "augment": 0.1})],
    ids=["plain", "noise", "ema"],
)
def test_several_interruptions_change_nothing(
    tmp_path: Path, noise: int, settings: dict[str, object]
) -> None:
    """An error in the middle of a round, then a time limit at the end of one, then the end."""
    undisturbed, given = Line(noise=noise), SIX.model_copy(update=settings)
    expected = fingerprint(undisturbed, train(undisturbed, **settings))

    def fail() -> None:
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="disk"), always(tmp_path) as folder:
        train(Line(9, fail, noise), folder, **settings)
    message = "the job's time ends after 12 of 36 steps; run again"
    with pytest.raises(TrainingError, match=message), always(tmp_path) as folder:
        fitting.fit(Line(noise=noise), line_data(), given, replace(RUN, folder=folder, deadline=0.0))
    last = Line(noise=noise)
    with always(tmp_path) as folder:
        result = train(last, folder, **settings)
    assert fingerprint(last, result) == expected
    assert result.resumed_from == [6, 12]


@pytest.mark.parametrize("patience", [1000, 1])
def test_a_training_that_had_ended_is_not_repeated(tmp_path: Path, patience: int) -> None:
    first, again = Line(), Line()
    with always(tmp_path) as folder:
        expected = fingerprint(first, train(first, folder, patience=patience, learning_rate=1.0, epochs=30))
    with always(tmp_path) as folder:
        result = train(again, folder, patience=patience, learning_rate=1.0, epochs=30)
    assert fingerprint(again, result) == expected and again.steps == 0


def test_sigterm_ends_the_job_and_leaves_a_good_state(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingError, match="told to end"), always(tmp_path) as folder:
        train(Line(15, lambda: os.kill(os.getpid(), signal.SIGTERM)), folder)
    assert signal.getsignal(signal.SIGTERM) == before
    resumed, undisturbed = Line(), Line()
    with always(tmp_path) as folder:
        after = train(resumed, folder)
    assert after.resumed_from == [12]
    assert fingerprint(resumed, after) == fingerprint(undisturbed, train(undisturbed))


def test_a_state_holds_no_code(tmp_path: Path) -> None:
    with always(tmp_path) as folder:
        train(Line(), folder)
    state = torch.load(tmp_path / "state.ckpt", weights_only=True)
    assert state["callbacks"]["Progress"]["finished"]


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.visible_gpus() == "CUDA_VISIBLE_DEVICES: not set"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert "WARNING: this job has a GPU" in devices.visible_gpus()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.visible_gpus() == "CUDA_VISIBLE_DEVICES: 1"


@pytest.mark.parametrize(
    ("length", "channels", "message"),
    [
        (40, [32, 64], r"^[\d,]+ weights, 900 training rows$"),
        (
            10_000,
            [32, 64],
            r"^warning: 20,\d+,\d+ weights, 900 training rows: .*\.weight alone has 20,480,000; "
            r"summary `conv`: 2 halvings leave 2,500 steps .* channels: \[32(, 64){9}\] leave 10\. "
            r"Or leave `channels` out\.$",
        ),
        (10_000, [32, *[64] * 9], r"^[\d,]+ weights, 900 training rows$"),
        (10_000, None, r"^245,440 weights, 900 training rows$"),
    ],
)
def test_weights_are_counted_before_a_training(length: int, channels: list[int] | None, message: str) -> None:
    settings = ConvSummarySettings(channels=channels)
    with session.seeded_initialisation(session.Session(RUN.root, ("conv", 0))):
        network = build_summary(choice.resolved(settings, (length,)).model_dump(), (length,))
    assert re.search(message, fitting.weights_message(network, 900))
    assert network(torch.zeros(2, length)).shape == (2, 32)


def test_a_training_whose_state_is_damaged_starts_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, again = Line(), Line()
    with always(tmp_path) as folder:
        before = fingerprint(line, train(line, folder))
    content = bytearray((tmp_path / "state.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "state.ckpt").write_bytes(content)
    with always(tmp_path) as folder:
        after = train(again, folder)
    assert after.resumed_from == [] and fingerprint(again, after) == before
    assert "set aside as state.damaged, the training starts over" in capsys.readouterr().out
