"""Amortised estimators: trained networks with their transforms."""

from __future__ import annotations

from importlib import import_module

from veridical.errors import UnknownName, suggest
from veridical.estimators.base import Conditioned, Estimator, Material, Rows, SummaryCloud, TaskInfo

__all__ = [
    "ESTIMATORS",
    "Conditioned",
    "Estimator",
    "Material",
    "Rows",
    "SummaryCloud",
    "TaskInfo",
]

ESTIMATORS = {
    "ensemble": "veridical.estimators.ensemble:Ensemble",
    "j_npe": "veridical.estimators.joint:JointNPE",
    "mlp": "veridical.estimators.regression:MLPRegression",
    "npe": "veridical.estimators.npe:NPE",
    "prior": "veridical.estimators.prior:PriorEstimator",
    "ratios": "veridical.estimators.ratios:Ratios",
    "ridge": "veridical.estimators.ridge:Ridge",
}


def estimator_class(name: str) -> type[Estimator]:
    """Returns the class behind a name of the registry, importing its module.

    Raises:
        UnknownName: If the registry has no such name.
    """
    module, _, attribute = _entry(name).partition(":")
    return getattr(import_module(module), attribute)


def modules(name: str) -> tuple[str, ...]:
    """Returns the modules that define an estimator and its networks, for the digest of its code."""
    return (_entry(name).partition(":")[0], "veridical.networks.summary")


def _entry(name: str) -> str:
    if name not in ESTIMATORS:
        raise UnknownName(f"estimator {name!r} is unknown. {suggest(name, ESTIMATORS)}")
    return ESTIMATORS[name]
