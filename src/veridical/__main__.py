"""`python -m veridical COMMAND`: what users do beside running a study."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from veridical.errors import VeridicalError
from veridical.job import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except VeridicalError as error:
        print(printable(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m veridical", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    new = commands.add_parser("new", help="write a folder with a study of your own that runs at once")
    new.add_argument("folder", type=Path, help="a new folder; its name becomes that of the study")
    new.add_argument("--task", default="python", help="what simulates: python (default), command or file")
    new.set_defaults(run=_new)

    workflow = commands.add_parser("workflow", help="print the path of the Snakefile")
    workflow.set_defaults(run=_workflow)

    schema = commands.add_parser("schema", help="print the JSON schema of a study file, for editors")
    schema.set_defaults(run=_schema)

    verify = commands.add_parser("verify", help="check the digest of a file, or of all below a folder")
    verify.add_argument("folder", type=Path, nargs="?", default=Path("results/bank"))
    verify.set_defaults(run=_verify)

    collect = commands.add_parser("gc", help="list what no study in config/ needs any more")
    collect.add_argument("--results", type=Path, default=Path("results"))
    collect.add_argument("--config", type=Path, default=Path("config"))
    collect.add_argument("--delete", action="store_true", help="remove them")
    collect.set_defaults(run=_gc)

    export = commands.add_parser("export", help="pack a finished study into one archive")
    export.add_argument("--study", type=Path, required=True)
    export.add_argument("--scale", default="laptop")
    export.add_argument("--out", type=Path)
    export.set_defaults(run=_export)

    digest = commands.add_parser("digest", help="one digest of all results of a study, to compare machines")
    digest.add_argument("study", type=Path, help="its folder, such as results/lynx_hare")
    digest.add_argument("--list", action="store_true", help="also print the digest of every array")
    digest.set_defaults(run=_digest)

    compare = commands.add_parser("compare", help="write a page that holds two finished runs side by side")
    compare.add_argument("first", type=Path, help="folder of the first, such as results/lynx_hare")
    compare.add_argument("second", type=Path, help="folder of the second")
    compare.add_argument("--out", type=Path, default=Path("compare.html"))
    compare.set_defaults(run=_compare)

    plan = commands.add_parser("plan", help="what a study will cost, from a dry run on the standard input")
    plan.add_argument("--study", type=Path, required=True)
    plan.add_argument("--scale", default="laptop")
    plan.set_defaults(run=_plan)

    status = commands.add_parser("status", help="how far a study is and what failed, from its own files")
    status.add_argument("study", type=Path, help="its file or its folder of results")
    status.add_argument("--scale", default="laptop", help="of a file; the name of a folder tells its own")
    status.set_defaults(run=_status)

    board = commands.add_parser("leaderboard", help="write the leaderboard of a collection as a page of text")
    _of_collection(board)
    board.add_argument("results", type=Path, help="folder of a finished collection with severities")
    board.add_argument("submissions", type=Path, nargs="*", help="files of results of others, shown beside")
    board.add_argument("--out", type=Path, default=Path("leaderboard.md"))
    board.set_defaults(run=_leaderboard)

    submission = commands.add_parser("submission", help="check a file of results for the leaderboard")
    _of_collection(submission)
    submission.add_argument("file", type=Path)
    submission.set_defaults(run=_submission)

    documents = commands.add_parser("documents", help="write schema and settings page from the typed classes")
    documents.set_defaults(run=_documents)
    return parser


def _of_collection(parser: argparse.ArgumentParser) -> None:
    """Lets a command name a collection with severities, at one scale."""
    parser.add_argument("--collection", type=Path, default=Path("config/collections/misspecification.yaml"))
    parser.add_argument("--scale", default="laptop")


def _new(chosen: argparse.Namespace) -> int:
    from veridical import project

    folder = project.create(chosen.folder, chosen.task)
    print(f"{folder} holds a study that runs as it is; README.md there says what to edit. Next:\n")
    print(f"    cd {shlex.quote(str(chosen.folder))}\n    make SCALE=smoke")
    return 0


def _workflow(chosen: argparse.Namespace) -> int:
    from veridical import project

    print(project.snakefile())
    return 0


def _schema(chosen: argparse.Namespace) -> int:
    from veridical.study import documents

    print(documents.schema_text(), end="")
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    from veridical.evidence import intact

    errors = [error for _, error in intact.broken(chosen.folder)]
    broken = [error for error in errors if error is not None]
    for error in broken:
        print(printable(f"BROKEN {error}"))
    print(f"{len(errors) - len(broken)} of {len(errors)} files are what was written.")
    return 1 if broken else 0


def _gc(chosen: argparse.Namespace) -> int:
    from veridical.study import unneeded

    found = unneeded.unneeded(chosen.results, chosen.config)
    failed = 0
    for item in found:
        done = "kept" if item.kept else "unused"
        if chosen.delete and not item.kept:
            try:
                unneeded.remove(item.path)
                done = "removed"
            except OSError as error:
                failed += 1
                done = "FAILED"
                print(printable(f"{item.path}: cannot be removed whole: {error}"), file=sys.stderr)
        print(printable(f"{done:7}  {item.why:8}  {item.size / 1e6:10.1f} MB  {item.path}"))
    kinds = {
        "bank": "banks that no study uses",
        "state": "states of ended trainings",
        "rest": "temporary files",
        "progress": "unfinished trainings, kept",
    }
    counts = [f"{sum(item.why == why for item in found)} {text}" for why, text in kinds.items()]
    print(f"{', '.join(counts)}; studies: {chosen.config}/.")
    if any(item.kept for item in found):
        print(
            "A folder of kind `progress` is the only copy of what a training has learned; the next run goes "
            "on from it.\nRemove it by hand if that training is not wanted any more."
        )
    return 1 if failed else 0


def _export(chosen: argparse.Namespace) -> int:
    from veridical.evidence.archive import export
    from veridical.study import settings
    from veridical.study.layout import Layout

    layout = Layout(settings.load(chosen.study, chosen.scale), scale=chosen.scale)
    out = chosen.out or Path(f"{layout.results}.tar.gz")
    export(
        Path(layout.results), out, extra=[chosen.study, *(Path(o.file) for o in layout.observations.values())]
    )
    print(f"packed {layout.results} into {out}")
    return 0


def _digest(chosen: argparse.Namespace) -> int:
    from veridical.evidence import result_digest

    lines = result_digest.listing(chosen.study)
    if chosen.list:
        print("\n".join(lines))
    print(result_digest.digest_of(lines), chosen.study)
    return 0


def _compare(chosen: argparse.Namespace) -> int:
    from veridical.files import write_text
    from veridical.report.compare import compare

    write_text(chosen.out, compare(chosen.first, chosen.second))
    print(chosen.out)
    return 0


def _plan(chosen: argparse.Namespace) -> int:
    from veridical import plan

    print(plan.table(plan.costs_of(sys.stdin.read(), chosen.study, chosen.scale)))
    return 0


def _status(chosen: argparse.Namespace) -> int:
    from veridical.progress import status

    print(printable(status.text(status.open_study(chosen.study, chosen.scale))))
    return 0


def _leaderboard(chosen: argparse.Namespace) -> int:
    from veridical.files import write_text
    from veridical.stages.collection import board
    from veridical.study import collections

    studies = collections.load(chosen.collection, chosen.scale)
    write_text(chosen.out, board(studies, chosen.results, chosen.submissions))
    print(chosen.out)
    return 0


def _submission(chosen: argparse.Namespace) -> int:
    from veridical.report import submission
    from veridical.study import collections

    known = submission.rules(collections.load(chosen.collection, chosen.scale))
    rows = submission.read(chosen.file, known)
    methods = sorted({row["method"] for row in rows})
    print(f"{chosen.file}: {len(rows)} numbers of {', '.join(methods)}, as the benchmark asks for.")
    return 0


def _documents(chosen: argparse.Namespace) -> int:
    from veridical.study import documents

    for path in documents.write():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
