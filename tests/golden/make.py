"""Artifacts of each kind as this revision writes them, which every later one has to read: a folder each.

`python -m tests.golden.make` adds the kinds that are missing, each with the answers that it gave when it was
made. It never writes over a folder: what lies there stands for all files that users keep.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.compare import HOME, here
from tests.remedies.shifted_task import simulator
from veridical import artifacts, bank, checks, methods, seeds
from veridical.estimators import Material, Rows, TaskInfo
from veridical.estimators.sampled import Likelihood
from veridical.files import write_npz
from veridical.saved import estimates, experiments, observations, posteriors, predictions
from veridical.tasks import build
from veridical.tasks.priors import Normal, Product, Uniform
from veridical.training.session import Session

PRIOR = Product({"share": Uniform(0.0, 1.0), "rate": Normal(0.0, 1.0)})
TASK = TaskInfo("golden", ("share", "rate"), PRIOR.bounds, ("", "1/s"), (4, 2))
CLASSES = build({"name": "gaussian_classes", "settings": {"separation": 0.5}})
JETS = TaskInfo("jets", (), np.zeros((0, 2)), (), (4, 3), "", ("exchangeable", "vector"), True)
LINEAR = build({"name": "gaussian_linear", "settings": {"dimension": 2}})
FEW = {"epochs": 2, "batch_size": 20, "threads": 1}
ONCE = {**FEW, "epochs": 1, "rounds": 1}
FLOW = {"transforms": 1, "bins": 3, "hidden": [4]}
MLP = {"type": "mlp", "hidden": [4], "features": 2}
ATTENTION = {"width": 4, "heads": 2, "blocks": 1, "hidden": [], "features": 1}
SUMMARIES: dict[str, dict[str, Any]] = {
    "conv": {"channels": [2], "kernel": 3, "hidden": [4], "features": 2},
    "gru": {"state": 3, "hidden": [4], "features": 2},
    "deepset": {"element": [4], "hidden": [4], "features": 2},
    "parts": {
        "axis": 0,
        "parts": {
            "set": {"entries": [0], "summary": {"type": "set_transformer", **ATTENTION}},
            "series": {"entries": [1], "summary": {"type": "transformer", **ATTENTION}},
            "jet": {
                "entries": ["2:"],
                "summary": {"type": "energy_flow", "energy": 1, "element": [4], "hidden": [], "features": 1},
            },
        },
    },
    "none": {},
}
NPE = {"type": "npe", "summary": MLP, "flow": FLOW, "training": FEW}
METHODS: dict[str, dict[str, Any]] = {  # each behind what it is built on
    "npe": {**NPE, "inputs": {"transform": "asinh"}},
    **{f"npe_{name}": {**NPE, "summary": {"type": name, **given}} for name, given in SUMMARIES.items()},
    "ensemble": {"type": "ensemble", "members": 2, "member": {k: NPE[k] for k in NPE if k != "type"}},
    "j_npe": {**NPE, "type": "j_npe"},
    "mlp": {"type": "mlp", "hidden": [4], "training": {**FEW, "max_steps": 4}},
    "ridge": {"type": "ridge"},
    "prior": {"type": "prior"},
    "tuned": {"type": "tuned", "of": "npe", "steps": 4, "looks": 2},
    "rope": {"type": "rope", "of": "tuned", "simulations": 20},
    "ratios": {"type": "ratios", "members": 2, "hidden": [4], "training": {"epochs": 2}},
    "wifi": {"type": "wifi", "of": "ratios"},
    "ratios_particles": {
        "type": "ratios",
        "members": 2,
        "hidden": [4],
        "particles": {"cells": 5, "element": [3]},
        "training": {"epochs": 2},
    },
    "nle": {"type": "nle", "flow": {"type": "mixture", "components": 1, "hidden": [2]}, "training": ONCE},
    "nre": {"type": "nre", "summary": {**MLP, "hidden": []}, "width": 4, "blocks": 1, "training": ONCE},
    "score": {
        "type": "score",
        "summary": {**MLP, "hidden": []},
        "hidden": [2],
        "intervals": [0.5],
        "training": ONCE,
    },
}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261129, "test", "golden", *path)


def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two series of four steps each: a line through the parameters, with noise."""
    x = theta[:, :1] + theta[:, 1:] * np.arange(4)
    return (x[..., None] * [1.0, -2.0] + 0.1 * rng.normal(size=(len(x), 4, 2))).astype(np.float32)


