"""Tables as instruments and offices write them: any separator, decimal commas, a line of units.

What can be meant in one way only is read; what could be meant in two is refused with the cause.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from veridical.errors import DataError
from veridical.tasks.base import Array
from veridical.tasks.cells import MISSING, THOUSANDS, dates, is_number, number

TEXT = (".csv", ".tsv", ".txt", ".dat", ".csv.gz", ".tsv.gz", ".txt.gz")
FRAMES = {".parquet": "read_parquet", ".xlsx": "read_excel"}
ENDINGS = (*TEXT, *FRAMES)
SEPARATORS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'", " ": "spaces"}
_LOOKED_AT = 50  # lines that tell the separator
_ALONE = "\x1f"  # separates nothing: the table has one column
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Table:
    """A table whose cells are still text.

    Attributes:
        header: The names of its columns.
        body: The rows below, each with the number of its line; decimals have a point.
        line: The number of the line of the header.
        units: The cells of a line of units below the header, and its number; None where there is none.
        notes: What was left out, in sentences.
    """

    header: list[str]
    body: list[tuple[int, list[str]]]
    line: int = 1
    units: tuple[int, list[str]] | None = None
    notes: tuple[str, ...] = ()


def kind(path: Path) -> str:
    """Returns the ending of a file's name that says what it is, `.csv.gz` for `a.b.csv.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] in ([".gz"], [".zip"]) else "".join(suffixes[-1:])


def read(path: Path, what: str) -> Table:
    """Returns the table in a file: text, an array with named fields (.npy), Parquet or Excel.

    Arguments:
        path: The file.
        what: What messages call it.

    Raises:
        DataError: If it is no table, or one that can be read in two ways; names cause and remedy.
    """
    if kind(path) in FRAMES:
        return _checked(*_of_frame(path, what), what)
    text = _text(path, what)
    if text[:4].lower() == "sep=" and text[4:5]:  # Excel's first line
        separator, rows = text[4], _rows(text, text[4], what)[1:]
    else:
        separator = _separator(text)
        rows = _rows(text, separator, what)
    if len(rows) < 2:
        raise DataError(f"{what} needs a line of column names and at least one row.")
    header = [cell.strip() for cell in rows[0][1]]
    body = _decimals(rows[1:], separator, what)
    return _checked(header, body, what, separator=separator, line=rows[0][0])


def read_numbers(path: Path, what: str, *, missing: bool = False) -> tuple[list[str], Array, list[str]]:
    """Returns header, numbers (N, columns) and notes of a table of numbers alone, which may be long.

    Missing ones are NaN where some may be missing.

    Raises:
        DataError: If it is no table, or a cell holds no number.
    """
    if kind(path) not in FRAMES:
        text = _text(path, what)
        separator = _separator(text)
        lines = iter(text.splitlines())
        first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
        header = [cell.strip().strip('"') for cell in _split(first, separator) or [""]]
        rest = [line for line in lines if line.strip()]
        if not rest:
            return header, np.empty((0, len(header))), []
        try:
            numbers = np.loadtxt(rest, delimiter=None if separator == " " else separator, ndmin=2)
        except ValueError:
            numbers = np.empty((0, 0))
        if numbers.shape[1] == len(header) == len({*header} - {""}):
            return header, numbers, []
    table = read(path, what)
    if table.units:
        raise DataError(
            f"{what}, line {table.units[0]}: expected numbers, got a line of units "
            f"({', '.join(table.units[1])}). Put # before it."
        )
    rows = [
        [
            number(cell, f"{what}, line {i}, column {c!r}", missing=missing)
            for cell, c in zip(row, table.header, strict=True)
        ]
        for i, row in table.body
    ]
    return table.header, np.array(rows), list(table.notes)


def of_fields(array: Array) -> Table:
    """Returns the table of an array with named fields, each number with all its digits."""
    names = list(array.dtype.names or ())
    rows = [[repr(float(row[name])) for name in names] for row in array.reshape(-1)]
    return Table(names, list(enumerate(rows, start=1)))


# ---- from a file to rows -----------------------------------------------------------------------------


def _text(path: Path, what: str) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{what} is not a readable file of type {kind(path)}: {error}.") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{what} is not a CSV file in UTF-8 but in UTF-16; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not a CSV file in UTF-8: {error}.") from error


def _rows(text: str, separator: str, what: str) -> list[tuple[int, list[str]]]:
    """The rows with the numbers of their lines; blank lines and comments (#) are left out."""
    if separator == " ":
        numbered = [(i, line.split()) for i, line in enumerate(text.splitlines(), start=1)]
        rows = [(i, [cell.strip("\"'") for cell in row]) for i, row in numbered]
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise DataError(f"{what} is not a CSV file in UTF-8: {error}.") from error
    full = [(i, row) for i, row in rows if len(row) > 1 or (row and row[0].strip())]
    return [(i, row) for i, row in full if not row[0].lstrip().startswith("#")]


def _separator(text: str) -> str:
    """The separator that the header shows; of several the first that splits all rows alike."""
    told = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    lines = list(islice(told, _LOOKED_AT))
    if not lines:
        return ","
    found = [c for c in ",;\t|" if len(_split(lines[0], c)) > 1]
    alike = [c for c in found if len({len([*filter(None, _split(line, c))]) for line in lines}) == 1]
    if found:
        return (alike or found)[0]
    words = {len(line.split()) for line in lines}
    if words != {1} and len(words) == 1 and len(lines) > 1:
        return " "
    if len(lines) > 1 and all(_COMMA.fullmatch(line.strip()) for line in lines[1:]):
        return _ALONE
    return ","


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a field beyond all limits, of which the rows will say so
        return [line]


