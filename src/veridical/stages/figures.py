"""Stage report, second job: every figure as SVG, with the data it was drawn from as JSON beside it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from veridical import figures, unchecked
from veridical.errors import Unchecked
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import Figure
from veridical.figures.sources import Sources
from veridical.files import write_json
from veridical.job import printable


def draw(
    out: str | Path,
    sources: Sources,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    log: str = "",
    sections: Sequence[str] = figures.SECTIONS,
) -> None:
    """Draws the figures of a study, as far as that can be done.

    In place of the data of one that cannot be drawn lies a record, see `veridical.unchecked`.

    Arguments:
        out: Folder of `{kind}--{method}[-c{pairs}]--{dataset}.svg` and `.json`, or `{kind}--all`
            of a figure that shows neither one method nor one data set.
        sources: What they are made from.
        labels: What they show for the names of `parameters` and `dimensions`.
        log: The log of the job, which the records name.
        sections: The sections of the page whose figures are drawn.

    Raises:
        Unchecked: After all others were drawn, if some could not be.
    """
    out, failed = Path(out), list[str]()
    out.mkdir(parents=True, exist_ok=True)
    for kind in figures.FIGURES:
        about: dict[str, Any] = {"kind": kind, "method": "", "calibration": None, "dataset": ""}
        with _without(out / f"{kind}--all", about, log, failed):
            figure = figures.build(kind)
            for given, variant, dataset in figure.found(sources) if figure.section in sections else ():
                of = variant or Variant("")
                name = "--".join([kind, *([part for part in (of.key, dataset) if part] or ["all"])])
                about = {"kind": kind, "method": of.method, "calibration": of.calibration, "dataset": dataset}
                with _without(out / name, about, log, failed):
                    _draw(figure, given, labels, out / name, about)
    if failed:
        raise Unchecked(f"could not be drawn: {'; '.join(failed)}.")


def _draw(
    figure: Figure,
    given: tuple[Any, ...],
    labels: Mapping[str, Mapping[str, str]] | None,
    path: Path,
    about: dict[str, Any],
) -> None:
    """Draws one figure, where there is anything to show, and has it say what the page asks for."""
    data = figure.data(*given)
    if data is None:
        return
    data |= {"labels": labels} if labels else {}
    plain = json.loads(json.dumps(data))
    with style.styled():
        style.save(figure.draw(plain), path.with_name(f"{path.name}.svg"))
    figure.caption(plain), figure.table(plain)
    write_json(path.with_name(f"{path.name}.json"), {**about, "data": data}, allow_nan=True)
    print(path.name)


@contextmanager
def _without(path: Path, about: dict[str, Any], log: str, failed: list[str]) -> Iterator[None]:
    """Leaves a record in place of a figure that cannot be drawn; what the machine did is raised again."""
    try:
        yield
    except Exception as error:
        if unchecked.of_machine(error):
            raise
        print(f"{path.name} could not be drawn:", traceback.format_exc(), sep="\n")
        cause = printable(unchecked.cause(error))
        path.with_name(f"{path.name}.svg").unlink(missing_ok=True)
        unchecked.write(path.with_name(f"{path.name}.json"), cause, log, **about)
        failed.append(f"{path.name} ({cause})")
