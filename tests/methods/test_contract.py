"""What every method promises: one table for all entries of the registries, estimators and remedies alike.

A new line in a registry is a new case: each method is made small by the names of its settings, gets what they
say that it learns from and nothing else, and each remedy wraps each method that gives what it builds on.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from scipy.special import expit
from scipy.stats import kstest

from tests.remedies.shifted_task import LIKELIHOOD, PRIOR, SHIFTED, coupled, rows, simulate, simulator
from veridical import artifacts, methods, seeds
from veridical.errors import ArtifactError, TaskError
from veridical.estimators import ESTIMATORS, Material, TaskInfo
from veridical.estimators.settings import MethodSettings, TrainedSettings
from veridical.networks import DENSITIES
from veridical.tasks.gaussian_classes import GaussianClasses
from veridical.training import REGULARISERS
from veridical.training.session import Session

TASK = GaussianClasses(0.5)
SMALL = {
    **{"hidden": [8], "features": 2, "transforms": 1, "bins": 4, "members": 2},
    **{"components": 3, "width": 16, "blocks": 1, "sizes": 10},
    **{"ensembles": 2, "walkers": 16, "prior_draws": 200, "warm_up": 10, "proposals": 400},
    **{"epochs": 2, "max_steps": 40, "batch_size": 50, "steps": 10, "looks": 2},
}


def wrapped(name: str) -> list[str]:
    """The methods that a method is tried around; none for an estimator."""
    settings = methods.settings_class(name)
    alike = [
        n
        for n in ESTIMATORS
        if ("classes" in methods.settings_class(n).learns) == ("classes" in settings.learns)
    ]
    giving = methods.giving(settings.builds_on) if settings.builds_on else alike[:1]
    return [] if name in ESTIMATORS else [parent for parent in giving if parent != name]


CASES: dict[str, tuple[str, str | None]] = {}  # the type, and the case of what it wraps
for _name in methods.METHODS:
    for _parent in wrapped(_name) or [None]:
        _case = next((case for case, (kind, _) in CASES.items() if kind == _parent), None)
        CASES[f"{_name}-{_parent}" if _parent else _name] = (_name, _case)


# Of the densities that a posterior can have, each; and what holds or wraps such posteriors.
SPECS: dict[str, dict[str, Any]] = {f"npe {flow}": {"flow": flow} for flow in DENSITIES if flow != "spline"}
SPECS |= {f"npe {network}": {"summary": network} for network in ("set_transformer", "transformer")}
SPECS["npe parts"] = {
    "summary": {
        "type": "parts",
        "parts": {
            "jet": {"entries": ["0:"], "shape": [1, 2], "summary": {"type": "energy_flow", "energy": 0}},
        },
    }
}
SPECS |= {f"j_npe {flow}": {"flow": flow} for flow in ("diffusion", "consistency")}
SPECS |= {f"ensemble {flow}": {"member": {"flow": flow}} for flow in ("flow_matching", "consistency")}
SPECS |= {f"nle {flow}": {"flow": flow} for flow in ("maf", "coupling", "mixture")}
SPECS |= {f"nre {loss}": {"loss": loss} for loss in ("binary", "balanced")}
SPECS["nre scores"] = {"scores": "last_layer"}
SPECS |= {f"{name} importance": {"sampling": {"by": "importance"}} for name in ("nle", "nre")}
SPECS |= {
    "score interval": {"score": "interval"},
    "template_ratios": {"first": ["signal"], "second": ["background"]},
}
SPECS |= {
    f"regularised {kind}".removesuffix(" self_consistency"): {
        "regulariser": {"type": kind},
        "unlabelled": None if kind == "normal_summaries" else "field",
    }
    for kind in REGULARISERS
}
SPECS |= {
    "ml_npe": {"lower": {"low": 200}},
    "ml_nle": {"lower": {"low": 200}},
    "distilled_npe": {"lower": {"low": 200}, "distillation": 0.0},
    "pooled_npe": {"lower": {"low": 200}},
    "pooled_npe ignored": {"lower": {"low": 200}, "level": "ignored"},
}
SPECS["npe longer"] = {"base": "none"}
SPECS["npe distorted"] = {
    "inputs": {"transform": "squash"},
    "training": {"augment": {"type": "spike_and_slab"}},
}
SPECS |= {"rope-npe consistency": {"smoothing": 0.3}}
SPECS |= {"topics": {"simulators": 1, "topics": 1}}
ADDED = {"npe longer": {"training": {"epochs": 100, "max_steps": 400}}}
ADDED |= {f"{name}-npe": {"least_share": 0.0, "draws": 5000} for name in ("importance", "tempered")}
CASES |= {case: (case.split()[0], None) for case in SPECS}
CASES |= {f"{name}-npe consistency": (name, "npe consistency") for name in ("tuned", "rope")}
CASES |= {f"{name}-npe": (name, "npe longer") for name in ("importance", "tempered")}


def answering(*answers: str) -> list[str]:
    return [case for case, (name, _) in CASES.items() if methods.settings_class(name).answers in answers]


def trained(case: str) -> bool:
    settings = methods.settings_class(CASES[case][0])
    return issubclass(settings, TrainedSettings) or "tuned encoder" in settings.gives


def merged(spec: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {k: merged(spec[k], changes[k]) for k in spec.keys() & changes.keys() if isinstance(spec[k], dict)}
    return {**spec, **changes, **both}


def small(settings: BaseModel) -> dict[str, Any]:
    """What makes a method small, of the settings that it has."""
    found = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel) or name in SMALL:
            found[name] = small(value) if isinstance(value, BaseModel) else SMALL[name]
        if name in ("flow", "summary"):
            found[name] = {**value.model_dump(exclude_none=True), **found[name]}
    return found


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261129, "test", "contract", *path)


class Fitted(dict[str, Any]):
    """The method of each case, trained for a moment and saved when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, case: str) -> Any:
        parent = CASES[case][1]
        self[case], result = self.fit(case)
        above = self.folder / parent if self[case].parent is not None and parent else None
        artifacts.save_estimator(self[case], self.folder / case, result, parent=above)
        return self[case]

    def fit(self, case: str, replicate: int = 0) -> tuple[Any, Any]:
        name, parent = CASES[case]
        of = {} if parent is None else {"of": CASES[parent][0]}
        spec = {"type": name, **of, **SPECS.get(case, {})}
        spec = merged(merged(spec, small(methods.typed(name, spec))), ADDED.get(case, {}))
        settings: MethodSettings = methods.typed(name, spec)
        above = self[parent] if parent else None
        if settings.learns_from("classes"):
            classes = {cls: TASK.draw(400, generator(cls), cls) for cls in TASK.classes}
            material = Material(
                classes=classes, validation=dict.fromkeys(classes, np.arange(400) % 10 == 9), parent=above
            )
        else:
            real = rows(40, True, generator("real"))
            real.validation[:] = False
            levels = coupled(200, generator("rows"), *settings.lower_rows) if settings.lower_rows else ()
            simulated = settings.fresh_rows or (settings.learns_from("simulations") and name in ESTIMATORS)
            material = Material(
                simulations=rows(200, False, generator("rows")) if simulated else None,
                calibration=real if settings.learns_from("calibration") else None,
                parent=above,
                prior=PRIOR,
                simulate=simulator(),
                observation=X[0],
                likelihood=LIKELIHOOD,
                unlabelled=real.x if settings.setting("unlabelled") else None,
                levels=levels,
            )
        task = TaskInfo.of(TASK) if settings.learns_from("classes") else SHIFTED
        return methods.fit(spec, task, material, Session(1, (name, replicate)))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return Fitted(tmp_path_factory.mktemp("methods"))


