"""Methods that do not fit the task or each other are found before any job, with the place and the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical import checks
from veridical.errors import DataError, SettingError, TrainingError
from veridical.evidence import provenance
from veridical.saved.posteriors import Draws
from veridical.saved.predictions import Predictions
from veridical.study import settings
from veridical.study.layout import Layout
from veridical.study.validation import validate

NPE: dict[str, Any] = {"type": "npe", "summary": {"type": "mlp", "hidden": [8], "features": 2}}
REAL: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": {"name": "gaussian_linear", "settings": {"real_noise_sd": 2.0}},
    "estimators": {"npe": NPE},
    "budgets": [1000],
    "calibration": [10],
}
CLASSES: dict[str, Any] = {
    "study": "s",
    "seed": 1,
    "task": "gaussian_classes",
    "estimators": {"ratios": {"type": "ratios"}},
    "remedies": {"wifi": {"type": "wifi", "of": "ratios"}},
    "budgets": [1000],
    "experiments": {"batches": 1, "rows": 5, "true_values": [0.1]},
}
TEMPLATES: dict[str, Any] = {"type": "template_ratios", "first": ["signal_7"], "second": ["background_0"]}
PLAIN: dict[str, Any] = {**REAL, "task": "gaussian_linear", "calibration": []}


def check(base: dict[str, Any], changes: dict[str, Any]) -> None:
    validate(Layout(settings.parse(settings.merge(base, changes))))


@pytest.mark.parametrize("base", [REAL, CLASSES, PLAIN], ids=["real", "classes", "plain"])
def test_what_fits_passes(base: dict[str, Any]) -> None:
    check(base, {})


@pytest.mark.parametrize(
    ("task", "levels"),
    [
        ("network_sir", ("mean_field", "chain", "network")),
        ("stochastic_lotka_volterra", ("ode", "langevin", "tau_leap", "jumps")),
        ("toggle_switch", ("t50", "t80", "t300")),
        ("g_and_k", ("cubic", "exact")),
    ],
)
def test_methods_learn_from_all_levels(task: str, levels: tuple[str, ...]) -> None:
    """By a chain of `start` from level to level, as a telescoping sum, and from all at once."""
    estimators: dict[str, Any] = {}
    for level, rows in zip(levels, (4000, 3000, 2000, 1000), strict=False):
        below = {"start": [*estimators][-1]} if estimators else {}
        estimators[level] = {**NPE, "fidelity": level, "budgets": [rows], **below}
    lower = {level: estimators[level]["budgets"][0] for level in levels[:-1]}
    estimators |= {kind: {**NPE, "type": kind, "lower": lower} for kind in ("ml_npe", "pooled_npe")}
    study = {"study": "s", "seed": 1, "task": task, "budgets": [1000], "estimators": estimators}
    of_study = Layout(settings.parse(study))
    validate(of_study)
    run = next(run for run in of_study.runs if run.method == levels[-1])
    chain = [run.method]
    while (parent := of_study.parent_run(run)) is not None:
        chain.append((run := parent).method)
    assert chain == [*reversed(levels)]


@pytest.mark.parametrize(
    ("n", "replicates", "alpha", "least"),
    [(1, 400, 0.03, None), (1, 99, 0.01, None), (2, 199, 0.01, None), (1, 98, 0.01, 99), (3, 50, 0.03, 66)],
)
def test_a_study_whose_predictions_never_decide_is_warned(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rng: np.random.Generator,
    n: int,
    replicates: int,
    alpha: float,
    least: int | None,
) -> None:
    """And it is the check itself that then decides, or does not, with as many replicates as it is given."""
    file = tmp_path / "lab.csv"
    file.write_text("x0,x1\n" + "0,0\n" * n)
    data = {"observations": {"lab": {"file": str(file), "layout": "table"}}}
    chosen = {"alpha": alpha, "replicates": replicates}
    validate(Layout(settings.parse({**PLAIN, **data, "checks": {"predictive": chosen}})))
    told = capsys.readouterr().err
    assert (f"set replicates to {least}." in told) if least else "checks.predictive" not in told
    for rows, decides in ((replicates, least is None), (least or replicates, True)):
        made, at = rng.normal(size=(1, rows, n, 2)), np.zeros((1, n, 1))
        given = Predictions(made[0], np.zeros((rows, n, 1)), made, at)
        looked = Draws(("a",), np.zeros((1, 2)), ("",), rng.random((rows, n, 1)), x=np.zeros((n, 2)))
        result = checks.build("predictive", alpha=alpha).run(looked, rng, predictive=given)
        assert (result.passed is not None) == decides


ROPE = {"type": "rope", "of": "npe"}


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (REAL, {"estimators": {"npe": {"fidelity": "real"}}}, "estimators.npe.fidelity: `real` is nature"),
        (
            REAL,
            {"estimators": {"npe": {"fidelity": "modl"}}},
            "npe.fidelity: task gaussian_linear has no 'modl'",
        ),
        (
            PLAIN,
            {"estimators": {"r": {"type": "ridge"}}, "calibration": [10]},
            "estimators.r: it learns from labelled real data, or builds on a method that does, but task "
            "gaussian_linear has no level `real`",
        ),
        (
            REAL,
            {"estimators": {"r": {"type": "ridge"}}, "remedies": {"rope": {"type": "rope", "of": "r"}}},
            "remedies.rope.of: a method of type 'rope' builds on one of type npe or regularised or ml_npe or "
            "j_npe or tuned, but",
        ),
        (
            REAL,
            {"estimators": {"bare": {"type": "npe", "summary": {"type": "none"}}},
             "remedies": {"rope": {"type": "rope", "of": "bare"}}},
            "'bare' has no summary network",
        ),
        (
            REAL,
            {"estimators": {"npe": {**NPE, "flow": "consistency"}}, "calibration": [10],
             "remedies": {"tuned": {"type": "tuned", "of": "npe"}, "rope": {"type": "rope", "of": "tuned"}}},
            "remedies.rope.of: 'tuned' gives draws without densities, of which type 'rope' makes",
        ),
        (
            REAL,
            {"estimators": {"late": {**NPE, "start": "npe", "flow": "maf"}}},
            "estimators.late.start: its weights begin as those of 'npe', but `flow` differs",
        ),
        (
            REAL,
            {"estimators": {"late": {**NPE, "start": "npe", "flow": {"bins": 3}}}},
            "estimators.late.start: its weights begin as those of 'npe', but `flow` differs",
        ),
        (REAL, {"estimators": {"npe": {"budgets": [500, 100]}}}, "budgets must grow from first to last"),
        (REAL, {"remedies": {"rope": {**ROPE, "gamma": float("inf")}}}, "rope.gamma: expected a finite"),
        (
            REAL,
            {"estimators": {"ratios": {"type": "ratios"}}},
            "estimators.ratios: type 'ratios' learns from two classes, but task gaussian_linear has",
        ),
        (
            CLASSES,
            {"estimators": {"npe": NPE}},
            "estimators.npe: type 'npe' answers with parameters, but task gaussian_classes has the classes "
            "signal and background",
        ),
        (
            {**CLASSES, "task": "mass_plane"},
            {"estimators": {"ratios": TEMPLATES}},
            "estimators.ratios: task mass_plane has no events of 'signal_7'",
        ),
        (CLASSES, {"remedies": {"wifi": None}}, "`ratios` alone gives no estimate; add a remedy"),
        (CLASSES, {"experiments": {"true_values": []}}, "experiments.true_values: expected fractions"),
        (CLASSES, {"experiments": {"true_values": [1.5]}}, "true_values.0: expected a number less"),
        (CLASSES, {"experiments": {"pool": 20_000}}, "pool: expected at least as many events"),
        (CLASSES, {"experiments": {"methods": ["ratios"]}}, "'ratios' gives no answer that could be judged"),
        (
            REAL,
            {"experiments": {"batches": 1, "rows": 5, "true_values": [0.1]}},
            "experiments.true_values: that is for tasks with classes",
        ),
        (
            REAL,
            {"experiments": {"batches": 1, "rows": 5, "pool": 50_000}},
            "experiments.pool: that is for tasks with classes",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before_any_job(
    base: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        check(base, changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Mine(:", "cannot be imported: SyntaxError"),
        ("class Other: ...", "has no class 'Mine'"),
        ("class Mine: ...", "expected Mine to be a subclass of veridical.estimators.Estimator"),
        (
            "from veridical.estimators import Estimator\nclass Mine(Estimator): ...",
            "Mine does not implement arrays, fit, from_arrays",
        ),
    ],
)
def test_a_file_of_the_users_own_is_imported_before_any_job(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    own = {"type": "own", "file": str(file), "class": "Mine"}
    with pytest.raises(TrainingError) as caught:
        check(REAL, {"estimators": {"mine": own}})
    assert message in str(caught.value)


CHANNELS = """
import numpy as np
from veridical.tasks import Dimension, Task
from veridical.tasks.discrete import Integers
from veridical.tasks.joint import Joint

