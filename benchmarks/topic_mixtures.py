"""Do posteriors of a fraction hold the truth, where every simulator is wrong, with topics of many of them?

    python benchmarks/topic_mixtures.py [--family 0] [--page docs/results/topic_mixtures.md]

The plane of two masses (`mass_plane`), 12 x 12 bins, 55,000 unlabelled events of which each is signal with a
probability of 1/11. Simulators have 100,000 events of each class; topics are learned from 200 of them. The
same pseudo-experiments are answered by all methods. Asked for is that the 68 % interval of 8 topics of 200
simulators holds the truth in 0.60 to 0.85 of 150.

`pull` is the mean of (posterior mean - truth) / posterior sd, `cov` the share of central intervals that hold
the truth, `alarms` the share of fits in bins that the method itself calls wrong, `failed` that of chains that
disagree after all they may be given. The prior of weights is flat, or that of the simulators (the default of
`topics`). *Single*: one simulator of each class, the same number for both, as a fit of templates has it.

Beside nature's fixed fraction of signal, three questions about the posterior. *Nature like a simulator*: the
events are those of further simulators, a new one each time. *Fraction from the prior*: nature's events with a
fraction drawn from U(0, 1). *All from the prior*: fraction, weights and numbers of events from the model
itself (simulation-based calibration), with p-values of flat ranks of the fraction and of a weight.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
from scipy import stats
from table_text import number, table

from veridical import seeds
from veridical.inference import topics
from veridical.inference.bins import Bins
from veridical.inference.topic_mixtures import P_VALUE, Chaining, TopicMixture
from veridical.tasks.mass_plane import WINDOW, MassPlane

ROOT, EVENTS, SIMULATED, KAPPA = 20261130, 55_000, 100_000, 1 / 11
SIMULATORS, FURTHER, MANY, FEW = 200, 60, 150, 60
BINS, CHAINING = Bins.equal([WINDOW, WINDOW], 12), Chaining()
PRIORS = ("flat", "simulators")
Array = np.ndarray
COLUMNS = {
    "case": "case",
    "prior": "prior of weights",
    "n": "pseudo-exp.",
    "mean": "mean",
    "sd": "posterior sd",
    "spread": "sd of means",
    "pull": "pull",
    "cov68": "cov 68",
    "cov95": "cov 95",
    "alarms": "alarms",
    "failed": "failed",
    "seconds": "CPU s each",
}


class Plane:
    """One family of simulators with the events that it has given, in bins."""

    def __init__(self, family: int) -> None:
        self.family = family
        self.task = MassPlane(simulators=SIMULATORS + FURTHER, family=family)
        self.simulated = np.stack(
            [[self._simulated(cls, k) for k in range(SIMULATORS)] for cls in self.task.classes]
        )

    def rng(self, *path: str | int) -> np.random.Generator:
        """The generator of a named piece of work."""
        return seeds.generator(ROOT, "test", "topic_mixtures", self.family, *path)

    def _simulated(self, cls: str, k: int) -> Array:
        return BINS.counts(self.task.draw_simulated(SIMULATED, self.rng("simulated", cls, k), cls, k))

    def data(self, target: str, fractions: Array, simulator: bool = False) -> Array:
        """Numbers of nature's events, or those of a further simulator each time, in bins (n, bins)."""
        task, found = MassPlane(target, SIMULATORS + FURTHER, self.family), []
        for e, kappa in enumerate(fractions):
            rng = self.rng("data", target, e)
            n = rng.multinomial(EVENTS, [kappa, 1 - kappa])
            pairs = zip(n.tolist(), task.classes, strict=True)
            if simulator:
                x = [task.draw_simulated(m, rng, cls, SIMULATORS + e) for m, cls in pairs]
            else:
                x = [task.draw(m, rng, cls) for m, cls in pairs]
            found.append(BINS.counts(np.concatenate(x)))
        return np.stack(found)

    def mixtures(self, number_of: int, simulators: int = SIMULATORS) -> dict[str, TopicMixture]:
        """The topics of so many simulators with either prior of their weights."""
        found = [topics.learn(counts[:simulators], number_of, seed=1) for counts in self.simulated]
        alphas = np.ones(2 * number_of), np.concatenate([model.alpha for model in found])
        shapes = [model.topics for model in found]
        return {name: TopicMixture(*shapes, alpha) for name, alpha in zip(PRIORS, alphas, strict=True)}

    def single(self, k: int) -> list[Array]:
        """The shapes of one simulator of both classes, smoothed as topics are."""
        return [topics.learn(counts[[k]], 1, seed=1).topics[0] for counts in self.simulated]


