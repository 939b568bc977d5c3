"""Numbers as people read them: as many digits as mean something, thousands apart, units of time in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rounded(value: float, digits: int = 3) -> str:
    """Returns a number with so many significant digits: 0.0123, 12.3, 12,300, 1.2 × 10⁻⁷."""
    if not math.isfinite(value):
        return {True: "not a number", False: "infinite" if value > 0 else "-infinite"}[math.isnan(value)]
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -4 <= exponent < 7:
        return _scientific(value, digits)
    return _signed(f"{value:,.{max(0, digits - 1 - exponent)}f}")


def to_precision(value: float, width: float, digits: int = 2) -> str:
    """Returns a number with as many decimals as show `width` to so many significant digits.

    Numbers of one row that share a width thereby share their decimals.
    """
    if not math.isfinite(value) or not math.isfinite(width) or width <= 0:
        return rounded(value)
    decimals = digits - 1 - math.floor(math.log10(width))
    largest = max(abs(value), width)
    if decimals > 6 or largest >= 1e7:
        return _scientific(value, max(digits, math.floor(math.log10(largest / width)) + digits))
    return _signed(f"{value:,.{max(0, decimals)}f}")


def interval(quantiles: Mapping[float, float]) -> tuple[str, str]:
    """Returns median and 90 % interval as text, from quantiles by level."""
    sd = (quantiles[0.95] - quantiles[0.05]) / 3.29
    low, middle, high = (to_precision(quantiles[level], sd) for level in (0.05, 0.5, 0.95))
    return middle, f"{low} to {high}"


def percent(share: float) -> str:
    """Returns a share as percentage, with two digits below 10 %."""
    if not math.isfinite(share):
        return rounded(share)
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Returns a length of time in words: 0.4 s, 12 s, 3 min 20 s, 5 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(n_bytes: float) -> str:
    """Returns a number of bytes in words: 512 B, 1.2 kB, 3.4 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n_bytes < 1000 or unit == "TB":
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    raise AssertionError("unreachable")


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{max(0, digits - 1)}e}".split("e")
    return f"{_signed(mantissa)} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
