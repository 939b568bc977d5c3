"""What a change of code reruns, and which banks it renames: docs/rerun.md, and each entry of a registry."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from veridical import checks, figures, methods, tasks
from veridical.study import code_digests, layout, settings
from veridical.tasks import priors

ROOT = Path(__file__).parents[2]
STUDIES = [settings.load(path) for path in sorted((ROOT / "config").glob("*.yaml"))]
RULES = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"probe", "simulate"}  # these go by the key
LINE = "\nANSWER = 42\n"

Edit = Callable[[str, str, str], None]


def everything() -> dict[str, str]:
    """The code of all jobs that there can be, and the keys of all banks."""
    study = layout.Layout(STUDIES[0])
    found = {
        f"bank of {task}": code_digests.code_digest(*tasks.modules({"name": task})) for task in tasks.TASKS
    }
    for name in methods.METHODS:
        own = methods.modules({"type": name})
        found |= {f"{rule} {name}": study.code(rule, *own) for rule in ("train", "infer")}
    found |= {f"check {name}": study.code("check", *checks.modules(name)) for name in checks.CHECKS}
    others = {"figures": figures.modules(), "report": layout.TEMPLATES}
    return found | {rule: study.code(rule, *others.get(rule, ())) for rule in RULES}


def code(roots: tuple[str, ...]) -> str:
    return code_digests.code_digest(*roots)


def clear() -> None:
    for cached in (code_digests._digest, code_digests._module, code_digests._parsed, code_digests._file_of):
        cached.cache_clear()


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """All digests as they are."""
    return everything()


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Replaces text in a module, for digests alone; empty text stands for the end of the file."""
    read = code_digests._module

    def change(name: str, old: str, new: str) -> None:
        path = code_digests._file_of(name)
        assert path is not None
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        other = code_digests._Module(name, text.replace(old, new, 1) if old else text + new, False)
        monkeypatch.setattr(code_digests, "_module", lambda asked: other if asked == name else read(asked))
        code_digests._digest.cache_clear()

    yield change
    code_digests._digest.cache_clear()


def changed(before: dict[str, str]) -> set[str]:
    after = everything()
    assert after.keys() == before.keys()
    return {job for job in before if after[job] != before[job]}


def jobs(*names: str) -> set[str]:
    return {f"{rule} {name}" for name in names for rule in ("train", "infer")}


# ---- each entry of each registry ---------------------------------------------------------------------

ENTRIES = [
    *((entry, {f"bank of {name}"}) for name, entry in tasks.TASKS.items()),
    *((methods.settings_class(name).code, jobs(name)) for name in methods.METHODS),
    *((entry, {f"check {name}"}) for name, entry in checks.CHECKS.items()),
    *((entry, {"figures"}) for entry in figures.FIGURES.values()),
]


@pytest.mark.parametrize(("entry", "expected"), ENTRIES, ids=[entry for entry, _ in ENTRIES])
def test_a_line_of_code_in_the_module_of_an_entry_reruns_its_jobs(
    entry: str, expected: set[str], edit: Edit, before: dict[str, str]
) -> None:
    edit(entry.partition(":")[0], "", LINE)
    assert changed(before) == expected


def test_the_code_of_a_run_holds_that_of_what_it_builds_on(edit: Edit) -> None:
    study = next(s for s in STUDIES if s.study == "rope_pendulum")
    of_study = layout.Layout(study)
    runs = {name: next(r for r in of_study.runs if r.method == name) for name in ("npe", "rope", "mlp")}
    first = {name: of_study.method_code("infer", run) for name, run in runs.items()}
    edit("veridical.estimators.npe", "", LINE)
    again = {name: of_study.method_code("infer", run) for name, run in runs.items()}
    assert {name for name in runs if first[name] != again[name]} == {"npe", "rope"}


# ---- the table of docs/rerun.md ----------------------------------------------------------------------

