"""Labels and units: mathematics where the whole text is valid, money and all else as it is written."""

from __future__ import annotations

import pytest

from veridical.evidence import notation


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (r"$\alpha_s$", "α<sub><i>s</i></sub>"),
        (r"$\mu$m", "μm"),
        (r"W m$^{-2}$", "W m<sup>−2</sup>"),
        (r"km$\,$s$^{-1}$", "km\N{THIN SPACE}s<sup>−1</sup>"),
        (r"$\rm km\,s^{-1}$", "km\N{THIN SPACE}s<sup>−1</sup>"),
        (r"$M_\odot$", "<i>M</i><sub>⊙</sub>"),
        (r"$\mathrm{kg}\,\mathrm{m}^{-3}$", "kg\N{THIN SPACE}m<sup>−3</sup>"),
        (r"$^\circ$C", "°C"),
        (r"$\dot M$ & <b>", "Ṁ &amp; &lt;b&gt;"),
        (r"$\log_{10} \Lambda < x$", "log<sub>10</sub>Λ&lt;<i>x</i>"),
        (r"$\lambda$ [\$]", "λ [$]"),
    ],
)
def test_simple_mathematics_is_shown_with_raised_and_lowered_signs(text: str, html: str) -> None:
    assert notation.is_mathematics(text) and notation.safe(text) == text
    assert notation.html(text) == html


@pytest.mark.parametrize(
    "text",
    [
        "$/kg and $/t", "US$/kg or US$/t", "$5 to US$7", "20 $ per 3 $", "k$/a, M$/a", "$", "$$",
        "US$ and A$", "$5 or more$", "US$_{2005}/kg and US$_{2020}/t", "($)/($)", "$-year and A$-year",
        r"$\micro$m", r"$\si{m}$", r"$\unit{m}$", r"$\SI{5}{m}$", r"$\textrm{m}$", r"$\frac{a$", "$a_$",
        "$x$ in $",
    ],
)  # fmt: skip
def test_money_and_what_matplotlib_does_not_know_stays_as_it_is_written(text: str) -> None:
    assert not notation.is_mathematics(text)
    assert notation.html(text) == notation.plain(text) == text
    assert notation.html(notation.safe(text)) == text, "safe texts are shown as they were"
    assert notation.html(notation.safe(text) + r" in $\mu$m") == text + " in μm"


def test_what_html_cannot_show_stays_as_it_is_written_and_nothing_becomes_markup() -> None:
    assert notation.is_mathematics(r"$\frac{a}{b}$") and notation.html(r"$\frac{a}{b}$") == r"$\frac{a}{b}$"
    for text in ("<script>", r"$x$<script>", r"$<script>$", r"$\mathrm{<script>}$", "$a$ $<$script$>$"):
        assert "<script" not in notation.html(text)
    assert not notation.is_mathematics("a $x\ny$ b"), "matplotlib reads each line for itself"
    assert notation.plain(r"$\alpha_s$ <") == "αs <"
    assert notation.html("a\x00\ud800b") == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"
