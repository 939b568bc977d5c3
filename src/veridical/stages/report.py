"""Stage report, last jobs: the page that a scientist reads, and whether anything is missing from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veridical import seals, unchecked
from veridical.coordinates import Coordinates
from veridical.errors import Unchecked
from veridical.evidence import metrics
from veridical.evidence import provenance as record_of
from veridical.files import read_json, write_json, write_text
from veridical.report import missing, page, verdict
from veridical.report.prices import Prices


def render(
    settings: Mapping[str, Any],
    *,
    table: str | Path,
    verdicts: str | Path,
    figures: str | Path,
    provenance: str | Path | None,
    looks: Iterable[str | Path] = (),
    scores: Iterable[str | Path] = (),
    study: Mapping[str, Any] | None = None,
    data: str | None = None,
    out: str | Path,
) -> None:
    """Writes `report.html`.

    Arguments:
        settings: What the page says of the study: name, title, description, observations, labels, scale.
        table: `metrics.csv`.
        verdicts: `verdict.json`.
        figures: Folder of figures with their data.
        provenance: `provenance.json`, or None.
        looks: `observe/{dataset}.look.json`, with notes on how the data were read.
        scores: Checks `scores` on simulated test data, at all budgets.
        study: All settings of the study, for the prices of changes to them.
        data: The file of new data, if the page is about such.
        out: Where the page goes.
    """
    text = page.build(
        settings,
        metrics.read(table),
        verdict.load(verdicts),
        page.load_figures(figures),
        None if provenance is None else record_of.load(provenance),
        unchecked=missing.of_study(verdicts, figures),
        prices=Prices(study or settings, settings.get("scale", "laptop"), data),
        log_p=_log_densities(scores),
        notes={Path(path).name.split(".")[0]: _notes(path) for path in looks},
    )
    write_text(out, seals.filled(f"{text.rstrip()}\n<!-- {seals.EMPTY} -->\n"))
    print(f"{out}: {len(text.encode()) / 1e6:.1f} MB")


def _log_densities(scores: Iterable[str | Path]) -> dict[str, dict[int, dict[int, np.ndarray]]]:
    """Log densities at the truth of test sets, by method, budget and replicate, where they are known."""
    found: dict[str, dict[int, dict[int, np.ndarray]]] = {}
    for path in unchecked.made(scores):
        where, curves = Coordinates.of(path), read_json(path, "the result of a check")["curves"]
        if where.budget is not None and where.replicate is not None and "log_density" in curves:
            log_p = np.array(curves["log_density"], dtype=float)
            found.setdefault(where.method, {}).setdefault(where.budget, {})[where.replicate] = log_p
    return found


def _notes(look: str | Path) -> list[str]:
    return list(read_json(look, "a look at data").get("notes", ()))


def outcome(verdicts: str | Path, figures: str | Path, out: str | Path) -> None:
    """Writes that nothing is missing from a report.

    Arguments:
        verdicts: `verdict.json`.
        figures: The folder of figures.
        out: Where the record goes.

    Raises:
        Unchecked: If something is, with each part, its cause and its log.
    """
    found = missing.of_study(verdicts, figures)
    if found:
        raise Unchecked(
            f"the report is there but lacks what could not be made: {'; '.join(found)}. Mend the cause and "
            "run again, which makes it, or leave such checks out of the study."
        )
    write_json(out, {"unchecked": []})
