"""What each stage cost. Data: `stages` (name, jobs, `seconds`, `peak_mb`, `label`: the time in words)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence.numbers import duration, percent, size
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources


class Cost(Figure):
    """Time and memory of each stage."""

    section = "cost"
    read = "Time of all jobs of a stage added up; jobs that ran side by side took less on the clock."

    def found(self, sources: Sources) -> Iterator[Found]:
        yield Found((sources.costs(),))

    def data(self, stages: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any] | None:
        """Returns the time spent in each stage.

        Arguments:
            stages: Benchmark records of Snakemake by stage, first stage first: `s` is wall seconds and
                `max_rss` MB, possibly not measured. Without any there is no figure.
        """
        found = []
        for name, records in stages.items():
            if records:
                seconds = sum(float(r["s"]) for r in records)
                memory = [float(r["max_rss"]) for r in records if _is_number(r.get("max_rss"))]
                found.append(
                    {
                        "name": name,
                        "jobs": len(records),
                        "seconds": seconds,
                        "peak_mb": max(memory, default=None),
                        "label": f"{duration(seconds)}  ({len(records)} job{'s'[: len(records) > 1]})",
                    }
                )
        return {"stages": found} if found else None

    def draw(self, data: Data) -> Drawn:
        made, axes = style.figure(height=0.5 + 0.36 * len(data["stages"]), width=6.4)
        ax, stages = axes[0, 0], data["stages"]
        names, seconds = ([stage[key] for stage in stages] for key in ("name", "seconds"))
        bars = ax.barh(names, seconds, color=style.ESTIMATE, height=0.62)
        ax.bar_label(bars, labels=[stage["label"] for stage in stages], padding=5, fontsize=9)
        ax.invert_yaxis()
        ax.margins(x=0.22)
        ax.spines["bottom"].set_visible(False)
        ax.set_xticks([])
        ax.tick_params(axis="y", length=0)
        return made

    def shows(self, data: Data) -> str:
        total = sum(stage["seconds"] for stage in data["stages"])
        dearest = max(data["stages"], key=lambda stage: stage["seconds"])
        share = percent(dearest["seconds"] / total)
        return f"In all {duration(total)} of computing, most of it ({share}) for stage “{dearest['name']}”."

    def table(self, data: Data) -> list[list[str]]:
        lines = [["stage", "jobs", "time, all jobs", "largest memory of a job"]]
        for stage in data["stages"]:
            memory = size(stage["peak_mb"] * 1e6) if stage["peak_mb"] else "not measured"
            lines.append([stage["name"], f"{stage['jobs']:,}", duration(stage["seconds"]), memory])
        return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