class Channels(Task):
    prior = Joint({"channels": Integers(1, 6)})
    parameters = prior.parameters()
    dimensions = (Dimension("what", ("current",)),)
    fidelities = {"only": 1.0, "real": 1.0}

    def simulate(self, theta, rng, fidelity):
        return theta + 0.5 * rng.normal(size=theta.shape)

    def log_likelihood(self, theta, x):
        return -2 * ((theta - x) ** 2).sum(axis=1)
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"estimators": {"r": {"type": "ridge"}}},
            "estimators.r: type 'ridge' answers with normal distributions",
        ),
        (
            {"estimators": {"m": {"type": "mlp"}}},
            "estimators.m: type 'mlp' answers with normal distributions",
        ),
        ({"remedies": {"rope": {**ROPE, "smoothing": 0.2}}}, "remedies.rope.smoothing: values of a list"),
        ({"reference": {}}, "reference: Markov chains do not move between the values of channels"),
    ],
)
def test_what_cannot_answer_for_discrete_parameters_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "channels.py").write_text(CHANNELS)
    (tmp_path / "lab.csv").write_text("current\n3.1\n")
    lab = {"file": f"{tmp_path}/lab.csv", "layout": "table"}
    base = {**REAL, "task": f"{tmp_path}/channels.py:Channels", "observations": {"lab": lab}}
    check(base, {})
    with pytest.raises(SettingError) as caught:
        check(base, changes)
    assert message in str(caught.value)


