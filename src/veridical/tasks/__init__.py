"""Tasks: the registry, tasks from settings, and what a task must keep to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from veridical.errors import TaskError, UnknownName, suggest
from veridical.tasks.base import ClassTask, Dimension, FileTask, Parameter, Prior, Task, as_arrays
from veridical.tasks.contract import check_task
from veridical.tasks.distributions import taken

__all__ = [
    "TASKS",
    "ClassTask",
    "Dimension",
    "FileTask",
    "Parameter",
    "Prior",
    "Task",
    "as_arrays",
    "build",
    "check_task",
]

TASKS = {
    "bernoulli_glm": "veridical.tasks.bernoulli_glm:BernoulliGLM",
    "cancer_stromal": "veridical.tasks.cancer_stromal:CancerStromal",
    "dihiggs": "veridical.tasks.dihiggs:DiHiggs",
    "drift_diffusion": "veridical.tasks.drift_diffusion:DriftDiffusion",
    "g_and_k": "veridical.tasks.g_and_k:GAndK",
    "gaussian_chain": "veridical.tasks.gaussian_chain:GaussianChain",
    "gaussian_classes": "veridical.tasks.gaussian_classes:GaussianClasses",
    "gaussian_cloud": "veridical.tasks.gaussian_cloud:GaussianCloud",
    "gaussian_field": "veridical.tasks.gaussian_field:GaussianField",
    "gaussian_linear": "veridical.tasks.gaussian_linear:GaussianLinear",
    "gaussian_mean": "veridical.tasks.gaussian_mean:GaussianMean",
    "gaussian_mixture": "veridical.tasks.gaussian_mixture:GaussianMixture",
    "gaussian_variance": "veridical.tasks.gaussian_variance:GaussianVariance",
    "light_tunnel": "veridical.tasks.light_tunnel:LightTunnel",
    "lotka_volterra": "veridical.tasks.lotka_volterra:LotkaVolterra",
    "lotka_volterra_bf": "veridical.tasks.lotka_volterra_bf:LotkaVolterraBF",
    "lotka_volterra_counts": "veridical.tasks.lotka_volterra_counts:LotkaVolterraCounts",
    "lund_jets": "veridical.tasks.lund_jets:LundJets",
    "mass_plane": "veridical.tasks.mass_plane:MassPlane",
    "mean_reversion": "veridical.tasks.mean_reversion:MeanReversion",
    "mixture": "veridical.tasks.mixture:Mixture",
    "moving_average": "veridical.tasks.moving_average:MovingAverage",
    "network_sir": "veridical.tasks.network_sir:NetworkSIR",
    "ornstein_uhlenbeck": "veridical.tasks.ornstein_uhlenbeck:OrnsteinUhlenbeck",
    "pendulum": "veridical.tasks.pendulum:Pendulum",
    "pythia_jets": "veridical.tasks.pythia_jets:PythiaJets",
    "ricker": "veridical.tasks.ricker:Ricker",
    "seir": "veridical.tasks.seir:SEIR",
    "sir": "veridical.tasks.sir:SIR",
    "sis": "veridical.tasks.sis:SIS",
    "slcp": "veridical.tasks.slcp:SLCP",
    "stochastic_lotka_volterra": "veridical.tasks.stochastic_lotka_volterra:StochasticLotkaVolterra",
    "stochastic_sir": "veridical.tasks.stochastic_sir:StochasticSIR",
    "student_field": "veridical.tasks.student_field:StudentField",
    "toggle_switch": "veridical.tasks.toggle_switch:ToggleSwitch",
    "two_moons": "veridical.tasks.two_moons:TwoMoons",
    "wind_tunnel": "veridical.tasks.wind_tunnel:WindTunnel",
}


def build(spec: Mapping[str, Any]) -> Task:
    """Builds the task of a specification: a dict in one of four forms, each with a `name`.

    `settings` alone names an entry of the registry; `file` and `class` a Python class of the user's;
    `command` an executable; `simulations` a file of simulations. See `veridical.tasks.settings`.

    >>> task = build({"name": "gaussian_linear", "settings": {"dimension": 2}})
    >>> task.prior.sample(rng, 3).shape, task.x_shape
    ((3, 2), (2,))

    Raises:
        UnknownName: If the registry has no such task.
        TaskError: If the task cannot be built from these settings.
    """
    if "command" in spec:
        from veridical.tasks.command import CommandTask

        task: Task = CommandTask(spec)
    elif "simulations" in spec:
        from veridical.tasks.elsewhere import ElsewhereTask

        task = ElsewhereTask(spec)
    elif "file" in spec:
        from veridical.own_code import load_class

        cls = load_class(spec["file"], spec["class"], Task, "task", TaskError)  # type: ignore[type-abstract]
        task = _instantiate(cls, spec)
        task.name = spec["name"]
        _take_prior(task)
    else:
        task = _instantiate(_registered(spec["name"]), spec)
    if spec.get("block_rows"):
        task.block_rows = int(spec["block_rows"])
    if spec.get("x_dtype"):
        task.x_dtype = str(spec["x_dtype"])
    return task


def digest_sources(spec: Mapping[str, Any]) -> list[Path]:
    """Returns all files of the user's that decide what a task simulates, sorted.

    They are the task's own file, the file of simulations, those in `depends_on`, and each word of
    `command` that is the path of a file. A program that is found through PATH has to be declared.

    Raises:
        TaskError: If a file is missing.
    """
    declared = [spec[key] for key in ("file", "simulations") if key in spec]
    declared += list(spec.get("depends_on") or [])
    for name in declared:
        if not Path(name).exists():
            raise TaskError(f"task {spec.get('name')!r}: file {name} is missing (from {Path.cwd()}).")
    if "command" in spec:
        from veridical.tasks.command import words

        declared += [word for word in words(spec["command"]) if Path(word).is_file()]
    return sorted({Path(name) for name in declared})


def modules(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the code of this package that defines a task: its module, or the priors that its settings name.

    A task in a file of the user's names what it uses there.
    """
    if "file" in spec:
        return ()
    if "command" in spec or "simulations" in spec:
        from veridical.tasks.families import classes

        return tuple(f"{cls.__module__}:{cls.__name__}" for cls in classes(spec["parameters"]))
    _registered(spec["name"])
    return (TASKS[spec["name"]].partition(":")[0],)


def _registered(name: str) -> type[Task]:
    if name not in TASKS:
        raise UnknownName(f"task {name!r} is unknown. {suggest(name, TASKS)}")
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)


def _take_prior(task: Task) -> None:
    """Lets the prior of a user's task be a distribution of another package."""
    prior = getattr(task, "prior", None)
    try:
        adapted = taken(prior)
    except TaskError as error:
        raise TaskError(f"task {task.name!r}: {error}") from error
    if adapted is not prior:
        task.prior = adapted


def _instantiate(cls: type[Task], spec: Mapping[str, Any]) -> Task:
    """Calls the class with the task's settings; a setting it does not know is named with the nearest."""
    settings = dict(spec.get("settings") or {})
    known = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in settings:
            if key not in known:
                raise TaskError(f"task {spec['name']!r} has no setting {key!r}. {suggest(key, known)}")
    try:
        return cls(**settings)
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(
            f"task {spec['name']!r}: {cls.__name__} cannot be built with settings {settings}: "
            f"{type(error).__name__}: {error}"
        ) from error
