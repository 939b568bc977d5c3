"""Template-adapted mixtures with exact log ratios: do their errors hold, what do K and the ridge do to them?

    python benchmarks/adapted_mixtures.py [CASE ...] [--toys 100] [--families 3] [--page PAGE.md]

Task `mass_plane` with events on the centres of 56 x 56 cells, over which all densities are normalised: fits
of exact log ratios take milliseconds, and no network is in the figures. Each of `families` draws of
simulators has `toys` pseudo-experiments of N events with a fraction of 1/11 (a binomial number of the
signal); reference and penalty sample have 4 N events of the pool each.

*Held*: how often the interval of one and of two standard errors holds the truth (0.683, 0.954), +- the
binomial error and, of one, the sd over families in brackets; *by profile*: the same by the signed root of the
profile. *Alarm*: how often the fit in 14 x 14 bins has p < 0.003; *any*: or another alarm rings. *Shape*:
Hellinger distance of the adapted classes to nature's in those bins, *raw* that of the templates, means over
both. *Data, reference, penalty*: shares of the variance of the fraction. *Alone*: one simulator of either
class as it is, all of a family in turn. Numbers without error are medians.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from table_text import number, table

from veridical import seeds
from veridical.errors import DataError
from veridical.inference import adapted_alarm, adapted_fits
from veridical.inference.adapted import Objective, Templates
from veridical.inference.adapted_fits import AdaptedFit, Profile
from veridical.tasks.mass_plane import WINDOW, MassPlane

ROOT, KAPPA, TIMES, CELLS, BINS = 20261203, 1 / 11, 4, 56, 14
Array = np.ndarray
CASES: dict[str, dict[str, Any]] = {
    "K = 2": {"k": 2},
    "K = 4": {"k": 4},
    "K = 6": {},
    "K = 8": {"k": 8},
    "alone": {"alone": True},
    "ridge 0.001": {"ridge": 0.001},
    "ridge 0.1": {"ridge": 0.1},
    "ridge 10": {"ridge": 10.0},
    "ridge 100": {"ridge": 100.0},
    "tail": {"target": "tail"},
    "cubic": {"target": "cubic"},
    "failing": {"target": "failing"},
    "in span, N = 55,000": {"n": 55_000},
    "tail, N = 55,000": {"target": "tail", "n": 55_000},
    "failing, N = 55,000": {"target": "failing", "n": 55_000},
    "alone, N = 55,000": {"alone": True, "n": 55_000},
}


class Plane:
    """One draw of simulators, and nature, over the cells: log densities (cells, K) and (cells,)."""

    def __init__(self, target: str, k: int, family: int) -> None:
        task = MassPlane(target, k, family)
        axis = WINDOW[0] + (np.arange(CELLS) + 0.5) * (WINDOW[1] - WINDOW[0]) / CELLS
        self.centres = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        self.templates = [
            np.stack([self.normalised(task, cls, i) for i in range(k)], axis=1) for cls in task.classes
        ]
        self.nature = [np.exp(self.normalised(task, cls)) for cls in task.classes]
        both = np.concatenate(self.templates, axis=1)
        self.log_pool = np.logaddexp.reduce(both, axis=1) - np.log(both.shape[1])
        place = np.arange(CELLS) * BINS // CELLS
        self.bins = (place[:, None] * BINS + place).ravel()

    def normalised(self, task: MassPlane, cls: str, simulator: int | None = None) -> Array:
        found = task.log_density(self.centres, cls, simulator)
        return np.asarray(found - np.logaddexp.reduce(found))

    def counts(self, rng: np.random.Generator, n: int, kappa: float | None) -> Array:
        """Events of nature with a fraction of signal, or of the pool, in each cell."""
        if kappa is None:
            return rng.multinomial(n, _shares(np.exp(self.log_pool)))
        signal = rng.binomial(n, kappa)
        parts = zip((signal, n - signal), self.nature, strict=True)
        return sum(rng.multinomial(size, _shares(density)) for size, density in parts)

    def at(self, counts: Array, chosen: list[int]) -> Templates:
        """Log ratios of chosen templates to the pool at the cells that hold events."""
        kept = counts > 0
        signal, background = ((log_p[:, chosen] - self.log_pool[:, None])[kept] for log_p in self.templates)
        return Templates.of(signal, background, counts[kept])

    def distances(self, fit: AdaptedFit) -> tuple[float, float]:
        """Hellinger distances to nature in bins: of the adapted classes, and of the raw templates."""
        adapted, raw = [], []
        for log_p, weights, truth in zip(self.templates, fit.weights, self.nature, strict=True):
            chosen = log_p[:, : len(weights)]
            shape = np.exp((chosen - chosen.max()) @ weights)
            adapted.append(self._hellinger(shape, truth))
            raw.append(np.mean([self._hellinger(np.exp(one), truth) for one in chosen.T]))
        return float(np.mean(adapted)), float(np.mean(raw))

    def _hellinger(self, p: Array, q: Array) -> float:
        binned = [np.bincount(self.bins, density / density.sum()) for density in (p, q)]
        return float(np.sqrt(0.5 * np.sum((np.sqrt(binned[0]) - np.sqrt(binned[1])) ** 2)))


def _shares(density: Array) -> Array:
    return density / density.sum()


def toy(plane: Plane, chosen: list[int], n: int, ridge: float, rng: np.random.Generator) -> dict[str, float]:
    """What one pseudo-experiment found."""
    counts = [plane.counts(rng, n, KAPPA), *(plane.counts(rng, TIMES * n, None) for _ in range(2))]
    objective = Objective(*(plane.at(c, chosen) for c in counts), ridge=(ridge, ridge))
    begun = time.process_time()
    try:
        fit = adapted_fits.fit(objective)
    except DataError:
        return {"failed": 1.0}
    seconds = time.process_time() - begun
    binned = adapted_alarm.binned_fit(fit, *(plane.bins[c > 0] for c in counts[:2]))
    try:
        root = Profile(fit).z(KAPPA)
    except DataError:
        root = np.inf
    shares = fit.samples[:, 0, 0] / fit.samples[:, 0, 0].sum()
    shape, raw = plane.distances(fit)
    return {
        "failed": 0.0,
        "kappa": fit.kappa,
        "sigma": fit.sigma,
        "root": root,
        "p": binned.p_value,
        "any": float(bool(adapted_alarm.alarms(fit, binned))),
        "norm": float(max(np.linalg.norm(w) for w in fit.weights)),
        "pull": fit.ridge_pull / fit.sigma,
        "shape": shape,
        "raw": raw,
        "seconds": seconds,
        **dict(zip(("data", "reference", "penalty"), shares, strict=True)),
    }


def measure(case: str, toys: int, families: int) -> dict[str, Any]:
    """One line of the page."""
    about = {"target": "in_span", "k": 6, "n": 11_000, "ridge": 1.0, "alone": False, **CASES[case]}
    found: list[list[dict[str, float]]] = []
    for family in range(families):
        plane = Plane(about["target"], about["k"], family)
        sets = [[i] for i in range(about["k"])] if about["alone"] else [list(range(about["k"]))]
        each = toys // len(sets)
        found.append([])
        for chosen in sets:
            for i in range(each):
                rng = seeds.generator(ROOT, "test", "adapted", case, family, *chosen[:1], i)
                found[-1].append(toy(plane, chosen, about["n"], about["ridge"], rng))
    return {"case": case, "toys": sum(map(len, found)), "families": families, **_summary(found)}


def _summary(found: list[list[dict[str, float]]]) -> dict[str, Any]:
    def held(toys: list[dict[str, float]], z: float) -> float:
        return float(np.mean([not t["failed"] and abs(t["kappa"] - KAPPA) < z * t["sigma"] for t in toys]))

    every = [t for toys in found for t in toys]
    good = [t for t in every if not t["failed"]]
    values = {name: np.array([t[name] for t in good]) for name in good[0]}
    kappa = values["kappa"]
    return {
        "failed": len(every) - len(good),
        "kappa": float(kappa.mean()),
        "bias": float((kappa - KAPPA).mean() / np.median(values["sigma"])),
        "rms": float(np.sqrt(((kappa - KAPPA) ** 2).mean()) / np.median(values["sigma"])),
        "sd": float(np.mean([np.std([t["kappa"] for t in toys if not t["failed"]]) for toys in found])),
        "sigma": float(np.median(values["sigma"])),
        "held_1": held(every, 1.0),
        "held_1_by_family": [held(toys, 1.0) for toys in found],
        "held_2": held(every, 2.0),
        "profile_1": float(np.mean(np.abs(values["root"]) < 1)),
        "profile_2": float(np.mean(np.abs(values["root"]) < 2)),
        "alarm": float(np.mean(values["p"] < 0.003)),
        "any": float(np.mean(values["any"])),
        **{
            name: float(np.median(values[name]))
            for name in ("norm", "pull", "shape", "raw", "seconds", "data", "reference", "penalty")
        },
    }


def page(lines: list[dict[str, Any]], toys: int, families: int) -> str:
    header = ["case", "toys", "mean", "bias / σ", "sd", "σ", "held by 1 σ", "by 2 σ", "by profile"]
    cells = []
    for line in lines:
        error = np.sqrt(line["held_1"] * (1 - line["held_1"]) / line["toys"])
        spread = np.std(line["held_1_by_family"], ddof=1) if families > 1 else 0.0
        cells.append(
            [
                line["case"],
                f"{line['toys']}" + (f" ({line['failed']} failed)" if line["failed"] else ""),
                *(number(line[name]) for name in ("kappa", "bias", "sd", "sigma")),
                f"{line['held_1']:.3f} ± {error:.3f} ({spread:.2f})",
                f"{line['held_2']:.3f}",
                f"{line['profile_1']:.3f}, {line['profile_2']:.3f}",
            ]
        )
    more = [
        "case",
        "alarm",
        "any",
        "largest norm",
        "pull of the ridge / σ",
        "shape",
        "raw",
        "data, reference, penalty",
        "a fit, s",
    ]
    others = [
        [
            line["case"],
            f"{line['alarm']:.2f}",
            f"{line['any']:.2f}",
            *(number(line[name]) for name in ("norm", "pull", "shape", "raw")),
            ", ".join(f"{line[name]:.2f}" for name in ("data", "reference", "penalty")),
            number(line["seconds"]),
        ]
        for line in lines
    ]
    return "\n".join(
        [
            "# Template-adapted mixtures with exact log ratios",
            "",
            f"Written by `python benchmarks/adapted_mixtures.py --toys {toys} --families {families}`, whose",
            "head says what is measured. The true fraction is 0.0909; without other words there are six",
            "simulators, nature is in their span, N = 11,000 and the ridge 1.",
            "",
            table(header, cells),
            "",
            table(more, others),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    parser.add_argument("--toys", type=int, default=100)
    parser.add_argument("--families", type=int, default=3)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json") if options.page else None
    kept = json.loads(record.read_text()) if record and record.is_file() else []
    for case in options.cases or CASES:
        line = measure(case, options.toys, options.families)
        print(json.dumps(line), flush=True)
        kept = [*(old for old in kept if old["case"] != case), line]
    kept.sort(key=lambda line: [*CASES].index(line["case"]))
    if record:
        record.write_text(json.dumps(kept, indent=1) + "\n")
        options.page.write_text(page(kept, options.toys, options.families))


if __name__ == "__main__":
    main()
