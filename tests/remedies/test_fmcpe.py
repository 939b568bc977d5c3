"""FMCPE: closed forms of the kernel density, real data that are simulations, a shift, leaks of labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from tests.remedies.shifted_task import PRIOR, SHIFTED, rows, simulator
from veridical import methods, seeds
from veridical.errors import ArtifactError, TrainingError
from veridical.estimators.base import Material, Rows
from veridical.estimators.npe import NPE
from veridical.estimators.npe_settings import NPESettings
from veridical.remedies.fmcpe import FMCPE
from veridical.remedies.fmcpe_settings import FMCPESettings
from veridical.remedies.kernels import Kernels, bandwidth, smoothing_error
from veridical.training.session import Session

BRIEF = {"steps": 5, "looks": 1, "repeats": 2, "draws": 50, "width": 8, "blocks": 1}
SHORT = {"steps": 60, "looks": 5, "repeats": 10, "draws": 200, "width": 16, "blocks": 1}


def generator(*path: str | int) -> np.random.Generator:
    return seeds.generator(20261130, "test", "fmcpe", *path)


def pairs(n: int, real: bool) -> Rows:
    return replace(rows(n, real, generator("pairs", n)), validation=np.zeros(n, bool))


def fit(npe: NPE, learned: Rows, **settings: Any) -> FMCPE:
    beside = [npe] * len(settings.get("beside", []))
    spec = {"type": "fmcpe", "of": "npe", **settings}
    material = Material(calibration=learned, parent=npe, beside=beside, prior=PRIOR, simulate=simulator())
    found = methods.fit(spec, SHIFTED, material, Session(1, ("fmcpe", 0)))[0]
    assert isinstance(found, FMCPE)
    return found


def test_kernels_of_a_normal_distribution_are_a_wider_one() -> None:
    """2,000 draws of N(1, 0.5^2): density and draws of variance 0.25 (1 + h^2), to some five errors."""
    draws, h = generator("kernels").normal(1.0, 0.5, (2000, 1)), bandwidth(2000, 1)
    found = Kernels(draws, 1e-9)
    z = np.linspace(-1, 3, 41)[:, None]
    wide = norm(1, 0.5 * np.sqrt(1 + h**2))
    np.testing.assert_allclose(np.exp(found.log_prob(z)), wide.pdf(z[:, 0]), atol=0.06)
    again = found.sample(20_000, generator("again"))
    assert again.std() == pytest.approx(draws.std() * np.sqrt(1 + h**2), rel=0.03)
    truths = generator("truths").normal(1.0, 0.5, 20_000)
    lost = (norm(1, 0.5).logpdf(truths) - wide.logpdf(truths)).mean()
    assert lost == pytest.approx(smoothing_error(2000, 1), abs=2e-3)


def test_draws_that_are_all_alike_still_have_a_density() -> None:
    found = Kernels(np.full((50, 2), 0.3), 0.02)
    assert np.isfinite(found.log_prob(np.array([[0.3, 0.3], [9.0, 0.0]]))).all()
    far = np.log(0.02) + norm.logpdf([3.0, 0.0]).sum()
    assert found.log_prob(np.array([[3.0, 0.0]]))[0] == pytest.approx(far, abs=1e-6)


def test_a_shift_is_put_right(npe: NPE) -> None:
    """The wrapped posterior is off by several of its widths; the prior's log density is 0."""
    found, test = fit(npe, pairs(100, True), **SHORT), rows(40, True, generator("test"))
    before, after = (one.log_prob(test.theta, test.x).mean() for one in (npe, found))
    assert after > 0.3 and after > before + 2


def test_pairs_of_the_simulator_leave_the_posterior_about_as_it_is(npe: NPE) -> None:
    """Behind it by less than 0.8 nats: 0.22 for theta blurred twice, the rest for learning from pairs."""
    found = fit(npe, pairs(100, False), correct="data", **SHORT)
    test = rows(40, False, generator("test"))
    gap = npe.log_prob(test.theta, test.x) - found.log_prob(test.theta, test.x)
    assert gap.mean() < 0.8
    centres = [one.sample(test.x, 100, generator("a")).mean(axis=(0, 1)) for one in (found, npe)]
    np.testing.assert_allclose(*centres, atol=0.06)


def test_answers_apart_have_not_seen_their_pairs(npe: NPE) -> None:
    """Labels of one fifth are changed: what answers this fifth stays as it is, to the bit.

    With `correct: best` it may change in whether the second flow takes part, which all pairs choose.
    """
    learned, x, grid = pairs(20, True), rows(3, True, generator("x")).x, np.full((3, 1), 0.4)
    theta = learned.theta.copy()
    theta[::5] = 1 - theta[::5]
    changed = replace(learned, theta=theta)
    one, other = (fit(npe, each, correct="both", **BRIEF) for each in (learned, changed))
    parts = zip(one.apart(learned), other.apart(changed), strict=True)
    same = [np.array_equal(a.log_prob(grid, x), b.log_prob(grid, x)) for (_, a), (_, b) in parts]
    assert same[:4] == [True, False, False, False]  # the last one only stops by it
    assert sorted(np.concatenate([held for held, _ in one.apart(learned)])) == list(range(20))
    with pytest.raises(TrainingError, match="are others"):
        one.apart(changed)


@pytest.mark.parametrize("condition", ["summaries", "moments"])
def test_conditions_and_others_beside(npe: NPE, condition: str) -> None:
    """Each is saved and loaded with the same bits; others beside are asked for their beliefs."""
    beside = ["other"] if condition == "moments" else []
    found = fit(npe, pairs(20, True), condition=condition, beside=beside, **BRIEF)
    loaded = FMCPE.from_arrays(found.settings, SHIFTED, found.arrays(), npe, found.beside)
    x, grid = rows(3, True, generator("x")).x, np.full((3, 1), 0.4)
    np.testing.assert_array_equal(found.log_prob(grid, x), loaded.log_prob(grid, x))
    if beside:
        with pytest.raises(ArtifactError, match="beside it is missing"):
            FMCPE.from_arrays(found.settings, SHIFTED, found.arrays(), npe)


def test_refusals(npe: NPE) -> None:
    with pytest.raises(TrainingError, match="at least 10 labelled"):
        fit(npe, pairs(9, True))
    settings = FMCPESettings(of="npe")
    joint = methods.typed("j_npe", {"type": "j_npe"})
    assert "has learned from the labelled pairs" in str(settings.misfit(joint, "joint"))
    assert settings.misfit(NPESettings(), "npe") is None
