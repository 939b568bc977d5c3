"""Damages each kind of file that a study leaves, and asks all who read it whether they notice.

    PYTHONPATH=src python benchmarks/damage.py gaussian wifi_gaussian --out docs/results/damage.md

The studies (names of files in config/) must have run at the smoke scale; they are copied before anything is
damaged. `--json FILE` keeps the counts, `--before FILE` puts those of an older revision beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from table_text import table

from veridical import __main__ as command_line
from veridical import artifacts, bank, checks, files
from veridical.errors import VeridicalError
from veridical.evidence import metrics, provenance
from veridical.evidence.archive import export
from veridical.figures.sources import Sources
from veridical.report import page, verdict
from veridical.saved import estimates, experiments, observations, posteriors
from veridical.stages import aggregate, report
from veridical.stages import check as check_stage
from veridical.stages import provenance as provenance_stage
from veridical.stages.infer import infer
from veridical.study import resources, settings
from veridical.study.layout import Layout
from veridical.training.checkpoints import CheckpointFolder

USED, TRACEBACK, REFUSED = "used", "traceback", "refused"
Reader = Callable[[Path], Any]


# ---- damages -----------------------------------------------------------------------------------------


def damages(path: Path, repeats: int = 3) -> Iterator[tuple[str, bytes]]:
    """Yields the name of each damage and the damaged content of a file."""
    content = path.read_bytes()
    rng = random.Random(f"{path.name} {len(content)}")
    yield "empty", b""
    yield "cut in half", content[: len(content) // 2]
    for _ in range(repeats):
        flipped = bytearray(content)
        for place in rng.sample(range(len(content)), 3):
            flipped[place] ^= 1 << rng.randrange(8)
        yield "three bits", bytes(flipped)
    if path.suffix in (".json", ".jsonl", ".csv", ".svg", ".html"):
        places = [match.start() for match in re.finditer(rb"[0-9]", content)]
        for place in rng.sample(places, min(repeats, len(places))):
            digit = str((int(content[place : place + 1]) + rng.randrange(1, 10)) % 10).encode()
            yield "one digit", content[:place] + digit + content[place + 1 :]
    if path.name.endswith(".zarr.zip"):
        yield "no chunk", _without_chunk(content)


def _without_chunk(content: bytes) -> bytes:
    """A Zarr store in a zip without its first chunk."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        chunk = next(name for name in old.namelist() if "/c/" in name)
        for name in old.namelist():
            if name != chunk:
                new.writestr(zipfile.ZipInfo(name), old.read(name))
    return buffer.getvalue()


# ---- readers -----------------------------------------------------------------------------------------


@dataclass
class Finished:
    """A finished study and where its readers may write."""

    layout: Layout
    scratch: Path

    @property
    def folder(self) -> Path:
        """Its results."""
        return Path(self.layout.results)

    def export(self, _: Path) -> None:
        """Packs the study."""
        export(self.folder, self.scratch / "packed.tar.gz")

    def certify(self, path: Path) -> None:
        """Takes one file into a record of provenance."""
        out = self.scratch / "provenance.json"
        record = {"study": "damage", "seed": 1}
        provenance_stage.record(record, root=self.folder, files=[path], data={}, shards=[], rows={}, out=out)

    def aggregate(self, path: Path) -> None:
        """Tabulates one file."""
        roles = {"infer": "draws", "check": "results", "train": "costs", "remedy": "costs"}
        stage = path.relative_to(self.folder).parts[0]
        given: dict[str, Any] = {"results": [], "draws": [], "costs": []}
        given |= {roles.get(stage, "benchmarks"): [path]}
        out = {"table": self.scratch / "metrics.csv", "verdicts": self.scratch / "verdict.json"}
        aggregate.aggregate("study", "task", **given, **out)

    def sources(self, **given: Any) -> Sources:
        """What figures are made from."""
        none: dict[str, Any] = {"results": [], "draws": [], "observations": [], "histories": []}
        return Sources(**{**none, "table": self.folder / "metrics.csv", **given})

    def look(self, path: Path) -> None:
        """Reads what was seen of real data."""
        data = path.with_name(path.name.replace(".look.json", ".nc"))
        list(self.sources(looks=[path], observations=[data]).looked())

    def answer(self, path: Path) -> None:
        """Draws from a posterior for a data set."""
        for weights in sorted(self.folder.glob("train/*/*/weights.safetensors"))[:1]:
            out = self.scratch / "draws.nc"
            infer(weights.parent, observations.load(path), out, draws=2, root=1, replicate=0)

    def probed(self, path: Path) -> None:
        """Sets the time limit of simulations."""
        resources.simulate_minutes(self.layout, path.parent.name, path)

    def checked(self, path: Path) -> None:
        """Runs a check on arrays beside draws."""
        draws, _, name = path.name.removesuffix(".npz").partition(".")
        inputs = {"draws": str(path.with_name(f"{draws}.nc")), name: str(path)}
        inputs["prior"] = str(self.folder / "observe" / "simulated.nc")
        where = {"root": 1, "method": "m", "replicate": 0, "dataset": draws}
        check = {"nearby": "local_ranks", "densities": "prior_sensitivity"}.get(name, name)
        check_stage.check(check, {}, inputs, self.scratch / "check.json", **where)

    def joined(self, path: Path) -> None:
        """Joins the chains of a reference."""
        from veridical.stages import reference

        data = self.folder / "observe" / f"{path.parent.name}.nc"
        chosen = self.layout.study.reference.model_dump(mode="json")
        reference.combine(self.layout.task_spec, data, [path] * 2, chosen, self.scratch / "draws.nc")

    def rendered(self, _: Path) -> None:
        """Writes the report."""
        names = {"table": "metrics.csv", "verdicts": "verdict.json", "provenance": "provenance.json"}
        given: dict[str, Any] = {role: self.folder / name for role, name in names.items()}
        about = {"study": "s", "title": "", "description": "", "seed": 1, "observations": {}}
        report.render(about, figures=self.folder / "figures", out=self.scratch / "report.html", **given)