def line(
    plane: Plane,
    case: str,
    prior: str,
    mixture: TopicMixture,
    data: Array,
    truth: Array,
    weight: Array | None = None,
) -> dict[str, Any]:
    """What the posteriors of some data say about the truth, and about the weight of the first topic."""
    begun = time.process_time()
    found = mixture.tried(data, [plane.rng("chains", e) for e in range(len(data))], CHAINING)
    seconds = (time.process_time() - begun) / len(data)
    kept = ~found.disagree(CHAINING)
    mean, sd = found.kappa.mean(axis=1), found.kappa.std(axis=1, ddof=1)
    z, held = found.z(truth)[kept], {68: 0.9945, 95: 1.9600}
    record = {"case": case, "prior": prior, "family": plane.family, "n": len(data), "seconds": seconds}
    record |= {"mean": mean[kept].mean(), "sd": sd[kept].mean(), "spread": mean[kept].std(ddof=1)}
    record |= {"pull": ((mean - truth) / sd)[kept].mean(), "failed": 1 - kept.mean()}
    record |= {f"cov{level}": (np.abs(z) < most).mean() for level, most in held.items()}
    record |= {"alarms": (mixture.fit_p(found, data) < P_VALUE).mean()}
    record |= {"rhat": found.rhat.max(), "ess": float(np.median(found.ess[:, 0]))}
    if weight is not None:
        pairs = ("fraction", found.kappa, truth), ("weight", found.signal[:, :, 0], weight)
        ranks = {name: (draws < right[:, None]).mean(axis=1) for name, draws, right in pairs}
        record |= {f"p_{name}": stats.kstest(rank, "uniform").pvalue for name, rank in ranks.items()}
    return record


def singles(plane: Plane, data: Array) -> dict[str, Any]:
    """Each simulator alone, on one of the pseudo-experiments: posteriors of one number, on a grid."""
    kappa, begun = (np.arange(2000) + 0.5) / 8000, time.process_time()
    mean, sd, below = np.empty((3, SIMULATORS))
    for k in range(SIMULATORS):
        signal, background = plane.single(k)
        p = background + kappa[:, None] * (signal - background)
        log_p = np.log(p) @ data[k % len(data)]
        weights = np.exp(log_p - log_p.max())
        weights /= weights.sum()
        mean[k], below[k] = weights @ kappa, weights[kappa < KAPPA].sum()
        sd[k] = np.sqrt(weights @ kappa**2 - mean[k] ** 2)
    record = {"case": "single simulators", "prior": "", "family": plane.family, "n": SIMULATORS}
    record |= {"mean": mean.mean(), "sd": sd.mean(), "spread": mean.std(ddof=1)}
    record |= {f"cov{level}": (np.abs(below - 0.5) < level / 200).mean() for level in (68, 95)}
    record |= {"pull": ((mean - KAPPA) / sd).mean(), "seconds": (time.process_time() - begun) / SIMULATORS}
    return record | {"rms_bias": float(np.sqrt(np.mean((mean - KAPPA) ** 2)))}


