"""The report of a study: one HTML file, verdict first, that a reader needs nothing else to understand.

Everything in it comes from saved results: the verdict, the table of metrics, the figures with their data, the
record of provenance. The page holds its figures and style inside, asks the network for nothing and runs no
script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veridical import coordinates, figures
from veridical.coordinates import dataset_cells
from veridical.evidence import comparison, notation, numbers, provenance, variants
from veridical.evidence.definitions import GLOSSARY
from veridical.evidence.metrics import DIGEST, Row, select
from veridical.evidence.variants import Variant
from veridical.files import read_json, reading
from veridical.report import experiment_tables, methods_text, missing, tables
from veridical.report.badge import badge
from veridical.report.overview import chosen, overview
from veridical.report.prices import Prices
from veridical.report.step_estimates import Known, LogDensities

MANY = 3  # methods, beyond which what concerns one of them is folded away
MAX_OBSERVATIONS = 3  # tables of posteriors in the page; all of them stand in metrics.csv
BADGES = {
    "trust": ("good", "✓"),
    "trust if the simulator is right": ("good", "✓"),
    "caution": ("caution", "!"),
    "do not trust": ("bad", "✕"),
}
MARKS = {"good": "✓", "caution": "!", "bad": "✕", "cannot tell": "–", "not asked": "–"}
GROUPS = (
    ("bad", "What speaks against it"),
    ("caution", "What calls for caution"),
    ("good", "What speaks for it"),
    ("cannot tell", "What could not be told"),
    ("not asked", "What was not checked"),
)


@dataclass(frozen=True)
class Picture:
    """One figure as the page shows it.

    Attributes:
        kind: Its kind, as in `figures.FIGURES`.
        method: The method it shows; empty for all.
        calibration: The size of its calibration set, where it has one.
        dataset: The data set it shows; empty for none or all.
        figure: What all figures of its kind share: section, heading.
        svg: The picture, ready to stand inside the page.
        read: How to read it.
        shows: What it shows here.
        data: What it was drawn from.
    """

    kind: str
    method: str
    calibration: int | None
    dataset: str
    figure: Any
    svg: str
    read: str
    shows: str
    data: Mapping[str, Any]

    @property
    def table(self) -> list[list[str]]:
        """The lines of the table below it."""
        found: list[list[str]] = self.figure.table(self.data)
        return found

    def heading(self, several: bool) -> str:
        """Returns what stands above it; with its subject where there are several of them."""
        heading: str = self.figure.heading
        if not (heading and several and (self.method or self.dataset)):
            return heading
        if not self.method:
            return f"{heading} ({self.dataset})"
        about = _subject(Variant(self.method, None, self.calibration), self.dataset)
        return f"{heading} {about}" if heading.endswith("?") else f"{heading}: {about}"


def load_figures(folder: str | Path) -> list[Picture]:
    """Returns the figures in a folder, each an SVG with its data as JSON beside it, kinds as registered."""
    found = []
    for path in sorted(Path(folder).glob("*.svg")):
        record = read_json(path.with_suffix(".json"), "the data of a figure")
        figure = figures.build(record["kind"])
        read, shows = figure.caption(record["data"])
        alternative = notation.plain(f"Figure: {record['kind']}. {shows or read}")
        with reading(path, "a figure"):
            svg = inline(path.read_text(encoding="utf-8"), path.stem, alternative)
        of = record["kind"], record["method"], record["calibration"], record["dataset"]
        found.append(Picture(*of, figure, svg, read, shows, record["data"]))
    kinds = list(figures.FIGURES)
    return sorted(found, key=lambda picture: kinds.index(picture.kind))


def inline(svg: str, prefix: str, alternative: str) -> str:
    """Returns an SVG to stand inside a page: own identifiers, scalable, described for screen readers."""
    from xml.sax.saxutils import escape, quoteattr

    svg = svg[svg.index("<svg") : svg.rindex("</svg>") + len("</svg>")]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    stem = re.sub(r"[^A-Za-z0-9_-]", "-", prefix)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{stem}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|href="#|url\(#)', rf"\1{stem}-", svg)
    svg = svg.replace("xlink:xlink:", "xlink:")
    head, rest = svg.split(">", 1)
    width = re.search(r'viewBox="0 0 ([\d.]+)', head)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    limit = f"max-width:{float(width[1]) * 4 / 3:.0f}px" if width else ""
    named = f'{head} role="img" aria-label={quoteattr(alternative)} style="{limit}"'
    return f"{named}><title>{escape(alternative)}</title>{rest}".strip()


def build(
    settings: Mapping[str, Any],
    rows: Sequence[Row],
    verdicts: Mapping[str, Any],
    pictures: Sequence[Picture],
    record: Mapping[str, Any] | None = None,
    *,
    unchecked: Sequence[str] = (),
    notes: Mapping[str, Sequence[str]] | None = None,
    prices: Prices | None = None,
    log_p: Mapping[str, LogDensities] | None = None,
) -> str:
    """Returns the page.

    Arguments:
        settings: The study's settings: `study`, `title`, `description`, `observations`, and the `labels` of
            its names.
        rows: The table of metrics.
        verdicts: The verdicts, as in `verdict.json`.
        pictures: The figures.
        record: The record of provenance.
        unchecked: What could not be made, in sentences.
        notes: How each data set was read, in sentences.
        prices: What changes of the study cost.
        log_p: Log densities at the truth of simulated test sets, by method, budget and replicate.
    """
    judged = [_verdict(found) for found in verdicts["verdicts"]]
    pictures = [with_finding(picture, judged) for picture in pictures]
    leading = set(variants.leading(variants.of_cells(v) for v in judged))
    shown = [v for v in judged if variants.of_cells(v) in leading]
    compared = comparison.table(rows, judged)
    ranking = [line["variant"] for line in compared["lines"]] if compared else []
    if shown:
        first, _ = chosen(shown, ranking, rows)
        shown.sort(key=lambda v: variants.of_cells(v) != variants.of_cells(first))
    answers = [_answer(rows, pictures, found) for found in shown]
    calibration = [_calibration(rows, pictures, v) for v in sorted(leading, key=lambda v: v.order)]
    parts = [*answers, *(part for about in calibration for part in about["labelled"])]
    placed = [picture for part in parts for own in part["pictures"].values() for picture in own]
    units: dict[str, str] = next((p.data["units"] for p in pictures if "units" in p.data), {})
    known = Known(prices or Prices(settings, settings.get("scale", "laptop")), rows, judged, log_p or {})
    first_page = overview(rows, shown, units, ranking, known=known)
    digest = str(verdicts.get(DIGEST, ""))
    context = {
        "overview": first_page,
        "badge": badge(first_page["lead"], settings["study"], digest) if first_page else None,
        "scale": settings.get("scale", "laptop"),
        "methods": methods_text.paragraph(settings, verdicts, rows, record),
        "title": settings.get("title") or settings["study"],
        "settings": settings,
        "task": verdicts.get("task") or "",
        "verdicts": judged,
        "comparison": compared,
        "answers": answers,
        "calibration": calibration,
        "whole": {
            name: [p for p in pictures if p.figure.section == name and p not in placed]
            for name in figures.SECTIONS
        },
        "experiments": experiment_tables.experiment_table(rows),
        "simulators": experiment_tables.simulator_words(rows),
        "training_table": tables.training_table(variants.summarised(rows)),
        "glossary": GLOSSARY,
        "unchecked": unchecked,
        "to_come": missing.to_come(verdicts.get("unchecked", [])),
        "notes": {name: own for name, own in (notes or {}).items() if own},
        "provenance": _provenance(record),
        "real_data": any(v["kind"] == "observed" for v in judged),
        "many": len(leading) > MANY,
    }
    labels = settings.get("labels", {}).get("parameters", {})
    return environment(labels).get_template("report.html.j2").render(context)


def environment(labels: Mapping[str, str]) -> Any:
    """Returns the templates with their filters; parameters are shown by their labels."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=PackageLoader("veridical.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = numbers.rounded
    environment.filters["svg"] = Markup
    environment.filters["words"] = notation.html
    environment.filters["plain"] = notation.plain
    environment.filters["marked"] = _marked

    def named(name: str) -> Markup:
        """A parameter by its label, beside the name that files have."""
        return (
            notation.html(labels[name]) + Markup(" <code>{}</code>").format(name)
            if name in labels
            else escape(name)
        )

    environment.filters["named"] = named
    return environment