# ---- rows enough -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (PLAIN, {"budgets": [19]}, "budgets: method 'npe' trains on 19 rows; expected 20 or more"),
        (CLASSES, {"budgets": [10]}, "budgets: method 'ratios' trains on 10 rows"),
        (REAL, {"test_rows": 39, "checks": {"detection": {}}}, "check `detection` expects at least 40"),
        (
            PLAIN,
            {"task": {"name": "gaussian_linear", "settings": {"dimension": 12}},
             "checks": {"sbc": {"alpha": 0.01, "null_draws": 999}}},
            "checks.sbc.null_draws: a level of 0.01 over 12 parameters needs at least 1200, got 999",
        ),
    ],
)  # fmt: skip
def test_too_few_rows_are_refused_before_any_job(base: Any, changes: Any, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        check(base, changes)


def observed(tmp_path: Path, value: float, **changes: Any) -> dict[str, Any]:
    """A study with one observation in which one number is given."""
    file = tmp_path / "field.csv"
    file.write_text("a,b\n" + f"{value},1\n")
    field = {"field": {"file": str(file), "layout": "table"}}
    return {
        "task": {"name": "gaussian_linear", "settings": {"dimension": 2}},
        "observations": field,
        **changes,
    }


@pytest.mark.parametrize(("rows", "said"), [(99, True), (100, False)])
def test_test_rows_that_leave_the_verdict_open_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, said: bool
) -> None:
    check(PLAIN, observed(tmp_path, 1.0, test_rows=rows))
    err = capsys.readouterr().err
    assert ("99 test rows cannot tell whether p < 0.01" in err) == said and bool(err) == said


def test_an_observation_beyond_the_type_of_the_simulations_is_refused(tmp_path: Path) -> None:
    changes = observed(tmp_path, 3.5e38)
    changes["task"]["x_dtype"] = "float32"
    with pytest.raises(DataError, match=r"field: column .*0: 3\.5e\+38 is beyond the largest float32"):
        check(PLAIN, changes)
    changes["task"]["x_dtype"] = "float64"
    check(PLAIN, changes)


