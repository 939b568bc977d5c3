"""What a study can do without: planted faults in checks, predictions and figures; what the machine does."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from tests.report.conftest import MadeUp, build_study
from veridical import checks, figures, job, unchecked
from veridical.checks.tarp import TARP
from veridical.errors import (
    ArtifactError,
    BankError,
    ConvergenceError,
    DataError,
    SimulationError,
    SimulationTimeout,
    Unchecked,
)
from veridical.evidence import intact
from veridical.evidence.metrics import row
from veridical.figures.coverage import Coverage
from veridical.figures.ranks import Ranks
from veridical.figures.sources import Sources
from veridical.report import missing, page, verdict
from veridical.saved import posteriors
from veridical.stages.aggregate import aggregate
from veridical.stages.check import check
from veridical.stages.figures import draw
from veridical.stages.predict import predict
from veridical.stages.report import outcome, render
from veridical.tasks import Dimension, Parameter, Task
from veridical.tasks.priors import Product, Uniform


def raising(error: BaseException) -> Callable[..., Any]:
    def fault(*_: Any, **__: Any) -> Any:
        raise error

    return fault


class Own(TARP):
    """A check of a user's own."""

    name = "own"
    _judge = raising(ZeroDivisionError("division by zero"))


class OwnFigure(Ranks):
    """A figure of a user's own."""

    data = raising(KeyError("colour"))


class Whole(Task):
    """Takes whole numbers only, as its prior gives them."""

    name = "whole"
    fidelities = {"only": 1.0}  # noqa: RUF012
    parameters = (Parameter("k", 0.0, 9.0),)
    prior = Product({"k": Uniform(0.0, 9.0)})
    dimensions = (Dimension("what", ("x",)),)

    def simulate(self, theta: np.ndarray, noise: Any, fidelity: str) -> np.ndarray:
        if (theta % 1).any():
            raise ValueError("\x1b[2Jk must be whole")
        return theta


def job_of(folder: Path, name: str, out: str, *inputs: str | Path, journal: bool = True) -> SimpleNamespace:
    """What Snakemake hands to a job that may fail."""
    path = folder / out
    path.parent.mkdir(parents=True, exist_ok=True)
    params = {"journal": [str(folder / f"unchecked/{name}.json"), 0]} if journal else {}
    log = [str(folder / f"logs/{name}.log")]
    return SimpleNamespace(rule=name, log=log, input=list(inputs), output=[str(path)], params=params)


# ---- a job --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DataError("x: expected a range,\ngot none."), "DataError: x: expected a range, got none."),
        (np.linalg.LinAlgError("Singular matrix"), "LinAlgError: Singular matrix"),
        (ConvergenceError("R-hat 1.2"), "ConvergenceError: R-hat 1.2"),
        (SimulationTimeout("exceeded 3 s"), "SimulationTimeout: exceeded 3 s"),
        (FileNotFoundError(errno.ENOENT, "gone"), "FileNotFoundError: [Errno 2] gone"),
        (
            SimulationError("all failed.\nTraceback (most recent call last):\n  File\nValueError: k"),
            "SimulationError: all failed. ValueError: k",
        ),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(0), "SystemExit: 0"),
        (ValueError("\x1b[2J" + "a" * 900), "ValueError: \\x1b[2J" + "a" * 484 + " ..."),
    ],
)
def test_a_failed_computation_leaves_a_record_and_a_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException, cause: str
) -> None:
    given = job_of(tmp_path, "check", "check/npe/n9-r0/lab/sbc.json")
    job.run(raising(error), given)
    record = {"unchecked": cause, "log": given.log[0]}
    assert unchecked.read(given.output[0]) == record
    assert unchecked.attempts(tmp_path / "unchecked") == {given.params["journal"][0]: 1}
    assert "could not be made, and the study goes on" in capsys.readouterr().err
    assert job.LAST.fullmatch(Path(given.log[0]).read_text().splitlines()[-1])[1] == "failed after"
    intact.check(given.output[0])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        ArtifactError("draws.nc: damaged"),
        BankError("rows: cannot be written"),
        BrokenProcessPool("A process was terminated abruptly"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("behind", [False, True])
def test_what_the_machine_did_fails_the_job(tmp_path: Path, error: Exception, behind: bool) -> None:
    def main(_: Any) -> None:
        try:
            raise error
        except Exception as cause:
            raise (DataError("no draws") if behind else cause) from (cause if behind else None)

    given = job_of(tmp_path, "check", "sbc.json")
    with pytest.raises(SystemExit, match="1"):
        job.run(main, given)
    assert not Path(given.output[0]).exists() and not unchecked.attempts(tmp_path / "unchecked")


def test_a_job_that_the_study_needs_fails_as_ever(tmp_path: Path) -> None:
    given = job_of(tmp_path, "train", "weights", journal=False)
    with pytest.raises(SystemExit, match="1"):
        job.run(raising(DataError("no rows")), given)
    assert not Path(given.output[0]).exists()


def test_a_record_that_cannot_be_written_fails_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unchecked, "write", raising(ArtifactError("disk full")))
    given = job_of(tmp_path, "check", "sbc.json")
    with pytest.raises(SystemExit, match="1"):
        job.run(raising(DataError("a fault")), given)
    assert "DataError: a fault\nArtifactError: disk full\n" in Path(given.log[0]).read_text()


