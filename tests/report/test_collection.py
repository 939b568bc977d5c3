"""The page of a collection, from planted metrics: what is marked as best, what is shown, what is escaped."""

from __future__ import annotations

import re
from math import inf
from pathlib import Path

import pytest

from veridical.evidence import metrics
from veridical.evidence.metrics import Row, row
from veridical.files import write_json
from veridical.report import verdict
from veridical.report.collection import Member, build, within_an_error
from veridical.stages.collection import gather

ABOUT = {"collection": "families", "title": "A <b> & c", "description": "", "scale": "laptop"}


@pytest.mark.parametrize(
    ("found", "goal", "best"),
    [
        ([(0.5, 0.01), (0.51, 0.01), (0.52, 0.01)], None, [True, True, False]),
        ([(0.5, None), (0.5, None), (0.6, None)], None, [True, True, False]),
        ([None, (2.0, 0.1), None], None, [False, True, False]),
        ([(0.97, 0.01), (0.88, 0.01), (0.91, 0.01)], 0.9, [False, True, True]),
        ([(-3.0, 0.1), (inf, None), (float("nan"), 0.1)], None, [True, False, False]),
        ([None, (inf, None)], None, [False, False]),
        ([(1.0, 0.0), (2.0, 1.0)], None, [True, True]),
    ],
)
def test_the_best_and_what_lies_within_an_error_of_it(
    found: list[tuple[float, float | None] | None], goal: float | None, best: list[bool]
) -> None:
    assert within_an_error(found, goal) == best


def test_the_marks_hold_what_their_error_says() -> None:
    """Of two equal methods the worse is marked where the difference is within one sd: in 68 % of cases."""
    import numpy as np

    from veridical import seeds

    draws = seeds.generator(7, "check", "marks").normal(size=(4000, 2))
    both = np.mean([all(within_an_error([(a, 1.0), (b, 1.0)])) for a, b in draws.tolist()])
    assert abs(both - 0.6827) < 4 * (0.6827 * 0.3173 / 4000) ** 0.5


def rows_of(study: str, c2st: dict[str, float], seeds: int = 1, name: str = "field") -> list[Row]:
    """Rows of some methods, each with its C2ST and as many replicates."""
    own = {"study": study, "task": study, "budget": 1000, "metric": "c2st", "n": 5}
    own |= {"dataset": "observed", "dataset_name": name}
    found = [
        row(**own, method=method, seed=seed, value=value + 0.02 * seed, stderr=0.01)
        for method, value in c2st.items()
        for seed in range(seeds)
    ]
    earlier = {**own, "budget": 100, "seed": 0, "stderr": 0.01}
    return list(metrics.tidy([*found, row(**earlier, method=next(iter(c2st)), value=0.99)]))


def table_of(page: str, heading: str) -> list[list[str]]:
    """The cells of one table, line by line, without markup."""
    (body,) = re.findall(rf"<h2>{heading}.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    lines = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        [re.sub("<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", one)] for one in lines
    ]


def test_a_line_a_study_and_a_column_a_method() -> None:
    members = [
        Member("moons", "moons/report.html", rows_of("moons", {"npe": 0.6, "nle": 0.54}), []),
        Member(
            "slcp", "../slcp/report.html", rows_of("slcp", {"npe": 0.7}, seeds=3), [{"verdict": "caution"}]
        ),
    ]
    page = build(ABOUT, members, ["npe", "nle"])
    assert table_of(page, "C2ST") == [
        ["moons", "0.600 ± 0.010", "★best 0.540 ± 0.010"],
        ["slcp", "★best 0.720 ± 0.012", "–"],
    ]
    assert re.findall(r"<thead>.*?</thead>", page, re.DOTALL)[1].count('class="n"') == 2
    assert table_of(page, "Studies")[1][:2] == ["slcp", "caution 1"]
    assert [*re.findall('href="([^"]*report.html)"', page)] == ["moons/report.html", "../slcp/report.html"]
    assert "NLTP" not in page, "nothing answers it"
    assert "A &lt;b&gt; &amp; c" in page
    assert "<b>" not in page


def test_several_data_sets_are_told_apart() -> None:
    rows = [*rows_of("moons", {"npe": 0.6}), *rows_of("moons", {"npe": 0.5}, name="lab")]
    page = build(ABOUT, [Member("moons", "moons/report.html", rows, [])], ["npe"])
    assert [line[0] for line in table_of(page, "C2ST")] == ["moons: field", "moons: lab"]


def test_the_table_is_that_of_all_studies(tmp_path: Path) -> None:
    folders = {}
    for study in ("moons", "slcp"):
        folder = tmp_path / "families" / study
        folder.mkdir(parents=True)
        metrics.write(folder / "metrics.csv", rows_of(study, {"npe": 0.6}))
        write_json(folder / "verdict.json", {"format": verdict.FORMAT, "verdicts": []})
        folders[study] = str(folder)
    table, page = tmp_path / "families/metrics.csv", tmp_path / "families/report.html"
    gather(ABOUT, folders, ["npe"], table=table, page=page)
    assert metrics.read(table) == [*rows_of("moons", {"npe": 0.6}), *rows_of("slcp", {"npe": 0.6})]
    assert 'href="moons/report.html"' in page.read_text()
