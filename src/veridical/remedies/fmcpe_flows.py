"""The two flows of a fit of FMCPE: what they are told, their losses, their training, their draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veridical.estimators.encoded import Encoded
from veridical.networks import weights
from veridical.networks.flow_matching import FlowMatching
from veridical.networks.trainable import Trainable
from veridical.remedies.fmcpe_places import REACH, NearlyNormal, Place, Scaling
from veridical.remedies.fmcpe_settings import FMCPESettings
from veridical.remedies.short_training import short_training
from veridical.tasks.base import Array
from veridical.training import fitting, session

STEPS = 5  # of a draw, four evaluations each
PLACES = ("start", "end")  # of the second flow


class Forth(Trainable):
    """The flow from noise to summaries of simulations; a batch is summaries, conditions and noise."""

    def __init__(self, flow: FlowMatching) -> None:
        super().__init__()
        self.flow, self.noise = flow, flow.loss_noise

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over rows, each at one or several parts of its noise."""
        summary, told, noise = batch
        times = noise.shape[1] // self.noise
        return self.flow.loss(
            summary.repeat_interleave(times, 0),
            told.repeat_interleave(times, 0),
            noise.reshape(-1, self.noise),
        )


class Back(Trainable):
    """The flow from draws of the posterior to parameters; a batch is both, conditions and noise of times."""

    noise = 1

    def __init__(self, flow: FlowMatching) -> None:
        super().__init__()
        self.flow = flow

    def loss(self, *batch: Tensor) -> Tensor:
        """Returns the mean loss over rows, each at one or several times."""
        z, told, start, noise = batch
        times = noise.shape[1]
        z, told, start = (part.repeat_interleave(times, 0) for part in (z, told, start))
        return self.flow.loss_of_z(z, told, torch.cat([noise.reshape(-1, 1), start], dim=1))


