"""What parameters can be together: the map to latent numbers, its slopes, and that nothing leaves it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from veridical.errors import TaskError
from veridical.networks.transforms import ParameterTransform
from veridical.tasks import supports
from veridical.tasks.latents import Support
from veridical.tasks.supports import Between, Constraint, OneOf, Ordered, Simplex, Whole

NAMES = ("plain", "a", "b", "c", "k")
FREE = np.tile([-np.inf, np.inf], (5, 1))
CASES: dict[str, Constraint] = {
    "simplex": Simplex(("a", "b", "c")),
    "ordered": Ordered(("a", "b", "c")),
    "ordered above": Ordered(("a", "b", "c"), lower=-2.0),
    "ordered within": Ordered(("a", "b", "c"), -2.0, 5.0),
    "between": Between("b", "2 * plain - 1", "2 * plain + exp(a)"),
    "above": Between("b", lower="plain"),
    "below": Between("b", upper="min(plain, a)"),
    "whole": Whole("k", -2, 3),
    "one of": OneOf("k", (0.5, 1.0, 8.0)),
    "names": OneOf("k", ("x", "y", "z")),
}


def transform(constraint: Constraint) -> ParameterTransform:
    return ParameterTransform.plain(FREE, Support(NAMES, (constraint,)))


def latent(case: str, rng: np.random.Generator, n: int, scale: float = 1.0) -> np.ndarray:
    return scale * rng.normal(size=(n, len(Support(NAMES, (CASES[case],)).kept)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_whatever_a_network_gives_lies_in_the_support(
    case: str, scale: float, rng: np.random.Generator
) -> None:
    theta = transform(CASES[case]).inverse(latent(case, rng, 2000, scale))
    if case == "between" and scale > 1:
        theta = theta[np.abs(theta[:, :2]).max(axis=1) < 30]  # where the bounds are two numbers
    inside = transform(CASES[case]).inside(theta)
    assert inside.all()
    if case == "simplex":
        assert np.abs(theta[:, 1:4].sum(axis=1) - 1).max() < 1e-12


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_again(case: str, rng: np.random.Generator) -> None:
    made = transform(CASES[case])
    theta = made.inverse(latent(case, rng, 500))
    again = made.inverse(made.forward(theta)[0])
    np.testing.assert_allclose(again, theta, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("whole", "one of", "names")])
def test_the_slope_is_that_of_finite_differences(case: str, rng: np.random.Generator) -> None:
    """The determinant of the map to u from all parameters but the last share."""
    made = transform(CASES[case])
    theta, step = made.inverse(latent(case, rng, 20, 0.5)), 1e-6
    columns = made.support.kept  # type: ignore[union-attr]
    found = np.empty((len(theta), len(columns), len(columns)))
    for i, j in enumerate(columns):
        up, down = theta.copy(), theta.copy()
        for moved, by in ((up, step), (down, -step)):
            moved[:, j] += by
            moved[:, 3] -= by if case == "simplex" and j in (1, 2) else 0.0
        found[:, :, i] = (made.forward(up)[0] - made.forward(down)[0]) / (2 * step)
    expected = np.linalg.slogdet(found)[1]
    np.testing.assert_allclose(made.forward(theta)[1], expected, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_what_is_impossible_has_no_density(case: str, rng: np.random.Generator) -> None:
    made, columns = transform(CASES[case]), [NAMES.index(name) for name in CASES[case].names]
    theta = made.inverse(latent(case, rng, 5))
    theta[:, columns] = np.array([7.25, 7.1, 6.9])[: len(columns)] * (-1 if case == "above" else 1) - (
        1e3 if case == "above" else 0
    )
    theta[:, 0] = np.where(theta[:, 0] > 3, 3, theta[:, 0])
    z, log_slope = made.forward(theta)
    assert np.isneginf(log_slope).all() and (z == 0).all()


@pytest.mark.parametrize("case", CASES)
def test_a_constraint_survives_strict_json(case: str) -> None:
    text = json.dumps(CASES[case].to_json(), allow_nan=False)
    assert supports.from_json(json.loads(text)) == CASES[case]


def test_an_interval_without_room_still_holds_a_draw() -> None:
    """Between a and a + 1e-30 lies no other number."""
    support = Support(("a", "b"), (Between("b", "a", "a + 1e-30"),))
    made = ParameterTransform.plain(FREE[:2], support)
    theta = made.inverse(np.array([[3.0, 0.4], [3.0, -800.0]]))
    assert made.inside(theta).all() and np.isfinite(made.forward(theta)[1]).all()


def test_shares_that_a_file_rounds_are_taken(rng: np.random.Generator) -> None:
    rounded = np.round(rng.dirichlet([3.0, 4.0, 5.0], size=300), 4)
    assert Support(("a", "b", "c"), (Simplex(("a", "b", "c")),)).inside(rounded).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Whole("k", 1, 1), "whole numbers lower < upper"),
        (lambda: Whole("k", 0.5, 3), "whole numbers"),
        (lambda: Whole("k", 0, np.inf), "whole numbers"),
        (lambda: OneOf("k", ("a", "a")), "two or more values that differ"),
        (lambda: OneOf("k", ("a", 1.0)), "all texts or all numbers"),
        (lambda: OneOf("k", (2.0, 1.0)), "ascending"),
        (lambda: Simplex(("a",)), "two or more parameters"),
        (lambda: Between("b", "a +"), "neither a number nor a formula"),
        (lambda: Support(NAMES, (Simplex(("a", "x")),)), "no parameter 'x'"),
        (lambda: Support(NAMES, (Simplex(("a", "b")), Ordered(("b", "c")))), "'b' stands in two"),
        (lambda: Support(NAMES, (Between("a", "b"),)), "'a' depends on 'b', which does not stand before"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make()  # type: ignore[operator]