@pytest.fixture(params=answering("posterior"))
def method(request: pytest.FixtureRequest, fitted: Fitted) -> Any:
    return fitted[request.param]


X = simulate(np.array([[0.3], [0.5], [0.7]]), generator("x"))


def events() -> np.ndarray:
    return np.concatenate([TASK.draw(20, generator("events", cls), cls) for cls in TASK.classes])


def without_density(method: Any, log_density: np.ndarray | None) -> bool:
    """Whether a method gives draws alone, and says so when it is asked for more."""
    assert method.has_density == (log_density is not None)
    if method.has_density:
        return False
    with pytest.raises(TaskError, match="draws without densities"):
        method.log_prob(np.full((3, 1), 0.5), X)
    return True


def test_shapes_support_and_stated_density(method: Any) -> None:
    """Flows draw in single precision and state densities in double: equal to 2e-3."""
    draws, log_density = method.sample_and_log_prob(X, 50, generator("draws"))
    assert draws.shape == (50, 3, 1) and draws.dtype == float
    np.testing.assert_allclose(method.sample(X, 50, generator("draws")), draws)
    if without_density(method, log_density):
        return
    assert log_density.shape == (50, 3)
    assert ((draws > 0) & (draws < 1)).all() and np.isfinite(log_density).all()
    np.testing.assert_allclose(method.log_prob(draws, X), log_density, atol=2e-3)
    assert method.log_prob(draws[0], X).shape == (3,)
    for outside in (-0.5, 1.5):
        assert np.isneginf(method.log_prob(np.full((3, 1), outside), X)).all()


