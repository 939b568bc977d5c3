"""The two error rates that fit a study, and the badge."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.report.conftest import MadeUp
from veridical.evidence import metrics
from veridical.evidence.comparison import VERDICTS
from veridical.evidence.numbers import percent
from veridical.report import error_rates, verdict
from veridical.report.badge import badge

COUNTS = {"of_wrong": 100, "of_right": 400}
MADE_UP = {
    "rates": [
        {"where": "observed", "d": d, "n": n, "false_trust": d / 100, "false_alarm": n / 1000, **COUNTS}
        for d in (1, 4, 8)
        for n in (0, 100)
    ]
}


@pytest.mark.parametrize(
    ("d", "n", "dimensions", "rows", "trusted"),
    [(4, 0, [4], 0, 0.04), (2, 99, [1, 4], 0, 0.04), (6, 150, [4, 8], 100, 0.08), (20, 0, [8], 0, 0.08)],
)
def test_rates_are_those_of_the_neighbours_on_the_safe_side(
    d: int, n: int, dimensions: list[int], rows: int, trusted: float
) -> None:
    found = error_rates.fitting("observed", d, n, MADE_UP)
    assert found is not None
    assert (found["d"], found["n"], found["false_trust"]) == (dimensions, rows, trusted)


def test_with_fewer_rows_than_were_measured_nothing_is_said() -> None:
    assert error_rates.fitting("labelled", 4, 10) is None


def test_shipped_rates_are_shares_of_all_kinds() -> None:
    found = error_rates.measured()
    assert {r["where"] for r in found["rates"]} == {"observed", "labelled"}
    for r in found["rates"]:
        assert 0 <= r["false_trust"] <= 1 and 0 <= r["false_alarm"] <= 1
        assert min(r["of_wrong"], r["of_right"]) >= (100 if found["full"] else 1)


def test_the_report_states_the_rates_that_fit(study: MadeUp) -> None:
    (judged,) = verdict.load(study.verdicts)["verdicts"]
    text = error_rates.sentence(judged, metrics.read(study.table))
    rates = error_rates.fitting("observed", 3, 0)
    assert rates is not None and "1 and 4 parameters, no labelled data sets" in text
    assert f"{percent(rates['false_alarm'])} of {rates['of_right']}." in text
    assert text in study.page.read_text()


@pytest.mark.parametrize("word", VERDICTS)
def test_a_badge_is_a_picture_without_network_that_says_the_verdict(word: str) -> None:
    judged = {"method": "a&b", "budget": 10, "n_calibration": 50, "dataset": "north", "verdict": word}
    found = badge(judged, "mine", "0123456789abcdef")
    picture = ElementTree.fromstring(found["svg"])
    words = [text for text in picture.itertext() if text.strip()]
    assert words == [found["sentence"].rstrip("."), "veridical", word]
    assert "href" not in found["svg"]
    assert "study mine, metrics 0123456789ab, veridical " in found["sentence"]
    assert word in found["markdown"] and "a&b (50 pairs) on north" in found["markdown"]
