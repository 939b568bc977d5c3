"""Summary networks, spline flows and the transforms around them.

A summary network is a `layers.Summary` that is built as `Class(x_shape, **settings)`. One more is a file, a
line of the registry and its settings in `settings.py`. Where numbers of x may be missing (NaN), that of
`MASKED` is built in its place, or else it sees x as `masked.Masked` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from veridical.errors import UnknownName, suggest

SUMMARIES = {
    "mlp": "veridical.networks.mlp:MLPSummary",
    "conv": "veridical.networks.conv:ConvSummary",
    "image": "veridical.networks.image:ImageSummary",
    "gru": "veridical.networks.gru:GRUSummary",
    "deepset": "veridical.networks.deepset:DeepSetSummary",
    "none": "veridical.networks.none:NoSummary",
}

MASKED = {"deepset": "veridical.networks.masked:MaskedDeepSet"}


def build_summary(settings: Mapping[str, Any], x_shape: tuple[int, ...], *, has_missing: bool = False) -> Any:
    """Returns the summary network that `settings` describe; their `type` is a name of the registry.

    Raises:
        UnknownName: If the registry has no such type.
    """
    options = dict(settings)
    name = options.pop("type")
    if name not in SUMMARIES:
        raise UnknownName(f"summary network {name!r} is unknown. {suggest(name, SUMMARIES)}")
    module, _, attribute = {**SUMMARIES, **(MASKED if has_missing else {})}[name].partition(":")
    network = getattr(import_module(module), attribute)
    if not has_missing or name in MASKED:
        return network(tuple(x_shape), **options)
    from veridical.networks.masked import Masked

    return Masked(network((*x_shape, 2), **options))
