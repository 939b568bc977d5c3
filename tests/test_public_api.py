"""What users may rely on, by name: nothing of it goes, and nothing is added without a line here."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from veridical.__main__ import main

ROOT = Path(__file__).parents[1]
NAMES = {
    "veridical": "__version__ load",
    "veridical.bank": "SCHEMA_VERSION STATUS contiguous digest find load manifest open opened "
    "require_plausible require_valid shard_name status_counts valid validation_mask verify write",
    "veridical.tasks": "TASKS ClassTask Dimension FileTask Parameter Prior Task as_arrays build check_task",
    "veridical.tasks.Task": "block_rows bounds constraints coupled dimensions fidelities has_likelihood "
    "has_missing "
    "has_posterior log_likelihood measured name needs noise of_nature parameter_names parameters "
    "posterior_log_prob posterior_sample prior scores severity simulate statistics timeout_is_data x_dtype "
    "x_shape x_unit",
    "veridical.tasks.ClassTask": "classes draw has_log_ratio labelled_mixture log_ratio mixture "
    "+veridical.tasks.Task",
    "veridical.tasks.FileTask": "available rows +veridical.tasks.Task",
    "veridical.tasks.Dimension": "coordinates kind label missing name unit",
    "veridical.tasks.Parameter": "label lower name unit upper",
    "veridical.tasks.priors": "LogNormal LogitNormal Marginal MultivariateNormal Normal Product Uniform "
    "from_json linear_map marginal to_json",
    "veridical.tasks.discrete": "Categories Integers",
    "veridical.tasks.joint": "Block Conditional Dirichlet Joint Sorted",
    "veridical.tasks.supports": "Between Constraint Discrete OneOf Ordered Simplex Whole from_json",
    "veridical.tasks.latents": "Support constraints_of",
    "veridical.tasks.bounded": "bounded innermost unbounded",
    "veridical.tasks.needs.Needs": "cores mem_mb modules seconds",
    "veridical.estimators": "ESTIMATORS Conditioned Estimator Material Rows SummaryCloud TaskInfo",
    "veridical.estimators.Estimator": "account apart around arrays bagged cloud drawn estimated "
    "every_summary extras fit from_arrays given has_density log_prob own_code parent sample "
    "sample_alike sample_and_log_prob settings standing summarisers summary "
    "task transforms type",
    "veridical.estimators.Conditioned": "convergence extras log_prob sample_and_log_prob summary",
    "veridical.estimators.Material": "acceptance beside calibration classes levels likelihood observation "
    "parent prior require simulate simulations start unlabelled validation",
    "veridical.estimators.Rows": "at score theta validation weight x",
    "veridical.estimators.TaskInfo": "axes bounds cells constraints from_json has_missing name names of "
    "parameters support to_json units x_shape x_unit",
    "veridical.networks.transforms.ParameterTransform": "arrays bounds fit forward from_arrays inside "
    "inverse kinds mean plain require_inside scale support",
}
COMMANDS = {
    "new": "[--task] folder",
    "workflow": "",
    "schema": "",
    "verify": "[folder]",
    "gc": "[--results] [--config] [--delete]",
    "export": "--study [--scale] [--out]",
    "digest": "[--list] study",
    "compare": "[--out] first second",
    "plan": "--study [--scale]",
    "status": "[--scale] study",
    "leaderboard": "[--collection] [--scale] [--out] results [submissions ...]",
    "submission": "[--collection] [--scale] file",
    "documents": "",
}
TARGETS = (
    "demo test bench slurm-test chaos study benchmark plan status infer compare export digest verify gc "
    "schema docs lint format clean help"
)
SETTINGS = (
    "title description study seed task simulation observations reference estimators remedies budgets "
    "calibration replicates test_rows sampled_rows draws test_draws checks experiments allocation scales"
)


def found(path: str) -> Any:
    """What a dotted path names: a module, or something in one."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(found(module), name)


def names_of(path: str) -> set[str]:
    """The public names of a module (`__all__`, or what it defines) or of a class and those above it."""
    thing = found(path)
    if not isinstance(thing, type):
        own = {n for n, v in vars(thing).items() if getattr(v, "__module__", "") == path and n[0] != "_"}
        return set(getattr(thing, "__all__", own))
    ours = [c for c in thing.__mro__ if c.__module__.startswith("veridical")]
    return {n for c in ours for n in (*vars(c), *vars(c).get("__annotations__", ())) if n[0] != "_"}


@pytest.mark.parametrize("path", NAMES)
def test_public_names_are_those_listed(path: str) -> None:
    words = NAMES[path].split()
    above = {name for word in words if word[0] == "+" for name in NAMES[word[1:]].split()}
    assert names_of(path) == {word for word in words if word[0] != "+"} | above


def test_what_the_pages_tell_users_to_name_is_there() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    text = "\n".join(page.read_text() for page in pages)
    imports = re.findall(r"^from (veridical[\w.]*) import ([\w, ]+)$", text, flags=re.MULTILINE)
    told = {f"{module}.{name.strip()}" for module, names in imports for name in names.split(",")}
    told |= set(re.findall(r"\b(veridical(?:\.\w+)+)(?=\()", text))
    assert len(told) > 10
    for path in told:
        found(path)


def test_commands_and_their_options_are_those_listed(capsys: pytest.CaptureFixture[str]) -> None:
    def usage(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main([*arguments, "--help"])
        return " ".join(capsys.readouterr().out.split("\n\n")[0].split())

    listed = re.search(r"{([\w,]+)}", usage())
    assert listed is not None and listed[1].split(",") == list(COMMANDS)
    for command, options in COMMANDS.items():
        text = usage(command).partition(f"{command} [-h]")[2]
        assert re.sub(r"(--\w+) [A-Z]+", r"\1", text).strip() == options, command


def test_targets_of_make_are_those_listed() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    assert sorted(" ".join(targets).split()) == sorted(TARGETS.split())
    for target in TARGETS.split():
        assert re.search(rf"^([\w -]+ )?{target}( [\w -]+)?:", text, flags=re.MULTILINE), target


def test_sections_of_a_study_are_those_listed() -> None:
    schema = json.loads((ROOT / "workflow/schemas/study.json").read_text())
    assert set(schema["properties"]) == set(SETTINGS.split())
