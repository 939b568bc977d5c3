"""What a method learned of both classes: their shapes, and how their sum follows the data.

Data: `true_value`, `kappa`, `sigma`, `names` of both classes, `features` (`name`, `unit`, `edges`, `data`,
`expected`, `error` of their difference, `classes`: `shares`, `errors`, `templates`,
`template_errors`, and `true_shares`,
`true_errors`, or None) and `fits` by class (`learned`, `templates`: mean squares of how far shapes are off).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from veridical.evidence import numbers
from veridical.figures import style
from veridical.figures.base import Array, Axes, Data, Drawn, Figure, Found, Sources, plain

FOLLOWS = 1.25  # root mean square residual, above which a sum does not follow the data
POINTS: dict[str, Any] = {"color": style.TRUTH, "markersize": 3, "linewidth": 0.9}
REACH = 4.0  # standard errors that the panel of residuals shows at least


class Shapes(Figure):
    """Learned shapes of both classes beside the true ones, and their sum beside the data."""

    section = "data"
    heading = "Are the learned classes right?"
    rule = "the sample as a mixture of the classes"
    read = (
        "For each number of an event. Above, the two classes: in grey as each simulator has it, in blue as "
        "the data made it from these, with one standard error; black points are the true events of this very "
        "sample, where they are known. Below: the data (points) and the learned sum (orange, with the part "
        "of the first class shaded), and their difference in standard errors, which should stay within 2 in "
        "19 of 20 bins. The outer bins hold all that lies beyond them."
    )

    def found(self, sources: Sources) -> Iterator[Found]:
        for variant, dataset, shapes, truth in sources.shapes():
            if any(
                len(weights) > 1 for weights in shapes[0]["weights"]
            ):  # one simulator alone learns nothing
                yield Found((shapes, truth), variant, dataset)

    def data(
        self, shapes: Sequence[Mapping[str, Any]], truth: Sequence[float] | None
    ) -> dict[str, Any] | None:
        """Returns the shapes of one observation: the first, or that of the middle true value.

        Arguments:
            shapes: What was learned from each observation, as `veridical.saved.estimates` has it.
            truth: Their true fractions, where known.
        """
        at = 0 if truth is None else int(np.argsort(truth, kind="stable")[len(truth) // 2])
        own = shapes[at]
        features = [_feature(each) for each in own["features"]]
        if not features:
            return None
        return {
            "true_value": None if truth is None else truth[at],
            "kappa": own["kappa"],
            "sigma": own["sigma"],
            "names": own["classes"],
            "features": features,
            "fits": [_fits([each["classes"][i] for each in features]) for i in range(2)],
        }

    def draw(self, data: Data) -> Drawn:
        features = data["features"]
        width = style.WIDTH if len(features) > 1 else 4.6
        ratios = [1.5, 1.5, 1.5, 0.8]
        made, axes = style.figure(
            4, len(features), height=8.4, width=width, height_ratios=ratios, sharex="col"
        )
        for column, feature in enumerate(features):
            edges = np.asarray(feature["edges"])
            for i, name in enumerate(data["names"]):
                draw_class(axes[i, column], feature["classes"][i], edges)
                axes[i, column].set_title(name if column == 0 else "", fontsize=9.5)
            _draw_sum(axes[2, column], feature, edges, data)
            _draw_residuals(axes[3, column], feature, edges)
            unit = f" [{feature['unit']}]" if feature["unit"] else ""
            axes[3, column].set_xlabel(f"{feature['name']}{unit}")
            for ax in axes[:, column]:
                ax.set_xlim(edges[0], edges[-1])
        for i in (0, 1):
            axes[i, 0].set_ylabel("share of its\nevents, %", fontsize=9)
        axes[2, 0].set_title("both, and the data", fontsize=9.5)
        axes[2, 0].set_ylabel("events", fontsize=9)
        axes[3, 0].set_ylabel("difference,\nst. errors", fontsize=9)
        style.legend(made, "outside upper left", 5, fontsize=8.5)
        return made

    def shows(self, data: Data) -> str:
        residuals = np.concatenate([_residuals(feature) for feature in data["features"]])
        spread, worst = float(np.sqrt(np.mean(residuals**2))), float(np.abs(residuals).max())
        follows = "follows the data" if spread <= FOLLOWS else "does not follow the data"
        truth = data["true_value"]
        known = "" if truth is None else f" (truth {numbers.rounded(truth, 2)})"
        value, error = (numbers.to_precision(data[key], data["sigma"]) for key in ("kappa", "sigma"))
        texts = [
            f"A {data['names'][0]} fraction of {value} ± {error}{known}.",
            f"The learned sum {follows}: differences spread by {numbers.rounded(spread, 2)} standard errors "
            f"(1 is chance), the largest is {numbers.rounded(worst, 2)}.",
        ]
        apart = [
            f"{name} {numbers.rounded(fit['learned'], 2)} (single simulators {_range(fit['templates'])})"
            for name, fit in zip(data["names"], data["fits"], strict=True)
            if fit["learned"] is not None
        ]
        if apart:
            texts.append(f"From the true classes, in standard errors (1 is chance): {', '.join(apart)}.")
        return " ".join(texts)


def _range(values: Sequence[float]) -> str:
    low, high = (numbers.rounded(end(values), 2) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _feature(each: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {name: plain(each[name]) for name in ("edges", "data", "expected", "error")}
    return {
        "name": each["name"],
        "unit": each["unit"],
        **arrays,
        "classes": [_class(one) for one in each["classes"]],
    }


def _class(one: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of a class, and that of its true events with their errors."""
    found: dict[str, Any] = {
        name: plain(one[name]) for name in ("shares", "errors", "templates", "template_errors")
    }
    if one["true"] is None or (total := sum(one["true"])) == 0:
        return found | {"true_shares": None, "true_errors": None}
    share = np.asarray(one["true"]) / total
    return found | {"true_shares": plain(share), "true_errors": plain(_counting(share, total))}


