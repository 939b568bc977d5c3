"""A badge for papers and pages: a verdict in one sentence, as Markdown, and as a picture without network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from veridical.evidence.comparison import VERDICTS
from veridical.evidence.variants import of_cells
from veridical.version import VERSION

DIGITS = 12  # of the digest of the metrics
_COLOURS = dict(zip(VERDICTS, ("#05603a", "#05603a", "#7a4a00", "#9b1c1c"), strict=True))
_LETTER, _MARGIN = 6.6, 8  # width of a letter, and room beside words


def badge(verdict: Mapping[str, Any], study: str, digest: str) -> dict[str, str]:
    """Returns the badge of one verdict: `sentence`, `markdown` and `svg`.

    Arguments:
        verdict: The verdict, as in `verdict.json`.
        study: Name of the study.
        digest: SHA-256 of the metrics that it follows from.
    """
    label, word = of_cells(verdict).label, verdict["verdict"]
    of = f"{label} on {verdict['dataset']}" if verdict["dataset"] != "simulated" else label
    about = f"study {study}, metrics {digest[:DIGITS]}, veridical {VERSION}"
    return {
        "sentence": f"Verdict on {of}: {word} ({about}).",
        "markdown": f"**veridical: {word}** · {of} · `{study}` `{digest[:DIGITS]}` · {VERSION}",
        "svg": _svg("veridical", word, _COLOURS[word], f"Verdict on {of}: {word} ({about})"),
    }


def _svg(left: str, right: str, colour: str, title: str) -> str:
    """Two words side by side, as badges are drawn."""
    first, second = (round(_LETTER * len(text) + 2 * _MARGIN) for text in (left, right))
    words = "".join(
        f'<text x="{x}" y="14">{escape(text)}</text>'
        for x, text in ((first / 2, left), (first + second / 2, right))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" role="img" '
        f"aria-label={quoteattr(title)}><title>{escape(title)}</title>"
        f'<rect width="{first + second}" height="20" rx="3" fill="#4b5563"/>'
        f'<path d="M{first} 0h{second - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{second - 3}z" fill="{colour}"/>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{words}</g></svg>"
    )