def test_summaries_and_transforms(method: Any) -> None:
    summary = method.summary(X)
    basis = method.parent if method.settings.as_parent else method
    assert (summary is None) == (method.cloud is None) == (not basis.settings.offers("summaries"))
    if summary is not None:
        every = method.every_summary(X)
        assert summary.shape[1] * method.summarisers == every.shape[1] == len(method.cloud.mean)
        assert len(summary) == len(every) == 3 and np.isfinite(every).all()
        assert method.cloud.covariance.shape == (every.shape[1],) * 2
    assert set(method.transforms()["parameters"]) == {"share"}


def test_the_density_integrates_to_one_and_draws_follow_it(method: Any) -> None:
    """On 1,500 logits in [-14, 14]: 2e-3 for the trapezia; 2,000 draws by Kolmogorov and Smirnov.

    Mixtures over a plan are smooth and dear: 600 logits and draws.

    Where the evidence is an estimate, five of its errors more, which the share of weights that count tells,
    and no more draws than count; likewise where the method tells an error.
    """
    if not method.has_density:
        return
    points = 600 if method.type == "rope" else 1500
    logit = np.linspace(-14, 14, points)
    theta, given = expit(logit), method.given(X)
    log_p = given.log_prob(np.broadcast_to(theta[:, None, None], (points, 1, 1)), slice(0, 1))[:, 0]
    density = np.exp(log_p) * theta * (1 - theta)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(logit))])
    share = method.standing(X[:1]).numbers.get("share")
    counted = np.inf if share is None else share[0] * method.settings.draws
    error = 1 / np.sqrt(counted) + getattr(method, "mass_error", 0.0)
    assert mass[-1] == pytest.approx(1, abs=2e-3 + 5 * error)
    mass /= mass[-1]
    n = int(min(600 if method.type == "rope" else 2000, counted))
    draws = given.sample_and_log_prob(slice(0, 1), n, generator("ks"))[0][:, 0, 0]
    assert kstest(draws, lambda v: np.interp(np.log(v / (1 - v)), logit, mass)).pvalue > 1e-4


def test_a_batch_is_a_loop_and_the_generator_decides(method: Any) -> None:
    given, rng = method.given(X), generator("draws")
    draws, _ = given.sample_and_log_prob(slice(None), 20, generator("draws"))
    parts = [given.sample_and_log_prob(slice(i, i + 1), 20, rng)[0] for i in range(3)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), draws, rtol=1e-4)
    if method.has_density:
        log_p = [given.log_prob(draws[:, i : i + 1], slice(i, i + 1)) for i in range(3)]
        np.testing.assert_allclose(np.concatenate(log_p, 1), given.log_prob(draws, slice(None)), atol=1e-8)
    np.testing.assert_array_equal(method.sample(X, 20, generator("draws")), draws)
    assert not np.array_equal(method.sample(X, 20, generator("others")), draws)


