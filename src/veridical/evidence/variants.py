"""Variants: a method at its largest budget, once for each size of its calibration set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from veridical.coordinates import Coordinates
from veridical.evidence.metrics import Row, Table

PRIOR, SBI, REFERENCE = "prior", "sbi", "reference"
UPPER_BOUND = "npe"  # judged on simulated data it is the yardstick `sbi`
FIRST = ("prior", "npe", "ensemble", "mf_npe", "j_npe", "mlp", "ridge")  # in figures, then the others by name


@dataclass(frozen=True)
class Variant:
    """A method at one budget and calibration size; None where it has none."""

    method: str
    budget: int | None = None
    calibration: int | None = None

    @property
    def label(self) -> str:
        """Its name for readers: `rope (50 pairs)`."""
        return self.method if self.calibration is None else f"{self.method} ({pairs(self.calibration)})"

    @property
    def key(self) -> str:
        """Its name in files: `rope-c50`."""
        return self.method if self.calibration is None else f"{self.method}-c{self.calibration}"

    @property
    def cells(self) -> Row:
        """The cells that all of its rows share."""
        return {"method": self.method, "budget": self.budget, "n_calibration": self.calibration}

    @property
    def order(self) -> tuple[int, str, int, int]:
        """Sorts variants as readers meet them: plain methods first, small calibration sets first."""
        place = FIRST.index(self.method) if self.method in FIRST else len(FIRST)
        return place, self.method, self.calibration or 0, self.budget or 0


def pairs(n: int) -> str:
    """Returns a calibration size in words."""
    return f"{n:,} pair{'' if n == 1 else 's'}"


def of_cells(cells: Mapping[str, Any]) -> Variant:
    """Returns the variant that a row, or a verdict, belongs to."""
    return Variant(cells["method"], cells.get("budget"), cells.get("n_calibration"))


def of_coordinates(where: Coordinates) -> Variant:
    """Returns the variant that a result belongs to."""
    return Variant(where.method, where.budget, where.calibration)


def finals(found: Iterable[Variant]) -> list[Variant]:
    """Returns the variants at the largest budget of their method and calibration size, in order."""
    ascending = sorted(found, key=lambda v: v.budget or 0)
    return sorted({(v.method, v.calibration): v for v in ascending}.values(), key=lambda v: v.order)


def of_rows(rows: Iterable[Row]) -> list[Variant]:
    """Returns the final variants of a table of metrics, without the reference."""
    return finals({of_cells(r) for r in rows if r["method"] != REFERENCE})


def summarised(rows: Iterable[Row]) -> Table:
    """Returns the rows that sum up a method: all but those of single posteriors, which are most."""
    return Table(r for r in rows if not r["metric"].startswith("posterior_"))


def leading(found: Iterable[Variant]) -> list[Variant]:
    """Returns of each method the variant with the largest calibration set: the one drawn by itself."""
    kept = {variant.method: variant for variant in finals(found)}  # the largest set comes last
    return sorted(kept.values(), key=lambda v: v.order)
