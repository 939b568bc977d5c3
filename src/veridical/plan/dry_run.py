"""The jobs that Snakemake would run now, read from the text of its dry run.

The dry run has no form for machines that names threads and resources, so its text is read strictly: every
job is counted again in the table `Job stats`, and anything that does not add up is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from veridical.errors import PlanError

_NOTHING = re.compile(r"^Nothing to be done", flags=re.MULTILINE)
_ERROR = re.compile(r"^\w*(Error|Exception)\b", flags=re.MULTILINE)
_END = "This was a dry-run"
_LAST = 20  # lines of a failed dry run that are shown again
_HEADER = re.compile(r"(?:local)?(?:rule|checkpoint) (\w+):")
_FIELD = re.compile(r"    (\w+): (.*)")
_COUNT = re.compile(r"(\w+) +(\d+)")
_REMEDY = "Run `make plan NAME=...`, which asks Snakemake for the whole text (no `quiet` in the profile)."


@dataclass(frozen=True)
class Job:
    """One job of a dry run.

    Attributes:
        rule: Its rule.
        outputs: Files or folders that it makes.
        log: Its log, empty where it has none.
        benchmark: Its benchmark file, empty where it has none.
        threads: CPU threads.
        resources: Its resources, as texts.
    """

    rule: str
    outputs: tuple[str, ...] = ()
    log: str = ""
    benchmark: str = ""
    threads: int = 1
    resources: Mapping[str, str] = field(default_factory=dict)

    def number(self, resource: str) -> float:
        """A resource as a number; 0 where it has none, or one that earlier jobs decide (`<TBD>`)."""
        given = self.resources.get(resource, "0").replace("<TBD>", "0")
        try:
            return float(given)
        except ValueError:
            raise PlanError(f"rule {self.rule}: expected a number for {resource}, got {given!r}.") from None


def jobs(text: str) -> list[Job]:
    """Returns the jobs in the text of a dry run, those of the target `all` left out.

    Raises:
        PlanError: If the text is no whole dry run, or its jobs are not those that its table counts.
    """
    blocks = _blocks(text)
    if _NOTHING.search(text) and not blocks and not _ERROR.search(text):
        return []
    if not blocks and _END not in text and "Job stats" not in text:
        said = text.strip().splitlines()[-_LAST:]  # Snakemake tells errors of a dry run on either output
        raise PlanError(
            "\n".join(["the dry run failed:", *said] if said else ["the dry run failed, see above."])
        )
    if _END not in text:
        last = [line for line in text.splitlines() if line.strip()][-3:]
        raise PlanError(
            f"expected the text of a Snakemake dry run, ending in {_END!r}; its last lines are {last}. "
            f"{_REMEDY}"
        )
    found = [_job(rule, fields) for rule, fields in blocks]
    counted, stated = Counter(job.rule for job in found), _stated(text)
    if dict(counted) != stated:
        different = sorted(rule for rule in stated | dict(counted) if counted.get(rule) != stated.get(rule))
        told = ", ".join(f"{rule}: {counted.get(rule, 0)} of {stated.get(rule, 0)}" for rule in different)
        raise PlanError(f"the dry run counts other jobs than it lists (listed of counted: {told}). {_REMEDY}")
    return [job for job in found if job.rule != "all"]


def _blocks(text: str) -> list[tuple[str, dict[str, str]]]:
    """Rule and fields of each job."""
    found: list[tuple[str, dict[str, str]]] = []
    inside = False
    for line in text.splitlines():
        if header := _HEADER.fullmatch(line):
            found.append((header[1], {}))
            inside = True
        elif inside and (given := _FIELD.fullmatch(line)):
            found[-1][1][given[1]] = given[2]
        else:
            inside = False
    return found


def _stated(text: str) -> dict[str, int]:
    """Jobs per rule in the first table `Job stats`."""
    _, _, table = text.partition("Job stats:\n")
    counts: dict[str, int] = {}
    for line in table.splitlines():
        if count := _COUNT.fullmatch(line.rstrip()):
            if count[1] == "total":
                break
            counts[count[1]] = int(count[2])
    if not counts:
        raise PlanError(f"expected a table `Job stats` in the text of the dry run, found none. {_REMEDY}")
    return counts


def _job(rule: str, fields: Mapping[str, str]) -> Job:
    if "jobid" not in fields or "resources" not in fields:
        raise PlanError(
            f"rule {rule}: expected `jobid` and `resources` of a job, got {sorted(fields)}. {_REMEDY}"
        )
    try:
        threads = int(fields.get("threads", "1"))
        resources = dict(part.split("=", 1) for part in re.split(r", (?=\w+=)", fields["resources"]))
    except ValueError as error:
        raise PlanError(
            f"rule {rule}: its threads or resources cannot be read ({error}). {_REMEDY}"
        ) from None
    outputs = tuple(fields["output"].split(", ")) if "output" in fields else ()
    return Job(rule, outputs, fields.get("log", ""), fields.get("benchmark", ""), threads, resources)
