"""Training curves: loss on the rows trained on and on rows held back.

Data: `panels` (label, `size`: weights and rows in words, `runs`: replicate, `epoch`, `train`, `validation`,
`best_epoch`; `range` of the axis).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence.numbers import rounded
from veridical.figures import style
from veridical.figures.base import Data, Drawn, Figure, Found, Sources

LARGE_GAP = 0.5  # between held-back and training loss, beyond which a network learned by heart


class Training(Figure):
    """Loss curves of each method at its largest budget."""

    section = "training"
    heading = "Training curves"
    read = (
        "The error of the network while it learned, on the simulations it learned from (dotted) and on "
        "ones held back (solid). Both should fall and level off together; a solid line that turns upwards "
        "means learning by heart."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        yield Found((sources.trainings(),))

    def data(self, histories: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, Any] | None:
        """Returns loss curves, a panel per method.

        Arguments:
            histories: `history.json` by method and replicate; without any there is no figure.
        """
        panels = []
        for method, runs in sorted(histories.items()):
            curves = [
                {
                    "replicate": replicate,
                    "epoch": [entry["epoch"] for entry in history["epochs"]],
                    "train": [entry["train_loss"] for entry in history["epochs"]],
                    "validation": [entry["validation_loss"] for entry in history["epochs"]],
                    "best_epoch": history["best_epoch"],
                }
                for replicate, history in sorted(runs.items())
            ]
            size = next((history.get("size", "") for _, history in sorted(runs.items())), "")
            panels.append({"label": method, "size": size, "runs": curves, "range": _loss_range(curves)})
        return {"panels": panels} if panels else None

    def draw(self, data: Data) -> Drawn:
        from matplotlib.lines import Line2D

        panels = data["panels"]
        made, axes = style.grid(len(panels), 2, height=(0.6, 2.6))
        for ax, panel in zip(axes.flat, panels, strict=False):
            for index, run in enumerate(panel["runs"]):
                colour = style.nth(index)["color"]
                ax.plot(run["epoch"], run["train"], color=colour, linestyle=":", linewidth=1.3)
                ax.plot(run["epoch"], run["validation"], color=colour)
                best = run.get("best_epoch")
                if best in run["epoch"]:
                    kept = run["validation"][run["epoch"].index(best)]
                    ax.plot(best, kept, "o", color=colour, markersize=5)
            low, high = panel["range"]
            ax.set(title=panel["label"], xlabel="epoch (one pass over the simulations)", ylim=(low, high))
            ax.set_ylabel("loss (lower is better)")
        key = [
            Line2D([], [], color="black", label="held-back simulations"),
            Line2D([], [], color="black", linestyle=":", label="simulations trained on"),
            Line2D([], [], color="black", linestyle="", marker="o", markersize=5, label="weights kept"),
        ]
        made.legend(handles=key, loc="outside upper right", ncols=3)
        return made

    def shows(self, data: Data) -> str:
        found = [_final_gap(run) for panel in data["panels"] for run in panel["runs"]]
        gaps = [gap for gap in found if gap is not None]
        told = [f"{name}: {size}" for name, size in _sizes(data).items() if size.startswith("warning")]
        if gaps:
            size = rounded(max(*gaps, 0.0), 2)
            words = "some learning by heart." if max(gaps) > LARGE_GAP else "little or no learning by heart."
            kept = f"At the weights kept, the held-back loss lies at most {size} above the other: {words}"
            told.insert(0, kept)
        return " ".join(told)

    def table(self, data: Data) -> list[list[str]]:
        sizes = {n: size.removeprefix("warning: ").partition(":")[0] for n, size in _sizes(data).items()}
        return [["method", "weights and rows"], *map(list, sizes.items())] if sizes else []


def _sizes(data: Data) -> dict[str, str]:
    """How many weights learn from how many rows, by method, where that was noted."""
    return {panel["label"]: panel["size"] for panel in data["panels"] if panel.get("size")}


def _loss_range(runs: Sequence[Data]) -> list[float]:
    """Axis limits that show the end of training and do not let its first epochs squash it."""
    values = [v for run in runs for key in ("train", "validation") for v in run[key] if np.isfinite(v)]
    late = [v for run in runs for key in ("train", "validation") for v in run[key][1:] if np.isfinite(v)]
    low, high = min(values, default=0.0), float(np.quantile(late or values or [1.0], 0.98))
    room = 0.08 * max(high - low, 1e-3)
    return [low - room, high + room]


def _final_gap(run: Data) -> float | None:
    """How far the held-back loss lies above the training loss at the weights that were kept."""
    best = run.get("best_epoch")
    if best not in run["epoch"]:
        return None
    at = run["epoch"].index(best)
    gap = run["validation"][at] - run["train"][at]
    return gap if gap == gap else None
