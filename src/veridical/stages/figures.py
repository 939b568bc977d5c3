"""Stage report, second job: every figure as SVG, with the data it was drawn from as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from veridical import figures
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.sources import Sources
from veridical.files import write_json


def draw(out: str | Path, sources: Sources, labels: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Draws all figures of a study.

    Arguments:
        out: Folder of `{kind}--{method}[-c{pairs}]--{dataset}.svg` and `.json`, or `{kind}--all`
            of a figure that shows neither one method nor one data set.
        sources: What they are made from.
        labels: What they show for the names of `parameters` and `dimensions`.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for kind in figures.FIGURES:
        figure = figures.build(kind)
        for given, variant, dataset in figure.found(sources):
            data = figure.data(*given)
            if data is None:
                continue
            data |= {"labels": labels} if labels else {}
            of = variant or Variant("")
            name = "--".join([kind, *([part for part in (of.key, dataset) if part] or ["all"])])
            about = {"kind": kind, "method": of.method, "calibration": of.calibration, "dataset": dataset}
            write_json(out / f"{name}.json", {**about, "data": data}, allow_nan=True)
            with style.styled():
                style.save(figure.draw(json.loads(json.dumps(data))), out / f"{name}.svg")
            print(name)
