"""Tables as they come: each dialect is read as what it means, or refused with its cause."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.errors import DataError
from veridical.saved import observations
from veridical.tasks.base import Dimension, Parameter, Task


class Weeks(Task):
    """Three numbers a row, at weeks that are numbered."""

    name = "weeks"
    parameters = (Parameter("a"),)
    fidelities = {"only": 1.0}  # noqa: RUF012
    dimensions: tuple[Dimension, ...] = (Dimension("week", (1.0, 2.0, 3.0)),)
    x_unit = "m"

    def simulate(self, theta, noise, fidelity):  # type: ignore[no-untyped-def]
        return np.zeros((len(theta), 3))


class Dated(Weeks):
    """The same at days."""

    dimensions = (Dimension("date", ("2020-01-06", "2020-01-13", "2020-01-20")),)


def read(path: Path, content: str | bytes, task: Task | None = None, **settings: Any) -> Any:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return observations.read(
        {"layout": "table", "source": "", **settings, "file": str(path)}, task or Weeks(), "d"
    )


PLAIN = "a,b,c\n1.0,2.0,0.5\n"
MEANT = [[1.0, 2.0, 0.5]]


@pytest.mark.parametrize(
    ("file", "content", "note"),
    [
        ("plain.csv", PLAIN, ""),
        ("bom.csv", b"\xef\xbb\xbf" + PLAIN.encode(), ""),
        ("windows.csv", PLAIN.replace("\n", "\r\n"), ""),
        ("mac.csv", PLAIN.replace("\n", "\r"), ""),
        ("comments.csv", "# made by hand\n\na,b,c\n# one row\n1.0,2.0,0.5\n", ""),
        ("quotes.csv", '"a","b","c, in m"\n"1.0","2.0","0.5"\n', ""),
        ("spaces.csv", " a , b , c \n 1.0 , 2.0 , 0.5 \n", ""),
        ("semicolons.csv", PLAIN.replace(",", ";"), ""),
        ("semicolons and commas.csv", "a;b;c\n1,0;2,0;0,5\n", ""),
        ("commas in the header.csv", "a, in m;b;c\n1,0;2,0;0,5\n", ""),
        ("quoted decimals.csv", 'a,b,c\n"1,0","2,0","0,5"\n', ""),
        ("three decimals.csv", "a;b;c\n1,000;2,000;0,500\n", ""),
        ("tabs.tsv", PLAIN.replace(",", "\t"), ""),
        ("tabs and commas.txt", "a\tb\tc\n1,0\t2,0\t0,5\n", ""),
        ("bars.csv", PLAIN.replace(",", "|"), ""),
        ("blanks.csv", "a   b c\n 1.0 2.0  0.5\n", ""),
        ("excel.csv", "sep=;\na;b;c\n1,0;2,0;0,5\n", ""),
        ("zipped.csv.gz", gzip.compress(PLAIN.encode(), mtime=0), ""),
        ("trailing.csv", "a,b,c,\n1.0,2.0,0.5,\n", "an empty last column without a name was left out"),
        ("trailing rows.csv", "a;b;c\n1,0;2,0;0,5;\n", "an empty last column was left out"),
        ("pandas.csv", ",a,b,c\n0,1.0,2.0,0.5\n", "it has no name and numbers the rows"),
        ("units.csv", "a,b,c\n[m],(m),m\n1.0,2.0,0.5\n", ""),
        ("CAPITALS.CSV", PLAIN, ""),
    ],
)
def test_each_dialect_is_read_as_it_is_meant(
    tmp_path: Path, file: str, content: str | bytes, note: str
) -> None:
    data = read(tmp_path / file, content)
    assert data.x.tolist() == MEANT
    assert any(note in said for said in data.notes)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (
            "a,b,c\nm,m,m\n1,2,3\n".replace("m", "km"),
            r"line 2: .* a line of units \(km, km, km\); that of x is m",
        ),
        ("a;b;c\n1.000,5;2,0;0,5\n", "separated by ';', and '1.000,5' in line 2 has a thousands separator"),
        (
            "a;b;c\n1,000;2,000;3,000\n",
            "'1,000' in line 2 has a thousands separator, or else a decimal comma",
        ),
        ('a,b,c\n"1,000.5",2,3\n', "'1,000.5' in line 2 has a thousands separator"),
        (
            "a,b,c\n1 000,2,3\n",
            r"line 2, column 'a': expected a number, got '1 000' \(a thousands separator\)",
        ),
        (
            "a;b;c\n1,5;2.5;3\n",
            r"has decimal commas \('1,5' in line 2\) beside decimal points \('2.5' in line 2\)",
        ),
        ("a,b,c\n1,0,2,0,0,5\n", "Commas both separate columns and mark decimals"),
        ("a,b,c\nred,1,2,3\nblue,1,2,3\n", "One column has no name"),
        ("A title\na,b,c\n1,2,3\n", "if it is a title, put # before it"),
        ("date,a,b\n2020-01-06,1,2\n", r"line 2, column 'date': .* \(a date\): name the column as `index`"),
        ("a,b,c\n1,NA,2\n1,1,1\n", r"line 2, column 'b': expected a number, got 'NA' \(a missing value\)"),
        ("a,,c\n1,2,3\n", "column 2 has no name"),
        ("a" * 200_000 + "\n1\n", "field larger than field limit"),
        (b"\xff\xfe" + PLAIN.encode("utf-16-le"), "in UTF-16; save it as UTF-8"),
        ("a,b,c\neighty,90,70\n74,50,60\n", "line 2, column 'a': expected a number, got 'eighty'"),
    ],
)
def test_what_has_two_readings_is_refused_with_its_cause(
    tmp_path: Path, content: str | bytes, cause: str
) -> None:
    with pytest.raises(DataError, match=cause):
        read(tmp_path / "d.csv", content)


def test_other_formats_are_read_or_told_how_to_convert(tmp_path: Path) -> None:
    import h5py
    import zarr

    x = np.array(MEANT)
    np.save(tmp_path / "d.npy", x)
    np.save(tmp_path / "fields.npy", np.array([(0.5, 1.0, 2.0)], [("3", float), ("1", float), ("2", float)]))
    with h5py.File(tmp_path / "d.h5", "w") as stored:
        stored["x"] = x
    zarr.open_group(tmp_path / "d.zarr", mode="w").create_array("x", data=x)
    for name in ("d.npy", "fields.npy", "d.h5", "d.zarr"):
        settings = {"file": str(tmp_path / name), "layout": "table", "source": ""}
        data = observations.read(settings, Weeks(), "d")
        assert data.x.tolist() == MEANT
        assert bool(data.notes) == (name != "fields.npy"), "fields have names, arrays are read by position"
    assert data.notes == ("read by position: the file names no columns and no axes",)
    for name, remedy in (("d.fits", "Convert it"), ("d.parquet", "is"), ("e.csv.gz", "not a readable file")):
        with pytest.raises(DataError, match=remedy):
            read(tmp_path / name, b"no such thing")


def test_a_format_whose_library_is_missing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas

    def missing(path: Path) -> None:
        raise ImportError("no engine")

    for name in ("read_parquet", "read_excel"):
        monkeypatch.setattr(pandas, name, missing)
    for ending, library in ((".parquet", "pyarrow"), (".xlsx", "openpyxl")):
        with pytest.raises(
            DataError, match=f"nothing installed here reads {ending} files. Save it as CSV, .*{library}"
        ):
            read(tmp_path / f"d{ending}", b"")
    monkeypatch.setattr(
        pandas, "read_parquet", lambda path: pandas.DataFrame({"a": [1], "b": [2.0], "c": [0.5]})
    )
    assert read(tmp_path / "d.parquet", b"").x.tolist() == MEANT


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (("2020-01-06", "2020-01-13", "2020-01-20"), ()),
        (("2020-01-06 00:00:00", "2020-01-13 00:00:00", "2020-01-20 00:00:00"), ()),
        (("01/06/2020", "01/13/2020", "01/20/2020"), ()),
        (("06.01.2020", "13.01.2020", "20.01.2020"), ()),
        (("06/01/2020", "13/01/2020", "20/01/2020"), ()),
        (("2020-01-13", "2020-01-06", "2020-01-20"), "rows were put in the task's order by date"),
        (("2020-02-06", "2020-02-13", "2020-02-20"), None),
        (("01/06/2021", "01/13/2020", "01/20/2020"), None),
    ],
)
def test_days_are_an_index(tmp_path: Path, days: tuple[str, ...], said: str | tuple[()] | None) -> None:
    values = dict(zip(Dated.dimensions[0].coordinates, (1.0, 2.0, 0.5), strict=True))
    order = sorted(range(3), key=lambda i: days[i][:10]) if said else range(3)
    rows = [f"{days[i]},{(1.0, 2.0, 0.5)[list(order).index(i)]}" for i in range(3)]
    text = "\n".join(["date,cases", *rows])
    for index in (None, "date"):
        if said is None:
            with pytest.raises(DataError, match=r"date must be 2020-01-06, got 0?.*those of the file"):
                read(tmp_path / "d.csv", text, Dated(), layout="series", index=index)
            continue
        data = read(tmp_path / "d.csv", text, Dated(), layout="series", index=index)
        assert data.x.tolist() == [list(values.values())]
        assert [*data.notes] == ([said] if said else [])


@pytest.mark.parametrize("value", [-999, -9999, 99999, 1e20, 9.969209968386869e36])
def test_numbers_that_stand_for_missing_ones_are_asked_about(tmp_path: Path, value: float) -> None:
    data = read(tmp_path / "d.csv", f"a,b,c\n1.0,{value!r},0.5\n2.0,1.0,0.5\n3.0,{value!r},0.5\n")
    (asked,) = [note for note in data.notes if "missing" in note]
    assert asked.startswith(
        f"week 2.0 (column 'b'): does {value:.10g}, in 2 of 3 rows, stand for a missing value?"
    )
    near = read(
        tmp_path / "e.csv", f"a,b,c\n1.0,{value!r},0.5\n2.0,{0.9 * value!r},0.5\n3.0,{0.4 * value!r},0.5\n"
    )
    assert not any("missing" in note for note in near.notes), "a number like its neighbours stands for itself"