def measured(plane: Plane) -> Iterator[dict[str, Any]]:
    """A record of each case."""
    data, fixed = plane.data("in_span", np.full(MANY, KAPPA)), np.full(MANY, KAPPA)
    yield singles(plane, data)
    learned: dict[int, dict[str, TopicMixture]] = {}
    for k, n in ((2, FEW), (4, FEW), (8, MANY), (12, FEW)):
        learned[k] = plane.mixtures(k)
        for prior in PRIORS:
            yield line(plane, f"{k} topics", prior, learned[k][prior], data[:n], fixed[:n])
    for prior, mixture in plane.mixtures(8, 20).items():
        yield line(plane, "8 topics of 20 simulators", prior, mixture, data[:FEW], fixed[:FEW])
    tail = plane.data("tail", fixed[:FEW])
    drawn = plane.rng("fractions").random(MANY)
    others, free = plane.data("in_span", fixed[:FEW], simulator=True), plane.data("in_span", drawn)
    for prior in PRIORS:
        case = "8 topics, a tail of 10 % of the signal"
        yield line(plane, case, prior, learned[8][prior], tail, fixed[:FEW])
        for k in (8, 12):
            case = f"{k} topics, nature like a simulator"
            yield line(plane, case, prior, learned[k][prior], others, fixed[:FEW])
    eight = learned[8]
    yield line(plane, "8 topics, fraction from the prior", "simulators", eight["simulators"], free, drawn)
    yield calibration(plane, eight["simulators"])


def calibration(plane: Plane, mixture: TopicMixture) -> dict[str, Any]:
    """Everything drawn from the model: p-values of flat ranks beside the other numbers."""
    rng, k = plane.rng("prior"), len(mixture.signal)
    kappa = rng.random(MANY)
    w, v = (rng.dirichlet(alpha, MANY) for alpha in (mixture.alpha[:k], mixture.alpha[k:]))
    p = kappa[:, None] * (w @ mixture.signal) + (1 - kappa[:, None]) * (v @ mixture.background)
    data = np.stack([rng.multinomial(EVENTS, each / each.sum()) for each in p]).astype(float)
    return line(plane, "8 topics, all from the prior", "simulators", mixture, data, kappa, w[:, 0])


def page(lines: list[dict[str, Any]], about: dict[str, str]) -> str:
    """The record as Markdown."""
    title, usage, setting, words, questions = str(__doc__).strip().split("\n\n")
    parts = [f"# Topics of many simulators\n\n{title}", setting]
    for family in sorted({each["family"] for each in lines}):
        own = [each for each in lines if each["family"] == family]
        cells = [
            [str(each[key]) if key in ("case", "prior") else number(each.get(key)) for key in COLUMNS]
            for each in own
        ]
        single = next(each for each in own if "rms_bias" in each)
        last = next(each for each in own if "p_fraction" in each)
        ess = np.median([each["ess"] for each in own if "ess" in each])
        parts += [
            f"## Family {family} of simulators",
            table([*COLUMNS.values()], cells),
            f"Single simulators: root mean square of the bias {single['rms_bias']:.3f}. All from the prior: "
            f"p-values of flat ranks {last['p_fraction']:.2f} of the fraction, {last['p_weight']:.2f} of a "
            f"weight. Effective size of the draws of a fraction: {ess:.0f} of {4 * CHAINING.moves}, median.",
        ]
    versions = ", ".join(f"{name} {version}" for name, version in about.items())
    made = f"Made by `{usage.strip()}`, a family at a time; root seed {ROOT}, {versions}."
    return "\n\n".join([*parts, words, questions, made]) + "\n"


def main() -> None:
    """Prints a line per case, and keeps them beside the page, which it writes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", type=int, default=0)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    kept = json.loads(record.read_text())["lines"] if options.page and record.is_file() else []
    kept = [each for each in kept if each["family"] != options.family]
    about = {"date": f"{date.today():%Y-%m-%d}", "numpy": np.__version__, "scipy": scipy.__version__}
    about |= {"scikit-learn": sklearn.__version__}
    begun = time.process_time()
    for found in measured(Plane(options.family)):
        kept.append({k: round(float(v), 5) if isinstance(v, float) else v for k, v in found.items()})
        print(json.dumps(kept[-1]), flush=True)
    print(f"{time.process_time() - begun:.0f} s of one core")
    if options.page:
        record.write_text(json.dumps({"about": about, "lines": kept}, indent=1) + "\n")
        options.page.write_text(page(kept, about))


if __name__ == "__main__":
    main()
