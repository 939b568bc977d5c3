"""Stage report, last jobs: the record of provenance, and the page that a scientist reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from veridical import seals
from veridical.evidence import metrics
from veridical.evidence import provenance as record_of
from veridical.files import write_text
from veridical.report import page, verdict


def render(
    settings: Mapping[str, Any],
    *,
    table: str | Path,
    verdicts: str | Path,
    figures: str | Path,
    provenance: str | Path | None,
    out: str | Path,
) -> None:
    """Writes `report.html`.

    Arguments:
        settings: The study's settings: name, title, description, observations, labels.
        table: `metrics.csv`.
        verdicts: `verdict.json`.
        figures: Folder of figures with their data.
        provenance: `provenance.json`, or None.
        out: Where the page goes.
    """
    text = page.build(
        settings,
        metrics.read(table),
        verdict.load(verdicts),
        page.load_figures(figures),
        None if provenance is None else record_of.load(provenance),
    )
    write_text(out, seals.filled(f"{text.rstrip()}\n<!-- {seals.EMPTY} -->\n"))
    print(f"{out}: {len(text.encode()) / 1e6:.1f} MB")
