"""The report: verdict first, self-contained, safe, and readable in a browser."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.report.conftest import MadeUp, build_study, finish
from veridical.errors import ArtifactError
from veridical.evidence import metrics, numbers
from veridical.report import missing, verdict
from veridical.report import page as report

Browser = Callable[..., subprocess.CompletedProcess[str]]
# What the browser asks for on its own behalf, whatever its flags say.
OF_CHROMIUM = re.compile(r"chrome|devtools|https?://[\w.-]*\.?(google|googleapis|gvt1)\.com")
FIGURES = 14  # of the study
BADGE = 1  # a picture that is no figure
VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use", "rect", "stop"}


class Page(HTMLParser):
    """Collects tags, identifiers and links, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [v for k in ("href", "src", "xlink:href") if (v := found.get(k))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


@pytest.fixture(scope="module")
def page(study: MadeUp) -> Page:
    return Page(study.page.read_text())


def words(page: Page) -> str:
    return re.sub(r"\s+", " ", " ".join(page.text))


def test_the_verdict_comes_first_in_words_and_not_by_colour_only(page: Page) -> None:
    text = words(page)
    assert text.index("The answer") < text.index("TRUST") < text.index("Are the stated probabilities right?")
    assert "What speaks for it" in text
    signs = [attrs for _, attrs in page.tags if attrs.get("class") == "sign"]
    assert signs and all(sign["aria-hidden"] == "true" for sign in signs)


def test_every_section_is_there_and_every_link_leads_somewhere(page: Page) -> None:
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert {"verdict", "answer", "data", "calibration", "training", "cost", "provenance", "glossary"} <= set(
        inside
    )
    assert set(inside) <= set(page.ids)


def test_identifiers_are_unique_though_figures_share_theirs(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))


def test_the_page_needs_nothing_from_anywhere_and_runs_no_script(page: Page, study: MadeUp) -> None:
    assert not [link for link in page.links if not link.startswith(("#", "data:,"))]
    assert "script" not in {tag for tag, _ in page.tags}
    text = study.page.read_text()
    assert not re.search(r"@import|url\((?!#)", text)


def test_every_figure_has_a_caption_and_a_text_in_its_place(page: Page) -> None:
    pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len([tag for tag, _ in page.tags if tag == "figure"]) == FIGURES == len(pictures) - BADGE
    assert all(p["role"] == "img" and len(p["aria-label"] or "") > 40 for p in pictures)
    assert [tag for tag, _ in page.tags].count("figcaption") == FIGURES


def test_the_table_shows_parameters_in_the_order_of_the_task_with_units_and_the_exact_answer(
    page: Page,
) -> None:
    text = words(page)
    assert text.index("start thousand (log)") < text.index("hare 1/year") < text.index("lynx 1/year")
    assert "exact 90 % interval" in text and "repeats differ by" in text


def test_the_numbers_of_the_table_are_those_of_the_metrics(page: Page, study: MadeUp) -> None:
    rows = metrics.read(study.table)
    cells = {
        "method": "npe",
        "seed": 0,
        "parameter": "hare",
        "metric": "posterior_quantile",
        "dataset_name": "pelts",
    }
    low, middle, high = (metrics.value(rows, level=level, **cells) for level in (0.05, 0.5, 0.95))
    assert low is not None and middle is not None and high is not None
    sd = (high - low) / 2 / 1.645
    text = words(page)
    assert f"hare 1/year {numbers.to_precision(middle, sd)}" in text
    assert f"{numbers.to_precision(low, sd)} to {numbers.to_precision(high, sd)}" in text


def test_the_question_of_more_simulations_is_answered(page: Page) -> None:
    assert re.search(r"Would more simulations help\?\s+(Probably|Cannot)", words(page))


