"""What a training adds to x: laws of the distortions, where they go, the posterior that learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import cauchy, kstest, norm

from veridical import methods
from veridical.estimators.base import Material, Rows, TaskInfo
from veridical.networks.transforms import InputTransform
from veridical.training import DISTORTIONS, fitting, session
from veridical.training.augmentation import Distorted
from veridical.training.distortion_settings import LocalDistortionsSettings, SpikeAndSlabSettings
from veridical.training.local_distortions import MOST, SLOPES

RUN = session.Session(20261130, ("distorted", 0))
NNPE = {"type": "npe", "inputs": {"transform": "squash"}, "training": {"augment": {"type": "spike_and_slab"}}}


def transform(kind: str, shape: tuple[int, ...], mean: float = 0.0, scale: float = 1.0) -> InputTransform:
    return InputTransform(kind, np.full(shape, mean), np.full(shape, scale))


@pytest.mark.parametrize("kind", ["none", "squash"])
def test_errors_of_standardised_x_are_spike_and_slab(kind: str, rng: np.random.Generator) -> None:
    """By Kolmogorov and Smirnov, whatever x is and whether a squash comes last; inputs have five digits."""
    settings, inputs = SpikeAndSlabSettings(share=0.3, spike=0.05, slab=0.5), transform(kind, (4,), 3.0, 2.0)
    x = rng.normal(3, 2, (5000, 4))
    distorted = Distorted.of(settings, inputs)(torch.from_numpy(inputs(x, np.float32)), rng).numpy()
    found = (np.sinh(distorted.astype(float)) if kind == "squash" else distorted) - (x - 3) / 2
    assert kstest(found.ravel(), lambda e: 0.7 * norm.cdf(e / 0.05) + 0.3 * cauchy.cdf(e / 0.5)).pvalue > 1e-4


def test_local_distortions_are_what_they_are_called(rng: np.random.Generator) -> None:
    """A gain keeps zeros of x, and its logarithm has the stated spread; an offset and noise are even."""
    inputs = transform("none", (5, 2), 4.0, 2.0)
    x = rng.normal(4, 2, (20_000, 5, 2))

    def distorted(**chances: float) -> np.ndarray:
        settings = LocalDistortionsSettings(**{"gain": 0, "offset": 0, "noise": 0, **chances})
        given = torch.from_numpy(inputs(x, np.float32))
        return Distorted.of(settings, inputs)(given, rng).numpy() * 2.0 + 4.0

    np.testing.assert_allclose(distorted(), x, atol=1e-5)
    gain = distorted(gain=1) / x
    np.testing.assert_allclose(gain[..., 0], gain[..., 1], rtol=0.02, atol=0.02)  # x is near zero somewhere
    log_gain, t = np.log(np.median(gain, axis=-1)), np.linspace(0, 1, 5)
    parts = np.array([np.ones(5), t - 0.5, np.cos(np.pi * t), np.cos(2 * np.pi * t)])
    sd = np.sqrt(((np.array(SLOPES)[:, None] * parts) ** 2).sum(axis=0))
    assert gain.max() < MOST * 1.05
    for at in range(5):
        assert np.mean(log_gain[:, at] < -sd[at]) == pytest.approx(norm.cdf(-1), abs=0.015)
    assert np.mean(np.abs(distorted(gain=0.25) - x).max(axis=(1, 2)) > 1e-4) == pytest.approx(0.25, abs=0.02)
    offset = (distorted(offset=1) - x) / 2
    np.testing.assert_allclose(offset, offset[:, :1, :1].repeat(5, 1).repeat(2, 2), atol=1e-5)
    assert kstest(offset[:, 0, 0], norm.cdf).pvalue > 1e-4
    noise = (distorted(noise=1) - x) / 2
    assert np.log10(noise.std(axis=(1, 2))).min() < -1.8 and abs(noise.mean()) < 0.01
    assert (noise**2).mean() == pytest.approx(0.9999 / (2 * np.log(100)), rel=0.05)  # sd 10^U(-2, 0)


@pytest.mark.parametrize("kind", DISTORTIONS)
def test_validation_rows_are_distorted_once_and_missing_numbers_stay_so(kind: str) -> None:
    settings = methods.typed("npe", {**NNPE, "training": {"augment": {"type": kind}}}).training.augment
    augment = Distorted.of(settings, transform("squash", (6,)))
    x = np.zeros((200, 6), np.float32)
    x[:, 0] = np.nan
    rows = (np.arange(200.0), x)
    one, same, other = (fitting.distorted(rows, augment, RUN, *path) for path in ("v", "v", "w"))
    np.testing.assert_array_equal(one[0], rows[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert one[1].dtype == np.float32 and np.isnan(one[1][:, 0]).all() and np.isfinite(one[1][:, 1:]).all()
    assert (one[1][:, 1:] != 0).mean() > 0.3 and not np.array_equal(one[1][:, 1:], other[1][:, 1:])


def test_training_among_spikes_and_slabs_gives_the_posterior_of_noisy_data(rng: np.random.Generator) -> None:
    r"""Of x ~ N(theta, 1), theta ~ N(0, 1): E[theta | y] = E[x | y] / 2, with x | y by one integral.

    At y = 30, which only noise explains, that is 0.07, and a plain answer 15. So far out the rows leave the
    network an error of 0.1, at -3 of 0.05, near the simulations of 0.02 (sd over five seeds).
    """
    theta = rng.normal(size=(20_000, 1))
    x = theta + rng.normal(size=theta.shape)
    task = TaskInfo("normal", ("a",), np.array([(-np.inf, np.inf)]), ("",), (1,))
    spec = {**NNPE, "flow": {"hidden": [32]}, "summary": {"type": "mlp", "hidden": [64], "features": 8}}
    spec["training"] = {**NNPE["training"], "max_steps": 600, "learning_rate": 0.01}
    rows = Rows(theta, x, np.arange(len(x)) % 10 == 9)
    estimator, _ = methods.fit(spec, task, Material(rows), RUN)
    y, grid = np.array([0.0, 1.5, -3.0, 30.0]), np.linspace(-8, 8, 16001)
    scale = 2**0.5  # of x: errors are in its units
    errors = (y[:, None] - grid) / scale
    likelihood = 0.5 * norm.pdf(errors, scale=0.01) + 0.5 * cauchy.pdf(errors, scale=0.25)
    weights = likelihood * norm.pdf(grid, scale=scale)
    exact = (weights * grid / 2).sum(axis=1) / weights.sum(axis=1)
    found = estimator.sample(y[:, None], 4000, rng)[:, :, 0].mean(axis=0)
    assert abs(exact[2]) < 1.3 and abs(exact[3]) < 0.1
    assert (np.abs(found - exact) < [0.15, 0.15, 0.2, 0.6]).all(), (found, exact)
    steps = estimator.transforms()["x"]
    assert steps[:2] == ["standardise", "squash"] and "spike_and_slab" in steps[2]


def test_distortions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"`spike_and_slab` wants `inputs.transform: squash`"):
        methods.typed("npe", {**NNPE, "inputs": {"transform": "none"}})
    bent = {**NNPE, "inputs": {}, "training": {"augment": {"type": "local_distortions"}}}
    with pytest.raises(ValidationError, match=r"wants `inputs.transform: none or squash`"):
        methods.typed("npe", bent)
    with pytest.raises(ValidationError, match="local_distortions is for an `npe` or `ensemble`"):
        methods.typed("nre", {"type": "nre", "training": {"augment": {"type": "local_distortions"}}})
    for kind in DISTORTIONS:
        spec = {**NNPE, "training": {"augment": {"type": kind}}}
        code = DISTORTIONS[kind].partition(":")[0]
        assert code in methods.modules(spec) and code not in methods.modules({"type": "npe"})
        assert code in methods.modules({"type": "ensemble", "member": spec})
