"""docs/outputs.md against finished studies: every file, every array, every key, both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.golden.compare import digest_is_recorded
from veridical import bank, checks
from veridical.files import read_json

from .conftest import ROOT, Examples, Project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

PAGE = (ROOT / "docs/outputs.md").read_text()
WORDS = {
    "STUDY": r"[A-Za-z]\w*(@smoke|@paper)?",
    "TASK-KEY": r"[\w-]+-[0-9a-f]{12}",
    "FIDELITY": r"\w+",
    "SPLIT": r"((train|fit|calibration)-r\d+|test)",
    "OBSERVATION": r"\d+",
    "ROUND": r"\d+",
    "BATCH": r"\d{4}",
    "FIRST": r"\d{9}",
    "LAST": r"\d{9}",
    "METHOD": r"(?!reference)\w+",
    "RUN": r"n\d+(-c\d+)?-r\d+",
    "DATASET": r"\w+",
    "CHECK": r"\w+",
    "ENSEMBLE": r"\d+",
    "KIND": r"[a-z]+",
    "NAME": r"[\w-]+",
}
REPORT = (
    "report.html",
    "verdict.json",
    "metrics.csv",
    "provenance.json",
    "outcome.json",
    "figures/",
    "logs/report/",
    "benchmarks/report/",
)


class Entry(NamedTuple):
    """An array as a table of the page states it, or as a file holds it."""

    name: str
    dimensions: tuple[str, ...]
    dtype: str


def tables(first: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The text before each table whose first column has this heading, and its rows."""
    block = re.compile(rf"^\| {first} \|.*\n\|[- |]+\|\n((?:\|.*\n)+)", flags=re.MULTILINE)
    for table in block.finditer(PAGE):
        rows = [[cell.strip() for cell in row.strip("|\n").split(" |")] for row in table[1].splitlines()]
        yield PAGE[: table.start()], rows


def table_of(first: str, file: str) -> dict[str, list[str]]:
    """The table of the arrays or keys of one file: the first one behind its mention."""
    for before, rows in tables(first):
        paragraph = before.rstrip().rsplit("\n\n", 1)[-1]
        if paragraph.startswith(("Arrays of", "Keys of", "Attributes of")) and file in paragraph:
            return {row[0].strip("`"): row[1:] for row in rows}
    raise AssertionError(f"the page has no table of {file}")


def patterns() -> dict[str, re.Pattern[str]]:
    """Paths as the page writes them, with what they match."""
    found = {}
    for _, rows in tables("file"):
        for row in rows:
            path = row[0].strip("`")
            text = re.escape(path).replace(r"TASK\-KEY", "TASK-KEY")
            new = (
                r"STUDY(/[A-Za-z]\\w*(/first)?)?"
                if any(f"STUDY/{name}" in path for name in REPORT)
                else "STUDY"
            )
            text = re.sub("STUDY", new, text)
            for word, expression in WORDS.items():
                text = text.replace(word, expression)
            found[path] = re.compile(text)
    return found


@pytest.fixture(scope="module")
def trees(
    examples: Examples, levels: Path, finished: Project, finished_methods: Project, finished_rounds: Project
) -> list[Path]:
    """Folders that hold `results/`: a reference, all checks, remedies, classes, likelihoods, rounds."""
    assert levels.is_dir()
    return [examples.folder, finished.folder, finished_methods.folder, finished_rounds.folder]


def ours(trees: Iterable[Path]) -> list[tuple[str, Path]]:
    """Files of the studies and of their banks, with their paths from `results` on."""
    studies = "tiny|real|ratios|likelihoods|rounds"
    pattern = re.compile(rf"(coffee_levels|gaussian_\w+)-\w+|coffee_levels@smoke|{studies}")
    found = []
    for tree in trees:
        for folder in (*(tree / "results").glob("*"), *(tree / "results/bank").glob("*")):
            if pattern.fullmatch(folder.name):
                found += [(path.relative_to(tree).as_posix(), path) for path in sorted(folder.rglob("*"))]
    return [(name, path) for name, path in found if path.is_file()]


def test_every_file_is_on_the_page_and_every_line_of_it_is_true(trees: list[Path]) -> None:
    known = patterns()
    seen = set()
    for name, _ in ours(trees):
        matching = [path for path, pattern in known.items() if pattern.fullmatch(name)]
        assert matching, f"{name} is not in docs/outputs.md"
        seen |= set(matching)
    assert seen == set(known), "lines without a file"