def test_only_failed_attempts_count(tmp_path: Path) -> None:
    journal = (str(tmp_path / "a.json"), 2)
    unchecked.count(journal)
    (tmp_path / "b.json").write_text("torn")
    assert unchecked.attempts(tmp_path, tmp_path / "none") == {journal[0]: 3, str(tmp_path / "b.json"): -1}


# ---- a check, a prediction, a figure --------------------------------------------------------------------


def test_a_prediction_that_fails_everywhere_is_told_by_its_check(tmp_path: Path) -> None:
    theta = np.random.default_rng(1).random((300, 1, 1))
    draws = posteriors.Draws(("k",), np.array([[0.0, 9.0]]), ("",), theta, attrs={"dataset": "lab"})
    posteriors.save(tmp_path / "draws.nc", draws)
    spec = {"name": "whole", "file": __file__, "class": "Whole"}
    made = job_of(tmp_path, "predict", "lab.predictive.npz", tmp_path / "draws.nc")
    sizes = {"bands": 60, "draws": 1, "replicates": 40}
    asked = {"sizes": sizes, "root": 1, "method": "npe", "replicate": 0, "fidelity": "only"}
    job.run(lambda given: predict(spec, given.input[0], given.output[0], **asked), made)
    then = job_of(tmp_path, "check", "check/npe/n9-r0/lab/predictive.json", *made.output)
    job.run(lambda given: unchecked.require(given.input), then)
    record = unchecked.read(then.output[0])
    assert record is not None and record["log"] == made.log[0]
    assert record["unchecked"] == (
        "SimulationError: predictions at fidelity only: all 100 simulations at posterior draws failed; the "
        "posterior lies where the simulator does not work. ValueError: \\x1b[2Jk must be whole"
    )


FAULTS = {
    "built-in": ("tarp", DataError("truth: outside of its range"), "DataError: truth: outside of its range"),
    "own": ("own", None, "ZeroDivisionError: division by zero"),
}


@pytest.fixture
def study(tmp_path: Path) -> MadeUp:
    return build_study(tmp_path, replicates=2, budgets=(2000,))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """A study whose results are aggregated, for tests that leave them as they are."""
    made = build_study(tmp_path_factory.mktemp("judged"), replicates=1, budgets=(2000,), tests=100)
    aggregate("e", "growth", results=made.checks, draws=made.draws, costs=made.costs, **files(made))
    return made


def files(made: MadeUp) -> dict[str, Path]:
    return {"table": made.root / "metrics.csv", "verdicts": made.root / "verdict.json"}


