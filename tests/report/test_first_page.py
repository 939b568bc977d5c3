"""The first page: the mixture as the answer, outcomes, next steps, ribbon, methods; and two runs compared."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import MadeUp, build_study, finish
from tests.report.test_report import Page, built, words
from veridical.errors import ArtifactError, DataError
from veridical.evidence import answers, metrics, numbers
from veridical.evidence.metrics import row
from veridical.evidence.variants import Variant
from veridical.report import compare, methods_text, next_steps, verdict
from veridical.report.overview import _lines, _why, chosen
from veridical.report.prices import Prices
from veridical.report.step_estimates import Known
from veridical.saved import posteriors


def section(text: str, name: str) -> str:
    """One section of a page, its text without markup."""
    (found,) = re.findall(rf'<section id="{name}".*?</section>', text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", " ", found, flags=re.DOTALL)))


def test_the_answer_is_the_mixture_of_all_replicates_with_each_beside_it(study: MadeUp) -> None:
    own = [posteriors.load(path).draws[:, 0] for path in study.draws if "npe/n4000" in str(path)]
    low, middle, high = np.quantile(np.concatenate(own)[:, 1], [0.05, 0.5, 0.95])
    rows = metrics.read(study.table)
    (answer,) = (a for a in answers.of_study(rows) if a.variant.method == "npe")
    found = answer.quantiles["hare"]
    assert [found[level] for level in (0.05, 0.5, 0.95)] == pytest.approx([low, middle, high])
    assert len(answer.repeats) == len(own) == 3
    text = study.page.read_text()
    assert f"hare 1/year {' '.join(numbers.interval(found))}" in section(text, "overview")
    for seed in range(3):
        each = np.quantile(own[seed][:, 1], [0.05, 0.5, 0.95])
        assert ": ".join(numbers.interval(dict(zip((0.05, 0.5, 0.95), each, strict=True)))) in text


def test_the_first_page_holds_answer_outcomes_sentence_and_next_steps(study: MadeUp) -> None:
    text = section(study.page.read_text(), "overview")
    (judged,) = verdict.load(study.verdicts)["verdicts"]
    order = ["The answer", "median", "May it be trusted?", judged["verdict"].upper(), judged["summary"]]
    order += ["inference:", "simulator:", "prior:", "What would change this"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert f"prior: {judged['questions']['prior']['outcome']}" in text
    first = next_steps.steps(judged, Known(Prices(study.settings, "laptop"), metrics.read(study.table)))[0]
    assert first.text.replace("`", "") in text and first.command in html.unescape(text)


def test_a_trial_run_says_so_and_others_do_not(study: MadeUp) -> None:
    assert "A trial run" in words(Page(built(study, settings={**study.settings, "scale": "smoke"})))
    assert "A trial run" not in study.page.read_text()


def test_several_data_sets_share_one_table_and_a_forest_plot(tmp_path: Path) -> None:
    several = {"observed": {"north": 1, "south": 2}, "replicates": 1, "budgets": (2000,), "tests": 60}
    made = finish(build_study(tmp_path, reference=False, **several))
    page = Page(made.page.read_text())
    assert "figure-forest" in page.ids and "figure-answer" not in page.ids
    text = section(made.page.read_text(), "overview")
    assert [name in text for name in ("north npe", "south 1 npe", "south 2 npe")] == [True] * 3


def judged(method: str, dataset: str, word: str) -> dict[str, object]:
    return {"method": method, "budget": 10, "n_calibration": None, "dataset": dataset, "verdict": word}


@pytest.mark.parametrize(
    ("found", "shown", "words"),
    [
        ([("a", "north", "caution")], ("a", "north"), ""),
        (
            [("a", "north", "trust"), ("a", "south", "do not trust")],
            ("a", "south"),
            "worst of 2 data sets, south",
        ),
        ([("a", "north", "caution"), ("b", "north", "trust")], ("b", "north"), "best of 2 methods, b"),
        ([("a", "north", "caution"), ("b", "north", "caution")], ("b", "north"), "best of 2 methods, b"),
        ([("a", "real", "trust"), ("a", "north", "caution")], ("a", "north"), ""),
    ],
)
def test_the_verdict_shown_large_is_that_of_the_best_method_on_its_worst_data(
    found: list[tuple[str, str, str]], shown: tuple[str, str], words: str
) -> None:
    lead, beside = chosen([judged(*one) for one in found], [Variant("b", 10), Variant("a", 10)], [])
    assert (lead["method"], lead["dataset"]) == shown
    assert words in beside and bool(words) == bool(beside)


def test_of_equal_verdicts_the_answer_nearest_to_the_reference_is_shown_large() -> None:
    found = [judged(name, "north", "caution") for name in ("a", "b")]
    at = {"budget": 10, "seed": 0, "dataset": "observed", "dataset_name": "north"}
    rows = [row(**at, method=m, metric="mean_shift_sd", value=v) for m, v in (("a", 0.02), ("b", 0.6))]
    assert chosen(found, [Variant("b", 10), Variant("a", 10)], rows)[0]["method"] == "a"


def test_the_table_of_answers_begins_with_the_one_shown_large() -> None:
    words = {"a": "do not trust", "b": "caution", "c": "caution"}
    said: dict[str, Any] = {"questions": {}, "labelled": {"outcome": "cannot tell"}}
    found: Any = [{**judged(method, "north", word), **said} for method, word in words.items()]
    own: Any = [SimpleNamespace(dataset="north", variant=Variant(m, 10), observation=0) for m in words]
    lines = _lines(own, found, [], found[2])
    assert [line["method"] for line in lines] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Not told: how typical the data are; more.", "Not told: how typical the data are."),
        (
            "Could not be checked: check tarp of npe: ValueError: no. More.",
            "Could not be checked: check tarp of npe.",
        ),
        ("", "Is it so?"),
    ],
)
def test_the_line_beside_an_outcome_says_why(text: str, why: str) -> None:
    part = {"asks": "Is it so?", "outcome": "cannot tell", "text": text}
    assert _why({"findings": []}, "simulator", part) == why


# ---- methods -------------------------------------------------------------------------------------


def test_the_methods_paragraph_names_what_was_done_and_cites_no_more(study: MadeUp) -> None:
    rows, verdicts = metrics.read(study.table), verdict.load(study.verdicts)
    found = methods_text.paragraph(study.settings, verdicts, rows, None)
    assert "trained on 4,000 simulations" in found["text"] and "repeated 3 times" in found["text"]
    assert "on 150 simulated data sets" in found["text"] and "TARP" in found["text"]
    assert any("Talts" in paper for paper in found["references"])
    assert not any("Wehenkel" in paper for paper in found["references"])
    bare = methods_text.paragraph(study.settings, verdicts, [], None)
    assert not any("Talts" in paper for paper in bare["references"])


# ---- two runs ------------------------------------------------------------------------------------


def test_settings_that_differ_are_found_wherever_they_lie() -> None:
    a = {"seed": 1, "npe": {"flow": {"bins": 8}, "inputs": {}}, "budgets": [10, 20]}
    b = {"seed": 1, "npe": {"flow": {"bins": 9}, "inputs": {}}, "budgets": [10], "title": "new"}
    changed = compare.changed_settings(a, b)
    assert set(changed) == {
        ("npe.flow.bins", "8", "9"), ("budgets", "[10, 20]", "[10]"), ("title", "", "new"),
    }  # fmt: skip


def test_only_numbers_beyond_their_errors_have_moved() -> None:
    def table(shift: float) -> metrics.Table:
        cells = {"method": "npe", "budget": 10, "seed": 0, "dataset": "simulated", "stderr": 0.1}
        return metrics.tidy(
            [
                row(**cells, metric="lpp", value=1.0 + shift),
                row(**cells, metric="acauc", value=0.1 * shift),
                row(**{**cells, "stderr": None}, metric="contraction", value=shift),
            ]
        )

    found = compare.moved(table(0.0), table(1.0))
    assert [(line["metric"], line["errors"]) for line in found["lines"]] == [("lpp", "7.1")]
    assert found["alike"] == 1


def test_two_runs_stand_on_one_page(study: MadeUp, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(study.page.parent, other)
    text = compare.compare(study.page.parent, other)
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert "None: both runs have the same settings" in words(page)
    assert "0 numbers differ" in words(page) and "example: npe" in text and "other: exact" in text
    with pytest.raises(DataError, match=r"got .* twice"):
        compare.compare(other, other)
    (other / "metrics.csv").unlink()
    with pytest.raises(ArtifactError, match=r"metrics\.csv"):
        compare.compare(study.page.parent, other)
