"""Pages of docs/results: tables of finished studies and of benchmarks, with what made them.

    python benchmarks/tables.py study results/lynx_hare         its page and figures, from its saved results
        [--page NAME] [--set SETTINGS]                          another page, of a run with SET=SETTINGS
    python benchmarks/tables.py record NAME -- COMMAND ...      runs a benchmark, keeps its last line (JSON)
    python benchmarks/tables.py benchmarks                      the page of all that were recorded

Every number comes from `metrics.csv` or from a recorded run; nothing is typed in.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import study_tables
from table_text import number, table

from veridical.coordinates import dataset_cells
from veridical.evidence import metrics, provenance, result_digest, variants
from veridical.evidence.metrics import Row, select, value
from veridical.report import verdict

OUT = Path(__file__).parents[1] / "docs" / "results"
FIGURES = ("posterior", "predictive", "ranks", "coverage", "learning")
TESTS = ("log_gamma", "sbc_p", "coverage_p", "tarp_p")
SCORES = ("nrmse", "contraction", "calibration_error", "z_score_sd")
LEVELS = (0.5, 0.9)
RECORDED = "Recorded with `python benchmarks/tables.py record`, each the last line that its command prints."


# ---- studies -----------------------------------------------------------------------------------------


def study_page(folder: Path, name: str, changed: str) -> str:
    """Returns the page of a finished study as Markdown, and copies its figures beside it under that name."""
    rows = metrics.read(folder / "metrics.csv")
    found = verdict.load(folder / "verdict.json")
    parts = [f"# Study {name.replace('@', ', ')}", _made_by(folder, changed)]
    if len({variants.of_cells(judged) for judged in found["verdicts"]}) > 1:
        parts += study_tables.sections(rows, found)
        parts += _figures(name, study_tables.figures(folder, rows, found["verdicts"]))
    else:
        parts += _one_method(rows, found) + _figures(name, _kinds(folder))
    return "\n\n".join(dict.fromkeys(parts)) + "\n"


def _one_method(rows: Sequence[Row], found: dict[str, Any]) -> list[str]:
    """Verdict, calibration, scores and distance from the exact answer of the one method of a study."""
    parts = ["## Verdict", _verdicts(found)]
    for judged in found["verdicts"]:
        own = select(rows, method=judged["method"], budget=judged["budget"])
        title = (
            judged["method"]
            if judged["dataset"] == "simulated"
            else f"{judged['method']} on {judged['dataset']}"
        )
        parts += [f"## Calibration of {judged['method']} on simulated data", _calibration(own)]
        parts += [f"## Scores of {judged['method']} on simulated data", _scores(own)]
        if select(own, metric="mean_shift_sd", **dataset_cells(judged["dataset"])):
            parts += [f"## {title}, against the exact reference", _distance(own, rows, judged["dataset"])]
        parts += ["## Budgets", _budgets(select(rows, method=judged["method"]))]
    return parts


def _made_by(folder: Path, changed: str) -> str:
    """What made a study: command, revision, versions, seed, machine, digest."""
    record = provenance.load(folder / "provenance.json")
    run, own = provenance.properties(record, "#run"), provenance.properties(record, "#veridical")
    settings = json.loads(provenance.entity(record, "#settings")["text"])
    above = folder.parent if (folder.parent / "report.html").is_file() else None  # of a collection
    scale = (above or folder).name.partition("@")[2] or "laptop"
    what = f"study NAME={settings['study']}"
    if above is not None:
        what = f"benchmark COLLECTION={above.name.partition('@')[0]}"
    versions = ", ".join(
        f"{thing['name']} {thing['softwareVersion']}"
        for thing in record["@graph"]
        if thing["@id"] in {f"#package-{name}" for name in ("python", "numpy", "torch", "zuko", "lightning")}
    )
    given = f" SET={shlex.quote(changed)}" if changed else ""
    dirty = " with uncommitted changes" if own["git_dirty"] else ""
    return (
        f"`make {what} SCALE={scale}{given}`, root seed {run['seed']}, revision "
        f"`{str(own['git_revision'])[:10]}`{dirty}, on {run['cpu_count']} cores ({run['machine']}). "
        f"{versions}.\n\n"
        f"Result digest (`python -m veridical digest {folder.as_posix()}`): `{result_digest.digest(folder)}`."
    )


def _verdicts(found: dict[str, Any]) -> str:
    lines = [[v["method"], v["dataset"], v["verdict"], v["summary"]] for v in found["verdicts"]]
    return table(["method", "data", "verdict", "why"], lines)


def _calibration(rows: Sequence[Row]) -> str:
    """Tests and coverage of each replicate; `log_gamma` above 0 and p-values that are not small pass."""
    lines = []
    for seed in _seeds(rows):
        own = select(rows, seed=seed, dataset="simulated", parameter=None)
        cells = [value(own, metric=name) for name in TESTS]
        cells += [value(own, metric=name, level=a) for name in ("coverage", "hpd_coverage") for a in LEVELS]
        lines.append([str(seed), *map(number, cells)])
    shares = [f"{kind} {a:.0%}" for kind in ("central", "HPD") for a in LEVELS]
    return table(["replicate", *(f"`{name}`" for name in TESTS), *shares], lines)


def _scores(rows: Sequence[Row]) -> str:
    """Mean over replicates and its standard error, by parameter."""
    means = select(rows, seed=None, dataset="simulated")
    lines = []
    for parameter in [*_parameters(means, "nrmse"), None]:
        cells = [select(means, metric=name, parameter=parameter) for name in SCORES]
        lines.append([parameter or "**mean**", *(_mean(found) for found in cells)])
    return table(["parameter", *(f"`{name}`" for name in SCORES)], lines)


def _distance(own: Sequence[Row], rows: Sequence[Row], dataset: str) -> str:
    """Shift of the mean and ratio of widths by replicate, beside the convergence of the reference."""
    here = select(own, **dataset_cells(dataset))
    exact = select(rows, method="reference", **dataset_cells(dataset))
    repeats = _seeds(here)
    lines = []
    for parameter in _parameters(here, "mean_shift_sd"):
        cells = [
            [number(value(here, metric=metric, parameter=parameter, seed=s)) for s in repeats]
            for metric in ("mean_shift_sd", "sd_ratio")
        ]
        rhat, ess = (value(exact, metric=metric, parameter=parameter) for metric in ("rhat", "ess"))
        shape = ["" if rhat is None else f"{rhat:.4f}", number(ess)]
        lines.append([parameter, *(" / ".join(of) for of in cells), *shape])
    mean = [number(value(here, metric="mean_shift_sd", parameter=None, seed=s)) for s in repeats]
    lines.append(["**mean**", " / ".join(mean), "", "", ""])
    told = [number(value(here, metric=m, seed=s)) for m in ("c2st", "c2st_null") for s in repeats]
    half = len(told) // 2
    header = ["parameter", "shift of the mean, reference sd", "sd ratio", "R-hat", "ESS"]
    return (
        f"{table(header, lines)}\n\nBy replicate. `c2st` {' / '.join(told[:half])}; between two halves of "
        f"the reference {' / '.join(told[half:])}."
    )


def _budgets(rows: Sequence[Row]) -> str:
    """How quality and cost change with the number of simulations: means over replicates."""
    means = select(rows, seed=None, parameter=None)
    names = ("nltp", "nrmse", "contraction", "invalid_share", "fit_seconds")
    lines = []
    for budget in sorted({r["budget"] for r in means if r["metric"] == "fit_seconds"}):
        own = [r for r in select(means, budget=budget) if r["dataset"] in (None, "simulated")]
        lines.append([f"{budget:,}", *(_mean(select(own, metric=name)) for name in names)])
    return table(["simulations", *(f"`{name}`" for name in names)], lines)


def _kinds(folder: Path) -> list[Path]:
    """The figures that tell most of one method."""
    return [path for kind in FIGURES for path in sorted((folder / "figures").glob(f"{kind}--*.svg"))]


def _figures(name: str, paths: Iterable[Path]) -> list[str]:
    """Copies figures beside the page, and returns the lines that show them."""
    parts = []
    for path in paths:
        target = OUT / f"{name.replace('@', '-')}--{path.name}"
        shutil.copyfile(path, target)
        parts.append(f"![{path.stem.replace('--', ' ')}]({target.name})")
    return ["## Figures", *parts] if parts else []


def _parameters(rows: Iterable[Row], metric: str) -> list[str]:
    """Parameters that have this metric, in the order of the table."""
    return list(dict.fromkeys(r["parameter"] for r in rows if r["metric"] == metric and r["parameter"]))


def _seeds(rows: Iterable[Row]) -> list[int]:
    return sorted({r["seed"] for r in rows if r["seed"] is not None})


def _mean(rows: Sequence[Row]) -> str:
    """The one row's value with its standard error across replicates."""
    if not rows:
        return ""
    (row,) = rows
    error = "" if row["stderr"] is None else f" ± {row['stderr']:.1g}"
    return f"{number(row['value'])}{error}"