def _counting(share: Array, total: int) -> Array:
    """Standard errors of shares of so many events; of an empty bin as if it had one."""
    least = np.maximum(share, 1 / total)
    return np.asarray(np.sqrt(least * (1 - np.minimum(least, 0.5)) / total))


def _fits(sides: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Root mean squares over all bins of how far shapes are off, in their errors and those of the truth."""
    if any(side["true_shares"] is None for side in sides):
        return {"learned": None, "templates": []}

    def off(shares: list[Any], errors: list[Any]) -> float:
        z = [
            (np.asarray(own) - side["true_shares"]) / np.hypot(error, side["true_errors"])
            for own, error, side in zip(shares, errors, sides, strict=True)
        ]
        return float(np.sqrt(np.mean(np.concatenate(z) ** 2)))

    learned = off([side["shares"] for side in sides], [side["errors"] for side in sides])
    single = [
        off([side["templates"][k] for side in sides], [side["template_errors"][k] for side in sides])
        for k in range(len(sides[0]["templates"]))
    ]
    return {"learned": learned, "templates": single}


def _residuals(feature: Mapping[str, Any]) -> Array:
    error = np.asarray(feature["error"])
    off = np.asarray(feature["data"]) - np.asarray(feature["expected"])
    return np.divide(off, error, out=np.zeros_like(off), where=error > 0)


def draw_class(ax: Axes, one: Mapping[str, Any], edges: Array) -> None:
    """Draws one class: the simulators, what was learned with its error, the true events."""
    for k, template in enumerate(one["templates"]):
        label = "single simulators" if k == 0 else None
        ax.stairs(100 * np.asarray(template), edges, color="#9CA3AF", linewidth=0.8, label=label)
    share, error = 100 * np.asarray(one["shares"]), 100 * np.asarray(one["errors"])
    ax.stairs(share + error, edges, baseline=share - error, fill=True, color=style.ESTIMATE, alpha=0.25)
    ax.stairs(share, edges, color=style.ESTIMATE, linewidth=1.8, label="learned")
    if one["true_shares"] is not None:
        middle = 0.5 * (edges[1:] + edges[:-1])
        true, errors = 100 * np.asarray(one["true_shares"]), 100 * np.asarray(one["true_errors"])
        ax.errorbar(middle, true, yerr=errors, fmt="o", label="true events", **POINTS)
    ax.set_ylim(0, None)


def _draw_sum(ax: Axes, feature: Mapping[str, Any], edges: Array, of: Data) -> None:
    kappa = of["kappa"]
    data, expected = np.asarray(feature["data"]), np.asarray(feature["expected"])
    second = (1 - kappa) * np.asarray(feature["classes"][1]["shares"]) * expected.sum()
    lower, upper = np.minimum(second, expected), np.maximum(second, expected)
    part = f"{of['names'][0]} in it" if kappa >= 0 else f"negative {of['names'][0]} in it"
    ax.stairs(upper, edges, baseline=lower, fill=True, color=style.REFERENCE, alpha=0.3, label=part)
    ax.stairs(expected, edges, color=style.REFERENCE, linewidth=1.5, label="learned sum")
    middle = 0.5 * (edges[1:] + edges[:-1])
    ax.errorbar(middle, data, yerr=np.sqrt(np.maximum(data, 1)), fmt="o", **POINTS)
    ax.set_ylim(0, None)


def _draw_residuals(ax: Axes, feature: Mapping[str, Any], edges: Array) -> None:
    residuals = _residuals(feature)
    ax.axhspan(-2, 2, color=style.BAND, linewidth=0)
    ax.axhline(0, color=style.TRUTH, linewidth=0.8)
    ax.plot(0.5 * (edges[1:] + edges[:-1]), residuals, "o", color=style.TRUTH, markersize=3)
    reach = max(REACH, 1.1 * float(np.abs(residuals).max(initial=0)))
    ax.set_ylim(-reach, reach)