def test_equal_results_give_an_equal_page(study: MadeUp, tmp_path: Path) -> None:
    from veridical.stages.report import render

    inputs = {"table": study.table, "verdicts": study.verdicts, "figures": study.figures}
    render(study.settings, **inputs, provenance=study.provenance, out=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == study.page.read_bytes()


def built(study: MadeUp, **changes: Any) -> str:
    given: dict[str, Any] = {
        "settings": study.settings,
        "rows": metrics.read(study.table),
        "verdicts": verdict.load(study.verdicts),
        "pictures": report.load_figures(study.figures),
    }
    return report.build(**{**given, **changes})


def test_text_of_users_cannot_become_markup(study: MadeUp) -> None:
    settings = {**study.settings, "title": "<script>alert(1)</script>", "description": "a & b <img src=x>"}
    text = built(study, settings=settings)
    assert "<script" not in text and "<img" not in text
    assert "&lt;script&gt;" in text
    Page(text)


def test_labels_stand_beside_the_names_in_tables(study: MadeUp) -> None:
    labels = {"parameters": {"hare": r"$r_\mathrm{h}$"}}
    text = built(study, settings={**study.settings, "title": r"Pelts in $/kg & $\mu$m", "labels": labels})
    assert '<th scope="row"><i>r</i><sub>h</sub> <code>hare</code></th>' in text
    assert '<th scope="row">lynx</th>' in text and r"<h1>Pelts in $/kg &amp; $\mu$m</h1>" in text


def test_below_the_figure_of_predictions_stands_what_the_rule_found(study: MadeUp) -> None:
    """The same sentence as among the findings, whatever the rule says."""
    for outcome, text in (("bad", "It <does> not."), ("cannot tell", "Says nothing here: none.")):
        verdicts = verdict.load(study.verdicts)
        for found in verdicts["verdicts"]:
            (own,) = [f for f in found["findings"] if f["rule"] == "reproduces"]
            own |= {"outcome": outcome, "text": text}
        figures = built(study, verdicts=verdicts).split('<figure id="figure-')[1:]
        captions = {
            f.split('"')[0]: f.partition("<figcaption>")[2].partition("</figcaption>")[0] for f in figures
        }
        told = f"{escape(text)} Outcome: {outcome}."
        assert [name for name, caption in captions.items() if told in caption] == ["predictive-npe-pelts"]


def test_the_page_says_how_data_were_read_and_what_could_not_be_made(study: MadeUp) -> None:
    notes = {"pelts": ["read by position: <b>no names</b>"], "other": []}
    text = built(study, notes=notes, unchecked=["check sbc of npe: ValueError: <i>no</i>"])
    page = Page(text)
    assert "How the data pelts were read (1 note) read by position: <b>no names</b>" in words(page)
    assert "What could not be made" in words(page) and "ValueError: <i>no</i>" in words(page)
    assert "the data other were read" not in words(page)
    assert "could not be made" not in words(Page(built(study))) and "were read" not in built(study)


def test_a_first_page_says_what_is_still_to_come(study: MadeUp) -> None:
    whole = verdict.load(study.verdicts)
    entries = [{"what": what, "cause": missing.TO_COME} for what in ("the exact reference", "check <i>")]
    text = words(Page(built(study, verdicts={**whole, "unchecked": entries * 2})))
    assert "A first page. Still to come: the exact reference, <i>." in text
    assert "What could not be made" not in text
    assert "Still to come" not in words(Page(built(study)))


def test_a_page_without_provenance_and_figures_still_stands(study: MadeUp) -> None:
    text = built(
        study, pictures=[], rows=[r for r in metrics.read(study.table) if r["metric"] != "posterior_quantile"]
    )
    page = Page(text)
    assert "Provenance" not in words(page)
    assert "TRUST" in words(page)


@pytest.mark.parametrize(("word", "colour"), [("caution", "caution"), ("do not trust", "bad")])
def test_each_verdict_has_its_own_sign_and_word(study: MadeUp, word: str, colour: str) -> None:
    found = copy.deepcopy(verdict.load(study.verdicts))
    found["verdicts"][0]["verdict"] = word
    found["verdicts"][0]["findings"][0]["outcome"] = colour
    page = Page(built(study, verdicts=found))
    assert word.upper() in words(page)
    assert f"verdict {colour}" in {attrs.get("class") for _, attrs in page.tags}


def test_several_methods_and_observations_share_a_page(tmp_path: Path) -> None:
    several = {"methods": ("npe", "npe_small"), "observed": {"pelts": 5, "more": 1}}
    made = finish(build_study(tmp_path, **several, replicates=1, budgets=(2000,), reference=False, tests=60))
    page = Page(made.page.read_text())
    text = words(page)
    assert "Which answer to trust?" in text and "verdict on more" in text
    for subject in ("npe on pelts", "npe on more", "npe_small on pelts", "npe_small on more"):
        assert subject in text
    assert "Observation 3 of 5" in text and "Observation 4 of 5" not in text
    assert len(page.ids) == len(set(page.ids))


def test_a_broken_result_is_refused_rather_than_shown(study: MadeUp, tmp_path: Path) -> None:
    broken = tmp_path / "figures"
    shutil.copytree(study.figures, broken)
    (broken / "cost--all.json").unlink()
    with pytest.raises(ArtifactError, match=r"cost--all\.json is missing"):
        report.load_figures(broken)


def test_a_study_without_data_reference_or_budgets_gets_the_figures_that_it_can(tmp_path: Path) -> None:
    made = finish(build_study(tmp_path, observed={}, reference=False, replicates=1, budgets=(2000,)))
    kinds = {p.name.split("--")[0] for p in made.figures.glob("*.svg")}
    assert kinds == {
        *(
            "answer",
            "posterior",
            "ranks",
            "coverage",
            "recovery",
            "contraction",
            "planted",
            "training",
            "cost",
        )
    }
    (found,) = json.loads(made.verdicts.read_text())["verdicts"]
    assert (found["dataset"], found["verdict"]) == ("simulated", "caution")
    assert "An example answer" in made.page.read_text()


# ---- in a browser --------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_renders_in_a_browser_without_errors_or_requests(
    study: MadeUp, tmp_path: Path, in_browser: Browser
) -> None:
    log = tmp_path / "net.json"
    shot = in_browser(
        study.page,
        tmp_path,
        f"--screenshot={tmp_path / 'page.png'}",
        "--window-size=900,1600",
        f"--log-net-log={log}",
    )
    assert "CONSOLE" not in shot.stderr, shot.stderr
    picture = plt.imread(tmp_path / "page.png")
    assert len(picture) == 1600
    assert len(np.unique(picture.reshape(1600, -1), axis=0)) > 300, "the picture is blank or nearly so"
    urls = {
        url for url in re.findall(r'"url":"([a-z]+://[^"]+)"', log.read_text()) if not OF_CHROMIUM.match(url)
    }
    assert not urls