def _marked(text: str) -> Any:
    """A sentence of ours in which words between backticks are code."""
    from markupsafe import Markup, escape

    parts = [str(escape(part)) for part in text.split("`")]
    if len(parts) % 2:
        parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
        return Markup("".join(parts))  # noqa: S704  # each part is escaped
    return escape(text)


# ---- verdict -------------------------------------------------------------------------------------


def _verdict(found: Mapping[str, Any]) -> dict[str, Any]:
    colour, mark = BADGES[found["verdict"]]
    groups = []
    for outcome, heading in GROUPS:
        own = [f for f in found["findings"] if f["outcome"] == outcome]
        if own:
            groups.append({"outcome": outcome, "mark": MARKS[outcome], "heading": heading, "findings": own})
    return {
        **found,
        "colour": colour,
        "mark": mark,
        "groups": groups,
        "kind": coordinates.dataset_kind(found["dataset"]),
        "label": variants.of_cells(found).label,
        "about": _subject(variants.of_cells(found), found["dataset"]),
    }


def with_finding(picture: Picture, judged: Sequence[Mapping[str, Any]]) -> Picture:
    """Returns a picture that also tells what the rule found that judges what it shows, and its outcome."""
    of = picture.method, picture.calibration, picture.dataset
    findings = [
        f for v in judged if (v["method"], v["n_calibration"], v["dataset"]) == of for f in v["findings"]
    ]
    found = next(
        (f for f in findings if f["rule"] == picture.figure.rule and f["outcome"] != "not asked"), None
    )
    if found is None:
        return picture
    return replace(picture, shows=f"{picture.shows} {found['text']} Outcome: {found['outcome']}.")


