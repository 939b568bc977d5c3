"""Settings, paths, functions of wildcards.

Settings are checked here, before the DAG, by the process that the user started.
"""

import operator
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# In a clone this process and all jobs run the code in its src/, whose digests decide what reruns, in whatever
# environment they run. In an installed package this file lies inside of the code, which Python finds by itself.
home = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
in_clone = (home / "src" / "veridical").is_dir()
if in_clone:
    sys.path.insert(0, str(home / "src"))

from veridical import checks, coordinates, job, unchecked, warm
from veridical.digests import file_digest
from veridical.study import code_digests, collections, resources, settings, told
from veridical.study.layout import COLLECTION_TEMPLATES, TEMPLATES
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


def read_studies(options):
    """The studies in the configuration by their folders, at the scale and with the data named there."""
    try:
        options = {**as_written(options)}
        asked = {name: options.pop(name, None) for name in ("scale", "data")}
        found = collections.read(options, **asked)
        if workflow.is_main_process:
            found.validate()
    except VeridicalError as error:
        raise refusal(error) from None
    return found


def at(wildcards):
    """The layout of the study that a job belongs to; of a shard, of a study that uses its bank."""
    if "bank" in wildcards.keys():
        return studies.user_of(wildcards.bank)
    return layouts[wildcards.study] if "study" in wildcards.keys() else studies.first


def of_study(what, *names):
    """A function of wildcards: something that a job's study has, or says of the wildcards `names`.

    It is named as in `study.seed`, or is a function of a layout.
    """

    def look(wildcards):
        values = [getattr(wildcards, name) for name in names]
        if callable(what):
            return what(at(wildcards), *values)
        found = operator.attrgetter(what)(at(wildcards))
        return found(*values) if callable(found) else found

    return look


def among(folder, names_of, *arguments):
    """A constraint: the name right below this folder of a study, or of its benchmarks, is one that its layout has."""
    parts = []
    for name, layout in layouts.items():
        own = f"results/{re.escape(name)}"
        place = f"(?:(?<={own}/{folder}/)|(?<={own}/benchmarks/{folder}/))"
        parts.append(f"{place}(?:{one_of(names_of(layout, *arguments))})")
    return one_of(parts)


def journal(rule, folder="results"):
    """A param of jobs that a study can do without: where failed attempts are counted, and how many there were.

    A job that left no result but a record of its failure is thus done again by the next run, until it succeeds.
    """

    def of_job(wildcards):
        own = [value for name, value in wildcards.items() if name != "study"]
        name = f"{getattr(at(wildcards), folder)}/unchecked/{'-'.join([rule, *own])}"
        return [f"{name}.json", attempts.get(f"{name}.json", 0)]

    return of_job


def growth(attempt):
    """How much more a new attempt of a job asks for: 1, 2, 4, and 4 ever after."""
    return 2 ** min(attempt - 1, 2)


def more(amount):
    """A resource that grows with the attempts of a job: a number, or a function of the job's study."""

    def asked(wildcards, attempt):
        first = amount(at(wildcards)) if callable(amount) else amount
        return int(first * growth(attempt))

    return asked


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
    layout = at(wildcards)
    fidelity = wildcards.get("fidelity") or layout.fidelity(wildcards.method)
    return resources.simulate_minutes(layout, fidelity, input.probe) * growth(attempt)


def training_memory(wildcards, attempt):
    """Memory for the rows that a run learns from."""
    needed = resources.train_mb(at(wildcards), run_of(wildcards))
    return needed * growth(attempt)


def names_of_studies():
    """What a reader who named no study can choose from, in words."""
    found = sorted(path.stem for path in Path("config").glob("*.yaml"))
    if found:
        return f"config/ has {', '.join(found)}"
    return "`python -m veridical new my_study` writes one"


def one_of(names):
    """A constraint that lets a wildcard be one of these names; none where there are no names."""
    return "|".join(names) or "(?!)"


def run_of(wildcards):
    """The run that a job's wildcards name."""
    return coordinates.Run.of(wildcards.method, wildcards.run)


def sources_of(wildcards):
    """Exactly the shards that a run learns from, by what they are to it, and observations without labels."""
    layout, run = at(wildcards), run_of(wildcards)
    shards = {name: ancient(paths) for name, paths in layout.source_shards(run).items()}
    observed = layout.unlabelled(run)
    return shards if observed is None else {**shards, "observed": observed}


def artifact_files(stage, place="{method}/{run}"):
    """What a trained method leaves in its folder."""
    folder = f"results/{{study}}/{stage}/{place}"
    names = ("weights.safetensors", "estimator.json", "history.json", "cost.json")
    keys = ("weights", "record", "history", "cost")
    return {key: f"{folder}/{name}" for key, name in zip(keys, names)}


def ancestor_files(wildcards):
    """Records and weights of all runs that a run wraps."""
    ancestors = at(wildcards).ancestors(run_of(wildcards))
    return [p for run in ancestors for p in told.record_and_weights(at(wildcards), run)]