@dataclass(eq=False)
class Flows:
    """One fit: from conditions to summaries of simulations, the posterior's draws, and parameters.

    Attributes:
        scaling: From what is known of real data to conditions.
        forth: The flow of summaries, in units of `scale` around `mean`.
        back: The flow from standard draws of the posterior to standard parameters; None where there is none.
        places: Of draws of the posterior and of parameters, which make them standard; empty until trained.
    """

    scaling: Scaling
    forth: FlowMatching
    back: FlowMatching | None
    places: tuple[Place, ...] = ()

    @classmethod
    def build(cls, settings: FMCPESettings, scaling: Scaling, summaries: int, latents: int) -> Flows:
        """Returns untrained flows of so many numbers."""
        told = scaling.matrix.shape[1]
        shape = {"width": settings.width, "blocks": settings.blocks, "steps": STEPS}
        back = None if settings.correct == "data" else NearlyNormal(latents, told, **shape)
        return cls(scaling, NearlyNormal(summaries, told, **shape), back)

    def draw(self, told: Array, noise: Array, posterior: Posterior, corrected: bool) -> Array:
        """Returns draws (B, D) in z given one condition (C,), from standard normal noise (B, K + draw_noise).

        Where noise and the number of rows are the same, so are all bits of the draws. With `corrected` they
        are what the second flow makes of those of the posterior.
        """
        index, context = np.zeros(len(noise), int), told[None]
        z = self.proposed(context, noise, index, posterior)
        if self.back is None or not corrected:
            return z
        first, last = self.places
        start, seen = torch.from_numpy(first.standard(z, context)).float(), torch.from_numpy(context)
        with torch.no_grad():
            moved, _ = self.back.push_z(start, seen, torch.from_numpy(index), False)
        return last.back(moved.numpy().astype(float), context)

    def proposed(self, told: Array, noise: Array, index: Array, posterior: Posterior) -> Array:
        """Returns what the posterior says of simulations that belong to conditions, (B, D) in z.

        Row i of noise (B, K + draw_noise) belongs to row `index[i]` of the conditions (N, C).
        """
        k = self.forth.features
        start, context = torch.from_numpy(noise[:, :k]).float(), torch.from_numpy(told)
        summary, _ = self.forth.push(start, context, torch.from_numpy(index), False)
        return posterior.given(summary.numpy(), noise[:, k:])

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Returns its numbers by name, the prefix before each."""
        found = {f"{prefix}mean": self.scaling.mean, f"{prefix}matrix": self.scaling.matrix}
        found |= weights.arrays_of(self.forth, f"{prefix}forth.")
        if self.back is None:
            return found
        found |= weights.arrays_of(self.back, f"{prefix}back.")
        for name, place in zip(PLACES, self.places, strict=True):
            found |= place.arrays(f"{prefix}{name}.")
        return found

    @classmethod
    def from_arrays(
        cls, settings: FMCPESettings, arrays: dict[str, Array], summaries: int, latents: int
    ) -> Flows:
        """Returns the flows that `arrays` came from, their names without the prefix."""
        with torch.random.fork_rng(devices=[]):
            found = cls.build(settings, Scaling(arrays["mean"], arrays["matrix"]), summaries, latents)
        weights.load_into(found.forth, arrays, "forth.")
        if found.back is not None:
            weights.load_into(found.back, arrays, "back.")
            found.places = tuple(Place.from_arrays(arrays, f"{name}.") for name in PLACES)
        return found


@dataclass(frozen=True, eq=False)
class Posterior:
    """A posterior given summaries in units of their spread over simulations.

    Attributes:
        posterior: The posterior itself.
        mean: Of its summaries over simulations, shape (K,).
        scale: Their standard deviations, shape (K,).
    """

    posterior: Encoded
    mean: Array
    scale: Array

    def given(self, summaries: Array, noise: Array) -> Array:
        """Returns a draw in z for each of the summaries (B, K), made of noise (B, draw_noise)."""
        context = torch.from_numpy(self.mean + self.scale * summaries).float()
        draws, _ = self.posterior.push(noise, context, np.arange(len(noise)), density=False)
        return np.clip(self.posterior.parameters.forward(draws)[0], -REACH, REACH)

    def scaled(self, summaries: Array) -> Array:
        """Returns summaries (N, K) in these units."""
        return ((summaries - self.mean) / self.scale).astype(np.float32)


def train(
    flows: Flows,
    settings: FMCPESettings,
    posterior: Posterior,
    pairs: tuple[Array, Array, Array],
    learn: Array,
    stop: Array,
    run: session.Session,
    rng: np.random.Generator,
) -> list[session.TrainingResult]:
    """Trains both flows in place.

    Arguments:
        flows: What is trained.
        settings: How.
        posterior: The posterior that is corrected.
        pairs: Conditions (n, C), parameters in z (n, D), scaled summaries of simulations (n, R, K), NaN where
            one failed.
        learn: Which pairs are learned from, shape (n,).
        stop: Which choose the weights that are kept, shape (n,).
        run: Of this fit.
        rng: What draws of the posterior are made of.
    """
    told, z, summaries = pairs
    known = learn | stop
    n, repeats = int(known.sum()), summaries.shape[1]
    _put(flows.forth, Place.fit(*_simulated(told, summaries, known), n, widened=True))
    first = _simulated(told, summaries, learn), _simulated(told, summaries, stop)
    results = [_fit(Forth(flows.forth), *first, settings, session.member_run(run, 0))]
    if flows.back is None:
        return results
    begun: Array = np.zeros((len(z), repeats, z.shape[1]))
    noise = rng.standard_normal((n * repeats, summaries.shape[2] + posterior.posterior.draw_noise))
    starts = flows.proposed(told[known], noise, np.repeat(np.arange(n), repeats), posterior)
    begun[known] = starts.reshape(n, repeats, -1)
    again = np.repeat(told[known], repeats, axis=0)
    start = Place.fit(starts, again, n, widened=False)
    end = Place.fit(z[known], told[known], n, widened=True)
    flows.places = (start, end)

    def moves(chosen: Array) -> tuple[Array, ...]:
        context, ends = (np.repeat(part[chosen], repeats, axis=0) for part in (told, z))
        starts = begun[chosen].reshape(ends.shape)
        parts = end.standard(ends, context), context, start.standard(starts, context)
        return tuple(np.asarray(part, np.float32) for part in parts)

    second = moves(learn), moves(stop)
    return [*results, _fit(Back(flows.back), *second, settings, session.member_run(run, 1))]


def _simulated(told: Array, summaries: Array, chosen: Array) -> tuple[Array, Array]:
    """Summaries of the simulations of some pairs, and the conditions of these, for each that did not fail."""
    flat = summaries[chosen].reshape(-1, summaries.shape[2])
    fine = np.isfinite(flat).all(axis=1)
    return flat[fine], np.repeat(told[chosen], summaries.shape[1], axis=0)[fine]


def _put(flow: FlowMatching, place: Place) -> None:
    """Starts the place of a flow at a regression on the conditions."""
    k = place.slope.shape[1]
    sd = np.sqrt(np.diag(place.factor @ place.factor.T))
    with torch.no_grad():
        flow.place.weight[:k] = torch.from_numpy(place.slope[:-1].T)
        flow.place.bias[:k] = torch.from_numpy(place.slope[-1])
        flow.place.bias[k:] = torch.from_numpy(np.log(sd))


def _fit(
    network: Trainable,
    learn: tuple[Array, ...],
    stop: tuple[Array, ...],
    settings: FMCPESettings,
    run: session.Session,
) -> session.TrainingResult:
    """Trains one flow in place, on rows in single precision."""
    training = short_training(settings, len(learn[0]))
    return fitting.fit(network, fitting.Data(learn, stop), training, run)
