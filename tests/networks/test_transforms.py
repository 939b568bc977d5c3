"""Transforms of x and theta: inverses, Jacobians, bounds, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import DataError, ShapeError, TrainingError
from veridical.networks import transforms
from veridical.networks.transforms import InputTransform, ParameterTransform

BOUNDS = np.array([(-np.inf, np.inf), (0.0, np.inf), (-np.inf, 2.0), (-1.0, 3.0)])


def parameters(rng: np.random.Generator, n: int) -> np.ndarray:
    free = rng.normal(size=(n, 4))
    return np.stack(
        [free[:, 0], np.exp(free[:, 1]), 2 - np.exp(free[:, 2]), 4 / (1 + np.exp(free[:, 3])) - 1], 1
    )


def test_standardised_parameters_have_zero_mean_and_unit_variance(rng: np.random.Generator) -> None:
    theta = parameters(rng, 500)
    z, _ = ParameterTransform.fit(theta, BOUNDS).forward(theta)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)


def test_the_inverse_undoes_the_transform(rng: np.random.Generator) -> None:
    theta = parameters(rng, 500)
    transform = ParameterTransform.fit(theta, BOUNDS)
    np.testing.assert_allclose(transform.inverse(transform.forward(theta)[0]), theta, rtol=1e-12, atol=1e-12)
    assert transform.kinds == ("none", "log", "log", "logit")


def test_the_jacobian_is_that_of_finite_differences(rng: np.random.Generator) -> None:
    theta = parameters(rng, 50)
    transform = ParameterTransform.fit(theta, BOUNDS)
    step = 1e-6
    slopes = np.stack(
        [
            (transform.forward(theta + step * e)[0] - transform.forward(theta - step * e)[0])[:, j]
            / (2 * step)
            for j, e in enumerate(np.eye(4))
        ],
        axis=1,
    )
    np.testing.assert_allclose(transform.forward(theta)[1], np.log(slopes).sum(axis=1), atol=1e-4)


def test_draws_lie_strictly_inside_the_bounds_however_extreme() -> None:
    transform = ParameterTransform(BOUNDS, np.zeros(4), np.ones(4))
    z = np.array([-1e308, -1e5, -800.0, -40.0, 0.0, 40.0, 800.0, 1e5])[:, None] * [0, 1, 1, 1]
    theta = transform.inverse(z)
    assert transform.inside(theta).all()
    assert not np.isposinf(transform.forward(theta[np.abs(z[:, 1]) < 700])[1]).any()


def test_parameters_outside_their_bounds_have_no_density() -> None:
    transform = ParameterTransform(BOUNDS, np.zeros(4), np.ones(4))
    z, log_slope = transform.forward(np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 1, 1, 3.5], [0, 1, 1, 1.0]]))
    assert np.isneginf(log_slope[:3]).all() and np.isfinite(log_slope[3])
    assert np.isfinite(z).all()


@pytest.mark.parametrize(("column", "value", "message"), [(1, -1.0, "row 7"), (0, None, "number 0")])
def test_parameters_that_no_flow_can_learn_are_refused(
    column: int, value: float | None, message: str, rng: np.random.Generator
) -> None:
    theta = parameters(rng, 20)
    theta[7 if value is not None else slice(None), column] = value if value is not None else 1.0
    with pytest.raises(TrainingError, match=message):
        ParameterTransform.fit(theta, BOUNDS)


@pytest.mark.parametrize(("kind", "function"), [("none", np.array), ("log", np.log), ("asinh", np.arcsinh)])
def test_inputs_are_standardised_per_number(kind: str, function: object, rng: np.random.Generator) -> None:
    x = np.exp(rng.normal(2, 1, size=(300, 5, 2))).astype(np.float32)
    transform = InputTransform.fit(x, kind)
    out = transform(x)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(out.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(out * transform.scale + transform.mean, function(x.astype(float)))  # type: ignore[operator]


def test_numbers_with_heavy_tails_alone_are_compressed(rng: np.random.Generator) -> None:
    """Of exp(sigma z) the sd is 2.0 times what quartiles say at sigma 1, 0.96 at 0.1, 10 at 1.8."""
    sigma = np.array([0.1, 1.8, 0.0])
    x = np.where(sigma, np.exp(rng.normal(size=(2000, 3)) * sigma), rng.random((2000, 3)) < 0.1)
    found = InputTransform.fit(x, "auto")
    assert found.tails is not None and (found.tails[1] > 0).tolist() == [False, True, False]
    low, middle, high = np.quantile(x[:, 1], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.tails[:, 1], [middle, (high - low) / 1.349])
    u = (x[:, 1] - middle) / found.tails[1, 1]
    out = found(x)
    assert np.corrcoef(out[:, 1], np.arcsinh(u))[0, 1] == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(out[:, [0, 2]], InputTransform.fit(x, "none")(x)[:, [0, 2]])
    np.testing.assert_allclose([out.mean(axis=0), out.std(axis=0)], [[0] * 3, [1] * 3], atol=1e-12)
    again = InputTransform.from_arrays("auto", found.arrays())
    np.testing.assert_array_equal(again(x), out)


def test_without_heavy_tails_or_many_rows_auto_is_none(rng: np.random.Generator) -> None:
    heavy = np.exp(2 * rng.normal(size=(99, 2)))
    for x in (rng.normal(size=(500, 2)), heavy):
        found, plain = InputTransform.fit(x, "auto"), InputTransform.fit(x, "none")
        assert found.arrays().keys() == plain.arrays().keys()
        np.testing.assert_array_equal(found(x), plain(x))


def test_what_is_pooled_is_compressed_alike(rng: np.random.Generator) -> None:
    simulated, real = np.exp(2 * rng.normal(size=(1000, 2))), rng.normal(size=(40, 2))
    own = InputTransform.fit(simulated, "auto")
    pooled = own.pooled(InputTransform.fit(real, "auto", like=own))
    out = np.concatenate([np.repeat(pooled(real), 25, axis=0), pooled(simulated)])
    np.testing.assert_allclose([out.mean(axis=0), out.std(axis=0)], [[0, 0], [1, 1]], atol=1e-9)


def test_exchangeable_elements_share_their_tails_and_missing_numbers_count_for_nothing(
    rng: np.random.Generator,
) -> None:
    x = np.exp(2 * rng.normal(size=(300, 6, 2))) * [1, 5]
    x[rng.random(x.shape) < 0.2] = np.nan
    found = InputTransform.fit(x, "auto", shared=0, has_missing=True)
    assert found.tails is not None
    np.testing.assert_array_equal(found.tails, found.tails[:, :1].repeat(6, axis=1))
    np.testing.assert_allclose(found.tails[0, 0], np.nanmedian(x, axis=(0, 1)))
    assert (np.isnan(found(x)) == np.isnan(x)).all()


def test_statistics_do_not_depend_on_the_size_of_chunks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.normal(5, 2, size=(1000, 3))
    whole = InputTransform.fit(x, "asinh")
    monkeypatch.setattr(transforms, "_CHUNK", 64)
    parts = InputTransform.fit(x, "asinh")
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-13)
    np.testing.assert_allclose(parts(x), whole(x), rtol=1e-10)


def test_exchangeable_rows_share_their_statistics(rng: np.random.Generator) -> None:
    transform = InputTransform.fit(rng.normal([0, 5], [1, 2], size=(400, 6, 2)), "none", shared=0)
    assert (transform.mean == transform.mean[0]).all() and (transform.scale == transform.scale[0]).all()
    np.testing.assert_allclose(transform.scale[0], [1, 2], rtol=5 / np.sqrt(2 * 2400))


def test_a_number_that_never_varies_becomes_zero(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 2))
    x[:, 1] = 4
    assert (InputTransform.fit(x, "none")(x)[:, 1] == 0).all()


def test_the_log_of_what_has_none_is_refused(rng: np.random.Generator) -> None:
    x = np.abs(rng.normal(size=(30, 2)))
    transform = InputTransform.fit(x, "log")
    x[3, 1] = 0
    for call in (lambda: InputTransform.fit(x, "log"), lambda: transform(x)):
        with pytest.raises(DataError, match=r"'log' expects positive numbers, got 0; choose 'asinh'"):
            call()


def test_x_that_is_not_finite_or_of_another_shape_is_refused(rng: np.random.Generator) -> None:
    transform = InputTransform.fit(rng.normal(size=(30, 2)), "none")
    with pytest.raises(DataError, match="1 of 3 rows"):
        transform(np.array([[0, 1], [np.nan, 0], [1, 1]]))
    with pytest.raises(ShapeError, match="expected shape"):
        transform(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match="at least one row"):
        InputTransform.fit(np.zeros((0, 2)), "none")


# ---- missing numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("exchangeable", [False, True])
def test_statistics_are_those_of_the_numbers_that_are_there(
    exchangeable: bool, rng: np.random.Generator
) -> None:
    x = rng.normal(3.0, 2.0, size=(400, 5))
    x[:, 1:][rng.random((400, 4)) < 0.4] = np.nan
    x[:, 4] = np.nan
    transform = InputTransform.fit(x, "none", shared=0 if exchangeable else None, has_missing=True)
    out = transform(x, np.float32)
    assert np.array_equal(np.isnan(out), np.isnan(x))
    there = out[~np.isnan(x)] if exchangeable else out[:, :4]
    np.testing.assert_allclose(np.nanmean(there, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(there, axis=0), 1, rtol=1e-6)
    assert exchangeable or (transform.mean[4], transform.scale[4]) == (0, 1)


def test_a_row_of_numbers_none_of_which_is_there_is_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 2)) ** 2
    x[1, 0] = np.nan
    transform = InputTransform.fit(x, "log", has_missing=True)
    x[2] = np.nan
    with pytest.raises(DataError, match="got others in 1 of 6 rows"):
        transform(x)
    with pytest.raises(DataError, match="got others in 2 of 6 rows"):
        InputTransform(transform.kind, transform.mean, transform.scale)(x)