def sources(made: MadeUp) -> Sources:
    return Sources(
        results=made.checks,
        draws=made.draws,
        observations=made.observations,
        histories=made.histories,
        table=files(made)["table"],
        looks=made.looks,
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_check_is_a_finding_and_takes_trust_away(
    study: MadeUp, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, error, cause = FAULTS[fault]
    others = {"draws": study.draws, "costs": study.costs}
    aggregate("example", "growth", results=study.checks, **others, **files(study))
    before = [v["verdict"] for v in verdict.load(files(study)["verdicts"])["verdicts"]]
    monkeypatch.setitem(checks.CHECKS, "own", f"{__name__}:Own")
    if error is not None:
        monkeypatch.setattr(TARP, "_judge", raising(error))
    drawn = next(str(d) for d in study.draws if "/npe/" in str(d))
    where = {"root": 1, "method": "npe", "replicate": 0, "dataset": "simulated"}
    paths = [study.root / f"check/npe/n2000-r{replicate}/simulated/{name}.json" for replicate in (0, 1)]
    for path in paths:
        given = job_of(study.root, f"check-{path.parts[-3]}", str(path.relative_to(study.root)))
        job.run(lambda g: check(name, {}, {"draws": drawn}, g.output[0], **where), given)
    results = [*(p for p in study.checks if Path(p) not in paths), *paths]
    aggregate("example", "growth", results=results, **others, **files(study))
    found = verdict.load(files(study)["verdicts"])
    assert before == ["trust if the simulator is right"] and [v["verdict"] for v in found["verdicts"]] == [
        "caution"
    ]
    assert [(e["what"], e["dataset"], e["cause"]) for e in found["unchecked"]] == [
        (f"check {name}", "simulated", cause)
    ] * 2
    inference = found["verdicts"][0]["questions"]["inference"]
    told = f"check {name} of npe at 2,000 simulations on simulated, in 2 repeats: {cause} (log: "
    assert inference["outcome"] == "cannot tell"
    assert f"Could not be checked: {told}" in inference["text"]
    with pytest.raises(Unchecked, match="lacks what could not be made: check "):
        outcome(files(study)["verdicts"], study.root, study.root / "outcome.json")
    assert not (study.root / "outcome.json").exists()


def test_real_data_on_which_no_check_could_be_made_are_judged_all_the_same() -> None:
    entry = {"what": "check sbc", "method": "npe", "budget": 9, "n_calibration": None, "replicate": 0}
    entry |= {"dataset": "real", "cause": "E: no", "log": "l"}
    cells = {"method": "npe", "budget": 9, "seed": 0, "dataset": "simulated", "value": 0.5}
    rows = [row(**cells, metric=name) for name in ("sbc_p", "coverage_p")]
    found = verdict.decide(rows, [entry])["verdicts"]
    assert [(v["dataset"], v["verdict"]) for v in found] == [("real", "caution")]


def test_a_check_that_is_missing_in_one_repeat_of_many_still_takes_trust_away() -> None:
    entry = {"what": "check sbc", "method": "npe", "budget": 9, "n_calibration": None, "replicate": 4}
    entry |= {"dataset": "simulated", "cause": "E: no", "log": "l"}
    evidence = verdict.Evidence([], "npe", 9, "lab", unchecked=[entry])
    assert [e["replicate"] for e in missing.of(evidence)] == [4]
    for other in ({"method": "rope"}, {"budget": 5}, {"n_calibration": 3}, {"dataset": "field"}):
        assert not missing.of(verdict.Evidence([], "npe", 9, "lab", unchecked=[entry | other]))


def test_one_cause_is_told_once_with_all_that_it_keeps_from_being_made() -> None:
    def entry(what: str, method: str, replicate: int, cause: str = "E: no") -> dict:
        cells = {"budget": None if method == "reference" else 1000, "n_calibration": None, "dataset": "lab"}
        return {"what": what, "method": method, "replicate": replicate, **cells, "cause": cause, "log": "l"}

    near = [entry(f"check {name}", "npe", r) for name in ("local_ranks", "local_c2st") for r in (0, 1)]
    told = "check local_ranks and check local_c2st of npe at 1,000 simulations on lab, in 2 repeats"
    assert missing.told(near) == [f"{told}: E: no (log: l)"]
    compared = [entry("check two_sample", method, 0) for method in ("npe", "ens")]
    told = (
        "the exact reference on lab; check two_sample of npe at 1,000 simulations on lab; "
        "check two_sample of ens at 1,000 simulations on lab: E: no (log: l)"
    )
    assert missing.told([*compared, entry("the exact reference", "reference", 0)]) == [told]
    assert len(missing.told([*near, entry("check sbc", "npe", 0, "E: other")])) == 2


@pytest.mark.parametrize("place", ["found", "data", "draw", "shows", "table", "own"])
def test_a_figure_that_cannot_be_drawn_is_told_in_its_place(
    judged: MadeUp, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study, folder, kind, error = judged, tmp_path / "figures", "coverage", "ValueError: no colour"
    if place == "own":
        kind, error = "own", "KeyError: 'colour'"
        monkeypatch.setitem(figures.FIGURES, "own", f"{__name__}:OwnFigure")
    else:
        monkeypatch.setattr(Coverage, place, raising(ValueError("no colour")))
    with pytest.raises(Unchecked, match=f"could not be drawn: {kind}--"):
        draw(folder, sources(study), log="figures.log")
    (entry,) = missing.figures(folder)
    assert (entry["what"], entry["cause"], entry["log"]) == (f"figure {kind}", error, "figures.log")
    pictures = page.load_figures(folder)
    assert kind not in {picture.kind for picture in pictures} and len({p.kind for p in pictures}) > 5
    out = tmp_path / "report.html"
    inputs = {**files(study), "figures": folder, "provenance": None}
    render(study.settings, **inputs, looks=study.looks, out=out)
    told = out.read_text()
    assert f"figure {kind}" in told and str(escape(error)) in told
    with pytest.raises(Unchecked, match=f"figure {kind}"):
        outcome(inputs["verdicts"], folder, tmp_path / "outcome.json")


def test_figures_that_can_be_drawn_let_a_study_end_well(judged: MadeUp) -> None:
    draw(judged.root / "figures", sources(judged))
    outcome(files(judged)["verdicts"], judged.root / "figures", judged.root / "outcome.json")
    assert (judged.root / "outcome.json").is_file()


def test_a_figure_that_the_disk_has_no_room_for_fails_the_job(
    study: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate("e", "growth", results=study.checks, draws=study.draws, costs=study.costs, **files(study))
    monkeypatch.setattr(Ranks, "draw", raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        draw(study.root / "figures", sources(study))
