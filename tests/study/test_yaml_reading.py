"""Study files are read as they are written, or refused in one sentence; none makes a traceback or hangs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import snakemake_logger_plugin_veridical
from veridical import seeds
from veridical.errors import SettingError
from veridical.study import settings, yaml_reading

STUDIES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
MUTATIONS = int(os.environ.get("VERIDICAL_MUTATIONS", "300"))
SMALL = "study: s\nseed: 1\ntask: gaussian_linear\nestimators: {npe: {type: npe}}\nbudgets: [1000]\n"


def load(tmp_path: Path, text: str | bytes, name: str = "s.yaml") -> settings.StudySettings:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return settings.load(path)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_studies_hold_what_yaml_says(path: Path) -> None:
    """But for numbers such as 1e-3, which YAML 1.1 takes for text."""
    assert yaml_reading.read(path) == yaml_reading.numbers(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("budgets: [500]\n", "the key 'budgets' stands twice, in lines 5 and 6. Keep one"),
        ("observations:\n  lab: {file: a}\n  lab: {file: b}\n", "'lab' stands twice, in lines 7 and 8"),
        ("observations: {no: {file: a}}\n", "line 6: YAML reads no as false. Put it in quotes, 'no'"),
        ("observations: {2024-01-01: {file: a}}\n", "YAML reads 2024-01-01 as a date. Put it in quotes"),
        ("observations: {~: {file: a}}\n", "YAML does not read the key '~' as a word. Put it in quotes"),
        ("observations: {2024: {file: a}}\n", "expected a string; got 2024; put it in quotes, '2024'"),
        ("observations: {[a]: {file: a}}\n", "line 6: expected a word as key"),
        ("title: Off\n", "line 6: YAML reads Off as false. Put it in quotes, 'Off'"),
        ("title: 2024\n", "title: expected a string; got 2024; put it in quotes, '2024'"),
        ("title: 12:30\n", "line 6: YAML reads 12:30 as a number of base 60. Put it in quotes, '12:30'"),
        ("replicates: 010\n", "YAML reads 010 as an octal number or as text. Put it in quotes, '010'"),
        ("replicates: 0o10\n", "line 6: YAML reads 0o10 as"),
        ("replicates: 089\n", "line 6: YAML reads 089 as"),
        ("replicates: true\n", "replicates: expected a number; got true"),
        ("replicates: '3'\n", "replicates: expected an integer; got the text '3'. Write it without quotes"),
        ("calibration: [true]\n", "calibration.0: expected a number; got true"),
        ("checks: {sbc: {alpha: true}}\n", "checks.sbc.alpha: expected a number"),
        ("scales: {smoke: {replicates: true}}\n", "scales.smoke: replicates: expected a number; got true"),
        ("title:\tx\n\tdraws: 1\n", "not with tabs"),
        ('title: "$\\alpha$"\n', "line 6: a backslash in double quotes begins an escape, which YAML"),
        ('title: "$x \\times y$"\n', "Put the text in single quotes, as in '$\\theta$'"),
        ('title: "$\\nu$"\n', "Put the text in single quotes"),
        ('title: "$\\mu$"\n', "found unknown escape character. A backslash in double quotes begins"),
        ("title: !!python/object/apply:os.system [x]\n", "line 6 is not valid YAML"),
        ("title: 'x\n", "line 7 is not valid YAML"),
        ("title: \x07\n", "line 6 is not valid YAML"),
        ("est\timators: 1\n", "est\\timators: unknown setting"),
        ("---\nstudy: other\n", "is not valid YAML: expected a single document"),
        ("title: &a [*a]\n", "line 6: an alias stands inside of what it stands for"),
        (f"replicates: {'9' * 5000}\n", "a value cannot be read"),
        (f"title: {'[' * 50_000}{']' * 50_000}\n", "nested too deeply"),
        (f"title:\n{'- ' * 50_000}x\n", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_would_be_read_otherwise_is_refused(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(SettingError, match=re.escape(told)):
        load(tmp_path, SMALL + more)


def test_an_anchor_bomb_is_refused_at_once(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.monotonic()
    with pytest.raises(SettingError, match="line 10: expected at most 100000 values, got more"):
        load(tmp_path, SMALL + "\n".join(levels))
    assert time.monotonic() - started < 2


def test_files_that_are_no_mapping_or_no_text(tmp_path: Path) -> None:
    for text, told in (
        ("- a\n", "expected a mapping of settings (lines such as `seed: 1`), got a list"),
        ("", "got nothing"),
        (SMALL.encode() + 'title: "café"\n'.encode("latin-1"), "expected text in UTF-8; line 6 is not"),
        (SMALL.encode("utf-16"), "expected text in UTF-8; line 1 is not"),
        (b"#" * 4_000_001, "expected a study of at most 4000000 bytes"),
    ):
        with pytest.raises(SettingError, match=re.escape(told)):
            load(tmp_path, text)
    with pytest.raises(SettingError, match=r"the key 'seed' stands twice"):
        load(tmp_path, '{"study": "s", "seed": 1, "seed": 2}', "s.json")
    with pytest.raises(SettingError, match=r"line 1 is not valid JSON"):
        load(tmp_path, "{", "s.json")


@pytest.mark.parametrize(
    "words",
    [
        ["-n", "--configfile", "{}", "--cores", "1"],
        ["--configfiles", "other.yaml", "{}"],
        ["--configfile={}"],
    ],
)
def test_a_file_that_snakemake_cannot_decode_is_told_in_a_sentence(tmp_path: Path, words: list[str]) -> None:
    """Each word may be a study; the import of the plugin, by whatever run of Snakemake, looks at them."""
    path = tmp_path / "s.yaml"
    path.write_bytes(SMALL.encode() + b"title: caf\xe9\n")
    given = [word.format(path) for word in words]
    with pytest.raises(SystemExit, match=f"^SettingError: {path}: expected text in UTF-8; line 6 is not"):
        snakemake_logger_plugin_veridical._require_text(given)
    snakemake_logger_plugin_veridical._require_text(["--config", "data", "--", str(path)])  # not a study
    path.write_text(SMALL)
    snakemake_logger_plugin_veridical._require_text(given)


def test_numbers_are_taken_as_they_are_written(tmp_path: Path) -> None:
    text = SMALL.replace("[1000]", "[1e3, 2_000, 0x1000, 1.5E+4]").replace(
        "{type: npe}", "{type: npe, training: {learning_rate: 1e-3}}"
    )
    study = load(tmp_path, text + "title: '1e3'\nreplicates: 2.0\n")
    assert study.budgets == [1000, 2000, 4096, 15000] and study.title == "1e3"
    assert study.estimators["npe"].training.learning_rate == 1e-3  # type: ignore[union-attr]
    base, over = tmp_path / "s.yaml", tmp_path / "over.yaml"
    over.write_text("budgets: [10]\ncheques: 1\n")
    raw = settings.as_written([base, over], {"draws": "1e3", "cheques": [True]})
    assert (raw["budgets"], raw["draws"], raw["cheques"], raw["seed"]) == ([10], 1000.0, [True], 1)


# ---- studies mutated at random -----------------------------------------------------------------------

WORDS = [
    "no", "on", "true", "null", "~", "010", "12:30", "2024-01-01", "1e3", "1e400", "-1", ".nan", "-.inf",
    "''", "9" * 30, "9" * 5000, "[]", "{}", "[[]]", "[1, a]", "{a: 1}", "x" * 5000, "&a [*a]", "*b",
    "&b x", "<<", "!!set {a}", "!!python/name:os.system", "!!binary aGk=", "|", ">-", "? a", "- -", "\t",
    "\x00", "\x1b[2J", "\u202e", "é", "\ud800", "@", "`", "%", "'", '"', "{", "]", ":", ",", "#", "../x",
    "x; y", "1_000", "=", "---", "...", "real", "reference",
]  # fmt: skip


def mutated(text: str, rng: np.random.Generator) -> bytes:
    """The text with one to three changes: lines, values, indentation, characters."""
    for _ in range(rng.integers(1, 4)):
        lines = text.split("\n")
        i, j = rng.integers(len(lines), size=2)
        word = WORDS[rng.integers(len(WORDS))]
        match rng.integers(8):
            case 0:
                del lines[i]
            case 1:
                lines.insert(j, lines[i])
            case 2:
                lines[i] = re.sub(r"(?<=: )[^,{}\[\]#]+", lambda _, w=word: w, lines[i], count=1)
            case 3:
                places = [*re.finditer(r"[\w.]+", lines[i])]
                if places:
                    place = places[rng.integers(len(places))]
                    lines[i] = lines[i][: place.start()] + word + lines[i][place.end() :]
            case 4:
                lines[i] = " " * int(rng.integers(0, 6)) + lines[i].lstrip()
            case 5:
                lines.insert(i, word)
            case 6:
                at = int(rng.integers(len(lines[i]) + 1))
                lines[i] = lines[i][:at] + word[:8] + lines[i][at:]
            case 7:
                lines = lines[: max(1, i)]
        text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass")


def test_mutated_studies_are_taken_or_refused_in_a_sentence(tmp_path: Path) -> None:
    """VERIDICAL_MUTATIONS=10000 tries more of them."""
    taken = 0
    for number in range(MUTATIONS):
        rng = seeds.generator(1, "noise", "mutated studies", number)
        text = mutated(STUDIES[number % len(STUDIES)].read_text(), rng)
        started = time.monotonic()
        try:
            load(tmp_path, text)
            taken += 1
        except SettingError as error:
            told = str(error)
            assert told, (number, told)
            for line in told.splitlines():
                assert line.isprintable() and line.endswith((".", "?")) and len(line) < 1000, (number, line)
            assert not re.search(r"Traceback|Error\b|pydantic|<class|object at", told), (number, told)
        assert time.monotonic() - started < 10, number
    assert MUTATIONS / 20 < taken < MUTATIONS * 0.9, "both happen"


def test_numbers_of_a_command_line_are_numbers_inside_of_lists_and_mappings() -> None:
    given = {"scale": "smoke", "scales": {"smoke": {"budgets": ["2000", "8e3"], "seed": "-7", "x": "0.5"}}}
    given["scales"]["smoke"] |= {
        "checks": {"sbc": "null", "on": "true"},
        "names": ["007", "no", "a", "1.2.3"],
    }
    found = yaml_reading.of_command_line(given)["scales"]["smoke"]
    assert found["budgets"] == [2000, 8000.0] and (found["seed"], found["x"]) == (-7, 0.5)
    assert found["checks"] == {"sbc": None, "on": True}
    assert found["names"] == ["007", "no", "a", "1.2.3"], "texts stay"