def rows(n: int, *path: str) -> Rows:
    theta = PRIOR.sample(generator(*path), n)
    return Rows(theta, simulate(theta, generator("noise", *path)), np.arange(n) % 10 == 9)


def events(n: int, *path: str) -> dict[str, np.ndarray]:
    return {cls: CLASSES.draw(n, generator(cls, *path), cls) for cls in CLASSES.classes}  # type: ignore[attr-defined]


def jets(n: int, *path: str) -> dict[str, np.ndarray]:
    """Three particles of jets of two widths, and an absent one."""
    found = {}
    for width, cls in ((0.05, "quark"), (0.1, "gluon")):
        rng = generator(cls, *path)
        z = rng.dirichlet(np.ones(3), n)[..., None]
        present = np.concatenate([z, rng.normal(0, width, (n, 3, 2))], axis=2)
        found[cls] = np.append(present, np.full((n, 1, 3), np.nan), axis=1)
    return found


def fit(name: str, folder: Path) -> None:
    """Trains a method for a moment and saves it."""
    spec = METHODS[name]
    of = folder.parent / spec["of"] if "of" in spec else None
    made = jets if name == "ratios_particles" else events
    classes, real = made(100, "train"), rows(20, "real")
    material = Material(
        rows(60, "simulations"),
        replace(real, validation=np.zeros(20, bool)),
        classes,
        {cls: np.arange(100) % 10 == 9 for cls in classes},
        artifacts.load_estimator(of) if of else None,
        PRIOR,
        simulator(simulate, TASK),
    )
    tasks = dict.fromkeys(("ratios", "wifi"), TaskInfo.of(CLASSES)) | {"ratios_particles": JETS}
    task = tasks.get(name, TASK)
    fitted, result = methods.fit(spec, task, material, Session(1, (name, 0)))
    artifacts.save_estimator(fitted, folder, result, cost={}, parent=of)


def answers_of_method(folder: Path) -> dict[str, np.ndarray]:
    """What a saved method says to the same three observations, drawn with the same generator."""
    method: Any = artifacts.load_estimator(folder)
    sample = np.concatenate(list(events(20, "test").values()))
    if method.task.name == JETS.name:
        sample = np.concatenate(list(jets(20, "test").values()))
    if method.type == "ratios":
        return {"functions": method.functions(sample)}
    if method.type == "wifi":
        fraction = method.estimate(sample[None])
        return {"log_ratio": np.stack(method.log_ratio(sample)), "estimate": fraction.value}
    given, x = method.given(rows(3, "test").x), slice(None)
    if isinstance(method, Likelihood):  # rounding on another machine could lead its chains elsewhere
        theta = PRIOR.sample(generator("theta"), 15).reshape(5, 3, 2)
        return {"log_likelihood": method.log_likelihood(theta, given.x), "summary": given.summary(x)}
    draws, log_density = given.sample_and_log_prob(x, 5, generator("draws"))
    found = {"draws": draws, "log_prob": given.log_prob(draws, x)}
    known = {"log_density": log_density, "summary": given.summary(x)}
    return found | {name: array for name, array in known.items() if array is not None}


def some_draws() -> posteriors.Draws:
    test = rows(3, "test")
    draws = PRIOR.sample(generator("draws"), 12).reshape(4, 3, 2)
    log_q, summary = PRIOR.log_prob(draws.reshape(-1, 2)).reshape(4, 3), test.x[:, :, 0].astype(float)
    attrs = {"method": "npe", "budget": 100, "versions": {"numpy": "2"}, "ess": [3.5, 4.0], "real": True}
    density = PRIOR.log_prob(test.theta)
    constants = (test.theta, density, summary, np.zeros(4), np.eye(4))
    extras = {"plan": np.arange(6.0).reshape(2, 3)}
    return posteriors.Draws(
        TASK.parameters, TASK.bounds, TASK.units, draws, log_q, *constants, test.x, attrs, extras
    )


def write_shard(path: Path) -> None:
    some = rows(20, "shard")
    some.x[3] = np.nan
    status = np.where(np.isnan(some.x[:, 0, 0]), 1, 0).astype(np.uint8)
    names = ("ok", "non_finite", "raised", "timed_out")
    about = {"task": "golden", "key": "0", "fidelity": "exact", "split": "train-r0", "first": 0, "last": 19}
    counts = {"n_invalid": 1, "counts": dict(zip(names, (19, 1, 0, 0), strict=True)), "first_traceback": ""}
    dims = {"theta": ("row", "parameter"), "x": ("row", "time", "series"), "status": ("row",)}
    bank.write(path, {"theta": some.theta, "x": some.x, "status": status}, about | counts, dims)


