"""Events of two classes from public files: jets of EnergyFlow, masses as text, and tasks made of them.

A task of your own names the files and reads them; its entry in a study lists them under `depends_on`, so that
its banks follow what they hold:

    class MyJets(EventPools):
        name, classes = "my_jets", ("quark", "gluon")
        dimensions = jet_dimensions(128)

        def read(self, cls, simulator=None):
            jets, of_quarks = energyflow_jets(["QG_jets.npz", "QG_jets_1.npz"], particles=128)
            return jets[of_quarks == (cls == "quark")]
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from veridical import seeds
from veridical.errors import DataError, TaskError
from veridical.tasks.base import Array
from veridical.tasks.biased_classes import BiasedClasses
from veridical.tasks.jet_sets import Constituents, as_sets

Files = str | Path | Iterable[str | Path]


def energyflow_jets(files: Files, particles: int | None = None) -> tuple[Array, Array]:
    """Returns jets (N, P, 3) as tasks have them, and whether each is a quark's, boolean (N,).

    The files hold `X` (N, M, 4), transverse momentum, rapidity, azimuth and kind of each constituent behind
    which zeros fill up, and `y` (N,), 1 of quarks and 0 of gluons. Kinds are dropped; M may differ from file
    to file.

    Arguments:
        files: npz files, in the order of their jets.
        particles: P, the largest number of constituents, of which the softest are lost; all where None.

    References:
        | Pythia8 Quark and Gluon Jets for Energy Flow (Komiske, Metodiev, Thaler, 2019)
        | https://zenodo.org/records/3164691

    Raises:
        DataError: If a file is missing, or holds something else.
    """
    read = [_jets_of(path) for path in _paths(files)]
    wide = particles or max(int((x[..., 0] > 0).sum(axis=1).max()) for x, _ in read)
    jets = np.concatenate([_as_sets(x, wide) for x, _ in read])
    return jets, np.concatenate([y == 1 for _, y in read])


def mass_pairs(files: Files) -> Array:
    """Returns the first two columns of text files, two masses in GeV, shape (N, 2).

    Columns are apart by white space, further ones are left alone, and lines that start with # comments, as in
    the di-Higgs samples of https://zenodo.org/records/19341120.

    Raises:
        DataError: If a file is missing, or a line holds no two positive numbers.
    """
    found = []
    for path in _paths(files):
        try:
            masses = np.loadtxt(path, usecols=(0, 1), ndmin=2)
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{path}: expected two masses at the start of each line, apart by white space: {error}"
            ) from error
        fine = (np.isfinite(masses) & (masses > 0)).all(axis=1)
        if not fine.size or not fine.all():
            got = f"{masses[~fine][0].tolist()} in row {fine.argmin() + 1}" if fine.size else "no row"
            raise DataError(f"{path}: expected positive masses in GeV, got {got}; correct or remove it.")
        found.append(masses)
    return np.concatenate(found)


def _paths(files: Files) -> list[Path]:
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    if not paths:
        raise DataError("files of events: expected at least one, got none.")
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"file of events {path} is missing (from {Path.cwd()}); download it, or correct the name."
            )
    return paths


def _jets_of(path: Path) -> tuple[Array, Array]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["X"], stored["y"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"{path}: expected an npz file with arrays X and y, as EnergyFlow has them, got {error}; "
            "download it again."
        ) from error
    if x.ndim != 3 or x.shape[2] not in (3, 4) or y.shape != x.shape[:1] or not len(x):
        raise DataError(f"{path}: expected X (N, M, 4) and y (N,), got {x.shape} and {y.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"{path}: expected y of 1 (quark) and 0 (gluon), got {np.unique(y)[:5].tolist()}.")
    if not (np.isfinite(x[..., :3]).all() and (x[..., 0] >= 0).all() and (x[..., 0] > 0).any(axis=1).all()):
        raise DataError(
            f"{path}: expected finite numbers, and a transverse momentum above 0 of at least one constituent "
            "of each jet; remove the other jets."
        )
    return x[..., :3].astype(float), y


def _as_sets(x: Array, particles: int) -> Array:
    """Azimuths are taken around the hardest constituent first, lest a jet lies on both sides of pi."""
    hardest = x[np.arange(len(x)), x[..., 0].argmax(axis=1)]
    at = x[..., 1:] - hardest[:, None, 1:]
    at[..., 1] = (at[..., 1] + np.pi) % (2 * np.pi) - np.pi
    there = x[..., 0] > 0
    return as_sets(Constituents(np.nonzero(there)[0], x[..., 0][there], at[there]), len(x), particles)


class EventPools(BiasedClasses):
    """A class task whose events were made elsewhere: those of nature, and of simulators where there are any.

    Events are drawn with replacement. Those that a study learns from (`simulate`) come from one half of
    nature's, and those of pseudo-experiments (`draw`, `mixture`) from the other, so that no experiment is
    judged on events that an estimator has seen. Pools should be many times larger than what is drawn.
    """

    simulators = 0

    @abstractmethod
    def read(self, cls: str, simulator: int | None = None) -> Array:
        """Returns all events of a class, nature's or those of a simulator, shape (N, *x_shape)."""

    def draw(self, n: int, rng: np.random.Generator, cls: str) -> Array:
        """Returns n events of the half for experiments, shape (n, *x_shape)."""
        return self._drawn(n, rng, self._half(cls, 1))

    def draw_simulated(self, n: int, rng: np.random.Generator, cls: str, simulator: int) -> Array:
        """Returns n events of a simulator, shape (n, *x_shape)."""
        return self._drawn(n, rng, self._pool(cls, simulator))

    def simulate(self, theta: Array, noise: np.random.Generator, fidelity: str) -> Array:
        """Draws an event for each empty row of theta (N, 0): of the half to learn from, or of a template."""
        if fidelity in self.classes:
            return self._drawn(len(theta), noise, self._half(fidelity, 0))
        return super().simulate(theta, noise, fidelity)

    def _drawn(self, n: int, rng: np.random.Generator, pool: Array) -> Array:
        return pool[rng.integers(len(pool), size=n)]

    def _half(self, cls: str, which: int) -> Array:
        pool = self._pool(cls)
        middle = len(pool) // 2
        return pool[middle:] if which else pool[:middle]

    def _pool(self, cls: str, simulator: int | None = None) -> Array:
        """Events in an order of their own, read once."""
        self.require_class(cls, simulator)
        pools: dict[tuple[str, int | None], Array] = self.__dict__.setdefault("_pools", {})
        if (cls, simulator) not in pools:
            events = np.asarray(self.read(cls, simulator), float)
            if events.shape[1:] != self.x_shape or len(events) < 2:
                raise TaskError(
                    f"task {self.name}: read({cls!r}) gave shape {events.shape}, expected at least two "
                    f"events of shape {self.x_shape}."
                )
            rng = seeds.generator(0, "split", self.name, cls)
            pools[cls, simulator] = events[rng.permutation(len(events))]
        return pools[cls, simulator]
