"""Stage report, second job: every figure as SVG, with the data it was drawn from as JSON beside it."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from veridical import figures, unchecked
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import Figure
from veridical.figures.sources import Sources
from veridical.files import write_json
from veridical.job import printable


def draw(out: str | Path, sources: Sources, log: str = "") -> int:
    """Draws all figures of a study, as far as that can be done; returns how many could not be drawn.

    In place of the data of one that cannot be drawn lies a record, see `veridical.unchecked`.

    Arguments:
        out: Folder of `{kind}--{method}[-c{pairs}]--{dataset}.svg` and `.json`, or `{kind}--all`
            of a figure that shows neither one method nor one data set.
        sources: What they are made from.
        log: The log of the job, which the records name.
    """
    out, failed = Path(out), 0
    out.mkdir(parents=True, exist_ok=True)
    for kind in figures.FIGURES:
        try:
            figure = figures.build(kind)
            for given, variant, dataset in figure.found(sources):
                failed += not _drawn(out, figure, kind, given, variant or Variant(""), dataset, log)
        except Exception as error:
            _leave_record(out / f"{kind}--all.json", {"kind": kind, **_NOTHING}, log, error)
            failed += 1
    return failed


_NOTHING = {"method": "", "calibration": None, "dataset": ""}


def _drawn(
    out: Path, figure: Figure, kind: str, given: tuple[Any, ...], of: Variant, dataset: str, log: str
) -> bool:
    """Draws one figure; whether that could be done."""
    name = "--".join([kind, *([part for part in (of.key, dataset) if part] or ["all"])])
    about = {"kind": kind, "method": of.method, "calibration": of.calibration, "dataset": dataset}
    try:
        data = figure.data(*given)
        if data is None:
            return True
        plain = json.loads(json.dumps(data))
        with style.styled():
            style.save(figure.draw(plain), out / f"{name}.svg")
        figure.caption(plain), figure.table(plain)  # the page asks for them
        write_json(out / f"{name}.json", {**about, "data": data}, allow_nan=True)
    except Exception as error:
        (out / f"{name}.svg").unlink(missing_ok=True)
        _leave_record(out / f"{name}.json", about, log, error)
        return False
    print(name)
    return True


def _leave_record(path: Path, about: dict[str, Any], log: str, error: Exception) -> None:
    """Says in place of a figure why it could not be drawn; what the machine did is raised again."""
    if unchecked.of_machine(error):
        raise error
    print(f"{path.stem} could not be drawn:")
    traceback.print_exception(error)
    unchecked.write(path, printable(unchecked.cause(error)), log, **about)