def write_estimate(path: Path) -> None:
    rng, curve = generator("estimate"), np.linspace(0.0, 1.0, 5) + np.zeros((2, 1))
    numbers = rng.random((4, 2))
    found = estimates.Estimate(*numbers, curve, 3 - 6 * curve)
    estimates.save(path, found, truth=np.array([0.1, 0.5]), method="wifi", dataset="simulated")


def write_batch(path: Path) -> None:
    kind, rng = path.parent.name, generator("batch")
    arrays = {name: rng.random((3, 2)) for name in ("value", "statistical", "ratio", "z_lr")}
    if kind == "batch_posteriors":
        arrays = {"rank": rng.random((3, 2)), "log_q": rng.random(3), "hpd": rng.random(3)}
    arrays["truth"] = rng.random((3, 2)) if "rank" in arrays else np.array([0.2, 0.4])
    experiments.write(path, arrays, seed=7)


def prior_draws(rng: np.random.Generator, n: int, s: int) -> posteriors.Draws:
    """Draws of the prior for n observations, where the truth is a further one."""
    theta = PRIOR.sample(rng, (s + 1) * n).reshape(s + 1, n, 2)
    density = PRIOR.log_prob(theta.reshape(-1, 2)).reshape(s + 1, n)
    x = simulate(theta[0], rng)
    constants = (theta[0], density[0], x[:, :2, 0].astype(float), np.zeros(2), np.eye(2))
    return posteriors.Draws(TASK.parameters, TASK.bounds, TASK.units, theta[1:], density[1:], *constants, x)


def some_predictions(rng: np.random.Generator, draws: np.ndarray) -> predictions.Predictions:
    """Data sets at draws (S, 1, 2) of an answer, and 40 at each of the first two."""
    at = np.concatenate([draws, draws[:2].repeat(40, axis=0)])
    x = simulate(at[:, 0], rng)[:, None]
    repeated = x[len(draws) :].reshape(2, 40, *x.shape[1:])
    axes = [{"name": "time", "coordinates": [0, 1, 2, 3], "unit": "s"}]
    axes.append({"name": "series", "coordinates": ["a", "b"], "unit": ""})
    own = {"peak": rng.normal(size=(2, 41, 1))}
    return predictions.Predictions(x[: len(draws)], draws, repeated, draws[:2], axes, own)


def write_predictions(path: Path) -> None:
    rng = generator("predictions")
    found = some_predictions(rng, PRIOR.sample(rng, 6).reshape(6, 1, 2))
    if path.parent.name == "predictions":
        predictions.save(path, found)
    else:  # as they were at first
        write_npz(path, {"x": found.x, "theta": found.theta})


def answers_of_predictions(path: Path) -> dict[str, np.ndarray]:
    found = dict(vars(predictions.load(path)))
    return {"told": np.array(json.dumps(found.pop("axes"))), **found.pop("statistics"), **found}


def write_check(path: Path) -> None:
    """The result of a check on draws of the prior; all else that it is handed has the right shape."""
    rng, labelled = generator("check", path.stem), "truth" in checks.needs(path.stem)
    simulated, one = prior_draws(rng, 40, 19), prior_draws(rng, 1, 40)
    exact = {name: np.log(rng.dirichlet(np.ones(4), size=6)) for name in ("log_p_grid", "log_q_grid")}
    exact |= {f"log_{name}_truth": exact[f"log_{name}_grid"][:, 0] for name in "pq"}
    exact |= {name: rng.normal(size=(40, 6, 2)) for name in ("draws_exact", "draws")}
    others: dict[str, Any] = {
        "reference": one,
        "null": simulated,
        "predictive": some_predictions(rng, one.draws),
        "prior_predictive": simulated.x,
        "exact": {**exact, "cell_volume": np.array(1.0)},
        "nearby": {
            "pool": PRIOR.sample(rng, 20 * 50).reshape(20, 50, 2),
            "log_weight": rng.normal(size=(20, 50)),
            "observation": np.zeros(50, int),
            "widening": np.ones(1),
            "failed": np.zeros(1, int),
        },
        "densities": {
            "log_prior": one.log_density,
            "log_likelihood": rng.normal(size=(40, 1)),
            "log_prior_mean": one.log_density.mean(axis=0),
            "log_prior_null": simulated.log_density.mean(axis=0),
            "edge": np.zeros(1),
            "edge_null": rng.random(40),
        },
        "surfaces": {
            "truth": rng.uniform(size=(8, 2)),
            **{f"axis_{k}": (np.arange(4) + 0.5) / 4 for k in range(2)},
            **{name: rng.normal(size=(8, 4, 4)) for name in ("log_l", "log_l_exact")},
        },
    }
    given = simulated if labelled else replace(one, truth=None, log_density_truth=None)
    fast = {"patience": 2, "folds": 2} if path.stem == "two_sample" else {}
    result = checks.build(path.stem, **fast).run(given, rng, **({} if labelled else others))
    checks.save(result, path)