def _decimals(rows: list[tuple[int, list[str]]], separator: str, what: str) -> list[tuple[int, list[str]]]:
    """The rows with points for decimal commas, where commas can be nothing else.

    Raises:
        DataError: If they could part thousands, or stand beside points.
    """
    cells = [(i, cell.strip()) for i, row in rows for cell in row if "," in cell]
    commas = [(i, cell) for i, cell in cells if _COMMA.fullmatch(cell)]
    grouped = [(i, cell) for i, cell in cells if THOUSANDS.fullmatch(cell)]
    decimal = [cell for i, cell in commas if (i, cell) not in set(grouped)]
    if not commas and not grouped:
        return rows
    split = f"{what} is separated by {SEPARATORS.get(separator, 'nothing')}"
    both = next(((i, c) for i, c in grouped if not _COMMA.fullmatch(c)), None)
    point = next(((i, c) for i, row in rows for c in map(str.strip, row) if "." in c and is_number(c)), None)
    if both or (grouped and not decimal):
        line, cell = both or grouped[0]
        raise DataError(
            f"{split}, and {cell!r} in line {line} has a thousands separator, or else a decimal comma. Write "
            "numbers without thousands separators and with decimal points."
        )
    if point:
        raise DataError(
            f"{split} and has decimal commas ({commas[0][1]!r} in line {commas[0][0]}) beside decimal points "
            f"({point[1]!r} in line {point[0]}). Write all numbers with decimal points."
        )
    turn = {cell for _, cell in commas}
    return [(i, [c.replace(",", ".") if c.strip() in turn else c for c in row]) for i, row in rows]


def _of_frame(path: Path, what: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a Parquet or Excel file, where the library that reads it is installed."""
    import pandas

    try:
        frame = getattr(pandas, FRAMES[kind(path)])(path)
    except ImportError as error:
        raise DataError(
            f"{what}: nothing installed here reads {kind(path)} files. Save it as CSV, or convert it where "
            f"{'pyarrow' if kind(path) == '.parquet' else 'openpyxl'} is installed: "
            f"pandas.{FRAMES[kind(path)]}('{path.name}').to_csv('{path.stem}.csv', index=False)."
        ) from error
    except Exception as error:  # each library has errors of its own
        raise DataError(f"{what} is not a readable file of type {kind(path)}: {error}") from error
    if frame.index.name is not None:
        frame = frame.reset_index()
    cells = [[str(cell) for cell in row] for row in frame.astype(object).to_numpy()]
    header = [re.sub(r"Unnamed: \d+", "", str(name)) for name in frame.columns]
    return header, list(enumerate(cells, start=2))


# ---- what a table must be ----------------------------------------------------------------------------


def _checked(
    header: list[str], body: list[tuple[int, list[str]]], what: str, *, separator: str = ",", line: int = 1
) -> Table:
    """The table without unnamed columns that say nothing; its rows have as many cells as its header.

    Raises:
        DataError: If two columns share a name, or a row has another number of cells.
    """
    header, body, notes = _without_unnamed(header, body)
    if double := next((cell for cell in header if cell and header.count(cell) > 1), None):
        raise DataError(f"{what} has two columns {double!r}; give each a name of its own.")
    for at, row in body:
        if len(row) != len(header):
            raise DataError(
                f"{what}, line {at}: expected {len(header)} columns ({', '.join(header)}), got {len(row)}"
                f"{_cause(header, body, separator)}."
            )
    units = _units(body)
    return Table(header, body[1:] if units else body, line, units, tuple(notes))


def _cause(header: list[str], body: list[tuple[int, list[str]]], separator: str) -> str:
    """Why rows may have another number of cells than the header, as the rest of a sentence."""
    lengths = {len(row) for _, row in body}
    if lengths == {2 * len(header)} and separator == ",":
        return ". Commas both separate columns and mark decimals: separate by ';', or write decimal points"
    if lengths == {len(header) + 1}:
        return ". One column has no name (row names?): name it in the header, or remove it"
    if len(lengths) == 1 and len(header) == 1:
        return (
            f". The columns are separated by {SEPARATORS.get(separator)}, but line 1 is not; if it "
            "is a title, put # before it"
        )
    return ""


def _without_unnamed(
    header: list[str], body: list[tuple[int, list[str]]]
) -> tuple[list[str], list[tuple[int, list[str]]], list[str]]:
    """The table without an empty last column (separators at line ends) and without row numbers 0, 1, ..."""
    notes, width = [], len(header)
    if (
        header[-1] == ""
        and width > 1
        and all(not any(c.strip() for c in row[width - 1 :]) for _, row in body)
    ):
        header, body = header[:-1], [(i, row[: width - 1]) for i, row in body]
        notes.append("an empty last column without a name was left out (each line ends in a separator)")
    elif all(len(row) == width + 1 and not row[-1].strip() for _, row in body):
        body = [(i, row[:-1]) for i, row in body]
        notes.append("an empty last column was left out (each row ends in a separator)")
    if header[0] == "" and len(header) > 1:
        first = [row[0].strip() for _, row in body]
        if first in ([str(i) for i in range(len(body))], [str(i + 1) for i in range(len(body))]):
            header, body = header[1:], [(i, row[1:]) for i, row in body]
            notes.append("the first column was left out: it has no name and numbers the rows")
    return header, body, notes


def _units(body: list[tuple[int, list[str]]]) -> tuple[int, list[str]] | None:
    """The first row, where it holds words alone and the second has a number below each of them."""
    if len(body) < 2:
        return None
    first, second = body[0][1], body[1][1]
    if any(is_number(cell) or dates(cell) for cell in first):
        return None
    over = [cell.strip() for cell, below in zip(first, second, strict=True) if is_number(below)]
    if not over or all(cell.lower() in MISSING for cell in over):
        return None
    return body[0][0], [cell.strip() for cell in first]
