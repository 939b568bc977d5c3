"""What every figure of the registry keeps to, those registered later among them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from tests.conftest import modules_after
from veridical import figures
from veridical.errors import UnknownName
from veridical.evidence.variants import Variant
from veridical.figures import style
from veridical.figures.base import Figure, Found, Sources
from veridical.report import page
from veridical.stages.figures import draw

MARKUP = "<i>&"  # in words of users


@pytest.fixture(params=figures.FIGURES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind in turn."""
    return str(request.param)


@pytest.fixture
def sources(kind: str, saved: Sources, alone: Sources) -> Sources:
    """The saved results of several answers, or of one for the figure that shows a single one."""
    return alone if kind == "answer" else saved


def data_of(kind: str, saved: Sources) -> list[dict[str, Any]]:
    figure = figures.build(kind)
    made = [figure.data(*found.given) for found in figure.found(saved)]
    return [data for data in made if data is not None]


def svg_of(kind: str, data: Any) -> str:
    with style.styled():
        return style.svg(figures.build(kind).draw(data))


def test_data_are_plain_json(kind: str, sources: Sources) -> None:
    found = data_of(kind, sources)
    assert found, "nothing in the fabricated results makes this figure"
    for data in found:
        assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_data_read_again_are_drawn_to_the_same_bytes_without_a_trace(kind: str, sources: Sources) -> None:
    settings = dict(mpl.rcParams)
    data = json.loads(json.dumps(data_of(kind, sources)[0]))
    before = copy.deepcopy(data)
    text = svg_of(kind, data)
    assert text == svg_of(kind, json.loads(json.dumps(before)))
    assert (data, dict(mpl.rcParams)) == (before, settings)
    assert "<dc:date>" not in text and "Matplotlib" not in text and "</text>" in text


def test_every_figure_says_how_to_read_it_and_what_it_shows(kind: str, sources: Sources) -> None:
    figure = figures.build(kind)
    read, shows = figure.caption(data_of(kind, sources)[0])
    assert read.partition(". ")[0] in figure.read and shows
    assert figure.section in figures.SECTIONS
    assert type(figure).__doc__ and "|" not in str(type(figure).__doc__)


def with_markup(data: Any) -> Any:
    """The same data, with markup in all names and labels."""
    if isinstance(data, list):
        return [with_markup(each) for each in data]
    if not isinstance(data, dict):
        return data
    names = {k: v + MARKUP for k, v in data.items() if k in ("name", "label") and v}
    return {k: with_markup(v) for k, v in data.items()} | names


def test_words_of_users_cannot_become_markup(kind: str, sources: Sources, tmp_path: Path) -> None:
    data = with_markup(data_of(kind, sources)[0])
    record = {"kind": kind, "method": "", "calibration": None, "dataset": "", "data": data}
    (tmp_path / f"{kind}.json").write_text(json.dumps(record))
    (tmp_path / f"{kind}.svg").write_text(svg_of(kind, data))
    text = page_of(tmp_path)
    assert MARKUP not in text
    assert MARKUP not in json.dumps(data) or escape(MARKUP) in text


def page_of(folder: Path) -> str:
    settings = {"study": "s", "title": "", "description": "", "observations": {}}
    return page.build(settings, [], {"verdicts": []}, page.load_figures(folder))


# ---- a figure of one's own -------------------------------------------------------------------------


class Dummy(Figure):
    """A figure that nothing else in the package knows of."""

    heading = "What a dummy tells"
    read = "A line through two points."

    def found(self, sources: Sources) -> Iterator[Found]:
        """Yields one for a method and one for all."""
        yield Found(([0.0, float(len(sources.rows))],), Variant("npe", 100), "pelts")
        yield Found(([0.0, 1.0],))

    def data(self, points: list[float]) -> dict[str, Any]:
        """Returns the points."""
        return {"points": points}

    def draw(self, data: Any) -> Any:
        """Returns the line."""
        made, axes = style.figure()
        axes[0, 0].plot(data["points"])
        return made

    def shows(self, data: Any) -> str:
        """Returns where it ends."""
        return f"It ends at {data['points'][-1]:.0f}."


@pytest.mark.parametrize("section", figures.SECTIONS)
def test_one_file_and_one_line_bring_a_figure_into_the_report(
    section: str, saved: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURES", {"dummy": f"{__name__}:Dummy"})
    monkeypatch.setattr(Dummy, "section", section, raising=False)
    draw(tmp_path, saved)
    names = ("dummy--npe--pelts", "dummy--all")
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{e}" for n in names for e in ("svg", "json")}
    assert json.loads((tmp_path / "dummy--all.json").read_text())["data"] == {"points": [0.0, 1.0]}
    (part,) = re.findall(rf'<section id="{section}".*?</section>', page_of(tmp_path), flags=re.DOTALL)
    for name, end in (("npe-pelts", len(saved.rows)), ("", 1)):
        assert f'<figure id="figure-dummy{name and "-"}{name}">' in part
        assert f'<span class="shows">It ends at {end}.</span>A line through two points.' in part
    assert part.count("<h3>What a dummy tells</h3>") == 2


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'posterior'"):
        figures.build("postrior")


def test_figures_import_neither_torch_nor_before_they_draw_anything_heavy() -> None:
    found = modules_after("from veridical import figures; [figures.build(kind) for kind in figures.FIGURES]")
    assert not found & {"torch", "scipy", "xarray", "matplotlib", "veridical.estimators"}