def answers_of_check(path: Path) -> dict[str, np.ndarray]:
    found = checks.load(path)
    told = [found[name] for name in ("check", "parameters", "passed", "p_value", "settings", "notes")]
    named = [{**metric, "value": None, "stderr": None} for metric in found["metrics"]]
    numbers = {name: np.array([m[name] for m in found["metrics"]], float) for name in ("value", "stderr")}
    curves = {name: np.array(curve) for name, curve in found["curves"].items()}
    return {"told": np.array(json.dumps([told, named])), **numbers, **curves}


def answers_of_draws(path: Path) -> dict[str, np.ndarray]:
    found = dict(vars(posteriors.load(path)))
    assert not found.pop("constraints")  # once there were none
    assert all(found.pop(name) is None for name in ("rhat", "ess"))  # nor these
    told = json.dumps({name: found.pop(name) for name in ("names", "units", "attrs")}, sort_keys=True)
    return {"told": np.array(told), **found.pop("extras"), **found}


def answers_of_shard(path: Path) -> dict[str, np.ndarray]:
    about = {k: v for k, v in bank.verify(path).items() if k != "schema"}
    return {"told": np.array(json.dumps(about, sort_keys=True)), **bank.load([path])}


def answers_of_estimate(path: Path) -> dict[str, np.ndarray]:
    found = estimates.load(path)
    told, known = np.array([found["method"], found["dataset"]]), dict(vars(found["estimate"]))
    assert not any(known.pop(name) for name in ("fit_p", "alarms", "prior", "parts"))  # once there were none
    return {"told": told, "truth": found["truth"], **known}


def answers_of_observations(path: Path) -> dict[str, np.ndarray]:
    found = vars(observations.load(path))
    none = ("notes", "classes")  # once there were none
    return {name: np.array(value) for name, value in found.items() if name not in none}


def write_observations(path: Path) -> None:
    rng = generator("observe")
    theta, x = rng.random((2, 3, 2))
    observations.save(path, observations.Observations(x, theta, "field", "real", "a test"), LINEAR)


Kind = tuple[str, Callable[[Path], None], Callable[[Path], dict[str, np.ndarray]]]
KINDS: dict[str, Kind] = {  # folder: its file, how that is written, what it holds
    "shard": (bank.shard_name(0, 19), write_shard, answers_of_shard),
    "draws": ("simulated.nc", lambda path: posteriors.save(path, some_draws()), answers_of_draws),
    "observations": ("field.nc", write_observations, answers_of_observations),
    "predictions": ("field.predictive.npz", write_predictions, answers_of_predictions),
    "predictions_1": ("field.predictive.npz", write_predictions, answers_of_predictions),
    "estimate": ("simulated.json", write_estimate, answers_of_estimate),
    "batch_estimates": ("batch-0000.zarr.zip", write_batch, experiments.read),
    "batch_posteriors": ("batch-0000.zarr.zip", write_batch, experiments.read),
    **{f"check_{name}": (f"{name}.json", write_check, answers_of_check) for name in checks.CHECKS},
    **{name: ("", partial(fit, name), answers_of_method) for name in METHODS},
}


def answers(folder: Path) -> dict[str, np.ndarray]:
    """What the artifact in a folder holds, as this revision reads it."""
    file, _, read = KINDS[folder.name]
    return read(folder / file)


def main() -> None:
    for name, (file, write, _) in KINDS.items():
        folder = HOME / "artifacts" / name
        if not (folder / "answers.npz").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / file)
            made = {"platform": np.array(json.dumps(here())), **answers(folder)}
            np.savez_compressed(folder / "answers.npz", **made)
            print(folder)


if __name__ == "__main__":
    main()