def verify(path: Path) -> None:
    """Runs `python -m veridical verify`, and raises what it says of a broken file."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = command_line.main(["verify", str(path)])
    if status:
        raise VeridicalError(said.getvalue())


def state(path: Path) -> Any:
    """Goes on with a training; a state that was set aside is told as a refusal."""
    import torch

    said = io.StringIO()
    with contextlib.redirect_stdout(said), CheckpointFolder(path.parent) as folder:
        saved = folder.saved() if hasattr(folder, "saved") else folder.state
    if saved is None:
        raise VeridicalError(said.getvalue())
    return torch.load(saved, weights_only=True)


def kinds(study: Finished) -> Mapping[str, tuple[str, Sequence[Reader]]]:
    """Returns for each kind of file its pattern below the results and who reads it."""
    s = study
    return {
        "shard": ("bank/*/*/*/rows-*.zarr.zip", [lambda p: bank.load([p]), bank.verify]),
        "probe": ("bank/*/*/probe.json", [s.probed]),
        "data set": (
            "observe/*.nc",
            [observations.load, *([] if s.layout.of_classes else [s.answer]), s.export],
        ),
        "look": ("observe/*.look.json", [s.look, s.export]),
        "weights": ("*/*/*/weights.safetensors", [_loaded, s.certify, s.export]),
        "record": ("*/*/*/estimator.json", [_loaded, s.certify, s.export]),
        "history": ("*/*/*/history.json", [lambda p: s.sources(histories=[p]).trainings(), s.export]),
        "costs": ("*/*/*/cost.json", [s.aggregate, s.export]),
        "training state": ("state/state.ckpt", [state]),
        "draws": ("infer/**/*.nc", [posteriors.load, s.aggregate, s.certify, s.export]),
        "estimates": ("infer/**/*.json", [estimates.load, s.aggregate, s.certify]),
        "predictions": ("infer/**/*.predictive.npz", [s.checked]),
        "exact densities": ("infer/**/*.exact.npz", [s.checked]),
        "simulations nearby": ("infer/**/*.nearby.npz", [s.checked]),
        "densities of the task": ("infer/**/*.densities.npz", [s.checked]),
        "chains": ("infer/**/ensemble-*.npz", [s.joined]),
        "check": ("check/**/*.json", [checks.load, s.aggregate, s.export]),
        "experiments": ("check/**/batch-*.zarr.zip", [experiments.read]),
        "benchmark": ("benchmarks/infer/**/simulated.jsonl", [files.benchmark_records, s.aggregate]),
        "table": ("metrics.csv", [metrics.read, s.certify, s.rendered, s.export]),
        "verdict": ("verdict.json", [verdict.load, s.certify, s.rendered, s.export]),
        "provenance": ("provenance.json", [provenance.load, s.rendered, s.export]),
        "figure": ("figures/*.svg", [lambda p: page.load_figures(p.parent), s.rendered, s.export]),
        "data of a figure": ("figures/*.json", [lambda p: page.load_figures(p.parent), s.rendered, s.export]),
        "report": ("report.html", [s.export]),
    }


def _loaded(path: Path) -> Any:
    return artifacts.load_estimator(path.parent)


# ---- the matrix --------------------------------------------------------------------------------------


def outcome(read: Reader, path: Path) -> tuple[str, str]:
    """Returns what a reader made of a damaged file, and what it said."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            read(path)
    except Exception as error:
        named = isinstance(error, VeridicalError) and path.name in str(error)
        said = "".join(traceback.format_exception_only(error)).strip()
        return (REFUSED if named else TRACEBACK), said
    return USED, ""


