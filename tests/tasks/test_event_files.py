"""Files of events: jets and masses as they are published, and a task whose experiments see other events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import bank, tasks
from veridical.bank import blocks
from veridical.errors import DataError, TaskError
from veridical.tasks.event_files import EventPools, energyflow_jets, mass_pairs
from veridical.tasks.jet_sets import jet_dimensions

PIONS = (211, -211, 22)


def jets_file(folder: Path, name: str, n: int, wide: int, rng: np.random.Generator) -> tuple[Path, Any, Any]:
    """A small file of the published form, unsorted, zeros behind the last constituent."""
    x, y = np.zeros((n, wide, 4)), rng.integers(0, 2, n).astype(float)
    for i in range(n):
        m = int(rng.integers(2, wide + 1))
        x[i, :m, 0] = rng.gamma(1.0, 20.0, m) + 0.1
        x[i, :m, 1:3] = rng.uniform(-1.7, 1.7, 2) + 0.1 * rng.standard_normal((m, 2))
        x[i, :m, 3] = rng.choice(PIONS, m)
    np.savez_compressed(folder / name, X=x, y=y)
    return folder / name, x, y


def test_jets_of_files_with_different_widths(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [jets_file(tmp_path, f"QG_jets_{i}.npz", 6, wide, rng) for i, wide in enumerate((5, 9))]
    jets, quarks = energyflow_jets([path for path, _, _ in made])
    wide = max(int((x[..., 0] > 0).sum(axis=1).max()) for _, x, _ in made)
    assert jets.shape == (12, wide, 3) and quarks.dtype == bool
    np.testing.assert_array_equal(quarks, np.concatenate([y for _, _, y in made]) == 1)
    for jet, given in zip(jets, [row for _, x, _ in made for row in x], strict=True):
        there = given[given[:, 0] > 0]
        there = there[np.argsort(-there[:, 0])]
        z = there[:, 0] / there[:, 0].sum()
        m = len(there)
        np.testing.assert_allclose(jet[:m, 0], z, rtol=1e-12)
        np.testing.assert_allclose(jet[:m, 1:], there[:, 1:3] - z @ there[:, 1:3], atol=1e-12)
        assert np.isnan(jet[m:]).all()


def test_a_jet_on_both_sides_of_pi_stays_one(tmp_path: Path) -> None:
    x = np.zeros((2, 3, 4))
    x[0, :2] = [[30, 0.2, np.pi - 0.05, 211], [10, 0.2, -np.pi + 0.05, 22]]
    x[1, :2] = [[30, 0.2, -0.05, 211], [10, 0.2, 0.05, 22]]
    np.savez(tmp_path / "jets.npz", X=x, y=np.array([1, 0]))
    (across, within), quarks = energyflow_jets(tmp_path / "jets.npz")
    np.testing.assert_allclose(across, within, atol=1e-12)
    np.testing.assert_allclose(within[:2, 2], [-0.025, 0.075], atol=1e-12)
    assert quarks.tolist() == [True, False]


def test_the_softest_constituents_are_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    path, x, _ = jets_file(tmp_path, "jets.npz", 8, 6, rng)
    jets, _ = energyflow_jets(path, particles=2)
    hardest = np.sort(x[..., 0], axis=1)[:, :-3:-1]
    np.testing.assert_allclose(jets[..., 0], hardest / hardest.sum(axis=1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"X": None}, "expected an npz file with arrays X and y"),
        ({"X": np.ones((4, 3))}, r"expected X \(N, M, 4\) and y \(N,\), got \(4, 3\)"),
        ({"y": np.ones(3)}, r"and \(3,\)"),
        ({"y": np.full(4, 2.0)}, r"1 \(quark\) and 0 \(gluon\), got \[2.0\]"),
        ({"X": np.zeros((4, 3, 4))}, "at least one constituent of each jet"),
        ({"X": np.full((4, 3, 4), np.nan)}, "expected finite numbers"),
    ],
)
def test_other_arrays_are_refused(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    arrays = {"X": np.ones((4, 3, 4)), "y": np.ones(4), **change}
    np.savez(tmp_path / "jets.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=told):
        energyflow_jets(tmp_path / "jets.npz")


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "jets.npz").write_text("not a file of arrays")
    with pytest.raises(DataError, match=r"jets\.npz: expected an npz file"):
        energyflow_jets(tmp_path / "jets.npz")
    for reader in (energyflow_jets, mass_pairs):
        with pytest.raises(DataError, match="elsewhere is missing"):
            reader(tmp_path / "elsewhere")
        with pytest.raises(DataError, match="expected at least one, got none"):
            reader([])


def test_masses_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "one.dat").write_text("# m1 m2 weight\n125.5 118.25 1.0\n  97.0\t130.0 1.0\n")
    (tmp_path / "two.dat").write_text("1.2e2 1.1e2\n")
    found = mass_pairs([tmp_path / "one.dat", tmp_path / "two.dat"])
    np.testing.assert_array_equal(found, [[125.5, 118.25], [97.0, 130.0], [120.0, 110.0]])


@pytest.mark.filterwarnings("ignore:.*input contained no data")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("125.0\n", "expected two masses at the start of each line"),
        ("125.0 abc\n", "expected two masses at the start of each line"),
        ("125.0 118.0\n-1.0 110.0\n", "expected positive masses in GeV, got \\[-1.0, 110.0\\] in row 2"),
        ("125.0 nan\n", "expected positive masses in GeV, got \\[125.0, nan\\] in row 1"),
        ("# nothing\n", "got no row"),
    ],
)
def test_other_texts_are_refused(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "masses.dat").write_text(text)
    with pytest.raises(DataError, match=told):
        mass_pairs(tmp_path / "masses.dat")


class Numbered(EventPools):
    """Events with a number: those of simulators start at 1000 and 2000."""

    name, classes, simulators = "numbered", ("signal", "background"), 2
    dimensions = jet_dimensions(1)[1:]

    def read(self, cls: str, simulator: int | None = None) -> np.ndarray:
        first = 0 if simulator is None else 1000 * (simulator + 1)
        return np.repeat(first + np.arange(101.0)[:, None], 3, axis=1) * (1 if cls == "signal" else -1)


def test_experiments_see_other_events_than_what_is_learned_from(rng: np.random.Generator) -> None:
    task = Numbered()
    tasks.check_task(task)
    learned = set(task.simulate(np.empty((3000, 0)), rng, "signal")[:, 0])
    judged = set(task.draw(3000, rng, "signal")[:, 0])
    assert not learned & judged and len(learned | judged) == 101 and len(learned) == 50
    assert min(task.draw_simulated(50, rng, "signal", 1)[:, 0]) >= 2000
    sample = task.mixture(2000, 0.25, rng)[:, 0]
    assert (sample > 0).mean() == pytest.approx(0.25, abs=0.05)
    assert task.simulate(np.empty((4, 0)), rng, "background_0").max() <= -1000
    assert task.pooled(60, rng).shape == (60, 3)


def test_a_task_of_files(tmp_path: Path, rng: np.random.Generator) -> None:
    """As a study has it: a class in a file of the user's, jets of which some entries are missing."""
    jets_file(tmp_path, "jets.npz", 40, 6, rng)
    (tmp_path / "mine.py").write_text(
        "from veridical.tasks.event_files import EventPools, energyflow_jets\n"
        "from veridical.tasks.jet_sets import jet_dimensions\n\n\n"
        "class MyJets(EventPools):\n"
        "    name, classes, dimensions = 'mine', ('quark', 'gluon'), jet_dimensions(8)\n\n"
        "    def read(self, cls, simulator=None):\n"
        f"        jets, of_quarks = energyflow_jets({str(tmp_path / 'jets.npz')!r}, particles=8)\n"
        "        return jets[of_quarks == (cls == 'quark')]\n"
    )
    task = tasks.build({"name": "mine", "file": str(tmp_path / "mine.py"), "class": "MyJets"})
    tasks.check_task(task)
    arrays = blocks.simulate_block(task, 5, "gluon", "train", 0, 0).arrays
    assert arrays["x"].shape == (1000, 8, 3) and bank.valid(arrays).all()


def test_what_is_read_has_the_stated_shape(rng: np.random.Generator) -> None:
    class Wide(Numbered):
        def read(self, cls: str, simulator: int | None = None) -> np.ndarray:
            return np.zeros((5, 2))

    with pytest.raises(TaskError, match=r"read\('signal'\) gave shape \(5, 2\), expected at least two"):
        Wide().draw(3, rng, "signal")