# ---- benchmarks --------------------------------------------------------------------------------------


def record(name: str, command: Sequence[str]) -> None:
    """Runs a benchmark and keeps the JSON in its last line, with what made it."""
    before = made(command)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="")
    out = json.loads(done.stdout.strip().splitlines()[-1])
    metrics.write_text(OUT / f"{name}.json", json.dumps({**before, "result": out}, indent=1) + "\n")


def made(command: Sequence[str]) -> dict[str, Any]:
    """Returns what a record says of how it is made, before it begins."""
    commit, dirty = provenance.revision()
    return {
        "command": shlex.join(["python" if word == sys.executable else word for word in command]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": commit,
        "uncommitted_changes": dirty,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)},
        "versions": {"python": platform.python_version(), **provenance.versions()},
    }


def benchmarks_page() -> str:
    """Returns the page of all benchmarks that were recorded."""
    parts = ["# Benchmarks", RECORDED]
    for path in sorted(OUT.glob("*.json")):
        kept = json.loads(path.read_text())
        machine = kept["machine"]
        parts += [
            f"## {path.stem.replace('_', ' ')}",
            f"`{kept['command']}` on {kept['date'][:10]}, revision `{str(kept['revision'])[:10]}`, "
            f"{machine['cores']} cores of {machine['cpu']}, load {machine['load_before']} before it began. "
            f"Versions and all numbers: [{path.name}]({path.name}).",
            _values(kept["result"]),
        ]
    return "\n\n".join(parts) + "\n"


