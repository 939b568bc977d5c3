"""Settings, paths, functions of wildcards.

Settings are checked here, before the DAG, by the process that the user started.
"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# In a clone this process and all jobs run the code in its src/, whose digests decide what reruns, in whatever
# environment they run. In an installed package this file lies inside of the code, which Python finds by itself.
home = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
in_clone = (home / "src" / "veridical").is_dir()
if in_clone:
    sys.path.insert(0, str(home / "src"))

from veridical import checks, coordinates, job, unchecked
from veridical.digests import file_digest
from veridical.study import (
    code_digests,
    layout as layouts,
    resources,
    settings,
    validation,
)
from veridical.errors import VeridicalError

if in_clone:
    job.share_code()
elif home.is_dir() and not home.parent.samefile(code_digests.SOURCE):
    raise WorkflowError(
        "Rules and package are of two installations: "
        f"expected the package around {home}, got {code_digests.SOURCE}. "
        "Start both from one Python, as in `python -m snakemake -s $(python -m veridical workflow) ...`."
    )


def refusal(error):
    """An error as Snakemake shows it, in one sentence without control characters."""
    return WorkflowError(job.printable(f"{type(error).__name__}: {error}"))


def as_written(options):
    """The configuration as its files are written, which Snakemake reads otherwise: the last of two keys, `no` as false.

    In a module, the configuration is what the workflow around it made of its files; those with a study are only tried.
    """
    files = workflow.overwrite_configfiles or workflow.configfiles
    if not workflow.modifier.skip_configfile:
        return settings.as_written(files, workflow.config_settings.config or {})
    settings.as_written(filter(settings.is_study, files), {})
    return options


def read_study(options):
    """The layout of the study in the configuration, at the scale and with the data named there."""
    try:
        options = as_written(options)
    except VeridicalError as error:
        raise refusal(error) from None
    study = {
        name: value for name, value in options.items() if name not in ("scale", "data")
    }
    scale, data = options.get("scale", "laptop"), options.get("data")
    if data is not None:
        data = str(data)  # a name such as 1900 arrives as a number
    try:
        chosen = layouts.Layout(settings.parse(study, scale), scale=scale, data=data)
        if workflow.is_main_process:
            validation.validate(chosen)
    except VeridicalError as error:
        raise refusal(error) from None
    return chosen


def journal(rule, folder=None):
    """A param of jobs that a study can do without: where failed attempts are counted, and how many there were.

    A job that left no result but a record of its failure is thus done again by the next run, until it succeeds.
    """

    def of_job(wildcards):
        path = (
            f"{folder or layout.results}/unchecked/{'-'.join([rule, *wildcards])}.json"
        )
        return [path, attempts.get(path, 0)]

    return of_job


def growth(attempt):
    """How much more a new attempt of a job asks for: 1, 2, 4, and 4 ever after."""
    return 2 ** min(attempt - 1, 2)


def more(amount):
    """A resource that grows with the attempts of a job."""
    return lambda wildcards, attempt: int(amount * growth(attempt))


def minutes(amount):
    """A time limit that grows with the attempts of a job."""
    return more(amount)


def for_inputs(amount, copies):
    """Memory for some copies of a job's inputs, once they are there, beside an amount of its own."""
    return lambda wildcards, input, attempt: int(
        (amount + copies * input.size_mb) * growth(attempt)
    )


def simulation_minutes(wildcards, input, attempt):
    """A time limit for one shard, from what the probe measured."""
    fidelity = wildcards.get("fidelity") or layout.fidelity(wildcards.method)
    measured = resources.simulate_minutes(layout, fidelity, input.probe)
    return measured * growth(attempt)


def training_memory(wildcards, attempt):
    """Memory for the rows that a run learns from."""
    return resources.train_mb(layout, run_of(wildcards)) * growth(attempt)


def names_of_studies():
    """What a reader who named no study can choose from, in words."""
    found = sorted(path.stem for path in Path("config").glob("*.yaml"))
    if found:
        return f"config/ has {', '.join(found)}"
    return "`python -m veridical new my_study` writes one"


def one_of(names):
    """A constraint that lets a wildcard be one of these names; none where there are no names."""
    return "|".join(sorted(names)) or "(?!)"


def run_of(wildcards):
    """The run that a job's wildcards name."""
    return coordinates.Run.of(wildcards.method, wildcards.run)


def sources_of(wildcards):
    """Exactly the shards that a run learns from, by what they are to it."""
    return {
        name: ancient(shards)
        for name, shards in layout.source_shards(run_of(wildcards)).items()
    }


def artifact_files(stage, place="{method}/{run}"):
    """What a trained method leaves in its folder."""
    folder = f"{layout.results}/{stage}/{place}"
    names = ("weights.safetensors", "estimator.json", "history.json", "cost.json")
    keys = ("weights", "record", "history", "cost")
    return {key: f"{folder}/{name}" for key, name in zip(keys, names)}


def record_and_weights(run):
    """The two files that a run is loaded from."""
    folder = layout.artifact(run)
    return [f"{folder}/estimator.json", f"{folder}/weights.safetensors"]