def _subject(variant: Variant, dataset: str) -> str:
    """What a part of the page is about: a method, and the data where they are not simulated."""
    if dataset == "simulated":
        return variant.label
    return f"{variant.label} on {dataset}{' data' if dataset == 'real' else ''}"


def _answer(rows: Sequence[Row], pictures: Sequence[Picture], found: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and figures of one method on one data set."""
    variant, dataset = variants.of_cells(found), found["dataset"]
    where = {**variant.cells, **dataset_cells(dataset)}
    own_pictures = _of(pictures, ("answer", "data"), variant, dataset)
    units: Mapping[str, str] = next(
        (p.data["units"] for p in own_pictures["answer"] if "units" in p.data), {}
    )
    quantiles = select(rows, metric="posterior_quantile", **where)
    observations = sorted({r["observation"] for r in quantiles})
    if found["kind"] != "observed":
        observations = observations[:1]  # an example
    exact = select(rows, method="reference", **dataset_cells(dataset))
    own = select(rows, **where)
    return {
        "about": found["about"],
        "dataset": dataset,
        "verdict": found,
        "estimates": tables.estimate_table(own),
        "shares": experiment_tables.variance_words(own),
        "tables": [tables.posterior_table(own, exact, units, i) for i in observations[:MAX_OBSERVATIONS]],
        "observations": len(observations),
        "pictures": own_pictures,
        "distance": tables.distance_table(own, exact, units),
    }


def _calibration(rows: Sequence[Row], pictures: Sequence[Picture], variant: Variant) -> dict[str, Any]:
    """Figures and numbers of a method on data whose truth is known."""
    own = select(rows, **variant.cells, parameter=None)
    repeated = bool(select(own, metric="experiment_bias"))
    labelled = []
    for dataset in ("real", "simulated"):
        here = [r for r in own if r["dataset"] == dataset]
        lines = tables.calibration_table(here)
        own_pictures = _of(pictures, ("calibration",), variant, dataset)
        if lines or own_pictures["calibration"]:
            n = max(
                (r["n"] for r in here if r["metric"] == "coverage" and r["seed"] is not None), default=None
            )
            repeats = any(line["range"] for line in lines)
            about = {"dataset": dataset, "lines": lines, "pictures": own_pictures, "n": n, "repeats": repeats}
            labelled.append(about)
    return {"method": variant.label, "labelled": labelled, "repeated": repeated}


# ---- provenance ----------------------------------------------------------------------------------


def _provenance(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    run, own = provenance.properties(record, "#run"), provenance.properties(record, "#veridical")
    graph = record["@graph"]
    commit = own["git_revision"]
    state = "" if commit is None else " with uncommitted changes" if own["git_dirty"] else " (clean)"
    facts = {
        "made": provenance.entity(record, "./")["datePublished"],
        "veridical": provenance.entity(record, "#veridical")["softwareVersion"],
        "git revision": "not in a git repository" if commit is None else f"{commit}{state}",
        "root seed": str(run["seed"]),
        "platform": f"{run['platform']} ({run['machine']}, {run['cpu_count']} CPUs)",
    }
    packages = [
        f"{thing['name']} {thing['softwareVersion']}"
        for thing in graph
        if thing["@id"].startswith("#package-")
    ]
    files = [
        {"name": thing["@id"], "size": numbers.size(int(thing["contentSize"])), "sha256": thing["sha256"]}
        for thing in graph
        if thing.get("@type") == "File" and "sha256" in thing
    ]
    data = [
        thing for thing in graph if thing["@id"].startswith("#data-") and thing["@type"] == "CreativeWork"
    ]
    banks = [
        {"name": thing["name"], **provenance.properties(record, thing["@id"])}
        for thing in graph
        if thing["@id"].startswith("#bank-") and thing["@type"] == "CreativeWork"
    ]
    settings = json.dumps(json.loads(provenance.entity(record, "#settings")["text"]), indent=1)
    return {
        "facts": facts,
        "packages": packages,
        "files": files,
        "data": data,
        "banks": banks,
        "settings": settings,
        "cpu_features": ", ".join(json.loads(run["cpu_features"])),
    }


def _of(
    pictures: Sequence[Picture], sections: Sequence[str], variant: Variant, dataset: str
) -> dict[str, list[Picture]]:
    """The pictures of one method and data set, by section."""
    of = (variant.method, variant.calibration, dataset)
    own = [p for p in pictures if (p.method, p.calibration, p.dataset) == of]
    return {section: [p for p in own if p.figure.section == section] for section in sections}