def test_two_files_of_one_stem_do_not_share_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, value in (("a", 0.1), ("b", 0.2), ("copy", 0.1)):
        Path(folder).mkdir()
        np.savez(f"{folder}/field.npz", x=np.full((1, 2), value))

    def given(folder: str) -> Layout:
        return Layout(settings.parse(PLAIN), data=f"{folder}/field.npz")

    validate(given("a"))
    data = {"field": {"file": "a/field.npz", "source": ""}}
    provenance.write(
        Path(given("a").report) / "provenance.json",
        provenance.build({"study": "s", "seed": 1}, given("a").report, [], data=data),
    )
    validate(given("a"))
    validate(given("copy"))
    with pytest.raises(
        SettingError, match=r"b/field\.npz would be called 'field', as is a/field\.npz, on which"
    ):
        validate(given("b"))


# ---- summary networks --------------------------------------------------------------------------------

PARTICLES: dict[str, Any] = {
    **PLAIN,
    "task": {
        "name": "jets",
        "command": "true {theta} {out}",
        "parameters": {"a": {"prior": "normal", "mean": 0.0, "sd": 1.0}},
        "dimensions": [
            {"name": "particle", "length": 9, "kind": "exchangeable"},
            {"name": "what", "coordinates": ["pt", "y", "phi"]},
        ],
    },
}


def test_what_a_summary_network_asks_of_x_by_name_is_there(tmp_path: Path) -> None:
    def study(**summary: Any) -> dict[str, Any]:
        return {"estimators": {"npe": {**NPE, "summary": {"hidden": [8], "features": 2, **summary}}}}

    check(PARTICLES, study(type="energy_flow", energy="pt"))
    with pytest.raises(SettingError, match=r"estimators\.npe: 'pT' is none .* Did you mean 'pt'"):
        check(PARTICLES, study(type="energy_flow", energy="pT"))
    parts = {"a": {"entries": ["pt"]}, "b": {"entries": ["phi"]}}
    with pytest.raises(
        SettingError, match=r"estimators\.own: summary 'parts': .* 1 in none or in several: y"
    ):
        check(
            PARTICLES, {"estimators": {"own": {"type": "npe", "summary": {"type": "parts", "parts": parts}}}}
        )


# ---- missing values ----------------------------------------------------------------------------------

GAPS: dict[str, Any] = {
    **REAL,
    "task": {
        "name": "gaps",
        "command": "true {theta} {out} {fidelity}",
        "fidelities": {"crude": 1.0, "real": 9.0},
        "parameters": {"a": {"prior": "normal", "mean": 0.0, "sd": 1.0}},
        "dimensions": [{"name": "day", "length": 2, "missing": True}],
    },
}


def test_methods_that_see_what_is_missing_pass() -> None:
    methods = {"j_npe": {**NPE, "type": "j_npe"}, "prior": {"type": "prior"}}
    remedies = {"tuned": {"type": "tuned", "of": "npe"}, "rope": ROPE}
    check(GAPS, {"estimators": {**methods, "many": {"type": "ensemble"}}, "remedies": remedies})


@pytest.mark.parametrize("kind", ["ridge", "mlp", "own"])
def test_methods_that_do_not_see_what_is_missing_are_refused(kind: str, tmp_path: Path) -> None:
    text = "from veridical.estimators.ridge import Ridge\nclass Mine(Ridge): ..."
    (tmp_path / "mine.py").write_text(text)
    own = {"file": str(tmp_path / "mine.py"), "class": "Mine"} if kind == "own" else {}
    with pytest.raises(SettingError) as caught:
        check(GAPS, {"estimators": {"late": {"type": kind, **own}}})
    assert str(caught.value).startswith(
        f"estimators.late: type {kind!r} takes no missing numbers, which task gaps may have along day; use"
    )
    if kind == "own":
        check(GAPS, {"estimators": {"late": {"type": kind, **own, "missing": True}}})


def test_density_ratios_take_missing_numbers_as_absent_particles() -> None:
    """Of jets, and only those, if their section says so."""
    jets = {**CLASSES, "task": "lund_jets"}
    with pytest.raises(SettingError, match=r"along particle; where events are particles .*`particles: {}`"):
        check(jets, {})
    check(jets, {"estimators": {"ratios": {"particles": {}}}})
    with pytest.raises(SettingError, match=r"ratios: `particles` expects .* gaussian_classes have shape"):
        check(CLASSES, {"estimators": {"ratios": {"particles": {}}}})
    with pytest.raises(SettingError, match=r"ratios: particles.energy: 'pt' is none of the 3 entries"):
        check(jets, {"estimators": {"ratios": {"particles": {"energy": "pt"}}}})