# Remedies have the code of what they wrap: see above.
WITH_FLOWS = jobs(
    "npe",
    "regularised",
    "ml_npe",
    "pooled_npe",
    "distilled_npe",
    "ensemble",
    "j_npe",
    "tsnpe",
    "nle",
    "ml_nle",
    "score",
    "rnpe",
    "frisbi",
)
BANKS = {f"bank of {task}" for task in tasks.TASKS}
TABLE: dict[str, tuple[str, str, str, set[str]]] = {
    "one more stage of seeds": ("seeds", '"probe": 4,', '"probe": 4,\n    "propose": 16,', set()),
    "an attribute of `Task` with a default": (
        "tasks.base",
        '    x_unit: str = ""',
        '    x_unit: str = ""\n    colour: str = "blue"',
        set(),
    ),
    "one more family of priors": (
        "tasks.priors",
        "MARGINALS: dict[str, type[Any]] = {",
        "class Beta:\n    a: float\n\n\nMARGINALS: dict[str, type[Any]] = {\n    'beta': Beta,",
        set(),
    ),
    "a word of an error message": ("bank.blocks", "choose another name", "take another name", set()),
    "a word of a task's error message": (
        "tasks.gaussian_linear",
        "positive prior_sd",
        "large prior_sd",
        set(),
    ),
    "what a task needs of a machine": (
        "tasks.pendulum",
        "    def __init__",
        "    needs = Needs(cores=2)\n\n    def __init__",
        set(),
    ),
    "the description of a setting": (
        "remedies.tuned_settings",
        "The `npe` whose encoder is copied.",
        "Whose encoder is copied.",
        set(),
    ),
    "the label of a parameter": (
        "tasks.gaussian_variance",
        'Parameter("mean")',
        'Parameter("mean", label="mu")',
        set(),
    ),
    "what a metric means, in words": ("checks.tarp", "levels being uniform", "levels", set()),
    "the lease of a training": (
        "training.checkpoints",
        "STALE_SECONDS = 120.0",
        "STALE_SECONDS = 60.0",
        set(),
    ),
    "a function that nothing uses yet": (
        "networks.transforms",
        "",
        "\n\ndef whiten(x):\n    return x\n",
        set(),
    ),
    "how one figure is drawn": ("figures.posterior", "", LINE, {"figures"}),
    "what all figures share": ("figures.style", "return rows, -", "return rows + 1, -", {"figures"}),
    "a summary network": (
        "networks.conv",
        "self.axis = axis",
        "self.axis = axis\n        self.depth = 1",
        jobs(
            "npe",
            "regularised",
            "ml_npe",
            "pooled_npe",
            "distilled_npe",
            "ensemble",
            "j_npe",
            "tsnpe",
            "nre",
            "nre_ensemble",
            "score",
            "frisbi",
        ),
    ),
    "the spline flow": (
        "networks.flow",
        "MIN_SLOPE = 1e-3",
        "MIN_SLOPE = 1e-4",
        WITH_FLOWS | jobs("recalibrated") | {"allocation"},
    ),
    "a family of priors that tasks use": (
        "tasks.priors",
        "self.lower + (self.upper - self.lower) * u",
        "self.upper - (self.upper - self.lower) * u",
        {
            f"bank of {name}"
            for name in (
                "cancer_stromal",
                "drift_diffusion",
                "g_and_k",
                "gaussian_field",
                "gaussian_mixture",
                "light_tunnel",
                "mean_reversion",
                "moving_average",
                "network_sir",
                "ornstein_uhlenbeck",
                "pendulum",
                "ricker",
                "seir",
                "sis",
                "slcp",
                "stochastic_lotka_volterra",
                "stochastic_sir",
                "student_field",
                "toggle_switch",
                "two_moons",
                "wind_tunnel",
            )
        }
        | jobs("prior", "stacked", "tempered", "nle", "ml_nle", "nre", "nre_ensemble", "wifi_nre", "rsnl"),
    ),
}


@pytest.mark.parametrize("line", TABLE)
def test_a_change_reruns_what_the_table_says(line: str, edit: Edit, before: dict[str, str]) -> None:
    module, old, new, expected = TABLE[line]
    edit(f"veridical.{module}", old, new)
    assert changed(before) == expected


def test_the_page_on_reruns_has_each_line_of_the_table() -> None:
    page = (ROOT / "docs" / "rerun.md").read_text()
    section = page.partition("| change | before | now |")[2].partition("\n\n")[0]
    lines = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines()[2:]]
    assert lines == [*TABLE, "a moved file", "the template of the page", "an array of banks"]


def test_a_moved_file_reruns_nothing(before: dict[str, str], moved: None) -> None:
    assert "veridical.rooms.density" in code_digests.dependencies(["veridical.estimators.npe"])
    assert changed(before) == set()


def test_another_template_reruns_the_report(tmp_path: Path) -> None:
    other = tmp_path / layout.TEMPLATES[0].name
    shutil.copy(layout.TEMPLATES[0], other)
    study = layout.Layout(STUDIES[0])
    first = study.code("report", other)
    assert first == study.code("report", layout.TEMPLATES[0])
    other.write_text(other.read_text() + "<!-- -->")
    assert study.code("report", other) != first


