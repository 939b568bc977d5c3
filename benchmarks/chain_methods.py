"""How near do methods that learn from labelled pairs come to the exact posterior of a linear Gaussian chain?

    python benchmarks/chain_methods.py [--pairs 50 200] [--sets 0 1 2] [--methods fmcpe] [--page PAGE.md]

Task `gaussian_chain`: theta to x by a linear Gaussian simulator, x to y by another that the simulator does
not know of; p(theta | y) is known. `npe` has learned from 20,000 simulations. Each set of pairs is new, and
so are its 1,000 test rows. LPP is the mean log density at their true parameters, *gap* how far it stays below
that of the exact posterior on the same rows: the rows' own spread is left out by that. 90 % and 50 % regions
are those of highest density; *width* is the posterior's standard deviation in units of the exact one, the
mean over parameters and rows. C2ST tells draws from exact ones for two test rows of the first set, 500 each:
0.5 is alike, 1 is disjoint. Numbers are means over sets, each set in brackets. Regions of a method that is
calibrated on n pairs hold 90 % with a standard deviation between sets of 0.08 (n = 10), 0.04 (50) and 0.02
(200), whatever the method.

`rope` answers all rows of a set together (transductive), after `tuned` has moved its encoder (gamma 0.25,
smoothing 0.2), and its regions are asked about 100 rows, for its densities are dear; `frisbi` sees 1,000 rows
without labels. All others see the pairs alone, beside simulations. Seconds are CPU seconds of one thread for
a fit, `npe` not included, and for the answers that were judged.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from records import foot, keep
from remedies_with_labels import NPE, ROOT, rows, spread
from table_text import table

from veridical import bank, methods, seeds, tasks
from veridical.bank.blocks import Simulator
from veridical.checks.coverage import hpd_levels
from veridical.checks.two_sample import c2st
from veridical.estimators.base import Estimator, Material, Rows, TaskInfo
from veridical.tasks.gaussian_chain import GaussianChain
from veridical.training.session import Session

TASK = "gaussian_chain"
SIMULATIONS = 20_000
NETWORK = {  # as published, and in study `rope_chain`: no regression in front, no weight decay
    "summary": {"type": "mlp", "hidden": [64, 64], "features": 10},
    "base": "none",
    "training": {"epochs": 8, "batch_size": 256, "learning_rate": 5e-3, "weight_decay": 0.0},
}
METHODS: dict[str, tuple[dict[str, Any], list[str]]] = {  # settings, and the methods of `of` and `beside`
    "prior": ({"type": "prior"}, []),
    "ridge": ({"type": "ridge"}, []),
    "moments": ({"type": "moments"}, [NPE]),
    "j_npe": ({"type": "j_npe", **NETWORK}, []),
    "frisbi": ({"type": "frisbi"}, [NPE]),
    "tuned": ({"type": "tuned", "learning_rate": 1e-3, "steps": 1000}, [NPE]),
    "rope": ({"type": "rope", "gamma": 0.25, "smoothing": 0.2, "component_draws": 50}, ["tuned"]),
    "fmcpe": ({"type": "fmcpe"}, [NPE]),
}
UNJUDGED = ("tuned",)  # a part of others
REGRESSIONS, OTHERS = ("ridge", "moments"), ("rope", "frisbi", "fmcpe")
REGION_ROWS = {"rope": 100}  # test rows whose regions are asked for, where not all
BAR, BAR_PAIRS = 0.3, (50, 200)  # nats that `fmcpe` is asked to gain over `rope`, and where
OBSERVATIONS, CLASSIFIED = 2, 500
Array = np.ndarray


def material(
    task: GaussianChain, settings: Any, learned: Rows, pairs: Rows, parents: Sequence[Estimator]
) -> Material:
    """What a method may learn from: what its settings say, and nothing else."""
    fresh = settings.fresh_rows
    own = rows(task, "model", fresh, "fit") if fresh else learned
    seen = settings.setting("unlabelled_rows") if settings.setting("unlabelled") else None
    return Material(
        simulations=own if fresh or settings.learns_from("simulations") else None,
        calibration=pairs if settings.learns_from("calibration") else None,
        parent=parents[0] if parents else None,
        beside=parents[1:],
        prior=task.prior,
        simulate=Simulator(task, "model"),
        unlabelled=rows(task, "real", seen, "unlabelled").x if seen else None,
    )


def fitted(
    task: GaussianChain, made: dict[str, Estimator], learned: Rows, pairs: Rows, wanted: set[str], number: int
) -> Iterator[tuple[str, Estimator, float]]:
    """Each of the methods that are wanted or asked by them, with its seconds."""
    asked = wanted | {above for name in wanted for above in METHODS[name][1] if above in METHODS}
    made = dict(made)
    for name, (spec, above) in METHODS.items():
        if name not in asked:
            continue
        named = ({"of": above[0]} if above else {}) | ({"beside": above[1:]} if above[1:] else {})
        settings = methods.typed(spec["type"], {**spec, **named})
        known = material(task, settings, learned, pairs, [made[other] for other in above])
        begun = time.process_time()
        made[name], _ = methods.fit(
            {**spec, **named}, TaskInfo.of(task), known, Session(ROOT, (name, len(pairs), number))
        )
        yield name, made[name], time.process_time() - begun


def judged(
    name: str, estimator: Estimator, task: GaussianChain, test: Rows, draws: int, number: int
) -> dict[str, float]:
    """Densities at the truths of test rows, regions, widths, and draws beside the exact ones."""
    rng = seeds.generator(ROOT, "infer", "chain", name, number)
    given, begun = estimator.given(test.x), time.process_time()
    at_truth = given.log_prob(test.theta, slice(None))
    exact = task.posterior_log_prob(test.theta, test.x, "real")
    asked = slice(0, min(len(test), REGION_ROWS.get(name, len(test))))
    drawn, log_p = given.sample_and_log_prob(asked, draws if asked.stop == len(test) else 100, rng)
    log_p = given.log_prob(drawn, asked) if log_p is None else log_p
    levels = hpd_levels(log_p, at_truth[asked], seeds.generator(ROOT, "check", "chain", number))
    covariance = task.level("real").posterior(task.prior, test.x[:1])[1]
    seconds = time.process_time() - begun
    return {
        "lpp": float(at_truth.mean()),
        "gap": float((exact - at_truth).mean()),
        "hpd90": float((levels <= 0.9).mean()),
        "hpd50": float((levels <= 0.5).mean()),
        "width": float((drawn.std(axis=0, ddof=1) / np.sqrt(np.diag(covariance))).mean()),
        "answers": seconds,
    } | ({} if number else {"c2st": classified(given, task, test.x, number)})


def classified(given: Any, task: GaussianChain, x: Array, number: int) -> float:
    """The mean C2ST of draws against exact ones, for the first few rows."""
    rng = seeds.generator(ROOT, "check", "chain", "c2st", number)
    exact = task.posterior_sample(x[:OBSERVATIONS], rng, CLASSIFIED, "real")
    drawn = given.sample_and_log_prob(slice(0, OBSERVATIONS), CLASSIFIED, rng)[0]
    return float(np.mean([c2st(exact[:, i], drawn[:, i], rng).mean() for i in range(OBSERVATIONS)]))


def measured(
    asked: Sequence[int], sets: Sequence[int], wanted: set[str], test_rows: int, draws: int
) -> Iterator[dict[str, Any]]:
    """A line for each method, number and set of pairs, and one for the exact posterior; set by set."""
    task = tasks.build({"name": TASK})
    assert isinstance(task, GaussianChain)
    found, made = rows(task, "model", SIMULATIONS, "train"), {}
    learned = Rows(found.theta, found.x, bank.validation_mask(SIMULATIONS))
    if any(METHODS[name][1] for name in wanted):
        simulated = Material(learned, prior=task.prior)
        spec, info = {"type": "npe", **NETWORK}, TaskInfo.of(task)
        made[NPE] = methods.fit(spec, info, simulated, Session(ROOT, (NPE, "chain")))[0]
    for number in sets:
        test = rows(task, "real", test_rows, "test", number)
        lpp = float(task.posterior_log_prob(test.theta, test.x, "real").mean())
        for pairs in asked:
            yield {"pairs": pairs, "method": "exact", "set": number, "lpp": lpp, "gap": 0.0}
            labelled = rows(task, "real", pairs, "pairs", number)
            for name, estimator, seconds in fitted(task, made, learned, labelled, wanted, number):
                if name not in UNJUDGED:
                    line = judged(name, estimator, task, test, draws, number) | {"fit": seconds}
                    yield {"pairs": pairs, "method": name, "set": number, "rows": test_rows, **line}


def gaps(lines: Sequence[dict[str, Any]], pairs: int, method: str) -> dict[int, float]:
    """The gap of a method with so many pairs, by set."""
    return {line["set"]: line["gap"] for line in lines if (line["pairs"], line["method"]) == (pairs, method)}


def bar(lines: Sequence[dict[str, Any]]) -> list[str]:
    """What is asked of `fmcpe`, and whether it is reached."""
    found = []
    for pairs in BAR_PAIRS:
        ours, theirs = gaps(lines, pairs, "fmcpe"), gaps(lines, pairs, "rope")
        if both := sorted({*ours} & {*theirs}):
            gains = [theirs[number] - ours[number] for number in both]
            word = "reached" if np.mean(gains) >= BAR else "**not reached**"
            found.append(f"- {pairs} pairs: `fmcpe` gains {spread(gains, 2)} nats over `rope`: {word}.")
        else:
            found.append(f"- {pairs} pairs: not run.")
    return [f"Asked for: `fmcpe` at least {BAR} nats above `rope`, by the mean over sets.", "\n".join(found)]


def beaten(lines: Sequence[dict[str, Any]]) -> str:
    """Where a regression on the pairs is nearer to the exact posterior than what takes simulations along."""
    found = []
    for pairs in sorted({line["pairs"] for line in lines}):
        means = {name: list(gaps(lines, pairs, name).values()) for name in (*REGRESSIONS, *OTHERS)}
        known = {name: float(np.mean(each)) for name, each in means.items() if each}
        best = min((name for name in OTHERS if name in known), key=known.__getitem__, default=None)
        if best is None:
            continue
        better = [
            f"`{name}` ({known[name]:.2f})" for name in REGRESSIONS if known.get(name, np.inf) < known[best]
        ]
        text = f"nearer than that are {' and '.join(better)}" if better else "no regression is nearer"
        found.append(
            f"- {pairs} pairs: of transport and flows `{best}` is best, at {known[best]:.2f}; {text}."
        )
    return "\n".join(found)


def page(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = record["lines"]
    header = ["pairs", "method", "LPP", "gap to exact", "90 % regions hold", "50 % regions", "width", "C2ST"]
    cells = []
    for pairs in sorted({line["pairs"] for line in lines}):
        for name in ("exact", *METHODS):
            own = [line for line in lines if (line["pairs"], line["method"]) == (pairs, name)]
            own.sort(key=lambda line: line["set"])
            if not own:
                continue
            columns = {key: [line[key] for line in own if key in line] for key in (*KEYS, "fit", "answers")}
            seconds = [f"{np.mean(columns[key]):.1f}" if columns[key] else "" for key in ("fit", "answers")]
            cells.append(
                [str(pairs), name, *(spread(columns[key], digits) for key, digits in KEYS.items()), *seconds]
            )
    text = str(__doc__).split("\n\n", 2)[2].strip()
    parts = ["# Methods on the Gaussian chain, against the exact posterior", text, *bar(lines)]
    parts += [
        "Where a regression on the pairs has a smaller gap than transport and flows:\n\n"
        + beaten(lines)
        + "\n\nThe chain is linear, and a regression is the right model of it.",
        table([*header, "fit, s", "answers, s"], cells),
        foot(record, ROOT),
    ]
    return "\n\n".join(parts) + "\n"


KEYS = {"lpp": 2, "gap": 2, "hpd90": 3, "hpd50": 3, "width": 2, "c2st": 3}  # columns, and their digits


def main() -> None:
    """Measures, prints a line per fit, and writes record and page where a page is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, nargs="+", default=[50, 200, 10, 1000])
    parser.add_argument("--sets", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=[*METHODS])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    wanted = {*options.methods}
    lines = measured(options.pairs, options.sets, wanted, options.rows, options.draws)
    keep(__file__, lines, ("pairs", "method", "set"), page, options.page)


if __name__ == "__main__":
    main()
