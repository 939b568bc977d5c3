"""The page of `compare_peers.py`: who is how good after how many seconds, and how fast draws are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from table_text import number, table

ASKED = {
    ("sbi", "zuko_nsf"): 10,
    ("sbi", "maf"): 10,
    ("bayesflow", "coupling"): 20,
    ("bayesflow", "flow_matching"): 20,
}
OBSERVATIONS = 300
Line = dict[str, Any]


def page(text: str, record: dict[str, Any]) -> str:
    """Returns the record as Markdown, below the text that says what it is."""
    machine, versions = record["machine"], record["versions"]
    lines = record["lines"]
    peers = sorted({f"{line['tool']} {line['version']}" for line in lines if line["tool"] != "veridical"})
    made = (
        f"`{record['command']}` on {record['date'][:10]}, revision `{str(record['revision'])[:10]}`, "
        f"{machine['cores']} cores of {machine['cpu']}, {record['jobs']} fits at a time, "
        f"threads of each: {record['threads']}, load {machine['load_before']} before the last part began; "
        f"{', '.join(peers)}, torch {versions['torch']}, Python {versions['python']}."
    )
    parts = ["# Beside other toolboxes", text.split("\n\n", 2)[2].strip(), made]
    parts += ["## Until the loss of the peer", table(UNTIL, until(lines))]
    parts += ["## 300 observations, 1,000 draws each", table(DRAWS, draws(lines))]
    parts += ["## All families", table(FAMILIES, families(lines))]
    return "\n\n".join(parts) + "\n"


UNTIL = ("peer", "family", "ours", "score", "at its end", "its s", "our s", "times faster", "asked for")
UNTIL += ("its best", "its s until then", "our s", "times faster", "ours at the end", "after s")


def until(lines: Sequence[Line]) -> Iterator[list[str]]:
    """One line for each peer that we have something beside."""
    for peer, own in pairs(lines):
        end = score(peer)
        best = min(peer["looks"], key=lambda look: look[2], default=None)
        yield [
            *(peer["tool"], peer["family"] + limited(peer), named(own)),
            "loss" if "apart" in peer else "energy",
            *(f"{end:.3f}", number(peer["cpu_seconds"])),
            *faster(peer["cpu_seconds"], reached(own["looks"], end)),
            str(ASKED.get((peer["tool"], peer["family"]), "")),
            *((f"{best[2]:.3f}", number(best[1])) if best else ("", "")),
            *(faster(best[1], reached(own["looks"], best[2])) if best else ("", "")),
            *(f"{score(own):.3f}", number(own["cpu_seconds"])),
        ]


DRAWS = ("peer", "family", "ours", "its observations", "its s", "our s", "times faster", "asked for")


def draws(lines: Sequence[Line]) -> Iterator[list[str]]:
    """One line for each peer, its seconds scaled to all observations."""
    for peer, own in pairs(lines):
        theirs, ours = scaled(peer), scaled(own)
        yield [
            *(peer["tool"], peer["family"], named(own), str(peer["observations"]), number(theirs)),
            *(faster(theirs, ours)),
            str(ASKED.get((peer["tool"], peer["family"]), "")),
        ]


FAMILIES = ("tool", "family", "epochs", "fit, s", "loss", "loss of test rows", "energy score", "draws, s")


def families(lines: Sequence[Line]) -> Iterator[list[str]]:
    """One line for each fit."""
    for line in lines:
        all_drawn = line["observations"] == OBSERVATIONS
        yield [
            *(line["tool"], named(line), f"{line['epochs']}{limited(line)}", number(line["cpu_seconds"])),
            *(f"{line[part]:.3f}" if part in line else "" for part in ("apart", "test")),
            *(f"{line['energy']:.4f}" if all_drawn else "", number(scaled(line))),
        ]


def pairs(lines: Sequence[Line]) -> Iterator[tuple[Line, Line]]:
    """Each fit of a peer, and each of ours of that family and seed."""
    for peer in lines:
        for own in lines if "ours" in peer else ():
            if (own["tool"], own["family"], own["seed"]) == ("veridical", peer["ours"], peer["seed"]):
                yield peer, own


def named(line: Line) -> str:
    """The family of a fit, and what is not its default."""
    variant = line.get("variant", "default")
    return str(line["family"]) if variant == "default" else f"{line['family']}, {variant}"


def reached(looks: Sequence[Sequence[float]], target: float) -> float | None:
    """CPU seconds until the first look that is as good; None where none is."""
    return next((cpu for _, cpu, found in looks if found <= target), None)


def score(line: Line) -> float:
    """What a fit is judged by: its loss, or the energy score of its draws."""
    return float(line.get("apart", line["energy"]))


def scaled(line: Line) -> float:
    """CPU seconds of the draws for all observations."""
    return float(line["sample_cpu_seconds"]) * OBSERVATIONS / int(line["observations"])


def faster(theirs: float, ours: float | None) -> tuple[str, str]:
    """Our seconds, and how often they go into theirs."""
    return ("not reached", "") if ours is None else (number(ours), number(theirs / ours))


def limited(line: Line) -> str:
    return f" (at most {line['limit']} epochs)" if line.get("limit") else ""
