"""Weights of a log ratio: derivatives, conventions, and whether their covariance is that of many toys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.inference import fixed_basis
from veridical.errors import DataError, ShapeError, TrainingError
from veridical.inference import ratio_weights
from veridical.inference.ratio_weights import Events, RatioFit

KINDS = ("mlc", "bce")


def toys_of(rng: np.random.Generator, n: int, sizes: tuple[int, int], kind: str) -> list[RatioFit]:
    return [ratio_weights.fit(*fixed_basis.pair(rng, *sizes), kind) for _ in range(n)]


def random_pair(rng: np.random.Generator, n: int = 60, d: int = 40) -> tuple[Events, Events]:
    return tuple(
        Events.of(np.hstack([np.ones((k, 1)), rng.normal(size=(k, 3))]), rng.integers(1, 5, k))
        for k in (n, d)
    )


def close(predicted: np.ndarray, found: np.ndarray, toys: int) -> bool:
    """Whether the variances of weights agree, one by one and along every direction."""
    ratio = np.diag(found) / np.diag(predicted)
    eigenvalues = np.linalg.eigvals(np.linalg.solve(predicted, found)).real
    singly = np.abs(ratio - 1).max() < 4 * np.sqrt(2 / toys)
    return bool(singly and eigenvalues.min() > 0.75 and eigenvalues.max() < 1.3)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_loss(kind: str, rng: np.random.Generator) -> None:
    pair, w, h = random_pair(rng), rng.normal(size=4) * 0.3, 1e-5
    gradient, hessian = ratio_weights.derivatives(w, *pair, kind)
    steps = h * np.eye(4)
    numeric = [
        (ratio_weights.loss(w + s, *pair, kind) - ratio_weights.loss(w - s, *pair, kind)) / (2 * h)
        for s in steps
    ]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9)
    bent = [
        (ratio_weights.derivatives(w + s, *pair, kind)[0] - ratio_weights.derivatives(w - s, *pair, kind)[0])
        / (2 * h)
        for s in steps
    ]
    np.testing.assert_allclose(hessian, bent, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_and_means_give_one_covariance(kind: str, rng: np.random.Generator) -> None:
    """V = N V_mean, U = N^2 U_mean for a loss of sums over N events of each class, event by event."""
    n = 500
    x = [rng.normal(size=n) + sign * 0.2 for sign in (1, -1)]
    f = [fixed_basis.in_span(part) for part in x]
    fit = ratio_weights.fit(*(Events.of(part) for part in f), kind)
    V, U = np.zeros((5, 5)), np.zeros((5, 5))
    for part, sign in zip(f, (1, -1), strict=True):
        e = np.exp(-sign * part @ fit.weights)
        terms = [(1 + e) if kind == "mlc" else e / (1 + e), e if kind == "mlc" else e / (1 + e) ** 2]
        V += sum(c * np.outer(g, g) for c, g in zip(terms[1], part, strict=True))
        U += n * np.cov((terms[0][:, None] * part).T, bias=True)
    inverse = np.linalg.inv(V)
    expected = inverse @ U @ inverse
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-8, atol=1e-10 * expected.max())
    np.testing.assert_allclose(fit.covariance, fit.covariance.T, rtol=0, atol=0)
    eigenvalues = np.linalg.eigvalsh(fit.covariance)
    assert eigenvalues[0] >= -1e-12 * eigenvalues[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_events_repeated(kind: str, rng: np.random.Generator) -> None:
    pair = random_pair(rng)
    repeated = (Events.of(np.repeat(e.functions, e.counts.astype(int), axis=0)) for e in pair)
    one, other = ratio_weights.fit(*pair, kind), ratio_weights.fit(*repeated, kind)
    for name in ("weights", "covariance", "largest_share"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-14)
    assert one.numerator.stderr == pytest.approx(other.numerator.stderr, rel=1e-9)


def test_the_constant_balances_the_normalisations(rng: np.random.Generator) -> None:
    """With MLC, the derivative in w_0 vanishes where mean_n[1 / r] = mean_d[r]; both near 1 in the span."""
    fit = toys_of(rng, 1, (4000, 9000), "mlc")[0]
    assert fit.numerator.value == pytest.approx(fit.denominator.value, abs=1e-7)
    assert abs(fit.numerator.value) < 5 * fit.numerator.stderr
    assert fit.ridge == 0 and fit.steps < 8 and fit.decrement < 1e-12


@pytest.fixture(scope="module")
def toys() -> dict[str, list[RatioFit]]:
    rng = np.random.Generator(np.random.PCG64(4))
    return {kind: toys_of(rng, 350, (25_000, 25_000), kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_covariance_is_that_of_toys(kind: str, toys: dict[str, list[RatioFit]]) -> None:
    w = np.array([fit.weights for fit in toys[kind]])
    predicted = np.mean([fit.covariance for fit in toys[kind]], axis=0)
    assert close(predicted, np.cov(w.T), len(w))
    truth = np.array([0, 0.5, 0.5, 0, 0])
    off = (w - truth) @ np.linalg.pinv(np.linalg.cholesky(predicted)).T
    assert np.abs(off.mean(0)).max() < 4.5 / np.sqrt(len(w)), "the truth is in the span"


@pytest.mark.parametrize("kind", KINDS)
def test_a_covariance_that_is_not_centred_is_found_out(kind: str, toys: dict[str, list[RatioFit]]) -> None:
    """Planted fault: U from second moments about 0, three to nine times too large for the constant."""
    w = np.array([fit.weights for fit in toys[kind]])
    pair = [fixed_basis.expected(25_000, k) for k in (1, 0)]
    fit = ratio_weights.fit(*pair, kind)
    h, k = ratio_weights.influence(fit.weights, *pair, kind)
    U = np.zeros((5, 5))
    for e, terms in zip(pair, (h, k), strict=True):
        U = U + terms.T @ (terms * e.counts[:, None]) / e.total**2
    V = ratio_weights.derivatives(fit.weights, *pair, kind)[1]
    faulty = np.linalg.solve(V, np.linalg.solve(V, U).T)
    assert close(fit.covariance, np.cov(w.T), len(w))
    assert not close(faulty, np.cov(w.T), len(w))
    assert faulty[0, 0] > 2.5 * fit.covariance[0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_bias_of_the_weights_is_that_of_toys(kind: str, rng: np.random.Generator) -> None:
    """Small samples, where it shows: along the stated bias, within its error."""
    n, separation = 1000, {"mlc": 0.3, "bce": 0.5}[kind]
    pairs = (fixed_basis.pair(rng, 500, 500, "line", separation) for _ in range(n))
    fits = [ratio_weights.fit(*pair, kind) for pair in pairs]
    off = np.mean([fit.weights for fit in fits], axis=0) - [0, 2 * separation, 0]
    stated = np.mean([fit.bias for fit in fits], axis=0)
    error = np.sqrt(np.mean([np.diag(fit.covariance) for fit in fits], axis=0) / n)
    assert (np.abs(off - stated) < 4 * error).all()
    assert stated[1] > 3 * error[1] and np.abs(stated[[0, 2]]).max() < error[[0, 2]].min()


def test_classes_of_unequal_size(rng: np.random.Generator) -> None:
    fits = toys_of(rng, 300, (40_000, 16_000), "mlc")
    w = np.array([fit.weights for fit in fits])
    predicted = np.mean([fit.covariance for fit in fits], axis=0)
    assert close(predicted, np.cov(w.T), len(w))
    assert np.abs(w[:, 0].mean()) < 4.5 * np.sqrt(predicted[0, 0] / len(w)), (
        "no log(N_n / N_d) in the constant"
    )


def test_normalisations_have_the_errors_they_state(rng: np.random.Generator) -> None:
    """Out of the span the means are not 1; around their expectation they spread as stated."""
    n, size = 400, 5000
    aim = ratio_weights.fit(*(fixed_basis.expected(1e6, k, "out_of_span", 0.5) for k in (1, 0)))
    pulls = []
    for _ in range(n):
        fit = ratio_weights.fit(*fixed_basis.pair(rng, size, size, "out_of_span", 0.5))
        for name in ("numerator", "denominator"):
            found = getattr(fit, name)
            pulls.append((found.value - getattr(aim, name).value) / found.stderr)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(n)  # both means are one number with MLC


def test_events_that_the_functions_were_made_from_are_found_out(rng: np.random.Generator) -> None:
    """Planted fault: D_fit = D_train. A log ratio of histograms fits the events that filled them too well.

    The weight that it should get is known from the expected events. Fitted to fresh events, it spreads
    around that as stated; fitted to the events in the histograms it is many errors off.
    """
    edges, n = np.linspace(-3, 3, 41), 2000
    pulls: dict[str, list[float]] = {"fresh": [], "train": []}
    aims = [fixed_basis.expected(1e6, k, "out_of_span") for k in (1, 0)]
    cells = np.clip(np.digitize(0.02 * np.arange(-300, 301), edges), 0, 41)
    for _ in range(60):
        train = [fixed_basis.draw(rng, n, k)[:, 0] for k in (1, 0)]
        counts = [np.bincount(np.digitize(x, edges), minlength=42) + 1.0 for x in train]
        log_r = np.log(counts[0] / counts[1])

        def functions(where: np.ndarray, log_r: np.ndarray = log_r) -> np.ndarray:
            return np.stack([np.ones(len(where)), log_r[where]], 1)

        aim = ratio_weights.fit(*(replace(e, functions=functions(cells)) for e in aims))
        samples = {"train": train, "fresh": [fixed_basis.draw(rng, n, k)[:, 0] for k in (1, 0)]}
        for name, pair in samples.items():
            fit = ratio_weights.fit(*(Events.of(functions(np.digitize(x, edges))) for x in pair))
            pulls[name].append((fit.weights[1] - aim.weights[1]) / np.sqrt(fit.covariance[1, 1]))
    assert abs(np.mean(pulls["fresh"])) < 4 / np.sqrt(60) and 0.6 < np.std(pulls["fresh"]) < 1.4
    assert np.mean(pulls["train"]) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_dependent_functions_get_a_ridge_that_changes_nothing_else(
    kind: str, rng: np.random.Generator
) -> None:
    """Six exact combinations of five functions; only s = F w and its error have a meaning."""
    pair = fixed_basis.pair(rng, 10_000, 10_000)
    mix = rng.normal(size=(5, 6))
    wide = [Events.of(np.hstack([e.functions, e.functions @ mix]), e.counts) for e in pair]
    plain = ratio_weights.fit(*pair, kind)
    found = ratio_weights.fit(*wide, kind)
    assert 0 < found.ridge <= 1e-6 and plain.ridge == 0
    for fit in (found, ratio_weights.fit(*wide, kind, ridge=1e-8)):
        s, error = fit.log_ratio(wide[0].functions)
        expected, expected_error = plain.log_ratio(pair[0].functions)
        assert np.abs(s - expected).max() < 0.01 * expected_error.max()
        core = pair[0].counts > 20
        np.testing.assert_allclose(error[core], expected_error[core], rtol=0.01)


def test_a_ridge_is_in_the_loss_too(rng: np.random.Generator) -> None:
    """The minimum does not depend on where Newton's method starts, only the pull of the ridge does."""
    pair = random_pair(rng)
    start = np.array([0, 1 / 3, 1 / 3, 1 / 3])
    fit = ratio_weights.fit(*pair, ridge=0.1)
    gradient, hessian = ratio_weights.derivatives(start, *pair)
    penalty = 0.1 * np.trace(hessian) / 4
    gradient = ratio_weights.derivatives(fit.weights, *pair)[0]
    np.testing.assert_allclose(gradient, -penalty * (fit.weights - start), atol=1e-6)


def test_one_event_that_decides_shows(rng: np.random.Generator) -> None:
    """Densities two sigma apart, 200 events: a few events make up the mean of r; close ones do not."""
    for separation, low, high in ((0.1, 0.0, 0.02), (1.0, 0.05, 1.0)):
        x = [rng.normal(sign * separation, size=200) for sign in (1, -1)]
        fit = ratio_weights.fit(*(Events.of(np.stack([np.ones(200), part], 1)) for part in x), "bce")
        assert low < fit.largest_share < high


def test_what_cannot_be_fitted_says_so(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="finite"):
        Events.of(np.full((3, 2), np.nan))
    with pytest.raises(DataError, match="expected events"):
        Events.of(np.empty((0, 2)))
    with pytest.raises(ShapeError):
        Events.of(np.ones((3, 2)), np.ones(4))
    zeros = [Events.of(np.hstack([np.ones((9, 1)), 1e200 * rng.normal(size=(9, 1))])) for _ in range(2)]
    with pytest.raises(TrainingError, match="ratio:"), np.errstate(all="ignore"):
        ratio_weights.fit(*zeros)
