"""The look of all figures: one dictionary, one palette, one way to make and to save a figure.

The palette is that of Okabe and Ito, told apart by readers with any kind of colour vision and by its
lightness when printed in grey. Figures are saved as SVG with text kept as text; equal input gives equal
bytes.

References:
    | Color Universal Design (Okabe and Ito, 2008)
    | https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridical import seals
from veridical.evidence import notation
from veridical.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ESTIMATE = "#0072B2"
REFERENCE = "#D55E00"
TRUTH = "#000000"
BAND = "#D5D8DC"
MUTED = "#6B7280"
CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
WIDTH = 8.0  # inches; a figure fills the column of the report

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4B5563",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.formatter.limits": (-4, 5),
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "xtick.color": "#374151",
    "ytick.color": "#374151",
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "veridical",
    "path.simplify": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Lets figures be made and saved in this look, and leaves matplotlib's settings as they were."""
    import matplotlib as mpl

    settings: Any = {**dict[Any, Any](mpl.rcParamsDefault), **RC, "backend": "agg"}
    with mpl.rc_context(settings):
        yield


def figure(
    rows: int = 1, columns: int = 1, *, height: float = 3.2, width: float = WIDTH, **options: Any
) -> Any:
    """Returns a figure and its axes, an array of shape (rows, columns); knows nothing of any display."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height))
    return made, made.subplots(rows, columns, squeeze=False, **options)


def svg(made: Figure) -> str:
    """Returns a figure as SVG text without date or version.

    A text with dollars that enclose no mathematics is drawn as it is written.
    """
    from matplotlib.text import Text

    for text in made.findobj(Text):
        words = text.get_text()
        text.set_text(notation.writable(words))
        text.set_parse_math(notation.safe(words) == words)
    buffer = io.StringIO()
    blank = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a browser has other fonts
        made.savefig(buffer, format="svg", metadata=blank)
    return notation.writable(buffer.getvalue())


def save(made: Figure, path: str | Path) -> None:
    """Writes a figure as SVG, whole or not at all."""
    write_text(path, seals.filled(f"{svg(made)}<!-- {seals.EMPTY} -->\n"))


def grid_shape(panels: int, columns: int = 4) -> tuple[int, int]:
    """Returns rows and columns for a number of small panels, as even as they can be."""
    rows = -(-panels // columns)
    return rows, -(-panels // rows)


def grid(
    panels: int,
    columns: int,
    *,
    height: tuple[float, float],
    width: tuple[float, float] = (WIDTH, 0.0),
    **options: Any,
) -> Any:
    """Returns a figure and its axes, of which the first `panels` can be seen.

    Arguments:
        panels: How many there are.
        columns: How many stand side by side at most.
        height: Inches for the figure, and for each row of panels.
        width: Likewise for columns; never more than WIDTH.
        options: What `subplots` takes.
    """
    rows, columns = grid_shape(panels, columns)
    inches = {"height": height[0] + height[1] * rows, "width": min(WIDTH, width[0] + width[1] * columns)}
    made, axes = figure(rows, columns, **inches, **options)
    for ax in list(axes.flat)[panels:]:
        ax.set_visible(False)
    return made, axes


def legend(made: Figure, place: Any, columns: int = 9, **options: Any) -> None:
    """Gives a figure one legend, with each label of its panels once."""
    found: dict[str, Any] = {}
    for ax in made.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    made.legend(list(found.values()), list(found), loc=place, ncols=min(len(found), columns), **options)


def nth(index: int) -> dict[str, Any]:
    """Returns colour and dash of the curve with this index."""
    return {"color": CYCLE[index % len(CYCLE)], "linestyle": DASHES[index % len(DASHES)]}


def log_ticks(ax: Axes) -> None:
    """Gives a log axis plain numbers (0.1, 1, 10) in place of powers, as many as have room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    ax.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def shade(colour: str, step: int, steps: int) -> str:
    """Returns a colour mixed with white, from light (first step) to itself (last step)."""
    from matplotlib.colors import to_hex, to_rgb

    keep = 1.0 if steps == 1 else 0.35 + 0.65 * step / (steps - 1)
    red, green, blue = (1 - keep * (1 - channel) for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def log_counts(ax: Axes, values: Sequence[float]) -> None:
    """Gives a log axis along x one plain number for each value, leaving out those without room."""
    from matplotlib.ticker import NullFormatter, NullLocator

    shown: list[float] = []
    apart = max(1.6, (max(values) / min(values)) ** 0.22)
    for value in sorted(set(values)):
        if not shown or value >= apart * shown[-1]:
            shown.append(value)
    ax.set_xscale("log")
    ax.set_xticks(shown, [f"{v:,.4g}" if v < 1e4 else f"{v:,.0f}" if v < 1e6 else f"{v:.0e}" for v in shown])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