def test_draws_and_densities_do_not_depend_on_the_size_of_parts(
    method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = method.sample(X, 30, generator("draws"))
    log_p = method.log_prob(whole, X) if method.has_density else None
    for rows_at_once in (
        "estimators.flow_posterior.ROWS",
        "estimators.ensemble.ROWS",
        "estimators.gaussian.ROWS",
        "estimators.sampled.ROWS",
        "estimators.sampled.WALKERS",
    ):
        monkeypatch.setattr(f"veridical.{rows_at_once}", 7)
    monkeypatch.setattr("veridical.remedies.components.FLOW_ROWS", 70)
    np.testing.assert_allclose(method.sample(X, 30, generator("draws")), whole, rtol=1e-4)
    if log_p is not None:
        np.testing.assert_allclose(method.log_prob(whole, X), log_p, atol=1e-8)


@pytest.mark.parametrize("case", answering("posterior"))
def test_files_give_the_same_bits(case: str, fitted: Fitted) -> None:
    method, loaded = fitted[case], artifacts.load_estimator(fitted.folder / case)
    assert type(loaded) is type(method) and loaded.type == CASES[case][0]
    assert loaded.settings == method.settings and loaded.transforms() == method.transforms()
    assert all(np.array_equal(loaded.arrays()[k], array) for k, array in method.arrays().items())
    one, other = (m.sample_and_log_prob(X, 20, generator("draws")) for m in (method, loaded))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_equal(first, second)


@pytest.mark.parametrize("case", CASES)
def test_damaged_arrays_are_refused(case: str, fitted: Fitted) -> None:
    """One is missing; or, where networks answer, their weights are not numbers."""
    method, arrays = fitted[case], fitted[case].arrays()

    def loaded(changed: dict[str, np.ndarray]) -> Any:
        return type(method).from_arrays(method.settings, method.task, changed, method.parent)

    with pytest.raises(ArtifactError, match=r"do not fit|missing|expected an array|cannot be read"):
        loaded({name: arrays[name] for name in list(arrays)[1:]})
    if not isinstance(method.settings, TrainedSettings):
        return
    numbers = {n: a for n, a in arrays.items() if "network." in n and a.dtype.kind == "f"}
    broken = loaded({**arrays, **{n: np.full_like(a, np.nan) for n, a in numbers.items()}})
    answers = [lambda: broken.functions(events())]
    if case in answering("posterior"):
        answers = [lambda: broken.sample(X, 2, generator("draws"))]
        answers += [lambda: broken.log_prob(X[:, :1] / 2, X)] * method.has_density
    for answer in answers:
        with pytest.raises(ArtifactError, match=r"networks? (is|are) broken"):
            answer()


@pytest.mark.parametrize("case", CASES)
def test_the_seed_decides_a_fit_and_leaves_the_parent_alone(case: str, fitted: Fitted) -> None:
    first, above = fitted[case].arrays(), fitted[case].parent
    before = copy.deepcopy(above.arrays()) if above is not None else {}
    again = fitted.fit(case)[0].arrays()
    assert first.keys() == again.keys() and all(np.array_equal(first[k], again[k]) for k in first)
    assert all(np.array_equal(above.arrays()[k], array) for k, array in before.items())
    if trained(case):
        other = fitted.fit(case, replicate=1)[0].arrays()
        assert not all(np.array_equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("case", [case for case in CASES if trained(case)])
def test_a_gradient_reaches_every_parameter(case: str, fitted: Fitted) -> None:
    owner = getattr(fitted[case], "posterior", getattr(fitted[case], "members", [fitted[case]])[0])
    network = getattr(owner, "network", None) or owner.marginal  # of data alone
    network = copy.deepcopy(network).to("cpu").float().requires_grad_(True)
    import torch

    if case in answering("functions"):
        loss = (network(torch.from_numpy(events()).float()) ** 2).sum()
    else:
        some = rows(100, False, generator("gradient"))
        batch = [owner.inputs(some.x, np.float32)]
        if hasattr(owner, "marginal"):
            batch = [batch[0].reshape(100, -1)]
        else:
            batch.insert(0, owner.parameters.forward(some.theta)[0].astype(np.float32))
        batch += [generator("noise").standard_normal((100, network.noise), np.float32)] * (network.noise > 0)
        loss = network.loss(*map(torch.from_numpy, batch))
    loss.backward()
    for at, parameter in network.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), at


@pytest.mark.parametrize("case", answering("functions", "estimate"))
def test_functions_and_estimates(case: str, fitted: Fitted) -> None:
    """Finite, of the stated shapes, one by one as together, and from files with the same bits."""
    functions = case in answering("functions")

    def answer(method: Any, x: np.ndarray) -> np.ndarray:
        if functions:
            return method.functions(x)
        found = method.estimate(x)
        return np.stack([found.value, found.statistical, found.ratio, found.bias], axis=1)

    x = events() if functions else np.stack([TASK.mixture(500, 0.4, generator(i)) for i in range(3)])
    method = fitted[case]
    found = answer(method, x)
    assert (len(found), found.shape[-1]) == ((40, method.size) if functions else (3, 4))
    assert np.isfinite(found).all()
    alone = np.concatenate([answer(method, x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(alone, found, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(answer(artifacts.load_estimator(fitted.folder / case), x), found)
    for refused in (method.sample, method.sample_and_log_prob, lambda x, *_: method.log_prob(x, x)):
        with pytest.raises(TaskError, match="no posterior"):
            refused(x, 3, generator("draws"))