def ancestor_files(wildcards):
    """Records and weights of all runs that a run wraps."""
    ancestors = layout.ancestors(run_of(wildcards))
    return [path for run in ancestors for path in record_and_weights(run)]


def method_files(wildcards):
    """Record and weights of a run, and those of all runs that it wraps."""
    record, weights = record_and_weights(run_of(wildcards))
    ancestors = ancestor_files(wildcards)
    return {"record": record, "weights": weights, "ancestors": ancestors}


def parent_files(wildcards):
    """Record and weights of the run that a run builds on, and of the one whose likelihood it asks."""
    run, files = run_of(wildcards), {}
    others = {"parent": layout.parent_run(run), "likelihood": layout.weigher_run(run)}
    for role, other in others.items():
        if other is not None:
            files[role], files[f"{role}_weights"] = record_and_weights(other)
    return files


def threads_of(wildcards):
    """CPU threads of a method's training."""
    return layout.methods[wildcards.method].job_threads


def content_of_data(wildcards):
    """The digest of a file of real data, which decides, in place of its date, whether it has changed."""
    return file_digest(layout.observations[wildcards.dataset].file)


def code_of(rule, *others):
    """The digest of the code behind a rule, taken for its jobs only: each cluster job reads all rules."""
    return lambda wildcards: layout.code(rule, *others)


def labels_of_names(wildcards):
    """What readers see for the names of parameters and axes: changes draw figures and page again, no more."""
    return layout.labels


def gpus_of(wildcards):
    """GPUs of a method's training; 0 where it would gain nothing from one."""
    return layout.methods[wildcards.method].job_gpus


def draws_for(wildcards):
    """Posterior draws per data set: few for the many labelled ones, many for observed data."""
    labelled = wildcards.dataset in coordinates.LABELLED
    return study.test_draws if labelled else study.draws


def rows_for(wildcards):
    """How many of the labelled data sets a method is asked about, where not about all."""
    labelled = wildcards.dataset in coordinates.LABELLED
    return layout.rows_asked(wildcards.method) if labelled else None


def answers_for_densities(wildcards):
    """The answers of a run to observed data, and to simulated test sets where it was asked about them."""
    run = run_of(wildcards)
    answers, null = {
        "draws": layout.answer(run, wildcards.dataset)
    }, layout.null_answer_of(run)
    if null is not None:
        answers["simulated"] = layout.answer(null, coordinates.SIMULATED)
    return answers


def check_inputs(wildcards):
    """The draws that a check looks at and whatever it compares them with."""
    return layout.check_inputs(run_of(wildcards), wildcards.dataset, wildcards.check)


def place_of(wildcards):
    """Run, observation and number of the round that a job's wildcards name."""
    return run_of(wildcards), int(wildcards.observation), int(wildcards.round)


def round_before(wildcards):
    """Record and weights of the round before one."""
    run, observation, number = place_of(wildcards)
    folder = layout.round_folder(run, observation, number - 1)
    names = {"record": "estimator.json", "weights": "weights.safetensors"}
    return {key: f"{folder}/{name}" for key, name in names.items()}


def learned_from(wildcards):
    """What a round learns from: the bank, all proposals so far and their simulations, the round before."""
    run, observation, number = place_of(wildcards)
    later = range(2, number + 1)
    inputs = {
        "data": f"{layout.results}/observe/{layout.dataset_of(wildcards.method)}.nc",
        "bank": ancient(layout.source_shards(run)["simulations"]),
        "proposals": [layout.proposal(run, observation, k) for k in later],
        "shards": [s for k in later for s in layout.round_shards(run, observation, k)],
    }
    if number > 1:
        before = round_before(wildcards)
        inputs |= {"parent": before["record"], "parent_weights": before["weights"]}
    return inputs


def last_rounds(wildcards):
    """Records and weights of the last round for each observation, and the costs of all rounds."""
    run = run_of(wildcards)
    last = max(number for _, number in layout.rounds(run))
    ends = [layout.round_folder(run, i, k) for i, k in layout.rounds(run) if k == last]
    return {
        "records": [f"{folder}/estimator.json" for folder in ends],
        "weights": [f"{folder}/weights.safetensors" for folder in ends],
        "histories": [f"{folder}/history.json" for folder in ends],
        "costs": [
            f"{layout.round_folder(run, *place)}/cost.json"
            for place in layout.rounds(run)
        ],
    }


if not config.keys() - {"scale", "data"}:
    raise WorkflowError(
        f"No study is named. Add `--configfile config/NAME.yaml`; {names_of_studies()}."
    )

layout = read_study(config)
study = layout.study
root = study.seed
attempts = unchecked.attempts(
    *(f"{folder}/unchecked" for folder in {layout.results, layout.report})
)
simulation = resources.simulation_needs(layout)
if workflow.is_main_process:
    logger.info("", extra={"study": layout})  # for `--logger veridical`


wildcard_constraints:
    **coordinates.WILDCARDS,
