"""Checks: should an answer be believed? Plain arrays in, a frozen result with its Monte Carlo error out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from veridical.checks.base import Check, CheckResult, Metric, load, save
from veridical.errors import UnknownName, suggest

__all__ = [
    "ASKED_FOR",
    "CHECKS",
    "Check",
    "CheckResult",
    "Metric",
    "build",
    "check_class",
    "load",
    "modules",
    "needs",
    "save",
]

CHECKS: dict[str, str] = {
    "sbc": "veridical.checks.sbc:SBC",
    "coverage": "veridical.checks.coverage:Coverage",
    "tarp": "veridical.checks.tarp:TARP",
    "scores": "veridical.checks.scores:Scores",
    "two_sample": "veridical.checks.two_sample:TwoSample",
    "typicality": "veridical.checks.typicality:Typicality",
    "predictive": "veridical.checks.predictive:Predictive",
    "detection": "veridical.checks.detection:Detection",
    "exact": "veridical.checks.exact:Exact",
    "local_ranks": "veridical.checks.local_ranks:LocalRanks",
    "local_c2st": "veridical.checks.local_c2st:LocalC2ST",
    "importance": "veridical.checks.importance:Importance",
    "prior_sensitivity": "veridical.checks.prior_sensitivity:PriorSensitivity",
    "distortions": "veridical.checks.distortions:Distortions",
    "criticism": "veridical.checks.criticism:Criticism",
    "wilks": "veridical.checks.wilks:Wilks",
}
ASKED_FOR = frozenset({"distortions", "criticism", "wilks"})  # run only where a study names them


def check_class(name: str) -> type[Check]:
    """Returns the class of the check that the settings call `name`.

    Raises:
        UnknownName: If there is no such check.
    """
    if name not in CHECKS:
        raise UnknownName(f"check {name!r} is unknown. {suggest(name, CHECKS)}")
    module, _, attribute = CHECKS[name].partition(":")
    return getattr(import_module(module), attribute)


def build(name: str, **settings: Any) -> Check:
    """Returns the check `name` with its settings.

    >>> from types import SimpleNamespace
    >>> theta = rng.normal(size=(100, 200, 1))  # the truth is a further draw: a calibrated posterior
    >>> draws = SimpleNamespace(names=["a"], draws=theta[1:], truth=theta[0])
    >>> draws.log_density = draws.log_density_truth = None
    >>> result = build("sbc").run(draws, rng)
    >>> result.passed, result.p_value > 0.01
    (True, True)
    """
    return check_class(name)(**settings)


def needs(name: str) -> frozenset[str]:
    """Returns what a check must be handed: see `Check.needs`."""
    return check_class(name).needs


def modules(name: str) -> tuple[str, ...]:
    """Returns the modules that define a check, for the digest of its code."""
    check_class(name)
    return (CHECKS[name].partition(":")[0],)
