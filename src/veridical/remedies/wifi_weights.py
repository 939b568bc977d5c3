"""Weights of a w_i f_i ensemble, from its functions at events of two classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from veridical.estimators.classes import Functions
from veridical.inference import ratio_weights
from veridical.inference.ratio_weights import Events, RatioFit
from veridical.remedies.wifi_settings import WifiSettings
from veridical.tasks.base import Array

ARRAYS = ("weights", "covariance", "bias")  # of a fit of weights


class FunctionTable:
    """The functions of an ensemble at samples of events; where events coincide, each is looked up once.

    Only single numbers are looked at for that. What was evaluated is kept as long as events coincide.
    """

    def __init__(self, ratios: Functions) -> None:
        self.ratios = ratios
        self.known: Array = np.empty(0)
        self.values: Array = np.empty((0, ratios.size))

    def events(self, x: Array) -> Events:
        """Returns the functions at events x (N, *x_shape), distinct events where many coincide."""
        if x[0].size != 1:
            return Events.of(self.ratios.functions(x))
        distinct, counts = np.unique(x.reshape(-1), return_counts=True)
        if 2 * len(distinct) > len(x):
            return Events.of(self.ratios.functions(distinct.reshape(-1, *x.shape[1:])), counts)
        missing = np.setdiff1d(distinct, self.known, assume_unique=True)
        if len(missing):
            known = np.concatenate([self.known, missing])
            values = np.concatenate([self.values, self.ratios.functions(missing.reshape(-1, *x.shape[1:]))])
            order = np.argsort(known)
            self.known, self.values = known[order], values[order]
        return Events.of(self.values[np.searchsorted(self.known, distinct)], counts)


def needs_events(settings: WifiSettings) -> bool:
    """Returns whether any weight is fitted."""
    return settings.weights in ("fitted", "mean_constant")


def weigh(settings: WifiSettings, numerator: Events, denominator: Events) -> RatioFit:
    """Returns the weights of the functions at events of the two classes, as the settings want them.

    Raises:
        TrainingError: If they cannot be fitted.
    """
    p = numerator.functions.shape[1]
    if settings.weights == "fitted":
        return ratio_weights.fit(numerator, denominator, settings.loss, ridge=settings.ridge)
    if settings.weights == "mean_constant":
        return _mean_constant(settings, numerator, denominator)
    return fixed_weights(settings, p)


def fixed_weights(settings: WifiSettings, p: int) -> RatioFit:
    """Returns the weights of P functions that need no fit: those of the mean or of the first member."""
    weights = np.zeros(p)
    if settings.weights == "single":
        weights[1] = 1
    else:
        weights[1:] = 1 / (p - 1)
    return RatioFit.fixed(weights)


def _mean_constant(settings: WifiSettings, numerator: Events, denominator: Events) -> RatioFit:
    """The mean of the members plus a constant, which alone is fitted and alone has an error."""

    def constant(events: Events) -> Events:
        return Events(events.functions[:, :1], events.counts, events.functions[:, 1:].mean(axis=1))

    found = ratio_weights.fit(constant(numerator), constant(denominator), settings.loss, ridge=settings.ridge)
    p = numerator.functions.shape[1]
    whole = {name: getattr(fixed_weights(settings, p), name) for name in ARRAYS}
    for name, array in whole.items():
        array.flat[0] = getattr(found, name).flat[0]  # that of the constant
    return replace(found, **whole)
