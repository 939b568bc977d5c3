"""Times beside other toolboxes: `benchmarks/compare_peers.py` and what hands data over."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from veridical import seeds

ROOT = Path(__file__).parents[2]
STUB = """
from runner import job
own = job()
own.start()
with own.clock.stopped():
    sum(range(3_000_000))
for _ in range(2):
    own.look(lambda: own["theta_apart"][:, 0])
if own["family"] == "broken":
    raise SystemExit("no such family")
draw = lambda draws, observations: own["x_test"][None, :observations].repeat(draws, 0)
own.finish("1.0", draw, lambda part: own[f"x_{part}"][:, 0], 2)
"""


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("compare_peers")


@pytest.fixture
def stub(peers: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What hands data to a toolbox that does nothing, in this Python."""
    (tmp_path / "runner.py").write_text((ROOT / "benchmarks/peers/runner.py").read_text())
    (tmp_path / "fit_stub.py").write_text(STUB)
    monkeypatch.setattr(peers.environment, "HERE", tmp_path)
    monkeypatch.setattr(peers.environment, "python", lambda: Path(sys.executable))
    return peers.environment.fit


def rows(n: int = 3) -> dict[str, np.ndarray]:
    return {name: np.full((n, 2), value) for value, name in enumerate(("theta_apart", "x_apart", "x_test"))}


def test_what_a_runner_measures_comes_back_and_a_stopped_clock_stands_still(stub: Any) -> None:
    found, draws = stub(
        "stub", "any", {**rows(), "theta_apart": np.array([[1.0], [3.0]])}, observations=2, draws=4
    )
    assert draws.shape == (4, 2, 2)
    assert (draws == 2).all()
    assert (found["version"], found["epochs"], found["apart"], found["test"]) == ("1.0", 2, -1.0, -2.0)
    assert [loss for _, _, loss in found["looks"]] == [-2.0, -2.0]
    assert found["cpu_seconds"] < 0.02  # the sum alone takes more


def test_a_runner_that_fails_says_why(stub: Any) -> None:
    with pytest.raises(SystemExit, match=r"stub broken failed:\n(.|\n)*no such family"):
        stub("stub", "broken", rows(), observations=1)


@pytest.fixture
def few(peers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The comparison with few rows and draws."""
    for name, value in {"ROWS": 600, "OBSERVATIONS": 20, "DRAWS": 50, "SHARES": (0.05, 0.1)}.items():
        monkeypatch.setattr(peers, name, value)
    return peers


def test_families_that_learn_fields_are_judged_after_whole_trainings(few: ModuleType) -> None:
    line = few.ours("consistency", *few.simulated(), 0, 1)
    first, second = line["looks"]
    assert second == [line["seconds"], line["cpu_seconds"], line["energy"]]
    assert first[2] != second[2]
    assert line["epochs"] == 12


def test_our_looks_are_at_the_loss_that_densities_have_and_in_order(
    few: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few, "SHARES", (0.5, 1.0))
    info, simulated = few.simulated()
    assert (len(simulated["theta"]), len(simulated["x_apart"]), len(simulated["x_test"])) == (540, 60, 20)
    line = few.ours("maf", info, simulated, 0, 1)
    seconds, cpu, losses = np.array(line["looks"]).T
    assert line["apart"] == pytest.approx(losses.min(), abs=1e-3)  # single precision, and double
    assert len(losses) == line["epochs"]
    assert (np.diff(seconds) > 0).all()
    assert (cpu[-1], 0) < (line["cpu_seconds"], cpu[0])


def test_energy_scores_of_standard_normal_draws_at_their_centre(peers: ModuleType) -> None:
    rng = seeds.generator(1, "test", "energy")
    given = {"theta": np.array([[-1.0], [1.0]]), "theta_test": np.zeros((50, 1))}
    found = peers.energy(rng.standard_normal((4000, 50, 1)), given)
    # the errors of both means: 0.603 / 200,000^0.5, and half of 0.853 / 100,000^0.5
    assert found == pytest.approx((2 / np.pi) ** 0.5 - 1 / np.pi**0.5, abs=4 * 0.0019)


@pytest.mark.parametrize(
    ("end", "ours", "times"),
    [(-1.0, "2", "50"), (-1.5, "3", "33.3"), (-2.5, "not reached", "")],
)
def test_our_seconds_end_with_the_first_look_that_is_as_good(
    peers: ModuleType, end: float, ours: str, times: str
) -> None:
    looks = [[9, 1.0, 0.5], [9, 2.0, -1.0], [9, 3.0, -2.0]]
    both = {"seed": 0, "observations": 300, "sample_cpu_seconds": 2.0, "energy": 0.1}
    own = {**both, "tool": "veridical", "family": "maf", "looks": looks, "cpu_seconds": 3.5, "apart": -2.0}
    peer = {**both, "tool": "sbi", "family": "maf", "ours": "maf", "cpu_seconds": 100.0, "apart": end}
    peer |= {"looks": [[9, 40.0, end - 0.5], [9, 100.0, end]], "observations": 3}
    chosen = {**own, "variant": "asinh", "looks": []}
    cells, other = peers.peer_tables.until([own, chosen, peer])
    assert (cells[2], other[2], other[6]) == ("maf", "maf, asinh", "not reached")
    named = list(zip(peers.peer_tables.UNTIL, cells, strict=True))
    assert named[3:9] == [
        ("score", "loss"),
        ("at its end", f"{end:.3f}"),
        ("its s", "100"),
        ("our s", ours),
        ("times faster", times),
        ("asked for", "10"),
    ]
    best = ("3", "13.3") if end > -2 else ("not reached", "")
    assert (cells[9], cells[10], (cells[11], cells[12])) == (f"{end - 0.5:.3f}", "40", best)
    drawn, _ = peers.peer_tables.draws([own, chosen, peer])
    assert drawn[3:7] == ["3", "200", "2", "100"]  # 2 s for 3 of 300 observations
