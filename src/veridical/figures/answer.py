"""The answer to one observation in small: how plausible each value of each parameter is, before and after.

Data: `parameters` (name, unit, range), `series` (label, role `estimate` or `reference`, and per
parameter a marginal `x` and `density`), `prior` (a marginal per parameter, or None) and `truth` (D or None).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence import notation
from veridical.figures import style
from veridical.figures.base import Array, Axes, Data, Drawn, Figure, Found, Sources, plain
from veridical.figures.posterior import BINS, COLOURS, DASHES, MAX_PARAMETERS, common_edges, marginal
from veridical.figures.sources import EXAMPLE

FEW = 4  # parameters, beyond which units stand in the table alone
ROOM = 1.0  # shown of the prior to each side, in units of what the answers span


class Answer(Figure):
    """The answer to the only observation: each continuous parameter before and after the data."""

    section = "overview"
    read = (
        "How plausible each value is: grey before the data (prior), in colour after them; dashed orange is "
        "the exact answer where there is one, dotted the true value where it is known."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        answers = list(sources.answers())
        if len(answers) != 1:
            return
        variant, _, own, exact = answers[0]
        if own.draws.shape[1] > 1 and own.truth is None:
            return
        columns = [j for j, name in enumerate(own.names) if name not in own.support.discrete]
        if not columns:
            return
        draws = {variant.label: own.draws[:, EXAMPLE, columns]}
        if exact is not None:
            draws["exact reference"] = exact.draws[:, EXAMPLE, columns]
        truth = None if own.truth is None else own.truth[EXAMPLE, columns]
        names, units = ([of[j] for j in columns] for of in (own.names, own.units))
        yield Found((names, units, draws, sources.prior_draws, truth))

    def data(
        self,
        names: Sequence[str],
        units: Sequence[str],
        draws: Mapping[str, Array],
        prior: Mapping[str, Array],
        truth: Array | None = None,
    ) -> dict[str, Any]:
        """Returns marginal densities on common axes.

        Arguments:
            names: Names of the D parameters; the first MAX_PARAMETERS are shown.
            units: Their units.
            draws: Draws (S, D) of the method and, where there is one, of the reference, by label.
            prior: Draws of the prior (R,) by parameter; empty where there are none.
            truth: True parameters (D,), where they are known.
        """
        d = min(len(names), MAX_PARAMETERS)
        shown = {label: np.asarray(values, dtype=float)[:, :d] for label, values in draws.items()}
        known = [np.asarray(prior[name], dtype=float) for name in names[:d] if name in prior]
        edges = common_edges(list(shown.values()))
        if len(known) == d:
            edges = [_with_room(own, values) for own, values in zip(edges, known, strict=True)]
        roles = ("estimate", "reference")
        return {
            "parameters": [
                {"name": names[j], "unit": units[j], "range": plain(edges[j][[0, -1]])} for j in range(d)
            ],
            "series": [
                {"label": label, "role": role, "marginals": [marginal(v[:, j], edges[j]) for j in range(d)]}
                for (label, v), role in zip(shown.items(), roles, strict=False)
            ],
            "prior": list(map(_prior, known, edges)) if len(known) == d else None,
            "truth": None if truth is None else plain(np.asarray(truth)[:d]),
            "of_parameters": len(names),
        }

    def draw(self, data: Data) -> Drawn:
        parameters = data["parameters"]
        few = len(parameters) <= FEW
        columns, height = (min(2, len(parameters)), 1.5) if few else (4, 1.05)
        made, axes = style.grid(len(parameters), columns, height=(0.4, height), width=(6.5, 0.0))
        for j, (ax, parameter) in enumerate(zip(axes.flat, parameters, strict=False)):
            _draw_panel(ax, data, j)
            name = notation.label(data, parameter["name"])
            ax.set_xlabel(notation.with_unit(name, parameter["unit"]) if few else name, labelpad=1)
            ax.tick_params(labelsize=8.5 if few else 7.5)
        style.legend(made, "outside upper center", 5)
        return made

    def shows(self, data: Data) -> str:
        shown = len(data["parameters"])
        if data["of_parameters"] > shown:
            return f"The first {shown} of {data['of_parameters']} parameters are shown."
        return f"The answer of {' beside the '.join(series['label'] for series in data['series'])}."


def _with_room(edges: Array, prior: Array) -> Array:
    """Bin edges as fine as given that reach into the prior, but no farther than the answers' own span."""
    low, high = edges[0], edges[-1]
    reach = ROOM * (high - low)
    low = max(low - reach, min(low, prior.min()))
    high = min(high + reach, max(high, prior.max()))
    return np.linspace(low, high, 1 + round(BINS * (high - low) / (edges[-1] - edges[0])))


def _prior(values: Array, edges: Array) -> Data:
    """The density of draws of the prior, over all of them, on a grid between the first and last edge."""
    from scipy.stats import gaussian_kde

    x = np.linspace(edges[0], edges[-1], 80)
    inside = (x >= values.min()) & (x <= values.max())
    density = np.where(inside, gaussian_kde(values)(x), 0.0) if np.ptp(values) > 0 else np.zeros_like(x)
    return {"x": plain(x), "density": plain(density)}


def _draw_panel(ax: Axes, data: Data, j: int) -> None:
    if data["prior"]:
        prior = data["prior"][j]
        ax.fill_between(prior["x"], prior["density"], color=style.BAND, linewidth=0, label="prior")
    for series in data["series"]:
        one, role = series["marginals"][j], series["role"]
        look = {"color": COLOURS[role], "linestyle": DASHES[role], "label": notation.safe(series["label"])}
        if role == "estimate":
            ax.fill_between(one["x"], one["density"], color=COLOURS[role], alpha=0.2, linewidth=0)
        ax.plot(one["x"], one["density"], **look)
    if data["truth"]:
        ax.axvline(data["truth"][j], color=style.TRUTH, linestyle=":", linewidth=1.2, label="true value")
    ax.set_xlim(data["parameters"][j]["range"])
    ax.set_ylim(bottom=0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=4)
