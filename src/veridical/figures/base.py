"""The contract of a figure: what it is made from, its data, its drawing and its words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from veridical.figures.sources import Found, Results, Sources

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawn
else:
    Axes = Drawn = Any  # matplotlib is imported when something is drawn

__all__ = ["Array", "Axes", "Data", "Drawn", "Figure", "Found", "Results", "Sources"]

Array = np.ndarray
Data = Mapping[str, Any]


class Figure(ABC):
    """One kind of figure. All that is computed for it is in its data, from which alone it is drawn.

    Attributes:
        section: Its section of the page, one of `figures.SECTIONS`; there it stands beside the answer, or the
            calibration, of the method and data set that it shows, or else at the head.
        heading: What stands above it there.
        check: The check that it shows for each method, where it shows one.
        rule: The rule that judges what it shows, where one does: the page says below it what that found.
        leads: Whether what it shows answers the heading, and stands right below it.
        read: How to read any figure of this kind, with all that can be in it; Snakemake's report says this.
    """

    section: ClassVar[str]
    heading: ClassVar[str] = ""
    check: ClassVar[str] = ""
    rule: ClassVar[str] = ""
    leads: ClassVar[bool] = False
    read: ClassVar[str]

    def found(self, sources: Sources) -> Iterator[Found]:
        """Yields what each figure of this kind is made from; of a check, its saved results by replicate."""
        yield from sources.of_check(self.check)

    @abstractmethod
    def data(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Returns the data of one, as plain JSON; None where there is nothing to show."""

    @abstractmethod
    def draw(self, data: Data) -> Drawn:
        """Returns the picture of its data; call it inside `style.styled()`."""

    @abstractmethod
    def shows(self, data: Data) -> str:
        """Returns what one shows, in plain words; stands for it where it cannot be seen."""

    def caption(self, data: Data) -> tuple[str, str]:
        """Returns how to read one, and what it shows."""
        return self.read, self.shows(data)

    def table(self, data: Data) -> list[list[str]]:
        """Returns the lines of a table that stands below one, headings first; empty for none."""
        return []


def plain(array: Any) -> list[Any]:
    """Returns an array as nested lists of numbers with eight significant digits."""
    flat = [float(f"{v:.8g}") for v in np.asarray(array, dtype=float).ravel()]
    return np.asarray(flat).reshape(np.shape(array)).tolist()


def thinned(n: int, most: int) -> Array:
    """Returns the places of at most so many of n points, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def histogram(values: Array) -> dict[str, Any]:
    """Returns `edges` and `counts` of numbers (R,): a dozen to a bin, but 8 to 30 bins."""
    counts, edges = np.histogram(values, bins=min(30, max(8, len(values) // 12)))
    return {"edges": plain(edges), "counts": counts.tolist()}


def listed(names: Sequence[str]) -> str:
    """Returns names in words, each once."""
    unique = list(dict.fromkeys(names))
    if len(unique) < 2:
        return "".join(unique)
    return ", ".join(unique[:-1]) + " and " + unique[-1]