@pytest.mark.browser
def test_the_browser_builds_the_document_that_was_written(
    study: MadeUp, tmp_path: Path, in_browser: Browser
) -> None:
    dump = in_browser(study.page, tmp_path, "--dump-dom").stdout
    page = Page(dump)
    assert [tag for tag, _ in page.tags].count("svg") == FIGURES + BADGE
    assert [tag for tag, _ in page.tags].count("section") == 11
    assert "TRUST" in words(page)


# ---- numbers -------------------------------------------------------------------------------------

TOLD: dict[Callable[..., str], dict[tuple[float, ...], str]] = {
    numbers.rounded: {
        (0, 3): "0", (12345.678, 3): "12,346", (0.012345, 3): "0.0123", (-1.5, 2): "\N{MINUS SIGN}1.5",
        (1.5e-7, 2): "1.5 × 10⁻⁷", (2.5e9, 2): "2.5 × 10⁹", (float("nan"), 3): "not a number",
        (float("inf"), 3): "infinite", (9.996, 3): "10.00", (0.05, 2): "0.050",
    },
    numbers.to_precision: {
        (1.23456, 0.1): "1.23", (1.23456, 0.034): "1.235", (1234.5, 120.0): "1,234", (1.0, 0.0): "1.00",
        (1e-9, 1e-10): "1.00 × 10⁻⁹", (3.2e8, 1e7): "3.20 × 10⁸", (-0.5, 0.02): "\N{MINUS SIGN}0.500",
    },
    numbers.duration: {
        (0.04,): "0.0 s", (9.94,): "9.9 s", (59.4,): "59 s", (60,): "1 min", (200,): "3 min 20 s",
        (18_600,): "5 h 10 min",
    },
    numbers.percent: {(0,): "0 %", (0.0041,): "0.41 %", (0.5,): "50 %", (1,): "100 %", (1e-9,): "< 0.01 %"},
    numbers.size: {(12,): "12 B", (1200,): "1.2 kB", (3_400_000,): "3.4 MB", (7.5e12,): "7.5 TB"},
}  # fmt: skip


@pytest.mark.parametrize("function", TOLD, ids=lambda function: function.__name__)
def test_numbers_are_told_as_readers_say_them(function: Callable[..., str]) -> None:
    assert {given: function(*given) for given in TOLD[function]} == TOLD[function]
