"""Settings, paths, functions of wildcards.

Settings are checked here, before the DAG, by the process that the user started.
"""

from snakemake.exceptions import WorkflowError

from veridical import checks, layout as layouts, settings
from veridical.errors import VeridicalError


def read_study(options):
    """The layout of the study in the configuration, at the scale and with the data named there."""
    study = {
        name: value for name, value in options.items() if name not in ("scale", "data")
    }
    scale, data = options.get("scale", "laptop"), options.get("data")
    if data is not None:
        data = str(data)  # a name such as 1900 arrives as a number
    try:
        chosen = layouts.Layout(settings.parse(study, scale), scale, data)
        if workflow.is_main_process:
            chosen.validate()
    except VeridicalError as error:
        raise WorkflowError(f"{type(error).__name__}: {error}") from None
    return chosen


def more(amount):
    """A resource that doubles with every new attempt of a job."""
    return lambda wildcards, attempt: int(amount * 2 ** (attempt - 1))


def minutes(amount):
    """A time limit that doubles with every new attempt of a job."""
    return more(amount)


def training_shards(wildcards):
    """Exactly the shards that hold the budget of one run."""
    fidelity = layout.fidelity(wildcards.method)
    return layout.shards(
        fidelity, f"train-r{wildcards.replicate}", int(wildcards.budget)
    )


def draws_for(wildcards):
    """Posterior draws per data set: few for the many simulated ones, many for real data."""
    return study.test_draws if wildcards.dataset == "simulated" else study.draws


def check_inputs(wildcards):
    """The draws that a check looks at and whatever it compares them with."""
    folder = f"{layout.results}/infer"
    run = f"{folder}/{wildcards.method}/n{wildcards.budget}-r{wildcards.replicate}"
    inputs = {"draws": f"{run}/{wildcards.dataset}.nc"}
    needs = checks.needs(wildcards.check)
    if "null" in needs:
        inputs["null"] = f"{run}/simulated.nc"
    if "reference" in needs:
        inputs["reference"] = f"{folder}/reference/{wildcards.dataset}.nc"
    if "predictive" in needs:
        inputs["predictive"] = f"{run}/{wildcards.dataset}.predictive.npz"
        inputs["prior"] = f"{layout.results}/observe/simulated.nc"
    return inputs


def saved(pattern, runs):
    """Paths of one kind of result for some runs."""
    return [pattern.format(run=run.folder) for run in runs]


if not config:
    raise WorkflowError(
        "No study is named. Run `make study NAME=lynx_hare`, or add `--configfile config/NAME.yaml`."
    )

layout = read_study(config)
study = layout.study
root = study.seed


wildcard_constraints:
    fidelity=r"[A-Za-z]\w*",
    split=r"[a-z]+(-r\d+)?",
    first=r"\d{9}",
    last=r"\d{9}",
    method=r"[A-Za-z]\w*",
    budget=r"\d+",
    replicate=r"\d+",
    dataset=r"[A-Za-z]\w*",
    ensemble=r"\d+",
    check=r"[a-z]\w*",