def test_curves_of_checks_are_complete(trees: list[Path]) -> None:
    ((_, rows),) = tables("check")
    curves = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows}
    assert list(curves) == list(checks.CHECKS)
    found: dict[str, set[str]] = {}
    for name, path in ours(trees):
        if "/check/" in name and path.suffix == ".json" and path.stem != "experiments":
            found.setdefault(path.stem, set()).update(checks.load(path)["curves"])
    for name in checks.ASKED_FOR - found.keys():  # no study here asks for it
        saved = ROOT / f"tests/golden/artifacts/check_{name}/{name}.json"
        found[name] = set(checks.load(saved)["curves"])
    curves["exact"].remove("grid_mass")  # none of these tasks has a grid
    # its saved result is of one data set among few simulations: no spreads, no values given the others
    curves["criticism"] -= {"summary_spread", "value_spread", "value_given_p"}
    assert found == curves


@pytest.mark.parametrize(
    "file",
    [
        "observe/DATASET.look.json",
        "infer/METHOD/RUN/DATASET.json",
        "train/METHOD/RUN/history.json",
        "train/METHOD/RUN/cost.json",
        "check/METHOD/RUN/DATASET/CHECK.json",
    ],
)
def test_keys(trees: list[Path], file: str) -> None:
    pattern = patterns()[f"results/STUDY/{file}"]
    found = [read_json(path, "a record") for name, path in ours(trees) if pattern.fullmatch(name)]
    assert found
    assert all(list(record) == list(table_of("key", file)) for record in found)


def test_attributes_of_a_shard(trees: list[Path]) -> None:
    shards = [path for name, path in ours(trees) if "/bank/" in name and name.endswith(".zarr.zip")]
    for path in shards:
        assert list(bank.manifest(path)) == list(table_of("key", "the group"))


@pytest.mark.parametrize(
    "path",
    [
        "results/STUDY/observe/DATASET.nc",
        "results/STUDY/infer/METHOD/RUN/DATASET.nc",
        "results/STUDY/infer/reference/DATASET.nc",
        "results/STUDY/infer/METHOD/RUN/DATASET.predictive.npz",
        "results/STUDY/infer/METHOD/RUN/DATASET.exact.npz",
        "results/STUDY/infer/reference/DATASET/ensemble-ENSEMBLE.npz",
        "results/bank/TASK-KEY/FIDELITY/SPLIT/rows-FIRST-LAST.zarr.zip",
    ],
)
def test_arrays(trees: list[Path], path: str) -> None:
    stated = table_of("array", path.split("/", 2)[2].removeprefix("TASK-KEY/FIDELITY/SPLIT/"))
    pattern = patterns()[path]
    seen = set()
    for name, file in ours(trees):
        if not pattern.fullmatch(name):
            continue
        for entry in arrays(file):
            line = re.sub("^posterior/.*", "posterior/PARAMETER", entry.name)
            assert line in stated, f"{name}: {entry.name} is not in docs/outputs.md"
            dimensions, dtypes = stated[line][:2]
            assert entry.dtype in dtypes.split(" or "), (name, entry)
            assert_dimensions(entry, [name for name in dimensions.split(", ") if name])
            seen.add(line)
    assert seen == set(stated), "arrays on the page that no file holds"


@pytest.mark.parametrize("study", ["tiny", "real", "ratios", "likelihoods"])
def test_results_are_the_recorded_ones_bit_for_bit(study: str, trees: list[Path]) -> None:
    (folder,) = [tree / "results" / study for tree in trees if (tree / "results" / study).is_dir()]
    same = digest_is_recorded(folder)
    if same is None:
        pytest.skip("bits are promised on another machine")
    assert same


def assert_dimensions(entry: Entry, stated: list[str]) -> None:
    """Names agree where the file has names, numbers of dimensions where it has none; `...` is any number."""
    found = list(entry.dimensions)
    if stated[-1:] == ["..."]:
        assert len(found) >= len(stated) - 1, entry
        stated, found = stated[:-1], found[: len(stated) - 1]
    assert len(found) == len(stated), entry
    assert found == stated or all(name == "" for name in found), entry


def arrays(file: Path) -> Iterator[Entry]:
    """The arrays in a file, without coordinates."""
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as stored:
            for name in stored.files:
                dtype = "text" if stored[name].dtype.kind == "U" else str(stored[name].dtype)
                yield Entry(name, ("",) * stored[name].ndim, dtype)
    elif file.suffix == ".zip":
        with bank.opened(file) as opened:
            for name, array in opened.items():
                dimensions: Any = array.metadata.dimension_names
                yield Entry(name, tuple(dimensions), str(array.dtype))
    else:
        import h5netcdf

        with h5netcdf.File(file, "r") as stored:
            for group in (stored, *stored.groups.values()):
                for name, array in group.variables.items():
                    if name not in group.dimensions:
                        path = f"{group.name}/{name}".lstrip("/")
                        yield Entry(path, tuple(array.dimensions), str(array.dtype))
