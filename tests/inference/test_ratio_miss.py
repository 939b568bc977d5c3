"""Score tests of what a span lacks: flat where it lacks nothing, small where it does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.inference import fixed_basis
from veridical.inference import ratio_miss, ratio_weights
from veridical.inference.ratio_weights import Events, RatioFit

Array = np.ndarray


def bent(x: Array) -> Events:
    """Two functions that do not span x."""
    return Events.of(np.stack([np.ones_like(x), np.tanh(2 * x)], axis=1))


@pytest.mark.parametrize("kind", ["bce", "mlc"])
def test_p_values_are_flat_in_the_span(kind: str, rng: np.random.Generator) -> None:
    """100 fits of two classes at unequal numbers; four binomial errors."""
    p = []
    for _ in range(100):
        pair = fixed_basis.pair(rng, 4000, 2500, separation=0.3)
        p.append(ratio_miss.miss(*pair, ratio_weights.fit(*pair, kind), kind))
    for level in (0.2, 0.5, 0.8):
        assert np.mean(np.array(p) < level) == pytest.approx(
            level, abs=4 * np.sqrt(level * (1 - level) / 100)
        )


@pytest.mark.parametrize("kind", ["bce", "mlc"])
def test_a_span_that_misses_is_seen(kind: str, rng: np.random.Generator) -> None:
    pair = bent(rng.normal(0.5, 1, 5000)), bent(rng.normal(-0.5, 1, 5000))
    assert ratio_miss.miss(*pair, ratio_weights.fit(*pair, kind), kind) < 1e-3


def test_what_the_span_has_tells_nothing() -> None:
    """A score of functions that all lie in the span has no directions left."""
    lead = np.array([[-1.0, 1.0]])
    assert ratio_miss.score_p(lead, np.array([0.1, 0.1]), np.full((2, 2), 4.0)) == 1.0
    assert ratio_miss.score_p(np.array([[0.0, 1.0]]), np.array([9.0, 2.0]), np.eye(2)) == pytest.approx(
        0.0455, abs=1e-4
    )
    assert RatioFit.fixed(np.ones(2)).ridge == 0