MOVES = {
    "training.loop": "rooms.loop",
    "inference.ratio_weights": "rooms.fits",
    "bank.blocks": "rooms.blocks",
    "networks.density": "rooms.density",
    "tasks.priors": "rooms.priors",
}


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of package and scripts in which some modules have moved, one of them behind its package."""
    for name in ("scripts", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "src" / "veridical"
    (package / "rooms").mkdir()
    for old, new in MOVES.items():
        place, _, name = old.rpartition(".")
        _, _, renamed = new.rpartition(".")
        (package / f"{old.replace('.', '/')}.py").rename(package / f"{new.replace('.', '/')}.py")
        home = f"veridical.{place}" if place else "veridical"
        for path in [*package.rglob("*.py"), *(tmp_path / "scripts").glob("*.py")]:
            text = path.read_text().replace(f"from {home}.{name} import", f"from veridical.{new} import")
            also = rf"^( *)from {home} import (.*)\b{name}\b( as \w+)?(.*)$"
            text = re.sub(also, partial(_apart, home, name, renamed), text, flags=re.MULTILINE)
            path.write_text(
                text.replace("rooms.fits import Events, RatioFit", "rooms import Events, RatioFit")
            )
    (package / "rooms" / "__init__.py").write_text("from veridical.rooms.fits import Events, RatioFit\n")
    monkeypatch.setattr(code_digests, "SOURCE", package)
    monkeypatch.setattr(layout, "SCRIPTS", tmp_path / "scripts")
    clear()
    yield
    clear()


def _apart(home: str, name: str, renamed: str, found: re.Match[str]) -> str:
    """An import of a module that has moved, apart from those beside it that have not."""
    space, first, alias, last = found.groups()
    others = [n.strip() for n in (first + last).split(",") if n.strip()]
    kept = f"{space}from {home} import {', '.join(others)}\n" if others else ""
    return f"{kept}{space}from veridical.rooms import {renamed}{alias or f' as {name}'}"


# ---- one file ----------------------------------------------------------------------------------------

MODEL = '''"""A module."""
import numpy as np
from veridical.tasks import Needs, Task
from veridical.tasks.priors import Product, Uniform

# a comment
class Model(Task):
    """Doubles."""
    needs = Needs(cores=2)
    prior = Product({"a": Uniform(0, 1)})
    def simulate(self, x):
        """Doubles."""
        if x is None:
            raise ValueError(f"no {x}" + " here")
        return 2 * np.asarray(x)
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Doubles."""', '"""Gives twice x."""', True),
        ("# a comment\n", "", True),
        ('"""A module."""\n', "", True),
        ("def simulate(self, x):", "def simulate( self , x ) :", True),
        ("no {x}", "nothing but {x + 1}", True),
        ("cores=2", "cores=4", True),
        ("    needs = Needs(cores=2)\n", "", True),
        ("from veridical.tasks.priors import Product, Uniform", "from veridical.tasks.priors import *", True),
        ("ValueError", "TypeError", False),
        ("2 * np", "3 * np", False),
        ("import numpy as np", "import jax.numpy as np", False),
        ("simulate", "twice", False),
        ("Uniform(0, 1)", "Normal(0, 1)", False),
        ("x is None", 'x == "None"', False),
    ],
)
def test_of_a_file_counts_what_can_change_a_result(tmp_path: Path, old: str, new: str, same: bool) -> None:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    first = code_digests.code_digest(path)
    path.write_text(MODEL.replace(old, new))
    assert path.read_text() != MODEL
    assert (code_digests.code_digest(path) == first) is same


def test_code_that_a_users_file_names_counts(tmp_path: Path, edit: Edit) -> None:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    first = code_digests.code_digest(path)
    edit("veridical.tasks.priors", "np.exp(self.mean", "np.exp2(self.mean")
    assert code_digests.code_digest(path) == first, "of another family of priors"
    edit("veridical.tasks.priors", "(self.upper - self.lower) * u", "(self.upper - self.lower) * u**2")
    assert code_digests.code_digest(path) != first


def test_other_files_count_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "simulate.awk"
    path.write_text("# one\n")
    first = code_digests.code_digest(path)
    path.write_text("# two\n")
    assert code_digests.code_digest(path) != first


# ---- what is left out --------------------------------------------------------------------------------


def test_digests_follow_what_is_used_and_leave_out_plumbing_and_registries() -> None:
    found = code_digests.dependencies([layout.SCRIPTS / "predict.py"])
    assert {"veridical.stages.predict", "veridical.bank.blocks"} <= found
    assert (
        not {"veridical.seeds", "veridical.tasks", "veridical.tasks.base", "veridical.saved.posteriors"}
        & found
    )
    assert not [name for name in found if name.endswith("settings")]


def test_every_module_that_is_left_out_exists() -> None:
    for name in code_digests.PLUMBING | code_digests.MAKING | code_digests.VERSIONED:
        assert code_digests._file_of(f"veridical.{name}") is not None, name
    assert code_digests.REGISTRIES == {"MARGINALS"} <= vars(priors).keys()


def test_every_revised_definition_is_there_and_has_that_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another edit of such a definition is no longer covered: it renames what it makes, as any other."""
    revised = dict(code_digests.REVISED)
    monkeypatch.setattr(code_digests, "REVISED", {})
    files = Path(priors.__file__).parent.glob("*.py")
    modules = [code_digests._Module(path.stem, path.read_text("utf-8"), False) for path in files]
    assert set(revised) <= {module.unit(name)[0] for module in modules for name in module.statements}