def method_files(wildcards):
    """Record and weights of a run, and those of all runs that it wraps."""
    record, weights = told.record_and_weights(at(wildcards), run_of(wildcards))
    ancestors = ancestor_files(wildcards)
    return {"record": record, "weights": weights, "ancestors": ancestors}


def parent_files(wildcards):
    """Records and weights of the runs that a run builds on, and of the one whose likelihood it asks."""
    layout, run, files = at(wildcards), run_of(wildcards), {}
    others = {"parent": layout.parent_run(run), "likelihood": layout.weigher_run(run)}
    for role, other in others.items():
        if other is not None:
            record, weights = told.record_and_weights(layout, other)
            files |= {role: record, f"{role}_weights": weights}
    if beside := [
        told.record_and_weights(layout, other) for other in layout.other_runs(run)
    ]:
        records, weights = zip(*beside)
        files |= {"beside": records, "beside_weights": weights}
    return files


def threads_of(wildcards):
    """CPU threads of a method's training."""
    return at(wildcards).methods[wildcards.method].job_threads


def observed(wildcards):
    """The settings of a real data set."""
    return at(wildcards).observations[wildcards.dataset]


def content_of_data(wildcards):
    """The digest of a file of real data, which decides, in place of its date, whether it has changed."""
    return file_digest(observed(wildcards).file)


def code_of(rule, *others):
    """The digest of the code behind a rule, taken for its jobs only: each cluster job reads all rules."""
    return lambda wildcards: studies.first.code(rule, *others)


def method_code(rule):
    """The digest of the code behind a rule that calls a method."""
    return lambda wildcards: at(wildcards).method_code(rule, run_of(wildcards))


def labels_of_names(wildcards):
    """What readers see for the names of parameters and axes: changes draw figures and page again, no more."""
    return at(wildcards).labels


def gpus_of(wildcards):
    """GPUs of a method's training; 0 where it would gain nothing from one."""
    return at(wildcards).methods[wildcards.method].job_gpus


def draws_for(wildcards):
    """Posterior draws per data set: few for the many labelled ones, many for observed data."""
    labelled, study = wildcards.dataset in coordinates.LABELLED, at(wildcards).study
    return study.test_draws if labelled else study.draws


def rows_for(wildcards):
    """How many of the labelled data sets a method is asked about, where not about all."""
    labelled = wildcards.dataset in coordinates.LABELLED
    return at(wildcards).rows_asked(wildcards.method) if labelled else None


def answers_for_densities(wildcards):
    """The answers of a run to observed data, and to simulated test sets where it was asked about them."""
    run, layout = run_of(wildcards), at(wildcards)
    answers = {"draws": layout.answer(run, wildcards.dataset)}
    if (null := layout.null_answer_of(run)) is not None:
        answers["simulated"] = layout.answer(null, coordinates.SIMULATED)
    return answers


def check_inputs(wildcards):
    """The draws that a check looks at and whatever it compares them with."""
    asked = (wildcards.dataset, wildcards.check)
    return at(wildcards).check_inputs(run_of(wildcards), *asked)


def place_of(wildcards):
    """Run, observation and number of the round that a job's wildcards name."""
    return run_of(wildcards), int(wildcards.observation), int(wildcards.round)


def round_before(wildcards):
    """Record and weights of the round before one."""
    run, observation, number = place_of(wildcards)
    folder = at(wildcards).round_folder(run, observation, number - 1)
    names = {"record": "estimator.json", "weights": "weights.safetensors"}
    return {key: f"{folder}/{name}" for key, name in names.items()}


def rows_of_round(wildcards):
    """How many simulations a round adds."""
    method = at(wildcards).methods[wildcards.method]
    return method.round_rows[int(wildcards.round) - 1]


def learned_from(wildcards):
    """What a round learns from: the bank, all proposals so far and their simulations, the round before, the start."""
    layout, (run, observation, number) = at(wildcards), place_of(wildcards)
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
    if (start := layout.parent_run(run)) is not None:
        record, weights = told.record_and_weights(layout, start)
        inputs |= {"start": record, "start_weights": weights}
    return inputs


def last_rounds(wildcards):
    """Records and weights of the last round for each observation, and the costs of all rounds."""
    run, layout = run_of(wildcards), at(wildcards)
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

studies = read_studies(config)
layouts, data = studies.layouts, studies.first.data
# Where reports lie. That of one study is named, so that rules of a user's own can take it from these as input.
REPORT = "results/{study}" if studies.collection else studies.report
attempts = unchecked.attempts(*(f"{folder}/unchecked" for folder in studies.folders))
modules = studies.modules
if workflow.is_main_process:
    logger.info("", extra={"study": studies})  # for `--logger veridical`


wildcard_constraints:
    **coordinates.WILDCARDS,
    study=one_of(map(re.escape, layouts)),
