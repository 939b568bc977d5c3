"""Bins of events: every event in one, the last axis fastest, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import DataError, ShapeError
from veridical.inference.bins import Bins


def test_equal_bins_count_as_a_histogram_does(rng: np.random.Generator) -> None:
    bins, x = Bins.equal([(0.0, 1.0), (-2.0, 2.0)], 5), rng.uniform([0, -2], [1, 2], (400, 2))
    x[:2] = [[0.0, -2.0], [1.0, 2.0]]  # ends belong to the outermost
    expected = np.histogram2d(*x.T, bins=[*bins.edges])[0]
    np.testing.assert_array_equal(bins.counts(x), expected.ravel())
    assert bins.size == 25


def test_bins_of_quantiles_hold_the_same_and_are_open(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1000, 1)) ** 3
    bins = Bins.quantiles(x, 8)
    np.testing.assert_array_equal(bins.counts(x), 125)
    assert bins.counts(np.array([[-1e9], [1e9]])).tolist() == [1, 0, 0, 0, 0, 0, 0, 1]


def test_what_lies_in_no_bin_is_refused() -> None:
    bins = Bins.equal([(0.0, 1.0)], 4)
    with pytest.raises(DataError, match="2 of 3 lie in no bin, expected numbers from"):
        bins.counts(np.array([[0.5], [1.1], [np.nan]]))
    with pytest.raises(ShapeError):
        bins.counts(np.zeros((3, 2)))
    with pytest.raises(DataError, match="finite"):
        Bins.quantiles(np.array([[0.5], [np.inf]]), 2)