def _values(result: dict[str, Any]) -> str:
    lines = [[f"`{name}`", _short(given)] for name, given in result.items()]
    return table(["number", "value"], lines)


def _cpu() -> str:
    """The name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# ---- text --------------------------------------------------------------------------------------------


def _short(given: Any) -> str:
    if isinstance(given, list):
        return ", ".join(map(_short, given))
    return number(given) if isinstance(given, int | float) and not isinstance(given, bool) else str(given)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one of the commands in the first lines of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="action", required=True)
    study = commands.add_parser("study")
    study.add_argument("folder", type=Path)
    study.add_argument("--page", help="name of the page; else that of the folder")
    study.add_argument("--set", default="", help="settings that were changed for the run, as in SET")
    recorder = commands.add_parser("record")
    recorder.add_argument("name")
    recorder.add_argument("command", nargs=argparse.REMAINDER)
    commands.add_parser("benchmarks")
    chosen = parser.parse_args(arguments)
    OUT.mkdir(parents=True, exist_ok=True)
    if chosen.action == "study":
        name = chosen.page or chosen.folder.name
        page = study_page(chosen.folder, name, chosen.set)
        metrics.write_text(OUT / f"{name.replace('@', '-')}.md", page)
        return
    if chosen.action == "record":
        words = [word for word in chosen.command if word != "--"]
        record(chosen.name, [sys.executable if word == "python" else word for word in words])
    metrics.write_text(OUT / "benchmarks.md", benchmarks_page())


if __name__ == "__main__":
    main()
