"""Summary networks, the densities behind them and the transforms around both.

A summary network is a `layers.Summary` that is built as `Class(x_shape, **settings)`. One more is a file, a
line of the registry and its settings in `settings.py`. Where numbers of x may be missing (NaN), one that says
so (`sees_missing`) is told `has_missing`, and all others see x as `masked.Masked` shows it. Densities are
found likewise, with settings in `density_settings.py`; see `density.Density`.
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
    "transformer": "veridical.networks.transformer:TransformerSummary",
    "deepset": "veridical.networks.deepset:DeepSetSummary",
    "set_transformer": "veridical.networks.set_transformer:SetTransformerSummary",
    "energy_flow": "veridical.networks.energy_flow:EnergyFlowSummary",
    "parts": "veridical.networks.parts:PartsSummary",
    "none": "veridical.networks.none:NoSummary",
}

DENSITIES = {
    "spline": "veridical.networks.flow:SplineFlow",
    "maf": "veridical.networks.flow:MaskedAutoregressiveFlow",
    "coupling": "veridical.networks.coupling:CouplingFlow",
    "mixture": "veridical.networks.gaussians:GaussianMixture",
    "flow_matching": "veridical.networks.flow_matching:FlowMatching",
    "diffusion": "veridical.networks.diffusion:Diffusion",
    "consistency": "veridical.networks.consistency:ConsistencyModel",
}

MASKED = "veridical.networks.masked:Masked"


def build_summary(settings: Mapping[str, Any], x_shape: tuple[int, ...], *, has_missing: bool = False) -> Any:
    """Returns the summary network that `settings` describe; their `type` is a name of the registry.

    Raises:
        UnknownName: If the registry has no such type.
    """
    name, options = _named(settings, SUMMARIES, "summary network")
    network = _imported(SUMMARIES[name])
    if not has_missing:
        return network(tuple(x_shape), **options)
    if network.sees_missing:
        return network(tuple(x_shape), **options, has_missing=True)
    return _imported(MASKED)(network((*x_shape, 2), **options))


def build_density(settings: Mapping[str, Any], features: int, context: int) -> Any:
    """Returns the density of so many numbers, given so many others, that `settings` describe.

    Raises:
        UnknownName: If the registry has no such type.
    """
    name, options = _named(settings, DENSITIES, "density")
    return _imported(DENSITIES[name])(features, context, **options)


def _named(settings: Mapping[str, Any], registry: Mapping[str, str], what: str) -> tuple[str, dict[str, Any]]:
    """The name in a registry that settings state as their `type`, and the rest of them."""
    options = dict(settings)
    name = options.pop("type")
    if name not in registry:
        raise UnknownName(f"{what} {name!r} is unknown. {suggest(name, registry)}")
    return name, options


def _imported(entry: str) -> Any:
    """The class that an entry `module:Class` stands for."""
    module, _, attribute = entry.partition(":")
    return getattr(import_module(module), attribute)