def matrix(study: Finished, repeats: int = 3) -> Iterator[tuple[str, str, str, str]]:
    """Yields kind, damage, the worst outcome among all readers, and which reader or message it was."""
    _, bank_folder = study.folder, Path(study.layout.root) / "bank"
    for kind, (pattern, readers) in kinds(study).items():
        root = bank_folder.parent if pattern.startswith("bank") else study.folder
        found = sorted(root.glob(pattern))
        for path in found[: 1 if len(found) < 3 else 2]:
            whole = path.read_bytes()
            verified = outcome(verify, path)[0] == USED  # not every revision looks at every kind
            asked = [*readers, verify] if verified else readers
            for read in readers:
                made, said = outcome(read, path)
                if made != USED:
                    raise AssertionError(f"{path} is refused as it is: {said}")
            for damage, content in damages(path, repeats):
                results = []
                for read in asked:
                    path.write_bytes(content)
                    results.append((*outcome(read, path), getattr(read, "__name__", str(read))))
                path.with_suffix(".damaged").unlink(missing_ok=True)
                path.write_bytes(whole)
                worst = min(results, key=lambda r: (USED, TRACEBACK, REFUSED).index(r[0]))
                yield kind, damage, worst[0], f"{worst[2]}: {worst[1]}"


def prepared(name: str, results: Path, scratch: Path) -> Finished:
    """Copies a study that ended, and begins a training of which a state stays behind."""
    import torch

    layout = Layout(settings.load(Path("config") / f"{name}.yaml", "smoke"), scale="smoke", root="results")
    for folder in (layout.results, *layout.banks):
        shutil.copytree(results / Path(folder).relative_to("results"), scratch / folder, symlinks=True)
    os.chdir(scratch)
    (scratch / "made").mkdir(exist_ok=True)
    with CheckpointFolder(Path(layout.results) / "state", save_seconds=0) as folder:
        folder.save(lambda path: torch.save({"network": torch.arange(1000.0), "epoch": 3}, path))
    return Finished(layout, scratch / "made")


def main() -> None:
    """Damages, counts, writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    home, counts = Path.cwd(), Counter[tuple[str, str]]()
    for name in chosen.studies:
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "config").symlink_to(home / "config")
            study = prepared(name, (home / chosen.results).resolve(), Path(scratch))
            for kind, damage, made, said in matrix(study):
                counts[kind, made] += 1
                if made != REFUSED:
                    print(f"{name}: {kind}, {damage}: {made} by {said[:300]}", flush=True)
            os.chdir(home)
    found = {kind: {made: counts[kind, made] for made in (USED, TRACEBACK, REFUSED)} for kind, _ in counts}
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    before = json.loads(chosen.before.read_text(encoding="utf-8")) if chosen.before else {}
    text = page_of(found, before, chosen.studies)
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


def page_of(found: Mapping[str, Any], before: Mapping[str, Any], studies: Sequence[str]) -> str:
    """Returns the page in docs/results."""
    lines, sums = [], (Counter[str](), Counter[str]())
    for kind, counts in found.items():
        cells = [kind]
        for total, given in zip(sums, (before.get(kind, {}), counts), strict=True):
            total.update(given)
            cells += [str(given.get(made, "")) for made in (USED, TRACEBACK, REFUSED)]
        lines.append(cells)
    lines.append(["**all**", *(str(total[made]) for total in sums for made in (USED, TRACEBACK, REFUSED))])
    header = ["kind of file", *(f"{when}: {made}" for when in ("before", "after") for made in MADE)]
    return f"{INTRODUCTION.format(studies=', '.join(studies))}\n{table(header, lines)}\n"


MADE = ("used", "no name", "refused")
INTRODUCTION = """# Damaged files

Written by `benchmarks/damage.py` from the smoke studies {studies}. Of each kind of file one or two are
emptied, cut in half, given three flipped bits (three times, at seeded places), text files another digit
(three times), and Zarr files lose a chunk. After each damage all who read the file are asked: its loader,
the job that uses it, `python -m veridical verify`, the record of provenance and the export where they take
such a file. A damage counts as *used* if any of them went on with it, as *no name* if any ended in an error
that does not name the file, else as *refused*, with the file's name and the remedy. A training state that
is set aside, and said so, counts as refused. Benchmarks are Snakemake's, which writes them after a job has
ended: what cannot be read is refused, another digit in a measured time is not noticed. *Before* is the
revision of 2026-11-29 (d0c2fc0), which wrote no digests into most files, on files of its own.
"""

if __name__ == "__main__":
    main()
